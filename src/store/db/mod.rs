//! The executor: the only module that runs SQL.
//!
//! A store passes [`Conn`] a closure over one transaction, [`Tx`], and receives the closure's value or the user's error. A
//! closure must have no effect outside its transaction, because [`Conn`] retries a transaction that collides with another one.
//! SQL uses the common subset of SQLite and PostgreSQL, with parameters as `?1`. SQLite is currently the only engine, and only
//! this module uses its driver. Operations that only SQLite has (checkpoint, `VACUUM`, interrupt) are methods of [`Conn`].

mod error;
mod file;
mod open;
mod sqlite;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use rusqlite::{Transaction, TransactionBehavior};

use super::{Identity, Layout};
use crate::error::{Error, Result};
use open::{open_reader, open_writer};

pub(super) use error::{DbError, damaged};
pub(super) use file::create_private;
#[cfg(test)]
pub(super) use rusqlite::Connection as RawConnection;
pub(super) use sqlite::{Checks, Row, Tx};
pub(super) use value::{FromValue, ToValue, Value};

/// The pause between two attempts to lock a file that another process is writing to.
const BUSY_POLL: Duration = Duration::from_millis(1);

/// The size of a connection's statement cache: larger than the number of statements of any store.
const STATEMENTS_KEPT: usize = 128;

/// The location of a store. A schema on a database server is planned as a second kind of location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A SQLite file.
    File(PathBuf),
}

impl Place {
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// How long a transaction waits for another writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The default limit, which is longer than the largest commit of a crawl.
    Usual,
    /// The limit for a transaction that leases requests.
    Brief,
    /// Fails at once if another process holds the write lock.
    None,
}

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Self::Usual => Duration::from_secs(10),
            Self::Brief => Duration::from_millis(500),
            Self::None => Duration::ZERO,
        }
    }
}

/// An open store. Threads share one `Conn`; a mutex serialises their access. The mutex is reentrant, so that several reads
/// can join one read.
#[derive(Debug)]
pub(super) struct Conn {
    place: Place,
    layout: &'static Layout,
    patience: Patience,
    engine: ReentrantMutex<rusqlite::Connection>,
}

impl Conn {
    /// Opens a store for writing; creates a missing store, readable only by its owner.
    pub fn open(path: &Path, layout: &'static Layout, identity: &Identity) -> Result<Self> {
        Ok(Self::over(open_writer(path, layout, identity)?, path, layout, Patience::Usual))
    }

    /// Opens a store for reading; returns `None` if it does not exist yet. Compares `identity` if it is `Some`.
    pub fn open_read_only(path: &Path, layout: &'static Layout, identity: Option<&Identity>) -> Result<Option<Self>> {
        let conn = open_reader(path, layout, identity)?;
        Ok(conn.map(|conn| Self::over(conn, path, layout, Patience::Usual)))
    }

    /// Opens an existing store for writing; returns `None` if the store does not exist yet.
    pub fn open_existing(
        path: &Path,
        layout: &'static Layout,
        identity: Option<&Identity>,
        patience: Patience,
    ) -> Result<Option<Self>> {
        let conn = open::open_existing(path, layout, identity, patience)?;
        Ok(conn.map(|conn| Self::over(conn, path, layout, patience)))
    }

    fn over(conn: rusqlite::Connection, path: &Path, layout: &'static Layout, patience: Patience) -> Self {
        conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self { place: Place::File(path.to_owned()), layout, patience, engine: ReentrantMutex::new(conn) }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Runs `work` on one state of the store. A read inside another read of the same thread sees the same state.
    pub fn read<T>(&self, mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        self.repeat(|conn| {
            // A read transaction needs no commit.
            let _held = conn.is_autocommit().then(|| conn.unchecked_transaction()).transpose()?;
            work(&Tx::new(conn))
        })
    }

    /// Runs `work` in one write transaction, which commits all changes or none. No other process writes between the start of
    /// the closure and the commit.
    pub fn write<T>(&self, mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        self.repeat(|conn| {
            let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            let value = work(&Tx::new(&tx))?;
            tx.commit()?;
            Ok(value)
        })
    }

    fn repeat<T>(&self, mut attempt: impl FnMut(&rusqlite::Connection) -> Result<T, DbError>) -> Result<T> {
        let conn = self.lock();
        let mut tries = 0;
        loop {
            match attempt(&conn) {
                // `Busy` is not retried: SQLite returns it only after the busy handler has waited for this connection's limit.
                Err(DbError::Retry) if BUSY_POLL * tries < self.patience.limit() => {
                    tries += 1;
                    std::thread::park_timeout(BUSY_POLL);
                }
                done => return done.map_err(|error| self.failed(error)),
            }
        }
    }

    /// Converts an error of this store to the user's error.
    pub fn failed(&self, error: DbError) -> Error {
        error.of(self.layout, self.path())
    }

    /// Locks the connection. A thread that panics while it holds the lock drops its transaction, which rolls it back.
    fn lock(&self) -> ReentrantMutexGuard<'_, rusqlite::Connection> {
        self.engine.lock()
    }

    /// Returns the driver's connection, for tests that need operations outside this interface.
    #[cfg(test)]
    pub fn raw(&self) -> ReentrantMutexGuard<'_, rusqlite::Connection> {
        self.lock()
    }
}
