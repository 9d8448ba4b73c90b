//! Tests whether recoup can write the stores that a send needs. To test a store, recoup writes to it and rolls back.

use super::db::{Conn, Patience};
use super::{Layout, Place, ProcessLock, index, ledger};
use crate::error::{Kind, Result};

/// Fails if this process cannot take the send lock, or cannot write the ledger or the index. Ignores a store that does
/// not exist yet, because the first writer creates it.
pub fn check_writable(index: &Place, ledger: &Place) -> Result<()> {
    ProcessLock::check(ledger, "send")?;
    try_to_write(ledger, &ledger::LAYOUT, Patience::Usual)?;
    match try_to_write(index, &index::LAYOUT, Patience::None) {
        // A busy store counts as writable, because a crawl writes often, and a send waits until the crawl's transaction
        // ends.
        Err(error) if error.kind == Kind::Busy => Ok(()),
        tried => tried,
    }
}

fn try_to_write(place: &Place, layout: &'static Layout, patience: Patience) -> Result<()> {
    Conn::open_existing(place, layout, None, patience)?.map_or(Ok(()), |conn| conn.try_to_write())
}
