//! Finds the columns because of which recoup cannot read a file of unknown format as a plain list of refunds.
//!
//! A column may say that an order was not refunded, or not in full. recoup refuses the file if a column is unknown and
//! the user has not explained it, unless the column contains only blanks or e-mail addresses.

use std::collections::HashSet;

use serde::Serialize;

use super::amount::{self, Decimal};
use super::column_mapping::ColumnMapping;
use super::columns::{Column, Columns, fold, is_own};
use super::dates::{self, DateError};
use super::keywords::{
    AGAINST_VALUES, AMOUNT_NAMES, DATE_NAMES, ITEM_NAMES, NOTE_NAMES, QUANTITY_NAMES, STATUS_NAMES, STATUS_VALUES,
    TYPE_NAMES, denies_refund,
};
use super::row::RefundRow;
use crate::model::order_text::is_email;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// The column contains a status or a yes/no value, such as paid, refunded or open.
    Status,
    /// The column contains a type of transaction, such as charge, refund or payout.
    Type,
    Amount,
    Quantity,
    Item,
    Date,
    /// The column contains free text, which may deny a refund.
    Text,
    /// The column has an unknown name or no name.
    Unknown,
}

impl ColumnKind {
    /// Returns the description of the column's kind in messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Status => "a status",
            Self::Type => "a type of transaction",
            Self::Amount => "an amount",
            Self::Quantity => "a quantity",
            Self::Item => "an item of an order",
            Self::Date => "a date",
            Self::Text => "free text, which may say that an order was not refunded",
            Self::Unknown => "an unknown column",
        }
    }

    /// Returns `true` if the column's values are states or transaction types, such as *paid* or *refund*.
    pub fn is_word(self) -> bool {
        matches!(self, Self::Status | Self::Type)
    }

    /// Returns the flag that explains the column on the command line.
    fn remedy(self, name: &str) -> String {
        let word = shell_quote(name);
        let ignore = format!("--ignore-column {word}");
        match self {
            Self::Status | Self::Type => format!(
                "--status-column {word} --refunded-when VALUE if it says whether the order was refunded, or {ignore}"
            ),
            Self::Amount => {
                format!("--amount-column {word} --amount-means refunded|new-amount, --total-column {word}, or {ignore}")
            }
            Self::Date => format!("--date-column {word} if it is the date of the refund, or {ignore}"),
            Self::Quantity | Self::Item => ignore,
            Self::Unknown if name.is_empty() => "name the column without a name, or remove it".to_owned(),
            Self::Text => format!("{ignore} if no text in it says that an order was not refunded"),
            Self::Unknown => format!("{ignore} if it says nothing about the refund"),
        }
    }
}

/// Quotes text for a shell command.
pub fn shell_quote(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if plain && !text.starts_with('-') { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A column that the user must explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnclearColumn {
    /// The index of the unclear column in the header, from 0.
    pub place: usize,
    pub name: String,
    pub looks_like: ColumnKind,
    pub examples: Vec<String>,
    /// The flag that explains the unclear column on the command line.
    pub remedy: String,
}

/// The maximum number of values that recoup examines in a column.
const SAMPLE: usize = 2000;
const EXAMPLES: usize = 3;

/// Returns the columns of the refund file that the user must explain, in file order.
pub(super) fn find(columns: &Columns, rows: &[RefundRow], mapping: &ColumnMapping) -> Vec<UnclearColumn> {
    let known: HashSet<usize> = Column::ALL.into_iter().filter_map(|column| columns.get(column)).collect();
    let mut unclear = Vec::new();
    for (place, name) in columns.header.iter().enumerate() {
        // One `--ignore-column` must not apply to two columns of the same name.
        let is_alone = columns.header.iter().filter(|other| *other == name || fold(other) == fold(name)).count() == 1;
        if is_own(name) || (mapping.ignores(name) && is_alone) {
            continue;
        }
        let looks_like = if known.contains(&place) {
            // The meaning of a column with a known name may still be ambiguous.
            known_but_unclear(place, columns, rows, mapping)
        } else {
            let mut values = rows.iter().map(|row| row.cell(place).trim()).filter(|value| !value.is_empty()).peekable();
            let is_blank = values.peek().is_none();
            let otherwise = if is_free_text_name(name) { ColumnKind::Text } else { ColumnKind::Unknown };
            let by_values = || kind_by_values(place, rows);
            let by_name = kind_by_name(name).map(|look| {
                if look == ColumnKind::Status && by_values() == Some(ColumnKind::Amount) {
                    ColumnKind::Amount
                } else {
                    look
                }
            });
            // Only a column that has nothing but blanks or e-mail addresses is certainly irrelevant to a refund.
            let otherwise = || (!is_blank && !values.all(is_email_address)).then_some(otherwise);
            by_name.or_else(by_values).or_else(otherwise)
        };
        let Some(looks_like) = looks_like else { continue };
        let mut examples: Vec<String> = Vec::new();
        for row in rows {
            let value = row.cell(place).trim();
            if !value.is_empty() && !examples.iter().any(|known| known == value) {
                examples.push(value.chars().take(40).collect());
            }
            if examples.len() == EXAMPLES {
                break;
            }
        }
        let remedy = if mapping.ignores(name) {
            format!("rename one of the columns {}", shell_quote(name))
        } else if columns.get(Column::Amount) == Some(place) {
            format!(
                "--amount-means refunded, or --amount-means new-amount if {} is what the order costs now",
                shell_quote(name)
            )
        } else {
            looks_like.remedy(name)
        };
        unclear.push(UnclearColumn { place, name: name.clone(), looks_like, examples, remedy });
    }
    unclear
}

/// Returns the ignored columns that look like a status, type or amount. The caller warns the user about ignored columns
/// that look like a status, type or amount.
pub(super) fn ignored_refund_columns(columns: &Columns, rows: &[RefundRow], mapping: &ColumnMapping) -> Vec<String> {
    let is_about_refund = |place: usize, name: &str| {
        let look = kind_by_name(name).or_else(|| kind_by_values(place, rows));
        matches!(look, Some(ColumnKind::Status | ColumnKind::Type | ColumnKind::Amount))
    };
    let ignored = columns.header.iter().enumerate().filter(|(_, name)| mapping.ignores(name));
    ignored.filter(|(place, name)| is_about_refund(*place, name)).map(|(_, name)| name.clone()).collect()
}

/// Returns why a column with a known name may belong to a list of all orders instead of refunds. A column of amounts
/// may contain the prices of the orders. A total or an order date without a refund column is no evidence of a refund.
fn known_but_unclear(
    place: usize,
    columns: &Columns,
    rows: &[RefundRow],
    mapping: &ColumnMapping,
) -> Option<ColumnKind> {
    let is = |column: Column| columns.get(column) == Some(place);
    let has = |column: Column| columns.get(column).is_some();
    if is(Column::Amount) && is_ambiguous_amount(columns, rows, mapping) {
        return Some(ColumnKind::Amount);
    }
    let any = |says: &dyn Fn(&str) -> bool| {
        rows.iter().map(|row| row.cell(place).trim()).any(|text| !text.is_empty() && says(text))
    };
    // Any text can deny a refund, and no word list can recognise every denial.
    let is_text = if is(Column::Reason) {
        any(&|_| true)
    } else if is(Column::Disposition) {
        any(&|text| !is_known_code(text))
    } else if is(Column::Ticket) {
        any(&|text| !is_number(text))
    } else if is(Column::ActionId) || is(Column::ActionTrackerId) {
        any(&|text| !is_id(text))
    } else {
        false
    };
    if is_text {
        return Some(ColumnKind::Text);
    }
    let says_refund = has(Column::Amount) || has(Column::Status);
    // If the refund file has neither refunded amounts nor a status, a price does not show whether the order was
    // refunded.
    if (is(Column::Total) || is(Column::Currency)) && !says_refund {
        return Some(ColumnKind::Amount);
    }
    (is(Column::OrderedAt) && !says_refund && !has(Column::RefundedAt)).then_some(ColumnKind::Date)
}

/// Returns `true` if the amounts of a column may be order prices. The amounts of a column may be order prices if the
/// column has both signs. Amounts without a negative value may be prices if the column is called *amount* or was named
/// by the user, and the file has no refund date.
fn is_ambiguous_amount(columns: &Columns, rows: &[RefundRow], mapping: &ColumnMapping) -> bool {
    if mapping.amount_means.is_some() {
        return false;
    }
    let Some(place) = columns.get(Column::Amount) else { return false };
    let value = |row: &RefundRow| amount::parse(row.cell(place)).ok().flatten().map(|amount| amount.value);
    let has_negative = rows.iter().filter_map(value).any(Decimal::is_negative);
    let has_positive = rows.iter().filter_map(value).any(|value| !value.is_negative() && !value.is_zero());
    if has_negative && has_positive {
        return true;
    }
    let is_bare =
        columns.header.get(place).is_some_and(|name| fold(name) == "amount") || mapping.amount_column.is_some();
    is_bare && !has_negative && columns.get(Column::RefundedAt).is_none()
}

/// Returns `true` if a column name suggests free text.
fn is_free_text_name(name: &str) -> bool {
    words(name).iter().any(|word| NOTE_NAMES.split_ascii_whitespace().any(|known| known == word))
}

/// Returns `true` if a text is one of the vendor's disposition codes (`docs/vendor/brand.md` §1, and the vendor's
/// guide) that cannot deny a refund.
fn is_known_code(text: &str) -> bool {
    const CODES: &str = "RETRACTION CONS_INFO_INVALID CONS_ERROR CONS_FRAUD ITEM_RETURNED ITEM_OUT_OF_STOCK ORDER_ERROR TEST_ACTION \
        MP_RETURNED OTHER";
    CODES.split_ascii_whitespace().any(|code| code == text)
}

/// Returns `true` if a text consists of letters followed by a number: `SUP-4711`, `#4711`.
fn is_number(text: &str) -> bool {
    let number = text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim_start_matches(['-', '#', '_']);
    text.len() - number.len() <= 11 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Returns `true` if a text may be an ID of the vendor: no blanks and at least one digit.
fn is_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic()) && text.bytes().any(|b| b.is_ascii_digit())
}

fn is_email_address(text: &str) -> bool {
    is_email(text) && !text.contains(['{', '[', ',', ';'])
}

/// Splits a column name into words: `refundTotal_EUR` has three words.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    spaced.to_lowercase().split_whitespace().map(str::to_owned).collect()
}

fn kind_by_name(name: &str) -> Option<ColumnKind> {
    let words = words(name);
    let has = |list: &str| words.iter().any(|word| list.split_ascii_whitespace().any(|known| known == word));
    let ends =
        |list: &[&str]| words.iter().any(|word| list.iter().any(|end| word.len() > end.len() && word.ends_with(end)));
    // A column name such as `refunded at` or `cancelled at` means the date of an event.
    if words.len() > 1 && words.last().is_some_and(|last| last == "at" || last == "on") {
        return Some(ColumnKind::Date);
    }
    if words.len() == 1 && words[0] == "of" {
        return None;
    }
    if has(STATUS_NAMES)
        || ends(&["status", "statut"])
        || words.first().is_some_and(|first| first == "is" || first == "has")
    {
        return Some(ColumnKind::Status);
    }
    if has(DATE_NAMES) || ends(&["datum", "date"]) {
        return Some(ColumnKind::Date);
    }
    if has(ITEM_NAMES) {
        return Some(ColumnKind::Item);
    }
    if has(AMOUNT_NAMES) || ends(&["betrag", "summe", "preis", "amount", "total", "bedrag"]) {
        return Some(ColumnKind::Amount);
    }
    let quantity =
        words.iter().any(|word| QUANTITY_NAMES.replace(" number of", "").split_ascii_whitespace().any(|it| it == word));
    if quantity {
        return Some(ColumnKind::Quantity);
    }
    has(TYPE_NAMES).then_some(ColumnKind::Type)
}

/// Returns `true` if any value of the column denies a full refund.
fn denies_full_refund(place: usize, rows: &[RefundRow]) -> bool {
    let distinct: HashSet<&str> = rows.iter().map(|row| row.cell(place).trim()).collect();
    distinct.into_iter().any(|value| {
        AGAINST_VALUES.split_ascii_whitespace().any(|known| known == value.to_lowercase()) || denies_refund(value)
    })
}

fn kind_by_values(place: usize, rows: &[RefundRow]) -> Option<ColumnKind> {
    if denies_full_refund(place, rows) {
        return Some(ColumnKind::Status);
    }
    let values: Vec<&str> =
        rows.iter().map(|row| row.cell(place).trim()).filter(|value| !value.is_empty()).take(SAMPLE).collect();
    if values.is_empty() {
        return None;
    }
    let most = |is: &dyn Fn(&str) -> bool| values.iter().filter(|value| is(value)).count() * 2 > values.len();
    let is_status = |value: &str| {
        let word = value.to_lowercase().replace([' ', '-'], "_");
        STATUS_VALUES.split_ascii_whitespace().any(|known| known == word)
    };
    let distinct: HashSet<String> = values.iter().map(|value| value.to_lowercase()).collect();
    // If a column has few distinct values and one of them is a known status, the other values are probably statuses
    // too.
    if most(&is_status)
        || (distinct.len() <= 12 && distinct.iter().any(|value| is_status(value)) && values.len() > distinct.len())
    {
        return Some(ColumnKind::Status);
    }
    // Returns `true` for a symbol such as ✓, ✗, + or -.
    let is_sign = |value: &str| value.chars().count() <= 2 && !value.chars().any(char::is_alphanumeric);
    if most(&is_sign) {
        return Some(ColumnKind::Status);
    }
    let is_date = |value: &str| matches!(dates::parse(value), Ok(Some(_)) | Err(DateError::Ambiguous));
    if most(&is_date) {
        return Some(ColumnKind::Date);
    }
    let is_money = |value: &str| {
        let has_mark = value.contains(['.', ',']) || !value.chars().all(|c| c.is_ascii_digit());
        has_mark && matches!(amount::parse(value), Ok(Some(_)) | Err(amount::AmountError::Ambiguous))
    };
    if most(&is_money) {
        return Some(ColumnKind::Amount);
    }
    let is_small = |value: &str| value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
    most(&is_small).then_some(ColumnKind::Quantity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_names_that_may_deny_a_refund_are_classified() {
        for (name, look) in [
            ("Status", ColumnKind::Status),
            ("Zahlungsstatus", ColumnKind::Status),
            ("is_refunded", ColumnKind::Status),
            ("refunded", ColumnKind::Status),
            ("Rückgabestatus", ColumnKind::Status),
            ("orderState", ColumnKind::Status),
            ("Type", ColumnKind::Type),
            ("Gross", ColumnKind::Amount),
            ("Erstattungsbetrag", ColumnKind::Amount),
            ("refundTotalEUR", ColumnKind::Amount),
            ("N. Revenue (formatted)", ColumnKind::Amount),
            ("Net Sales", ColumnKind::Amount),
            ("Qty", ColumnKind::Quantity),
            ("Lineitem name", ColumnKind::Item),
            ("SKU", ColumnKind::Item),
            ("Cancelled at", ColumnKind::Date),
            ("Bestelldatum", ColumnKind::Date),
            ("created", ColumnKind::Date),
        ] {
            assert_eq!(kind_by_name(name), Some(look), "{name}");
        }
        for name in
            ["Email", "Customer", "Name", "note", "Country", "Shop", "agent", "Kommentar", "phone", "channel", "id"]
        {
            assert_eq!(kind_by_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_text_that_denies_a_refund_is_recognised() {
        for text in [
            "NOT refunded - customer kept it",
            "Refund denied",
            "refund-rejected",
            "partial refund 5 EUR",
            "Keine Erstattung",
            "Orders not refunded (do not reverse)",
        ] {
            assert!(denies_refund(text), "{text}");
        }
        for text in ["refunded", "customer rejected the parcel", "arrived too late", "erstattet", "kept it short"] {
            assert!(!denies_refund(text), "{text}");
        }
    }

    #[test]
    fn a_name_is_quoted_for_a_shell() {
        for (name, shown) in
            [("Status", "Status"), ("N. Revenue", "'N. Revenue'"), ("it's", "'it'\\''s'"), ("-x", "'-x'"), ("", "''")]
        {
            assert_eq!(shell_quote(name), shown);
        }
    }
}
