//! Accounts: a page of participants and its cursor in one transaction, and the queue of what is still to be read.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::sweeps::count_accounts;
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
        self.write(|tx, _| {
            let mut seen = 0;
            let mut new = 0;
            let mut known = 0;
            let mut returned = 0;
            for participant in &page.participants {
                seen += see_row(tx, sweep.id, fingerprint(participant))?;
                match see_account(tx, run, sweep, &participant.account_id, at)? {
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
                unusable += see_row(tx, sweep.id, *row)?;
            }
            count_accounts(tx, run, known, 0)?;
            tx.prepare_cached(
                "UPDATE sweeps SET cursor = ?2, participants = participants + ?3, accounts_new = accounts_new + ?4,
                     rows_unusable = rows_unusable + ?5, accounts_returned = accounts_returned + ?6 WHERE id = ?1",
            )?
            .execute(params![sweep.id, page.cursor, seen, new, unusable, returned])?;
            tx.prepare_cached(
                "SELECT participants, (SELECT accounts_known FROM runs WHERE id = ?2) FROM sweeps WHERE id = ?1",
            )?
            .query_row(params![sweep.id, run.0], |row| {
                Ok(PageCommitted {
                    participants: row.get::<_, i64>(0)? as u64,
                    accounts_known: row.get::<_, i64>(1)? as u64,
                })
            })
        })
    }

    /// The next accounts of the queue after a row, in order of rows. Failed ones wait for [`Index::failed`].
    pub fn unread(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(
            "SELECT id, account_id, seen_sweep >= (SELECT coalesce(min(id), 1) FROM sweeps WHERE run = ?1) FROM accounts
             WHERE id > ?2 AND read_run < ?1 AND failed_run IS NOT ?1 AND gone_at IS NULL ORDER BY id LIMIT ?3",
            run,
            after,
            limit,
        )
    }

    /// The accounts that failed in this run, after a row, in order of rows.
    pub fn failed(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(
            "SELECT id, account_id, seen_sweep >= (SELECT coalesce(min(id), 1) FROM sweeps WHERE run = ?1) FROM accounts
             WHERE failed_run = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            run,
            after,
            limit,
        )
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

impl IndexReader {
    /// How many accounts the newest run could not read.
    pub fn failed_count(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM accounts WHERE failed_run IS NOT NULL";
        self.read(|conn| conn.query_row(sql, [], |row| row.get::<_, i64>(0))).map(|count| count as u64)
    }

    /// The accounts that the newest run could not read.
    pub fn failed_accounts(&self) -> Result<Vec<FailedAccount>> {
        self.read(|conn| {
            conn.prepare(
                "SELECT account_id, coalesce(failed_reason, ''), coalesce(failed_at, 0) FROM accounts
                 WHERE failed_run IS NOT NULL ORDER BY +account_id", // the +: by the index of the failed, not over all accounts
            )?
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

/// Counts a row once in each sweep: 1 the first time, 0 after that.
fn see_row(tx: &Transaction<'_>, sweep: i64, hash: u64) -> rusqlite::Result<i64> {
    let changed = tx
        .prepare_cached(
            "INSERT INTO participants (hash, sweep) VALUES (?1, ?2)
             ON CONFLICT (hash) DO UPDATE SET sweep = excluded.sweep WHERE sweep <> excluded.sweep",
        )?
        .execute(params![hash.cast_signed(), sweep])?;
    Ok(changed as i64)
}

fn see_account(
    tx: &Transaction<'_>,
    run: RunKey,
    sweep: &Sweep,
    account: &AccountId,
    at: Timestamp,
) -> rusqlite::Result<Seen> {
    let row: Option<(i64, i64, Option<i64>)> = tx
        .prepare_cached("SELECT id, seen_sweep, gone_at FROM accounts WHERE account_id = ?1")?
        .query_row([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, seen_sweep, gone_at)) = row else {
        tx.prepare_cached("INSERT INTO accounts (account_id, first_seen_at, seen_sweep) VALUES (?1, ?2, ?3)")?
            .execute(params![account.as_str(), at.as_millisecond(), sweep.id])?;
        return Ok(Seen::New);
    };
    if let Some(gone_at) = gone_at.filter(|gone_at| *gone_at <= sweep.began_at.as_millisecond()) {
        // It is back, so its rewards are read again. One that was found gone under this very sweep, by a live question, is
        // not: the list and Get Rewards would send it round in circles.
        tx.prepare_cached("UPDATE accounts SET seen_sweep = ?2, gone_at = NULL, read_run = 0 WHERE id = ?1")?
            .execute(params![id, sweep.id])?;
        let first_sweep: i64 = tx
            .prepare_cached("SELECT coalesce(min(began_at), 0) FROM sweeps WHERE run = ?1")?
            .query_row([run.0], |row| row.get(0))?;
        return Ok(Seen::Back { within_run: gone_at >= first_sweep });
    }
    if seen_sweep != sweep.id {
        tx.prepare_cached("UPDATE accounts SET seen_sweep = ?2 WHERE id = ?1")?.execute(params![id, sweep.id])?;
    }
    Ok(Seen::Known)
}

/// A number for a participant: over user and account ID.
pub fn fingerprint(participant: &Participant) -> u64 {
    fnv1a(participant.user_id.as_str().bytes().chain([0]).chain(participant.account_id.as_str().bytes()))
}
