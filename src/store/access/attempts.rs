//! Attempts to sign in, counted before the password is looked at, so that many at once are counted too.

use rusqlite::{Connection, OptionalExtension, params};

use super::AccessFile;
use crate::error::Result;

/// Under this key the failures of everybody are counted together.
const EVERYBODY: &str = "everybody";

/// Counts that are kept; the oldest go first. A stranger can try any number of names.
const KEPT: u32 = 10_000;

/// What is counted, and how long the next attempt waits, in milliseconds: after so many failures, and so many of everybody.
pub type Counted = (String, fn(u32, u32) -> i64);

impl AccessFile {
    /// Counts an attempt for each of these keys, unless one of them must wait: until when, Unix milliseconds. One attempt of
    /// everybody is forgotten after each `forgotten_every_ms`.
    pub fn attempt(&self, keys: &[Counted], forgotten_every_ms: i64, now_ms: i64) -> Result<Option<i64>> {
        self.write(|tx| {
            let mut until = None;
            for (key, _) in keys {
                let known = known(tx, key)?;
                until = until.max(known.map(|known| known.until_ms).filter(|until| *until > now_ms));
            }
            if until.is_some() {
                return Ok(until);
            }
            let of_everybody = known(tx, EVERYBODY)?.unwrap_or(Known { failures: 0, until_ms: 0, at_ms: now_ms });
            let forgotten = (now_ms - of_everybody.at_ms).max(0) / forgotten_every_ms.max(1);
            let left = of_everybody.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
            let since = if left == 0 { now_ms } else { of_everybody.at_ms + forgotten * forgotten_every_ms };
            let all = left.saturating_add(1);
            keep(tx, EVERYBODY, Known { failures: all, until_ms: 0, at_ms: since })?;
            for (key, wait) in keys {
                let failures = known(tx, key)?.map_or(0, |known| known.failures).saturating_add(1);
                let until_ms = now_ms.saturating_add(wait(failures, all));
                keep(tx, key, Known { failures, until_ms, at_ms: now_ms })?;
            }
            tx.execute(
                "DELETE FROM attempts WHERE key IN (
                     SELECT key FROM attempts WHERE key <> ?1 ORDER BY at_ms DESC LIMIT -1 OFFSET ?2)",
                params![EVERYBODY, KEPT],
            )?;
            Ok(None)
        })
    }

    /// The attempt went well: the count begins anew, and it was no failure of everybody's.
    pub fn forget_attempts(&self, keys: &[String], old_ms: i64) -> Result<()> {
        self.write(|tx| {
            for key in keys {
                tx.execute("DELETE FROM attempts WHERE key = ?1", [key])?;
            }
            tx.execute("UPDATE attempts SET failures = failures - 1 WHERE key = ?1 AND failures > 0", [EVERYBODY])?;
            tx.execute("DELETE FROM attempts WHERE at_ms < ?1", [old_ms]).map(drop)
        })
    }
}

#[derive(Clone, Copy)]
struct Known {
    failures: u32,
    until_ms: i64,
    at_ms: i64,
}

fn known(tx: &Connection, key: &str) -> rusqlite::Result<Option<Known>> {
    tx.prepare_cached("SELECT failures, until_ms, at_ms FROM attempts WHERE key = ?1")?
        .query_row([key], |row| Ok(Known { failures: row.get(0)?, until_ms: row.get(1)?, at_ms: row.get(2)? }))
        .optional()
}

fn keep(tx: &Connection, key: &str, known: Known) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO attempts (key, failures, until_ms, at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET failures = excluded.failures, until_ms = excluded.until_ms, at_ms = excluded.at_ms",
    )?
    .execute(params![key, known.failures, known.until_ms, known.at_ms])
    .map(drop)
}
