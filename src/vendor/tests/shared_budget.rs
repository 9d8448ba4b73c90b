//! Tests two pacers that share one stored budget. If a pacer cannot read or write the shared budget, requests continue,
//! and the pacer reports its usage after the budget works again.

use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use url::Url;

use super::*;
use crate::model::budget::{Budget, Grant, LeaseRequest, Purpose, Quota, QuotaSettings, Unavailable, UsageReport};
use crate::vendor::{Credentials, Secret};

/// A budget in memory that a test can make unreachable.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<QuotaState>,
    is_away: AtomicBool,
}

impl Budget for Shared {
    fn exchange(
        &self,
        report: &UsageReport,
        request: LeaseRequest,
        settings: &QuotaSettings,
        now_ms: i64,
    ) -> Result<(Grant, QuotaState), Unavailable> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Unavailable::Failed("away".to_owned()));
        }
        let mut state = self.state.lock().expect("no panic");
        let grant = state.exchange(report, request, settings, now_ms);
        Ok((grant, *state))
    }
}

impl Shared {
    fn used(&self) -> u64 {
        self.state.lock().expect("no panic").used
    }
}

fn new_pacer(budget: &Arc<Shared>, purpose: Purpose) -> (Arc<Pacer>, Clock) {
    let base = Url::parse("https://127.0.0.1").expect("a URL");
    let credentials = Credentials { user: String::new(), secret: Secret::Value("x".into()) };
    let options = HostOptions {
        quota_settings: QuotaSettings {
            quota: Some(Quota { limit: 1_000, window_ms: 3_600_000 }),
            ..QuotaSettings::default()
        },
        budget: Some(Arc::clone(budget) as Arc<dyn Budget>),
        purpose,
        max_wait: Duration::from_secs(10),
        ..HostOptions::new(base, credentials)
    };
    let clock = Clock::starting_at(Timestamp::from_second(1_700_000_000).expect("a moment"));
    (Pacer::new(&options, clock, CancellationToken::new()).expect("a pacer"), clock)
}

async fn send(pacer: &Arc<Pacer>, times: u64) {
    for _ in 0..times {
        pacer.admit(None).await.expect("admission").finish(Health::Good, None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_unused_part_of_a_lease_is_returned() {
    let budget = Arc::new(Shared::default());
    let (pacer, _clock) = new_pacer(&budget, Purpose::Crawl);
    send(&pacer, 3).await;
    assert!(budget.used() > 3, "a lease is more than a request");
    drop(pacer);
    assert_eq!(budget.used(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_budget_stops_no_request_and_gets_the_report_later() {
    let budget = Arc::new(Shared::default());
    let (pacer, _clock) = new_pacer(&budget, Purpose::Crawl);
    send(&pacer, 10).await;
    budget.is_away.store(true, Ordering::Relaxed);
    send(&pacer, 200).await;
    assert_eq!(pacer.trouble().as_deref(), Some("away"));
    assert!(budget.used() < 60, "{}", budget.used());
    budget.is_away.store(false, Ordering::Relaxed);
    send(&pacer, 50).await;
    assert_eq!(pacer.trouble(), None);
    drop(pacer);
    assert_eq!(budget.used(), 260);
}

#[tokio::test(start_paused = true)]
async fn without_a_reachable_budget_the_configured_quota_still_holds() {
    let budget = Arc::new(Shared::default());
    budget.is_away.store(true, Ordering::Relaxed);
    let (pacer, _clock) = new_pacer(&budget, Purpose::Crawl);
    send(&pacer, 900).await;
    let error = pacer.admit(None).await.map(|_| ()).expect_err("the reserve");
    assert_eq!(error.kind, Kind::Parked);
    let (retraction, _clock) = new_pacer(&budget, Purpose::Retraction);
    send(&retraction, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_one_process_holds_for_the_others() {
    let budget = Arc::new(Shared::default());
    let (first, clock) = new_pacer(&budget, Purpose::Crawl);
    let until = clock.now().checked_add(SignedDuration::from_secs(3_000)).expect("a moment");
    first.admit(None).await.expect("admission").finish(Health::Limited, Some(until));
    drop(first);
    for purpose in [Purpose::Crawl, Purpose::Retraction] {
        let (second, _clock) = new_pacer(&budget, purpose);
        let error = second.admit(None).await.map(|_| ()).expect_err("too far away");
        assert_eq!(error.kind, Kind::Parked);
        assert_eq!(second.waiting(), Some((until, WaitReason::AskedTo)));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_a_pause_ends_it_for_waiting_and_for_parked_processes() {
    let budget = Arc::new(Shared::default());
    let (waiter, clock) = new_pacer(&budget, Purpose::Crawl);
    let until = clock.now().checked_add(SignedDuration::from_hours(1_000)).expect("a moment");
    waiter.admit(None).await.expect("admission").finish(Health::Limited, Some(until));
    let error = waiter.admit(None).await.map(|_| ()).expect_err("a day is more than 10 s");
    assert_eq!(error.kind, Kind::Parked);
    assert!(error.message.contains("more than a day"), "{}", error.message);
    assert!(error.hint.is_some_and(|hint| hint.contains("recoup quota clear")));
    let (moment, reason) = waiter.waiting().expect("a wait");
    assert_eq!((moment.duration_since(clock.now()).as_hours(), reason), (24, WaitReason::Implausible));
    assert!(budget.state.lock().expect("no panic").clear(1, clock.now_ms()));
    waiter.admit(None).await.expect("the wait was cleared");

    let asleep = clock.now().checked_add(SignedDuration::from_secs(9)).expect("a moment");
    waiter.admit(None).await.expect("admission").finish(Health::Limited, Some(asleep));
    let waiting = tokio::spawn({
        let waiter = Arc::clone(&waiter);
        async move { waiter.admit(None).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(budget.state.lock().expect("no panic").clear(1, clock.now_ms()));
    waiting.await.expect("no panic").expect("admission");
    assert!(clock.now() < asleep, "{} is not before {asleep}", clock.now());
}
