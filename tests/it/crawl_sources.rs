//! The sources `graphql` and `export`: the index ends equal to the truth or the crawl reports the gap, a refresh costs only
//! what changed, and an unusable source falls back to another with a reason.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::index::assert_index_is_truth;
use crate::support::{Home, Sim, wait_until};

fn asked(sim: &Sim, endpoint: &str) -> u64 {
    sim.record()["requests"][endpoint].as_u64().unwrap_or(0)
}

fn by(source: &str) -> [&str; 4] {
    ["crawl", "--source", source, "--json"]
}

/// Every order ID that the simulator has.
fn orders(sim: &Sim) -> BTreeSet<String> {
    let ids = |reward: &Value| reward["order_ids"].as_array().cloned().unwrap_or_default();
    sim.truth().iter().flat_map(ids).filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// An order that was not there before 20 accounts changed.
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
    assert_eq!((asked(&sim, "GET reward"), asked(&sim, "GET users")), (0, 0));
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn by_graphql_through_faults_partial_errors_refused_pages_and_rewards_that_change_meanwhile() {
    for flags in [
        &["--faults", "0.15"][..],
        &["--graphql-partial", "0.3"],
        &["--graphql-max-limit", "30"],
        &["--graphql-slow", "25"],
    ] {
        // Fewer changes than pages: the second crawl finds a tenant that holds still, and must find all of them.
        let sim = Sim::start(&[&["--participants", "600", "--reward-churn", "20"], flags].concat());
        let home = Home::new(&sim);
        home.configure_more("[crawl]\ngraphql_page_size = 50");
        let outcome = home.check(&by("graphql"), 0).object();
        assert_eq!(outcome["complete"], true, "{flags:?}: {outcome}");
        // What changed after the last page was read is the next refresh's.
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
    assert!(sim.requests() <= 12, "the questions of auto included: {}", sim.record()["requests"]);
    assert_index_is_truth(&home, &sim);
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["coverage"]["rewards_read"].as_u64(), Some(sim.truth().len() as u64));
    assert_eq!(status["coverage"]["complete"], true);
}

#[test]
fn a_reward_deleted_at_the_vendor_is_gone_after_a_full_walk() {
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
    // Get Rewards has read these rewards since, and shows no link: the index keeps it.
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    assert!(answer["matches"].as_array().is_some_and(|list| list.len() == 2), "{answer}");
    assert!(answer["matches"].as_array().into_iter().flatten().all(|m| m["state"] == "cancelled"), "{answer}");
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn a_schema_without_user_event_is_said_and_another_way_is_taken() {
    let sim = Sim::start(&["--participants", "200", "--graphql-schema", "old", "--export", "off"]);
    let home = Home::new(&sim);
    let ran = home.check(&by("graphql"), 1);
    assert_eq!(ran.error_kind(), "vendor");
    assert!(ran.stderr.contains("userEvent"), "{}", ran.stderr);
    let ran = home.check(&["crawl", "--json"], 0);
    assert_eq!(ran.object()["source"], "participants");
    assert!(ran.stderr.contains("userEvent"), "the reason is said: {}", ran.stderr);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn a_token_that_may_read_rest_only_reads_that() {
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
    assert_eq!(asked(&sim, "POST export"), 0, "a plan asks for nothing to be made");
    assert!(!home.database().exists(), "a plan makes no index");
    assert_eq!(home.check(&["crawl", "--json"], 0).object()["source"], "participants");
    assert_eq!(home.check(&by("graphql"), 3).error_kind(), "scope");
}

#[cfg(unix)]
#[test]
fn killed_again_and_again_every_source_goes_on_and_pays_for_little_twice() {
    for (source, endpoint) in [("graphql", "POST graphql"), ("export", "GET reward")] {
        let sim = Sim::start(&["--participants", "800", "--latency", "3ms", "--export-delay", "0ms"]);
        let home = Home::new(&sim);
        home.configure_more("[crawl]\nbatch = 20\ngraphql_page_size = 20");
        let args = ["crawl", "--source", source, "--concurrency", "8", "--json"];
        let alone = Home::new(&sim);
        alone.configure_more("[crawl]\nbatch = 20\ngraphql_page_size = 20");
        alone.check(&args, 0);
        let cost = asked(&sim, endpoint);
        sim.post("record/reset");
        let mut kills = 0;
        for place in 1..=10 {
            let mut child = home.command(&args).spawn().expect("it starts");
            wait_until("the crawl to get on", || {
                asked(&sim, endpoint) >= cost * place / 11 || child.try_wait().expect("its state").is_some()
            });
            kills += u64::from(child.try_wait().expect("its state").is_none());
            drop(child.kill());
            child.wait().expect("it ends");
        }
        assert!(kills >= 8, "{source}: {kills} kills hit a running crawl");
        let outcome = home.check(&args, 0).object();
        assert_eq!(outcome["complete"], true, "{source}: {outcome}");
        assert_index_is_truth(&home, &sim);
        let twice = asked(&sim, endpoint).saturating_sub(cost);
        assert!(twice <= kills * (8 + 20), "{source}: {twice} requests were made twice over {kills} kills");
    }
}

#[test]
fn by_export_only_accounts_with_rewards_are_asked() {
    let sim = Sim::start(&["--participants", "600"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let with_rewards: BTreeSet<String> = sim.truth().iter().map(|reward| reward["account_id"].to_string()).collect();
    assert_eq!(asked(&sim, "GET reward"), with_rewards.len() as u64);
    assert_eq!(asked(&sim, "GET users"), 0);
    assert_eq!(sim.violations(), Vec::<Value>::new(), "no credential has followed the download");
    // A recent export is taken again.
    home.check(&["crawl", "--source", "export", "--full", "--json"], 0);
    assert_eq!(asked(&sim, "POST export"), 1);
}

#[test]
fn a_refresh_by_export_asks_for_the_accounts_that_changed() {
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
    // What the refresh has read lies in the overlap of the next one, and says nothing new there.
    sim.post("change?accounts=20");
    sim.post("record/reset");
    home.check(&by("export"), 0);
    assert!(sim.requests() <= 20 * 11 / 10 + 20, "{}", sim.record()["requests"]);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn a_row_in_the_overlap_that_differs_from_the_index_is_asked_again() {
    // Tidy: every reward says when it was made.
    let sim = Sim::start(&["--participants", "300", "--tidy"]);
    let home = Home::new(&sim);
    home.check(&by("export"), 0);
    sim.post("change?accounts=10");
    home.check(&by("export"), 0);
    let asked_again = || {
        sim.post("record/reset");
        let outcome = home.check(&by("export"), 0).object();
        assert_eq!((&outcome["refresh"], &outcome["complete"]), (&Value::Bool(true), &Value::Bool(true)), "{outcome}");
        assert_index_is_truth(&home, &sim);
        asked(&sim, "GET reward")
    };
    assert_eq!(asked_again(), 0, "rows that say what the index has");
    // A modification that had its moment before the newest one seen, and became visible only after it was read: the index is
    // as it was before that.
    let index = rusqlite::Connection::open(home.database()).expect("the index");
    recoup::store::index::know_keys(&index).expect("the functions of its schema");
    let newest = "(SELECT id FROM rewards WHERE date_cancelled = (SELECT max(date_cancelled) FROM rewards))";
    for before in [
        format!("UPDATE rewards SET date_cancelled = NULL WHERE id = {newest}"),
        format!("UPDATE rewards SET user_id = 'somebody' WHERE id = {newest}"),
        format!("UPDATE rewards SET gone_at = 1 WHERE id = {newest}"),
    ] {
        assert_eq!(index.execute(&before, []).expect("changed"), 1, "{before}");
        assert_eq!(asked_again(), 1, "{before}");
    }
    // One that no date of the copy shows, so lately that it could have become visible after it was read.
    let truth = sim.truth();
    let credit = |reward: &&Value| reward["state"] == "available" && reward["assigned"].is_i64();
    let credit = truth.iter().find(credit).and_then(|reward| reward["reward_id"].as_str()).expect("a credit");
    sim.post(&format!("redeem?id={credit}"));
    for _ in 0..2 {
        assert_eq!(asked_again(), 1, "its redemption is modified at a moment that the index does not keep");
    }
}

#[test]
fn an_export_that_carries_the_link_needs_no_account() {
    let sim = Sim::start(&["--participants", "500", "--export-columns", "linked", "--link-in", "none"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(asked(&sim, "GET reward"), 0);
    assert!(outcome["links"].as_u64() > Some(0), "{outcome}");
    let order = sim.example("plain");
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    assert_eq!(answer["matches"].as_array().map(Vec::len), Some(order.reward_ids.len()), "{answer}");
    let dry = home.check(&["retract", &order.order_id, "--dry-run", "--json"], 0);
    assert!(dry.stdout.contains("from an export"), "what cannot be seen live is said: {}", dry.stdout);
}

#[test]
fn an_export_without_accounts_is_followed_by_one_of_everybody() {
    let sim = Sim::start(&["--participants", "300", "--export-columns", "no-account"]);
    let home = Home::new(&sim);
    let outcome = home.check(&by("export"), 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    assert_eq!(asked(&sim, "POST export"), 2);
}

#[test]
fn an_export_that_fails_gives_way_or_is_asked_for_again() {
    // Here every export expires when it is downloaded; one that breaks off is there the second time.
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
            assert_eq!(asked(&sim, "POST export"), if fault == "expire" { 3 } else { 1 }, "{fault}");
        }
    }
    // Left to choose, it says why and goes on by the vendor's own way.
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
fn old_readings_are_read_again_and_counted_apart() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let outcome = home.check(&["crawl", "--source", "graphql", "--reread-after", "1ms", "--json"], 0).object();
    let reread = outcome["requests_reread"].as_u64().unwrap_or(0);
    assert_eq!(Some(reread), outcome["accounts"].as_u64(), "{outcome}");
    assert_eq!(reread, asked(&sim, "GET reward"));
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let outcome = home.check(&["crawl", "--source", "graphql", "--reread-after", "30d", "--json"], 0).object();
    assert!(outcome["requests_reread"].as_u64() <= Some(1), "a minute's share of thirty days: {outcome}");
}

#[test]
fn an_order_that_the_index_does_not_have_is_asked_for_directly() {
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
    assert_eq!(asked(&sim, "GET reward"), 0);
    let none = home.check(&["lookup", "no such order", "--live"], 4);
    assert!(none.stdout.contains("the vendor knows no event whose"), "{}", none.stdout);
}

#[test]
fn where_it_cannot_be_asked_for_directly_what_is_newest_is_read() {
    let sim = Sim::start(&["--participants", "400", "--user-events", "off"]);
    let home = Home::new(&sim);
    home.check(&by("graphql"), 0);
    let order = late_order(&sim);
    let answer = home.check(&["lookup", &order, "--live", "--json"], 0).object();
    assert_eq!(answer["searched"]["asked_directly"], false, "{answer}");
    assert!(answer["searched"]["back_to"].is_string(), "{answer}");
    let none = home.check(&["lookup", "no such order", "--live", "--live-requests", "3"], 4).stdout;
    assert!(none.contains("everything modified since") && none.contains("cannot be asked for directly"), "{none}");

    let sim = Sim::start(&["--participants", "200", "--graphql", "off"]);
    let home = Home::new(&sim);
    home.crawl();
    sim.post("record/reset");
    let none = home.check(&["lookup", "no such order", "--live", "--live-requests", "15"], 4).stdout;
    assert!(none.contains("that were read the longest ago"), "{none}");
    assert!(sim.requests() <= 16, "{}", sim.record()["requests"]);
}

#[test]
fn the_price_of_each_way_is_said_before_anything_begins() {
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
    let price = first["requests"].as_u64().unwrap_or(0);
    assert!(spent <= price + 3 && price <= spent + 6, "said {price}, spent {spent}");
    let text = home.check(&["crawl", "--plan"], 0).stdout;
    assert!(
        text.contains("> graphql") && text.contains("refresh") && text.contains("a refresh is a full walk"),
        "{text}"
    );
}
