//! What people type and paste where an order ID is expected, and which order IDs they may mean. Pure.
//!
//! Order IDs are opaque, so nothing here repairs one: [`candidates`] lists texts that *may* be the order ID, each with its
//! difference from the pasted text in words. A caller offers the ones that the index knows and acts on none of them.

mod edits;
mod marks;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use marks::{invisible_marks, visible};
pub use parts::{has_url, split, split_indices};

use super::OrderId;

/// Candidates of one text at most. A long URL has more parts than anybody means.
const MOST: usize = 40;

/// A text that may be the order ID that a person meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The order ID, if this is what the person meant.
    pub text: String,
    /// How it differs from the pasted text: "without U+202C behind it", "the end of the URL".
    pub because: String,
}

/// Everything that a person who pastes this text may mean, the likeliest first. Never the text itself, never empty.
pub fn candidates(text: &str) -> Vec<Candidate> {
    let mut found = Found::of_whole(text);
    let plain = edits::plain(text);
    for part in parts::of(&plain.text) {
        let because = joined(&plain.because, part.because);
        for edited in edits::of(&part.text) {
            found.later(edited.text, joined(&because, &edited.because));
        }
        found.add(part.text, because);
    }
    found.into_list()
}

/// The candidates that come from the whole text, not from one part of it.
pub fn whole_candidates(text: &str) -> Vec<Candidate> {
    Found::of_whole(text).into_list()
}

/// The form in which two order IDs are the same that people cannot tell apart: without marks, blanks, leading `#` and zeros,
/// in one letter case, in ordinary width. It finds candidates and never answers.
pub fn skeleton(text: &str) -> String {
    let folded = OrderId::new(text).folded();
    let is_plain = folded.bytes().all(|byte| byte.is_ascii_graphic());
    let plain = if is_plain { folded } else { OrderId::new(edits::plain(&folded).text).folded() };
    plain.trim_start_matches(['#', '0']).to_owned()
}

/// The text without marks that are not seen, in ordinary characters: full-width letters, odd blanks and other digits are
/// written as on a keyboard.
pub fn ordinary(text: &str) -> String {
    edits::plain(text).text
}

/// How a known order ID differs from a text with the same [`skeleton`], in words. Empty if it is that text.
pub fn difference(text: &str, known: &str) -> String {
    let mut differences = Vec::new();
    if text == known {
        return String::new();
    }
    if let Some(marks) = invisible_marks(known).filter(|_| invisible_marks(text).is_none()) {
        differences.push(format!("the shop's own ID has {marks}"));
    }
    let (text, known) = (edits::plain(text).text, edits::plain(known).text);
    match (text.starts_with('#'), known.starts_with('#')) {
        (false, true) => differences.push("with a # in front".to_owned()),
        (true, false) => differences.push("without the # in front".to_owned()),
        _ => {}
    }
    let compact = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let blanks = |text: &str| text.chars().filter(|c| c.is_whitespace()).count();
    if blanks(&text) != blanks(&known) {
        differences.push("with other blanks".to_owned());
    }
    let (text, known) = (compact(&text), compact(&known));
    let (text, known) = (text.trim_start_matches('#'), known.trim_start_matches('#'));
    let zeros = |text: &str| text.len() - text.trim_start_matches('0').len();
    if zeros(text) != zeros(known) {
        differences.push("with other zeros in front".to_owned());
    }
    if text.trim_start_matches('0') != known.trim_start_matches('0') {
        differences.push("with other upper and lower case letters".to_owned());
    }
    if differences.is_empty() {
        differences.push("written with other characters that look the same".to_owned());
    }
    differences.join(", ")
}

/// Whether a text looks like an e-mail address.
pub fn is_email(text: &str) -> bool {
    let Some((person, domain)) = text.trim().rsplit_once('@') else { return false };
    let is_domain = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    !person.is_empty() && is_domain && !text.trim().contains(char::is_whitespace)
}

/// Two reasons as one.
pub fn joined(one: &str, other: &str) -> String {
    [one, other].into_iter().filter(|because| !because.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Candidates in order, each text once.
struct Found {
    seen: BTreeSet<String>,
    first: Vec<Candidate>,
    last: Vec<Candidate>,
}

impl Found {
    fn of_whole(text: &str) -> Self {
        Self { seen: [text.to_owned(), String::new()].into(), first: edits::of(text), last: Vec::new() }
    }

    fn add(&mut self, text: String, because: String) {
        self.first.push(Candidate { text, because });
    }

    /// Adds what is less likely than everything that [`Found::add`] takes.
    fn later(&mut self, text: String, because: String) {
        self.last.push(Candidate { text, because });
    }

    fn into_list(self) -> Vec<Candidate> {
        let Self { mut seen, first, last } = self;
        let all = first.into_iter().chain(last);
        all.filter(|candidate| seen.insert(candidate.text.clone())).take(MOST).collect()
    }
}
