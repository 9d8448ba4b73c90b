//! Finds the events of a GraphQL list. A simulated event is an action of an order and belongs to the order's buyer.
//!
//! The formulas compute the events of an order ID, an ActionId, an event ID, a user or an account. An event filter
//! without any ID searches all participants. An event filter by a field name that the order's events do not use finds
//! nothing.

use serde_json::{Map, Value};

use super::Part;
use crate::{
    keys::ActionKey,
    options::{LinkIn, LinkNames},
    world::World,
};

/// The event type of all events of orders.
pub(super) const KEY: &str = "purchase";

/// Returns the events that match the filter, in a stable order.
pub(super) fn find(world: &World, filter: &Map<String, Value>, part: Part) -> Vec<ActionKey> {
    let (offset, limit) = (part.offset as usize, part.limit as usize);
    let passes = |action: &ActionKey| passes(world, filter, *action);
    if let Some(named) = named(world, filter) {
        return named.into_iter().filter(passes).skip(offset).take(limit).collect();
    }
    let all = world.everyone().flat_map(|buyer| of_buyer(world, buyer));
    all.filter(passes).skip(offset).take(limit).collect()
}

fn of_order(world: &World, buyer: u64, order: u64) -> impl Iterator<Item = ActionKey> {
    (0..world.data.actions(buyer, order)).map(move |action| ActionKey { buyer, order, action })
}

fn of_buyer(world: &World, buyer: u64) -> Vec<ActionKey> {
    (0..world.data.orders(buyer)).flat_map(|order| of_order(world, buyer, order)).collect()
}

/// Returns the candidate events by the IDs in the filter; `None` if the filter has no ID.
fn named(world: &World, filter: &Map<String, Value>) -> Option<Vec<ActionKey>> {
    let data = &world.data;
    let text = |key: &str| filter.get(key).and_then(Value::as_str);
    let found: Vec<ActionKey> = if let Some(id) = text("id_eq") {
        data.find_event(id).into_iter().collect()
    } else if let Some(id) = text("userId_eq") {
        data.find_user(id).into_iter().flat_map(|person| of_buyer(world, person)).collect()
    } else if let Some(id) = text("accountId_eq") {
        let members = world.account(id).into_iter().flat_map(|owner| data.members(owner));
        members.flat_map(|person| of_buyer(world, person)).collect()
    } else {
        let wanted = filter.get("fields").and_then(Value::as_object).into_iter().flatten();
        // Every event field but the currency contains an order ID or an ActionId, whatever the field's name is.
        let (_, value) = wanted.into_iter().find(|(name, _)| *name != "currency_eq")?;
        let value = plain(value);
        let order = data
            .find_order(&value, |buyer| world.is_here(buyer))
            .into_iter()
            // The order ID may also be the second ID of the buyer's previous order. The events of the buyer's previous
            // order match too.
            .flat_map(|(buyer, order)| [Some((buyer, order)), order.checked_sub(1).map(|before| (buyer, before))])
            .flatten()
            .flat_map(|(buyer, order)| of_order(world, buyer, order));
        order.chain(data.find_action(&value)).collect()
    };
    Some(found.into_iter().filter(|action| world.is_here(action.buyer)).collect())
}

fn passes(world: &World, filter: &Map<String, Value>, action: ActionKey) -> bool {
    let data = &world.data;
    let ActionKey { buyer, order, .. } = action;
    filter.iter().filter(|(_, value)| !value.is_null()).all(|(key, value)| match key.as_str() {
        "key" => value == KEY,
        "id_eq" => value.as_str().and_then(|id| data.find_event(id)) == Some(action),
        "userId_eq" => *value == data.user_id(buyer),
        "accountId_eq" => *value == data.account_id(data.owner(buyer)),
        "dateTriggered_gte" => value.as_i64().is_none_or(|from| data.ordered(buyer, order) >= from),
        "dateTriggered_lt" => value.as_i64().is_none_or(|to| data.ordered(buyer, order) < to),
        "fields" => value.as_object().into_iter().flatten().all(|(name, value)| field(world, action, name, value)),
        _ => false,
    })
}

/// Returns `true` if the event's fields match a condition such as `order_id_eq`.
fn field(world: &World, action: ActionKey, name: &str, value: &Value) -> bool {
    let Some(name) = name.strip_suffix("_eq") else { return false };
    let (data, value) = (&world.data, plain(value));
    let ActionKey { buyer, order, .. } = action;
    if name == "currency" {
        return value == data.currency(buyer);
    }
    if world.style.link_in == LinkIn::None {
        return false;
    }
    let (order_id, second, action_id) = world.style.event_names(data, action);
    if name == order_id {
        value == data.order_id(buyer, order)
    } else if name == action_id {
        data.action_id(action).is_some_and(|id| id == value)
    } else {
        let is_shown = world.style.names != LinkNames::Unusual && name == second;
        is_shown && data.second_order_id(buyer, order).is_some_and(|id| id == value)
    }
}

/// Converts a JSON value to text, such as a number to its digits.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
