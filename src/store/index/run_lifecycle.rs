//! Starts, advances, finishes and withdraws runs of the crawler.
//!
//! The module `runs` describes and reads runs. recoup must never store a run with a gap as complete.

use jiff::Timestamp;

use super::Index;
use super::runs::{NewRun, RunKey};
use super::sums::{RUNS, next_id};
use crate::error::Result;
use crate::store::db::{DbError, Tx};

/// SQL that counts the accounts of some runs again from the rows of `accounts`.
macro_rules! recount {
    ($runs:literal) => {
        concat!(
            "UPDATE runs SET
                 accounts_known = (SELECT count(*) FROM accounts WHERE gone_at IS NULL
                     AND (runs.source = 'participants' OR read_run >= runs.base OR abs(queued_run) >= runs.base)),
                 accounts_read = (SELECT count(*) FROM accounts WHERE gone_at IS NULL AND read_run >= runs.base)
             WHERE ",
            $runs
        )
    };
}

/// Counts the accounts of the newest run and of the newest finished run again.
pub(super) fn recount_newest(tx: &Tx<'_>) -> Result<(), DbError> {
    let newest =
        recount!("id = (SELECT max(id) FROM runs) OR id = (SELECT max(id) FROM runs WHERE state = 'finished')");
    RUNS.update(tx, newest, &[]).map(drop)
}

impl Index {
    /// Resumes the unfinished run of this source, or starts a new run. Returns the run, and `true` if the run is
    /// resumed.
    pub fn begin_run(&mut self, new: NewRun<'_>, at: Timestamp) -> Result<(RunKey, bool)> {
        self.conn.write(|tx| {
            let open = "SELECT id FROM runs WHERE state = 'running' AND source = ?1 ORDER BY id DESC LIMIT 1";
            let open: Option<i64> = tx.opt(open, &[&new.source], |row| row.get(0))?;
            if let (Some(run), false) = (open, new.fresh) {
                return Ok((RunKey(run), true));
            }
            RUNS.update(tx, "UPDATE runs SET state = 'replaced' WHERE state = 'running'", &[])?;
            let run = next_id(tx, &RUNS)?;
            let insert = "INSERT INTO runs (id, source, state, started_at) VALUES (?1, ?2, 'running', ?3)";
            tx.run(insert, &[&run, &new.source, &at.as_millisecond()])?;
            match new.refreshes {
                // A refresh starts with the counters of the refreshed run, because that run's readings count until this
                // run replaces them.
                Some(before) => RUNS.update(
                    tx,
                    "UPDATE runs SET (base, cursor, watermark, rewards_known, accounts_known, accounts_read) =
                         (SELECT base, cursor, watermark, rewards_known, accounts_known, accounts_read FROM runs AS refreshed
                          WHERE refreshed.id = ?2) WHERE id = ?1",
                    &[&run, &before.0],
                )?,
                None => RUNS.update(
                    tx,
                    "UPDATE runs SET base = id, accounts_known = CASE source WHEN 'participants'
                         THEN (SELECT count(*) FROM accounts WHERE gone_at IS NULL) ELSE 0 END WHERE id = ?1",
                    &[&run],
                )?,
            };
            Ok((RunKey(run), false))
        })
    }

    /// Removes a run that has read nothing, so that answers use the previous run. If the run has read an account or a
    /// reward, changes nothing and returns `false`; the next crawl then resumes the run.
    pub fn withdraw_run(&mut self, run: RunKey) -> Result<bool> {
        self.conn.write(|tx| {
            let has_read = "SELECT (base = id AND accounts_read > 0)
                     OR EXISTS (SELECT 1 FROM accounts WHERE failed_run = ?1 OR queued_run IN (?1, -CAST(?1 AS BIGINT)))
                     OR EXISTS (SELECT 1 FROM run_link_patterns WHERE run = ?1)
                     OR EXISTS (SELECT 1 FROM passes
                         WHERE run = ?1 AND (ended_at IS NOT NULL OR participants > 0 OR rows_unusable > 0))
                 FROM runs WHERE id = ?1";
            if tx.one(has_read, &[&run.0], |row| row.get(0))? {
                return Ok(false);
            }
            tx.run("DELETE FROM passes WHERE run = ?1", &[&run.0])?;
            tx.run("DELETE FROM runs WHERE id = ?1", &[&run.0])?;
            // The next crawl can resume the unfinished run that the removed run had replaced.
            RUNS.update(
                tx,
                "UPDATE runs SET state = 'running' WHERE state = 'replaced' AND id = (SELECT max(id) FROM runs)",
                &[],
            )?;
            Ok(true)
        })
    }

    /// Sets the account counters of a run by counting rows. Each commit only adds differences to the counters, so the
    /// crawler counts the rows again at the end of a run.
    pub fn recount(&mut self, run: RunKey) -> Result<()> {
        self.conn.write(|tx| RUNS.update(tx, recount!("id = ?1"), &[&run.0]).map(drop))
    }

    pub fn finish_run(&mut self, run: RunKey, gaps: &[String], at: Timestamp) -> Result<()> {
        let text = serde_json::Value::from(gaps).to_string();
        self.conn.write(|tx| {
            let finish = "UPDATE runs SET state = 'finished', finished_at = ?2, complete = ?3, gaps = ?4 WHERE id = ?1";
            RUNS.update(tx, finish, &[&run.0, &at.as_millisecond(), &gaps.is_empty(), &text]).map(drop)
        })
    }

    /// Replaces the gaps of a finished run, after recoup has extracted links again.
    pub fn set_gaps(&mut self, run: RunKey, gaps: &[String]) -> Result<()> {
        let text = serde_json::Value::from(gaps).to_string();
        self.conn.write(|tx| {
            let update = "UPDATE runs SET complete = ?2, gaps = ?3 WHERE id = ?1";
            RUNS.update(tx, update, &[&run.0, &gaps.is_empty(), &text]).map(drop)
        })
    }

    pub fn add_requests(&mut self, run: RunKey, requests: u64) -> Result<()> {
        self.conn.write(|tx| {
            let add = "UPDATE runs SET requests = requests + ?2 WHERE id = ?1";
            tx.run(add, &[&run.0, &requests]).map(drop)
        })
    }

    /// Counts the requests for accounts that the crawler read again only because of their age. [`Index::add_requests`] also
    /// counts the requests for such accounts.
    pub fn add_reread_requests(&mut self, run: RunKey, requests: u64) -> Result<()> {
        self.conn.write(|tx| {
            let add = "UPDATE runs SET requests_reread = requests_reread + ?2 WHERE id = ?1";
            tx.run(add, &[&run.0, &requests]).map(drop)
        })
    }

    /// Stores the run's cursor after a step that wrote no rows.
    pub fn set_cursor(&mut self, run: RunKey, cursor: &str) -> Result<()> {
        self.conn.write(|tx| tx.run("UPDATE runs SET cursor = ?2 WHERE id = ?1", &[&run.0, &cursor]).map(drop))
    }

    /// Moves the start of a run to an earlier time, because the run's data may be that old. An answer is true as of the
    /// start of the run that the answer is based on.
    pub fn move_start_back(&mut self, run: RunKey, at: Timestamp) -> Result<()> {
        self.conn.write(|tx| {
            let earlier = "UPDATE runs SET started_at = ?2 WHERE id = ?1 AND started_at > ?2";
            RUNS.update(tx, earlier, &[&run.0, &at.as_millisecond()]).map(drop)
        })
    }

    /// Sets the watermark from which a refresh of this run starts, and the vendor's count of rewards. Without a
    /// watermark, no refresh can start from this run.
    pub fn set_watermark(&mut self, run: RunKey, watermark: Option<i64>, rewards_known: Option<u64>) -> Result<()> {
        self.conn.write(|tx| {
            let update = "UPDATE runs SET watermark = ?2, rewards_known = ?3 WHERE id = ?1";
            RUNS.update(tx, update, &[&run.0, &watermark, &rewards_known]).map(drop)
        })
    }
}
