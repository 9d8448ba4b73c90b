//! Escapes and unescapes cells that a spreadsheet would run as formulas (CSV injection).
//!
//! Order IDs and reward names come from third parties. A spreadsheet runs a cell that starts with `=` as a formula, and
//! treats it as text if an apostrophe precedes it. A spreadsheet may split a line at a different separator than the
//! file's. Therefore the escape also covers the text after any separator or line break in a cell. recoup can unescape
//! every cell, because a cell that already has apostrophes before a formula gets one more. recoup does not escape
//! signed numbers. recoup escapes only files for people, because the vendor would read the apostrophe as a part of the
//! order ID.

use std::borrow::Cow;

/// Escapes a cell for a file that a spreadsheet opens.
pub fn escape(cell: &str) -> Cow<'_, str> {
    let cell = escape_after_separators(cell);
    if runs(cell.trim_start_matches('\'')) { Cow::Owned(format!("'{cell}")) } else { cell }
}

pub fn unescape(cell: &str) -> Cow<'_, str> {
    unescape_after_separators(match cell.strip_prefix('\'') {
        Some(rest) if runs(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    })
}

/// The characters at which a spreadsheet may split a line.
const SEPARATORS: [char; 6] = [',', ';', '\t', '|', '\r', '\n'];

/// Inserts an apostrophe between each separator and a formula after it.
fn escape_after_separators(cell: &str) -> Cow<'_, str> {
    let places = behind_separators(cell).filter(|at| runs_behind(&cell[*at..]));
    let mut text = String::new();
    let mut done = 0;
    for at in places {
        text.push_str(&cell[done..at]);
        text.push('\'');
        done = at;
    }
    if done == 0 { Cow::Borrowed(cell) } else { Cow::Owned(text + &cell[done..]) }
}

/// Removes the apostrophes that [`escape_after_separators`] inserts.
fn unescape_after_separators(cell: &str) -> Cow<'_, str> {
    let is_added = |at: &usize| cell[*at..].strip_prefix('\'').is_some_and(runs_behind);
    let mut text = String::new();
    let mut done = 0;
    for at in behind_separators(cell).filter(is_added) {
        text.push_str(&cell[done..at]);
        done = at + 1;
    }
    if done == 0 { Cow::Borrowed(cell) } else { Cow::Owned(text + &cell[done..]) }
}

fn behind_separators(cell: &str) -> impl Iterator<Item = usize> {
    cell.match_indices(SEPARATORS).map(|(at, separator)| at + separator.len())
}

/// Returns `true` if a spreadsheet would run the text after a separator as a formula, quoted or not. A signed number
/// after a separator counts as a formula, because the end of the cell is unknown.
fn runs_behind(rest: &str) -> bool {
    rest.trim_start_matches(|c: char| c == '\'' || c == '"' || c.is_whitespace()).starts_with(FORMULA)
}

/// The first characters of a formula. Some spreadsheets convert the full-width characters of a formula on import.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠'];

/// Returns `true` if a spreadsheet would run a cell as a formula. Some spreadsheets skip white space before a formula.
fn runs(cell: &str) -> bool {
    cell.starts_with(['\t', '\r', '\n']) || (cell.trim_start().starts_with(FORMULA) && !is_plain_number(cell))
}

/// Returns `true` if a cell is a number such as `-12.50` or `+1,234.50`: digits with single marks between them.
fn is_plain_number(cell: &str) -> bool {
    let bare = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    bare.split(['.', ',']).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_escaped_and_numbers_are_not() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+1+1", "'+1+1"),
            ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\rx", "'\rx"),
            (" =1", "' =1"),
            ("\r\n=1", "'\r'\n'=1"),
            ("x;=1+1", "x;'=1+1"),
            (";=1+1", ";'=1+1"),
            ("a,b|\t@x", "a,b|'\t'@x"),
            ("a; \"=1", "a;' \"=1"),
            ("a;-5", "a;'-5"),
            ("two\n+lines", "two\n'+lines"),
            ("a;'=1", "a;''=1"),
            ("a;'b", "a;'b"),
            ("it's; fine, -ish", "it's; fine,' -ish"),
            ("|cmd", "'|cmd"),
            ("%1", "'%1"),
            ("＝1", "'＝1"),
            ("+49 30", "'+49 30"),
            ("-", "'-"),
            ("-A1", "'-A1"),
            ("-1E+3", "'-1E+3"),
            ("-12.50", "-12.50"),
            ("+1,234.50", "+1,234.50"),
            ("#1001", "#1001"),
            ("'text", "'text"),
            ("'=1", "''=1"),
            ("''=1", "'''=1"),
            ("1=1", "1=1"),
            ("50%", "50%"),
            ("{\"a\":-1}", "{\"a\":-1}"),
            ("", ""),
        ] {
            assert_eq!(escape(cell), written, "{cell:?}");
            assert_eq!(unescape(written), cell, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn unescape_reverses_escape(cell in "['=+@|%;,\"\t\r\n -]{0,8}.{0,6}") {
            let written = escape(&cell);
            prop_assert!(!runs(&written));
            prop_assert_eq!(unescape(&written), cell.as_str());
        }

        #[test]
        fn no_separator_exposes_a_formula(
            rows in prop::collection::vec(prop::collection::vec("['=+@|%;,\"\t\r\n a-]{0,8}", 3), 1..4),
            separator in prop::sample::select(vec![b',', b';', b'\t', b'|']),
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row.iter().map(|cell| escape(cell).into_owned())).expect("a row");
            }
            let text = String::from_utf8(writer.into_inner().expect("a file")).expect("text");
            // A reader that splits at a different separator must find no formula at the start of a cell. The formula
            // may be unquoted, quoted, or after an empty quoted text. Three quotes in the CSV text are one quote
            // character of the cell.
            for at in behind_separators(&text).filter(|at| text.as_bytes()[at - 1] != separator) {
                let begins = text[at..].trim_start_matches('"');
                let quotes = text.len() - at - begins.len();
                let is_seen = quotes.is_multiple_of(2) || quotes == 1;
                // The CSV file's own separator cannot start a formula.
                let runs = begins.starts_with(FORMULA) && !begins.starts_with(char::from(separator));
                prop_assert!(!(is_seen && runs), "{:?} at {}", text, at);
            }
            let mut reader = csv::ReaderBuilder::new().delimiter(separator).has_headers(false).from_reader(text.as_bytes());
            for (read, row) in reader.records().zip(&rows) {
                for (cell, written) in read.expect("a row").iter().zip(row) {
                    prop_assert!(!runs(cell));
                    prop_assert_eq!(unescape(cell), written.as_str());
                }
            }
        }
    }
}
