//! SQLite: statements, rows, and operations on the file, such as checkpoints.

use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, InterruptHandle, ToSql, Transaction, TransactionBehavior, params_from_iter};

use super::{BUSY_POLL, DbError, Patience, Row, ToValue, Tx, Value};

/// The size of a connection's statement cache: larger than the number of statements of any store.
const STATEMENTS_KEPT: usize = 128;

pub fn run(conn: &Connection, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
    let changed = conn.prepare_cached(sql)?.execute(params_from_iter(bound(args)))?;
    Ok(changed as u64)
}

pub fn opt<T>(
    conn: &Connection,
    sql: &str,
    args: &[&dyn ToValue],
    read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
) -> Result<Option<T>, DbError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(bound(args)))?;
    rows.next()?.map(|row| read(&Row::sqlite(row))).transpose()
}

pub fn each(
    conn: &Connection,
    sql: &str,
    args: &[&dyn ToValue],
    mut read: impl FnMut(&Row<'_>) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(bound(args)))?;
    while let Some(row) = rows.next()? {
        read(&Row::sqlite(row))?;
    }
    Ok(())
}

pub fn value<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<Option<Value<'a>>, DbError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Some(Value::Null),
        ValueRef::Integer(number) => Some(Value::Integer(number)),
        ValueRef::Real(number) => Some(Value::Real(number)),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Value::Text),
        ValueRef::Blob(bytes) => Some(Value::Blob(bytes)),
    })
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

/// An open database file. Threads share one `File`; a mutex serialises their access. The mutex is reentrant, so
/// that several reads can join one read transaction.
#[derive(Debug)]
pub struct File {
    conn: ReentrantMutex<Connection>,
}

impl File {
    pub fn new(conn: Connection) -> Self {
        conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self { conn: ReentrantMutex::new(conn) }
    }

    /// Locks the connection. A thread that panics while it holds the lock drops its transaction, which rolls it back.
    pub fn lock(&self) -> ReentrantMutexGuard<'_, Connection> {
        self.conn.lock()
    }

    pub fn read<T>(
        &self,
        patience: Patience,
        mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.repeat(patience, |conn| {
            // A read transaction needs no commit.
            let _held = conn.is_autocommit().then(|| conn.unchecked_transaction()).transpose()?;
            work(&Tx::sqlite(conn))
        })
    }

    pub fn write<T>(
        &self,
        patience: Patience,
        mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.repeat(patience, |conn| {
            let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            let value = work(&Tx::sqlite(&tx))?;
            tx.commit()?;
            Ok(value)
        })
    }

    fn repeat<T>(
        &self,
        patience: Patience,
        mut attempt: impl FnMut(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let conn = self.lock();
        let mut tries = 0;
        loop {
            match attempt(&conn) {
                // `Busy` is not retried, because SQLite returns it only after the busy handler has waited for this
                // connection's limit.
                Err(DbError::Retry) if BUSY_POLL * tries < patience.limit() => {
                    tries += 1;
                    std::thread::park_timeout(BUSY_POLL);
                }
                done => return done,
            }
        }
    }

    pub fn checkpoint(&self) {
        drop(self.lock().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    pub fn checkpoint_fully(&self) -> Result<bool, DbError> {
        Ok(self.lock().query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
            Ok(!row.get::<_, bool>(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        })?)
    }

    /// Runs `work` in one write transaction that survives a power cut. `usual` is the value of `PRAGMA synchronous`
    /// outside of this call.
    pub fn write_durably<T>(
        &self,
        patience: Patience,
        usual: &str,
        work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let conn = self.lock();
        conn.pragma_update(None, "synchronous", "FULL")?;
        let written = self.write(patience, work);
        if written.is_ok() {
            self.checkpoint();
        }
        conn.pragma_update(None, "synchronous", usual)?;
        written
    }

    pub fn overwrite_deleted(&self) -> Result<(), DbError> {
        Ok(self.lock().pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))?)
    }

    pub fn rewrite(&self, patience: Patience) -> Result<(), DbError> {
        self.repeat(patience, |conn| {
            // SQLite copies the whole database file, which may not fit into memory.
            conn.pragma_update(None, "temp_store", "file")?;
            conn.execute_batch("VACUUM")?;
            let is_blocked: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            // A reader prevents SQLite from emptying the log, so deleted data may still be in the log.
            if is_blocked { Err(DbError::Busy) } else { Ok(()) }
        })
    }

    pub fn copy_into(&self, copy: &str) -> Result<(), DbError> {
        self.lock().execute("VACUUM INTO ?1", [copy])?;
        Ok(())
    }

    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.lock().get_interrupt_handle()
    }

    /// Tests whether the file is writable: takes the write lock, writes, and rolls back.
    pub fn try_to_write(&self, patience: Patience) -> Result<(), DbError> {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        self.repeat(patience, |conn| {
            // Leaves the write-ahead log in place at close, so that the next real writer copies the log into the main
            // file.
            conn.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            run(&tx, "UPDATE identity SET value = value", &[])?;
            Ok(tx.rollback()?)
        })
    }
}
