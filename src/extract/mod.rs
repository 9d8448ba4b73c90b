//! Any reward JSON → the reward and the links between orders and actions that it offers.
//!
//! Pure: no I/O, no waiting, no clock. The vendor publishes no place for the order ID or the ActionId, so both are looked
//! for by key at any depth (`search`), unless a JSONPath is configured ([`Mapping`]). What is found is reported with the
//! path it was found at. This module must never repair a value: an order ID that JSON has damaged (a float, an exponent) is
//! counted as unreadable, not indexed as something else; and two different values are ambiguous, never a choice.

mod census;
mod fields;
mod json;
mod referral;
mod search;

use serde_json::Value;
use serde_json_path::JsonPath;

pub use census::KeyCensus;
pub use referral::referral_id;

use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, ActionId, Link, LinkKind, OrderId, Reward};
use json::Json;
use search::{Field, Found};

/// Over this many combinations, values of an ambiguous reward are listed one by one instead of each with each.
const MAX_COMBINATIONS: usize = 1000;

/// Where the order ID and the ActionId are. The default looks for both by key.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    order_id: Vec<Configured>,
    action_id: Vec<Configured>,
}

/// A path and how it was written: what is reported is what a person can find in the configuration.
#[derive(Debug, Clone)]
struct Configured {
    text: String,
    path: JsonPath,
}

impl Mapping {
    /// Takes RFC 9535 paths for each field; the first path of a field that leads to a value wins. A field without a path is
    /// searched for.
    pub fn new(order_id: &[String], action_id: &[String]) -> Result<Self> {
        Ok(Self { order_id: parse_all("order_id", order_id)?, action_id: parse_all("action_id", action_id)? })
    }
}

fn parse_all(name: &str, paths: &[String]) -> Result<Vec<Configured>> {
    let parse = |text: &String| match JsonPath::parse(text) {
        Ok(path) => Ok(Configured { text: text.clone(), path }),
        Err(error) => Err(Error::new(Kind::Config, format!("[mapping] {name} = {text:?} is not a JSONPath: {error}"))
            .hint("write it as RFC 9535 says, for example $.userEvent.fields.order_id")),
    };
    paths.iter().map(parse).collect()
}

/// What one reward says.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The reward itself.
    pub reward: Reward,
    /// Every order ID with every ActionId; empty where the reward offers neither.
    pub links: Vec<Link>,
    /// The links seen as a whole.
    pub kind: LinkKind,
    /// Where the order ID was found, as a path that may be configured; several, joined by commas, where they disagree.
    pub order_path: Option<String>,
    /// Where the ActionId was found.
    pub action_path: Option<String>,
    /// The ActionId was found by search, not at a configured path.
    pub action_by_search: bool,
    /// Values under a fitting key that cannot be taken exactly: floats, booleans, longer than any order ID, objects with
    /// nothing in them that is known to be the ID.
    pub unreadable: u64,
}

/// Reads one reward as either API sends it. `asked_account` is the account that was asked, for rewards that do not say.
///
/// Fails on what is not a JSON object with an `id`, on a repeated key and on a reward that contradicts itself; the message
/// carries nothing of its content.
pub fn read(raw: &str, asked_account: &AccountId, mapping: &Mapping) -> Result<Extracted> {
    let not_json = |error: serde_json::Error| {
        // Nothing else of the error is repeated: it may hold what was read.
        let repeats = error.to_string().starts_with(json::REPEATED_KEY);
        let what = if repeats { json::REPEATED_KEY.to_owned() } else { format!("{:?}", error.classify()) };
        Error::new(Kind::Vendor, format!("a reward is not JSON that can be read ({what})"))
    };
    let value = Json::parse(raw).map_err(not_json)?;
    let reward = fields::reward(&value, asked_account)?;
    let mut searched = search::Search::default();
    if mapping.order_id.is_empty() || mapping.action_id.is_empty() {
        searched = search::by_key(&value);
    }
    // A configured path is followed by a library, in a tree of its own kind.
    let is_configured = !mapping.order_id.is_empty() || !mapping.action_id.is_empty();
    let tree: Value = if is_configured { serde_json::from_str(raw).map_err(not_json)? } else { Value::Null };
    let order = pick(&tree, &mapping.order_id, searched.take(Field::Order));
    let action = pick(&tree, &mapping.action_id, searched.take(Field::Action));
    let unreadable = order.unreadable + action.unreadable;
    let kind = match (order.values.len(), action.values.len()) {
        (0, 0) => LinkKind::Neither,
        (1, 0) => LinkKind::OrderOnly,
        (0, 1) => LinkKind::ActionOnly,
        (1, 1) => LinkKind::Both,
        _ => LinkKind::Ambiguous,
    };
    Ok(Extracted {
        reward,
        kind,
        action_by_search: mapping.action_id.is_empty() && !action.values.is_empty(),
        order_path: order.path(),
        action_path: action.path(),
        links: links(order, action),
        unreadable,
    })
}

/// The values at the configured paths; where none is configured, what the search found.
fn pick(value: &Value, paths: &[Configured], searched: Found) -> Found {
    if paths.is_empty() {
        return searched;
    }
    let mut found = Found::default();
    for Configured { text, path } in paths {
        for node in path.query(value) {
            found.take(node.into(), || text.clone());
        }
        if !found.values.is_empty() {
            break;
        }
    }
    found
}

fn links(order: Found, action: Found) -> Vec<Link> {
    let mut orders: Vec<OrderId> = order.values.into_iter().map(|(text, _)| OrderId::new(text)).collect();
    let mut actions: Vec<ActionId> = action.values.into_iter().map(|(text, _)| ActionId::new(text)).collect();
    if orders.len() == 1 && actions.len() == 1 {
        return vec![Link { order_id: orders.pop(), action_id: actions.pop() }];
    }
    let with_order = |order_id| Link { order_id: Some(order_id), action_id: None };
    let with_action = |action_id| Link { order_id: None, action_id: Some(action_id) };
    if orders.is_empty() || actions.is_empty() || orders.len().saturating_mul(actions.len()) > MAX_COMBINATIONS {
        return orders.into_iter().map(with_order).chain(actions.into_iter().map(with_action)).collect();
    }
    orders
        .iter()
        .flat_map(|order_id| {
            actions
                .iter()
                .map(|action_id| Link { order_id: Some(order_id.clone()), action_id: Some(action_id.clone()) })
        })
        .collect()
}

#[cfg(test)]
mod tests;
