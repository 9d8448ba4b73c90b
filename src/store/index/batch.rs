//! One transaction that writes rewards, then their counters and checksums.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::RunKey;
use super::descriptors::SharedRows;
use super::links::LinkSumChanges;
use super::raw_json::JsonCompressor;
use super::reward_rows::PreviousReward;
use super::sums::{REWARDS, RUN_LINK_PATTERNS, RUNS, next_id};
use super::tombstones::Forgotten;
use crate::extract::Extracted;

pub(super) struct Batch<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) forgotten: &'a mut Forgotten,
    pub(super) compressor: &'a mut JsonCompressor,
    pub(super) counters: CounterDeltas,
    pub(super) link_sums: LinkSumChanges,
    pub(super) shared: SharedRows,
    /// The `id` of the next new reward; `None` until the batch has read it.
    pub(super) next_reward: Option<i64>,
}

impl Batch<'_> {
    /// Returns the `id` for a new reward. The batch reads it from the table once, because no other process writes meanwhile.
    pub(super) fn next_reward_id(&mut self) -> rusqlite::Result<i64> {
        let id = match self.next_reward {
            Some(id) => id,
            None => next_id(self.tx, &REWARDS)?,
        };
        self.next_reward = Some(id + 1);
        Ok(id)
    }

    /// Writes the counters and checksums of the batch. Must run before the commit.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        self.counters.write(self.tx)?;
        self.link_sums.write(self.tx)
    }
}

/// The changes of one transaction to the counters of runs. The transaction writes each counter once.
#[derive(Default)]
pub(super) struct CounterDeltas {
    /// Rewards and links, by run and link pattern.
    found: BTreeMap<(i64, i64), (i64, i64)>,
    /// The changes to each run.
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

    pub(super) fn write(self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for (run, deltas) in self.runs.iter().filter(|(_, deltas)| **deltas != RunDeltas::default()) {
            RUNS.update(
                tx,
                "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3,
                     rewards_unusable = rewards_unusable + ?4, values_unreadable = values_unreadable + ?5 WHERE id = ?1",
                [
                    *run,
                    deltas.accounts_known,
                    deltas.accounts_read,
                    deltas.rewards_unusable,
                    deltas.values_unreadable,
                ],
            )?;
        }
        for ((run, pattern), (rewards, links)) in self.found {
            // A reward that was read live before the first crawl has run 0, and no run counts it.
            if run == 0 || (rewards == 0 && links == 0) {
                continue;
            }
            RUN_LINK_PATTERNS.update(
                tx,
                "INSERT INTO run_link_patterns (run, pattern, rewards, links) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run, pattern) DO UPDATE SET rewards = run_link_patterns.rewards + excluded.rewards,
                     links = run_link_patterns.links + excluded.links",
                [run, pattern, rewards, links],
            )?;
        }
        Ok(())
    }
}

/// Adds to a run's account counters.
pub(super) fn count_accounts(tx: &Transaction<'_>, run: RunKey, known: i64, read: i64) -> rusqlite::Result<()> {
    if known != 0 || read != 0 {
        let add =
            "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3 WHERE id = ?1";
        RUNS.update(tx, add, [run.0, known, read])?;
    }
    Ok(())
}

/// A run and the full run that it refreshes. Rewards count if the full run or any later run has read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunAncestry {
    pub(super) run: i64,
    /// The full run: `run` itself if `run` is full, and 0 if there is no run.
    pub(super) base: i64,
    /// `true` if the run reads every account, `false` if it reads its queue.
    reads_all: bool,
}

impl RunAncestry {
    pub(super) fn of(tx: &Transaction<'_>, run: RunKey) -> rusqlite::Result<Self> {
        let sql = "SELECT base, source FROM runs WHERE id = ?1";
        let found: Option<(i64, String)> =
            tx.prepare_cached(sql)?.query_row(params![run.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (base, reads_all) = found.map_or((0, true), |(base, source)| (base, source == "participants"));
        Ok(Self { run: run.0, base, reads_all })
    }

    /// Returns whether an account counts as known, provided that it is not gone.
    pub(super) fn knows(self, queued_run: i64, read_run: i64) -> bool {
        self.reads_all || read_run >= self.base || queued_run.abs() >= self.base
    }
}
