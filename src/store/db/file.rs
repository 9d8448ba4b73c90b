//! Creates database files, and opens them without harm to open connections.
//!
//! This module opens every database. Only SQLite may open and close a database file while a connection to it may be
//! open, for the reason at [`MAKING`].

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::Layout;
use crate::error::{Error, Kind, Result};

/// A lock that this process holds while it creates a file, and briefly before it opens one.
///
/// POSIX file locks belong to the process, not to a connection. The operating system releases all locks of a file as
/// soon as the process closes the file through any handle. Another process that then closes the database assumes that
/// it is the last user, and deletes the write-ahead log. Connections to a database whose write-ahead log is deleted
/// lose their commits. Therefore only SQLite opens an existing database file, and this process opens it only after its
/// creation is complete.
static MAKING: Mutex<()> = Mutex::new(());

/// Creates the database file if it is missing, readable by its owner alone. SQLite gives `-wal` and `-shm` the mode of
/// the main file. Does not open an existing file.
pub fn create_private(path: &Path) -> std::io::Result<()> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if path.try_exists()? {
        return check_regular(path);
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Opens an existing database file. Sets no pragma.
pub fn open_file(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    drop(MAKING.lock().unwrap_or_else(PoisonError::into_inner));
    check_regular(path).map_err(|error| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
    })?;
    Connection::open_with_flags(path, flags)
}

/// Fails if the path is not a regular file. Opening a FIFO would block forever, and a device does not store data.
fn check_regular(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(std::io::Error::other("it is no regular file, and a database must be one"))
        }
        _ => Ok(()),
    }
}

/// Refuses a database with hard links, and a database or a log that is not a regular file.
///
/// The names of SQLite's logs and recoup's lock files derive from the database's name. If two processes open one file
/// by two names, each misses the commits and locks of the other, and both could send the same request.
pub fn check_file(path: &Path, layout: &Layout) -> Result<()> {
    let name = layout.name;
    for log in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(log);
        let file = Path::new(&file);
        check_regular(file).map_err(|error| {
            Error::new(Kind::Storage, format!("failed to open the {name} at {}: {error}", file.display()))
                .hint("move it away, or name another place with --database or RECOUP_DATABASE")
        })?;
    }
    #[cfg(unix)]
    if let Ok(found) = std::fs::metadata(path)
        && std::os::unix::fs::MetadataExt::nlink(&found) > 1
    {
        let names = std::os::unix::fs::MetadataExt::nlink(&found);
        let folder = crate::store::real_path(path).parent().unwrap_or(Path::new("/")).display().to_string();
        return Err(Error::new(
            Kind::Config,
            format!("the {name} at {} has {names} names (hard links), and a database must have one", path.display()),
        )
        .hint(format!(
            "locks and logs go by the name, so an order could be sent once by each; remove the other names (`find {folder} \
             -samefile {}` lists those in this folder; others are on the same disk), and copy a database instead of linking it",
            path.display()
        )));
    }
    Ok(())
}

/// Opens a database file in a read-only folder. A process without write permission on the folder cannot create a
/// write-ahead log. If there is no write-ahead log, the main file is complete.
pub fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                uri.push('%');
                uri.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// The offset of the byte that every open connection to a WAL database locks.
    const SHARED: &str = "1073741826";

    /// If the process closed the file outside of SQLite, the operating system would release SQLite's lock. An older
    /// SQLite (for example the system's) would delete the log of other connections if SQLite's lock is released.
    #[test]
    fn opening_a_file_again_keeps_the_lock_that_tells_others_of_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("recoup.db");
        let open = || {
            create_private(&path).expect("makes it");
            let conn = open_file(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
            conn.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS rows (x)").expect("writes");
            conn
        };
        let first = open();
        let inode = format!(":{}", std::fs::metadata(&path).expect("is there").ino());
        let is_locked = || {
            let locks = std::fs::read_to_string("/proc/locks").expect("Linux lists them");
            locks.lines().any(|line| line.split(' ').any(|field| field.ends_with(&inode)) && line.contains(SHARED))
        };
        assert!(is_locked(), "as long as one connection is open");
        let second = open();
        assert!(is_locked(), "it was opened again");
        drop(second);
        assert!(is_locked(), "the other one was closed");
        drop(first);
        assert!(!is_locked(), "no connection is open");
    }
}
