//! Sweeps: one walk over the list of participants each, and what it says about who is gone.
//!
//! A sweep that is not whole, or that would make most of the tenant vanish, marks nobody.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::runs::RunKey;
use super::{Index, moment};
use crate::error::Result;

/// One walk over the list of participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Its number, over all runs.
    pub id: i64,
    /// When it began.
    pub began_at: Timestamp,
    /// The walk's own state, as it was last committed.
    pub cursor: String,
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepEnd {
    /// Different participants seen.
    pub participants: u64,
    /// Accounts seen for the first time.
    pub accounts_new: u64,
    /// Accounts that were not seen any more, and are gone.
    pub accounts_vanished: u64,
    /// Accounts that an earlier walk of the run took for gone, and that this one lists.
    pub accounts_returned: u64,
    /// Accounts that were not seen any more, and so many that none was marked as gone.
    pub accounts_withheld: u64,
    /// Different rows without a user or account ID.
    pub rows_unusable: u64,
    /// `totalCount` at its end.
    pub total: Option<u64>,
    /// Everyone who was there throughout was seen.
    pub whole: bool,
    /// Nothing moved under it.
    pub quiet: bool,
}

/// What a walk says of itself at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepVerdict {
    /// `totalCount` at its end.
    pub total: Option<u64>,
    /// Everyone who was there throughout was seen, so accounts that were not are gone.
    pub whole: bool,
    /// Nothing moved under it, as far as the walk can tell.
    pub still: bool,
    /// The total stayed the same, and as many different rows were seen: whole, whatever the order of the list does.
    pub counted: bool,
}

impl Index {
    /// The run's unfinished sweep, or a new one with this cursor. The second value says whether it goes on.
    pub fn begin_sweep(&mut self, run: RunKey, cursor: &str, at: Timestamp) -> Result<(Sweep, bool)> {
        self.write(|tx, _| {
            let open = "SELECT id, began_at, cursor FROM sweeps WHERE run = ?1 AND ended_at IS NULL ORDER BY id DESC";
            let read =
                |row: &Row<'_>| Ok(Sweep { id: row.get(0)?, began_at: moment(row.get(1)?), cursor: row.get(2)? });
            if let Some(sweep) = tx.query_row(open, [run.0], read).optional()? {
                return Ok((sweep, true));
            }
            tx.execute(
                "INSERT INTO sweeps (run, began_at, cursor) VALUES (?1, ?2, ?3)",
                params![run.0, at.as_millisecond(), cursor],
            )?;
            let began_at = moment(at.as_millisecond());
            Ok((Sweep { id: tx.last_insert_rowid(), began_at, cursor: cursor.to_owned() }, false))
        })
    }

    /// Ends a sweep. What a whole one did not list is gone; and so is what Get Rewards does not know and no sweep lists any
    /// more. A list that has lost most of its accounts at once is not believed.
    pub fn end_sweep(&mut self, run: RunKey, sweep: i64, verdict: SweepVerdict, at: Timestamp) -> Result<SweepEnd> {
        self.write(|tx, _| {
            let began_at: i64 = tx.query_row("SELECT began_at FROM sweeps WHERE id = ?1", [sweep], |row| row.get(0))?;
            // An account that was taken for gone and is listed again was never gone: the list is not in a stable order,
            // and continuity, which stands on the order, proves nothing.
            let wanders: bool = tx.query_row(
                "SELECT EXISTS (SELECT 1 FROM sweeps WHERE run = ?1 AND accounts_returned > 0)",
                [run.0],
                |row| row.get(0),
            )?;
            let whole = if wanders { verdict.counted } else { verdict.whole };
            // One that was first met after the sweep began may stand where the sweep had already been.
            let missing = "gone_at IS NULL AND seen_sweep < ?1 AND first_seen_at < ?2 AND (?3 OR unknown)";
            let (missed, known): (i64, i64) = tx.query_row(
                &format!("SELECT count(*) FILTER (WHERE {missing}), count(*) FROM accounts WHERE gone_at IS NULL"),
                params![sweep, began_at, whole],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let withheld = if is_few(missed, known) { 0 } else { missed };
            let (mut vanished, mut read) = (0, 0);
            if withheld == 0 {
                let mut statement = tx.prepare_cached(&format!(
                    "UPDATE accounts SET gone_at = ?4, failed_run = NULL, failed_at = NULL, failed_reason = NULL,
                         unknown = 0 WHERE {missing} RETURNING read_run",
                ))?;
                let mut rows = statement.query(params![sweep, began_at, whole, at.as_millisecond()])?;
                while let Some(row) = rows.next()? {
                    vanished += 1;
                    read += i64::from(row.get::<_, i64>(0)? == run.0);
                }
            }
            count_accounts(tx, run, -vanished, -read)?;
            tx.execute(
                "UPDATE sweeps SET ended_at = ?2, accounts_vanished = ?3, accounts_withheld = ?7,
                     quiet = (?4 AND accounts_new = 0 AND accounts_returned = 0 AND ?3 = 0), whole = ?5, total = ?6
                 WHERE id = ?1",
                params![
                    sweep,
                    at.as_millisecond(),
                    vanished,
                    verdict.still,
                    whole,
                    verdict.total.map(|total| total as i64),
                    withheld
                ],
            )?;
            tx.query_row(&format!("SELECT {SWEEP_END} FROM sweeps WHERE id = ?1"), [sweep], sweep_end)
        })
    }

    /// The ended sweeps of a run, oldest first.
    pub fn sweeps(&self, run: RunKey) -> Result<Vec<SweepEnd>> {
        self.read(|conn| {
            let sql = format!("SELECT {SWEEP_END} FROM sweeps WHERE run = ?1 AND ended_at IS NOT NULL ORDER BY id");
            conn.prepare(&sql)?.query_map([run.0], sweep_end)?.collect()
        })
    }

    /// How many rows this sweep can account for: different participants, and rows that name none.
    pub fn participants(&self, sweep: i64) -> Result<u64> {
        self.read(|conn| {
            conn.query_row("SELECT participants + rows_unusable FROM sweeps WHERE id = ?1", [sweep], |row| {
                row.get::<_, i64>(0)
            })
        })
        .map(|count| count as u64)
    }

    /// How many accounts went since a moment.
    pub fn accounts_gone_since(&self, at: Timestamp) -> Result<u64> {
        self.read(|conn| {
            let count = "SELECT count(*) FROM accounts WHERE gone_at >= ?1";
            conn.query_row(count, [at.as_millisecond()], |row| row.get::<_, i64>(0))
        })
        .map(|count| count as u64)
    }
}

/// So few may go at once without a question, whatever part of the tenant they are.
const FEW: i64 = 20;

/// Whether so many of what is known may vanish at once, and be believed to.
pub(super) fn is_few(missed: i64, known: i64) -> bool {
    missed <= FEW || missed <= known / 2
}

const SWEEP_END: &str = "participants, accounts_new, accounts_vanished, rows_unusable, quiet, total, whole,
     accounts_returned, accounts_withheld";

fn sweep_end(row: &Row<'_>) -> rusqlite::Result<SweepEnd> {
    Ok(SweepEnd {
        participants: row.get::<_, i64>(0)? as u64,
        accounts_new: row.get::<_, i64>(1)? as u64,
        accounts_vanished: row.get::<_, i64>(2)? as u64,
        rows_unusable: row.get::<_, i64>(3)? as u64,
        quiet: row.get(4)?,
        total: row.get::<_, Option<i64>>(5)?.map(|total| total as u64),
        whole: row.get(6)?,
        accounts_returned: row.get::<_, i64>(7)? as u64,
        accounts_withheld: row.get::<_, i64>(8)? as u64,
    })
}

/// Moves a run's account counters.
pub(super) fn count_accounts(tx: &Transaction<'_>, run: RunKey, known: i64, read: i64) -> rusqlite::Result<()> {
    if known != 0 || read != 0 {
        tx.prepare_cached(
            "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3 WHERE id = ?1",
        )?
        .execute(params![run.0, known, read])?;
    }
    Ok(())
}
