//! The arithmetic of a shared quota, moment by moment.

use super::*;
use crate::model::budget::{Limited, Quota};

const NOW: i64 = 1_700_000_000_000;

fn ask(purpose: Purpose) -> Ask {
    Ask { purpose, want: 1_000 }
}

fn quota(limit: u64) -> Terms {
    Terms { quota: Some(Quota { limit, window_ms: 3_600_000 }), ..Terms::default() }
}

fn rate(per_second: f64) -> Terms {
    Terms { rate: Some(per_second), ..Terms::default() }
}

/// Leases until there are none; how many requests they held, and until when there are none.
fn drain(account: &mut Account, purpose: Purpose, terms: &Terms, now_ms: i64) -> (u64, Option<Hold>) {
    let mut taken = 0;
    loop {
        let grant = account.exchange(&News::default(), Some(&ask(purpose)), terms, now_ms);
        if grant.requests == 0 {
            return (taken, grant.hold);
        }
        taken += grant.requests;
    }
}

#[test]
fn a_crawl_leaves_the_reserve_and_a_retraction_uses_it() {
    let mut account = Account::default();
    let (taken, hold) = drain(&mut account, Purpose::Crawl, &quota(1000), NOW);
    assert_eq!(taken, 900);
    let hold = hold.expect("a moment");
    assert_eq!(hold.reason, WaitReason::QuotaUsed);
    assert!((3_600_000..=3_601_000).contains(&(hold.until_ms - NOW)), "the whole window, and a little for the way");
    assert_eq!(drain(&mut account, Purpose::Retraction, &quota(1000), NOW + 5).0, 100);
    assert_eq!(drain(&mut account, Purpose::Crawl, &quota(1000), hold.until_ms - 1).0, 0);
    assert_eq!(drain(&mut account, Purpose::Crawl, &quota(1000), hold.until_ms).0, 900, "a new window");
    let none = Terms { reserve: 0.0, ..quota(7) };
    assert_eq!(drain(&mut Account::default(), Purpose::Crawl, &none, NOW).0, 7);
    assert_eq!(
        drain(&mut Account::default(), Purpose::Crawl, &quota(1), NOW).0,
        1,
        "a crawl is never shut out for good"
    );
}

#[test]
fn what_is_given_back_can_be_taken_again_but_not_in_another_window() {
    let mut account = Account::default();
    drain(&mut account, Purpose::Crawl, &quota(100), NOW);
    let back = News { unspent: 3, unspent_window: account.window, ..News::default() };
    account.exchange(&back, None, &quota(100), NOW);
    assert_eq!((account.used, account.left_to_crawl(), account.left()), (87, Some(3), Some(13)));
    account.exchange(&back, None, &quota(100), NOW + 4_000_000);
    assert_eq!(account.used, 0);
}

#[test]
fn a_lease_of_a_small_quota_is_small() {
    let mut account = Account::default();
    let lease = |limit, account: &mut Account| {
        account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &quota(limit), NOW).requests
    };
    assert_eq!((lease(20, &mut account), lease(1000, &mut Account::default())), (1, 20));
}

#[test]
fn without_any_limit_a_lease_has_no_end_and_is_accounted_for_later() {
    let mut account = Account::default();
    let grant = account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &Terms::default(), NOW);
    assert!(grant.requests == u64::MAX && !grant.counted);
    account.exchange(&News { sent: 7, uncounted: 7, ..News::default() }, None, &Terms::default(), NOW);
    assert_eq!(account.used, 7);
    // It counts when a quota is configured within the hour, and not for ever.
    let minute = Terms { quota: Some(Quota { limit: 100, window_ms: 60_000 }), ..Terms::default() };
    account.exchange(&News::default(), None, &minute, NOW + 1_000);
    assert_eq!((account.used, account.window_ends_ms), (7, Some(NOW + 61_600)));
    account.exchange(&News::default(), None, &Terms::default(), NOW + 4_000_000);
    assert_eq!(account.used, 0);
}

fn told(limit: u64, remaining: u64, in_seconds: i64) -> News {
    let told =
        Told { limit, remaining, resets_at_ms: NOW + in_seconds * 1_000, window_ms: None, at_ms: NOW, outstanding: 2 };
    News { told: Some(told), ..News::default() }
}

#[test]
fn the_host_knows_best_what_is_used_and_when_its_window_ends() {
    let mut account = Account::default();
    account.exchange(&told(100, 60, 600), None, &Terms::default(), NOW);
    assert_eq!((account.limit, account.used, account.window_ends_ms), (Some(100), 42, Some(NOW + 600_000)));
    assert_eq!(drain(&mut account, Purpose::Crawl, &Terms::default(), NOW).0, 48);
    account.exchange(&told(100, 80, 601), None, &Terms::default(), NOW);
    assert_eq!(account.used, 90, "an answer that is late takes nothing back");
    assert_eq!(account.window_ends_ms, Some(NOW + 601_000), "of two roundings the later");
    account.exchange(&told(100, 2, 601), None, &Terms::default(), NOW);
    assert_eq!(account.used, 98, "somebody else uses it too");
    account.exchange(&told(100, 99, 3_600), None, &Terms::default(), NOW);
    assert_eq!(account.used, 3, "another window");
}

#[test]
fn a_configured_quota_is_a_bound_and_a_default_is_a_guess() {
    for (limit, is_default, in_force) in [(50, false, 50), (500, false, 100), (50, true, 100)] {
        let mut account = Account::default();
        let terms = Terms { quota_is_default: is_default, ..quota(limit) };
        account.exchange(&told(100, 60, 600), None, &terms, NOW);
        assert_eq!(account.limit, Some(in_force), "{limit} {is_default}");
    }
}

#[test]
fn a_window_of_a_second_is_a_rate_unless_it_is_the_end_of_a_longer_one() {
    let mut account = Account::default();
    account.exchange(&told(50, 49, 1), None, &Terms::default(), NOW);
    assert_eq!((account.rate, account.limit), (Some(50.0), None));
    account.exchange(&told(50, 20, 600), None, &Terms::default(), NOW);
    assert_eq!((account.rate, account.limit), (None, Some(50)));
    account.exchange(&told(50, 1, 1), None, &Terms::default(), NOW);
    assert_eq!((account.rate, account.limit), (None, Some(50)));
}

#[test]
fn leases_of_a_rate_lie_one_after_the_other_and_a_retraction_goes_ahead() {
    let mut account = Account::default();
    let mut take =
        |purpose, want, now_ms| account.exchange(&News::default(), Some(&Ask { purpose, want }), &rate(100.0), now_ms);
    let first = take(Purpose::Crawl, 1_000, NOW);
    assert_eq!((first.requests, first.starts_us), (50, NOW * 1_000));
    let second = take(Purpose::Crawl, 1_000, NOW);
    let gap = second.starts_us - first.starts_us;
    assert!((500_000..510_000).contains(&gap), "{gap}");
    let ahead = take(Purpose::Retraction, 1, NOW + 10);
    assert_eq!((ahead.requests, ahead.starts_us), (1, (NOW + 10) * 1_000));
    let third = take(Purpose::Crawl, 1_000, NOW + 10);
    let gap = third.starts_us - second.starts_us;
    assert!((512_000..520_000).contains(&gap), "the crawl pays for it: {gap}");
}

#[test]
fn a_rate_falls_at_once_and_comes_back_slowly() {
    let mut account = Account::default();
    let limited = |estimate, at_ms| News { limited: Some(Limited { at_ms, estimate }), ..News::default() };
    account.exchange(&limited(None, NOW), None, &Terms::default(), NOW);
    assert_eq!(account.rate, None, "nothing is known yet");
    account.exchange(&limited(Some(100.0), NOW), None, &Terms::default(), NOW);
    let learned = account.rate.expect("a rate");
    assert!((95.0..100.0).contains(&learned), "{learned}");
    account.exchange(&limited(Some(1.0), NOW), None, &Terms::default(), NOW);
    assert_eq!(account.rate, Some(learned * DECREASE), "one process does not see the others");
    account.exchange(&limited(Some(1_000.0), NOW), None, &Terms::default(), NOW);
    let low = account.rate.expect("a rate");
    assert!(low < learned * DECREASE, "a 429 never raises it");
    account.exchange(&News { sent: 1, ..News::default() }, None, &Terms::default(), NOW + 5_000);
    assert_eq!(account.rate, Some(low), "what nobody uses proves nothing");
    let mut at = NOW + 5_000;
    for _ in 0..120 {
        at += 1_000;
        account.exchange(&News { sent: 100, ..News::default() }, None, &Terms::default(), at);
    }
    let back = account.rate.expect("a rate");
    assert!((low * 1.5..low * 6.0).contains(&back), "{back}");
    account.exchange(&News::default(), None, &rate(10.0), at);
    assert_eq!((account.rate, account.rate_learned), (Some(10.0), None), "what is configured is lower");
}

#[test]
fn a_hold_only_moves_forward_and_stops_every_purpose() {
    let mut account = Account::default();
    let hold = |until_ms, reason| News { hold: Some(Hold { until_ms, reason }), ..News::default() };
    account.exchange(&hold(NOW + 9_000, WaitReason::AskedTo), None, &Terms::default(), NOW);
    account.exchange(&hold(NOW + 5_000, WaitReason::BackingOff), None, &Terms::default(), NOW);
    for purpose in [Purpose::Crawl, Purpose::Retraction] {
        let grant = account.exchange(&News::default(), Some(&ask(purpose)), &Terms::default(), NOW);
        assert_eq!((grant.requests, grant.hold.map(|hold| hold.until_ms)), (0, Some(NOW + 9_000)));
    }
    assert!(
        account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &Terms::default(), NOW + 9_000).requests > 0
    );
}

#[test]
fn news_add_up() {
    let mut news = News { sent: 1, unspent: 5, unspent_window: 1, ..News::default() };
    news.merge(&News { sent: 2, unspent: 3, unspent_window: 2, ..News::default() });
    assert_eq!((news.sent, news.unspent, news.unspent_window), (3, 3, 2));
    news.merge(&News { unspent: 4, unspent_window: 2, ..News::default() });
    assert_eq!(news.unspent, 7);
}

#[test]
fn what_a_wrong_clock_or_a_host_wrote_does_not_lock_everybody_out() {
    let year = 366 * 24 * 3_600_000;
    let day = 24 * 3_600_000;
    for (reason, longest) in [(WaitReason::AskedTo, day), (WaitReason::BackingOff, 15 * 60_000)] {
        let mut account = Account { hold: Some(Hold { until_ms: NOW + year, reason }), ..Account::default() };
        let grant = account.exchange(&News::default(), Some(&ask(Purpose::Retraction)), &Terms::default(), NOW);
        assert_eq!(grant.hold.map(|hold| hold.until_ms), Some(NOW + longest));
        let later =
            account.exchange(&News::default(), Some(&ask(Purpose::Retraction)), &Terms::default(), NOW + longest);
        assert!(later.requests > 0, "it ends");
    }
    let mut account = Account::default();
    let told = Told { limit: 0, remaining: 0, resets_at_ms: NOW + year, at_ms: NOW, window_ms: None, outstanding: 0 };
    account.exchange(&News { told: Some(told), ..News::default() }, None, &Terms::default(), NOW);
    let grant = account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &Terms::default(), NOW);
    assert!(grant.requests > 0, "a limit of nothing is none");
}

#[test]
fn a_reset_that_no_host_can_mean_holds_for_a_day_and_is_cleared() {
    let year = 366 * 24 * 3_600_000;
    let mut account = Account::default();
    let told = Told { limit: 100, remaining: 0, resets_at_ms: NOW + year, at_ms: NOW, window_ms: None, outstanding: 0 };
    account.exchange(&News { told: Some(told), ..News::default() }, None, &Terms::default(), NOW);
    let refused = account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &Terms::default(), NOW);
    let until = refused.hold.expect("nothing is left").until_ms - NOW;
    assert!((24 * 3_600_000..=24 * 3_600_000 + 1_000).contains(&until), "{until}");
    assert!(account.clear(3, NOW), "there was a wait");
    let grant = account.exchange(&News::default(), Some(&ask(Purpose::Crawl)), &Terms::default(), NOW);
    assert!(grant.requests > 0, "{grant:?}");
    assert!(!Account::default().clear(0, NOW), "there was none");
}

#[test]
fn clearing_a_wait_gives_no_leave_beyond_a_configured_quota() {
    let mut account = Account::default();
    let (taken, hold) = drain(&mut account, Purpose::Retraction, &quota(20), NOW);
    assert_eq!((taken, hold.map(|hold| hold.reason)), (20, Some(WaitReason::QuotaUsed)));
    account.hold = Some(Hold::asked(NOW + 3_600_000_000, NOW));
    assert_eq!(account.hold.map(|hold| hold.reason), Some(WaitReason::Implausible));
    assert!(account.clear(20, NOW));
    assert_eq!(account.hold, None);
    assert_eq!(drain(&mut account, Purpose::Retraction, &quota(20), NOW).0, 0);
    // The host told of a window that is used up: forgotten, and what was sent still counts.
    let told =
        Told { limit: 20, remaining: 0, resets_at_ms: NOW + 3_600_000, at_ms: NOW, window_ms: None, outstanding: 0 };
    account.exchange(&News { told: Some(told), ..News::default() }, None, &quota(20), NOW);
    assert!(account.clear(15, NOW));
    assert_eq!(drain(&mut account, Purpose::Retraction, &quota(20), NOW).0, 5);
}
