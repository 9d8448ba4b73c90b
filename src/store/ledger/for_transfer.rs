//! What a move of the stores needs of a ledger. Such a ledger may be sealed or incomplete, so no [`Ledger`] is given away.

use super::{Audit, Ledger, accept_restored, chain};
use crate::error::Result;
use crate::model::Actor;
use crate::store::db::{Conn, DbError, Tx};

/// Gives a ledger its random names if it has none yet.
pub(in crate::store) fn create_for_transfer(conn: Conn) -> Result<Conn> {
    let ledger = Ledger::over(conn, Actor::new("", ""));
    ledger.make_names()?;
    Ok(ledger.conn)
}

/// Returns the random ID that the ledger got when it was created.
pub(in crate::store) fn id_of(tx: &Tx<'_>) -> Result<String, DbError> {
    super::ledger_id(tx)
}

/// Verifies the whole chain.
pub(in crate::store) fn audit_of(tx: &Tx<'_>) -> Result<Audit, DbError> {
    chain::audit(tx, None)
}

/// Fails if the ledger is a copy that no person has accepted. The destination of a move would lose that mark.
pub(in crate::store) fn refuse_copy_of(tx: &Tx<'_>) -> Result<(), DbError> {
    accept_restored::refuse_copy(tx)
}

/// Records that the ledger belongs to the server that it is on.
pub(in crate::store) fn belongs_to_this_server(tx: &Tx<'_>) -> Result<(), DbError> {
    match tx.server_instance()? {
        Some(server) => accept_restored::set_server(tx, &server),
        None => Ok(()),
    }
}

/// Marks the ledger as a copy, so that nothing is sent from it before a person has accepted it.
pub(in crate::store) fn needs_acceptance(tx: &Tx<'_>) -> Result<(), DbError> {
    accept_restored::mark_as_copy(tx)
}
