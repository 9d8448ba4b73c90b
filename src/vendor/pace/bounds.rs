//! The bounds of one process: so many requests, and until when. At a bound nothing starts any more; what is under way
//! finishes.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, Unit};

use crate::error::{Error, Kind, Result};

pub(super) struct Bounds {
    most: Option<u64>,
    until_ms: Option<i64>,
    started: AtomicU64,
}

impl Bounds {
    pub(super) fn new(most: Option<u64>, until: Option<Timestamp>) -> Self {
        Self { most, until_ms: until.map(Timestamp::as_millisecond), started: AtomicU64::new(0) }
    }

    /// Refuses a moment that is beyond the bound, also one that would be waited for in vain, and any when all is used.
    pub(super) fn check(&self, moment_ms: i64) -> Result<()> {
        if let Some(most) = self.most.filter(|most| self.started.load(Ordering::Relaxed) >= *most) {
            return Err(used_up(most));
        }
        match self.until_ms {
            Some(until_ms) if moment_ms >= until_ms => {
                let until = Timestamp::from_millisecond(until_ms).unwrap_or(Timestamp::MAX);
                let until = until.round(Unit::Second).unwrap_or(until);
                Err(reached(&format!("no request may start from {until} on (--until)")))
            }
            _ => Ok(()),
        }
    }

    /// Counts a request that starts now, unless it is the one too many.
    pub(super) fn count(&self) -> Result<()> {
        let Some(most) = self.most else { return Ok(()) };
        let next = |started| (started < most).then_some(started + 1);
        match self.started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(_) => Err(used_up(most)),
        }
    }
}

fn used_up(most: u64) -> Error {
    reached(&format!("all of the {most} requests that were allowed are used (--max-requests)"))
}

fn reached(what: &str) -> Error {
    Error::new(Kind::Parked, format!("stopped at the bound that was set: {what}"))
        .hint("what was done so far is kept; the next `recoup crawl` goes on where this one stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_first_moment_and_the_first_request_that_is_refused() {
        let bounds = Bounds::new(Some(2), Timestamp::from_millisecond(5_000).ok());
        assert!(bounds.check(4_999).is_ok());
        assert_eq!(bounds.check(5_000).map_err(|error| error.kind), Err(Kind::Parked));
        assert!(bounds.count().is_ok() && bounds.count().is_ok());
        let error = bounds.count().expect_err("the third");
        assert!(error.message.contains("all of the 2 requests"), "{}", error.message);
        assert!(Bounds::new(None, None).check(i64::MAX).is_ok());
    }
}
