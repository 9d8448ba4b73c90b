//! Tests on a PostgreSQL server, whose address is in `TEST_POSTGRES`. Without `TEST_POSTGRES`, the tests are skipped
//! with a reason.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;

use super::*;
use crate::store::db::{Conn, Place};
use crate::store::{access, batch_parts, index, ledger, notices};

const LAYOUT: Layout = Layout {
    name: "index",
    schema: "CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
             CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, size REAL, bytes BLOB) STRICT;",
    version: 1,
    synchronous: "NORMAL",
    autocheckpoint_pages: 1000,
    application_id: 7,
};

/// Returns a PostgreSQL server with new schemas.
fn server() -> Option<Arc<Server>> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "the server of the tests is no setting")]
    let Ok(address) = std::env::var("TEST_POSTGRES") else {
        let _nobody_reads_it =
            writeln!(std::io::stderr(), "skipped: this test needs a server, which TEST_POSTGRES names");
        return None;
    };
    let schema = format!("u{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let address = format!("{address}?sslmode=disable&lock_seconds=3&schema={schema}");
    Some(Arc::new(Server::parse(SecretString::from(address)).expect("a valid address")))
}

fn open(server: &Arc<Server>) -> Conn {
    Conn::open(&Place::Server(Arc::clone(server)), &LAYOUT, &Identity::of_a_test()).expect("opens")
}

fn insert(tx: &Tx<'_>, name: &str) -> Result<u64, DbError> {
    tx.run("INSERT INTO things (name) VALUES (?1)", &[&name])
}

fn count(tx: &Tx<'_>) -> Result<i64, DbError> {
    tx.one("SELECT count(*) FROM things", &[], |row| row.get(0))
}

#[test]
fn every_value_is_read_as_it_was_written() {
    let Some(server) = server() else { return };
    let conn = open(&server);
    conn.write(|tx| {
        let id: i64 = tx.one(
            "INSERT INTO things (name, size, bytes) VALUES (?1, ?2, ?3) RETURNING id",
            &[&Some("\u{e4}?1'"), &1.5, &[1_u8, 2]],
            |row| row.get(0),
        )?;
        tx.one("SELECT name, size, bytes, ?2, id IS NULL, '?' FROM things WHERE id = ?1", &[&id, &7_i64], |row| {
            assert_eq!((row.get::<&str>(0)?, row.get::<f64>(1)?, row.get::<[u8; 2]>(2)?), ("\u{e4}?1'", 1.5, [1, 2]));
            assert_eq!((row.get::<i64>(3)?, row.get::<bool>(4)?, row.get::<&str>(5)?), (7, false, "?"));
            assert!(matches!(row.get::<i64>(0), Err(DbError::Damaged(_))));
            Ok(())
        })?;
        let none = tx.opt(
            "SELECT name FROM things WHERE id = 99 AND name IS NOT DISTINCT FROM ?1",
            &[&None::<&str>],
            |row| row.get::<String>(0),
        )?;
        assert_eq!(none, None);
        Ok(())
    })
    .expect("writes");
    let refused = conn.write(|tx| insert(tx, "a\0b")).expect_err("the server cannot store it");
    assert!(refused.message.contains("NUL"), "{}", refused.message);
}

#[test]
fn writes_follow_each_other_and_reads_see_one_moment() {
    let Some(server) = server() else { return };
    let (conn, other) = (open(&server), open(&server));
    let both = conn.read(|tx| {
        let before = count(tx)?;
        other.write(|tx| insert(tx, "x"))?;
        let joined = conn.read(count)?;
        Ok((before, count(tx)?, joined))
    });
    assert_eq!(both.expect("reads"), (0, 0, 0));
    std::thread::scope(|scope| {
        for conn in [&conn, &other, &conn, &other] {
            scope.spawn(move || {
                for _ in 0..10 {
                    // Without a lock on the row, two writers would read the same count.
                    conn.write(|tx| {
                        let n = count(tx)?;
                        tx.run("INSERT INTO things (id, name) VALUES (?1, 'n')", &[&(n + 1000)]).map(drop)
                    })
                    .expect("writes");
                }
            });
        }
    });
    assert_eq!(conn.read(count).expect("reads"), 41);
}

#[test]
fn a_closure_that_fails_leaves_nothing_and_a_swallowed_error_is_not_a_success() {
    let Some(server) = server() else { return };
    let conn = open(&server);
    let refusal = || Error::new(Kind::Refused, "no").hint("ask");
    conn.write(|tx| insert(tx, "x").and(Err::<(), _>(refusal().into()))).expect_err("refused");
    let swallowed = conn.write(|tx| {
        insert(tx, "x")?;
        drop(tx.run("INSERT INTO nowhere (x) VALUES (1)", &[]));
        Ok(())
    });
    assert!(swallowed.is_err(), "the server has rolled it back");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        conn.write(|tx| -> Result<(), DbError> {
            insert(tx, "x")?;
            panic!("a bug")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(conn.read(count).expect("reads"), 0);
    conn.write(|tx| insert(tx, "y")).expect("the next one works");
}

#[test]
fn a_large_result_is_read_in_parts_while_other_statements_run() {
    let Some(server) = server() else { return };
    let conn = open(&server);
    conn.write(|tx| tx.run("INSERT INTO things (id, name) SELECT n, 'n' FROM generate_series(1, 2500) AS s (n)", &[]))
        .expect("writes");
    let mut seen = 0;
    conn.read(|tx| {
        tx.each("SELECT id FROM things WHERE id > ?1 ORDER BY id", &[&0_i64], |row| {
            seen += 1;
            assert_eq!(row.get::<i64>(0)?, seen);
            if seen % 1000 == 7 {
                assert_eq!(count(tx)?, 2500);
            }
            Ok(())
        })
    })
    .expect("reads");
    assert_eq!(seen, 2500);
}

#[test]
fn a_store_of_another_owner_version_or_program_is_refused() {
    let Some(server) = server() else { return };
    drop(open(&server));
    let place = Place::Server(Arc::clone(&server));
    let other = Identity { tenant: "another".to_owned(), ..Identity::of_a_test() };
    assert_eq!(Conn::open(&place, &LAYOUT, &other).expect_err("refused").kind, Kind::Identity);
    let newer = Box::leak(Box::new(Layout { version: 2, ..LAYOUT }));
    assert_eq!(Conn::open(&place, newer, &Identity::of_a_test()).expect_err("refused").kind, Kind::OtherVersion);
    let conn = open(&server);
    conn.write(|tx| tx.run("UPDATE store_state SET layout = 'theirs'", &[])).expect("writes");
    let foreign = Conn::open(&place, &LAYOUT, &Identity::of_a_test()).expect_err("refused");
    assert!(foreign.message.contains("not a recoup index"), "{}", foreign.message);
}

#[test]
fn a_lock_has_one_holder_and_a_session_without_it_cannot_write() {
    let Some(server) = server() else { return };
    let take = || ServerLock::try_take(&server, &index::LAYOUT, "crawl").expect("answers");
    let first = take().expect("free");
    assert!(take().is_none() && first.is_held());
    assert!(!ServerLock::is_free(&server, &index::LAYOUT, "crawl").expect("answers"));
    let conn = Conn::open(&Place::Server(Arc::clone(&server)), &index::LAYOUT, &Identity::of_a_test()).expect("opens");
    conn.fence(&first);
    let write = || conn.write(|tx| tx.run("DELETE FROM refusals", &[]));
    write().expect("the lock is held");
    drop(first);
    assert_eq!(write().expect_err("the lock was released").kind, Kind::Busy);
    let second = take().expect("free again");
    let error = write().expect_err("another process holds the lock");
    assert_eq!(error.kind, Kind::Busy, "{}", error.message);
    conn.fence(&second);
    write().expect("the lock is held");
}

/// A failover loses the row of a lock. Another process then takes the lock with the same epoch.
#[test]
fn two_processes_with_one_epoch_do_not_both_hold_the_lock() {
    let Some(server) = server() else { return };
    let place = Place::Server(Arc::clone(&server));
    let conn = Conn::open(&place, &index::LAYOUT, &Identity::of_a_test()).expect("opens");
    let lock = ServerLock::try_take(&server, &index::LAYOUT, "crawl").expect("answers").expect("free");
    conn.write(|tx| tx.run("UPDATE locks SET holder = 'another'", &[])).expect("writes");
    conn.fence(&lock);
    let error = conn.write(|tx| tx.run("DELETE FROM refusals", &[])).expect_err("another process holds it");
    assert_eq!(error.kind, Kind::Busy, "{}", error.message);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while lock.is_held() {
        assert!(tokio::time::Instant::now() < deadline, "it renews the lock of another process");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A promotion changes the instance, as new tables do here.
#[test]
fn a_lock_of_another_instance_lets_no_session_write() {
    let Some(server) = server() else { return };
    let place = Place::Server(Arc::clone(&server));
    let conn = Conn::open(&place, &index::LAYOUT, &Identity::of_a_test()).expect("opens");
    let lock = ServerLock::try_take(&server, &index::LAYOUT, "crawl").expect("answers").expect("free");
    conn.fence(&lock);
    let write = || conn.write(|tx| tx.run("DELETE FROM refusals", &[]));
    write().expect("the lock is held");
    let again = Conn::open(&place, &index::LAYOUT, &Identity::of_a_test()).expect("opens");
    again
        .write(|tx| {
            tx.run("ALTER TABLE store_state RENAME TO old_state", &[])?;
            tx.run("CREATE TABLE store_state AS SELECT * FROM old_state", &[])
        })
        .expect("writes");
    let error = write().expect_err("this is another store now");
    assert!(error.message.contains("not the one on which this work began"), "{}", error.message);
}

#[test]
fn a_version_never_comes_back_with_other_content() {
    let Some(server) = server() else { return };
    let conn = open(&server);
    let version =
        || conn.read(|tx| tx.one("SELECT version FROM store_state", &[], |row| row.get::<i64>(0))).expect("reads");
    let before = version();
    conn.write(|tx| insert(tx, "x")).expect("writes");
    let lost = version();
    // A standby that lacks the commit is promoted.
    conn.write(|tx| tx.run("UPDATE store_state SET version = ?1", &[&before])).expect("writes");
    conn.write(|tx| insert(tx, "y")).expect("writes");
    assert_ne!(version(), lost);
}

#[test]
fn the_number_of_a_commit_is_kept_for_a_day() {
    let Some(server) = server() else { return };
    let conn = open(&server);
    let old = "INSERT INTO commits (nonce, at) SELECT 'h' || h, clock_timestamp() - h * interval '1 hour'
         FROM generate_series(22, 26) AS s (h)";
    conn.write(|tx| tx.run(old, &[])).expect("writes");
    conn.write(|tx| insert(tx, "x")).expect("writes");
    let kept = "SELECT nonce FROM commits WHERE nonce LIKE 'h%' ORDER BY nonce";
    let kept = conn.read(|tx| tx.rows(kept, &[], |row| row.get::<String>(0))).expect("reads");
    assert_eq!(kept, ["h22", "h23"]);
}

#[test]
fn a_user_without_the_right_to_use_a_schema_sees_an_error_and_not_an_absent_store() {
    let Some(server) = server() else { return };
    let place = Place::Server(Arc::clone(&server));
    let conn = Conn::open(&place, &ledger::LAYOUT, &Identity::of_a_test()).expect("opens");
    let role = format!("without_rights_{}", std::process::id());
    conn.write(|tx| tx.run(&format!("CREATE ROLE {role} LOGIN"), &[])).expect("writes");
    let address = server.key().replacen("postgres://recoup@", &format!("postgres://{role}@"), 1);
    let other = Arc::new(Server::parse(SecretString::from(address)).expect("a valid address"));
    let place = Place::Server(Arc::clone(&other));
    let opened = Conn::open_read_only(&place, &ledger::LAYOUT, None).map(|conn| conn.is_some());
    let is_free =
        ServerLock::is_free(&other, &ledger::LAYOUT, "send").map_err(|error| error.of(&ledger::LAYOUT, &place));
    let exists = index::IndexReader::exists(&place);
    conn.write(|tx| tx.run(&format!("DROP ROLE {role}"), &[])).expect("writes");
    assert_eq!(exists.map_err(|error| error.kind), Ok(false), "there is no index");
    for refused in [opened, is_free] {
        let error = refused.expect_err("it may not look");
        assert!(error.message.contains("permission denied"), "{}", error.message);
    }
}

/// The columns of every table: their names, in order, and whether they may be null.
type Columns = BTreeMap<String, Vec<(String, String, bool)>>;

#[test]
fn both_engines_have_the_same_tables_and_columns() {
    let Some(server) = server() else { return };
    for layout in [&index::LAYOUT, &ledger::LAYOUT, &access::LAYOUT, &notices::LAYOUT, &batch_parts::LAYOUT] {
        let file = rusqlite::Connection::open_in_memory().expect("opens");
        file.execute_batch(layout.schema).expect("valid SQL");
        let mut of_file = Columns::new();
        let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("valid SQL");
        let tables: Vec<String> =
            tables.query_map([], |row| row.get(0)).expect("reads").map(|name| name.expect("a name")).collect();
        for table in tables {
            let mut info = file
                .prepare(&format!(
                    "SELECT name, type, \"notnull\" OR pk > 0 FROM pragma_table_info('{table}') ORDER BY cid"
                ))
                .expect("valid SQL");
            let columns = info
                .query_map([], |row| {
                    let kind = match row.get::<_, String>(1)?.as_str() {
                        "INTEGER" => "bigint",
                        "REAL" => "double precision",
                        "BLOB" => "bytea",
                        "TEXT" => "text",
                        other => panic!("{other}"),
                    };
                    Ok((row.get(0)?, kind.to_owned(), row.get(2)?))
                })
                .expect("reads")
                .map(|column| column.expect("a column"))
                .collect();
            of_file.insert(table, columns);
        }
        let conn = Conn::open(&Place::Server(Arc::clone(&server)), layout, &Identity::of_a_test()).expect("opens");
        let select = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT), is_nullable = 'NO'
             FROM information_schema.columns WHERE table_schema = CAST(current_schema() AS TEXT) ORDER BY table_name, ordinal_position";
        let mut of_server = Columns::new();
        conn.read(|tx| {
            tx.each(select, &[], |row| {
                let column = (row.get(1)?, row.get(2)?, row.get(3)?);
                of_server.entry(row.get(0)?).or_default().push(column);
                Ok(())
            })
        })
        .expect("reads");
        of_server.retain(|table, _| !["store_state", "commits", "locks"].contains(&table.as_str()));
        assert_eq!(of_server, of_file, "{}", layout.name);
    }
}
