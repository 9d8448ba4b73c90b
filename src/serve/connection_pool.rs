//! A pool of open connections to one store. Opening a store costs more time than most queries.
//!
//! The pool notices a replaced file, such as a rebuilt index or a restored ledger, and opens the new file. The pool
//! never returns a connection to a file that is no longer at its path.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::store::Place;

/// Maximum number of idle connections in a pool.
const IDLE_AT_MOST: usize = 16;

/// The device and inode number of a file, which distinguish the file from another file that has replaced it at the same
/// path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileKey(u64, u64);

/// The function that opens the store, or returns `None` if the store does not exist yet.
type Open<T> = Box<dyn Fn(&Place) -> Result<Option<T>> + Send + Sync>;

pub(super) struct ConnectionPool<T> {
    place: Place,
    open: Open<T>,
    idle: Mutex<Vec<(FileKey, T)>>,
}

impl<T> ConnectionPool<T> {
    pub(super) fn new(place: Place, open: impl Fn(&Place) -> Result<Option<T>> + Send + Sync + 'static) -> Self {
        Self { place, open: Box::new(open), idle: Mutex::default() }
    }

    /// Calls `work` with a connection, or with `None` if the store does not exist yet.
    pub(super) fn with<R>(&self, work: impl FnOnce(Option<&mut T>) -> Result<R>) -> Result<R> {
        let key = key_of(&self.place);
        let mut connection = match key.and_then(|key| self.take_idle(key)) {
            Some(idle) => Some(idle),
            None => (self.open)(&self.place)?,
        };
        let result = work(connection.as_mut());
        // A connection is closed after an error, because it may be broken.
        if let (Ok(_), Some(connection), Some(key)) =
            (&result, connection, key_of(&self.place).filter(|now| Some(*now) == key))
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_AT_MOST {
                idle.push((key, connection));
            }
        }
        result
    }

    fn take_idle(&self, key: FileKey) -> Option<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.last().is_some_and(|(kept, _)| *kept != key) {
            idle.clear();
        }
        idle.pop().map(|(_, connection)| connection)
    }
}

/// Returns the key of a store's file. Every store on a PostgreSQL server has the same key, because a connection to a
/// server notices itself if another store has replaced its own.
fn key_of(place: &Place) -> Option<FileKey> {
    place.path().map_or(Some(FileKey(0, 0)), file_key)
}

#[cfg(unix)]
fn file_key(path: &Path) -> Option<FileKey> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some(FileKey(found.dev(), found.ino()))
}

/// Returns `None`, so that the pool reuses no connection, because without inode numbers it cannot detect a replaced
/// file.
#[cfg(not(unix))]
fn file_key(_path: &Path) -> Option<FileKey> {
    None
}
