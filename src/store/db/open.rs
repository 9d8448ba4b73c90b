//! Opens a database file, creates it if it is missing, and binds it to one tenant.
//!
//! recoup refuses a database file of another schema version or of another program, and leaves it unchanged.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::file::{check_file, create_private, open_file, open_immutable};
use super::{BUSY_POLL, DbError, Identity, Layout, Patience, Place, failed_to_open};
use crate::error::{Error, Kind, Result};

const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The upper limit of a connection's page cache, in KiB. A crawl writes pages across the whole index, so the limit of
/// the page cache is larger than SQLite's default of 2 MB. A crawl of a million participants is not faster with 12 MB.
/// SQLite allocates memory for a page only when it reads the page.
const PAGE_CACHE: i64 = 4 * 1024;

/// Opens a database file for writing, creates it if it is missing (mode 0600), and checks its owner.
pub fn open_writer(path: &Path, layout: &Layout, identity: &Identity) -> Result<Connection> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| io_error(&error, layout, parent))?;
    }
    check_file(path, layout)?;
    create_private(path).map_err(|error| io_error(&error, layout, path))?;
    let open = || -> Result<Connection, DbError> {
        let mut conn = open_file(path, READ_WRITE)?;
        prepare(&mut conn, layout)?;
        bind(&mut conn, identity)?;
        Ok(conn)
    };
    open().map_err(|error| failed_to_open(error, layout, &Place::from(path)))
}

/// Opens a database file for reading; returns `None` if it does not exist yet. Compares the file's owner with
/// `identity` if `identity` is `Some`.
pub fn open_reader(path: &Path, layout: &Layout, identity: Option<&Identity>) -> Result<Option<Connection>> {
    if !exists(path, layout)? {
        return Ok(None);
    }
    check_file(path, layout)?;
    let open = || -> Result<Option<Connection>, DbError> {
        let mut conn = open_file(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // The busy handler must be set before the first statement: another process may be creating the file, or recovering its
        // log after a crash.
        set_busy_handler(&mut conn, Patience::Usual)?;
        let is_made = match check_version(&conn, layout) {
            // The process has no permission to create `-shm` beside the database file.
            Err(DbError::ReadOnly(_)) if !has_log(path) => {
                conn = open_immutable(path)?;
                set_busy_handler(&mut conn, Patience::Usual)?;
                check_version(&conn, layout)
            }
            checked => checked,
        };
        if !is_made? {
            // The first writer has created the database file, but not yet its schema.
            return Ok(None);
        }
        plan_once(&conn)?;
        set_cache(&conn, PAGE_CACHE)?;
        if let Some(identity) = identity {
            check_identity(&conn, identity)?;
        }
        Ok(Some(conn))
    };
    open().map_err(|error| failed_to_open(error, layout, &Place::from(path)))
}

/// Opens an existing database file for writing; returns `None` if the file or its schema is missing.
pub fn open_existing(
    path: &Path,
    layout: &Layout,
    identity: Option<&Identity>,
    patience: Patience,
) -> Result<Option<Connection>> {
    if !exists(path, layout)? {
        return Ok(None);
    }
    check_file(path, layout)?;
    let open = || -> Result<Option<Connection>, DbError> {
        let mut conn = open_file(path, READ_WRITE)?;
        set_busy_handler(&mut conn, patience)?;
        if !check_version(&conn, layout)? {
            return Ok(None);
        }
        if let Some(identity) = identity {
            check_identity(&conn, identity)?;
        }
        set_durability(&conn, layout)?;
        Ok(Some(conn))
    };
    open().map_err(|error| failed_to_open(error, layout, &Place::from(path)))
}

/// Returns whether the file exists. Fails if the folder cannot be searched: recoup must not report an unreadable ledger as a
/// ledger without retractions.
pub fn exists(path: &Path, layout: &Layout) -> Result<bool> {
    path.try_exists().map_err(|error| io_error(&error, layout, path))
}

/// Returns `true` if the write-ahead log may contain commits that the main file lacks.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Keeps the plan of a prepared statement. By default, SQLite compiles a statement again if the plan could depend on a
/// bound value, for example a `LIMIT`. Compiling a statement takes longer than running most statements of recoup.
fn plan_once(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn set_cache(conn: &Connection, kib: i64) -> rusqlite::Result<()> {
    conn.pragma_update(None, "cache_size", -kib)
}

/// Sets the pragmas of a connection, and creates the schema in one exclusive transaction.
fn prepare(conn: &mut Connection, layout: &Layout) -> Result<(), DbError> {
    set_busy_handler(conn, Patience::Usual)?;
    plan_once(conn)?;
    set_cache(conn, PAGE_CACHE)?;
    // recoup checks the version first, because the next pragma changes the file. recoup must not change the file of
    // another program or version.
    let is_made = check_version(conn, layout)?;
    // With a write-ahead log, readers continue while a crawl writes, and a commit only appends to the log.
    enable_wal(conn)?;
    set_durability(conn, layout)?;
    // SQLite sorts in memory, because the disk may be full during a crawl.
    conn.pragma_update(None, "temp_store", "memory")?;
    if !is_made {
        make_schema(conn, layout)?;
    }
    // A dangling reference is a bug, so SQLite must fail at once.
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// The ledger must survive a power cut with its last row. The index may lose its last batch, but must never become
/// inconsistent.
fn set_durability(conn: &Connection, layout: &Layout) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", layout.synchronous)?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", layout.autocheckpoint_pages, |_| Ok(()))
}

/// Turns the write-ahead log on. SQLite needs exclusive access for the switch, and ignores the busy handler. Therefore
/// recoup retries the switch: otherwise only one of several processes that open a new file at once would succeed.
fn enable_wal(conn: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && pause(tries, Patience::Usual.limit()) =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

/// Makes a connection wait while another process commits.
///
/// SQLite's busy time-out slows down to ten attempts a second. A crawl at full speed leaves only a few milliseconds
/// between two commits, so ten attempts a second would miss nearly all gaps.
fn set_busy_handler(conn: &mut Connection, patience: Patience) -> rusqlite::Result<()> {
    match patience {
        Patience::Usual => conn.busy_handler(Some(|tries| pause(tries, Patience::Usual.limit()))),
        Patience::Brief => conn.busy_handler(Some(|tries| pause(tries, Patience::Brief.limit()))),
        Patience::None => conn.busy_timeout(Duration::ZERO),
    }
}

/// Pauses before the next attempt to lock the file. Returns `false` if the time limit is reached.
fn pause(tries: i32, within: Duration) -> bool {
    let is_early = BUSY_POLL * tries.unsigned_abs() < within;
    if is_early {
        std::thread::park_timeout(BUSY_POLL);
    }
    is_early
}

/// Creates the whole schema of a new database file in one transaction.
fn make_schema(conn: &mut Connection, layout: &Layout) -> Result<(), DbError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Another process may have created the schema while this process waited for the lock.
    if !check_version(&tx, layout)? {
        tx.execute_batch(layout.schema)?;
        tx.pragma_update(None, "user_version", layout.version as i64)?;
        tx.pragma_update(None, "application_id", layout.application_id)?;
    }
    tx.commit()?;
    Ok(())
}

fn user_version(conn: &Connection) -> rusqlite::Result<usize> {
    conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
}

/// Returns `true` if the file has its schema, and `false` for an empty file. Refuses a file with another schema
/// version, and a file of another program.
pub fn check_version(conn: &Connection, layout: &Layout) -> Result<bool, DbError> {
    let names = || -> rusqlite::Result<(usize, i32)> {
        Ok((user_version(conn)?, conn.pragma_query_value(None, "application_id", |row| row.get(0))?))
    };
    let (mut version, mut id) = names()?;
    let is_empty: bool = conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
    if id == 0 && version == 0 && !is_empty {
        // Reads the version and the application ID again, because another process may have created the schema between
        // the first two reads.
        (version, id) = names()?;
    }
    if id != layout.application_id && (id != 0 || version != 0 || !is_empty) {
        return Err(DbError::Ours(
            Error::new(Kind::Config, format!("this is not a recoup {}", layout.name))
                .hint("name another file with --database or RECOUP_DATABASE"),
        ));
    }
    if version != 0 && version != layout.version {
        return Err(DbError::Ours(other_version(layout, version)));
    }
    Ok(version != 0)
}

pub fn other_version(layout: &Layout, found: usize) -> Error {
    let hint = match layout.name {
        "index" => {
            "use the recoup that wrote it, or move the file away and run `recoup crawl`: the index can be rebuilt"
        }
        "ledger" => "use the recoup that wrote it; do not delete the ledger: it is the only record of what was sent",
        _ => "use the recoup that wrote it, or move the file away and add its users again with `recoup user add`",
    };
    let (name, known) = (layout.name, layout.version);
    let message = format!(
        "the {name} was written by another version of recoup (schema {found}, and this one has schema {known})"
    );
    Error::new(Kind::OtherVersion, message).hint(hint)
}

fn read_identity(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT value FROM identity WHERE key = ?1", [key], |row| row.get(0)).optional()
}

pub fn check_identity(conn: &Connection, identity: &Identity) -> Result<(), DbError> {
    // An empty setting counts as missing and is not compared.
    for (key, wanted) in identity.pairs().into_iter().filter(|(_, wanted)| !wanted.is_empty()) {
        if let Some(found) = read_identity(conn, key)?
            && found != wanted
        {
            return Err(other_owner(key, &found, wanted));
        }
    }
    Ok(())
}

/// Returns the error for a store that belongs to another owner.
pub fn other_owner(key: &str, found: &str, wanted: &str) -> DbError {
    Error::new(Kind::Identity, format!("this database belongs to {key} {found:?}, and the settings say {wanted:?}"))
        .hint("use another --profile or --database for another tenant, account or host")
        .into()
}

/// Records the store's owner at the first use. Refuses another owner later.
fn bind(conn: &mut Connection, identity: &Identity) -> Result<(), DbError> {
    check_identity(conn, identity)?;
    let mut is_bound = true;
    for (key, _) in identity.pairs() {
        is_bound &= read_identity(conn, key)?.is_some();
    }
    if is_bound {
        // Returns without a write lock, so that opening the file never waits for a writer.
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    check_identity(&tx, identity)?;
    for (key, value) in identity.pairs() {
        tx.execute("INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING", [key, value])?;
    }
    tx.commit()?;
    Ok(())
}

fn io_error(error: &std::io::Error, layout: &Layout, path: &Path) -> Error {
    Error::new(Kind::Storage, format!("failed to open the {} at {}: {error}", layout.name, path.display()))
        .hint("name a place that can be written to with --database or RECOUP_DATABASE")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::check_folder;

    const LAYOUT: Layout = Layout {
        name: "index",
        schema: "CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        version: 1,
        synchronous: "NORMAL",
        autocheckpoint_pages: 1000,
        application_id: 7,
    };

    fn identity(tenant: &str, account_sid: &str) -> Identity {
        let text = |text: &str| text.to_owned();
        Identity {
            tenant: text(tenant),
            account_sid: text(account_sid),
            advocate_url: text("http://a"),
            brand_url: text("http://b"),
        }
    }

    #[test]
    fn a_busy_file_is_tried_every_millisecond_until_the_limit() {
        let tries = (0..1000).take_while(|tries| pause(*tries, Duration::from_millis(20))).count();
        assert_eq!(tries, 20);
    }

    #[test]
    fn a_foreign_file_is_refused_and_stays_as_it_is() {
        let dir = TempDir::new().expect("a folder");
        for (name, setup) in [
            ("foreign", "CREATE TABLE theirs (x)"),
            ("numbered", "PRAGMA user_version = 3"),
            ("owned", "PRAGMA application_id = 9"),
        ] {
            let path = dir.path().join(name);
            Connection::open(&path).and_then(|conn| conn.execute_batch(setup)).expect("a file");
            let before = std::fs::read(&path).expect("its bytes");
            let refused = open_writer(&path, &LAYOUT, &identity("t", "s")).expect_err(name);
            assert!(refused.message.contains("not a recoup index"), "{}", refused.message);
            assert!(open_reader(&path, &LAYOUT, None).is_err(), "{name}");
            assert!(std::fs::read(&path).expect("its bytes") == before, "{name} was changed");
        }
    }

    #[test]
    fn a_setting_that_is_left_out_is_not_compared() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("a.db");
        drop(open_writer(&path, &LAYOUT, &identity("t", "s")).expect("opens"));
        for (tenant, account_sid, fits) in [("t", "", true), ("", "s", true), ("x", "", false), ("", "x", false)] {
            let opened = open_reader(&path, &LAYOUT, Some(&identity(tenant, account_sid)));
            assert_eq!(opened.is_ok(), fits, "{tenant:?} {account_sid:?}");
        }
    }

    #[test]
    fn a_file_without_a_log_can_be_read_without_its_folder() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("a ?%#.db");
        drop(open_writer(&path, &LAYOUT, &identity("t", "s")).expect("opens"));
        assert!(!has_log(&path));
        let conn = open_immutable(&path).expect("opens");
        assert_eq!(read_identity(&conn, "tenant").expect("reads").as_deref(), Some("t"));
        assert!(check_folder(&path).is_ok());
    }

    #[test]
    fn a_process_that_opens_a_file_while_it_is_made_waits_or_finds_none() {
        let dir = TempDir::new().expect("a folder");
        for n in 0..40 {
            let path = dir.path().join(format!("{n}.db"));
            let start = std::sync::Barrier::new(6);
            std::thread::scope(|scope| {
                for who in 0..6 {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        let mut is_there = who % 2 == 1;
                        for _ in 0..4 {
                            // The test alternates the kinds of open, so that all pairs of kinds run against every state
                            // of the file.
                            if is_there {
                                open_writer(path, &LAYOUT, &identity("t", "s")).map(drop)
                            } else {
                                open_reader(path, &LAYOUT, Some(&identity("t", "s"))).map(drop)
                            }
                            .unwrap_or_else(|error| panic!("{n}, writer {is_there}: {}", error.message));
                            is_there = !is_there;
                        }
                    });
                }
            });
        }
    }
}
