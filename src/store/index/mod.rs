//! The index: accounts, rewards, links, and the progress of a crawl.
//!
//! [`Index`] is the only writer; [`IndexReader`] answers look-ups. Each method of [`Index`] that writes uses one
//! transaction, in which it also updates the counters. `schema.sql` describes every column. This module sends no
//! request to the vendor, and deletes only accounts that a person asks to forget. If the vendor no longer lists an
//! account or a reward, this module marks it as gone.

mod accounts;
mod batch;
mod descriptors;
mod forget;
mod indexed_snapshot;
mod jobs;
mod links;
mod lookups;
mod passes;
mod prefetch;
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

use std::sync::Mutex;

use jiff::Timestamp;

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
pub use runs::{Basis, NewRun, PatternCount, Run, RunKey, RunState};
pub use sums::renew_reward_sums;
pub use tombstones::ImportedTombstones;
pub use vendor_clock::{ClockOffset, JudgedBy, JudgedNow};

use batch::Batch;
pub(super) use links::first_damage;
use raw_json::JsonCompressor;
use tombstones::Forgotten;

use super::db::{Conn, DbError, FromValue, ToValue, Tx, Value};
use super::{Identity, Layout, Place, ProcessLock};
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, ActionId, OrderId, RewardId, UserId};
use crate::store::ledger::Head;

// The write-ahead log may reach 64 MB. IDs arrive in random order, so a crawl writes pages across the whole index. With
// a log of 4 MB, SQLite's default, SQLite would copy each page dozens of times.
pub(super) const LAYOUT: Layout = Layout {
    name: "index",
    schema: include_str!("../../../schema.sql"),
    version: 1,
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

/// The open index of a writer. Several processes may open the index for writing; each waits for the others'
/// transactions.
#[derive(Debug)]
pub struct Index {
    conn: Conn,
    forgotten: Forgotten,
    compressor: JsonCompressor,
}

/// The open index of a reader. A reader sees the last committed state. Threads may share a reader.
#[derive(Debug)]
pub struct IndexReader {
    conn: Conn,
    /// The cached basis of answers, with the store's `data_version` at the time of caching. recoup caches the basis,
    /// because every answer needs it and few commits change it.
    basis: Mutex<Option<(i64, Basis)>>,
}

impl Index {
    /// Opens the index for writing; creates it if it is missing.
    pub fn open(place: impl Into<Place>, identity: &Identity) -> Result<Self> {
        let conn = Conn::open(&place.into(), &LAYOUT, identity)?;
        let compressor = JsonCompressor::new()
            .map_err(|error| Error::new(Kind::Failed, format!("zstd failed to start: {error}")))?;
        Ok(Self { conn, forgotten: Forgotten::default(), compressor })
    }

    /// Lets this process write the index only while it holds `lock`. A crawl on a PostgreSQL server that was silent for
    /// too long cannot commit after another crawl has taken over.
    pub fn fence(&self, lock: &ProcessLock) {
        if let Some(lock) = lock.server() {
            self.conn.fence(lock);
        }
    }

    /// Runs `work` in one write transaction with the tombstones, and then writes the counters and checksums of the
    /// batch.
    fn write_batch<T>(&mut self, mut work: impl FnMut(&mut Batch<'_>) -> Result<T, DbError>) -> Result<T> {
        // The cache of tombstones is kept only after a commit, because a failed attempt may have added tombstones that
        // its rollback removed.
        let mut cached = Some(std::mem::take(&mut self.forgotten));
        let compressor = &mut self.compressor;
        let (value, forgotten) = self.conn.write(|tx| {
            let mut forgotten = cached.take().unwrap_or_default();
            forgotten.refresh(tx)?;
            let mut batch = Batch::new(tx, forgotten, compressor);
            let value = work(&mut batch)?;
            let Batch { counters, link_sums, forgotten, .. } = batch;
            counters.write(tx)?;
            link_sums.write(tx)?;
            Ok((value, forgotten))
        })?;
        self.forgotten = forgotten;
        Ok(value)
    }

    /// Records the ledger that this index is used with, and the ledger's newest event. Refuses another ledger. The
    /// record later reveals an older copy of the same ledger, from which recoup could send orders twice. Therefore the
    /// record of the ledger in the index must be as durable as the ledger. While a process reads the index, the record
    /// may stay out of the index's main file. A copy of the main files of index and ledger without this record is still
    /// safe, because the ledger's own file records every send.
    pub fn remember_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        let kept: String = self.conn.write_durably(|tx| {
            tx.run(
                "INSERT INTO identity (key, value) VALUES ('ledger_id', ?1) ON CONFLICT (key) DO NOTHING",
                &[&ledger_id],
            )?;
            let kept: String = tx.one(VALUE_OF, &[&"ledger_id"], |row| row.get(0))?;
            if kept == ledger_id && known_sequence(tx)?.is_none_or(|known| known < head.sequence) {
                tx.run(SET_VALUE, &[&"ledger_head", &format!("{} {}", head.sequence, head.hash)])?;
            }
            Ok(kept)
        })?;
        if kept == ledger_id {
            return Ok(());
        }
        Err(Error::new(Kind::Identity, "this is another ledger than the one that was used with this index")
            .hint("name the right one with RECOUP_LEDGER; nothing was sent"))
    }

    /// Replaces the recorded ledger, after a person has accepted another ledger or an older copy of it.
    pub fn adopt_ledger(&mut self, ledger_id: &str, head: &Head) -> Result<()> {
        self.conn.write_durably(|tx| {
            tx.run(SET_VALUE, &[&"ledger_id", &ledger_id])?;
            tx.run(SET_VALUE, &[&"ledger_head", &format!("{} {}", head.sequence, head.hash)]).map(drop)
        })
    }
}

impl IndexReader {
    /// Opens the index for reading; returns `None` if there is no index yet.
    pub fn open(place: impl Into<Place>, identity: Option<&Identity>) -> Result<Option<Self>> {
        let conn = Conn::open_read_only(&place.into(), &LAYOUT, identity)?;
        Ok(conn.map(|conn| Self { conn, basis: Mutex::default() }))
    }

    /// Returns whether there is an index at this place.
    ///
    /// # Errors
    /// [`Kind::Storage`] if this process cannot find out, which must not read as *no index*.
    pub fn exists(place: &Place) -> Result<bool> {
        Conn::exists(place, &LAYOUT)
    }

    /// Runs `work` on one state of the index, even if a crawl writes meanwhile. Several queries in one `work` take the
    /// read lock only once, so they are faster.
    pub fn at_one_moment<T>(&self, mut work: impl FnMut(&Self) -> Result<T>) -> Result<T> {
        self.conn.read(|_joined| Ok(work(self)?))
    }

    /// Returns the recorded ledger and its newest event at the time of the record; `None` before the first retraction.
    /// The hash of the newest event is empty if the ledger had no event.
    pub fn ledger(&self) -> Result<Option<(String, Head)>> {
        self.conn.read(|tx| {
            let value = |key: &str| tx.opt(VALUE_OF, &[&key], |row| row.get::<String>(0));
            let text = value("ledger_head")?.unwrap_or_default();
            let (sequence, hash) = text.split_once(' ').unwrap_or((&text, ""));
            let head = Head { sequence: sequence.parse().unwrap_or(0), hash: hash.to_owned() };
            Ok(value("ledger_id")?.map(|id| (id, head)))
        })
    }

    /// Returns the tenant that the index belongs to.
    pub fn identity(&self) -> Result<Identity> {
        self.conn.read(|tx| {
            let value = |key: &str| tx.one(VALUE_OF, &[&key], |row| row.get(0));
            Ok(Identity {
                tenant: value("tenant")?,
                account_sid: value("account_sid")?,
                advocate_url: value("advocate_url")?,
                brand_url: value("brand_url")?,
            })
        })
    }
}

/// Converts Unix milliseconds to a time. Converts an invalid value to the epoch.
fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn damaged_raw() -> Error {
    Error::new(Kind::Storage, "the stored JSON of a reward is damaged")
        .hint("move the index away and run `recoup crawl`: it can be rebuilt, the ledger is a file of its own")
}

const VALUE_OF: &str = "SELECT value FROM identity WHERE key = ?1";

const SET_VALUE: &str =
    "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Returns the number of the newest recorded ledger event; `None` before the first record.
fn known_sequence(tx: &Tx<'_>) -> Result<Option<i64>, DbError> {
    let text: Option<String> = tx.opt(VALUE_OF, &[&"ledger_head"], |row| row.get(0))?;
    Ok(text.map(|text| text.split(' ').next().and_then(|sequence| sequence.parse().ok()).unwrap_or(0)))
}

/// Returns the ID of the ledger that was used with this index; `None` before the first use.
pub(in crate::store) fn ledger_id_of(tx: &Tx<'_>) -> Result<Option<String>, DbError> {
    tx.opt(VALUE_OF, &[&"ledger_id"], |row| row.get(0))
}

/// SQLite stores an ID as its exact text.
macro_rules! text_columns {
    ($($name:ident),*) => {$(
        impl ToValue for $name {
            fn to_value(&self) -> Value<'_> {
                Value::Text(self.as_str())
            }
        }

        impl FromValue<'_> for $name {
            fn from_value(value: Value<'_>) -> Option<Self> {
                <&str>::from_value(value).map(Self::new)
            }
        }
    )*};
}

text_columns!(OrderId, ActionId, AccountId, UserId, RewardId);
