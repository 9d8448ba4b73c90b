//! Rows of a batch that share an order, and rows that something ended: none may borrow an outcome that is not its own.

use crate::batch::{args, check, column, csv_file, orders_file, outcomes, plain};
use crate::support::{Ran, ready, wait_until};

#[test]
fn a_row_that_asks_for_something_else_does_not_share_the_outcome_of_its_order() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let row = |order: &str, action: &str, disposition: &str| vec![order.into(), action.into(), disposition.into()];
    let action = |nth: usize| orders[nth].id.clone().expect("an action");
    let rows = [
        row(&orders[0].order, &action(0), "RETURN"),
        row(&orders[0].order, &action(0), "RETURN"),
        row(&orders[0].order, &action(0), "FRAUD"),
        row(&orders[0].order, &action(1), "RETURN"),
    ];
    let file = csv_file(&home, "refunds.csv", &["order_id", "action_id", "disposition"], &rows);
    let out = home.path("out.csv");
    check(&home, &file, &out, &[], 6);
    let told = outcomes(&out);
    assert_eq!(told[..2], ["confirmed", "confirmed"], "the same asked for twice is one retraction: {told:?}");
    assert!(told[2..].iter().all(|told| told.starts_with("stopped: ")), "{told:?}");
    assert_eq!(column(&out, "recoup_retraction"), ["1", "1", "", ""]);
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
    assert_eq!(outcomes(&out), ["not attempted"], "the other action stands");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn what_was_sent_is_in_the_outcomes_also_where_the_index_fails_in_the_middle() {
    let (sim, home) = ready(&["--participants", "3000", "--latency", "20ms"]);
    let orders = plain(&sim, 12);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let list = args(&file, &out, &["--wait", "20s"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let child = home.command(&list).spawn().expect("it starts");
    wait_until("something is sent", || !sim.deletes().is_empty());
    // A newer recoup has taken the index over.
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
fn a_plan_sends_the_disposition_code_that_it_was_made_with() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let file = orders_file(&home, "refunds.csv", &orders).display().to_string();
    let plan = home.path("plan.csv").display().to_string();
    home.check(&["retract", "--file", &file, "--plan", &plan, "--disposition", "FRAUD"], 0);
    let out = home.path("out.csv").display().to_string();
    let ran = home.run(&["retract", "--apply", &plan, "--out", &out, "--yes", "--json"]);
    let codes: Vec<String> =
        sim.deletes().iter().map(|delete| delete["params"]["DispositionCode"].to_string()).collect();
    assert!(codes.iter().all(|code| code == "\"FRAUD\""), "{codes:?} {ran:?}");
}
