//! Tests the pacer on a paused clock, without sockets.

use jiff::SignedDuration;
use url::Url;

use super::*;
use crate::model::budget::QuotaSettings;
use crate::vendor::{Credentials, Secret};

fn options() -> HostOptions {
    let base = Url::parse("https://127.0.0.1").expect("a URL");
    let credentials = Credentials { user: String::new(), secret: Secret::Value("x".into()) };
    HostOptions { concurrency: 64, start_concurrency: 64, ..HostOptions::new(base, credentials) }
}

fn rate(per_second: f64) -> QuotaSettings {
    QuotaSettings { rate: Some(per_second), ..QuotaSettings::default() }
}

fn new_pacer(options: &HostOptions) -> (Arc<Pacer>, Clock, CancellationToken) {
    let clock = Clock::starting_at(Timestamp::from_second(1_700_000_000).expect("a moment"));
    let stop = CancellationToken::new();
    (Pacer::new(options, clock, stop.clone()).expect("a usable rate"), clock, stop)
}

fn later(clock: Clock, seconds: i64) -> Timestamp {
    clock.now().checked_add(SignedDuration::from_secs(seconds)).expect("a moment")
}

async fn admit(pacer: &Arc<Pacer>) -> Permit {
    pacer.admit(None).await.expect("admission")
}

async fn admit_many(pacer: &Arc<Pacer>, count: usize) -> Vec<Permit> {
    let mut permits = Vec::new();
    for _ in 0..count {
        permits.push(admit(pacer).await);
    }
    permits
}

/// Returns the seconds until the pacer's deadline.
fn waits_for(pacer: &Pacer, clock: Clock) -> f64 {
    pacer.waiting().map_or(0.0, |(moment, _)| moment.duration_since(clock.now()).as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_waited_out_in_full() {
    let (pacer, clock, _stop) = new_pacer(&options());
    let until = later(clock, 3599);
    admit(&pacer).await.finish(Health::Limited, Some(until));
    assert_eq!(pacer.waiting(), Some((until, WaitReason::AskedTo)));
    admit(&pacer).await.finish(Health::Good, None);
    assert!(clock.now() >= until, "{} is before {until}", clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_allowed_one_parks_and_names_the_moment() {
    let (pacer, clock, _stop) = new_pacer(&options());
    let before = clock.now();
    pacer.pause_until(later(clock, 3601));
    let error = pacer.admit(None).await.map(|_| ()).expect_err("too far away");
    assert_eq!(error.kind, Kind::Parked);
    assert!(error.message.contains("2023-11-14T23:13:21Z"), "{}", error.message);
    assert!(error.message.contains("1h"), "{}", error.message);
    assert_eq!(clock.now(), before, "parking does not wait");
    assert_eq!(pacer.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_only_extended() {
    let (pacer, clock, _stop) = new_pacer(&options());
    let old = admit(&pacer).await;
    let far = later(clock, 100);
    pacer.pause_until(far);
    pacer.pause_until(later(clock, 5));
    old.finish(Health::Good, None);
    assert_eq!(pacer.waiting(), Some((far, WaitReason::AskedTo)));
    let waiter = tokio::spawn({
        let pacer = Arc::clone(&pacer);
        async move { pacer.admit(None).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_secs(50)).await;
    let farther = later(clock, 200);
    pacer.pause_until(farther);
    waiter.await.expect("no panic").expect("admission");
    assert!(clock.now() >= farther, "a waiter sees a deadline that moved while it slept");
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_together_double_the_back_off_once() {
    let (pacer, clock, _stop) = new_pacer(&options());
    for expected in [0.5, 1.0, 2.0, 4.0] {
        let slots = pacer.controller().slots;
        let together = admit_many(&pacer, slots).await;
        for permit in together {
            permit.finish(Health::Limited, None);
        }
        let closed = waits_for(&pacer, clock);
        assert!((expected..=expected * 1.25 + 0.002).contains(&closed), "{closed} is not about {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_back_off_has_a_maximum_and_a_success_after_the_deadline_ends_it() {
    let (pacer, clock, _stop) = new_pacer(&HostOptions { backoff_max: Duration::from_secs(3), ..options() });
    let straggler = admit(&pacer).await;
    for _ in 0..5 {
        admit(&pacer).await.finish(Health::Limited, None);
    }
    assert!((3.0..3.76).contains(&waits_for(&pacer, clock)));
    straggler.finish(Health::Good, None);
    assert!(waits_for(&pacer, clock) >= 3.0, "an answer from before the deadline changes nothing");
    admit(&pacer).await.finish(Health::Limited, None);
    assert!(waits_for(&pacer, clock) >= 3.0, "the back-off does not start again");
    admit(&pacer).await.finish(Health::Good, None);
    admit(&pacer).await.finish(Health::Limited, None);
    assert!(waits_for(&pacer, clock) < 0.7, "a success ends the back-off");
}

#[tokio::test(start_paused = true)]
async fn a_few_broken_requests_delay_no_other_request() {
    let (pacer, clock, _stop) = new_pacer(&options());
    for _ in 0..3 {
        admit(&pacer).await.finish(Health::Troubled, None);
        for _ in 0..5 {
            let mut again = admit(&pacer).await;
            again.mark_repeat();
            again.finish(Health::Troubled, None);
        }
    }
    assert!(pacer.waiting().is_none());
    admit(&pacer).await.finish(Health::Good, None);
    for _ in 0..3 {
        admit(&pacer).await.finish(Health::Troubled, None);
    }
    assert!(pacer.waiting().is_none());
    assert_eq!(pacer.controller().slots, 64);
    admit(&pacer).await.finish(Health::Troubled, None);
    assert!((0.5..0.7).contains(&waits_for(&pacer, clock)), "four different failures in a row pause the host");
    assert_eq!(pacer.controller().slots, 32);
    for expected in [0.0, 0.0, 0.0, 1.0] {
        admit(&pacer).await.finish(Health::Troubled, None);
        assert!((expected..=expected * 1.25 + 0.002).contains(&waits_for(&pacer, clock)), "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_caller_s_own_back_off_takes_no_slot_and_never_parks() {
    let (pacer, clock, _stop) = new_pacer(&HostOptions { concurrency: 1, max_wait: Duration::ZERO, ..options() });
    let moment = later(clock, 10);
    let waiter = tokio::spawn({
        let pacer = Arc::clone(&pacer);
        async move { pacer.admit(Some(moment)).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(admit(&pacer).await);
    waiter.await.expect("no panic").expect("admission");
    assert!(clock.now() >= moment);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_even_after_a_long_wait() {
    let (pacer, clock, _stop) = new_pacer(&HostOptions { quota_settings: rate(10.0), ..options() });
    pacer.pause_until(later(clock, 600));
    let mut waiters = Vec::new();
    for _ in 0..100 {
        let pacer = Arc::clone(&pacer);
        waiters.push(tokio::spawn(async move {
            let permit = pacer.admit(None).await.expect("admission");
            let at = permit.admitted_ms;
            tokio::time::sleep(Duration::from_millis(700)).await;
            permit.finish(Health::Good, None);
            at
        }));
    }
    let mut starts = Vec::new();
    for waiter in waiters {
        starts.push(waiter.await.expect("no panic"));
    }
    starts.sort_unstable();
    assert!(starts[0] >= 1_700_000_600_000);
    for window in starts.windows(11) {
        assert!(window[10] - window[0] >= 999, "more than 10 in a second: {window:?}");
    }
    assert!(starts[99] - starts[0] < 10_400, "and it is used: {}", starts[99] - starts[0]);
}

#[tokio::test(start_paused = true)]
async fn fast_rates_are_reached_although_timers_have_millisecond_resolution() {
    let (pacer, clock, _stop) = new_pacer(&HostOptions { quota_settings: rate(5000.0), ..options() });
    let began = clock.now();
    for _ in 0..5000 {
        drop(admit(&pacer).await);
    }
    let took = clock.now().duration_since(began).as_secs_f64();
    assert!((0.98..1.1).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_grow_while_healthy_and_halve_on_429() {
    let (pacer, _clock, _stop) = new_pacer(&HostOptions { concurrency: 8, start_concurrency: 2, ..options() });
    let held = admit_many(&pacer, 2).await;
    let third = pacer.admit(None);
    assert!(tokio::time::timeout(Duration::from_secs(1), third).await.is_err(), "a third has to wait");
    drop(held);
    for _ in 0..24 {
        admit(&pacer).await.finish(Health::Good, None);
    }
    assert_eq!(pacer.controller().slots, 8);
    let eight = admit_many(&pacer, 8).await;
    assert_eq!(pacer.in_flight(), 8);
    for permit in &eight {
        permit.report(Health::Limited, None);
    }
    assert_eq!(pacer.controller().slots, 4, "answers to requests of one moment halve once");
    drop(eight);
    assert_eq!((pacer.slots.available_permits(), pacer.controller().excess, pacer.in_flight()), (4, 0, 0));
    for _ in 0..100 {
        admit(&pacer).await.finish(Health::Good, None);
    }
    assert_eq!((pacer.controller().slots, pacer.slots.available_permits()), (8, 8), "it recovers");
}

#[tokio::test(start_paused = true)]
async fn a_stray_429_delays_no_other_request_and_many_do() {
    let (pacer, clock, _stop) = new_pacer(&HostOptions { quota_settings: rate(200.0), ..options() });
    for _ in 0..100 {
        for _ in 0..10 {
            admit(&pacer).await.finish(Health::Good, None);
        }
        admit(&pacer).await.finish(Health::Limited, None);
        assert!(pacer.waiting().is_none());
    }
    assert_eq!((pacer.quota_state().rate, pacer.controller().slots), (Some(200.0), 64));
    admit(&pacer).await.finish(Health::Limited, None);
    assert!(pacer.waiting().is_none());
    admit(&pacer).await.finish(Health::Limited, None);
    assert!((0.5..0.7).contains(&waits_for(&pacer, clock)), "a quarter of the newest twelve indicates the limit");
    admit(&pacer).await.finish(Health::Good, None);
    let lowered = pacer.quota_state().rate.expect("a rate");
    assert!(lowered < 200.0);
    for _ in 0..200 * 600 {
        admit(&pacer).await.finish(Health::Good, None);
    }
    assert_eq!(pacer.quota_state().rate, Some(200.0), "it recovers");
}

#[tokio::test(start_paused = true)]
async fn stop_ends_every_kind_of_wait_at_once() {
    let slow = HostOptions { concurrency: 1, start_concurrency: 1, quota_settings: rate(0.001), ..options() };
    for case in ["slot", "deadline", "rate", "own"] {
        let (pacer, clock, stop) = new_pacer(&slow);
        let began = clock.now();
        let held = if case == "slot" { Some(admit(&pacer).await) } else { None };
        if case == "rate" {
            drop(admit(&pacer).await);
        }
        if case == "deadline" {
            pacer.pause_until(later(clock, 1000));
        }
        let own = (case == "own").then(|| later(clock, 1000));
        let waiter = tokio::spawn({
            let pacer = Arc::clone(&pacer);
            async move { pacer.admit(own).await.map(|_| ()) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        let error = waiter.await.expect("no panic").expect_err(case);
        assert_eq!(error.kind, Kind::Interrupted, "{case}");
        assert!(clock.now().duration_since(began) < SignedDuration::from_secs(2), "{case}");
        drop(held);
        assert_eq!((pacer.in_flight(), pacer.slots.available_permits()), (0, 1), "{case}");
    }
}

#[test]
fn an_unusable_rate_is_a_configuration_error() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
        assert_eq!(check_rate(Some(rate)).map_err(|e| e.kind), Err(Kind::Config), "{rate}");
    }
    for rate in [0.0001, 1.0 / 3.6, 10.0, 1e6] {
        assert!(check_rate(Some(rate)).is_ok(), "{rate}");
    }
}
