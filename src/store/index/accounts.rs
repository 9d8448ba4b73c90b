//! Accounts: a page of participants and its cursor in one transaction, and the queue of what is still to be read.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::pen::{Pen, Sql};
use super::sweeps::count_accounts;
use super::tombstones::Forgotten;
use super::{AccountKey, Index, IndexReader, RunKey, Sweep, moment};
use crate::error::Result;
use crate::model::{AccountId, Participant, fnv1a};

/// One page of participants, with the cursor that stands behind it.
#[derive(Debug, Clone)]
pub struct Page {
    /// Who was on it.
    pub participants: Vec<Participant>,
    /// The rows without a user or account ID, each by its hash: pages overlap, and such a row is to be counted once.
    pub unusable: Vec<u64>,
    /// The walk's own state after this page.
    pub cursor: String,
}

impl Page {
    /// Rows that it will take, for the size of a batch.
    pub fn rows(&self) -> usize {
        self.participants.len() + self.unusable.len() + 1
    }
}

/// What a page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCommitted {
    /// Different participants that this sweep has seen so far.
    pub participants: u64,
    /// Accounts known so far that are not gone.
    pub accounts_known: u64,
}

/// An account that is still to be read in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its row.
    pub key: AccountKey,
    /// What to ask by.
    pub account: AccountId,
    /// A walk of this run has listed it, so that the vendor has to know it.
    pub listed: bool,
}

/// An account that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedAccount {
    /// The account: personal data, shown only on request.
    pub account_id: AccountId,
    /// Why.
    pub reason: String,
    /// When.
    pub failed_at: Timestamp,
}

impl Index {
    /// A page and its cursor: both, or neither.
    pub fn commit_page(&mut self, run: RunKey, sweep: &Sweep, page: &Page, at: Timestamp) -> Result<PageCommitted> {
        self.write(|tx, shared| write_page(&mut Pen::new(tx), &shared.forgotten, run, sweep, page, at))
    }
}

impl IndexReader {
    /// The next accounts of the queue after a row, in order of rows. Failed ones wait for [`IndexReader::failed`].
    pub fn unread(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(
            "SELECT id, account_id, queued_run = ?1
                     OR seen_sweep >= (SELECT coalesce(min(id), 9223372036854775807) FROM sweeps WHERE run = ?1)
             FROM accounts
             WHERE id > ?2 AND read_run < ?1 AND failed_run IS NOT ?1 AND gone_at IS NULL
                 AND (queued_run IN (?1, -?1) OR (SELECT source FROM runs WHERE id = ?1) = 'participants')
             ORDER BY id LIMIT ?3",
            run,
            after,
            limit,
        )
    }

    /// The accounts that failed in this run, after a row, in order of rows.
    pub fn failed(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(
            "SELECT id, account_id, queued_run = ?1
                     OR seen_sweep >= (SELECT coalesce(min(id), 9223372036854775807) FROM sweeps WHERE run = ?1)
             FROM accounts
             WHERE failed_run = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            run,
            after,
            limit,
        )
    }

    /// The newest row of an account.
    pub fn newest_account(&self) -> Result<AccountKey> {
        self.read(|conn| {
            conn.prepare_cached("SELECT coalesce(max(id), 0) FROM accounts")?.query_row([], |row| row.get(0))
        })
        .map(AccountKey)
    }

    fn queue(&self, sql: &str, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        let read = |row: &Row<'_>| {
            Ok(Unread {
                key: AccountKey(row.get(0)?),
                account: AccountId::new(row.get::<_, String>(1)?),
                listed: row.get(2)?,
            })
        };
        self.read(|conn| conn.prepare_cached(sql)?.query_map(params![run.0, after.0, limit as i64], read)?.collect())
    }
}

impl Index {
    /// Puts accounts into a run's queue, those that are not known yet too, with the cursor that stands behind them. Gives how
    /// many of them the run did not have.
    pub fn queue_accounts(
        &mut self,
        run: RunKey,
        accounts: &[AccountId],
        cursor: Option<&str>,
        at: Timestamp,
    ) -> Result<u64> {
        self.write(|tx, shared| {
            let lineage = Lineage::of(tx, run)?;
            let (mut added, mut known) = (0, 0);
            for account in accounts.iter().filter(|account| !shared.forgotten.has(account.as_str())) {
                let row: Option<(i64, i64, i64, bool)> = tx
                    .prepare_cached(
                        "SELECT id, queued_run, read_run, gone_at IS NOT NULL FROM accounts WHERE account_id = ?1",
                    )?
                    .query_row([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                    .optional()?;
                match row {
                    Some((_, queued, _, _)) if queued == run.0 => continue,
                    Some((id, queued_run, read_run, gone)) => {
                        // One that is gone, and is listed with a reward, is back, and is read again.
                        tx.prepare_cached(
                            "UPDATE accounts SET queued_run = ?2, gone_at = NULL, read_run = iif(gone_at IS NULL, read_run, 0)
                             WHERE id = ?1",
                        )?
                        .execute([id, run.0])?;
                        known += i64::from(gone || !lineage.knows(queued_run, read_run));
                    }
                    None => {
                        tx.prepare_cached(
                            "INSERT INTO accounts (account_id, first_seen_at, queued_run) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![account.as_str(), at.as_millisecond(), run.0])?;
                        known += 1;
                    }
                }
                added += 1;
            }
            count_accounts(tx, run, known, 0)?;
            if let Some(cursor) = cursor {
                tx.execute("UPDATE runs SET cursor = ?2 WHERE id = ?1", params![run.0, cursor])?;
            }
            Ok(added)
        })
    }

    /// Puts into a run's queue what could not be read in the runs that it refreshes.
    pub fn queue_failed(&mut self, run: RunKey) -> Result<u64> {
        self.write(|tx, _| {
            let base = Lineage::of(tx, run)?.base;
            let queued = tx.execute(
                "UPDATE accounts SET queued_run = -?1 WHERE failed_run >= ?2 AND failed_run <> ?1 AND gone_at IS NULL
                     AND queued_run NOT IN (?1, -?1)",
                [run.0, base],
            )?;
            Ok(queued as u64)
        })
    }

    /// Puts into a run's queue what has rewards here and was not listed by a source that lists every account with rewards:
    /// they may be gone.
    pub fn queue_unlisted(&mut self, run: RunKey) -> Result<u64> {
        self.write(|tx, _| {
            let queued = tx.execute(
                "UPDATE accounts SET queued_run = -?1 WHERE gone_at IS NULL AND queued_run NOT IN (?1, -?1)
                     AND EXISTS (SELECT 1 FROM rewards WHERE account = accounts.id AND gone_at IS NULL)",
                [run.0],
            )?;
            count_accounts(tx, run, queued as i64, 0)?;
            Ok(queued as u64)
        })
    }

    /// Puts into a run's queue the accounts that were read before a moment, the oldest reading first where there are more
    /// than `limit`.
    pub fn queue_older(&mut self, run: RunKey, before: Timestamp, limit: u64) -> Result<u64> {
        self.write(|tx, _| {
            let base = Lineage::of(tx, run)?.base;
            let queued = tx.execute(
                "UPDATE accounts SET queued_run = -?1 WHERE id IN (
                     SELECT id FROM accounts WHERE gone_at IS NULL AND queued_run NOT IN (?1, -?1) AND read_run >= ?2
                         AND read_at < ?3 ORDER BY read_at LIMIT ?4)",
                params![run.0, base, before.as_millisecond(), limit.min(i64::MAX as u64) as i64],
            )?;
            Ok(queued as u64)
        })
    }
}

/// A run and the one that it refreshes: what was read since counts once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lineage {
    pub(super) run: i64,
    /// The full run; `run` itself where it is one; 0 for no run.
    pub(super) base: i64,
    /// Every account is to be read, not only those in its queue.
    reads_all: bool,
}

impl Lineage {
    pub(super) fn of(tx: &Transaction<'_>, run: RunKey) -> rusqlite::Result<Self> {
        let sql = "SELECT base, source = 'participants' FROM runs WHERE id = ?1";
        let found = tx.prepare_cached(sql)?.query_row([run.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (base, reads_all) = found.unwrap_or((0, true));
        Ok(Self { run: run.0, base, reads_all })
    }

    /// Whether an account counts as known, if it is not gone.
    pub(super) fn knows(self, queued_run: i64, read_run: i64) -> bool {
        self.reads_all || read_run >= self.base || queued_run.abs() >= self.base
    }
}

/// Accounts that failed in the newest run, or in those that it refreshes. What failed in an older one of another source says
/// nothing about the index as it is.
const FAILED: &str = "failed_run IS NOT NULL AND failed_run >= coalesce(
     (SELECT base FROM runs WHERE state <> 'replaced' ORDER BY id DESC LIMIT 1), 0)";

impl IndexReader {
    /// How many accounts the newest run could not read.
    pub fn failed_count(&self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM accounts WHERE {FAILED}");
        self.read(|conn| conn.query_row(&sql, [], |row| row.get::<_, i64>(0))).map(|count| count as u64)
    }

    /// The accounts that the newest run could not read.
    pub fn failed_accounts(&self) -> Result<Vec<FailedAccount>> {
        self.read(|conn| {
            // The +: by the index of the failed, not over all accounts.
            conn.prepare(&format!(
                "SELECT account_id, coalesce(failed_reason, ''), coalesce(failed_at, 0) FROM accounts
                 WHERE {FAILED} ORDER BY +account_id",
            ))?
            .query_map([], |row| {
                Ok(FailedAccount {
                    account_id: AccountId::new(row.get::<_, String>(0)?),
                    reason: row.get(1)?,
                    failed_at: moment(row.get(2)?),
                })
            })?
            .collect()
        })
    }
}

enum Seen {
    New,
    /// It was taken for gone; `within_run`: by an earlier walk of this very run.
    Back {
        within_run: bool,
    },
    Known,
}

/// A page and its cursor, in a transaction that others may share.
pub(super) fn write_page(
    pen: &mut Pen<'_>,
    forgotten: &Forgotten,
    run: RunKey,
    sweep: &Sweep,
    page: &Page,
    at: Timestamp,
) -> rusqlite::Result<PageCommitted> {
    let mut seen = 0;
    let mut new = 0;
    let mut known = 0;
    let mut returned = 0;
    for participant in &page.participants {
        if forgotten.has(participant.account_id.as_str()) {
            // Counted, or the walk would miss a row; by a number that only the key leads to.
            let number =
                forgotten.number(&format!("{}\0{}", participant.user_id.as_str(), participant.account_id.as_str()));
            seen += see_row(pen, sweep.id, number.unwrap_or(0))?;
            continue;
        }
        let (account, what) = see_account(pen, run, sweep, &participant.account_id, at)?;
        seen += see_row(pen, sweep.id, row_key(account, participant))?;
        match what {
            Seen::New => {
                new += 1;
                known += 1;
            }
            Seen::Back { within_run } => {
                known += 1;
                returned += i64::from(within_run);
            }
            Seen::Known => {}
        }
    }
    let mut unusable = 0;
    for row in &page.unusable {
        unusable += see_row(pen, sweep.id, row.cast_signed())?;
    }
    count_accounts(pen, run, known, 0)?;
    pen.prepare_cached(
        "UPDATE sweeps SET cursor = ?2, participants = participants + ?3, accounts_new = accounts_new + ?4,
             rows_unusable = rows_unusable + ?5, accounts_returned = accounts_returned + ?6 WHERE id = ?1",
    )?
    .execute(params![sweep.id, page.cursor, seen, new, unusable, returned])?;
    pen.prepare_cached(
        "SELECT participants, (SELECT accounts_known FROM runs WHERE id = ?2) FROM sweeps WHERE id = ?1",
    )?
    .query_row(params![sweep.id, run.0], |row| {
        Ok(PageCommitted { participants: row.get::<_, i64>(0)? as u64, accounts_known: row.get::<_, i64>(1)? as u64 })
    })
}

/// Counts a row once in each sweep: 1 the first time, 0 after that.
fn see_row(pen: &mut Pen<'_>, sweep: i64, row: i64) -> rusqlite::Result<i64> {
    pen.sql(Sql::RowSeen)?.execute([row, sweep]).map(|changed| changed as i64)
}

/// The number of a participant's row: its account's, and behind it 32 bits of its user ID. Accounts are numbered in the order
/// in which they are listed, so one page after the other is written where the last one was, and not all over the table.
fn row_key(account: i64, participant: &Participant) -> i64 {
    let user = fnv1a(participant.user_id.as_str().bytes());
    (account << 32) | i64::from((user ^ (user >> 32)) as u32)
}

fn see_account(
    pen: &mut Pen<'_>,
    run: RunKey,
    sweep: &Sweep,
    account: &AccountId,
    at: Timestamp,
) -> rusqlite::Result<(i64, Seen)> {
    let row: Option<(i64, i64, Option<i64>)> = pen
        .sql(Sql::AccountById)?
        .query_row([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, seen_sweep, gone_at)) = row else {
        pen.sql(Sql::NewAccount)?.execute(params![account.as_str(), at.as_millisecond(), sweep.id])?;
        return Ok((pen.last_insert_rowid(), Seen::New));
    };
    if let Some(gone_at) = gone_at.filter(|gone_at| *gone_at <= sweep.began_at.as_millisecond()) {
        // It is back, so its rewards are read again. One that was found gone under this very sweep, by a live question, is
        // not: the list and Get Rewards would send it round in circles.
        pen.prepare_cached("UPDATE accounts SET seen_sweep = ?2, gone_at = NULL, read_run = 0 WHERE id = ?1")?
            .execute(params![id, sweep.id])?;
        let first_sweep: i64 = pen
            .prepare_cached("SELECT coalesce(min(began_at), 0) FROM sweeps WHERE run = ?1")?
            .query_row([run.0], |row| row.get(0))?;
        return Ok((id, Seen::Back { within_run: gone_at >= first_sweep }));
    }
    if seen_sweep != sweep.id {
        pen.sql(Sql::AccountSeen)?.execute([id, sweep.id])?;
    }
    Ok((id, Seen::Known))
}

/// A number for a participant: over user and account ID.
pub fn fingerprint(participant: &Participant) -> u64 {
    fnv1a(participant.user_id.as_str().bytes().chain([0]).chain(participant.account_id.as_str().bytes()))
}
