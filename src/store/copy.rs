//! A consistent copy of a file that others write to meanwhile.
//!
//! `VACUUM INTO` reads one moment of the file in one read transaction, so a crawl goes on writing beside it, and what was
//! deleted is not copied. A copy is checked before anybody may rely on it, and the ledger's is marked, because sending from a
//! restored ledger could send again what was sent since. This module must never change the file that it copies.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::ledger::{Audit, CopyOf, Ledger};
use super::soundness::first_finding;
use super::whole::Whole;
use super::{Layout, be_patient, check_length, index, ledger, open_as_it_is, sql_error};
use crate::error::{Error, Kind, Result};

impl Whole {
    /// About how large the copy will be, in bytes.
    pub fn size(&self) -> Result<u64> {
        let size = "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let size: i64 = self.conn.query_row(size, [], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        Ok(size.unsigned_abs())
    }

    /// Copies one moment of the file into an empty one.
    pub fn copy_to(&self, copy: &Path) -> Result<()> {
        let name = copy.to_str().ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} is not UTF-8", copy.display())).hint("name another folder")
        })?;
        check_length(copy, &format!("copy of the {}", self.layout.name), "the folder of the backup")?;
        self.conn.execute("VACUUM INTO ?1", [name]).map(drop).map_err(|error| self.not_written(&error, copy))
    }

    /// Whether the file itself is to blame, or the place of the copy.
    fn not_written(&self, error: &rusqlite::Error, copy: &Path) -> Error {
        use rusqlite::ErrorCode::{
            CannotOpen, DiskFull, OperationInterrupted, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let folder = copy.parent().unwrap_or(copy).display();
        match error.sqlite_error_code() {
            Some(OperationInterrupted) => Error::new(Kind::Interrupted, "interrupted; nothing half-written was left"),
            Some(DiskFull) => Error::new(
                Kind::Storage,
                format!(
                    "the copy of the {} cannot be written: {folder} is full; nothing half-written was left",
                    self.layout.name
                ),
            )
            .hint("make room there, or let go of older backups with --keep N"),
            Some(ReadOnly | CannotOpen | PermissionDenied | SystemIoFailure) => {
                Error::new(Kind::Storage, format!("the {} cannot be copied to {folder} ({error})", self.layout.name))
                    .hint("name a folder that can be written to and has room; nothing half-written was left")
            }
            _ => self.failed(error),
        }
    }
}

/// Marks a copy of a ledger, and computes its chain again. The mark of a copy of a copy is that of the first: what was sent
/// since then is what nobody here knows.
pub fn mark_ledger(copy: &Path, at: Timestamp) -> Result<Audit> {
    check(copy, &ledger::LAYOUT, "integrity_check")?;
    let ledger =
        Ledger::open_read_only(copy, None)?.ok_or_else(|| damaged(copy, ledger::LAYOUT.name, "it is empty"))?;
    let audit = ledger.audit(None)?;
    drop(ledger);
    let of = CopyOf {
        ledger_id: audit.ledger_id.clone(),
        sequence: audit.head.sequence,
        hash: audit.head.hash.clone(),
        at: format!("{at:.3}"),
    };
    let text = serde_json::to_string(&of)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to write the mark of a copy: {error}")))?;
    let conn = open(copy, &ledger::LAYOUT)?;
    let mark = "INSERT INTO identity (key, value) VALUES ('copy_of', ?1) ON CONFLICT DO NOTHING";
    conn.execute(mark, params![text]).map_err(|error| sql_error(&error, &ledger::LAYOUT, copy))?;
    Ok(audit)
}

/// Checks the copy of an index. Its rows can be read again from the vendor, so their order in SQLite's own indexes is not
/// compared with them one by one, which would take as long as the copy.
pub fn check_index(copy: &Path) -> Result<()> {
    check(copy, &index::LAYOUT, "quick_check")
}

fn check(copy: &Path, layout: &Layout, pragma: &str) -> Result<()> {
    let conn = open(copy, layout)?;
    let finding = first_finding(&conn, pragma).map_err(|error| sql_error(&error, layout, copy))?;
    finding.map_or(Ok(()), |finding| Err(damaged(copy, layout.name, &finding)))
}

fn open(copy: &Path, layout: &Layout) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = open_as_it_is(copy, flags).map_err(|error| sql_error(&error, layout, copy))?;
    be_patient(&mut conn).map_err(|error| sql_error(&error, layout, copy))?;
    Ok(conn)
}

fn damaged(copy: &Path, name: &str, what: &str) -> Error {
    Error::new(Kind::Storage, format!("the copy of the {name} in {} is not sound: {what}", folder(copy)))
        .hint("it was not kept; run `recoup doctor`, and keep the backups that you have")
}

fn folder(copy: &Path) -> String {
    copy.parent().unwrap_or(copy).display().to_string()
}
