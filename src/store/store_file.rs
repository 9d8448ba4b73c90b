//! Opens the file of the index or the ledger, for copies (`backup_copy`) and checks (`integrity_check`). A copy or a
//! check takes long, so another thread can interrupt it.

use super::db::Conn;
use super::{Identity, Place, index, ledger};
use crate::error::Result;

/// The file of a store, open for reading.
pub struct StoreFile(pub(super) Conn);

impl StoreFile {
    /// Opens the index file; returns `None` if there is no index.
    pub fn index(place: &Place, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(place, &index::LAYOUT, identity)?.map(Self))
    }

    /// Opens the ledger file; returns `None` if there is no ledger.
    pub fn ledger(place: &Place, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(place, &ledger::LAYOUT, identity)?.map(Self))
    }

    /// Returns a function with which another thread interrupts the copy or the check.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        self.0.interrupter()
    }
}
