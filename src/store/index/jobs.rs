//! Records when each scheduled job last started, ended and succeeded.

use jiff::Timestamp;

use super::{Index, IndexReader, moment};
use crate::error::Result;
use crate::store::db::{DbError, Row};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The job: `refresh`, `verify`, `webhooks` or `backup`.
    pub name: String,
    pub started_at: Timestamp,
    /// When the job last ended, with or without success.
    pub finished_at: Option<Timestamp>,
    pub ok_at: Option<Timestamp>,
    /// The error of the job's last execution; `None` if it succeeded.
    pub error: Option<String>,
}

fn from_row(row: &Row<'_>) -> Result<JobRow, DbError> {
    let some = |n| row.get::<Option<i64>>(n).map(|ms| ms.map(moment));
    Ok(JobRow {
        name: row.get(0)?,
        started_at: moment(row.get(1)?),
        finished_at: some(2)?,
        ok_at: some(3)?,
        error: row.get(4)?,
    })
}

impl Index {
    /// Starts a job. `before` is the job's last start according to the caller's earlier read. If another process has
    /// started the job since the caller's read, changes nothing and returns `false`.
    pub fn begin_job(&mut self, name: &str, before: Option<Timestamp>, now: Timestamp) -> Result<bool> {
        self.conn.write(|tx| {
            let started = "SELECT started_at FROM jobs WHERE name = ?1";
            let started: Option<i64> = tx.opt(started, &[&name], |row| row.get(0))?;
            if started != before.map(Timestamp::as_millisecond) {
                return Ok(false);
            }
            tx.run(
                "INSERT INTO jobs (name, started_at) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at",
                &[&name, &now.as_millisecond()],
            )?;
            Ok(true)
        })
    }

    /// Records the end of a scheduled job; `error` is `None` if the job succeeded.
    pub fn end_job(&mut self, name: &str, error: Option<&str>, now: Timestamp) -> Result<()> {
        self.conn.write(|tx| {
            tx.run(
                "UPDATE jobs SET finished_at = ?2, error = ?3, ok_at = CASE WHEN CAST(?3 AS TEXT) IS NULL THEN ?2 ELSE ok_at END
                 WHERE name = ?1",
                &[&name, &now.as_millisecond(), &error],
            )
            .map(drop)
        })
    }
}

impl IndexReader {
    /// Returns every job that has ever started.
    pub fn jobs(&self) -> Result<Vec<JobRow>> {
        let all = "SELECT name, started_at, finished_at, ok_at, error FROM jobs ORDER BY name";
        self.conn.read(|tx| tx.rows(all, &[], from_row))
    }
}
