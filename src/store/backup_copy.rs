//! A consistent copy of a file that other processes write to meanwhile.
//!
//! `VACUUM INTO` reads one moment of the file in one read transaction, so a crawl goes on writing beside it, and deleted rows
//! are not copied. A copy is checked before it may be relied on. A copy of the ledger is marked, because sending from a
//! restored ledger could send again what was sent since. Nothing here changes the file that is copied.

use std::path::Path;

use jiff::Timestamp;

use super::db::{Checks, Conn, DbError, Patience};
use super::ledger::{Audit, CopyOf, Ledger};
use super::store_file::StoreFile;
use super::{Layout, check_length, index, ledger};
use crate::error::{Error, Kind, Result};

impl StoreFile {
    /// About how large the copy will be, in bytes.
    pub fn size(&self) -> Result<u64> {
        self.0.size()
    }

    /// Copies one moment of the file into an empty one.
    pub fn copy_to(&self, copy: &Path) -> Result<()> {
        let name = copy.to_str().ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} is not UTF-8", copy.display())).hint("name another folder")
        })?;
        check_length(copy, &format!("copy of the {}", self.0.layout().name), "the folder of the backup")?;
        self.0.copy_into(name).map_err(|error| self.not_copied(error, copy))
    }

    /// Tells a failure of the folder from a failure of the file.
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

/// Marks a copy of a ledger, and computes its chain again. A copy of a copy keeps the mark of the first one: nothing that was
/// sent since then is known here.
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

/// Checks the copy of an index. Its rows can be read again from the vendor, so they are not compared with SQLite's own indexes,
/// which would take as long as the copy.
pub fn check_index(copy: &Path) -> Result<()> {
    check(copy, &index::LAYOUT, Checks::WithoutIndexes).map(drop)
}

fn check(copy: &Path, layout: &'static Layout, checks: Checks) -> Result<Conn> {
    let conn = Conn::open_existing(copy, layout, None, Patience::Usual)?
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
