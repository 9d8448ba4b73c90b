//! Lenient reading of the vendor's JSON, and of what arrives in its place.
//!
//! Numbers and strings are taken for one another, IDs stay text to the last digit, keys of error envelopes are found
//! without case, a missing key is a null (`docs/vendor/contradictions.md` 23, 24, 38). Pure, and it must never repeat a body in an error:
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
/// The Brand API answers XML unless JSON is asked for (`docs/vendor/brand.md` §7); proxies answer HTML pages.
pub(crate) fn what_instead(body: &[u8]) -> &'static str {
    match start_of(body).first() {
        None => "an empty body",
        Some(b'<') if is_page(body) => "an HTML page where JSON was expected, from a firewall, a proxy or a login page",
        Some(b'<') => "XML where JSON was expected",
        Some(_) if is_json(body) => "JSON of another shape than expected",
        Some(_) => "JSON that is cut off or broken",
    }
}

fn start_of(body: &[u8]) -> &[u8] {
    let head = &body[..body.len().min(512)];
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start()
}

fn is_page(body: &[u8]) -> bool {
    let lower = start_of(body).to_ascii_lowercase();
    let has = |needle: &[u8]| lower.windows(needle.len()).any(|w| w == needle);
    lower.starts_with(b"<") && [&b"<html"[..], b"<!doctype html", b"<head", b"<body", b"<title"].into_iter().any(has)
}

/// What an answer is that neither API gives with an error, as a fragment of a sentence: something between recoup and the vendor
/// gave it. `None` for JSON, also broken JSON, for XML and for an empty body.
pub(crate) fn foreign(body: &[u8]) -> Option<String> {
    if is_page(body) {
        let title = title(body).map_or_else(String::new, |title| format!(" ({title:?})"));
        return Some(format!("an HTML page{title}"));
    }
    match start_of(body).first() {
        None | Some(b'<' | b'{' | b'[' | b'"') => None,
        Some(_) if is_json(body) => None,
        Some(_) => Some("plain text".to_owned()),
    }
}

/// The title of a page, as far as it is safe to repeat: plain words and short numbers. A title can hold the URL that was asked for,
/// and with it an account ID.
fn title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(16 << 10)]);
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let is_plain = |word: &&str| {
        let is_word = word.chars().all(|c| c.is_alphabetic() || ".,:;!'|-".contains(c)) && word.chars().count() <= 20;
        // No host name, which has a full stop in its middle.
        let is_sentence = !word.trim_matches(|c: char| !c.is_alphabetic()).contains(['.', ':']);
        (is_word && is_sentence) || (word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()))
    };
    let words: Vec<&str> = text[start..end].split_whitespace().take(8).filter(is_plain).collect();
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

/// The vendor's explanation of an error, from any of its three envelopes (`docs/vendor/contradictions.md` 24).
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
    /// (tenant deleted), RS045 (`docs/vendor/advocate.md` §6).
    pub(crate) fn is_tenant(&self) -> bool {
        self.api_error_code.as_deref() == Some("TENANT_NOT_FOUND") || self.is_rs(&["RS015", "RS031", "RS038", "RS045"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neither_api_sends_is_told_from_what_they_do() {
        for (body, expected) in [
            ("", None),
            ("  \n", None),
            ("{}", None),
            (r#"{"message":"<html>"}"#, None),
            ("{\"cut", None),
            ("<?xml version=\"1.0\"?><ImpactRadiusResponse><Message>no</Message></ImpactRadiusResponse>", None),
            ("<html>", Some("an HTML page")),
            ("\u{feff}<!DOCTYPE html>\n<html>", Some("an HTML page")),
            ("<!-- x --><HTML><HEAD><TITLE>403 Forbidden</TITLE>", Some("an HTML page (\"403 Forbidden\")")),
            ("<?xml version=\"1.0\"?><!DOCTYPE html><html><title>Sign in</title>", Some("an HTML page (\"Sign in\")")),
            (
                "<html><title>Access denied | Example Firewall</title>",
                Some("an HTML page (\"Access denied | Example Firewall\")"),
            ),
            ("<html><title>Verboten: Zugriff</title>", Some("an HTML page (\"Verboten: Zugriff\")")),
            ("<html><title>/api/v1/t/reward?accountId=ann@example.com</title>", Some("an HTML page")),
            (
                "<html><title>ERROR: https://app.example.com/t ann@example.com 192.0.2.7</title>",
                Some("an HTML page (\"ERROR:\")"),
            ),
            ("<html><title>api.impact.com:443 blocked</title>", Some("an HTML page (\"blocked\")")),
            ("<html><title>no end", Some("an HTML page")),
            ("error code: 1020", Some("plain text")),
            ("Forbidden", Some("plain text")),
            ("12", None),
        ] {
            assert_eq!(foreign(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
