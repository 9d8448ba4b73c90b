//! Tests of the ledger as evidence: `recoup audit` detects later changes and exports the events.

use rusqlite::Connection;
use serde_json::Value;

use crate::service::{Service, add_user, percent_encoded};
use crate::support::{Home, Sim, ready};

/// Returns a ledger with one confirmed retraction, and the head (the hash of the newest event) from its receipt.
fn retracted() -> (Sim, Home, String) {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let ran =
        home.check(&["retract", &order.order_id, "--yes", "--reason", "=returned", "--ticket", "T-1", "--json"], 0);
    let head = ran.object()["ledger"]["hash"].as_str().expect("a head").to_owned();
    (sim, home, head)
}

/// Changes the ledger's file without the triggers, as an attacker with an SQL editor could.
fn tamper(home: &Home, sql: &str) {
    home.tamper("ledger", sql);
}

#[test]
fn an_unchanged_ledger_verifies_and_names_its_head() {
    let (_sim, home, head) = retracted();
    let ran = home.check(&["audit", "verify"], 0);
    assert!(ran.stdout.contains(&head) && ran.stdout.contains("the chain holds"), "{}", ran.stdout);
    let audit = home.check(&["audit", "verify", "--head", &head.to_uppercase(), "--json"], 0).object();
    assert_eq!((&audit["retractions"], &audit["faults"]), (&1.into(), &Value::Array(Vec::new())));
    assert_eq!(audit["head"]["hash"], head.as_str());
    assert_eq!(audit["head_found"], audit["head"]["sequence"]);
    let said = home.check(&["audit", "verify", "--head", &head], 0).stdout;
    assert!(said.contains("the given head is event") && said.contains("no event was added since"), "{said}");
    home.check(&["mistake", "1", "--ticket", "T-2"], 0);
    let said = home.check(&["audit", "verify", "--head", &head], 0).stdout;
    assert!(said.contains("it says nothing about the 1 event after it"), "{said}");
    assert_eq!(home.check(&["audit", "verify", "--json"], 0).object()["head_found"], Value::Null);
    let ran = home.check(&["audit", "verify", "--head", &"0".repeat(64), "--json"], 1);
    assert_eq!((ran.error_kind().as_str(), &ran.object()["head_found"]), ("tampered", &Value::Null));
    home.check(&["audit", "verify", "--head", "abc"], 2);
}

#[test]
fn nobody_forges_a_line_of_a_receipt_of_the_log_or_of_an_export() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let order = sim.example("plain").order_id;
    let reason = "refunded\n  confirmed 2001-01-01\r\n;=1+1\u{2028}  confirmed 2001-01-01\u{1b}[2K\u{202e}";
    let ran = home
        .check(&["retract", &order, "--yes", "--reason", reason, "--ticket", "T\n  confirmed 2001-01-01", "-vv"], 0);
    let service = Service::start(&home);
    let page = service.login("lead", &password).get(&format!("/receipt?order={}", percent_encoded(&order))).body;
    let (_, text) = page.split_once("<pre id=\"receipt-text\">").expect("the receipt as text");
    let text = text.split_once("</pre>").expect("its end").0;
    let csv = home.check(&["audit", "export", "--format", "csv"], 0).stdout;
    let events = home.check(&["audit", "export", "--format", "ndjson"], 0).stdout.lines().count();
    let status = home.check(&["status", "--retraction", "1"], 0).stdout;
    for text in [&ran.stdout, &ran.stderr, text, &status, &csv] {
        assert!(!text.contains(['\r', '\u{2028}', '\u{202e}']), "{text:?}");
        let forged = text.lines().find(|line| line.trim_start().starts_with("confirmed 2001"));
        assert!(forged.is_none(), "{text}");
    }
    assert!(ran.stdout.contains(r"reason refunded\n  confirmed 2001-01-01\r\n;=1+1\u{2028}"), "{}", ran.stdout);
    assert!(text.contains(r"ticket T\n  confirmed 2001-01-01"), "{text}");
    assert_eq!(csv.lines().count(), events + 1, "an event is a line: {csv}");
    assert!(csv.contains(";'=1+1") && !csv.contains(";=1+1"), "{csv}");
}

#[test]
fn an_altered_row_is_found_at_its_event() {
    let (_sim, home, _) = retracted();
    tamper(&home, "UPDATE events SET person = 'nobody' WHERE id = 3");
    let ran = home.check(&["audit", "verify"], 1);
    assert!(ran.stdout.contains("FAULT: event 3, retraction 1"), "{}", ran.stdout);
    let ran = home.check(&["audit", "verify", "--json"], 1);
    assert_eq!(ran.error_kind(), "tampered");
    assert_eq!(ran.object()["faults"][0]["sequence"], 3);
    let doctor = home.check(&["doctor"], 1);
    assert!(doctor.stdout.contains("chain of the ledger: the ledger is not what was written"), "{}", doctor.stdout);
}

#[test]
fn a_damaged_index_of_the_ledger_is_a_fault_and_nothing_is_sent_from_it() {
    let (sim, home, _) = retracted();
    if home.skip_on_server("it damages a page of SQLite's file") {
        return;
    }
    let conn = Connection::open(home.ledger()).expect("the ledger");
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
    let page: i64 = conn
        .query_row("SELECT rootpage FROM sqlite_master WHERE name = 'events_by_retraction'", [], |row| row.get(0))
        .expect("a page");
    conn.close().expect("closes");
    let mut file = std::fs::read(home.ledger()).expect("the file");
    // Lowers the number of entries in a page of SQLite's b-tree, so that the b-tree lacks the newest events of the
    // retraction.
    file[(page as usize - 1) * 4096 + 4] -= 3;
    std::fs::write(home.ledger(), file).expect("damaged");
    let ran = home.check(&["audit", "verify", "--json"], 1);
    assert_eq!(ran.error_kind(), "tampered");
    assert!(ran.stdout.contains("is damaged"), "{}", ran.stdout);
    let conn = Connection::open(home.ledger()).expect("the ledger");
    let order: String = conn.query_row("SELECT order_id FROM retractions", [], |row| row.get(0)).expect("an order");
    drop(conn);
    for more in [&[][..], &["--resend", "--reason", "x"]] {
        home.run(&[&["retract", &order, "--yes", "--wait", "1s"][..], more].concat());
        assert_eq!(sim.deletes().len(), 1, "{more:?}");
    }
}

#[test]
fn an_audit_reports_faults_outside_the_chain() {
    let (_sim, home, _) = retracted();
    let said = home.check(&["audit", "verify"], 0).stdout;
    for part in ["the file is sound", "not in the chain: ", "SQLite's indexes", "personal value", "mark of a copy"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let audit = home.check(&["audit", "verify", "--json"], 0).object();
    assert!(audit["outside_chain"].as_array().is_some_and(|list| list.len() == 4), "{audit}");
}

#[test]
fn a_removed_row_is_found_at_the_next_event() {
    let (_sim, home, _) = retracted();
    tamper(&home, "DELETE FROM events WHERE id = 2");
    let faults = home.check(&["audit", "verify", "--json"], 1).object()["faults"].clone();
    assert_eq!(faults[0]["sequence"], 3, "{faults}");
    assert!(faults[0]["what"].as_str().is_some_and(|what| what.contains("missing")), "{faults}");
}

#[test]
fn a_cut_tail_is_found_by_the_file_and_by_a_kept_head() {
    let (_sim, home, head) = retracted();
    tamper(&home, "DELETE FROM events WHERE id = (SELECT max(id) FROM events)");
    let ran = home.check(&["audit", "verify"], 1);
    assert!(ran.stdout.contains("the file says that it is"), "{}", ran.stdout);
    // The attacker also rewrites the ledger's head to match the removed events. The index knows the head at the last
    // send, which is older than the removed events.
    let hex = if home.server().is_some() { "encode(hash, 'hex')" } else { "lower(hex(hash))" };
    tamper(
        &home,
        &format!(
            "UPDATE identity SET value = (SELECT id || ' ' || {hex} FROM events ORDER BY id DESC LIMIT 1)
             WHERE key = 'head'"
        ),
    );
    home.check(&["audit", "verify"], 0);
    let ran = home.check(&["audit", "verify", "--head", &head], 1);
    assert!(ran.stdout.contains("the tail was cut"), "{}", ran.stdout);
    tamper(&home, "DELETE FROM events");
    let ran = home.check(&["audit", "verify"], 1);
    assert!(ran.stdout.contains("the index remembers"), "{}", ran.stdout);
}

#[test]
fn a_rewritten_ledger_is_found_by_a_head_and_by_the_index() {
    let (sim, home, head) = retracted();
    if home.skip_on_server("it replaces the ledger's file") {
        return;
    }
    for file in ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    assert_eq!(home.check(&["audit", "verify", "--json"], 3).error_kind(), "identity");
    let elsewhere = home.path("elsewhere.db").display().to_string();
    home.check(&["crawl", "--source", "participants", "--database", &elsewhere], 0);
    let order = sim.example("two_actions");
    home.check(&["retract", &order.order_id, "--all", "--yes", "--database", &elsewhere], 0);
    home.check(&["audit", "verify", "--database", &elsewhere], 0);
    std::fs::rename(home.path("elsewhere-ledger.db"), home.ledger()).expect("moved");
    let ran = home.check(&["audit", "verify", "--head", &head], 1);
    assert!(ran.stdout.contains("written anew") && ran.stdout.contains("another ledger"), "{}", ran.stdout);
}

#[test]
fn an_export_has_every_event_and_accounts_only_on_request() {
    let (_sim, home, head) = retracted();
    let accounts = accounts_of(&home);
    let lines = home.check(&["audit", "export"], 0);
    let events = lines.objects();
    let numbers: Vec<i64> = events.iter().filter_map(|event| event["event"].as_i64()).collect();
    assert_eq!(numbers, (1..=events.len() as i64).collect::<Vec<_>>());
    assert_eq!(events.last().expect("one")["hash"], head.as_str());
    for event in &events {
        assert_eq!(
            (&event["ticket"], &event["reason"], &event["road"]),
            (&"T-1".into(), &"=returned".into(), &"reversal".into())
        );
    }
    let named = home.check(&["audit", "export", "--personal"], 0).stdout;
    for account in &accounts {
        assert!(!lines.stdout.contains(account.as_str()), "{account} in an export");
        assert!(named.contains(account.as_str()), "{account} where it was asked for");
    }
}

#[test]
fn an_export_is_complete_has_no_formula_and_replaces_files_only_with_force() {
    let (_sim, home, head) = retracted();
    let path = home.path("ledger.csv");
    let file = path.display().to_string();
    let args = ["audit", "export", "--format", "csv", "--out", &file, "--json"];
    assert_eq!(home.check(&args, 0).object()["head"]["hash"], head.as_str());
    let text = std::fs::read_to_string(&path).expect("the table");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert!(rows.len() > 3 && rows.iter().all(|row| &row[11] == "'=returned"), "{text}");
    assert_eq!(home.check(&args, 2).error_kind(), "usage");
    std::fs::write(&path, "mine").expect("a file");
    home.check(&["audit", "export", "--out", &file, "--force"], 0);
    assert!(std::fs::read_to_string(&path).expect("the file").starts_with('{'));
    let left: Vec<String> = std::fs::read_dir(home.path("."))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(left.iter().all(|name| !name.contains(".partial")), "{left:?}");
    home.check(&["audit", "export", "--format", "csv", "--json"], 2);
    home.check(&["audit", "export", "--out", &home.path("none/x").display().to_string()], 1);
    // `audit export --out` refuses a folder before it reads anything, even with --force.
    let folder = home.path("").display().to_string();
    home.check(&["audit", "export", "--out", &folder, "--force"], 2);
}

/// Returns the account IDs in the ledger.
fn accounts_of(home: &Home) -> Vec<String> {
    let found = home.rows("ledger", "SELECT DISTINCT value FROM personal WHERE kind = 'account_id'").concat();
    assert!(!found.is_empty());
    found
}

#[test]
fn a_mistake_is_recorded_with_the_rewards_to_issue_again() {
    let (_sim, home, _) = retracted();
    let mistake = home.check(&["mistake", "1", "--ticket", "M-1", "--reason", "wrong order", "--json"], 0).object();
    let rewards = mistake["rewards"].as_array().expect("rewards");
    assert_eq!(rewards.len(), 2, "{mistake}");
    for reward in rewards {
        assert!(reward["amount"].is_i64() && reward["unit"].is_string() && reward["account_id"].is_null(), "{reward}");
        assert_ne!(reward["state_before"], "cancelled");
    }
    assert_eq!(mistake["state"], "confirmed", "it stays what it is");
    let said = home.check(&["mistake", "1", "--ticket", "M-2", "--show-account"], 0).stdout;
    for part in ["Reason=RESET", "locking date", "first time", "by hand", &accounts_of(&home)[0]] {
        assert!(said.contains(part), "{part}: {said}");
    }
    home.check(&["audit", "verify"], 0);
    let events = home.check(&["audit", "export"], 0).objects();
    let event = events.iter().find(|event| event["kind"] == "mistake").expect("an event");
    assert_eq!((&event["details"]["ticket"], &event["details"]["reason"]), (&"M-1".into(), &"wrong order".into()));
    assert_eq!(event["state"], Value::Null);
    home.check(&["mistake", "77", "--ticket", "M-3"], 1);
}

#[test]
fn a_retraction_that_was_never_sent_cannot_be_a_mistake() {
    let (sim, home) = ready(&["--delete-fault", "401"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 3);
    assert_eq!(home.check(&["mistake", "1", "--ticket", "M-1", "--json"], 5).error_kind(), "refused");
}
