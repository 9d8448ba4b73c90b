//! Attempts to sign in. The service counts each attempt before it checks the password, so that parallel attempts count
//! too.

use super::AccessFile;
use crate::error::Result;
use crate::store::db::{DbError, Tx};

/// The key under which failed sign-ins of all users together are counted.
const EVERYBODY: &str = "everybody";

/// The maximum number of stored keys. recoup deletes the oldest keys, because an attacker can try any number of names.
const KEPT: u32 = 10_000;

/// A key to count failed sign-ins by, and a function that returns the wait before the key's next attempt, in
/// milliseconds. The function's arguments are the failures of the key and the failures of all users.
pub type CountedKey = (String, fn(u32, u32) -> i64);

impl AccessFile {
    /// Counts a sign-in attempt for each of these keys. If a further attempt is not allowed yet for one of the keys,
    /// changes nothing and returns the time of the next allowed attempt in Unix milliseconds. The failure count of all
    /// users decreases by one every `forgotten_every_ms`.
    pub fn attempt(&self, keys: &[CountedKey], forgotten_every_ms: i64, now_ms: i64) -> Result<Option<i64>> {
        self.conn.write(|tx| {
            let mut until = None;
            for (key, _) in keys {
                let count = count_of(tx, key)?;
                until = until.max(count.map(|count| count.until_ms).filter(|until| *until > now_ms));
            }
            if until.is_some() {
                return Ok(until);
            }
            let of_everybody = count_of(tx, EVERYBODY)?.unwrap_or(Count { failures: 0, until_ms: 0, at_ms: now_ms });
            let forgotten = (now_ms - of_everybody.at_ms).max(0) / forgotten_every_ms.max(1);
            let left = of_everybody.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
            let since = if left == 0 { now_ms } else { of_everybody.at_ms + forgotten * forgotten_every_ms };
            let all = left.saturating_add(1);
            keep(tx, EVERYBODY, Count { failures: all, until_ms: 0, at_ms: since })?;
            for (key, wait) in keys {
                let failures = count_of(tx, key)?.map_or(0, |count| count.failures).saturating_add(1);
                let until_ms = now_ms.saturating_add(wait(failures, all));
                keep(tx, key, Count { failures, until_ms, at_ms: now_ms })?;
            }
            tx.run(
                "DELETE FROM sign_in_attempts WHERE key <> ?1 AND key NOT IN (
                     SELECT key FROM sign_in_attempts WHERE key <> ?1 ORDER BY at_ms DESC LIMIT ?2)",
                &[&EVERYBODY, &KEPT],
            )?;
            Ok(None)
        })
    }

    /// Removes the counts of a successful sign-in, and deletes counts whose last attempt was before `old_ms`.
    pub fn forget_attempts(&self, keys: &[String], old_ms: i64) -> Result<()> {
        self.conn.write(|tx| {
            for key in keys {
                tx.run("DELETE FROM sign_in_attempts WHERE key = ?1", &[key])?;
            }
            let one_less = "UPDATE sign_in_attempts SET failures = failures - 1 WHERE key = ?1 AND failures > 0";
            tx.run(one_less, &[&EVERYBODY])?;
            tx.run("DELETE FROM sign_in_attempts WHERE at_ms < ?1", &[&old_ms]).map(drop)
        })
    }
}

#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    until_ms: i64,
    at_ms: i64,
}

fn count_of(tx: &Tx<'_>, key: &str) -> Result<Option<Count>, DbError> {
    tx.opt("SELECT failures, until_ms, at_ms FROM sign_in_attempts WHERE key = ?1", &[&key], |row| {
        Ok(Count { failures: row.get(0)?, until_ms: row.get(1)?, at_ms: row.get(2)? })
    })
}

fn keep(tx: &Tx<'_>, key: &str, count: Count) -> Result<(), DbError> {
    tx.run(
        "INSERT INTO sign_in_attempts (key, failures, until_ms, at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, until_ms = excluded.until_ms, at_ms = excluded.at_ms",
        &[&key, &count.failures, &count.until_ms, &count.at_ms],
    )
    .map(drop)
}
