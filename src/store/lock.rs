//! Locks between processes. The operating system releases the lock of a file when its process ends. A lock on a
//! PostgreSQL server expires if its process ends without releasing the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::db::{DbError, Place, Server, ServerLock};
use super::{Layout, check_folder, create_private, index, ledger};
use crate::error::{Error, Kind, Result};

/// A lock between processes: a lock file beside the database, or a row on the PostgreSQL server that the process
/// renews.
///
/// The row of a lock stays after a `kill -9`, so another process can take the lock only when it has expired. The
/// operating system releases a lock file as soon as its process ends.
#[derive(Debug)]
pub struct ProcessLock(Held);

#[derive(Debug)]
enum Held {
    File { _file: File },
    Server(Box<ServerLock>),
}

impl ProcessLock {
    /// Takes the lock `NAME.{purpose}.lock`. Returns `None` if another process holds the lock.
    pub fn try_take(place: impl Into<Place>, purpose: &str) -> Result<Option<Self>> {
        match place.into() {
            Place::File(path) => Self::take_file(&path, purpose),
            Place::Server(server) => {
                let layout = layout_of(purpose);
                let taken = ServerLock::try_take(&server, layout, purpose);
                let taken = taken.map_err(|error| error.of(layout, &Place::Server(server)))?;
                Ok(taken.map(|lock| Self(Held::Server(Box::new(lock)))))
            }
        }
    }

    fn take_file(database: &Path, purpose: &str) -> Result<Option<Self>> {
        let path = lock_path(database, purpose);
        let failed = |error: std::io::Error| {
            Error::new(Kind::Storage, format!("failed to lock {}: {error}", path.display()))
                .hint("the folder of the database must be writable")
        };
        create_private(&path).map_err(failed)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Held::File { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Fails if this process could not take the lock even when no other process holds it. The check does not create a
    /// missing lock file.
    pub fn check(place: &Place, purpose: &str) -> Result<()> {
        // On a PostgreSQL server, the check of the tables shows whether this process can write.
        let Place::File(database) = place else { return Ok(()) };
        if lock_path(database, purpose).exists() {
            return Self::take_file(database, purpose).map(drop);
        }
        check_folder(database)
    }

    /// Returns `true` if no process holds the lock.
    pub fn is_free(place: &Place, purpose: &str) -> Result<bool> {
        match place {
            Place::File(path) => Ok(Self::take_file(path, purpose)?.is_some()),
            Place::Server(server) => is_free_on(server, purpose).map_err(|error| error.of(layout_of(purpose), place)),
        }
    }

    /// Fails if this process may no longer hold the lock, or not for long enough to send a request. A lock file stays
    /// locked as long as the process runs.
    pub fn check_held(&self) -> Result<()> {
        match &self.0 {
            Held::Server(lock) if !lock.is_held() => Err(Error::new(
                Kind::Busy,
                "this process was silent for so long that another one may have taken over; nothing was sent",
            )
            .hint("run `recoup verify` to see the state, then repeat the command")),
            _ => Ok(()),
        }
    }

    /// Returns the lock on a PostgreSQL server; `None` for a lock file.
    pub(super) fn server(&self) -> Option<&ServerLock> {
        match &self.0 {
            Held::Server(lock) => Some(lock),
            Held::File { .. } => None,
        }
    }
}

fn is_free_on(server: &Arc<Server>, purpose: &str) -> std::result::Result<bool, DbError> {
    ServerLock::is_free(server, layout_of(purpose), purpose)
}

/// Returns the store whose schema contains the table of locks.
fn layout_of(purpose: &str) -> &'static Layout {
    if purpose == "crawl" || purpose.starts_with("job-") { &index::LAYOUT } else { &ledger::LAYOUT }
}

fn lock_path(database: &Path, purpose: &str) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{purpose}.lock"));
    database.with_file_name(name)
}
