//! Cells that a spreadsheet would run, made harmless, and back; pure.
//!
//! An order ID or a reward's name can come from anyone, and a cell that starts with `=` is a program to a spreadsheet. An
//! apostrophe in front makes it text. The way back is exact for every cell there is: a cell that already has apostrophes in
//! front of a formula gets one more. A plain number keeps its sign. Only files for people are treated so, never a file for
//! the vendor, who would take the apostrophe for part of the order ID.

use std::borrow::Cow;

/// The cell as it may stand in a file that a spreadsheet opens.
pub fn harmless(cell: &str) -> Cow<'_, str> {
    if runs(cell.trim_start_matches('\'')) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// The cell that [`harmless`] was given.
pub fn original(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if runs(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    }
}

/// Whether a spreadsheet would take it for a formula. White space in front is skipped by some; the wide forms are what some
/// make narrow when they import.
fn runs(cell: &str) -> bool {
    cell.starts_with(['\t', '\r', '\n'])
        || (cell.trim_start().starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠'])
            && !is_plain_number(cell))
}

/// `-12.50`, `+1,234.50`: digits with single marks between them.
fn is_plain_number(cell: &str) -> bool {
    let bare = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    bare.split(['.', ',']).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_become_text_and_numbers_stay_numbers() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+1+1", "'+1+1"),
            ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\rx", "'\rx"),
            (" =1", "' =1"),
            ("\r\n=1", "'\r\n=1"),
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
            assert_eq!(harmless(cell), written, "{cell:?}");
            assert_eq!(original(written), cell, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn the_way_back_is_exact(cell in "['=+@|%\t\r\n -]{0,4}.{0,6}") {
            let written = harmless(&cell);
            prop_assert!(!runs(&written));
            prop_assert_eq!(original(&written), cell.as_str());
        }
    }
}
