//! Stores accounts: writes a page of participants with its cursor in one transaction, and reads the queue of accounts
//! that a run has not read yet.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use serde::Serialize;

use super::batch::{Batch, NewAccount, RunAncestry, account_sum, count_accounts};
use super::prefetch::accounts_by_id;
use super::{AccountKey, Index, IndexReader, ListPass, RunKey, moment};
use crate::error::Result;
use crate::model::{AccountId, Participant, fnv1a};
use crate::store::db::ColumnKind::Integer;
use crate::store::db::{Bulk, DbError, Row, ToValue, Tx};

/// One page of participants, with the cursor for the next page.
#[derive(Debug, Clone)]
pub struct Page {
    pub participants: Vec<Participant>,
    /// Hashes of the rows without a user or account ID. Pages overlap, and the hash lets the pass count such a row
    /// once.
    pub unusable: Vec<u64>,
    /// The JSON of the pagination's state after this page.
    pub cursor: String,
}

impl Page {
    /// Returns how many rows a commit of this page writes.
    pub fn rows(&self) -> usize {
        self.participants.len() + self.unusable.len() + 1
    }
}

/// The counts after the writer has committed a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCommitted {
    /// The number of distinct participants that this pass has seen so far.
    pub participants: u64,
    /// The number of known accounts that the vendor still has.
    pub accounts_known: u64,
}

/// An account that this run has not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub key: AccountKey,
    pub account: AccountId,
    /// `true` if a pass of this run has listed the account, so the vendor must know it.
    pub listed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedAccount {
    /// The account ID, which is personal data: recoup shows it only on request.
    pub account_id: AccountId,
    pub reason: String,
    pub failed_at: Timestamp,
}

/// SQL condition: a pass of run `?1`, or a source that lists every account with rewards, has listed the account.
macro_rules! is_listed {
    () => {
        "queued_run = ?1 OR seen_pass >= (SELECT coalesce(min(id), 9223372036854775807) FROM passes WHERE run = ?1)"
    };
}

/// SQL condition: run `?1` has not read the account yet. A run over the participants reads every account; any other run
/// reads its queue of accounts.
macro_rules! is_unread {
    () => {
        "read_run < ?1 AND failed_run IS DISTINCT FROM ?1 AND gone_at IS NULL
             AND (queued_run IN (?1, -CAST(?1 AS BIGINT)) OR (SELECT source FROM runs WHERE id = ?1) = 'participants')"
    };
}

/// Returns the query for accounts after row `?2`, in row order.
macro_rules! queue {
    ($condition:expr) => {
        concat!(
            "SELECT id, account_id, ",
            is_listed!(),
            " FROM accounts WHERE id > ?2 AND ",
            $condition,
            " ORDER BY id LIMIT ?3"
        )
    };
}

impl Index {
    /// Writes a page of participants and its cursor in one transaction.
    pub fn commit_page(&mut self, run: RunKey, pass: &ListPass, page: &Page, at: Timestamp) -> Result<PageCommitted> {
        self.write_batch(|batch| write_page(batch, run, pass, page, at))
    }
}

impl IndexReader {
    /// Returns the next accounts that this run has not read yet, after row `after`, in row order.
    pub fn unread(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(queue!(is_unread!()), run, after, limit)
    }

    /// Returns the next accounts that failed in this run, after row `after`, in row order.
    pub fn failed(&self, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        self.queue(queue!("failed_run = ?1"), run, after, limit)
    }

    /// Returns the newest account, or [`AccountKey::START`] if the index has no account.
    pub fn newest_account(&self) -> Result<AccountKey> {
        let newest = "SELECT coalesce(max(id), 0) FROM accounts";
        self.conn.read(|tx| tx.one(newest, &[], |row| row.get(0))).map(AccountKey)
    }

    fn queue(&self, sql: &str, run: RunKey, after: AccountKey, limit: usize) -> Result<Vec<Unread>> {
        let unread =
            |row: &Row<'_>| Ok(Unread { key: AccountKey(row.get(0)?), account: row.get(1)?, listed: row.get(2)? });
        self.conn.read(|tx| tx.rows(sql, &[&run.0, &after.0, &(limit as u64)], unread))
    }
}

impl Index {
    /// Returns how many accounts this run has not read yet.
    pub fn unread_count(&self, run: RunKey) -> Result<u64> {
        let count = concat!("SELECT count(*) FROM accounts WHERE ", is_unread!());
        self.conn.read(|tx| tx.one(count, &[&run.0], |row| row.get(0)))
    }
}

impl Index {
    /// Queues accounts for a run, adds accounts that the index lacks, and writes the cursor, in one transaction.
    /// Returns how many accounts were added to the queue.
    pub fn queue_accounts(
        &mut self,
        run: RunKey,
        accounts: &[AccountId],
        cursor: Option<&str>,
        at: Timestamp,
    ) -> Result<u64> {
        self.write_batch(|batch| {
            let tx = batch.tx;
            let ancestry = RunAncestry::of(tx, run)?;
            let (mut added, mut known) = (0, 0);
            for account in accounts {
                if batch.forgotten.has(account.as_str()) {
                    continue;
                }
                let row: Option<(i64, i64, i64, bool)> = tx.opt(
                    "SELECT id, queued_run, read_run, gone_at IS NOT NULL FROM accounts WHERE account_id = ?1",
                    &[account],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )?;
                match row {
                    Some((_, queued, _, _)) if queued == run.0 => continue,
                    Some((id, queued_run, read_run, gone)) => {
                        // An account that the index marked as gone and that has a reward now must be read again.
                        let read_run_now = if gone { 0 } else { read_run };
                        tx.run(
                            "UPDATE accounts SET queued_run = ?2, gone_at = NULL, read_run = ?3, sum = ?4 WHERE id = ?1",
                            &[&id, &run.0, &read_run_now, &account_sum(AccountKey(id), account, None)],
                        )?;
                        known += i64::from(gone || !ancestry.knows(queued_run, read_run));
                    }
                    None => {
                        let first_seen_at = at.as_millisecond();
                        let new = NewAccount { first_seen_at, queued_run: run.0, ..NewAccount::default() };
                        batch.add_account(account, &new)?;
                        known += 1;
                    }
                }
                added += 1;
            }
            count_accounts(tx, run, known, 0)?;
            if let Some(cursor) = cursor {
                tx.run("UPDATE runs SET cursor = ?2 WHERE id = ?1", &[&run.0, &cursor])?;
            }
            Ok(added)
        })
    }

    /// Queues the accounts whose reading failed in the runs that this run refreshes.
    pub fn queue_failed(&mut self, run: RunKey) -> Result<u64> {
        self.conn.write(|tx| {
            let base = RunAncestry::of(tx, run)?.base;
            tx.run(
                "UPDATE accounts SET queued_run = ?2 WHERE failed_run >= ?3 AND failed_run <> ?1 AND gone_at IS NULL
                     AND queued_run NOT IN (?1, ?2)",
                &[&run.0, &-run.0, &base],
            )
        })
    }

    /// Queues the accounts with rewards that the source did not list. A source such as GraphQL lists every account with
    /// rewards, so an unlisted account may be gone.
    pub fn queue_unlisted(&mut self, run: RunKey) -> Result<u64> {
        self.conn.write(|tx| {
            let queued = tx.run(
                "UPDATE accounts SET queued_run = ?2 WHERE gone_at IS NULL AND queued_run NOT IN (?1, ?2)
                     AND EXISTS (SELECT 1 FROM rewards WHERE account = accounts.id AND gone_at IS NULL)",
                &[&run.0, &-run.0],
            )?;
            count_accounts(tx, run, queued as i64, 0)?;
            Ok(queued)
        })
    }

    /// Queues up to `limit` accounts that were last read before a time. The account with the oldest reading comes
    /// first.
    pub fn queue_older(&mut self, run: RunKey, before: Timestamp, limit: u64) -> Result<u64> {
        self.conn.write(|tx| {
            let base = RunAncestry::of(tx, run)?.base;
            tx.run(
                "UPDATE accounts SET queued_run = ?2 WHERE id IN (
                     SELECT id FROM accounts WHERE gone_at IS NULL AND queued_run NOT IN (?1, ?2) AND read_run >= ?3
                         AND read_at < ?4 ORDER BY read_at LIMIT ?5)",
                &[&run.0, &-run.0, &base, &before.as_millisecond(), &limit],
            )
        })
    }

    /// Returns the accounts with the oldest readings. Accounts that were never read come first.
    pub fn oldest_readings(&self, limit: u64) -> Result<Vec<AccountId>> {
        let oldest =
            "SELECT account_id FROM accounts WHERE gone_at IS NULL ORDER BY read_at IS NOT NULL, read_at LIMIT ?1";
        self.conn.read(|tx| tx.rows(oldest, &[&limit], |row| row.get(0)))
    }
}

/// SQL condition: reading the account failed in the newest run, or in a run that the newest run refreshes. A failure in
/// an older run of another source does not affect the current index.
macro_rules! has_failed {
    () => {
        "failed_run IS NOT NULL AND failed_run >= coalesce(
             (SELECT base FROM runs WHERE state <> 'replaced' ORDER BY id DESC LIMIT 1), 0)"
    };
}

impl IndexReader {
    /// Returns how many accounts the newest run failed to read.
    pub fn failed_count(&self) -> Result<u64> {
        let count = concat!("SELECT count(*) FROM accounts WHERE ", has_failed!());
        self.conn.read(|tx| tx.one(count, &[], |row| row.get(0)))
    }

    /// Returns the accounts that the newest run failed to read.
    pub fn failed_accounts(&self) -> Result<Vec<FailedAccount>> {
        let sql = concat!(
            "SELECT account_id, coalesce(failed_reason, ''), coalesce(failed_at, 0) FROM accounts WHERE ",
            has_failed!()
        );
        let mut failed: Vec<FailedAccount> = self.conn.read(|tx| {
            tx.rows(sql, &[], |row| {
                Ok(FailedAccount { account_id: row.get(0)?, reason: row.get(1)?, failed_at: moment(row.get(2)?) })
            })
        })?;
        // Sorts the few rows in Rust, because for an ORDER BY SQLite would scan the index of all accounts.
        failed.sort_by(|one, other| one.account_id.cmp(&other.account_id));
        Ok(failed)
    }
}

/// The previous state of an account that a page lists.
enum Seen {
    New,
    /// The index marked the account as gone, and the page lists the account again. `within_run` is `true` if an earlier
    /// pass of this run marked it.
    Returned {
        within_run: bool,
    },
    Known,
}

/// Writes a page of participants and its cursor into the transaction of a batch.
pub(super) fn write_page(
    batch: &mut Batch<'_>,
    run: RunKey,
    pass: &ListPass,
    page: &Page,
    at: Timestamp,
) -> Result<PageCommitted, DbError> {
    let tx = batch.tx;
    let mut accounts = AccountsOfPage::of(tx, page)?;
    let (mut rows, mut new, mut known, mut returned) = (Vec::new(), 0_u64, 0, 0_i64);
    for participant in &page.participants {
        if batch.forgotten.has(participant.account_id.as_str()) {
            // A pass is complete only if it also counts the row of a forgotten participant. A keyed hash identifies the
            // row of a forgotten participant.
            let row = format!("{}\0{}", participant.user_id.as_str(), participant.account_id.as_str());
            rows.push(batch.forgotten.number(&row).unwrap_or(0));
            continue;
        }
        let (account, what) = see_account(batch, &mut accounts, run, pass, &participant.account_id, at)?;
        rows.push(row_hash(account, participant));
        match what {
            Seen::New => {
                new += 1;
                known += 1;
            }
            Seen::Returned { within_run } => {
                known += 1;
                returned += i64::from(within_run);
            }
            Seen::Known => {}
        }
    }
    let seen = see_rows(tx, pass.id, rows)?;
    let unusable = see_rows(tx, pass.id, page.unusable.iter().map(|row| row.cast_signed()))?;
    count_accounts(tx, run, known, 0)?;
    let participants = tx.one(
        "UPDATE passes SET cursor = ?2, participants = participants + ?3, accounts_new = accounts_new + ?4,
             rows_unusable = rows_unusable + ?5, accounts_returned = accounts_returned + ?6 WHERE id = ?1
         RETURNING participants",
        &[&pass.id, &page.cursor, &seen, &new, &unusable, &returned],
        |row| row.get(0),
    )?;
    let accounts_known: i64 = tx.one("SELECT accounts_known FROM runs WHERE id = ?1", &[&run.0], |row| row.get(0))?;
    Ok(PageCommitted { participants, accounts_known: accounts_known as u64 })
}

static SEE_ROW: LazyLock<Bulk> = LazyLock::new(|| {
    let conflict = "ON CONFLICT (hash) DO UPDATE SET pass = excluded.pass WHERE participants.pass <> excluded.pass";
    Bulk::insert(0, "participants", 1, &[("hash", Integer), ("pass", Integer)], conflict)
});

/// Counts each row once in each pass. Returns how many of the rows the pass sees for the first time.
fn see_rows(tx: &Tx<'_>, pass: i64, hashes: impl IntoIterator<Item = i64>) -> Result<u64, DbError> {
    let mut known = HashSet::new();
    let hashes: Vec<i64> = hashes.into_iter().filter(|hash| known.insert(*hash)).collect();
    let rows: Vec<Vec<&dyn ToValue>> = hashes.iter().map(|hash| vec![hash as &dyn ToValue, &pass]).collect();
    tx.run_many(&SEE_ROW, &rows)
}

/// Combines the account's row ID (upper 32 bits) with 32 bits of the user ID's hash. Accounts are numbered in the order
/// of the list, so consecutive pages write neighbouring rows.
fn row_hash(account: AccountKey, participant: &Participant) -> i64 {
    let user = fnv1a(participant.user_id.as_str().bytes());
    (account.0 << 32) | i64::from((user ^ (user >> 32)) as u32)
}

/// An account's row before a participant's row changes it.
#[derive(Clone, Copy)]
struct SeenAccount {
    id: i64,
    seen_pass: i64,
    gone_at: Option<i64>,
}

macro_rules! seen_account {
    ($condition:literal) => {
        concat!("SELECT account_id, id, seen_pass, gone_at FROM accounts WHERE account_id ", $condition)
    };
}

impl SeenAccount {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { id: row.get(1)?, seen_pass: row.get(2)?, gone_at: row.get(3)? })
    }
}

/// The accounts of a page. On a server, one query reads all of them. On a file, each is read when it is needed.
struct AccountsOfPage(Option<HashMap<AccountId, SeenAccount>>);

impl AccountsOfPage {
    fn of(tx: &Tx<'_>, page: &Page) -> Result<Self, DbError> {
        if !tx.is_remote() {
            return Ok(Self(None));
        }
        let accounts: Vec<&AccountId> = page.participants.iter().map(|participant| &participant.account_id).collect();
        accounts_by_id(tx, seen_account!("= ANY (?1)"), &accounts, SeenAccount::from_row).map(|found| Self(Some(found)))
    }

    fn find(&self, tx: &Tx<'_>, account: &AccountId) -> Result<Option<SeenAccount>, DbError> {
        match &self.0 {
            Some(accounts) => Ok(accounts.get(account).copied()),
            None => tx.opt(seen_account!("= ?1"), &[account], SeenAccount::from_row),
        }
    }

    /// Records what the page has written into an account's row.
    fn saw(&mut self, account: &AccountId, id: AccountKey, pass: &ListPass, gone_at: Option<i64>) {
        if let Some(accounts) = &mut self.0 {
            accounts.insert(account.clone(), SeenAccount { id: id.0, seen_pass: pass.id, gone_at });
        }
    }
}

static SET_PASS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::update(1, "accounts", &[("id", Integer), ("seen_pass", Integer)], ""));

fn see_account(
    batch: &mut Batch<'_>,
    accounts: &mut AccountsOfPage,
    run: RunKey,
    pass: &ListPass,
    account: &AccountId,
    at: Timestamp,
) -> Result<(AccountKey, Seen), DbError> {
    let tx = batch.tx;
    let Some(SeenAccount { id, seen_pass, gone_at }) = accounts.find(tx, account)? else {
        let new = NewAccount { first_seen_at: at.as_millisecond(), seen_pass: pass.id, ..NewAccount::default() };
        let key = batch.add_account(account, &new)?;
        accounts.saw(account, key, pass, None);
        return Ok((key, Seen::New));
    };
    let key = AccountKey(id);
    if let Some(gone_at) = gone_at.filter(|gone_at| *gone_at <= pass.began_at.as_millisecond()) {
        // The list contains the account again, so recoup must read its rewards again. However, an account that a live
        // request during this pass found gone stays gone, because the contradiction between the list and Get Rewards
        // would cause an endless loop.
        tx.run(
            "UPDATE accounts SET seen_pass = ?2, gone_at = NULL, read_run = 0, sum = ?3 WHERE id = ?1",
            &[&id, &pass.id, &account_sum(key, account, None)],
        )?;
        accounts.saw(account, key, pass, None);
        let first_pass = "SELECT coalesce(min(started_at), 0) FROM passes WHERE run = ?1";
        let first_pass: i64 = tx.one(first_pass, &[&run.0], |row| row.get(0))?;
        return Ok((key, Seen::Returned { within_run: gone_at >= first_pass }));
    }
    if seen_pass != pass.id {
        tx.run_later(&SET_PASS, &[&id, &pass.id])?;
        accounts.saw(account, key, pass, gone_at);
    }
    Ok((key, Seen::Known))
}

/// Returns a hash of a participant's user ID and account ID.
pub fn fingerprint(participant: &Participant) -> u64 {
    fnv1a(participant.user_id.as_str().bytes().chain([0]).chain(participant.account_id.as_str().bytes()))
}
