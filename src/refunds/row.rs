//! One row of a refunds file: its cells as they were, what they say, and what is wrong with them; pure.
//!
//! A cell that cannot be read is a problem of its row and an empty field, never a guess. What a problem means for the row is
//! its weight; what is done about it is not decided here.

use super::amount::{self, Amount, NoAmount};
use super::columns::{Column, Columns};
use super::damage;
use super::dates::{self, NoDate, When};
use super::problem::{Problem, ProblemKind, Weight};
use crate::model::{ActionId, OrderId};

/// Longest disposition code, in characters (`brand-api.md` §1).
const MOST_DISPOSITION: usize = 64;

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRow {
    /// The line it starts in, from 1, the header included.
    pub line: u64,
    /// Its cells, unchanged; fewer than the header has where the row ends early.
    pub cells: Vec<String>,
    /// The order ID, byte for byte; `None` where it is empty or too long, and then `problems` says so.
    pub order_id: Option<OrderId>,
    /// The code for the vendor, verbatim.
    pub disposition: Option<String>,
    /// Why, for the ledger.
    pub reason: Option<String>,
    /// The ticket, for the ledger.
    pub ticket: Option<String>,
    /// What was refunded. `None` where the cell is empty, and where it is a problem.
    pub amount: Option<Amount>,
    /// The column's currency, else the one that the amount names; as it was written.
    pub currency: Option<String>,
    /// When it was refunded. `None` where that is not known: it may be as late as now.
    pub refunded_at: Option<When>,
    /// When it was ordered.
    pub ordered_at: Option<When>,
    /// The action tracker (event type) ID, verbatim.
    pub action_tracker_id: Option<String>,
    /// The ActionId, verbatim.
    pub action_id: Option<ActionId>,
    /// The line of the first row with the same order, where this is a later one.
    pub duplicate_of: Option<u64>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// The amount was a JSON number, and is only therefore certain.
    pub(super) exact_amount: bool,
    /// The object that it was, where the file is NDJSON.
    pub(super) object: Option<String>,
}

/// A row before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawRow {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
    /// The cell under `amount` is a JSON number.
    pub(super) amount_is_number: bool,
    pub(super) object: Option<String>,
}

impl RefundRow {
    pub(super) fn new(raw: RawRow, columns: &Columns) -> Self {
        let mut problems = Vec::new();
        let cell = |column: Column| columns.get(column).and_then(|n| raw.cells.get(n)).map_or("", String::as_str);
        let text = |column: Column| Some(cell(column)).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let sent = |column: Column, problems: &mut Vec<Problem>| {
            let text = text(column)?;
            problems.extend(damage::of_sent(&text, column));
            Some(text)
        };

        problems.extend(damage::of_order_id(cell(Column::OrderId)));
        let usable = !problems.iter().any(|it| matches!(it.kind, ProblemKind::EmptyOrder | ProblemKind::TooLong));
        let order_id = usable.then(|| OrderId::new(cell(Column::OrderId)));
        let disposition = text(Column::Disposition);
        problems.extend(disposition.as_deref().and_then(of_disposition));
        let amount = read_amount(cell(Column::Amount), raw.amount_is_number, &mut problems);
        let exact_amount = raw.amount_is_number
            && amount.is_some()
            && amount::parse(cell(Column::Amount)).ok().flatten().map(|it| it.value)
                != amount.as_ref().map(|it| it.value);
        let currency = text(Column::Currency).map(|code| code.trim().to_owned());
        let currency = read_currency(currency, amount.as_ref(), &mut problems);
        let refunded_at = read_date(cell(Column::RefundedAt), Column::RefundedAt, &mut problems);
        let ordered_at = read_date(cell(Column::OrderedAt), Column::OrderedAt, &mut problems);
        let action_tracker_id = sent(Column::ActionTrackerId, &mut problems);
        let action_id = sent(Column::ActionId, &mut problems).map(ActionId::new);
        let (reason, ticket) = (text(Column::Reason), text(Column::Ticket));
        Self {
            line: raw.line,
            order_id,
            disposition,
            reason,
            ticket,
            amount,
            currency,
            refunded_at,
            ordered_at,
            action_tracker_id,
            action_id,
            duplicate_of: None,
            problems,
            exact_amount,
            object: raw.object,
            cells: raw.cells,
        }
    }

    /// The heaviest weight among its problems; `None` where nothing is wrong.
    pub fn weight(&self) -> Option<Weight> {
        self.problems.iter().map(|problem| problem.weight).max()
    }

    /// Whether the row stops, with the first problem that says so. `indexed`: the index has exactly these bytes.
    pub fn stopped_by(&self, indexed: bool) -> Option<&Problem> {
        self.problems.iter().find(|it| it.weight == Weight::Stop || (it.weight == Weight::Doubt && !indexed))
    }

    /// The cell of a column by its place; empty where the row ends before it.
    pub fn cell(&self, place: usize) -> &str {
        self.cells.get(place).map_or("", String::as_str)
    }
}

fn of_disposition(text: &str) -> Option<Problem> {
    if text.chars().count() > MOST_DISPOSITION {
        let message = format!("the disposition has {} characters (at most {MOST_DISPOSITION})", text.chars().count());
        return Some(Problem::new(ProblemKind::TooLong, Weight::Stop, Column::Disposition, message));
    }
    if text.chars().any(char::is_control) {
        let message = format!("disposition {text:?} has a line break or another control character in it");
        return Some(Problem::new(ProblemKind::ControlCharacters, Weight::Stop, Column::Disposition, message));
    }
    damage::of_padding(text, Column::Disposition).map(|problem| Problem { weight: Weight::Stop, ..problem })
}

/// An amount that cannot be read may be a partial refund, so it stops its row.
fn read_amount(text: &str, is_number: bool, problems: &mut Vec<Problem>) -> Option<Amount> {
    let read = if is_number { amount::parse_json_number(text) } else { amount::parse(text) };
    let (kind, says) = match read {
        Ok(amount) => return amount,
        Err(NoAmount::Ambiguous) => (
            ProblemKind::AmbiguousAmount,
            "can be read in two ways, a thousandfold apart: write it without thousands separators and with two decimals",
        ),
        Err(NoAmount::Unreadable) => (ProblemKind::UnreadableAmount, "cannot be read: write it as 1234.50"),
    };
    problems.push(Problem::new(kind, Weight::Stop, Column::Amount, format!("amount {text:?} {says}")));
    None
}

fn read_currency(column: Option<String>, amount: Option<&Amount>, problems: &mut Vec<Problem>) -> Option<String> {
    let named = amount.and_then(|amount| amount.currency.clone());
    if let (Some(column), Some(named)) = (&column, &named)
        && !column.eq_ignore_ascii_case(named)
    {
        let message = format!("the amount is in {named}, its currency column says {column:?}");
        problems.push(Problem::new(ProblemKind::CurrencyMismatch, Weight::Stop, Column::Currency, message));
    }
    column.or(named)
}

/// A date only says how fresh the index must be, and which order is older: without one the row goes on, at the cautious end.
fn read_date(text: &str, column: Column, problems: &mut Vec<Problem>) -> Option<When> {
    let (kind, says) = match dates::parse(text) {
        Ok(when) => return when,
        Err(NoDate::Ambiguous) => (ProblemKind::AmbiguousDate, "is one day or another"),
        Err(NoDate::Unreadable) => (ProblemKind::UnreadableDate, "cannot be read"),
    };
    let message = format!("{} {text:?} {says}, and is not used: write it as 2024-04-03", column.words());
    problems.push(Problem::new(kind, Weight::Note, column, message));
    None
}
