//! SQLite: statements and rows, and what only a file needs, such as checkpoints and checks of its pages.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{InterruptHandle, ToSql, params_from_iter};

use super::{Conn, DbError, FromValue, ToValue, Value};
use crate::error::Result;

/// One transaction. Statements are kept prepared by the driver.
pub struct Tx<'t> {
    conn: &'t rusqlite::Connection,
}

impl<'t> Tx<'t> {
    pub(super) fn new(conn: &'t rusqlite::Connection) -> Self {
        Self { conn }
    }

    /// Runs a statement; gives the number of rows that it changed.
    pub fn run(&self, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
        let changed = self.conn.prepare_cached(sql)?.execute(params_from_iter(bound(args)))?;
        Ok(changed as u64)
    }

    /// Every row.
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

    /// The first row; an error if there is none.
    pub fn one<T>(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.opt(sql, args, read)?.ok_or_else(|| DbError::Damaged("a row is missing".to_owned()))
    }

    /// The first row; `None` if there is none.
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

    /// Hands out one row at a time, for a result that is too large to be kept.
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

    /// What SQLite's check of the whole file finds first; `None` if the file is sound.
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

/// One row of a result.
pub struct Row<'r>(&'r rusqlite::Row<'r>);

impl Row<'_> {
    /// A column, counted from 0.
    ///
    /// # Errors
    /// [`DbError::Damaged`] if the column holds something else: both schemas are strict about types.
    pub fn get<'a, T: FromValue<'a>>(&'a self, column: usize) -> Result<T, DbError> {
        let value = match self.0.get_ref(column)? {
            ValueRef::Null => Some(Value::Null),
            ValueRef::Integer(number) => Some(Value::Integer(number)),
            ValueRef::Real(number) => Some(Value::Real(number)),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Value::Text),
            ValueRef::Blob(bytes) => Some(Value::Blob(bytes)),
        };
        value.and_then(T::from_value).ok_or_else(|| {
            let name = self.0.as_ref().column_name(column).unwrap_or("?");
            DbError::Damaged(format!("column {name} holds a value of another type"))
        })
    }
}

/// How much of a file SQLite checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Pages, rows, and that every index says what its table says.
    All,
    /// Pages and rows, which is much faster.
    WithoutIndexes,
}

impl Conn {
    /// Copies what is committed from the write-ahead log into the main file, without waiting for readers. If that fails,
    /// the commit still holds: it is in the log, and the next checkpoint copies it.
    pub fn checkpoint(&self) {
        drop(self.lock().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    /// The same to the last commit, on the disk; `false` if a reader of an older state was in the way for too long.
    pub fn checkpoint_fully(&self) -> Result<bool> {
        let done = self.lock().query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
            Ok(!row.get::<_, bool>(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        done.map_err(|error| self.failed(error.into()))
    }

    /// From here on, what this connection deletes is overwritten.
    pub fn overwrite_deleted(&self) -> Result<()> {
        let set = self.lock().pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()));
        set.map_err(|error| self.failed(error.into()))
    }

    /// Writes the file anew, so that nothing that was deleted is left in it, and empties its log.
    pub fn rewrite(&self) -> Result<()> {
        rewrite(&self.lock()).map_err(|error| self.failed(error.into()))
    }

    /// About how large a copy would be, in bytes.
    pub fn size(&self) -> Result<u64> {
        let size = "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        self.read(|tx| tx.one(size, &[], |row| row.get(0)))
    }

    /// Copies one moment of the store into an empty file, without what was deleted. Others may write meanwhile.
    pub fn copy_into(&self, copy: &str) -> Result<(), DbError> {
        self.lock().execute("VACUUM INTO ?1", [copy])?;
        Ok(())
    }

    /// Ends what another thread does with this connection.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.lock().get_interrupt_handle()
    }

    /// Takes the write lock, writes, and takes it back: file modes say little to root, and nothing of a file system that is
    /// mounted read-only.
    pub fn try_to_write(&self) -> Result<()> {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.repeat(|conn| {
            // The next real writer copies the log into the file.
            conn.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            Tx::new(&tx).run("UPDATE identity SET value = value", &[])?;
            Ok(tx.rollback()?)
        })
    }

    /// Asks with the driver's own connection. For the index, until it follows to [`Tx`].
    pub fn with_driver<T>(&self, work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.lock()).map_err(|error| self.failed(error.into()))
    }
}

/// Writes a file anew, so that nothing that was deleted is left in it, and empties its log.
pub fn rewrite(conn: &rusqlite::Connection) -> rusqlite::Result<()> {
    conn.execute_batch("VACUUM")?;
    let is_blocked: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if !is_blocked {
        return Ok(());
    }
    // A reader keeps the log, and with it the old pages.
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None))
}
