//! How far this machine's clock was from the vendor's when a command last heard, for whoever looks at the status.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use serde::Serialize;

use super::{Index, IndexReader};
use crate::error::Result;

/// The key beside the identity; its value is the seconds and the moment, parted by a blank.
const KEY: &str = "clock_ahead";

/// How far two clocks were apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClockOffset {
    /// How far this machine's clock was ahead of the vendor's, in seconds; negative if it was behind.
    pub seconds: i64,
    /// When that was found, RFC 3339, by this machine's clock.
    pub at: String,
}

impl Index {
    /// Remembers how far this clock is ahead of the vendor's.
    pub fn remember_clock(&mut self, seconds: i64, at: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            let insert =
                "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
            tx.execute(insert, [KEY, &format!("{seconds} {at:.0}")]).map(drop)
        })
    }
}

impl IndexReader {
    /// What was remembered; `None` before the first command that heard the vendor's time.
    pub fn clock_offset(&self) -> Result<Option<ClockOffset>> {
        let value: Option<String> = self.read(|conn| {
            conn.query_row("SELECT value FROM identity WHERE key = ?1", [KEY], |row| row.get(0)).optional()
        })?;
        Ok(value.and_then(|value| {
            let (seconds, at) = value.split_once(' ')?;
            Some(ClockOffset { seconds: seconds.parse().ok()?, at: at.to_owned() })
        }))
    }
}
