//! Tests that a reversal is never sent twice, never sent for another order, and never reported as done before it is.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Home, Ran, Sim, ready};

#[test]
fn an_order_refused_meanwhile_is_not_sent_again_without_resend() {
    let (sim, home) = ready(&["--delete-fault", "400", "--latency", "100ms"]);
    let order = sim.example("plain");
    let args = ["retract", order.order_id.as_str(), "--yes", "--json"];
    let running: Vec<_> = (0..4).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    for child in running {
        Ran::of(&args, child.wait_with_output().expect("it ends")).expect(1);
    }
    assert_eq!(sim.deletes().len(), 1, "{:?}", sim.deletes());
}

#[test]
fn a_configured_ledger_is_used_whatever_the_index_is_called() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    if home.skip_on_server("it names a file of the ledger") {
        return;
    }
    let order = sim.example("plain");
    let (top, rest) = (format!("ledger = '{}'\n", home.path("audit.db").display()), home.path("recoup.toml"));
    let rest = std::fs::read_to_string(rest).expect("the configuration");
    home.configure(&(top + rest.as_str()));
    home.check(&["retract", &order.order_id, "--yes", "--wait", "100ms"], 7);
    std::fs::copy(home.database(), home.path("other.db")).expect("a copy");
    let other = home.path("other.db").display().to_string();
    home.check(&["retract", &order.order_id, "--yes", "--wait", "100ms", "--database", &other], 7);
    assert_eq!(sim.deletes().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_to_the_index_is_the_same_index() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    if home.skip_on_server("it links files") {
        return;
    }
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--wait", "100ms"], 7);
    std::os::unix::fs::symlink(home.database(), home.path("link.db")).expect("a link");
    let link = home.path("link.db").display().to_string();
    home.check(&["retract", &order.order_id, "--yes", "--wait", "100ms", "--database", &link], 7);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_index_with_a_missing_empty_or_other_ledger_refuses_to_send() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it replaces the ledger's file") {
        return;
    }
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 0);
    let files = ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"];
    let remove = || files.iter().for_each(|file| drop(std::fs::remove_file(home.path(file))));
    let args = ["retract", order.order_id.as_str(), "--yes", "--json"];
    remove();
    assert_eq!(home.check(&args, 3).error_kind(), "identity");
    std::fs::write(home.ledger(), "").expect("a failed restore");
    assert_eq!(home.check(&args, 3).error_kind(), "identity");
    remove();
    // The test replaces the ledger by a new ledger that belongs to another index.
    let elsewhere = home.path("elsewhere.db").display().to_string();
    home.check(&["crawl", "--source", "participants", "--database", &elsewhere], 0);
    let second = sim.truth().into_iter().find(|r| r["state"] == "available" && r["action_ids"][0].is_string());
    let second = second.expect("another order")["order_ids"][0].as_str().expect("text").to_owned();
    home.run(&["retract", &second, "--all", "--yes", "--database", &elsewhere]);
    std::fs::rename(home.path("elsewhere-ledger.db"), home.ledger()).expect("moved");
    assert_eq!(home.check(&args, 3).error_kind(), "identity");
    let action = order.action_ids[0].as_str();
    let sent = sim.deletes().iter().filter(|delete| delete["params"]["ActionId"] == action).count();
    assert_eq!(sent, 1);
}

#[test]
fn one_order_is_not_sent_under_two_action_trackers() {
    let (sim, home) = ready(&["--participants", "3000", "--complete-delay", "1h"]);
    let order = sim.example("no_action");
    let with =
        |tracker: &str| home.run(&["retract", &order.order_id, "--yes", "--wait", "50ms", "--action-tracker", tracker]);
    with(&order.action_tracker_id).expect(7);
    with("222").expect(7);
    for malformed in ["", "1:2", "12a", " 1"] {
        with(malformed).expect(2);
    }
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_old_proof_falls_if_the_rewards_contradict_it() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 0);
    let port = sim.addr.rsplit(':').next().expect("a port").to_owned();
    drop(sim);
    // The new simulator is the same tenant, but its reward is not cancelled.
    let sim = Sim::start(&["--participants", "400", "--port", &port]);
    home.check(&["crawl", "--source", "participants", "--full"], 0);
    let status = home.check(&["status"], 0).stdout;
    assert!(status.contains("ATTENTION"), "{status}");
    let again = home.check(&["retract", &order.order_id, "--yes", "--json"], 7);
    assert_eq!(again.state(), "unconfirmed");
    assert_eq!(home.check(&["verify", "1", "--json"], 7).state(), "unconfirmed");
    assert_eq!(sim.deletes().len(), 0, "and it is not sent again by itself");
}

#[test]
fn a_reward_that_was_cancelled_before_is_no_proof() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "reset-before"]);
    let order = sim.example("plain");
    sim.cancel_reward(&order.reward_ids[0]);
    home.check(&["retract", &order.order_id, "--yes", "--wait", "50ms"], 7);
    sim.post(&format!("redeem?id={}", order.reward_ids[1]));
    let verified = home.check(&["verify", "--json"], 7);
    assert_eq!(verified.state(), "unknown", "nothing was taken back, and the DELETE never arrived");
}

#[test]
fn refused_credentials_stop_the_other_actions_of_an_order_too() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "401"]);
    let order = sim.example("two_actions");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--all", "--json"], 3);
    assert_eq!(ran.error_kind(), "credentials");
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(ran.object()["retractions"][0]["sent_at"], serde_json::Value::Null, "nothing reached the vendor");
}

#[test]
fn an_unreadable_submission_leaves_the_decision_to_the_rewards() {
    let (sim, home) = ready(&["--queued-uri-host", "http://127.0.0.1:9"]);
    home.configure_more("settle = '1ms'");
    let order = sim.example("plain");
    home.run(&["retract", &order.order_id, "--yes", "--wait", "300ms"]);
    let verified = home.run(&["verify", "1", "--watch", "--wait", "20s", "--json"]);
    assert_eq!(verified.state(), "confirmed", "{verified:?}");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_limit_that_lasts_too_long_parks_and_sends_nothing() {
    let (sim, home) = ready(&["--delete-fault", "429"]);
    let toml = std::fs::read_to_string(home.path("recoup.toml")).expect("the configuration");
    home.configure(&toml.replace("[brand]\n", "[brand]\nmax_wait = '0s'\n"));
    let order = sim.example("plain");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 8);
    assert_eq!(ran.state(), "planned");
    home.configure(&toml);
    assert_eq!(home.check(&["retract", &order.order_id, "--yes", "--json"], 0).state(), "confirmed");
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["retractions"], serde_json::json!({"confirmed": 1}));
}

#[test]
fn several_orders_each_get_their_own_result() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let ran = home.check(&["retract", "no such order", &order.order_id, "--yes", "--json"], 4);
    let objects = ran.objects();
    assert_eq!(objects.len(), 3, "{objects:?}");
    assert_eq!(objects[0]["order_id"], "no such order");
    assert_eq!(objects[0]["error"]["kind"], "not_indexed");
    assert_eq!(objects[1]["retractions"][0]["state"], "confirmed");
    assert_eq!(ran.error_kind(), "not_indexed");
}

/// Runs a command on a terminal of its own and types an answer.
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that is skipped says so, and CI skips none"
)]
fn on_a_terminal(home: &Home, args: &[&str], answer: &str) -> Option<Ran> {
    let inner = home.command(args);
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"));
    let line: Vec<String> = std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script
        .args(["-qec", &line.join(" "), "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match script.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            println!("skipped: no `script` on this machine to make a terminal with");
            return None;
        }
        Err(error) => panic!("script: {error}"),
    };
    child.stdin.take().expect("its terminal").write_all(answer.as_bytes()).expect("the answer");
    Some(Ran::of(args, child.wait_with_output().expect("it ends")))
}

#[cfg(target_os = "linux")]
#[test]
fn a_person_is_shown_everything_and_no_is_the_default() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    for answer in ["\n", "n\n", "maybe\n"] {
        // Even with --quiet, recoup shows the plan before it asks.
        let Some(ran) = on_a_terminal(&home, &["retract", &order.order_id, "-q"], answer) else { return };
        ran.expect(5);
        for part in ["tenant simulator (Account SID SIMULATOR)", &order.action_ids[0], "cannot be undone", "Amount=0"] {
            assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
        }
    }
    assert_eq!(sim.deletes().len(), 0);
    assert!(!home.has_ledger());
    let ran = on_a_terminal(&home, &["retract", &order.order_id], "y\n").expect("a terminal");
    ran.expect(0);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_refusal_is_not_forgotten_by_the_next_run() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    sim.post(&format!("delete-reward?id={}", order.reward_ids[0]));
    for args in [["--dry-run", "-q"], ["--yes", "-q"], ["--yes", "-q"]] {
        let ran = home.check(&["retract", &order.order_id, args[0], args[1]], 5);
        assert!(ran.stderr.contains("no longer exists"), "{}", ran.stderr);
    }
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn without_the_index_the_ledger_speaks_only_of_what_it_sent() {
    let (sim, home) = ready(&["--participants", "3000"]);
    if home.skip_on_server("it removes the index's file") {
        return;
    }
    let order = sim.example("two_actions");
    home.check(&["retract", &order.order_id, "--yes", "--action-id", &order.action_ids[0]], 0);
    std::fs::remove_file(home.database()).expect("the index");
    home.check(&["retract", &order.order_id, "--yes", "--action-id", &order.action_ids[1]], 4);
    home.check(&["retract", &order.order_id, "--yes", "--all"], 4);
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    assert_eq!(ran.object()["retractions"][0]["action_id"], order.action_ids[0].as_str());
    assert!(ran.stdout.contains("it may have other actions"), "{}", ran.stdout);
    assert!(!home.database().exists(), "looking makes no index");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn an_older_copy_of_the_ledger_refuses_to_send() {
    let (sim, home) = ready(&["--participants", "3000"]);
    if home.skip_on_server("it restores a copy of a file") {
        return;
    }
    let first = sim.example("plain");
    home.check(&["retract", &first.order_id, "--yes"], 0);
    let backup = std::fs::read(home.ledger()).expect("a backup");
    let second = sim.example("redeemed");
    home.check(&["retract", &second.order_id, "--yes"], 0);
    for file in ["recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    std::fs::write(home.ledger(), backup).expect("a restore");
    let ran = home.check(&["retract", &second.order_id, "--yes", "--json"], 3);
    assert_eq!(ran.error_kind(), "identity");
    assert!(ran.stderr.contains("older copy"), "{}", ran.stderr);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn refused_credentials_stop_the_other_orders_too() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "401"]);
    let (one, two) = (sim.example("plain"), sim.example("redeemed"));
    let ran = home.check(&["retract", &one.order_id, &two.order_id, "--yes", "--json"], 3);
    assert_eq!(sim.deletes().len(), 1);
    let objects = ran.objects();
    assert_eq!(objects[0]["error"]["kind"], "credentials");
    assert_eq!(objects[1]["order_id"], two.order_id.as_str());
    assert!(objects[1]["error"]["message"].as_str().is_some_and(|text| text.contains("nothing was sent")), "{ran:?}");
}

#[test]
fn an_attempt_that_was_never_sent_does_not_hide_the_refusal_before_it() {
    let (sim, home) = ready(&["--delete-fault", "400"]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 1);
    sim.post("set?delete-fault=401");
    home.check(&["retract", &order.order_id, "--yes", "--resend", "--reason", "mended"], 3);
    home.check(&["verify", "2"], 1);
    sim.post("set?delete-fault=none");
    let ran = home.check(&["retract", &order.order_id, "--yes", "--json"], 1);
    assert_eq!(ran.error_kind(), "vendor_refused");
    assert_eq!(sim.deletes().len(), 2);
    home.check(&["retract", &order.order_id, "--yes", "--resend", "--reason", "mended"], 0);
}

#[test]
fn a_missing_submission_with_uncancelled_rewards_ends_unconfirmed() {
    let (sim, home) = ready(&["--queued-uri-host", "http://127.0.0.1:9", "--rule-works", "off"]);
    home.configure_more("settle = '1ms'");
    let order = sim.example("plain");
    home.run(&["retract", &order.order_id, "--yes", "--wait", "200ms"]);
    let verified = home.check(&["verify", "1", "--watch", "--wait", "300ms", "--json"], 7);
    assert_eq!(verified.state(), "unconfirmed");
    assert!(verified.stdout.contains("Friend refunds a purchase"), "what to check: {}", verified.stdout);
}
