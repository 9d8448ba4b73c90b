//! What is odd about a token, an Account SID or a tenant, said without a part of it.
//!
//! A value that was pasted, or that came from a file of another program, often carries quotes, blanks, a byte order mark or the name
//! of its variable. The vendor only says 401 to that. Pure, and it must never repeat what it looks at.

use crate::error::{Error, Kind, Result};

/// What is odd about one value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// With these it can never be sent: they are no part of an HTTP header.
    impossible: Vec<String>,
    /// With these it can be sent, and is hardly what the vendor gave out.
    unlikely: Vec<&'static str>,
}

impl Oddities {
    /// Looks at a value.
    pub(crate) fn of(text: &str) -> Self {
        let mut odd = Self::default();
        let has = |is: fn(char) -> bool| text.chars().any(is);
        if text.starts_with('\u{feff}') {
            odd.impossible.push("begins with a byte order mark (BOM)".to_owned());
        }
        if has(|c| matches!(c, '\r' | '\n')) {
            odd.impossible.push("has a line end in it (CR or LF)".to_owned());
        }
        if has(|c| c.is_control() && !matches!(c, '\r' | '\n')) {
            odd.impossible.push("has a control character in it".to_owned());
        }
        if let Some(found) = text.trim_start_matches('\u{feff}').chars().find(|&c| is_invisible(c)) {
            odd.impossible.push(format!("has an invisible character in it (U+{:04X})", u32::from(found)));
        }
        if has(is_typographic_quote) {
            odd.impossible.push("has typographic quotes in it".to_owned());
        }
        if has(|c| !c.is_ascii() && !c.is_control() && !is_invisible(c) && !is_typographic_quote(c)) {
            odd.impossible.push("has a character in it that is not ASCII".to_owned());
        }

        let visible = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
        let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
        if text.starts_with(' ') || text.ends_with(' ') {
            odd.unlikely.push("has a blank at its beginning or end");
        }
        if visible.contains(' ') && scheme(visible).is_none() {
            odd.unlikely.push("has a blank in it");
        }
        if visible.starts_with(is_quote) || visible.ends_with(is_quote) {
            odd.unlikely.push("has quotes around it");
        }
        if has_name_in_front(visible.trim_start_matches(is_quote)) {
            odd.unlikely.push("has the name of a variable and = in front");
        }
        if scheme(visible.trim_start_matches(is_quote)).is_some() {
            odd.unlikely.push("has the name of a scheme (Basic, Bearer) in front");
        }
        if visible.starts_with(['$', '<', '{']) {
            odd.unlikely.push("looks like a placeholder that nobody filled in");
        }
        odd
    }

    /// Both together, as the end of a sentence; `None` if nothing is odd.
    pub(crate) fn describe(&self) -> Option<String> {
        let all: Vec<&str> = self.impossible.iter().map(String::as_str).chain(self.unlikely.iter().copied()).collect();
        if all.is_empty() { None } else { Some(all.join(", and ")) }
    }

    /// Refuses a value that can never be sent. `source` names its variable, file or setting.
    ///
    /// # Errors
    /// `Kind::Config`.
    pub(crate) fn refuse(&self, source: &str) -> Result<()> {
        match self.describe() {
            Some(what) if !self.impossible.is_empty() => {
                Err(Error::new(Kind::Config, format!("{source} {what}: it cannot be sent to the vendor")).hint(
                    "write the value alone, on one line, as plain text without quotes; type it anew if it was pasted",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// `KEY=` as in a file of variables. A token may end with =.
fn has_name_in_front(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    text.split_once('=').is_some_and(|(name, value)| {
        let is_name = |b: u8| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit();
        name.len() >= 3
            && name.bytes().all(is_name)
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && (name.contains('_') || ["TOKEN", "SID", "TENANT", "KEY", "SECRET", "PASSWORD"].contains(&name))
            && !value.trim_matches('=').is_empty()
    })
}

fn scheme(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once(' ')?;
    let is_scheme =
        ["basic", "bearer", "token"].iter().any(|name| first.trim_end_matches(':').eq_ignore_ascii_case(name));
    (is_scheme && !rest.trim().is_empty()).then_some(first)
}

fn is_typographic_quote(c: char) -> bool {
    matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2039}' | '\u{203a}')
}

/// Blanks beside the ASCII one, and characters without any width.
fn is_invisible(c: char) -> bool {
    (c.is_whitespace() && !c.is_ascii() && !c.is_control())
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_oddity_is_named_and_a_plain_token_has_none() {
        for (text, expected, is_refused) in [
            ("AbC123-._~+/=", None, false),
            ("abcDEF==", None, false),
            ("TOKENabc=", None, false),
            ("AB=CD", None, false),
            ("\u{feff}abc", Some("begins with a byte order mark (BOM)"), true),
            ("abc\r", Some("has a line end in it (CR or LF)"), true),
            ("ab\nc", Some("has a line end in it (CR or LF)"), true),
            ("ab\0c", Some("has a control character in it"), true),
            ("ab\tc", Some("has a control character in it"), true),
            ("a\u{200b}bc", Some("has an invisible character in it (U+200B)"), true),
            ("abc\u{a0}", Some("has an invisible character in it (U+00A0)"), true),
            ("\u{201c}abc\u{201d}", Some("has typographic quotes in it"), true),
            ("äbc", Some("has a character in it that is not ASCII"), true),
            (" abc", Some("has a blank at its beginning or end"), false),
            ("ab c", Some("has a blank in it"), false),
            ("\"abc\"", Some("has quotes around it"), false),
            ("'abc", Some("has quotes around it"), false),
            ("RECOUP_AUTH_TOKEN=abc", Some("has the name of a variable and = in front"), false),
            ("TOKEN=abc", Some("has the name of a variable and = in front"), false),
            ("export A_B=abc", Some("has a blank in it, and has the name of a variable and = in front"), false),
            ("\"A_B=abc\"", Some("has quotes around it, and has the name of a variable and = in front"), false),
            ("Bearer abc", Some("has the name of a scheme (Basic, Bearer) in front"), false),
            ("$TOKEN", Some("looks like a placeholder that nobody filled in"), false),
            ("<your token>", Some("has a blank in it, and looks like a placeholder that nobody filled in"), false),
            (
                "\u{feff}\"abc\"\r",
                Some(
                    "begins with a byte order mark (BOM), and has a line end in it (CR or LF), and has quotes around it",
                ),
                true,
            ),
        ] {
            let odd = Oddities::of(text);
            assert_eq!(odd.describe().as_deref(), expected, "{text:?}");
            assert_eq!(odd.refuse("X").is_err(), is_refused, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_refused_is_a_header_value_and_nothing_is_repeated(text in "\\PC{0,20}[a-z\r\n\u{feff}\u{200b}\0ä\" ]{0,6}Zq7Zq7Zq7") {
            let odd = Oddities::of(&text);
            match odd.refuse("X") {
                Ok(()) => prop_assert!(reqwest::header::HeaderValue::from_str(&text).is_ok()),
                Err(error) => {
                    let said = format!("{error:?}");
                    prop_assert!(!said.contains("Zq7"), "{}", said);
                }
            }
            prop_assert!(!odd.describe().unwrap_or_default().contains("Zq7"));
        }
    }
}
