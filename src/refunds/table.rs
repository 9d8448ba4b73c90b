//! A CSV text as a header and rows, each with the line it starts in.
//!
//! Read whole or refused with the line: a row with more cells than the header has been cut in the wrong place, and half a
//! list must not pass for a list. Rows may be shorter. What is blank is no row.

use super::format::{self, Dialect};
use super::text::{self, Text};
use crate::error::{Error, Kind, Result};

/// More columns than any export has.
pub const MOST_COLUMNS: usize = 1000;
/// More cells than fit into a reasonable memory (24 bytes each, and what they hold).
pub const MOST_CELLS: usize = 20_000_000;

/// A CSV file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// How it was written.
    pub dialect: Dialect,
    /// The names of its columns.
    pub header: Vec<String>,
    /// Line (from 1) and cells of each row; at most as many cells as the header has, and fewer where the row ends early.
    pub rows: Vec<(u64, Vec<String>)>,
    /// Lines without any text in them, which are not in `rows`. Empty lines are not counted.
    pub blank: u64,
}

/// Reads the CSV text of the file that `name` calls.
pub fn read(name: &str, text: &Text<'_>, most_rows: usize) -> Result<Table> {
    let bom = text.bom;
    let (separator, text, first_line) = match format::declared(text.text) {
        Some((separator, rest)) => (separator, rest, 2),
        None => (format::sniff(text.text), text.text, 1),
    };
    format::check_quotes(name, text, separator, first_line)?;
    let dialect = Dialect { separator, bom, crlf: text.contains("\r\n") };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: first_line };
    let mut table = Table { dialect, header: Vec::new(), rows: Vec::new(), blank: 0 };
    let mut cells_left = MOST_CELLS;
    let mut record = csv::StringRecord::new();
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
        if table.header.is_empty() {
            if record.len() > MOST_COLUMNS {
                return Err(too_much(name, &format!("more than {MOST_COLUMNS} columns")));
            }
            table.header = record.iter().map(str::to_owned).collect();
            continue;
        }
        if record.len() > table.header.len() {
            return Err(Error::new(
                Kind::Usage,
                format!("{name}, line {line}: {} cells under a header of {}", record.len(), table.header.len()),
            )
            .hint("a cell that holds the separator, such as an amount with a decimal comma, is written in quotes"));
        }
        if table.rows.len() >= most_rows {
            return Err(too_much(name, &format!("more than {most_rows} rows")));
        }
        cells_left = cells_left
            .checked_sub(record.len())
            .ok_or_else(|| too_much(name, &format!("more than {MOST_CELLS} cells")))?;
        table.rows.push((line, record.iter().map(str::to_owned).collect()));
    }
    if table.header.is_empty() {
        return Err(empty(name));
    }
    Ok(table)
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
        self.line += text::line_ends(self.text, self.at, start);
        self.at = start;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Table> {
        read("x.csv", &Text { text, bom: false }, 100)
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
        let error = table("order_id,amount\n1,2\n2,12,50\n").expect_err("too long");
        assert!(error.message.contains("line 3: 3 cells under a header of 2"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("quotes")));
    }

    #[test]
    fn there_are_bounds() {
        assert!(table("\n \n").expect_err("empty").message.contains("is empty"));
        let wide = vec!["x"; MOST_COLUMNS + 1].join(",");
        assert!(table(&wide).expect_err("wide").message.contains("1000 columns"));
        let long = format!("order_id\n{}", "1\n".repeat(101));
        assert!(table(&long).expect_err("long").message.contains("100 rows"));
    }

    #[test]
    fn the_dialect_is_kept() {
        let read = table("order_id;note\r\n1;x\r\n").expect("a table");
        assert_eq!(read.dialect, Dialect { separator: b';', bom: false, crlf: true });
    }
}
