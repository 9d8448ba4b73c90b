//! A ledger of version 1, brought up to date: every row is there, the chain holds, and nothing personal is hashed.

use rusqlite::Connection;
use serde_json::json;

use super::tests::ann;
use super::*;
use crate::store::shape::shape;

const VERSION_1: &str = include_str!("../../../tests/fixtures/ledger-1.sql");

fn identity() -> Identity {
    let text = |text: &str| text.to_owned();
    Identity { tenant: text("t"), account_sid: text("s"), advocate_url: text("http://a"), brand_url: text("http://b") }
}

/// Writes a file as recoup 0.1 left it.
fn version_1(path: &Path) {
    let conn = Connection::open(path).expect("a file");
    conn.execute_batch(VERSION_1).expect("the old schema");
    let plan =
        json!({"rewards": [{"reward_id": "r", "account_id": "bob@shop.example", "state": "available"}]}).to_string();
    let insert = "INSERT INTO retractions VALUES (?1, 'action:1.2.3', ?1, '1001', '1.2.3', NULL, 'RETRACTION', 'Bob asked', 'T-1',
        'ann', 'desk', '2026-01-01T00:00:00.000Z', ?2)";
    for id in [1, 2] {
        conn.execute(insert, rusqlite::params![id, plan]).expect("a retraction");
    }
    conn.execute_batch(
        "INSERT INTO identity VALUES ('tenant', 't'), ('account_sid', 's'), ('advocate_url', 'http://a'),
             ('brand_url', 'http://b'), ('ledger_id', 'abc');
         INSERT INTO retraction_rewards VALUES ('r', 1), ('r', 2);
         INSERT INTO events VALUES (1, 1, '2026-01-01T00:00:00.000Z', 'planned', 'written down', 'null'),
             (2, 1, '2026-01-01T00:00:01.000Z', 'planned', 'a later attempt takes its place', '{\"abandoned\":true}'),
             (3, 2, '2026-01-01T00:00:01.000Z', 'planned', 'written down', 'null'),
             (4, 2, '2026-01-01T00:00:02.000Z', 'sending', 'sending', '{\"request\":{}}'),
             (5, 2, '2026-01-01T00:00:03.000Z', 'unconfirmed', 'stands', '{\"rewards\":[{\"account_id\":\"bob@shop.example\"}]}');
         PRAGMA user_version = 1;",
    )
    .expect("rows");
    conn.pragma_update(None, "application_id", LAYOUT.application_id).expect("a mark");
}

#[test]
fn an_older_ledger_keeps_every_row_and_becomes_a_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (dir.path().join("old.db"), dir.path().join("new.db"));
    version_1(&old);
    // A reader brings it up to date as well.
    let ledger = Ledger::open_read_only(&old, Some(&identity())).expect("upgrades").expect("exists");
    let all = ledger.all().expect("reads");
    assert_eq!(
        all.iter().map(|r| (r.state, r.events.len())).collect::<Vec<_>>(),
        [(State::Superseded, 2), (State::Unconfirmed, 3)]
    );
    assert_eq!(all[1].plan["rewards"][0]["account_id"], "bob@shop.example");
    assert_eq!(all[1].reason.as_deref(), Some("Bob asked"));
    assert_eq!(ledger.ledger_id().expect("its name"), "abc");
    assert_eq!(ledger.head().expect("a head").sequence, 5, "what an index remembers of it still holds");
    let audit = ledger.audit(None).expect("reads");
    assert_eq!((audit.faults, audit.events, audit.retractions), (vec![], 5, 2));
    drop(ledger);
    drop(Ledger::open(&new, &identity(), &ann()).expect("a new one"));
    assert_eq!(shape(&old), shape(&new));
    let mut ledger = Ledger::open(&old, &identity(), &ann()).expect("opens");
    let open = ledger.open_ones().expect("reads").pop().expect("one is open");
    ledger.append(&open, State::Confirmed, "done", &Value::Null, Timestamp::UNIX_EPOCH).expect("goes on");
    assert_eq!(ledger.audit(None).expect("reads").faults, []);
    for sql in ["UPDATE events SET state = 'confirmed'", "DELETE FROM retractions"] {
        assert!(ledger.conn.execute(sql, []).is_err(), "{sql}");
    }
}
