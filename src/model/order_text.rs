//! Finds the order IDs that a person may mean by a typed or pasted text. `order_text` does no I/O.
//!
//! recoup never repairs an order ID. [`candidates`] returns texts that may be the order ID, each with its difference
//! from the pasted text. The caller offers the candidates that the index contains, and never acts on a candidate
//! without the person's choice.

mod edits;
mod marks;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use marks::{invisible_marks, visible};
pub use parts::{has_url, split, split_indices};

use super::OrderId;

/// The largest number of candidates for one pasted text. A long URL would give too many candidates.
const MAX_CANDIDATES: usize = 40;

/// A text that may be the order ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub text: String,
    /// A description of the candidate's difference from the pasted text, such as "without U+202C behind it" or "the end
    /// of the URL".
    pub because: String,
}

/// Returns the order IDs that a text may mean, the likeliest first. The candidates contain neither the pasted text
/// itself nor an empty text.
pub fn candidates(text: &str) -> Vec<Candidate> {
    let mut found = Candidates::of_whole(text);
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

/// Returns the candidates from the whole text, without candidates from its parts.
pub fn whole_candidates(text: &str) -> Vec<Candidate> {
    Candidates::of_whole(text).into_list()
}

/// Returns the text in lower case and ordinary width, without marks, blanks, a leading `#` and leading zeros. Order IDs
/// that look alike have the same skeleton. recoup finds candidate orders by the skeletons of their IDs. A look-up of an
/// order compares the exact ID instead of the skeleton.
pub fn skeleton(text: &str) -> String {
    let folded = OrderId::new(text).folded();
    let is_plain = folded.bytes().all(|byte| byte.is_ascii_graphic());
    let plain = if is_plain { folded } else { OrderId::new(edits::plain(&folded).text).folded() };
    plain.trim_start_matches(['#', '0']).to_owned()
}

/// Returns the text without invisible marks. Replaces full-width letters, unusual blanks and digits of other scripts by the
/// characters of a keyboard.
pub fn ordinary(text: &str) -> String {
    edits::plain(text).text
}

/// Describes the difference between a text and a known order ID with the same [`skeleton`]. Returns an empty text if
/// the text and the order ID are equal.
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

/// Returns `true` if a text looks like an e-mail address.
pub fn is_email(text: &str) -> bool {
    let Some((person, domain)) = text.trim().rsplit_once('@') else { return false };
    let is_domain = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    !person.is_empty() && is_domain && !text.trim().contains(char::is_whitespace)
}

/// Joins two descriptions of a candidate with a comma. Skips a description that is empty.
pub fn joined(one: &str, other: &str) -> String {
    [one, other].into_iter().filter(|because| !because.is_empty()).collect::<Vec<_>>().join(", ")
}

/// An ordered list of order ID candidates without duplicates.
struct Candidates {
    seen: BTreeSet<String>,
    first: Vec<Candidate>,
    last: Vec<Candidate>,
}

impl Candidates {
    fn of_whole(text: &str) -> Self {
        Self { seen: [text.to_owned(), String::new()].into(), first: edits::of(text), last: Vec::new() }
    }

    fn add(&mut self, text: String, because: String) {
        self.first.push(Candidate { text, because });
    }

    /// Adds a candidate that is less likely than every candidate of [`Candidates::add`].
    fn later(&mut self, text: String, because: String) {
        self.last.push(Candidate { text, because });
    }

    fn into_list(self) -> Vec<Candidate> {
        let Self { mut seen, first, last } = self;
        let all = first.into_iter().chain(last);
        all.filter(|candidate| seen.insert(candidate.text.clone())).take(MAX_CANDIDATES).collect()
    }
}
