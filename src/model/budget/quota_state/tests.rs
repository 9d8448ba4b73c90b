//! Tests the leases, quotas and rates of a shared quota state.

use super::*;
use crate::model::budget::{Quota, RateLimited};

const NOW: i64 = 1_700_000_000_000;

const REPORT_ONLY: LeaseRequest = LeaseRequest { purpose: Purpose::Crawl, want: 0 };

fn lease(purpose: Purpose) -> LeaseRequest {
    LeaseRequest { purpose, want: 1_000 }
}

fn quota(limit: u64) -> QuotaSettings {
    QuotaSettings { quota: Some(Quota { limit, window_ms: 3_600_000 }), ..QuotaSettings::default() }
}

fn rate(per_second: f64) -> QuotaSettings {
    QuotaSettings { rate: Some(per_second), ..QuotaSettings::default() }
}

/// Takes leases until the quota state refuses a lease. Returns the number of leased requests, and the pause that the
/// refusal states.
fn drain(state: &mut QuotaState, purpose: Purpose, terms: &QuotaSettings, now_ms: i64) -> (u64, Option<Pause>) {
    let mut taken = 0;
    loop {
        let grant = state.exchange(&UsageReport::default(), lease(purpose), terms, now_ms);
        if grant.requests == 0 {
            return (taken, grant.pause);
        }
        taken += grant.requests;
    }
}

#[test]
fn a_crawl_leaves_the_reserve_and_a_retraction_uses_it() {
    let mut state = QuotaState::default();
    let (taken, pause) = drain(&mut state, Purpose::Crawl, &quota(1000), NOW);
    assert_eq!(taken, 900);
    let pause = pause.expect("a moment");
    assert_eq!(pause.reason, WaitReason::QuotaUsed);
    assert!(
        (3_600_000..=3_601_000).contains(&(pause.until_ms - NOW)),
        "the whole window, and a margin for the network"
    );
    assert_eq!(drain(&mut state, Purpose::Retraction, &quota(1000), NOW + 5).0, 100);
    assert_eq!(drain(&mut state, Purpose::Crawl, &quota(1000), pause.until_ms - 1).0, 0);
    assert_eq!(drain(&mut state, Purpose::Crawl, &quota(1000), pause.until_ms).0, 900, "a new window");
    let none = QuotaSettings { reserve: 0.0, ..quota(7) };
    assert_eq!(drain(&mut QuotaState::default(), Purpose::Crawl, &none, NOW).0, 7);
    assert_eq!(
        drain(&mut QuotaState::default(), Purpose::Crawl, &quota(1), NOW).0,
        1,
        "a crawl is never shut out for good"
    );
}

#[test]
fn unspent_requests_can_be_leased_again_in_the_same_window_only() {
    let mut state = QuotaState::default();
    drain(&mut state, Purpose::Crawl, &quota(100), NOW);
    let back = UsageReport { unspent: 3, unspent_window: state.window, ..UsageReport::default() };
    state.exchange(&back, REPORT_ONLY, &quota(100), NOW);
    assert_eq!((state.used, state.left_to_crawl(), state.left()), (87, Some(3), Some(13)));
    state.exchange(&back, REPORT_ONLY, &quota(100), NOW + 4_000_000);
    assert_eq!(state.used, 0);
}

#[test]
fn a_lease_of_a_small_quota_is_small() {
    let mut state = QuotaState::default();
    let size = |limit, state: &mut QuotaState| {
        state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &quota(limit), NOW).requests
    };
    assert_eq!((size(20, &mut state), size(1000, &mut QuotaState::default())), (1, 20));
}

#[test]
fn a_lease_without_a_limit_is_unbounded_and_counted_later() {
    let mut state = QuotaState::default();
    let grant = state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &QuotaSettings::default(), NOW);
    assert!(grant.requests == u64::MAX && !grant.counted);
    state.exchange(
        &UsageReport { sent: 7, uncounted: 7, ..UsageReport::default() },
        REPORT_ONLY,
        &QuotaSettings::default(),
        NOW,
    );
    assert_eq!(state.used, 7);
    // If the user configures a quota within the hour, the hour's requests count towards the quota until its window
    // ends.
    let minute = QuotaSettings { quota: Some(Quota { limit: 100, window_ms: 60_000 }), ..QuotaSettings::default() };
    state.exchange(&UsageReport::default(), REPORT_ONLY, &minute, NOW + 1_000);
    assert_eq!((state.used, state.window_ends_ms), (7, Some(NOW + 61_600)));
    state.exchange(&UsageReport::default(), REPORT_ONLY, &QuotaSettings::default(), NOW + 4_000_000);
    assert_eq!(state.used, 0);
}

fn header(limit: u64, remaining: u64, in_seconds: i64) -> UsageReport {
    let header = QuotaHeader {
        limit,
        remaining,
        resets_at_ms: NOW + in_seconds * 1_000,
        window_ms: None,
        at_ms: NOW,
        outstanding: 2,
    };
    UsageReport { header: Some(header), ..UsageReport::default() }
}

#[test]
fn a_header_that_states_more_use_or_a_later_end_wins() {
    let mut state = QuotaState::default();
    state.exchange(&header(100, 60, 600), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!((state.limit, state.used, state.window_ends_ms), (Some(100), 42, Some(NOW + 600_000)));
    assert_eq!(drain(&mut state, Purpose::Crawl, &QuotaSettings::default(), NOW).0, 48);
    state.exchange(&header(100, 80, 601), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!(state.used, 90, "a late answer does not lower the count");
    assert_eq!(state.window_ends_ms, Some(NOW + 601_000), "the later of two roundings");
    state.exchange(&header(100, 2, 601), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!(state.used, 98, "another program uses the quota too");
    state.exchange(&header(100, 99, 3_600), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!(state.used, 3, "another window");
}

#[test]
fn a_configured_quota_caps_the_header_and_a_default_does_not() {
    for (limit, is_default, in_force) in [(50, false, 50), (500, false, 100), (50, true, 100)] {
        let mut state = QuotaState::default();
        let terms = QuotaSettings { quota_is_default: is_default, ..quota(limit) };
        state.exchange(&header(100, 60, 600), REPORT_ONLY, &terms, NOW);
        assert_eq!(state.limit, Some(in_force), "{limit} {is_default}");
    }
}

#[test]
fn a_window_of_a_second_is_a_rate_unless_it_is_the_rest_of_a_longer_window() {
    let mut state = QuotaState::default();
    state.exchange(&header(50, 49, 1), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!((state.rate, state.limit), (Some(50.0), None));
    state.exchange(&header(50, 20, 600), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!((state.rate, state.limit), (None, Some(50)));
    state.exchange(&header(50, 1, 1), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!((state.rate, state.limit), (None, Some(50)));
}

#[test]
fn leases_of_a_rate_follow_each_other_and_a_retraction_goes_first() {
    let mut state = QuotaState::default();
    let mut take = |purpose, want, now_ms| {
        state.exchange(&UsageReport::default(), LeaseRequest { purpose, want }, &rate(100.0), now_ms)
    };
    let first = take(Purpose::Crawl, 1_000, NOW);
    assert_eq!((first.requests, first.starts_us), (50, NOW * 1_000));
    let second = take(Purpose::Crawl, 1_000, NOW);
    let gap = second.starts_us - first.starts_us;
    assert!((500_000..510_000).contains(&gap), "{gap}");
    let ahead = take(Purpose::Retraction, 1, NOW + 10);
    assert_eq!((ahead.requests, ahead.starts_us), (1, (NOW + 10) * 1_000));
    let third = take(Purpose::Crawl, 1_000, NOW + 10);
    let gap = third.starts_us - second.starts_us;
    assert!((512_000..520_000).contains(&gap), "the crawl starts later by as much: {gap}");
}

#[test]
fn a_rate_falls_at_once_and_rises_slowly() {
    let mut state = QuotaState::default();
    let limited =
        |estimate, at_ms| UsageReport { limited: Some(RateLimited { at_ms, estimate }), ..UsageReport::default() };
    state.exchange(&limited(None, NOW), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!(state.rate, None, "no rate is known yet");
    state.exchange(&limited(Some(100.0), NOW), REPORT_ONLY, &QuotaSettings::default(), NOW);
    let learned = state.rate.expect("a rate");
    assert!((95.0..100.0).contains(&learned), "{learned}");
    state.exchange(&limited(Some(1.0), NOW), REPORT_ONLY, &QuotaSettings::default(), NOW);
    assert_eq!(state.rate, Some(learned * DECREASE), "one 429 takes at most a third");
    state.exchange(&limited(Some(1_000.0), NOW), REPORT_ONLY, &QuotaSettings::default(), NOW);
    let low = state.rate.expect("a rate");
    assert!(low < learned * DECREASE, "a 429 never raises it");
    state.exchange(
        &UsageReport { sent: 1, ..UsageReport::default() },
        REPORT_ONLY,
        &QuotaSettings::default(),
        NOW + 5_000,
    );
    assert_eq!(state.rate, Some(low), "an unused rate does not rise");
    let mut at = NOW + 5_000;
    for _ in 0..120 {
        at += 1_000;
        state.exchange(
            &UsageReport { sent: 100, ..UsageReport::default() },
            REPORT_ONLY,
            &QuotaSettings::default(),
            at,
        );
    }
    let back = state.rate.expect("a rate");
    assert!((low * 1.5..low * 6.0).contains(&back), "{back}");
    state.exchange(&UsageReport::default(), REPORT_ONLY, &rate(10.0), at);
    assert_eq!((state.rate, state.rate_learned), (Some(10.0), None), "the configured rate is lower");
}

#[test]
fn a_pause_is_only_extended_and_stops_every_purpose() {
    let mut state = QuotaState::default();
    let pause = |until_ms, reason| UsageReport { pause: Some(Pause { until_ms, reason }), ..UsageReport::default() };
    state.exchange(&pause(NOW + 9_000, WaitReason::AskedTo), REPORT_ONLY, &QuotaSettings::default(), NOW);
    state.exchange(&pause(NOW + 5_000, WaitReason::BackingOff), REPORT_ONLY, &QuotaSettings::default(), NOW);
    for purpose in [Purpose::Crawl, Purpose::Retraction] {
        let grant = state.exchange(&UsageReport::default(), lease(purpose), &QuotaSettings::default(), NOW);
        assert_eq!((grant.requests, grant.pause.map(|pause| pause.until_ms)), (0, Some(NOW + 9_000)));
    }
    assert!(
        state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &QuotaSettings::default(), NOW + 9_000).requests
            > 0
    );
}

#[test]
fn usage_reports_add_up() {
    let mut report = UsageReport { sent: 1, unspent: 5, unspent_window: 1, ..UsageReport::default() };
    report.merge(&UsageReport { sent: 2, unspent: 3, unspent_window: 2, ..UsageReport::default() });
    assert_eq!((report.sent, report.unspent, report.unspent_window), (3, 3, 2));
    report.merge(&UsageReport { unspent: 4, unspent_window: 2, ..UsageReport::default() });
    assert_eq!(report.unspent, 7);
}

#[test]
fn a_wrong_clock_or_a_strange_header_never_stops_requests_for_longer_than_a_day() {
    let year = 366 * 24 * 3_600_000;
    let day = 24 * 3_600_000;
    for (reason, longest) in [(WaitReason::AskedTo, day), (WaitReason::BackingOff, 15 * 60_000)] {
        let mut state = QuotaState { pause: Some(Pause { until_ms: NOW + year, reason }), ..QuotaState::default() };
        let grant = state.exchange(&UsageReport::default(), lease(Purpose::Retraction), &QuotaSettings::default(), NOW);
        assert_eq!(grant.pause.map(|pause| pause.until_ms), Some(NOW + longest));
        let later = state.exchange(
            &UsageReport::default(),
            lease(Purpose::Retraction),
            &QuotaSettings::default(),
            NOW + longest,
        );
        assert!(later.requests > 0, "the pause ends");
    }
    let mut state = QuotaState::default();
    let header =
        QuotaHeader { limit: 0, remaining: 0, resets_at_ms: NOW + year, at_ms: NOW, window_ms: None, outstanding: 0 };
    state.exchange(
        &UsageReport { header: Some(header), ..UsageReport::default() },
        REPORT_ONLY,
        &QuotaSettings::default(),
        NOW,
    );
    let grant = state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &QuotaSettings::default(), NOW);
    assert!(grant.requests > 0, "a limit of 0 is ignored");
}

#[test]
fn an_implausible_reset_pauses_for_a_day_and_can_be_cleared() {
    let year = 366 * 24 * 3_600_000;
    let mut state = QuotaState::default();
    let header =
        QuotaHeader { limit: 100, remaining: 0, resets_at_ms: NOW + year, at_ms: NOW, window_ms: None, outstanding: 0 };
    state.exchange(
        &UsageReport { header: Some(header), ..UsageReport::default() },
        REPORT_ONLY,
        &QuotaSettings::default(),
        NOW,
    );
    let refused = state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &QuotaSettings::default(), NOW);
    let until = refused.pause.expect("the quota is used up").until_ms - NOW;
    assert!((24 * 3_600_000..=24 * 3_600_000 + 1_000).contains(&until), "{until}");
    assert!(state.clear(3, NOW), "there was a wait");
    let grant = state.exchange(&UsageReport::default(), lease(Purpose::Crawl), &QuotaSettings::default(), NOW);
    assert!(grant.requests > 0, "{grant:?}");
    assert!(!QuotaState::default().clear(0, NOW), "there was none");
}

#[test]
fn clearing_a_pause_does_not_lift_a_configured_quota() {
    let mut state = QuotaState::default();
    let (taken, pause) = drain(&mut state, Purpose::Retraction, &quota(20), NOW);
    assert_eq!((taken, pause.map(|pause| pause.reason)), (20, Some(WaitReason::QuotaUsed)));
    state.pause = Some(Pause::asked(NOW + 3_600_000_000, NOW));
    assert_eq!(state.pause.map(|pause| pause.reason), Some(WaitReason::Implausible));
    assert!(state.clear(20, NOW));
    assert_eq!(state.pause, None);
    assert_eq!(drain(&mut state, Purpose::Retraction, &quota(20), NOW).0, 0);
    // The quota state forgets the window from the header, but still counts the requests that recoup has sent.
    let header = QuotaHeader {
        limit: 20,
        remaining: 0,
        resets_at_ms: NOW + 3_600_000,
        at_ms: NOW,
        window_ms: None,
        outstanding: 0,
    };
    state.exchange(&UsageReport { header: Some(header), ..UsageReport::default() }, REPORT_ONLY, &quota(20), NOW);
    assert!(state.clear(15, NOW));
    assert_eq!(drain(&mut state, Purpose::Retraction, &quota(20), NOW).0, 5);
}
