//! Pages of a list of rewards, whoever they belong to: rows and cursor in one transaction.
//!
//! A walk over rewards never sees an account as a whole, so it marks no reward as gone on the way; once a full walk is over
//! and proven, what it did not see is gone ([`Index::forget_unseen`]).

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::accounts::Lineage;
use super::links::{led_to, move_keys_on, order_key};
use super::pen::Pen;
use super::rewards::{is_chosen, one_statement_each};
use super::rows::{Item, Tally};
use super::runs::RunKey;
use super::sums::check_key;
use super::sweeps::{count_accounts, is_few};
use super::tombstones::leave_out;
use super::{AccountKey, Index, ReadReward};
use crate::error::Result;
use crate::model::{AccountId, OrderId, Reward};

/// One page of a walk over rewards.
#[derive(Debug)]
pub struct RewardRows {
    /// The rewards, each with the account that has it.
    pub rewards: Vec<(AccountId, ReadReward)>,
    /// Rewards that cannot be kept: no account, or nothing that can be read.
    pub unusable: u64,
    /// The walk's own state after this page.
    pub cursor: String,
}

/// What a page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsCommitted {
    /// Rewards of the run so far, those of the runs that it refreshes included.
    pub rewards: u64,
    /// Accounts known so far.
    pub accounts_known: u64,
}

/// What a full walk did not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// Rewards that are marked as gone.
    pub gone: u64,
    /// So many that none was marked: most of what is known is not believed to vanish at once.
    pub withheld: u64,
}

impl Index {
    /// A page and its cursor: both, or neither. `asked_at` is when it was asked for.
    pub fn commit_rewards(&mut self, run: RunKey, page: &RewardRows, asked_at: Timestamp) -> Result<RowsCommitted> {
        let committed = self.write_packed(|tx, shared, packer| {
            let lineage = Lineage::of(tx, run)?;
            let mut tally = Tally::default();
            let mut accounts: HashMap<&AccountId, AccountKey> = HashMap::new();
            let pen = &mut Pen::new(tx);
            let chosen = one_statement_each(page.rewards.iter().map(|(_, reward)| reward), asked_at.as_millisecond());
            for (account, reward) in page.rewards.iter().filter(|(_, reward)| is_chosen(&chosen, reward)) {
                if shared.forgotten.has(account.as_str()) {
                    let Reward { reward_id, date_modified, .. } = &reward.extracted.reward;
                    leave_out(tx, &shared.forgotten, run.0, reward_id, *date_modified)?;
                    continue;
                }
                let key = match accounts.get(account) {
                    Some(key) => *key,
                    None => *accounts.entry(account).or_insert(see_account(tx, lineage, account, asked_at)?),
                };
                let item = Item { lineage, key, listed_by: account, asked_at, reward };
                item.write(pen, shared, packer, &mut tally, None)?;
            }
            move_keys_on(tx)?;
            tally.write(tx)?;
            tx.prepare_cached(
                "UPDATE runs SET cursor = ?2, rewards_unusable = rewards_unusable + ?3 WHERE id = ?1",
            )?
            .execute(params![run.0, page.cursor, page.unusable as i64])?;
            tx.prepare_cached(
                "SELECT (SELECT coalesce(sum(rewards), 0) FROM run_findings WHERE run BETWEEN base AND id), accounts_known
                 FROM runs WHERE id = ?1",
            )?
            .query_row([run.0], |row| {
                Ok(RowsCommitted {
                    rewards: row.get::<_, i64>(0)? as u64,
                    accounts_known: row.get::<_, i64>(1)? as u64,
                })
            })
        })?;
        self.learn(asked_at)?;
        Ok(committed)
    }

    /// Whether an order is in the index, byte for byte.
    pub fn has_order(&self, order: &OrderId) -> Result<bool> {
        self.read(|conn| {
            let held = conn.unchecked_transaction()?;
            check_key(&held, order_key(order.as_str()))?;
            let select = concat!(
                "SELECT EXISTS (SELECT 1 FROM links WHERE reward IN (",
                led_to!("order_key(?1)"),
                ") AND order_id = ?1)"
            );
            held.prepare_cached(select)?.query_row(params![order], |row| row.get(0))
        })
    }

    /// What the order ID is called in the events of the rewards that are known, the most usual name first.
    pub fn order_fields(&self) -> Result<Vec<String>> {
        let paths: Vec<String> = self.read(|conn| {
            conn.prepare(
                "SELECT order_path FROM findings LEFT JOIN run_findings ON finding = findings.id
                 WHERE order_path LIKE '$.userEvent.fields.%' GROUP BY order_path ORDER BY sum(rewards) DESC",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })?;
        let last = |path: String| path.rsplit('.').next().map(str::to_owned).filter(|name| !name.contains('['));
        Ok(paths.into_iter().filter_map(last).collect())
    }

    /// The accounts whose last reading is the oldest, those that were never read first.
    pub fn oldest_readings(&self, limit: u64) -> Result<Vec<AccountId>> {
        self.read(|conn| {
            conn.prepare(
                "SELECT account_id FROM accounts WHERE gone_at IS NULL ORDER BY read_at IS NOT NULL, read_at LIMIT ?1",
            )?
            .query_map([limit.min(i64::MAX as u64) as i64], |row| row.get(0))?
            .collect()
        })
    }

    /// How many rewards are kept, or left out because they are forgotten, that were modified at exactly this moment.
    pub fn modified_at(&self, ms: i64) -> Result<u64> {
        self.read(|conn| {
            let count = "SELECT (SELECT count(*) FROM rewards WHERE date_modified = ?1 AND gone_at IS NULL)
                 + (SELECT count(*) FROM left_out WHERE date_modified = ?1)";
            conn.query_row(count, [ms], |row| row.get::<_, i64>(0))
        })
        .map(|count| count as u64)
    }

    /// Marks as gone what a full walk over all rewards did not see. Not where most of what is known would go at once.
    pub fn forget_unseen(&mut self, run: RunKey, at: Timestamp) -> Result<Unseen> {
        self.write(|tx, _| {
            let began_at: i64 = tx.query_row("SELECT started_at FROM runs WHERE id = ?1", [run.0], |row| row.get(0))?;
            let unseen = "gone_at IS NULL AND read_run < ?1 AND read_at < ?2";
            let (missed, known): (i64, i64) = tx.query_row(
                &format!("SELECT count(*) FILTER (WHERE {unseen}), count(*) FROM rewards WHERE gone_at IS NULL"),
                params![run.0, began_at],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if !is_few(missed, known) {
                return Ok(Unseen { gone: 0, withheld: missed as u64 });
            }
            let gone = tx.execute(
                &format!("UPDATE rewards SET gone_at = ?3 WHERE {unseen}"),
                params![run.0, began_at, at.as_millisecond()],
            )?;
            Ok(Unseen { gone: gone as u64, withheld: 0 })
        })
    }
}

/// The row of an account that has a reward: made where it is missing, and counted where the run did not know it.
fn see_account(
    tx: &Transaction<'_>,
    lineage: Lineage,
    account: &AccountId,
    at: Timestamp,
) -> rusqlite::Result<AccountKey> {
    let row: Option<(i64, i64, i64, bool)> = tx
        .prepare_cached("SELECT id, queued_run, read_run, gone_at IS NOT NULL FROM accounts WHERE account_id = ?1")?
        .query_row([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let run = RunKey(lineage.run);
    let Some((id, queued_run, read_run, gone)) = row else {
        tx.prepare_cached(
            "INSERT INTO accounts (account_id, first_seen_at, read_run, read_at) VALUES (?1, ?2, ?3, ?2)",
        )?
        .execute(params![account.as_str(), at.as_millisecond(), lineage.run])?;
        count_accounts(tx, run, 1, 1)?;
        return Ok(AccountKey(tx.last_insert_rowid()));
    };
    let is_known = !gone && lineage.knows(queued_run, read_run);
    let is_read = !gone && read_run >= lineage.base;
    if !is_read {
        tx.prepare_cached("UPDATE accounts SET read_run = ?2, read_at = ?3, gone_at = NULL WHERE id = ?1")?
            .execute(params![id, lineage.run, at.as_millisecond()])?;
        count_accounts(tx, run, i64::from(!is_known), 1)?;
    }
    Ok(AccountKey(id))
}
