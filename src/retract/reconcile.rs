//! What the vendor's list of submissions says about a request that nobody answered: received, not received, or nothing.
//!
//! Pure. A list shows a request by its identifier, its disposition code, its amount and its time. That it is *not* there
//! counts only in a whole list, only twice, and only with an hour in between; whatever might be the request after all, and
//! whatever casts doubt on the list, ends in *nothing*. This must never take a doubt for an absence: what was not received
//! may be sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::decimal::Decimal;
use crate::model::{OrderId, Target};
use crate::store::ledger::{Retraction, State};
use crate::vendor::Submission;

/// How far the vendor's clock and this machine's may be apart: a submission dated so much before the send may still be it.
pub const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(10);

/// When the list is read, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Doubts {
    /// Not before so long after the send, nor so soon after the list was read for another one.
    pub list_after: Duration,
    /// The least time between the two lists that show an absence, and between the send and the second of them. Later lists
    /// are three and six times as far apart.
    pub list_gap: Duration,
    /// Pages of the list at most; one that has more is not whole.
    pub list_pages: usize,
}

impl Default for Doubts {
    fn default() -> Self {
        Self { list_after: Duration::from_mins(5), list_gap: Duration::from_hours(1), list_pages: 100 }
    }
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// What was taken back.
    pub target: &'a Target,
    /// The order that it was for.
    pub order_id: &'a OrderId,
    /// The code that was sent.
    pub disposition: &'a str,
    /// The whole form, where it changes the action: another change is another request. `None` where it takes it back.
    pub change: Option<&'a [(String, String)]>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Batch IDs that the ledger knows to be of other requests.
    pub others: &'a BTreeSet<String>,
}

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The request, as the vendor received it.
    Found {
        /// The vendor's batch ID.
        batch_id: String,
        /// Where to ask about it, where there is such a place.
        uri: Option<String>,
    },
    /// Something that may be it: why that is not certain.
    Unclear(String),
    /// Nothing that could be it.
    Absent,
}

/// One reading of the list, as a note in the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLook {
    /// When reading it began.
    pub at: Timestamp,
    /// Whether all of it was read, and nothing spoke against that.
    pub whole: bool,
    /// How many submissions it had.
    pub rows: usize,
    /// Whether it shows that the request was not received so far: it is whole, and nothing in it could be the request.
    pub absent: bool,
    /// What stood against that, or against reading it.
    pub doubt: Option<String>,
}

/// The kind of note that holds a [`ListLook`] under `list`.
pub const LOOK: &str = "look";

/// The readings of the list since the request went out, oldest first.
pub fn looks_of(retraction: &Retraction) -> Vec<ListLook> {
    let sent = retraction.events.iter().rposition(|event| event.state == State::Sending && event.changes_state());
    let since = sent.map_or(&retraction.events[..], |sent| &retraction.events[sent..]);
    let looks = since.iter().filter(|event| event.kind == LOOK);
    looks.filter_map(|event| serde_json::from_value(event.details["list"].clone()).ok()).collect()
}

/// The row's own names: its batch ID, and the last part of its link, which need not be the same (`docs/vendor/contradictions.md` 12).
pub fn names_of(row: &Submission) -> impl Iterator<Item = String> {
    let linked = link_of(row).and_then(|link| last_part(&link).map(str::to_owned));
    row.batch_id.clone().into_iter().chain(linked)
}

/// Where a submission is asked about: its own link, or the documented path with its batch ID, where that fits into one as it is.
pub fn uri_of(row: &Submission) -> Option<String> {
    let is_plain = |id: &&String| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    link_of(row).or_else(|| row.batch_id.as_ref().filter(is_plain).map(|id| format!("APISubmissions/{id}")))
}

/// The row's own link.
fn link_of(row: &Submission) -> Option<String> {
    let raw: Value = serde_json::from_str(&row.raw).ok()?;
    raw["Uri"].as_str().filter(|link| !link.trim().is_empty()).map(str::to_owned)
}

/// The last part of a link, which is a submission's name.
pub fn last_part(link: &str) -> Option<&str> {
    link.rsplit('/').find(|part| !part.is_empty())
}

/// Looks for the request among the rows of a list.
pub fn search(question: &Question<'_>, rows: &[Submission]) -> Seen {
    let earliest = question.sent_at.checked_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::MIN);
    let mut unclear = None;
    let mut found: Option<(SignedDuration, Seen)> = None;
    let mut alike = 0;
    for row in rows.iter().filter(|row| !names_of(row).any(|name| question.others.contains(&name))) {
        let Some(likeness) = compare(question, row) else { continue };
        let at = row.submitted_at();
        if at.is_some_and(|at| at < earliest) {
            continue;
        }
        match (likeness, at) {
            (Ok(()), Some(at)) => {
                alike += 1;
                let apart = at.duration_since(question.sent_at).abs();
                match names_of(row).next() {
                    // Of several, the one that arrived when this one was sent.
                    Some(batch_id) if found.as_ref().is_none_or(|(least, _)| apart < *least) => {
                        found = Some((apart, Seen::Found { batch_id, uri: uri_of(row) }));
                    }
                    Some(_) => {}
                    None => unclear = Some("a submission like it has neither a batch ID nor a link".to_owned()),
                }
            }
            (Ok(()), None) => unclear = Some("a submission like it has no date that can be read".to_owned()),
            (Err(why), _) => unclear = Some(why.to_owned()),
        }
    }
    if question.change.is_some() && alike > 1 {
        // The same change may have been asked for by somebody else, and would pass for this one.
        return Seen::Unclear("several submissions ask for the same change".to_owned());
    }
    match (found, unclear) {
        (Some((_, found)), _) => found,
        (None, Some(why)) => Seen::Unclear(why),
        (None, None) => Seen::Absent,
    }
}

/// Whether a row is the request, regardless of time; why that is not certain; `None` where it is another one.
fn compare(question: &Question<'_>, row: &Submission) -> Option<Result<(), &'static str>> {
    let kind = row.submission_type.as_deref().unwrap_or_default();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if is("Conversion") {
        return None;
    }
    if !row.is_about(question.target) {
        let silent = match question.target {
            // Where what was sent cannot be read, or names only the order, it may be this action.
            Target::Action(_) => row.sent("ActionId").is_none(),
            Target::Order { .. } => row.payload.is_empty(),
        };
        let order = row.sent("OrderId").or_else(|| row.sent("Oid")).or(row.order_id.as_ref().map(OrderId::as_str));
        let same_order = order == Some(question.order_id.as_str());
        return match (silent, same_order, order.is_none()) {
            (true, true, _) => Some(Err("a submission for the same order does not say which action it is about")),
            (true, false, true) => Some(Err("a submission does not say what it is about")),
            _ => None,
        };
    }
    if let Some(form) = question.change {
        return compare_change(form, row);
    }
    // The vendor's newest schema does not know Amount on this call (`docs/vendor/contradictions.md` 3) and may leave it out.
    let zero = row.sent("Amount").is_none_or(|amount| amount.trim().parse::<f64>().is_ok_and(|amount| amount == 0.0));
    let same_code =
        row.sent("DispositionCode").map(|code| code.trim().eq_ignore_ascii_case(question.disposition.trim()));
    match (same_code, zero) {
        (Some(true), true) => Some(Ok(())),
        // An amount of its own makes it a change, and not this request.
        (_, false) => None,
        (None, true) => Some(Err("a submission for the same action does not say its disposition code")),
        // With an original amount of 0 a reversal is listed as a modification (`docs/vendor/contradictions.md` 4), but never with a code
        // that was not sent.
        (Some(false), true) if is("Modification") => None,
        (Some(false), true) => Some(Err("the same action was reversed with another disposition code")),
    }
}

/// Whether a row about this action is this change of it, field by field.
pub fn is_this_change(form: &[(String, String)], row: &Submission) -> bool {
    compare_change(form, row) == Some(Ok(()))
}

/// What was sent, field by field.
pub fn form_of(retraction: &Retraction) -> Vec<(String, String)> {
    let sent = retraction.detail("request").and_then(|request| request["parameters"].as_object());
    let fields = sent.into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The same for a change of the action, about which the row is: every field of the form must be there.
fn compare_change(form: &[(String, String)], row: &Submission) -> Option<Result<(), &'static str>> {
    if row.submission_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Reversal")) {
        return None;
    }
    let number = |text: &str| Decimal::parse(text);
    let same = |one: &str, other: &str| {
        one.trim() == other.trim() || number(one).is_some_and(|one| Some(one) == number(other))
    };
    let differs = form.iter().any(|(key, value)| row.sent(key).is_some_and(|sent| !same(sent, value)));
    let items = |names: &mut dyn Iterator<Item = &String>| names.filter(|name| is_of_an_item(name)).count();
    let more = items(&mut row.payload.iter().map(|(key, _)| key)) > items(&mut form.iter().map(|(key, _)| key));
    if differs || more {
        return None;
    }
    let whole = form.iter().all(|(key, _)| row.sent(key).is_some());
    Some(if whole { Ok(()) } else { Err("a submission for the same action does not show all of what was sent") })
}

/// Whether a field of the form says something about an item, or about the amount.
fn is_of_an_item(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    matches!(name.as_str(), "sku" | "quantity" | "amount" | "itemsubtotaldelta")
}

/// Whether two of the readings show that the request was not received.
pub fn is_not_received(sent_at: Timestamp, looks: &[ListLook], doubts: &Doubts) -> bool {
    let Some(last) = looks.last().filter(|look| look.absent) else { return false };
    let apart = |from: Timestamp, time: Duration| has_passed(from, time, last.at);
    // The newest word counts: an absence that a later list has cast doubt on is none.
    let first = looks.iter().find(|look| look.absent && has_passed(sent_at, doubts.list_after, look.at));
    apart(sent_at, doubts.list_gap) && first.is_some_and(|first| apart(first.at, doubts.list_gap))
}

/// When the list may be read next for a request.
pub fn next_list_at(sent_at: Timestamp, looks: &[ListLook], doubts: &Doubts) -> Timestamp {
    let (from, pause) = match (looks.last(), looks.len()) {
        (None, _) => (sent_at, doubts.list_after),
        (Some(last), 1) => (last.at, doubts.list_gap),
        (Some(last), 2) => (last.at, doubts.list_gap.saturating_mul(3)),
        (Some(last), _) => (last.at, doubts.list_gap.saturating_mul(6)),
    };
    SignedDuration::try_from(pause).ok().and_then(|pause| from.checked_add(pause).ok()).unwrap_or(Timestamp::MAX)
}

/// Whether so much time lies between two moments.
pub fn has_passed(from: Timestamp, time: Duration, to: Timestamp) -> bool {
    Duration::try_from(to.duration_since(from)).is_ok_and(|passed| passed >= time)
}

#[cfg(test)]
mod tests;
