//! Finds the orders of a ticket, or of an ActionId that the index lacks, in the ledger.

use super::other_id::{MAX_ORDERS, distinct};
use crate::error::Result;
use crate::model::{ActionId, OrderId, Target};
use crate::store::ledger::{Filter, Ledger, Retraction};

/// Maximum number of retractions that recoup reads for one ticket.
const MAX_RETRACTIONS: usize = 500;

/// The kind of an ID in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerIdKind {
    /// The ID is a ticket that a person wrote for a retraction.
    Ticket,
    /// The ID is an action that recoup sent a request about.
    Action,
}

/// An ID that the ledger has, and the orders of its retractions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerId {
    pub kind: LedgerIdKind,
    /// At most 20 orders of the ID, newest retraction first.
    pub orders: Vec<OrderId>,
    /// `true` if the ID has more orders than `orders` contains.
    pub more: bool,
}

/// Finds a ticket or an ActionId in the ledger; `None` if the ledger has neither. Ignores blanks around the text,
/// because recoup never acts on the result.
pub fn find_in_ledger(ledger: &Ledger, text: &str) -> Result<Option<LedgerId>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let ticket = Filter { ticket: Some(text.to_owned()), limit: MAX_RETRACTIONS, ..Filter::default() };
    let of_ticket = ledger.list(&ticket)?;
    if !of_ticket.is_empty() {
        return Ok(Some(LedgerId::new(LedgerIdKind::Ticket, of_ticket)));
    }
    let of_action = ledger.attempts(&Target::Action(ActionId::new(text)))?;
    Ok((!of_action.is_empty()).then(|| LedgerId::new(LedgerIdKind::Action, of_action)))
}

impl LedgerId {
    fn new(kind: LedgerIdKind, retractions: Vec<Retraction>) -> Self {
        let is_cut = retractions.len() >= MAX_RETRACTIONS;
        let mut orders = distinct(retractions.into_iter().rev().map(|one| one.order_id));
        let more = is_cut || orders.len() > MAX_ORDERS;
        orders.truncate(MAX_ORDERS);
        Self { kind, orders, more }
    }
}

impl LedgerIdKind {
    /// Returns the kind of the ID with its article, for use in a sentence.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Ticket => "the ticket of a retraction",
            Self::Action => "an ActionId",
        }
    }
}
