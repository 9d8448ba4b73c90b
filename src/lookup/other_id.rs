//! Recognises a text that is an ActionId, a reward ID or a participant instead of an order ID, and finds its orders.

use serde::Serialize;

use crate::error::Result;
use crate::model::order_text::whole_candidates;
use crate::model::{ActionId, OrderId, RewardId};
use crate::store::index::IndexReader;

/// Maximum number of orders of one ID.
pub(super) const MAX_ORDERS: usize = 20;

/// The kind of an ID that is not an order ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherIdKind {
    /// The vendor's ID of an action.
    Action,
    /// The vendor's ID of a reward.
    Reward,
    /// An account ID or a user ID, often an e-mail address.
    Participant,
}

impl OtherIdKind {
    /// Returns the kind of the ID with its article, for use in a sentence.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Action => "an ActionId",
            Self::Reward => "a reward ID",
            Self::Participant => "the ID of a participant",
        }
    }
}

/// An ID that is not an order ID, and the orders that belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OtherId {
    pub kind: OtherIdKind,
    /// At most 20 orders of the ID; empty if its rewards have no order.
    pub orders: Vec<OrderId>,
    /// `true` if the ID has more orders than `orders` contains.
    pub more: bool,
}

/// Whether a look-up may find orders by a participant's ID. If an ID matches, the orders reveal the participant behind
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParticipantIds {
    /// The caller of the look-up may see accounts.
    Match,
    /// The caller of the look-up may not see accounts.
    Hide,
}

/// Finds the kind and the orders of an ID; `None` if the index lacks the ID. Ignores blanks, quotes and invisible
/// characters around the ID, because recoup never acts on the result.
pub(super) fn find(reader: &IndexReader, text: &str, participants: ParticipantIds) -> Result<Option<OtherId>> {
    let others = whole_candidates(text).into_iter().map(|candidate| candidate.text);
    // Only order IDs have a leading #.
    for text in std::iter::once(text.to_owned()).chain(others.filter(|text| !text.starts_with('#'))) {
        if let Some(related) = find_exact(reader, &text, participants)? {
            return Ok(Some(related));
        }
    }
    Ok(None)
}

fn find_exact(reader: &IndexReader, text: &str, participants: ParticipantIds) -> Result<Option<OtherId>> {
    let of_action = reader.rewards_of_action(&ActionId::new(text))?;
    if !of_action.is_empty() {
        let orders = of_action.into_iter().flat_map(|reward| reward.order_ids).collect();
        return Ok(Some(OtherId::new(OtherIdKind::Action, orders)));
    }
    if let Some(reward) = reader.reward(&RewardId::new(text))? {
        return Ok(Some(OtherId::new(OtherIdKind::Reward, reward.order_ids)));
    }
    if participants == ParticipantIds::Hide {
        return Ok(None);
    }
    let mut orders = reader.orders_of_participant(text, MAX_ORDERS + 1)?;
    if orders.is_empty() && text.contains('@') {
        // The vendor stores most e-mail addresses in lower case.
        orders = reader.orders_of_participant(&text.to_lowercase(), MAX_ORDERS + 1)?;
    }
    Ok((!orders.is_empty()).then(|| OtherId::new(OtherIdKind::Participant, orders)))
}

/// Returns each order once, in the given order.
pub(super) fn distinct(all: impl IntoIterator<Item = OrderId>) -> Vec<OrderId> {
    let mut orders: Vec<OrderId> = Vec::new();
    for order in all {
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    orders
}

impl OtherId {
    fn new(kind: OtherIdKind, all: Vec<OrderId>) -> Self {
        let mut orders = distinct(all);
        let more = orders.len() > MAX_ORDERS;
        orders.truncate(MAX_ORDERS);
        Self { kind, orders, more }
    }

    /// Formats the ID and its orders as a sentence.
    pub fn describe(&self) -> String {
        let what = self.kind.describe();
        let list: Vec<String> = self.orders.iter().map(|order| format!("{:?}", order.as_str())).collect();
        let more = if self.more { " and more" } else { "" };
        match list.as_slice() {
            [] => format!("it is {what}, and its rewards carry no order ID"),
            [order] => format!("it is {what}, of order {order}"),
            orders => format!("it is {what}, of orders {}{more}", orders.join(", ")),
        }
    }
}
