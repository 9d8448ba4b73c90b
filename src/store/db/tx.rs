//! A transaction and a result row, on either database engine.

use super::bulk::{Bulk, Column, Keys};
use super::postgres::PgTx;
use super::{DbError, FromValue, ToValue, Value, sqlite};

/// A transaction, in which a store runs its SQL.
pub struct Tx<'t>(Engine<'t>);

#[derive(Clone, Copy)]
enum Engine<'t> {
    Sqlite(&'t rusqlite::Connection),
    Postgres(&'t PgTx),
}

impl<'t> Tx<'t> {
    pub(super) fn sqlite(conn: &'t rusqlite::Connection) -> Self {
        Self(Engine::Sqlite(conn))
    }

    pub(super) fn postgres(tx: &'t PgTx) -> Self {
        Self(Engine::Postgres(tx))
    }

    /// Runs a statement and returns the number of changed rows.
    pub fn run(&self, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
        match self.0 {
            Engine::Sqlite(conn) => sqlite::run(conn, sql, args),
            Engine::Postgres(tx) => tx.run(sql, args),
        }
    }

    /// Returns every row of a query.
    pub fn rows<T>(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        match self.0 {
            Engine::Sqlite(conn) => {
                let mut all = Vec::new();
                sqlite::each(conn, sql, args, |row| {
                    all.push(read(row)?);
                    Ok(())
                })?;
                Ok(all)
            }
            Engine::Postgres(tx) => tx.rows(sql, args)?.iter().map(|row| read(&Row(Columns::Postgres(row)))).collect(),
        }
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
        match self.0 {
            Engine::Sqlite(conn) => sqlite::opt(conn, sql, args, read),
            Engine::Postgres(tx) => {
                tx.rows(sql, args)?.first().map(|row| read(&Row(Columns::Postgres(row)))).transpose()
            }
        }
    }

    /// Passes the rows of a query to a closure one at a time, for a result that is too large for memory.
    pub fn each(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        mut read: impl FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        match self.0 {
            Engine::Sqlite(conn) => sqlite::each(conn, sql, args, read),
            Engine::Postgres(tx) => tx.each(sql, args, |row| read(&Row(Columns::Postgres(row)))),
        }
    }

    /// Returns whether each statement costs a round trip to a server.
    pub fn is_remote(&self) -> bool {
        matches!(self.0, Engine::Postgres(_))
    }

    /// Runs a statement for one row. On a server, the next other statement or the commit runs it for all rows at once.
    pub fn run_later(&self, bulk: &'static Bulk, args: &[&dyn ToValue]) -> Result<(), DbError> {
        match self.0 {
            Engine::Sqlite(conn) => sqlite::run(conn, &bulk.one, args).map(drop),
            Engine::Postgres(tx) => tx.later(bulk, args),
        }
    }

    /// Runs a statement for rows that are all different. Returns the number of changed rows.
    pub fn run_many(&self, bulk: &'static Bulk, rows: &[Vec<&dyn ToValue>]) -> Result<u64, DbError> {
        match self.0 {
            Engine::Sqlite(conn) => rows.iter().try_fold(0, |sum, row| Ok(sum + sqlite::run(conn, &bulk.one, row)?)),
            Engine::Postgres(tx) => tx.run_many(bulk, rows),
        }
    }

    /// Runs a statement for rows that are all different, given as the values of each column.
    pub fn run_columns(&self, bulk: &Bulk, columns: &[Column]) -> Result<u64, DbError> {
        let conn = match self.0 {
            Engine::Sqlite(conn) => conn,
            Engine::Postgres(tx) => return tx.run_columns(bulk, columns),
        };
        let mut changed = 0;
        for row in 0..columns.first().map_or(0, Column::len) {
            let values: Vec<Value<'_>> = columns.iter().map(|column| column.value(row)).collect();
            let args: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
            changed += sqlite::run(conn, &bulk.one, &args)?;
        }
        Ok(changed)
    }

    /// Returns every row of a query whose first parameter is a list of keys, as in `= ANY (?1)`. Only a server has lists, so the
    /// caller asks [`Tx::is_remote`] first.
    pub fn rows_in<T>(
        &self,
        sql: &str,
        keys: Keys<'_>,
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        match self.0 {
            Engine::Sqlite(_) => Err(DbError::Engine("SQLite has no lists".to_owned())),
            Engine::Postgres(tx) => {
                tx.rows_in(sql, keys)?.iter().map(|row| read(&Row(Columns::Postgres(row)))).collect()
            }
        }
    }

    /// Returns a number that changes after another connection commits to the store.
    pub fn data_version(&self) -> Result<i64, DbError> {
        let sql = match self.0 {
            Engine::Sqlite(_) => "PRAGMA data_version",
            Engine::Postgres(_) => "SELECT version FROM store_state",
        };
        self.one(sql, &[], |row| row.get(0))
    }

    /// Returns the first fault that the engine finds in a check of the whole file; `None` if the file is intact. On
    /// PostgreSQL the result is always `None`, because PostgreSQL checks its pages itself when it reads them.
    pub fn first_damage(&self, checks: Checks) -> Result<Option<String>, DbError> {
        let Engine::Sqlite(_) = self.0 else { return Ok(None) };
        let sql = match checks {
            Checks::All => "PRAGMA integrity_check(1)",
            Checks::WithoutIndexes => "PRAGMA quick_check(1)",
        };
        let finding: String = self.one(sql, &[], |row| row.get(0))?;
        Ok(Some(finding).filter(|finding| finding != "ok"))
    }

    /// Returns a text that identifies this very store on its PostgreSQL server; `None` for a file. The identifying text
    /// changes if a standby is promoted, if a backup or a dump is restored, and if the tables are created again.
    pub fn server_instance(&self) -> Result<Option<String>, DbError> {
        match self.0 {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(tx) => tx.instance().map(Some),
        }
    }

    /// Returns the PostgreSQL server's time in Unix milliseconds; `None` for a file, whose users share one machine's
    /// clock.
    pub fn server_now_ms(&self) -> Result<Option<i64>, DbError> {
        match self.0 {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(_) => {
                let now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
                self.one(now, &[], |row| row.get(0)).map(Some)
            }
        }
    }
}

/// The parts of a database file that SQLite checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Checks pages and rows, and compares every index with its table.
    All,
    /// Checks only pages and rows, which is much faster.
    WithoutIndexes,
}

/// One row in the result of a query.
pub struct Row<'r>(Columns<'r>);

enum Columns<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r rusqlite::Row<'r>) -> Self {
        Self(Columns::Sqlite(row))
    }

    /// Reads a column, counted from 0.
    ///
    /// # Errors
    /// [`DbError::Damaged`] if the column contains a value of another type, which a strict table prevents.
    pub fn get<'a, T: FromValue<'a>>(&'a self, column: usize) -> Result<T, DbError> {
        self.value(column)?.and_then(T::from_value).ok_or_else(|| {
            let name = match &self.0 {
                Columns::Sqlite(row) => row.as_ref().column_name(column).unwrap_or("?"),
                Columns::Postgres(row) => row.columns().get(column).map_or("?", tokio_postgres::Column::name),
            };
            DbError::Damaged(format!("column {name} holds a value of another type"))
        })
    }

    /// Returns the value of a column, counted from 0. Returns `None` if the text of the column is not UTF-8, which only
    /// damage causes.
    pub fn value(&self, column: usize) -> Result<Option<Value<'_>>, DbError> {
        match self.0 {
            Columns::Sqlite(row) => sqlite::value(row, column),
            Columns::Postgres(row) => super::postgres::value(row, column),
        }
    }
}
