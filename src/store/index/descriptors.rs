//! Rows that many rewards share: their link patterns and their common texts.

use std::collections::HashMap;

use super::sums::{DESCRIPTORS, LINK_PATTERNS, next_id, sum_of_values};
use crate::error::Result;
use crate::extract::Extracted;
use crate::model::Reward;
use crate::store::db::{DbError, ToValue, Tx};

/// The largest number of distinct link patterns. A shop may use data as keys (for example a basket with article numbers
/// as keys), which gives each reward its own path.
const MAX_PATTERNS: i64 = 200;
/// The path that replaces the path of every link pattern beyond [`MAX_PATTERNS`].
const OTHER_PATHS: &str = "other paths";

/// A cache of the shared rows that one transaction has found or added. Nearly every reward of a crawl needs two shared
/// rows. Without the cache, looking the shared rows up would take a quarter of a commit.
#[derive(Default)]
pub(super) struct SharedRows {
    patterns: Vec<(PatternKey, i64)>,
    /// The key is the hash of the texts. Two descriptors may have the same hash.
    descriptors: HashMap<i64, Vec<DescriptorRow>>,
}

struct DescriptorRow {
    texts: [Option<String>; 7],
    cancellable: Option<bool>,
    id: i64,
}

/// The kind of links, the path of the order ID, the path of the ActionId, and whether a search found the ActionId.
type PatternKey = (&'static str, String, String, bool);

impl SharedRows {
    /// Returns the row of a reward's link pattern. Adds the row of the pattern if it is missing.
    pub(super) fn link_pattern(&mut self, tx: &Tx<'_>, extracted: &Extracted) -> Result<i64, DbError> {
        let [order, action] = paths_of(extracted);
        let (kind, by_search) = (extracted.kind.as_str(), extracted.action_by_search);
        let is_it = |(known, _): &&(PatternKey, i64)| {
            known.0 == kind && known.1 == order && known.2 == action && known.3 == by_search
        };
        if let Some((_, id)) = self.patterns.iter().find(is_it) {
            return Ok(*id);
        }
        let id = link_pattern(tx, extracted)?;
        self.patterns.push(((kind, order.to_owned(), action.to_owned(), by_search), id));
        Ok(id)
    }

    /// Returns the row of a reward's texts. Adds the row of the texts if it is missing.
    pub(super) fn descriptor(&mut self, tx: &Tx<'_>, reward: &Reward) -> Result<i64, DbError> {
        let texts = texts_of(reward);
        let known = self.descriptors.entry(hash_of(reward)).or_default();
        let is_it = |row: &&DescriptorRow| {
            row.cancellable == reward.cancellable && row.texts.iter().zip(texts).all(|(known, text)| known == text)
        };
        if let Some(row) = known.iter().find(is_it) {
            return Ok(row.id);
        }
        let id = descriptor(tx, reward)?;
        known.push(DescriptorRow { texts: texts.map(Clone::clone), cancellable: reward.cancellable, id });
        Ok(id)
    }
}

fn paths_of(extracted: &Extracted) -> [&str; 2] {
    [&extracted.order_path, &extracted.action_path].map(|path| path.as_deref().unwrap_or_default())
}

fn texts_of(reward: &Reward) -> [&Option<String>; 7] {
    [
        &reward.reward_type,
        &reward.reward_source,
        &reward.unit,
        &reward.program_id,
        &reward.name,
        &reward.currency,
        &reward.statuses,
    ]
}

fn hash_of(reward: &Reward) -> i64 {
    let [reward_type, source, unit, program, name, currency, statuses] = texts_of(reward);
    sum_of_values(&[reward_type, source, unit, program, name, currency, statuses, &reward.cancellable])
}

fn link_pattern(tx: &Tx<'_>, extracted: &Extracted) -> Result<i64, DbError> {
    let mut paths = paths_of(extracted);
    let (kind, by_search) = (extracted.kind.as_str(), extracted.action_by_search);
    let find = |[order_path, action_path]: [&str; 2]| {
        tx.opt(
            "SELECT id FROM link_patterns WHERE kind = ?1 AND order_path = ?2 AND action_path = ?3 AND by_search = ?4",
            &[&kind, &order_path, &action_path, &by_search],
            |row| row.get(0),
        )
    };
    if let Some(id) = find(paths)? {
        return Ok(id);
    }
    let count: i64 = tx.one("SELECT count(*) FROM link_patterns", &[], |row| row.get(0))?;
    if count >= MAX_PATTERNS {
        paths = paths.map(|path| if path.is_empty() { path } else { OTHER_PATHS });
        if let Some(id) = find(paths)? {
            return Ok(id);
        }
    }
    let id = next_id(tx, &LINK_PATTERNS)?;
    LINK_PATTERNS.put(tx, &[&id, &kind, &paths[0], &paths[1], &by_search])?;
    Ok(id)
}

fn descriptor(tx: &Tx<'_>, reward: &Reward) -> Result<i64, DbError> {
    let hash = hash_of(reward);
    let mut values: Vec<&dyn ToValue> = vec![&hash];
    values.extend(texts_of(reward).map(|text| text as &dyn ToValue));
    values.push(&reward.cancellable);
    // The query compares the texts and not only the hash, because different texts may have the same hash.
    let found = tx.opt(
        "SELECT id FROM descriptors WHERE hash = ?1 AND reward_type IS NOT DISTINCT FROM ?2
             AND reward_source IS NOT DISTINCT FROM ?3 AND unit IS NOT DISTINCT FROM ?4
             AND program_id IS NOT DISTINCT FROM ?5 AND name IS NOT DISTINCT FROM ?6
             AND currency IS NOT DISTINCT FROM ?7 AND statuses IS NOT DISTINCT FROM ?8
             AND cancellable IS NOT DISTINCT FROM ?9",
        &values,
        |row| row.get(0),
    )?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = next_id(tx, &DESCRIPTORS)?;
    values.insert(0, &id);
    DESCRIPTORS.put(tx, &values)?;
    Ok(id)
}
