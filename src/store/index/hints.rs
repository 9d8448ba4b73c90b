//! What webhooks have said: deliveries that were taken, and accounts that wait to be read again.
//!
//! A delivery and the account that it names are one transaction. A forgotten account is never put here.

use jiff::{SignedDuration, Timestamp};
use rusqlite::params;

use super::{Index, IndexReader};
use crate::error::Result;
use crate::model::AccountId;

/// A delivery is remembered this long: the vendor tries for 72 hours (`docs/vendor/advocate.md` §5).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(14 * 24);

/// An account is let go after so many readings that failed: the next crawl reads it anyway.
const TRIES: i64 = 10;

/// The pause after the first failed reading, in milliseconds; it doubles.
const PAUSE_MS: i64 = 30_000;

impl Index {
    /// Takes a delivery; `false` where it was taken before. The account that it names waits to be read again.
    pub fn take_delivery(
        &mut self,
        id: &str,
        event: &str,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<bool> {
        let now_ms = now.as_millisecond();
        let old = now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN).as_millisecond();
        self.write(|tx, shared| {
            tx.prepare_cached("DELETE FROM webhook_seen WHERE at < ?1")?.execute([old])?;
            let is_new = tx
                .prepare_cached("INSERT INTO webhook_seen (id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![id, now_ms])?;
            if is_new == 0 {
                return Ok(false);
            }
            if let Some(account) = account.filter(|account| !shared.forgotten.has(account.as_str())) {
                tx.prepare_cached(
                    "INSERT INTO webhook_queue (account_id, event, at, tries, due) VALUES (?1, ?2, ?3, 0, ?3)
                     ON CONFLICT DO UPDATE SET event = excluded.event, tries = 0, due = excluded.due",
                )?
                .execute(params![account.as_str(), event, now_ms])?;
            }
            Ok(true)
        })
    }

    /// Accounts that wait, those that have waited longest first.
    pub fn waiting_accounts(&mut self, limit: usize, now: Timestamp) -> Result<Vec<(AccountId, i64)>> {
        self.write(|tx, shared| {
            let mut rows = tx.prepare_cached(
                "SELECT account_id, due FROM webhook_queue WHERE due <= ?1 ORDER BY due, account_id LIMIT ?2",
            )?;
            let found = rows.query_map(params![now.as_millisecond(), limit as i64], |row| {
                Ok((AccountId::new(row.get::<_, String>(0)?), row.get(1)?))
            })?;
            let found: Vec<(AccountId, i64)> = found.collect::<rusqlite::Result<_>>()?;
            // One that was forgotten since is not read.
            Ok(found.into_iter().filter(|(account, _)| !shared.forgotten.has(account.as_str())).collect())
        })
    }

    /// An account was read; unless another delivery has named it since, it waits no longer.
    pub fn account_was_read(&mut self, account: &AccountId, due: i64) -> Result<()> {
        self.write(|tx, _| {
            tx.prepare_cached("DELETE FROM webhook_queue WHERE account_id = ?1 AND due = ?2")?
                .execute(params![account.as_str(), due])
                .map(drop)
        })
    }

    /// An account could not be read: it is tried again later, and in the end left to the next crawl.
    pub fn account_was_not_read(&mut self, account: &AccountId, now: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            let account = account.as_str();
            tx.execute("DELETE FROM webhook_queue WHERE account_id = ?1 AND tries >= ?2", params![account, TRIES - 1])?;
            tx.execute(
                "UPDATE webhook_queue SET tries = tries + 1, due = ?2 + ?3 * (1 << tries) WHERE account_id = ?1",
                params![account, now.as_millisecond(), PAUSE_MS],
            )
            .map(drop)
        })
    }
}

impl IndexReader {
    /// How many accounts wait to be read again.
    pub fn waiting_count(&self) -> Result<u64> {
        self.read(|conn| {
            conn.prepare_cached("SELECT count(*) FROM webhook_queue")?
                .query_row([], |row| row.get::<_, i64>(0))
                .map(|count| count as u64)
        })
    }
}
