//! Converts the JSON of a reward into a [`Reward`] and its links between orders and actions.
//!
//! This module does no I/O. The vendor does not publish where a reward has the order ID and the ActionId. So `search` looks
//! for their keys at any depth, unless a JSONPath is configured ([`Mapping`]). Each value is reported with its path. No value
//! is repaired: an order ID that JSON has damaged, such as a float, counts as unreadable. A reward with two different values
//! is ambiguous, and recoup chooses neither of them.

mod fields;
mod key_sample;
mod search;

use serde_json::Value;
use serde_json_path::JsonPath;

pub use key_sample::KeySample;

use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, ActionId, Link, LinkKind, OrderId, Reward, strict_json};
use search::{Found, Search};

/// The largest number of pairs in the links of an ambiguous reward. With more, the links have one ID each.
const MAX_COMBINATIONS: usize = 1000;

/// The configured paths of the order ID and the ActionId. If an ID has no path, recoup searches for it by key.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    order_id: Vec<Configured>,
    action_id: Vec<Configured>,
}

/// A path, and its text in the configuration for reports.
#[derive(Debug, Clone)]
struct Configured {
    text: String,
    path: JsonPath,
}

impl Mapping {
    /// Parses RFC 9535 paths. For each ID, the first path with a value is used.
    ///
    /// # Errors
    /// [`Kind::Config`] if a path is invalid.
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

#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    pub reward: Reward,
    /// One link for each pair of an order ID and an ActionId. Empty if the reward has no order ID and no ActionId.
    pub links: Vec<Link>,
    pub kind: LinkKind,
    /// The path of the order ID as a JSONPath for the configuration. If the reward has different order IDs, this has all
    /// their paths, joined by commas.
    pub order_path: Option<String>,
    /// The path of the ActionId, in the same form.
    pub action_path: Option<String>,
    /// `true` if a search found the ActionId, `false` if it was at a configured path.
    pub action_by_search: bool,
    /// The number of values under a matching key that are not an exact ID: floats, booleans, texts longer than any order ID,
    /// and objects without a known key.
    pub unreadable: u64,
    /// The ID of the reward's referral. `None` if the reward has no referral, for example because a person gave it.
    pub referral_id: Option<String>,
}

/// Reads one reward from either API. `requested_account` is the account of a reward that states none.
///
/// # Errors
/// [`Kind::Vendor`] if the text is not a JSON object with an `id`, or if the reward has a repeated key or a contradiction.
/// The message quotes no part of the reward.
pub fn read(raw: &str, requested_account: &AccountId, mapping: &Mapping) -> Result<Extracted> {
    let json =
        strict_json::parse(raw).map_err(|why| Error::new(Kind::Vendor, format!("a reward cannot be read: {why}")))?;
    let reward = fields::reward(&json, requested_account)?;
    let Search { mut order, mut action } = search::by_key(&json);
    if !mapping.order_id.is_empty() || !mapping.action_id.is_empty() {
        let value = Value::from(&json);
        order = at_paths(&value, &mapping.order_id).unwrap_or(order);
        action = at_paths(&value, &mapping.action_id).unwrap_or(action);
    }
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
        referral_id: fields::referral_id(&json),
    })
}

/// Returns the values at the first configured path that leads to a value. Returns `None` if no path is configured.
fn at_paths(value: &Value, paths: &[Configured]) -> Option<Found> {
    let mut found = Found::default();
    for Configured { text, path } in paths {
        for node in path.query(value) {
            found.take(node.into(), || text.clone());
        }
        if !found.values.is_empty() {
            break;
        }
    }
    (!paths.is_empty()).then_some(found)
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
