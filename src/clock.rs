//! Now and sleep, in one place, so that tests can move time.
//!
//! Wall time is one reading of the system clock plus what tokio's clock has counted since: a paused tokio clock therefore
//! moves both, and a step of the system clock cannot make a deadline go backwards. Never compare its readings with
//! `SystemTime::now()` directly.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that starts at the system's time and moves with tokio's.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began_at: Timestamp,
    began: Instant,
}

impl Clock {
    /// A clock that starts now. Must be called inside a tokio runtime when time is paused.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the time of day")]
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that starts at a given moment.
    pub fn starting_at(began_at: Timestamp) -> Self {
        Self { began_at, began: Instant::now() }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.began_at.checked_add(signed(self.began.elapsed())).unwrap_or(Timestamp::MAX)
    }

    /// The time of day in Unix milliseconds, as the Advocate API counts.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A span of time that can be set against the difference of two moments, which may be negative.
pub fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}
