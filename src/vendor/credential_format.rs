//! Checks the format of a token, an Account SID or a tenant.
//!
//! A pasted credential, or a credential in a file that another program wrote, often contains quotes, blanks, a byte
//! order mark or the variable's name. The vendor answers a damaged credential with a 401 without a reason.
//! `credential_format` does no I/O, and its descriptions never repeat any part of the credential.

use crate::error::{Error, Kind, Result};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FormatProblems {
    /// Problems because of which the value cannot be sent in an HTTP header.
    fatal: Vec<String>,
    /// Signs that the vendor has probably not issued the value, although an HTTP header can contain it.
    suspicious: Vec<&'static str>,
}

impl FormatProblems {
    pub(crate) fn of(text: &str) -> Self {
        let mut problems = Self::default();
        let has = |is: fn(char) -> bool| text.chars().any(is);
        if text.starts_with('\u{feff}') {
            problems.fatal.push("begins with a byte order mark (BOM)".to_owned());
        }
        if has(|c| matches!(c, '\r' | '\n')) {
            problems.fatal.push("has a line end in it (CR or LF)".to_owned());
        }
        if has(|c| c.is_control() && !matches!(c, '\r' | '\n')) {
            problems.fatal.push("has a control character in it".to_owned());
        }
        if let Some(found) = text.trim_start_matches('\u{feff}').chars().find(|&c| is_invisible(c)) {
            problems.fatal.push(format!("has an invisible character in it (U+{:04X})", u32::from(found)));
        }
        if has(is_typographic_quote) {
            problems.fatal.push("has typographic quotes in it".to_owned());
        }
        if has(|c| !c.is_ascii() && !c.is_control() && !is_invisible(c) && !is_typographic_quote(c)) {
            problems.fatal.push("has a character in it that is not ASCII".to_owned());
        }

        let visible = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
        let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
        if text.starts_with(' ') || text.ends_with(' ') {
            problems.suspicious.push("has a blank at its beginning or end");
        }
        if visible.contains(' ') && scheme(visible).is_none() {
            problems.suspicious.push("has a blank in it");
        }
        if visible.starts_with(is_quote) || visible.ends_with(is_quote) {
            problems.suspicious.push("has quotes around it");
        }
        if has_name_in_front(visible.trim_start_matches(is_quote)) {
            problems.suspicious.push("has the name of a variable and = in front");
        }
        if scheme(visible.trim_start_matches(is_quote)).is_some() {
            problems.suspicious.push("has the name of a scheme (Basic, Bearer) in front");
        }
        if visible.starts_with(['$', '<', '{']) {
            problems.suspicious.push("looks like a placeholder that was never filled in");
        }
        problems
    }

    /// Describes every problem of a credential, as the end of a sentence; `None` if the credential has no problem.
    pub(crate) fn describe(&self) -> Option<String> {
        let all: Vec<&str> = self.fatal.iter().map(String::as_str).chain(self.suspicious.iter().copied()).collect();
        if all.is_empty() { None } else { Some(all.join(", and ")) }
    }

    /// Fails if the credential is invalid in an HTTP header. `source` is the name of the credential's variable, file or
    /// setting.
    ///
    /// # Errors
    /// Fails with `Config`.
    pub(crate) fn refuse(&self, source: &str) -> Result<()> {
        match self.describe() {
            Some(what) if !self.fatal.is_empty() => Err(Error::new(
                Kind::Config,
                format!("{source} {what}: it cannot be sent to the vendor"),
            )
            .hint(
                "write the value alone, on one line, as plain text without quotes; type it by hand if it was pasted",
            )),
            _ => Ok(()),
        }
    }
}

/// Returns `true` if the text starts with a variable name, as in a line `KEY=value` of an env file. A token without a
/// variable name may end with `=`.
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

/// Returns `true` if the character is a blank other than the ASCII space, or has no width.
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
    fn every_problem_is_named_and_a_plain_token_has_none() {
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
            ("$TOKEN", Some("looks like a placeholder that was never filled in"), false),
            ("<your token>", Some("has a blank in it, and looks like a placeholder that was never filled in"), false),
            (
                "\u{feff}\"abc\"\r",
                Some(
                    "begins with a byte order mark (BOM), and has a line end in it (CR or LF), and has quotes around it",
                ),
                true,
            ),
        ] {
            let problems = FormatProblems::of(text);
            assert_eq!(problems.describe().as_deref(), expected, "{text:?}");
            assert_eq!(problems.refuse("X").is_err(), is_refused, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_value_fits_a_header_and_no_description_repeats_the_value(text in "\\PC{0,20}[a-z\r\n\u{feff}\u{200b}\0ä\" ]{0,6}Zq7Zq7Zq7") {
            let problems = FormatProblems::of(&text);
            match problems.refuse("X") {
                Ok(()) => prop_assert!(reqwest::header::HeaderValue::from_str(&text).is_ok()),
                Err(error) => {
                    let said = format!("{error:?}");
                    prop_assert!(!said.contains("Zq7"), "{}", said);
                }
            }
            prop_assert!(!problems.describe().unwrap_or_default().contains("Zq7"));
        }
    }
}
