//! Checks a whole refund file for a second table, missing or misspelt columns, and orders that were not refunded.

use super::amount;
use super::columns::{Column, Columns, fold, is_own, list_names};
use super::decision::Decision;
use super::formats::Format;
use super::keywords::{denies_refund, is_plain_title};
use super::read::{LIST_FORMAT, Refunds};
use super::row::RawRow;
use super::unclear_columns::UnclearColumn;
use crate::error::{Error, Kind, Result};
use crate::model::counted;

/// Fails if a row of the refund file is a second header or a heading, because another table may follow.
pub(super) fn check_one_table(name: &str, rows: &[RawRow], columns: &Columns) -> Result<()> {
    let Some(place) = columns.get(Column::OrderId) else { return Ok(()) };
    let header = columns.header.get(place).map(|name| fold(name)).unwrap_or_default();
    let has_no_digit = |row: &RawRow| row.cells.iter().all(|cell| !cell.chars().any(|c| c.is_ascii_digit()));
    let is_other = |row: &&RawRow| {
        let order = row.cells.get(place).map_or("", String::as_str);
        let is_header = fold(order) == header || Column::by_name(order) == Some(Column::OrderId);
        (!order.is_empty() && is_header && has_no_digit(row)) || denies_refund(order)
    };
    let Some(row) = rows.iter().find(is_other) else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{name}, line {}: another list begins in the middle of the file", row.line))
        .hint("put each list into a file of its own"))
}

/// Fails if a line above the header or below the last row may deny the refunds of the file.
pub(super) fn check_lines_outside(name: &str, outside: &[(u64, String)], is_export: bool) -> Result<()> {
    // Amazon appends such an end line to its reports.
    let is_of_export = |said: &str| is_export && said.trim_start().to_lowercase().starts_with("seller id");
    let is_unexpected = |said: &str| !(is_plain_title(said) || is_of_export(said));
    let Some((line, said)) = outside.iter().find(|(_, said)| is_unexpected(said)) else { return Ok(()) };
    let said: String = said.chars().take(60).collect();
    Err(Error::new(
        Kind::Usage,
        format!("{name}, line {line}: {said:?} may say that orders of the list were not refunded"),
    )
    .hint("remove that line and every order that was not refunded in full"))
}

/// Fails if a list has no header, because recoup would read its first order as the header.
pub(super) fn check_header(name: &str, header: &[String], rows: &[RawRow]) -> Result<()> {
    let is_id = |cell: &str| cell.chars().filter(|c| c.is_numeric()).count() >= 3;
    let all_are_ids = |place: usize| {
        let mut cells = rows.iter().filter_map(|row| row.cells.get(place)).filter(|cell| !cell.trim().is_empty());
        cells.clone().next().is_some() && cells.all(|cell| is_id(cell))
    };
    let places = || header.iter().enumerate().filter(|(_, cell)| is_id(cell) && Column::by_name(cell).is_none());
    let is_lone = header.len() == 1 && rows.is_empty();
    let Some((_, cell)) = places().find(|(place, _)| is_lone || all_are_ids(*place)) else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{name} has no header: its first line has {cell:?} instead of a column name"))
        .hint("add a first line with the names of the columns; the name for order IDs is order_id"))
}

/// Fails if the order ID of a row looks unlike the other order IDs, because the row may be the heading of another
/// table.
pub(super) fn check_headings(name: &str, rows: &[RawRow], columns: &Columns) -> Result<()> {
    let Some(place) = columns.get(Column::OrderId) else { return Ok(()) };
    // recoup's outcome files have an apostrophe before a formula.
    let order = |row: &RawRow| {
        row.cells.get(place).map_or("", |cell| cell.trim().trim_start_matches('\'').trim_start()).to_owned()
    };
    // Ignores the columns that recoup added in an earlier run.
    let own: Vec<bool> = columns.header.iter().map(|name| is_own(name)).collect();
    let is_of_shop = |place: usize| !own.get(place).copied().unwrap_or_default();
    let filled = |row: &RawRow| {
        row.cells.iter().enumerate().filter(|(place, cell)| is_of_shop(*place) && !cell.trim().is_empty()).count()
    };
    let has_blank = |text: &str| text.contains(char::is_whitespace);
    let most = |is: &dyn Fn(&RawRow) -> bool| rows.iter().filter(|row| is(row)).count() * 3 >= rows.len() * 2;
    // A row is a heading if it has one text and most rows have several, or if it has several words and most rows have
    // one.
    let (are_wide, are_words) = (most(&|row| filled(row) > 1), most(&|row| !has_blank(&order(row))));
    let are_plain = most(&|row| !is_sum(&order(row)));
    let stands_out = |row: &&RawRow| {
        let order = order(row);
        if are_plain && is_sum(&order) {
            return true;
        }
        has_blank(&order) && is_prose(&order) && ((are_wide && filled(row) == 1) || are_words)
    };
    if let Some(row) = rows.iter().find(stands_out) {
        return Err(heading(name, row));
    }
    let has_digit = |text: &str| text.chars().any(char::is_numeric);
    // Returns `true` for a text with digits, such as `#1001` or `SO/849921/A`. Some order IDs have letters only.
    let is_number = |text: &str| {
        let digits = text.chars().filter(|c| c.is_numeric()).count();
        digits > 0 && digits * 2 >= text.chars().filter(|c| c.is_alphanumeric()).count()
    };
    if rows.iter().filter(|row| is_number(&order(row))).count() * 3 < rows.len() * 2 {
        return Ok(());
    }
    let is_heading = |row: &&RawRow| {
        let order = order(row);
        let mut texts = row.cells.iter().filter(|cell| !cell.trim().is_empty());
        if order.is_empty() { filled(row) == 1 && !texts.any(|cell| has_digit(cell)) } else { !has_digit(&order) }
    };
    rows.iter().find(is_heading).map_or(Ok(()), |row| Err(heading(name, row)))
}

/// Returns `true` if a text has several words of letters, such as `Week 46 - open` but not `ORD 24 576`.
fn is_prose(text: &str) -> bool {
    let is_word = |word: &&str| word.chars().count() > 1 && word.chars().all(char::is_alphabetic);
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(is_word).collect();
    words.len() > 1 || words.iter().any(|word| word.chars().any(char::is_lowercase))
}

/// Returns `true` if a text is an amount or a percentage, such as `-80.00`, `5 EUR` or `50%`. A text of digits and
/// points alone is an ID.
fn is_sum(text: &str) -> bool {
    let is_amount = |text: &str| matches!(amount::parse(text), Ok(Some(_)));
    match text.strip_suffix('%') {
        Some(share) => is_amount(share),
        None => is_amount(text) && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.'),
    }
}

/// Fails if a row of a platform's export has a single text, because a person must have added it as a heading.
pub(super) fn check_lone_texts(name: &str, rows: &[RawRow]) -> Result<()> {
    let is_lone_text = |row: &&RawRow| {
        let mut filled = row.cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
        matches!((filled.next(), filled.next()), (Some(only), None) if row.cells.len() > 3 && is_prose(only))
    };
    rows.iter().find(is_lone_text).map_or(Ok(()), |row| Err(heading(name, row)))
}

fn heading(name: &str, row: &RawRow) -> Error {
    let said = row.cells.iter().map(|cell| cell.trim()).find(|cell| !cell.is_empty()).unwrap_or_default();
    let said: String = said.chars().take(60).collect();
    Error::new(Kind::Usage, format!("{name}, line {}: {said:?} is not an order ID like the others", row.line))
        .hint("remove that line; if it is the heading of another list, put that list into a file of its own")
}

/// Fails if an export lacks a column that the rule of its format needs.
pub(super) fn check_required(name: &str, format: &Format, columns: &Columns) -> Result<()> {
    let Some(missing) = format.required.iter().find(|column| columns.get(**column).is_none()) else { return Ok(()) };
    let known = format.columns.iter().find(|(column, _)| column == missing).map_or(&[] as &[&str], |(_, names)| names);
    Err(Error::new(
        Kind::Usage,
        format!(
            "{name} is read as {}, but its column {:?} is missing, and without that no refund is proven",
            format.title,
            known.first().unwrap_or(&"")
        ),
    )
    .hint("export it again with all columns"))
}

/// Fails if the refund file has no column with the name that the user ignores. The ignored name may be misspelt, and
/// recoup would then not ignore the column that the user meant.
pub(super) fn check_ignored(name: &str, refunds: &Refunds) -> Result<()> {
    let header = &refunds.columns.header;
    let is_missing = |wanted: &&String| !header.iter().any(|cell| &cell == wanted || fold(cell) == fold(wanted));
    match refunds.reading.mapping.ignore_columns.iter().find(is_missing) {
        None => Ok(()),
        Some(missing) => Err(Error::new(Kind::Usage, format!("{name} has no column {missing:?} to ignore"))
            .hint(format!("its columns are {}", list_names(header)))),
    }
}

/// Fails if the status column contains none of the values that mean *refunded*. If the user misspells the value that
/// means *refunded*, every order would be *not refunded*.
pub(super) fn check_refunded_when(name: &str, refunds: &Refunds) -> Result<()> {
    let wanted = &refunds.reading.mapping.refunded_when;
    let Some(place) = refunds.columns.get(Column::Status).filter(|_| !wanted.is_empty()) else { return Ok(()) };
    let mut values: Vec<&str> = Vec::new();
    for row in &refunds.rows {
        let value = row.cell(place).trim();
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
        if wanted.iter().any(|wanted| wanted.to_lowercase() == value.to_lowercase()) || values.len() > 50 {
            return Ok(());
        }
    }
    if values.is_empty() || refunds.reading.format != LIST_FORMAT {
        return Ok(());
    }
    let shown: Vec<String> = values.iter().take(8).map(|value| format!("{value:?}")).collect();
    let column = &refunds.columns.header[place];
    Err(Error::new(Kind::Usage, format!("{name} has no row whose {column} is {}", wanted.join(" or ")))
        .hint(format!("its values are {}", shown.join(", "))))
}

/// Fails if at least half of the orders were not refunded, because the file is probably a list of all orders.
pub(super) fn refuse_list_of_orders(name: &str, refunds: &Refunds) -> Result<()> {
    let not = refunds.orders.iter().filter(|order| order.decision == Decision::NotRefunded).count();
    if not * 2 <= refunds.orders.len() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!(
            "{name} is a list of orders, not of refunds: {not} of {} not refunded",
            counted(refunds.orders.len(), "order")
        ),
    )
    .hint(
        "remove the orders that were not refunded, or name the column that tells: --status-column NAME --refunded-when VALUE; only if an \
         amount of 0 means that all of the order was refunded: --amount-means new-amount",
    ))
}

const MAX_NAMED: usize = 12;

pub(super) fn unclear_columns_error(name: &str, unclear: &[UnclearColumn], nearly: Option<(&Format, &str)>) -> Error {
    let shown = unclear.iter().take(MAX_NAMED).map(|column| {
        let examples: Vec<String> = column.examples.iter().map(|text| format!("{text:?}")).collect();
        let examples = if examples.is_empty() { String::new() } else { format!(": {}", examples.join(", ")) };
        format!("{:?} looks like {}{examples}", column.name, column.looks_like.words())
    });
    let shown: Vec<String> = shown.collect();
    let more = unclear.len().saturating_sub(shown.len());
    let more = if more == 0 { String::new() } else { format!("; and {}", counted(more, "more column")) };
    let message =
        format!("{name} has no known format, and some of its columns are unclear: {}{more}", shown.join("; "));
    let near = nearly.map_or_else(String::new, |(format, missing)| {
        format!("; with a column {missing:?} it would be a {}", format.title)
    });
    let remedies: Vec<String> = unclear.iter().take(MAX_NAMED).map(|column| column.remedy.clone()).collect();
    Error::new(Kind::Usage, message).hint(format!(
        "explain each column: {}; `recoup refunds check FILE` shows the result{near}",
        remedies.join("; ")
    ))
}
