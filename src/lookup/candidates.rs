//! Finds orders of the index that a pasted text may mean. The page and the commands offer the candidate orders and
//! never act on a candidate automatically.
//!
//! Every query for candidates is an index look-up by key. A plain order ID needs one index look-up for its candidates,
//! and a long URL needs about a dozen.

use std::collections::BTreeSet;

use serde::Serialize;

use super::other_id::{self, OtherId, ParticipantIds};
use crate::error::Result;
use crate::model::OrderId;
use crate::model::order_text::{self, Candidate, difference, has_url, invisible_marks, is_email, joined, skeleton};
use crate::store::index::IndexReader;

/// Maximum number of candidate orders for one pasted text.
const MAX_CANDIDATES: usize = 5;

/// An order of the index that the user may have meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownCandidate {
    /// The candidate's order ID in the index.
    pub order_id: OrderId,
    /// The candidate's difference from the pasted text: "without U+202C behind it", "with a # in front".
    pub because: String,
}

impl KnownCandidate {
    /// Formats the candidate as `"#1001" (with a # in front)`, with invisible characters escaped.
    pub fn describe(&self) -> String {
        format!("{:?} ({})", self.order_id.as_str(), self.because)
    }
}

/// Returns the orders that the text may mean, most likely first. The result excludes an order that has exactly this ID.
pub fn known(reader: &IndexReader, order_id: &OrderId) -> Result<Vec<KnownCandidate>> {
    let candidates = order_text::candidates(order_id.as_str());
    let itself = Candidate { text: order_id.as_str().to_owned(), because: String::new() };
    let mut looked_up = BTreeSet::new();
    let mut found: Vec<KnownCandidate> = Vec::new();
    for candidate in std::iter::once(itself).chain(candidates.iter().cloned()) {
        // One look-up finds every order ID with the same key. The keys of order IDs ignore non-ASCII characters.
        // Therefore texts with the same ASCII characters need only one look-up.
        let ascii: String = candidate.text.chars().filter(char::is_ascii).collect();
        let form = (skeleton(&candidate.text), OrderId::new(ascii).folded());
        if candidate.text.len() > OrderId::MAX_BYTES || !looked_up.insert(form) {
            continue;
        }
        for known in reader.alike(&OrderId::new(candidate.text.as_str()), MAX_CANDIDATES)? {
            if known == *order_id || found.iter().any(|other| other.order_id == known) {
                continue;
            }
            let exact = candidates.iter().find(|candidate| candidate.text == known.as_str());
            let because = match exact {
                Some(exact) => exact.because.clone(),
                None => joined(&candidate.because, &difference(&candidate.text, known.as_str())),
            };
            found.push(KnownCandidate { order_id: known, because });
        }
        if found.len() >= MAX_CANDIDATES {
            break;
        }
    }
    found.truncate(MAX_CANDIDATES);
    Ok(found)
}

/// Returns why the absence of an order from the index proves nothing; `None` if the absence is proof. The returned text
/// begins with "unclear: ". The absence of an order is unclear if the index has an order that the user may have meant,
/// if the text is another kind of ID, a URL or an e-mail address, or if the text has invisible characters.
///
/// The caller must first check that the index lacks the order.
pub fn why_unclear(reader: &IndexReader, order_id: &OrderId) -> Result<Option<String>> {
    let known = known(reader, order_id)?;
    let related =
        if known.is_empty() { other_id::find(reader, order_id.as_str(), ParticipantIds::Hide)? } else { None };
    Ok(sentence(order_id, &known, related.as_ref()))
}

pub(super) fn sentence(order_id: &OrderId, known: &[KnownCandidate], related: Option<&OtherId>) -> Option<String> {
    let text = order_id.as_str();
    let marks = invisible_marks(text);
    let mut parts: Vec<String> = marks.iter().map(|marks| format!("the text has {marks}")).collect();
    if let Some(related) = related {
        parts.push(related.describe());
    } else if known.is_empty() && has_url(text) {
        parts.push(
            "the text is a URL, and the index has no order of any part of it; paste the order ID itself".to_owned(),
        );
    } else if known.is_empty() && is_email(text) {
        parts.push("the text is an e-mail address, not an order ID".to_owned());
    } else if known.is_empty() && marks.is_some() {
        parts.push("no order is written exactly like this, with or without that".to_owned());
    }
    if !known.is_empty() {
        let list: Vec<String> = known.iter().map(KnownCandidate::describe).collect();
        parts.push(format!("no order is written exactly like this; did you mean {}?", list.join(" or ")));
    }
    (!parts.is_empty()).then(|| format!("unclear: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::extract::{self, Mapping};
    use crate::model::AccountId;
    use crate::store::Identity;
    use crate::store::index::{Index, NewRun, ReadReward, RewardListPage};

    fn indexed(orders: &[&str]) -> (TempDir, IndexReader) {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("recoup.db");
        let mut index = Index::open(&path, &Identity::of_a_test()).expect("opens");
        let (run, _) = index.begin_run(NewRun::of("graphql"), Timestamp::UNIX_EPOCH).expect("begins");
        let account = AccountId::new("a");
        let rewards = orders.iter().enumerate().map(|(n, order)| {
            let raw = json!({"id": format!("r{n}"), "orderId": order, "actionId": format!("1.2.{n}")}).to_string();
            let extracted = extract::read(&raw, &account, &Mapping::default()).expect("a reward");
            (account.clone(), ReadReward::new(extracted, &raw))
        });
        let page = RewardListPage { rewards: rewards.collect(), unusable: 0, cursor: "{}".to_owned() };
        index.commit_rewards(run, &page, Timestamp::UNIX_EPOCH).expect("commits");
        let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
        (dir, reader)
    }

    #[test]
    fn known_orders_are_offered_with_their_difference() {
        let (_dir, reader) = indexed(&["1001", "#1002", "AB-\u{e9}", "10\u{200b}04"]);
        for (pasted, offered) in [
            ("1001\u{202c}", &["\"1001\" (without U+202C behind it)"][..]),
            ("#1001", &["\"1001\" (without the # in front)"]),
            ("1002", &["\"#1002\" (with a # in front)"]),
            ("Order 1002.", &["\"#1002\" (a part of the text, with a # in front)"]),
            ("\u{ff11}\u{ff10}\u{ff10}\u{ff11}", &["\"1001\" (in ordinary characters)"]),
            ("https://shop.example/orders/1001?x=1", &["\"1001\" (the end of the URL)"]),
            ("001001", &["\"1001\" (with other zeros in front)"]),
            ("ab-\u{c9}", &["\"AB-\u{e9}\" (with other upper and lower case letters)"]),
            ("1004", &["\"10\\u{200b}04\" (the shop's own ID has U+200B in it)"]),
            ("1001 or #1002", &["\"#1002\" (a part of the text)", "\"1001\" (a part of the text)"]),
            ("1003", &[]),
            ("1003\u{202c}", &[]),
        ] {
            let known = known(&reader, &OrderId::new(pasted)).expect("looks");
            let list: Vec<String> = known.iter().map(KnownCandidate::describe).collect();
            assert_eq!(list, offered, "{pasted:?}");
        }
    }

    #[test]
    fn an_absence_is_unclear_if_there_is_a_candidate_an_invisible_character_or_another_kind_of_id() {
        let (_dir, reader) = indexed(&["1001"]);
        for (pasted, said) in [
            ("1003", None),
            ("AB/1003", None),
            ("#1001", Some("no order is written exactly like this; did you mean \"1001\" (without the # in front)?")),
            (
                "1001\u{202c}",
                Some(
                    "the text has U+202C behind it; no order is written exactly like this; did you mean \"1001\" \
                     (without U+202C behind it)?",
                ),
            ),
            (
                "1003\u{202c}",
                Some("the text has U+202C behind it; no order is written exactly like this, with or without that"),
            ),
            ("1.2.0", Some("it is an ActionId, of order \"1001\"")),
            ("1.2.0\u{200b}", Some("the text has U+200B behind it; it is an ActionId, of order \"1001\"")),
            ("r0", Some("it is a reward ID, of order \"1001\"")),
            ("ann@shop.example", Some("the text is an e-mail address, not an order ID")),
            (
                "https://shop.example/orders/77",
                Some("the text is a URL, and the index has no order of any part of it; paste the order ID itself"),
            ),
        ] {
            let expected = said.map(|said| format!("unclear: {said}"));
            assert_eq!(why_unclear(&reader, &OrderId::new(pasted)).expect("looks"), expected, "{pasted:?}");
        }
    }
}
