//! Invisible characters that a person may copy along with an order ID.

use std::borrow::Cow;

use icu_properties::props::{
    BidiControl, DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// An invisible character that Unicode does not class as white space.
const BRAILLE_BLANK: char = '\u{2800}';

/// Returns `true` if a character is an invisible mark: default-ignorable, bidirectional, another format character, or a
/// control character other than white space.
pub(super) fn is_mark(c: char) -> bool {
    // Answers for ASCII characters without a Unicode table, because order IDs are nearly always ASCII.
    if c.is_ascii() {
        return c.is_ascii_control() && !is_blank(c);
    }
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<BidiControl>().contains(c)
        || c == BRAILLE_BLANK
        || is_invisible_category(c)
}

fn is_invisible_category(c: char) -> bool {
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        // U+0600 and similar format characters are visible.
        GeneralCategory::Format => !CodePointSetData::new::<PrependedConcatenationMark>().contains(c),
        GeneralCategory::Control => !is_blank(c),
        _ => false,
    }
}

/// Returns `true` if a character is white space of any kind.
pub(super) fn is_blank(c: char) -> bool {
    if c.is_ascii() { c.is_whitespace() } else { CodePointSetData::new::<WhiteSpace>().contains(c) }
}

/// Returns `true` if a character looks like a space but is another character.
fn is_odd_blank(c: char) -> bool {
    !c.is_ascii() && is_blank(c)
}

/// Describes each invisible mark and each unusual blank of a text with its place, such as "U+202C behind it". Returns
/// `None` if the text has neither invisible marks nor unusual blanks.
pub fn invisible_marks(text: &str) -> Option<String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    named(text, |c| is_mark(c) || is_odd_blank(c))
}

/// Writes out each invisible mark, as in `1001<U+202C>`. A person sees the written mark, and a terminal does not
/// interpret it.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_mark) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if is_mark(c) { format!("<U+{:04X}>", u32::from(c)) } else { c.to_string() });
    Cow::Owned(shown.collect())
}

/// Describes the invisible marks of a text, but not its blanks.
pub(super) fn marks_in(text: &str) -> Option<String> {
    named(text, is_mark)
}

fn named(text: &str, is_named: impl Fn(char) -> bool) -> Option<String> {
    let is_part = |c: char| !is_mark(c) && !is_blank(c);
    let first = text.find(is_part).unwrap_or(text.len());
    let last = text.rfind(is_part).unwrap_or(0);
    let mut names: Vec<String> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| is_named(*c)) {
        let place = if first == text.len() {
            "alone"
        } else if at < first {
            "in front of it"
        } else if at > last {
            "behind it"
        } else {
            "in it"
        };
        let name = format!("U+{:04X} {place}", u32::from(c));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        None => None,
        Some((only, [])) => Some(only.clone()),
        Some((last, others)) => Some(format!("{} and {last}", others.join(", "))),
    }
}

/// The largest number of invisible marks that a description lists one by one.
const MAX_NAMED: usize = 4;
