//! The index or the ledger as one file, to be copied (`backup_copy`) or checked (`integrity_check`). Both take long, so both can
//! be ended from another thread.

use std::path::Path;

use super::db::Conn;
use super::{Identity, index, ledger};
use crate::error::Result;

/// A store's file, open for reading.
pub struct StoreFile(pub(super) Conn);

impl StoreFile {
    /// The index; `None` if there is none.
    pub fn index(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(path, &index::LAYOUT, identity)?.map(Self))
    }

    /// The ledger; `None` if there is none.
    pub fn ledger(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(path, &ledger::LAYOUT, identity)?.map(Self))
    }

    /// Stops the copy or the check, from another thread.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        let handle = self.0.interrupt_handle();
        move || handle.interrupt()
    }
}
