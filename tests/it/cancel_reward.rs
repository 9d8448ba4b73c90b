//! `recoup cancel-reward` cancels one reward, once, and proves it by reading the reward again.

use crate::support::{Ran, Sim, ready};

const WHY: [&str; 4] = ["--ticket", "SUP-1", "--reason", "the rule missed it"];

fn posts(sim: &Sim) -> u64 {
    sim.record()["requests"]["POST reward cancel"].as_u64().expect("a count")
}

fn args<'a>(reward: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["cancel-reward", reward][..], &WHY, more].concat()
}

#[test]
fn one_reward_is_cancelled_once_and_proven() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let reward = order.reward_ids[0].as_str();
    let dry = home.check(&args(reward, &["--dry-run"]), 0).stdout;
    assert!(dry.contains("its action not reversed"), "{dry}");
    home.check(&args(reward, &[]), 5);
    assert_eq!(posts(&sim), 0);
    assert!(!home.has_ledger());

    let ran = home.check(&args(reward, &["--yes", "--json"]), 0);
    assert_eq!(ran.state(), "confirmed");
    assert!(ran.stderr.contains("it does not reverse the action"), "{}", ran.stderr);
    let receipt = ran.object();
    let entry = &receipt["retractions"][0];
    assert_eq!(receipt["order_id"], order.order_id.as_str());
    assert_eq!((&entry["road"], &entry["ticket"]), (&"reward".into(), &"SUP-1".into()), "{entry}");
    let line = &entry["rewards"][0];
    assert_eq!((&line["before"], &line["after"]), (&"available".into(), &"cancelled".into()), "{entry}");
    // A second run of `cancel-reward` sends nothing, whatever its flags.
    assert_eq!(home.check(&args(reward, &["--yes", "--json"]), 0).state(), "confirmed");
    assert_eq!((posts(&sim), sim.deletes().len()), (1, 0));
    home.check(&["verify", "1"], 0);
}

#[test]
fn the_other_rewards_of_its_action_do_not_contradict_the_proof_of_a_cancelled_reward() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    assert!(order.reward_ids.len() > 1, "{:?}", order.reward_ids);
    home.check(&args(&order.reward_ids[0], &["--yes"]), 0);
    home.check(&["crawl", "--full"], 0);
    let status = home.check(&["status", "--check", "--json"], 0).object();
    assert_eq!(status["standing_again"], serde_json::json!([]), "{status}");
}

#[test]
fn a_reward_that_has_moved_to_another_account_is_not_cancelled() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let reward = order.reward_ids[0].as_str();
    sim.rewrite(reward, &serde_json::json!({"set": {"accountId": "ann@example.com"}}));
    let ran = home.check(&args(reward, &["--yes", "--json"]), 5);
    assert!(ran.stderr.contains("in another account than the index has it in"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("ann@") && !ran.stdout.contains("ann@"), "{ran:?}");
    assert_eq!(posts(&sim), 0);
}

#[test]
fn cancel_reward_needs_a_ticket_a_reason_and_a_cancellable_reward() {
    let (sim, home) = ready(&["--participants", "5000"]);
    let plain = sim.example("plain");
    for wrong in [
        vec!["cancel-reward", plain.reward_ids[0].as_str(), "--yes"],
        vec!["cancel-reward", plain.reward_ids[0].as_str(), "--yes", "--ticket", "T", "--reason", " "],
        vec!["cancel-reward", "", "--yes", "--ticket", "T", "--reason", "x"],
    ] {
        home.check(&wrong, 2);
    }
    for (kind, why) in [("all_redeemed", "redeemed"), ("already_cancelled", "cancelled already")] {
        let reward = sim.example(kind).reward_ids[0].clone();
        let ran = home.check(&args(&reward, &["--yes", "--json"]), 5);
        assert!(ran.stderr.contains(why), "{kind}: {}", ran.stderr);
    }
    home.check(&args("no-such-reward", &["--yes"]), 5);
    assert_eq!(posts(&sim), 0);
}

#[test]
fn two_people_at_once_cancel_once() {
    let (sim, home) = ready(&["--latency", "20ms"]);
    let order = sim.example("plain");
    let args = args(&order.reward_ids[0], &["--yes", "--json"]);
    let running: Vec<_> = (0..4).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    for child in running {
        let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
        // A process that starts after the cancellation finds the reward cancelled.
        assert!(matches!(ran.code, Some(0 | 1 | 5 | 7)), "{ran:?}");
    }
    assert_eq!(posts(&sim), 1);
}

#[test]
fn a_reward_that_was_cancelled_by_itself_proves_no_retraction() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "200ms"], 7);
    for reward in &order.reward_ids {
        let ran = home.check(&args(reward, &["--yes", "--json"]), 0);
        assert!(ran.stderr.contains("retraction 1 of its action is unconfirmed"), "{}", ran.stderr);
    }
    let verified = home.check(&["verify", "1", "--json"], 7);
    assert_eq!(verified.state(), "unconfirmed", "the rewards are gone, and not by the retraction: {verified:?}");
    assert_eq!((posts(&sim), sim.deletes().len()), (order.reward_ids.len() as u64, 1));
}

#[test]
fn every_response_leads_to_its_state_and_none_to_a_second_send() {
    // Each entry: fault, exit code, state, requests, and requests after a second run with a working vendor.
    let table = [
        ("400", 1, "failed", 1, 2),
        ("401", 3, "planned", 1, 2),
        ("403", 3, "planned", 1, 2),
        ("404", 1, "failed", 1, 2),
        ("408", 7, "unknown", 1, 1),
        ("409", 1, "failed", 1, 2),
        ("429", 0, "confirmed", 2, 2),
        ("500-before", 7, "unknown", 1, 1),
        ("500-after", 0, "confirmed", 1, 1),
        ("502", 7, "unknown", 1, 1),
        ("307", 7, "unknown", 1, 1),
        ("reset-before", 7, "unknown", 1, 1),
        ("reset-after", 0, "confirmed", 1, 1),
        ("hang-after", 0, "confirmed", 1, 1),
        ("unreadable", 0, "confirmed", 1, 1),
        ("empty", 0, "confirmed", 1, 1),
    ];
    for (fault, code, state, then, at_last) in table {
        let (sim, home) = ready(&["--cancel-fault", fault]);
        let reward = sim.example("plain").reward_ids[0].clone();
        let wait = if state == "unknown" { "100ms" } else { "20s" };
        let ran = home.run(&args(&reward, &["--yes", "--json", "--wait", wait]));
        assert_eq!(ran.code, Some(code), "{fault}: {ran:?}");
        assert_eq!(ran.state(), state, "{fault}: {ran:?}");
        assert_eq!(posts(&sim), then, "{fault}");
        sim.post("set?cancel-fault=none");
        home.run(&["verify"]);
        let again = home.run(&args(&reward, &["--yes", "--json", "--wait", wait]));
        assert_eq!(posts(&sim), at_last, "{fault}: {again:?}");
        let ends = if state == "unknown" { "unknown" } else { "confirmed" };
        assert_eq!(again.state(), ends, "{fault}: {again:?}");
        if state == "unknown" {
            assert!(again.stdout.contains("Cancel Reward"), "{fault}: what a person can do, {}", again.stdout);
            sim.cancel_reward(&reward);
            assert_eq!(home.check(&["verify", "1", "--json"], 0).state(), "confirmed", "{fault}");
        }
        assert!(sim.violations().is_empty(), "{fault}: {:?}", sim.violations());
    }
}
