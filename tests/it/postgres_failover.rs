//! Tests of PostgreSQL under a promoted standby, behind pgbouncer in transaction mode, and from machines whose clocks
//! differ.

use crate::index::assert_index_is_truth;
use crate::postgres::{deletes, lose_connections_at_commits, orders, two_machines};
use crate::postgres_cluster::{Bouncer, Cluster};
use crate::support::{Home, Ran, Sim, new_stores, report_skipped, wait_until};

#[test]
fn a_promoted_standby_sends_nothing_until_a_person_accepts_it() {
    let Some(cluster) = Cluster::start() else { return };
    let sim = Sim::start(&["--participants", "400"]);
    let (one, other) = (Home::new(&sim).on(&cluster.address()), Home::new(&sim).on(&cluster.address()));
    one.crawl();
    let orders = orders(&sim, 3);
    one.check(&["retract", &orders[0], "--yes"], 0);
    cluster.cut_off_the_standby();
    // The standby does not have this one.
    one.check(&["retract", &orders[1], "--yes"], 0);
    cluster.fail_over();
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
    other.check(&["audit", "verify"], 0);
}

#[test]
fn a_crawl_does_not_go_on_after_a_failover_and_the_next_one_leaves_no_gap() {
    let Some(cluster) = Cluster::start() else { return };
    let sim = Sim::start(&["--participants", "600", "--latency", "60ms"]);
    let (one, other) = (Home::new(&sim).on(&cluster.address()), Home::new(&sim).on(&cluster.address()));
    one.configure_more("[crawl]\nbatch = 10");
    let args = ["crawl", "--source", "participants", "--concurrency", "4", "--json"];
    let crawling = one.command(&args).spawn().expect("starts");
    let read = || {
        let ran = other.run(&["status", "--json"]);
        if ran.code == Some(0) { ran.object()["coverage"]["accounts_read"].as_u64().unwrap_or(0) } else { 0 }
    };
    wait_until("some accounts are read", || read() > 20);
    cluster.cut_off_the_standby();
    let before = read();
    wait_until("more accounts are read, which the standby does not have", || read() > before + 30);
    cluster.fail_over();
    let ran = Ran::of(&args, crawling.wait_with_output().expect("ends"));
    assert_ne!(ran.code, Some(0), "it went on: {ran:?}");
    other.check(&["crawl", "--source", "participants", "--wait-for-lock", "--json"], 0);
    assert_index_is_truth(&other, &sim);
}

/// Returns the address of a server through pgbouncer, and its `host:port`.
fn through_pgbouncer(address: &str) -> Option<(Bouncer, String, String)> {
    let server = address.split(['@', '/']).find(|part| part.contains(':') && !part.contains("postgres"));
    let server = server.expect("a host");
    let bouncer = Bouncer::start(server)?;
    let pooled = format!("127.0.0.1:{}", bouncer.port);
    let address = address.replace(server, &pooled);
    Some((bouncer, address, pooled))
}

#[test]
fn everything_works_behind_pgbouncer_in_transaction_mode() {
    let Some(address) = new_stores() else { return };
    let Some((_bouncer, address, _)) = through_pgbouncer(&address) else { return };
    let sim = Sim::start(&["--participants", "400"]);
    let (one, other) = (Home::new(&sim).on(&address), Home::new(&sim).on(&address));
    one.crawl();
    assert_index_is_truth(&other, &sim);
    let orders = orders(&sim, 12);
    let mut args = vec!["retract", "--yes", "--json", "--wait", "10s"];
    args.extend(orders.iter().map(String::as_str));
    let running = [&one, &other].map(|home| home.command(&args).spawn().expect("starts"));
    for child in running {
        let ran = Ran::of(&args, child.wait_with_output().expect("ends"));
        assert!(matches!(ran.code, Some(0 | 5 | 6 | 7)), "{ran:?}");
    }
    let counts = deletes(&sim);
    assert!(counts.len() >= 5 && counts.values().all(|count| *count == 1), "{counts:?}");
    other.check(&["audit", "verify"], 0);
    // A server for tests may run without fsync, which doctor rightly calls a failure.
    let doctor = other.run(&["doctor"]);
    let failed: Vec<&str> = doctor.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(failed.iter().all(|line| line.starts_with("FAIL durability")), "{doctor:?}");
    assert!(doctor.stdout.contains("ok   chain of the ledger"), "{doctor:?}");
}

#[test]
fn a_connection_that_pgbouncer_loses_at_any_commit_sends_nothing_twice() {
    let Some((sim, direct, proxied, address)) = two_machines(&[]) else { return };
    let Some((_bouncer, _, pooled)) = through_pgbouncer(&address) else { return };
    lose_connections_at_commits(&sim, &direct, proxied, &address, &pooled);
}

/// A machine whose clock differs by this many seconds.
fn machine(sim: &Sim, address: &str, seconds: i64) -> Option<Home> {
    let libraries = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let mut paths = libraries.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let Some(library) = paths.find(|path| path.exists()) else {
        report_skipped("this test needs Debian's package libfaketime");
        return None;
    };
    let home = Home::new(sim).on(address).set("LD_PRELOAD", library.to_str().expect("UTF-8"));
    Some(home.set("FAKETIME", &format!("{seconds:+}s")).set("DONT_FAKE_MONOTONIC", "1"))
}

/// recoup sends nothing from a clock that is more than five minutes wrong, so each clock is nearly that wrong.
fn two_clocks(sim: &Sim) -> Option<[Home; 2]> {
    let address = new_stores()?;
    Some([machine(sim, &address, -290)?, machine(sim, &address, 290)?])
}

#[test]
fn machines_with_clocks_ten_minutes_apart_share_one_quota() {
    let sim = Sim::start(&["--participants", "600"]);
    let Some([behind, ahead]) = two_clocks(&sim) else { return };
    for home in [&behind, &ahead] {
        home.configure("[advocate]\nquota = '100/h'\nreserve = 0\nmax_wait = '1s'\n[retract]\nwait = '5s'\n");
    }
    for home in [&behind, &ahead, &behind, &ahead] {
        let ran = home.run(&["crawl", "--source", "participants", "--json"]);
        assert_eq!(ran.code, Some(8), "the quota is used up: {ran:?}");
        assert!(sim.requests() <= 100, "{} requests", sim.requests());
    }
    assert!(sim.requests() >= 60, "{} requests", sim.requests());
}

#[test]
fn a_request_without_an_answer_is_not_settled_early_by_a_machine_whose_clock_is_ahead() {
    let sim = Sim::start(&["--participants", "400", "--delete-fault", "reset-before"]);
    let Some([behind, ahead]) = two_clocks(&sim) else { return };
    for home in [&behind, &ahead] {
        // Less than the clocks differ, and more than this test takes.
        home.configure_more("list_after = '8m'");
        home.configure_more("list_gap = '8m'");
    }
    behind.crawl();
    let order = orders(&sim, 1).remove(0);
    let sent = behind.run(&["retract", &order, "--yes", "--json", "--wait", "300ms"]);
    assert_eq!(sent.state(), "unknown", "{sent:?}");
    for home in [&ahead, &behind, &ahead] {
        let verified = home.run(&["verify", "--json"]);
        assert_eq!(verified.state(), "unknown", "{verified:?}");
    }
}
