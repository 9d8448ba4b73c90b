//! Passes over the list of participants. A proven pass marks the accounts that it did not list as gone.
//!
//! A pass marks no account as gone if its evidence is insufficient, or if it would mark most of the tenant's accounts.

use jiff::Timestamp;

use super::batch::count_accounts;
use super::runs::RunKey;
use super::sums::ACCOUNTS;
use super::{Index, moment};
use crate::error::Result;
use crate::store::db::{DbError, Row, ToValue};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPass {
    /// The ID of the pass. IDs increase over all runs, so a later pass has a larger ID.
    pub id: i64,
    pub began_at: Timestamp,
    /// The JSON of the pagination's state at the last commit of a page.
    pub cursor: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassResult {
    /// The number of distinct participants that the pass saw.
    pub participants: u64,
    /// The number of accounts that the pass saw for the first time.
    pub accounts_new: u64,
    /// Number of accounts that the list no longer has, and that the pass marked as gone.
    pub accounts_vanished: u64,
    /// Number of accounts that an earlier pass of the run marked as gone and that this pass lists again.
    pub accounts_returned: u64,
    /// Number of accounts that the list no longer has, if the number is implausibly large. A pass that lacks so many
    /// accounts marks no account as gone.
    pub accounts_withheld: u64,
    /// The number of distinct rows without a user or account ID.
    pub rows_unusable: u64,
    /// The vendor's `totalCount` of participants at the end of the pass.
    pub total: Option<u64>,
    /// `true` if the pass saw every participant that the vendor listed during the whole pass.
    pub whole: bool,
    /// `true` if no row of the list shifted while the pass was reading.
    pub quiet: bool,
}

/// The evidence that the pagination has collected at the end of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassEvidence {
    /// The vendor's `totalCount` of participants at the end of the pass.
    pub total: Option<u64>,
    /// `true` if the pages were continuous. A pass with continuous pages saw every participant that was listed during
    /// the whole pass, so all other participants are gone.
    pub whole: bool,
    /// `true` if the pagination detected no shifted row of the list.
    pub still: bool,
    /// `true` if the total stayed the same and equals the number of distinct rows. A pass with a stable total is proven
    /// even if the order of the list changes.
    pub counted: bool,
}

/// SQL condition: pass `?1`, which started at `?2`, did not list the account. For an unproven pass (`?3` = 0), the
/// account must also be unknown to Get Rewards. An account that was first seen after the start counts as listed,
/// because it may be on a page that the pass had read before.
macro_rules! is_missing {
    () => {
        "gone_at IS NULL AND seen_pass < ?1 AND first_seen_at < ?2 AND (?3 = 1 OR unknown = 1)"
    };
}

/// The SQL columns for [`pass_result`].
macro_rules! pass_result_columns {
    () => {
        "participants, accounts_new, accounts_vanished, rows_unusable, quiet, total, proven, accounts_returned, \
         accounts_withheld"
    };
}

impl Index {
    /// Resumes the run's unfinished pass, or starts a new pass with this cursor. Returns the pass, and `true` if the
    /// pass is resumed.
    pub fn begin_pass(&mut self, run: RunKey, cursor: &str, at: Timestamp) -> Result<(ListPass, bool)> {
        self.conn.write(|tx| {
            let open = "SELECT id, started_at, cursor FROM passes WHERE run = ?1 AND ended_at IS NULL ORDER BY id DESC";
            let pass =
                |row: &Row<'_>| Ok(ListPass { id: row.get(0)?, began_at: moment(row.get(1)?), cursor: row.get(2)? });
            if let Some(pass) = tx.opt(open, &[&run.0], pass)? {
                return Ok((pass, true));
            }
            let insert =
                "INSERT INTO passes (run, started_at, cursor) VALUES (?1, ?2, ?3) RETURNING id, started_at, cursor";
            Ok((tx.one(insert, &[&run.0, &at.as_millisecond(), &cursor], pass)?, false))
        })
    }

    /// Ends a pass. A proven pass marks the accounts that it did not list as gone. An unproven pass marks an unlisted
    /// account only if Get Rewards does not know the account. If the list lost most of its accounts at once, the pass
    /// marks no account.
    pub fn end_pass(&mut self, run: RunKey, pass: i64, verdict: PassEvidence, at: Timestamp) -> Result<PassResult> {
        self.conn.write(|tx| {
            let started_at: i64 =
                tx.one("SELECT started_at FROM passes WHERE id = ?1", &[&pass], |row| row.get(0))?;
            // A pass of this run lists an account that an earlier pass marked as gone. Therefore the order of the list
            // is not stable, and continuous pages prove nothing.
            let unstable: bool = tx.one(
                "SELECT EXISTS (SELECT 1 FROM passes WHERE run = ?1 AND accounts_returned > 0)",
                &[&run.0],
                |row| row.get(0),
            )?;
            let proven = if unstable { verdict.counted } else { verdict.whole };
            let (missed, known): (i64, i64) = tx.one(
                concat!(
                    "SELECT count(*) FILTER (WHERE ",
                    is_missing!(),
                    "), count(*) FROM accounts WHERE gone_at IS NULL"
                ),
                &[&pass, &started_at, &proven],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let withheld = if is_few(missed, known) { 0 } else { missed };
            let (mut vanished, mut read) = (0, 0);
            if withheld == 0 {
                read = tx.one(
                    concat!("SELECT count(*) FROM accounts WHERE ", is_missing!(), " AND read_run = ?4"),
                    &[&pass, &started_at, &proven, &run.0],
                    |row| row.get(0),
                )?;
                let update = concat!(
                    "UPDATE accounts SET gone_at = ?4, failed_run = NULL, failed_at = NULL, failed_reason = NULL, unknown = 0
                     WHERE ",
                    is_missing!()
                );
                let values = &[&pass as &dyn ToValue, &started_at, &proven, &at.as_millisecond()];
                vanished = ACCOUNTS.update(tx, update, values)? as i64;
            }
            count_accounts(tx, run, -vanished, -read)?;
            let is_still = verdict.still && vanished == 0;
            tx.one(
                concat!(
                    "UPDATE passes SET ended_at = ?2, accounts_vanished = ?3, accounts_withheld = ?7, proven = ?5, total = ?6,
                         quiet = CASE WHEN ?4 = 1 AND accounts_new = 0 AND accounts_returned = 0 THEN 1 ELSE 0 END
                     WHERE id = ?1 RETURNING ",
                    pass_result_columns!()
                ),
                &[&pass, &at.as_millisecond(), &vanished, &is_still, &proven, &verdict.total, &withheld],
                pass_result,
            )
        })
    }

    /// Returns the ended passes of a run, oldest first.
    pub fn passes(&self, run: RunKey) -> Result<Vec<PassResult>> {
        let sql = concat!(
            "SELECT ",
            pass_result_columns!(),
            " FROM passes WHERE run = ?1 AND ended_at IS NOT NULL ORDER BY id"
        );
        self.conn.read(|tx| tx.rows(sql, &[&run.0], pass_result))
    }

    /// Returns how many distinct rows of the list a pass has seen, including rows without IDs.
    pub fn participants(&self, pass: i64) -> Result<u64> {
        let sql = "SELECT participants + rows_unusable FROM passes WHERE id = ?1";
        self.conn.read(|tx| tx.one(sql, &[&pass], |row| row.get(0)))
    }

    /// Returns how many accounts the index has marked as gone since a time.
    pub fn accounts_gone_since(&self, at: Timestamp) -> Result<u64> {
        let count = "SELECT count(*) FROM accounts WHERE gone_at >= ?1";
        self.conn.read(|tx| tx.one(count, &[&at.as_millisecond()], |row| row.get(0)))
    }
}

/// The number of accounts that one pass may mark as gone in a tenant of any size.
const FEW: i64 = 20;

/// Returns `true` if `missed` of the `known` rows can plausibly be gone at once.
pub(super) fn is_few(missed: i64, known: i64) -> bool {
    missed <= FEW || missed <= known / 2
}

fn pass_result(row: &Row<'_>) -> Result<PassResult, DbError> {
    Ok(PassResult {
        participants: row.get(0)?,
        accounts_new: row.get(1)?,
        accounts_vanished: row.get(2)?,
        rows_unusable: row.get(3)?,
        quiet: row.get(4)?,
        total: row.get(5)?,
        whole: row.get(6)?,
        accounts_returned: row.get(7)?,
        accounts_withheld: row.get(8)?,
    })
}
