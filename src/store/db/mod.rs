//! The executor: the one place that runs SQL.
//!
//! A store gives [`Conn`] a closure over one transaction, [`Tx`], and gets its value, or an error in the user's words. A closure
//! may run more than once, because a transaction that collides with another one is repeated as a whole: it must have no effect
//! outside its transaction. SQL is written once, in what SQLite and PostgreSQL both understand, with parameters as `?1`. SQLite
//! is the one engine for now. Only this module, and the index until it follows, knows the driver.

mod error;
mod file;
mod open;
mod sqlite;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Identity, Layout};
use crate::error::{Error, Result};

pub(super) use error::{DbError, damaged, sql_error};
pub(super) use file::create_private;
pub(super) use open::{open_reader, open_writer};
#[cfg(test)]
pub(super) use rusqlite::Connection as RawConnection;
pub(super) use sqlite::{Checks, Row, Tx, rewrite};
pub(super) use value::{FromValue, ToValue, Value};

/// The pause between two attempts to get a file that another process is writing to.
const BUSY_POLL: Duration = Duration::from_millis(1);

/// Prepared statements that a connection keeps: more than any store has.
const STATEMENTS_KEPT: usize = 64;

/// Where a store is kept. A server and its schema is to be the second kind.
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
    /// As long as a crawl could need for its largest commit.
    Usual,
    /// For a lease of requests, which nobody should wait longer for.
    Brief,
    /// Not at all.
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

/// One store, open. Threads share it and take turns.
#[derive(Debug)]
pub(super) struct Conn {
    place: Place,
    layout: &'static Layout,
    patience: Patience,
    engine: Mutex<rusqlite::Connection>,
}

impl Conn {
    /// Opens a store for writing; makes it if it is missing, readable by its owner alone.
    pub fn open(path: &Path, layout: &'static Layout, identity: &Identity) -> Result<Self> {
        Ok(Self::over(open_writer(path, layout, identity)?, path, layout, Patience::Usual))
    }

    /// Opens a store for reading; `None` if nobody has made it yet. `identity` is compared if it is given.
    pub fn open_read_only(path: &Path, layout: &'static Layout, identity: Option<&Identity>) -> Result<Option<Self>> {
        let conn = open_reader(path, layout, identity)?;
        Ok(conn.map(|conn| Self::over(conn, path, layout, Patience::Usual)))
    }

    /// Opens a store for writing, but never makes it; `None` if nobody has made it yet.
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
        Self { place: Place::File(path.to_owned()), layout, patience, engine: Mutex::new(conn) }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Reads as of one moment.
    pub fn read<T>(&self, mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        self.repeat(|conn| work(&Tx::new(&*conn.unchecked_transaction()?)))
    }

    /// Writes all of it, or nothing. No other process writes between the beginning of the closure and the commit.
    pub fn write<T>(&self, mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        self.repeat(|conn| {
            let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let value = work(&Tx::new(&tx))?;
            tx.commit()?;
            Ok(value)
        })
    }

    fn repeat<T>(&self, mut attempt: impl FnMut(&mut rusqlite::Connection) -> Result<T, DbError>) -> Result<T> {
        let mut conn = self.lock();
        let mut tries = 0;
        loop {
            match attempt(&mut conn) {
                // Not on `Busy`: before SQLite says that, the busy handler has waited as long as this connection may.
                Err(DbError::Retry) if BUSY_POLL * tries < self.patience.limit() => {
                    tries += 1;
                    std::thread::park_timeout(BUSY_POLL);
                }
                done => return done.map_err(|error| self.failed(error)),
            }
        }
    }

    /// The failure of this store in the user's words.
    pub fn failed(&self, error: DbError) -> Error {
        error.of(self.layout, self.path())
    }

    /// A thread that panicked left no half of a transaction: SQLite rolls it back.
    fn lock(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver's own connection, to do in a test what the product never does.
    #[cfg(test)]
    pub fn raw(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.lock()
    }
}
