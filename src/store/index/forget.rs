//! Erases an account from the index.
//!
//! The erasure deletes the account's rewards, links and JSON, and removes the account's IDs from the rewards of other
//! accounts. Finally the erasure rewrites the index file, because SQLite leaves deleted text in the file until then.

use serde::Serialize;

use super::Index;
use super::batch::Batch;
use super::links::delete_links;
use super::raw_json::{StoredJson, decompressor};
use super::reward_rows::{OF_ERASED, previous_rewards};
use super::run_lifecycle::recount_newest;
use super::sums::REWARDS;
use super::tombstones::{Scrubbed, scrub, skip_reward};
use crate::error::Result;
use crate::model::AccountId;
use crate::store::db::DbError;
use crate::store::ledger::FORGOTTEN;

/// The number of rewards that one transaction of an erasure scans.
const BATCH: u64 = 2000;

/// The counts of erased rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// The number of erased accounts; 0 if the index never had the account.
    pub accounts: u64,
    /// Number of erased rewards, each with its JSON.
    pub rewards: u64,
    pub links: u64,
    /// Number of rewards of other accounts from which the ID of the erased account was removed.
    pub renamed: u64,
    /// `true` if the index file was rewritten without the deleted data.
    pub repacked: bool,
}

impl Index {
    /// Erases accounts. The accounts to erase must have tombstones, because the next crawl would otherwise add the
    /// accounts again. `erased` has the counts of the rows that [`Index::import_tombstones`] has already deleted. The
    /// closure `each` receives the number of rewards scanned so far.
    pub fn erase(&mut self, accounts: &[AccountId], mut erased: Erased, mut each: impl FnMut(u64)) -> Result<Erased> {
        self.conn.overwrite_deleted()?;
        for account in accounts {
            erased = self.write_batch(|batch| erase_rows(batch, account, erased))?;
        }
        let ids: Vec<String> = accounts.iter().map(|account| account.as_str().to_owned()).collect();
        erased.renamed = self.scrub_json(&ids, &mut each)?;
        Ok(erased)
    }

    /// Rewrites the index file without deleted data, and empties its write-ahead log.
    pub fn rewrite(&mut self) -> Result<()> {
        self.conn.rewrite()
    }

    /// Removes IDs from the JSON of other accounts' rewards. Returns how many rewards' JSON changed.
    fn scrub_json(&mut self, ids: &[String], each: &mut impl FnMut(u64)) -> Result<u64> {
        let next =
            "SELECT reward, format, json, raw_rewards.sum FROM raw_rewards WHERE reward > ?1 ORDER BY reward LIMIT ?2";
        let mut decompressor = decompressor()?;
        let (mut after, mut looked, mut renamed) = (0_i64, 0, 0);
        loop {
            let stored = self.conn.read(|tx| tx.rows(next, &[&after, &BATCH], StoredJson::from_row))?;
            let Some(last) = stored.last() else { return Ok(renamed) };
            after = last.reward;
            looked += stored.len() as u64;
            let mut changed = Vec::new();
            for stored in stored {
                match scrub(&stored.decompress(&mut decompressor)?, ids) {
                    Scrubbed::Unchanged => {}
                    Scrubbed::Changed(raw) => changed.push((stored.reward, raw)),
                    // Replaces the JSON of the reward by `{}`. A later extraction finds no links in `{}` and counts the
                    // reward as unreadable.
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

/// Deletes the rows of one account and corrects the counters. Adds the number of deleted rows to `erased`.
pub(super) fn erase_rows(batch: &mut Batch<'_>, account: &AccountId, mut erased: Erased) -> Result<Erased, DbError> {
    let tx = batch.tx;
    tx.run("DELETE FROM webhook_queue WHERE account_id = ?1", &[account])?;
    let key: Option<i64> = tx.opt("SELECT id FROM accounts WHERE account_id = ?1", &[account], |row| row.get(0))?;
    for reward in previous_rewards(tx, OF_ERASED, &[&key, account])? {
        erased.rewards += 1;
        erased.links += reward.links.len() as u64;
        if !reward.gone {
            batch.counters.remove(&reward);
        }
        skip_reward(tx, &batch.forgotten, reward.read_run, &reward.reward_id, reward.date_modified)?;
        delete_links(tx, &mut batch.link_sums, reward.row, &reward.links)?;
        tx.run("DELETE FROM raw_rewards WHERE reward = ?1", &[&reward.row])?;
        tx.run("DELETE FROM rewards WHERE id = ?1", &[&reward.row])?;
    }
    REWARDS.update(tx, "UPDATE rewards SET user_id = ?2 WHERE user_id = ?1", &[account, &FORGOTTEN])?;
    if let Some(key) = key {
        // The upper 32 bits of the hash are the account's row ID.
        tx.run("DELETE FROM participants WHERE hash >= ?1 AND hash < ?2", &[&(key << 32), &((key + 1) << 32)])?;
        tx.run("DELETE FROM accounts WHERE id = ?1", &[&key])?;
        erased.accounts += 1;
    }
    recount_newest(tx)?;
    Ok(erased)
}
