//! Tests of the quota as a budget: all processes share it, it survives restarts, and recoup never exceeds it.
//!
//! The tests assert the requests that the simulator recorded, exit codes, and the output of `recoup status`.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Home, Ran, Sim, wait_until};

/// Configures a home with these settings for the two hosts, and the default start concurrency.
fn home(sim: &Sim, advocate: &str, brand: &str) -> Home {
    let home = Home::new(sim);
    configure(&home, advocate, brand);
    home
}

fn configure(home: &Home, advocate: &str, brand: &str) {
    let host = "timeout = '5s'\nbackoff = '500ms'\n";
    home.configure(&format!(
        "[advocate]\n{host}{advocate}\n[brand]\n{host}{brand}\n\
         [retract]\nfirst_poll = '50ms'\nmax_poll = '100ms'\nwait = '10s'\nsettle = '10s'\n"
    ));
}

fn refused(sim: &Sim) -> u64 {
    sim.record()["rate_limited"].as_u64().expect("a count")
}

/// Returns the quota of a host as `recoup status` shows it.
fn quota_of(home: &Home, host: &str) -> Value {
    let status = home.check(&["status", "--json"], 0).object();
    let lines = status["quota"].as_array().cloned().expect("a list");
    let line = lines.into_iter().find(|line| line["host"].as_str().is_some_and(|name| name.starts_with(host)));
    line.unwrap_or_else(|| panic!("no quota of {host}: {status}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_crawl_keeps_the_reserve_and_a_retraction_uses_it() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = home(&sim, "quota = '5000/h'", "quota = '20/h'\nreserve = 0.5\nmax_wait = '1m'");
    home.crawl();
    let quota = quota_of(&home, "advocate");
    let used = number(&quota["used"]);
    assert_eq!(used, sim.requests(), "what was leased and not used was given back");
    assert_eq!((number(&quota["limit"]), number(&quota["left"])), (5000, 5000 - used));
    assert!(used > 200, "{used}");
    // The quota leaves twenty requests, all of them in the reserve.
    let limit = used + 20;
    configure(&home, &format!("quota = '{limit}/h'"), "quota = '20/h'\nreserve = 0.5\nmax_wait = '1m'");
    let ran = home.check(&["crawl", "--source", "participants", "--park", "--json"], 8);
    assert_eq!(ran.error_kind(), "parked");
    assert_eq!(sim.requests(), used, "nothing was asked");
    // Of the Brand API's quota, checks may use ten requests, and ten are the reserve for retractions.
    configure(&home, "quota = 'unlimited'", "quota = '20/h'\nreserve = 0.5\nmax_wait = '1m'");
    for _ in 0..10 {
        home.check(&["doctor"], 0);
    }
    home.check(&["doctor"], 8);
    assert_eq!(sim.record()["requests"]["GET campaigns"], 10);
    configure(&home, &format!("quota = '{}/h'", sim.requests() + 10), "quota = '20/h'\nreserve = 0.5\nmax_wait = '1m'");
    let order = sim.example("plain").order_id;
    assert_eq!(home.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
    let brand = quota_of(&home, "brand");
    assert!(number(&brand["used"]) > 10 && number(&brand["last_hour_retraction"]) > 0, "{brand}");
}

#[test]
fn two_processes_share_one_quota_without_exceeding_it() {
    let sim = Sim::start(&["--participants", "600", "--quota", "150", "--limit-header", "none", "--latency", "5ms"]);
    let home = home(&sim, "quota = '150/h'\nreserve = '0%'", "");
    let mut crawl = home.command(&["crawl", "--source", "participants", "--park"]).spawn().expect("it starts");
    wait_until("the crawl asks", || sim.requests() > 10);
    let lookups: Vec<_> = (0..8)
        .map(|n| {
            let person = format!("nobody-{n}@example.com");
            home.command(&["lookup", "x", "--participant", &person, "--park"]).spawn().expect("it starts")
        })
        .collect();
    for mut lookup in lookups {
        lookup.wait().expect("it ends");
    }
    assert_eq!(crawl.wait().expect("it ends").code(), Some(8));
    assert_eq!(refused(&sim), 0, "the host had no reason to refuse");
    let sent = sim.requests();
    assert!((140..=150).contains(&sent), "{sent}");
    let used = number(&quota_of(&home, "advocate")["used"]);
    assert!(used >= sent, "{used} of {sent}");
}

#[test]
fn the_second_process_obeys_the_pause_of_the_first() {
    let sim = Sim::start(&["--participants", "200", "--quota", "40", "--limit-header", "retry-after"]);
    let home = home(&sim, "", "");
    let ran = home.check(&["crawl", "--source", "participants", "--max-wait", "1m", "--json"], 8);
    assert_eq!(ran.error_kind(), "parked");
    let asked = sim.requests();
    assert!(refused(&sim) > 0);
    home.check(&["crawl", "--source", "participants", "--max-wait", "1m"], 8);
    home.check(&["lookup", "x", "--participant", "ann@example.com", "--park"], 8);
    assert_eq!(sim.requests(), asked, "nobody asked before the time");
    assert_eq!(sim.violations(), Vec::<Value>::new());
    let quota = quota_of(&home, "advocate");
    assert_eq!(quota["wait_reason"], "asked to wait");
    assert!(quota["waiting_until"].is_string(), "{quota}");
}

#[test]
fn a_parked_crawl_resumes_and_stays_within_every_window() {
    let sim = Sim::start(&["--participants", "100", "--quota", "80", "--window", "6s"]);
    let home = home(&sim, "", "");
    home.check(&["crawl", "--source", "participants", "--park"], 8);
    assert!(sim.requests() <= 73, "the reserve is kept: {}", sim.requests());
    let outcome = home.crawl().object();
    assert_eq!(outcome["complete"], true);
    assert!(refused(&sim) <= 1, "{}", refused(&sim));
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn a_crawl_ends_at_max_requests_and_the_next_resumes() {
    let sim = Sim::start(&["--participants", "200"]);
    let home = home(&sim, "", "");
    let ran = home.check(&["crawl", "--source", "participants", "--max-requests", "50", "--json"], 8);
    assert_eq!(ran.error_kind(), "parked");
    assert_eq!(sim.requests(), 50);
    assert!(ran.stdout.contains("--max-requests") && ran.stdout.contains("resumes"), "{}", ran.stdout);
    let outcome = home.crawl().object();
    assert_eq!((&outcome["complete"], &outcome["resumed"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a moment that the binary sees by its own clock")]
fn a_crawl_ends_at_until_and_the_next_resumes() {
    let sim = Sim::start(&["--participants", "600", "--latency", "80ms"]);
    let home = home(&sim, "", "");
    home.check(&["crawl", "--source", "participants", "--until", "2020-01-01T00:00:00Z"], 8);
    assert_eq!(sim.requests(), 0);
    let soon = jiff::Timestamp::now() + Duration::from_secs(if home.server().is_some() { 3 } else { 1 });
    let ran = home.check(&["crawl", "--source", "participants", "--until", &soon.to_string(), "--json"], 8);
    assert_eq!(ran.error_kind(), "parked");
    assert!(ran.stdout.contains("--until"), "{}", ran.stdout);
    assert!(sim.requests() > 0);
    home.check(&["crawl", "--source", "participants", "--until", "25:99"], 2);
    home.crawl();
}

#[test]
fn an_unpublished_rate_is_learned_with_few_refusals() {
    let sim = Sim::start(&["--participants", "700", "--rate", "100", "--limit-header", "none"]);
    let home = home(&sim, "", "");
    home.crawl();
    let (sent, refused) = (sim.requests(), refused(&sim));
    assert!(refused > 0 && refused <= sent / 20, "{refused} of {sent}");
    let rate = quota_of(&home, "advocate")["rate"].as_f64().expect("a rate");
    assert!((50.0..150.0).contains(&rate), "{rate}");
}

#[test]
fn a_configured_rate_never_meets_the_limit() {
    let sim = Sim::start(&["--participants", "300", "--rate", "100"]);
    let home = home(&sim, "", "");
    home.check(&["crawl", "--source", "participants", "--rate", "100/s"], 0);
    assert_eq!(refused(&sim), 0);
}

#[test]
fn a_killed_process_costs_at_most_its_lease() {
    let sim = Sim::start(&["--participants", "600", "--latency", "10ms"]);
    let home = home(&sim, "quota = '1000/h'", "");
    let mut crawl = home.command(&["crawl", "--source", "participants"]).spawn().expect("it starts");
    wait_until("the crawl asks", || sim.requests() > 150);
    crawl.kill().expect("it can be killed");
    crawl.wait().expect("it ends");
    home.wait_for_locks();
    let (sent, used) = (sim.requests(), number(&quota_of(&home, "advocate")["used"]));
    // A killed crawl may have leased twenty requests, and twenty more as a prefetched lease, without using them.
    assert!((sent..=sent + 40).contains(&used), "{used} of {sent}");
    home.crawl();
}

#[test]
fn an_implausible_pause_is_capped_reported_and_can_be_cleared() {
    let sim = Sim::start(&["--participants", "50"]);
    let home = home(&sim, "", "");
    home.crawl();
    sim.post("set?fault=429-absurd=1");
    let ran = home.check(&["crawl", "--source", "participants", "--full", "--json"], 8);
    assert!(ran.stdout.contains("more than a day") && ran.stdout.contains("recoup quota clear"), "{}", ran.stdout);
    sim.post("set?faults=0");
    let asked = sim.requests();
    home.check(&["crawl", "--source", "participants"], 8);
    assert_eq!(sim.requests(), asked, "nobody asks before the time");

    let quota = quota_of(&home, "advocate");
    let until: jiff::Timestamp = quota["waiting_until"].as_str().expect("a moment").parse().expect("a moment");
    let status = home.run(&["status"]).stdout;
    assert!(status.contains("capped at a day") && status.contains("recoup quota clear"), "{status}");
    let doctor = home.check(&["doctor"], 8);
    assert!(doctor.stdout.contains("more than a day") && doctor.stdout.contains("quota clear"), "{}", doctor.stdout);
    let problems = home.check(&["status", "--check", "--json"], 1).object()["problems"].to_string();
    assert!(problems.contains("implausible_wait"), "{problems}");

    let held = home.check(&["quota", "clear", "--dry-run", "--json"], 0).object();
    let host = |object: &Value| object["hosts"].as_array().and_then(|hosts| hosts.first().cloned()).expect("a host");
    assert_eq!((&host(&held)["clearable"], &host(&held)["cleared"]), (&Value::Bool(true), &Value::Bool(false)));
    let named: jiff::Timestamp = host(&held)["waiting_until"].as_str().expect("a moment").parse().expect("a moment");
    assert_eq!(named, until);
    assert_eq!(home.check(&["quota", "clear", "--json"], 5).error_kind(), "refused", "there is no terminal");
    let other = home.check(&["quota", "clear", "--host", "brand", "--yes"], 0);
    assert!(!other.stdout.contains("advocate"), "{}", other.stdout);
    home.check(&["crawl", "--source", "participants", "--park"], 8);

    let cleared = home.check(&["quota", "clear", "--host", "advocate", "--yes"], 0);
    assert!(cleared.stdout.contains(": cleared"), "{}", cleared.stdout);
    assert_eq!(quota_of(&home, "advocate")["waiting_until"], Value::Null);
    home.check(&["crawl", "--source", "participants", "--park"], 0);
    assert_eq!(host(&home.check(&["quota", "clear", "--yes", "--json"], 0).object())["clearable"], false);
}

#[test]
fn a_pause_that_recoup_counted_is_not_cleared() {
    let sim = Sim::start(&["--participants", "100"]);
    let home = home(&sim, "quota = '40/h'", "");
    home.check(&["crawl", "--source", "participants", "--park"], 8);
    let asked = sim.requests();
    let ran = home.check(&["quota", "clear", "--yes"], 0);
    assert!(ran.stdout.contains("not cleared"), "{}", ran.stdout);
    home.check(&["crawl", "--source", "participants", "--park"], 8);
    assert_eq!(sim.requests(), asked);
}

#[test]
fn the_wait_flag_bounds_pauses_for_the_quota_too() {
    let sim = Sim::start(&["--participants", "400"]);
    // Without `--wait` a retraction may wait for the rest of the quota's window, nearly an hour.
    let mut parked = 0;
    for (limit, flag) in [(1, &["--wait", "1s"][..]), (2, &["--wait", "1s"]), (3, &["--wait", "1s"]), (2, &[])] {
        let home = home(&sim, "", "");
        home.crawl();
        configure(&home, "", &format!("quota = '{limit}/h'\nreserve = 0.0"));
        home.configure_more("wait = '1s'");
        let order = sim.example("plain").order_id;
        let before = sim.deletes().len();
        let retract = [&["retract", &order, "--yes"][..], flag].concat();
        for args in [&retract[..], &["verify", "1", "--wait", "1s"]] {
            let mut child = home.command(args).spawn().expect("it starts");
            wait_until("it ends", || child.try_wait().expect("its state").is_some());
            let ran = Ran::of(args, child.wait_with_output().expect("it ended"));
            assert!(matches!(ran.code, Some(0 | 7 | 8)), "{limit}: {ran:?}");
            if ran.code == Some(8) {
                assert!(ran.stderr.contains("the quota is used up until"), "{limit}: {ran:?}");
                parked += 1;
            }
            assert!(
                !flag.is_empty() || sim.deletes().len() > before,
                "sent, and followed for as long as the settings say"
            );
            if sim.deletes().len() == before {
                // The retraction parked before its send, so `verify` has nothing to check.
                break;
            }
        }
    }
    assert!(parked >= 2, "before the send, and after it: {parked}");
}
