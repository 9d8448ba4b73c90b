//! Tests of `recoup forget`: it removes a person from the index and the ledger, and no later crawl or look-up adds them
//! again.

use serde_json::Value;

use crate::service::{Service, add_user};
use crate::support::{Home, Sim, os_user, ready};

/// Retracts an order of two people until it is confirmed. Returns the order ID and the account ID of one of them.
fn confirmed(sim: &Sim, home: &Home) -> (String, String) {
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--reason", "Ms Bird asked", "--ticket", "T-1"], 0);
    let account = account_of(sim, &order.reward_ids[0]);
    (order.order_id, account)
}

fn account_of(sim: &Sim, reward: &str) -> String {
    let truth = sim.truth();
    let found = truth.iter().find(|line| line["reward_id"] == reward).expect("its reward");
    let account = found["account_id"].as_str().expect("an account").to_owned();
    assert!(account.len() >= 6, "long enough to be looked for: {account}");
    account
}

#[track_caller]
fn assert_gone(home: &Home, account: &str) {
    assert!(!home.holds("ledger", account), "the ledger");
    assert!(!home.holds("index", account), "the index");
    let quoted = account.replace('\'', "''");
    let known = home.rows("index", &format!("SELECT count(*) FROM accounts WHERE account_id = '{quoted}'"));
    assert_eq!(known, [["0"]]);
}

/// Deletes a database file with its WAL.
fn remove(home: &Home, name: &str) {
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(home.path(&format!("{name}{end}"))));
    }
}

fn forget(home: &Home, account: &str) -> Value {
    let ran = home.check(&["forget", account, "--ticket", "P-1", "--yes", "--json"], 0);
    assert!(!ran.stdout.contains(account) && !ran.stderr.contains(account), "{ran:?}");
    ran.object()
}

#[test]
fn a_forgotten_account_leaves_no_trace_and_no_source_brings_it_back() {
    // With so many rewards, the compression dictionary contains parts of some of them.
    let (sim, home) = ready(&["--participants", "3000"]);
    let (order, account) = confirmed(&sim, &home);
    assert!(home.holds("ledger", &account) && home.holds("ledger", "Ms Bird"), "there before");
    assert!(home.holds("ledger", "QueuedUri"), "the vendor's answer, as it came");
    // A row of `participants` has the row number of its account in the upper half of its hash.
    let number = |sql: &str| home.rows("index", sql)[0][0].parse::<i64>().expect("a number");
    let quoted = account.replace('\'', "''");
    let key = number(&format!("SELECT id FROM accounts WHERE account_id = '{quoted}'"));
    let listed = || number(&format!("SELECT count(*) FROM participants WHERE hash >> 32 = {key}"));
    assert!(listed() > 0, "there before");
    let forgotten = forget(&home, &account);
    assert_eq!(listed(), 0, "what the walks have seen of it");
    assert_eq!((&forgotten["retractions"], &forgotten["index"]["accounts"]), (&1.into(), &1.into()), "{forgotten}");
    assert_eq!(forgotten["index"]["repacked"], true, "{forgotten}");
    assert_gone(&home, &account);
    assert!(!home.holds("ledger", "Ms Bird"), "the reason may name the person");
    assert!(!home.holds("ledger", "QueuedUri"), "so may the vendor's answer");
    home.check(&["audit", "verify"], 0);

    for source in ["participants", "graphql", "export"] {
        let outcome = home.check(&["crawl", "--source", source, "--full", "--json"], 0).object();
        assert_eq!(
            (&outcome["complete"], &outcome["accounts_forgotten"]),
            (&true.into(), &1.into()),
            "{source}: {outcome}"
        );
        assert_gone(&home, &account);
        let again = home.check(&["crawl", "--source", source, "--json"], 0).object();
        assert_eq!(again["complete"], true, "{source}: {again}");
        assert_gone(&home, &account);
    }
    home.check(&["crawl", "--from-raw"], 0);
    let looked = home.run(&["lookup", "no such order", "--participant", &account]);
    assert!(looked.stderr.contains("forgotten"), "{}", looked.stderr);
    home.run(&["lookup", "no such order", "--live"]);
    assert_gone(&home, &account);

    // The IDs of its rewards still prove the retraction.
    let verified = home.check(&["verify", "1", "--json"], 0);
    assert_eq!(verified.state(), "confirmed");
    assert_eq!(verified.object()["retractions"][0]["reason"], "(forgotten)");
    home.check(&["status", "--retraction", "1"], 0);
    let again = home.check(&["retract", &order, "--yes", "--json"], 0);
    assert_eq!(again.object()["retractions"][0]["sent_now"], false);
    assert_gone(&home, &account);
    home.check(&["audit", "verify"], 0);
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(sim.violations(), Vec::<Value>::new());
    let asked = sim.get("record");
    assert!(!asked.contains("forgotten"), "nobody is asked about an account of that name");
    // A second `forget` of the same account does no harm, and adds an event to the ledger only if it deleted something.
    let head = home.check(&["audit", "verify", "--json"], 0).object()["head"].clone();
    forget(&home, &account);
    assert_eq!(home.check(&["audit", "verify", "--json"], 0).object()["head"], head);
}

#[test]
fn a_new_or_restored_index_omits_the_forgotten_account() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it restores a copy of a file") {
        return;
    }
    let (_, account) = confirmed(&sim, &home);
    let folder = home.path("backup").display().to_string();
    let copy =
        home.check(&["backup", &folder, "--json"], 0).object()["index"]["file"].as_str().expect("a file").to_owned();
    forget(&home, &account);
    let remove = || remove(&home, "recoup.db");
    remove();
    home.crawl();
    assert_gone(&home, &account);
    remove();
    std::fs::copy(&copy, home.database()).expect("a restore");
    assert!(home.holds("index", &account));
    let crawled = home.check(&["crawl", "--source", "graphql"], 0);
    assert!(
        crawled.stderr.contains("this index had forgotten accounts; they are deleted now")
            && crawled.stdout.contains("1 account forgotten"),
        "{crawled:?}"
    );
    assert_gone(&home, &account);
    let said = home.check(&["lookup", "no such order"], 4);
    assert!(said.stdout.contains("1 account forgotten"), "{}", said.stdout);
}

#[test]
fn a_lost_ledger_does_not_bring_the_forgotten_account_back() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it restores a copy of a file") {
        return;
    }
    let (_, account) = confirmed(&sim, &home);
    let folder = home.path("backup").display().to_string();
    let copy =
        home.check(&["backup", &folder, "--json"], 0).object()["ledger"]["file"].as_str().expect("a file").to_owned();
    forget(&home, &account);
    let remove = || remove(&home, "recoup-ledger.db");
    for restored in [Some(&copy), None] {
        remove();
        if let Some(copy) = restored {
            std::fs::copy(copy, home.ledger()).expect("a restore");
            assert!(home.holds("ledger", &account));
        }
        home.check(&["ledger", "accept", "--ticket", "OPS-1", "--yes"], 0);
        home.check(&["crawl", "--source", "participants", "--full"], 0);
        assert_gone(&home, &account);
        home.check(&["verify", "1"], 0);
        assert_gone(&home, &account);
        home.check(&["audit", "verify"], 0);
    }
}

#[test]
fn forget_refuses_open_retractions_and_a_missing_terminal() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "50ms"], 7);
    let account = account_of(&sim, &order.reward_ids[0]);
    let ran = home.check(&["forget", &account, "--ticket", "P-1", "--yes", "--json"], 5);
    assert!(ran.stderr.contains("open retractions: 1 (queued)"), "{}", ran.stderr);
    home.check(&["forget", &account, "--ticket", "P-1"], 5);
    assert!(home.holds("ledger", &account), "nothing was forgotten");
    // An account without a retraction can be forgotten without a ledger event.
    let other =
        sim.truth().iter().filter_map(|line| line["account_id"].as_str().map(str::to_owned)).find(|id| *id != account);
    forget(&home, &other.expect("another account"));
}

#[test]
fn approval_requests_are_forgotten_with_the_account() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let password = add_user(&home, "lead", "lead");
    let retract = ["retract", &order.order_id, "--yes", "--reason", "Ms Bird asked"];
    home.check(&retract, 5);
    let id = home.check(&["approval", "list", "--json"], 0).object()["id"].to_string();
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    lead.post(&format!("/approvals/{id}/approve"), &[("reason", "spoke to Ms Bird"), ("yes", "1")]);
    home.check(&retract, 0);
    assert!(home.holds("ledger", "spoke to Ms Bird"));
    forget(&home, &account_of(&sim, &order.reward_ids[0]));
    assert!(!home.holds("ledger", "Ms Bird"), "neither the question nor the answer");
    home.check(&["audit", "verify"], 0);
    assert!(home.check(&["approval", "list", "--all", "--json"], 0).stdout.contains("(forgotten)"));
}
