//! The index: accounts, rewards, links, and the progress of a crawl.
//!
//! [`Index`] is the only writer; [`IndexReader`] answers look-ups. Each method that writes is one IMMEDIATE transaction, counters
//! included. `schema.sql` describes every column. This module never calls the vendor. It deletes only the accounts that a person
//! asks to forget, and marks what the vendor no longer lists as gone.

mod accounts;
mod batch;
mod descriptors;
mod forget;
mod indexed_snapshot;
mod jobs;
mod links;
mod lookups;
mod passes;
mod program_rules;
mod raw_json;
mod referrals;
#[cfg(test)]
mod refresh_tests;
mod refusals;
mod reward_pages;
mod reward_rows;
mod rewards;
mod run_lifecycle;
mod runs;
mod sums;
#[cfg(test)]
mod tests;
mod tombstones;
mod vendor_clock;
mod webhook_queue;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

pub use accounts::{FailedAccount, Page, PageCommitted, Unread, fingerprint};
pub use forget::Erased;
pub use indexed_snapshot::IndexedSnapshot;
pub use jobs::JobRow;
pub use lookups::{IndexedReward, Match};
pub use passes::{ListPass, PassEvidence, PassResult};
pub use program_rules::RuleRead;
pub use raw_json::Reextracted;
pub use referrals::ReferralRead;
pub use refusals::Refusal;
pub use reward_pages::{RewardListCommitted, RewardListPage, Unseen};
pub use rewards::{AccountAnswer, AccountRead, ApiSource, Entry, ReadReward};
pub use runs::{NewRun, PatternCount, Run, RunKey, RunState};
pub use sums::renew_reward_sums;
pub use tombstones::ImportedTombstones;
pub use vendor_clock::{ClockOffset, JudgedBy, JudgedNow};

use batch::{Batch, CounterDeltas};
use descriptors::SharedRows;
use links::LinkSumChanges;
pub(super) use links::first_damage;
use raw_json::JsonCompressor;
use tombstones::Forgotten;

use super::{Identity, Layout, open_reader, open_writer, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, ActionId, Coverage, OrderId, RewardId, UserId};
use crate::store::ledger::Head;

// The write-ahead log may reach 64 MB. IDs arrive in random order, so a crawl writes pages across the whole file. With SQLite's
// default of 4 MB, SQLite would copy each page dozens of times.
pub(super) const LAYOUT: Layout = Layout {
    name: "index",
    schema: include_str!("../../../schema.sql"),
    version: 2,
    synchronous: "NORMAL",
    autocheckpoint_pages: 16_384,
    application_id: 0x7265_6378, // "recx"
};

/// The row ID of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey(i64);

impl AccountKey {
    /// The position before the first account.
    pub const START: Self = Self(0);
}

/// The index, open for writing. Several processes may open it; each waits for the others' transactions.
#[derive(Debug)]
pub struct Index {
    conn: Connection,
    path: PathBuf,
    forgotten: Forgotten,
    compressor: JsonCompressor,
}

/// The index, open for reading. A reader sees the last committed state.
#[derive(Debug)]
pub struct IndexReader {
    conn: Connection,
    path: PathBuf,
    /// The cached coverage, and the file's `data_version` at that time. Every answer needs the coverage, and few commits change
    /// it.
    coverage: RefCell<Option<(i64, Coverage)>>,
}

impl Index {
    /// Opens the index for writing; creates it if it is missing.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self> {
        let conn = open_writer(path, &LAYOUT, identity)?;
        conn.set_prepared_statement_cache_capacity(128);
        // A crawl writes pages across the whole file, so the cache is larger than SQLite's default of 2 MB.
        let tuned = conn.pragma_update(None, "cache_size", -32 * 1024);
        tuned.map_err(|error| sql_error(&error, &LAYOUT, path))?;
        let compressor = JsonCompressor::new()
            .map_err(|error| Error::new(Kind::Failed, format!("zstd failed to start: {error}")))?;
        Ok(Self { conn, path: path.to_owned(), forgotten: Forgotten::default(), compressor })
    }

    /// Runs `work` in one IMMEDIATE transaction.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let written = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        written.map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Runs `work` in one IMMEDIATE transaction with the tombstones, then writes the counters and checksums of the batch.
    fn write_batch<T>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let written = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            self.forgotten.refresh(&tx)?;
            let mut batch = Batch {
                tx: &tx,
                forgotten: &mut self.forgotten,
                compressor: &mut self.compressor,
                counters: CounterDeltas::default(),
                link_sums: LinkSumChanges::default(),
                shared: SharedRows::default(),
                next_reward: None,
            };
            let value = work(&mut batch)?;
            batch.finish()?;
            tx.commit()?;
            Ok(value)
        });
        written.map_err(|error| {
            // The cache may hold tombstones that the rollback has removed.
            self.forgotten = Forgotten::default();
            sql_error(&error, &LAYOUT, &self.path)
        })
    }

    /// Runs `work` in one transaction that survives a power cut. What the index records of the ledger must be as durable as the
    /// ledger. SQLite also copies the commit into the main file, unless a reader prevents it. If the commit stays in the log, a
    /// copy of both main files is still safe, because the ledger's own file records every send.
    fn write_durably<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.read(|conn| conn.pragma_update(None, "synchronous", "FULL"))?;
        let written = self.write(work);
        self.read(|conn| {
            if written.is_ok() {
                conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            }
            conn.pragma_update(None, "synchronous", LAYOUT.synchronous)
        })?;
        written
    }

    /// Records the ledger that this index is used with, and the ledger's newest event. Refuses another ledger. The record later
    /// reveals an older copy of the same ledger, which could send orders twice.
    pub fn remember_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        let kept: String = self.write_durably(|tx| {
            let insert = "INSERT INTO identity (key, value) VALUES (?1, ?2)";
            tx.execute(&format!("{insert} ON CONFLICT (key) DO NOTHING"), ["ledger_id", ledger_id])?;
            let kept: String =
                tx.query_row("SELECT value FROM identity WHERE key = 'ledger_id'", [], |row| row.get(0))?;
            if kept == ledger_id {
                let newer = "ON CONFLICT (key) DO UPDATE SET value = excluded.value";
                if known_sequence(tx)?.is_none_or(|known| known < head.sequence) {
                    let text = format!("{} {}", head.sequence, head.hash);
                    tx.execute(&format!("{insert} {newer}"), ["ledger_head", &text])?;
                }
            }
            Ok(kept)
        })?;
        if kept == ledger_id {
            return Ok(());
        }
        Err(Error::new(Kind::Identity, "this is another ledger than the one that was used with this index")
            .hint("name the right one with RECOUP_LEDGER; nothing was sent"))
    }

    /// Replaces the recorded ledger by another one, or by an older copy, that a person has accepted.
    pub fn adopt_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        self.write_durably(|tx| {
            let set =
                "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            tx.execute(set, ["ledger_id", ledger_id])?;
            tx.execute(set, ["ledger_head", &format!("{} {}", head.sequence, head.hash)]).map(drop)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.conn).map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

impl IndexReader {
    /// Opens the index for reading; returns `None` if there is none yet.
    pub fn open(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        let Some(conn) = open_reader(path, &LAYOUT, identity)? else { return Ok(None) };
        conn.set_prepared_statement_cache_capacity(64);
        // The value is an upper limit: SQLite allocates pages only as it reads them.
        let tuned = conn.pragma_update(None, "cache_size", -16 * 1024);
        tuned.map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Some(Self { conn, path: path.to_owned(), coverage: RefCell::default() }))
    }

    /// Runs `work` on one state of the file, even if a crawl writes meanwhile. Many queries are also faster this way, because
    /// they take the read lock once.
    pub fn at_one_moment<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        // The transaction only reads, so it needs no commit.
        let held = self.conn.unchecked_transaction().map_err(|error| sql_error(&error, &LAYOUT, &self.path))?;
        let answer = work(self);
        drop(held);
        answer
    }

    /// Returns the ledger that was last used with this index, and its newest event at that time; `None` before the first
    /// retraction. The hash is empty if the ledger had no event.
    pub fn ledger(&self) -> Result<Option<(String, Head)>> {
        let value = |conn: &Connection, key: &str| -> rusqlite::Result<Option<String>> {
            conn.query_row("SELECT value FROM identity WHERE key = ?1", [key], |row| row.get(0)).optional()
        };
        self.read(|conn| {
            let text = value(conn, "ledger_head")?.unwrap_or_default();
            let (sequence, hash) = text.split_once(' ').unwrap_or((&text, ""));
            let head = Head { sequence: sequence.parse().unwrap_or(0), hash: hash.to_owned() };
            Ok(value(conn, "ledger_id")?.map(|id| (id, head)))
        })
    }

    /// Returns the tenant that the index belongs to.
    pub fn identity(&self) -> Result<Identity> {
        let value = |key: &str| {
            self.read(|conn| conn.query_row("SELECT value FROM identity WHERE key = ?1", [key], |row| row.get(0)))
        };
        Ok(Identity {
            tenant: value("tenant")?,
            account_sid: value("account_sid")?,
            advocate_url: value("advocate_url")?,
            brand_url: value("brand_url")?,
        })
    }

    /// Runs `work` on one state of the file, also inside [`IndexReader::at_one_moment`].
    fn consistent<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.read(|conn| {
            let held = conn.is_autocommit().then(|| conn.unchecked_transaction()).transpose()?;
            let answer = work(conn);
            drop(held);
            answer
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.conn).map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

/// Converts Unix milliseconds.
fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn damaged_raw() -> Error {
    Error::new(Kind::Storage, "the stored JSON of a reward is damaged")
        .hint("move the index away and run `recoup crawl`: it can be rebuilt, the ledger is a file of its own")
}

/// Returns the number of the newest recorded ledger event; `None` before the first.
fn known_sequence(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT value FROM identity WHERE key = 'ledger_head'";
    let text: Option<String> = conn.query_row(select, [], |row| row.get(0)).optional()?;
    Ok(text.map(|text| text.split(' ').next().and_then(|sequence| sequence.parse().ok()).unwrap_or(0)))
}

/// IDs are stored as their exact text.
macro_rules! text_columns {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Ok(Self::new(value.as_str()?))
            }
        }
    )*};
}

text_columns!(OrderId, ActionId, AccountId, UserId, RewardId);
