//! The schedule's memory: when each job last began, ended and went well.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Index, IndexReader, moment};
use crate::error::Result;

/// What is known of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its word.
    pub name: String,
    /// When it last began.
    pub started_at: Timestamp,
    /// When it last came to an end.
    pub finished_at: Option<Timestamp>,
    /// When it last went well.
    pub ok_at: Option<Timestamp>,
    /// Why it did not, the last time.
    pub error: Option<String>,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let some = |n| row.get::<_, Option<i64>>(n).map(|ms| ms.map(moment));
    Ok(JobRow {
        name: row.get(0)?,
        started_at: moment(row.get(1)?),
        finished_at: some(2)?,
        ok_at: some(3)?,
        error: row.get(4)?,
    })
}

fn one(conn: &Connection, name: &str) -> rusqlite::Result<Option<JobRow>> {
    conn.prepare_cached("SELECT name, started_at, finished_at, ok_at, error FROM jobs WHERE name = ?1")?
        .query_row([name], from_row)
        .optional()
}

impl Index {
    /// Begins a job, unless another process has begun it since it was found to be due: `before` is when it had last begun then.
    pub fn begin_job(&mut self, name: &str, before: Option<Timestamp>, now: Timestamp) -> Result<bool> {
        self.write(|tx, _| {
            let begun = one(tx, name)?.map(|job| job.started_at.as_millisecond());
            if begun != before.map(Timestamp::as_millisecond) {
                return Ok(false);
            }
            tx.execute(
                "INSERT INTO jobs (name, started_at) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET started_at = excluded.started_at",
                params![name, now.as_millisecond()],
            )?;
            Ok(true)
        })
    }

    /// Writes down how a job ended; `error` where it did not go well.
    pub fn end_job(&mut self, name: &str, error: Option<&str>, now: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            tx.execute(
                "UPDATE jobs SET finished_at = ?2, error = ?3, ok_at = CASE WHEN ?3 IS NULL THEN ?2 ELSE ok_at END
                 WHERE name = ?1",
                params![name, now.as_millisecond(), error],
            )
            .map(drop)
        })
    }
}

impl IndexReader {
    /// Every job that was ever begun.
    pub fn jobs(&self) -> Result<Vec<JobRow>> {
        self.read(|conn| {
            conn.prepare_cached("SELECT name, started_at, finished_at, ok_at, error FROM jobs ORDER BY name")?
                .query_map([], from_row)?
                .collect()
        })
    }
}
