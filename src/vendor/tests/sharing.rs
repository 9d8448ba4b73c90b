//! Two gates on one budget, and a budget that fails: nobody is stopped by it, nothing is lost of it.

use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use url::Url;

use super::*;
use crate::model::budget::{Ask, Budget, Grant, News, Purpose, Quota, Terms, Unavailable};
use crate::vendor::{Credentials, Secret};

/// A budget in memory that can be out of reach.
#[derive(Debug, Default)]
struct Shared {
    account: Mutex<Account>,
    is_away: AtomicBool,
}

impl Budget for Shared {
    fn exchange(
        &self,
        news: &News,
        _purpose: Purpose,
        ask: Option<&Ask>,
        terms: &Terms,
        now_ms: i64,
    ) -> Result<(Grant, Account), Unavailable> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Unavailable::Failed("away".to_owned()));
        }
        let mut account = self.account.lock().expect("no panic");
        let grant = account.exchange(news, ask, terms, now_ms);
        Ok((grant, *account))
    }
}

impl Shared {
    fn used(&self) -> u64 {
        self.account.lock().expect("no panic").used
    }
}

fn gate(budget: &Arc<Shared>, purpose: Purpose) -> (Arc<Pacer>, Clock) {
    let base = Url::parse("https://127.0.0.1").expect("a URL");
    let credentials = Credentials { user: String::new(), secret: Secret::Value("x".into()) };
    let options = HostOptions {
        terms: Terms { quota: Some(Quota { limit: 1_000, window_ms: 3_600_000 }), ..Terms::default() },
        budget: Some(Arc::clone(budget) as Arc<dyn Budget>),
        purpose,
        max_wait: Duration::from_secs(10),
        ..HostOptions::new(base, credentials)
    };
    let clock = Clock::starting_at(Timestamp::from_second(1_700_000_000).expect("a moment"));
    (Pacer::new(&options, clock, CancellationToken::new()).expect("a gate"), clock)
}

async fn ask(pacer: &Arc<Pacer>, times: u64) {
    for _ in 0..times {
        pacer.admit(None).await.expect("admission").finish(Health::Good, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_leased_and_not_used_is_given_back() {
    let budget = Arc::new(Shared::default());
    let (pacer, _clock) = gate(&budget, Purpose::Crawl);
    ask(&pacer, 3).await;
    assert!(budget.used() > 3, "a lease is more than a request");
    drop(pacer);
    assert_eq!(budget.used(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_budget_out_of_reach_stops_nobody_and_hears_of_it_later() {
    let budget = Arc::new(Shared::default());
    let (pacer, _clock) = gate(&budget, Purpose::Crawl);
    ask(&pacer, 10).await;
    budget.is_away.store(true, Ordering::Relaxed);
    ask(&pacer, 200).await;
    assert_eq!(pacer.trouble().as_deref(), Some("away"));
    assert!(budget.used() < 60, "{}", budget.used());
    budget.is_away.store(false, Ordering::Relaxed);
    ask(&pacer, 50).await;
    assert_eq!(pacer.trouble(), None);
    drop(pacer);
    assert_eq!(budget.used(), 260);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_was_never_there_is_no_free_pass() {
    let budget = Arc::new(Shared::default());
    budget.is_away.store(true, Ordering::Relaxed);
    let (pacer, _clock) = gate(&budget, Purpose::Crawl);
    ask(&pacer, 900).await;
    let error = pacer.admit(None).await.map(|_| ()).expect_err("the reserve");
    assert_eq!(error.kind, Kind::Parked);
    let (retraction, _clock) = gate(&budget, Purpose::Retraction);
    ask(&retraction, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_one_was_told_is_kept_by_the_other_without_asking() {
    let budget = Arc::new(Shared::default());
    let (first, clock) = gate(&budget, Purpose::Crawl);
    let until = clock.now().checked_add(SignedDuration::from_secs(3_000)).expect("a moment");
    first.admit(None).await.expect("admission").finish(Health::Limited, Some(until));
    drop(first);
    for purpose in [Purpose::Crawl, Purpose::Retraction] {
        let (second, _clock) = gate(&budget, purpose);
        let error = second.admit(None).await.map(|_| ()).expect_err("too far away");
        assert_eq!(error.kind, Kind::Parked);
        assert_eq!(second.waiting(), Some((until, WaitReason::AskedTo)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_a_person_clears_ends_for_a_process_that_waits_and_for_one_that_parked() {
    let budget = Arc::new(Shared::default());
    let (waiter, clock) = gate(&budget, Purpose::Crawl);
    let until = clock.now().checked_add(SignedDuration::from_hours(1_000)).expect("a moment");
    waiter.admit(None).await.expect("admission").finish(Health::Limited, Some(until));
    let error = waiter.admit(None).await.map(|_| ()).expect_err("a day is more than 10 s");
    assert_eq!(error.kind, Kind::Parked);
    assert!(error.message.contains("more than a day"), "{}", error.message);
    assert!(error.hint.is_some_and(|hint| hint.contains("recoup quota clear")));
    let (moment, reason) = waiter.waiting().expect("a wait");
    assert_eq!((moment.duration_since(clock.now()).as_hours(), reason), (24, WaitReason::Implausible));
    assert!(budget.account.lock().expect("no panic").clear(1, clock.now_ms()));
    waiter.admit(None).await.expect("the wait was cleared");

    let asleep = clock.now().checked_add(SignedDuration::from_secs(9)).expect("a moment");
    waiter.admit(None).await.expect("admission").finish(Health::Limited, Some(asleep));
    let waiting = tokio::spawn({
        let waiter = Arc::clone(&waiter);
        async move { waiter.admit(None).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(budget.account.lock().expect("no panic").clear(1, clock.now_ms()));
    waiting.await.expect("no panic").expect("admission");
    assert!(clock.now() < asleep, "{} is not before {asleep}", clock.now());
}
