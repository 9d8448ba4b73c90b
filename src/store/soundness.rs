//! Whether a file is sound: SQLite's own check of its pages, and for an index that a key leads to every link.
//!
//! Others may write meanwhile: each question sees the file as of one moment. Nothing else would notice a link to which no key
//! leads: the order would be answered as if nobody had ever been rewarded for it. This module must never change the file.

use rusqlite::{Connection, ErrorCode};

use super::whole::Whole;
use super::{damaged, index};
use crate::error::{Error, Kind, Result};

impl Whole {
    /// Looks through all of it, and fails with [`Kind::Storage`] where it is not sound. Takes as long as reading the file does.
    pub fn inspect(&self) -> Result<()> {
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Error::new(Kind::Interrupted, "interrupted; nothing was changed"),
            _ => self.failed(&error),
        };
        let is_index = self.layout.name == index::LAYOUT.name;
        // The rows of an index can be read again, so SQLite's own indexes are not compared with them, which takes far longer.
        let check = if is_index { "quick_check" } else { "integrity_check" };
        if let Some(finding) = first_finding(&self.conn, check).map_err(failed)? {
            return Err(damaged(self.layout, &self.path, &finding));
        }
        if is_index && let Some(finding) = index::first_damage(&self.conn).map_err(failed)? {
            return Err(damaged(self.layout, &self.path, &finding));
        }
        Ok(())
    }
}

/// What one of SQLite's checks finds first; `None` where it finds nothing.
pub(super) fn first_finding(conn: &Connection, check: &str) -> rusqlite::Result<Option<String>> {
    let finding: String = conn.query_row(&format!("PRAGMA {check}(1)"), [], |row| row.get(0))?;
    Ok(Some(finding).filter(|finding| finding != "ok"))
}
