//! Converts the JSON of a reward into a [`Reward`] and its links between orders and actions.
//!
//! Extraction does no I/O. The vendor does not publish which part of a reward contains the order ID and the ActionId.
//! Therefore `search` looks for the keys of both IDs at any depth, if no JSONPath is configured ([`Mapping`]).
//! Extraction reports each found ID with its path. Extraction repairs no ID: an order ID that JSON has damaged, such as
//! a float, counts as unreadable. A reward with two different order IDs or ActionIds is ambiguous, and recoup chooses
//! neither of them.

mod fields;
mod key_sample;
mod search;

use serde_json::Value;
use serde_json_path::JsonPath;

pub use key_sample::KeySample;

use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, ActionId, Link, LinkKind, OrderId, Reward, strict_json};
use search::{Found, Search};

/// The largest number of pairs in the links of an ambiguous reward. If an ambiguous reward has more pairs, each of its
/// links has only one ID.
const MAX_COMBINATIONS: usize = 1000;

/// The configured JSONPaths of the order ID and the ActionId. If an ID has no configured path, recoup searches for it
/// by key.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    order_id: Vec<Configured>,
    action_id: Vec<Configured>,
}

/// A configured path, and its text in the configuration for reports.
#[derive(Debug, Clone)]
struct Configured {
    text: String,
    path: JsonPath,
}

impl Mapping {
    /// Parses the configured RFC 9535 paths. For each ID, recoup uses the first configured path that leads to a value.
    ///
    /// # Errors
    /// Fails with [`Kind::Config`] if a path is invalid.
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
    /// One link for each pair of an order ID and an ActionId. The list of links is empty if the reward has neither an
    /// order ID nor an ActionId.
    pub links: Vec<Link>,
    pub kind: LinkKind,
    /// The path of the order ID as a JSONPath for the configuration. If the reward has different order IDs,
    /// `order_path` contains the paths of all of them, joined by commas.
    pub order_path: Option<String>,
    /// The path of the ActionId as a JSONPath for the configuration.
    pub action_path: Option<String>,
    /// `true` if a search found the ActionId, `false` if it was at a configured path.
    pub action_by_search: bool,
    /// The number of values under an ID's key that are not an exact ID: floats, booleans, texts longer than any order
    /// ID, and objects without a known key.
    pub unreadable: u64,
    /// The ID of the reward's referral. `None` if the reward has no referral, for example because a person gave it.
    pub referral_id: Option<String>,
}

/// Extracts one reward from the JSON of either API. `requested_account` is the account of a reward that states no
/// account.
///
/// # Errors
/// Fails with [`Kind::Vendor`] if the text is not a JSON object with an `id`, or if the reward has a repeated key or a
/// contradiction. The error message quotes no part of the reward.
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

/// Returns the values at the first configured path that leads to a value. Returns `None` if no path is configured for
/// the ID.
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
