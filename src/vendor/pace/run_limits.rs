//! The limits of this run: `--max-requests` and `--until`. At a limit of the run, no further request starts, and
//! running requests finish.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, Unit};

use crate::error::{Error, Kind, Result};
use crate::model::counted;

pub(super) struct RunLimits {
    max_requests: Option<u64>,
    until: Option<Timestamp>,
    started: AtomicU64,
}

impl RunLimits {
    pub(super) fn new(max_requests: Option<u64>, until: Option<Timestamp>) -> Self {
        Self { max_requests, until, started: AtomicU64::new(0) }
    }

    /// Fails if `moment_ms` is not before `--until`, or if `--max-requests` is used up. The pacer also checks the end
    /// of a wait, because it must not wait for a start that `--until` forbids.
    pub(super) fn check(&self, moment_ms: i64) -> Result<()> {
        if let Some(max) = self.max_requests.filter(|max| self.started.load(Ordering::Relaxed) >= *max) {
            return Err(used_up(max));
        }
        match self.until {
            Some(until) if moment_ms >= until.as_millisecond() => {
                let until = until.round(Unit::Second).unwrap_or(until);
                Err(stopped(&format!("no request starts after {until} (--until)")))
            }
            _ => Ok(()),
        }
    }

    /// Counts a request of this run that starts now. Fails if `--max-requests` is used up.
    pub(super) fn count(&self) -> Result<()> {
        let Some(max) = self.max_requests else { return Ok(()) };
        let next = |started| (started < max).then_some(started + 1);
        match self.started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(_) => Err(used_up(max)),
        }
    }
}

fn used_up(max: u64) -> Error {
    stopped(&format!("--max-requests allows {}", counted(max, "request")))
}

fn stopped(why: &str) -> Error {
    Error::new(Kind::Parked, format!("stopped at a limit of this run: {why}"))
        .hint("the work so far is saved; the next `recoup crawl` resumes from here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_starts_at_until_or_above_max_requests() {
        let limits = RunLimits::new(Some(2), Timestamp::from_millisecond(5_000).ok());
        assert!(limits.check(4_999).is_ok());
        assert_eq!(limits.check(5_000).map_err(|error| error.kind), Err(Kind::Parked));
        assert!(limits.count().is_ok() && limits.count().is_ok());
        let error = limits.count().expect_err("the third");
        assert!(error.message.contains("allows 2 requests"), "{}", error.message);
        assert!(RunLimits::new(None, None).check(i64::MAX).is_ok());
    }
}
