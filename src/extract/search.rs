//! The search for order IDs and ActionIds by key, at any depth, whatever the spelling.
//!
//! A key fits by its whole name, never by a part of it: `programId`, `rewardId` and `actionTrackerId` are other things.
//! `$oid` is MongoDB's own and is not an order ID either, which is why `$` is no separator.

use std::borrow::Cow;

use serde_json::Value;

use super::json::Json;
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

/// Longer keys fit nothing.
const MAX_KEY: usize = 32;
/// Paths named for values that disagree.
const MAX_PATHS: usize = 4;

/// Which of the two is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Order,
    Action,
}

/// The different values found for one field, each with the first path it was found at.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) values: Vec<(String, String)>,
    pub(super) unreadable: u64,
    /// Values met, the same one again and unreadable ones included.
    taken: u64,
}

impl Found {
    /// Takes a value if it is one: text as it is, integers as their exact text; null and blank text are absent.
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

    /// The path, or the paths of values that disagree.
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

/// What a value is as an ID.
pub(super) enum Leaf<'a> {
    /// Null, or blank text.
    Absent,
    /// Its exact text.
    Text(Cow<'a, str>),
    /// A float or an exponent has lost digits already; a boolean, an object or a kilobyte of text is no ID.
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

impl<'a> From<&'a Json<'_>> for Leaf<'a> {
    fn from(value: &'a Json<'_>) -> Self {
        match value {
            Json::Null => Self::Absent,
            Json::Text(text) => Self::of_text(text),
            Json::Int(number) => Self::Text(Cow::Owned(number.to_string())),
            Json::Large(number) => Self::Text(Cow::Owned(number.to_string())),
            _ => Self::Unreadable,
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

/// What the search found for both fields.
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

/// Looks through the whole value.
pub(super) fn by_key(value: &Json<'_>) -> Search {
    let mut search = Search::default();
    walk(value, &mut Vec::new(), &mut search);
    search
}

/// One step from the root: a key, or any element of an array. Kept as references: text is made of them on a match only.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Any,
}

fn walk<'a>(value: &'a Json<'_>, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match value {
        Json::Object(map) => {
            let inside = trail.iter().rev().find_map(|step| match step {
                Step::Key(key) => Some(*key),
                Step::Any => None,
            });
            // Nothing is found in a null, whatever its key, and about half of a reward is null.
            for (key, child) in map.iter().filter(|(_, child)| !child.is_null()) {
                trail.push(Step::Key(key));
                match field_of(key, inside) {
                    Some(field) => take(child, field, trail, search),
                    None => walk(child, trail, search),
                }
                trail.pop();
            }
        }
        Json::List(items) => {
            trail.push(Step::Any);
            for item in items {
                walk(item, trail, search);
            }
            trail.pop();
        }
        _ => {}
    }
}

/// Takes what lies under a fitting key: a value, a list of values, or an object to look into.
fn take<'a>(value: &'a Json<'_>, field: Field, trail: &mut Vec<Step<'a>>, search: &mut Search) {
    match value {
        Json::Object(map) => {
            let before = search.of(field).taken;
            walk(value, trail, search);
            let found = search.of(field);
            if found.taken == before && map.iter().any(|(_, value)| has_content(value)) {
                // Something is here, and nothing of it is known to be the ID.
                found.taken += 1;
                found.unreadable += 1;
            }
        }
        Json::List(items) => {
            trail.push(Step::Any);
            for item in items {
                take(item, field, trail, search);
            }
            trail.pop();
        }
        _ => search.of(field).take(value.into(), || path_text(trail)),
    }
}

/// Whether there is anything in a value but nulls and blanks.
fn has_content(value: &Json<'_>) -> bool {
    match value {
        Json::Null => false,
        Json::Text(text) => !text.trim().is_empty(),
        Json::List(items) => items.iter().any(has_content),
        Json::Object(map) => map.iter().any(|(_, value)| has_content(value)),
        _ => true,
    }
}

/// Which field a key names; `inside` is the key of the object that it stands in.
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

/// The key without case and separators; `None` for what cannot be one of ours.
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

/// The trail as a JSONPath that could be configured. Keys that look like data (an address, a long token) become `[*]`: a
/// path is printed and counted, and must neither carry an address nor be a different one for each reward.
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
            Step::Key(_) | Step::Any => path.push_str("[*]"),
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
