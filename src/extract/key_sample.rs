//! A sample of the keys in rewards, without their values. A crawl that finds no link prints the sample of keys, because
//! a person must see which path to configure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::search::{Step, path_text};

/// The maximum number of paths in a sample of keys.
const MAX_PATHS: usize = 200;

#[derive(Debug, Default, Clone)]
pub struct KeySample {
    paths: BTreeSet<String>,
    is_truncated: bool,
}

impl KeySample {
    /// Adds the paths of one reward's keys to the sample. Ignores a reward that is not JSON.
    pub fn observe(&mut self, raw: &str) {
        if let Ok(value) = serde_json::from_str::<Value>(raw) {
            self.walk(&value, &mut Vec::new());
        }
    }

    /// Returns the paths of the sampled keys in one line, with `[*]` for the elements of an array.
    pub fn describe(&self) -> String {
        let mut text = self.paths.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.is_truncated {
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
                trail.push(Step::AnyElement);
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
                    self.is_truncated = true;
                }
            }
        }
    }
}
