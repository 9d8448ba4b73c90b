//! What the ledger allows and what it refuses.

use super::*;
use crate::model::ActionId;

fn identity() -> Identity {
    Identity {
        tenant: "t".into(),
        account_sid: "s".into(),
        advocate_url: "http://127.0.0.1/a".into(),
        brand_url: "http://127.0.0.1/b".into(),
    }
}

fn new_retraction(action: &str, attempt: i64) -> NewRetraction {
    NewRetraction {
        target: Target::Action(ActionId::new(action)),
        attempt,
        order_id: OrderId::new("1001"),
        disposition: "RETRACTION".into(),
        reason: None,
        ticket: None,
        person: "ann".into(),
        host: "desk".into(),
        rewards: vec![RewardId::new("r")],
        plan: Value::Null,
    }
}

#[test]
fn nothing_but_planned_may_become_sending() {
    for from in State::ALL {
        assert_eq!(from.may_become(State::Sending), from == State::Planned, "{from:?}");
    }
    for from in State::ALL {
        assert!(from == State::Sending || from == State::Planned || !from.may_become(State::Planned), "{from:?}");
    }
}

#[test]
fn two_openers_cannot_both_send() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let now = Timestamp::UNIX_EPOCH;
    let mut one = Ledger::open(&path, &identity())?;
    let mut two = Ledger::open(&path, &identity())?;
    let planned = one.begin(&new_retraction("1.2.3", 1), None, now)?;
    assert!(two.begin(&new_retraction("1.2.3", 1), None, now).is_err(), "one target, one attempt");
    let seen_by_two = two.get(planned.id)?;
    one.append(&planned, State::Sending, "sending", &Value::Null, now)?;
    let error = two.append(&seen_by_two, State::Sending, "sending", &Value::Null, now).expect_err("the second is late");
    assert_eq!(error.kind, Kind::Busy);
    assert_eq!(one.get(planned.id)?.state, State::Sending);
    Ok(())
}

#[test]
fn rows_cannot_be_changed_or_removed() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let mut ledger = Ledger::open(&path, &identity())?;
    ledger.begin(&new_retraction("1.2.3", 1), None, Timestamp::UNIX_EPOCH)?;
    for sql in ["UPDATE events SET state = 'confirmed'", "DELETE FROM events", "DELETE FROM retractions"] {
        let error = ledger.conn.execute(sql, []).expect_err(sql);
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
    Ok(())
}

#[test]
fn another_tenant_and_a_newer_schema_are_refused() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("l.db");
    let ledger = Ledger::open(&path, &identity())?;
    let other = Identity { tenant: "u".into(), ..identity() };
    assert_eq!(Ledger::open(&path, &other).expect_err("another tenant").kind, Kind::Identity);
    ledger.conn.pragma_update(None, "user_version", 99).expect("pragma");
    drop(ledger);
    assert_eq!(Ledger::open(&path, &identity()).expect_err("newer").kind, Kind::NewerDatabase);
    Ok(())
}
