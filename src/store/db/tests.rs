//! Tests of what the executor guarantees to a store's closure. The tests run on a file and, if `TEST_POSTGRES` is set,
//! on a PostgreSQL server.

use std::cell::Cell;

use tempfile::TempDir;

use super::*;
use crate::error::Kind;

const LAYOUT: Layout = Layout {
    name: "index",
    schema: "CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
             CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, size REAL, bytes BLOB) STRICT",
    version: 1,
    synchronous: "NORMAL",
    autocheckpoint_pages: 1000,
    application_id: 7,
};

fn open() -> (TempDir, Conn) {
    let dir = TempDir::new().expect("a folder");
    let conn = Conn::open(&dir.path().join("a.db").into(), &LAYOUT, &Identity::of_a_test()).expect("opens");
    (dir, conn)
}

fn insert(tx: &Tx<'_>, name: &str) -> Result<u64, DbError> {
    tx.run("INSERT INTO things (name) VALUES (?1)", &[&name])
}

fn names(conn: &Conn) -> Vec<String> {
    conn.read(|tx| tx.rows("SELECT name FROM things ORDER BY id", &[], |row| row.get(0))).expect("reads")
}

#[test]
fn a_transaction_that_collides_is_repeated_as_a_whole() {
    let (_dir, conn) = open();
    let tries = Cell::new(0);
    let written = conn.write(|tx| {
        insert(tx, "once")?;
        tries.set(tries.get() + 1);
        if tries.get() < 3 { Err(DbError::Retry) } else { Ok(tries.get()) }
    });
    assert_eq!((written.expect("writes"), names(&conn)), (3, vec!["once".to_owned()]));
}

#[test]
fn a_transaction_that_still_collides_at_the_limit_fails_as_busy() {
    let (dir, _conn) = open();
    let path = dir.path().join("a.db");
    let conn = Conn::open_existing(&path.into(), &LAYOUT, None, Patience::None).expect("opens").expect("is there");
    let error = conn.write(|tx| insert(tx, "x").and(Err::<(), _>(DbError::Retry))).expect_err("there is a bound");
    assert_eq!((error.kind, names(&conn)), (Kind::Busy, Vec::new()));
}

#[test]
fn a_closure_that_fails_leaves_nothing() {
    let (_dir, conn) = open();
    let refusal = || Error::new(Kind::Refused, "no").hint("ask");
    let error = conn.write(|tx| insert(tx, "x").and(Err::<(), _>(refusal().into()))).expect_err("refused");
    assert_eq!((error.kind, error.message.as_str(), names(&conn)), (Kind::Refused, "no", Vec::new()));
    insert_twice(&conn).expect_err("one key");
    assert_eq!(names(&conn), Vec::<String>::new());
}

fn insert_twice(conn: &Conn) -> Result<()> {
    conn.write(|tx| {
        for _ in 0..2 {
            tx.run("INSERT INTO things (id, name) VALUES (1, ?1)", &[&"x"])?;
        }
        Ok(())
    })
}

#[test]
fn every_value_is_read_as_it_was_written_and_as_nothing_else() {
    let (_dir, conn) = open();
    conn.write(|tx| {
        let id: i64 = tx.one(
            "INSERT INTO things (name, size, bytes) VALUES (?1, ?2, ?3) RETURNING id",
            &[&Some("ä\0b"), &1.5, &[1_u8, 2]],
            |row| row.get(0),
        )?;
        tx.one("SELECT name, size, bytes, CAST(?2 AS INTEGER) FROM things WHERE id = ?1", &[&id, &u64::MAX], |row| {
            assert_eq!((row.get::<&str>(0)?, row.get::<f64>(1)?, row.get::<[u8; 2]>(2)?), ("ä\0b", 1.5, [1, 2]));
            assert_eq!(row.get::<Option<i64>>(3)?, Some(i64::MAX), "no larger number fits");
            for wrong in [
                row.get::<i64>(0).err(),
                row.get::<&str>(2).err(),
                row.get::<[u8; 3]>(2).err(),
                row.get::<u32>(3).err(),
            ] {
                assert!(matches!(wrong, Some(DbError::Damaged(_))), "{wrong:?}");
            }
            Ok(())
        })?;
        let none = tx.opt("SELECT name FROM things WHERE id = 99", &[], |row| row.get::<String>(0))?;
        assert_eq!(none, None);
        Ok(())
    })
    .expect("writes");
}

#[test]
fn a_read_sees_one_moment_while_others_write() {
    let (dir, conn) = open();
    let other = Conn::open(&dir.path().join("a.db").into(), &LAYOUT, &Identity::of_a_test()).expect("opens");
    let count = |tx: &Tx<'_>| tx.one("SELECT count(*) FROM things", &[], |row| row.get::<i64>(0));
    let both = conn.read(|tx| {
        let before = count(tx)?;
        other.write(|tx| insert(tx, "x"))?;
        Ok((before, count(tx)?))
    });
    assert_eq!((both.expect("reads"), names(&conn).len()), ((0, 0), 1));
}

#[test]
fn a_read_inside_a_read_sees_the_same_moment_and_the_next_read_sees_the_commits() {
    let (dir, conn) = open();
    let other = Conn::open(&dir.path().join("a.db").into(), &LAYOUT, &Identity::of_a_test()).expect("opens");
    let count = || conn.read(|tx| tx.one("SELECT count(*) FROM things", &[], |row| row.get::<i64>(0)));
    let inside = conn.read(|_outer| {
        let before = count()?;
        other.write(|tx| insert(tx, "x"))?;
        Ok((before, count()?))
    });
    assert_eq!((inside.expect("reads"), count().expect("reads")), ((0, 0), 1));
}

#[test]
fn threads_share_a_store() {
    fn shared<T: Send + Sync>() {}
    shared::<Conn>();
    shared::<crate::store::index::IndexReader>();
    let (_dir, conn) = open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| conn.write(|tx| insert(tx, "x")).expect("writes"));
        }
    });
    assert_eq!(names(&conn).len(), 4);
}
