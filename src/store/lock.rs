//! Locks between processes. The operating system releases a lock when its process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::{check_folder, create_private};
use crate::error::{Error, Kind, Result};

/// A lock file beside the database, which the operating system locks.
///
/// A lock row in the database would outlive a `kill -9`, and a process would have to guess whether its owner still runs.
#[derive(Debug)]
pub struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock `NAME.{purpose}.lock`; returns `None` if another process holds it.
    pub fn try_take(database: &Path, purpose: &str) -> Result<Option<Self>> {
        let path = lock_path(database, purpose);
        let failed = |error: std::io::Error| {
            Error::new(Kind::Storage, format!("failed to lock {}: {error}", path.display()))
                .hint("the folder of the database must be writable")
        };
        create_private(&path).map_err(failed)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Fails if this process could not take the lock even when no other process holds it. Does not create a missing lock
    /// file.
    pub fn check(database: &Path, purpose: &str) -> Result<()> {
        if lock_path(database, purpose).exists() {
            return Self::try_take(database, purpose).map(drop);
        }
        check_folder(database)
    }
}

fn lock_path(database: &Path, purpose: &str) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{purpose}.lock"));
    database.with_file_name(name)
}
