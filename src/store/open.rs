//! Opening a file: made if it is missing, and bound to one tenant.
//!
//! A file of another version of the schema, or of another program, is refused and stays as it is.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::file::{create_private, open_as_it_is, open_immutable};
use super::{Identity, Layout, check_file, sql_error};
use crate::error::{Error, Kind, Result};

/// How long a writer waits for another before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often one who waits looks whether the other is done: a crawl at full speed leaves a few milliseconds between two commits.
/// SQLite's own waiting looks ten times a second in the end, and would miss nearly all of them.
const LOOK: Duration = Duration::from_millis(1);

/// Opens a file for writing, creates it if it is missing (mode 0600), and checks whom it belongs to.
pub(super) fn open_writer(path: &Path, layout: &Layout, identity: &Identity) -> Result<Connection> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| io_error(&error, layout, parent))?;
    }
    check_file(path, layout)?;
    create_private(path).map_err(|error| io_error(&error, layout, path))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = open_as_it_is(path, flags).map_err(|error| sql_error(&error, layout, path))?;
    (layout.functions)(&conn).map_err(|error| sql_error(&error, layout, path))?;
    prepare(&mut conn, layout).and_then(|()| bind(&mut conn, identity)).map_err(|error| error.at(layout, path))?;
    Ok(conn)
}

/// Opens a file for reading. `None` where it does not exist yet; `identity` is checked where it is given.
pub(super) fn open_reader(path: &Path, layout: &Layout, identity: Option<&Identity>) -> Result<Option<Connection>> {
    // A file that cannot be seen is not a file that is not there: an answer of "nothing was sent" must not come from that.
    if !path.try_exists().map_err(|error| io_error(&error, layout, path))? {
        return Ok(None);
    }
    check_file(path, layout)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = open_as_it_is(path, flags).map_err(|error| sql_error(&error, layout, path))?;
    // Before the first question: another process may be making the file, or recovering its log after a crash.
    be_patient(&mut conn).map_err(|error| sql_error(&error, layout, path))?;
    let is_made = match check_version(&conn, layout) {
        Err(OpenError::Sql(error)) if needs_its_folder(&error) && !has_log(path) => {
            conn = open_immutable(path).map_err(|error| sql_error(&error, layout, path))?;
            check_version(&conn, layout)
        }
        checked => checked,
    }
    .map_err(|error| error.at(layout, path))?;
    if !is_made {
        // Created, and the first writer has not got to the schema yet: the same as not there.
        return Ok(None);
    }
    be_patient(&mut conn)
        .and_then(|()| plan_once(&conn))
        .and_then(|()| (layout.functions)(&conn))
        .map_err(|error| sql_error(&error, layout, path))?;
    if let Some(identity) = identity {
        check_identity(&conn, identity).map_err(|error| error.at(layout, path))?;
    }
    Ok(Some(conn))
}

/// Whether a file could not be read because SQLite may not make its `-shm` beside it.
fn needs_its_folder(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Whether commits may be in the write-ahead log and not yet in the file.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// A failure on the way to an open file, before the file's name is known to it.
pub(super) enum OpenError {
    Sql(rusqlite::Error),
    Ours(Error),
}

impl OpenError {
    pub(super) fn at(self, layout: &Layout, path: &Path) -> Error {
        match self {
            Self::Sql(error) => sql_error(&error, layout, path),
            Self::Ours(error) => error.context(path.display()),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A prepared statement keeps its plan. SQLite otherwise parses it again whenever a value is bound that a plan could depend on,
/// a `LIMIT` for example, which costs more than most of our questions do.
fn plan_once(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// The pragmas, each with its reason, and the schema in one exclusive transaction.
fn prepare(conn: &mut Connection, layout: &Layout) -> Result<(), OpenError> {
    be_patient(conn)?;
    plan_once(conn)?;
    // First of all: the next pragma changes the file, and a file that is not ours, or of another version, must stay as it is.
    let is_made = check_version(conn, layout)?;
    // Readers go on while a crawl writes, and a commit is one append.
    keep_a_log(conn)?;
    // The ledger must survive a power cut with its last row (FULL); the index may lose its last batch, never its form.
    conn.pragma_update(None, "synchronous", layout.synchronous)?;
    // Sorting and temporary tables of a crawl stay off a disk that may be full.
    conn.pragma_update(None, "temp_store", "memory")?;
    if !is_made {
        make_schema(conn, layout)?;
    }
    // Rows refer to each other; a dangling one is a bug to hear of at once.
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// Turns the write-ahead log on. That needs the file for a moment alone, and SQLite does not wait for it as it does for
/// everything else: where several processes come to a new file at once, all but one would be told that it is locked.
fn keep_a_log(conn: &Connection) -> rusqlite::Result<()> {
    let mut looks = 0;
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && look_again(looks, BUSY_TIMEOUT) =>
            {
                looks += 1;
            }
            done => return done,
        }
    }
}

/// Another process may be in the middle of a commit: a connection waits for it.
pub(super) fn be_patient(conn: &mut Connection) -> rusqlite::Result<()> {
    conn.busy_handler(Some(|looks| look_again(looks, BUSY_TIMEOUT)))
}

/// A pause before the next look; `false` once that has taken too long.
pub(super) fn look_again(looks: i32, within: Duration) -> bool {
    let is_early = LOOK * looks.unsigned_abs() < within;
    if is_early {
        std::thread::park_timeout(LOOK);
    }
    is_early
}

/// The whole schema, or nothing.
fn make_schema(conn: &mut Connection, layout: &Layout) -> Result<(), OpenError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Another process may have made it while this one waited for the lock.
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

/// Whether the file has its schema; `false` for an empty one. Refuses another version of the schema and a file that is not ours.
pub(super) fn check_version(conn: &Connection, layout: &Layout) -> Result<bool, OpenError> {
    let names = || -> rusqlite::Result<(usize, i32)> {
        Ok((user_version(conn)?, conn.pragma_query_value(None, "application_id", |row| row.get(0))?))
    };
    let (mut version, mut id) = names()?;
    let is_empty: bool = conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
    if id == 0 && version == 0 && !is_empty {
        // Another process may have made it between these questions; what it made has its name by now.
        (version, id) = names()?;
    }
    if id != layout.application_id && (id != 0 || version != 0 || !is_empty) {
        return Err(OpenError::Ours(
            Error::new(Kind::Config, format!("this is not a recoup {}", layout.name))
                .hint("name another file with --database or RECOUP_DATABASE"),
        ));
    }
    if version != 0 && version != layout.version {
        return Err(OpenError::Ours(other_version(layout, version)));
    }
    Ok(version != 0)
}

fn other_version(layout: &Layout, found: usize) -> Error {
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

pub(super) fn check_identity(conn: &Connection, identity: &Identity) -> Result<(), OpenError> {
    // What the settings leave out is empty, and is not compared.
    for (key, wanted) in identity.pairs().into_iter().filter(|(_, wanted)| !wanted.is_empty()) {
        if let Some(found) = read_identity(conn, key)?
            && found != wanted
        {
            return Err(OpenError::Ours(
                Error::new(
                    Kind::Identity,
                    format!("this database belongs to {key} {found:?}, and the settings say {wanted:?}"),
                )
                .hint("use another --profile or --database for another tenant, account or host"),
            ));
        }
    }
    Ok(())
}

/// Records whom the file belongs to at first use, and refuses another.
fn bind(conn: &mut Connection, identity: &Identity) -> Result<(), OpenError> {
    check_identity(conn, identity)?;
    let mut is_bound = true;
    for (key, _) in identity.pairs() {
        is_bound &= read_identity(conn, key)?.is_some();
    }
    if is_bound {
        // A process that only opens the file does not wait for one that writes.
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
        functions: |_| Ok(()),
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
    fn who_waits_looks_every_millisecond_until_it_has_taken_too_long() {
        let looks = (0..1000).take_while(|looks| look_again(*looks, Duration::from_millis(20))).count();
        assert_eq!(looks, 20);
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
    fn only_what_is_set_is_compared() {
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
    fn whoever_comes_while_a_file_is_made_waits_or_finds_none() {
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
                            // In turns, so that each kind meets each other in every state of the file.
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
