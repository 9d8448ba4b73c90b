//! Tests of crawls by GraphQL and by export: the index ends equal to the vendor's data or names its gaps. A refresh
//! costs as many requests as accounts changed. If a source does not work, recoup uses another source and says why.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::index::assert_index_is_truth;
use crate::support::{Home, Sim, wait_until};

fn requests_to(sim: &Sim, endpoint: &str) -> u64 {
    sim.record()["requests"][endpoint].as_u64().unwrap_or(0)
}

fn by(source: &str) -> [&str; 4] {
    ["crawl", "--source", source, "--json"]
}

/// Returns every order ID of the simulator.
fn orders(sim: &Sim) -> BTreeSet<String> {
    let ids = |reward: &Value| reward["order_ids"].as_array().cloned().unwrap_or_default();
    sim.truth().iter().flat_map(ids).filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Changes 20 accounts of the simulator and returns an order ID that is new.
fn late_order(sim: &Sim) -> String {
    let before = orders(sim);
    sim.post("change?accounts=20");
    orders(sim).difference(&before).next().expect("a new order").clone()
}

#[test]
fn by_graphql_the_index_equals_the_truth_in_a_few_requests() {
    let sim = Sim::start(&["--participants", "600"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("graphql"), 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    assert_eq!(outcome["rewards"].as_u64(), Some(sim.truth().len() as u64));
    assert!(sim.requests() <= 5, "{}", sim.record()["requests"]);
    assert_eq!((requests_to(&sim, "GET reward"), requests_to(&sim, "GET users")), (0, 0));
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn by_graphql_the_index_equals_the_truth_under_faults_and_changes() {
    for flags in [
        &["--faults", "0.15"][..],
        &["--graphql-partial", "0.3"],
        &["--graphql-max-limit", "30"],
        &["--graphql-slow", "25"],
    ] {
        // The simulator's changes end before the first crawl does, so no row changes during the second crawl, which
        // must find every change.
        let sim = Sim::start(&[&["--participants", "600", "--reward-churn", "20"], flags].concat());
        let home = Home::new(&sim);
        home.configure_more("[crawl]\ngraphql_page_size = 50");
        let outcome = home.check(&by("graphql"), 0).object();
        assert_eq!(outcome["complete"], true, "{flags:?}: {outcome}");
        // The refresh finds the changes after the last page of the first crawl.
        let again = home.check(&by("graphql"), 0).object();
        assert_eq!((&again["complete"], &again["refresh"]), (&Value::Bool(true), &Value::Bool(true)), "{again}");
        assert_index_is_truth(&home, &sim);
        assert_eq!(sim.violations(), Vec::<Value>::new());
    }
}

#[test]
fn a_refresh_by_graphql_costs_what_changed() {
    let sim = Sim::start(&["--participants", "2000"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    sim.post("change?accounts=40");
    sim.post("record/reset");
    let outcome = home.check(&["crawl", "--json"], 0).object();
    assert_eq!((&outcome["refresh"], &outcome["source"]), (&Value::Bool(true), &Value::from("graphql")), "{outcome}");
    assert!(outcome["rewards_refreshed"].as_u64() < Some(200), "{outcome}");
    assert!(sim.requests() <= 12, "the requests of the plan included: {}", sim.record()["requests"]);
    assert_index_is_truth(&home, &sim);
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["coverage"]["rewards_read"].as_u64(), Some(sim.truth().len() as u64));
    assert_eq!(status["coverage"]["complete"], true);
}

#[test]
fn a_reward_deleted_at_the_vendor_is_gone_after_a_full_crawl() {
    let sim = Sim::start(&["--participants", "500"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let order = sim.example("plain");
    sim.post(&format!("delete-reward?id={}", order.reward_ids[0]));
    home.check(&["crawl", "--source", "graphql", "--full", "--json"], 0);
    assert_index_is_truth(&home, &sim);
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    let gone: Vec<&Value> = answer["matches"].as_array().into_iter().flatten().filter(|m| m["gone"] == true).collect();
    assert_eq!(gone.len(), 1, "{answer}");
}

#[test]
fn links_that_only_graphql_has_are_found_and_can_be_retracted() {
    let sim = Sim::start(&["--participants", "500", "--link-in", "graphql"]);
    let home = Home::new(&sim);
    let ran = home.check(&["crawl", "--json"], 0);
    assert_eq!(ran.object()["source"], "graphql", "{ran:?}");
    assert_index_is_truth(&home, &sim);
    let order = sim.example("plain");
    assert_eq!(home.check(&["retract", &order.order_id, "--yes", "--json"], 0).state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
    // The retraction has read the order's rewards by Get Rewards, which shows no link. The index keeps the link that
    // the crawl has found.
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    assert!(answer["matches"].as_array().is_some_and(|list| list.len() == 2), "{answer}");
    assert!(answer["matches"].as_array().into_iter().flatten().all(|m| m["state"] == "cancelled"), "{answer}");
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn a_schema_without_user_event_is_reported_and_another_source_is_used() {
    let sim = Sim::start(&["--participants", "200", "--graphql-schema", "old", "--export", "off"]);
    let home = Home::new(&sim);
    let ran = home.check(&by("graphql"), 1);
    assert_eq!(ran.error_kind(), "vendor");
    assert!(ran.stderr.contains("userEvent"), "{}", ran.stderr);
    let ran = home.check(&["crawl", "--json"], 0);
    assert_eq!(ran.object()["source"], "participants");
    assert!(ran.stderr.contains("userEvent"), "the reason is reported: {}", ran.stderr);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn a_token_without_graphql_and_exports_reads_participants() {
    let sim = Sim::start(&["--participants", "200"]);
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", "rest-only-token");
    let plan = home.check(&["crawl", "--plan", "--json"], 0).object();
    assert_eq!(plan["source"], "participants", "{plan}");
    let possible = |source: &str| {
        plan["ways"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|way| way["source"] == source)
            .map(|way| way["possible"].clone())
    };
    assert_eq!(possible("graphql"), Some(Value::Bool(false)));
    assert_eq!(possible("export"), Some(Value::Bool(false)));
    assert_eq!(requests_to(&sim, "POST export"), 0, "a plan creates no export");
    assert!(!home.database().exists(), "a plan creates no index");
    assert_eq!(home.check(&["crawl", "--json"], 0).object()["source"], "participants");
    assert_eq!(home.check(&by("graphql"), 3).error_kind(), "scope");
}

#[cfg(unix)]
#[test]
fn a_crawl_by_graphql_or_export_killed_ten_times_resumes_and_repeats_few_requests() {
    for (source, endpoint) in [("graphql", "POST graphql"), ("export", "GET reward")] {
        let sim = Sim::start(&["--participants", "800", "--latency", "3ms", "--export-delay", "0ms"]);
        let home = Home::new(&sim);
        home.configure_more("[crawl]\nbatch = 20\ngraphql_page_size = 20");
        let args = ["crawl", "--source", source, "--concurrency", "8", "--json"];
        let alone = Home::new(&sim);
        alone.configure_more("[crawl]\nbatch = 20\ngraphql_page_size = 20");
        alone.check(&args, 0);
        let cost = requests_to(&sim, endpoint);
        sim.post("record/reset");
        let mut kills = 0;
        for place in 1..=10 {
            let mut child = home.command(&args).spawn().expect("it starts");
            wait_until("the crawl to send some requests", || {
                requests_to(&sim, endpoint) >= cost * place / 11 || child.try_wait().expect("its state").is_some()
            });
            kills += u64::from(child.try_wait().expect("its state").is_none());
            drop(child.kill());
            child.wait().expect("it ends");
            home.wait_for_locks();
        }
        assert!(kills >= 8, "{source}: {kills} kills hit a running crawl");
        let outcome = home.check(&args, 0).object();
        assert_eq!(outcome["complete"], true, "{source}: {outcome}");
        assert_index_is_truth(&home, &sim);
        let twice = requests_to(&sim, endpoint).saturating_sub(cost);
        assert!(twice <= kills * (8 + 20), "{source}: {twice} requests were made twice over {kills} kills");
    }
}

#[test]
fn by_export_only_accounts_with_rewards_are_requested() {
    let sim = Sim::start(&["--participants", "600"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let with_rewards: BTreeSet<String> = sim.truth().iter().map(|reward| reward["account_id"].to_string()).collect();
    assert_eq!(requests_to(&sim, "GET reward"), with_rewards.len() as u64);
    assert_eq!(requests_to(&sim, "GET users"), 0);
    assert_eq!(sim.violations(), Vec::<Value>::new(), "the download was requested without credentials");
    // recoup uses a recent export again instead of requesting a new one.
    home.check(&["crawl", "--source", "export", "--full", "--json"], 0);
    assert_eq!(requests_to(&sim, "POST export"), 1);
}

#[test]
fn a_refresh_by_export_requests_the_accounts_that_changed() {
    let sim = Sim::start(&["--participants", "1500"]);
    let home = Home::new(&sim);
    home.check(&by("export"), 0);
    sim.post("change?accounts=30");
    sim.post("record/reset");
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(outcome["refresh"], true, "{outcome}");
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert!(sim.requests() <= 30 * 11 / 10 + 20, "{}", sim.record()["requests"]);
    assert_index_is_truth(&home, &sim);
    // The next refresh reads the overlap with the previous refresh again, and finds no difference in the overlap.
    sim.post("change?accounts=20");
    sim.post("record/reset");
    home.check(&by("export"), 0);
    assert!(sim.requests() <= 20 * 11 / 10 + 20, "{}", sim.record()["requests"]);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn a_row_in_the_overlap_that_differs_from_the_index_is_requested_again() {
    // With --tidy every reward has its creation date.
    let sim = Sim::start(&["--participants", "300", "--tidy"]);
    let home = Home::new(&sim);
    if home.skip_on_server("it changes the index's file") {
        return;
    }
    home.check(&by("export"), 0);
    sim.post("change?accounts=10");
    home.check(&by("export"), 0);
    let requested_again = || {
        sim.post("record/reset");
        let outcome = home.check(&by("export"), 0).object();
        assert_eq!((&outcome["refresh"], &outcome["complete"]), (&Value::Bool(true), &Value::Bool(true)), "{outcome}");
        assert_index_is_truth(&home, &sim);
        requests_to(&sim, "GET reward")
    };
    assert_eq!(requested_again(), 0, "rows that agree with the index");
    // The vendor may show a modification late, after newer modifications. The test simulates a late modification: it
    // sets the index back to the state before the modification.
    let index = rusqlite::Connection::open(home.database()).expect("the index");
    let newest = "(SELECT id FROM rewards WHERE date_cancelled = (SELECT max(date_cancelled) FROM rewards))";
    for before in [
        format!("UPDATE rewards SET date_cancelled = NULL WHERE id = {newest}"),
        format!("UPDATE rewards SET user_id = 'somebody' WHERE id = {newest}"),
        format!("UPDATE rewards SET gone_at = 1 WHERE id = {newest}"),
    ] {
        assert_eq!(index.execute(&before, []).expect("changed"), 1, "{before}");
        recoup::store::index::renew_reward_sums(&home.database()).expect("renewed");
        assert_eq!(requested_again(), 1, "{before}");
    }
    // No date in the copied reward shows a redemption. Therefore recoup must assume that a recent redemption became
    // visible after the reading.
    let truth = sim.truth();
    let credit = |reward: &&Value| reward["state"] == "available" && reward["assigned"].is_i64();
    let credit = truth.iter().find(credit).and_then(|reward| reward["reward_id"].as_str()).expect("a credit");
    sim.post(&format!("redeem?id={credit}"));
    for _ in 0..2 {
        assert_eq!(requested_again(), 1, "the index does not keep the time of a redemption");
    }
}

#[test]
fn an_export_that_carries_the_link_needs_no_account() {
    let sim = Sim::start(&["--participants", "500", "--export-columns", "linked", "--link-in", "none"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(requests_to(&sim, "GET reward"), 0);
    assert!(outcome["links"].as_u64() > Some(0), "{outcome}");
    let order = sim.example("plain");
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    assert_eq!(answer["matches"].as_array().map(Vec::len), Some(order.reward_ids.len()), "{answer}");
    let dry = home.check(&["retract", &order.order_id, "--dry-run", "--json"], 0);
    assert!(dry.stdout.contains("from an export"), "the origin of the link is reported: {}", dry.stdout);
}

#[test]
fn an_export_without_accounts_is_followed_by_a_user_export() {
    let sim = Sim::start(&["--participants", "300", "--export-columns", "no-account"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    assert_eq!(requests_to(&sim, "POST export"), 2);
}

#[test]
fn an_export_that_fails_is_requested_again_or_another_source_is_used() {
    // With `expire` every export expires before its download; with `broken` the second download succeeds.
    for (fault, code) in [("expire", 1), ("broken", 0), ("abort", 1), ("stuck", 1)] {
        let sim = Sim::start(&["--participants", "150", "--export-fault", fault, "--export-delay", "0ms"]);
        let home = Home::new(&sim);
        home.configure_more("[crawl]\nexport_wait = '1s'");
        let ran = home.check(&by("export"), code);
        if code == 0 {
            assert_eq!(ran.object()["complete"], true, "{fault}: {ran:?}");
            assert_index_is_truth(&home, &sim);
        } else {
            assert_eq!(ran.error_kind(), "vendor", "{fault}");
            assert!(ran.stderr.contains("hint:"), "{fault}: {}", ran.stderr);
            assert_eq!(requests_to(&sim, "POST export"), if fault == "expire" { 3 } else { 1 }, "{fault}");
        }
    }
    // With --source auto the crawl falls back to participants and names the reason.
    let sim = Sim::start(&[
        "--participants",
        "150",
        "--export-fault",
        "abort",
        "--graphql",
        "off",
        "--export-delay",
        "0ms",
        "--max-limit",
        "5",
    ]);
    let home = Home::new(&sim);
    let ran = home.check(&["crawl", "--json"], 0);
    assert_eq!(ran.object()["source"], "participants");
    assert!(ran.stderr.contains("gave up"), "{}", ran.stderr);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn old_readings_are_renewed_and_counted_apart() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let outcome = home.check(&["crawl", "--source", "graphql", "--reread-after", "1ms", "--json"], 0).object();
    let reread = outcome["requests_reread"].as_u64().unwrap_or(0);
    assert_eq!(Some(reread), outcome["accounts"].as_u64(), "{outcome}");
    assert_eq!(reread, requests_to(&sim, "GET reward"));
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let outcome = home.check(&["crawl", "--source", "graphql", "--reread-after", "30d", "--json"], 0).object();
    assert!(outcome["requests_reread"].as_u64() <= Some(1), "the share of a minute in thirty days: {outcome}");
}

#[test]
fn a_live_look_up_requests_an_order_that_the_index_lacks() {
    let sim = Sim::start(&["--participants", "400"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = late_order(&sim);
    assert_eq!(home.check(&["lookup", &order, "--json"], 4).object()["searched"], Value::Null);
    sim.post("record/reset");
    let ran = home.check(&["lookup", &order, "--live", "--json"], 0);
    let answer = ran.object();
    assert_eq!(answer["searched"]["asked_directly"], true, "{answer}");
    assert_eq!(answer["searched"]["events"], 1, "{answer}");
    assert!(answer["searched"]["requests"].as_u64() <= Some(6), "{answer}");
    assert!(answer["matches"].as_array().is_some_and(|list| !list.is_empty()), "{answer}");
    assert_eq!(requests_to(&sim, "GET reward"), 0);
    let none = home.check(&["lookup", "no such order", "--live"], 4);
    assert!(none.stdout.contains("the vendor knows no event whose"), "{}", none.stdout);
}

#[test]
fn a_live_look_up_without_user_events_reads_the_newest_rewards() {
    let sim = Sim::start(&["--participants", "400", "--user-events", "off"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let order = late_order(&sim);
    let answer = home.check(&["lookup", &order, "--live", "--json"], 0).object();
    assert_eq!(answer["searched"]["asked_directly"], false, "{answer}");
    assert!(answer["searched"]["back_to"].is_string(), "{answer}");
    let none = home.check(&["lookup", "no such order", "--live", "--live-requests", "3"], 4).stdout;
    assert!(none.contains("everything modified since") && none.contains("cannot be queried for the order"), "{none}");

    let sim = Sim::start(&["--participants", "200", "--graphql", "off"]);
    let home = Home::new(&sim);
    home.crawl();
    sim.post("record/reset");
    let none = home.check(&["lookup", "no such order", "--live", "--live-requests", "15"], 4).stdout;
    assert!(none.contains("that were read longest ago"), "{none}");
    assert!(sim.requests() <= 16, "{}", sim.record()["requests"]);
}

#[test]
fn a_live_look_up_says_that_it_could_not_use_every_reward_that_it_read() {
    let sim = Sim::start(&["--participants", "400", "--user-events", "off"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let order = late_order(&sim);
    let of_order =
        |reward: &Value| reward["order_ids"].as_array().is_some_and(|ids| ids.contains(&order.clone().into()));
    for reward in sim.truth().iter().filter(|reward| of_order(reward)) {
        let id = reward["reward_id"].as_str().expect("an ID");
        sim.rewrite(id, &serde_json::json!({"set": {"user": null}}));
    }
    let none = home.check(&["lookup", &order, "--live", "--live-requests", "20"], 4).stdout;
    assert!(none.contains("could not be used") && !none.contains("everything modified since"), "{none}");
}

#[test]
fn a_plan_states_the_cost_of_each_source_before_the_crawl() {
    let sim = Sim::start(&["--participants", "1000"]);
    let home = Home::new(&sim);
    let plan = home.check(&["crawl", "--plan", "--json"], 0).object();
    assert_eq!((&plan["source"], &plan["goes_on"]), (&Value::from("graphql"), &Value::Null), "{plan}");
    assert_eq!(plan["participants"], 1000);
    assert_eq!(plan["rewards"].as_u64(), Some(sim.truth().len() as u64));
    assert!(plan["requests"].as_u64() <= Some(10), "{plan}");
    let first = plan["ways"][0].clone();
    let outcome = home.check(&["crawl", "--json"], 0).object();
    let spent = outcome["requests"].as_u64().unwrap_or(0) - plan["requests"].as_u64().unwrap_or(0);
    let estimate = first["requests"].as_u64().unwrap_or(0);
    assert!(spent <= estimate + 3 && estimate <= spent + 6, "estimated {estimate}, spent {spent}");
    let text = home.check(&["crawl", "--plan"], 0).stdout;
    assert!(
        text.contains("> graphql") && text.contains("refresh") && text.contains("a refresh reads everything"),
        "{text}"
    );
}
