//! Stores webhooks: accepted deliveries, and the queue of accounts to read again.
//!
//! One transaction writes a webhook delivery and the account in it. A forgotten account is never queued.

use jiff::{SignedDuration, Timestamp};

use super::{Index, IndexReader};
use crate::error::Result;
use crate::model::AccountId;

/// How long the index remembers a webhook delivery. The vendor retries for 72 hours (`docs/vendor/advocate.md` §5).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The number of failed readings after which an account leaves the queue. The next crawl reads such an account anyway.
const TRIES: i64 = 10;

/// The delay after the first failed reading of a queued account, in milliseconds. The delay doubles with each further
/// failed reading.
const RETRY_MS: i64 = 30_000;

impl Index {
    /// Accepts a webhook delivery and queues its account. If recoup has accepted the delivery before, changes nothing
    /// and returns `false`.
    pub fn take_delivery(
        &mut self,
        id: &str,
        event: &str,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<bool> {
        let now_ms = now.as_millisecond();
        let expired = now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN).as_millisecond();
        self.write_batch(|batch| {
            let tx = batch.tx;
            tx.run("DELETE FROM webhook_deliveries WHERE at < ?1", &[&expired])?;
            let insert = "INSERT INTO webhook_deliveries (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
            if tx.run(insert, &[&id, &now_ms])? == 0 {
                return Ok(false);
            }
            if let Some(account) = account.filter(|account| !batch.forgotten.has(account.as_str())) {
                tx.run(
                    "INSERT INTO webhook_queue (account_id, event, at, tries, due) VALUES (?1, ?2, ?3, 0, ?3)
                     ON CONFLICT (account_id) DO UPDATE SET event = excluded.event, tries = 0, due = excluded.due",
                    &[account, &event, &now_ms],
                )?;
            }
            Ok(true)
        })
    }

    /// Returns the queued accounts that are due, the longest overdue first. Returns each account with its due time,
    /// because [`Index::account_was_read`] needs the due time.
    pub fn waiting_accounts(&mut self, limit: usize, now: Timestamp) -> Result<Vec<(AccountId, i64)>> {
        self.write_batch(|batch| {
            let mut found: Vec<(AccountId, i64)> = batch.tx.rows(
                "SELECT account_id, due FROM webhook_queue WHERE due <= ?1 ORDER BY due, account_id LIMIT ?2",
                &[&now.as_millisecond(), &(limit as u64)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            // A person may have asked to forget the account after it was queued.
            found.retain(|(account, _)| !batch.forgotten.has(account.as_str()));
            Ok(found)
        })
    }

    /// Removes an account from the queue after recoup has read it. An account stays queued if a newer webhook delivery
    /// has changed the account's due time.
    pub fn account_was_read(&mut self, account: &AccountId, due: i64) -> Result<()> {
        let delete = "DELETE FROM webhook_queue WHERE account_id = ?1 AND due = ?2";
        self.conn.write(|tx| tx.run(delete, &[account, &due]).map(drop))
    }

    /// Postpones the next reading of an account after a failed reading. After the last permitted failed reading,
    /// removes the account from the queue.
    pub fn account_was_not_read(&mut self, account: &AccountId, now: Timestamp) -> Result<()> {
        self.conn.write(|tx| {
            let tries = "SELECT tries FROM webhook_queue WHERE account_id = ?1";
            let tries: Option<i64> = tx.opt(tries, &[account], |row| row.get(0))?;
            let Some(tries) = tries else { return Ok(()) };
            if tries >= TRIES - 1 {
                return tx.run("DELETE FROM webhook_queue WHERE account_id = ?1", &[account]).map(drop);
            }
            let due = now.as_millisecond() + (RETRY_MS << tries);
            let update = "UPDATE webhook_queue SET tries = tries + 1, due = ?2 WHERE account_id = ?1";
            tx.run(update, &[account, &due]).map(drop)
        })
    }
}

impl IndexReader {
    /// Returns how many accounts are queued for another reading.
    pub fn waiting_count(&self) -> Result<u64> {
        self.conn.read(|tx| tx.one("SELECT count(*) FROM webhook_queue", &[], |row| row.get(0)))
    }
}
