//! Provides the current time and sleeping, so that tests can control both.
//!
//! Wall time is one reading of the system clock plus the time that tokio's clock has counted since. Pausing tokio's
//! clock therefore pauses wall time and sleeping. A step of the system clock cannot move a deadline backwards. Callers
//! must not compare a time of this clock with `SystemTime::now()`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began_at: Timestamp,
    began: Instant,
}

impl Clock {
    /// Starts a clock at the current system time. A caller with paused tokio time must be inside a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the time of day")]
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    pub fn starting_at(began_at: Timestamp) -> Self {
        Self { began_at, began: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.began_at.checked_add(signed(self.began.elapsed())).unwrap_or(Timestamp::MAX)
    }

    /// Returns the current time in Unix milliseconds, as the Advocate API writes times.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Converts a duration to a signed duration, for comparison with the difference of two timestamps. Saturates.
pub fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}
