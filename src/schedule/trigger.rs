//! Computes when a job is due, from an interval or a cron expression, with jitter. The trigger of a job does no I/O.
//!
//! A job that has missed several due times runs only once. The jitter of a run is computed from the job and the due
//! time, because every process must get the same value. Jitter spreads the requests of many tenants.

use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use jiff_cron::Schedule as Cron;

use crate::clock::signed;
use crate::model::fnv1a;

const MAX_JITTER: Duration = Duration::from_mins(10);

const MIN_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub enum Trigger {
    /// The job is due if this time has passed since its last start.
    Every(Duration),
    /// The job is due at the times of a cron expression, in the local time zone.
    At(Box<Cron>),
}

impl Trigger {
    pub fn every(interval: Duration) -> Result<Self, String> {
        if interval < MIN_INTERVAL {
            return Err("an interval must be at least a second".to_owned());
        }
        Ok(Self::Every(interval))
    }

    /// Parses a cron expression of five fields: minute, hour, day of the month, month, and day of the week by name.
    pub fn cron(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [_, _, _, _, weekday] = fields.as_slice() else {
            return Err(format!("{text:?} needs five fields: minute hour day month weekday"));
        };
        // Refuses numbers for days of the week, because some programs count from 0 and some from 1. The user would
        // notice a backup on the wrong day too late.
        if weekday.bytes().any(|b| b.is_ascii_digit()) {
            return Err(format!("write the day of the week in {text:?} by its name: Mon, Tue-Fri, or *"));
        }
        let cron = Cron::from_str(&format!("0 {text}"))
            .map_err(|error| format!("{text:?} is not a cron expression: {error}"))?;
        Ok(Self::At(Box::new(cron)))
    }

    /// Returns the next due time of the job without jitter. `last` is the job's last start. If the job has never run,
    /// `since` is the start of the schedule.
    pub fn next(&self, last: Option<Timestamp>, since: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => match last {
                Some(last) => Some(last.checked_add(signed(*interval)).unwrap_or(Timestamp::MAX)),
                None => Some(since),
            },
            Self::At(cron) => {
                let after = last.unwrap_or(since).to_zoned(zone.clone());
                cron.after(after).next().map(|at| at.timestamp())
            }
        }
    }

    /// Returns the random delay of one run, computed from the job and its due time.
    pub fn jitter(&self, share: f64, job: &str, moment: Timestamp) -> SignedDuration {
        let whole = match self {
            Self::Every(interval) => interval.mul_f64(share.clamp(0.0, 1.0)).min(MAX_JITTER),
            Self::At(_) => MAX_JITTER.mul_f64(share.clamp(0.0, 1.0)),
        };
        let millis = whole.as_millis() as u64;
        let seed = job.bytes().chain(moment.as_millisecond().to_le_bytes());
        let drawn = if millis == 0 { 0 } else { fnv1a(seed) % millis };
        SignedDuration::from_millis(drawn as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn zone() -> TimeZone {
        // Two days a year have 23 or 25 hours in this test's time zone.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    #[test]
    fn what_was_missed_runs_once_and_then_in_time() {
        let hourly = Trigger::every(Duration::from_hours(1)).expect("an interval");
        let since = at("2026-11-27T10:00:00Z");
        assert_eq!(hourly.next(None, since, &zone()), Some(since));
        let last = at("2026-11-20T10:00:00Z");
        let due = hourly.next(Some(last), since, &zone()).expect("a moment");
        assert!(due < since, "a week was missed, and it is due at once");
        assert_eq!(hourly.next(Some(since), since, &zone()), Some(at("2026-11-27T11:00:00Z")));
    }

    #[test]
    fn a_night_of_the_local_zone_is_meant_also_when_the_clock_changes() {
        let nightly = Trigger::cron("30 2 * * *").expect("a time");
        let since = at("2026-03-28T12:00:00Z");
        for (last, next) in [
            (None, "2026-03-29T01:30:00Z"),
            (Some("2026-03-29T01:30:00Z"), "2026-03-30T00:30:00Z"),
            (Some("2026-10-24T00:30:00Z"), "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(nightly.next(last.map(at), since, &zone()), Some(at(next)), "{last:?}");
        }
        let weekly = Trigger::cron("0 6 * * Mon-Fri").expect("a time");
        assert_eq!(weekly.next(Some(at("2026-11-27T07:00:00Z")), since, &zone()), Some(at("2026-11-30T05:00:00Z")));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["", "* * * *", "* * * * * *", "61 * * * *", "0 6 * * 1", "0 6 * * 1-5", "every day", "0 6 * * Foo"]
        {
            assert!(Trigger::cron(text).is_err(), "{text}");
        }
        assert!(Trigger::every(Duration::from_millis(999)).is_err());
    }

    proptest! {
        #[test]
        fn the_next_run_is_after_the_last_and_jitter_has_bounds(
            last in 0_i64..4_000_000_000, minutes in 1_u64..100_000, share in 0.0_f64..1.0
        ) {
            let last = Timestamp::from_second(last).expect("a moment");
            for trigger in [Trigger::every(Duration::from_mins(minutes)).expect("an interval"), Trigger::cron("*/7 3 * * *").expect("a time")] {
                let next = trigger.next(Some(last), Timestamp::UNIX_EPOCH, &zone()).expect("a moment");
                prop_assert!(next > last);
                let jitter = trigger.jitter(share, "refresh", next);
                prop_assert!(jitter >= SignedDuration::ZERO && jitter <= signed(MAX_JITTER));
                prop_assert_eq!(jitter, trigger.jitter(share, "refresh", next));
            }
        }
    }
}
