//! Writes outcome files: the rows of a refund file with result columns added.
//!
//! Each row of the refund file becomes one row of the outcome file, in the same order. The original cells stay
//! unchanged, but recoup escapes formulas ([`super::csv_injection`]). An NDJSON object keeps its original text in the
//! outcome file.

use super::csv_injection::escape;
use super::read::Refunds;
use super::row::RefundRow;
use super::syntax::{Dialect, Syntax};
use crate::error::{Error, Kind, Result};

/// Adds the columns `names` to the rows of a refund file. `values` has one list for each row. An empty value becomes
/// `null` in NDJSON. If the header already has one of the added names, as after an earlier run, all added names get the
/// same number appended.
///
/// Fails if the number of value lists differs from the number of rows, because an incomplete outcome file must not look
/// complete.
pub fn outcomes(refunds: &Refunds, syntax: Syntax, names: &[&str], values: &[Vec<String>]) -> Result<Vec<u8>> {
    check(refunds, names, values)?;
    let added = free_names(&refunds.columns.header, names);
    match syntax {
        Syntax::Csv(dialect) => csv_bytes(dialect, &refunds.columns.header, &added, refunds, values),
        Syntax::Ndjson => ndjson_bytes(refunds, &added, values),
    }
}

pub(super) fn check(refunds: &Refunds, names: &[&str], values: &[Vec<String>]) -> Result<()> {
    if values.len() != refunds.rows.len() || values.iter().any(|row| row.len() != names.len()) {
        return Err(Error::new(Kind::Failed, "the outcomes do not match the rows of the file, so none are written"));
    }
    Ok(())
}

/// Returns the column `names` to add. If the header already contains one of the names, appends the first number that
/// makes all of them unique.
pub fn free_names(header: &[String], names: &[&str]) -> Vec<String> {
    let mut free: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut n = 1_u64;
    while free.iter().any(|name| header.contains(name)) {
        n += 1;
        free = names.iter().map(|name| format!("{name}_{n}")).collect();
    }
    free
}

fn csv_bytes(
    dialect: Dialect,
    header: &[String],
    added: &[String],
    refunds: &Refunds,
    values: &[Vec<String>],
) -> Result<Vec<u8>> {
    let mut cells = CsvBuffer::under(dialect, header.iter().chain(added).map(String::as_str))?;
    for (row, values) in refunds.rows.iter().zip(values) {
        let original = (0..header.len()).map(|place| row.cell(place));
        cells.row(original.chain(values.iter().map(String::as_str)))?;
    }
    cells.finish()
}

/// Writes CSV for a spreadsheet into memory.
pub(super) struct CsvBuffer(csv::Writer<Vec<u8>>);

impl CsvBuffer {
    /// Starts a CSV file with this header. A reader may detect the separator from the header. Therefore recoup quotes
    /// all names if one of them contains another separator.
    pub(super) fn under<'a>(dialect: Dialect, header: impl Iterator<Item = &'a str>) -> Result<Self> {
        let header: Vec<&str> = header.collect();
        let misleading = header.iter().any(|name| name.contains([',', ';', '\t', '|']));
        let quotes = if misleading { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut top = Self::new(dialect, quotes, if dialect.bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() });
        top.row(header.into_iter())?;
        Ok(Self::new(dialect, csv::QuoteStyle::Necessary, top.finish()?))
    }

    fn new(dialect: Dialect, quotes: csv::QuoteStyle, start: Vec<u8>) -> Self {
        let end = if dialect.crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut builder = csv::WriterBuilder::new();
        builder.delimiter(dialect.separator).terminator(end).quote_style(quotes);
        Self(builder.from_writer(start))
    }

    pub(super) fn row<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> Result<()> {
        let cells: Vec<_> = cells.map(escape).collect();
        self.0.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(|error| unwritten(&error))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(|error| unwritten(error.error()))
    }
}

fn unwritten(error: &impl std::fmt::Display) -> Error {
    Error::new(Kind::Failed, format!("the file cannot be put together: {error}"))
}

fn ndjson_bytes(refunds: &Refunds, added: &[String], values: &[Vec<String>]) -> Result<Vec<u8>> {
    let keys = refunds.columns.keys();
    // An added name may equal the key that was generated for an unnamed column.
    let added = if added.iter().any(|name| keys.contains(name)) {
        free_names(&keys, &added.iter().map(String::as_str).collect::<Vec<_>>())
    } else {
        added.to_vec()
    };
    let mut lines = Vec::with_capacity(refunds.rows.len());
    for (row, values) in refunds.rows.iter().zip(values) {
        let mut entries = original_entries(row, &keys)?;
        for (name, value) in added.iter().zip(values) {
            let value = if value.is_empty() { "null".to_owned() } else { json(value)? };
            entries.push(format!("{}:{value}", json(name)?));
        }
        lines.push(format!("{{{}}}\n", entries.join(",")));
    }
    Ok(lines.concat().into_bytes())
}

/// Returns the JSON entries of a row's object. A row from NDJSON keeps its original text as one entry of the JSON
/// object.
fn original_entries(row: &RefundRow, keys: &[String]) -> Result<Vec<String>> {
    if let Some(inner) = row.object.as_deref().and_then(|text| text.strip_prefix('{')?.strip_suffix('}')) {
        let inner = inner.trim();
        return Ok(if inner.is_empty() { Vec::new() } else { vec![inner.to_owned()] });
    }
    keys.iter().enumerate().map(|(place, key)| Ok(format!("{}:{}", json(key)?, json(row.cell(place))?))).collect()
}

fn json(text: &str) -> Result<String> {
    serde_json::to_string(text).map_err(|error| unwritten(&error))
}
