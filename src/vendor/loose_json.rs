//! Parses the vendor's JSON leniently.
//!
//! The vendor may send a number as a string or a string as a number, may change the case of a key, and may omit a key
//! instead of sending null (`docs/vendor/contradictions.md` 23, 24, 38). The parser keeps every digit of an ID.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON object with keys that ignore case and values that keep their original text.
pub(crate) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// Returns `None` if the response body is not a JSON object.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// Returns the raw value of a JSON key. An exact key takes precedence over a key in another case.
    pub(crate) fn raw(&self, key: &str) -> Option<&RawValue> {
        let exact = self.0.get(key);
        exact.or_else(|| self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v)).map(AsRef::as_ref)
    }

    /// Returns the value of a JSON key as text. Returns `None` for null, an empty string, and JSON types other than
    /// string and number.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        text(self.raw(key)?).filter(|text| !text.is_empty())
    }

    /// Returns the text of the first of these JSON keys that has a text.
    pub(crate) fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.trim().parse().ok()
    }
}

/// Returns the content of a JSON string, or the original digits of a JSON number.
pub(crate) fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// Returns a JSON value as text like [`text`], for a key that may be missing. Also returns `None` for an empty JSON
/// string.
pub(crate) fn filled(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(text).filter(|text| !text.is_empty())
}

pub(crate) fn number<T: std::str::FromStr>(raw: Option<&RawValue>) -> Option<T> {
    raw.and_then(text)?.trim().parse().ok()
}

pub(crate) fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}
