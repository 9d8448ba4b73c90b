//! What a batch on a server reads before it writes: all of its accounts and rewards, in a few queries.
//!
//! A batch takes each row from here once, and reads it from the server if it needs the row again. A write removes what it makes
//! out of date. On a file the lists stay empty, because a query of one row takes microseconds there.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::AccountKey;
use super::links::links_of_each;
use super::reward_rows::{OF_ACCOUNTS, OF_IDS, PreviousReward, previous_from};
use super::rewards::{AccountAnswer, AccountRead, PREVIOUS_ACCOUNTS, PreviousAccount, ReadReward};
use crate::model::{AccountId, RewardId};
use crate::store::db::{DbError, Keys, Row, Tx};

#[derive(Default)]
pub(super) struct Prefetched {
    accounts: HashMap<i64, PreviousAccount>,
    /// The rewards of each account that was read, also if it has none.
    of_account: HashMap<i64, HashMap<RewardId, PreviousReward>>,
    by_id: HashMap<RewardId, PreviousReward>,
    /// Rewards that the index does not have.
    new: HashSet<RewardId>,
}

impl Prefetched {
    /// Reads what the responses for some accounts may change.
    pub(super) fn of_reads<'a>(tx: &Tx<'_>, reads: impl Iterator<Item = &'a AccountRead>) -> Result<Self, DbError> {
        let mut prefetched = Self::default();
        if !tx.is_remote() {
            return Ok(prefetched);
        }
        let (mut keys, mut listed, mut rewards) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for read in reads {
            keys.insert(read.key.0);
            if let AccountAnswer::Listed { rewards: of_account, .. } = &read.answer {
                listed.insert(read.key.0);
                rewards.extend(of_account);
            }
        }
        if keys.is_empty() {
            return Ok(prefetched);
        }
        let keys: Vec<i64> = keys.into_iter().collect();
        let accounts = tx.rows_in(PREVIOUS_ACCOUNTS, Keys::Integers(&keys), PreviousAccount::with_key)?;
        prefetched.accounts.extend(accounts);
        let listed: Vec<i64> = listed.into_iter().collect();
        prefetched.of_account.extend(listed.iter().map(|account| (*account, HashMap::new())));
        for reward in with_links(tx, tx.rows_in(OF_ACCOUNTS, Keys::Integers(&listed), previous_from)?)? {
            let of_account = prefetched.of_account.entry(reward.account).or_default();
            of_account.insert(reward.reward_id.clone(), reward);
        }
        let known: HashSet<&RewardId> = prefetched.of_account.values().flat_map(HashMap::keys).collect();
        let others: Vec<&ReadReward> =
            rewards.into_iter().filter(|reward| !known.contains(&reward.extracted.reward.reward_id)).collect();
        prefetched.read_by_id(tx, others.into_iter())?;
        Ok(prefetched)
    }

    /// Reads what a page of rewards may change.
    pub(super) fn of_rewards<'a>(tx: &Tx<'_>, rewards: impl Iterator<Item = &'a ReadReward>) -> Result<Self, DbError> {
        let mut prefetched = Self::default();
        if tx.is_remote() {
            prefetched.read_by_id(tx, rewards)?;
        }
        Ok(prefetched)
    }

    fn read_by_id<'a>(&mut self, tx: &Tx<'_>, rewards: impl Iterator<Item = &'a ReadReward>) -> Result<(), DbError> {
        let ids: BTreeSet<&RewardId> = rewards.map(|reward| &reward.extracted.reward.reward_id).collect();
        let texts: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let found = with_links(tx, tx.rows_in(OF_IDS, Keys::Texts(&texts), previous_from)?)?;
        self.by_id.extend(found.into_iter().map(|reward| (reward.reward_id.clone(), reward)));
        self.new.extend(ids.into_iter().filter(|id| !self.by_id.contains_key(*id)).cloned());
        Ok(())
    }

    pub(super) fn take_account(&mut self, key: AccountKey) -> Option<PreviousAccount> {
        self.accounts.remove(&key.0)
    }

    pub(super) fn take_rewards_of(&mut self, account: AccountKey) -> Option<HashMap<RewardId, PreviousReward>> {
        self.of_account.remove(&account.0)
    }

    pub(super) fn take_reward(&mut self, reward: &RewardId) -> Option<PreviousReward> {
        self.by_id.remove(reward)
    }

    /// Returns whether the index did not have the reward. The caller inserts it.
    pub(super) fn take_new(&mut self, reward: &RewardId) -> bool {
        self.new.remove(reward)
    }

    /// Removes a reward that the batch changes. `account` is the account that had it.
    pub(super) fn changed(&mut self, reward: &RewardId, account: i64) {
        self.by_id.remove(reward);
        if let Some(rewards) = self.of_account.get_mut(&account) {
            rewards.remove(reward);
        }
    }
}

fn with_links(tx: &Tx<'_>, mut rewards: Vec<PreviousReward>) -> Result<Vec<PreviousReward>, DbError> {
    let rows: Vec<i64> = rewards.iter().map(|reward| reward.row).collect();
    let mut links = links_of_each(tx, &rows)?;
    for reward in &mut rewards {
        reward.links = links.remove(&reward.row).unwrap_or_default();
    }
    Ok(rewards)
}

/// The row of each of these accounts that the index has.
pub(super) fn accounts_by_id<T>(
    tx: &Tx<'_>,
    sql: &str,
    accounts: &[&AccountId],
    mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
) -> Result<HashMap<AccountId, T>, DbError> {
    let texts: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
    let found = tx.rows_in(sql, Keys::Texts(&texts), |row| Ok((row.get::<AccountId>(0)?, read(row)?)))?;
    Ok(found.into_iter().collect())
}
