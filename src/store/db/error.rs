//! Database errors, and their messages for the user.

use rusqlite::{ErrorCode, ffi};

use super::Place;
use crate::error::{Error, Kind};
use crate::store::{Layout, ProcessLock, ledger};

/// The reason why a database transaction failed.
#[derive(Debug)]
pub enum DbError {
    /// The write lock of the database belongs to another process.
    Busy,
    /// The transaction collided with another transaction; the caller may retry it.
    Retry,
    /// The statement violates a constraint of the schema.
    Constraint(String),
    /// The stored data is damaged.
    Damaged(String),
    /// The user or another thread interrupted the statement.
    Interrupted,
    /// The disk is full.
    Full(String),
    /// The disk failed, or the file reached a size limit.
    Io(String),
    /// The process has no write permission on the file or its folder.
    ReadOnly(String),
    /// The PostgreSQL server did not answer, or the connection to it was lost. The server committed nothing.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only a server has it"))]
    Lost(String),
    /// The connection was lost while the PostgreSQL server committed. recoup could not find out in time whether the
    /// commit succeeded.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only a server has it"))]
    Unresolved(String),
    /// The database engine reported an error of another kind.
    Engine(String),
    /// An error from recoup's own code, with its kind and hint.
    Ours(Error),
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let text = || error.to_string();
        if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_BUSY_SNAPSHOT) {
            return Self::Retry;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::ConstraintViolation) => Self::Constraint(text()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(text()),
            Some(ErrorCode::OperationInterrupted) => Self::Interrupted,
            Some(ErrorCode::DiskFull) => Self::Full(text()),
            Some(ErrorCode::SystemIoFailure) => Self::Io(text()),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::ReadOnly(text()),
            _ => Self::Engine(text()),
        }
    }
}

impl DbError {
    /// Converts this error to the user's error for the store at `place`, with a hint.
    pub(in crate::store) fn of(self, layout: &Layout, place: &Place) -> Error {
        let (what, cause, hint) = match self {
            Self::Ours(error) => return error,
            Self::Busy | Self::Retry => return busy(layout, place),
            Self::Damaged(finding) => return damaged(layout, place, &finding),
            Self::Interrupted => return Error::new(Kind::Interrupted, "interrupted; nothing was changed"),
            Self::Full(cause) => (
                "cannot grow: the disk is full",
                cause,
                "free some space and run the command again; what was committed is kept",
            ),
            Self::Io(cause) => (
                "could not be read or written",
                cause,
                "check the disk, and limits on the size of a file (`ulimit -f`); what was committed is kept",
            ),
            Self::Lost(cause) => (
                "cannot be reached",
                cause,
                "check that the PostgreSQL server runs and can be reached from here; `recoup doctor` tries it",
            ),
            Self::Unresolved(cause) => (
                "did not say whether it committed, and nothing was sent on the strength of it",
                cause,
                "when the server can be reached again, look at the state with `recoup status` before you repeat the command",
            ),
            Self::ReadOnly(cause) if place.is_server() => (
                "cannot be used",
                cause,
                "name the primary server, not a standby, and check the rights of the database user",
            ),
            Self::ReadOnly(cause) => {
                ("cannot be written", cause, "check who owns the file and its folder, or name another with --database")
            }
            Self::Constraint(cause) | Self::Engine(cause) => ("failed", cause, "run `recoup doctor`"),
        };
        let message = format!("the {} at {place} {what} ({cause})", layout.name);
        Error::new(Kind::Storage, message).hint(hint)
    }
}

/// Returns the error for a damaged store.
pub fn damaged(layout: &Layout, place: &Place, finding: &str) -> Error {
    let hint = match layout.name {
        "index" if place.is_server() => {
            "drop the schema of the index and run `recoup crawl`: the index can be rebuilt, the ledger is a schema of its own"
        }
        "ledger" => {
            "do not delete it: it is the only record of what was sent; restore it from a backup, or keep it and ask for help"
        }
        "index" => {
            "move the file away and run `recoup crawl`: the index can be rebuilt, the ledger is a file of its own"
        }
        _ => "restore it from a backup, or move it away and add its users again with `recoup user add`",
    };
    Error::new(Kind::Storage, format!("the {} at {place} is damaged ({finding})", layout.name)).hint(hint)
}

/// Returns the error for a store that another process locked for longer than a transaction waits. SQLite's own message
/// "database is locked" sounds like damage.
fn busy(layout: &Layout, place: &Place) -> Error {
    let is_ledger = layout.name == ledger::LAYOUT.name;
    let is_sending = is_ledger && matches!(ProcessLock::is_free(place, "send"), Ok(false));
    let why = if is_sending { "an order is being retracted right now" } else { "another process is writing to it" };
    Error::new(Kind::Busy, format!("the {} at {place} is in use: {why}", layout.name))
        .hint("run the command again in a moment; nothing was sent by this one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index;

    #[test]
    fn a_ledger_that_is_in_use_while_an_order_is_sent_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Place::File(dir.path().join("l.db"));
        for (layout, is_sending, wanted) in [
            (&ledger::LAYOUT, true, "an order is being retracted right now"),
            (&ledger::LAYOUT, false, "another process is writing to it"),
            (&index::LAYOUT, true, "another process is writing to it"),
        ] {
            let lock = is_sending.then(|| ProcessLock::try_take(&path, "send").expect("a lock").expect("free"));
            let error = DbError::Busy.of(layout, &path);
            drop(lock);
            assert_eq!(error.kind, Kind::Busy);
            assert!(error.message.contains(wanted) && !error.message.contains("locked"), "{}", error.message);
        }
    }
}
