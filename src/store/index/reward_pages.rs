//! Pages of the list of all rewards (GraphQL, exports). One transaction writes the rewards of a page and the page's
//! cursor.
//!
//! A page of this list may lack rewards of an account, so writing a page marks no reward as gone. After a proven full
//! pass, [`Index::mark_unseen_gone`] marks the rewards that the list did not contain.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;

use super::batch::{Batch, NewAccount, RunAncestry, account_sum};
use super::passes::is_few;
use super::prefetch::{Prefetched, accounts_by_id};
use super::reward_rows::RewardWrite;
use super::rewards::{is_chosen, one_statement_each};
use super::runs::RunKey;
use super::sums::{REWARDS, RUNS};
use super::tombstones::skip_reward;
use super::{AccountKey, Index, ReadReward};
use crate::error::Result;
use crate::model::{AccountId, Reward};
use crate::store::db::ColumnKind::Integer;
use crate::store::db::{Bulk, DbError, Row};

/// One page of the list of all rewards.
#[derive(Debug)]
pub struct RewardListPage {
    /// The rewards of the page, each with its account.
    pub rewards: Vec<(AccountId, ReadReward)>,
    /// The number of rewards that recoup cannot store, because they have no account or cannot be read.
    pub unusable: u64,
    /// The JSON of the pagination's state after this page.
    pub cursor: String,
}

/// The counts after the writer has committed a page of rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewardListCommitted {
    /// The number of rewards that this run, or a run that it refreshes, has read.
    pub rewards: u64,
    pub accounts_known: u64,
}

/// The number of rewards that a full pass did not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// The number of rewards that were marked as gone.
    pub gone: u64,
    /// Number of rewards that the pass did not list, if the number is implausibly large. A pass that lacks so many
    /// rewards marks no reward as gone.
    pub withheld: u64,
}

impl Index {
    /// Writes a page of rewards and its cursor in one transaction. `asked_at` is the time of the request for the page.
    pub fn commit_rewards(
        &mut self,
        run: RunKey,
        page: &RewardListPage,
        asked_at: Timestamp,
    ) -> Result<RewardListCommitted> {
        self.write_batch(|batch| {
            let tx = batch.tx;
            let ancestry = RunAncestry::of(tx, run)?;
            let mut accounts: HashMap<&AccountId, AccountKey> = HashMap::new();
            let mut listed = None;
            if tx.is_remote() {
                let of_page: Vec<&AccountId> = page.rewards.iter().map(|(account, _)| account).collect();
                listed = Some(accounts_by_id(tx, SEEN_ACCOUNTS, &of_page, SeenAccount::from_row)?);
                batch.prefetched = Prefetched::of_rewards(tx, page.rewards.iter().map(|(_, reward)| reward))?;
            }
            let chosen = one_statement_each(page.rewards.iter().map(|(_, reward)| reward), asked_at.as_millisecond());
            for (listed_by, reward) in page.rewards.iter().filter(|(_, reward)| is_chosen(&chosen, reward)) {
                if batch.forgotten.has(listed_by.as_str()) {
                    let Reward { reward_id, date_modified, .. } = &reward.extracted.reward;
                    skip_reward(tx, &batch.forgotten, run.0, reward_id, *date_modified)?;
                    continue;
                }
                let account = match accounts.get(listed_by) {
                    Some(account) => *account,
                    None => {
                        let found = match &mut listed {
                            Some(listed) => listed.remove(listed_by),
                            None => tx.opt(SEEN_ACCOUNT, &[listed_by], SeenAccount::from_row)?,
                        };
                        let key = see_account(batch, ancestry, listed_by, found, asked_at)?;
                        *accounts.entry(listed_by).or_insert(key)
                    }
                };
                RewardWrite { ancestry, account, listed_by, asked_at, reward }.write(batch, None)?;
            }
            std::mem::take(&mut batch.counters).write(tx)?;
            RUNS.update(
                tx,
                "UPDATE runs SET cursor = ?2, rewards_unusable = rewards_unusable + ?3 WHERE id = ?1",
                &[&run.0, &page.cursor, &page.unusable],
            )?;
            tx.one(
                "SELECT (SELECT CAST(coalesce(sum(rewards), 0) AS BIGINT) FROM run_link_patterns
                         WHERE run BETWEEN runs.base AND runs.id), accounts_known FROM runs WHERE id = ?1",
                &[&run.0],
                |row| {
                    let (rewards, accounts_known): (i64, i64) = (row.get(0)?, row.get(1)?);
                    Ok(RewardListCommitted { rewards: rewards as u64, accounts_known: accounts_known as u64 })
                },
            )
        })
    }

    /// Returns the event fields that contain order IDs in the indexed rewards, the most frequent field first.
    pub fn order_fields(&self) -> Result<Vec<String>> {
        let paths: Vec<String> = self.conn.read(|tx| {
            tx.rows(
                "SELECT order_path FROM link_patterns LEFT JOIN run_link_patterns ON pattern = link_patterns.id
                 WHERE order_path LIKE '$.userEvent.fields.%' GROUP BY order_path
                 ORDER BY CAST(coalesce(sum(rewards), 0) AS BIGINT) DESC",
                &[],
                |row| row.get(0),
            )
        })?;
        let last = |path: String| path.rsplit('.').next().map(str::to_owned).filter(|name| !name.contains('['));
        Ok(paths.into_iter().filter_map(last).collect())
    }

    /// Returns how many stored or skipped rewards were modified at exactly this time.
    pub fn modified_at(&self, ms: i64) -> Result<u64> {
        let count = "SELECT (SELECT count(*) FROM rewards WHERE date_modified = ?1 AND gone_at IS NULL)
             + (SELECT count(*) FROM skipped_rewards WHERE date_modified = ?1)";
        self.conn.read(|tx| tx.one(count, &[&ms], |row| row.get(0)))
    }

    /// Marks the rewards that a full pass did not list as gone, unless the pass did not list most of the rewards.
    pub fn mark_unseen_gone(&mut self, run: RunKey, at: Timestamp) -> Result<Unseen> {
        self.conn.write(|tx| {
            let started_at: i64 =
                tx.one("SELECT started_at FROM runs WHERE id = ?1", &[&run.0], |row| row.get(0))?;
            let (missed, known): (i64, i64) = tx.one(
                "SELECT count(*) FILTER (WHERE read_run < ?1 AND read_at < ?2), count(*) FROM rewards WHERE gone_at IS NULL",
                &[&run.0, &started_at],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if !is_few(missed, known) {
                return Ok(Unseen { gone: 0, withheld: missed as u64 });
            }
            let update = "UPDATE rewards SET gone_at = ?3 WHERE gone_at IS NULL AND read_run < ?1 AND read_at < ?2";
            let gone = REWARDS.update(tx, update, &[&run.0, &started_at, &at.as_millisecond()])?;
            Ok(Unseen { gone, withheld: 0 })
        })
    }
}

/// An account's row before the current transaction changes it.
struct SeenAccount {
    id: i64,
    queued_run: i64,
    read_run: i64,
    gone: bool,
}

macro_rules! seen_account {
    ($condition:literal) => {
        concat!(
            "SELECT account_id, id, queued_run, read_run, gone_at IS NOT NULL FROM accounts WHERE account_id ",
            $condition
        )
    };
}

const SEEN_ACCOUNT: &str = seen_account!("= ?1");
/// The query of many accounts, on a server.
const SEEN_ACCOUNTS: &str = seen_account!("= ANY (?1)");

impl SeenAccount {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.get(1)?, queued_run: row.get(2)?, read_run: row.get(3)?, gone: row.get(4)? })
    }
}

static SET_SEEN: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [("id", Integer), ("read_run", Integer), ("read_at", Integer), ("sum", Integer)];
    Bulk::update(1, "accounts", &columns, ", gone_at = NULL")
});

/// Returns the row of an account that has a reward, which is `found` if it exists. Adds the account if it is missing. Updates the run's counters if the
/// account is new to the run.
fn see_account(
    batch: &mut Batch<'_>,
    ancestry: RunAncestry,
    account: &AccountId,
    found: Option<SeenAccount>,
    at: Timestamp,
) -> Result<AccountKey, DbError> {
    let at = at.as_millisecond();
    let Some(SeenAccount { id, queued_run, read_run, gone }) = found else {
        batch.counters.count_accounts(ancestry.run, 1, 1);
        let new = NewAccount { first_seen_at: at, read_run: ancestry.run, read_at: Some(at), ..NewAccount::default() };
        return batch.add_account(account, &new);
    };
    let key = AccountKey(id);
    let is_known = !gone && ancestry.knows(queued_run, read_run);
    let is_read = !gone && read_run >= ancestry.base;
    if !is_read {
        batch.tx.run_later(&SET_SEEN, &[&id, &ancestry.run, &at, &account_sum(key, account, None)])?;
        batch.counters.count_accounts(ancestry.run, i64::from(!is_known), 1);
    }
    Ok(key)
}
