//! Tests of the operations that the ledger allows or refuses.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::model::{ActionId, OrderId, RewardId};

fn identity() -> Identity {
    Identity {
        tenant: "t".into(),
        account_sid: "s".into(),
        advocate_url: "http://127.0.0.1/a".into(),
        brand_url: "http://127.0.0.1/b".into(),
    }
}

pub(super) fn ann() -> Actor {
    Actor::new("ann", "desk")
}

fn new_retraction(action: &str) -> NewRetraction {
    NewRetraction {
        channel: Channel::Reversal,
        target: Target::Action(ActionId::new(action)),
        order_id: OrderId::new("1001"),
        disposition: "RETRACTION".into(),
        reason: Some("returned by Bob".into()),
        ticket: None,
        batch: None,
        program_id: None,
        rewards: vec![RewardId::new("r")],
        plan: json!({"rewards": [{"reward_id": "r", "account_id": "bob@shop.example"}]}),
    }
}

#[test]
fn nothing_but_planned_may_become_sending() {
    for from in State::ALL {
        assert_eq!(from.may_become(State::Sending), from == State::Planned, "{from:?}");
    }
    for from in State::ALL {
        assert_eq!(from.may_become(State::Planned), from == State::Sending, "{from:?}");
    }
}

#[test]
fn two_openers_cannot_both_send() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let now = Timestamp::UNIX_EPOCH;
    let one = Ledger::open(&path, &identity(), &ann())?;
    let two = Ledger::open(&path, &identity(), &ann())?;
    let planned = one.begin(&new_retraction("1.2.3"), now)?;
    let seen_by_two = two.get(planned.id)?;
    one.append(&planned, State::Sending, "sending", &Value::Null, now)?;
    let error = two.append(&seen_by_two, State::Sending, "sending", &Value::Null, now).expect_err("the second is late");
    assert_eq!(error.kind, Kind::Busy);
    assert_eq!(one.get(planned.id)?.state, State::Sending);
    assert_eq!(two.begin(&new_retraction("1.2.3"), now).expect_err("it may have been received").kind, Kind::Busy);
    Ok(())
}

#[test]
fn rows_cannot_be_changed_or_removed() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let ledger = Ledger::open(&path, &identity(), &ann())?;
    ledger.begin(&new_retraction("1.2.3"), Timestamp::UNIX_EPOCH)?;
    for sql in [
        "UPDATE events SET state = 'confirmed'",
        "DELETE FROM events",
        "DELETE FROM retractions",
        "UPDATE personal SET value = 'x'",
    ] {
        let error = ledger.conn.raw().execute(sql, []).expect_err(sql);
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
    Ok(())
}

#[test]
fn another_tenant_and_another_schema_are_refused() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let ledger = Ledger::open(&path, &identity(), &ann())?;
    let other = Identity { tenant: "u".into(), ..identity() };
    assert_eq!(Ledger::open(&path, &other, &ann()).expect_err("another tenant").kind, Kind::Identity);
    ledger.conn.raw().pragma_update(None, "user_version", 99).expect("pragma");
    drop(ledger);
    assert_eq!(Ledger::open(&path, &identity(), &ann()).expect_err("another version").kind, Kind::OtherVersion);
    Ok(())
}

/// Returns a ledger with two retractions, the first in a final state.
fn filled(path: &Path) -> Result<Ledger> {
    let now = Timestamp::UNIX_EPOCH;
    let ledger = Ledger::open(path, &identity(), &ann())?;
    let first = ledger.begin(&new_retraction("1.2.3"), now)?;
    let first = ledger.append(&first, State::Sending, "sending", &json!({"request": {"a": 1}}), now)?;
    let first = ledger.append(&first, State::Queued, "queued", &Value::Null, now)?;
    ledger.append(&first, State::Confirmed, "done", &json!({"rewards": [{"account_id": "bob@shop.example"}]}), now)?;
    let second = ledger.begin(&NewRetraction { rewards: vec![RewardId::new("q")], ..new_retraction("1.2.4") }, now)?;
    ledger.note(&second, "override", "by name", &json!({"overrides": ["redeemed"]}), now)?;
    ledger.note_ledger("test", "about nothing", &Value::Null, now)?;
    Ok(ledger)
}

#[test]
fn what_is_personal_stands_in_no_hashed_row_and_reads_as_it_was() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ledger = filled(&dir.path().join("l.db"))?;
    let hashed: String = ledger
        .conn
        .raw()
        .query_row(
            "SELECT group_concat(details) || (SELECT group_concat(plan || coalesce(reason, '')) FROM retractions) FROM events",
            [],
            |row| row.get(0),
        )
        .expect("text");
    assert!(!hashed.contains("bob@") && !hashed.contains("Bob"), "{hashed}");
    let first = ledger.get(1)?;
    assert_eq!(first.plan["rewards"][0]["account_id"], "bob@shop.example");
    assert_eq!(first.reason.as_deref(), Some("returned by Bob"));
    assert_eq!(first.state, State::Confirmed);
    let second = ledger.get(2)?;
    assert_eq!((second.state, second.events.len()), (State::Planned, 2), "a note changes no state");
    Ok(())
}

#[test]
fn an_altered_removed_added_or_moved_row_is_found_where_it_is() -> Result<()> {
    // Each entry: a change to the ledger that bypasses the triggers, and the event at which the audit finds it.
    let table: &[(&str, Option<i64>)] = &[
        ("UPDATE events SET message = 'never sent' WHERE id = 3", Some(3)),
        ("UPDATE events SET state = 'failed' WHERE id = 4", Some(4)),
        ("UPDATE events SET details = '{}' WHERE id = 2", Some(2)),
        ("UPDATE events SET person = 'eve' WHERE id = 2", Some(2)),
        ("UPDATE events SET at = '2001-01-01T00:00:00.000Z' WHERE id = 1", Some(1)),
        ("UPDATE events SET retraction_id = 2 WHERE id = 4", Some(4)),
        ("UPDATE events SET hash = zeroblob(32) WHERE id = 4", Some(4)),
        ("DELETE FROM events WHERE id = 3", Some(4)),
        (
            "UPDATE events SET id = 99 WHERE id = 3; UPDATE events SET id = 3 WHERE id = 4; UPDATE events SET id = 4 WHERE id = 99",
            Some(3),
        ),
        (
            "INSERT INTO events SELECT 8, 1, at, state, kind, message, details, person, host, hash FROM events WHERE id = 4",
            Some(8),
        ),
        ("UPDATE retractions SET disposition = 'OTHER' WHERE id = 1", Some(1)),
        ("UPDATE retractions SET reason = NULL WHERE id = 2", Some(5)),
        ("UPDATE retractions SET plan = '{}' WHERE id = 2", Some(5)),
        ("DELETE FROM retraction_rewards WHERE retraction_id = 1", Some(1)),
        ("INSERT INTO retraction_rewards VALUES ('x', 2)", Some(5)),
        ("DELETE FROM retractions WHERE id = 2", Some(5)),
        (
            "INSERT INTO retractions SELECT 3, road, 'action:9', 1, order_id, action_id, action_tracker_id, program_id, disposition, reason, ticket, batch, person, host, created_at, plan FROM retractions WHERE id = 1",
            None,
        ),
        ("UPDATE personal SET value = 'eve@shop.example' WHERE kind = 'account_id' AND retraction_id = 1", None),
    ];
    for (sql, at) in table {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("l.db");
        let ledger = filled(&path)?;
        assert_eq!(ledger.audit(None)?.faults, [], "as it was written");
        let triggers: String = ledger
            .conn
            .raw()
            .query_row(
                "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_master WHERE type = 'trigger'",
                [],
                |row| row.get(0),
            )
            .expect("triggers");
        ledger.conn.raw().execute_batch(&format!("PRAGMA foreign_keys = off; {triggers}; {sql}")).expect(sql);
        let faults = ledger.audit(None)?.faults;
        assert_eq!(faults.first().map(|fault| fault.sequence), Some(*at), "{sql}: {faults:?}");
    }
    Ok(())
}

#[test]
fn a_cut_tail_and_a_ledger_written_anew_need_a_kept_head() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ledger = filled(&dir.path().join("l.db"))?;
    let head = ledger.head()?;
    assert_eq!((head.sequence, head.hash.len()), (7, 64));
    assert_eq!(ledger.audit(Some(&head.hash))?.faults, []);
    ledger.conn.raw().execute_batch("DROP TRIGGER events_remain; DELETE FROM events WHERE id = 7").expect("a cut");
    let faults = ledger.audit(None)?.faults;
    assert!(faults.len() == 1 && faults[0].what.contains("the tail was cut"), "{faults:?}");
    let (sequence, hash) = ledger.conn.read(chain::newest).expect("an event");
    ledger.conn.write(|tx| main_file::set_head(tx, sequence, &hash)).expect("written");
    assert_eq!(ledger.audit(None)?.faults, [], "whoever also writes the head anew is found by a kept one alone");
    assert_eq!(ledger.audit(Some(&head.hash))?.faults.len(), 1);
    let anew = filled(&dir.path().join("anew.db"))?;
    assert_eq!(anew.audit(Some(&head.hash))?.faults.len(), 1);
    Ok(())
}

#[test]
fn what_goes_out_again_takes_the_place_of_what_was_refused() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let now = Timestamp::UNIX_EPOCH;
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    let first = ledger.begin(&new_retraction("1.2.3"), now)?;
    let first = ledger.append(&first, State::Sending, "sending", &Value::Null, now)?;
    let first = ledger.append(&first, State::Failed, "refused", &Value::Null, now)?;
    let second = ledger.begin(&new_retraction("1.2.3"), now)?;
    assert_eq!((second.attempt, ledger.get(first.id)?.state), (2, State::Failed), "nothing was sent yet");
    let third = ledger.begin(&new_retraction("1.2.3"), now)?;
    assert_eq!(ledger.get(second.id)?.state, State::Superseded, "it was never sent");
    ledger.append(&third, State::Sending, "sending", &Value::Null, now)?;
    assert_eq!(ledger.get(first.id)?.state, State::Superseded);
    assert_eq!(ledger.audit(None)?.faults, []);
    Ok(())
}

#[test]
fn a_change_that_goes_out_leaves_the_doubt_about_the_one_before_as_it_was() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let now = Timestamp::UNIX_EPOCH;
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    let change = NewRetraction { channel: Channel::Modification, ..new_retraction("1.2.3") };
    let mut first = ledger.begin(&change, now)?;
    for state in [State::Sending, State::Queued, State::Unconfirmed] {
        first = ledger.append(&first, state, "on its way", &Value::Null, now)?;
    }
    let second = ledger.begin(&change, now)?;
    ledger.append(&second, State::Sending, "sending", &Value::Null, now)?;
    assert_eq!(
        ledger.get(first.id)?.state,
        State::Unconfirmed,
        "it may have been made, and may not go out again unasked"
    );
    Ok(())
}

#[test]
fn what_is_waited_for_is_taken_off_when_its_time_is_over_and_a_month_after_it_turned_up() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    let day = |n: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * n);
    let orders = ["found", "missing"].map(OrderId::new);
    let waits = |order_id| NewWatched { order_id, refunded_at: None, disposition: None, ticket: None };
    assert_eq!(ledger.watch(&[waits(&orders[0]), waits(&orders[1])], day(40), day(0))?, 2);
    assert_eq!(ledger.watch(&[waits(&orders[0])], day(90), day(1))?, 0, "one that is there stays as it is");
    let look = |n| ledger.look_for_watched(day(n), |order| Ok(order == &orders[0]));
    let looked = look(30)?;
    assert_eq!((looked.found, looked.waiting), (vec![orders[0].clone()], 1));
    assert_eq!(look(39)?.found, [], "it is said once");
    assert_eq!(look(40)?.expired, [orders[1].clone()]);
    assert_eq!(ledger.watched()?.len(), 1, "what turned up waits for a person, longer than for itself");
    let looked = ledger.look_for_watched(day(60), |_| Ok(true))?;
    let dropped = Looked { dropped: vec![orders[0].clone()], ..Looked::default() };
    assert_eq!((looked, ledger.watched()?), (dropped, vec![]));
    Ok(())
}

#[test]
fn summaries_give_every_state_and_no_personal_data() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    let at = |second| Timestamp::from_second(second).expect("a moment");
    let rewards =
        json!({"rewards": [{"reward_id": "r", "account_id": "bob@shop.example", "state": "cancelled", "assigned": 5}]});
    let mut one = ledger.begin(&new_retraction("1.2.3"), at(1))?;
    for (state, details, second) in [
        (State::Sending, &Value::Null, 2),
        (State::Queued, &Value::Null, 3),
        (State::Queued, &json!({"rewards": "of another kind"}), 4),
        (State::Confirmed, &rewards, 5),
    ] {
        one = ledger.append(&one, state, "x", details, at(second))?;
    }
    ledger.note(&one, "mistake", "a later note", &Value::Null, at(6))?;
    ledger.begin(&NewRetraction { channel: Channel::File, ..new_retraction("4.5.6") }, at(7))?;
    let all = ledger.summaries()?;
    let found: Vec<_> =
        all.iter().map(|it| (it.id, it.channel, it.state, it.created_at, it.since, it.readings.len())).collect();
    assert_eq!(
        found,
        [
            (1, Channel::Reversal, State::Confirmed, at(1), at(5), 2),
            (2, Channel::File, State::Planned, at(7), at(7), 1)
        ]
    );
    let seen = &all[0].readings[1].rewards[0];
    assert_eq!((seen.reward_id.as_str(), seen.state.as_str(), seen.assigned), ("r", "cancelled", Some(5)));
    assert!(!format!("{all:?}").contains("bob"));
    Ok(())
}

#[test]
fn a_use_case_may_hold_a_ledger_across_an_await() {
    fn shared<T: Send + Sync>() {}
    shared::<Ledger>();
    shared::<crate::store::access::AccessFile>();
    shared::<crate::store::budget::SharedBudget>();
}

#[test]
fn an_intent_is_written_whole_or_not_at_all() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let now = Timestamp::UNIX_EPOCH;
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    let notes = [("override", "by name".to_owned(), json!({"overrides": ["redeemed"]}))];
    let request = json!({"request": {"a": 1}});
    let sending = ledger.intend(&new_retraction("1.2.3"), &notes, "sending", &request, now)?;
    let kinds: Vec<_> = sending.events.iter().map(|event| (event.kind.as_str(), event.state)).collect();
    let expected = [("state", State::Planned), ("override", State::Planned), ("state", State::Sending)];
    assert_eq!((kinds.as_slice(), &sending.events[2].details), (expected.as_slice(), &request));
    let head = ledger.head()?;
    let again = ledger.intend(&new_retraction("1.2.3"), &notes, "sending", &request, now);
    assert_eq!(again.expect_err("it may have been received").kind, Kind::Busy);
    assert_eq!((ledger.head()?, ledger.all()?.len()), (head, 1), "nothing of the second one is left");
    Ok(())
}

#[test]
fn of_many_that_intend_one_action_at_once_one_may_send() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let shared = Ledger::open(&path, &identity(), &ann())?;
    let start = std::sync::Barrier::new(8);
    let intend = |ledger: &Ledger| {
        start.wait();
        ledger.intend(&new_retraction("1.2.3"), &[], "sending", &Value::Null, Timestamp::UNIX_EPOCH)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let (shared, path, intend) = (&shared, &path, &intend);
        let threads = (0..8).map(|n| {
            scope.spawn(move || match n % 2 {
                // Half of the threads share one `Ledger`; each other thread has its own, like a separate process.
                0 => intend(shared),
                _ => intend(&Ledger::open(path, &identity(), &ann()).expect("opens")),
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    assert!(refused.clone().all(|error| error.kind == Kind::Busy), "{results:?}");
    assert_eq!((refused.count(), shared.all()?.len()), (7, 1));
    assert_eq!(shared.audit(None)?.faults, []);
    Ok(())
}

#[test]
fn a_limited_list_has_the_oldest_or_the_newest_as_asked() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ledger = Ledger::open(dir.path().join("l.db"), &identity(), &ann())?;
    for n in 1..=5 {
        ledger.begin(&new_retraction(&format!("1.2.{n}")), Timestamp::UNIX_EPOCH)?;
    }
    let ids = |newest_first| -> Result<Vec<i64>> {
        let found = ledger.list(&Filter { limit: 2, newest_first, ..Filter::default() })?;
        Ok(found.into_iter().map(|one| one.id).collect())
    };
    assert_eq!((ids(false)?, ids(true)?), (vec![1, 2], vec![5, 4]));
    Ok(())
}
