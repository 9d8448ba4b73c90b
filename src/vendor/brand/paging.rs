//! Reads a list of the Brand API page by page, and reports whether it read every row of the list.
//!
//! The client follows the vendor's `@nextpageuri` until it is empty (`docs/vendor/contradictions.md` 26), and never
//! builds the URL of a page itself. Only a complete list of the vendor proves that a row is absent. A vendor's list is
//! incomplete after a page limit, an unreadable row, a wrong total, or a link to an earlier page.

use std::collections::HashSet;

use serde_json::value::RawValue;
use url::Url;

use super::super::loose_json::Fields;
use super::Brand;
use crate::error::Result;

/// The rows of a list that the vendor returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows of the list in the vendor's order. If the vendor's list changes while recoup reads it, a row may appear
    /// twice.
    pub rows: Vec<T>,
    /// Whether `rows` contains the vendor's whole list: the client reached the last page, could read every row, and
    /// found at least `@total` rows.
    pub complete: bool,
    /// The number of pages of the list that the client read.
    pub pages: usize,
}

pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// The number of rows of the list that the client could not read.
    unusable: usize,
    total: Option<usize>,
    next: Option<String>,
}

impl Brand {
    /// Reads at most `max_pages` pages of a vendor's list. Returns `None` if the vendor answers 404 to the request for
    /// the first page.
    pub(super) async fn list<T>(
        &self,
        endpoint: &'static str,
        first: Url,
        max_pages: usize,
        decode: impl Fn(&[u8]) -> Option<Page<T>>,
    ) -> Result<Option<Listed<T>>> {
        let mut list = Listed { rows: Vec::new(), complete: false, pages: 0 };
        let (mut all_readable, mut total, mut seen, mut url) = (true, 0, HashSet::new(), first);
        while list.pages < max_pages && seen.insert(url.clone()) {
            let Some(page) = self.0.client.get(endpoint, &url, &decode).await? else {
                // After a 404 for a later page, the list is incomplete.
                return Ok((list.pages > 0).then_some(list));
            };
            list.pages += 1;
            list.rows.extend(page.rows);
            all_readable &= page.unusable == 0;
            total = total.max(page.total.unwrap_or_default());
            let Some(next) = page.next else {
                list.complete = all_readable && list.rows.len() >= total;
                break;
            };
            url = self.follow(&next)?;
        }
        Ok(Some(list))
    }
}

/// Parses a page of a vendor's list: a bare array, or an object with its rows under one of `keys`. A single object in
/// place of the array is one row, because a conversion from XML may drop the brackets.
pub(super) fn page<T>(body: &[u8], keys: &[&str], row: impl Fn(&Fields, &str) -> Option<T>) -> Option<Page<T>> {
    let (list, total, next) = if body.trim_ascii_start().first() == Some(&b'[') {
        (rows_of(body)?, None, None)
    } else {
        let fields = Fields::parse(body)?;
        let list = keys.iter().find_map(|key| fields.raw(key))?;
        (rows_of(list.get().as_bytes())?, fields.number("@total"), fields.text("@nextpageuri"))
    };
    let length = list.len();
    let rows: Vec<T> = list.iter().filter_map(|raw| row(&Fields::parse(raw.get().as_bytes())?, raw.get())).collect();
    Some(Page { unusable: length - rows.len(), rows, total, next })
}

fn rows_of(text: &[u8]) -> Option<Vec<Box<RawValue>>> {
    match text.trim_ascii_start().first()? {
        b'[' => serde_json::from_slice(text).ok(),
        b'{' => Some(vec![serde_json::from_slice(text).ok()?]),
        // A conversion from XML writes an empty list as null or as an empty string.
        b'n' | b'"' => matches!(text, b"null" | b"\"\"").then(Vec::new),
        _ => None,
    }
}
