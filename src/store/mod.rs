//! The only code that speaks SQL: the index, the ledger, and who may use the page.
//!
//! `open` makes a file where it is missing, sets the pragmas and binds it to one tenant; [`index`], [`ledger`] and [`access`] say what
//! is in them, and this module what they have in common: whose they are, where they lie, and what is said where one fails. Two
//! files are never opened on one connection and no transaction spans both: the ledger is written first, the index can be rebuilt.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};

use crate::error::{Error, Kind, Result};

pub mod access;
pub mod budget;
pub mod copy;
mod file;
pub mod index;
pub mod ledger;
mod lock;
mod open;
mod soundness;
mod whole;
mod writable;

use file::{check_file, create_private, open_as_it_is};
pub use lock::ProcessLock;
use open::{be_patient, check_identity, check_version, look_again, open_reader, open_writer};
pub use whole::Whole;
pub use writable::check_writable;

/// What a file is: its name in messages, its schema, and how hard it tries to survive a power cut.
pub(crate) struct Layout {
    /// `index` or `ledger`.
    pub name: &'static str,
    /// The schema of today, whole: what a new file is made with, at once.
    pub schema: &'static str,
    /// The `user_version` of a file with this schema: one more with each release that changes it.
    pub version: usize,
    /// `FULL` for what cannot be rebuilt, `NORMAL` for what can.
    pub synchronous: &'static str,
    /// Gives a connection the functions of SQL that the schema uses.
    pub functions: fn(&Connection) -> rusqlite::Result<()>,
    /// `PRAGMA application_id`, so that a foreign SQLite file is not mistaken for ours.
    pub application_id: i32,
}

/// Whom a file belongs to. Recorded at first use; another one is refused, so that simulator, test and live never mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant alias.
    pub tenant: String,
    /// The Account SID.
    pub account_sid: String,
    /// The Advocate base URL.
    pub advocate_url: String,
    /// The Brand base URL.
    pub brand_url: String,
}

impl Identity {
    /// Somebody, where it does not matter who.
    #[cfg(test)]
    pub(crate) fn of_a_test() -> Self {
        let text = |text: &str| text.to_owned();
        Self { tenant: text("t"), account_sid: text("s"), advocate_url: text("http://a"), brand_url: text("http://b") }
    }

    fn pairs(&self) -> [(&'static str, &str); 4] {
        [
            ("tenant", &self.tenant),
            ("account_sid", &self.account_sid),
            ("advocate_url", &self.advocate_url),
            ("brand_url", &self.brand_url),
        ]
    }
}

/// The value behind a lock. A thread that panicked has left no half of a transaction: SQLite rolls it back.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether files can be made beside a database, which a crawl and a retraction need. A folder that is not there yet is made
/// by whoever needs it.
pub fn check_folder(database: &Path) -> Result<()> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        return Ok(());
    }
    let probe = folder.join(format!(".recoup-{}.probe", std::process::id()));
    create_private(&probe).and_then(|()| std::fs::remove_file(&probe)).map_err(|error| {
        Error::new(Kind::Storage, format!("nothing can be written in {}: {error}", folder.display())).hint(
            "check who owns the folder, or name a place that can be written to with --database or RECOUP_DATABASE",
        )
    })
}

/// Writes the file anew, so that nothing that was deleted is left in it, and empties its log.
pub(crate) fn rewrite(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("VACUUM")?;
    let blocked: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if !blocked {
        return Ok(());
    }
    // Somebody is reading: the log, and with it the old pages, would stay.
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None))
}

/// A file that says of itself that it is not whole.
fn damaged(layout: &Layout, path: &Path, finding: &str) -> Error {
    let hint = if layout.name == "ledger" {
        "do not delete it: it is the only record of what was sent; restore it from a backup, or keep it and ask for help"
    } else {
        "move the file away and run `recoup crawl`: the index can be rebuilt, the ledger is a file of its own"
    };
    Error::new(Kind::Storage, format!("the {} at {} is damaged ({finding})", layout.name, path.display())).hint(hint)
}

/// A database error in the user's words.
pub(crate) fn sql_error(error: &rusqlite::Error, layout: &Layout, path: &Path) -> Error {
    let name = layout.name;
    let at = path.display();
    let code = error.sqlite_error_code();
    let (what, hint) = match code {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => return damaged(layout, path, &error.to_string()),
        Some(ErrorCode::DiskFull) => {
            ("cannot grow: the disk is full", "free some space and run the command again; what was committed is kept")
        }
        Some(ErrorCode::SystemIoFailure) => (
            "could not be read or written",
            "look at the disk, and at limits on the size of a file (`ulimit -f`); what was committed is kept",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ("cannot be written", "check who owns the file and its folder, or name another with --database")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return busy(layout, path),
        _ => ("failed", "run `recoup doctor`"),
    };
    Error::new(Kind::Storage, format!("the {name} at {at} {what} ({error})")).hint(hint)
}

/// Another process has kept a file for longer than anybody waits. SQLite says "database is locked", which sounds like damage.
fn busy(layout: &Layout, path: &Path) -> Error {
    let (name, at) = (layout.name, path.display());
    let is_sending = name == ledger::LAYOUT.name && matches!(ProcessLock::try_take(path, "send"), Ok(None));
    let why = if is_sending { "an order is being retracted right now" } else { "another process is writing to it" };
    Error::new(Kind::Busy, format!("the {name} at {at} is in use: {why}"))
        .hint("run the command again in a moment; nothing was sent by this one")
}

/// One path for one file, whatever it is called by: two names of a ledger must not make two locks.
pub fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// The longest path of a database, in bytes. SQLite's own limit on Unix is 512, and it takes 8 of them for the name of a journal.
pub const LONGEST_PATH: usize = 504;

/// The longest name of a database file, in bytes: 255 is the limit of most file systems, and the names of the lock files beside it
/// are up to 24 bytes longer.
const LONGEST_NAME: usize = 231;

/// Refuses a path that SQLite, or a lock file beside it, could not have: their own errors do not say that it is too long. `what` is the
/// file, for the message; `setting` names what to change.
///
/// # Errors
/// `Kind::Config`.
pub fn check_length(path: &Path, what: &str, setting: &str) -> Result<()> {
    let path = real_path(path);
    let (bytes, name) = (path.as_os_str().len(), path.file_name().map_or(0, std::ffi::OsStr::len));
    let too_long = if cfg!(unix) && bytes > LONGEST_PATH {
        format!("the path of the {what} has {bytes} bytes, and SQLite takes at most {LONGEST_PATH}")
    } else if name > LONGEST_NAME {
        format!("the name of the file of the {what} has {name} bytes, and at most {LONGEST_NAME} go")
    } else {
        return Ok(());
    };
    // All of it would fill a screen; its beginning tells which one it is.
    let start: String = path.display().to_string().chars().take(60).collect();
    Err(Error::new(Kind::Config, format!("{too_long}: {start}…")).hint(format!("name a shorter path with {setting}")))
}

/// The ledger's place where nothing else is said: beside the index, `NAME-ledger.db`.
pub fn ledger_beside(index: &Path) -> PathBuf {
    let stem = index.file_stem().unwrap_or_default().to_string_lossy();
    index.with_file_name(format!("{stem}-ledger.db"))
}

/// The access file's place where nothing else is said: beside the ledger, `NAME-access.db`.
pub fn access_beside(ledger: &Path) -> PathBuf {
    let stem = ledger.file_stem().unwrap_or_default().to_string_lossy();
    ledger.with_file_name(format!("{}-access.db", stem.strip_suffix("-ledger").unwrap_or(&stem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_is_in_use_while_an_order_is_sent_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("l.db");
        let locked = || {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            rusqlite::Error::SqliteFailure(code, Some("database is locked".to_owned()))
        };
        for (layout, is_sending, wanted) in [
            (&ledger::LAYOUT, true, "an order is being retracted right now"),
            (&ledger::LAYOUT, false, "another process is writing to it"),
            (&index::LAYOUT, true, "another process is writing to it"),
        ] {
            let lock = is_sending.then(|| ProcessLock::try_take(&path, "send").expect("a lock").expect("free"));
            let error = sql_error(&locked(), layout, &path);
            drop(lock);
            assert_eq!(error.kind, Kind::Busy);
            assert!(error.message.contains(wanted) && !error.message.contains("locked"), "{}", error.message);
        }
    }
}
