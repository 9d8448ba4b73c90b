//! Parses and describes response bodies that are not the expected JSON, such as errors and proxy pages.
//!
//! Both vendor APIs wrap an error in a JSON object (`docs/vendor/contradictions.md` 24). A firewall, a proxy or a login
//! page may answer in place of the vendor's API. Response bodies contain personal data. Therefore a description repeats
//! only error codes and the plain words of a page title.

use serde_json::value::RawValue;

use super::loose_json::{Fields, is_json};

/// Describes a response body that is not the expected JSON, as a fragment of a sentence.
///
/// The Brand API answers with XML if the request does not ask for JSON (`docs/vendor/brand.md` §7). Proxies answer HTML
/// pages.
pub(crate) fn describe_unexpected(body: &[u8]) -> &'static str {
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

/// Describes an error body that comes from neither vendor API, as a fragment of a sentence. Returns `None` for JSON
/// (even if it is invalid), XML and an empty body, because the vendor's APIs may send such a body.
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

/// Returns the plain words and short numbers of an HTML page's title. The title of a page may contain the requested
/// URL, which contains an account ID.
fn title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(16 << 10)]);
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let is_plain = |word: &&str| {
        let is_word = word.chars().all(|c| c.is_alphabetic() || ".,:;!'|-".contains(c)) && word.chars().count() <= 20;
        // A host name contains a full stop between letters.
        let is_host_name = word.trim_matches(|c: char| !c.is_alphabetic()).contains(['.', ':']);
        (is_word && !is_host_name) || (word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()))
    };
    let words: Vec<&str> = text[start..end].split_whitespace().take(8).filter(is_plain).collect();
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

/// The vendor's explanation of an error. The vendor publishes three JSON formats for an error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    /// The vendor's `message`, including the fields that it mentions. The vendor's message may contain IDs. Therefore
    /// no [`crate::error::Error`] contains the vendor's message.
    pub(crate) message: Option<String>,
    /// The `apiErrorCode` of the Advocate API.
    pub(crate) api_error_code: Option<String>,
    /// The `rsCode` of the Advocate API.
    pub(crate) rs_code: Option<String>,
}

impl ErrorBody {
    /// Parses the known fields of a vendor's error. Every field of the error is `None` if the body has another shape.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let Some(fields) = Fields::parse(body) else { return Self::default() };
        let rows = fields.raw("errors").and_then(|raw| serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()).ok());
        let of_row = |row: Box<RawValue>| {
            let row = Fields::parse(row.get().as_bytes())?;
            let text = row.text("message")?;
            Some(row.text("field").map_or_else(|| text.clone(), |field| format!("{field}: {text}")))
        };
        let rows = rows.unwrap_or_default().into_iter().filter_map(of_row);
        let texts: Vec<String> = fields.text("message").into_iter().chain(rows).collect();
        let message = (!texts.is_empty()).then(|| texts.join("; "));
        Self { message, api_error_code: fields.text("apiErrorCode"), rs_code: fields.text("rsCode") }
    }

    /// Formats the error codes of the vendor in brackets. A value that does not look like an error code is left out,
    /// because it may contain an ID.
    pub(crate) fn codes(&self) -> String {
        let is_code = |code: &&String| {
            code.len() <= 40 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let codes: Vec<&str> =
            [&self.api_error_code, &self.rs_code].into_iter().flatten().filter(is_code).map(String::as_str).collect();
        if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
    }

    /// Returns `true` if the `rsCode` of the error is one of these codes.
    pub(crate) fn is_rs(&self, codes: &[&str]) -> bool {
        self.rs_code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// Returns `true` if the error means that the vendor does not know the tenant: TENANT_NOT_FOUND, RS015 and RS038
    /// (alias missing or unknown), RS031 (tenant deleted), RS045 (`docs/vendor/advocate.md` §6).
    pub(crate) fn is_tenant(&self) -> bool {
        self.api_error_code.as_deref() == Some("TENANT_NOT_FOUND") || self.is_rs(&["RS015", "RS031", "RS038", "RS045"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_neither_api_sends_is_recognised() {
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
