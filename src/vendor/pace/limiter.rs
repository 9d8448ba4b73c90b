//! Decides when each request of a lease may start. The limiter runs governor's rate limiter on tokio's clock.
//!
//! The lease sets the number of requests and the rate of the limiter. One limiter serves all consecutive leases at the
//! same rate, because requests must be able to catch up after a late timer.

use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};
use governor::{middleware::NoOpMiddleware, state::InMemoryState, state::NotKeyed};
use tokio::time::Instant;

use crate::model::budget::Grant;

/// The longest delay of a timer that later requests make up for. Timers fire late, especially on a busy machine. Later
/// requests do not make up for a longer delay. Therefore a suspended process does not resume with a burst of requests.
const CATCH_UP: Duration = Duration::from_millis(250);

/// An instant of tokio's clock, which a test can pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, time: Nanos) -> Self {
        Self(self.0 + Duration::from(time))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, time: Nanos) -> Self {
        Self(self.0.checked_sub(time.into()).unwrap_or(self.0))
    }
}

struct TokioClock;

impl Clock for TokioClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

/// The rate limiter of consecutive leases.
pub(super) struct Limiter {
    inner: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Moment>>,
    spacing_us: f64,
    /// When the schedule of the newest lease ends, in Unix microseconds.
    ends_us: i64,
}

impl Limiter {
    /// Creates a limiter for a lease whose first request could have started `late_us` microseconds ago.
    pub(super) fn new(grant: &Grant, late_us: i64) -> Self {
        let spacing = Duration::from_secs_f64(grant.spacing_us / 1e6).max(Duration::from_nanos(1));
        let late = Duration::from_micros(late_us.max(0).unsigned_abs()).min(CATCH_UP);
        let cells = |time: Duration| u32::try_from(time.as_nanos() / spacing.as_nanos()).unwrap_or(u32::MAX - 1);
        let burst = NonZeroU32::MIN.saturating_add(cells(CATCH_UP));
        let quota = Quota::with_period(spacing).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let inner = RateLimiter::direct_with_clock(quota, TokioClock);
        // A new governor limiter permits a full burst of requests. The new limiter must not permit a full burst.
        // Therefore the limiter starts with its burst used up, but for the late requests.
        if let Some(spent) = NonZeroU32::new(cells(CATCH_UP) - cells(late)) {
            drop(inner.check_n(spent));
        }
        Self { inner, spacing_us: grant.spacing_us, ends_us: end_of(grant) }
    }

    /// Returns `true` if the lease directly follows the last lease at the same rate. If the new lease follows the last
    /// lease directly, the limiter can continue.
    pub(super) fn continues_with(&mut self, grant: &Grant) -> bool {
        let follows = (grant.starts_us - self.ends_us).abs() <= 1 && (grant.spacing_us - self.spacing_us).abs() < 1e-9;
        if follows {
            self.ends_us = end_of(grant);
        }
        follows
    }

    /// Permits one request now, or returns the wait until the next request may start.
    pub(super) fn check(&self) -> Result<(), Duration> {
        self.inner.check().map_err(|not_until| not_until.wait_time_from(TokioClock.now()))
    }
}

fn end_of(grant: &Grant) -> i64 {
    grant.starts_us.saturating_add((grant.requests as f64 * grant.spacing_us).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(requests: u64, per_second: f64, starts_us: i64) -> Grant {
        Grant { requests, counted: true, starts_us, spacing_us: 1e6 / per_second, ..Grant::default() }
    }

    /// Returns the number of requests that the limiter lets start at once.
    fn burst(limiter: &Limiter) -> usize {
        (0..1_000).take_while(|_| limiter.check().is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_start_one_by_one_and_catch_up_after_a_short_delay_only() {
        let limiter = Limiter::new(&grant(100, 100.0, 0), 0);
        assert_eq!(burst(&limiter), 1, "no burst at the start");
        assert_eq!(limiter.check(), Err(Duration::from_millis(10)));
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(burst(&limiter), 5);
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(burst(&limiter), 26, "starts missed more than a quarter of a second ago are lost");
        assert_eq!(burst(&Limiter::new(&grant(100, 100.0, 0), 30_000)), 4, "three are late");
        assert_eq!(burst(&Limiter::new(&grant(1, 0.001, 0), 0)), 1);
        assert_eq!(burst(&Limiter::new(&grant(1_000, 1e9, 0), 1_000_000)), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_directly_follows_another_keeps_its_limiter() {
        let mut limiter = Limiter::new(&grant(50, 100.0, 7), 0);
        assert!(limiter.continues_with(&grant(50, 100.0, 500_007)));
        assert!(limiter.continues_with(&grant(50, 100.0, 1_000_007)));
        assert!(!limiter.continues_with(&grant(50, 100.0, 1_600_007)), "another process has the slots in between");
        assert!(!limiter.continues_with(&grant(50, 90.0, 1_500_007)), "another rate");
    }
}
