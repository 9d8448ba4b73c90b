//! Tests of `recoup reconcile`: it compares the shop's refunds with rewards and ledger, and the ledger with the
//! refunds.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready};

/// Flags that explain the amounts in the files of [`refunds`].
const MEANS: [&str; 4] = ["--amount-column", "new amount", "--amount-means", "new-amount"];

/// Returns the n-th example order of a kind.
fn order(sim: &Sim, kind: &str, n: usize) -> String {
    example(sim, kind, n)["order_id"].as_str().unwrap_or_else(|| panic!("no example {n} of {kind}")).to_owned()
}

fn example(sim: &Sim, kind: &str, n: usize) -> Value {
    let all: Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
    all[kind][n].clone()
}

/// Writes a CSV file of orders with their refund dates and amounts.
fn refunds(home: &Home, rows: &[(&str, &str, &str)]) -> String {
    // The third column is the order's new total; an empty cell means 0.
    let mut text = "Order ID,refunded_at,new amount,E-Mail\n".to_owned();
    for (order_id, refunded_at, amount) in rows {
        let amount = if amount.is_empty() { "0.00" } else { amount };
        writeln!(text, "\"{}\",{refunded_at},{amount},a@example.com", order_id.replace('"', "\"\"")).expect("text");
    }
    let path = home.path("refunds.csv");
    std::fs::write(&path, text).expect("the refunds");
    path.display().to_string()
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.object()["rows"].as_array().cloned().expect("rows")
}

fn classes(ran: &Ran) -> Vec<String> {
    rows(ran).iter().map(|row| row["class"].as_str().expect("a class").to_owned()).collect()
}

fn count(ran: &Ran, class: &str) -> u64 {
    let object = ran.object();
    let counts = object["counts"].as_array().expect("counts");
    counts.iter().find(|count| count["class"] == class).and_then(|count| count["refunds"].as_u64()).expect(class)
}

#[test]
fn one_tenant_has_refunds_of_every_class() {
    let (sim, home) = ready(&["--participants", "2000"]);
    let proven = order(&sim, "plain", 0);
    let unproven = order(&sim, "plain", 1);
    let standing = order(&sim, "plain", 2);
    let unbacked = order(&sim, "plain", 3);
    let half = order(&sim, "plain", 4);
    let (late, elsewhere) = (order(&sim, "all_redeemed", 0), order(&sim, "already_cancelled", 0));
    sim.post(&format!("redeem?id={}", example(&sim, "plain", 4)["reward_ids"][0].as_str().expect("a reward")));
    for order_id in [&proven, &unbacked, &half] {
        home.check(&["retract", order_id, "--yes", "--json"], 0);
    }
    sim.post("set?delete-fault=hang-before");
    home.check(&["retract", &unproven, "--yes", "--wait", "200ms", "--json"], 7);
    sim.post("record/reset");

    let file = refunds(
        &home,
        &[
            (&proven, "2024-03-01T08:00:00Z", ""),
            (&unproven, "2024-03-01", "0"),
            (&standing, "2024-03-01", ""),
            (&half, "2024-03-01", ""),
            (&late, "2024-03-01", ""),
            (&elsewhere, "2024-03-01", ""),
            ("NO-SUCH-ORDER-1", "2024-03-01", ""),
            ("NO-SUCH-ORDER-2", "2099-03-01", ""),
            ("NO-SUCH-ORDER-3", "2024-03-01", "12.50"),
            ("1.00E+09", "2024-03-01", ""),
            (&standing, "2024-03-02", ""),
        ],
    );
    let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 6);
    let expected = [
        "confirmed",
        "not_confirmed",
        "still_rewarded",
        "partly_lost",
        "too_late",
        "cancelled_otherwise",
        "not_a_referral",
        "not_found_yet",
        "not_a_referral",
        "not_usable",
        "still_rewarded",
    ];
    assert_eq!(classes(&ran), expected, "{}", ran.stdout);
    assert_eq!(ran.error_kind(), "some_failed");
    let object = ran.object();
    assert_eq!((object["refunds"].as_u64(), object["repeated"].as_u64()), (Some(10), Some(1)));
    assert_eq!((count(&ran, "still_rewarded"), count(&ran, "not_found_yet")), (1, 1));
    assert_eq!(object["coverage"]["complete"], true);
    assert_eq!(object["index_is_newer"], false, "one refund is of the future");

    let rows = rows(&ran);
    assert_eq!(rows[0]["state"], "confirmed");
    assert!(rows[0]["confirmed_at"].is_string() && rows[1]["confirmed_at"].is_null(), "{}", rows[1]);
    assert_eq!(rows[1]["state"], "unknown");
    assert_eq!(rows[2]["decision"], "refunded_in_full");
    assert_eq!(rows[8]["decision"], "refunded_in_part");
    assert_eq!(rows[3]["state"], "partial");
    assert!(rows[7]["note"].as_str().is_some_and(|note| note.contains("older than the refund")), "{}", rows[7]);
    assert!(rows[9]["note"].as_str().is_some_and(|note| note.contains("scientific")), "{}", rows[9]);
    assert_eq!((&rows[10]["duplicate_of"], &rows[10]["worth"]), (&Value::from(4), &Value::Array(Vec::new())));

    // The totals count every reward once, whatever its state.
    let totals = &object["totals"];
    for (share, of) in [("at_stake", 2), ("not_confirmed", 1), ("lost", 4), ("taken_back", 0)] {
        assert!(!totals[share]["worth"].as_array().expect("a worth").is_empty(), "{share}: {totals}");
        if share == "at_stake" || share == "not_confirmed" {
            assert_eq!(totals[share]["worth"], rows[of]["worth"], "{share}");
        }
    }
    let hours = &object["hours"];
    assert_eq!(hours["retraction_to_confirmed"]["count"], 2);
    assert!(hours["refund_to_confirmed"]["median"].as_f64().is_some_and(|hours| hours > 24.0), "{hours}");

    let without: Vec<&Value> = object["without_refund"].as_array().expect("a list").iter().collect();
    assert_eq!(without.len(), 1, "{}", object["without_refund"]);
    assert_eq!(without[0]["order_id"], unbacked.as_str());
    assert_eq!(sim.requests(), 0, "no network");
    assert!(!ran.stdout.contains('@'), "no account");
}

#[test]
fn the_text_shows_totals_and_the_orders_that_need_action() {
    let (sim, home) = ready(&["--participants", "2000"]);
    let (proven, unbacked) = (order(&sim, "plain", 0), order(&sim, "plain", 1));
    let (standing, late) = (order(&sim, "plain", 2), order(&sim, "all_redeemed", 0));
    home.check(&["retract", &proven, "--yes"], 0);
    home.check(&["retract", &unbacked, "--yes"], 0);
    let file = refunds(&home, &[(&late, "2024-03-01", ""), (&proven, "2024-03-01", ""), (&standing, "2024-03-01", "")]);
    let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3]], 6);
    let (head, people) = ran.stdout.split_once("rows that need attention:").expect("a list");
    for words in
        ["3 orders", "based on the index as of", "retracted and confirmed", "at stake", "CENTS", "95th percentile"]
    {
        assert!(head.contains(words), "{words}: {head}");
    }
    let (people, others) = people.split_once("retracted without a refund").expect("the other direction");
    let (first, second) = (people.find(&standing), people.find(&late));
    assert!(first.is_some() && first < second, "still rewarded comes first: {people}");
    assert!(!people.contains(&proven) && others.contains(&unbacked), "{people}{others}");
    assert!(ran.stderr.is_empty(), "nothing to warn of: {}", ran.stderr);
    for (since, shown) in [("2024-01-01", true), ("2099-01-01", false)] {
        let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--since", since], 6);
        assert_eq!(ran.stdout.contains(&unbacked), shown, "{since}: {}", ran.stdout);
    }
    home.check(&["reconcile", &file, "--since", "03/04/2024"], 2);

    // With these refunds no reward is at stake and no retraction is open.
    let file = refunds(&home, &[(&proven, "2024-03-01", ""), (&unbacked, "2024-03-01", ""), (&late, "2024-03-01", "")]);
    let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3]], 0);
    assert!(!ran.stdout.contains("without a refund"), "{}", ran.stdout);
}

#[test]
fn an_unfinished_first_crawl_is_named() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.check(&["crawl", "--source", "participants", "--max-requests", "40"], 8);
    let file = refunds(&home, &[("1001", "2024-03-01", "")]);
    let ran = home.run(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3]]);
    assert!(ran.stdout.contains("\nthe first crawl has not finished: "), "{ran:?}");
    assert!(ran.stderr.contains("run `recoup crawl`, then reconcile again"), "{ran:?}");
}

#[test]
fn a_long_list_of_rows_is_cut_with_a_notice() {
    let (sim, home) = ready(&["--participants", "2000"]);
    let truth = sim.truth();
    let ids = truth.iter().flat_map(|line| line["order_ids"].as_array().into_iter().flatten());
    let mut orders: Vec<String> = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    orders.sort();
    orders.dedup();
    let list: Vec<(&str, &str, &str)> = orders.iter().map(|order_id| (order_id.as_str(), "2024-03-01", "")).collect();
    let file = refunds(&home, &list);
    let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3]], 6);
    let more = ran.stdout.lines().find(|line| line.contains("more: --out FILE")).expect("a note");
    let objects = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 6);
    let needed: u64 = ["still_rewarded", "not_confirmed", "not_usable", "too_late", "partly_lost"]
        .into_iter()
        .map(|class| count(&objects, class))
        .sum();
    assert!(more.replace(',', "").contains(&(needed - 50).to_string()), "{more}: {needed}");
    assert_eq!(count(&objects, "not_found_yet") + count(&objects, "not_a_referral"), 0, "the index has every order");
}

#[test]
fn the_outcome_file_is_the_input_with_columns_added() {
    let (sim, home) = ready(&[]);
    let (proven, standing) = (order(&sim, "plain", 0), order(&sim, "plain", 1));
    home.check(&["retract", &proven, "--yes"], 0);
    let file = home.path("in.csv");
    let text = format!("Ref;Notiz\r\n\"{standing}\";a\r\n\"{proven}\";b\r\n");
    std::fs::write(&file, text).expect("the refunds");
    let (file, out) = (file.display().to_string(), home.path("out.csv"));
    let path = out.display().to_string();
    home.check(&["reconcile", &file, "--out", &path], 2);
    home.check(&["reconcile", &file, "--out", &path, "--order-column", "Ref", "--ignore-column", "Notiz"], 6);
    let read = || std::fs::read_to_string(&out).expect("the outcomes");
    let added = "recoup_class;recoup_action;recoup_reward;recoup_worth;recoup_state;recoup_confirmed_at;recoup_note;recoup_decision;recoup_evidence";
    let lines: Vec<String> = read().split("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "a header, two rows, and the end: {lines:?}");
    assert_eq!(lines[0], format!("Ref;Notiz;{added}"));
    assert!(lines[1].contains(";a;refunded and still rewarded;"), "{}", lines[1]);
    assert!(
        lines[2].contains(";b;retracted and confirmed;") && lines[2].contains(" CENTS;confirmed;20"),
        "{}",
        lines[2]
    );
    assert!(!read().contains('@'));

    home.check(&["reconcile", &file, "--out", &path, "--order-column", "Ref", "--ignore-column", "Notiz"], 2);
    home.check(
        &["reconcile", &file, "--out", &file, "--order-column", "Ref", "--ignore-column", "Notiz", "--force"],
        2,
    );
    home.check(
        &["reconcile", &file, "--out", &path, "--order-column", "Ref", "--ignore-column", "Notiz", "--force"],
        6,
    );
    // `reconcile` can read its own outcome file as a refund file.
    let again = home.path("again.ndjson").display().to_string();
    home.check(&["reconcile", &path, "--out", &again, "--order-column", "Ref", "--ignore-column", "Notiz"], 6);
    let text = std::fs::read_to_string(home.path("again.ndjson")).expect("the outcomes");
    assert_eq!(text.matches("\"recoup_class_2\":\"").count(), 2, "{text}");
}

#[test]
fn an_absence_depends_on_index_and_ledger() {
    let (sim, home) = ready(&[]);
    let proven = order(&sim, "plain", 0);
    home.check(&["retract", &proven, "--yes"], 0);
    let file = refunds(&home, &[(&proven, "2024-03-01", ""), ("NO-SUCH-ORDER", "2024-03-01", "")]);
    assert_eq!(
        classes(&home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 0)),
        ["confirmed", "not_a_referral"]
    );
    if home.skip_on_server("the rest moves the ledger's file") {
        return;
    }
    // Without the ledger, reconcile would report every cancellation as made outside of recoup.
    let kept = home.path("kept.db");
    std::fs::rename(home.ledger(), &kept).expect("moved away");
    assert_eq!(
        home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 3).error_kind(),
        "identity"
    );
    std::fs::rename(&kept, home.ledger()).expect("brought back");
    std::fs::remove_file(home.database()).expect("the index");
    assert_eq!(
        home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 4).error_kind(),
        "not_indexed"
    );

    let sim = Sim::start(&["--participants", "400", "--accounts-fail", "3"]);
    let home = Home::new(&sim);
    home.check(&["crawl", "--source", "participants", "--json"], 6);
    let file = refunds(&home, &[("NO-SUCH-ORDER", "2024-03-01", "")]);
    let ran = home.check(&["reconcile", &file, MEANS[0], MEANS[1], MEANS[2], MEANS[3], "--json"], 0);
    assert_eq!(classes(&ran), ["not_found_yet"]);
    assert!(ran.stderr.contains("not complete"), "{}", ran.stderr);
}
