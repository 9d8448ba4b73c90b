//! Tests the share of a rate limit that the pacer uses in a minute of simulated time, and the number of 429s that it
//! receives.
//!
//! A token bucket of one second enforces the rate limit, as in `recoup simulate --rate`. In the test of a host without
//! a limit, the pacer must keep every slot busy.

use std::cell::RefCell;
use std::rc::Rc;

use jiff::SignedDuration;
use tokio::task::LocalSet;
use url::Url;

use super::*;
use crate::model::budget::QuotaSettings;
use crate::vendor::{Credentials, Secret};

/// The headers by which the test host states its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Headers {
    Nothing,
    /// The host sends `X-RateLimit-Limit`, `-Remaining` and `-Reset` with every answer.
    Everything,
    /// The host sends `Retry-After` with a 429.
    RetryAfter,
}

struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    filled_ms: i64,
    passed: u64,
    refused: u64,
    stray: f64,
}

struct Case {
    limit: Option<f64>,
    /// The share of requests that the test host refuses with a stray 429.
    stray: f64,
    configured: Option<f64>,
    headers: Headers,
    latency: Duration,
    concurrency: usize,
}

/// Runs the pacer for `skipped` seconds, then measures one minute. Returns the accepted requests and the 429s of the
/// measured minute.
async fn minute(case: &Case, skipped: i64) -> (u64, u64) {
    let base = Url::parse("https://127.0.0.1").expect("a URL");
    let credentials = Credentials { user: String::new(), secret: Secret::Value("x".into()) };
    let options = HostOptions {
        concurrency: case.concurrency,
        quota_settings: QuotaSettings { rate: case.configured, ..QuotaSettings::default() },
        ..HostOptions::new(base, credentials)
    };
    let clock = Clock::starting_at(Timestamp::from_second(1_700_000_000).expect("a moment"));
    let pacer = Pacer::new(&options, clock, CancellationToken::new()).expect("a pacer");
    let began = clock.now_ms() + skipped * 1_000;
    let end = began + 60_000;
    let bucket = Rc::new(RefCell::new(Bucket {
        rate: case.limit,
        tokens: case.limit.unwrap_or(0.0),
        filled_ms: clock.now_ms(),
        passed: 0,
        refused: 0,
        stray: case.stray,
    }));
    let set = LocalSet::new();
    for _ in 0..case.concurrency * 2 {
        let (pacer, bucket) = (Arc::clone(&pacer), Rc::clone(&bucket));
        let (headers, latency) = (case.headers, case.latency);
        set.spawn_local(async move {
            loop {
                let permit = pacer.admit(None).await.expect("admission");
                tokio::time::sleep(latency.mul_f64(0.45 + 0.1 * fastrand::f64())).await;
                let arrived = clock.now_ms();
                if arrived >= end {
                    return;
                }
                let (takes, left) = bucket.borrow_mut().take(arrived, arrived >= began);
                tokio::time::sleep(latency / 2).await;
                let now = clock.now();
                let in_a_second = now.checked_add(SignedDuration::from_secs(1)).ok();
                if headers == Headers::Everything {
                    pacer.record_header(QuotaHeader {
                        limit: case_limit(&bucket) as u64,
                        remaining: left,
                        resets_at_ms: now.as_millisecond() + 1_000,
                        window_ms: None,
                        at_ms: now.as_millisecond(),
                        outstanding: 0,
                    });
                }
                let health = if takes { Health::Good } else { Health::Limited };
                let until = in_a_second.filter(|_| !takes && headers != Headers::Nothing);
                permit.finish(health, until);
            }
        });
    }
    set.await;
    let bucket = bucket.borrow();
    (bucket.passed, bucket.refused)
}

fn case_limit(bucket: &Rc<RefCell<Bucket>>) -> f64 {
    bucket.borrow().rate.unwrap_or(0.0)
}

impl Bucket {
    fn take(&mut self, now_ms: i64, counts: bool) -> (bool, u64) {
        let takes = (self.stray == 0.0 || fastrand::f64() >= self.stray)
            && self.rate.is_none_or(|rate| {
                self.tokens = (self.tokens + (now_ms - self.filled_ms) as f64 / 1_000.0 * rate).min(rate.max(1.0));
                self.filled_ms = now_ms;
                self.tokens >= 1.0
            });
        if takes {
            self.tokens -= 1.0;
            self.passed += u64::from(counts);
        } else {
            self.refused += u64::from(counts);
        }
        (takes, self.tokens.max(0.0) as u64)
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_rate_is_used_without_a_429() {
    for rate in [2.0, 50.0, 1_000.0] {
        for latency in [2, 100] {
            let case = Case {
                limit: Some(rate),
                stray: 0.0,
                configured: Some(rate),
                headers: Headers::Nothing,
                latency: Duration::from_millis(latency),
                concurrency: 128,
            };
            let (passed, refused) = minute(&case, 0).await;
            let used = passed as f64 / (rate * 60.0);
            assert!(used >= 0.98, "{rate}/s at {latency} ms: {used}");
            assert_eq!(refused, 0, "{rate}/s at {latency} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_has_to_be_learned_is_used_with_few_429s() {
    for headers in [Headers::Everything, Headers::RetryAfter, Headers::Nothing] {
        for rate in [20.0, 50.0, 400.0] {
            for latency in [2, 100] {
                // Seeds the jitter of back-offs, because it is the only random part of the test.
                fastrand::seed(7);
                let case = Case {
                    limit: Some(rate),
                    stray: 0.0,
                    configured: None,
                    headers,
                    latency: Duration::from_millis(latency),
                    concurrency: 64,
                };
                let (passed, refused) = minute(&case, 0).await;
                let (used, met) = (passed as f64 / (rate * 60.0), refused as f64 / (passed + refused) as f64);
                assert!(used >= 0.9, "{headers:?} {rate}/s at {latency} ms: {used}");
                assert!(met <= 0.01, "{headers:?} {rate}/s at {latency} ms: {met} ({refused})");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stray_429s_delay_only_their_own_requests() {
    let latency = Duration::from_millis(100);
    for seed in [1, 7, 23] {
        for (limit, configured) in [(None, Some(200.0)), (Some(200.0), Some(200.0)), (Some(200.0), None)] {
            let case = Case { limit, stray: 0.03, configured, headers: Headers::Nothing, latency, concurrency: 64 };
            // At first, the pacer treats stray 429s as a limit.
            for (skipped, at_least) in [(0, 0.5), (600, 0.9)] {
                fastrand::seed(seed);
                let (passed, _) = minute(&case, skipped).await;
                let used = passed as f64 / (200.0 * 60.0);
                assert!(used >= at_least, "{limit:?} {configured:?} after {skipped} s: {used}");
            }
        }
        fastrand::seed(seed);
        let case =
            Case { limit: None, stray: 0.03, configured: None, headers: Headers::Nothing, latency, concurrency: 64 };
        let (passed, _) = minute(&case, 30).await;
        let used = passed as f64 / (60.0 * 64.0 / latency.as_secs_f64());
        assert!(used >= 0.9, "no limit at all: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_no_slot_is_idle() {
    for concurrency in [8, 64, 256] {
        let latency = Duration::from_millis(100);
        let case = Case { limit: None, stray: 0.0, configured: None, headers: Headers::Nothing, latency, concurrency };
        let (passed, _) = minute(&case, 5).await;
        let used = passed as f64 / (60.0 * concurrency as f64 / latency.as_secs_f64());
        assert!(used >= 0.95, "{concurrency} in flight: {used}");
        let (passed, _) = minute(&case, 0).await;
        let used = passed as f64 / (60.0 * concurrency as f64 / latency.as_secs_f64());
        assert!(used >= 0.9, "{concurrency} in flight, the ramp included: {used}");
    }
}
