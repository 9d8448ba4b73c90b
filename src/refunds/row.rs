//! One row of a file: its cells as they were, its identifiers and dates, and what is wrong with them; pure.
//!
//! A cell that cannot be read is a problem of its row and an empty field, never a guess. What the row says about money is read by
//! its format.

use super::amount;
use super::columns::{Column, Columns};
use super::dates::{self, DateError, DateOrTime, DateOrder};
use super::row_problem::{ProblemKind, RowProblem, Severity};
use super::spreadsheet_damage;
use serde::{Deserialize, Serialize};

use crate::model::{ActionId, OrderId};

/// Longest disposition code, in characters (`docs/vendor/brand.md` §1).
const MAX_DISPOSITION: usize = 64;

/// How an order ID of the file becomes the one that the vendor knows, as a person says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderIdRewrite {
    /// What is missing in front of every order ID, as `#`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What every order ID of the file has in front and the vendor does not know.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strip: String,
}

impl OrderIdRewrite {
    /// Whether order IDs stay as they are.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.strip.is_empty()
    }

    /// The order ID. A cell that has the prefix already keeps it once.
    pub fn apply(&self, cell: &str) -> String {
        let bare = cell.strip_prefix(&self.strip).unwrap_or(cell);
        if bare.starts_with(&self.prefix) { bare.to_owned() } else { format!("{}{bare}", self.prefix) }
    }
}

/// One row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRow {
    /// The line it starts in, from 1, the header included.
    pub line: u64,
    /// Its cells, unchanged; fewer than the header has where the row ends early.
    pub cells: Vec<String>,
    /// The order ID, byte for byte; `None` if the cell is empty or too long.
    pub order_id: Option<OrderId>,
    /// The code for the vendor, verbatim.
    pub disposition: Option<String>,
    /// Why, for the ledger.
    pub reason: Option<String>,
    /// The ticket, for the ledger.
    pub ticket: Option<String>,
    /// When it was refunded. `None` where that is not known: it may be as late as now.
    pub refunded_at: Option<DateOrTime>,
    /// When it was ordered.
    pub ordered_at: Option<DateOrTime>,
    /// The action tracker (event type) ID, verbatim.
    pub action_tracker_id: Option<String>,
    /// The ActionId, verbatim.
    pub action_id: Option<ActionId>,
    /// The place of its order among the orders of the file; `None` if it names none.
    pub order: Option<usize>,
    /// Why it needs no order, if it names none: a payout, a fee.
    pub no_order_needed: Option<String>,
    /// What is wrong with it.
    pub problems: Vec<RowProblem>,
    /// The columns whose cells were JSON numbers: their point is a point.
    pub(super) numbers: Vec<usize>,
    /// The object that it was, where the file is NDJSON.
    pub(super) object: Option<String>,
}

/// A row before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawRow {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
    /// The columns whose cells are JSON numbers.
    pub(super) numbers: Vec<usize>,
    /// The columns whose cells are JSON objects, arrays, `true` or `false`.
    pub(super) nested: Vec<usize>,
    pub(super) object: Option<String>,
}

impl RefundRow {
    pub(super) fn new(raw: RawRow, columns: &Columns, days: DateOrder, order_id_rewrite: &OrderIdRewrite) -> Self {
        let mut problems = Vec::new();
        let cell = |column: Column| columns.get(column).and_then(|n| raw.cells.get(n)).map_or("", String::as_str);
        let text = |column: Column| Some(cell(column)).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let sent = |column: Column, problems: &mut Vec<RowProblem>| {
            let text = text(column)?;
            problems.extend(spreadsheet_damage::of_sent(&text, column));
            Some(text)
        };

        problems.extend(spreadsheet_damage::of_order_id(cell(Column::OrderId)));
        let usable = !problems.iter().any(|it| matches!(it.kind, ProblemKind::EmptyOrder | ProblemKind::TooLong));
        let order_id = usable.then(|| OrderId::new(order_id_rewrite.apply(cell(Column::OrderId))));
        let disposition = text(Column::Disposition);
        problems.extend(disposition.as_deref().and_then(of_disposition));
        let refunded_at = read_date(cell(Column::RefundedAt), Column::RefundedAt, days, &mut problems);
        let ordered_at = read_date(cell(Column::OrderedAt), Column::OrderedAt, days, &mut problems);
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

    /// The heaviest weight among its problems; `None` where nothing is wrong.
    pub fn severity(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).max()
    }

    /// Whether the row stops, with the first problem that says so. `indexed`: the index has exactly these bytes.
    pub fn blocking_problem(&self, indexed: bool) -> Option<&RowProblem> {
        self.problems.iter().find(|it| it.severity == Severity::Stop || (it.severity == Severity::Doubt && !indexed))
    }

    /// The cell of a column by its place; empty where the row ends before it.
    pub fn cell(&self, place: usize) -> &str {
        self.cells.get(place).map_or("", String::as_str)
    }
}

/// The cells that only their being JSON numbers makes certain: `1.234` as a text has two readings.
pub(super) fn exact_numbers(row: &RefundRow) -> Vec<usize> {
    let differs = |place: &&usize| {
        let cell = row.cell(**place);
        let read = |amount: Option<amount::Amount>| amount.map(|it| it.value);
        amount::parse(cell).ok().map(read) != amount::parse_json_number(cell).ok().map(read)
    };
    row.numbers.iter().filter(differs).copied().collect()
}

fn of_disposition(text: &str) -> Option<RowProblem> {
    if text.chars().count() > MAX_DISPOSITION {
        let message = format!("the disposition has {} characters (at most {MAX_DISPOSITION})", text.chars().count());
        return Some(RowProblem::new(ProblemKind::TooLong, Severity::Stop, Column::Disposition, message));
    }
    if text.chars().any(char::is_control) {
        let message = format!("disposition {text:?} has a line break or another control character in it");
        return Some(RowProblem::new(ProblemKind::ControlCharacters, Severity::Stop, Column::Disposition, message));
    }
    spreadsheet_damage::of_padding(text, Column::Disposition)
        .map(|problem| RowProblem { severity: Severity::Stop, ..problem })
}

/// A date only says how fresh the index must be, and which order is older: without one the row goes on, at the cautious end.
fn read_date(text: &str, column: Column, days: DateOrder, problems: &mut Vec<RowProblem>) -> Option<DateOrTime> {
    let (kind, says) = match dates::parse_in(text, days) {
        Ok(when) => return when,
        Err(DateError::Ambiguous) => (ProblemKind::AmbiguousDate, "is one day or another"),
        Err(DateError::Unreadable) => (ProblemKind::UnreadableDate, "cannot be read"),
    };
    let message = format!("{} {text:?} {says}, and is not used: write it as 2024-04-03", column.words());
    problems.push(RowProblem::new(kind, Severity::Note, column, message));
    None
}
