//! Erases an account from the file.
//!
//! The erasure deletes the account's rewards, links and JSON, and removes its IDs from other accounts' rewards. At the end it
//! rewrites the file, because SQLite leaves deleted text in place until then.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::batch::Batch;
use super::links::{delete_links, links_of};
use super::raw_json::{StoredJson, decompressor};
use super::reward_rows::{PREVIOUS, PreviousReward, previous_from};
use super::run_lifecycle::recount_newest;
use super::sums::REWARDS;
use super::tombstones::{Scrubbed, scrub, skip_reward};
use super::{Index, LAYOUT};
use crate::error::Result;
use crate::model::AccountId;
use crate::store::ledger::FORGOTTEN;
use crate::store::sql_error;

/// The number of rewards that one transaction scans.
const BATCH: i64 = 2000;

/// The counts of erased rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// The number of erased accounts; 0 if the index never had the account.
    pub accounts: u64,
    /// Erased rewards, with their JSON.
    pub rewards: u64,
    pub links: u64,
    /// Rewards of other accounts that named the erased account and no longer do.
    pub renamed: u64,
    /// Whether the file was rewritten without the deleted data.
    pub repacked: bool,
}

impl Index {
    /// Erases accounts. The accounts must have tombstones, or the next crawl adds them again. `erased` holds the counts of what
    /// [`Index::import_tombstones`] has already deleted. `each` receives the number of rewards scanned so far.
    pub fn erase(&mut self, accounts: &[AccountId], mut erased: Erased, mut each: impl FnMut(u64)) -> Result<Erased> {
        let secure = self.conn.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()));
        secure.map_err(|error| sql_error(&error, &LAYOUT, &self.path))?;
        for account in accounts {
            self.write_batch(|batch| erase_rows(batch, account, &mut erased))?;
        }
        let ids: Vec<String> = accounts.iter().map(|account| account.as_str().to_owned()).collect();
        erased.renamed = self.scrub_json(&ids, &mut each)?;
        Ok(erased)
    }

    /// Rewrites the file without deleted data, and empties its write-ahead log.
    pub fn rewrite(&mut self) -> Result<()> {
        // SQLite copies the whole file, which may not fit into memory.
        let rewritten =
            self.conn.pragma_update(None, "temp_store", "file").and_then(|()| crate::store::rewrite(&self.conn));
        rewritten.map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Removes the IDs from the JSON of other accounts' rewards. Returns how many rewards changed.
    fn scrub_json(&mut self, ids: &[String], each: &mut impl FnMut(u64)) -> Result<u64> {
        let sql = format!("SELECT {} FROM raw_rewards WHERE reward > ?1 ORDER BY reward LIMIT ?2", StoredJson::COLUMNS);
        let mut decompressor = decompressor()?;
        let (mut after, mut looked, mut renamed) = (0, 0, 0);
        loop {
            let stored: Vec<StoredJson> = self.read(|conn| {
                conn.prepare_cached(&sql)?.query_map(params![after, BATCH], StoredJson::from_row)?.collect()
            })?;
            let Some(last) = stored.last() else { return Ok(renamed) };
            after = last.reward;
            looked += stored.len() as u64;
            let mut changed = Vec::new();
            for stored in stored {
                match scrub(&stored.decompress(&mut decompressor)?, ids) {
                    Scrubbed::Unchanged => {}
                    Scrubbed::Changed(raw) => changed.push((stored.reward, raw)),
                    // A later extraction finds no links in `{}` and counts the reward as unreadable.
                    Scrubbed::Impossible => changed.push((stored.reward, "{}".to_owned())),
                }
            }
            renamed += changed.len() as u64;
            if !changed.is_empty() {
                self.write_batch(|batch| {
                    changed.iter().try_for_each(|(reward, raw)| batch.compressor.put(batch.tx, *reward, raw))
                })?;
            }
            each(looked);
        }
    }
}

/// Deletes the rows of one account and corrects the counters.
pub(super) fn erase_rows(batch: &mut Batch<'_>, account: &AccountId, erased: &mut Erased) -> rusqlite::Result<()> {
    let tx = batch.tx;
    tx.execute("DELETE FROM webhook_queue WHERE account_id = ?1", [account])?;
    let key: Option<i64> =
        tx.query_row("SELECT id FROM accounts WHERE account_id = ?1", [account], |row| row.get(0)).optional()?;
    let rewards: Vec<PreviousReward> = tx
        .prepare(&format!("{PREVIOUS} WHERE account = ?1 OR account_id = ?2"))?
        .query_map(params![key, account], previous_from)?
        .collect::<rusqlite::Result<_>>()?;
    for reward in rewards {
        let reward = PreviousReward { links: links_of(tx, reward.row)?, ..reward };
        erased.rewards += 1;
        erased.links += reward.links.len() as u64;
        if !reward.gone {
            batch.counters.remove(&reward);
        }
        skip_reward(tx, batch.forgotten, reward.read_run, &reward.reward_id, reward.date_modified)?;
        delete_links(tx, &mut batch.link_sums, reward.row, &reward.links)?;
        for sql in ["DELETE FROM raw_rewards WHERE reward = ?1", "DELETE FROM rewards WHERE id = ?1"] {
            tx.prepare_cached(sql)?.execute([reward.row])?;
        }
    }
    let rename = "UPDATE rewards SET user_id = ?2 WHERE user_id = ?1";
    REWARDS.update(tx, rename, [account.as_str(), FORGOTTEN])?;
    if let Some(key) = key {
        // The upper 32 bits of the hash are the account's row ID.
        tx.execute("DELETE FROM participants WHERE hash >= ?1 AND hash < ?2", [key << 32, (key + 1) << 32])?;
        tx.execute("DELETE FROM accounts WHERE id = ?1", [key])?;
        erased.accounts += 1;
    }
    recount_newest(tx)
}
