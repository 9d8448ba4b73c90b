//! SQLite: statements, rows, and operations on the file, such as checkpoints and page checks.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{InterruptHandle, ToSql, Transaction, TransactionBehavior, params_from_iter};

use super::{Conn, DbError, FromValue, ToValue, Value};
use crate::error::Result;

/// A transaction, in which a store runs its SQL. The driver caches prepared statements.
pub struct Tx<'t> {
    conn: &'t rusqlite::Connection,
}

impl<'t> Tx<'t> {
    pub(super) fn new(conn: &'t rusqlite::Connection) -> Self {
        Self { conn }
    }

    /// Runs a statement; returns the number of changed rows.
    pub fn run(&self, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
        let changed = self.conn.prepare_cached(sql)?.execute(params_from_iter(bound(args)))?;
        Ok(changed as u64)
    }

    /// Returns every row of a query.
    pub fn rows<T>(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let mut all = Vec::new();
        self.each(sql, args, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Returns the first row of a query; fails if the result is empty.
    pub fn one<T>(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.opt(sql, args, read)?.ok_or_else(|| DbError::Damaged("a row is missing".to_owned()))
    }

    /// Returns the first row of a query; `None` if the result is empty.
    pub fn opt<T>(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(bound(args)))?;
        rows.next()?.map(|row| read(&Row(row))).transpose()
    }

    /// Passes the rows of a query to a closure one at a time, for a result that is too large for memory.
    pub fn each(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        mut read: impl FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(bound(args)))?;
        while let Some(row) = rows.next()? {
            read(&Row(row))?;
        }
        Ok(())
    }

    /// Returns a number that changes after another connection commits to the file.
    pub fn data_version(&self) -> Result<i64, DbError> {
        self.one("PRAGMA data_version", &[], |row| row.get(0))
    }

    /// Returns the first finding of SQLite's check of the whole file; `None` if the file is intact.
    pub fn first_damage(&self, checks: Checks) -> Result<Option<String>, DbError> {
        let sql = match checks {
            Checks::All => "PRAGMA integrity_check(1)",
            Checks::WithoutIndexes => "PRAGMA quick_check(1)",
        };
        let finding: String = self.one(sql, &[], |row| row.get(0))?;
        Ok(Some(finding).filter(|finding| finding != "ok"))
    }
}

fn bound<'a>(args: &'a [&'a dyn ToValue]) -> impl Iterator<Item = Value<'a>> {
    args.iter().map(|arg| arg.to_value())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Real(number) => ValueRef::Real(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// One row of a query's result.
pub struct Row<'r>(&'r rusqlite::Row<'r>);

impl Row<'_> {
    /// Reads a column, counted from 0.
    ///
    /// # Errors
    /// [`DbError::Damaged`] if the column holds a value of another type, which no strict table does.
    pub fn get<'a, T: FromValue<'a>>(&'a self, column: usize) -> Result<T, DbError> {
        self.value(column)?.and_then(T::from_value).ok_or_else(|| {
            let name = self.0.as_ref().column_name(column).unwrap_or("?");
            DbError::Damaged(format!("column {name} holds a value of another type"))
        })
    }

    /// Returns the value of a column, counted from 0. Returns `None` if its text is not UTF-8, which only damage causes.
    pub fn value(&self, column: usize) -> Result<Option<Value<'_>>, DbError> {
        Ok(match self.0.get_ref(column)? {
            ValueRef::Null => Some(Value::Null),
            ValueRef::Integer(number) => Some(Value::Integer(number)),
            ValueRef::Real(number) => Some(Value::Real(number)),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Value::Text),
            ValueRef::Blob(bytes) => Some(Value::Blob(bytes)),
        })
    }
}

/// The parts of a file that SQLite checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Checks pages and rows, and compares every index with its table.
    All,
    /// Checks only pages and rows, which is much faster.
    WithoutIndexes,
}

impl Conn {
    /// Copies commits from the write-ahead log into the main file, without waiting for readers. Ignores a failure: the commits
    /// stay in the log, and the next checkpoint copies them.
    pub fn checkpoint(&self) {
        drop(self.lock().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    /// Copies every commit into the main file and syncs it to the disk. Returns `false` if a reader of an older state blocked the
    /// checkpoint for too long.
    pub fn checkpoint_fully(&self) -> Result<bool> {
        let done = self.lock().query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
            Ok(!row.get::<_, bool>(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        done.map_err(|error| self.failed(error.into()))
    }

    /// Runs `work` in one write transaction that survives a power cut, and copies the commit into the main file. If a reader
    /// prevents the copy, the commit stays in the write-ahead log.
    pub fn write_durably<T>(&self, work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T> {
        let conn = self.lock();
        let set = |synchronous: &str| {
            conn.pragma_update(None, "synchronous", synchronous).map_err(|error| self.failed(error.into()))
        };
        set("FULL")?;
        let written = self.write(work);
        if written.is_ok() {
            self.checkpoint();
        }
        set(self.layout().synchronous)?;
        written
    }

    /// Makes SQLite overwrite everything that this connection deletes from now on.
    pub fn overwrite_deleted(&self) -> Result<()> {
        let set = self.lock().pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()));
        set.map_err(|error| self.failed(error.into()))
    }

    /// Rewrites the file without deleted data, and empties its write-ahead log.
    pub fn rewrite(&self) -> Result<()> {
        self.repeat(|conn| {
            // SQLite copies the whole file, which may not fit into memory.
            conn.pragma_update(None, "temp_store", "file")?;
            conn.execute_batch("VACUUM")?;
            let is_blocked: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            // A reader prevents SQLite from emptying the log, so the old pages are still in it.
            if is_blocked { Err(DbError::Busy) } else { Ok(()) }
        })
    }

    /// Returns the approximate size of a copy, in bytes.
    pub fn size(&self) -> Result<u64> {
        let size = "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        self.read(|tx| tx.one(size, &[], |row| row.get(0)))
    }

    /// Copies one state of the store into an empty file, without deleted data. Other processes may write meanwhile.
    pub fn copy_into(&self, copy: &str) -> Result<(), DbError> {
        self.lock().execute("VACUUM INTO ?1", [copy])?;
        Ok(())
    }

    /// Returns a handle that interrupts this connection's current statement from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.lock().get_interrupt_handle()
    }

    /// Takes the write lock, writes, and rolls back. A check of file modes is not enough: root ignores them, and they do not
    /// show a read-only mount.
    pub fn try_to_write(&self) -> Result<()> {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.repeat(|conn| {
            // Leaves the log in place at close, so that the next real writer copies it into the file.
            conn.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            Tx::new(&tx).run("UPDATE identity SET value = value", &[])?;
            Ok(tx.rollback()?)
        })
    }
}
