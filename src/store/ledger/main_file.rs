//! Keeps the ledger's main file complete, because people copy `NAME-ledger.db` without the `-wal` beside it.
//!
//! SQLite commits into the write-ahead log (`-wal`) and copies the log into the main file later. Therefore recoup runs
//! a checkpoint after every commit to the ledger. recoup sends a request only after a full checkpoint has synced the
//! request's *sending* event to the disk. A rollback journal has the same problem: SQLite also writes the main file
//! page by page, so a process that dies between two pages leaves a file that needs the journal. With a rollback
//! journal, readers also block a process that must record a response.
//!
//! With either log, a copy of the main file made during a write mixes old and new pages. recoup must not accept such a
//! copy as an intact older ledger. Therefore each commit writes the number and the hash of its newest event (the head)
//! into one row of `identity`, on one database page that is either old or new. Before a checkpoint, the main file
//! contains every *sending* event whose request was sent, and its head is not older than these events. Therefore a file
//! whose chain reaches its head has all *sending* events. recoup refuses a ledger file whose chain does not reach its
//! head, and never appends to such a file.

use std::path::Path;

use super::chain::{self, Hash};
use super::{Ledger, hex};
use crate::error::{Error, Kind, Result};
use crate::store::db::{DbError, Tx};

/// The key of the head in `identity`.
const HEAD: &str = "head";

impl Ledger {
    /// Describes why the ledger's newest event is not the stored head; `None` if it is.
    pub fn gap(&self) -> Result<Option<String>> {
        self.conn.read(|tx| {
            let (sequence, hash) = chain::newest(tx)?;
            gap(tx, sequence, &hash)
        })
    }

    /// Copies all commits into the ledger's main file and syncs it to the disk. On a PostgreSQL server, only checks
    /// that the server is still the same. Callers may send a request only if this function succeeds.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another process keeps reading an older state of the ledger for too long. [`Kind::Identity`] if the file was
    /// moved or replaced since this process opened it, because the next command would then use a ledger without the new
    /// request.
    pub fn put_into_main_file(&self) -> Result<()> {
        let Some(path) = self.place().path() else { return self.refuse_other_server() };
        if file_id(path) != self.file {
            let message = format!("the ledger at {} was moved or replaced while this command ran", path.display());
            return Err(Error::new(Kind::Identity, message)
                .hint("stop every recoup before you move or restore a ledger; `recoup doctor` says what to do now"));
        }
        let was_intact = self.is_known_intact();
        let is_done = self.conn.checkpoint_fully()?;
        self.keep_intact(was_intact);
        if is_done {
            return Ok(());
        }
        Err(Error::new(
            Kind::Busy,
            format!("another process has been reading the ledger at {} for too long", path.display()),
        )
        .hint("wait until its export, audit or backup is done, then run the command again"))
    }
}

/// The device and the inode of a file.
pub(super) type FileId = (u64, u64);

/// Returns the device and inode of the file at a path, to detect that another file has replaced it. Returns `None` if
/// there is no file, or on a system without inodes.
#[cfg(unix)]
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn file_id(_path: &Path) -> Option<FileId> {
    None
}

/// Records the newest event of the chain as the head.
pub(super) fn set_head(tx: &Tx<'_>, sequence: i64, hash: &Hash) -> Result<(), DbError> {
    let upsert =
        "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.run(upsert, &[&HEAD, &text(sequence, hash)]).map(drop)
}

/// Describes why this event is not the stored head; `None` if it is.
pub(super) fn gap(tx: &Tx<'_>, sequence: i64, hash: &Hash) -> Result<Option<String>, DbError> {
    let head: Option<String> = tx.opt("SELECT value FROM identity WHERE key = ?1", &[&HEAD], |row| row.get(0))?;
    let named = match &head {
        None if sequence == 0 => return Ok(None),
        None => "0",
        Some(head) if *head == text(sequence, hash) => return Ok(None),
        Some(head) => head.split(' ').next().unwrap_or_default(),
    };
    Ok(Some(format!(
        "its newest event is {sequence}, and the file says that it is {named}: the tail was cut, or the file is half a copy"
    )))
}

/// Returns the number and the hash of the newest event, for the next event. Fails if the ledger's chain does not reach
/// the stored head.
pub(super) fn newest_to_follow(tx: &Tx<'_>) -> Result<(i64, Hash), DbError> {
    let (sequence, hash) = chain::newest(tx)?;
    gap(tx, sequence, &hash)?.map_or(Ok((sequence, hash)), |gap| Err(DbError::Damaged(gap)))
}

fn text(sequence: i64, hash: &Hash) -> String {
    format!("{sequence} {}", hex(hash))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Actor, OrderId, RewardId, Target};
    use crate::store::Identity;
    use crate::store::db::RawConnection;
    use crate::store::ledger::{Channel, NewRetraction, State};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn open(path: &Path) -> Result<Ledger> {
        Ledger::open(path, &Identity::of_a_test(), &Actor::new("ann", "desk"))
    }

    fn order(n: usize) -> NewRetraction {
        NewRetraction {
            channel: Channel::Reversal,
            target: Target::Action(crate::model::ActionId::new(format!("1.2.{n}"))),
            order_id: OrderId::new(format!("order {n}")),
            disposition: "RETRACTION".into(),
            reason: None,
            ticket: None,
            batch: None,
            program_id: None,
            rewards: vec![RewardId::new(format!("reward {n}"))],
            plan: Value::Null,
        }
    }

    /// Runs the steps that precede a request: records the request, and syncs the main file.
    fn send(ledger: &Ledger, n: usize) -> Result<()> {
        ledger.intend(&order(n), &[], "sending", &Value::Null, NOW)?;
        ledger.put_into_main_file()
    }

    /// The size of a page in a test of torn files: small enough that the b-trees gain a level after some hundred events.
    const PAGE: usize = 512;

    /// Returns files that mix pages of `old` and `new`. The pages of `new` in a mixed file are each prefix, each
    /// suffix, and each single page of the pages that differ.
    fn half_copies(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
        let page = |bytes: &[u8], n: usize| bytes.get(n * PAGE..(n + 1) * PAGE).map(<[u8]>::to_vec);
        let differ: Vec<usize> = (0..new.len() / PAGE).filter(|n| page(old, *n) != page(new, *n)).collect();
        let with = |from_new: &[usize]| {
            let mut file = old.to_vec();
            for n in from_new {
                file.resize(file.len().max((n + 1) * PAGE), 0);
                file[n * PAGE..(n + 1) * PAGE].copy_from_slice(&new[n * PAGE..(n + 1) * PAGE]);
            }
            file
        };
        let mut all: Vec<Vec<u8>> = (0..=differ.len()).flat_map(|n| [with(&differ[..n]), with(&differ[n..])]).collect();
        all.extend(differ.iter().map(|n| with(&[*n])));
        all
    }

    #[test]
    fn the_main_file_alone_has_what_is_committed() {
        let dir = TempDir::new().expect("a folder");
        let (path, copy) = (dir.path().join("l.db"), dir.path().join("copy.db"));
        let ledger = open(&path).expect("opens");
        for n in 0..3 {
            send(&ledger, n).expect("sent");
            std::fs::copy(&path, &copy).expect("a copy without the log");
            let head = ledger.head().expect("a head");
            assert_eq!(open(&copy).expect("opens").head().expect("a head"), head);
        }
        let newest = ledger.newest(&order(2).target).expect("reads").expect("is there");
        ledger.append(&newest, State::Queued, "queued", &Value::Null, NOW).expect("answered");
        std::fs::copy(&path, &copy).expect("a copy without the log");
        let copied = open(&copy).expect("opens").get(newest.id).expect("is there");
        assert_eq!(copied.state, State::Queued, "answers are in the main file too");
    }

    #[test]
    fn nothing_is_sent_while_a_reader_keeps_the_main_file_old() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("l.db");
        let ledger = open(&path).expect("opens");
        send(&ledger, 0).expect("sent");
        let mut reader = RawConnection::open(&path).expect("opens");
        let held = reader.transaction().expect("begins");
        held.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).expect("reads");
        ledger.conn.raw().busy_timeout(std::time::Duration::ZERO).expect("does not wait");
        let error = send(&ledger, 1).expect_err("the main file cannot have it");
        assert_eq!(error.kind, Kind::Busy);
        assert!(error.message.contains("reading the ledger"), "{}", error.message);
        drop(held);
        ledger.put_into_main_file().expect("no reader is left");
    }

    /// A crash during a checkpoint leaves a file that mixes two states, and so does a copy made during a checkpoint.
    #[test]
    fn half_a_copy_of_the_main_file_sends_nothing_twice() {
        let dir = TempDir::new().expect("a folder");
        let (path, torn) = (dir.path().join("l.db"), dir.path().join("torn.db"));
        let empty = format!("PRAGMA page_size = {PAGE}; CREATE TABLE x (x); DROP TABLE x; VACUUM");
        RawConnection::open(&path).and_then(|conn| conn.execute_batch(&empty)).expect("an empty file");
        let ledger = open(&path).expect("opens");
        ledger.conn.raw().pragma_update(None, "synchronous", "OFF").expect("this disk is not pulled out");
        let (mut copies, mut knew) = (0, 0);
        for n in 0..60 {
            send(&ledger, n).expect("sent");
            let old = std::fs::read(&path).expect("the file");
            for _ in 0..4 {
                let details = json!({ "text": "x".repeat(200) });
                ledger.note_ledger("test", "x", &details, NOW).expect("written");
            }
            let new = std::fs::read(&path).expect("the file");
            for (which, bytes) in half_copies(&old, &new).into_iter().enumerate() {
                std::fs::write(&torn, bytes).expect("a copy");
                // A file that mixes two states may lack the newest *sending* event.
                let error = open(&torn).and_then(|torn| send(&torn, n)).expect_err("it was sent before");
                copies += 1;
                knew += u32::from(error.kind == Kind::Busy);
                for log in ["torn.db-wal", "torn.db-shm"] {
                    drop(std::fs::remove_file(dir.path().join(log)));
                }
                let is_refused = matches!(error.kind, Kind::Busy | Kind::Storage | Kind::Tampered);
                assert!(is_refused, "{n}, {which}: {:?} {}", error.kind, error.message);
            }
        }
        assert!(copies > 1000 && knew >= 60, "{copies} copies, {knew} that knew of it");
    }

    #[test]
    fn a_file_whose_tail_is_missing_takes_no_event() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("l.db");
        let ledger = open(&path).expect("opens");
        send(&ledger, 0).expect("sent");
        ledger.conn.raw().execute_batch("DROP TRIGGER events_remain; DELETE FROM events WHERE id = 2").expect("a cut");
        let sent = send(&ledger, 0).expect_err("the file does not reach its head");
        let noted = ledger.note_ledger("test", "x", &Value::Null, NOW).expect_err("it would hide the gap");
        assert_eq!((sent.kind, noted.kind), (Kind::Tampered, Kind::Storage));
        for error in [sent, noted] {
            assert!(error.message.contains("the tail was cut"), "{}", error.message);
        }
    }
}
