//! Whether a send could write what it has to write, found out by trying: file modes say little to root, and nothing of a file
//! system that is mounted read-only. Whatever is tried here is taken back.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{OpenFlags, TransactionBehavior};

use super::file::{check_file, open_as_it_is};
use super::{Layout, ProcessLock, be_patient, index, ledger, sql_error};
use crate::error::{Kind, Result};

/// Fails if the lock under which orders are sent cannot be taken, or if the ledger or the index cannot be written. A file that is
/// not there yet is made by who needs it.
pub fn check_writable(index: &Path, ledger: &Path) -> Result<()> {
    ProcessLock::check(ledger, "send")?;
    try_to_write(ledger, &ledger::LAYOUT, true)?;
    match try_to_write(index, &index::LAYOUT, false) {
        // A crawl writes all the time, and a send waits for it.
        Err(error) if error.kind == Kind::Busy => Ok(()),
        tried => tried,
    }
}

fn try_to_write(path: &Path, layout: &Layout, waits: bool) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    check_file(path, layout)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let tried = open_as_it_is(path, flags).and_then(|mut conn| {
        if waits {
            be_patient(&mut conn)?;
        } else {
            conn.busy_timeout(Duration::ZERO)?;
        }
        // Whoever writes in earnest copies the log into the file.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute("UPDATE identity SET value = value", [])?;
        tx.rollback()
    });
    tried.map_err(|error| sql_error(&error, layout, path))
}
