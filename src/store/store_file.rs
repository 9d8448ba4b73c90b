//! The file of the index or the ledger, for copies (`backup_copy`) and checks (`integrity_check`). A copy or a check takes
//! long, so another thread can interrupt it.

use super::db::Conn;
use super::{Identity, Place, index, ledger};
use crate::error::Result;

/// The file of a store, open for reading.
pub struct StoreFile(pub(super) Conn);

impl StoreFile {
    /// Opens the index; returns `None` if there is none.
    pub fn index(place: &Place, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(place, &index::LAYOUT, identity)?.map(Self))
    }

    /// Opens the ledger; returns `None` if there is none.
    pub fn ledger(place: &Place, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(Conn::open_read_only(place, &ledger::LAYOUT, identity)?.map(Self))
    }

    /// Returns a function that interrupts the copy or the check from another thread.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        self.0.interrupter()
    }
}
