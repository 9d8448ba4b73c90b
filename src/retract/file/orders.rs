//! Which orders are to be handed over: from the command line, or from a list of refunds. Pure.
//!
//! A row that is wrong, or is not a refund of the whole order, is carried along with the reason, and never written. Nothing
//! here repairs an order ID or guesses an amount.

use crate::model::decimal::Decimal;
use crate::model::{ActionId, OrderId};
use crate::refunds::{RefundRow, Refunds};

/// One order to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The line of the list, from 1; `None` on the command line.
    pub line: Option<u64>,
    /// The order; empty where the list has none.
    pub order_id: OrderId,
    /// The action that the list names.
    pub action_id: Option<ActionId>,
    /// The action tracker that the list names.
    pub action_tracker: Option<String>,
    /// The reason code that the list names.
    pub reason_code: Option<String>,
    /// A person's words.
    pub reason: Option<String>,
    /// A ticket.
    pub ticket: Option<String>,
    /// What was refunded, without its sign; `None` where that is everything.
    pub refunded: Option<Decimal>,
    /// Why it is not written whatever the index says.
    pub stopped: Option<String>,
    /// Why it is not written unless the index has exactly this order ID.
    pub doubtful: Option<String>,
}

impl Wish {
    /// An order of the command line.
    pub fn named(order_id: OrderId) -> Self {
        Self {
            line: None,
            order_id,
            action_id: None,
            action_tracker: None,
            reason_code: None,
            reason: None,
            ticket: None,
            refunded: None,
            stopped: None,
            doubtful: None,
        }
    }
}

/// The orders of a list, one for each row.
pub fn of_list(list: &Refunds) -> Vec<Wish> {
    list.rows.iter().map(of_row).collect()
}

fn of_row(row: &RefundRow) -> Wish {
    let stopped = row.stopped_by(true).map(ToString::to_string);
    let no_order = row.order_id.is_none().then(|| "the row has no order ID".to_owned());
    Wish {
        line: Some(row.line),
        order_id: row.order_id.clone().unwrap_or_else(|| OrderId::new("")),
        action_id: row.action_id.clone(),
        action_tracker: row.action_tracker_id.clone(),
        reason_code: row.disposition.clone(),
        reason: row.reason.clone(),
        ticket: row.ticket.clone(),
        refunded: row.amount.as_ref().map(|amount| amount.value.abs()).filter(|amount| !amount.is_zero()),
        stopped: stopped.or(no_order),
        doubtful: row.stopped_by(false).map(ToString::to_string),
    }
}
