//! One transaction that writes rewards, and then the counters and checksums.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::descriptors::SharedRows;
use super::links::LinkSumChanges;
use super::prefetch::Prefetched;
use super::raw_json::JsonCompressor;
use super::reward_rows::PreviousReward;
use super::sums::{ACCOUNTS, REWARDS, RUN_LINK_PATTERNS, RUNS, SummedTable, next_id, sum_of_values};
use super::tombstones::Forgotten;
use super::{AccountKey, RunKey};
use crate::error::Result;
use crate::extract::Extracted;
use crate::model::AccountId;
use crate::store::db::ColumnKind::{Integer, Text};
use crate::store::db::{Bulk, DbError, Tx};

pub(super) struct Batch<'a> {
    pub(super) tx: &'a Tx<'a>,
    pub(super) forgotten: Forgotten,
    pub(super) compressor: &'a mut JsonCompressor,
    pub(super) counters: CounterDeltas,
    pub(super) link_sums: LinkSumChanges,
    pub(super) shared: SharedRows,
    pub(super) reward_ids: NewIds,
    pub(super) prefetched: Prefetched,
    account_ids: NewIds,
}

static ADD_ACCOUNT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [
        ("id", Integer),
        ("account_id", Text),
        ("first_seen_at", Integer),
        ("seen_pass", Integer),
        ("read_run", Integer),
        ("read_at", Integer),
        ("queued_run", Integer),
        ("sum", Integer),
    ];
    Bulk::insert(0, "accounts", 1, &columns, "")
});

/// The values of a new row of `accounts`. The other columns keep their defaults.
#[derive(Default)]
pub(super) struct NewAccount {
    /// When a crawl first saw the account, Unix milliseconds.
    pub(super) first_seen_at: i64,
    pub(super) seen_pass: i64,
    pub(super) read_run: i64,
    /// When a crawl last read the account, Unix milliseconds.
    pub(super) read_at: Option<i64>,
    pub(super) queued_run: i64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(tx: &'a Tx<'a>, forgotten: Forgotten, compressor: &'a mut JsonCompressor) -> Self {
        Self {
            tx,
            forgotten,
            compressor,
            counters: CounterDeltas::default(),
            link_sums: LinkSumChanges::default(),
            shared: SharedRows::default(),
            reward_ids: NewIds::of(&REWARDS),
            prefetched: Prefetched::default(),
            account_ids: NewIds::of(&ACCOUNTS),
        }
    }

    pub(super) fn add_account(&mut self, account: &AccountId, new: &NewAccount) -> Result<AccountKey, DbError> {
        let id = self.account_ids.next(self.tx)?;
        self.tx.run_later(
            &ADD_ACCOUNT,
            &[
                &id,
                account,
                &new.first_seen_at,
                &new.seen_pass,
                &new.read_run,
                &new.read_at,
                &new.queued_run,
                &account_sum(AccountKey(id), account, None),
            ],
        )?;
        self.account_ids.take();
        Ok(AccountKey(id))
    }
}

/// Returns the checksum of a row of `accounts`.
pub(super) fn account_sum(key: AccountKey, account: &AccountId, gone_at: Option<i64>) -> i64 {
    sum_of_values(&[&key.0, account, &gone_at])
}

/// The `id`s for new rows of one table. A batch reads only the first `id` from the table, because no other process can
/// add rows during its transaction.
pub(super) struct NewIds {
    table: &'static SummedTable,
    next: Option<i64>,
}

impl NewIds {
    fn of(table: &'static SummedTable) -> Self {
        Self { table, next: None }
    }

    /// Returns the `id` for a new row.
    pub(super) fn next(&mut self, tx: &Tx<'_>) -> Result<i64, DbError> {
        let id = match self.next {
            Some(id) => id,
            None => next_id(tx, self.table)?,
        };
        self.next = Some(id);
        Ok(id)
    }

    /// Advances to the next `id`, after the writer has used the current `id`.
    pub(super) fn take(&mut self) {
        self.next = self.next.map(|id| id + 1);
    }
}

/// The changes of one transaction to the counters of runs. Each transaction writes each counter of a run once.
#[derive(Default)]
pub(super) struct CounterDeltas {
    /// The changes to the counts of rewards and links, by run and link pattern.
    found: BTreeMap<(i64, i64), (i64, i64)>,
    /// The changes to those counters of each run that do not depend on a link pattern.
    runs: BTreeMap<i64, RunDeltas>,
}

#[derive(Default, PartialEq, Eq)]
struct RunDeltas {
    accounts_known: i64,
    accounts_read: i64,
    rewards_unusable: i64,
    values_unreadable: i64,
}

impl CounterDeltas {
    pub(super) fn add(&mut self, run: i64, pattern: i64, extracted: &Extracted) {
        self.shift(run, pattern, (1, extracted.links.len() as i64), extracted.unreadable as i64);
    }

    /// Subtracts the previous version of a reward from the counters.
    pub(super) fn remove(&mut self, old: &PreviousReward) {
        self.shift(old.read_run, old.pattern, (-1, -(old.links.len() as i64)), -old.unreadable);
    }

    pub(super) fn shift(&mut self, run: i64, pattern: i64, (rewards, links): (i64, i64), unreadable: i64) {
        let entry = self.found.entry((run, pattern)).or_default();
        entry.0 += rewards;
        entry.1 += links;
        self.runs.entry(run).or_default().values_unreadable += unreadable;
    }

    pub(super) fn count_accounts(&mut self, run: i64, known: i64, read: i64) {
        let deltas = self.runs.entry(run).or_default();
        deltas.accounts_known += known;
        deltas.accounts_read += read;
    }

    pub(super) fn count_unusable(&mut self, run: i64, more: i64) {
        self.runs.entry(run).or_default().rewards_unusable += more;
    }

    pub(super) fn write(self, tx: &Tx<'_>) -> Result<(), DbError> {
        for (run, deltas) in self.runs.iter().filter(|(_, deltas)| **deltas != RunDeltas::default()) {
            RUNS.update(
                tx,
                "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3,
                     rewards_unusable = rewards_unusable + ?4, values_unreadable = values_unreadable + ?5 WHERE id = ?1",
                &[
                    run,
                    &deltas.accounts_known,
                    &deltas.accounts_read,
                    &deltas.rewards_unusable,
                    &deltas.values_unreadable,
                ],
            )?;
        }
        for ((run, pattern), (rewards, links)) in self.found {
            // A reward that was read live before the first crawl has run 0, and no run's counters include this reward.
            if run == 0 || (rewards == 0 && links == 0) {
                continue;
            }
            RUN_LINK_PATTERNS.update(
                tx,
                "INSERT INTO run_link_patterns (run, pattern, rewards, links) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run, pattern) DO UPDATE SET rewards = run_link_patterns.rewards + excluded.rewards,
                     links = run_link_patterns.links + excluded.links",
                &[&run, &pattern, &rewards, &links],
            )?;
        }
        Ok(())
    }
}

/// Adds `known` and `read` to a run's account counters.
pub(super) fn count_accounts(tx: &Tx<'_>, run: RunKey, known: i64, read: i64) -> Result<(), DbError> {
    if known != 0 || read != 0 {
        let add =
            "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3 WHERE id = ?1";
        RUNS.update(tx, add, &[&run.0, &known, &read])?;
    }
    Ok(())
}

/// A run and the full run that it refreshes. The counts of a run include the rewards that its full run, or any run
/// after the full run, has read.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunAncestry {
    pub(super) run: i64,
    /// The full run; equal to `run` if `run` is itself a full run, and 0 if there is no run.
    pub(super) base: i64,
    /// `true` if the run reads every account; `false` if it reads only queued accounts.
    reads_all: bool,
}

impl RunAncestry {
    pub(super) fn of(tx: &Tx<'_>, run: RunKey) -> Result<Self, DbError> {
        let found = tx.opt("SELECT base, source FROM runs WHERE id = ?1", &[&run.0], |row| {
            Ok((row.get(0)?, row.get::<&str>(1)? == "participants"))
        })?;
        let (base, reads_all) = found.unwrap_or((0, true));
        Ok(Self { run: run.0, base, reads_all })
    }

    /// Returns `true` if an account counts as known, provided that it is not gone.
    pub(super) fn knows(self, queued_run: i64, read_run: i64) -> bool {
        self.reads_all || read_run >= self.base || queued_run.abs() >= self.base
    }
}
