//! Tests which clock decides if this machine's clock and the vendor's clock differ.

use serde_json::{Value, json};

use crate::batch::now;
use crate::support::{Home, Sim, ready};

const DAY: i64 = 86_400_000;

/// Rewrites the vendor's responses, so that each of these rewards expires in this many minutes by this machine's clock.
fn expires_in(sim: &Sim, rewards: &[String], minutes: i64) {
    let now = now().as_millisecond();
    for id in rewards {
        sim.rewrite(id, &json!({"set": {"dateGiven": now - 9 * DAY, "dateExpires": now + minutes * 60_000}}));
    }
}

#[test]
fn lookup_and_reconcile_judge_expiry_by_the_vendor_s_clock() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    expires_in(&sim, &order.reward_ids, 30);
    let list = home.path("refunds.csv");
    let text = format!("Order ID,refunded_at,new amount\n\"{}\",2026-01-01,0.00\n", order.order_id);
    std::fs::write(&list, text).expect("the refunds");
    let means = ["--amount-column", "new amount", "--amount-means", "new-amount", "--json"];
    let judged = |home: &Home| -> (Value, Value, Value, Value) {
        let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
        let list = list.to_str().expect("UTF-8");
        let compared = home.run(&[&["reconcile", list][..], &means].concat()).object();
        let state = answer["matches"][0]["state"].clone();
        (state, answer["clock"].clone(), compared["rows"][0]["class"].clone(), compared["clock"].clone())
    };
    home.crawl();
    assert_eq!(judged(&home), (json!("available"), json!("vendor"), json!("still_rewarded"), json!("vendor")));
    // The vendor's clock is an hour ahead.
    sim.post("set?clock=1h");
    home.crawl();
    assert_eq!(judged(&home), (json!("expired"), json!("vendor"), json!("cancelled_otherwise"), json!("vendor")));
    sim.post("set?date=off");
    home.crawl();
    assert_eq!(judged(&home), (json!("available"), json!("local"), json!("still_rewarded"), json!("local")));
}

#[test]
fn status_judges_a_lost_reward_by_the_vendor_s_clock() {
    let (sim, home) = ready(&["--clock", "2m", "--rule-works", "off"]);
    let order = sim.example("plain");
    // The second reward expired a minute ago by the vendor's clock, and expires in a minute by this machine's clock.
    expires_in(&sim, &order.reward_ids[1..], 1);
    home.check(&["retract", &order.order_id, "--yes", "--wait", "300ms"], 7);
    let at = sim.deletes()[0]["at_ms"].as_i64().expect("a moment");
    sim.rewrite(&order.reward_ids[0], &json!({"set": {"dateCancelled": at + 100}}));
    let ran = home.run(&["verify", "1", "--json"]);
    assert!(["confirmed", "partial"].contains(&ran.state().as_str()), "{ran:?}");
    home.crawl();
    let status = home.run(&["status", "--json"]).object();
    assert_eq!(status["judged_by"], "vendor");
    assert_eq!(status["standing_again"], json!([]), "it was lost then, and is lost now");
}

#[test]
fn a_crawl_is_as_of_the_earlier_of_both_clocks() {
    for source in ["participants", "graphql", "export"] {
        let sim = Sim::start(&["--participants", "200", "--clock=-10m"]);
        let home = Home::new(&sim);
        home.check(&["crawl", "--source", source, "--json"], 0);
        let coverage = home.check(&["lookup", "no such order", "--json"], 4).object()["coverage"].clone();
        let as_of: jiff::Timestamp = coverage["as_of"].as_str().expect("a moment").parse().expect("a moment");
        let by_the_vendor = now() - jiff::SignedDuration::from_mins(10);
        assert!(as_of <= by_the_vendor, "{source}: {as_of}, and it is {by_the_vendor} there");
        let age = home.run(&["status", "--json"]).object()["age_seconds"].as_i64().expect("seconds");
        assert!((0..120).contains(&age), "{source}: {age}");
    }
    // If this machine's clock is behind the vendor's, recoup uses this machine's time because it is the earlier one.
    let (_sim, home) = ready(&["--clock=10m"]);
    let coverage = home.check(&["lookup", "no such order", "--json"], 4).object()["coverage"].clone();
    let as_of: jiff::Timestamp = coverage["as_of"].as_str().expect("a moment").parse().expect("a moment");
    assert!(as_of <= now(), "{as_of}");
}
