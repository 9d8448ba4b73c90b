//! Parses query strings, form bodies and path segments.
//!
//! The simulator decodes query values like forms: `+` is a space. If a client does not encode the plus of an e-mail
//! address, the address therefore means a different account, as at the vendor.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Returns the first value of a query key, decoded.
pub(super) fn value<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    raw(query, key).map(decode)
}

/// Returns the first value of a query key without decoding it.
pub(super) fn raw<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((name, value)) if name == key => Some(value),
        _ => None,
    })
}

/// Returns the value of a query key as a number; `None` if the key is missing or its value is not a number.
pub(super) fn number(query: &str, key: &str) -> Option<u64> {
    value(query, key)?.parse().ok()
}

/// Returns every pair of a form body, decoded, in the order of the form.
pub(super) fn pairs(form: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Decodes a path segment of a URL. A plus in a path segment stays a plus.
pub(super) fn segment(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_space_unless_encoded() {
        let query = "limit=5&accountId=ada%2B1%40example.com&bad=a+b";
        assert_eq!(value(query, "accountId").as_deref(), Some("ada+1@example.com"));
        assert_eq!(value(query, "bad").as_deref(), Some("a b"));
        assert_eq!(number(query, "limit"), Some(5));
        assert_eq!(value(query, "offset"), None);
        assert_eq!(segment("a+b%2F"), "a+b/");
    }
}
