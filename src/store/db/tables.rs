//! The tables of a store, from its SQL description, which both engines share.

use super::bulk::{Bulk, Column, Kind};
use super::{DbError, Row, Tx, Value};

/// A table and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// The engine may choose the number of a new row.
    is_numbered: bool,
}

/// Returns the tables of a description, in its order: a table comes after the tables that it refers to.
pub fn tables(schema: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut is_inside = false;
    for line in schema.lines().map(|line| line.split("--").next().unwrap_or_default().trim().trim_end_matches(',')) {
        if let Some(name) = line.strip_prefix("CREATE TABLE ") {
            let name = name.trim_end_matches('(').trim().to_owned();
            tables.push(Table { name, columns: Vec::new(), key: Vec::new(), is_numbered: false });
            is_inside = true;
        } else if line.starts_with(')') {
            is_inside = false;
        } else if let Some(table) = tables.last_mut().filter(|_| is_inside) {
            table.read_line(line);
        }
    }
    tables
}

impl Table {
    fn read_line(&mut self, line: &str) {
        if let Some(columns) = line.strip_prefix("PRIMARY KEY (") {
            self.key = columns.trim_end_matches(')').split(", ").map(str::to_owned).collect();
            return;
        }
        let mut words = line.split_whitespace();
        let (Some(name), Some(kind)) = (words.next(), words.next()) else { return };
        let kind = match kind {
            "INTEGER" => Kind::Integer,
            "REAL" => Kind::Real,
            "TEXT" => Kind::Text,
            "BLOB" => Kind::Blob,
            // A constraint, or the rest of one.
            _ => return,
        };
        if words.next() == Some("PRIMARY") {
            self.key = vec![name.to_owned()];
            self.is_numbered = kind == Kind::Integer;
        }
        self.columns.push((name.to_owned(), kind));
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the query for every row, ordered by its key.
    pub fn select_all(&self) -> String {
        format!("SELECT {} FROM {} ORDER BY {}", self.names(), self.name, self.key.join(", "))
    }

    /// Returns the query for up to `limit` rows after a key, whose values are the parameters; without a key, for the first rows.
    pub fn select_after(&self, is_first: bool, limit: usize) -> String {
        let numbers: Vec<String> = (1..=self.key.len()).map(|n| format!("?{n}")).collect();
        let key = self.key.join(", ");
        let after = if is_first { String::new() } else { format!("WHERE ({key}) > ({})", numbers.join(", ")) };
        format!("SELECT {} FROM {} {after} ORDER BY {key} LIMIT {limit}", self.names(), self.name)
    }

    /// Returns the query for the key of the last row.
    pub fn select_last_key(&self) -> String {
        let down: Vec<String> = self.key.iter().map(|column| format!("{column} DESC")).collect();
        format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", self.key.join(", "), self.name, down.join(", "))
    }

    pub fn insert(&self) -> Bulk {
        let columns: Vec<(&str, Kind)> = self.columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        Bulk::insert(0, &self.name, 0, &columns, "")
    }

    /// The position of each column of the key.
    pub fn key_positions(&self) -> Vec<usize> {
        let position = |name: &String| self.columns.iter().position(|(column, _)| column == name);
        self.key.iter().filter_map(position).collect()
    }

    pub fn empty_columns(&self) -> Vec<Column> {
        self.columns.iter().map(|(_, kind)| Column::new(*kind)).collect()
    }

    pub fn key_columns(&self) -> Vec<Column> {
        self.key_positions().iter().map(|at| Column::new(self.columns[*at].1)).collect()
    }
}

/// Adds a row to columns. A value that has no text or number of its column's type is damage.
pub fn push_row(columns: &mut [Column], row: &Row<'_>) -> Result<(), DbError> {
    for (at, column) in columns.iter_mut().enumerate() {
        let value = row.value(at)?.ok_or_else(|| DbError::Damaged("a text is not UTF-8".to_owned()))?;
        column.push(&value)?;
    }
    Ok(())
}

/// The name of the function and of the triggers that refuse every write.
const SEAL: &str = "moved_away";
const REFUSAL: &str = "this store was moved to another place; `recoup doctor` says where";

impl Tx<'_> {
    /// Makes the engine refuse every change of these tables, also by a process that has the store open already.
    pub fn seal(&self, tables: &[Table]) -> Result<(), DbError> {
        if self.is_remote() {
            self.run(
                &format!(
                    "CREATE OR REPLACE FUNCTION {SEAL}() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
                ),
                &[],
            )?;
        }
        for name in tables.iter().map(|table| &table.name) {
            if self.is_remote() {
                self.run(
                    &format!(
                        "CREATE TRIGGER {SEAL} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name}
                         EXECUTE FUNCTION {SEAL}()"
                    ),
                    &[],
                )?;
                self.run(&format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER {SEAL}"), &[])?;
                continue;
            }
            for event in ["INSERT", "UPDATE", "DELETE"] {
                self.run(
                    &format!(
                        "CREATE TRIGGER {SEAL}_{event}_{name} BEFORE {event} ON {name}
                         BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
                    ),
                    &[],
                )?;
            }
        }
        Ok(())
    }

    /// Removes what [`Tx::seal`] has added.
    pub fn unseal(&self, tables: &[Table]) -> Result<(), DbError> {
        for name in tables.iter().map(|table| &table.name) {
            if self.is_remote() {
                self.run(&format!("DROP TRIGGER IF EXISTS {SEAL} ON {name}"), &[])?;
                continue;
            }
            for event in ["INSERT", "UPDATE", "DELETE"] {
                self.run(&format!("DROP TRIGGER IF EXISTS {SEAL}_{event}_{name}"), &[])?;
            }
        }
        if self.is_remote() {
            self.run(&format!("DROP FUNCTION IF EXISTS {SEAL}()"), &[])?;
        }
        Ok(())
    }

    /// Lets a server number new rows after the copied ones. SQLite does so by itself.
    pub fn number_after_copy(&self, tables: &[Table]) -> Result<(), DbError> {
        for table in tables.iter().filter(|table| table.is_numbered && self.is_remote()) {
            let (name, key) = (&table.name, table.key.join(""));
            let newest: Option<i64> = self.one(&format!("SELECT max({key}) FROM {name}"), &[], |row| row.get(0))?;
            if let Some(newest) = newest.filter(|newest| *newest > 0) {
                let set = format!("SELECT setval(pg_get_serial_sequence('{name}', '{key}'), ?1)");
                self.one(&set, &[&newest], |row| row.get::<i64>(0))?;
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a value, so that equal rows of both engines give equal bytes.
pub fn bytes_of(value: Value<'_>) -> Vec<u8> {
    let (kind, bytes) = match value {
        Value::Null => (0_u8, Vec::new()),
        Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
        Value::Real(number) => (2, number.to_bits().to_be_bytes().to_vec()),
        Value::Text(text) => (3, text.as_bytes().to_vec()),
        Value::Blob(bytes) => (4, bytes.to_vec()),
    };
    let mut all = vec![kind];
    all.extend((bytes.len() as u64).to_be_bytes());
    all.extend(bytes);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{access, batch_parts, index, ledger, notices};

    #[test]
    fn every_table_and_column_of_a_description_is_found() {
        for layout in [&index::LAYOUT, &ledger::LAYOUT, &access::LAYOUT, &notices::LAYOUT, &batch_parts::LAYOUT] {
            let file = rusqlite::Connection::open_in_memory().expect("opens");
            file.execute_batch(layout.schema).expect("valid SQL");
            let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number") as usize;
            let found = tables(layout.schema);
            assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), found.len());
            for table in found {
                let info = format!("pragma_table_info('{}')", table.name);
                assert_eq!(count(&format!("SELECT count(*) FROM {info}")), table.columns.len(), "{}", table.name);
                let keys = format!("SELECT count(*) FROM {info} WHERE pk > 0");
                assert_eq!(count(&keys), table.key.len(), "{}", table.name);
                file.prepare(&table.select_after(false, 9)).expect("valid SQL");
                file.prepare(&table.select_last_key()).expect("valid SQL");
            }
        }
    }
}
