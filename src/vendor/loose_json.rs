//! Lenient access to the vendor's JSON.
//!
//! A number may arrive as a string and a string as a number, an ID keeps every digit, the case of a key does not matter, and a
//! missing key is a null (`docs/vendor/contradictions.md` 23, 24, 38).

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON object with lenient keys, whose values keep their text.
pub(crate) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// `None` unless the text is a JSON object.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// The raw value of a key in its exact spelling, or else in any case.
    pub(crate) fn raw(&self, key: &str) -> Option<&RawValue> {
        let exact = self.0.get(key);
        exact.or_else(|| self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v)).map(AsRef::as_ref)
    }

    /// The value of a key as text; `None` for null, for an empty text, and for other types than string and number.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        text(self.raw(key)?).filter(|text| !text.is_empty())
    }

    /// The first of several keys that has a text.
    pub(crate) fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.trim().parse().ok()
    }
}

/// The text of a string, or the digits of a number as they arrived.
pub(crate) fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// As [`text`], for a key that may be missing; `None` for an empty text too.
pub(crate) fn filled(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(text).filter(|text| !text.is_empty())
}

pub(crate) fn number<T: std::str::FromStr>(raw: Option<&RawValue>) -> Option<T> {
    raw.and_then(text)?.trim().parse().ok()
}

pub(crate) fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}
