//! Parses CSV text into a header and rows, each with its line number.
//!
//! The CSV parser accepts a whole file or refuses it with a line number. The CSV parser refuses a row with more cells
//! than the header, because such a row was split in the wrong place. The CSV parser accepts a row with fewer cells than
//! the header. The CSV parser stores titles above the header and totals below the last row separately. Therefore titles
//! and totals never become orders.

use super::columns::fold;
use super::input::{LineCounter, Text};
use super::syntax::{self, Dialect, SEPARATORS};
use crate::error::{Error, Kind, Result};

pub const MAX_COLUMNS: usize = 1000;
/// The maximum number of cells of a CSV file, which limits memory: each cell takes 24 bytes plus its text.
pub const MAX_CELLS: usize = 20_000_000;
/// The score at which a record is the header, whatever the records below it contain.
pub const IS_HEADER: usize = 1_000;
/// The maximum length of a cell that recoup compares with column names.
const LONGEST_NAME: usize = 10_000;
/// The number of records at the start of the file in which recoup searches the header.
const HEADER_WITHIN: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub dialect: Dialect,
    pub header: Vec<String>,
    /// The line number, from 1, and the cells of each row of the CSV file. A row of the CSV file has at most as many
    /// cells as the header.
    pub rows: Vec<(u64, Vec<String>)>,
    /// The line number and text of each title above the CSV header and each total below the last row.
    pub outside: Vec<(u64, String)>,
}

/// Scores how likely a CSV record is the header. The score is 0 if the record contains no known column name.
pub type Score<'a> = &'a dyn Fn(&[String]) -> usize;

/// Parses CSV text. Error messages call the file `name`. `score` selects the header and the separator of the CSV text.
/// If every record scores 0, the first record is the header.
pub fn read(name: &str, text: &Text<'_>, max_rows: usize, score: Score<'_>) -> Result<Table> {
    match read_section(name, text, max_rows, score)? {
        (table, None) => Ok(table),
        (_, Some(too_long)) => Err(too_long),
    }
}

/// Parses CSV text like [`read`], but stops at the first row with more cells than the header, because a second table
/// may start there. Returns the error for the row with too many cells.
pub fn read_section(name: &str, text: &Text<'_>, max_rows: usize, score: Score<'_>) -> Result<(Table, Option<Error>)> {
    let bom = text.bom;
    let (declared, text, first_line) = match syntax::declared(&text.text) {
        Some((separator, rest)) => (Some(separator), rest, 2),
        None => (None, text.text.as_ref(), 1),
    };
    let (separator, above) = find_header(text, declared, score);
    let quoting = has_quoting(text, separator);
    if quoting {
        syntax::check_quotes(name, text, separator, first_line)?;
    }
    let dialect = Dialect { separator, bom, crlf: text.contains("\r\n") };
    let mut reader = reader(text, separator, quoting);
    // The line number of the CSV reader is off by one after an empty line or `\r\n`.
    let mut lines = LineCounter::new(text, first_line);
    let mut table = Table { dialect, header: Vec::new(), rows: Vec::new(), outside: Vec::new() };
    let mut cells_left = MAX_CELLS;
    let mut record = csv::StringRecord::new();
    let mut seen = 0;
    let mut too_long = None;
    // The CSV reader cannot fail here, because `check_quotes` has passed and the text is UTF-8.
    while reader
        .read_record(&mut record)
        .map_err(|error| Error::new(Kind::Usage, format!("{name} cannot be read as CSV: {error}")))?
    {
        let line = lines.line_at(record.position().map_or(0, |place| place.byte() as usize));
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        seen += 1;
        if seen <= above {
            table.outside.push((line, shown(&record)));
            continue;
        }
        if table.header.is_empty() {
            if record.len() > MAX_COLUMNS {
                return Err(too_much(name, &format!("more than {MAX_COLUMNS} columns")));
            }
            table.header = record.iter().map(str::to_owned).collect();
            continue;
        }
        let width = (0..record.len()).rfind(|n| !record[*n].trim().is_empty()).map_or(0, |last| last + 1);
        if width > table.header.len() {
            let says = format!("{name}, line {line}: {width} cells, but the header has {}", table.header.len());
            too_long = Some(
                Error::new(Kind::Usage, says)
                    .hint("put cells that contain the separator in quotes, such as an amount with a decimal comma"),
            );
            break;
        }
        if table.rows.len() >= max_rows {
            return Err(too_much(name, &format!("more than {max_rows} rows")));
        }
        cells_left = cells_left
            .checked_sub(record.len())
            .ok_or_else(|| too_much(name, &format!("more than {MAX_CELLS} cells")))?;
        table.rows.push((line, record.iter().take(table.header.len()).map(str::to_owned).collect()));
    }
    if table.header.is_empty() {
        return Err(empty(name));
    }
    let last = table.rows.iter().rposition(|(_, cells)| !is_below(cells)).map_or(0, |last| last + 1);
    let below = table.rows.drain(last..).map(|(line, cells)| (line, cells.join(" ").trim().to_owned()));
    table.outside.extend(below);
    Ok((table, too_long))
}

/// Returns the separator of the CSV text and the number of non-blank records above the header.
fn find_header(text: &str, declared: Option<u8>, score: Score<'_>) -> (u8, usize) {
    let separators = declared.map_or_else(|| SEPARATORS.to_vec(), |separator| vec![separator]);
    let mut best = ((0, 0), (separators[0], 0));
    for separator in separators {
        for (above, record) in first_records(text, separator, has_quoting(text, separator)).iter().enumerate() {
            let is_name = |cell: &String| cell.len() <= LONGEST_NAME;
            let known = if record.iter().all(is_name) { score(record) } else { 0 };
            // If no record contains a known column name, the first record is the header, and recoup chooses the
            // separator that gives the most cells.
            let rank = (known, record.len());
            if rank > best.0 && (known > 0 || above == 0) {
                best = (rank, (separator, above));
            }
            // A second header among the first records would start a second table.
            if known >= IS_HEADER {
                break;
            }
        }
    }
    best.1
}

/// Returns `true` if quotes delimit cells in the file. In TSV without quoting, a cell may start with a quote character.
fn has_quoting(text: &str, separator: u8) -> bool {
    separator != b'\t' || syntax::check_quotes("", text, separator, 1).is_ok()
}

fn reader(text: &str, separator: u8, quoting: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .quoting(quoting)
        .from_reader(text.as_bytes())
}

fn first_records(text: &str, separator: u8, quoting: bool) -> Vec<Vec<String>> {
    let mut reader = reader(text, separator, quoting);
    let mut records = Vec::new();
    let mut record = csv::StringRecord::new();
    while records.len() < HEADER_WITHIN && matches!(reader.read_record(&mut record), Ok(true)) {
        if record.iter().any(|cell| !cell.trim().is_empty()) {
            records.push(record.iter().take(MAX_COLUMNS + 1).map(str::to_owned).collect());
        }
    }
    records
}

/// Returns `true` if a row is a total or an end mark, such as `Total,,185.00`, `<END>` or `3,record(s) downloaded`.
fn is_below(cells: &[String]) -> bool {
    const WORDS: &str = "total totals grandtotal subtotal sum summe gesamt gesamtsumme gesamtbetrag endsumme somme totale \
                         totaal suma end eof endoffile";
    let mut filled = cells.iter().map(|cell| fold(cell)).filter(|cell| !cell.is_empty());
    let Some(first) = filled.next() else { return false };
    let second = filled.next().unwrap_or_default();
    WORDS.split_ascii_whitespace().any(|word| word == first)
        || first.starts_with("sellerid")
        || (first.bytes().all(|b| b.is_ascii_digit()) && second.starts_with("record") && second.ends_with("downloaded"))
        || first.ends_with("recordsdownloaded")
}

fn shown(record: &csv::StringRecord) -> String {
    record.iter().map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(super) fn empty(name: &str) -> Error {
    Error::new(Kind::Usage, format!("{name} is empty"))
        .hint("the first line of a CSV file names its columns, one of them order_id")
}

pub(super) fn too_much(name: &str, what: &str) -> Error {
    Error::new(Kind::Usage, format!("{name} has {what}")).hint("split it into several files, each with the header")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of known column names in a record.
    fn score(cells: &[String]) -> usize {
        cells.iter().filter(|cell| matches!(fold(cell).as_str(), "orderid" | "amount")).count()
    }

    fn table(text: &str) -> Result<Table> {
        read("x.csv", &crate::refunds::input::decode("x.csv", text.as_bytes())?, 100, &score)
    }

    #[test]
    fn rows_have_their_line_numbers_with_any_line_ends() {
        for (text, lines) in [
            ("order_id,note\n1,a\n2,b\n", vec![2, 3]),
            ("order_id,note\r\n1,a\r\n2,b\r\n", vec![2, 3]),
            ("order_id,note\r1,a\r2,b", vec![2, 3]),
            ("\n\norder_id,note\n\n1,a\n\n\n2,b", vec![5, 8]),
            ("order_id,note\r\n\r\n1,a\r\n\r\n2,b\r\n", vec![3, 5]),
            ("order_id,note\n1,\"a\nb\r\nc\"\n2,b\n", vec![2, 5]),
            ("order_id,\"no\nte\"\n1,a\n2,b\n", vec![3, 4]),
            ("order_id,note\n,\n1,a\n  ,\t\n2,b\n", vec![3, 5]),
            ("sep=,\r\norder_id,note\r\n1,a\r\n2,b\r\n", vec![3, 4]),
        ] {
            let table = table(text).expect(text);
            assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines, "{text:?}");
            assert_eq!(
                (table.header.len(), table.rows[1].1.as_slice()),
                (2, ["2".to_owned(), "b".to_owned()].as_slice())
            );
        }
    }

    #[test]
    fn short_rows_are_read_and_long_rows_are_refused() {
        let read = table("order_id,amount,note\n1\n2,3\n").expect("a table");
        assert_eq!(read.rows, [(2, vec!["1".to_owned()]), (3, vec!["2".to_owned(), "3".to_owned()])]);
        assert_eq!(table("order_id,note\n1,x,,\n").expect("empty cells at the end").rows[0].1.len(), 2);
        let error = table("order_id,amount\n1,2\n2,12,50\n").expect_err("too long");
        assert!(error.message.contains("line 3: 3 cells, but the header has 2"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("quotes")));
    }

    #[test]
    fn files_over_a_limit_are_refused() {
        assert!(table("\n \n").expect_err("empty").message.contains("is empty"));
        let wide = vec!["x"; MAX_COLUMNS + 1].join(",");
        assert!(table(&wide).expect_err("wide").message.contains("1000 columns"));
        let long = format!("order_id\n{}", "1\n".repeat(101));
        assert!(table(&long).expect_err("long").message.contains("100 rows"));
    }

    #[test]
    fn the_header_determines_the_separator() {
        for (text, separator) in [
            ("order_id,amount\n1;2;3;4,5", b','),
            ("order_id;amount\n1;12,50", b';'),
            ("Order ID\tamount", b'\t'),
            ("order_id|amount", b'|'),
            ("order_id", b','),
            ("\"Order ID\";\"Note, long, very\";Amount", b';'),
            ("Order ID,\"a;b;c;d;e\",Amount", b','),
            ("Order ID;Note, long, very, very, long;Amount", b';'),
            ("\"Note\nof;two;lines\",order_id,reason", b','),
            ("id;name;note, a", b';'),
            ("Refunds of November, all shops\n\norder_id;amount\n1;2", b';'),
        ] {
            assert_eq!(char::from(table(text).expect(text).dialect.separator), char::from(separator), "{text:?}");
        }
    }

    #[test]
    fn titles_and_totals_are_not_rows() {
        let read = table("Refunds of November\nShop: Acme, Inc\n\norder_id,amount\n1,5\n2,6\nTotal,11\n<END>,\n")
            .expect("a table");
        assert_eq!(read.header, ["order_id", "amount"]);
        assert_eq!(read.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(read.outside.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 7, 8]);
        let read =
            table("order_id,note\nTotal,x\n1,5\n\n2,record(s) downloaded\nSeller ID : acme,\n").expect("a table");
        assert_eq!(read.rows.len(), 2, "an order may be called Total, but not below all others: {read:?}");
    }

    #[test]
    fn unquoted_cells_of_tsv_may_begin_with_a_quote() {
        let read = table("order_id\tname\n1\t\"5 inch\" shelf\n2\t\"x\n3\ty\n").expect("a table");
        assert_eq!(read.rows.len(), 3);
        assert_eq!(read.rows[0].1[1], "\"5 inch\" shelf");
    }

    #[test]
    fn the_dialect_is_detected() {
        let read = table("order_id;note\r\n1;x\r\n").expect("a table");
        assert_eq!(read.dialect, Dialect { separator: b';', bom: false, crlf: true });
    }
}
