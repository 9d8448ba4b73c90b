//! Lenient reading of the vendor's JSON, and of what arrives in its place.
//!
//! Numbers and strings are taken for one another, IDs stay text to the last digit, keys of error envelopes are found
//! without case, a missing key is a null (`contradictions.md` 23, 24, 38). Pure, and it must never repeat a body in an error:
//! bodies hold personal data.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON object whose keys are found without case and whose values keep their text.
pub(crate) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// `None` where the text is no JSON object.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// The raw value of a key: spelled exactly, or else in any case.
    pub(crate) fn raw(&self, key: &str) -> Option<&RawValue> {
        let exact = self.0.get(key);
        exact.or_else(|| self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v)).map(AsRef::as_ref)
    }

    /// The value of a key as text; `None` for null, empty, or anything that is neither string nor number.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        text(self.raw(key)?).filter(|t| !t.is_empty())
    }
}

/// A string's text or a number's digits, exactly as they came.
pub(crate) fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// Whether a body is the text of one JSON value of some kind.
pub(crate) fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// What a body is, where it is not the JSON that was asked for; a fragment of a sentence.
///
/// The Brand API answers XML unless JSON is asked for (`brand-api.md` §7); proxies answer HTML pages.
pub(crate) fn what_instead(body: &[u8]) -> &'static str {
    let head = &body[..body.len().min(512)];
    let lower = head.to_ascii_lowercase();
    let has = |needle: &[u8]| lower.windows(needle.len()).any(|w| w == needle);
    match head.trim_ascii_start().first() {
        None => "an empty body",
        Some(b'<') if has(b"<html") || has(b"<!doctype") => "an HTML page where JSON was expected",
        Some(b'<') => "XML where JSON was expected",
        Some(_) if is_json(body) => "JSON of another shape than expected",
        Some(_) => "JSON that is cut off or broken",
    }
}

/// The vendor's explanation of an error, from any of its three envelopes (`contradictions.md` 24).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Brand's or Advocate's `message`, with the fields it names. May hold IDs: never goes into an [`crate::error::Error`].
    pub(crate) message: Option<String>,
    /// Advocate's `apiErrorCode`.
    pub(crate) api_error_code: Option<String>,
    /// Advocate's `rsCode`.
    pub(crate) rs_code: Option<String>,
}

impl Complaint {
    /// Whatever can be recognised; nothing where nothing is.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let Some(fields) = Fields::parse(body) else { return Self::default() };
        let mut message = fields.text("message");
        let rows = fields.raw("errors").and_then(|raw| serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()).ok());
        for row in rows.unwrap_or_default() {
            let Some(row) = Fields::parse(row.get().as_bytes()) else { continue };
            let Some(text) = row.text("message") else { continue };
            let text = row.text("field").map_or_else(|| text.clone(), |field| format!("{field}: {text}"));
            message = Some(message.map_or_else(|| text.clone(), |so_far| format!("{so_far}; {text}")));
        }
        Self { message, api_error_code: fields.text("apiErrorCode"), rs_code: fields.text("rsCode") }
    }

    /// The codes, which are safe to repeat: only what looks like a code.
    pub(crate) fn codes(&self) -> String {
        let plain = |code: &&String| {
            code.len() <= 40 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let codes: Vec<&str> =
            [&self.api_error_code, &self.rs_code].into_iter().flatten().filter(plain).map(String::as_str).collect();
        if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
    }

    /// Whether an RS code is one of these.
    pub(crate) fn is_rs(&self, codes: &[&str]) -> bool {
        self.rs_code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// Whether the vendor does not know the tenant: TENANT_NOT_FOUND, RS015 and RS038 (alias missing or unknown), RS031
    /// (tenant deleted), RS045 (`advocate-api.md` §6).
    pub(crate) fn is_tenant(&self) -> bool {
        self.api_error_code.as_deref() == Some("TENANT_NOT_FOUND") || self.is_rs(&["RS015", "RS031", "RS038", "RS045"])
    }
}
