//! Idempotency keys: the service executes each API request with an `Idempotency-Key` once.

use super::AccessFile;
use crate::error::Result;

/// The state of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idempotency {
    /// The key is new.
    New,
    /// The service is executing the key's request.
    InFlight,
    /// The service has answered the key's request.
    Done { status: u16, body: String },
    /// The key belongs to a different request.
    Different,
}

/// The time for which the users' database keeps a response.
const KEPT_MS: i64 = 24 * 3_600_000;

/// The time after which recoup treats a request without a response as interrupted by a crash. The ledger has a record
/// of every retraction that such a request has sent.
const IN_FLIGHT_MS: i64 = 10 * 60_000;

impl AccessFile {
    /// Reserves an idempotency key for the request with this hash. Returns the previous state of the idempotency key.
    pub fn begin_idempotent(&self, user: &str, key: &str, hash: &str, now_ms: i64) -> Result<Idempotency> {
        self.conn.write(|tx| {
            tx.run(
                "DELETE FROM idempotency_keys WHERE at_ms < ?1 OR (status IS NULL AND at_ms < ?2)",
                &[&(now_ms - KEPT_MS), &(now_ms - IN_FLIGHT_MS)],
            )?;
            let known = tx.opt(
                "SELECT hash, status, body FROM idempotency_keys WHERE user_name = ?1 AND key = ?2",
                &[&user, &key],
                |row| Ok((row.get::<String>(0)?, row.get::<Option<u16>>(1)?, row.get::<Option<String>>(2)?)),
            )?;
            Ok(match known {
                Some((other, ..)) if other != hash => Idempotency::Different,
                Some((_, Some(status), body)) => Idempotency::Done { status, body: body.unwrap_or_default() },
                Some((_, None, _)) => Idempotency::InFlight,
                None => {
                    tx.run(
                        "INSERT INTO idempotency_keys (user_name, key, hash, at_ms) VALUES (?1, ?2, ?3, ?4)",
                        &[&user, &key, &hash, &now_ms],
                    )?;
                    Idempotency::New
                }
            })
        })
    }

    /// Stores the response to a request under its idempotency key.
    pub fn finish_idempotent(&self, user: &str, key: &str, status: u16, body: &str) -> Result<()> {
        let update = "UPDATE idempotency_keys SET status = ?3, body = ?4 WHERE user_name = ?1 AND key = ?2";
        self.run(update, &[&user, &key, &status, &body])
    }

    /// Deletes an idempotency key whose request had no effect.
    pub fn forget_idempotent(&self, user: &str, key: &str) -> Result<()> {
        self.run("DELETE FROM idempotency_keys WHERE user_name = ?1 AND key = ?2", &[&user, &key])
    }
}
