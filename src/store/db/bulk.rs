//! Statements for many rows.
//!
//! SQLite runs such a statement once for each row, which is its fastest way. On a server each statement costs a round trip, so
//! one statement writes all rows, which it receives as one array for each column.

use super::{DbError, ToValue, Value};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Real,
    Text,
    Blob,
}

/// A statement for one row or many.
#[derive(Debug)]
pub struct Bulk {
    /// The statement for one row, in the common subset of both engines.
    pub(super) one: String,
    /// The statement for arrays of rows, for PostgreSQL alone.
    pub(super) many: String,
    pub(super) kinds: Vec<Kind>,
    /// The number of leading columns that identify a row. One statement may not write a row twice.
    pub(super) key: usize,
    /// Rows of a statement with a smaller number are written first, because other tables refer to them.
    pub(super) order: u8,
}

impl Bulk {
    /// An INSERT of whole rows, with a conflict clause or an empty text. The first `key` columns are integers.
    pub fn insert(order: u8, table: &str, key: usize, columns: &[(&str, Kind)], conflict: &str) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let (names, numbers) = (names.join(", "), numbers(columns.len()));
        Self {
            one: format!("INSERT INTO {table} ({names}) VALUES ({numbers}) {conflict}"),
            many: format!("INSERT INTO {table} ({names}) SELECT * FROM unnest({numbers}) {conflict}"),
            kinds: columns.iter().map(|(_, kind)| *kind).collect(),
            key,
            order,
        }
    }

    /// An UPDATE of some columns of rows that exist. The first column is the table's primary key, an integer. `also` sets columns
    /// to constants, and begins with a comma.
    pub fn update(order: u8, table: &str, columns: &[(&str, Kind)], also: &str) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let key = names.first().copied().unwrap_or_default();
        let changed: Vec<String> = names.iter().zip(1..).skip(1).map(|(name, n)| format!("{name} = ?{n}")).collect();
        let from: Vec<String> = names.iter().skip(1).map(|name| format!("{name} = given.{name}")).collect();
        Self {
            one: format!("UPDATE {table} SET {}{also} WHERE {key} = ?1", changed.join(", ")),
            many: format!(
                "UPDATE {table} SET {}{also} FROM unnest({}) AS given ({}) WHERE {table}.{key} = given.{key}",
                from.join(", "),
                numbers(columns.len()),
                names.join(", ")
            ),
            kinds: columns.iter().map(|(_, kind)| *kind).collect(),
            key: 1,
            order,
        }
    }
}

fn numbers(count: usize) -> String {
    (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}

/// The values of one column of several rows.
#[derive(Debug)]
pub enum Column {
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
}

impl Column {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integers(Vec::new()),
            Kind::Real => Self::Reals(Vec::new()),
            Kind::Text => Self::Texts(Vec::new()),
            Kind::Blob => Self::Blobs(Vec::new()),
        }
    }

    /// Adds the value of the next row.
    pub fn push(&mut self, value: &dyn ToValue) -> Result<(), DbError> {
        match (self, value.to_value()) {
            (Self::Integers(column), Value::Integer(number)) => column.push(Some(number)),
            (Self::Integers(column), Value::Null) => column.push(None),
            (Self::Reals(column), Value::Real(number)) => column.push(Some(number)),
            (Self::Reals(column), Value::Null) => column.push(None),
            (Self::Texts(column), Value::Text(text)) => column.push(Some(text.to_owned())),
            (Self::Texts(column), Value::Null) => column.push(None),
            (Self::Blobs(column), Value::Blob(bytes)) => column.push(Some(bytes.to_owned())),
            (Self::Blobs(column), Value::Null) => column.push(None),
            _ => return Err(DbError::Engine("a value does not have the type of its column".to_owned())),
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Integers(column) => column.len(),
            Self::Reals(column) => column.len(),
            Self::Texts(column) => column.len(),
            Self::Blobs(column) => column.len(),
        }
    }

    /// Returns the value of a row, counted from 0.
    pub fn value(&self, row: usize) -> Value<'_> {
        let value = match self {
            Self::Integers(column) => column.get(row).copied().flatten().map(Value::Integer),
            Self::Reals(column) => column.get(row).copied().flatten().map(Value::Real),
            Self::Texts(column) => column.get(row).and_then(Option::as_deref).map(Value::Text),
            Self::Blobs(column) => column.get(row).and_then(Option::as_deref).map(Value::Blob),
        };
        value.unwrap_or(Value::Null)
    }
}

/// A list of keys, to read many rows with one query.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'a> {
    Integers(&'a [i64]),
    Texts(&'a [&'a str]),
}
