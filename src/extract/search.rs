//! Searches a reward for order IDs and ActionIds by key, at any depth and in any spelling.
//!
//! A key matches only as a whole, because `programId`, `rewardId` and `actionTrackerId` are the keys of other IDs. `$`
//! does not separate words of a key, because `$oid` is MongoDB's object ID.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::model::OrderId;
use crate::model::strict_json::Json;

/// Returns `true` if a folded key means an order ID.
fn is_order(key: &[u8]) -> bool {
    matches!(
        key,
        b"orderid"
            | b"orderids"
            | b"oid"
            | b"orderno"
            | b"ordernr"
            | b"ordernum"
            | b"ordernumber"
            | b"orderref"
            | b"orderreference"
            | b"orderreferenceid"
            | b"impactorderid"
            | b"externalorderid"
            | b"merchantorderid"
            | b"purchaseorderid"
    )
}

/// Returns `true` if a folded key means an ActionId.
fn is_action(key: &[u8]) -> bool {
    matches!(key, b"actionid" | b"actionids" | b"impactactionid" | b"iractionid" | b"originalactionid")
}

/// Returns `true` if a folded key inside `order: {…}` means the order ID. Inside `action: {…}`, only `id` means the
/// ActionId.
fn is_order_part(key: &[u8]) -> bool {
    matches!(key, b"id" | b"number" | b"no" | b"ref" | b"reference")
}

/// The length of the longest key that can mean an ID.
const MAX_KEY: usize = 32;
/// The largest number of paths in a report about different values of one ID.
const MAX_PATHS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Order,
    Action,
}

/// The different values of one ID in a reward, each with the first path that leads to it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) values: Vec<(String, String)>,
    pub(super) unreadable: u64,
    /// The number of values found for the ID, including repeated and unreadable values.
    taken: u64,
}

impl Found {
    /// Records one value that a search or a configured path has found.
    pub(super) fn take(&mut self, leaf: Leaf<'_>, path: impl FnOnce() -> String) {
        let text = match leaf {
            Leaf::Absent => return,
            Leaf::Text(text) => text,
            Leaf::Unreadable => {
                self.taken += 1;
                self.unreadable += 1;
                return;
            }
        };
        self.taken += 1;
        if self.values.iter().all(|(known, _)| *known != text) {
            self.values.push((text.into_owned(), path().replace('\0', "\u{fffd}")));
        }
    }

    /// Returns the path of the ID's value. If an ID has different values in a reward, returns the paths of all values,
    /// joined by commas.
    pub(super) fn path(&self) -> Option<String> {
        if let [(_, path)] = self.values.as_slice() {
            return Some(path.clone());
        }
        let mut paths: Vec<&str> = Vec::new();
        for (_, path) in &self.values {
            if !paths.contains(&path.as_str()) && paths.len() < MAX_PATHS {
                paths.push(path);
            }
        }
        (!paths.is_empty()).then(|| paths.join(", "))
    }
}

/// A JSON value, read as an ID.
pub(super) enum Leaf<'a> {
    /// The JSON value is null or a blank text.
    Absent,
    /// The unchanged text of the value, or the digits of an integer.
    Text(Cow<'a, str>),
    /// The value is not an exact ID: a float, which may have lost digits, a boolean, an object, a very long text, or a text
    /// with NUL, which PostgreSQL cannot store.
    Unreadable,
}

impl<'a> Leaf<'a> {
    fn of_text(text: &'a str) -> Self {
        if text.trim().is_empty() {
            Self::Absent
        } else if text.len() <= OrderId::MAX_BYTES && !text.contains('\0') {
            Self::Text(Cow::Borrowed(text))
        } else {
            Self::Unreadable
        }
    }

    fn of_number(number: &Number) -> Self {
        if number.is_f64() { Self::Unreadable } else { Self::Text(Cow::Owned(number.to_string())) }
    }
}

impl<'a> From<&'a Json<'a>> for Leaf<'a> {
    fn from(json: &'a Json<'a>) -> Self {
        match json {
            Json::Null => Self::Absent,
            Json::Text(text) => Self::of_text(text),
            Json::Number(number) => Self::of_number(number),
            Json::Bool(_) | Json::Array(_) | Json::Object(_) => Self::Unreadable,
        }
    }
}

/// Reads a value at a configured path as an ID.
impl<'a> From<&'a Value> for Leaf<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Absent,
            Value::String(text) => Self::of_text(text),
            Value::Number(number) => Self::of_number(number),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Unreadable,
        }
    }
}

/// The order IDs and ActionIds that a search has found in a reward.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) order: Found,
    pub(super) action: Found,
}

impl Search {
    fn of(&mut self, field: Field) -> &mut Found {
        match field {
            Field::Order => &mut self.order,
            Field::Action => &mut self.action,
        }
    }
}

pub(super) fn by_key(json: &Json<'_>) -> Search {
    let mut search = Search::default();
    walk(json, &mut Vec::new(), &mut search);
    search
}

/// One step of a path from the root of a reward's JSON.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    AnyElement,
}

fn walk<'a>(json: &'a Json<'a>, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match json {
        Json::Object(object) => {
            let inside = trail.iter().rev().find_map(|step| match step {
                Step::Key(key) => Some(*key),
                Step::AnyElement => None,
            });
            for (key, child) in object.iter() {
                trail.push(Step::Key(key));
                match field_of(key, inside) {
                    Some(field) => take(child, field, trail, search),
                    None => walk(child, trail, search),
                }
                trail.pop();
            }
        }
        Json::Array(items) => {
            trail.push(Step::AnyElement);
            for item in items {
                walk(item, trail, search);
            }
            trail.pop();
        }
        _ => {}
    }
}

/// Records the values under a key that means an ID: the value itself, each element of a list, or the matching keys of
/// an object.
fn take<'a>(json: &'a Json<'a>, field: Field, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match json {
        Json::Object(object) => {
            let before = search.of(field).taken;
            walk(json, trail, search);
            let found = search.of(field);
            if found.taken == before && object.values().any(has_content) {
                // The object has content but no known key. Therefore the ID in an object without a known key is
                // unreadable.
                found.taken += 1;
                found.unreadable += 1;
            }
        }
        Json::Array(items) => {
            trail.push(Step::AnyElement);
            for item in items {
                take(item, field, trail, search);
            }
            trail.pop();
        }
        _ => search.of(field).take(json.into(), || path_text(trail)),
    }
}

/// Returns `true` if a JSON value contains anything besides nulls and blank texts.
fn has_content(json: &Json<'_>) -> bool {
    match json {
        Json::Null => false,
        Json::Text(text) => !text.trim().is_empty(),
        Json::Array(items) => items.iter().any(has_content),
        Json::Object(object) => object.values().any(has_content),
        Json::Bool(_) | Json::Number(_) => true,
    }
}

/// Returns the ID that a key of a reward means. `inside` is the key of the enclosing object.
fn field_of(key: &str, inside: Option<&str>) -> Option<Field> {
    let mut buffer = [0; MAX_KEY];
    let folded = fold(key, &mut buffer)?;
    if is_order(folded) {
        return Some(Field::Order);
    }
    if is_action(folded) {
        return Some(Field::Action);
    }
    if !is_order_part(folded) {
        return None;
    }
    let is_action_part = folded == b"id";
    let mut buffer = [0; MAX_KEY];
    match fold(inside?, &mut buffer)? {
        b"order" | b"orders" => Some(Field::Order),
        b"action" | b"actions" if is_action_part => Some(Field::Action),
        _ => None,
    }
}

/// Returns a key in lower case without separators. Returns `None` if the key has other characters, or is too long to
/// mean an ID.
fn fold<'b>(key: &str, buffer: &'b mut [u8; MAX_KEY]) -> Option<&'b [u8]> {
    let mut length = 0;
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() {
            *buffer.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        } else if !matches!(byte, b'_' | b'-' | b' ' | b'.' | b':') {
            return None;
        }
    }
    Some(&buffer[..length])
}

/// Returns the steps to a value as a JSONPath. Replaces a key that looks like data, such as an address or a long token,
/// by `[*]`. A printed path must not contain an address, and rewards of one shape must have the same path.
pub(super) fn path_text(trail: &[Step<'_>]) -> String {
    let mut path = String::with_capacity(64);
    path.push('$');
    for step in trail {
        match step {
            Step::AnyElement => path.push_str("[*]"),
            Step::Key(key) if is_data(key) => path.push_str("[*]"),
            Step::Key(key) if is_plain(key) => {
                path.push('.');
                path.push_str(key);
            }
            Step::Key(key) => {
                path.push_str("['");
                path.push_str(&key.replace('\\', "\\\\").replace('\'', "\\'"));
                path.push_str("']");
            }
        }
    }
    path
}

fn is_plain(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && key.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn is_data(key: &str) -> bool {
    key.len() > 40
        || key.contains('@')
        || key.chars().any(char::is_control)
        || key.bytes().filter(u8::is_ascii_digit).count() > 4
}
