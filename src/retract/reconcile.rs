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

use crate::api::Submission;
use crate::model::decimal::Decimal;
use crate::model::{OrderId, Target};
use crate::store::ledger::{Retraction, State};

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
        /// Where to ask about it: the row's own link, or the documented path with its batch ID.
        uri: String,
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

/// The row's own names: its batch ID, and the last part of its link, which need not be the same (`contradictions.md` 12).
pub fn names_of(row: &Submission) -> impl Iterator<Item = String> {
    let linked = link_of(row).and_then(|link| last_part(&link).map(str::to_owned));
    row.batch_id.clone().into_iter().chain(linked)
}

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
                let name = names_of(row).next();
                let uri = link_of(row).or_else(|| Some(format!("APISubmissions/{}", row.batch_id.as_ref()?)));
                match (name, uri) {
                    // Of several, the one that arrived when this one was sent.
                    (Some(batch_id), Some(uri)) if found.as_ref().is_none_or(|(least, _)| apart < *least) => {
                        found = Some((apart, Seen::Found { batch_id, uri }));
                    }
                    (Some(_), Some(_)) => {}
                    _ => unclear = Some("a submission like it has neither a batch ID nor a link".to_owned()),
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
    // The vendor's newest schema does not know Amount on this call (`contradictions.md` 3) and may leave it out.
    let zero = row.sent("Amount").is_none_or(|amount| amount.trim().parse::<f64>().is_ok_and(|amount| amount == 0.0));
    let same_code =
        row.sent("DispositionCode").map(|code| code.trim().eq_ignore_ascii_case(question.disposition.trim()));
    match (same_code, zero) {
        (Some(true), true) => Some(Ok(())),
        // An amount of its own makes it a change, and not this request.
        (_, false) => None,
        (None, true) => Some(Err("a submission for the same action does not say its disposition code")),
        // With an original amount of 0 a reversal is listed as a modification (`contradictions.md` 4), but never with a code
        // that was not sent.
        (Some(false), true) if is("Modification") => None,
        (Some(false), true) => Some(Err("the same action was reversed with another disposition code")),
    }
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
mod tests {
    use super::*;
    use crate::api::SubmissionStatus;
    use crate::model::ActionId;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const SENT: &str = "2026-03-01T10:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn row(kind: &str, date: &str, payload: &[(&str, &str)]) -> Submission {
        Submission {
            batch_id: Some("A-1".into()),
            submission_type: Some(kind.into()),
            status: SubmissionStatus::Queued,
            submission_date: (!date.is_empty()).then(|| date.to_owned()),
            order_id: None,
            action_tracker_id: None,
            campaign_id: None,
            payload: payload.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            error_type: None,
            error_reasons: Vec::new(),
            completion_date: None,
            raw: r#"{"Uri":"/Advertisers/S/APISubmissions/A-1"}"#.into(),
        }
    }

    fn seen(target: &Target, rows: &[Submission], others: &[&str]) -> Seen {
        let (order_id, others) = (OrderId::new("1001"), others.iter().map(|id| (*id).to_owned()).collect());
        let sent_at = at(SENT);
        search(
            &Question {
                target,
                order_id: &order_id,
                disposition: "RETRACTION",
                change: None,
                sent_at,
                others: &others,
            },
            rows,
        )
    }

    #[test]
    fn a_change_is_found_by_all_of_its_form_or_not_at_all() {
        let target = Target::Action(ActionId::new("1.2.3"));
        let form = [("ActionId", "1.2.3"), ("Sku", "A"), ("ItemSubTotalDelta", "-5.00"), ("Reason", "ORDER_UPDATE")];
        let owned: Vec<(String, String)> = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (order_id, others) = (OrderId::new("1001"), BTreeSet::new());
        let look = |rows: &[Submission]| {
            let (target, change, sent_at) = (&target, Some(owned.as_slice()), at(SENT));
            let question =
                Question { target, order_id: &order_id, disposition: "ORDER_UPDATE", change, sent_at, others: &others };
            search(&question, rows)
        };
        let just_after = "2026-03-01T10:00:02Z";
        let row = |payload: &[(&str, &str)]| row("Modification", just_after, payload);
        let same = row(&[form[0], form[1], ("ItemSubTotalDelta", "-5"), form[3], ("DispositionCode", "X")]);
        assert!(matches!(look(std::slice::from_ref(&same)), Seen::Found { .. }));
        assert!(matches!(look(&[same.clone(), same]), Seen::Unclear(_)), "one of them may be somebody else's");
        let other = row(&[form[0], form[1], ("ItemSubTotalDelta", "-6"), form[3]]);
        assert_eq!(look(&[other]), Seen::Absent);
        let more = row(&[form[0], form[1], form[2], form[3], ("Sku2", "B"), ("Quantity2", "0")]);
        assert_eq!(look(&[more]), Seen::Absent);
        assert!(matches!(look(&[row(&[form[0], form[1], form[3]])]), Seen::Unclear(_)));
    }

    #[test]
    fn a_row_is_the_request_or_not_or_nobody_can_tell() {
        let action = Target::Action(ActionId::new("1.2.3"));
        let order = Target::Order { order_id: OrderId::new("1001"), action_tracker_id: "7".into() };
        let by_action = [("ActionId", "1.2.3"), ("Amount", "0"), ("DispositionCode", "RETRACTION")];
        let (rejected, update, money) = (
            [("ActionId", "1.2.3"), ("Amount", "0"), ("DispositionCode", "REJECTED")],
            [("ActionId", "1.2.3"), ("Amount", "0"), ("DispositionCode", "ORDER_UPDATE")],
            [("ActionId", "1.2.3"), ("Amount", "12.50"), ("DispositionCode", "RETRACTION")],
        );
        let (no_amount, no_code) = ([by_action[0], by_action[2]], [by_action[0]]);
        let by_order =
            [("OrderId", "1001"), ("ActionTrackerId", "7"), ("Amount", "0.00"), ("DispositionCode", "RETRACTION")];
        // target, type, date, payload, what it is: f(ound), u(nclear), a(bsent)
        let table: Vec<(_, _, _, Pairs<'_>, _)> = vec![
            (&action, "Reversal", "2026-03-01T10:00:01Z", &by_action, 'f'),
            (&action, "reversal", "2026-03-01T03:00:01-07:00", &by_action, 'f'),
            // The vendor's clock may be behind; a day is another request.
            (&action, "Reversal", "2026-03-01T09:51:00Z", &by_action, 'f'),
            (&action, "Reversal", "2026-03-01T09:49:00Z", &by_action, 'a'),
            (&action, "Reversal", "2026-02-28T10:00:00Z", &by_action, 'a'),
            (&action, "Reversal", "", &by_action, 'u'),
            // An original amount of 0 makes it a modification; the newest schema does not know the amount at all.
            (&action, "Modification", "2026-03-01T10:00:01Z", &by_action, 'f'),
            (&action, "Reversal", "2026-03-01T10:00:01Z", &no_amount, 'f'),
            (&action, "Reversal", "2026-03-01T10:00:01Z", &no_code, 'u'),
            // Another code, another amount, another action, another kind.
            (&action, "Reversal", "2026-03-01T10:00:01Z", &rejected, 'u'),
            (&action, "Modification", "2026-03-01T10:00:01Z", &update, 'a'),
            (&action, "Modification", "2026-03-01T10:00:01Z", &money, 'a'),
            (&action, "Reversal", "2026-03-01T10:00:01Z", &[("ActionId", "1.2.4")], 'a'),
            (&action, "Conversion", "2026-03-01T10:00:01Z", &by_order, 'a'),
            // What does not say which action it is about may be this one, if it may be this order.
            (&action, "Reversal", "2026-03-01T10:00:01Z", &by_order, 'u'),
            (&action, "Reversal", "2026-03-01T10:00:01Z", &[("OrderId", "1002"), ("ActionTrackerId", "7")], 'a'),
            (&action, "Reversal", "2026-03-01T10:00:01Z", &[], 'u'),
            (&action, "Conversion", "2026-03-01T10:00:01Z", &[], 'a'),
            (&action, "Reversal", "2026-02-28T10:00:00Z", &[], 'a'),
            // By order and event type.
            (&order, "Reversal", "2026-03-01T10:00:01Z", &by_order, 'f'),
            (&order, "Reversal", "2026-03-01T10:00:01Z", &by_action, 'a'),
            (&order, "Reversal", "2026-03-01T10:00:01Z", &[("OrderId", "1001"), ("ActionTrackerId", "8")], 'a'),
        ];
        for (target, kind, date, payload, expected) in table {
            let found = match seen(target, &[row(kind, date, payload)], &[]) {
                Seen::Found { .. } => 'f',
                Seen::Unclear(_) => 'u',
                Seen::Absent => 'a',
            };
            assert_eq!(found, expected, "{target:?} {kind} {date} {payload:?}");
        }
        // One that the ledger knows is another retraction's.
        assert_eq!(seen(&action, &[row("Reversal", SENT, &by_action)], &["A-1"]), Seen::Absent);
        // Of two, the one that arrived when this was sent.
        let mut later = row("Reversal", "2026-03-01T12:00:00Z", &by_action);
        later.batch_id = Some("A-2".into());
        let found = seen(&action, &[later, row("Reversal", "2026-03-01T10:00:02Z", &by_action)], &[]);
        let uri = "/Advertisers/S/APISubmissions/A-1".to_owned();
        assert_eq!(found, Seen::Found { batch_id: "A-1".into(), uri });
        // Without a link the documented path serves; without a name nothing can be followed.
        let mut bare = Submission { raw: "{}".into(), ..row("Reversal", SENT, &by_action) };
        let uri = "APISubmissions/A-1".to_owned();
        assert_eq!(seen(&action, std::slice::from_ref(&bare), &[]), Seen::Found { batch_id: "A-1".into(), uri });
        bare.batch_id = None;
        assert!(matches!(seen(&action, &[bare], &[]), Seen::Unclear(_)));
    }

    fn look(time: &str, absent: bool) -> ListLook {
        ListLook { at: at(time), whole: absent, rows: 1, absent, doubt: None }
    }

    #[test]
    fn two_whole_lists_an_hour_apart_show_an_absence() {
        let doubts = Doubts::default();
        let table: [(&[(&str, bool)], bool); 9] = [
            (&[], false),
            (&[("2026-03-01T11:30:00Z", true)], false),
            (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:05:00Z", true)], true),
            (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:04:59Z", true)], false),
            // The first one came too soon after the send to say anything.
            (&[("2026-03-01T10:01:00Z", true), ("2026-03-01T11:05:00Z", true)], false),
            (&[("2026-03-01T10:05:00Z", false), ("2026-03-01T11:05:00Z", true)], false),
            (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:05:00Z", false)], false),
            (&[("2026-03-01T10:05:00Z", false), ("2026-03-01T11:05:00Z", true), ("2026-03-01T14:05:00Z", true)], true),
            (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:00:00Z", true), ("2026-03-01T11:10:00Z", true)], true),
        ];
        for (looks, expected) in table {
            let looks: Vec<ListLook> = looks.iter().map(|(time, absent)| look(time, *absent)).collect();
            assert_eq!(is_not_received(at(SENT), &looks, &doubts), expected, "{looks:?}");
        }
    }

    #[test]
    fn lists_are_read_minutes_then_hours_apart() {
        let doubts = Doubts::default();
        let mut looks = Vec::new();
        for expected in ["10:05", "11:05", "14:05", "20:05"] {
            let next = next_list_at(at(SENT), &looks, &doubts);
            assert_eq!(next, at(&format!("2026-03-01T{expected}:00Z")));
            looks.push(ListLook { at: next, whole: false, rows: 0, absent: false, doubt: None });
        }
        assert_eq!(next_list_at(at(SENT), &looks, &doubts), at("2026-03-02T02:05:00Z"));
    }
}
