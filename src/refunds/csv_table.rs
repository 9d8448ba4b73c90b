//! A CSV text as a header and rows, each with the line it starts in; pure.
//!
//! A file is read whole or refused with the line: a row with more cells than the header was split in the wrong place, and half
//! a list must not pass for a list. Rows may be shorter. What is above the header (a title) and below the last row (a
//! total) is set apart, never read as an order.

use super::columns::fold;
use super::input::{self, Text};
use super::syntax::{self, Dialect, SEPARATORS};
use crate::error::{Error, Kind, Result};

/// More columns than any export has.
pub const MAX_COLUMNS: usize = 1000;
/// More cells than fit into a reasonable memory (24 bytes each, and what they hold).
pub const MAX_CELLS: usize = 20_000_000;
/// The score of a record that is a header by itself, whatever follows.
pub const IS_HEADER: usize = 1_000;
/// More bytes than the name of any column has: a longer cell is not compared with names.
const LONGEST_NAME: usize = 10_000;
/// Records in which the header is looked for.
const HEADER_WITHIN: usize = 20;

/// A CSV file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// How it was written.
    pub dialect: Dialect,
    /// The names of its columns.
    pub header: Vec<String>,
    /// Line (from 1) and cells of each row; at most as many cells as the header has, and fewer if the row ends early.
    pub rows: Vec<(u64, Vec<String>)>,
    /// Lines without any text in them, which are not in `rows`. Empty lines are not counted.
    pub blank: u64,
    /// Line and text of what is neither header nor row: a title above, a total below.
    pub outside: Vec<(u64, String)>,
}

/// How likely a record is the header; 0 if nothing in it is known.
pub type Score<'a> = &'a dyn Fn(&[String]) -> usize;

/// Reads the CSV text of the file that errors call `name`. `score` finds the header and the separator; if it knows no
/// record, the first one is the header.
pub fn read(name: &str, text: &Text<'_>, most_rows: usize, score: Score<'_>) -> Result<Table> {
    match read_section(name, text, most_rows, score)? {
        (table, None) => Ok(table),
        (_, Some(too_long)) => Err(too_long),
    }
}

/// The same up to the first row that has more cells than the header, which may begin a second table. The error says so.
pub fn read_section(name: &str, text: &Text<'_>, most_rows: usize, score: Score<'_>) -> Result<(Table, Option<Error>)> {
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
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: first_line };
    let mut table = Table { dialect, header: Vec::new(), rows: Vec::new(), blank: 0, outside: Vec::new() };
    let mut cells_left = MAX_CELLS;
    let mut record = csv::StringRecord::new();
    let mut seen = 0;
    let mut too_long = None;
    // The quotes are sound and the text is UTF-8: nothing is left for the reader to refuse, but it may say so.
    while reader
        .read_record(&mut record)
        .map_err(|error| Error::new(Kind::Usage, format!("{name} cannot be read as CSV: {error}")))?
    {
        let line = lines.of(record.position().map_or(0, |place| place.byte() as usize));
        if record.iter().all(|cell| cell.trim().is_empty()) {
            table.blank += 1;
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
            let says = format!("{name}, line {line}: {width} cells under a header of {}", table.header.len());
            too_long =
                Some(Error::new(Kind::Usage, says).hint(
                    "a cell that holds the separator, such as an amount with a decimal comma, is written in quotes",
                ));
            break;
        }
        if table.rows.len() >= most_rows {
            return Err(too_much(name, &format!("more than {most_rows} rows")));
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

/// The separator, and how many records with text in them stand above the header.
fn find_header(text: &str, declared: Option<u8>, score: Score<'_>) -> (u8, usize) {
    let separators = declared.map_or_else(|| SEPARATORS.to_vec(), |separator| vec![separator]);
    let mut best = ((0, 0), (separators[0], 0));
    for separator in separators {
        for (above, record) in first_records(text, separator, has_quoting(text, separator)).iter().enumerate() {
            let is_name = |cell: &String| cell.len() <= LONGEST_NAME;
            let known = if record.iter().all(is_name) { score(record) } else { 0 };
            // Without a known name the first record is the header, and the separator that gives most cells is right.
            let rank = (known, record.len());
            if rank > best.0 && (known > 0 || above == 0) {
                best = (rank, (separator, above));
            }
            // Another header below would begin a second table.
            if known >= IS_HEADER {
                break;
            }
        }
    }
    best.1
}

/// Whether quotes around cells are no part of them. In unquoted TSV a cell may begin with a quote that is.
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

/// `Total,,185.00`, `<END>`, `3,record(s) downloaded`: what spreadsheets and platforms put below the last row.
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

/// A file without a header and without rows.
pub(super) fn empty(name: &str) -> Error {
    Error::new(Kind::Usage, format!("{name} is empty"))
        .hint("the first line of a CSV file names its columns, one of them order_id")
}

/// A file past a bound.
pub(super) fn too_much(name: &str, what: &str) -> Error {
    Error::new(Kind::Usage, format!("{name} has {what}")).hint("split it into several files, each with the header")
}

/// From offsets to lines. The reader's own count is off by a line after an empty line or `\r\n`.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or after `offset`; offsets only grow.
    fn of(&mut self, offset: usize) -> u64 {
        let skipped =
            self.text[offset.min(self.text.len())..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let start = offset + skipped;
        self.line += input::line_ends(self.text, self.at, start);
        self.at = start;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as there are names that begin like those of a known column.
    fn score(cells: &[String]) -> usize {
        cells.iter().filter(|cell| matches!(fold(cell).as_str(), "orderid" | "amount")).count()
    }

    fn table(text: &str) -> Result<Table> {
        read("x.csv", &input::decode("x.csv", text.as_bytes())?, 100, &score)
    }

    #[test]
    fn rows_keep_their_lines_whatever_ends_them() {
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
    fn rows_may_be_short_and_never_long() {
        let read = table("order_id,amount,note\n1\n2,3\n").expect("a table");
        assert_eq!(read.rows, [(2, vec!["1".to_owned()]), (3, vec!["2".to_owned(), "3".to_owned()])]);
        assert_eq!(table("order_id,note\n1,x,,\n").expect("empty cells at the end").rows[0].1.len(), 2);
        let error = table("order_id,amount\n1,2\n2,12,50\n").expect_err("too long");
        assert!(error.message.contains("line 3: 3 cells under a header of 2"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("quotes")));
    }

    #[test]
    fn there_are_bounds() {
        assert!(table("\n \n").expect_err("empty").message.contains("is empty"));
        let wide = vec!["x"; MAX_COLUMNS + 1].join(",");
        assert!(table(&wide).expect_err("wide").message.contains("1000 columns"));
        let long = format!("order_id\n{}", "1\n".repeat(101));
        assert!(table(&long).expect_err("long").message.contains("100 rows"));
    }

    #[test]
    fn the_separator_is_the_one_that_makes_sense_of_the_header() {
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
    fn titles_and_totals_are_no_rows() {
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
    fn the_dialect_is_kept() {
        let read = table("order_id;note\r\n1;x\r\n").expect("a table");
        assert_eq!(read.dialect, Dialect { separator: b';', bom: false, crlf: true });
    }
}
