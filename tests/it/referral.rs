//! Tests of the referral, which recoup reads before and after a retraction. The referral supports the proof and reveals
//! unknown rewards, but never replaces reading the rewards.

use serde_json::{Value, json};

use crate::support::{Example, Home, Ran, Sim, ready};

/// Flags for a tenant whose links only GraphQL shows, so that one query reads rewards and referral.
fn by_graphql(flags: &[&str]) -> (Sim, Home) {
    let mut all = vec!["--participants", "400", "--link-in", "graphql"];
    all.extend(flags);
    let sim = Sim::start(&all);
    let home = Home::new(&sim);
    home.check(&["crawl", "--json"], 0);
    (sim, home)
}

/// Retracts an order of kind `plain` and returns it with the command's text output.
#[track_caller]
fn retracted(sim: &Sim, home: &Home, code: i32) -> (Example, Ran) {
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--wait", "300ms"], code);
    (order, ran)
}

/// Returns the newest receipt of an order.
fn receipt(home: &Home) -> Value {
    let shown = home.run(&["status", "--retraction", "1", "--json"]);
    let object = shown.object();
    let newest = object["retractions"].as_array().and_then(|all| all.first().cloned());
    newest.unwrap_or(object)
}

fn asked(sim: &Sim, what: &str) -> u64 {
    sim.record()["requests"][what].as_u64().expect("a count")
}

#[test]
fn a_referral_that_goes_from_converted_to_started_is_the_strongest_proof() {
    for (sim, home) in [ready(&[]), by_graphql(&[])] {
        let order = sim.example("plain");
        let plan = home.check(&["retract", &order.order_id, "--dry-run"], 0);
        assert!(plan.stdout.contains("  Referral: converted ("), "{}", plan.stdout);
        let planned = home.check(&["retract", &order.order_id, "--dry-run", "--json"], 0).object();
        let line = &planned["retractions"][0]["referrals"][0];
        assert_eq!((&line["before"], &line["after"]), (&json!("converted"), &Value::Null));
        let (_, ran) = retracted(&sim, &home, 0);
        assert!(ran.stdout.contains("Referral: converted → started ("), "{}", ran.stdout);
        assert!(ran.stdout.contains("started: the strongest proof there is"), "{}", ran.stdout);
        let kept = receipt(&home);
        let line = &kept["referrals"][0];
        assert_eq!((&line["before"], &line["after"]), (&json!("converted"), &json!("started")), "{kept}");
        let exported = home.check(&["audit", "export", "--json"], 0).stdout;
        assert!(exported.contains("\"referrals\""), "the ledger keeps both readings");
        assert!(!exported.contains("referredUser") && !exported.contains("firstName"));
    }
}

#[test]
fn rewards_that_cancelled_prove_it_although_the_referral_stays_converted() {
    let (sim, home) = ready(&["--referral-after", "converted"]);
    let (_, ran) = retracted(&sim, &home, 0);
    assert!(ran.stdout.contains(": confirmed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Referral: converted → converted ("), "{}", ran.stdout);
    assert!(ran.stdout.contains("still reads as converted"), "{}", ran.stdout);
    assert!(ran.stdout.contains("within 30 days of it only"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("strongest"), "{}", ran.stdout);
}

#[test]
fn a_started_referral_does_not_outweigh_an_uncancelled_reward() {
    let (sim, home) = ready(&[]);
    let standing = sim.example("plain").reward_ids[1].clone();
    sim.rewrite(&standing, &json!({"set": {"dateCancelled": null}}));
    let (_, ran) = retracted(&sim, &home, 7);
    assert!(ran.stdout.contains(": unconfirmed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Referral: converted → started ("), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("reads as started, but the vendor does not show 1 reward as cancelled"),
        "{}",
        ran.stdout
    );
    sim.rewrite(&standing, &json!({"set": {}}));
    let verified = home.check(&["verify"], 0);
    assert!(verified.stdout.contains("the strongest proof there is"), "{}", verified.stdout);
}

#[test]
fn an_unreadable_referral_stops_nothing_and_is_reported() {
    for (setting, says) in
        [("forbidden", "the token may not read referrals"), ("no-field", "the vendor does not know it")]
    {
        let (sim, home) = ready(&["--referral-after", setting]);
        let (_, ran) = retracted(&sim, &home, 0);
        assert!(ran.stdout.contains("Referral: not readable → not readable ("), "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("its referral could not be read: {says}")), "{}", ran.stdout);
    }
    for (setting, says) in [("forbidden", "may not read referrals"), ("no-field", "does not have referrals")] {
        let (sim, home) = by_graphql(&["--referral-after", setting]);
        let (_, ran) = retracted(&sim, &home, 0);
        assert!(ran.stdout.contains(": confirmed") && ran.stdout.contains(says), "{}", ran.stdout);
    }
}

#[test]
fn a_reward_that_only_the_referral_names_is_read_indexed_and_blocks_the_proof() {
    let sim = Sim::start(&["--participants", "400", "--program-rule", "partial-keys"]);
    let home = Home::new(&sim);
    let order = sim.example("plain");
    let hidden = &order.reward_ids[1];
    sim.rewrite(hidden, &json!({"hidden": true}));
    home.crawl();
    assert_eq!(
        home.check(&["lookup", &order.order_id, "--json"], 0).object()["matches"].as_array().map(Vec::len),
        Some(1)
    );
    let (_, ran) = retracted(&sim, &home, 7);
    assert!(ran.stdout.contains(": unconfirmed") && ran.stdout.contains(hidden), "{}", ran.stdout);
    let known = home.check(&["lookup", &order.order_id], 0);
    assert!(known.stdout.contains(hidden), "it is in the index now: {}", known.stdout);
    sim.cancel_reward(hidden);
    assert!(home.check(&["verify"], 0).stdout.contains("2 of 2 cancellable rewards"));
}

#[test]
fn a_reward_that_appears_in_the_referral_after_the_send_blocks_the_proof_until_cancelled() {
    let (sim, home) = by_graphql(&["--rule-works", "off"]);
    let (order, _) = retracted(&sim, &home, 7);
    sim.post(&format!("cancel?action={}", order.action_ids[0]));
    sim.post("set?referral-rewards=third");
    let ran = home.check(&["verify", "--json"], 7);
    assert_eq!(ran.state(), "unconfirmed");
    let found = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    let found: Vec<String> = found["matches"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["reward_id"].as_str().map(str::to_owned))
        .filter(|id| !order.reward_ids.contains(id))
        .collect();
    assert_eq!(found.len(), 1, "it is in the index now");
    home.check(&["verify"], 7);
    sim.cancel_reward(&found[0]);
    let ran = home.check(&["verify", "--json"], 0);
    assert_eq!(ran.object()["retractions"][0]["rewards"].as_array().map(Vec::len), Some(3), "{ran:?}");
}

#[test]
fn a_reward_of_the_referral_without_any_link_is_named() {
    let (sim, home) = by_graphql(&["--referral-rewards", "loose"]);
    let (_, ran) = retracted(&sim, &home, 0);
    assert!(ran.stdout.contains(": confirmed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("(available) is of the same referral and carries neither an order nor an action"));
    let unlinked = receipt(&home)["referrals"][0]["unlinked"].clone();
    assert_eq!(
        (unlinked.as_array().map(Vec::len), &unlinked[0]["state"]),
        (Some(1), &json!("available")),
        "{unlinked}"
    );
}

#[test]
fn a_proof_falls_if_the_referral_names_an_uncancelled_reward() {
    let (sim, home) = by_graphql(&[]);
    retracted(&sim, &home, 0);
    sim.post("set?referral-rewards=third");
    let ran = home.check(&["verify", "1", "--json"], 7);
    assert_eq!(ran.state(), "unconfirmed");
    assert!(ran.stdout.contains("no longer shows"), "{}", ran.stdout);
}

#[test]
fn an_order_costs_one_request_more_before_and_one_after_by_rest_and_none_by_graphql() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--dry-run"], 0);
    assert_eq!(asked(&sim, "GET referral by id"), 1, "one before");
    sim.post("record/reset");
    retracted(&sim, &home, 0);
    assert_eq!(asked(&sim, "GET referral by id"), 2, "one before and one after, however often the rewards were read");
    let (sim, home) = by_graphql(&[]);
    sim.post("record/reset");
    retracted(&sim, &home, 0);
    let record = sim.record();
    let graphql = |field: &str| record["graphql"][field].as_u64().expect("a count");
    assert_eq!(asked(&sim, "GET referral by id"), 0);
    assert!(graphql("referral") >= 2, "{record}");
    // recoup reads every referral in the same query as the rewards.
    assert_eq!(asked(&sim, "POST graphql"), graphql("rewards") + graphql("programs"), "{record}");
}

#[test]
fn a_look_up_shows_the_referral_as_it_was_last_read_and_where_to_look() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let never = home.check(&["lookup", &order.order_id], 0);
    let shows = "the vendor shows it under Engage → Reporting → Referral Feed";
    assert!(never.stdout.contains(": not read yet;") && never.stdout.contains(shows), "{}", never.stdout);
    home.check(&["retract", &order.order_id, "--dry-run"], 0);
    let planned = home.check(&["lookup", &order.order_id], 0);
    assert!(planned.stdout.contains(": converted, as read 20"), "{}", planned.stdout);
    retracted(&sim, &home, 0);
    let found = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    let referral = &found["referrals"][0];
    assert_eq!((&referral["state"], &referral["converted_at"]), (&json!("started"), &Value::Null), "{found}");
    assert!(referral["read_at"].is_string() && referral["modified_at"].is_string(), "{referral}");
    assert_eq!(asked(&sim, "GET referral by id"), 3, "a look-up asks the vendor for nothing");
}

#[test]
fn reconcile_counts_refunded_orders_whose_referral_is_still_converted() {
    let (sim, home) = ready(&["--referral-after", "converted"]);
    let (order, _) = retracted(&sim, &home, 0);
    let other = sim.another("plain");
    home.check(&["retract", &other.order_id, "--yes", "--wait", "5s"], 0);
    std::fs::write(home.path("refunds.csv"), format!("order_id\n\"{}\"\n\"{}\"\n", order.order_id, other.order_id))
        .expect("a file");
    let file = home.path("refunds.csv");
    let file = file.to_str().expect("UTF-8");
    let text = home.run(&["reconcile", file]);
    assert!(text.stdout.contains("2 of them with a referral that was still converted"), "{text:?}");
    let object = home.run(&["reconcile", file, "--json"]).object();
    assert_eq!(object["referrals_still_converted"], 2, "{object}");
    sim.post("set?referral-after=started");
    home.check(&["verify", "1", "2"], 0);
    let object = home.run(&["reconcile", file, "--json"]).object();
    assert_eq!(object["referrals_still_converted"], 0, "a later reading counts: {object}");
}
