//! Checks whether a file is damaged: SQLite's own check of its pages, and for an index the sums over its links and rewards.
//!
//! Other processes may write meanwhile: each statement sees the file as of one moment. Without the sums, an order whose link is
//! missing would be answered as not rewarded. Nothing here writes.

use super::db::Checks;
use super::store_file::StoreFile;
use super::{damaged, index};
use crate::error::Result;

impl StoreFile {
    /// Fails with [`Kind::Storage`](crate::error::Kind::Storage) if the file is damaged. Takes as long as reading it does.
    pub fn check_integrity(&self) -> Result<()> {
        let (conn, layout) = (&self.0, self.0.layout());
        let is_index = layout.name == index::LAYOUT.name;
        // The rows of an index can be read again, and comparing them with SQLite's own indexes takes far longer.
        let checks = if is_index { Checks::WithoutIndexes } else { Checks::All };
        let mut finding = conn.read(|tx| tx.first_damage(checks))?;
        if finding.is_none() && is_index {
            finding = conn.with_driver(index::first_damage)?;
        }
        finding.map_or(Ok(()), |finding| Err(damaged(layout, conn.path(), &finding)))
    }
}
