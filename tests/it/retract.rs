//! Tests of retractions from order to proof: what is sent, how often, and what the receipt claims.

use crate::support::{Home, Ran, Sim, ready, wait_until};

fn rewards(ran: &Ran) -> Vec<(String, Option<String>)> {
    let object = ran.object();
    let list = object["retractions"][0]["rewards"].as_array().expect("rewards").clone();
    let word = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    list.iter().map(|r| (word(&r["before"]).expect("before"), word(&r["after"]))).collect()
}

#[test]
fn from_order_to_proof() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let ran =
        home.check(&["retract", &order.order_id, "--yes", "--json", "--reason", "returned", "--ticket", "T-1"], 0);
    let receipt = ran.object();
    let entry = &receipt["retractions"][0];
    assert_eq!(entry["state"], "confirmed");
    assert_eq!(entry["action_id"], order.action_ids[0].as_str());
    assert_eq!(entry["ticket"], "T-1");
    assert!(entry["batch_id"].as_str().is_some_and(|id| id.starts_with("A-")), "{entry}");
    assert_eq!(entry["submission"]["status"], "Complete");
    assert_eq!(receipt["coverage"]["complete"], true);
    let states: Vec<&str> =
        entry["events"].as_array().expect("events").iter().filter_map(|e| e["state"].as_str()).collect();
    assert_eq!(states, ["planned", "sending", "queued", "queued", "confirmed"]);
    assert!(rewards(&ran).iter().all(|(_, after)| after.as_deref() == Some("cancelled")), "{entry}");
    assert_eq!(rewards(&ran).len(), 2, "friend and referrer");

    let deletes = sim.deletes();
    assert_eq!(deletes.len(), 1);
    let sent = serde_json::json!({"ActionId": order.action_ids[0], "Amount": "0", "DispositionCode": "RETRACTION"});
    assert_eq!(deletes[0]["params"], sent);
    assert_eq!(sim.violations(), Vec::<serde_json::Value>::new());
}

#[test]
fn the_first_receipt_explains_a_rule_that_cannot_be_read_and_no_receipt_names_a_person() {
    let (sim, home) = ready(&["--program-rule", "forbidden"]);
    let order = sim.example("plain");
    let first = home.check(&["retract", &order.order_id, "--yes"], 0);
    assert!(first.stdout.contains("Friend refunds a purchase"), "{}", first.stdout);
    assert!(first.stdout.contains("Referral Feed"), "{}", first.stdout);
    let again = home.check(&["retract", &order.order_id, "--yes"], 0);
    assert!(!again.stdout.contains("Friend refunds a purchase"), "{}", again.stdout);
    for text in [&first.stdout, &first.stderr] {
        assert!(!text.contains("@example"), "{text}");
    }
}

#[test]
fn already_retracted_is_success_that_sends_nothing() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    let again = home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    assert_eq!(again.state(), "confirmed");
    assert_eq!(again.object()["retractions"][0]["sent_now"], false);
    if home.skip_on_server("the rest removes the index's file") {
        return;
    }
    // Even without the index recoup sends nothing again, because the ledger has the retraction.
    std::fs::remove_file(home.database()).expect("the index");
    home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn several_actions_need_a_choice() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let order = sim.example("two_actions");
    let refused = home.check(&["retract", &order.order_id, "--yes", "--json"], 5);
    assert_eq!(refused.error_kind(), "ambiguous");
    for action in &order.action_ids {
        assert!(refused.stderr.contains(action), "{}", refused.stderr);
    }
    assert_eq!(sim.deletes().len(), 0);
    home.check(&["retract", &order.order_id, "--yes", "--action-id", "9.9.9"], 5);
    home.check(&["retract", &order.order_id, "--yes", "--action-id", &order.action_ids[1]], 0);
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(sim.deletes()[0]["params"]["ActionId"], order.action_ids[1].as_str());
    let all = home.check(&["retract", &order.order_id, "--yes", "--all", "--json"], 0);
    assert_eq!(all.object()["retractions"].as_array().map(Vec::len), Some(2));
    assert_eq!(sim.deletes().len(), 2, "the one that was sent before is not sent again");
}

#[test]
fn a_dry_run_sends_nothing_and_writes_no_ledger() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--dry-run", "--json"], 0);
    assert_eq!(ran.state(), "would_send");
    let text = home.check(&["retract", &order.order_id, "--dry-run"], 0).stdout;
    assert!(text.contains("tenant simulator · Account SID SIMULATOR · dry run"), "{text}");
    assert_eq!(sim.deletes().len(), 0);
    assert!(!home.has_ledger());
}

#[test]
fn without_a_terminal_and_yes_nothing_is_sent() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    sim.post("record/reset");
    let ran = home.check(&["retract", &order.order_id, "--json"], 5);
    assert_eq!(ran.error_kind(), "refused");
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    assert_eq!(sim.requests(), 0);
}

#[test]
fn every_response_to_the_delete_leads_to_its_state() {
    // Each entry: fault, exit code, state, and state after `verify` with a working vendor.
    let table = [
        ("400", 1, "failed", "failed"),
        ("401", 3, "planned", "planned"),
        ("403", 3, "planned", "planned"),
        ("404", 1, "failed", "failed"),
        ("408", 7, "unknown", "unknown"),
        ("409", 1, "failed", "failed"),
        ("429", 0, "confirmed", "confirmed"),
        ("429-bare", 0, "confirmed", "confirmed"),
        ("500-before", 7, "unknown", "unknown"),
        ("500-after", 0, "confirmed", "confirmed"),
        ("502", 7, "unknown", "unknown"),
        ("307", 7, "unknown", "unknown"),
        ("reset-before", 7, "unknown", "unknown"),
        ("reset-after", 0, "confirmed", "confirmed"),
        ("hang-before", 7, "unknown", "unknown"),
        ("hang-after", 0, "confirmed", "confirmed"),
        ("unreadable", 0, "confirmed", "confirmed"),
        ("empty", 0, "confirmed", "confirmed"),
    ];
    for (fault, code, state, at_last) in table {
        let (sim, home) = ready(&["--delete-fault", fault]);
        home.configure_more("lock_wait = '1s'");
        let order = sim.example("plain");
        let wait = if state == "unknown" { "200ms" } else { "20s" };
        let ran = home.run(&["retract", &order.order_id, "--yes", "--json", "--wait", wait]);
        assert_eq!(ran.code, Some(code), "{fault}: {ran:?}");
        assert_eq!(ran.state(), state, "{fault}: {ran:?}");
        let arrived = sim.deletes().len();
        let waited_out = usize::from(fault.starts_with("429"));
        assert_eq!(arrived, 1 + waited_out, "{fault}: {:?}", sim.deletes());

        // A second run sends again automatically only if the first request certainly had no effect.
        sim.post("set?delete-fault=none");
        home.run(&["verify"]);
        let again = home.run(&["retract", &order.order_id, "--yes", "--json", "--wait", "200ms"]);
        let expected = if state == "planned" { arrived + 1 } else { arrived };
        assert_eq!(sim.deletes().len(), expected, "{fault}: {again:?}");
        if state == "failed" {
            again.expect(1);
            assert_eq!(again.error_kind(), "vendor_refused");
        } else if state != "planned" {
            assert_eq!(again.state(), at_last, "{fault}: {again:?}");
        }
        let violations = sim.violations();
        assert!(violations.is_empty(), "{fault}: {violations:?}");
    }
}

#[test]
fn an_unknown_retraction_says_what_to_check() {
    let (sim, home) = ready(&["--delete-fault", "reset-before"]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--wait", "100ms"], 7);
    assert!(ran.stdout.contains("never sends it again by itself"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Referral Feed"), "{}", ran.stdout);
}

#[test]
fn a_refused_retraction_is_sent_again_only_if_a_person_orders_it() {
    let (sim, home) = ready(&["--known-dispositions", "RETRACTION"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--disposition", "Wrong Code"], 1);
    home.check(&["retract", &order.order_id, "--yes"], 1);
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(sim.deletes()[0]["params"]["DispositionCode"], "Wrong Code", "sent as it is");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--resend", "--reason", "mended", "--json"], 0);
    assert_eq!(ran.object()["retractions"][0]["id"], 2);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn a_host_that_cannot_be_reached_leaves_it_planned() {
    let sim = Sim::start(&["--participants", "400"]);
    // No process listens on port 9 of this machine, so the connection is never opened.
    let home = Home::new(&sim).set("RECOUP_BRAND_URL", "http://127.0.0.1:9/Advertisers");
    home.crawl();
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 1);
    assert_eq!(ran.state(), "planned");
    assert_eq!(ran.error_kind(), "network");
}

#[test]
fn an_ineffective_program_rule_ends_unconfirmed_and_verify_continues() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--wait", "300ms"], 7);
    assert!(ran.stdout.contains(": unconfirmed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Friend refunds a purchase"), "{}", ran.stdout);
    home.check(&["verify"], 7);
    sim.post(&format!("cancel?action={}", order.action_ids[0]));
    let verified = home.check(&["verify", "--json"], 0);
    assert_eq!(verified.state(), "confirmed");
    home.check(&["verify"], 0);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_queued_retraction_at_the_end_of_the_wait_is_not_done() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json", "--wait", "100ms"], 7);
    assert_eq!(ran.state(), "queued");
    assert_eq!(ran.error_kind(), "not_confirmed");
    assert_eq!(home.check(&["verify", "--json"], 7).state(), "queued");
}

#[test]
fn what_was_redeemed_is_lost_and_named() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let order = sim.example("redeemed");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    assert_eq!(ran.state(), "partial");
    let message = ran.object()["retractions"][0]["message"].to_string();
    assert!(message.contains("lost:"), "{message}");
}

#[test]
fn nothing_is_sent_if_no_reward_can_be_cancelled() {
    let (sim, home) = ready(&["--participants", "5000"]);
    let too_late = sim.example("all_redeemed");
    let ran = home.check(&["retract", &too_late.order_id, "--yes"], 5);
    assert_eq!(ran.stdout.matches("it is too late").count(), 1, "a stop says its reason once: {}", ran.stdout);
    let cancelled = sim.example("already_cancelled");
    let ran = home.check(&["retract", &cancelled.order_id, "--yes", "--json"], 0);
    assert_eq!(ran.state(), "already_cancelled");
    let ambiguous = sim.example("ambiguous");
    assert_eq!(home.check(&["retract", &ambiguous.order_id, "--yes", "--json"], 5).error_kind(), "ambiguous");
    home.check(&["retract", "no such order", "--yes"], 4);
    home.check(&["retract", &"x".repeat(10_000), "--yes"], 2);
    home.check(&["retract", "", "--yes"], 2);
    home.check(&["retract", "a", "--yes", "--disposition", &"x".repeat(65)], 2);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn an_unfamiliar_action_id_must_be_given_by_flag() {
    let (sim, home) = ready(&["--participants", "5000"]);
    let order = sim.example("unfamiliar_action");
    let refused = home.check(&["retract", &order.order_id, "--yes"], 5);
    assert!(refused.stderr.contains("does not look like an ActionId"), "{}", refused.stderr);
    home.check(&["retract", &order.order_id, "--yes", "--dry-run", "--action-id", &order.action_ids[0]], 0);
    // The settings can also map the field that has the ActionId.
    home.configure_more("[mapping]\naction_id = '$.actionId'");
    home.check(&["crawl", "--from-raw"], 0);
    home.check(&["retract", &order.order_id, "--yes", "--dry-run"], 0);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn the_order_id_and_the_action_tracker_are_the_explicit_fallback() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let order = sim.example("no_action");
    let refused = home.check(&["retract", &order.order_id, "--yes"], 5);
    assert!(refused.stderr.contains("--action-tracker"), "{}", refused.stderr);
    let ran =
        home.check(&["retract", &order.order_id, "--yes", "--action-tracker", &order.action_tracker_id, "--json"], 0);
    assert_eq!(ran.state(), "confirmed");
    assert!(ran.stderr.contains("which one happens is not certain"), "{}", ran.stderr);
    let params = &sim.deletes()[0]["params"];
    assert_eq!(params["OrderId"], order.order_id.as_str());
    assert_eq!(params["ActionTrackerId"], order.action_tracker_id.as_str());
    assert_eq!(params["Amount"], "0");
    // recoup refuses to send by order ID if it knows the order's action.
    let plain = sim.example("plain");
    home.check(&["retract", &plain.order_id, "--yes", "--action-tracker", "1"], 5);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_outdated_index_stops_the_retraction() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    sim.post(&format!("delete-reward?id={}", order.reward_ids[0]));
    let ran = home.check(&["retract", &order.order_id, "--yes"], 5);
    assert!(ran.stderr.contains("no longer exists"), "{}", ran.stderr);

    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let elsewhere = sim.truth().into_iter().find(|r| r["reward_id"] != order.reward_ids[0].as_str()).expect("another");
    let account = elsewhere["account_id"].as_str().expect("text").replace('+', "%2B").replace('@', "%40");
    sim.post(&format!("move-reward?id={}&account={account}", order.reward_ids[0]));
    let ran = home.check(&["retract", &order.order_id, "--yes"], 5);
    assert!(ran.stderr.contains("moved to another account"), "{}", ran.stderr);

    home.check(&["retract", &order.order_id, "--yes", "--max-index-age", "0s"], 5);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn two_processes_send_one_retraction_once() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let args = ["retract", order.order_id.as_str(), "--yes", "--json"];
    let running: Vec<_> = (0..6).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    for child in running {
        let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
        // If another process wrote to the ledger meanwhile, a process reports that and never sends.
        assert!(matches!(ran.code, Some(0 | 1 | 7)), "{ran:?}");
    }
    assert_eq!(sim.deletes().len(), 1, "{:?}", sim.deletes());
    home.check(&args, 0);
}

#[test]
fn a_submission_error_is_a_failure_only_after_the_settle_time() {
    let (sim, home) = ready(&["--submission-error", "ACTIONTRACKER_NOT_FOUND"]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 7);
    assert_eq!(ran.state(), "unconfirmed");
    assert!(ran.stderr.contains("ACTIONTRACKER_NOT_FOUND"), "{}", ran.stderr);
    // A resend is refused while the vendor may still process the first request.
    home.check(&["retract", &order.order_id, "--yes", "--resend", "--reason", "mended"], 5);
    assert_eq!(sim.deletes().len(), 1);
    home.configure_more("settle = '1ms'");
    let verified = home.check(&["verify", "--json"], 1);
    assert_eq!(verified.state(), "failed");
    sim.post("set?submission-error=none");
    home.check(&["retract", &order.order_id, "--yes"], 1);
    home.check(&["retract", &order.order_id, "--yes", "--resend", "--reason", "mended"], 0);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn a_queued_uri_on_another_host_is_not_followed() {
    let other = Sim::start(&["--participants", "10"]);
    let (sim, home) = ready(&["--queued-uri-host", &format!("http://{}", other.addr)]);
    let order = sim.example("plain");
    let ran = home.run(&["retract", &order.order_id, "--yes", "--json", "--wait", "100ms"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert_eq!(other.requests(), 0, "nothing goes there, credentials least of all");
}

#[test]
fn a_read_only_token_leaves_it_planned() {
    let sim = Sim::start(&["--participants", "400"]);
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", "read-only-token");
    home.crawl();
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 3);
    assert_eq!(ran.state(), "planned");
    let home = home.set("RECOUP_WRITE_TOKEN", "simulator-token");
    assert_eq!(home.check(&["retract", &order.order_id, "--yes", "--json"], 0).state(), "confirmed");
}

#[test]
fn no_token_reaches_output_or_files() {
    let (sim, home) = ready(&["--delete-fault", "500-after"]);
    let order = sim.example("plain");
    for args in [
        vec!["doctor", "-vv"],
        vec!["crawl", "--source", "participants", "-vv", "--full"],
        vec!["retract", order.order_id.as_str(), "--yes", "-vv"],
        vec!["status", "-vv", "--json"],
    ] {
        let ran = home.run(&args);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("simulator-token"), "{args:?}: {text}");
            assert!(!text.contains("U0lNVUxBVE9SOnNpbXVsYXRvci10b2tlbg"), "{args:?}: {text}");
        }
    }
    for file in std::fs::read_dir(home.path("")).expect("the home") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("its bytes");
        let found = bytes.windows(15).any(|window| window == b"simulator-token");
        assert!(!found, "{}", path.display());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_following_loses_nothing() {
    let (sim, home) = ready(&["--complete-delay", "1s"]);
    let order = sim.example("plain");
    let args = ["retract", order.order_id.as_str(), "--yes", "--json"];
    let child = home.command(&args).spawn().expect("it starts");
    wait_until("the DELETE to arrive", || !sim.deletes().is_empty());
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
    ran.expect(130);
    assert_eq!(ran.state(), "queued");
    let verified = home.check(&["verify", "--watch", "--json"], 0);
    assert_eq!(verified.state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
}

#[cfg(feature = "failpoints")]
#[test]
fn killed_between_any_two_steps_a_retraction_is_sent_at_most_once() {
    // Each entry: the crash point, whether the DELETE was sent, and the allowed states.
    let table: [(&str, bool, &[&str]); 6] = [
        ("planned", false, &["confirmed"]),
        ("sending", false, &["unknown"]),
        ("answered", true, &["confirmed"]),
        ("queued", true, &["confirmed"]),
        ("completed", true, &["confirmed"]),
        ("proven", true, &["confirmed"]),
    ];
    for (point, sent, ends) in table {
        let (sim, home) = ready(&[]);
        let order = sim.example("plain");
        let args = ["retract", order.order_id.as_str(), "--yes", "--json"];
        let home = home.set("RECOUP_CRASH_AT", point);
        let killed = home.run(&args);
        assert_eq!(killed.code, None, "{point}: died by a signal, {killed:?}");
        assert_eq!(sim.deletes().len(), usize::from(sent), "{point}");

        let home = home.set("RECOUP_CRASH_AT", "");
        home.wait_for_locks();
        home.run(&["verify", "--watch", "--wait", "1s"]);
        let again = home.run(&["retract", &order.order_id, "--yes", "--json", "--wait", "1s"]);
        home.run(&["verify", "--watch", "--wait", "1s"]);
        let state = again.state();
        assert!(ends.contains(&state.as_str()), "{point}: {again:?}");
        assert!(sim.deletes().len() <= 1, "{point}: {:?}", sim.deletes());
        if state == "unknown" {
            assert!(again.stdout.contains("Referral Feed"), "{point}: what to check, {}", again.stdout);
        }
        assert!(sim.violations().is_empty(), "{point}: {:?}", sim.violations());
    }
}
