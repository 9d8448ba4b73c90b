//! Recognises order IDs that a spreadsheet has damaged.
//!
//! A spreadsheet may interpret an order ID as a number or a date and rewrite it. If digits of the order ID are lost,
//! the problem blocks the row. If the damaged text may still be an order ID, recoup uses the row only if the index
//! contains exactly this ID. recoup never repairs an ID, because the repaired ID could be another order's.

use super::columns::Column;
use super::row_problem::{ProblemKind, RowProblem, Severity};
use crate::model::OrderId;

/// Finds the damage that a spreadsheet may have done to an order ID.
pub fn check_order_id(text: &str) -> Vec<RowProblem> {
    if visible(text).is_empty() {
        return vec![RowProblem::new(
            ProblemKind::EmptyOrder,
            Severity::Stop,
            Column::OrderId,
            "the order ID is empty",
        )];
    }
    if text.len() > OrderId::MAX_BYTES {
        let message = format!("the order ID has {} bytes (at most {})", text.len(), OrderId::MAX_BYTES);
        return vec![RowProblem::new(ProblemKind::TooLong, Severity::Stop, Column::OrderId, message)];
    }
    check_id(text, Column::OrderId)
}

/// Finds the problems of an ID that recoup sends to the vendor unchanged. The index cannot confirm an ID that recoup
/// only sends. Therefore every problem of an ID that recoup only sends blocks the row.
pub fn check_sent_id(text: &str, column: Column) -> Vec<RowProblem> {
    let mut problems = check_id(text, column);
    for problem in &mut problems {
        problem.severity = Severity::Stop;
    }
    problems
}

/// Finds white space or invisible characters at the ends of a text.
pub fn check_padding(text: &str, column: Column) -> Option<RowProblem> {
    let trimmed = visible(text);
    (trimmed.len() != text.len()).then(|| {
        let message = format!("{} {text:?} has white space around it", column.words());
        RowProblem::new(ProblemKind::LooksPadded, Severity::Doubt, column, message).suggest(trimmed)
    })
}

fn check_id(text: &str, column: Column) -> Vec<RowProblem> {
    let what = column.words();
    let mut problems: Vec<RowProblem> = check_padding(text, column).into_iter().collect();
    let text = visible(text);
    if text.chars().any(char::is_control) {
        let message = format!("{what} {text:?} has a line break or another control character in it");
        problems.push(RowProblem::new(ProblemKind::ControlCharacters, Severity::Doubt, column, message));
    }
    problems.extend(check_shape(text, column));
    problems
}

/// Finds the first kind of spreadsheet damage in the text.
fn check_shape(text: &str, column: Column) -> Option<RowProblem> {
    let what = column.words();
    let problem =
        |kind, severity, says: &str| RowProblem::new(kind, severity, column, format!("{what} {text:?} {says}"));
    if let Some(formula) = text.strip_prefix('=') {
        let problem = problem(ProblemKind::Formula, Severity::Doubt, "is a formula");
        // Some exports write an order ID as `="00123"` to preserve its leading zeros.
        let inner = formula.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|inner| !inner.is_empty());
        return Some(match inner {
            Some(inner) => problem.suggest(inner),
            None => problem,
        });
    }
    if is_spreadsheet_error(text) {
        return Some(problem(ProblemKind::SpreadsheetError, Severity::Stop, "is a spreadsheet error"));
    }
    if is_scientific(text) {
        let says = "is in scientific notation: a spreadsheet took it for a number, and its last digits may be lost; \
                    export it again and do not open the file in between, or format the column as text first";
        return Some(problem(ProblemKind::ScientificNotation, Severity::Stop, says));
    }
    if let Some(bare) = text.strip_prefix('\'').filter(|bare| !bare.is_empty()) {
        let says = "starts with the apostrophe that marks text in a spreadsheet";
        return Some(problem(ProblemKind::LeadingApostrophe, Severity::Doubt, says).suggest(bare));
    }
    // An ActionId consists of digits and full stops. Therefore an ActionId may legitimately look like a decimal number.
    if column != Column::ActionId
        && let Some(whole) = without_decimals(text)
    {
        let says = "looks like an ID that a spreadsheet turned into a number";
        return Some(problem(ProblemKind::DecimalTail, Severity::Doubt, says).suggest(whole));
    }
    looks_like_date(text).then(|| {
        problem(
            ProblemKind::LooksLikeDate,
            Severity::Doubt,
            "looks like a date: a spreadsheet makes one of 3-24 or MAR24",
        )
    })
}

/// Trims white space and invisible characters from a text.
fn visible(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
    })
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns `true` if a text is in a spreadsheet's scientific notation, with a sign and two digits in the exponent:
/// `1.00E+09`, `1,2e+11`, `1E+09`. `4E12` may be an order ID and does not count as scientific notation.
fn is_scientific(text: &str) -> bool {
    let bare = text.strip_prefix('-').unwrap_or(text);
    let Some((mantissa, exponent)) = bare.split_once(['E', 'e']) else { return false };
    let (whole, rest) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let signed = exponent.strip_prefix(['+', '-']);
    whole.len() == 1
        && all_digits(whole)
        && all_digits(rest)
        && signed.is_some_and(|digits| all_digits(digits) && (2..=3).contains(&digits.len()))
}

/// Returns `true` if a text is a spreadsheet's error: `#REF!`, `#NAME?`, `#WERT!`, `#N/A`, `####`, but not `#1001`.
fn is_spreadsheet_error(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('#') else { return false };
    let name = rest.strip_suffix(['!', '?']);
    matches!(rest, "N/A" | "NV" | "GETTING_DATA")
        || (!rest.is_empty() && rest.bytes().all(|b| b == b'#'))
        || name.is_some_and(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_uppercase() || matches!(c, '/' | '0' | '_'))
        })
}

/// Returns an ID without its decimals: `12345` for `12345.0`.
fn without_decimals(text: &str) -> Option<&str> {
    let (whole, rest) = text.split_once(['.', ','])?;
    (all_digits(whole) && !rest.is_empty() && rest.bytes().all(|b| b == b'0')).then_some(whole)
}

/// Returns `true` if a text looks like a date: `Mar-24`, `24-Mar`, `1-Mar-24`, `3/4/2024`, `2024-03-01`, with or
/// without a time.
fn looks_like_date(text: &str) -> bool {
    let (day, time) = text.split_once(' ').unwrap_or((text, ""));
    if !time.is_empty() && !time.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let parts: Vec<&str> = day.split(['-', '/', '.']).collect();
    let small = |part: &str| all_digits(part) && part.len() <= 2;
    let year = |part: &str| all_digits(part) && part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
    match parts.as_slice() {
        [month, n] if is_month(month) => small(n) || year(n),
        [n, month] if is_month(month) => small(n) || year(n),
        [day, month, last] if is_month(month) => small(day) && (small(last) || year(last)),
        [first, second, last] if small(first) && small(second) => year(last) || (small(last) && day.contains('/')),
        [first, second, last] if year(first) => second.len() == 2 && last.len() == 2 && small(second) && small(last),
        _ => false,
    }
}

/// Returns `true` if a text is the name of a month in English, or a German, French or Spanish name that differs from
/// the English one.
fn is_month(text: &str) -> bool {
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep sept oct nov dec mär mrz mai okt dez janv févr mars avr juin \
                          juil août déc ene abr ago dic";
    let folded = text.to_lowercase();
    MONTHS.split_ascii_whitespace().any(|month| month == folded)
}

/// Finds order IDs that may have lost leading zeros: they have only digits and are shorter than the other order IDs,
/// which all have only digits and the same length. The result pairs the key of each short ID with the suggested ID.
///
/// Reports short order IDs only if few of many order IDs are short. If many order IDs are short, the shop's order
/// numbers have probably just grown longer.
pub fn lost_zeros<'a, T: Copy>(ids: impl Iterator<Item = (T, &'a str)> + Clone) -> Vec<(T, String)> {
    let (mut longest, mut total) = (0, 0_usize);
    for (_, id) in ids.clone() {
        if !all_digits(id) {
            return Vec::new();
        }
        longest = longest.max(id.len());
        total += 1;
    }
    let short: Vec<(T, String)> = ids
        .filter(|(_, id)| id.len() < longest)
        .map(|(row, id)| (row, format!("{id:0>longest$}")))
        .take(total / 10 + 2)
        .collect();
    let few = total >= 4 && short.len() <= (total / 10).max(1);
    if few { short } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_damage_has_its_severity() {
        use ProblemKind as K;
        use Severity::{Doubt, Stop};
        for (text, kind, severity, suggestion) in [
            ("", K::EmptyOrder, Stop, None),
            (" \u{a0}\u{200b}", K::EmptyOrder, Stop, None),
            ("1.00E+09", K::ScientificNotation, Stop, None),
            ("1,23457E+11", K::ScientificNotation, Stop, None),
            ("1e+09", K::ScientificNotation, Stop, None),
            ("-1E-05", K::ScientificNotation, Stop, None),
            ("#REF!", K::SpreadsheetError, Stop, None),
            ("#NAME?", K::SpreadsheetError, Stop, None),
            ("#DIV/0!", K::SpreadsheetError, Stop, None),
            ("#N/A", K::SpreadsheetError, Stop, None),
            ("#WERT!", K::SpreadsheetError, Stop, None),
            ("########", K::SpreadsheetError, Stop, None),
            ("=A2&\"-1\"", K::Formula, Doubt, None),
            ("=\"00123\"", K::Formula, Doubt, Some("00123")),
            ("'00123", K::LeadingApostrophe, Doubt, Some("00123")),
            ("12345.0", K::DecimalTail, Doubt, Some("12345")),
            ("12345,00", K::DecimalTail, Doubt, Some("12345")),
            ("Mar-24", K::LooksLikeDate, Doubt, None),
            ("24-Mar", K::LooksLikeDate, Doubt, None),
            ("Mär-24", K::LooksLikeDate, Doubt, None),
            ("1-Mar-2024", K::LooksLikeDate, Doubt, None),
            ("3/4/24", K::LooksLikeDate, Doubt, None),
            ("03.04.2024", K::LooksLikeDate, Doubt, None),
            ("2024-03-01 00:00:00", K::LooksLikeDate, Doubt, None),
            (" 1001", K::LooksPadded, Doubt, Some("1001")),
            ("1001\u{a0}", K::LooksPadded, Doubt, Some("1001")),
            ("\u{feff}1001", K::LooksPadded, Doubt, Some("1001")),
            ("10\n01", K::ControlCharacters, Doubt, None),
        ] {
            let problems = check_order_id(text);
            assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
            let problem = &problems[0];
            assert_eq!(
                (problem.kind, problem.severity, problem.suggestion.as_deref()),
                (kind, severity, suggestion),
                "{text:?}"
            );
        }
        let both = check_order_id("1.00E+09 ");
        assert_eq!(
            both.iter().map(|problem| problem.kind).collect::<Vec<_>>(),
            [K::LooksPadded, K::ScientificNotation]
        );
        assert_eq!(check_order_id(&"x".repeat(OrderId::MAX_BYTES + 1))[0].kind, K::TooLong);
    }

    #[test]
    fn ordinary_order_ids_have_no_problem() {
        for text in [
            "1001",
            "#1001",
            "00123",
            "abc_123",
            "O7427540",
            "4E12",
            "12E5",
            "1E+9",
            "E+09",
            "12.34",
            "1.2.3",
            "1000.4636.158133",
            "MAY-1001",
            "MAR-0024",
            "A-24",
            "123-1234567-1234567",
            "12-34-56",
            "2024-001",
            "+49",
            "-12",
            "@x",
            "#",
            "#1!",
            "ORD 24",
            "Ünïcode",
            "注文1",
        ] {
            assert_eq!(check_order_id(text), [], "{text:?}");
        }
    }

    #[test]
    fn a_damaged_id_that_is_sent_stops_its_row() {
        assert_eq!(check_sent_id(" 12345", Column::ActionTrackerId)[0].severity, Severity::Stop);
        assert_eq!(check_sent_id("12345.0", Column::ActionTrackerId)[0].severity, Severity::Stop);
        assert!(check_sent_id("1000.4636.158133", Column::ActionId).is_empty());
        assert!(check_sent_id("1000.0", Column::ActionId).is_empty());
        assert!(check_sent_id("1.2.2003", Column::ActionId)[0].message.contains("date"));
    }

    #[test]
    fn only_few_short_ids_among_many_have_lost_zeros() {
        let rows = |ids: &[&str]| lost_zeros(ids.iter().copied().enumerate());
        assert_eq!(rows(&["00123", "00124", "10125", "126"]), [(3, "00126".to_owned())]);
        for none in [
            ["1001", "1002", "1003", "1004"].as_slice(),
            &["998", "999", "1000", "1001"],
            &["1001", "1002", "1003", "99x"],
            &["1001", "1002", "99"],
            &[],
        ] {
            assert_eq!(rows(none), [], "{none:?}");
        }
        let mut many = vec!["123456"; 30];
        many.extend(["456", "3456", "56"]);
        assert_eq!(rows(&many).len(), 3);
        many.push("7");
        assert_eq!(rows(&many).len(), 0);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>()) {
            drop(check_order_id(&text));
        }

        #[test]
        fn nothing_panics_on_what_looks_damaged(text in "[ '#=]?[0-9A-Zä]{0,5}[-/.,E+!?]{0,2}[0-9a-z]{0,4}[-. ]?[0-9:]{0,5}") {
            drop(check_order_id(&text));
        }
    }
}
