//! Query strings, form bodies and path segments.
//!
//! Decoded like forms: `+` is a space. An e-mail address with a plus that a client forgot to encode is therefore another
//! account, as with the vendor.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The first value of a key, decoded.
pub(super) fn value<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    raw(query, key).map(decode)
}

/// The first value of a key, as it was sent.
pub(super) fn raw<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((name, value)) if name == key => Some(value),
        _ => None,
    })
}

/// The number of a key, if it is present and valid.
pub(super) fn number(query: &str, key: &str) -> Option<u64> {
    value(query, key)?.parse().ok()
}

/// Every pair of a form, decoded, in order.
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

/// A decoded path segment, in which a plus stays a plus.
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
