//! Moves times from one clock to another, because machines that share a quota on a PostgreSQL server use the server's
//! clock.

use super::{Grant, Pause, QuotaHeader, QuotaState, RateLimited, UsageReport};

/// A time that a clock has set. `shifted` returns a time by a clock that is `ahead_ms` ahead of the clock that set the
/// time.
pub trait Shifted {
    #[must_use]
    fn shifted(self, ahead_ms: i64) -> Self;
}

/// Leaves a time unchanged if no clock has set it.
fn shift(time: i64, ahead: i64) -> i64 {
    if time == 0 { 0 } else { time.saturating_add(ahead) }
}

impl Shifted for Pause {
    fn shifted(self, ahead_ms: i64) -> Self {
        Self { until_ms: shift(self.until_ms, ahead_ms), ..self }
    }
}

impl Shifted for UsageReport {
    fn shifted(self, ahead_ms: i64) -> Self {
        let header = |header: QuotaHeader| QuotaHeader {
            resets_at_ms: shift(header.resets_at_ms, ahead_ms),
            at_ms: shift(header.at_ms, ahead_ms),
            ..header
        };
        let limited = |limited: RateLimited| RateLimited { at_ms: shift(limited.at_ms, ahead_ms), ..limited };
        Self {
            pause: self.pause.map(|pause| pause.shifted(ahead_ms)),
            header: self.header.map(header),
            limited: self.limited.map(limited),
            ..self
        }
    }
}

impl Shifted for Grant {
    fn shifted(self, ahead_ms: i64) -> Self {
        Self {
            void_at_ms: self.void_at_ms.map(|time| shift(time, ahead_ms)),
            starts_us: shift(self.starts_us, ahead_ms.saturating_mul(1000)),
            pause: self.pause.map(|pause| pause.shifted(ahead_ms)),
            ..self
        }
    }
}

impl Shifted for QuotaState {
    fn shifted(self, ahead_ms: i64) -> Self {
        Self {
            window_ends_ms: self.window_ends_ms.map(|time| shift(time, ahead_ms)),
            header_at_ms: self.header_at_ms.map(|time| shift(time, ahead_ms)),
            limited_at_ms: self.limited_at_ms.map(|time| shift(time, ahead_ms)),
            rate_raised_at_ms: shift(self.rate_raised_at_ms, ahead_ms),
            next_slot_us: shift(self.next_slot_us, ahead_ms.saturating_mul(1000)),
            next_retraction_us: shift(self.next_retraction_us, ahead_ms.saturating_mul(1000)),
            pause: self.pause.map(|pause| pause.shifted(ahead_ms)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::budget::{LeaseRequest, Purpose, Quota, QuotaSettings};

    /// Tests two machines, of which one is ten minutes behind, that use the clock of a third machine.
    #[test]
    fn machines_with_different_clocks_share_one_quota() {
        let settings =
            QuotaSettings { quota: Some(Quota { limit: 100, window_ms: 60_000 }), ..QuotaSettings::default() };
        let request = LeaseRequest { purpose: Purpose::Crawl, want: 8 };
        let (mut state, mut taken) = (QuotaState::default(), 0);
        for n in 0..200_i64 {
            let server_now = 1_700_000_000_000 + n;
            let ahead = if n % 2 == 0 { 0 } else { -600_000 };
            let report = UsageReport::default().shifted(-ahead);
            let grant = state.exchange(&report, request, &settings, server_now).shifted(ahead);
            taken += grant.requests;
            if let Some(pause) = grant.pause {
                let left = pause.until_ms - (server_now + ahead);
                // The pause ends shortly after the quota window.
                assert!((1..=61_000).contains(&left), "{left} ms are left of the window");
            }
        }
        assert_eq!(taken, 90, "all but the reserve");
    }

    #[test]
    fn a_time_that_is_moved_and_moved_back_is_the_same() {
        let pause = Some(Pause { until_ms: 7, reason: crate::model::budget::WaitReason::AskedTo });
        let grant = Grant { void_at_ms: Some(5), starts_us: 9_000, pause, ..Grant::default() };
        assert_eq!(grant.shifted(600_000).shifted(-600_000), grant);
        let state = QuotaState { window_ends_ms: Some(4), next_slot_us: 0, pause, ..QuotaState::default() };
        assert_eq!(state.shifted(600_000).shifted(-600_000), state);
        assert_eq!(state.shifted(600_000).next_slot_us, 0, "no clock has set it");
    }
}
