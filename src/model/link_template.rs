//! A link to another system, with a place for an ID: `https://shop.example/admin/orders/{order_id}`.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// The characters that a link escapes: all but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A checked template for links. Every link from the template leads to the template's host, whatever the ID is.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkTemplate {
    before: String,
    after: String,
}

impl LinkTemplate {
    /// Parses a link template. `placeholder` is the text that stands for the ID, with its braces. The parse error is a
    /// sentence about the template's text.
    pub fn parse(text: &str, placeholder: &str) -> Result<Self, String> {
        let Some((before, after)) = text.split_once(placeholder) else {
            return Err(format!("has no {placeholder}"));
        };
        if after.contains(placeholder) {
            return Err(format!("has {placeholder} twice"));
        }
        let url = Url::parse(before).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is not a URL of http or https".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("contains a user name or a password".to_owned());
        }
        // An ID in the host name of the link would lead to another host.
        let rest = before.split_once("://").map_or("", |(_, rest)| rest);
        if !rest.contains(['/', '?', '#']) {
            return Err(format!("has {placeholder} in its host name"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("contains a blank or a control character".to_owned());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// Returns the link for an ID; `None` for `.` and `..`, which a browser removes from a path.
    pub fn link(&self, id: &str) -> Option<String> {
        let is_dots = id.is_empty() || id == "." || id == "..";
        (!is_dots).then(|| format!("{}{}{}", self.before, utf8_percent_encode(id, ESCAPED), self.after))
    }
}

impl fmt::Debug for LinkTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_needs_http_a_host_and_one_place_for_the_id() {
        for (text, wrong) in [
            ("https://shop.example/orders/{order_id}", None),
            ("http://127.0.0.1:8080/?q={order_id}&tab=1", None),
            ("https://shop.example/orders", Some("has no {order_id}")),
            ("https://shop.example/{order_id}/{order_id}", Some("has {order_id} twice")),
            ("javascript:alert({order_id})", Some("is not a URL of http or https")),
            ("/orders/{order_id}", Some("is not a URL: relative URL without a base")),
            ("https://{order_id}.shop.example/", Some("is not a URL: empty host")),
            ("https://shop{order_id}", Some("has {order_id} in its host name")),
            ("https://me:secret@shop.example/{order_id}", Some("contains a user name or a password")),
            ("https://shop.example/a b/{order_id}", Some("contains a blank or a control character")),
        ] {
            let parsed = LinkTemplate::parse(text, "{order_id}").map(drop);
            assert_eq!(parsed, wrong.map_or(Ok(()), |why| Err(why.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_id_changes_the_host_or_the_rest_of_a_link(id: String) {
            let template = LinkTemplate::parse("https://shop.example/o/{order_id}/edit?x=1", "{order_id}").expect("valid");
            if let Some(link) = template.link(&id) {
                let url = Url::parse(&link).expect("a URL");
                prop_assert_eq!(url.host_str(), Some("shop.example"));
                prop_assert_eq!(url.query(), Some("x=1"));
                prop_assert!(url.path().starts_with("/o/") && url.path().ends_with("/edit"));
            }
        }
    }
}
