//! One row of a refund file: its cells, its IDs and dates, and its problems.
//!
//! If recoup cannot parse a cell, the cell becomes a problem and an empty field, never a guess. Each module of
//! [`super::formats`] decides what the amounts of its rows mean.

use super::amount;
use super::columns::{Column, Columns};
use super::dates::{self, DateError, DateOrTime, DateOrder};
use super::row_problem::{ProblemKind, RowProblem, Severity};
use super::spreadsheet_damage;
use serde::{Deserialize, Serialize};

use crate::model::{ActionId, OrderId};

/// The maximum length of a disposition code, in characters (`docs/vendor/brand.md` §1).
const MAX_DISPOSITION: usize = 64;

/// How recoup rewrites the order IDs of a refund file to match the vendor's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderIdRewrite {
    /// The prefix, such as `#`, that recoup adds to every order ID without the prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The prefix that recoup removes from every order ID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strip: String,
}

impl OrderIdRewrite {
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.strip.is_empty()
    }

    pub fn apply(&self, cell: &str) -> String {
        let bare = cell.strip_prefix(&self.strip).unwrap_or(cell);
        if bare.starts_with(&self.prefix) { bare.to_owned() } else { format!("{}{bare}", self.prefix) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRow {
    /// The number of the line on which the row starts, from 1. The header of the file also counts as a line.
    pub line: u64,
    /// The unchanged cells of the row. A row that ends early has fewer cells than the header.
    pub cells: Vec<String>,
    /// The order ID after the rewrite of its prefix, otherwise unchanged; `None` if the cell is empty or too long.
    pub order_id: Option<OrderId>,
    /// The disposition code of the row. recoup sends the disposition code to the vendor unchanged.
    pub disposition: Option<String>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    /// The refund date of the row. `None` means that the refund may be as recent as the file.
    pub refunded_at: Option<DateOrTime>,
    pub ordered_at: Option<DateOrTime>,
    /// The unchanged action tracker ID of the row.
    pub action_tracker_id: Option<String>,
    /// The unchanged ActionId of the row.
    pub action_id: Option<ActionId>,
    /// The index of the row's order in [`super::Refunds::orders`]; `None` if no order is known for the row.
    pub order: Option<usize>,
    /// Why the row needs no order, for example because it is a payout or a fee.
    pub no_order_needed: Option<String>,
    pub problems: Vec<RowProblem>,
    /// The columns whose cells are JSON numbers. The decimal point of a JSON number is always `.`.
    pub(super) numbers: Vec<usize>,
    /// The text of the row's JSON object, if the file is NDJSON.
    pub(super) object: Option<String>,
}

/// A row of a refund file before recoup interprets its cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawRow {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
    /// The columns whose cells are JSON numbers.
    pub(super) numbers: Vec<usize>,
    /// The columns whose cells are JSON objects, arrays or booleans.
    pub(super) nested: Vec<usize>,
    pub(super) object: Option<String>,
}

impl RefundRow {
    pub(super) fn new(
        raw: RawRow,
        columns: &Columns,
        date_order: DateOrder,
        order_id_rewrite: &OrderIdRewrite,
    ) -> Self {
        let mut problems = Vec::new();
        let cell = |column: Column| columns.get(column).and_then(|n| raw.cells.get(n)).map_or("", String::as_str);
        let text = |column: Column| Some(cell(column)).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let sent = |column: Column, problems: &mut Vec<RowProblem>| {
            let text = text(column)?;
            problems.extend(spreadsheet_damage::check_sent_id(&text, column));
            Some(text)
        };

        problems.extend(spreadsheet_damage::check_order_id(cell(Column::OrderId)));
        let usable = !problems.iter().any(|it| matches!(it.kind, ProblemKind::EmptyOrder | ProblemKind::TooLong));
        let order_id = usable.then(|| OrderId::new(order_id_rewrite.apply(cell(Column::OrderId))));
        let disposition = text(Column::Disposition);
        problems.extend(disposition.as_deref().and_then(check_disposition));
        let refunded_at = parse_date(cell(Column::RefundedAt), Column::RefundedAt, date_order, &mut problems);
        let ordered_at = parse_date(cell(Column::OrderedAt), Column::OrderedAt, date_order, &mut problems);
        let action_tracker_id = sent(Column::ActionTrackerId, &mut problems);
        let action_id = sent(Column::ActionId, &mut problems).map(ActionId::new);
        let (reason, ticket) = (text(Column::Reason), text(Column::Ticket));
        Self {
            line: raw.line,
            order_id,
            disposition,
            reason,
            ticket,
            refunded_at,
            ordered_at,
            action_tracker_id,
            action_id,
            order: None,
            no_order_needed: None,
            problems,
            numbers: raw.numbers,
            object: raw.object,
            cells: raw.cells,
        }
    }

    pub(super) fn names_too_long_an_order(&self) -> bool {
        self.problems.iter().any(|it| it.kind == ProblemKind::TooLong && it.column == Column::OrderId)
    }

    /// The first problem that blocks the row. `indexed` is `true` if the index contains exactly the row's order ID.
    pub fn blocking_problem(&self, indexed: bool) -> Option<&RowProblem> {
        self.problems.iter().find(|it| it.severity == Severity::Stop || (it.severity == Severity::Doubt && !indexed))
    }

    /// Returns the cell at a column index; empty if the row has fewer cells.
    pub fn cell(&self, place: usize) -> &str {
        self.cells.get(place).map_or("", String::as_str)
    }
}

/// Returns the columns of cells that are unambiguous only because they are JSON numbers. As text, an amount of `1.234`
/// may mean two amounts.
pub(super) fn exact_numbers(row: &RefundRow) -> Vec<usize> {
    let differs = |place: &&usize| {
        let cell = row.cell(**place);
        let read = |amount: Option<amount::Amount>| amount.map(|it| it.value);
        amount::parse(cell).ok().map(read) != amount::parse_json_number(cell).ok().map(read)
    };
    row.numbers.iter().filter(differs).copied().collect()
}

fn check_disposition(text: &str) -> Option<RowProblem> {
    if text.chars().count() > MAX_DISPOSITION {
        let message = format!("the disposition has {} characters (at most {MAX_DISPOSITION})", text.chars().count());
        return Some(RowProblem::new(ProblemKind::TooLong, Severity::Stop, Column::Disposition, message));
    }
    if text.chars().any(char::is_control) {
        let message = format!("disposition {text:?} has a line break or another control character in it");
        return Some(RowProblem::new(ProblemKind::ControlCharacters, Severity::Stop, Column::Disposition, message));
    }
    spreadsheet_damage::check_padding(text, Column::Disposition)
        .map(|problem| RowProblem { severity: Severity::Stop, ..problem })
}

/// Parses a date in a cell. An unreadable date does not block the row, because dates only determine how recent the
/// index must be and which order is older. Code that needs a missing date assumes the worst case.
fn parse_date(text: &str, column: Column, date_order: DateOrder, problems: &mut Vec<RowProblem>) -> Option<DateOrTime> {
    let (kind, says) = match dates::parse_in(text, date_order) {
        Ok(when) => return when,
        Err(DateError::Ambiguous) => (ProblemKind::AmbiguousDate, "is ambiguous"),
        Err(DateError::Unreadable) => (ProblemKind::UnreadableDate, "cannot be read"),
    };
    let message = format!("{} {text:?} {says} and is not used: write it as 2024-04-03", column.words());
    problems.push(RowProblem::new(kind, Severity::Note, column, message));
    None
}
