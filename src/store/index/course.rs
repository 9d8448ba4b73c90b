//! The course of a run: begun, moved on, taken back or ended.
//!
//! What it is and how it is read is in `runs`. A run must never be called complete here while anything about it is in doubt.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::Index;
use super::runs::{NewRun, RunKey};
use crate::error::Result;

impl Index {
    /// The unfinished run of this source, or a new one. The second value says whether it goes on.
    pub fn begin_run(&mut self, new: NewRun<'_>, at: Timestamp) -> Result<(RunKey, bool)> {
        self.write(|tx, _| {
            let open = "SELECT id FROM runs WHERE state = 'running' AND source = ?1 ORDER BY id DESC LIMIT 1";
            let open: Option<i64> = tx.query_row(open, [new.source], |row| row.get(0)).optional()?;
            if let (Some(run), false) = (open, new.fresh) {
                return Ok((RunKey(run), true));
            }
            tx.execute("UPDATE runs SET state = 'replaced' WHERE state = 'running'", [])?;
            tx.execute(
                "INSERT INTO runs (source, state, started_at) VALUES (?1, 'running', ?2)",
                params![new.source, at.as_millisecond()],
            )?;
            let run = tx.last_insert_rowid();
            match new.refreshes {
                // What the run before has read counts, until it is read again.
                Some(before) => tx.execute(
                    "UPDATE runs SET (base, cursor, watermark, rewards_known, accounts_known, accounts_read) =
                         (SELECT base, cursor, watermark, rewards_known, accounts_known, accounts_read FROM runs
                          WHERE id = ?2) WHERE id = ?1",
                    [run, before.0],
                )?,
                None => tx.execute(
                    "UPDATE runs SET base = id, accounts_known = iif(source = 'participants',
                         (SELECT count(*) FROM accounts WHERE gone_at IS NULL), 0) WHERE id = ?1",
                    [run],
                )?,
            };
            Ok((RunKey(run), false))
        })
    }

    /// Takes back a run that has read nothing, as if it had not begun: its failure must not stand between an answer and the
    /// run before it. Says whether it did; a run that has read anything stays and goes on.
    pub fn withdraw_run(&mut self, run: RunKey) -> Result<bool> {
        self.write(|tx, _| {
            let has_read = "SELECT (base = id AND accounts_read > 0)
                     OR EXISTS (SELECT 1 FROM accounts WHERE failed_run = ?1 OR queued_run IN (?1, -?1))
                     OR EXISTS (SELECT 1 FROM run_findings WHERE run = ?1)
                     OR EXISTS (SELECT 1 FROM sweeps
                         WHERE run = ?1 AND (ended_at IS NOT NULL OR participants > 0 OR rows_unusable > 0))
                 FROM runs WHERE id = ?1";
            if tx.query_row(has_read, [run.0], |row| row.get(0))? {
                return Ok(false);
            }
            tx.execute("DELETE FROM sweeps WHERE run = ?1", [run.0])?;
            tx.execute("DELETE FROM runs WHERE id = ?1", [run.0])?;
            // The unfinished run that it took the place of can go on.
            tx.execute(
                "UPDATE runs SET state = 'running' WHERE state = 'replaced' AND id = (SELECT max(id) FROM runs)",
                [],
            )?;
            Ok(true)
        })
    }

    /// Sets the account counters to what the rows say. They move with every commit and are shown on the way; what a run
    /// says at its end is counted.
    pub fn recount(&mut self, run: RunKey) -> Result<()> {
        self.write(|tx, _| {
            tx.execute(
                "UPDATE runs SET
                     accounts_known = (SELECT count(*) FROM accounts WHERE gone_at IS NULL
                         AND (runs.source = 'participants' OR read_run >= runs.base OR abs(queued_run) >= runs.base)),
                     accounts_read = (SELECT count(*) FROM accounts WHERE gone_at IS NULL AND read_run >= runs.base)
                 WHERE id = ?1",
                [run.0],
            )
            .map(drop)
        })
    }

    /// Ends a run.
    pub fn finish_run(&mut self, run: RunKey, gaps: &[String], at: Timestamp) -> Result<()> {
        let text = serde_json::Value::from(gaps).to_string();
        self.write(|tx, _| {
            tx.execute(
                "UPDATE runs SET state = 'finished', finished_at = ?2, complete = ?3, gaps = ?4 WHERE id = ?1",
                params![run.0, at.as_millisecond(), gaps.is_empty(), text],
            )?;
            Ok(())
        })
    }

    /// Changes what is in doubt about a finished run: its rewards are being extracted again, or have been.
    pub fn set_gaps(&mut self, run: RunKey, gaps: &[String]) -> Result<()> {
        let text = serde_json::Value::from(gaps).to_string();
        self.write(|tx, _| {
            tx.execute("UPDATE runs SET complete = ?2, gaps = ?3 WHERE id = ?1", params![run.0, gaps.is_empty(), text])
                .map(drop)
        })
    }

    /// Adds to the requests of a run.
    pub fn add_requests(&mut self, run: RunKey, requests: u64) -> Result<()> {
        self.write(|tx, _| {
            let add = "UPDATE runs SET requests = requests + ?2 WHERE id = ?1";
            tx.execute(add, params![run.0, requests as i64]).map(drop)
        })
    }

    /// Adds to the requests of a run those for accounts that were due by age alone; they are among its requests.
    pub fn add_reread_requests(&mut self, run: RunKey, requests: u64) -> Result<()> {
        self.write(|tx, _| {
            let add = "UPDATE runs SET requests_reread = requests_reread + ?2 WHERE id = ?1";
            tx.execute(add, params![run.0, requests as i64]).map(drop)
        })
    }

    /// Where the run's source stands, for a step that brings no rows.
    pub fn set_cursor(&mut self, run: RunKey, cursor: &str) -> Result<()> {
        self.write(|tx, _| tx.execute("UPDATE runs SET cursor = ?2 WHERE id = ?1", params![run.0, cursor]).map(drop))
    }

    /// What a run reads was true at this moment already: answers rest on the earlier of the two.
    pub fn begun_by(&mut self, run: RunKey, at: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            let earlier = "UPDATE runs SET started_at = min(started_at, ?2) WHERE id = ?1";
            tx.execute(earlier, params![run.0, at.as_millisecond()]).map(drop)
        })
    }

    /// What a refresh of this run would begin with, and how many rewards the vendor counts. `None` for a watermark takes it
    /// back: the run cannot be refreshed.
    pub fn set_watermark(&mut self, run: RunKey, watermark: Option<i64>, rewards_known: Option<u64>) -> Result<()> {
        self.write(|tx, _| {
            tx.execute(
                "UPDATE runs SET watermark = ?2, rewards_known = ?3 WHERE id = ?1",
                params![run.0, watermark, rewards_known.map(|known| known as i64)],
            )
            .map(drop)
        })
    }
}
