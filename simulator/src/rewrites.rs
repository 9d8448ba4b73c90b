//! Falsifies simulated responses about a reward: the body of another reward, a contradictory body, or an implausible
//! time.
//!
//! A rewrite leaves the data correct and changes only the written response. A test sets a rewrite with
//! `/_simulator/rewrite`, to check that a client does not trust false responses.

use std::{
    collections::HashMap,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Map, Value};

use super::{
    advocate,
    lock::{read, write},
    query,
    record::Endpoint,
    reply::Reply,
    world::World,
};

/// The suffix that marks the second of two equal JSON keys, because a JSON map cannot contain both. The simulator
/// removes the escaped suffix from the written text.
const DUPLICATE_SUFFIX: &str = "\u{1}";
const AGAIN_WRITTEN: &str = "\\u0001\":";

#[derive(Debug, Clone, Default)]
struct Rewrite {
    /// The new values of the reward's JSON keys.
    set: Map<String, Value>,
    /// The JSON keys of the reward that the simulator writes a second time, with these values.
    repeat: Map<String, Value>,
    /// The values with which lists contain the reward a second time.
    also: Option<Map<String, Value>>,
    /// Whether lists of rewards omit this reward.
    hidden: bool,
    /// The ID of the reward whose body answers a request for this reward.
    another: Option<String>,
    /// The only API whose responses the rewrite changes, `rest` or `graphql`; `None` for both APIs.
    only: Option<String>,
}

/// The active rewrites of responses, by reward ID.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    on: AtomicBool,
    by_id: RwLock<HashMap<String, Rewrite>>,
}

impl Rewrites {
    /// Sets the rewrite of one reward from a JSON object with the keys `set`, `repeat`, `also`, `hidden`, `as` and
    /// `only`. An empty body removes the rewrite of the reward. Returns `true` if the rewrite's JSON is valid.
    pub(super) fn set(&self, id: &str, body: &str) -> bool {
        let mut by_id = write(&self.by_id);
        if body.trim().is_empty() {
            by_id.remove(id);
            return true;
        }
        let Ok(Value::Object(asked)) = serde_json::from_str(body) else { return false };
        let mut rewrite = Rewrite::default();
        for (key, value) in asked {
            match (key.as_str(), value) {
                ("set", Value::Object(map)) => rewrite.set = map,
                ("repeat", Value::Object(map)) => rewrite.repeat = map,
                ("also", Value::Object(map)) => rewrite.also = Some(map),
                ("hidden", Value::Bool(hidden)) => rewrite.hidden = hidden,
                ("as", Value::String(another)) => rewrite.another = Some(another),
                ("only", Value::String(api)) => rewrite.only = Some(api),
                _ => return false,
            }
        }
        by_id.insert(id.to_owned(), rewrite);
        self.on.store(true, Ordering::Release);
        true
    }

    /// Applies the rewrites to an Advocate response about rewards.
    pub(super) fn apply(&self, world: &World, endpoint: Endpoint, path: &str, reply: Reply) -> Reply {
        if !self.on.load(Ordering::Acquire) || reply.status != 200 {
            return reply;
        }
        let api = match endpoint {
            Endpoint::Rewards | Endpoint::Reward => "rest",
            Endpoint::Graphql => "graphql",
            _ => return reply,
        };
        let by_id = read(&self.by_id);
        let find = |id: &str| by_id.get(id).filter(|it| it.only.as_ref().is_none_or(|only| only == api));
        if endpoint == Endpoint::Reward {
            let id = query::segment(path.trim_start_matches("reward/"));
            if let Some(another) = find(&id).and_then(|rewrite| rewrite.another.as_ref()) {
                return advocate::reward(world, &format!("reward/{another}"), false);
            }
        }
        let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
        if endpoint == Endpoint::Reward {
            if let Some(rewrite) = body["id"].as_str().and_then(find) {
                change(&mut body, rewrite);
            }
        } else {
            walk(&mut body, &find);
        }
        Reply { body: body.to_string().replace(AGAIN_WRITTEN, "\":").into_bytes(), ..reply }
    }
}

fn walk<'a>(value: &mut Value, find: &impl Fn(&str) -> Option<&'a Rewrite>) {
    match value {
        Value::Array(items) => {
            let mut said = Vec::with_capacity(items.len());
            for mut item in std::mem::take(items) {
                let Some(rewrite) = item["id"].as_str().and_then(find) else {
                    walk(&mut item, find);
                    said.push(item);
                    continue;
                };
                if rewrite.hidden {
                    continue;
                }
                change(&mut item, rewrite);
                let again = rewrite.also.as_ref().map(|also| {
                    let mut again = item.clone();
                    merge(&mut again, also, "");
                    again
                });
                said.push(item);
                said.extend(again);
            }
            *items = said;
        }
        Value::Object(map) => map.values_mut().for_each(|value| walk(value, find)),
        _ => {}
    }
}

fn change(reward: &mut Value, rewrite: &Rewrite) {
    merge(reward, &rewrite.set, "");
    merge(reward, &rewrite.repeat, DUPLICATE_SUFFIX);
}

fn merge(reward: &mut Value, with: &Map<String, Value>, suffix: &str) {
    if let Value::Object(map) = reward {
        map.extend(with.iter().map(|(key, value)| (format!("{key}{suffix}"), value.clone())));
    }
}
