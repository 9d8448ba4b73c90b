//! Finds out by trying whether a send could write what it has to write, and takes back what it tried.

use std::path::Path;

use super::db::{Conn, Patience};
use super::{Layout, ProcessLock, index, ledger};
use crate::error::{Kind, Result};

/// Fails if the lock under which orders are sent cannot be taken, or if the ledger or the index cannot be written. A file that
/// does not exist yet is made by its first writer.
pub fn check_writable(index: &Path, ledger: &Path) -> Result<()> {
    ProcessLock::check(ledger, "send")?;
    try_to_write(ledger, &ledger::LAYOUT, Patience::Usual)?;
    match try_to_write(index, &index::LAYOUT, Patience::None) {
        // A crawl writes all the time, and a send waits for it.
        Err(error) if error.kind == Kind::Busy => Ok(()),
        tried => tried,
    }
}

fn try_to_write(path: &Path, layout: &'static Layout, patience: Patience) -> Result<()> {
    Conn::open_existing(path, layout, None, patience)?.map_or(Ok(()), |conn| conn.try_to_write())
}
