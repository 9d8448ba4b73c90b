//! Compares the vendor's list of submissions with the requests in a ledger. `compare` does no I/O and reads no clock.
//!
//! If recoup matched a submission to the wrong ledger entry, a person could send the same request a second time.
//! Therefore an uncertain match counts as a submission that the ledger lacks. recoup counts unreadable submissions
//! separately.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::signed;
use crate::model::{ActionId, OrderId, Target};
use crate::retract::match_submissions::{form_of, is_this_change};
use crate::store::ledger::{Channel, Retraction, State};
use crate::vendor::brand::Submission;

/// Tolerated difference between the send time in the ledger and the vendor's date. The tolerance covers clock
/// differences and the duration of a request.
const CLOCKS: Duration = Duration::from_mins(10);

/// A submission that the vendor has and the ledger lacks.
#[derive(Debug, Clone)]
pub struct Missing {
    /// The channel of the submission: reversal or modification.
    pub channel: Channel,
    pub target: Target,
    pub submission: Submission,
}

#[derive(Debug, Default)]
pub struct Comparison {
    /// Number of reversals in the vendor's submissions list since `since`.
    pub reversals: u64,
    /// Number of modifications in the vendor's submissions list since `since`.
    pub modifications: u64,
    /// Number of the vendor's submissions that the ledger has, matched by batch ID, or by target and time.
    pub matched: u64,
    /// Number of unmatched reversals whose action the ledger already blocks from every further send.
    pub on_known: u64,
    /// The submissions that the ledger lacks, oldest first.
    pub missing: Vec<Missing>,
    /// Number of submissions that the ledger lacks and whose action or order recoup cannot read.
    pub unreadable: u64,
}

/// Compares the vendor's submissions list with the ledger. `since` is the earliest moment after which the ledger may
/// lack entries; `None` if the ledger may lack all entries.
pub fn compare(rows: &[Submission], since: Option<Timestamp>, known: &[Retraction]) -> Comparison {
    let batches: BTreeSet<&str> = known.iter().filter_map(|retraction| retraction.text("batch_id")).collect();
    let from = since.map(|since| since.saturating_sub(signed(CLOCKS)).unwrap_or(Timestamp::MIN));
    let mut comparison = Comparison::default();
    let (mut seen, mut accounted) = (BTreeSet::new(), BTreeSet::new());
    let mut rows: Vec<&Submission> = rows.iter().collect();
    rows.sort_by_key(|row| row.submitted_at());
    for row in rows {
        // A submission without a readable date may have any date, so recoup does not skip it.
        if row.submitted_at().zip(from).is_some_and(|(at, from)| at < from) {
            continue;
        }
        // If the vendor's list changes while recoup reads it, a submission may appear twice.
        if row.batch_id.as_ref().is_some_and(|batch| !seen.insert(batch)) {
            continue;
        }
        let by_batch = row.batch_id.as_deref().is_some_and(|batch| batches.contains(batch));
        let channel = match row.submission_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
            // A submission without a type may be a reversal.
            None | Some("reversal") => Channel::Reversal,
            // The vendor lists a reversal of an action with amount 0 as a modification (`docs/vendor/contradictions.md` 4).
            Some("modification") if is_reversal_by_its_form(row) => Channel::Reversal,
            Some("modification") => Channel::Modification,
            Some(_) => continue,
        };
        match channel {
            Channel::Modification => comparison.modifications += 1,
            _ => comparison.reversals += 1,
        }
        let Some(target) = target_of(row) else {
            if by_batch {
                comparison.matched += 1;
            } else {
                comparison.unreadable += 1;
            }
            continue;
        };
        if by_batch {
            comparison.matched += 1;
        } else if let Some(by_time) = sent_then(row, channel, &target, known, &accounted) {
            accounted.insert(by_time);
            comparison.matched += 1;
        } else if channel == Channel::Reversal && is_safe(&target, known) {
            comparison.on_known += 1;
        } else {
            comparison.missing.push(Missing { channel, target, submission: row.clone() });
        }
    }
    comparison
}

/// Recognizes the submission of a reversal by its form: a disposition code, no reason and no items.
fn is_reversal_by_its_form(row: &Submission) -> bool {
    row.sent("DispositionCode").is_some() && row.sent("Reason").is_none() && row.sent("Sku").is_none()
}

/// Returns the action of a submission, or else its order and event type.
fn target_of(row: &Submission) -> Option<Target> {
    if let Some(action_id) = row.sent("ActionId") {
        return Some(Target::Action(ActionId::new(action_id)));
    }
    let order = row.sent("OrderId").or_else(|| row.sent("Oid")).map(OrderId::new).or_else(|| row.order_id.clone());
    let tracker = row.sent("ActionTrackerId").or(row.action_tracker_id.as_deref());
    Some(Target::Order { order_id: order?, action_tracker_id: tracker?.to_owned() })
}

/// Finds the retraction of this target that recoup sent at the submission's time and that has no batch ID because the
/// vendor's answer was lost.
fn sent_then(
    row: &Submission,
    channel: Channel,
    target: &Target,
    known: &[Retraction],
    accounted: &BTreeSet<i64>,
) -> Option<i64> {
    let at = row.submitted_at()?;
    let then = |text: &str| text.parse::<Timestamp>().is_ok_and(|sent| sent.duration_since(at).abs() <= signed(CLOCKS));
    let fits = |retraction: &&Retraction| {
        retraction.channel == channel
            && retraction.target() == *target
            && retraction.text("batch_id").is_none()
            && !accounted.contains(&retraction.id)
            // A retraction that recoup may send again does not match a submission, because that submission may be a
            // later attempt made outside recoup.
            && !retraction.state.may_be_sent_again(retraction.channel)
            // Two reversals of one action are identical requests. Two modifications of one action may differ.
            && (channel != Channel::Modification || is_this_change(&form_of(retraction), row))
            && retraction.events.iter().any(|event| event.state == State::Sending && then(&event.at))
    };
    known.iter().rev().find(fits).map(|retraction| retraction.id)
}

/// Returns `true` if the ledger blocks every further reversal of this target, even at a person's request. A ledger
/// entry for a line of a reversal file does not block the target, because a person can release that line.
fn is_safe(target: &Target, known: &[Retraction]) -> bool {
    let newest =
        known.iter().rfind(|retraction| retraction.channel == Channel::Reversal && retraction.target() == *target);
    newest.is_some_and(|newest| !newest.state.may_be_sent_again(newest.channel))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::ledger::Event;

    fn submission(kind: &str, batch: &str, at: &str, payload: &[(&str, &str)]) -> Submission {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Submission { batch_id: text(batch), submission_date: text(at), ..Submission::sample(kind, payload) }
    }

    fn retraction(action: &str, state: State, sent_at: &str, batch: Option<&str>) -> Retraction {
        let event = |state, details: Value| Event {
            id: 1,
            at: sent_at.to_owned(),
            state,
            kind: "state".to_owned(),
            message: String::new(),
            details,
            person: String::new(),
            host: String::new(),
        };
        Retraction {
            id: 7,
            order_id: OrderId::new("o"),
            channel: Channel::Reversal,
            action_id: Some(ActionId::new(action)),
            action_tracker_id: None,
            state,
            attempt: 1,
            program_id: None,
            batch: None,
            disposition: String::new(),
            reason: None,
            ticket: None,
            person: String::new(),
            host: String::new(),
            created_at: String::new(),
            plan: Value::Null,
            events: vec![event(State::Sending, Value::Null), event(state, json!({ "batch_id": batch }))],
        }
    }

    const NOON: &str = "2026-11-24T12:00:00Z";

    #[test]
    fn what_the_ledger_knows_is_told_from_what_it_does_not() {
        let action = [("ActionId", "1.2.3"), ("Amount", "0")];
        let by_order = [("OrderId", "o"), ("ActionTrackerId", "5")];
        let known = |state, at, batch| vec![retraction("1.2.3", state, at, batch)];
        let by = |channel, state| {
            let mut of = Retraction { channel, ..retraction("1.2.3", state, NOON, None) };
            of.events[0].details = json!({ "request": { "parameters": { "ActionId": "1.2.3", "Amount": "0" } } });
            vec![of]
        };
        let change = || submission("Modification", "c", NOON, &action);
        // Columns: submission, ledger, and five counts: matched submissions, unmatched reversals of actions that the
        // ledger blocks, missing reversals, unreadable submissions, and missing modifications.
        let table: &[(&str, Submission, Vec<Retraction>, [u64; 5])] = &[
            ("an empty ledger", submission("Reversal", "b", NOON, &action), vec![], [0, 0, 1, 0, 0]),
            (
                "by batch",
                submission("Reversal", "b", NOON, &action),
                known(State::Failed, NOON, Some("b")),
                [1, 0, 0, 0, 0],
            ),
            (
                "its answer was lost",
                submission("Reversal", "b", NOON, &action),
                known(State::Unknown, "2026-11-24T11:55:00Z", None),
                [1, 0, 0, 0, 0],
            ),
            (
                "sent again since",
                submission("Reversal", "c", NOON, &action),
                known(State::Failed, "2026-11-24T08:00:00Z", Some("b")),
                [0, 0, 1, 0, 0],
            ),
            (
                "sent again after a refusal without a batch",
                submission("Reversal", "c", NOON, &action),
                known(State::Failed, "2026-11-24T08:00:00Z", None),
                [0, 0, 1, 0, 0],
            ),
            (
                "confirmed before",
                submission("Reversal", "c", NOON, &action),
                known(State::Confirmed, "2026-11-24T08:00:00Z", Some("b")),
                [0, 1, 0, 0, 0],
            ),
            (
                "planned, and sent since",
                submission("Reversal", "c", NOON, &action),
                known(State::Planned, "", None),
                [0, 0, 1, 0, 0],
            ),
            (
                "refused with a 429 here, and sent from elsewhere minutes later",
                submission("Reversal", "c", NOON, &action),
                known(State::Planned, "2026-11-24T11:58:00Z", None),
                [0, 0, 1, 0, 0],
            ),
            (
                "a reversal of an action whose amount is 0, which the vendor lists as a modification",
                submission(
                    "Modification",
                    "c",
                    NOON,
                    &[("ActionId", "1.2.3"), ("Amount", "0"), ("DispositionCode", "R")],
                ),
                vec![],
                [0, 0, 1, 0, 0],
            ),
            (
                "a modification that has a reason",
                submission(
                    "Modification",
                    "c",
                    NOON,
                    &[("ActionId", "1.2.3"), ("DispositionCode", "R"), ("Reason", "R")],
                ),
                vec![],
                [0, 0, 0, 0, 1],
            ),
            (
                "another action",
                submission("Reversal", "c", NOON, &[("actionid", "9.9.9")]),
                known(State::Confirmed, NOON, None),
                [0, 0, 1, 0, 0],
            ),
            ("by order", submission("REVERSAL", "c", NOON, &by_order), vec![], [0, 0, 1, 0, 0]),
            ("without a type", submission("", "c", NOON, &action), vec![], [0, 0, 1, 0, 0]),
            ("nothing to be seen", submission("Reversal", "c", NOON, &[]), vec![], [0, 0, 0, 1, 0]),
            (
                "nothing to be seen, by batch",
                submission("Reversal", "b", NOON, &[]),
                known(State::Queued, NOON, Some("b")),
                [1, 0, 0, 0, 0],
            ),
            ("a modification", change(), vec![], [0, 0, 0, 0, 1]),
            (
                "a modification whose answer was lost",
                change(),
                by(Channel::Modification, State::Unknown),
                [1, 0, 0, 0, 0],
            ),
            (
                "another change of the same action at the same time",
                submission("Modification", "c", NOON, &[("ActionId", "1.2.3"), ("Amount", "25")]),
                by(Channel::Modification, State::Unknown),
                [0, 0, 0, 0, 1],
            ),
            ("a modification beside a reversal", change(), by(Channel::Reversal, State::Unknown), [0, 0, 0, 0, 1]),
            ("a modification after another", change(), by(Channel::Modification, State::Processed), [0, 0, 0, 0, 1]),
            ("a modification by batch", change(), known(State::Queued, NOON, Some("c")), [1, 0, 0, 0, 0]),
            ("a modification of nothing", submission("Modification", "c", NOON, &[]), vec![], [0, 0, 0, 1, 0]),
            (
                "a reversal of what was handed over by file, and may be released",
                submission("Reversal", "c", NOON, &action),
                by(Channel::File, State::HandedOver),
                [0, 0, 1, 0, 0],
            ),
            ("a conversion", submission("Conversion", "c", NOON, &action), vec![], [0; 5]),
            ("before the copy", submission("Reversal", "c", "2026-11-24T10:00:00Z", &action), vec![], [0; 5]),
            ("at an unreadable time", submission("Reversal", "c", "noon", &action), vec![], [0, 0, 1, 0, 0]),
        ];
        let since = "2026-11-24T11:00:00Z".parse().expect("a moment");
        for (what, row, known, wanted) in table {
            let rows = [row.clone(), row.clone()];
            let rows = if row.batch_id.is_some() { &rows[..] } else { &rows[..1] };
            let comparison = compare(rows, Some(since), known);
            let missing =
                |channel| comparison.missing.iter().filter(|missing| missing.channel == channel).count() as u64;
            let (reversals, modifications) = (missing(Channel::Reversal), missing(Channel::Modification));
            let found = [comparison.matched, comparison.on_known, reversals, comparison.unreadable, modifications];
            assert_eq!(found, *wanted, "{what}");
        }
    }

    #[test]
    fn without_a_moment_everything_counts_and_one_lost_answer_accounts_for_one_submission() {
        let action = [("ActionId", "1.2.3")];
        let rows = [
            submission("Reversal", "b", NOON, &action),
            submission("Reversal", "c", "2026-11-24T12:01:00Z", &action),
            submission("Reversal", "a", "2020-01-01T00:00:00Z", &[("ActionId", "9.9.9")]),
        ];
        let comparison = compare(&rows, None, &[retraction("1.2.3", State::Unknown, NOON, None)]);
        assert_eq!(
            (comparison.reversals, comparison.matched, comparison.on_known, comparison.missing.len()),
            (3, 1, 1, 1)
        );
    }
}
