//! Requests that are done once, by their Idempotency-Key.

use rusqlite::{OptionalExtension, params};

use super::AccessFile;
use crate::error::Result;

/// What a key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// It was not used before.
    New,
    /// Its request is being done.
    InFlight,
    /// Its request was done, with this answer.
    Done {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It belongs to another request.
    Different,
}

/// An answer is kept this long.
const KEPT_MS: i64 = 24 * 3_600_000;

/// A request that is still being done after this was cut off with its process; the ledger knows what it has sent.
const IN_FLIGHT_MS: i64 = 10 * 60_000;

impl AccessFile {
    /// Takes a key for a request.
    pub fn begin_once(&self, user: &str, key: &str, hash: &str, now_ms: i64) -> Result<Once> {
        self.write(|tx| {
            tx.execute(
                "DELETE FROM once WHERE at_ms < ?1 OR (status IS NULL AND at_ms < ?2)",
                [now_ms - KEPT_MS, now_ms - IN_FLIGHT_MS],
            )?;
            let known = tx
                .prepare_cached("SELECT hash, status, body FROM once WHERE user = ?1 AND key = ?2")?
                .query_row([user, key], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<u16>>(1)?, row.get::<_, Option<String>>(2)?))
                })
                .optional()?;
            Ok(match known {
                Some((other, ..)) if other != hash => Once::Different,
                Some((_, Some(status), body)) => Once::Done { status, body: body.unwrap_or_default() },
                Some((_, None, _)) => Once::InFlight,
                None => {
                    tx.execute(
                        "INSERT INTO once (user, key, hash, at_ms) VALUES (?1, ?2, ?3, ?4)",
                        params![user, key, hash, now_ms],
                    )?;
                    Once::New
                }
            })
        })
    }

    /// Keeps the answer of a request.
    pub fn finish_once(&self, user: &str, key: &str, status: u16, body: &str) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "UPDATE once SET status = ?3, body = ?4 WHERE user = ?1 AND key = ?2",
                params![user, key, status, body],
            )
            .map(drop)
        })
    }

    /// Frees a key: nothing was done by its request.
    pub fn forget_once(&self, user: &str, key: &str) -> Result<()> {
        self.write(|tx| tx.execute("DELETE FROM once WHERE user = ?1 AND key = ?2", [user, key]).map(drop))
    }
}
