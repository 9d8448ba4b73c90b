//! Tests that a receipt never says *confirmed* while a reward is not cancelled, whatever the vendor or a cache in front
//! of it answers.
//!
//! The simulator cancels no reward in these tests. After the DELETE, the tests rewrite the simulator's responses about
//! a reward.

use serde_json::{Value, json};

use crate::support::{Example, Home, Ran, Sim, ready};

/// A date far in the future, in Unix milliseconds.
const YEAR_3000: i64 = 32_503_680_000_000;
const DAY: i64 = 86_400_000;

/// A retraction that was sent and whose two rewards are not cancelled yet.
struct Sent {
    sim: Sim,
    home: Home,
    order: Example,
    /// The time at which the simulator received the DELETE, in Unix milliseconds.
    at: i64,
}

impl Sent {
    fn new(flags: &[&str]) -> Self {
        let mut all = vec!["--rule-works", "off"];
        all.extend(flags);
        let (sim, home) = ready(&all);
        let order = sim.example("plain");
        assert_eq!(order.reward_ids.len(), 2, "one for each side");
        home.check(&["retract", &order.order_id, "--yes", "--wait", "300ms"], 7);
        let at = sim.deletes()[0]["at_ms"].as_i64().expect("a moment");
        Self { sim, home, order, at }
    }

    /// Rewrites the simulator's responses: the first reward is cancelled, and the second has these values.
    fn say(&self, of_second: &Value) {
        self.sim.rewrite(&self.order.reward_ids[0], &self.cancelled());
        self.sim.rewrite(&self.order.reward_ids[1], of_second);
    }

    /// Returns the fields of a plausible cancellation.
    fn cancelled(&self) -> Value {
        json!({"set": {"dateCancelled": self.at + 100}})
    }

    fn verify(&self) -> Ran {
        self.home.run(&["verify", "1", "--json"])
    }

    /// Fails if these values of the second reward count as proof, or if two plausible cancellations do not.
    #[track_caller]
    fn is_no_proof(&self, of_second: &Value) -> Ran {
        self.say(of_second);
        let ran = self.verify();
        assert_ne!(ran.code, Some(0), "{of_second}: {ran:?}");
        assert_ne!(ran.state(), "confirmed", "{of_second}: {ran:?}");
        ran
    }

    #[track_caller]
    fn honest_answers_prove_it(&self) {
        self.say(&self.cancelled());
        let ran = self.verify();
        ran.expect(0);
        assert_eq!(ran.state(), "confirmed");
        assert!(ran.stdout.contains("2 of 2 cancellable rewards as cancelled"), "{}", ran.stdout);
    }
}

/// Returns what a receipt says about one reward.
#[track_caller]
fn reward(receipt: &Ran, id: &str) -> Value {
    let rewards = receipt.object()["retractions"][0]["rewards"].clone();
    rewards.as_array().into_iter().flatten().find(|reward| reward["reward_id"] == id).expect("the reward").clone()
}

#[test]
fn a_response_about_another_reward_account_tenant_or_action_is_rejected() {
    let sent = Sent::new(&[]);
    let at = sent.at + 100;
    // The simulator answers a request for the second reward with the first one, which is cancelled.
    let ran = sent.is_no_proof(&json!({"hidden": true, "as": sent.order.reward_ids[0]}));
    assert!(ran.stderr.contains("JSON of another shape than expected"), "{}", ran.stderr);
    let ran = sent.is_no_proof(&json!({"set": {"dateCancelled": at, "accountId": "ann@example.com"}}));
    assert!(ran.stderr.contains("another account") && !ran.stderr.contains("ann@"), "{}", ran.stderr);
    let ran = sent.is_no_proof(&json!({"set": {"dateCancelled": at, "tenantAlias": "elsewhere"}}));
    assert!(ran.stderr.contains("another tenant"), "{}", ran.stderr);
    let ran = sent.is_no_proof(&json!({"set": {"dateCancelled": at, "id": "000000000000000000000000"}}));
    assert_ne!(ran.state(), "confirmed");
    for name in ["actionId", "action_id", "ActionId", "ActionID"] {
        sent.is_no_proof(&json!({"set": {"dateCancelled": at, name: "9.9.9"}}));
    }
    sent.honest_answers_prove_it();
}

#[test]
fn of_two_statements_about_a_reward_the_one_against_a_cancellation_counts() {
    let sent = Sent::new(&[]);
    let at = sent.at + 100;
    // The response contains the second reward twice, cancelled and not cancelled, in either order.
    let ran = sent.is_no_proof(&json!({"set": {"dateCancelled": at}, "also": {"dateCancelled": null}}));
    assert_eq!(ran.object()["retractions"][0]["rewards"].as_array().map(Vec::len), Some(2), "{ran:?}");
    sent.is_no_proof(&json!({"set": {"dateCancelled": null}, "also": {"dateCancelled": at}}));
    let ran = sent.is_no_proof(&json!({"set": {"dateCancelled": at}, "repeat": {"dateCancelled": null}}));
    assert!(ran.stderr.contains("has a key twice"), "{}", ran.stderr);
    sent.is_no_proof(&json!({"set": {"dateCancelled": null}, "repeat": {"dateCancelled": at}}));
    sent.is_no_proof(&json!({"set": {"dateCancelled": null, "date_cancelled": at}}));
    sent.is_no_proof(&json!({"set": {"dateCancelled": at, "statuses": ["AVAILABLE"]}}));
    sent.honest_answers_prove_it();
    // The same reward twice with equal values is no contradiction.
    sent.say(&json!({"set": {"dateCancelled": at}, "also": {}}));
    assert_eq!(sent.verify().state(), "confirmed");
}

#[test]
fn a_cancellation_with_an_impossible_date_is_unclear_and_blocks_proof() {
    let sent = Sent::new(&[]);
    for set in [
        json!({"dateCancelled": YEAR_3000}),
        json!({"dateCancelled": sent.at + DAY}),
        json!({"dateCancelled": 1}),
        json!({"dateCancelled": sent.at / 1_000}),
        json!({"dateCancelled": sent.at + 100, "dateGiven": sent.at + 200}),
        json!({"dateCancelled": null, "dateExpires": 1}),
    ] {
        sent.is_no_proof(&json!({"set": set}));
    }
    sent.honest_answers_prove_it();

    // Before a send, recoup names a reward with an implausible cancellation date and does not count it as cancelled.
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    for id in &order.reward_ids {
        sim.rewrite(id, &json!({"set": {"dateCancelled": YEAR_3000}}));
    }
    let ran = home.check(&["retract", &order.order_id, "--yes"], 5);
    assert!(ran.stdout.contains("stop (unclear)"), "{}", ran.stdout);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn a_cancellation_before_the_send_is_named_and_no_proof_of_it() {
    let sent = Sent::new(&[]);
    let early =
        json!({"set": {"dateCancelled": sent.at - 60_000, "dateGiven": sent.at - 9 * DAY, "dateCreated": null}});
    for id in &sent.order.reward_ids {
        sent.sim.rewrite(id, &early);
    }
    let ran = sent.verify();
    ran.expect(7);
    assert_eq!(ran.state(), "unconfirmed");
    // The reward that was cancelled after the send proves the retraction. recoup names the reward that was cancelled
    // before the send.
    sent.say(&early);
    let ran = sent.verify();
    assert_eq!(ran.state(), "confirmed");
    assert!(ran.stdout.contains("1 had been cancelled already before it was sent"), "{}", ran.stdout);
}

#[test]
fn a_reward_that_no_longer_reads_as_cancelled_revokes_the_proof() {
    let sent = Sent::new(&[]);
    let at = sent.at + 100;
    for (set, after) in [
        (json!({"dateCancelled": null}), "available"),
        (json!({"dateCancelled": null, "assignedCredit": 500, "redeemedCredit": 500}), "redeemed"),
        (json!({"dateCancelled": null, "assignedCredit": 500, "redeemedCredit": 200}), "partly_redeemed"),
        (json!({"dateCancelled": null, "dateGiven": at - 9 * DAY, "dateExpires": at - DAY}), "expired"),
        (json!({"dateCancelled": YEAR_3000}), "unclear"),
        // The reward keeps its cancellation date, but was redeemed.
        (json!({"dateCancelled": at, "assignedCredit": 500, "redeemedCredit": 500, "dateRedeemed": at}), "redeemed"),
        (json!({"dateCancelled": at, "assignedCredit": 500, "redeemedCredit": 200}), "cancelled"),
        (json!({"dateCancelled": at, "dateRedeemed": at + 50, "redeemedCredit": 0}), "unclear"),
        // The reward now lacks the cancellation date that the proof needs.
        (json!({"dateCancelled": null, "statuses": ["CANCELLED"]}), "cancelled"),
    ] {
        sent.honest_answers_prove_it();
        sent.say(&json!({"set": set}));
        let ran = sent.verify();
        ran.expect(7);
        assert_eq!(ran.state(), "unconfirmed", "{set}");
        assert_eq!(reward(&ran, &sent.order.reward_ids[1])["after"], after, "{set}");
    }
    // After a crawl has read the reward, `status` shows the contradiction too.
    for cancelled in [json!(null), json!(at)] {
        sent.honest_answers_prove_it();
        sent.say(&json!({"set": {"dateCancelled": cancelled, "assignedCredit": 500, "redeemedCredit": 200}}));
        sent.home.check(&["crawl", "--source", "participants", "--full"], 0);
        let status = sent.home.check(&["status"], 0).stdout;
        assert!(status.contains("does not read as cancelled"), "{cancelled}: {status}");
    }
}

#[test]
fn a_redemption_or_a_status_that_cannot_be_read_blocks_proof() {
    let sent = Sent::new(&[]);
    let at = sent.at + 100;
    for (key, value) in [
        ("redeemedCredit", json!("3.5")),
        ("redeemedCredit", json!("1,200")),
        ("redeemedCredit", json!(true)),
        ("redeemedCredit", json!({"v": 5})),
        ("redeemedCredit", json!(-1)),
        ("redemptions", json!([{"id": "x"}])),
        ("dateRedeemed", json!(at + 50)),
        ("statuses", json!([["AVAILABLE"]])),
        ("statuses", json!([{"status": "AVAILABLE"}])),
        ("statuses", json!({"available": true})),
        ("statuses", json!(5)),
        ("statuses", json!(["REINSTATED"])),
    ] {
        sent.is_no_proof(&json!({"set": {"dateCancelled": at, key: value}}));
    }
    sent.honest_answers_prove_it();
}

#[test]
fn a_reward_that_is_listed_as_cancelled_and_as_redeemed_is_partial_in_either_order() {
    for is_first in [true, false] {
        let sent = Sent::new(&[]);
        let cancelled = json!({"dateCancelled": sent.at + 100, "assignedCredit": 500, "redeemedCredit": 0});
        let redeemed = json!({"dateCancelled": sent.at + 100, "assignedCredit": 500, "redeemedCredit": 200});
        let (one, other) = if is_first { (&cancelled, &redeemed) } else { (&redeemed, &cancelled) };
        sent.say(&json!({"set": one, "also": other}));
        let ran = sent.verify();
        assert_eq!(ran.state(), "partial", "{ran:?}");
        assert!(ran.stdout.contains("redeemed, and lost: 200"), "{}", ran.stdout);
    }
}

#[test]
fn a_cancellation_ahead_of_the_vendors_clock_is_no_proof_yet() {
    let sent = Sent::new(&[]);
    // The cancellation is ten minutes in the future, so that a slow test stays below it. A unit test covers the limit
    // of five seconds in the future.
    sent.is_no_proof(&json!({"set": {"dateCancelled": sent.at + 600_000}}));
    sent.honest_answers_prove_it();
}

#[test]
fn verifying_an_old_proof_with_unreadable_rewards_fails() {
    let sent = Sent::new(&[]);
    sent.honest_answers_prove_it();
    sent.say(&json!({"set": {"accountId": "ann@example.com"}}));
    let ran = sent.verify();
    ran.expect(1);
    assert_eq!(ran.state(), "confirmed", "what the ledger says stays");
    assert!(ran.stderr.contains("its rewards could not be read again now"), "{}", ran.stderr);
    let ran = sent.home.run(&["verify", "1"]);
    assert!(ran.stderr.contains("it was proven at 20"), "{}", ran.stderr);
}

#[test]
fn a_damaged_graphql_response_is_not_hidden_by_get_rewards() {
    let (sim, home, order, cancelled) = sent_by_graphql();
    // Get Rewards shows the reward as cancelled; GraphQL shows a duplicate key with two values.
    let mut twice = cancelled.clone();
    twice["repeat"] = json!({"dateModified": 1});
    sim.rewrite(&order.reward_ids[1], &twice);
    let ran = home.run(&["verify", "1", "--json"]);
    assert_ne!(ran.state(), "confirmed", "{ran:?}");
    sim.rewrite(&order.reward_ids[1], &cancelled);
    assert_eq!(home.run(&["verify", "1", "--json"]).state(), "confirmed");
}

/// Sends a retraction whose rewards are read by GraphQL; the first reward is cancelled, the second is not.
fn sent_by_graphql() -> (Sim, Home, Example, Value) {
    let sim = Sim::start(&["--participants", "400", "--link-in", "graphql", "--rule-works", "off"]);
    let home = Home::new(&sim);
    home.check(&["crawl", "--source", "graphql"], 0);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "300ms"], 7);
    let at = sim.deletes()[0]["at_ms"].as_i64().expect("a moment") + 100;
    let cancelled = json!({"set": {"dateCancelled": at, "statuses": ["CANCELLED"]}});
    sim.rewrite(&order.reward_ids[0], &cancelled);
    (sim, home, order, cancelled)
}

#[test]
fn a_statement_in_a_list_counts_even_under_another_account_or_none() {
    let (sim, home, order, cancelled) = sent_by_graphql();
    for user in
        [json!(null), json!({"id": "u", "accountId": "other"}), json!({"id": "u", "accountId": " x"}), json!({})]
    {
        let mut said = cancelled.clone();
        said["also"] = json!({"user": user, "dateCancelled": null, "statuses": ["AVAILABLE"]});
        sim.rewrite(&order.reward_ids[1], &said);
        let ran = home.run(&["verify", "1", "--json"]);
        assert_ne!(ran.state(), "confirmed", "{user}: {ran:?}");
        assert_ne!(ran.code, Some(0), "{user}: {ran:?}");
    }
    sim.rewrite(&order.reward_ids[1], &cancelled);
    assert_eq!(home.run(&["verify", "1", "--json"]).state(), "confirmed");
}

#[test]
fn a_plan_made_by_graphql_is_not_proven_by_get_rewards_alone() {
    let (sim, home, order, cancelled) = sent_by_graphql();
    sim.rewrite(&order.reward_ids[1], &cancelled);
    sim.post("set?graphql-schema=old");
    let ran = home.run(&["verify", "1", "--json"]);
    assert_ne!(ran.state(), "confirmed", "{ran:?}");
    assert!(ran.stderr.contains("read by GraphQL before"), "{}", ran.stderr);
    sim.post("set?graphql-schema=current");
    assert_eq!(home.run(&["verify", "1", "--json"]).state(), "confirmed");
}

#[test]
fn a_crawl_keeps_the_statement_against_a_cancellation() {
    let sent = Sent::new(&[]);
    let (cancelled, standing) = (json!({"dateCancelled": sent.at + 100}), json!({"dateCancelled": null}));
    for (one, other) in [(&cancelled, &standing), (&standing, &cancelled)] {
        sent.honest_answers_prove_it();
        sent.say(&json!({"set": one, "also": other}));
        sent.home.check(&["crawl", "--source", "participants", "--full"], 0);
        let status = sent.home.run(&["status", "--check"]);
        assert_eq!(status.code, Some(1), "{status:?}");
        assert!(status.stdout.contains("PROBLEM: retraction 1 of order"), "{}", status.stdout);
    }
}

#[test]
fn an_action_that_was_cancelled_elsewhere_names_what_was_lost() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let redeemed = json!({"set": {"dateCancelled": 1_750_000_000_000_i64, "dateGiven": 1_700_000_000_000_i64,
        "dateCreated": 1_700_000_000_000_i64, "assignedCredit": 9000, "redeemedCredit": 500}});
    for id in &order.reward_ids {
        sim.rewrite(id, &redeemed);
    }
    let ran = home.check(&["retract", &order.order_id, "--yes"], 0);
    assert!(ran.stdout.contains("cancelled already") && ran.stdout.contains("lost: 500"), "{}", ran.stdout);
}

#[test]
fn a_reward_has_the_same_state_in_every_api() {
    let sim = Sim::start(&["--participants", "400", "--link-in", "graphql"]);
    let home = Home::new(&sim);
    home.check(&["crawl", "--source", "graphql"], 0);
    let order = sim.example("plain");
    // GraphQL shows that a gift card was redeemed; Get Rewards has no field for a redemption.
    let redeemed = json!({"only": "graphql", "set": {
        "type": "INTEGRATION", "statuses": ["REDEEMED"], "assignedCredit": null, "redeemedCredit": null, "value": 20,
    }});
    sim.rewrite(&order.reward_ids[1], &redeemed);
    let ran = home.run(&["retract", &order.order_id, "--yes", "--json"]);
    let second = reward(&ran, &order.reward_ids[1]);
    assert_eq!(second["before"], "redeemed", "{ran:?}");
    assert_ne!(second["after"], "available", "{ran:?}");
    assert_ne!(ran.state(), "confirmed");
}

#[test]
fn the_vendor_s_clock_decides_what_has_expired() {
    // A difference of ninety seconds between the clocks blocks no send, and is enough for a wrong decision about an
    // expiry.
    let sent = Sent::new(&["--clock", "-90s"]);
    let given = json!(sent.at - 9 * DAY);
    // The rewards expire in a minute by the vendor's clock, and have expired by this machine's clock.
    let another = sent.sim.another("plain");
    for id in &another.reward_ids {
        sent.sim.rewrite(id, &json!({"set": {"dateGiven": given, "dateExpires": sent.at + 60_000}}));
    }
    let ran = sent.home.check(&["retract", &another.order_id, "--dry-run", "--json"], 0);
    assert_eq!(reward(&ran, &another.reward_ids[0])["before"], "available");
    sent.honest_answers_prove_it();
    let status = sent.home.check(&["status"], 0).stdout;
    assert!(status.contains("s ahead of the vendor's"), "{status}");
}

#[test]
fn a_clock_far_from_the_vendors_blocks_sends_and_proofs() {
    let sent = Sent::new(&[]);
    // This machine's clock is eight days ahead of the vendor's, so a reward that expired by this machine's clock may
    // still be valid.
    sent.sim.post("set?clock=-192h");
    let given = json!(sent.at - 30 * DAY);
    let ran = sent.is_no_proof(&json!({"set": {"dateGiven": given, "dateExpires": sent.at - DAY}}));
    assert!(ran.stderr.contains("ahead of the vendor's"), "{}", ran.stderr);
    // A clock that is eight days off also blocks sends.
    let another = sent.sim.another("plain");
    let ran = sent.home.check(&["retract", &another.order_id, "--yes"], 5);
    assert!(ran.stdout.contains("stop (clock)"), "{}", ran.stdout);
    let doctor = sent.home.check(&["doctor"], 1);
    assert!(doctor.stdout.contains("ahead of the vendor's"), "{}", doctor.stdout);
    let status = sent.home.run(&["status", "--check"]);
    assert!(status.stdout.contains("PROBLEM: this machine's clock"), "{}", status.stdout);
    // A response without a `Date` header says nothing about the vendor's clock.
    sent.sim.post("set?clock=0s&date=off");
    let ran = sent.home.check(&["retract", &another.order_id, "--yes"], 5);
    assert!(ran.stdout.contains("carry no Date"), "{}", ran.stdout);
    assert_eq!(sent.sim.deletes().len(), 1);
    sent.sim.post("set?date=on");
    sent.honest_answers_prove_it();
}
