//! How far this machine's clock is from the vendor's, as the newest answer of the vendor said.

use jiff::{SignedDuration, Timestamp};
use rusqlite::OptionalExtension;
use serde::Serialize;

use super::{Index, IndexReader, moment};
use crate::error::Result;
use crate::model::fnv1a;

/// The key beside the identity; its value is the seconds, or [`NO_DATE`], the moment, and a sum over both, parted by blanks.
const KEY: &str = "clock_ahead";

/// The value if the newest answer carried no date.
const NO_DATE: &str = "none";

/// What was heard longer ago says nothing about the clocks of today.
const HOLDS: SignedDuration = SignedDuration::from_hours(48);

/// Clocks are set back by a little all the time.
const SET_BACK_AT_MOST: SignedDuration = SignedDuration::from_mins(5);

/// The same offset is written again only after this time.
const REPEATED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// How far two clocks were apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClockOffset {
    /// How far this machine's clock was ahead of the vendor's, in seconds; negative if it was behind, `null` if the vendor's
    /// newest answer carried no date.
    pub seconds: Option<i64>,
    /// When that was found, RFC 3339, by this machine's clock.
    pub at: String,
}

/// By which clock expiry and age are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgedBy {
    /// The vendor's: this machine's, with the offset that the vendor's newest answer showed.
    Vendor,
    /// This machine's: the offset is not known.
    #[default]
    Local,
    /// This machine's, although it is behind the moment of a crawl that the index has.
    Suspect,
}

/// Now, as it is to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedNow {
    /// The moment.
    pub at: Timestamp,
    /// By which clock.
    pub by: JudgedBy,
}

impl JudgedBy {
    /// A sentence for a person who relies on it; `None` if there is nothing to say.
    pub fn doubt(self) -> Option<&'static str> {
        let doubt = "expiry is judged by this machine's clock, which is behind the newest crawl: set it, then run `recoup doctor`";
        (self == Self::Suspect).then_some(doubt)
    }
}

impl ClockOffset {
    /// `None` also if the sum does not fit: a damaged offset is not known.
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

    /// Now by the vendor's clock; `None` if the offset is not known any more.
    fn now(&self, local: Timestamp) -> Option<Timestamp> {
        let (seconds, at) = (self.seconds?, self.at.parse::<Timestamp>().ok()?);
        let holds = local.duration_since(at).abs() <= HOLDS;
        holds.then(|| local.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN))
    }

    /// Whether writing this down again would say nothing new.
    fn says(&self, seconds: Option<i64>, at: Timestamp) -> bool {
        let is_same = match (self.seconds, seconds) {
            (Some(before), Some(now)) => before.abs_diff(now) <= 1,
            (before, now) => before == now,
        };
        is_same && self.at.parse::<Timestamp>().is_ok_and(|then| at.duration_since(then).abs() < REPEATED_AFTER)
    }
}

impl Index {
    /// Remembers how far this clock is ahead of the vendor's by an answer that came at `at`; `None` if it carried no date.
    pub fn remember_clock(&mut self, seconds: Option<i64>, at: Timestamp) -> Result<()> {
        let known = self.read(|conn| {
            let value = conn.query_row("SELECT value FROM identity WHERE key = ?1", [KEY], |row| row.get(0));
            Ok(value.optional()?.and_then(|value: String| ClockOffset::read(&value)))
        })?;
        if known.is_some_and(|known| known.says(seconds, at)) {
            return Ok(());
        }
        self.write(|tx, _| {
            let insert =
                "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
            tx.execute(insert, [KEY, &ClockOffset::value(seconds, at)]).map(drop)
        })
    }
}

impl IndexReader {
    /// What was remembered; `None` before the vendor's first answer.
    pub fn clock_offset(&self) -> Result<Option<ClockOffset>> {
        let value: Option<String> = self.read(|conn| {
            conn.query_row("SELECT value FROM identity WHERE key = ?1", [KEY], |row| row.get(0)).optional()
        })?;
        Ok(value.and_then(|value| ClockOffset::read(&value)))
    }

    /// Now, as expiry and age are to be judged by: the vendor's clock if its offset is known.
    pub fn judged_now(&self, local: Timestamp) -> Result<JudgedNow> {
        if let Some(at) = self.clock_offset()?.and_then(|offset| offset.now(local)) {
            return Ok(JudgedNow { at, by: JudgedBy::Vendor });
        }
        let seen: Option<i64> = self.read(|conn| {
            let sql = "SELECT max(max(started_at, coalesce(finished_at, 0))) FROM runs";
            conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
        })?;
        let is_behind = seen.is_some_and(|seen| moment(seen).duration_since(local) > SET_BACK_AT_MOST);
        Ok(JudgedNow { at: local, by: if is_behind { JudgedBy::Suspect } else { JudgedBy::Local } })
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
        assert!(JudgedBy::Suspect.doubt().is_some_and(|doubt| doubt.contains("this machine's clock")));
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
