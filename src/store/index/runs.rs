//! Runs and sweeps: where a crawl stands, and what it came to.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::sums::{adds_up, must_add_up};
use super::{Index, IndexReader, moment};
use crate::error::Result;
use crate::model::Coverage;

/// The row of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RunKey(pub(super) i64);

impl RunKey {
    /// Its number, as a cursor keeps it.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Unfinished: the next crawl goes on with it.
    Running,
    /// Came to its end, completely or with gaps.
    Finished,
    /// Given up for a fresh one.
    Replaced,
}

/// One run as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its number.
    pub run: RunKey,
    /// Where it reads from.
    pub source: String,
    /// Whether it goes on.
    pub state: RunState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Every known account was read and nothing is in doubt.
    pub complete: bool,
    /// What is in doubt, as sentences.
    pub gaps: Vec<String>,
    /// The full run that it refreshes; the run itself where it is one.
    pub base: RunKey,
    /// The newest `dateModified` that was read, Unix milliseconds, the server's; a refresh begins there.
    pub watermark: Option<i64>,
    /// Where its source stands, as JSON.
    #[serde(skip)]
    pub cursor: Option<String>,
    /// Rewards that the vendor says there are.
    pub rewards_known: Option<u64>,
    /// Requests sent.
    pub requests: u64,
    /// Of these, for accounts that were due by age alone.
    pub requests_reread: u64,
    /// Rewards that this run has read itself, and no later one has since.
    pub rewards_of_its_own: u64,
    /// Rewards of forgotten accounts that it met, or a run that it refreshes has, and left out.
    pub rewards_left_out: u64,
    /// Accounts that were forgotten, over all runs.
    pub accounts_forgotten: u64,
    /// Accounts that are not gone.
    pub accounts_known: u64,
    /// Of these, read in this run.
    pub accounts_read: u64,
    /// Accounts that could not be read in this run.
    pub accounts_failed: u64,
    /// Of these, listed and unknown to Get Rewards.
    pub accounts_unknown: u64,
    /// Rewards without an id.
    pub rewards_unusable: u64,
    /// Damaged IDs that were not indexed.
    pub values_unreadable: u64,
    /// What was found, by kind and path; most rewards first.
    pub coverage: Vec<FindingCount>,
}

/// How many rewards offered their links in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingCount {
    /// `both`, `order_only`, `action_only`, `neither`, `ambiguous`.
    pub kind: String,
    /// Where the order ID was.
    pub order_path: Option<String>,
    /// Where the ActionId was.
    pub action_path: Option<String>,
    /// Rewards.
    pub rewards: u64,
    /// Links they gave.
    pub links: u64,
}

impl Run {
    /// Whether it reads only what changed since another run.
    pub fn is_refresh(&self) -> bool {
        self.base != self.run
    }

    /// Rewards read in this run, or in the runs that it refreshes and not since.
    pub fn rewards(&self) -> u64 {
        self.coverage.iter().map(|finding| finding.rewards).sum()
    }

    /// The same with those that were left out: what the vendor's own count is compared with.
    pub fn rewards_met(&self) -> u64 {
        self.rewards() + self.rewards_left_out
    }

    /// Rewards of this run that carry an order ID.
    pub fn with_order(&self) -> u64 {
        self.coverage.iter().filter(|finding| finding.order_path.is_some()).map(|finding| finding.rewards).sum()
    }

    /// Links found in this run.
    pub fn links(&self) -> u64 {
        self.coverage.iter().map(|finding| finding.links).sum()
    }
}

/// The run that a crawl wants.
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    /// Where it reads from.
    pub source: &'a str,
    /// The run that it refreshes, where it is not to read everything.
    pub refreshes: Option<RunKey>,
    /// Begin a new one even where one is unfinished.
    pub fresh: bool,
}

impl<'a> NewRun<'a> {
    /// A full run of a source, unless one is unfinished.
    pub fn of(source: &'a str) -> Self {
        Self { source, refreshes: None, fresh: false }
    }
}

impl Index {
    /// How many accounts nobody asked for in this run, or asked without an answer that was recorded.
    pub fn unread_count(&self, run: RunKey) -> Result<u64> {
        let sql = "SELECT count(*) FROM accounts
             WHERE gone_at IS NULL AND read_run < ?1 AND failed_run IS NOT ?1
                 AND (queued_run IN (?1, -?1) OR (SELECT source FROM runs WHERE id = ?1) = 'participants')";
        self.read(|conn| conn.query_row(sql, [run.0], |row| row.get::<_, i64>(0))).map(|count| count as u64)
    }

    /// The newest run, whatever its state.
    pub fn newest_run(&self) -> Result<Option<Run>> {
        self.read(|conn| Ok(select_runs(conn, "id > ?1", 0, 1)?.pop()))
    }

    /// The newest run that came to its end: what answers rest on.
    pub fn newest_finished_run(&self) -> Result<Option<Run>> {
        self.read(|conn| Ok(select_runs(conn, "id > ?1 AND state = 'finished'", 0, 1)?.pop()))
    }

    /// Accounts that are not gone, and those of them that have rewards. Counts them all: not for the path of an answer.
    pub fn count_accounts_known(&self) -> Result<(u64, u64)> {
        let sql = "SELECT (SELECT count(*) FROM accounts WHERE gone_at IS NULL),
             (SELECT count(DISTINCT account) FROM rewards WHERE gone_at IS NULL)";
        self.read(|conn| {
            conn.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))
        })
    }

    /// The newest run that this source has finished and a refresh can begin with.
    pub fn refreshable(&self, source: &str) -> Result<Option<Run>> {
        let newest = self.newest_finished_run()?;
        let Some(newest) = newest.filter(|run| run.source == source && run.watermark.is_some()) else {
            return Ok(None);
        };
        // A run of another source that has read some of the same rewards since has taken them out of what can be counted.
        let crossed = "SELECT EXISTS (SELECT 1 FROM runs JOIN run_findings ON run = runs.id
             WHERE runs.id > ?1 AND base <> ?2 AND rewards <> 0)";
        let crossed: bool =
            self.read(|conn| conn.query_row(crossed, [newest.run.0, newest.base.0], |row| row.get(0)))?;
        Ok((!crossed).then_some(newest))
    }

    /// The run that a refresh follows: the newest finished one of the same full run.
    pub fn run_before(&self, run: RunKey, base: RunKey) -> Result<Option<Run>> {
        let condition = format!("id >= {} AND state = 'finished' AND id < ?1", base.0);
        self.read(|conn| Ok(select_runs(conn, &condition, run.0, 1)?.pop()))
    }

    /// The run that can go on.
    pub fn unfinished_run(&self) -> Result<Option<Run>> {
        self.read(|conn| Ok(select_runs(conn, "id > ?1 AND state = 'running'", 0, 1)?.pop()))
    }

    /// The run as it stands.
    pub fn run(&self, run: RunKey) -> Result<Option<Run>> {
        self.read(|conn| Ok(select_runs(conn, "id = ?1", run.0, 1)?.pop()))
    }
}

impl IndexReader {
    /// The newest runs, newest first.
    pub fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        self.read(|conn| select_runs(conn, "id > ?1", 0, limit))
    }

    /// How much of the tenant an answer rests on: the newest finished run; before the first, the one that is under way.
    pub fn coverage(&self) -> Result<Coverage> {
        // Read before what it is the version of: a commit in between makes the next question read anew, and none too few.
        let version: i64 =
            self.read(|conn| conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0)))?;
        if let Some((of, known)) = self.coverage.borrow().as_ref()
            && *of == version
        {
            return Ok(known.clone());
        }
        let coverage = self.read_coverage()?;
        *self.coverage.borrow_mut() = Some((version, coverage.clone()));
        Ok(coverage)
    }

    fn read_coverage(&self) -> Result<Coverage> {
        // The run is chosen first, from the newest back: few rows are read, however many runs there were.
        let sql = format!(
            "SELECT state = 'finished', complete, started_at, source, accounts_read, accounts_known,
                (SELECT coalesce(sum(rewards), 0) FROM run_findings WHERE run BETWEEN runs.base AND runs.id), rewards_known,
                (SELECT count(*) FROM left_out WHERE run BETWEEN runs.base AND runs.id), (SELECT count(*) FROM tombstones),
                {run} AND (SELECT count(*) FROM run_findings WHERE NOT ({finding})) = 0
             FROM runs WHERE id = coalesce(
                (SELECT id FROM runs NOT INDEXED WHERE state = 'finished' ORDER BY id DESC LIMIT 1),
                (SELECT max(id) FROM runs))",
            run = adds_up("runs", "runs"),
            finding = adds_up("run_findings", "run_findings"),
        );
        let read = |row: &Row<'_>| {
            must_add_up(row.get(10)?, "a run")?;
            let finished: bool = row.get(0)?;
            let rewards = row.get::<_, i64>(6)? as u64;
            let left_out = row.get::<_, i64>(8)? as u64;
            Ok(Coverage {
                complete: finished && row.get(1)?,
                as_of: finished.then_some(row.get(2)?).map(|ms| moment(ms).to_string()),
                source: Some(row.get(3)?),
                accounts_read: row.get::<_, i64>(4)? as u64,
                accounts_known: row.get::<_, i64>(5)? as u64,
                rewards_read: rewards,
                // What was left out is counted by the vendor, and is no gap.
                rewards_known: row
                    .get::<_, Option<i64>>(7)?
                    .map_or(rewards, |known| (known as u64).saturating_sub(left_out).max(rewards)),
                accounts_forgotten: row.get::<_, i64>(9)? as u64,
            })
        };
        let none = Coverage::default();
        Ok(self.read(|conn| conn.prepare_cached(&sql)?.query_row([], read).optional())?.unwrap_or(none))
    }
}

fn select_runs(conn: &Connection, condition: &str, value: i64, limit: u32) -> rusqlite::Result<Vec<Run>> {
    let sql = format!(
        "SELECT id, source, state, started_at, finished_at, complete, gaps, requests, accounts_known, accounts_read,
             (SELECT count(*) FROM accounts WHERE failed_run BETWEEN base AND runs.id AND gone_at IS NULL),
             (SELECT sum(rewards_unusable) FROM runs older WHERE older.id BETWEEN runs.base AND runs.id),
             (SELECT sum(values_unreadable) FROM runs older WHERE older.id BETWEEN runs.base AND runs.id),
             (SELECT count(*) FROM accounts WHERE failed_run BETWEEN base AND runs.id AND gone_at IS NULL AND unknown),
             base, watermark, cursor, rewards_known, requests_reread,
             (SELECT coalesce(sum(rewards), 0) FROM run_findings WHERE run = runs.id),
             (SELECT count(*) FROM left_out WHERE run BETWEEN base AND runs.id), (SELECT count(*) FROM tombstones)
         FROM runs WHERE {condition} ORDER BY id DESC LIMIT ?2"
    );
    let read = |row: &Row<'_>| {
        let count = |column: usize| row.get::<_, i64>(column).map(|count| count as u64);
        Ok(Run {
            run: RunKey(row.get(0)?),
            source: row.get(1)?,
            state: match row.get::<_, String>(2)?.as_str() {
                "running" => RunState::Running,
                "replaced" => RunState::Replaced,
                _ => RunState::Finished,
            },
            started_at: moment(row.get(3)?),
            finished_at: row.get::<_, Option<i64>>(4)?.map(moment),
            complete: row.get(5)?,
            gaps: serde_json::from_str(&row.get::<_, String>(6)?).unwrap_or_default(),
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
            rewards_known: row.get::<_, Option<i64>>(17)?.map(|known| known as u64),
            requests_reread: count(18)?,
            rewards_of_its_own: count(19)?,
            rewards_left_out: count(20)?,
            accounts_forgotten: count(21)?,
            coverage: Vec::new(),
        })
    };
    let mut runs: Vec<Run> = conn.prepare(&sql)?.query_map(params![value, limit], read)?.collect::<Result<_, _>>()?;
    for run in &mut runs {
        run.coverage = findings(conn, run.base, run.run)?;
    }
    Ok(runs)
}

fn findings(conn: &Connection, base: RunKey, run: RunKey) -> rusqlite::Result<Vec<FindingCount>> {
    let path = |text: String| (!text.is_empty()).then_some(text);
    conn.prepare_cached(
        "SELECT kind, order_path, action_path, sum(rewards), sum(links)
         FROM run_findings JOIN findings ON findings.id = finding WHERE run BETWEEN ?1 AND ?2
         GROUP BY kind, order_path, action_path HAVING sum(rewards) > 0 ORDER BY sum(rewards) DESC, kind, order_path",
    )?
    .query_map([base.0, run.0], |row| {
        Ok(FindingCount {
            kind: row.get(0)?,
            order_path: path(row.get(1)?),
            action_path: path(row.get(2)?),
            rewards: row.get::<_, i64>(3)? as u64,
            links: row.get::<_, i64>(4)? as u64,
        })
    })?
    .collect()
}

impl std::fmt::Display for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
