//! Tests of several refund modules together: round trips, and no panics.

mod denials;
mod outcomes;
mod plans;
mod reading;
mod safety;
mod samples;

use proptest::prelude::*;

use super::dates::DateOrder;
use super::read::{FileReading, LIST_FORMAT, from_bytes};
use super::row::RawRow;
use super::{
    Column, ColumnMapping, Columns, DecisionKind, Dialect, Options, OrderIdRewrite, ProblemKind, RefundRow, Refunds,
    Syntax,
};
use crate::error::Result;

fn read(text: &str) -> Result<Refunds> {
    from_bytes("refunds.csv", text.as_bytes(), &Options::default())
}

/// Reads a refund file and ignores its columns *note* and *Reason*.
fn read_without_note(text: &str) -> Result<Refunds> {
    let mut ignore_columns = vec!["note".to_owned()];
    ignore_columns.extend(text.contains("Reason").then(|| "Reason".to_owned()));
    let mapping = ColumnMapping { ignore_columns, ..ColumnMapping::default() };
    from_bytes("refunds.csv", text.as_bytes(), &Options { mapping, ..Options::default() })
}

fn kinds(row: &RefundRow) -> Vec<ProblemKind> {
    row.problems.iter().map(|problem| problem.kind).collect()
}

/// Generates any cell that a refund file can contain.
fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof!["[^\0]{0,8}", "['=+@\t\r\n\",;|-]{0,5}[a-z0-9]{0,3}", Just(String::new()),]
}

prop_compose! {
    /// Generates a refund file whose first column contains order IDs.
    fn any_refunds()(width in 1_usize..5)(
        names in prop::collection::vec(any_cell(), width - 1),
        rows in prop::collection::vec(prop::collection::vec(any_cell(), width), 0..6),
        separator in prop::sample::select(vec![b',', b';', b'\t', b'|']),
        (bom, crlf) in any::<(bool, bool)>(),
    ) -> Refunds {
        let header: Vec<String> = std::iter::once("order_id".to_owned()).chain(names).collect();
        let columns = Columns::at(header, std::iter::once((Column::OrderId, 0))).expect("an order column");
        let raws = (2..).zip(rows).map(|(line, cells)| RawRow { line, cells, ..RawRow::default() });
        Refunds::of(columns, Syntax::Csv(Dialect { separator, bom, crlf }), as_list(), raws.collect(), Vec::new())
    }
}

fn as_list() -> FileReading {
    let (mapping, order_id_rewrite) = (ColumnMapping::default(), OrderIdRewrite::default());
    FileReading {
        format: LIST_FORMAT.to_owned(),
        mapping,
        order_id_rewrite,
        date_order: DateOrder::Unknown,
        both_signs: false,
    }
}

/// Returns the decisions, in the order of the orders' first appearance in the file.
fn decisions(refunds: &Refunds) -> Vec<DecisionKind> {
    refunds.orders.iter().map(|order| order.decision.kind()).collect()
}

/// Returns two added values for each row of the refund file.
fn values_for(refunds: &Refunds, cell: &str) -> Vec<Vec<String>> {
    (0..refunds.rows.len()).map(|n| vec![cell.to_owned(), format!("v{n}")]).collect()
}

/// Returns the cells of a CSV text, without unescaping.
fn grid(bytes: &[u8], separator: u8) -> Vec<Vec<String>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(separator).from_reader(bytes);
    reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
}

fn ungrid(rows: &[Vec<String>], separator: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("a row");
    }
    writer.into_inner().expect("bytes")
}

fn separator_of(refunds: &Refunds) -> u8 {
    match refunds.syntax {
        Syntax::Csv(dialect) => dialect.separator,
        Syntax::Ndjson => b',',
    }
}
