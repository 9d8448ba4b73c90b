//! Attempts to sign in, counted before the password is looked at, so that many at once are counted too.

use rusqlite::{Connection, OptionalExtension, params};

use super::AccessFile;
use crate::error::Result;

/// What is counted, and how long the next attempt waits after so many failures, in milliseconds.
pub type Counted = (String, fn(u32) -> i64);

impl AccessFile {
    /// Counts an attempt for each of these keys, unless one of them must wait: until when, Unix milliseconds.
    pub fn attempt(&mut self, keys: &[Counted], now_ms: i64) -> Result<Option<i64>> {
        self.write(|tx| {
            let mut until = None;
            for (key, _) in keys {
                until = until.max(known(tx, key)?.map(|(_, until_ms)| until_ms).filter(|until| *until > now_ms));
            }
            if until.is_some() {
                return Ok(until);
            }
            for (key, wait) in keys {
                let failures = known(tx, key)?.map_or(0, |(failures, _)| failures) + 1;
                tx.execute(
                    "INSERT INTO attempts (key, failures, until_ms, at_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET failures = excluded.failures, until_ms = excluded.until_ms, at_ms = excluded.at_ms",
                    params![key, failures, now_ms.saturating_add(wait(failures)), now_ms],
                )?;
            }
            Ok(None)
        })
    }

    /// The attempt went well: the count begins anew.
    pub fn forget_attempts(&mut self, keys: &[String], old_ms: i64) -> Result<()> {
        self.write(|tx| {
            for key in keys {
                tx.execute("DELETE FROM attempts WHERE key = ?1", [key])?;
            }
            tx.execute("DELETE FROM attempts WHERE at_ms < ?1", [old_ms]).map(drop)
        })
    }
}

fn known(tx: &Connection, key: &str) -> rusqlite::Result<Option<(u32, i64)>> {
    tx.prepare_cached("SELECT failures, until_ms FROM attempts WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
