//! Copies the rows of a table in the order of its primary key, and continues after the last row that is there.

use super::marks::{MOVED_FROM, MOVED_TO, MOVING_FROM};
use crate::crash;
use crate::error::Result;
use crate::store::db::{Column, Conn, Table, ToValue, push_row};

/// The number of rows in one transaction.
const AT_ONCE: usize = 2000;

/// Copies a table. `sum` is the number of rows before it; returns the number after it.
pub(super) fn copy(
    source: &Conn,
    destination: &Conn,
    table: &Table,
    mut sum: u64,
    copied: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let name = || format!("the table {} was not copied", table.name);
    let mut last = last_key(destination, table)?;
    sum += destination.read(|tx| super::count(tx, table))?;
    let insert = table.insert();
    loop {
        let columns = read_after(source, table, &last).map_err(|error| error.context(name()))?;
        let rows = columns.first().map_or(0, Column::len);
        if rows == 0 {
            return Ok(sum);
        }
        destination.write(|tx| tx.run_columns(&insert, &columns)).map_err(|error| error.context(name()))?;
        let mut key = table.key_columns();
        for (column, at) in key.iter_mut().zip(table.key_positions()) {
            let newest = columns.get(at).map(|column| column.value(rows - 1));
            newest.map_or(Ok(()), |newest| column.push(&newest)).map_err(|error| source.failed(error))?;
        }
        last = key;
        sum += rows as u64;
        crash::point("move-rows");
        copied(sum)?;
    }
}

/// Returns the key of the newest row, with one value in each column; empty columns if there is no row.
fn last_key(conn: &Conn, table: &Table) -> Result<Vec<Column>> {
    conn.read(|tx| {
        let mut key = table.key_columns();
        tx.opt(&table.select_last_key(), &[], |row| push_row(&mut key, row))?;
        Ok(key)
    })
}

fn read_after(conn: &Conn, table: &Table, last: &[Column]) -> Result<Vec<Column>> {
    let is_first = last.first().is_none_or(|column| column.len() == 0);
    let key: Vec<_> = last.iter().map(|column| column.value(0)).collect();
    let args: Vec<&dyn ToValue> = if is_first { Vec::new() } else { key.iter().map(|value| value as _).collect() };
    conn.read(|tx| {
        let mut columns = table.empty_columns();
        tx.each(&table.select_after(is_first, AT_ONCE), &args, |row| push_row(&mut columns, row))?;
        Ok(columns)
    })
}

/// Copies what a store knows of itself, but not the marks of the move and the server that the store was on.
pub(super) fn copy_identity(source: &Conn, destination: &Conn) -> Result<()> {
    let pairs = source.read(|tx| {
        tx.rows("SELECT key, value FROM identity", &[], |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)))
    })?;
    let is_own = |key: &str| [MOVED_TO, MOVING_FROM, MOVED_FROM, "server"].contains(&key);
    destination.write(|tx| {
        let upsert =
            "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        pairs
            .iter()
            .filter(|(key, _)| !is_own(key))
            .try_for_each(|(key, value)| tx.run(upsert, &[key, value]).map(drop))
    })
}
