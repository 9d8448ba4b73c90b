//! Changes to a whole text that may turn it into the order ID that a person meant.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

use super::marks::{is_blank, is_mark, unseen};
use super::{Candidate, joined};

/// One kind of change: the changed text and the change in words; `None` if it changes nothing.
type Edit = fn(&str) -> Option<(String, String)>;

/// In the order in which they are combined.
const EDITS: &[Edit] =
    &[without_marks, in_ordinary_characters, unescaped, unquoted, bare, undecimal, compact, other_hash];

/// Combinations of edits that are looked at.
const MOST: usize = 64;

/// Every text that a combination of edits gives; those with the fewest edits first.
pub(super) fn of(text: &str) -> Vec<Candidate> {
    let mut found = vec![(0_usize, Candidate { text: text.to_owned(), because: String::new() })];
    for edit in EDITS {
        let mut edited = Vec::new();
        for (edits, from) in &found {
            let Some((text, because)) = edit(&from.text).filter(|(text, _)| !text.is_empty()) else { continue };
            let known = found.iter().chain(&edited).any(|(_, known)| known.text == text);
            if !known && found.len() + edited.len() < MOST {
                edited.push((edits + 1, Candidate { text, because: joined(&from.because, &because) }));
            }
        }
        found.extend(edited);
    }
    found.remove(0);
    found.sort_by_key(|(edits, _)| *edits);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The text without marks, in ordinary characters.
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
    let marks = unseen(text)?;
    Some((text.chars().filter(|c| !is_mark(*c)).collect(), format!("without {marks}")))
}

/// Full-width and other forms of a character as the ordinary one, digits of any script as 0 to 9, any blank as a space.
fn in_ordinary_characters(text: &str) -> Option<(String, String)> {
    if text.is_ascii() {
        return None;
    }
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let ordinary: String = composed.chars().map(|c| if is_blank(c) { ' ' } else { digit(c).unwrap_or(c) }).collect();
    (ordinary != text).then(|| (ordinary, "in ordinary characters".to_owned()))
}

/// The ASCII digit of a decimal digit of any script. Unicode keeps the ten digits of a script in one run.
fn digit(c: char) -> Option<char> {
    let is_digit = |c: char| CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::DecimalNumber;
    if c.is_ascii() || !is_digit(c) {
        return None;
    }
    let before = |n: u32| u32::from(c).checked_sub(n).and_then(char::from_u32).is_some_and(is_digit);
    let value = (1..=10).take_while(|n| before(*n)).count();
    u32::try_from(value).ok().and_then(|value| char::from_digit(value, 10))
}

/// `%231001` as `#1001`.
fn unescaped(text: &str) -> Option<(String, String)> {
    if !text.contains('%') {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| (decoded.into_owned(), "with its %-escapes read".to_owned()))
}

/// Without blanks and quotes around it.
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

/// Without anything around it that is neither a letter, a digit nor `#`.
fn bare(text: &str) -> Option<(String, String)> {
    let around = |c: char| c != '#' && !c.is_alphanumeric();
    let bare = text.trim_matches(around);
    (bare != text).then(|| (bare.to_owned(), "without the punctuation around it".to_owned()))
}

/// `1001.0` as `1001`: a program took the ID for a number.
fn undecimal(text: &str) -> Option<(String, String)> {
    let (whole, zeros) = text.rsplit_once('.')?;
    let is_number = !whole.is_empty() && whole.trim_start_matches('#').bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0');
    (is_number && is_zero).then(|| (whole.to_owned(), format!("without .{zeros} behind it")))
}

/// Without blanks and commas inside: `1,001` and `10 01` as `1001`.
fn compact(text: &str) -> Option<(String, String)> {
    let compact: String = text.chars().filter(|c| !is_blank(*c) && *c != ',').collect();
    (compact != text).then(|| (compact, "without the blanks and commas in it".to_owned()))
}

/// Without the `#` in front, or with one.
fn other_hash(text: &str) -> Option<(String, String)> {
    let bare = text.trim_start_matches('#');
    let other = if bare == text {
        (format!("#{text}"), "with a # in front".to_owned())
    } else {
        (bare.to_owned(), "without the # in front".to_owned())
    };
    (!text.is_empty()).then_some(other)
}
