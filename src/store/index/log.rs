//! The write-ahead log is copied into the file beside the writer, not by it.
//!
//! A crawl touches pages all over the file, and to copy tens of megabytes of them takes the disk longer than to write the
//! next batch: whoever writes would stand still for it, and everybody who asks the vendor with it. So a thread with a connection
//! of its own copies while the writer goes on, and the writer copies only what has come last, which lets the log begin anew.
//! Nothing here is needed for a commit to hold: without it the log only grows.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};

use crate::store::db::open_file;

/// Pages that are in the log alone before they are copied into the file: 64 MB.
const DUE: i64 = 16_384;

/// So many times as many, and the writer waits for the copy: the disk cannot keep up, and the log must not fill it.
const TOO_MANY: i64 = 4;

/// Pages in the log at which SQLite copies them itself, should nobody here have done it.
pub(in crate::store) const LAST_RESORT: i64 = TOO_MANY * DUE;

/// Keeps the log of one file short.
#[derive(Debug)]
pub(super) struct LogKeeper {
    path: PathBuf,
    /// Pages at which they are copied.
    due: i64,
    copying: Option<JoinHandle<()>>,
}

impl LogKeeper {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), due: DUE, copying: None }
    }

    /// After a commit. What goes wrong is left for the next one: every page is still in the log.
    pub(super) fn look_after(&mut self, conn: &Connection) {
        let pages = uncopied(conn).unwrap_or(0);
        match self.copying.take() {
            None if pages < self.due => {}
            None => {
                let path = self.path.clone();
                self.copying = std::thread::Builder::new().spawn(move || drop(copy(&path))).ok();
            }
            Some(copying) if copying.is_finished() || pages >= TOO_MANY * self.due => {
                drop(copying.join());
                drop(checkpoint(conn));
            }
            still => self.copying = still,
        }
    }

    /// Waits until nothing is being copied: another copy at the same time would be refused.
    pub(super) fn settle(&mut self) {
        drop(self.copying.take().map(JoinHandle::join));
    }
}

impl Drop for LogKeeper {
    /// The last connection to a file takes its log away, and that is to be the writer's.
    fn drop(&mut self) {
        self.settle();
    }
}

fn copy(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    checkpoint(&open_file(path, flags)?)
}

/// Copies what can be copied without waiting for anybody.
pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Pages that are in the log and not in the file yet.
fn uncopied(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_begins_anew_while_somebody_goes_on_writing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file.db");
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE rows (x BLOB)")
            .expect("a table");
        let mut keeper = LogKeeper::new(&path);
        keeper.due = 20;
        let mut longest = 0;
        for _ in 0..2000 {
            conn.execute("INSERT INTO rows VALUES (randomblob(4000))", []).expect("writes");
            keeper.look_after(&conn);
            longest = longest.max(uncopied(&conn).expect("a log"));
        }
        assert!(longest <= 20 * (TOO_MANY + 1), "{longest} pages");
        let log = std::fs::metadata(dir.path().join("file.db-wal")).expect("a log").len();
        assert!(log < 2_000_000, "{log} bytes of 16 million that were written");
        drop(keeper);
        let rows: i64 = conn.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows, 2000);
        conn.close().expect("nobody else has it open");
        assert!(!dir.path().join("file.db-wal").exists(), "the last one takes the log away");
    }
}
