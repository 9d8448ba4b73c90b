//! Paging of lists: the common query parameters, the cursor, and the link to the next page.
//!
//! A list of the API starts with the oldest item, so a new item never shifts a page that a client has read. A cursor is
//! the ID of the last item of a page. Cursors are opaque: clients take a cursor from the `Link` header.

use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use serde::Serialize;
use url::form_urlencoded::Serializer;

use super::json;
use crate::error::{Error, Kind, Result};
use crate::refunds::dates::{self, DateOrTime};
use crate::serve::extractors::Fields;

/// Default number of items of a page.
const LIMIT: usize = 50;
const LIMIT_AT_MOST: usize = 200;

pub(super) struct Page {
    pub(super) limit: usize,
    /// The decoded cursor: the ID of the last item of the previous page.
    pub(super) after: Option<String>,
    /// The page has only items recorded at this time or later.
    pub(super) since: Option<Timestamp>,
    /// The page has only items recorded before this time.
    pub(super) until: Option<Timestamp>,
}

impl Page {
    pub(super) fn of(fields: &Fields) -> Result<Self> {
        let limit = match fields.get("limit") {
            None => LIMIT,
            Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_AT_MOST).contains(limit)).ok_or_else(|| {
                Error::new(Kind::Usage, format!("the limit {text:?} is not a number from 1 to {LIMIT_AT_MOST}"))
                    .hint(format!("leave it out for {LIMIT}"))
            })?,
        };
        let after = fields.get("cursor").map(decoded).transpose()?;
        Ok(Self { limit, after, since: time(fields, "since")?, until: time(fields, "until")? })
    }

    /// Returns the cursor as a number; 0 for the first page.
    pub(super) fn after_number(&self) -> Result<i64> {
        self.after.as_deref().map_or(Ok(0), |text| text.parse().map_err(|_not_a_number| bad_cursor()))
    }

    /// Returns `true` if an item that was recorded at this time is in the requested time range.
    pub(super) fn includes(&self, at: &str) -> bool {
        let Ok(at) = at.parse::<Timestamp>() else { return self.since.is_none() && self.until.is_none() };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// Returns one page of the items that follow the cursor. The closure `key` returns an item's ID for the cursor.
    ///
    /// If there is another page, the caller must pass at least one item more than the limit.
    pub(super) fn response<T: Serialize>(
        &self,
        path: &str,
        fields: &Fields,
        mut items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Response {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        let mut response = json(&items);
        if let Some(last) = items.last().filter(|_| has_more) {
            let mut query = Serializer::new(String::new());
            query.extend_pairs(fields.pairs().filter(|(name, _)| *name != "cursor"));
            query.append_pair("cursor", &Base64UrlUnpadded::encode_string(key(last).as_bytes()));
            let link = format!("<{path}?{}>; rel=\"next\"", query.finish());
            // The header value is always valid, because the serializer writes only ASCII.
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(LINK, link);
            }
        }
        response
    }
}

/// Parses each value of a query parameter. `words` are the permitted values, for the hint of an error.
pub(super) fn words<T>(
    fields: &Fields,
    name: &str,
    named: impl Fn(&str) -> Option<T>,
    words: impl Iterator<Item = &'static str>,
) -> Result<Vec<T>> {
    let unknown = |word: &str| Error::new(Kind::Usage, format!("there is no {name} {word:?}"));
    let parsed: Result<Vec<T>> = fields.all(name).map(|word| named(word).ok_or_else(|| unknown(word))).collect();
    parsed.map_err(|error| error.hint(format!("the values are {}", words.collect::<Vec<_>>().join(", "))))
}

fn time(fields: &Fields, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = fields.get(name) else { return Ok(None) };
    let parsed = dates::parse(text).ok().flatten().map(DateOrTime::earliest);
    parsed.map(Some).ok_or_else(|| {
        Error::new(Kind::Usage, format!("the parameter {name} is not a date: {text:?}"))
            .hint("write it as 2026-03-01 or 2026-03-01T14:05:00Z; a time without an offset is UTC")
    })
}

fn decoded(cursor: &str) -> Result<String> {
    let bytes = Base64UrlUnpadded::decode_vec(cursor).map_err(|_not_base64| bad_cursor())?;
    String::from_utf8(bytes).map_err(|_not_text| bad_cursor())
}

fn bad_cursor() -> Error {
    Error::new(Kind::Usage, "the cursor is not one of this list")
        .hint("take it from the Link header of the page before, or leave it out for the first page")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_of_a_list_is_used_or_refused() {
        for (query, is_valid) in [
            ("", true),
            ("limit=1&since=2026-03-01&until=2026-03-02T01:02:03Z", true),
            ("cursor=Nw", true),
            ("limit=0", false),
            ("limit=201", false),
            ("limit=", false),
            ("since=yesterday", false),
            ("until=", false),
            ("cursor=%00", false),
        ] {
            let page = Page::of(&Fields::parse(query.as_bytes()));
            assert_eq!(page.and_then(|page| page.after_number()).is_ok(), is_valid, "{query}");
        }
    }

    proptest! {
        #[test]
        fn following_the_links_gives_every_item_once(count in 0_i64..60, limit in 1_usize..20) {
            let (mut seen, mut query) = (Vec::<i64>::new(), format!("limit={limit}&person=a%26b"));
            loop {
                let fields = Fields::parse(query.as_bytes());
                prop_assert_eq!(fields.get("person"), Some("a&b"));
                let page = Page::of(&fields).expect("a page");
                let after = page.after_number().expect("a number");
                let items: Vec<i64> = (after + 1..=count).take(limit + 1).collect();
                seen.extend(items.iter().take(limit));
                let response = page.response("/list", &fields, items, ToString::to_string);
                let Some(link) = response.headers().get(LINK) else { break };
                let link = link.to_str().expect("ASCII");
                query = link.trim_start_matches("</list?").trim_end_matches(">; rel=\"next\"").to_owned();
            }
            prop_assert_eq!(seen, (1..=count).collect::<Vec<_>>());
        }
    }
}
