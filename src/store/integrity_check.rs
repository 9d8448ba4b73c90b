//! Checks whether a database file is damaged: runs SQLite's check of its pages, and for an index verifies the checksums
//! of its rows.
//!
//! Other processes may write during a check, because each check reads one state of the file. Without the checksums,
//! recoup would report an order with a lost link as not rewarded. A check never writes to the file.

use super::db::Checks;
use super::store_file::StoreFile;
use super::{damaged, index};
use crate::error::Result;

impl StoreFile {
    /// Fails with [`Kind::Storage`](crate::error::Kind::Storage) if the database file is damaged. The check for damage
    /// reads the whole file.
    pub fn check_integrity(&self) -> Result<()> {
        let (conn, layout) = (&self.0, self.0.layout());
        let is_index = layout.name == index::LAYOUT.name;
        // For an index, recoup skips SQLite's comparison of rows with SQL indexes, because the comparison takes far
        // longer and the rows can be crawled again.
        let checks = if is_index { Checks::WithoutIndexes } else { Checks::All };
        let mut finding = conn.read(|tx| tx.first_damage(checks))?;
        if finding.is_none() && is_index {
            finding = conn.read(index::first_damage)?;
        }
        finding.map_or(Ok(()), |finding| Err(damaged(layout, conn.place(), &finding)))
    }
}
