//! Tests of batch rows that share an order, and of rows that a fault ended: no row shows the outcome of another row.

use crate::batch::{args, check, column, csv_file, orders_file, outcomes, plain};
use crate::support::{Ran, ready, wait_until};

#[test]
fn contradicting_rows_of_one_order_send_nothing() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let row = |order: &str, action: &str, disposition: &str| vec![order.into(), action.into(), disposition.into()];
    let action = |nth: usize| orders[nth].id.clone().expect("an action");
    let rows = [
        row(&orders[0].order, &action(0), "ITEM_RETURNED"),
        row(&orders[0].order, &action(0), "CONS_FRAUD"),
        row(&orders[0].order, &action(1), "ITEM_RETURNED"),
        row(&orders[1].order, &action(1), "ITEM_RETURNED"),
        row(&orders[1].order, &action(1), "ITEM_RETURNED"),
    ];
    let file = csv_file(&home, "refunds.csv", &["order_id", "action_id", "disposition"], &rows);
    let out = home.path("out.csv");
    check(&home, &file, &out, &[], 6);
    let told = outcomes(&out);
    assert_eq!(told[3..], ["confirmed", "confirmed"], "the same asked for twice is one retraction: {told:?}");
    assert!(told[..3].iter().all(|told| told.starts_with("stopped: ")), "{told:?}");
    assert_eq!(column(&out, "recoup_retraction"), ["", "", "", "1", "1"]);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_order_with_an_action_that_was_never_sent_is_not_called_retracted() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let order = sim.example("two_actions");
    let one = ["retract", &order.order_id, "--action-id", &order.action_ids[0], "--yes", "--json"];
    assert_eq!(home.run(&one).object()["retractions"][0]["sent_now"], true);
    let file = csv_file(&home, "refunds.csv", &["order_id"], &[vec![order.order_id.clone()]]);
    let out = home.path("out.csv");
    check(&home, &file, &out, &["--all", "--dry-run"], 0);
    assert_eq!(outcomes(&out), ["not_attempted"], "the other action stands");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_outcomes_list_what_was_sent_even_if_the_index_fails_midway() {
    let (sim, home) = ready(&["--participants", "3000", "--latency", "20ms"]);
    if home.skip_on_server("it changes the version in SQLite's file") {
        return;
    }
    let orders = plain(&sim, 12);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let list = args(&file, &out, &["--wait", "20s"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let child = home.command(&list).spawn().expect("it starts");
    wait_until("something is sent", || !sim.deletes().is_empty());
    // Sets the schema version that another version of recoup would write to the index.
    let index = rusqlite::Connection::open(home.database()).expect("the index");
    index.pragma_update(None, "user_version", 99).expect("another version");
    let ran = Ran::of(&list, child.wait_with_output().expect("it ends"));
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let (told, sent) = (outcomes(&out), sim.deletes().len());
    assert_eq!(told.len(), orders.len());
    let is_sent = |told: &&String| ["confirmed", "pending", "unconfirmed", "unknown"].contains(&told.as_str());
    assert_eq!(told.iter().filter(is_sent).count(), sent, "{told:?} {}", ran.stderr);
    assert!(sent < orders.len(), "it stopped");
}

#[test]
fn a_row_by_action_tracker_keeps_its_tracker_after_a_long_trial() {
    // A plan is valid for ten seconds, and the trial of the program rule takes longer.
    let (sim, home) = ready(&["--participants", "3000", "--complete-delay", "11s", "--program-rule", "forbidden"]);
    let order = sim.example("no_action");
    let all: Vec<serde_json::Value> =
        sim.get("actions").lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let action = all.iter().find(|action| action["order_id"] == order.order_id.as_str()).expect("its action");
    let tracker = action["action_tracker_id"].to_string().trim_matches('"').to_owned();
    let mut rows: Vec<Vec<String>> = plain(&sim, 3).into_iter().map(|one| vec![one.order, String::new()]).collect();
    rows.push(vec![order.order_id.clone(), tracker]);
    let file = csv_file(&home, "refunds.csv", &["order_id", "action_tracker_id"], &rows);
    let out = home.path("out.csv");
    check(&home, &file, &out, &["--wait", "60s"], 0);
    assert_eq!(outcomes(&out), ["confirmed"; 4]);
    assert_eq!(sim.deletes().len(), 4);
}

#[test]
fn a_plan_sends_its_own_disposition_code() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let file = orders_file(&home, "refunds.csv", &orders).display().to_string();
    let plan = home.path("plan.csv").display().to_string();
    home.check(&["retract", "--file", &file, "--plan", &plan, "--disposition", "CONS_FRAUD"], 0);
    let out = home.path("out.csv").display().to_string();
    let ran = home.run(&["retract", "--apply", &plan, "--out", &out, "--yes", "--json"]);
    let codes: Vec<String> =
        sim.deletes().iter().map(|delete| delete["params"]["DispositionCode"].to_string()).collect();
    assert!(codes.iter().all(|code| code == "\"FRAUD\""), "{codes:?} {ran:?}");
}

#[cfg(unix)]
#[test]
fn a_batch_whose_ledger_is_moved_away_sends_nothing_more() {
    let (sim, home) = ready(&["--participants", "3000", "--latency", "20ms"]);
    if home.skip_on_server("it moves the ledger's file") {
        return;
    }
    let orders = plain(&sim, 12);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let list = args(&file, &out, &["--wait", "20s"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let child = home.command(&list).spawn().expect("it starts");
    wait_until("something is sent", || !sim.deletes().is_empty());
    std::fs::rename(home.ledger(), home.path("moved-ledger.db")).expect("moved");
    let before = sim.deletes().len();
    let ran = Ran::of(&list, child.wait_with_output().expect("it ends"));
    assert_ne!(ran.code, Some(0), "{ran:?}");
    // A request may have been in flight when the test moved the ledger's file.
    assert!(sim.deletes().len() <= before + 1, "{} after {before}: {}", sim.deletes().len(), ran.stderr);
    assert!(ran.stderr.contains("was moved or replaced while this command ran"), "{}", ran.stderr);
}
