//! The executor: the only module that runs SQL.
//!
//! A store passes [`Conn`] a closure over one transaction, [`Tx`], and receives the closure's value or the user's
//! error. A closure must have no effect outside its transaction, because [`Conn`] retries a transaction that collides
//! with another one. recoup's SQL uses the common subset of SQLite and PostgreSQL, with parameters as `?1`. Only this
//! module uses the drivers of both engines. An operation that only a file needs (checkpoint, `VACUUM`, interrupt) is a
//! method of [`Conn`]. The comment of each method describes its effect on a PostgreSQL server.

mod bulk;
mod error;
mod file;
mod open;
mod place;
mod postgres;
mod sqlite;
mod tables;
#[cfg(test)]
mod tests;
mod tx;
mod value;

use std::time::Duration;

use super::transfer::refuse_moved;
use super::{Identity, Layout};
use crate::error::{Error, Kind, Result};
use open::{open_reader, open_writer};

pub(super) use bulk::{Bulk, Column, Keys, Kind as ColumnKind};
pub(super) use error::{DbError, damaged};
pub(super) use file::create_private;
pub use place::Place;
pub(super) use postgres::ServerLock;
pub use postgres::{Server, ServerFacts, TableSize};
#[cfg(test)]
pub(super) use rusqlite::Connection as RawConnection;
pub(super) use tables::{Table, bytes_of, push_row, tables};
pub(super) use tx::{Checks, Row, Tx};
pub(super) use value::{FromValue, ToValue, Value};

/// The pause between two attempts to lock a file that another process is writing to.
const BUSY_POLL: Duration = Duration::from_millis(1);

/// How long a transaction waits for another writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The default time limit, which is longer than the largest commit of a crawl.
    Usual,
    /// The time limit of a transaction that leases requests of the quota.
    Brief,
    /// Fails without waiting if another process holds the write lock.
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

/// An open store. Threads share one `Conn`; a mutex serialises their access. The mutex is reentrant, so that several
/// reads can join one read transaction.
#[derive(Debug)]
pub(super) struct Conn {
    place: Place,
    layout: &'static Layout,
    patience: Patience,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Sqlite(sqlite::File),
    Postgres(postgres::Session),
}

impl Conn {
    /// Opens a store for writing; creates a missing store. A new file is readable only by its owner. Refuses a store that has
    /// moved, and the incomplete destination of a move.
    pub fn open(place: &Place, layout: &'static Layout, identity: &Identity) -> Result<Self> {
        Self::open_any(place, layout, identity)?.if_not_moved()
    }

    /// As [`Conn::open`], also for a store that has moved and for the destination of a move.
    pub fn open_any(place: &Place, layout: &'static Layout, identity: &Identity) -> Result<Self> {
        let engine = match place {
            Place::File(path) => file_engine(open_writer(path, layout, identity)?),
            Place::Server(server) => {
                let session = postgres::Session::open_writer(server, layout, identity);
                Engine::Postgres(session.map_err(|error| failed_to_open(error, layout, place))?)
            }
        };
        Ok(Self::over(engine, place, layout, Patience::Usual))
    }

    /// Opens a store for reading; returns `None` if it does not exist yet. Compares the store's owner with `identity`
    /// if `identity` is `Some`.
    pub fn open_read_only(place: &Place, layout: &'static Layout, identity: Option<&Identity>) -> Result<Option<Self>> {
        let engine = match place {
            Place::File(path) => open_reader(path, layout, identity)?.map(file_engine),
            Place::Server(server) => {
                let session = postgres::Session::open_existing(server, layout, identity);
                session.map_err(|error| failed_to_open(error, layout, place))?.map(Engine::Postgres)
            }
        };
        engine.map(|engine| Self::over(engine, place, layout, Patience::Usual).if_not_moved()).transpose()
    }

    /// Opens an existing store for writing; returns `None` if the store does not exist yet.
    pub fn open_existing(
        place: &Place,
        layout: &'static Layout,
        identity: Option<&Identity>,
        patience: Patience,
    ) -> Result<Option<Self>> {
        let conn = Self::open_existing_any(place, layout, identity, patience)?;
        conn.map(Self::if_not_moved).transpose()
    }

    /// Opens an existing store for writing, also one that has moved and the destination of a move; returns `None` if the store does
    /// not exist yet.
    pub fn open_existing_any(
        place: &Place,
        layout: &'static Layout,
        identity: Option<&Identity>,
        patience: Patience,
    ) -> Result<Option<Self>> {
        let engine = match place {
            Place::File(path) => open::open_existing(path, layout, identity, patience)?.map(file_engine),
            Place::Server(server) => {
                let session = postgres::Session::open_existing(server, layout, identity);
                session.map_err(|error| failed_to_open(error, layout, place))?.map(Engine::Postgres)
            }
        };
        Ok(engine.map(|engine| Self::over(engine, place, layout, patience)))
    }

    fn if_not_moved(self) -> Result<Self> {
        self.read(refuse_moved)?;
        Ok(self)
    }

    /// Returns whether there is a store. Of a file, checks only that it is there.
    pub fn exists(place: &Place, layout: &'static Layout) -> Result<bool> {
        match place {
            Place::File(path) => open::exists(path, layout),
            Place::Server(_) => Ok(Self::open_read_only(place, layout, None)?.is_some()),
        }
    }

    fn over(engine: Engine, place: &Place, layout: &'static Layout, patience: Patience) -> Self {
        Self { place: place.clone(), layout, patience, engine }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Runs `work` on one state of the store. A read inside another read of the same thread sees the same state.
    pub fn read<T>(&self, work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        let done = match &self.engine {
            Engine::Sqlite(file) => file.read(self.patience, work),
            Engine::Postgres(session) => session.read(self.patience, work),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Runs `work` in one write transaction, which commits all changes or none. No other process writes between the
    /// start of the closure and the commit. An error means that nothing was committed. The error for a connection that
    /// was lost at the commit is an exception, because the outcome of the commit is unknown.
    pub fn write<T>(&self, work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        let done = match &self.engine {
            Engine::Sqlite(file) => file.write(self.patience, work),
            Engine::Postgres(session) => session.write(self.patience, work),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Runs `work` in one write transaction that survives a power cut. SQLite also copies the commit into the main
    /// file; if a reader prevents the copy, the commit stays in the write-ahead log. On a PostgreSQL server every
    /// commit is durable.
    pub fn write_durably<T>(&self, work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        match &self.engine {
            Engine::Sqlite(file) => {
                let written = file.write_durably(self.patience, self.layout.synchronous, work);
                written.map_err(|error| self.failed(error))
            }
            Engine::Postgres(_) => self.write(work),
        }
    }

    /// Copies commits from the write-ahead log into the main file, without waiting for readers. Ignores a failure,
    /// because the commits stay in the log and the next checkpoint copies them. A checkpoint does nothing on a
    /// PostgreSQL server.
    pub fn checkpoint(&self) {
        if let Engine::Sqlite(file) = &self.engine {
            file.checkpoint();
        }
    }

    /// Copies every commit into the main file and syncs it to the disk. Returns `false` if a reader of an older state
    /// blocked the checkpoint for too long. On a PostgreSQL server, every commit is already durable.
    pub fn checkpoint_fully(&self) -> Result<bool> {
        match &self.engine {
            Engine::Sqlite(file) => file.checkpoint_fully().map_err(|error| self.failed(error)),
            Engine::Postgres(_) => Ok(true),
        }
    }

    /// Makes SQLite overwrite everything that this connection deletes from now on. On a PostgreSQL server,
    /// [`Conn::rewrite`] removes deleted data.
    pub fn overwrite_deleted(&self) -> Result<()> {
        match &self.engine {
            Engine::Sqlite(file) => file.overwrite_deleted().map_err(|error| self.failed(error)),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Rewrites the store without deleted data. With SQLite, also empties the write-ahead log. The archives and backups
    /// of a PostgreSQL server keep the deleted data.
    pub fn rewrite(&self) -> Result<()> {
        let done = match &self.engine {
            Engine::Sqlite(file) => file.rewrite(self.patience),
            Engine::Postgres(session) => session.rewrite(),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Returns the approximate size of a copy of the store, in bytes.
    pub fn size(&self) -> Result<u64> {
        let size = match &self.engine {
            Engine::Sqlite(_) => {
                "SELECT (page_count - freelist_count) * page_size
                 FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
            }
            Engine::Postgres(_) => {
                "SELECT CAST(coalesce(sum(pg_total_relation_size(oid)), 0) AS BIGINT) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
            }
        };
        self.read(|tx| tx.one(size, &[], |row| row.get(0)))
    }

    /// Copies one state of the store into an empty file, without deleted data. Other processes may write to the store
    /// during the copy. Refuses a store on a PostgreSQL server.
    pub fn copy_into(&self, copy: &str) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite(file) => file.copy_into(copy),
            Engine::Postgres(_) => Err(no_files(&self.place).into()),
        }
    }

    /// Returns a function that interrupts this connection's current statement from another thread.
    pub fn interrupter(&self) -> Box<dyn Fn() + Send + Sync> {
        match &self.engine {
            Engine::Sqlite(file) => {
                let handle = file.interrupt_handle();
                Box::new(move || handle.interrupt())
            }
            Engine::Postgres(session) => Box::new(session.interrupter()),
        }
    }

    /// Tests whether the store is writable: takes the write lock, writes, and rolls back. A check of file modes is not
    /// enough: root ignores them, and they show neither a read-only mount nor a standby server.
    pub fn try_to_write(&self) -> Result<()> {
        let tried = match &self.engine {
            Engine::Sqlite(file) => file.try_to_write(self.patience),
            Engine::Postgres(session) => session.try_to_write(self.patience),
        };
        tried.map_err(|error| self.failed(error))
    }

    /// Lets this connection write only while the process still holds `lock`. Has no effect on a file, because the
    /// operating system holds the lock of a file until the process ends.
    pub fn fence(&self, lock: &ServerLock) {
        if let Engine::Postgres(session) = &self.engine {
            session.fence(lock);
        }
    }

    /// Converts an error of this store to the user's error.
    pub fn failed(&self, error: DbError) -> Error {
        error.of(self.layout, &self.place)
    }

    /// Returns the SQLite driver's connection, for tests that need operations outside this interface.
    #[cfg(test)]
    pub fn raw(&self) -> parking_lot::ReentrantMutexGuard<'_, rusqlite::Connection> {
        match &self.engine {
            Engine::Sqlite(file) => file.lock(),
            Engine::Postgres(_) => panic!("this test needs a file"),
        }
    }
}

fn file_engine(conn: rusqlite::Connection) -> Engine {
    Engine::Sqlite(sqlite::File::new(conn))
}

/// Converts a failure to open the store at `place` to the user's error.
fn failed_to_open(error: DbError, layout: &Layout, place: &Place) -> Error {
    match error {
        DbError::Ours(error) => error.context(place),
        other => other.of(layout, place),
    }
}

/// Returns the error of an operation that only files support.
pub fn no_files(place: &Place) -> Error {
    Error::new(Kind::Usage, format!("the stores are on a PostgreSQL server ({place}), and only files can be copied"))
        .hint("use the server's own backups: snapshots with point-in-time recovery, or pg_dump")
}
