//! Kills crawls at random times, then compares the index with the simulator's data and counts the repeated requests.
//!
//! `cargo bench --bench kills -- [--kills N] [--participants N] [--source SOURCE]`. The benchmark sends SIGKILL to one
//! crawl after the other, lets the last crawl finish, and compares the index with the simulator row for row. The
//! benchmark prints the repeated requests per kill, and panics if a row differs.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

#[path = "../tests/it/index.rs"]
mod index;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../tests/it/support.rs"]
mod support;

use std::time::{Duration, Instant};

use support::{Home, Sim};

/// The number of requests in flight, and the number of fetched rows that may be uncommitted.
const IN_FLIGHT: u64 = 32;
const BATCH: u64 = 100;

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn main() {
    let (mut kills, mut participants, mut source) = (100, 20_000, "participants".to_owned());
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let value = args.next().expect("an option has a value");
        match arg.as_str() {
            "--kills" => kills = value.parse().expect("a number"),
            "--participants" => participants = value.parse().expect("a number"),
            "--source" => source = value,
            other => panic!("unknown option {other}"),
        }
    }
    let sim = Sim::start(&["--participants", &participants.to_string(), "--latency", "2ms"]);
    let home = Home::new(&sim);
    home.configure_more(&format!("[crawl]\nbatch = {BATCH}\ngraphql_page_size = {BATCH}"));
    let flight = IN_FLIGHT.to_string();
    let args = ["crawl", "--source", &source, "--concurrency", &flight, "--json"];
    // The kills are spread evenly over the time that an undisturbed crawl takes.
    let began = Instant::now();
    let undisturbed = Home::new(&sim);
    undisturbed.configure_more(&format!("[crawl]\nbatch = {BATCH}\ngraphql_page_size = {BATCH}"));
    undisturbed.check(&args, 0);
    let alone = began.elapsed();
    let requests = sim.requests();
    sim.post("record/reset");

    let (mut dice, mut hits) = (0x9e37_79b9_u64, 0);
    for _ in 0..kills {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (dice >> 40) as f64 / f64::from(1 << 24);
        let mut child = home.command(&args).spawn().expect("it starts");
        std::thread::park_timeout(alone.mul_f64(share / 50.0).max(Duration::from_millis(5)));
        hits += u64::from(child.try_wait().expect("its state").is_none());
        drop(child.kill());
        child.wait().expect("it ends");
    }
    let outcome = home.check(&args, 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    index::assert_index_is_truth(&home, &sim);
    let twice = sim.requests().saturating_sub(requests);
    println!(
        "{source}: {hits} of {kills} kills hit a running crawl; the index equals the truth; {requests} requests undisturbed, \
         {:.1} made twice for each kill ({IN_FLIGHT} in flight, {BATCH} rows a batch)",
        twice as f64 / hits.max(1) as f64
    );
}
