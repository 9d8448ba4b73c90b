//! A file as a whole, open for reading: to be copied (`copy`) or to be looked through (`soundness`). Both take long, so both can
//! be ended from another thread.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, InterruptHandle};

use super::{Identity, Layout, index, ledger, open_reader, sql_error};
use crate::error::{Error, Result};

/// The index or the ledger, from end to end.
pub struct Whole {
    pub(super) conn: Connection,
    pub(super) layout: &'static Layout,
    pub(super) path: PathBuf,
}

impl Whole {
    /// The index; `None` where there is none.
    pub fn index(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        Self::open(path, &index::LAYOUT, identity)
    }

    /// The ledger; `None` where there is none.
    pub fn ledger(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        Self::open(path, &ledger::LAYOUT, identity)
    }

    fn open(path: &Path, layout: &'static Layout, identity: Option<&Identity>) -> Result<Option<Self>> {
        let conn = open_reader(path, layout, identity)?;
        Ok(conn.map(|conn| Self { conn, layout, path: path.to_owned() }))
    }

    /// Ends what is being done with it, from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.conn.get_interrupt_handle()
    }

    pub(super) fn failed(&self, error: &rusqlite::Error) -> Error {
        sql_error(error, self.layout, &self.path)
    }
}
