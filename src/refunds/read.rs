//! Reads a shop's file: parses its bytes into rows, and decides each order from its rows.
//!
//! recoup accepts or refuses a refund file as a whole. recoup reads a refund file by the first of these that matches:
//! the format that `--format` names, the caller's [`ColumnMapping`], a format of `recoup.toml` or of a platform, or a
//! plain list of refunds. recoup accepts a plain list only if it knows every column.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::amount::{self, Decimal};
use super::column_mapping::ColumnMapping;
use super::columns::{Column, Columns, LIST_COLUMNS, PLAN_MARK, fold, is_own};
use super::csv_table;
use super::dates::DateOrder;
use super::decide::{OrderRefund, decide};
use super::decision::DecisionKind;
use super::file_checks::{
    check_header, check_headings, check_ignored, check_lines_outside, check_lone_texts, check_one_table,
    check_refunded_when, check_required, refuse_list_of_orders, unclear_columns_error,
};
use super::formats::{self, Format, RowCells, RowMeaning};
use super::input::{self, Text};
use super::json_table;
use super::keywords::denies_refund;
use super::row::{OrderIdRewrite, RawRow, RefundRow};
use super::row_problem::{ProblemKind, RowProblem, Severity};
use super::spreadsheet_damage;
use super::syntax::Syntax;
use super::unclear_columns::{self, UnclearColumn};
use crate::error::{Error, Kind, Result};

/// The maximum number of rows in a refund file. recoup holds the whole refund file in memory.
pub const MAX_ROWS: usize = 1_000_000;
/// The name of the plain list in `--format` and in outputs.
pub const LIST_FORMAT: &str = "list";

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The name of the refund format. `None` means that recoup detects the format by the header.
    pub format: Option<String>,
    pub mapping: ColumnMapping,
    /// The user's formats from `recoup.toml`, by name.
    pub configured: BTreeMap<String, ColumnMapping>,
    pub order_id_rewrite: OrderIdRewrite,
}

/// How recoup read a refund file. A plan stores how recoup read the file, because `--apply` must read the rows in the
/// same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReading {
    /// The name of the refund format; [`LIST_FORMAT`] for a plain list.
    pub format: String,
    #[serde(default, skip_serializing_if = "ColumnMapping::is_empty")]
    pub mapping: ColumnMapping,
    #[serde(default, skip_serializing_if = "OrderIdRewrite::is_empty")]
    pub order_id_rewrite: OrderIdRewrite,
    #[serde(default)]
    pub date_order: DateOrder,
    /// Whether the refund file contains negative and positive amounts. In a file with amounts of both signs, a negative
    /// amount may undo a refund.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_signs: bool,
}

impl FileReading {
    fn known(&self) -> Option<&'static Format> {
        formats::by_name(&self.format)
    }

    /// Returns the name of the refund format in messages.
    pub fn title(&self) -> String {
        match self.known() {
            Some(format) => format.title.to_owned(),
            None if self.format == LIST_FORMAT => "list of refunds".to_owned(),
            None => format!("{} (of the settings)", self.format),
        }
    }

    fn interpret(&self, cells: &RowCells<'_>) -> Result<RowMeaning, String> {
        match self.known() {
            Some(format) => {
                let meaning = (format.interpret)(cells)?;
                if !format.signed && self.both_signs && cells.amount(Column::Amount)?.is_some_and(Decimal::is_negative)
                {
                    return Err("the refunds of the file have both signs, so this one may undo another".to_owned());
                }
                let reason = cells.text(Column::Reason);
                if meaning.is_refund() && denies_refund(reason) {
                    return Err(format!("the reason {reason:?} says that it was not refunded in full"));
                }
                Ok(meaning)
            }
            None => self.mapping.interpret(cells, self.date_order, self.both_signs),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunds {
    pub columns: Columns,
    pub syntax: Syntax,
    pub reading: FileReading,
    /// The rows of the refund file, in file order.
    pub rows: Vec<RefundRow>,
    /// One decision for each order, in the order of first appearance in the refund file.
    pub orders: Vec<OrderRefund>,
    /// Warnings about the refund file, for example about its encoding or skipped lines.
    pub notes: Vec<String>,
}

/// A plain list whose columns the user must explain before recoup can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsMapping {
    /// The columns of the plain list whose meaning is unclear. The list of unclear columns is empty if the order ID
    /// column is missing, or if two columns could have the same meaning.
    pub unclear: Vec<UnclearColumn>,
    pub columns: Columns,
    pub first_rows: Vec<Vec<String>>,
    /// The error to report if the caller cannot ask the user.
    pub error: Error,
}

#[derive(Debug)]
pub enum Parsed {
    /// recoup read the refund file, and every order has a decision.
    Complete(Box<Refunds>),
    /// The user must first explain some columns.
    NeedsMapping(Box<NeedsMapping>),
}

const FIRST_ROWS: usize = 5;

/// Reads a refund file and blocks meanwhile; `-` is standard input. Fails if the refund file is larger than 100 MiB.
pub fn file(path: &Path, options: &Options) -> Result<Refunds> {
    let bytes = input::load(path)?;
    from_bytes(&input::name_of(path), &bytes, options)
}

/// Reads the content of a refund file. Error messages call the file `name`. Fails if the user must first explain
/// columns of the refund file.
pub fn from_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Refunds> {
    match parse(name, bytes, options)? {
        Parsed::Complete(refunds) => Ok(*refunds),
        Parsed::NeedsMapping(needs) => Err(needs.error),
    }
}

/// Reads the content of a refund file, or returns the columns that the user must explain first.
pub fn parse(name: &str, bytes: &[u8], options: &Options) -> Result<Parsed> {
    options.mapping.check()?;
    let text = input::decode(name, bytes)?;
    let mut notes = Vec::new();
    if let Some(encoding) = text.encoding {
        notes.push(format!("read as {encoding}; outcomes are written as UTF-8"));
    }
    let mut raw = match text.text.trim_start().chars().next() {
        None => return Err(csv_table::empty(name)),
        Some('{' | '[') => {
            let (header, rows) = json_table::read(name, &text.text, MAX_ROWS)?;
            RawFile { header, rows, syntax: Syntax::Ndjson, too_long: None, outside: Vec::new() }
        }
        Some('<') => {
            return Err(Error::new(Kind::Usage, format!("{name} is HTML or XML, not CSV"))
                .hint("the download may be a login page: sign in and export the file again"));
        }
        Some(_) => read_table(name, &text, options, &mut notes)?,
    };
    if raw.header.last().is_some_and(|last| last == PLAN_MARK) {
        return Err(
            Error::new(Kind::Usage, format!("{name} is a plan, not a list of refunds")).hint("apply it with --apply")
        );
    }
    let reading = detect_reading(name, &raw, options)?;
    if let (None, Ok(Some(format))) = (reading.known(), formats::detect(&raw.header, raw.syntax == Syntax::Ndjson)) {
        notes.push(format!(
            "the header is that of a {}, but the column flags override that format; to apply its rule, leave them out or add --format {}",
            format.title, format.name
        ));
    }
    notes.extend(reading.known().map(|format| format.caveat.to_owned()).filter(|caveat| !caveat.is_empty()));
    split_off_second_table(name, &mut raw, reading.known(), &mut notes)?;
    check_lines_outside(name, &raw.outside, reading.known().is_some())?;
    if reading.format == LIST_FORMAT {
        check_header(name, &raw.header, &raw.rows)?;
    }
    decide_file(name, raw, reading, notes, !options.mapping.is_empty())
}

struct RawFile {
    header: Vec<String>,
    rows: Vec<RawRow>,
    syntax: Syntax,
    /// The error for the first row that has more cells than the header. The parser stopped at the row with too many
    /// cells.
    too_long: Option<Error>,
    /// The line number and text of each title above the header and each total below the last row.
    outside: Vec<(u64, String)>,
}

fn read_table(name: &str, text: &Text<'_>, options: &Options, notes: &mut Vec<String>) -> Result<RawFile> {
    let score = |cells: &[String]| score(cells, options);
    let (read, too_long) = csv_table::read_section(name, text, MAX_ROWS, &score)?;
    if let [(first, said), others @ ..] = read.outside.as_slice() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let said: String = said.chars().take(40).collect();
        notes.push(format!("line {first} ({said:?}){more} is skipped: it is above the header or below the last row"));
    }
    let rows = read.rows.into_iter().map(|(line, cells)| RawRow { line, cells, ..RawRow::default() }).collect();
    Ok(RawFile { header: read.header, rows, syntax: Syntax::Csv(read.dialect), too_long, outside: read.outside })
}

/// Scores how likely a record of the refund file is the header. The record with the highest score is the header.
fn score(cells: &[String], options: &Options) -> usize {
    let has = |name: &str| !fold(name).is_empty() && cells.iter().any(|cell| fold(cell) == fold(name));
    let meanings: Vec<Option<Column>> = cells.iter().map(|cell| Column::by_name(cell)).collect();
    let known = cells.iter().zip(&meanings).filter(|(cell, meaning)| meaning.is_some() || is_own(cell)).count();
    if cells.last().is_some_and(|last| last == PLAN_MARK) {
        return 10_000;
    }
    let configured =
        options.configured.values().any(|it| !it.recognise_by.is_empty() && it.recognise_by.iter().all(|n| has(n)));
    if configured || !matches!(formats::detect(cells, false), Ok(None)) {
        return 5_000 + known;
    }
    let chosen = options.mapping.named_columns();
    if !chosen.is_empty()
        && chosen.iter().all(|(_, name)| has(name.rsplit_once('#').map_or(name.as_str(), |it| it.0)) || has(name))
    {
        return 2_000 + known;
    }
    if cells.iter().any(|cell| Column::by_name(cell) == Some(Column::OrderId)) {
        csv_table::IS_HEADER + known
    } else {
        known
    }
}

fn detect_reading(name: &str, raw: &RawFile, options: &Options) -> Result<FileReading> {
    let is_json = raw.syntax == Syntax::Ndjson;
    let reading = |format: &str, mapping: ColumnMapping| FileReading {
        format: format.to_owned(),
        mapping,
        order_id_rewrite: options.order_id_rewrite.clone(),
        date_order: DateOrder::Unknown,
        both_signs: false,
    };
    if let Some(wanted) = &options.format {
        if let Some(format) = formats::by_name(wanted) {
            if !options.mapping.maps_only_order_id() {
                return Err(Error::new(
                    Kind::Usage,
                    format!("the format {} already defines every column", format.name),
                )
                .hint("use the column flags without --format, or with --format list"));
            }
            return Ok(reading(format.name, options.mapping.clone()));
        }
        if let Some(mapping) = options.configured.get(wanted) {
            return Ok(reading(wanted, mapping.clone()));
        }
        if wanted == LIST_FORMAT {
            return Ok(reading(LIST_FORMAT, options.mapping.clone()));
        }
        return Err(
            Error::new(Kind::Usage, format!("unknown format {wanted:?}")).hint("`recoup refunds formats` lists them")
        );
    }
    if !options.mapping.maps_only_order_id() {
        return Ok(reading(LIST_FORMAT, options.mapping.clone()));
    }
    let has = |wanted: &String| raw.header.iter().any(|cell| cell == wanted || fold(cell) == fold(wanted));
    let own = options.configured.iter().find(|(_, it)| !it.recognise_by.is_empty() && it.recognise_by.iter().all(has));
    if let Some((own, mapping)) = own {
        return Ok(reading(own, mapping.clone()));
    }
    match formats::detect(&raw.header, is_json) {
        Ok(Some(format)) => Ok(reading(format.name, options.mapping.clone())),
        Ok(None) => Ok(reading(LIST_FORMAT, options.mapping.clone())),
        Err([one, other]) => {
            Err(Error::new(Kind::Usage, format!("{name} matches two formats: {} and {}", one.title, other.title))
                .hint(format!("choose one: --format {} or --format {}", one.name, other.name)))
        }
    }
}

/// Returns `true` if a row may be a header: it has several cells, and no cell contains a digit.
fn may_be_header(row: &RawRow) -> bool {
    let filled: Vec<&String> = row.cells.iter().filter(|cell| !cell.trim().is_empty()).collect();
    filled.len() > 1 && !filled.iter().any(|cell| cell.chars().any(|c| c.is_ascii_digit()))
}

/// Drops a second table below the first if the format allows a second table. If the format allows no second table,
/// fails on a second table or on a row with more cells than the header.
fn split_off_second_table(
    name: &str,
    raw: &mut RawFile,
    format: Option<&Format>,
    notes: &mut Vec<String>,
) -> Result<()> {
    if format.is_some_and(|format| format.has_sections) {
        if let Some(at) = raw.rows.iter().position(may_be_header) {
            notes.push(format!("line {} of {name} begins a second table, which is not read", raw.rows[at].line));
            raw.rows.truncate(at);
            raw.too_long = None;
        } else if let Some(error) = raw.too_long.take() {
            notes.push(format!("{}: a second table seems to begin there, which is not read", error.message));
        }
    }
    if let Some(error) = raw.too_long.take() {
        return Err(error);
    }
    if raw.syntax == Syntax::Ndjson {
        return Ok(());
    }
    // Drops the repeated headers of concatenated exports.
    let header: Vec<String> = raw.header.iter().map(|cell| fold(cell)).collect();
    let is_repeated_header = |row: &RawRow| {
        row.cells.len() == header.len() && row.cells.iter().map(|cell| fold(cell)).eq(header.iter().cloned())
    };
    raw.rows.retain(|row| !(may_be_header(row) && is_repeated_header(row)));
    let is_second_header = |row: &&RawRow| {
        may_be_header(row)
            && (row.cells.iter().any(|cell| Column::by_name(cell) == Some(Column::OrderId) && !cell.trim().is_empty())
                || !matches!(formats::detect(&row.cells, false), Ok(None)))
    };
    match raw.rows.iter().find(is_second_header) {
        None => Ok(()),
        Some(row) => Err(Error::new(Kind::Usage, format!("{name}, line {}: a second table begins here", row.line))
            .hint("put each table into a file of its own: its columns may mean something else")),
    }
}

/// Returns `true` if a column contains negative and positive amounts.
fn has_both_signs(rows: &[RawRow], place: usize) -> bool {
    let values =
        rows.iter().filter_map(|row| amount::parse(row.cells.get(place)?).ok().flatten()).map(|amount| amount.value);
    let [mut has_negative, mut has_positive] = [false; 2];
    for value in values.filter(|value| !value.is_zero()) {
        *(if value.is_negative() { &mut has_negative } else { &mut has_positive }) = true;
    }
    has_negative && has_positive
}

/// Builds the rows and decisions of a refund file. Fails if the user must explain a column of a plain list.
fn decide_file(
    name: &str,
    raw: RawFile,
    mut reading: FileReading,
    notes: Vec<String>,
    is_mapped: bool,
) -> Result<Parsed> {
    let format = reading.known();
    let names = format.map_or(LIST_COLUMNS, |format| format.columns);
    let columns = match Columns::find(name, raw.header.clone(), names, &reading.mapping.named_columns()) {
        Ok(columns) => columns,
        Err(error) => {
            let error = match format {
                Some(format) if error.message.contains("no column for the order ID") => {
                    error.context(format!("recognised as {}", format.title))
                }
                None => match formats::detect(&raw.header, raw.syntax == Syntax::Ndjson) {
                    Ok(Some(other)) => error.hint(format!(
                        "the header is that of a {}: leave out the column flags, or add --order-column NAME",
                        other.title
                    )),
                    _ => error,
                },
                Some(_) => error,
            };
            let first_rows = raw.rows.into_iter().take(FIRST_ROWS).map(|row| row.cells).collect();
            let columns = Columns::without_meaning(raw.header);
            return Ok(Parsed::NeedsMapping(Box::new(NeedsMapping {
                unclear: Vec::new(),
                columns,
                first_rows,
                error,
            })));
        }
    };
    if let Some(format) = format {
        check_required(name, format, &columns)?;
    }
    check_one_table(name, &raw.rows, &columns)?;
    if format.is_none() {
        check_headings(name, &raw.rows, &columns)?;
    } else if raw.syntax != Syntax::Ndjson {
        check_lone_texts(name, &raw.rows)?;
    }
    for row in &raw.rows {
        let of_id = [Column::OrderId, Column::ActionId, Column::ActionTrackerId, Column::Disposition];
        let nested = of_id.into_iter().find(|column| columns.get(*column).is_some_and(|n| row.nested.contains(&n)));
        if let Some(column) = nested {
            let message = format!("{name}, line {}: the {} is neither a text nor a number", row.line, column.words());
            return Err(Error::new(Kind::Usage, message).hint("name the key that holds it with --order-column NAME"));
        }
    }
    let dates = [Column::RefundedAt, Column::OrderedAt].into_iter().filter_map(|column| columns.get(column));
    let cells = dates.flat_map(|place| raw.rows.iter().filter_map(move |row| row.cells.get(place).map(String::as_str)));
    reading.date_order = DateOrder::of(cells);
    reading.both_signs = columns.get(Column::Amount).is_some_and(|place| has_both_signs(&raw.rows, place));
    let is_json = raw.syntax == Syntax::Ndjson;
    let mut refunds = Refunds::of(columns, raw.syntax, reading, raw.rows, notes);
    if refunds.reading.known().is_some() {
        return Ok(Parsed::Complete(Box::new(refunds)));
    }
    if is_mapped {
        check_ignored(name, &refunds)?;
    }
    check_refunded_when(name, &refunds)?;
    let ignored_refund_columns =
        unclear_columns::ignored_refund_columns(&refunds.columns, &refunds.rows, &refunds.reading.mapping);
    if !ignored_refund_columns.is_empty() {
        let names: Vec<String> = ignored_refund_columns.iter().map(|name| format!("{name:?}")).collect();
        refunds.notes.push(format!(
            "ignored, although these columns may say whether an order was refunded: {}",
            names.join(", ")
        ));
    }
    let unclear = unclear_columns::find(&refunds.columns, &refunds.rows, &refunds.reading.mapping);
    if unclear.is_empty() {
        if refunds.reading.mapping.maps_only_order_id() {
            refuse_list_of_orders(name, &refunds)?;
        }
        return Ok(Parsed::Complete(Box::new(refunds)));
    }
    let error = unclear_columns_error(name, &unclear, formats::missing_one_column(&refunds.columns.header, is_json));
    let first_rows = refunds
        .rows
        .iter()
        .take(FIRST_ROWS)
        .map(|row| (0..refunds.columns.header.len()).map(|place| row.cell(place).to_owned()).collect());
    let first_rows = first_rows.collect();
    Ok(Parsed::NeedsMapping(Box::new(NeedsMapping { unclear, columns: refunds.columns, first_rows, error })))
}

impl Refunds {
    /// Builds rows and decisions from the cells of a refund file.
    pub(super) fn of(
        columns: Columns,
        syntax: Syntax,
        reading: FileReading,
        raws: Vec<RawRow>,
        notes: Vec<String>,
    ) -> Self {
        let mut rows: Vec<RefundRow> = raws
            .into_iter()
            .map(|raw| RefundRow::new(raw, &columns, reading.date_order, &reading.order_id_rewrite))
            .collect();
        let (orders, of_rows) = decide(&rows, &columns, |cells| reading.interpret(cells));
        for (row, order) in rows.iter_mut().zip(of_rows) {
            row.order = order;
        }
        accept_rows_without_order(&mut rows, &columns, &reading);
        mark_lost_zeros(&mut rows);
        Self { columns, syntax, reading, rows, orders, notes }
    }

    /// Returns the number of orders for each decision.
    pub fn counts(&self) -> BTreeMap<DecisionKind, usize> {
        let mut counts = BTreeMap::new();
        for order in &self.orders {
            *counts.entry(order.decision.kind()).or_default() += 1;
        }
        counts
    }

    /// Returns the first problem that blocks a row of the order. `indexed` is `true` if the index contains exactly this
    /// order ID.
    pub fn blocking_problem(&self, order: &OrderRefund, indexed: bool) -> Option<&RowProblem> {
        order.rows.iter().find_map(|row| self.rows[*row].blocking_problem(indexed))
    }
}

/// Accepts a row without an order ID if the row needs none. A payout has no order, and a refund may refer to a payment
/// that has the order ID.
fn accept_rows_without_order(rows: &mut [RefundRow], columns: &Columns, reading: &FileReading) {
    for row in rows.iter_mut().filter(|row| row.order_id.is_none() && !row.names_too_long_an_order()) {
        if row.order.is_none() {
            row.no_order_needed = match reading.interpret(&RowCells::new(row, columns)) {
                Ok(RowMeaning::NoRefund(what)) => Some(what),
                Ok(RowMeaning::Transaction { refunded, .. }) if refunded.is_zero() => {
                    Some("a payment without an order".to_owned())
                }
                _ => continue,
            };
        }
        row.problems.retain(|problem| problem.kind != ProblemKind::EmptyOrder);
    }
}

fn mark_lost_zeros(rows: &mut [RefundRow]) {
    let ids = rows.iter().enumerate().filter_map(|(n, row)| Some((n, row.order_id.as_ref()?.as_str())));
    for (n, suggestion) in spreadsheet_damage::lost_zeros(ids) {
        let message = format!(
            "order ID {:?} is shorter than all others: a spreadsheet drops leading zeros",
            rows[n].order_id.as_ref().map_or("", |id| id.as_str())
        );
        rows[n].problems.push(
            RowProblem::new(ProblemKind::LostZeros, Severity::Note, Column::OrderId, message).suggest(suggestion),
        );
    }
}
