//! NDJSON: one refund as a JSON object on each line; pure.
//!
//! Keys are the columns, in the order in which they first appear. Text is taken as it is, a number as its digits stand there:
//! an order ID of twenty digits must not pass through floating point. The object itself is kept, to be written back.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Column, Columns};
use super::row::RawRow;
use super::table::{MOST_CELLS, MOST_COLUMNS, too_much};
use crate::error::{Error, Kind, Result};

/// What sort of value a cell was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Text,
    Number,
    Other,
}

/// Columns and rows of the file that `name` calls.
pub(super) fn read(
    name: &str,
    text: &str,
    most_rows: usize,
    chosen: &[(Column, String)],
) -> Result<(Columns, Vec<RawRow>)> {
    let mut header: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows: Vec<(RawRow, Vec<Sort>)> = Vec::new();
    let mut cells_left = MOST_CELLS;
    for (n, line) in (1..).zip(text.split('\n')) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if rows.len() >= most_rows {
            return Err(too_much(name, &format!("more than {most_rows} rows")));
        }
        let mut row = RawRow { line: n, object: Some(line.to_owned()), ..RawRow::default() };
        let mut sorts = Vec::new();
        for (key, value) in entries(name, n, line)? {
            let place = *places.entry(key.clone()).or_insert_with(|| {
                header.push(key.clone());
                header.len() - 1
            });
            if header.len() > MOST_COLUMNS {
                return Err(too_much(name, &format!("more than {MOST_COLUMNS} different keys")));
            }
            if place >= row.cells.len() {
                row.cells.resize(place + 1, String::new());
                // An absent key is an empty text.
                sorts.resize(place + 1, None);
            }
            if sorts[place].is_some() {
                return Err(Error::new(Kind::Usage, format!("{name}, line {n}: the key {key:?} stands there twice")));
            }
            let (cell, sort) = cell(value.get());
            if cell.contains('\0') || key.contains('\0') {
                return Err(Error::new(Kind::Usage, format!("{name}, line {n}: {key:?} holds a NUL character")));
            }
            row.cells[place] = cell;
            sorts[place] = Some(sort);
        }
        cells_left = cells_left
            .checked_sub(row.cells.len())
            .ok_or_else(|| too_much(name, &format!("more than {MOST_CELLS} values")))?;
        rows.push((row, sorts.into_iter().map(|sort| sort.unwrap_or(Sort::Text)).collect()));
    }
    let columns = Columns::find(name, header, chosen)?;
    let mut read = Vec::with_capacity(rows.len());
    for (mut row, sorts) in rows {
        let sort = |column: Column| columns.get(column).and_then(|place| sorts.get(place)).copied();
        if let Some(column) = Column::ALL.into_iter().find(|column| sort(*column) == Some(Sort::Other)) {
            let message = format!("{name}, line {}: the {} is neither a text nor a number", row.line, column.words());
            return Err(Error::new(Kind::Usage, message));
        }
        row.amount_is_number = sort(Column::Amount) == Some(Sort::Number);
        read.push(row);
    }
    Ok((columns, read))
}

fn cell(raw: &str) -> (String, Sort) {
    match raw.as_bytes().first() {
        Some(b'"') => (serde_json::from_str(raw).unwrap_or_default(), Sort::Text),
        Some(b'-' | b'0'..=b'9') => (raw.to_owned(), Sort::Number),
        _ if raw == "null" => (String::new(), Sort::Text),
        _ => (raw.to_owned(), Sort::Other),
    }
}

fn entries<'a>(name: &str, n: u64, line: &'a str) -> Result<Vec<(String, &'a RawValue)>> {
    let wrong = |error: &serde_json::Error| {
        Error::new(Kind::Usage, format!("{name}, line {n} is not one JSON object: column {}", error.column()))
            .hint("NDJSON has one object on each line; of an array it is made by: jq -c '.[]'")
    };
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let entries = deserializer.deserialize_map(InOrder).map_err(|error| wrong(&error))?;
    deserializer.end().map_err(|error| wrong(&error))?;
    Ok(entries)
}

/// An object's entries in their order, none of them lost.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
