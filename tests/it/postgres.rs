//! Tests of stores on a PostgreSQL server: nothing is sent twice, whatever happens to processes, machines, connections
//! and the server.
//!
//! `TEST_POSTGRES` is the address of the PostgreSQL server. With `TEST_STORES=postgres`, the other tests also use the
//! PostgreSQL server.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::index::assert_index_is_truth;
use crate::postgres_proxy::{Cut, Proxy};
use crate::support::{Home, Ran, Sim, new_stores, size};

/// Starts a simulator, and two homes that share its stores like two machines and have crawled it.
pub fn two_machines(flags: &[&str]) -> Option<(Sim, Home, Home, String)> {
    let address = new_stores()?;
    let mut all = vec!["--participants", "400"];
    all.extend(flags);
    let sim = Sim::start(&all);
    let (one, other) = (Home::new(&sim).on(&address), Home::new(&sim).on(&address));
    one.crawl();
    Some((sim, one, other, address))
}

/// Returns order IDs with one action each, whose rewards can be cancelled.
pub fn orders(sim: &Sim, count: usize) -> Vec<String> {
    let mut by_order: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut unfit = BTreeSet::new();
    for reward in sim.truth() {
        let of = |key: &str| -> Vec<String> {
            reward[key].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
        };
        let (orders, actions) = (of("order_ids"), of("action_ids"));
        let is_fit = reward["state"] == "available" && orders.len() == 1 && actions.len() == 1;
        for order in orders {
            if is_fit {
                by_order.entry(order).or_default().extend(actions.clone());
            } else {
                unfit.insert(order);
            }
        }
    }
    let is_plain = |order: &str| order.bytes().all(|byte| byte.is_ascii_alphanumeric());
    by_order.retain(|order, actions| actions.len() == 1 && !unfit.contains(order) && is_plain(order));
    by_order.into_keys().take(count).collect()
}

/// Returns the number of received DELETEs for each action.
pub fn deletes(sim: &Sim) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for delete in sim.deletes() {
        *counts.entry(delete["params"]["ActionId"].to_string()).or_default() += 1;
    }
    counts
}

fn psql(address: &str, sql: &str) -> String {
    let server = address.split('?').next().expect("a server");
    text(Command::new("psql").args([server, "-XAtc", sql]).output().expect("psql runs"))
}

#[track_caller]
fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn schema_of(address: &str) -> &str {
    address.rsplit_once("schema=").expect("a schema").1
}

fn events(home: &Home) -> Vec<Value> {
    home.check(&["audit", "export"], 0).objects()
}

#[test]
fn a_retraction_is_proven_and_the_next_machine_knows_it() {
    let Some((sim, one, other, _)) = two_machines(&[]) else { return };
    let order = sim.example("plain").order_id;
    assert_eq!(one.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
    assert_eq!(other.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
    other.check(&["audit", "verify"], 0);
}

#[test]
fn two_machines_that_race_over_the_same_orders_send_each_once() {
    let Some((sim, one, other, _)) = two_machines(&[]) else { return };
    let orders = orders(&sim, size("TEST_ORDERS", 20));
    assert!(orders.len() >= 10, "{orders:?}");
    let mut args = vec!["retract", "--yes", "--json", "--wait", "10s"];
    args.extend(orders.iter().map(String::as_str));
    let running = [&one, &other].map(|home| home.command(&args).spawn().expect("starts"));
    for (home, child) in [&one, &other].into_iter().zip(running) {
        let ran = Ran::of(&args, child.wait_with_output().expect("ends"));
        assert!(matches!(ran.code, Some(0 | 5 | 6 | 7)), "{ran:?}");
        home.check(&["audit", "verify"], 0);
    }
    let counts = deletes(&sim);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    // The vendor has locked some of the actions, so recoup does not send their reversal.
    let sent = events(&one).iter().filter(|event| event["state"] == "sending").count();
    assert!(counts.len() >= 5 && counts.len() == sent, "{counts:?}, {sent} sent");
}

#[test]
fn a_lost_connection_at_any_commit_sends_nothing_twice() {
    let Some((sim, direct, proxied, address)) = two_machines(&[]) else { return };
    let server = address.split(['@', '/']).find(|part| part.contains(':') && !part.contains("postgres"));
    lose_connections_at_commits(&sim, &direct, proxied, &address, server.expect("a host"));
}

/// Retracts orders through a proxy before `upstream`, which cuts the connection at a commit.
pub fn lose_connections_at_commits(sim: &Sim, direct: &Home, proxied: Home, address: &str, upstream: &str) {
    let server = address.split(['@', '/']).find(|part| part.contains(':') && !part.contains("postgres"));
    let proxy = Proxy::start(upstream);
    let through = address.replace(server.expect("a host"), &format!("127.0.0.1:{}", proxy.port));
    let proxied = proxied.on(&through);
    let mut orders = orders(sim, usize::MAX).into_iter();
    let retract = |home: &Home, order: &str| home.run(&["retract", order, "--yes", "--json", "--wait", "1s"]);
    let first = orders.next().expect("an order");
    proxy.arm(None);
    retract(&proxied, &first);
    let commits = proxy.commits();
    assert!(commits > 5, "{commits} commits");
    // Each cut that hits a lock costs the seconds after which the lock expires.
    let step = size("TEST_CUT_STEP", commits.div_ceil(4));
    for (offset, cut) in [Cut::Before, Cut::After, Cut::Late].into_iter().enumerate() {
        for nth in (1 + offset % step..=commits).step_by(step) {
            let order = orders.next().expect("enough orders");
            let before = sim.deletes().len();
            proxy.arm(Some((nth, cut)));
            let cut_off = retract(&proxied, &order);
            proxy.arm(None);
            let sent = sim.deletes().len() - before;
            let again = retract(direct, &order);
            let total = sim.deletes().len() - before;
            let what = format!("{cut:?} {nth}: {cut_off:?}\n{again:?}");
            assert!(sent <= total && total <= 1, "{what}");
            // The ledger has every request that was sent. recoup does not report a request as sent that was not.
            let is_known = events(direct).iter().any(|event| event["order_id"] == order.as_str());
            assert!(total == 0 || is_known, "{what}");
            assert!(again.code != Some(0) || total == 1, "{what}");
        }
    }
    direct.check(&["audit", "verify"], 0);
    assert!(deletes(sim).values().all(|count| *count == 1));
}

#[test]
fn a_restored_dump_sends_nothing_until_a_person_accepts_it() {
    let Some((sim, one, other, address)) = two_machines(&[]) else { return };
    let orders = orders(&sim, 3);
    one.check(&["retract", &orders[0], "--yes"], 0);
    let (server, schema) = (address.split('?').next().expect("a server"), schema_of(&address));
    let dump = one.path("dump.sql");
    text(
        Command::new("pg_dump")
            .args([server, "-f"])
            .arg(&dump)
            .args(["-n", &format!("{schema}_*")])
            .output()
            .expect("runs"),
    );
    // This retraction is after the dump, so the dump lacks it.
    one.check(&["retract", &orders[1], "--yes"], 0);
    psql(&address, &format!("CREATE DATABASE {schema}_restored"));
    let restored = server.rsplit_once('/').expect("a database").0.to_owned() + &format!("/{schema}_restored");
    text(Command::new("psql").args([&restored, "-Xqf"]).arg(&dump).output().expect("runs"));
    let other = other.on(&address.replace(server, &restored));
    for order in &orders {
        let refused = other.check(&["retract", order, "--yes", "--json"], 3);
        assert_eq!(refused.error_kind(), "identity", "{refused:?}");
    }
    assert_eq!(sim.deletes().len(), 2);
    other.check(&["ledger", "accept", "--yes", "--ticket", "T1"], 0);
    for order in &orders {
        other.run(&["retract", order, "--yes"]);
    }
    let counts = deletes(&sim);
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn a_copy_of_the_database_in_the_same_cluster_sends_nothing_until_a_person_accepts_it() {
    let Some(address) = new_stores() else { return };
    let (server, schema) = (address.split('?').next().expect("a server").to_owned(), schema_of(&address).to_owned());
    let folder = server.rsplit_once('/').expect("a database").0;
    // No session may use a database while it is copied, so the stores have a database of their own.
    psql(&address, &format!("CREATE DATABASE {schema}_original"));
    let (original, copy) = (format!("{folder}/{schema}_original"), format!("{folder}/{schema}_copy"));
    let sim = Sim::start(&["--participants", "400"]);
    let (one, other) = (
        Home::new(&sim).on(&address.replace(&server, &original)),
        Home::new(&sim).on(&address.replace(&server, &copy)),
    );
    one.crawl();
    let orders = orders(&sim, 2);
    one.check(&["retract", &orders[0], "--yes"], 0);
    psql(&address, &format!("CREATE DATABASE {schema}_copy TEMPLATE {schema}_original"));
    // The copy does not know this one.
    one.check(&["retract", &orders[1], "--yes"], 0);
    for order in &orders {
        let refused = other.check(&["retract", order, "--yes", "--json"], 3);
        assert_eq!(refused.error_kind(), "identity", "{refused:?}");
    }
    assert_eq!(sim.deletes().len(), 2);
    other.check(&["ledger", "accept", "--yes", "--ticket", "T1"], 0);
    for order in &orders {
        other.run(&["retract", order, "--yes"]);
    }
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn the_same_tenant_gives_the_same_answers_on_both_engines() {
    let Some((sim, on_server, _, _)) = two_machines(&[]) else { return };
    let on_files = Home::new(&sim).set("RECOUP_DATABASE", "");
    on_files.crawl();
    let orders = orders(&sim, 40);
    let mut args = vec!["lookup", "--json"];
    args.extend(orders.iter().map(String::as_str));
    let answers = |home: &Home| -> Vec<Value> {
        let mut objects = home.check(&args, 0).objects();
        for object in &mut objects {
            // Times are removed, because the two crawls ran at different times.
            without_times(object);
            // The crawls read the accounts in different orders.
            let matches = object["matches"].as_array_mut().expect("a list");
            matches.sort_by_key(|one| one["reward_id"].to_string());
        }
        objects
    };
    assert_eq!(answers(&on_server), answers(&on_files));
}

#[test]
fn the_index_on_a_server_equals_the_truth_for_each_source() {
    for source in ["participants", "graphql", "export"] {
        let Some(address) = new_stores() else { return };
        let sim = Sim::start(&["--participants", "300"]);
        let home = Home::new(&sim).on(&address);
        home.check(&["crawl", "--source", source], 0);
        assert_index_is_truth(&home, &sim);
    }
}

#[test]
fn a_text_with_nul_counts_as_unreadable_and_does_not_stop_a_crawl() {
    let Some(address) = new_stores() else { return };
    let sim = Sim::start(&["--participants", "100"]);
    let rewards = sim.truth();
    let id = |n: usize| rewards[n]["reward_id"].as_str().expect("an ID");
    sim.rewrite(id(0), &json!({"set": {"orderNumber": "a\0b"}}));
    sim.rewrite(id(1), &json!({"set": {"name": "a\0b", "currency": "\0"}}));
    sim.rewrite(id(2), &json!({"set": {"accountId": "a\0b"}}));
    let home = Home::new(&sim).on(&address);
    let crawled = home.run(&["crawl", "--source", "participants", "--json"]);
    assert_eq!(crawled.code, Some(6), "{crawled:?}");
    let result = crawled.object();
    assert_eq!((result["unreadable"].as_u64(), result["complete"].as_bool()), (Some(1), Some(false)), "{result}");
    assert!(result["unusable"].as_u64().is_some_and(|unusable| unusable >= 1), "{result}");
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !key.ends_with("as_of") && !key.ends_with("read_at") && !key.contains("age"));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

#[test]
fn the_ledger_on_a_server_cannot_be_changed_or_emptied() {
    let Some((sim, one, _, address)) = two_machines(&[]) else { return };
    one.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
    let (server, schema) = (address.split('?').next().expect("a server"), schema_of(&address));
    for sql in
        ["UPDATE events SET person = 'x'", "DELETE FROM events", "TRUNCATE events CASCADE", "DELETE FROM retractions"]
    {
        let sql = format!("SET search_path TO {schema}_ledger; {sql}");
        let ran = Command::new("psql").args([server, "-XAtc", &sql]).output().expect("psql runs");
        let error = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(error.contains("the ledger is append-only"), "{sql}: {error}");
    }
    one.check(&["audit", "verify"], 0);
}

#[test]
fn a_server_that_cannot_be_reached_is_reported_without_the_password() {
    let sim = Sim::start(&["--participants", "50"]);
    let home = Home::new(&sim).on("postgres://ann:Zq7secret@127.0.0.1:1/shop?sslmode=disable");
    for args in [
        &["lookup", "1001"][..],
        &["retract", "1001", "--yes"],
        &["status"],
        &["doctor"],
        &["crawl"],
        &["-vv", "lookup", "1"],
    ] {
        let ran = home.run(args);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(!format!("{ran:?}").contains("Zq7"), "{ran:?}");
    }
    let ran = home.check(&["lookup", "1001"], 1);
    assert!(ran.stderr.contains("cannot be reached") && ran.stderr.contains("hint"), "{ran:?}");
    assert!(!home.check(&["config", "show"], 0).stdout.contains("Zq7"));
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_password_in_a_flag_is_refused_and_one_in_a_file_is_used() {
    let sim = Sim::start(&["--participants", "50"]);
    let home = Home::new(&sim);
    let address = "postgres://ann:Zq7secret@127.0.0.1:1/shop";
    let refused = home.check(&["lookup", "1001", "--database", address], 3);
    assert!(refused.stderr.contains("holds a password") && !refused.stderr.contains("Zq7"), "{refused:?}");
    std::fs::write(home.path("address"), format!("{address}\n")).expect("a file");
    let path = home.path("address").display().to_string();
    let home = home.set("RECOUP_DATABASE_FILE", &path);
    let both = home.check(&["lookup", "1001"], 3);
    assert!(both.stderr.contains("both RECOUP_DATABASE and"), "{both:?}");
    let ran = home.command(&["config", "show"]).env("RECOUP_DATABASE", "").output().expect("runs");
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(shown.contains("postgres://ann@127.0.0.1:1/shop") && !shown.contains("Zq7"), "{shown}");
}

#[test]
fn a_killed_crawl_continues_on_another_machine() {
    let Some(address) = new_stores() else { return };
    let sim = Sim::start(&["--participants", "300", "--latency", "20ms"]);
    let (one, other) = (Home::new(&sim).on(&address), Home::new(&sim).on(&address));
    let args = ["crawl", "--source", "participants", "--json"];
    let mut killed = one.command(&args).spawn().expect("starts");
    crate::support::wait_until("some accounts are read", || {
        let ran = other.run(&["status", "--json"]);
        ran.code == Some(0) && ran.object()["coverage"]["accounts_read"].as_u64().is_some_and(|read| read > 20)
    });
    killed.kill().expect("killed");
    killed.wait().expect("ends");
    let before = sim.requests();
    let mut waiting = args.to_vec();
    waiting.push("--wait-for-lock");
    other.check(&waiting, 0);
    let whole = Home::new(&sim).set("RECOUP_DATABASE", "");
    let after = sim.requests();
    whole.crawl();
    assert!(after - before < sim.requests() - after, "it continued instead of starting again");
    let orders = orders(&sim, 10);
    for order in &orders {
        other.check(&["lookup", order], 0);
    }
}

/// Tests with crash points of the feature `failpoints`.
#[cfg(feature = "failpoints")]
mod crashes {
    use super::*;
    use crate::support::wait_until;

    #[test]
    fn a_process_that_dies_at_any_step_sends_nothing_twice_from_another_machine() {
        for (point, sent) in [("planned", 0), ("committed", 0), ("sending", 0), ("answered", 1), ("queued", 1)] {
            let Some((sim, one, other, _)) = two_machines(&[]) else { return };
            let order = sim.example("plain").order_id;
            let one = one.set("RECOUP_CRASH_AT", point);
            let crashed = one.run(&["retract", &order, "--yes"]);
            assert_eq!(crashed.code, None, "{point}: {crashed:?}");
            assert_eq!(sim.deletes().len(), sent, "{point}");
            let again = other.run(&["retract", &order, "--yes", "--json", "--wait", "10s"]);
            other.run(&["verify", "--json"]);
            let total = sim.deletes().len();
            assert!(total <= 1, "{point}: {again:?}");
            // Only a crash before the commit of the intent allows the other machine to send.
            assert_eq!(total, usize::from(sent == 1 || point == "planned"), "{point}: {again:?}");
            other.check(&["audit", "verify"], 0);
        }
    }

    /// Starts a command, and returns when it has reached the crash point that stops it, as when the machine sleeps.
    fn asleep(home: &Home, args: &[&str]) -> std::process::Child {
        let mut sleeping = home.command(args).spawn().expect("starts");
        let stat = format!("/proc/{}/stat", sleeping.id());
        wait_until("the process has stopped", || {
            assert!(sleeping.try_wait().expect("a child").is_none(), "it ended: {:?}", home.run(args));
            std::fs::read_to_string(&stat)
                .is_ok_and(|text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        });
        sleeping
    }

    #[test]
    fn a_line_that_was_released_while_the_machine_slept_is_in_no_file() {
        let Some((sim, one, other, _)) = two_machines(&[]) else { return };
        let order = orders(&sim, 1).remove(0);
        let one = one.set("RECOUP_CRASH_AT", "stop-handed_over");
        let out = one.path("reversals.csv");
        let args = ["file", "write", &order, "--out", out.to_str().expect("UTF-8"), "--yes"];
        let sleeping = asleep(&one, &args);
        let is_handed_over = events(&other).iter().any(|event| event["state"] == "handed_over");
        assert!(is_handed_over, "{:?}", events(&other));
        other.check(&["file", "release", "1", "--ticket", "T1"], 0);
        text(Command::new("kill").args(["-CONT", &sleeping.id().to_string()]).output().expect("kill runs"));
        let woken = Ran::of(&args, sleeping.wait_with_output().expect("ends"));
        assert!(woken.code != Some(0) && woken.stderr.contains("no file was written"), "{woken:?}");
        assert!(!woken.stderr.contains("could not be released"), "{woken:?}");
        assert!(
            std::fs::read_to_string(&out).is_ok_and(|text| text.is_empty()) || !out.exists(),
            "the file has the line"
        );
        other.check(&["audit", "verify"], 0);
    }

    #[test]
    fn a_machine_that_slept_after_it_recorded_the_request_does_not_send_it() {
        let Some((sim, one, other, _)) = two_machines(&[]) else { return };
        let order = sim.example("plain").order_id;
        let one = one.set("RECOUP_CRASH_AT", "stop-sending");
        let args = ["retract", &order, "--yes", "--json", "--wait", "5s"];
        let sleeping = asleep(&one, &args);
        wait_until("another machine has taken over", || {
            let ran = other.run(&["verify", "--json"]);
            ran.code.is_some() && ran.stdout.contains("unknown")
        });
        text(Command::new("kill").args(["-CONT", &sleeping.id().to_string()]).output().expect("kill runs"));
        let woken = Ran::of(&args, sleeping.wait_with_output().expect("ends"));
        assert_eq!(sim.deletes().len(), 0, "{woken:?}");
        assert!(woken.stderr.contains("nothing was sent") || woken.stdout.contains("nothing was sent"), "{woken:?}");
        other.check(&["audit", "verify"], 0);
    }
}
