//! Walking a list of the Brand API to its end, and being honest about whether that was reached.
//!
//! `@nextpageuri` is followed until it is empty (`docs/vendor/contradictions.md` 26); pages are never computed. A list proves an absence
//! only if all of it was seen, so whatever leaves a doubt (a bound, a row that cannot be read, a total that does not add
//! up, a link that leads back) makes it incomplete. It must never turn a doubt into an error or into silence.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;
use url::Url;

use super::super::json::Fields;
use super::Brand;
use crate::error::Result;

/// What was read of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows, in the order they came. A list that moved while it was read may give one twice.
    pub rows: Vec<T>,
    /// Whether this is all of it: the last page was reached, every row could be read, and there are no fewer than `@total`
    /// says.
    pub complete: bool,
    /// Pages read.
    pub pages: usize,
}

/// One page of a list.
pub(crate) struct Page<T> {
    rows: Vec<T>,
    /// Rows that could not be read.
    unusable: usize,
    total: Option<usize>,
    next: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn into_rows(self) -> Vec<T> {
        self.rows
    }
}

impl Brand {
    /// Reads at most `pages` pages of a list; `None` where the vendor answers the first with 404.
    pub(super) async fn list<T>(
        &self,
        endpoint: &'static str,
        first: Url,
        pages: usize,
        decode: impl Fn(&Bytes) -> Option<Page<T>>,
    ) -> Result<Option<Listed<T>>> {
        let mut list = Listed { rows: Vec::new(), complete: false, pages: 0 };
        let (mut sound, mut most, mut seen, mut url) = (true, 0, HashSet::new(), first);
        while list.pages < pages && seen.insert(url.clone()) {
            let Some(page) = self.0.client.get(endpoint, &url, &decode).await? else {
                // A later page that is not there ends the list without its end having been seen.
                return Ok((list.pages > 0).then_some(list));
            };
            list.pages += 1;
            list.rows.extend(page.rows);
            sound &= page.unusable == 0;
            most = most.max(page.total.unwrap_or_default());
            let Some(next) = page.next else {
                list.complete = sound && list.rows.len() >= most;
                break;
            };
            url = self.follow(&next)?;
        }
        Ok(Some(list))
    }
}

/// A page whose rows lie under one of these names, or are all there is. One object in the place of a list is one row: an
/// answer that was XML once may have lost its brackets.
pub(super) fn page<T>(body: &Bytes, names: &[&str], row: impl Fn(&Fields, &str) -> Option<T>) -> Option<Page<T>> {
    let (list, total, next) = if body.trim_ascii_start().first() == Some(&b'[') {
        (rows_of(body)?, None, None)
    } else {
        let fields = Fields::parse(body)?;
        let list = names.iter().find_map(|name| fields.raw(name))?;
        let total = fields.text("@total").and_then(|total| total.trim().parse().ok());
        (rows_of(list.get().as_bytes())?, total, fields.text("@nextpageuri"))
    };
    let length = list.len();
    let rows: Vec<T> = list.iter().filter_map(|raw| row(&Fields::parse(raw.get().as_bytes())?, raw.get())).collect();
    Some(Page { unusable: length - rows.len(), rows, total, next })
}

fn rows_of(text: &[u8]) -> Option<Vec<Box<RawValue>>> {
    match text.trim_ascii_start().first()? {
        b'[' => serde_json::from_slice(text).ok(),
        b'{' => Some(vec![serde_json::from_slice(text).ok()?]),
        // An empty list, as a reader of XML writes it.
        b'n' | b'"' => matches!(text, b"null" | b"\"\"").then(Vec::new),
        _ => None,
    }
}
