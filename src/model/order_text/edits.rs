//! Changes to a whole text that may turn it into an order ID.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

use super::marks::{is_blank, is_mark, marks_in};
use super::{Candidate, joined};

/// A change to a text that may turn the text into an order ID. The change returns the new text and a description of the
/// change; `None` if the text stays the same.
type Edit = fn(&str) -> Option<(String, String)>;

/// The changes to a text, in the order in which recoup combines them.
const EDITS: &[Edit] =
    &[without_marks, in_ordinary_characters, unescaped, unquoted, bare, undecimal, compact, other_hash];

/// The largest number of combinations of changes to one text.
const MAX_COMBINATIONS: usize = 64;

/// Returns the results of all combinations of changes to a text. Results of fewer changes come before results of more
/// changes.
pub(super) fn of(text: &str) -> Vec<Candidate> {
    let mut found = vec![(0_usize, Candidate { text: text.to_owned(), because: String::new() })];
    for edit in EDITS {
        let mut edited = Vec::new();
        for (edits, from) in &found {
            let Some((text, because)) = edit(&from.text).filter(|(text, _)| !text.is_empty()) else { continue };
            let known = found.iter().chain(&edited).any(|(_, known)| known.text == text);
            if !known && found.len() + edited.len() < MAX_COMBINATIONS {
                edited.push((edits + 1, Candidate { text, because: joined(&from.because, &because) }));
            }
        }
        found.extend(edited);
    }
    found.remove(0);
    found.sort_by_key(|(edits, _)| *edits);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Returns the text without invisible marks and in ordinary characters.
pub(super) fn plain(text: &str) -> Candidate {
    let mut plain = Candidate { text: text.to_owned(), because: String::new() };
    for edit in [without_marks, in_ordinary_characters] {
        if let Some((text, because)) = edit(&plain.text) {
            plain = Candidate { text, because: joined(&plain.because, &because) };
        }
    }
    plain
}

fn without_marks(text: &str) -> Option<(String, String)> {
    let marks = marks_in(text)?;
    Some((text.chars().filter(|c| !is_mark(*c)).collect(), format!("without {marks}")))
}

/// Replaces full-width and other forms of a character by the ordinary one, digits of any script by 0 to 9, and every blank by
/// a space.
fn in_ordinary_characters(text: &str) -> Option<(String, String)> {
    if text.is_ascii() {
        return None;
    }
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let ordinary: String = composed.chars().map(|c| if is_blank(c) { ' ' } else { digit(c).unwrap_or(c) }).collect();
    (ordinary != text).then(|| (ordinary, "in ordinary characters".to_owned()))
}

/// Returns the ASCII digit for a decimal digit of any script. In Unicode, the ten digits of each script have
/// consecutive code points.
fn digit(c: char) -> Option<char> {
    let is_digit = |c: char| CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::DecimalNumber;
    if c.is_ascii() || !is_digit(c) {
        return None;
    }
    let before = |n: u32| u32::from(c).checked_sub(n).and_then(char::from_u32).is_some_and(is_digit);
    let value = (1..=10).take_while(|n| before(*n)).count();
    u32::try_from(value).ok().and_then(|value| char::from_digit(value, 10))
}

/// Decodes the percent-encoding of a text, such as `%231001` to `#1001`.
fn unescaped(text: &str) -> Option<(String, String)> {
    if !text.contains('%') {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| (decoded.into_owned(), "with its %-escapes read".to_owned()))
}

/// Removes blanks and quotes around the text.
fn unquoted(text: &str) -> Option<(String, String)> {
    let is_quote = |c: char| {
        matches!(c, '"' | '\'' | '`' | '\u{b4}' | '\u{201a}' | '\u{201e}')
            || matches!(
                CodePointMapData::<GeneralCategory>::new().get(c),
                GeneralCategory::InitialPunctuation | GeneralCategory::FinalPunctuation
            )
    };
    let (unblanked, unquoted) = (text.trim_matches(is_blank), text.trim_matches(|c| is_blank(c) || is_quote(c)));
    let because = if unblanked == unquoted { "without the blanks around it" } else { "without the quotes around it" };
    (unquoted != text).then(|| (unquoted.to_owned(), because.to_owned()))
}

/// Removes all characters around the text except letters, digits and `#`.
fn bare(text: &str) -> Option<(String, String)> {
    let around = |c: char| c != '#' && !c.is_alphanumeric();
    let bare = text.trim_matches(around);
    (bare != text).then(|| (bare.to_owned(), "without the punctuation around it".to_owned()))
}

/// Removes the decimals of a text, such as `1001.0` to `1001`, because a spreadsheet may have read the ID as a number.
fn undecimal(text: &str) -> Option<(String, String)> {
    let (whole, zeros) = text.rsplit_once('.')?;
    let is_number = !whole.is_empty() && whole.trim_start_matches('#').bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0');
    (is_number && is_zero).then(|| (whole.to_owned(), format!("without .{zeros} behind it")))
}

/// Removes separators and blanks inside a number, such as in `1,001` and `10 01`.
fn compact(text: &str) -> Option<(String, String)> {
    let compact: String = text.chars().filter(|c| !is_blank(*c) && *c != ',').collect();
    (compact != text).then(|| (compact, "without the blanks and commas in it".to_owned()))
}

/// Removes the leading `#` of a text, or adds a `#`.
fn other_hash(text: &str) -> Option<(String, String)> {
    let bare = text.trim_start_matches('#');
    let other = if bare == text {
        (format!("#{text}"), "with a # in front".to_owned())
    } else {
        (bare.to_owned(), "without the # in front".to_owned())
    };
    (!text.is_empty()).then_some(other)
}
