//! Makes a consistent copy of a database file while other processes write to it.
//!
//! `VACUUM INTO` reads one state of the file in one read transaction. Therefore a crawl can continue to write, and the
//! copy has no deleted rows. recoup checks every copy. recoup marks a copy of the ledger, because a restored ledger
//! could repeat requests that were sent after the backup. Making a copy never changes the original file.

use std::path::Path;

use jiff::Timestamp;

use super::db::{Checks, Conn, DbError, Patience};
use super::ledger::{Audit, CopyOf, Ledger};
use super::store_file::StoreFile;
use super::{Layout, check_length, index, ledger};
use crate::error::{Error, Kind, Result};

impl StoreFile {
    /// Returns the approximate size of a database's copy, in bytes.
    pub fn size(&self) -> Result<u64> {
        self.0.size()
    }

    /// Copies one state of the database file into an empty file.
    pub fn copy_to(&self, copy: &Path) -> Result<()> {
        let name = copy.to_str().ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} is not UTF-8", copy.display())).hint("name another folder")
        })?;
        check_length(copy, &format!("copy of the {}", self.0.layout().name), "the folder of the backup")?;
        self.0.copy_into(name).map_err(|error| self.not_copied(error, copy))
    }

    /// Converts a failed copy to an error about the target folder or the original file.
    fn not_copied(&self, error: DbError, copy: &Path) -> Error {
        let (name, folder) = (self.0.layout().name, copy.parent().unwrap_or(copy).display());
        match error {
            DbError::Interrupted => Error::new(Kind::Interrupted, "interrupted; no incomplete copy was left"),
            DbError::Full(_) => Error::new(
                Kind::Storage,
                format!("the copy of the {name} cannot be written: {folder} is full; no incomplete copy was left"),
            )
            .hint("make room there, or keep fewer backups with --keep N"),
            DbError::ReadOnly(cause) | DbError::Io(cause) => {
                Error::new(Kind::Storage, format!("the {name} cannot be copied to {folder} ({cause})"))
                    .hint("name a folder that can be written to and has room; no incomplete copy was left")
            }
            other => self.0.failed(other),
        }
    }
}

/// Marks a copy of a ledger, and verifies its chain. A copy of a copy keeps the first mark, because it lacks everything
/// that was sent after the first copy.
pub fn mark_ledger(copy: &Path, at: Timestamp) -> Result<Audit> {
    let conn = check(copy, &ledger::LAYOUT, Checks::All)?;
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
    conn.write(|tx| {
        let mark = "INSERT INTO identity (key, value) VALUES ('copy_of', ?1) ON CONFLICT (key) DO NOTHING";
        tx.run(mark, &[&text])
    })?;
    Ok(audit)
}

/// Checks the copy of an index. The check skips the comparison of rows with SQLite's indexes, because the comparison
/// would take as long as the copy, and the rows can be crawled again.
pub fn check_index(copy: &Path) -> Result<()> {
    check(copy, &index::LAYOUT, Checks::WithoutIndexes).map(drop)
}

fn check(copy: &Path, layout: &'static Layout, checks: Checks) -> Result<Conn> {
    let conn = Conn::open_existing(&copy.into(), layout, None, Patience::Usual)?
        .ok_or_else(|| damaged(copy, layout.name, "it is empty"))?;
    match conn.read(|tx| tx.first_damage(checks))? {
        None => Ok(conn),
        Some(finding) => Err(damaged(copy, layout.name, &finding)),
    }
}

fn damaged(copy: &Path, name: &str, what: &str) -> Error {
    let folder = copy.parent().unwrap_or(copy).display();
    Error::new(Kind::Storage, format!("the copy of the {name} in {folder} is damaged: {what}"))
        .hint("it was not kept; run `recoup doctor`, and keep the backups that you have")
}
