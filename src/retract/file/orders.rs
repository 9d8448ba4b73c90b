//! Collects the orders of a reversal file, from the command line or from a list of refunds. `orders` does no I/O.
//!
//! If a row of the refund list is invalid or not refunded in full, recoup records the reason and never writes the row
//! into the reversal file. recoup changes no order ID and guesses no amount when it writes a reversal file.

use crate::model::{ActionId, OrderId};
use crate::refunds::{Decision, OrderRefund, RefundRow, Refunds};
use crate::retract::RefundClaim;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrder {
    /// Line of the refund list, from 1; `None` for an order from the command line.
    pub line: Option<u64>,
    pub order_id: OrderId,
    pub action_id: Option<ActionId>,
    pub action_tracker: Option<String>,
    pub reason_code: Option<String>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub refund: Option<RefundClaim>,
    /// Whether the refund list says that the order was not refunded. An order that was not refunded is not a failure.
    pub not_refunded: bool,
    /// Why recoup never writes this order into the reversal file.
    pub stopped: Option<String>,
    /// Why recoup writes this order into the reversal file only if the index has exactly this order ID.
    pub only_if_indexed: Option<String>,
}

impl FileOrder {
    pub fn named(order_id: OrderId) -> Self {
        Self {
            line: None,
            order_id,
            action_id: None,
            action_tracker: None,
            reason_code: None,
            reason: None,
            ticket: None,
            refund: None,
            not_refunded: false,
            stopped: None,
            only_if_indexed: None,
        }
    }
}

/// Returns the orders of a refund list without duplicates, and the rows without an order ID.
pub fn of_list(list: &Refunds) -> Vec<FileOrder> {
    let first_of_order = |(n, row): &(usize, &RefundRow)| match row.order.and_then(|order| list.orders.get(order)) {
        Some(order) => order.rows.first() == Some(n),
        None => row.no_order_needed.is_none(),
    };
    list.rows.iter().enumerate().filter(first_of_order).map(|(_, row)| of_row(list, row)).collect()
}

fn of_row(list: &Refunds, row: &RefundRow) -> FileOrder {
    let order = row.order.and_then(|order| list.orders.get(order));
    let stopped = match order {
        None => Some("the row has no order ID".to_owned()),
        Some(order) => not_in_full(order).or_else(|| list.blocking_problem(order, true).map(ToString::to_string)),
    };
    FileOrder {
        line: Some(row.line),
        order_id: order.map_or_else(|| OrderId::new(""), |order| order.order_id.clone()),
        action_id: row.action_id.clone(),
        action_tracker: row.action_tracker_id.clone(),
        reason_code: row.disposition.clone(),
        reason: row.reason.clone(),
        ticket: row.ticket.clone(),
        refund: order.map(RefundClaim::of),
        not_refunded: order.is_some_and(|order| order.decision == Decision::NotRefunded),
        stopped,
        only_if_indexed: order.and_then(|order| list.blocking_problem(order, false)).map(ToString::to_string),
    }
}

/// Returns why the refund list does not prove a full refund of the order; `None` if the list proves it.
fn not_in_full(order: &OrderRefund) -> Option<String> {
    let why = order.evidence.sentence();
    match &order.decision {
        Decision::InFull { .. } | Decision::ToCompare { .. } => None,
        Decision::NotRefunded => Some(format!("not refunded ({why})")),
        Decision::Unclear => Some(format!("unclear ({why})")),
        Decision::InPart { .. } => Some(format!(
            "refunded in part ({why}): a file of reversals takes orders back whole; `recoup retract --file FILE --partials` adjusts it"
        )),
    }
}
