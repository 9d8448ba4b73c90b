//! A refunds file: from a path to rows.
//!
//! CSV or NDJSON is told by how the file begins. A file is read whole or refused whole; a row that is wrong is kept with its
//! problems, because one row out belongs to each row in. Order IDs are compared across the file only to say what is there
//! twice and what is shorter than all others: never to change one.

use std::collections::HashMap;
use std::path::Path;

use super::columns::{Column, Columns, PLAN_MARK};
use super::damage;
use super::format::Format;
use super::ndjson;
use super::problem::{Problem, ProblemKind, Weight};
use super::row::{RawRow, RefundRow};
use super::table;
use super::text::{self, MOST_BYTES};
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, OrderId};

/// The most rows that are read: everything is in memory.
pub const MOST_ROWS: usize = 1_000_000;

/// How a file is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Columns that a person has named, instead of those that are found by name.
    pub columns: Vec<(Column, String)>,
    /// The largest file, in bytes.
    pub max_bytes: u64,
    /// The most rows.
    pub max_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { columns: Vec::new(), max_bytes: MOST_BYTES, max_rows: MOST_ROWS }
    }
}

impl Options {
    /// The same options with the order ID in the column of this name (`--order-column`).
    #[must_use]
    pub fn order_column(mut self, name: Option<String>) -> Self {
        self.columns.extend(name.map(|name| (Column::OrderId, name)));
        self
    }
}

/// A refunds file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunds {
    /// Its columns.
    pub columns: Columns,
    /// How it was written.
    pub format: Format,
    /// Its rows, in order.
    pub rows: Vec<RefundRow>,
    /// Lines that had separators and nothing else; they are no rows, and no outcome is written for them.
    pub blank: u64,
}

/// Reads a file, `-` from standard input. Blocks; at most [`Options::max_bytes`].
pub fn file(path: &Path, options: &Options) -> Result<Refunds> {
    let bytes = text::load(path, options.max_bytes)?;
    from_bytes(&text::name_of(path), &bytes, options)
}

/// Reads what a file holds; `name` is how it is called in errors.
pub fn from_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Refunds> {
    let text = text::decode(name, bytes)?;
    match text.text.trim_start().chars().next() {
        None => Err(table::empty(name)),
        Some('{') => {
            let (columns, rows) = ndjson::read(name, text.text, options.max_rows, &options.columns)?;
            Ok(Refunds::of(columns, Format::Ndjson, rows, 0))
        }
        Some('[') => Err(Error::new(Kind::Usage, format!("{name} is a JSON array"))
            .hint("write one object on each line: jq -c '.[]' OLD > NEW")),
        Some('<') => Err(Error::new(Kind::Usage, format!("{name} is HTML or XML, not CSV"))
            .hint("a download that needs a login gives a page instead of the file")),
        Some(_) => {
            let read = table::read(name, &text, options.max_rows)?;
            if read.header.last().is_some_and(|last| last == PLAN_MARK) {
                return Err(Error::new(Kind::Usage, format!("{name} is a plan, not a list of refunds"))
                    .hint("a plan is carried out by --apply"));
            }
            let columns = Columns::find(name, read.header, &options.columns)?;
            let rows = read.rows.into_iter().map(|(line, cells)| RawRow { line, cells, ..RawRow::default() });
            Ok(Refunds::of(columns, Format::Csv(read.dialect), rows.collect(), read.blank))
        }
    }
}

impl Refunds {
    pub(super) fn of(columns: Columns, format: Format, rows: Vec<RawRow>, blank: u64) -> Self {
        let mut rows: Vec<RefundRow> = rows.into_iter().map(|raw| RefundRow::new(raw, &columns)).collect();
        mark_duplicates(&mut rows);
        mark_lost_zeros(&mut rows);
        Self { columns, format, rows, blank }
    }
}

/// The later row of two with one order stops. Two rows that name two different actions of the order are two refunds.
fn mark_duplicates(rows: &mut [RefundRow]) {
    let mut orders: HashMap<&str, usize> = HashMap::new();
    let mut actions: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    let mut later = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let Some(order_id) = row.order_id.as_ref().map(OrderId::as_str) else { continue };
        let action_id = row.action_id.as_ref().map(ActionId::as_str);
        let first = match action_id {
            // Whatever the order's action is, an earlier row may have named it.
            None => orders.get(order_id),
            Some(_) => {
                [actions.get(&(order_id, None)), actions.get(&(order_id, action_id))].into_iter().flatten().min()
            }
        };
        if let Some(first) = first {
            later.push((n, rows[*first].line));
        } else {
            orders.entry(order_id).or_insert(n);
            actions.insert((order_id, action_id), n);
        }
    }
    for (n, line) in later {
        rows[n].duplicate_of = Some(line);
        let message = format!("the same order is in line {line}");
        rows[n].problems.push(Problem::new(ProblemKind::Duplicate, Weight::Stop, Column::OrderId, message));
    }
}

fn mark_lost_zeros(rows: &mut [RefundRow]) {
    let ids = rows.iter().enumerate().filter_map(|(n, row)| Some((n, row.order_id.as_ref()?.as_str())));
    for (n, suggestion) in damage::lost_zeros(ids) {
        let message = format!(
            "order ID {:?} is shorter than all others: a spreadsheet drops leading zeros",
            rows[n].order_id.as_ref().map_or("", |id| id.as_str())
        );
        rows[n]
            .problems
            .push(Problem::new(ProblemKind::LostZeros, Weight::Note, Column::OrderId, message).suggest(suggestion));
    }
}
