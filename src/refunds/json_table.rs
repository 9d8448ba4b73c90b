//! Parses the JSON of a refund file into a header and rows. A JSON refund file has one object a line, or one array of
//! objects. The array may be inside an object.
//!
//! The columns of a JSON refund file are the keys of its objects, in the order of first appearance. The parser keeps
//! the digits of a JSON number as text, because a floating-point number would lose digits of a long order ID. Each row
//! keeps the text of its JSON object, because recoup adds the outcome to that text.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::csv_table::{MAX_CELLS, MAX_COLUMNS, too_much};
use super::input::LineCounter;
use super::row::RawRow;
use crate::error::{Error, Kind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Text,
    Number,
    Other,
}

/// Parses a JSON refund file into header and rows. Error messages call the file `name`.
pub(super) fn read(name: &str, text: &str, max_rows: usize) -> Result<(Vec<String>, Vec<RawRow>)> {
    let mut header: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows: Vec<RawRow> = Vec::new();
    let mut cells_left = MAX_CELLS;
    let mut lines = LineCounter::new(text, 1);
    for object in objects(name, text)? {
        let line = lines.line_at(object.as_ptr() as usize - text.as_ptr() as usize);
        if rows.len() >= max_rows {
            return Err(too_much(name, &format!("more than {max_rows} rows")));
        }
        let mut row = RawRow { line, object: Some(on_one_line(object)), ..RawRow::default() };
        let mut given: Vec<bool> = Vec::new();
        for (key, value) in entries(name, line, object)? {
            let place = *places.entry(key.clone()).or_insert_with(|| {
                header.push(key.clone());
                header.len() - 1
            });
            if header.len() > MAX_COLUMNS {
                return Err(too_much(name, &format!("more than {MAX_COLUMNS} different keys")));
            }
            if place >= row.cells.len() {
                // A JSON object that lacks a key has an empty cell in the key's column.
                row.cells.resize(place + 1, String::new());
                given.resize(place + 1, false);
            }
            if std::mem::replace(&mut given[place], true) {
                return Err(Error::new(Kind::Usage, format!("{name}, line {line}: the key {key:?} occurs twice"))
                    .hint("export the file again; recoup cannot tell which value is right"));
            }
            let (cell, kind) = cell(value.get());
            if cell.contains('\0') || key.contains('\0') {
                return Err(Error::new(Kind::Usage, format!("{name}, line {line}: {key:?} contains a NUL character"))
                    .hint("export the file again"));
            }
            row.cells[place] = cell;
            match kind {
                ValueKind::Text => {}
                ValueKind::Number => row.numbers.push(place),
                ValueKind::Other => row.nested.push(place),
            }
        }
        cells_left = cells_left
            .checked_sub(row.cells.len())
            .ok_or_else(|| too_much(name, &format!("more than {MAX_CELLS} values")))?;
        rows.push(row);
    }
    Ok((header, rows))
}

/// Returns the text of each JSON object in the file, in order.
fn objects<'a>(name: &str, text: &'a str) -> Result<Vec<&'a str>> {
    let wrong = |error: &serde_json::Error| {
        Error::new(Kind::Usage, format!("{name}, line {} is not one JSON object: column {}", error.line(), error.column()))
            .hint("supported are one object a line, one array of objects, and an object around one array, as {\"orders\":[…]}")
    };
    let array = |text: &'a str| -> Result<Vec<&'a str>> {
        let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        Ok(list.into_iter().map(RawValue::get).collect())
    };
    if text.trim_start().starts_with('[') {
        return array(text);
    }
    let mut list = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        list.push(value.map_err(|error| wrong(&error))?.get());
    }
    // In `{"orders":[…]}`, the single object contains one array of objects. The objects of the array are the rows.
    if let [only] = list.as_slice() {
        let entries = entries(name, 1, only)?;
        let arrays: Vec<&str> =
            entries.iter().map(|(_, value)| value.get()).filter(|it| is_list_of_objects(it)).collect();
        let is_envelope = entries.len() <= 3 && entries.iter().all(|(_, value)| !value.get().starts_with('"'));
        if let ([inner], true) = (arrays.as_slice(), is_envelope) {
            check_envelope(name, &entries, inner)?;
            return array(inner);
        }
    }
    Ok(list)
}

/// Known keys of an array of orders or refunds inside a JSON object.
const ENVELOPES: [&str; 16] = [
    "orders",
    "order",
    "refunds",
    "refunded",
    "refunded_orders",
    "returns",
    "transactions",
    "payments",
    "data",
    "items",
    "results",
    "records",
    "rows",
    "values",
    "list",
    "nodes",
];

/// Fails if an unknown key beside the array may contradict the refunds, such as `{"not_refunded":[…]}`.
fn check_envelope(name: &str, entries: &[(String, &RawValue)], list: &str) -> Result<()> {
    let unknown = |(key, value): &&(String, &RawValue)| {
        let is_known = if value.get() == list {
            ENVELOPES.contains(&key.to_lowercase().replace(['-', ' '], "_").as_str())
        } else {
            // Accepts null, and a number such as a count or a page number, beside the array.
            matches!(value.get().as_bytes().first(), Some(b'0'..=b'9')) || value.get() == "null"
        };
        !is_known
    };
    let Some((key, _)) = entries.iter().find(unknown) else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{name} has an unknown key {key:?} around its list"))
        .hint("give the list alone, as [{\"order_id\":\"1001\"}], or as {\"refunds\":[…]}, if all of its orders were refunded"))
}

fn is_list_of_objects(raw: &str) -> bool {
    raw.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'))
}

/// Replaces the line breaks of a JSON object by blanks. In JSON, unescaped line breaks occur only between tokens.
fn on_one_line(object: &str) -> String {
    object.replace(['\r', '\n'], " ")
}

fn cell(raw: &str) -> (String, ValueKind) {
    match raw.as_bytes().first() {
        Some(b'"') => (serde_json::from_str(raw).unwrap_or_default(), ValueKind::Text),
        Some(b'-' | b'0'..=b'9') => (raw.to_owned(), ValueKind::Number),
        _ if raw == "null" => (String::new(), ValueKind::Text),
        _ => (raw.to_owned(), ValueKind::Other),
    }
}

fn entries<'a>(name: &str, line: u64, object: &'a str) -> Result<Vec<(String, &'a RawValue)>> {
    let wrong = |error: &serde_json::Error| {
        let line = line + error.line().saturating_sub(1) as u64;
        Error::new(Kind::Usage, format!("{name}, line {line} is not one JSON object: column {}", error.column()))
            .hint("every element of the list is an object, as {\"order_id\":\"1001\"}")
    };
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let entries = deserializer.deserialize_map(InOrder).map_err(|error| wrong(&error))?;
    deserializer.end().map_err(|error| wrong(&error))?;
    Ok(entries)
}

/// Deserializes the entries of a JSON object in order, including repeated keys.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_and_cells(text: &str) -> Result<Vec<(u64, Vec<String>)>> {
        Ok(read("x.json", text, 100)?.1.into_iter().map(|row| (row.line, row.cells)).collect())
    }

    #[test]
    fn all_three_json_shapes_give_the_same_table() {
        let row = |line, cells: [&str; 2]| (line, cells.map(str::to_owned).to_vec());
        let same = |lines: [u64; 2]| vec![row(lines[0], ["#1", "5"]), row(lines[1], ["#2", ""])];
        for (text, lines) in [
            ("{\"name\":\"#1\",\"total\":5}\n\n{\"name\":\"#2\",\"total\":null}\n", [1, 3]),
            ("[{\"name\":\"#1\",\"total\":5},\n{\"name\":\"#2\",\"total\":null}]", [1, 2]),
            ("{\"orders\": [\n  {\"name\":\"#1\",\"total\":5},\n  {\"name\":\"#2\",\n   \"total\":null}\n]}", [2, 3]),
            ("\n [{\"name\":\"#1\",\"total\":5},\n{\"name\":\"#2\",\"total\":null}]", [2, 3]),
            ("{\n\"name\":\"#1\",\"total\":5}\n{\"name\":\"#2\",\"total\":null}", [1, 3]),
        ] {
            assert_eq!(lines_and_cells(text).expect(text), same(lines), "{text}");
        }
        let (_, rows) = read("x", "[{\"a\":\n1}]", 9).expect("rows");
        assert_eq!(rows[0].object.as_deref(), Some("{\"a\": 1}"));
        // A nested JSON array does not split its row into several.
        let (header, rows) = read("x", "{\"name\":\"#1\",\"refunds\":[{\"id\":1}]}", 9).expect("rows");
        assert_eq!((header.len(), rows.len(), rows[0].nested.as_slice()), (2, 1, [1].as_slice()));
    }

    #[test]
    fn json_that_is_not_a_list_of_objects_is_refused_with_its_line() {
        for (text, says) in [
            ("{\"a\":1}\n{\"a\":", "line 2 is not"),
            ("{\"a\":1}\n[]", "line 2 is not"),
            ("[{\"a\":1},\n2]", "line 2 is not"),
            ("[{\"a\":1}", "line 1 is not"),
            ("{\"a\":1,\"a\":2}", "occurs twice"),
            ("{\"a\":\"\\u0000\"}", "NUL"),
            ("{\"not_refunded\":[{\"order_id\":\"1\"}]}", "\"not_refunded\" around its list"),
            ("{\"refunds\":[{\"order_id\":\"1\"}],\"completed\":false}", "\"completed\" around its list"),
            ("{\"orders\":[{\"order_id\":\"1\"}],\"meta\":{\"filter\":\"paid\"}}", "\"meta\" around its list"),
        ] {
            let error = lines_and_cells(text).expect_err(text);
            assert!(
                error.kind == Kind::Usage && error.message.contains(says) && error.hint.is_some(),
                "{text}: {error:?}"
            );
        }
    }
}
