//! Tests what a submissions list proves about a request, and when a request's absence from the list counts.

use super::*;
use crate::model::ActionId;
use crate::vendor::SubmissionStatus;

type Pairs<'a> = &'a [(&'a str, &'a str)];

const SENT: &str = "2026-03-01T10:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn row(kind: &str, date: &str, payload: &[(&str, &str)]) -> Submission {
    Submission {
        batch_id: Some("A-1".into()),
        status: SubmissionStatus::Queued,
        submission_date: (!date.is_empty()).then(|| date.to_owned()),
        raw: r#"{"Uri":"/Advertisers/S/APISubmissions/A-1"}"#.into(),
        ..Submission::sample(kind, payload)
    }
}

fn seen(target: &Target, rows: &[Submission], others: &[&str]) -> SearchResult {
    let (order_id, others) = (OrderId::new("1001"), others.iter().map(|id| (*id).to_owned()).collect());
    let sent_at = at(SENT);
    search(
        &SentRequest { target, order_id: &order_id, disposition: "RETRACTION", change: None, sent_at, others: &others },
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
            SentRequest { target, order_id: &order_id, disposition: "ORDER_UPDATE", change, sent_at, others: &others };
        search(&question, rows)
    };
    let just_after = "2026-03-01T10:00:02Z";
    let row = |payload: &[(&str, &str)]| row("Modification", just_after, payload);
    let same = row(&[form[0], form[1], ("ItemSubTotalDelta", "-5"), form[3], ("DispositionCode", "X")]);
    assert!(matches!(look(std::slice::from_ref(&same)), SearchResult::Found { .. }));
    assert!(matches!(look(&[same.clone(), same]), SearchResult::Unclear(_)), "one of them may be somebody else's");
    let other = row(&[form[0], form[1], ("ItemSubTotalDelta", "-6"), form[3]]);
    assert_eq!(look(&[other]), SearchResult::Absent);
    let more = row(&[form[0], form[1], form[2], form[3], ("Sku2", "B"), ("Quantity2", "0")]);
    assert_eq!(look(&[more]), SearchResult::Absent);
    assert!(matches!(look(&[row(&[form[0], form[1], form[3]])]), SearchResult::Unclear(_)));
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
    // Columns: target, type, date, payload, and the result: f(ound), u(nclear) or a(bsent).
    let table: Vec<(_, _, _, Pairs<'_>, _)> = vec![
        (&action, "Reversal", "2026-03-01T10:00:01Z", &by_action, 'f'),
        (&action, "reversal", "2026-03-01T03:00:01-07:00", &by_action, 'f'),
        // The vendor's clock may be minutes behind. A submission from the day before is another request.
        (&action, "Reversal", "2026-03-01T09:51:00Z", &by_action, 'f'),
        (&action, "Reversal", "2026-03-01T09:49:00Z", &by_action, 'a'),
        (&action, "Reversal", "2026-02-28T10:00:00Z", &by_action, 'a'),
        (&action, "Reversal", "", &by_action, 'u'),
        // The vendor lists a modification if the original amount is 0. The vendor's newest schema omits the amount of a
        // reversal.
        (&action, "Modification", "2026-03-01T10:00:01Z", &by_action, 'f'),
        (&action, "Reversal", "2026-03-01T10:00:01Z", &no_amount, 'f'),
        (&action, "Reversal", "2026-03-01T10:00:01Z", &no_code, 'u'),
        // Tests submissions with another disposition code, amount, action or type.
        (&action, "Reversal", "2026-03-01T10:00:01Z", &rejected, 'u'),
        (&action, "Modification", "2026-03-01T10:00:01Z", &update, 'a'),
        (&action, "Modification", "2026-03-01T10:00:01Z", &money, 'a'),
        (&action, "Reversal", "2026-03-01T10:00:01Z", &[("ActionId", "1.2.4")], 'a'),
        (&action, "Conversion", "2026-03-01T10:00:01Z", &by_order, 'a'),
        // A submission without an ActionId may refer to this action if it may refer to this order.
        (&action, "Reversal", "2026-03-01T10:00:01Z", &by_order, 'u'),
        (&action, "Reversal", "2026-03-01T10:00:01Z", &[("OrderId", "1002"), ("ActionTrackerId", "7")], 'a'),
        (&action, "Reversal", "2026-03-01T10:00:01Z", &[], 'u'),
        (&action, "Conversion", "2026-03-01T10:00:01Z", &[], 'a'),
        (&action, "Reversal", "2026-02-28T10:00:00Z", &[], 'a'),
        // The target of the request is an order ID and an event type.
        (&order, "Reversal", "2026-03-01T10:00:01Z", &by_order, 'f'),
        (&order, "Reversal", "2026-03-01T10:00:01Z", &by_action, 'a'),
        (&order, "Reversal", "2026-03-01T10:00:01Z", &[("OrderId", "1001"), ("ActionTrackerId", "8")], 'a'),
    ];
    for (target, kind, date, payload, expected) in table {
        let found = match seen(target, &[row(kind, date, payload)], &[]) {
            SearchResult::Found { .. } => 'f',
            SearchResult::Unclear(_) => 'u',
            SearchResult::Absent => 'a',
        };
        assert_eq!(found, expected, "{target:?} {kind} {date} {payload:?}");
    }
    // If the ledger has the batch ID of a submission, the submission belongs to another retraction.
    assert_eq!(seen(&action, &[row("Reversal", SENT, &by_action)], &["A-1"]), SearchResult::Absent);
    // If two submissions match, recoup takes the submission dated closest to the send.
    let mut later = row("Reversal", "2026-03-01T12:00:00Z", &by_action);
    later.batch_id = Some("A-2".into());
    let found = seen(&action, &[later, row("Reversal", "2026-03-01T10:00:02Z", &by_action)], &[]);
    let uri = Some("/Advertisers/S/APISubmissions/A-1".to_owned());
    assert_eq!(found, SearchResult::Found { batch_id: "A-1".into(), uri });
    // If a listed submission has no link, recoup reads it at the documented path with the batch ID. Without link and
    // batch ID, recoup cannot read the submission again.
    let mut bare = Submission { raw: "{}".into(), ..row("Reversal", SENT, &by_action) };
    let uri = Some("APISubmissions/A-1".to_owned());
    assert_eq!(seen(&action, std::slice::from_ref(&bare), &[]), SearchResult::Found { batch_id: "A-1".into(), uri });
    // A submission whose batch ID is invalid in a path proves that the vendor received the request, but recoup cannot
    // read the submission again.
    bare.batch_id = Some("A/1".into());
    let found = seen(&action, std::slice::from_ref(&bare), &[]);
    assert_eq!(found, SearchResult::Found { batch_id: "A/1".into(), uri: None });
    bare.batch_id = None;
    assert!(matches!(seen(&action, &[bare], &[]), SearchResult::Unclear(_)));
}

fn look(time: &str, absent: bool) -> ListReading {
    ListReading { at: at(time), whole: absent, rows: 1, absent, unclear: None }
}

#[test]
fn two_whole_lists_an_hour_apart_show_an_absence() {
    let settings = ResolverSettings::default();
    let table: [(&[(&str, bool)], bool); 9] = [
        (&[], false),
        (&[("2026-03-01T11:30:00Z", true)], false),
        (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:05:00Z", true)], true),
        (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:04:59Z", true)], false),
        // recoup read the first list too soon after the send. Therefore the first list does not count.
        (&[("2026-03-01T10:01:00Z", true), ("2026-03-01T11:05:00Z", true)], false),
        (&[("2026-03-01T10:05:00Z", false), ("2026-03-01T11:05:00Z", true)], false),
        (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:05:00Z", false)], false),
        (&[("2026-03-01T10:05:00Z", false), ("2026-03-01T11:05:00Z", true), ("2026-03-01T14:05:00Z", true)], true),
        (&[("2026-03-01T10:05:00Z", true), ("2026-03-01T11:00:00Z", true), ("2026-03-01T11:10:00Z", true)], true),
    ];
    for (looks, expected) in table {
        let looks: Vec<ListReading> = looks.iter().map(|(time, absent)| look(time, *absent)).collect();
        assert_eq!(is_not_received(at(SENT), &looks, &settings), expected, "{looks:?}");
    }
}

#[test]
fn lists_are_read_minutes_then_hours_apart() {
    let settings = ResolverSettings::default();
    let mut looks = Vec::new();
    for expected in ["10:05", "11:05", "14:05", "20:05"] {
        let next = next_list_at(at(SENT), &looks, &settings);
        assert_eq!(next, at(&format!("2026-03-01T{expected}:00Z")));
        looks.push(ListReading { at: next, whole: false, rows: 0, absent: false, unclear: None });
    }
    assert_eq!(next_list_at(at(SENT), &looks, &settings), at("2026-03-02T02:05:00Z"));
}
