//! The refund file formats that recoup detects, one module for each platform.
//!
//! To add a refund format, add a file with a `FORMAT`, declare its module, add it to the list `ALL` below, and put
//! sample exports into `samples/`. The property tests of `tests/safety.rs` check every format: a missing or unknown
//! cell never turns an order that was not refunded into a full refund.

mod adyen;
mod amazon_returns;
mod amazon_settlement;
mod bigcommerce;
mod ebay;
mod impact_reversals;
mod magento;
mod paypal;
mod returns_app;
mod shopify_json;
mod shopify_orders;
mod shopify_payments;
mod square;
mod stripe;
mod ultracart;
mod woocommerce_analytics;
mod woocommerce_export;
mod woocommerce_refunds;

use std::collections::{BTreeSet, HashMap};

use super::amount::{self, AmountError};
use super::columns::{Column, ColumnNames, Columns, fold};
use super::decision::Cell;
use super::row::RefundRow;
use crate::model::decimal::Decimal;

/// All refund formats, in the order in which the documentation lists them.
pub static ALL: &[&Format] = &[
    &shopify_orders::FORMAT,
    &shopify_payments::FORMAT,
    &shopify_json::FORMAT,
    &woocommerce_analytics::FORMAT,
    &woocommerce_export::FORMAT,
    &woocommerce_refunds::FORMAT,
    &bigcommerce::FORMAT,
    &magento::FORMAT,
    &stripe::FORMAT,
    &paypal::FORMAT,
    &adyen::FORMAT,
    &square::FORMAT,
    &amazon_returns::FORMAT,
    &amazon_settlement::FORMAT,
    &ebay::FORMAT,
    &ultracart::FORMAT,
    &returns_app::FORMAT,
    &impact_reversals::FORMAT,
];

/// The description of one platform's export format.
pub struct Format {
    /// The name that `--format` accepts.
    pub name: &'static str,
    /// The name of the format in messages.
    pub title: &'static str,
    /// What one row of an export represents, such as an order.
    pub grain: &'static str,
    /// The condition of a full refund. The condition completes the sentence "an order counts as refunded in full if …".
    pub rule: &'static str,
    /// A warning about files of this format; empty if the format needs none.
    pub caveat: &'static str,
    /// Whether the rule of the format calculates the price of an order as the sum of its payments. If the file lacks a
    /// payment of an order, the price is too low, and only the comparison with the action's amount finds that.
    pub sums_payments: bool,
    /// Whether the sign of an amount shows the direction of the payment. In a format without signed amounts, amounts of
    /// both signs in one file are a contradiction.
    pub signed: bool,
    /// `Some(true)` if the format is JSON, `Some(false)` if the format is a table, `None` if it may be either.
    pub is_json: Option<bool>,
    /// Whether a column name matches only if the file writes the name without spaces and underscores.
    pub exact_names: bool,
    /// Whether a second table may follow the first table in one file of this format.
    pub has_sections: bool,
    /// A header matches this format if it contains at least one name of each group.
    pub signature: &'static [&'static [&'static str]],
    pub columns: &'static [ColumnNames],
    /// The columns without which recoup refuses a file of this format. The format's rule may read optional columns too.
    /// Without a total, for example, the amount of the live action decides.
    pub required: &'static [Column],
    /// Interprets a row of a refund file by the rule of the format. Returns an error with the reason if the row makes
    /// its order unclear.
    pub interpret: fn(&RowCells<'_>) -> Result<RowMeaning, String>,
}

impl Format {
    const BASE: Self = Self {
        name: "",
        title: "",
        grain: "",
        rule: "",
        caveat: "",
        sums_payments: false,
        signed: false,
        is_json: None,
        exact_names: false,
        has_sections: false,
        signature: &[],
        columns: &[],
        required: &[],
        interpret: |_| Ok(RowMeaning::Ignored),
    };

    /// Returns the length of the format's signature if the header contains a name of each group.
    fn matches(&self, header: &Header) -> Option<usize> {
        self.signature
            .iter()
            .all(|group| group.iter().any(|name| header.has(name, self.exact_names)))
            .then_some(self.signature.len())
    }

    /// Returns the first column name of each signature group that has no name in the header.
    fn missing(&self, header: &Header) -> Vec<&'static str> {
        let lacks = |group: &&&[&str]| !group.iter().any(|name| header.has(name, false));
        self.signature.iter().filter(lacks).map(|group| group[0]).collect()
    }
}

/// The folded column names of a header. The value of a folded name is `true` if the file writes the name without spaces
/// and punctuation.
struct Header(HashMap<String, bool>);

impl Header {
    fn of(cells: &[String]) -> Self {
        let mut names = HashMap::with_capacity(cells.len());
        for cell in cells {
            let is_exact = cell.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '\u{feff}');
            *names.entry(fold(cell)).or_default() |= is_exact;
        }
        Self(names)
    }

    fn has(&self, name: &str, exactly: bool) -> bool {
        self.0.get(&fold(name)).is_some_and(|is_exact| *is_exact || !exactly)
    }
}

/// Detects the format with the longest signature that the header matches. Fails with two formats if the header matches
/// both equally well.
pub fn detect(header: &[String], is_json: bool) -> Result<Option<&'static Format>, [&'static Format; 2]> {
    let header = Header::of(header);
    let mut best: Option<(usize, &'static Format)> = None;
    let mut tie = None;
    for format in ALL.iter().copied() {
        let fits = format.is_json.is_none_or(|only| only == is_json);
        let Some(groups) = fits.then(|| format.matches(&header)).flatten() else { continue };
        match best {
            Some((most, _)) if groups < most => {}
            Some((most, other)) if groups == most => tie = Some([other, format]),
            _ => (best, tie) = (Some((groups, format)), None),
        }
    }
    match tie {
        Some(both) => Err(both),
        None => Ok(best.map(|(_, format)| format)),
    }
}

/// Finds a format if the header lacks exactly one of its columns. Returns the format and the name of the missing
/// column.
pub fn missing_one_column(header: &[String], is_json: bool) -> Option<(&'static Format, &'static str)> {
    let header = Header::of(header);
    let fits = |format: &&Format| format.is_json.is_none_or(|only| only == is_json) && format.signature.len() > 3;
    ALL.iter().copied().filter(fits).find_map(|format| match format.missing(&header).as_slice() {
        [only] => Some((format, *only)),
        _ => None,
    })
}

pub fn by_name(name: &str) -> Option<&'static Format> {
    ALL.iter().copied().find(|format| format.name.eq_ignore_ascii_case(name))
}

/// What one row of a refund file says about the payments of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowMeaning {
    /// The row is a further line item of its order. The order's first row has the amounts.
    Ignored,
    /// The row is from a list that the user submitted as refunded.
    Listed,
    /// The row states the current state of the whole order.
    OrderState {
        status: OrderStatus,
        refunded: Option<Decimal>,
        /// The price before the refund.
        total: Option<Decimal>,
    },
    /// The row states the price after the refund. A price of 0 is a full refund.
    NewAmount(Decimal),
    /// The row is a payment or refund of its order. recoup adds up the amounts of an order's rows.
    Transaction {
        charged: Decimal,
        /// The refunded amount; negative if the row undoes a refund.
        refunded: Decimal,
    },
    /// The row is a payment, and its status says that only a part was refunded.
    PartlyRefundedPayment { charged: Decimal },
    /// The row is a refund of its order. recoup adds up the amounts of an order's rows.
    Refund {
        refunded: Decimal,
        /// The price of the whole order, if the row contains the price.
        total: Option<Decimal>,
    },
    /// The row is not a refund but, for example, a fee, a payout, a chargeback or a rejected return. The variant's text
    /// says what the row is instead of a refund.
    NoRefund(String),
}

impl RowMeaning {
    /// Returns `true` if the row says that the customer got money back.
    pub(super) fn is_refund(&self) -> bool {
        match self {
            Self::Listed | Self::Refund { .. } => true,
            Self::OrderState { status, refunded, .. } => {
                *status == OrderStatus::Refunded || refunded.is_some_and(|refunded| !refunded.is_zero())
            }
            Self::Transaction { refunded, .. } => !refunded.is_zero(),
            Self::NewAmount(amount) => amount.is_zero(),
            Self::Ignored | Self::PartlyRefundedPayment { .. } | Self::NoRefund(_) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// The status says that the order was refunded in full.
    Refunded,
    /// The status says that the order was refunded in part.
    RefundedInPart,
    /// The status says that nothing of the order was refunded. A refunded amount contradicts the status *not refunded*.
    NotRefunded,
    /// The platform keeps the status *not refunded in full* after a partial refund. Therefore the amounts may show a
    /// partial refund. A fully refunded amount contradicts the status *not refunded in full*.
    NotInFull,
    /// The order's status does not show whether it was refunded. Therefore the amounts of the order decide whether it
    /// was refunded.
    AmountsDecide,
}

/// The cells of one row of a refund file, by column. This type records each cell that a format reads as evidence.
pub struct RowCells<'a> {
    pub(super) row: &'a RefundRow,
    pub(super) columns: &'a Columns,
    /// The column indexes of the cells that the format has read.
    pub(super) seen: std::cell::RefCell<Vec<usize>>,
    /// The codes and signs of the currencies in the row's amounts.
    pub(super) currencies: std::cell::RefCell<BTreeSet<String>>,
}

impl<'a> RowCells<'a> {
    pub(super) fn new(row: &'a RefundRow, columns: &'a Columns) -> Self {
        Self { row, columns, seen: std::cell::RefCell::default(), currencies: std::cell::RefCell::default() }
    }

    /// Returns `true` if the refund file has the column.
    pub fn has(&self, column: Column) -> bool {
        self.columns.get(column).is_some()
    }

    /// Returns the trimmed cell of a column; empty if the refund file lacks the column. Records the cell as evidence
    /// for the decision.
    pub fn text(&self, column: Column) -> &'a str {
        let Some(place) = self.columns.get(column) else { return "" };
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(&place) {
            seen.push(place);
        }
        self.row.cell(place).trim()
    }

    /// Returns the cell like [`RowCells::text`], but in lower case and with blanks in place of `_` and `-`.
    pub fn word(&self, column: Column) -> String {
        let text = self.text(column).to_lowercase().replace(['_', '-'], " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Parses the cell of a column as an amount; `None` if the cell is blank or the refund file lacks the column.
    pub fn amount(&self, column: Column) -> Result<Option<Decimal>, String> {
        let text = self.text(column);
        let place = self.columns.get(column);
        let is_number = place.is_some_and(|place| self.row.numbers.contains(&place));
        let read = if is_number { amount::parse_json_number(text) } else { amount::parse(text) };
        let name = || place.and_then(|place| self.columns.header.get(place)).map_or("", String::as_str);
        match read {
            Ok(amount) => {
                let currency = self.text(Column::Currency);
                if let Some(named) = amount.as_ref().and_then(|amount| amount.currency.as_deref()) {
                    if !currency.is_empty() && !amount::may_be_same_currency(named, currency) {
                        return Err(format!(
                            "{} {text:?} is in {named}, its currency column says {currency:?}",
                            name()
                        ));
                    }
                    self.currencies.borrow_mut().insert(named.to_owned());
                }
                Ok(amount.map(|amount| amount.value))
            }
            Err(AmountError::Ambiguous) => Err(format!(
                "{} {text:?} has two readings, a thousandfold apart: write it without thousands separators and with two \
                 decimals",
                name()
            )),
            Err(AmountError::Unreadable) => Err(format!("{} {text:?} is not an amount", name())),
        }
    }

    /// Parses an amount like [`RowCells::amount`], but fails if the cell is blank.
    pub fn needed(&self, column: Column) -> Result<Decimal, String> {
        self.amount(column)?.ok_or_else(|| self.blank(column))
    }

    /// Returns the error for a blank cell or a missing column that makes the order unclear.
    pub fn blank(&self, column: Column) -> String {
        match self.columns.get(column).and_then(|place| self.columns.header.get(place)) {
            Some(name) => format!("{name} is blank"),
            None => format!("the file has no column for the {}", column.words()),
        }
    }

    /// Returns the error for an unknown value that makes the order unclear.
    pub fn unknown(&self, column: Column) -> String {
        let text = self.text(column);
        if text.is_empty() {
            return self.blank(column);
        }
        let name = self.columns.get(column).and_then(|place| self.columns.header.get(place));
        format!("{} {text:?} is not a known value here", name.map_or("", String::as_str))
    }

    /// Returns the cells that the format has read and that are not blank.
    pub(super) fn evidence(&self) -> Vec<Cell> {
        let seen = self.seen.borrow();
        let cell = |place: &usize| {
            let value = self.row.cell(*place).trim();
            let column = self.columns.header.get(*place)?;
            (!value.is_empty()).then(|| Cell { line: self.row.line, column: column.clone(), value: value.to_owned() })
        };
        seen.iter().filter_map(cell).collect()
    }
}

/// Interprets a row that has status, refunded amount and total of a whole order. A blank amount is an error if the
/// refund file has a column for that amount.
fn interpret_order(cells: &RowCells<'_>, status: OrderStatus) -> Result<RowMeaning, String> {
    let (refunded, total) = (cells.amount(Column::Amount)?, cells.amount(Column::Total)?);
    for (column, amount) in [(Column::Amount, refunded), (Column::Total, total)] {
        if cells.has(column) && amount.is_none() {
            return Err(cells.blank(column));
        }
    }
    Ok(RowMeaning::OrderState { status, refunded: refunded.map(Decimal::abs), total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_described_and_maps_its_columns() {
        let mut names: Vec<&str> = ALL.iter().map(|format| format.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for format in ALL {
            assert!(format.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", format.name);
            for text in [format.title, format.grain, format.rule] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text:?}", format.name);
            }
            assert!(format.columns.iter().any(|(column, _)| *column == Column::OrderId), "{}", format.name);
            for required in format.required {
                assert!(format.columns.iter().any(|(column, _)| column == required), "{}", format.name);
            }
            assert_eq!(by_name(format.name).map(|it| it.name), Some(format.name));
        }
    }
}
