//! The index in domain terms: accounts, rewards, links, and how far a crawl has come.
//!
//! [`Index`] is the one writer, [`IndexReader`] answers. Each method that writes is one IMMEDIATE transaction, with its
//! counters inside. `schema.sql` says what every column means. Nothing here asks the vendor, and nothing is ever removed
//! (what the vendor no longer lists is marked as gone) but what a person asked to forget, which `tombstones` keeps out.

mod accounts;
mod answers;
mod copies;
mod course;
mod forget;
mod hints;
mod ids;
mod jobs;
mod links;
pub(super) mod log;
mod pack;
mod pen;
mod program_rules;
mod raw;
mod referrals;
#[cfg(test)]
mod refresh_tests;
mod refusals;
mod rewards;
mod rows;
mod runs;
mod shared;
mod sums;
mod sweeps;
#[cfg(test)]
mod tests;
mod tombstones;
#[cfg(test)]
mod upgrade_tests;
mod vendor_clock;
mod walks;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

pub use accounts::{FailedAccount, Page, PageCommitted, Unread, fingerprint};
pub use answers::{IndexedReward, Match};
pub use copies::Copied;
pub use forget::Erased;
pub use jobs::JobRow;
pub use links::know_keys;
pub use program_rules::RuleRead;
pub use raw::Reextracted;
pub use referrals::ReferralRead;
pub use refusals::Refusal;
pub use rewards::{AccountAnswer, AccountRead, Entry, ReadReward, Via};
pub use runs::{FindingCount, NewRun, Run, RunKey, RunState};
pub use sweeps::{Sweep, SweepEnd, SweepVerdict};
pub use tombstones::Buried;
pub use vendor_clock::{ClockOffset, JudgedBy, JudgedNow};
pub use walks::{RewardRows, RowsCommitted, Unseen};

use links::key_all;
pub(super) use links::links_without_keys;
use log::{LAST_RESORT, LogKeeper};
use pack::Packer;
use shared::Shared;
pub(super) use sums::first_damage;

use super::{Identity, Layout, open_reader, open_writer, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::Coverage;
use crate::store::ledger::Head;

pub(super) const LAYOUT: Layout = Layout {
    name: "index",
    schema: include_str!("../../../schema.sql"),
    upgrades: &[
        |conn| conn.execute_batch(include_str!("../../../migrations/index-2.sql")),
        |conn| conn.execute_batch(include_str!("../../../migrations/index-3.sql")),
        |conn| conn.execute_batch(include_str!("../../../migrations/index-4.sql")),
        |conn| {
            conn.execute_batch(include_str!("../../../migrations/index-5.sql"))?;
            know_keys(conn)?;
            key_all(conn)
        },
        |conn| conn.execute_batch(include_str!("../../../migrations/index-6.sql")),
        |conn| conn.execute_batch(include_str!("../../../migrations/index-7.sql")),
        |conn| conn.execute_batch(include_str!("../../../migrations/index-8.sql")),
    ],
    synchronous: "NORMAL",
    functions: know_keys,
    application_id: 0x7265_6378, // "recx"
};

/// The row of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey(i64);

impl AccountKey {
    /// Before every account: where a pass over the queue begins.
    pub const START: Self = Self(0);
}

/// The writer. One per process; a second process waits for its transactions, not for its life.
#[derive(Debug)]
pub struct Index {
    /// Dropped before the connection is.
    log: LogKeeper,
    conn: Connection,
    path: PathBuf,
    shared: Shared,
    packer: Packer,
}

/// A reader. Sees the last committed state and cannot write.
#[derive(Debug)]
pub struct IndexReader {
    conn: Connection,
    path: PathBuf,
    /// The coverage as of a version of the file: it is asked for with every answer, and changes with few commits.
    coverage: RefCell<Option<(i64, Coverage)>>,
}

impl Index {
    /// Opens the index for writing; creates it where it is missing.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self> {
        let conn = open_writer(path, &LAYOUT, identity)?;
        conn.set_prepared_statement_cache_capacity(64);
        // IDs arrive in no order, so a crawl touches index pages all over the file. With SQLite's 2 MB of cache and a
        // checkpoint every 4 MB, a crawl of half a million accounts writes each page dozens of times.
        let tuned = conn
            .pragma_update(None, "cache_size", -32 * 1024)
            .and_then(|()| conn.pragma_update_and_check(None, "wal_autocheckpoint", LAST_RESORT, |_| Ok(())));
        tuned.map_err(|error| sql_error(&error, &LAYOUT, path))?;
        let packer = Packer::new(&conn).map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Self { log: LogKeeper::new(path), conn, path: path.to_owned(), shared: Shared::default(), packer })
    }

    /// One IMMEDIATE transaction: all of it, or nothing.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &mut Shared) -> rusqlite::Result<T>) -> Result<T> {
        self.write_packed(|tx, shared, _| work(tx, shared))
    }

    /// The same for what keeps the JSON of rewards.
    fn write_packed<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Shared, &mut Packer) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let outcome = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            // Another process may have forgotten an account since.
            self.shared.forgotten.refresh(&tx)?;
            let value = work(&tx, &mut self.shared, &mut self.packer)?;
            tx.commit()?;
            Ok(value)
        });
        if outcome.is_ok() {
            self.log.look_after(&self.conn);
        }
        outcome.map_err(|error| {
            // Rows that were rolled back must not be remembered by their numbers.
            self.shared = Shared::default();
            if let Ok(packer) = Packer::new(&self.conn) {
                self.packer = packer;
            }
            sql_error(&error, &LAYOUT, &self.path)
        })
    }

    /// One transaction that outlives a power cut, and is in the main file unless a reader stands in the way: what is
    /// remembered of the ledger holds as the ledger does. If it is in the log alone, a copy of both main files is still safe:
    /// the ledger's own says what was sent.
    fn write_durably<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.read(|conn| conn.pragma_update(None, "synchronous", "FULL"))?;
        let written = self.write(|tx, _| work(tx));
        self.read(|conn| {
            if written.is_ok() {
                log::checkpoint(conn)?;
            }
            conn.pragma_update(None, "synchronous", LAYOUT.synchronous)
        })?;
        written
    }

    /// Remembers the ledger that goes with this index, and how far it was: another one than the first is refused, and so is
    /// an older copy later, because what was sent from there would be sent again.
    pub fn remember_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        let kept: String = self.write_durably(|tx| {
            let insert = "INSERT INTO identity (key, value) VALUES (?1, ?2)";
            tx.execute(&format!("{insert} ON CONFLICT DO NOTHING"), ["ledger_id", ledger_id])?;
            let kept: String =
                tx.query_row("SELECT value FROM identity WHERE key = 'ledger_id'", [], |row| row.get(0))?;
            if kept == ledger_id {
                let newer = "ON CONFLICT DO UPDATE SET value = excluded.value WHERE CAST(value AS INTEGER) < ?3";
                let text = format!("{} {}", head.sequence, head.hash);
                tx.execute(&format!("{insert} {newer}"), rusqlite::params!["ledger_head", text, head.sequence])?;
            }
            Ok(kept)
        })?;
        if kept == ledger_id {
            return Ok(());
        }
        Err(Error::new(Kind::Identity, "this is another ledger than the one that was used with this index")
            .hint("name the right one with RECOUP_LEDGER; nothing was sent"))
    }

    /// Remembers another ledger than before, or an older one, which a person has accepted.
    pub fn adopt_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        self.write_durably(|tx| {
            let set =
                "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
            tx.execute(set, ["ledger_id", ledger_id])?;
            tx.execute(set, ["ledger_head", &format!("{} {}", head.sequence, head.hash)]).map(drop)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.conn).map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

impl IndexReader {
    /// Opens the index for reading; `None` where there is none yet.
    pub fn open(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        let Some(conn) = open_reader(path, &LAYOUT, identity)? else { return Ok(None) };
        conn.set_prepared_statement_cache_capacity(64);
        // IDs arrive in no order, so look-ups go all over the file. What one command does not need is not taken.
        let tuned = conn.pragma_update(None, "cache_size", -16 * 1024);
        tuned.map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Some(Self { conn, path: path.to_owned(), coverage: RefCell::default() }))
    }

    /// Answers everything that `work` asks as of one moment, whatever a crawl writes meanwhile: rows that are compared with
    /// each other must not be of two states. Also cheaper for many questions, each of which would take the lock anew.
    pub fn at_one_moment<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        // Held until the end, and only ever read in: there is nothing to commit.
        let held = self.conn.unchecked_transaction().map_err(|error| sql_error(&error, &LAYOUT, &self.path))?;
        let answer = work(self);
        drop(held);
        answer
    }

    /// The ledger that was used with this index and how far it was; `None` before the first retraction. The hash is empty
    /// where an older recoup wrote it down.
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

    /// Whom the index belongs to.
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

    /// Several questions as of one moment, of a caller that may have asked for that already: what is compared with each other
    /// must not be of two states.
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

/// Moments are Unix milliseconds in the schema.
fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn damaged_raw() -> Error {
    Error::new(Kind::Storage, "the stored JSON of a reward is damaged")
        .hint("move the index away and run `recoup crawl`: it can be rebuilt, the ledger is a file of its own")
}
