//! The offset between this machine's clock and the vendor's, from the `Date` header of the vendor's newest response.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Index, IndexReader, SET_VALUE, VALUE_OF, moment};
use crate::error::Result;
use crate::model::fnv1a;
use crate::store::db::{DbError, Tx};

/// The key of the offset in `identity`. The stored value has three parts, separated by spaces: the offset in seconds or
/// [`NO_DATE`], the time of the measurement, and a checksum of both.
const KEY: &str = "clock_ahead";

/// The text in place of the offset if the vendor's newest response had no `Date`.
const NO_DATE: &str = "none";

/// The maximum age of a measured offset. recoup ignores an older offset, because the clock may have been set since.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(48);

/// The largest step back of this machine's clock that counts as normal time synchronisation.
const SET_BACK_AT_MOST: SignedDuration = SignedDuration::from_mins(5);

/// The minimum delay between two writes of an unchanged offset.
const REPEATED_AFTER: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClockOffset {
    /// The offset in seconds: positive if this machine's clock was ahead of the vendor's, negative if it was behind. `null`
    /// if the vendor's newest response had no date.
    pub seconds: Option<i64>,
    /// When the offset was measured, RFC 3339, by this machine's clock.
    pub at: String,
}

/// The clock by which recoup determines expiry and age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgedBy {
    /// The vendor's clock: this machine's clock corrected by the known offset.
    Vendor,
    /// This machine's clock, because the offset to the vendor's clock is unknown.
    #[default]
    Local,
    /// This machine's clock, which is behind the time of the newest crawl and therefore wrong.
    Suspect,
}

/// The current time, and the clock that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedNow {
    pub at: Timestamp,
    pub by: JudgedBy,
}

impl JudgedBy {
    /// Returns a warning about the clock for the user; `None` if the clock is trusted.
    pub fn warning(self) -> Option<&'static str> {
        let warning = "expiry is judged by this machine's clock, which is behind the newest crawl: set it, then run `recoup doctor`";
        (self == Self::Suspect).then_some(warning)
    }
}

impl ClockOffset {
    /// Parses a stored offset. Returns `None` if the stored value is damaged; a damaged offset counts as unknown.
    fn read(value: &str) -> Option<Self> {
        let (said, sum) = value.rsplit_once(' ')?;
        if sum != format!("{:x}", fnv1a(said.bytes())) {
            return None;
        }
        let (seconds, at) = said.split_once(' ')?;
        let seconds = if seconds == NO_DATE { None } else { Some(seconds.parse().ok()?) };
        Some(Self { seconds, at: at.to_owned() })
    }

    fn value(seconds: Option<i64>, at: Timestamp) -> String {
        let said = format!("{} {at:.0}", seconds.map_or_else(|| NO_DATE.to_owned(), |seconds| seconds.to_string()));
        format!("{said} {:x}", fnv1a(said.bytes()))
    }

    /// Returns the current time by the vendor's clock; `None` if the offset is unknown or too old.
    fn now(&self, local: Timestamp) -> Option<Timestamp> {
        let (seconds, at) = (self.seconds?, self.at.parse::<Timestamp>().ok()?);
        let holds = local.duration_since(at).abs() <= VALID_FOR;
        holds.then(|| local.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN))
    }

    /// Returns `true` if a new offset is so close to this offset that the caller need not store it.
    fn says(&self, seconds: Option<i64>, at: Timestamp) -> bool {
        let is_same = match (self.seconds, seconds) {
            (Some(before), Some(now)) => before.abs_diff(now) <= 1,
            (before, now) => before == now,
        };
        is_same && self.at.parse::<Timestamp>().is_ok_and(|then| at.duration_since(then).abs() < REPEATED_AFTER)
    }
}

impl Index {
    /// Stores by how many seconds this machine's clock is ahead of the vendor's, measured at `at`. `None` means that
    /// the vendor's response had no `Date`.
    pub fn remember_clock(&mut self, seconds: Option<i64>, at: Timestamp) -> Result<()> {
        let known = self.conn.read(stored_offset)?;
        if known.is_some_and(|known| known.says(seconds, at)) {
            return Ok(());
        }
        self.conn.write(|tx| tx.run(SET_VALUE, &[&KEY, &ClockOffset::value(seconds, at)]).map(drop))
    }
}

fn stored_offset(tx: &Tx<'_>) -> Result<Option<ClockOffset>, DbError> {
    let value: Option<String> = tx.opt(VALUE_OF, &[&KEY], |row| row.get(0))?;
    Ok(value.and_then(|value| ClockOffset::read(&value)))
}

impl IndexReader {
    /// Returns the stored offset; `None` before the vendor's first response.
    pub fn clock_offset(&self) -> Result<Option<ClockOffset>> {
        self.conn.read(stored_offset)
    }

    /// Returns the current time for expiry and age, by the vendor's clock if its offset is known.
    pub fn judged_now(&self, local: Timestamp) -> Result<JudgedNow> {
        Ok(self.conn.read(StoredClock::read)?.judged_now(local))
    }
}

/// What the index knows about the time.
#[derive(Debug, Clone)]
pub(super) struct StoredClock {
    offset: Option<ClockOffset>,
    /// When the newest crawl began or ended, by the clock of its machine, in Unix milliseconds.
    newest_run: Option<i64>,
}

impl StoredClock {
    pub(super) fn read(tx: &Tx<'_>) -> Result<Self, DbError> {
        let newest = "SELECT max(CASE WHEN finished_at > started_at THEN finished_at ELSE started_at END) FROM runs";
        Ok(Self { offset: stored_offset(tx)?, newest_run: tx.one(newest, &[], |row| row.get(0))? })
    }

    pub(super) fn judged_now(&self, local: Timestamp) -> JudgedNow {
        if let Some(at) = self.offset.as_ref().and_then(|offset| offset.now(local)) {
            return JudgedNow { at, by: JudgedBy::Vendor };
        }
        let is_behind = self.newest_run.is_some_and(|seen| moment(seen).duration_since(local) > SET_BACK_AT_MOST);
        JudgedNow { at: local, by: if is_behind { JudgedBy::Suspect } else { JudgedBy::Local } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Identity;
    use crate::store::index::NewRun;

    #[test]
    fn a_clock_behind_the_newest_crawl_is_suspect_until_the_vendor_s_is_heard() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("recoup.db");
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let mut index = Index::open(&path, &Identity::of_a_test()).expect("opens");
        let judged = |minutes| {
            let reader = IndexReader::open(&path, None).expect("opens").expect("is there");
            let now = reader.judged_now(at(minutes)).expect("reads");
            (now.by, now.at)
        };
        assert_eq!(judged(0), (JudgedBy::Local, at(0)));
        let (run, _) = index.begin_run(NewRun::of("participants"), at(60)).expect("begins");
        index.finish_run(run, &[], at(70)).expect("finishes");
        assert_eq!(judged(66), (JudgedBy::Local, at(66)), "clocks are set back by a little");
        assert_eq!(judged(60), (JudgedBy::Suspect, at(60)));
        index.remember_clock(Some(-600), at(60)).expect("is kept");
        assert_eq!(judged(60), (JudgedBy::Vendor, at(70)));
        index.remember_clock(None, at(60)).expect("is kept");
        assert_eq!(judged(60), (JudgedBy::Suspect, at(60)));
        assert!(JudgedBy::Suspect.warning().is_some_and(|warning| warning.contains("this machine's clock")));
    }

    #[test]
    fn an_offset_holds_for_two_days_and_no_date_is_none() {
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let offset = ClockOffset::read(&ClockOffset::value(Some(-90), at(0))).expect("is read");
        assert_eq!(offset.now(at(48)), Some(at(48) + SignedDuration::from_secs(90)));
        assert_eq!(offset.now(at(49)), None);
        assert_eq!(offset.now(at(-49)), None);
        assert!(offset.says(Some(-89), at(0)) && !offset.says(Some(-80), at(0)) && !offset.says(Some(-90), at(1)));
        let none = ClockOffset::read(&ClockOffset::value(None, at(0))).expect("is read");
        assert_eq!((none.seconds, none.now(at(1))), (None, None));
        assert!(none.says(None, at(0)) && !none.says(Some(0), at(0)));
        let value = ClockOffset::value(Some(3), at(0));
        assert_eq!(ClockOffset::read(&value).and_then(|it| it.seconds), Some(3));
        for at in 0..value.len() {
            let mut damaged = value.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(ClockOffset::read(&String::from_utf8_lossy(&damaged)), None, "byte {at}");
        }
    }
}
