//! Runs of the crawler: the progress of a crawl, its counters, and the coverage of the index.

use std::sync::{LazyLock, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::sums::{RUN_LINK_PATTERNS, RUNS};
use super::vendor_clock::StoredClock;
use super::{Index, IndexReader, JudgedNow, moment};
use crate::error::Result;
use crate::model::Coverage;
use crate::store::db::{DbError, Row, Tx};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RunKey(pub(super) i64);

impl RunKey {
    /// Returns the number of this run, for use in cursors.
    pub fn number(self) -> i64 {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The run is unfinished, and the next crawl resumes it.
    Running,
    /// The run has ended, completely or with gaps.
    Finished,
    /// The run was replaced by another run before its end.
    Replaced,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub run: RunKey,
    pub source: String,
    pub state: RunState,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `true` if the run has read every known account and found no gap.
    pub complete: bool,
    /// A text for each gap of the run.
    pub gaps: Vec<String>,
    /// The full run that this run refreshes. A full run refreshes itself.
    pub base: RunKey,
    /// The newest `dateModified` that the run read, in Unix milliseconds by the vendor's clock. A refresh of the run
    /// starts from this time.
    pub watermark: Option<i64>,
    /// The position in the source, as JSON.
    #[serde(skip)]
    pub cursor: Option<String>,
    /// The number of rewards according to the vendor; `None` if the vendor gives no number.
    pub rewards_known: Option<u64>,
    pub requests: u64,
    /// The part of `requests` for accounts that the crawler read again only because of their age.
    pub requests_reread: u64,
    /// The number of rewards whose newest reading is from this run.
    pub rewards_of_its_own: u64,
    /// The number of forgotten accounts' rewards that this run, or a run that it refreshes, has skipped.
    pub rewards_left_out: u64,
    /// The number of forgotten accounts over all runs.
    pub accounts_forgotten: u64,
    /// The number of known accounts that the vendor still has.
    pub accounts_known: u64,
    /// The number of accounts in `accounts_known` that this run has read.
    pub accounts_read: u64,
    /// The number of accounts that this run failed to read.
    pub accounts_failed: u64,
    /// The number of accounts in `accounts_failed` that are listed, but unknown to Get Rewards.
    pub accounts_unknown: u64,
    /// The number of rewards without an ID.
    pub rewards_unusable: u64,
    /// Number of values under a matching key that recoup cannot read exactly, and therefore does not index.
    pub values_unreadable: u64,
    /// The link patterns of the run's rewards. The link pattern with the most rewards comes first.
    pub coverage: Vec<PatternCount>,
}

/// The number of rewards and links of one link pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatternCount {
    /// The kind of links: `both`, `order_only`, `action_only`, `neither` or `ambiguous`.
    pub kind: String,
    /// The JSONPath of the order ID in the reward.
    pub order_path: Option<String>,
    /// The JSONPath of the ActionId in the reward.
    pub action_path: Option<String>,
    pub rewards: u64,
    pub links: u64,
}

impl Run {
    /// Returns `true` if the run reads only the changes since another run.
    pub fn is_refresh(&self) -> bool {
        self.base != self.run
    }

    /// Returns the number of rewards that this run, or a run that it refreshes, has read.
    pub fn rewards(&self) -> u64 {
        self.coverage.iter().map(|pattern| pattern.rewards).sum()
    }

    /// Returns the number of rewards including the skipped rewards of forgotten accounts, for comparison with the
    /// vendor's own count.
    pub fn rewards_met(&self) -> u64 {
        self.rewards() + self.rewards_left_out
    }

    /// Returns the number of rewards that contain an order ID.
    pub fn with_order(&self) -> u64 {
        self.coverage.iter().filter(|pattern| pattern.order_path.is_some()).map(|pattern| pattern.rewards).sum()
    }

    pub fn links(&self) -> u64 {
        self.coverage.iter().map(|pattern| pattern.links).sum()
    }
}

/// The parameters for [`Index::begin_run`].
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    pub source: &'a str,
    /// The run to refresh; `None` for a full run.
    pub refreshes: Option<RunKey>,
    /// `true` starts a new run even if an earlier run is unfinished.
    pub fresh: bool,
}

impl<'a> NewRun<'a> {
    /// Creates the parameters of a full run of a source. If the source has an unfinished run, recoup resumes that run
    /// instead.
    pub fn of(source: &'a str) -> Self {
        Self { source, refreshes: None, fresh: false }
    }
}

impl Index {
    /// Returns the newest run in any state.
    pub fn newest_run(&self) -> Result<Option<Run>> {
        self.conn.read(|tx| Ok(select_runs(tx, "id > ?1", 0, 1)?.pop()))
    }

    /// Returns the newest finished run. Answers use this run.
    pub fn newest_finished_run(&self) -> Result<Option<Run>> {
        self.conn.read(|tx| Ok(select_runs(tx, "id > ?1 AND state = 'finished'", 0, 1)?.pop()))
    }

    /// Returns the number of accounts that are not gone, and how many of these have rewards. Counting accounts scans
    /// two tables, so it is too slow for a look-up.
    pub fn count_accounts_known(&self) -> Result<(u64, u64)> {
        let sql = "SELECT (SELECT count(*) FROM accounts WHERE gone_at IS NULL),
             (SELECT count(DISTINCT account) FROM rewards WHERE gone_at IS NULL)";
        self.conn.read(|tx| tx.one(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// Returns the newest finished run if its source is `source` and a refresh can start from it.
    pub fn refreshable(&self, source: &str) -> Result<Option<Run>> {
        let newest = self.newest_finished_run()?;
        let Some(newest) = newest.filter(|run| run.source == source && run.watermark.is_some()) else {
            return Ok(None);
        };
        // A later run of another source has read some of the same rewards and counts them, so the counts of this run
        // are no longer correct.
        let crossed = "SELECT EXISTS (SELECT 1 FROM runs JOIN run_link_patterns ON run = runs.id
             WHERE runs.id > ?1 AND base <> ?2 AND rewards <> 0)";
        let crossed: bool = self.conn.read(|tx| tx.one(crossed, &[&newest.run.0, &newest.base.0], |row| row.get(0)))?;
        Ok((!crossed).then_some(newest))
    }

    /// Returns the newest finished run before `run` that refreshes the same full run. If there is no such refresh,
    /// returns the full run.
    pub fn run_before(&self, run: RunKey, base: RunKey) -> Result<Option<Run>> {
        let condition = format!("id >= {} AND state = 'finished' AND id < ?1", base.0);
        self.conn.read(|tx| Ok(select_runs(tx, &condition, run.0, 1)?.pop()))
    }

    /// Returns the unfinished run, which the next crawl resumes; `None` if there is no unfinished run.
    pub fn unfinished_run(&self) -> Result<Option<Run>> {
        self.conn.read(|tx| Ok(select_runs(tx, "id > ?1 AND state = 'running'", 0, 1)?.pop()))
    }

    pub fn run(&self, run: RunKey) -> Result<Option<Run>> {
        self.conn.read(|tx| Ok(select_runs(tx, "id = ?1", run.0, 1)?.pop()))
    }
}

impl IndexReader {
    /// Returns up to `limit` runs, newest first.
    pub fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        self.conn.read(|tx| select_runs(tx, "id > ?1", 0, limit))
    }

    /// Returns the part of the tenant that the newest finished run has read. Before the first finished run, uses the
    /// unfinished run.
    pub fn coverage(&self) -> Result<Coverage> {
        Ok(self.basis()?.coverage)
    }

    /// Returns what every answer is based on.
    pub fn basis(&self) -> Result<Basis> {
        let cached = self.basis.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (version, basis) = self.conn.read(|tx| {
            let version = tx.data_version()?;
            match &cached {
                Some((of, known)) if *of == version => Ok((version, known.clone())),
                _ => Ok((version, Basis { coverage: read_coverage(tx)?, clock: StoredClock::read(tx)? })),
            }
        })?;
        *self.basis.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, basis.clone()));
        Ok(basis)
    }
}

/// What every answer of one state of the index is based on.
#[derive(Debug, Clone)]
pub struct Basis {
    pub coverage: Coverage,
    clock: StoredClock,
}

impl Basis {
    /// As [`IndexReader::judged_now`].
    pub fn judged_now(&self, local: Timestamp) -> JudgedNow {
        self.clock.judged_now(local)
    }
}

static ANSWERING_RUN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM runs WHERE id = coalesce(
             (SELECT id FROM runs WHERE state = 'finished' ORDER BY id DESC LIMIT 1), (SELECT max(id) FROM runs))",
        RUNS.selected
    )
});

static ALL_PATTERN_COUNTS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM run_link_patterns", RUN_LINK_PATTERNS.selected));

fn read_coverage(tx: &Tx<'_>) -> Result<Coverage, DbError> {
    let run = tx.opt(&ANSWERING_RUN, &[], |row| {
        RUNS.verify(row, 0)?;
        let finished = row.get::<&str>(3)? == "finished";
        let started_at: i64 = row.get(4)?;
        let coverage = Coverage {
            complete: finished && row.get(6)?,
            as_of: finished.then(|| moment(started_at).to_string()),
            source: Some(row.get(2)?),
            accounts_known: row.get::<i64>(8)? as u64,
            accounts_read: row.get::<i64>(9)? as u64,
            ..Coverage::default()
        };
        let (id, base, rewards_known): (i64, i64, Option<i64>) = (row.get(1)?, row.get(12)?, row.get(14)?);
        Ok((coverage, id, base, rewards_known))
    })?;
    let Some((coverage, id, base, rewards_known)) = run else { return Ok(Coverage::default()) };
    let mut rewards = 0;
    tx.each(&ALL_PATTERN_COUNTS, &[], |row| {
        RUN_LINK_PATTERNS.verify(row, 0)?;
        if (base..=id).contains(&row.get(1)?) {
            rewards += row.get::<i64>(3)? as u64;
        }
        Ok(())
    })?;
    let skipped: u64 =
        tx.one("SELECT count(*) FROM skipped_rewards WHERE run BETWEEN ?1 AND ?2", &[&base, &id], |row| row.get(0))?;
    Ok(Coverage {
        rewards_read: rewards,
        // The vendor's count includes the rewards of forgotten accounts. The index omits rewards of forgotten accounts
        // on purpose, so they are not a gap.
        rewards_known: rewards_known.map_or(rewards, |known| (known as u64).saturating_sub(skipped).max(rewards)),
        accounts_forgotten: tx.one("SELECT count(*) FROM tombstones", &[], |row| row.get(0))?,
        ..coverage
    })
}

fn select_runs(tx: &Tx<'_>, condition: &str, value: i64, limit: u32) -> Result<Vec<Run>, DbError> {
    let sql = format!(
        "SELECT id, source, state, started_at, finished_at, complete, gaps, requests, accounts_known, accounts_read,
             (SELECT count(*) FROM accounts WHERE failed_run BETWEEN runs.base AND runs.id AND gone_at IS NULL),
             (SELECT CAST(sum(older.rewards_unusable) AS BIGINT) FROM runs AS older
                 WHERE older.id BETWEEN runs.base AND runs.id),
             (SELECT CAST(sum(older.values_unreadable) AS BIGINT) FROM runs AS older
                 WHERE older.id BETWEEN runs.base AND runs.id),
             (SELECT count(*) FROM accounts WHERE failed_run BETWEEN runs.base AND runs.id AND gone_at IS NULL
                 AND unknown = 1),
             base, watermark, cursor, rewards_known, requests_reread,
             (SELECT CAST(coalesce(sum(rewards), 0) AS BIGINT) FROM run_link_patterns WHERE run = runs.id),
             (SELECT count(*) FROM skipped_rewards WHERE run BETWEEN runs.base AND runs.id),
             (SELECT count(*) FROM tombstones)
         FROM runs WHERE {condition} ORDER BY id DESC LIMIT ?2"
    );
    let mut runs = tx.rows(&sql, &[&value, &limit], run_from)?;
    for run in &mut runs {
        run.coverage = link_patterns(tx, run.base, run.run)?;
    }
    Ok(runs)
}

fn run_from(row: &Row<'_>) -> Result<Run, DbError> {
    let count = |column: usize| row.get::<i64>(column).map(|count| count as u64);
    Ok(Run {
        run: RunKey(row.get(0)?),
        source: row.get(1)?,
        state: match row.get(2)? {
            "running" => RunState::Running,
            "replaced" => RunState::Replaced,
            _ => RunState::Finished,
        },
        started_at: moment(row.get(3)?),
        finished_at: row.get::<Option<i64>>(4)?.map(moment),
        complete: row.get(5)?,
        gaps: serde_json::from_str(row.get(6)?).unwrap_or_default(),
        requests: count(7)?,
        accounts_known: count(8)?,
        accounts_read: count(9)?,
        accounts_failed: count(10)?,
        rewards_unusable: count(11)?,
        values_unreadable: count(12)?,
        accounts_unknown: count(13)?,
        base: RunKey(row.get(14)?),
        watermark: row.get(15)?,
        cursor: row.get(16)?,
        rewards_known: row.get::<Option<i64>>(17)?.map(|known| known as u64),
        requests_reread: count(18)?,
        rewards_of_its_own: count(19)?,
        rewards_left_out: count(20)?,
        accounts_forgotten: count(21)?,
        coverage: Vec::new(),
    })
}

fn link_patterns(tx: &Tx<'_>, base: RunKey, run: RunKey) -> Result<Vec<PatternCount>, DbError> {
    let path = |text: String| (!text.is_empty()).then_some(text);
    tx.rows(
        "SELECT kind, order_path, action_path, CAST(sum(rewards) AS BIGINT), CAST(sum(links) AS BIGINT)
         FROM run_link_patterns JOIN link_patterns ON link_patterns.id = pattern WHERE run BETWEEN ?1 AND ?2
         GROUP BY kind, order_path, action_path HAVING CAST(sum(rewards) AS BIGINT) > 0
         ORDER BY 4 DESC, kind, order_path",
        &[&base.0, &run.0],
        |row| {
            Ok(PatternCount {
                kind: row.get(0)?,
                order_path: path(row.get(1)?),
                action_path: path(row.get(2)?),
                rewards: row.get::<i64>(3)? as u64,
                links: row.get::<i64>(4)? as u64,
            })
        },
    )
}

impl std::fmt::Display for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
