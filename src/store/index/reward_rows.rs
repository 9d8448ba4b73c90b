//! Writes the rows of one reward. Writing a reward also updates the counters of its run by the difference from the
//! previous rows.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use jiff::Timestamp;

use super::batch::{Batch, RunAncestry};
use super::links::{links_of, write_links};
use super::sums::{REWARDS, damaged, run_later_with_sum, run_with_sum};
use super::tombstones::skip_reward;
use super::{AccountKey, ApiSource, ReadReward};
use crate::error::Result;
use crate::model::{AccountId, Link, Reward, RewardId};
use crate::store::db::{Bulk, DbError, Row, ToValue, Tx};

/// A reward's row before the current transaction changes it.
pub(super) struct PreviousReward {
    pub(super) row: i64,
    pub(super) reward_id: RewardId,
    pub(super) pattern: i64,
    pub(super) read_run: i64,
    pub(super) read_at: i64,
    pub(super) gone: bool,
    pub(super) unreadable: i64,
    pub(super) source: ApiSource,
    pub(super) referral_id: Option<String>,
    pub(super) date_modified: Option<i64>,
    /// The row ID of the account that has the reward.
    pub(super) account: i64,
    pub(super) links: Vec<Link>,
}

/// Returns the query for the columns of [`PreviousReward`], without its links.
macro_rules! previous {
    ($condition:literal) => {
        concat!(
            "SELECT id, reward_id, pattern, read_run, read_at, gone_at IS NOT NULL, unreadable, source, referral_id, \
             date_modified, account FROM rewards WHERE ",
            $condition
        )
    };
}

const OF_ACCOUNT: &str = previous!("account = ?1");
const OF_ROW: &str = previous!("id = ?1");
const OF_ID: &str = previous!("reward_id = ?1");
/// The queries of many rewards, on a server.
pub(super) const OF_ACCOUNTS: &str = previous!("account = ANY (?1)");
pub(super) const OF_IDS: &str = previous!("reward_id = ANY (?1)");
/// The query for the rewards that an account lists, and the rewards whose JSON has the account's ID.
pub(super) const OF_ERASED: &str = previous!("account = ?1 OR account_id = ?2");

/// Runs a query for [`PreviousReward`]. Returns the rewards with their links.
pub(super) fn previous_rewards(tx: &Tx<'_>, sql: &str, args: &[&dyn ToValue]) -> Result<Vec<PreviousReward>, DbError> {
    let mut rewards = tx.rows(sql, args, previous_from)?;
    for reward in &mut rewards {
        reward.links = links_of(tx, reward.row)?;
    }
    Ok(rewards)
}

/// Reads a row without its links.
pub(super) fn previous_from(row: &Row<'_>) -> Result<PreviousReward, DbError> {
    Ok(PreviousReward {
        row: row.get(0)?,
        reward_id: row.get(1)?,
        pattern: row.get(2)?,
        read_run: row.get(3)?,
        read_at: row.get(4)?,
        gone: row.get(5)?,
        unreadable: row.get(6)?,
        source: ApiSource::of_number(row.get(7)?),
        referral_id: row.get(8)?,
        date_modified: row.get(9)?,
        account: row.get(10)?,
        links: Vec::new(),
    })
}

pub(super) fn previous_of_account(
    batch: &mut Batch<'_>,
    account: AccountKey,
) -> Result<HashMap<RewardId, PreviousReward>, DbError> {
    if let Some(rewards) = batch.prefetched.take_rewards_of(account) {
        return Ok(rewards);
    }
    let rewards = previous_rewards(batch.tx, OF_ACCOUNT, &[&account.0])?;
    Ok(rewards.into_iter().map(|reward| (reward.reward_id.clone(), reward)).collect())
}

pub(super) fn previous_by_row(tx: &Tx<'_>, row: i64) -> Result<Option<PreviousReward>, DbError> {
    Ok(previous_rewards(tx, OF_ROW, &[&row])?.pop())
}

/// A reward to write into the index.
pub(super) struct RewardWrite<'a> {
    pub(super) ancestry: RunAncestry,
    pub(super) account: AccountKey,
    pub(super) listed_by: &'a AccountId,
    pub(super) asked_at: Timestamp,
    pub(super) reward: &'a ReadReward,
}

impl RewardWrite<'_> {
    /// Writes the reward. `previous` is the reward's earlier row in the same account, if the caller knows the row. If
    /// the reward was in another account, this method finds the earlier row itself.
    pub(super) fn write(&self, batch: &mut Batch<'_>, previous: Option<PreviousReward>) -> Result<(), DbError> {
        let Some(admitted) = batch.forgotten.admit(self.reward) else {
            let Reward { reward_id, date_modified, .. } = &self.reward.extracted.reward;
            return skip_reward(batch.tx, &batch.forgotten, self.ancestry.run, reward_id, *date_modified);
        };
        let write = RewardWrite { reward: &admitted, ..*self };
        let RewardWrite { ancestry, reward: ReadReward { extracted, raw, source }, .. } = &write;
        let asked_at = write.asked_at.as_millisecond();
        let mut columns = Columns {
            pattern: batch.shared.link_pattern(batch.tx, extracted)?,
            descriptor: batch.shared.descriptor(batch.tx, &extracted.reward)?,
            unreadable: extracted.unreadable as i64,
            source: *source,
            referral_id: extracted.referral_id.clone(),
            date_modified: extracted.reward.date_modified,
        };
        let reward_id = &extracted.reward.reward_id;
        let previous = match previous.or_else(|| batch.prefetched.take_reward(reward_id)) {
            Some(previous) => previous,
            None if write.insert(batch, &columns)? => return Ok(()),
            None => {
                let known = previous_rewards(batch.tx, OF_ID, &[reward_id])?;
                known.into_iter().next().ok_or_else(|| damaged("the index of rewards"))?
            }
        };
        // Responses may be written in another order than their requests. An older response never overwrites a newer
        // response.
        if previous.read_at > asked_at {
            return Ok(());
        }
        batch.prefetched.changed(reward_id, previous.account);
        if previous.read_run >= ancestry.base && !previous.gone {
            batch.counters.remove(&previous);
        }
        // Get Rewards omits this date, so the index keeps the date from another API.
        columns.date_modified = columns.date_modified.or(previous.date_modified);
        if previous.source != *source && link_detail(&extracted.links) < link_detail(&previous.links) {
            // The response gives fewer links than an earlier response of another API. The index keeps the earlier links
            // and the JSON that contains them.
            let links = previous.links.len() as i64;
            batch.counters.shift(ancestry.run, previous.pattern, (1, links), previous.unreadable);
            columns.pattern = previous.pattern;
            columns.unreadable = previous.unreadable;
            columns.source = previous.source;
            columns.referral_id = previous.referral_id;
            return write.put(batch, previous.row, &columns);
        }
        batch.counters.add(ancestry.run, columns.pattern, extracted);
        write.put(batch, previous.row, &columns)?;
        batch.compressor.put(batch.tx, previous.row, raw)?;
        write_links(batch.tx, &mut batch.link_sums, previous.row, &previous.links, &extracted.links)
    }

    /// Inserts a new reward. If the index already has the reward, changes nothing and returns `false`.
    fn insert(&self, batch: &mut Batch<'_>, columns: &Columns) -> Result<bool, DbError> {
        let row = batch.reward_ids.next(batch.tx)?;
        let ReadReward { extracted, raw, .. } = self.reward;
        if batch.prefetched.take_new(&extracted.reward.reward_id) {
            self.put(batch, row, columns)?;
        } else if self.with_values(row, columns, |values| run_with_sum(batch.tx, &INSERT_NEW, values))? == 0 {
            return Ok(false);
        }
        batch.reward_ids.take();
        batch.counters.add(self.ancestry.run, columns.pattern, extracted);
        batch.compressor.put(batch.tx, row, raw)?;
        write_links(batch.tx, &mut batch.link_sums, row, &[], &extracted.links)?;
        Ok(true)
    }

    fn put(&self, batch: &Batch<'_>, row: i64, columns: &Columns) -> Result<(), DbError> {
        self.with_values(row, columns, |values| run_later_with_sum(batch.tx, &PUT, values))
    }

    /// Passes the values of a row of `rewards` to a statement.
    fn with_values<T>(&self, row: i64, columns: &Columns, write: impl FnOnce(&[&dyn ToValue]) -> T) -> T {
        let reward = &self.reward.extracted.reward;
        let user_id = reward.user_id.as_ref().map_or("", |user| user.as_str());
        let date_given = reward.date_given.unwrap_or(0);
        let gone_at: Option<i64> = None;
        write(&[
            &row,
            &reward.reward_id,
            &self.account.0,
            &columns.pattern,
            &columns.descriptor,
            &self.ancestry.run,
            &self.asked_at.as_millisecond(),
            &gone_at,
            &Some(&reward.account_id).filter(|account| *account != self.listed_by),
            &Some(user_id).filter(|user| *user != reward.account_id.as_str()),
            &columns.referral_id,
            &reward.assigned,
            &reward.redeemed,
            &reward.date_created,
            &Some(date_given).filter(|given| *given != reward.date_created.unwrap_or(0)),
            &reward.date_scheduled_for,
            &reward.date_expires,
            &reward.date_cancelled,
            &reward.date_redeemed,
            &columns.unreadable,
            &columns.source.number(),
            &columns.date_modified,
        ])
    }
}

/// Writes a reward; replaces the row with the same number.
static PUT: LazyLock<Bulk> = LazyLock::new(|| {
    REWARDS.bulk_insert(2, &["reward_id", "account_id", "user_id", "referral_id"], REWARDS.replace_clause())
});

/// Inserts a reward if the index does not have it yet.
static INSERT_NEW: LazyLock<String> =
    LazyLock::new(|| format!("{} ON CONFLICT (reward_id) DO NOTHING", REWARDS.insert));

/// The columns whose values may come from an earlier reading of the reward.
struct Columns {
    pattern: i64,
    descriptor: i64,
    unreadable: i64,
    source: ApiSource,
    referral_id: Option<String>,
    date_modified: Option<i64>,
}

/// Returns the level of detail of a reward's links: 0 for no ID, 1 for an order ID or an ActionId, 2 for an order ID
/// and an ActionId, 3 for several IDs of one kind.
fn link_detail(links: &[Link]) -> u8 {
    let orders: HashSet<_> = links.iter().filter_map(|link| link.order_id.as_ref()).collect();
    let actions: HashSet<_> = links.iter().filter_map(|link| link.action_id.as_ref()).collect();
    match (orders.len(), actions.len()) {
        (0, 0) => 0,
        (0, 1) | (1, 0) => 1,
        (1, 1) => 2,
        _ => 3,
    }
}
