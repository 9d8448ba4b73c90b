//! Which keys rewards have, without their values: what a crawl that finds no link shows, so that a person sees where to point.

use std::collections::BTreeSet;

use serde_json::Value;

use super::search::{Step, path_text};

/// More paths than this are counted, not kept.
const MAX_PATHS: usize = 200;

/// A bounded set of the key paths seen in rewards.
#[derive(Debug, Default, Clone)]
pub struct KeyCensus {
    paths: BTreeSet<String>,
    more: bool,
}

impl KeyCensus {
    /// Adds the paths of one reward. Anything that is not JSON adds nothing.
    pub fn observe(&mut self, raw: &str) {
        if let Ok(value) = serde_json::from_str::<Value>(raw) {
            self.walk(&value, &mut Vec::new());
        }
    }

    /// The paths of values in order, `[*]` for the elements of an array.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// All paths in one line, saying so where there were more than are kept.
    pub fn describe(&self) -> String {
        let mut text = self.paths().collect::<Vec<_>>().join(", ");
        if self.more {
            text.push_str(" and more");
        }
        if text.is_empty() { "none".to_owned() } else { text }
    }

    fn walk<'a>(&mut self, value: &'a Value, trail: &mut Vec<Step<'a>>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, child) in map {
                    trail.push(Step::Key(key));
                    self.walk(child, trail);
                    trail.pop();
                }
            }
            Value::Array(items) if !items.is_empty() => {
                trail.push(Step::Any);
                for item in items {
                    self.walk(item, trail);
                }
                trail.pop();
            }
            _ => {
                let path = path_text(trail);
                if self.paths.len() < MAX_PATHS {
                    self.paths.insert(path);
                } else if !self.paths.contains(&path) {
                    self.more = true;
                }
            }
        }
    }
}
