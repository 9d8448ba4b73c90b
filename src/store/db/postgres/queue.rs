//! Rows that a transaction has yet to write.
//!
//! Every other statement of the transaction writes them first, and so does the commit. So a read sees them, and no statement
//! overtakes them.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::types::{ToSql, Type};

use super::super::bulk::{Bulk, Column, Keys};
use super::super::{DbError, ToValue, Value};
use super::{PgTx, dollars, parameters, refuse_nul};

/// The number of rows at which they are written, to bound the memory that they take.
const MOST: usize = 8000;

#[derive(Debug, Default)]
pub struct Queue {
    /// The rows of each statement, in the order in which the statements run.
    groups: Vec<Group>,
    rows: usize,
}

#[derive(Debug)]
struct Group {
    bulk: &'static Bulk,
    columns: Vec<Column>,
    keys: HashSet<Vec<i64>>,
}

impl Queue {
    /// Returns the rows of a statement.
    fn group(&mut self, bulk: &'static Bulk) -> &mut Group {
        let known = self.groups.iter().position(|group| std::ptr::eq(group.bulk, bulk));
        let at = known.unwrap_or_else(|| {
            let at = self.groups.partition_point(|group| group.bulk.order <= bulk.order);
            self.groups.insert(at, Group::new(bulk));
            at
        });
        &mut self.groups[at]
    }
}

impl Group {
    fn new(bulk: &'static Bulk) -> Self {
        let columns = bulk.kinds.iter().map(|kind| Column::new(*kind)).collect();
        Self { bulk, columns, keys: HashSet::new() }
    }

    fn push(&mut self, args: &[&dyn ToValue]) -> Result<(), DbError> {
        // Refuses NUL before any column grows.
        parameters(args)?;
        for (column, arg) in self.columns.iter_mut().zip(args) {
            column.push(*arg)?;
        }
        Ok(())
    }
}

fn key_of(bulk: &Bulk, args: &[&dyn ToValue]) -> Vec<i64> {
    let number = |arg: &&dyn ToValue| if let Value::Integer(number) = arg.to_value() { number } else { 0 };
    args.iter().take(bulk.key).map(number).collect()
}

impl PgTx {
    /// Adds a row for a statement.
    pub fn later(&self, bulk: &'static Bulk, args: &[&dyn ToValue]) -> Result<(), DbError> {
        let key = key_of(bulk, args);
        if self.queue.lock().group(bulk).keys.contains(&key) {
            // One statement cannot write a row twice.
            self.flush()?;
        }
        let mut queue = self.queue.lock();
        queue.rows += 1;
        let is_full = queue.rows >= MOST;
        let group = queue.group(bulk);
        group.keys.insert(key);
        group.push(args)?;
        drop(queue);
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Writes the rows that wait.
    pub fn flush(&self) -> Result<(), DbError> {
        let queue = std::mem::take(&mut *self.queue.lock());
        let written =
            queue.groups.iter().try_for_each(|group| self.write_columns(group.bulk, &group.columns).map(drop));
        if written.is_err() {
            // The queue has lost its rows, so the transaction must not commit, even if the caller ignores the error.
            self.failed.store(true, Relaxed);
        }
        written
    }

    /// Runs a statement for rows that are all different. Returns the number of changed rows.
    pub fn run_many(&self, bulk: &'static Bulk, rows: &[Vec<&dyn ToValue>]) -> Result<u64, DbError> {
        let mut group = Group::new(bulk);
        for row in rows {
            group.push(row)?;
        }
        if rows.is_empty() { Ok(0) } else { self.run_columns(bulk, &group.columns) }
    }

    /// As [`PgTx::run_many`], with the values of each column.
    pub fn run_columns(&self, bulk: &Bulk, columns: &[Column]) -> Result<u64, DbError> {
        self.flush()?;
        self.write_columns(bulk, columns)
    }

    /// Runs a query whose first parameter is a list of keys.
    pub fn rows_in(&self, sql: &str, keys: Keys<'_>) -> Result<Vec<tokio_postgres::Row>, DbError> {
        self.flush()?;
        let sql = dollars(sql);
        let client = self.lease.client()?;
        match keys {
            Keys::Integers(keys) => self.exec(client.query_typed(&sql, &[(&keys, Type::INT8_ARRAY)])),
            Keys::Texts(keys) => {
                keys.iter().try_for_each(|key| refuse_nul(key))?;
                self.exec(client.query_typed(&sql, &[(&keys, Type::TEXT_ARRAY)]))
            }
        }
    }

    fn write_columns(&self, bulk: &Bulk, columns: &[Column]) -> Result<u64, DbError> {
        let arrays: Vec<(&(dyn ToSql + Sync), Type)> = columns
            .iter()
            .map(|column| match column {
                Column::Integers(values) => (values as &(dyn ToSql + Sync), Type::INT8_ARRAY),
                Column::Reals(values) => (values as &(dyn ToSql + Sync), Type::FLOAT8_ARRAY),
                Column::Texts(values) => (values as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
                Column::Blobs(values) => (values as &(dyn ToSql + Sync), Type::BYTEA_ARRAY),
            })
            .collect();
        self.exec(self.lease.client()?.execute_typed(&dollars(&bulk.many), &arrays))
    }
}
