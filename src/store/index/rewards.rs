//! Rewards: the answer for one account becomes rows, links and counters, in one transaction per batch of accounts.
//!
//! What an account no longer lists is marked as gone; what another account listed before moves. An answer that was asked
//! for before a newer one never overwrites it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::value::RawValue;

use super::accounts::{Lineage, Page, PageCommitted, write_page};
use super::links::move_keys_on;
use super::pack::Packer;
use super::pen::{Pen, Sql};
use super::rows::{Item, Tally, old_rewards};
use super::shared::Shared;
use super::sweeps::count_accounts;
use super::{AccountKey, Index, RunKey, Sweep};
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Extracted, Mapping};
use crate::model::{AccountId, RewardId};

/// A reward as it was read, with its JSON as it came.
#[derive(Debug, Clone)]
pub struct ReadReward {
    pub(super) extracted: Extracted,
    pub(super) raw: Box<str>,
    pub(super) via: Via,
}

/// Which API a reward came by. They differ in what they say of a link, so one does not take back what another has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Get Rewards, or a reward by its ID.
    Rest,
    /// GraphQL.
    GraphQl,
    /// A row of an export.
    Export,
}

impl Via {
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
    /// Takes the JSON as it is. It is packed where it is written, which is not where the vendor is asked.
    pub fn new(extracted: Extracted, raw: &str) -> Self {
        Self { extracted, raw: raw.into(), via: Via::Rest }
    }

    /// What Get Rewards answered for an account; and how many of the rewards cannot be kept, because they have no id.
    ///
    /// # Errors
    /// [`Kind::Vendor`] if a reward names another account: then the answer is not about the one that was asked, and nothing of it
    /// is kept.
    pub fn all(raw: Vec<Box<RawValue>>, account: &AccountId, mapping: &Mapping) -> Result<(Vec<Self>, u64)> {
        let (mut rewards, mut unusable) = (Vec::with_capacity(raw.len()), 0);
        for raw in raw {
            match extract::read(raw.get(), account, mapping) {
                Ok(extracted) if extracted.reward.account_id != *account => {
                    let what =
                        "Advocate Get Rewards answered with rewards of another account than the one that was asked for";
                    return Err(Error::new(Kind::Vendor, what)
                        .hint("run the same command again; a cache or a proxy in between may mix answers up"));
                }
                Ok(extracted) => rewards.push(Self { extracted, raw: raw.into(), via: Via::Rest }),
                Err(_no_id) => unusable += 1,
            }
        }
        Ok((rewards, unusable))
    }

    /// The same, having come by another API than Get Rewards.
    #[must_use]
    pub fn via(mut self, via: Via) -> Self {
        self.via = via;
        self
    }

    /// What the reward says.
    pub fn extracted(&self) -> &Extracted {
        &self.extracted
    }
}

/// What came of asking for one account.
#[derive(Debug, Clone)]
pub struct AccountRead {
    /// The account's row.
    pub key: AccountKey,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// What came back.
    pub answer: AccountAnswer,
}

/// What a crawl writes in batches.
#[derive(Debug, Clone)]
pub enum Entry {
    /// What came of asking for one account.
    Read(AccountRead),
    /// A page of participants, read at this moment in this sweep.
    Page {
        /// The walk that it belongs to.
        sweep: Sweep,
        /// The page, with the cursor that stands behind it.
        page: Page,
        /// When it came.
        at: Timestamp,
    },
}

/// The answer for one account.
#[derive(Debug, Clone)]
pub enum AccountAnswer {
    /// Its rewards, all of them.
    Listed {
        /// The rewards.
        rewards: Vec<ReadReward>,
        /// Rewards that could not be kept because they have no id.
        unusable: u64,
    },
    /// The vendor does not know it, and it is nobody's claim that it should: it is gone.
    NoSuchAccount,
    /// Get Rewards does not know it. In a crawl that decides nothing: it is gone once a walk does not list it any more, and
    /// where the list still has it, the two disagree, which is a failure.
    Unknown,
    /// It could not be read.
    Failed(String),
}

impl Index {
    /// The answers for a batch of accounts: all of them, or none.
    pub fn record(&mut self, run: RunKey, reads: Vec<AccountRead>) -> Result<()> {
        self.commit(run, reads.into_iter().map(Entry::Read)).map(drop)
    }

    /// Answers and pages, in the order in which they came: all of them, or none. Says what each page brought. Each is taken
    /// when its turn comes, so that what is made late is still at hand when it is written.
    pub fn commit(&mut self, run: RunKey, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<PageCommitted>> {
        let (pages, last) = self.write_packed(|tx, shared, packer| {
            let mut tally = Tally::default();
            let (mut pages, mut last) = (Vec::new(), None);
            let lineage = Lineage::of(tx, run)?;
            let pen = &mut Pen::new(tx);
            for entry in entries {
                match entry {
                    Entry::Read(read) => {
                        record_account(pen, shared, packer, &mut tally, lineage, &read)?;
                        last = Some(read.asked_at);
                    }
                    Entry::Page { sweep, page, at } => {
                        pages.push(write_page(pen, &shared.forgotten, run, &sweep, &page, at)?);
                        last = Some(at);
                    }
                }
            }
            move_keys_on(tx)?;
            tally.write(tx)?;
            Ok((pages, last))
        })?;
        if let Some(last) = last {
            self.learn(last)?;
        }
        Ok(pages)
    }

    /// The answer for one account that was asked live, outside of a crawl. Counts towards the newest run.
    pub fn record_live(
        &mut self,
        account: &AccountId,
        rewards: Vec<ReadReward>,
        unusable: u64,
        asked_at: Timestamp,
    ) -> Result<()> {
        let answer = AccountAnswer::Listed { rewards, unusable };
        self.write_packed(|tx, shared, packer| {
            if shared.forgotten.has(account.as_str()) {
                return Ok(());
            }
            let run = newest_run(tx)?;
            let key = account_key(tx, run, account, asked_at)?;
            let mut tally = Tally::default();
            let lineage = Lineage::of(tx, run)?;
            let read = AccountRead { key, asked_at, answer };
            record_account(&mut Pen::new(tx), shared, packer, &mut tally, lineage, &read)?;
            tally.write(tx)
        })
    }

    /// One reward that was read by its ID, outside of its account's list. Says nothing about the others of that account.
    pub fn record_reward(&mut self, reward: &ReadReward, asked_at: Timestamp) -> Result<()> {
        self.write_packed(|tx, shared, packer| {
            let run = newest_run(tx)?;
            let listed_by = &reward.extracted.reward.account_id;
            if shared.forgotten.has(listed_by.as_str()) {
                return Ok(());
            }
            let key = account_key(tx, run, listed_by, asked_at)?;
            let mut tally = Tally::default();
            let item = Item { lineage: Lineage::of(tx, run)?, key, listed_by, asked_at, reward };
            item.write(&mut Pen::new(tx), shared, packer, &mut tally, None)?;
            tally.write(tx)
        })
    }
}

fn newest_run(tx: &Transaction<'_>) -> rusqlite::Result<RunKey> {
    tx.query_row("SELECT coalesce(max(id), 0) FROM runs", [], |row| row.get(0)).map(RunKey)
}

/// The account's row, made where it is missing.
fn account_key(tx: &Transaction<'_>, run: RunKey, account: &AccountId, at: Timestamp) -> rusqlite::Result<AccountKey> {
    let found = "SELECT id FROM accounts WHERE account_id = ?1";
    if let Some(id) = tx.prepare_cached(found)?.query_row([account.as_str()], |row| row.get(0)).optional()? {
        return Ok(AccountKey(id));
    }
    tx.execute(
        "INSERT INTO accounts (account_id, first_seen_at) VALUES (?1, ?2)",
        params![account.as_str(), at.as_millisecond()],
    )?;
    let key = AccountKey(tx.last_insert_rowid());
    count_accounts(tx, run, 1, 0)?;
    Ok(key)
}

/// An account's row as it was before.
struct Before {
    account_id: AccountId,
    read_run: i64,
    read_at: Option<i64>,
    gone: bool,
    unusable: i64,
    queued_run: i64,
    failed: bool,
}

fn record_account(
    pen: &mut Pen<'_>,
    shared: &mut Shared,
    packer: &mut Packer,
    tally: &mut Tally,
    lineage: Lineage,
    read: &AccountRead,
) -> rusqlite::Result<()> {
    let run = RunKey(lineage.run);
    let asked_at = read.asked_at.as_millisecond();
    let before = pen
        .sql(Sql::AccountByRow)?
        .query_row([read.key.0], |row| {
            Ok(Before {
                account_id: row.get(0)?,
                read_run: row.get(1)?,
                read_at: row.get(2)?,
                gone: row.get(3)?,
                unusable: row.get(4)?,
                queued_run: row.get(5)?,
                failed: row.get(6)?,
            })
        })
        .optional()?;
    // It was forgotten while it was being read.
    let Some(before) = before else { return Ok(()) };
    if before.read_at.is_some_and(|read_at| read_at > asked_at) && before.read_run >= run.0 {
        return Ok(());
    }
    let was_read = before.read_run >= lineage.base;
    let was_known = !before.gone && lineage.knows(before.queued_run, before.read_run);
    match &read.answer {
        // A walk that ended meanwhile has found that it is gone: that it cannot be read is no failure any more.
        AccountAnswer::Failed(_) | AccountAnswer::Unknown if before.gone => {}
        AccountAnswer::Failed(reason) => {
            fail(pen, run, read, reason, false)?;
        }
        AccountAnswer::Unknown => {
            fail(pen, run, read, "it is listed, and Get Rewards does not know it", true)?;
        }
        AccountAnswer::NoSuchAccount => {
            if was_known {
                tally.count_accounts(lineage.run, -1, -i64::from(was_read));
            }
            pen.prepare_cached(
                "UPDATE accounts SET gone_at = coalesce(gone_at, ?3), read_run = ?2, read_at = ?3,
                     failed_run = NULL, failed_at = NULL, failed_reason = NULL, unknown = 0 WHERE id = ?1",
            )?
            .execute(params![read.key.0, run.0, asked_at])?;
        }
        AccountAnswer::Listed { rewards, unusable } => {
            let mut before_rewards = old_rewards(pen, read.key)?;
            let chosen = one_statement_each(rewards.iter(), asked_at);
            for reward in rewards.iter().filter(|reward| is_chosen(&chosen, reward)) {
                let id = &reward.extracted.reward.reward_id;
                let old = before_rewards.remove(id);
                let listed_by = &before.account_id;
                let item = Item { lineage, key: read.key, listed_by, asked_at: read.asked_at, reward };
                item.write(pen, shared, packer, tally, old)?;
            }
            for old in before_rewards.into_values().filter(|old| !old.gone && old.read_at <= asked_at) {
                pen.prepare_cached("UPDATE rewards SET gone_at = ?2 WHERE id = ?1")?.execute([old.row, asked_at])?;
                if old.read_run >= lineage.base {
                    tally.remove(&old);
                }
            }
            tally.count_accounts(lineage.run, i64::from(!was_known), i64::from(before.gone || !was_read));
            let unusable = *unusable as i64;
            // An account that is read again in the same run replaces what it said before.
            let more_unusable = unusable - if was_read { before.unusable } else { 0 };
            tally.count_unusable(lineage.run, more_unusable);
            let is_plain = !before.gone && !before.failed;
            pen.sql(if is_plain { Sql::AccountRead } else { Sql::AccountReadAgain })?
                .execute(params![read.key.0, run.0, asked_at, unusable])?;
        }
    }
    Ok(())
}

/// Of several statements about one reward in one answer, the one that speaks the most against a cancellation.
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

/// Whether it is the statement that was chosen of its reward.
pub(super) fn is_chosen(chosen: &HashMap<&RewardId, &ReadReward>, reward: &ReadReward) -> bool {
    chosen.get(&reward.extracted.reward.reward_id).is_some_and(|chosen| std::ptr::eq(*chosen, reward))
}

/// The account could not be read in this run; the next walk and the last try decide what becomes of it.
fn fail(tx: &Transaction<'_>, run: RunKey, read: &AccountRead, reason: &str, unknown: bool) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE accounts SET failed_run = ?2, failed_at = ?3, failed_reason = ?4, unknown = ?5 WHERE id = ?1",
    )?
    .execute(params![read.key.0, run.0, read.asked_at.as_millisecond(), reason, unknown])
    .map(drop)
}
