//! Tests of unknown outcomes: recoup resolves a request without a response by reading, and sends it again only if a
//! person orders it.
//!
//! These tests use milliseconds instead of hours: `list_after` and `list_gap` in `recoup.toml` set how long recoup
//! waits for the vendor's list.

use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready, wait_until};

/// Settings with which recoup may read the vendor's list of submissions at once, and again a moment later.
const QUICK: [&str; 2] = ["list_after = '1ms'", "list_gap = '2ms'"];

fn in_doubt(flags: &[&str], settings: &[&str]) -> (Sim, Home, String) {
    let (sim, home) = ready(flags);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["retract", &order, "--yes", "--json", "--wait", "1ms", "--reason", "returned"], 7);
    assert_eq!(ran.state(), "unknown", "{ran:?}");
    assert_eq!(sim.deletes().len(), 1);
    for setting in settings {
        home.configure_more(setting);
    }
    (sim, home, order)
}

fn kinds(ran: &Ran) -> Vec<String> {
    let object = ran.object();
    let events = object["retractions"][0]["events"].as_array().expect("events").clone();
    let word =
        |event: &Value| event[if event["kind"] == "state" { "state" } else { "kind" }].as_str().map(str::to_owned);
    events.iter().filter_map(word).collect()
}

fn verify_until(home: &Home, state: &str) -> Ran {
    verify_until_named(home, "1", state)
}

fn verify_until_named(home: &Home, id: &str, state: &str) -> Ran {
    let mut last = None;
    wait_until(state, || {
        let ran = home.run(&["verify", id, "--json"]);
        let is_so = ran.state() == state;
        last = Some(ran);
        is_so
    });
    last.expect("a run")
}

#[test]
fn a_received_request_is_found_in_the_list_and_confirmed() {
    for fault in ["500-after", "reset-after", "hang-after", "unreadable", "empty", "invalid"] {
        // The cancellation of the rewards takes so long that only the list of submissions can show that the request was
        // received.
        let delay = if fault.starts_with("hang") { "4s" } else { "1s" };
        let (sim, home, _) = in_doubt(&["--delete-fault", fault, "--cancel-delay", delay], &[]);
        assert_eq!(home.check(&["verify", "--json"], 7).state(), "unknown", "{fault}: too early for the list");
        home.configure_more(QUICK[0]);
        let found = home.run(&["verify", "--json"]);
        assert!(matches!(found.state().as_str(), "queued" | "confirmed"), "{fault}: {found:?}");
        let batch = found.object()["retractions"][0]["batch_id"].clone();
        assert!(batch.as_str().is_some_and(|id| id.starts_with("A-")), "{fault}: {found:?}");
        let proven = home.check(&["verify", "1", "--watch", "--json"], 0);
        assert_eq!(proven.state(), "confirmed", "{fault}");
        assert_eq!(kinds(&proven), ["planned", "sending", "unknown", "queued", "queued", "confirmed"], "{fault}");
        assert_eq!(sim.deletes().len(), 1, "{fault}");
        assert!(sim.violations().is_empty(), "{fault}: {:?}", sim.violations());
    }
}

#[test]
fn a_request_missing_in_two_lists_was_not_received_and_can_be_resent() {
    for fault in ["408", "500-before", "502", "307", "reset-before", "hang-before"] {
        let (sim, home, order) = in_doubt(&["--delete-fault", fault], &QUICK);
        let ended = verify_until(&home, "not_received");
        ended.expect(1);
        assert!(ended.stdout.contains("--resend --reason"), "{fault}: what to do, {}", ended.stdout);
        let kinds = kinds(&ended);
        assert!(kinds.iter().filter(|kind| *kind == "look").count() >= 2, "{fault}: {kinds:?}");
        sim.post("set?delete-fault=none");

        // recoup sends again neither automatically nor without a reason.
        let refused = home.check(&["retract", &order, "--yes", "--json"], 1);
        assert!(refused.stderr.contains("--resend"), "{fault}: {}", refused.stderr);
        home.check(&["retract", &order, "--yes", "--resend"], 2);
        home.check(&["retract", &order, "--yes", "--resend", "--reason", " "], 2);
        assert_eq!(sim.deletes().len(), 1, "{fault}");

        let dry = home.check(&["retract", &order, "--dry-run", "--resend", "--reason", "lost on the way"], 0);
        assert!(dry.stdout.contains("attempt 1 (retraction 1): sent "), "{fault}: {}", dry.stdout);
        let again = home.check(&["retract", &order, "--yes", "--json", "--resend", "--reason", "lost on the way"], 0);
        assert_eq!(again.state(), "confirmed", "{fault}");
        let entry = &again.object()["retractions"][0];
        assert_eq!((&entry["id"], &entry["attempt"]), (&2.into(), &2.into()), "{fault}");
        assert_eq!(entry["attempts_before"][0]["state"], "not_received", "{fault}: {entry}");
        assert_eq!(entry["reason"], "lost on the way", "{fault}");
        assert_eq!(sim.deletes().len(), 2, "{fault}: one for each time a person asked");
        let first = home.check(&["status", "--retraction", "1"], 0).stdout;
        assert!(first.contains("superseded"), "{fault}: {first}");
        assert!(first.contains(" look: "), "{fault}: notes are shown, {first}");
        let second = home.check(&["status", "--retraction", "2"], 0).stdout;
        assert!(second.contains(" resend: a person sends it again, after retraction 1"), "{fault}: {second}");
        home.check(&["retract", &order, "--yes", "--resend", "--reason", "once more"], 0);
        assert_eq!(sim.deletes().len(), 2, "{fault}: a confirmed one is not sent again, whoever asks");
    }
}

#[test]
fn the_two_lists_are_read_at_least_list_gap_apart() {
    let (sim, home, order) = in_doubt(&["--delete-fault", "reset-before"], &["list_after = '1ms'"]);
    for _ in 0..3 {
        assert_eq!(home.check(&["verify", "--json"], 7).state(), "unknown");
    }
    let ran = home.check(&["verify", "--json"], 7);
    assert_eq!(kinds(&ran).iter().filter(|kind| *kind == "look").count(), 1, "one list in the first hour: {ran:?}");
    assert!(ran.stdout.contains("the request is not in it"), "what was seen: {}", ran.stdout);
    assert_eq!(sim.record()["requests"]["GET submissions"], 1);
    let refused = home.check(&["retract", &order, "--yes", "--json", "--resend", "--reason", "impatient"], 5);
    assert!(refused.stderr.contains("unknown"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn one_list_resolves_every_unknown_retraction() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "reset-before"]);
    let orders: Vec<String> = ["plain", "redeemed", "two_actions"].map(|kind| sim.example(kind).order_id).into();
    for order in &orders {
        home.check(&["retract", order, "--all", "--yes", "--wait", "1ms", "--override", "locked"], 7);
    }
    let deletes = sim.deletes().len();
    sim.post("record/reset");
    home.configure_more("list_after = '1ms'");
    let ran = home.check(&["verify", "--json"], 7);
    assert!(ran.objects().len() > orders.len(), "{ran:?}");
    let looked = ran.stdout.matches("the request is not in it").count();
    assert!(looked >= deletes, "each has a note of it: {}", ran.stdout);
    assert_eq!(sim.record()["requests"]["GET submissions"], 1, "{}", sim.record());
}

#[test]
fn an_unconfirmed_retraction_can_be_resent_after_a_day_or_with_an_override() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["retract", &order, "--yes", "--json", "--wait", "200ms"], 7);
    assert_eq!(ran.state(), "unconfirmed");
    sim.post("set?rule-works=on");
    let resend = ["retract", order.as_str(), "--yes", "--json", "--resend", "--reason", "the rule was missing"];
    let refused = home.check(&resend, 5);
    assert!(refused.stderr.contains("less than 24 hours ago"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--override early"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), 1);
    let early = [&resend[..], &["--override", "early"]].concat();
    let again = home.check(&early, 0);
    assert_eq!(again.state(), "confirmed");
    assert_eq!(sim.deletes().len(), 2);
    let shown = home.check(&["status", "--retraction", "2"], 0).stdout;
    assert!(shown.contains(" override: a person allowed it by name: --override early"), "{shown}");
    assert!(shown.contains("before: attempt 1 (retraction 1)"), "{shown}");
    // The first attempt is superseded, which does not count as success, and `verify` has nothing left to check.
    let first = home.check(&["verify", "1", "--json"], 1);
    assert_eq!(first.state(), "superseded");
    assert!(home.check(&["verify", "--json"], 0).stdout.is_empty());
    home.check(&["retract", &order, "--yes", "--override", "nonsense"], 2);
}

#[test]
fn a_rate_limited_second_attempt_keeps_the_date_of_the_first() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "200ms"], 7);
    sim.post("set?delete-fault=429");
    let resend = ["retract", order.as_str(), "--yes", "--json", "--resend", "--reason", "x"];
    // The vendor answers the send with 429, and the command exits because `max_wait` is 0.
    let toml = std::fs::read_to_string(home.path("recoup.toml")).expect("the configuration");
    home.configure(&toml.replace("[brand]\n", "[brand]\nmax_wait = '0s'\n"));
    let limited = home.check(&[&resend[..], &["--override", "early"]].concat(), 8);
    assert_eq!(limited.state(), "planned", "{limited:?}");
    let deletes = sim.deletes().len();
    wait_until("the limit is over", || home.run(&resend).code != Some(8));
    let refused = home.check(&resend, 5);
    assert!(refused.stderr.contains("less than 24 hours ago"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), deletes);
    home.configure(&toml);
    assert_eq!(home.check(&[&resend[..], &["--override", "early"]].concat(), 7).state(), "unconfirmed");
    assert_eq!(sim.deletes().len(), deletes + 1);
}

#[test]
fn a_second_attempt_waits_for_the_limit_and_continues() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "200ms"], 7);
    sim.post("set?rule-works=on");
    sim.post("set?delete-fault=429");
    let ran = home.check(
        &["retract", &order, "--yes", "--json", "--resend", "--reason", "the rule was missing", "--override", "early"],
        0,
    );
    assert_eq!(ran.state(), "confirmed");
    assert_eq!(sim.deletes().len(), 3, "the first, the one that was turned away, and the one that counts");
    home.check(&["audit", "verify"], 0);
}

#[test]
fn rewards_cancelled_meanwhile_are_confirmed_and_not_sent_again() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "200ms"], 7);
    sim.post(&format!("cancel?action={}", order.action_ids[0]));
    let args = ["retract", &order.order_id, "--yes", "--json", "--resend", "--reason", "x", "--override", "early"];
    let ran = home.check(&args, 0);
    assert_eq!(ran.state(), "confirmed");
    assert_eq!(ran.object()["retractions"][0]["id"], 1);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_queued_retraction_is_never_sent_again() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "50ms"], 7);
    let args = ["retract", &order, "--yes", "--json", "--resend", "--reason", "x", "--override", "early"];
    let refused = home.check(&args, 5);
    assert!(refused.stderr.contains("queued"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn concurrent_resends_send_once() {
    let (sim, home, order) = in_doubt(&["--delete-fault", "reset-before"], &QUICK);
    verify_until(&home, "not_received");
    sim.post("set?delete-fault=none");
    let args = ["retract", order.as_str(), "--yes", "--json", "--resend", "--reason", "lost"];
    let running: Vec<_> = (0..5).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    for child in running {
        let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
        assert!(matches!(ran.code, Some(0 | 1 | 5 | 7)), "{ran:?}");
    }
    assert_eq!(sim.deletes().len(), 2, "{:?}", sim.deletes());
}

#[test]
fn two_concurrent_verifications_agree() {
    let (sim, home, _) = in_doubt(&["--delete-fault", "reset-after", "--cancel-delay", "300ms"], &QUICK);
    let args = ["verify", "--watch", "--wait", "20s", "--json"];
    let running: Vec<_> = (0..3).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    for child in running {
        let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
        ran.expect(0);
    }
    assert_eq!(home.check(&["verify", "1", "--json"], 0).state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_unconfirmed_retraction_is_given_up_after_reread_for_and_reported_once() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "200ms"], 7);
    assert_eq!(home.check(&["verify", "--json"], 7).state(), "unconfirmed");
    home.configure_more("reread_for = '1ms'");
    let ran = home.check(&["verify"], 7);
    assert!(ran.stderr.contains("not read again unless it is named"), "{}", ran.stderr);
    let ran = home.check(&["verify"], 0);
    assert!(!ran.stderr.contains("not read again"), "{}", ran.stderr);
    sim.post(&format!("cancel?action={}", order.action_ids[0]));
    assert_eq!(home.check(&["verify", "1", "--json"], 0).state(), "confirmed", "named, it is read");
}

#[test]
fn many_open_retractions_cost_about_two_brand_requests_each() {
    let (sim, home) = ready(&["--participants", "2000", "--complete-delay", "700ms"]);
    let rows = sim.truth();
    let fits = |row: &&Value| row["state"] == "available" && row["action_ids"][0].is_string();
    let mut orders: Vec<String> =
        rows.iter().filter(fits).filter_map(|row| row["order_ids"][0].as_str().map(str::to_owned)).collect();
    orders.sort();
    orders.dedup();
    let mut sent = 0;
    for order in &orders {
        let ran = home.run(&["retract", order, "--yes", "--wait", "1ms", "--all"]);
        sent += u64::from(ran.code == Some(7));
        if sent == 12 {
            break;
        }
    }
    assert_eq!(sent, 12);
    let open = home.check(&["status", "--json"], 0).object()["open"].as_array().map_or(0, Vec::len) as u64;
    sim.post("record/reset");
    // The vendor never cancels gift cards, so some retractions stay open.
    home.run(&["verify", "--watch", "--wait", "6s", "--json"]);
    let states = home.check(&["status", "--json"], 0).object()["retractions"].clone();
    assert!(states.get("queued").is_none(), "{states}");
    let asked = sim.record()["requests"]["GET submission"].as_u64().expect("a number");
    assert!(asked <= open + 6, "{asked} questions for {open} open retractions, the last few at leisure");
}

#[test]
fn an_unreadable_or_incomplete_list_proves_nothing() {
    for list in ["403", "404"] {
        let (sim, home, order) = in_doubt(&["--delete-fault", "reset-before", "--submissions-list", list], &QUICK);
        wait_until("three looks", || {
            let ran = home.check(&["verify", "--json"], 7);
            assert_eq!(ran.state(), "unknown", "{list}");
            assert!(ran.stdout.contains("it could not be read"), "{list}: what was seen, {}", ran.stdout);
            kinds(&ran).iter().filter(|kind| *kind == "look").count() >= 3
        });
        home.check(&["retract", &order, "--yes", "--resend", "--reason", "impatient", "--override", "early"], 5);
        assert_eq!(sim.deletes().len(), 1, "{list}");
    }
    // A list of submissions is incomplete if it lacks submissions that the vendor has acknowledged.
    let (sim, home) = ready(&["--participants", "3000", "--submissions-late", "1h", "--complete-delay", "1h"]);
    let other = sim.example("redeemed").order_id;
    home.check(&["retract", &other, "--yes", "--wait", "1ms", "--override", "locked"], 7);
    sim.post("set?delete-fault=500-after");
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "1ms"], 7);
    for setting in QUICK {
        home.configure_more(setting);
    }
    wait_until("three looks", || {
        let ran = home.check(&["verify", "2", "--json"], 7);
        assert_eq!(ran.state(), "unknown");
        assert!(ran.stdout.contains("lacks 1 submission"), "{}", ran.stdout);
        kinds(&ran).iter().filter(|kind| *kind == "look").count() >= 3
    });
    home.check(&["retract", &order, "--yes", "--resend", "--reason", "impatient"], 5);
    // When the list has both submissions, recoup finds the unknown request in it.
    sim.post("set?submissions-late=0s");
    assert_eq!(verify_until_named(&home, "2", "queued").object()["retractions"][0]["id"], 2);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn verify_with_wait_keeps_watching_for_that_time() {
    let (sim, home) = ready(&["--complete-delay", "1s"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "1ms"], 7);
    assert_eq!(home.check(&["verify", "1", "--json"], 7).state(), "queued", "one look");
    assert_eq!(home.check(&["verify", "1", "--wait", "30s", "--json"], 0).state(), "confirmed");
}
