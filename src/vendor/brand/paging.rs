//! Reads a list of the Brand API page by page, and tells whether all of it was read.
//!
//! The client follows `@nextpageuri` until it is empty (`docs/vendor/contradictions.md` 26) and never computes a page.
//! Only a complete list proves that something is absent. So a list counts as incomplete after a page limit, a row that
//! cannot be read, a wrong total, or a link to an earlier page.

use std::collections::HashSet;

use serde_json::value::RawValue;
use url::Url;

use super::super::loose_json::Fields;
use super::Brand;
use crate::error::Result;

/// The rows of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In the vendor's order. A list that changes while it is read may give a row twice.
    pub rows: Vec<T>,
    /// Whether these are all rows: the last page was reached, every row could be read, and there are at least as many
    /// as `@total`.
    pub complete: bool,
    /// The number of pages that were read.
    pub pages: usize,
}

pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// The number of rows that cannot be read.
    unusable: usize,
    total: Option<usize>,
    next: Option<String>,
}

impl Brand {
    /// Reads at most `max_pages` pages; `None` if the vendor answers 404 to the first.
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
                // If a later page is missing, the end of the list was not seen.
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

/// Reads a page whose rows are under one of these keys, or that is a bare array. A single object in place of the array
/// is one row: a conversion from XML may have lost the brackets.
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
        // A conversion from XML writes an empty list like this.
        b'n' | b'"' => matches!(text, b"null" | b"\"\"").then(Vec::new),
        _ => None,
    }
}
