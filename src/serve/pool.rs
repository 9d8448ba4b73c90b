//! Open files, kept for the next request: opening one costs more than most questions.
//!
//! A file that was replaced on the disk (an index that was deleted and built again, a ledger that was restored) is opened anew.
//! Nothing here may hand out a connection to a file that is no longer at its path.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Connections that are kept at most.
const KEPT: usize = 16;

/// What tells one file from another at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileKey(u64, u64);

/// How a file is opened; `None` where it is not there yet.
type Open<T> = Box<dyn Fn(&Path) -> Result<Option<T>> + Send + Sync>;

/// Open files of one kind at one path.
pub(super) struct Pool<T> {
    path: PathBuf,
    open: Open<T>,
    idle: Mutex<Vec<(FileKey, T)>>,
}

impl<T> Pool<T> {
    /// A pool over one path; nothing is opened yet.
    pub(super) fn new(path: PathBuf, open: impl Fn(&Path) -> Result<Option<T>> + Send + Sync + 'static) -> Self {
        Self { path, open: Box::new(open), idle: Mutex::default() }
    }

    /// Does something with an open file; `None` is what there is where the file is not there yet.
    pub(super) fn with<R>(&self, work: impl FnOnce(Option<&mut T>) -> Result<R>) -> Result<R> {
        let key = file_key(&self.path);
        let mut one = match key.and_then(|key| self.take(key)) {
            Some(kept) => Some(kept),
            None => (self.open)(&self.path)?,
        };
        let answer = work(one.as_mut());
        // One that has failed may be broken, and is not kept.
        if let (Ok(_), Some(one), Some(key)) = (&answer, one, file_key(&self.path).filter(|now| Some(*now) == key)) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push((key, one));
            }
        }
        answer
    }

    fn take(&self, key: FileKey) -> Option<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.last().is_some_and(|(kept, _)| *kept != key) {
            idle.clear();
        }
        idle.pop().map(|(_, one)| one)
    }
}

#[cfg(unix)]
fn file_key(path: &Path) -> Option<FileKey> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some(FileKey(found.dev(), found.ino()))
}

/// Where files have no such numbers nothing is kept.
#[cfg(not(unix))]
fn file_key(_path: &Path) -> Option<FileKey> {
    None
}
