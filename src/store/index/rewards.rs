//! Writes the responses for a batch of accounts as rows, links and counters, in one transaction.
//!
//! If an account no longer lists a reward, the index marks the reward as gone. A reward that another account listed
//! before moves to the new account. The response to an earlier request never overwrites the response to a later
//! request.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::accounts::{Page, PageCommitted, write_page};
use super::batch::{Batch, NewAccount, RunAncestry, account_sum, count_accounts};
use super::prefetch::Prefetched;
use super::reward_rows::{RewardWrite, previous_of_account};
use super::sums::REWARDS;
use super::{AccountKey, Index, ListPass, RunKey};
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Extracted, Mapping};
use crate::model::{AccountId, RewardId};
use crate::store::db::ColumnKind::Integer;
use crate::store::db::{Bulk, DbError, Row, Tx};

/// A reward from the vendor, and its unchanged JSON.
#[derive(Debug, Clone)]
pub struct ReadReward {
    pub(super) extracted: Extracted,
    pub(super) raw: Box<str>,
    pub(super) source: ApiSource,
}

/// The API from which recoup read a reward. The APIs differ in the detail of their links, so a reading from one API
/// does not remove a link from another API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiSource {
    /// The REST API: Get Rewards, or a reward by its ID.
    Rest,
    GraphQl,
    /// A row of a REWARD export's file.
    Export,
}

impl ApiSource {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Rest => 0,
            Self::GraphQl => 1,
            Self::Export => 2,
        }
    }

    pub(super) fn of_number(number: i64) -> Self {
        match number {
            1 => Self::GraphQl,
            2 => Self::Export,
            _ => Self::Rest,
        }
    }
}

impl ReadReward {
    pub fn new(extracted: Extracted, raw: &str) -> Self {
        Self { extracted, raw: raw.into(), source: ApiSource::Rest }
    }

    /// Returns the rewards in a response of Get Rewards, and the number of rewards without an ID, which recoup cannot store.
    ///
    /// # Errors
    /// [`Kind::Vendor`] if a reward has another account. The response then belongs to another request, so the caller must
    /// store nothing of it.
    pub fn all(raw: Vec<Box<RawValue>>, account: &AccountId, mapping: &Mapping) -> Result<(Vec<Self>, u64)> {
        let (mut rewards, mut unusable) = (Vec::with_capacity(raw.len()), 0);
        for raw in raw {
            match extract::read(raw.get(), account, mapping) {
                Ok(extracted) if extracted.reward.account_id != *account => {
                    let what = "Advocate Get Rewards answered with rewards of another account than the requested one";
                    return Err(Error::new(Kind::Vendor, what)
                        .hint("run the same command again; a cache or a proxy in between may mix responses up"));
                }
                Ok(extracted) => rewards.push(Self { extracted, raw: raw.into(), source: ApiSource::Rest }),
                Err(_no_id) => unusable += 1,
            }
        }
        Ok((rewards, unusable))
    }

    /// Sets the API from which recoup read the reward. The default API is Get Rewards.
    #[must_use]
    pub fn via(mut self, source: ApiSource) -> Self {
        self.source = source;
        self
    }

    pub fn extracted(&self) -> &Extracted {
        &self.extracted
    }
}

/// The result of reading one account.
#[derive(Debug, Clone)]
pub struct AccountRead {
    pub key: AccountKey,
    /// When the crawler sent the request.
    pub asked_at: Timestamp,
    pub answer: AccountAnswer,
}

/// A step of a crawl. A batch of steps is one transaction.
#[derive(Debug, Clone)]
pub enum Entry {
    Read(AccountRead),
    /// A page of participants with its cursor. `at` is the time at which the page arrived.
    Page {
        pass: ListPass,
        page: Page,
        at: Timestamp,
    },
}

impl Entry {
    fn read(&self) -> Option<&AccountRead> {
        if let Self::Read(read) = self { Some(read) } else { None }
    }
}

/// The response for one account.
#[derive(Debug, Clone)]
pub enum AccountAnswer {
    /// All rewards of the account. `unusable` counts rewards without an ID, which recoup cannot store.
    Listed { rewards: Vec<ReadReward>, unusable: u64 },
    /// The account is gone: the vendor does not know it, and the list of participants does not contain it.
    NoSuchAccount,
    /// Get Rewards does not know the account. If the next pass over the list contains the account, the account counts as
    /// failed, because the list and Get Rewards contradict each other. If the pass does not contain the account, the account
    /// is gone.
    Unknown,
    /// The crawler failed to read the account. This variant contains the reason.
    Failed(String),
}

impl Index {
    /// Writes the responses for a batch of accounts in one transaction.
    pub fn record(&mut self, run: RunKey, reads: Vec<AccountRead>) -> Result<()> {
        self.commit(run, &reads.into_iter().map(Entry::Read).collect::<Vec<_>>()).map(drop)
    }

    /// Writes responses and pages in their order, in one transaction. Returns the counts of each written page.
    pub fn commit(&mut self, run: RunKey, entries: &[Entry]) -> Result<Vec<PageCommitted>> {
        self.write_batch(|batch| {
            let mut pages = Vec::new();
            let ancestry = RunAncestry::of(batch.tx, run)?;
            // A page changes accounts, so the accounts of the responses after it are read after it.
            for group in entries.chunk_by(|one, next| one.read().is_some() && next.read().is_some()) {
                batch.prefetched = Prefetched::of_reads(batch.tx, group.iter().filter_map(Entry::read))?;
                for entry in group {
                    match entry {
                        Entry::Read(read) => record_account(batch, ancestry, read)?,
                        Entry::Page { pass, page, at } => pages.push(write_page(batch, run, pass, page, *at)?),
                    }
                }
            }
            Ok(pages)
        })
    }

    /// Writes the response for one account that was read outside of a crawl. A response read outside of a crawl counts
    /// towards the newest run.
    pub fn record_live(
        &mut self,
        account: &AccountId,
        rewards: Vec<ReadReward>,
        unusable: u64,
        asked_at: Timestamp,
    ) -> Result<()> {
        let mut read =
            AccountRead { key: AccountKey::START, asked_at, answer: AccountAnswer::Listed { rewards, unusable } };
        self.write_batch(|batch| {
            if batch.forgotten.has(account.as_str()) {
                return Ok(());
            }
            let run = newest_run(batch.tx)?;
            read.key = account_key(batch, run, account, asked_at)?;
            let ancestry = RunAncestry::of(batch.tx, run)?;
            record_account(batch, ancestry, &read)
        })
    }

    /// Writes one reward that recoup read by its ID. The other rewards of the reward's account stay unchanged.
    pub fn record_reward(&mut self, reward: &ReadReward, asked_at: Timestamp) -> Result<()> {
        self.write_batch(|batch| {
            let listed_by = &reward.extracted.reward.account_id;
            if batch.forgotten.has(listed_by.as_str()) {
                return Ok(());
            }
            let run = newest_run(batch.tx)?;
            let account = account_key(batch, run, listed_by, asked_at)?;
            let ancestry = RunAncestry::of(batch.tx, run)?;
            RewardWrite { ancestry, account, listed_by, asked_at, reward }.write(batch, None)
        })
    }
}

fn newest_run(tx: &Tx<'_>) -> Result<RunKey, DbError> {
    tx.one("SELECT coalesce(max(id), 0) FROM runs", &[], |row| row.get(0)).map(RunKey)
}

/// Returns the account's row. Adds the row of the account if it is missing.
fn account_key(batch: &mut Batch<'_>, run: RunKey, account: &AccountId, at: Timestamp) -> Result<AccountKey, DbError> {
    let found = batch.tx.opt("SELECT id FROM accounts WHERE account_id = ?1", &[account], |row| row.get(0))?;
    if let Some(id) = found {
        return Ok(AccountKey(id));
    }
    let key =
        batch.add_account(account, &NewAccount { first_seen_at: at.as_millisecond(), ..NewAccount::default() })?;
    count_accounts(batch.tx, run, 1, 0)?;
    Ok(key)
}

/// An account's row before the current transaction changes it.
pub(super) struct PreviousAccount {
    account_id: AccountId,
    read_run: i64,
    read_at: Option<i64>,
    gone_at: Option<i64>,
    unusable: i64,
    queued_run: i64,
    failed: bool,
}

/// Returns the query for the columns of [`PreviousAccount`].
macro_rules! previous_account {
    ($condition:literal) => {
        concat!(
            "SELECT account_id, read_run, read_at, gone_at, unusable, queued_run, failed_run IS NOT NULL OR unknown = 1, id \
             FROM accounts WHERE ",
            $condition
        )
    };
}

/// The query of many accounts, on a server.
pub(super) const PREVIOUS_ACCOUNTS: &str = previous_account!("id = ANY (?1)");

impl PreviousAccount {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            account_id: row.get(0)?,
            read_run: row.get(1)?,
            read_at: row.get(2)?,
            gone_at: row.get(3)?,
            unusable: row.get(4)?,
            queued_run: row.get(5)?,
            failed: row.get(6)?,
        })
    }

    /// Reads the row with its row ID.
    pub(super) fn with_key(row: &Row<'_>) -> Result<(i64, Self), DbError> {
        Ok((row.get(7)?, Self::from_row(row)?))
    }
}

/// Writes no column that an SQL index or the checksum covers.
static SET_READ: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [("id", Integer), ("read_run", Integer), ("read_at", Integer), ("unusable", Integer)];
    Bulk::update(1, "accounts", &columns, "")
});

fn record_account(batch: &mut Batch<'_>, ancestry: RunAncestry, read: &AccountRead) -> Result<(), DbError> {
    let tx = batch.tx;
    let run = RunKey(ancestry.run);
    let asked_at = read.asked_at.as_millisecond();
    let previous = match batch.prefetched.take_account(read.key) {
        Some(previous) => Some(previous),
        None => tx.opt(previous_account!("id = ?1"), &[&read.key.0], PreviousAccount::from_row)?,
    };
    // A person asked to forget the account while the crawler was reading it.
    let Some(previous) = previous else { return Ok(()) };
    if previous.read_at.is_some_and(|read_at| read_at > asked_at) && previous.read_run >= run.0 {
        return Ok(());
    }
    let was_read = previous.read_run >= ancestry.base;
    let was_gone = previous.gone_at.is_some();
    let was_known = !was_gone && ancestry.knows(previous.queued_run, previous.read_run);
    match &read.answer {
        // A pass has marked the account as gone since the request, so the failed reading does not count for the run.
        AccountAnswer::Failed(_) | AccountAnswer::Unknown if was_gone => {}
        AccountAnswer::Failed(reason) => mark_failed(tx, run, read, reason, false)?,
        AccountAnswer::Unknown => mark_failed(tx, run, read, "it is listed, and Get Rewards does not know it", true)?,
        AccountAnswer::NoSuchAccount => {
            if was_known {
                batch.counters.count_accounts(ancestry.run, -1, -i64::from(was_read));
            }
            let gone_at = previous.gone_at.unwrap_or(asked_at);
            tx.run(
                "UPDATE accounts SET gone_at = ?3, read_run = ?2, read_at = ?4, failed_run = NULL, failed_at = NULL,
                     failed_reason = NULL, unknown = 0, sum = ?5 WHERE id = ?1",
                &[
                    &read.key.0,
                    &run.0,
                    &gone_at,
                    &asked_at,
                    &account_sum(read.key, &previous.account_id, Some(gone_at)),
                ],
            )?;
        }
        AccountAnswer::Listed { rewards, unusable } => {
            let mut previous_rewards = previous_of_account(batch, read.key)?;
            let chosen = one_statement_each(rewards.iter(), asked_at);
            for reward in rewards.iter().filter(|reward| is_chosen(&chosen, reward)) {
                let listed_before = previous_rewards.remove(&reward.extracted.reward.reward_id);
                let listed_by = &previous.account_id;
                let write = RewardWrite { ancestry, account: read.key, listed_by, asked_at: read.asked_at, reward };
                write.write(batch, listed_before)?;
            }
            for old in previous_rewards.into_values().filter(|old| !old.gone && old.read_at <= asked_at) {
                batch.prefetched.changed(&old.reward_id, old.account);
                REWARDS.update(tx, "UPDATE rewards SET gone_at = ?2 WHERE id = ?1", &[&old.row, &asked_at])?;
                if old.read_run >= ancestry.base {
                    batch.counters.remove(&old);
                }
            }
            let newly_read = was_gone || !was_read;
            batch.counters.count_accounts(ancestry.run, i64::from(!was_known), i64::from(newly_read));
            let unusable = *unusable as i64;
            // A second reading of an account in the same run replaces the count of the first reading.
            batch.counters.count_unusable(ancestry.run, unusable - if was_read { previous.unusable } else { 0 });
            if was_gone || previous.failed {
                tx.run(
                    "UPDATE accounts SET read_run = ?2, read_at = ?3, unusable = ?4, gone_at = NULL, failed_run = NULL,
                         failed_at = NULL, failed_reason = NULL, unknown = 0, sum = ?5 WHERE id = ?1",
                    &[&read.key.0, &run.0, &asked_at, &unusable, &account_sum(read.key, &previous.account_id, None)],
                )?;
            } else {
                tx.run_later(&SET_READ, &[&read.key.0, &run.0, &asked_at, &unusable])?;
            }
        }
    }
    Ok(())
}

/// Keeps one reading of each reward. If a response contains a reward several times, keeps the strongest evidence
/// against a cancellation.
pub(super) fn one_statement_each<'a>(
    rewards: impl Iterator<Item = &'a ReadReward>,
    now_ms: i64,
) -> HashMap<&'a RewardId, &'a ReadReward> {
    let mut chosen: HashMap<&RewardId, &ReadReward> = HashMap::new();
    for one in rewards {
        match chosen.entry(&one.extracted.reward.reward_id) {
            Slot::Vacant(free) => {
                free.insert(one);
            }
            Slot::Occupied(mut kept) => {
                if one.extracted.reward.weight(now_ms) < kept.get().extracted.reward.weight(now_ms) {
                    kept.insert(one);
                }
            }
        }
    }
    chosen
}

pub(super) fn is_chosen(chosen: &HashMap<&RewardId, &ReadReward>, reward: &ReadReward) -> bool {
    chosen.get(&reward.extracted.reward.reward_id).is_some_and(|chosen| std::ptr::eq(*chosen, reward))
}

/// Records that this run failed to read the account. A later attempt of the run, or the next pass, may clear the
/// failure of the account.
fn mark_failed(tx: &Tx<'_>, run: RunKey, read: &AccountRead, reason: &str, unknown: bool) -> Result<(), DbError> {
    tx.run(
        "UPDATE accounts SET failed_run = ?2, failed_at = ?3, failed_reason = ?4, unknown = ?5 WHERE id = ?1",
        &[&read.key.0, &run.0, &read.asked_at.as_millisecond(), &reason, &unknown],
    )
    .map(drop)
}
