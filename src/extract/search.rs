//! Searches a reward for order IDs and ActionIds by key, at any depth and in any spelling.
//!
//! A key matches by its whole name, because `programId`, `rewardId` and `actionTrackerId` are other IDs. `$` is no
//! separator, because `$oid` is MongoDB's object ID.

use std::borrow::Cow;

use serde_json::Value;

use crate::model::OrderId;

/// Whether a folded key names an order ID.
fn is_order(key: &str) -> bool {
    matches!(
        key,
        "orderid"
            | "orderids"
            | "oid"
            | "orderno"
            | "ordernr"
            | "ordernum"
            | "ordernumber"
            | "orderref"
            | "orderreference"
            | "orderreferenceid"
            | "impactorderid"
            | "externalorderid"
            | "merchantorderid"
            | "purchaseorderid"
    )
}

/// Whether a folded key names an ActionId.
fn is_action(key: &str) -> bool {
    matches!(key, "actionid" | "actionids" | "impactactionid" | "iractionid" | "originalactionid")
}

/// Whether a folded key names the ID inside `order: {…}`; `action: {…}` has only the first.
fn is_order_part(key: &str) -> bool {
    matches!(key, "id" | "number" | "no" | "ref" | "reference")
}

/// The length of the longest key that can match.
const MAX_KEY: usize = 32;
/// The largest number of paths that are reported for different values.
const MAX_PATHS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Order,
    Action,
}

/// The different values of one field, each with its first path.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) values: Vec<(String, String)>,
    pub(super) unreadable: u64,
    /// The number of values, repeated and unreadable ones included.
    taken: u64,
}

impl Found {
    /// Records a value.
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
            self.values.push((text.into_owned(), path()));
        }
    }

    /// The path, or the paths of different values.
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

/// A value read as an ID.
pub(super) enum Leaf<'a> {
    /// Null, or blank text.
    Absent,
    /// A text as it is, or the digits of an integer.
    Text(Cow<'a, str>),
    /// A float, which may have lost digits, or a value that is no ID: a boolean, an object, or a very long text.
    Unreadable,
}

impl<'a> Leaf<'a> {
    fn of_text(text: &'a str) -> Self {
        if text.trim().is_empty() {
            Self::Absent
        } else if text.len() <= OrderId::MAX_BYTES {
            Self::Text(Cow::Borrowed(text))
        } else {
            Self::Unreadable
        }
    }
}

impl<'a> From<&'a Value> for Leaf<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Absent,
            Value::String(text) => Self::of_text(text),
            Value::Number(number) if number.is_i64() || number.is_u64() => Self::Text(Cow::Owned(number.to_string())),
            _ => Self::Unreadable,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Search {
    order: Found,
    action: Found,
}

impl Search {
    pub(super) fn take(&mut self, field: Field) -> Found {
        std::mem::take(self.of(field))
    }

    fn of(&mut self, field: Field) -> &mut Found {
        match field {
            Field::Order => &mut self.order,
            Field::Action => &mut self.action,
        }
    }
}

pub(super) fn by_key(value: &Value) -> Search {
    let mut search = Search::default();
    walk(value, &mut Vec::new(), &mut search);
    search
}

/// One step from the root of a reward.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    AnyElement,
}

fn walk<'a>(value: &'a Value, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match value {
        Value::Object(map) => {
            let inside = trail.iter().rev().find_map(|step| match step {
                Step::Key(key) => Some(*key),
                Step::AnyElement => None,
            });
            for (key, child) in map {
                trail.push(Step::Key(key));
                match field_of(key, inside) {
                    Some(field) => take(child, field, trail, search),
                    None => walk(child, trail, search),
                }
                trail.pop();
            }
        }
        Value::Array(items) => {
            trail.push(Step::AnyElement);
            for item in items {
                walk(item, trail, search);
            }
            trail.pop();
        }
        _ => {}
    }
}

/// Takes the values under a matching key: the value itself, each element of a list, or the matching keys of an object.
fn take<'a>(value: &'a Value, field: Field, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match value {
        Value::Object(map) => {
            let before = search.of(field).taken;
            walk(value, trail, search);
            let found = search.of(field);
            if found.taken == before && map.values().any(has_content) {
                // The object has content and no known key, so its ID is unreadable.
                found.taken += 1;
                found.unreadable += 1;
            }
        }
        Value::Array(items) => {
            trail.push(Step::AnyElement);
            for item in items {
                take(item, field, trail, search);
            }
            trail.pop();
        }
        _ => search.of(field).take(value.into(), || path_text(trail)),
    }
}

/// Whether a value holds more than nulls and blank texts.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(has_content),
        Value::Object(map) => map.values().any(has_content),
        _ => true,
    }
}

/// The field that a key names. `inside` is the key of the object around it.
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
    let is_action_part = folded == "id";
    let mut buffer = [0; MAX_KEY];
    match fold(inside?, &mut buffer)? {
        "order" | "orders" => Some(Field::Order),
        "action" | "actions" if is_action_part => Some(Field::Action),
        _ => None,
    }
}

/// The key in lower case and without separators. `None` for a key with other characters, or with too many.
pub(super) fn fold<'b>(key: &str, buffer: &'b mut [u8; MAX_KEY]) -> Option<&'b str> {
    let mut length = 0;
    for byte in key.bytes() {
        match byte {
            b'_' | b'-' | b' ' | b'.' | b':' => {}
            byte if byte.is_ascii_alphanumeric() => {
                *buffer.get_mut(length)? = byte.to_ascii_lowercase();
                length += 1;
            }
            _ => return None,
        }
    }
    std::str::from_utf8(&buffer[..length]).ok()
}

/// The trail as a JSONPath. A key that looks like data, such as an address or a long token, becomes `[*]`: a printed
/// path must hold no address, and rewards of one shape must have the same path.
pub(super) fn path_text(trail: &[Step<'_>]) -> String {
    let mut path = String::from("$");
    for step in trail {
        match step {
            Step::Key(key) if is_plain(key) => {
                path.push('.');
                path.push_str(key);
            }
            Step::Key(key) if !is_data(key) => {
                path.push_str("['");
                path.push_str(&key.replace('\\', "\\\\").replace('\'', "\\'"));
                path.push_str("']");
            }
            Step::Key(_) | Step::AnyElement => path.push_str("[*]"),
        }
    }
    path
}

fn is_plain(key: &str) -> bool {
    !is_data(key)
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && key.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn is_data(key: &str) -> bool {
    key.len() > 40
        || key.contains('@')
        || key.chars().any(char::is_control)
        || key.bytes().filter(u8::is_ascii_digit).count() > 4
}
