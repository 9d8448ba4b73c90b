//! Rows that many rewards share: how links were found, and the words that rewards have in common. Made where they are new,
//! remembered by their numbers for as long as the writer lives.

use foldhash::HashMap;
use rusqlite::{OptionalExtension, ToSql, Transaction, params};
use std::borrow::Cow;

use super::tombstones::Forgotten;
use crate::extract::Extracted;
use crate::model::Reward;

/// Different findings that are kept apart.
const MAX_FINDINGS: i64 = 200;
/// What stands for the paths beyond them.
const OTHER_PATHS: &str = "other paths";
/// Descriptors that are remembered; where there are more, each is asked for again.
const MAX_REMEMBERED: usize = 10_000;

/// The numbers of the rows that are known.
#[derive(Debug, Default)]
pub(super) struct Shared {
    findings: HashMap<Finding<'static>, i64>,
    descriptors: HashMap<Descriptor<'static>, i64>,
    /// Whose rewards stay out.
    pub(super) forgotten: Forgotten,
}

/// One way in which a reward offers links.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Finding<'a> {
    kind: &'static str,
    order_path: Cow<'a, str>,
    action_path: Cow<'a, str>,
    by_search: bool,
}

type Word<'a> = Option<Cow<'a, str>>;

/// The words of a reward.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Descriptor<'a> {
    reward_type: Word<'a>,
    reward_source: Word<'a>,
    unit: Word<'a>,
    program_id: Word<'a>,
    name: Word<'a>,
    currency: Word<'a>,
    statuses: Word<'a>,
    cancellable: Option<bool>,
}

impl Shared {
    /// The number of a finding. Keys may be data (a basket by its articles), and then each reward has a path of its own: after
    /// so many, further ones are one.
    pub(super) fn finding(&mut self, tx: &Transaction<'_>, extracted: &Extracted) -> rusqlite::Result<i64> {
        let path = |path: &'_ Option<String>| path.as_deref().unwrap_or_default().to_owned();
        let borrowed = Finding {
            kind: extracted.kind.as_str(),
            order_path: Cow::Borrowed(extracted.order_path.as_deref().unwrap_or_default()),
            action_path: Cow::Borrowed(extracted.action_path.as_deref().unwrap_or_default()),
            by_search: extracted.action_by_search,
        };
        if let Some(id) = lookup(&self.findings, &borrowed) {
            return Ok(id);
        }
        let mut finding = Finding {
            order_path: Cow::Owned(path(&extracted.order_path)),
            action_path: Cow::Owned(path(&extracted.action_path)),
            ..borrowed
        };
        let select = |finding: &Finding<'_>| {
            tx.prepare_cached(
                "SELECT id FROM findings WHERE kind = ?1 AND order_path = ?2 AND action_path = ?3 AND by_search = ?4",
            )?
            .query_row(params![finding.kind, finding.order_path, finding.action_path, finding.by_search], |row| {
                row.get(0)
            })
            .optional()
        };
        let mut found: Option<i64> = select(&finding)?;
        if found.is_none() {
            let count: i64 = tx.prepare_cached("SELECT count(*) FROM findings")?.query_row([], |row| row.get(0))?;
            if count >= MAX_FINDINGS {
                for path in [&mut finding.order_path, &mut finding.action_path] {
                    if !path.is_empty() {
                        *path = Cow::Borrowed(OTHER_PATHS);
                    }
                }
                found = select(&finding)?;
            }
        }
        let id = match found {
            Some(id) => id,
            None => tx
                .prepare_cached(
                    "INSERT INTO findings (kind, order_path, action_path, by_search) VALUES (?1, ?2, ?3, ?4) RETURNING id",
                )?
                .query_row(params![finding.kind, finding.order_path, finding.action_path, finding.by_search], |row| {
                    row.get(0)
                })?,
        };
        self.findings.insert(finding, id);
        Ok(id)
    }

    /// The number of a reward's words.
    pub(super) fn descriptor(&mut self, tx: &Transaction<'_>, reward: &Reward) -> rusqlite::Result<i64> {
        let descriptor = Descriptor::of(reward);
        if let Some(id) = lookup(&self.descriptors, &descriptor) {
            return Ok(id);
        }
        let words: [&dyn ToSql; 8] = [
            &descriptor.reward_type,
            &descriptor.reward_source,
            &descriptor.unit,
            &descriptor.program_id,
            &descriptor.name,
            &descriptor.currency,
            &descriptor.statuses,
            &descriptor.cancellable,
        ];
        let found: Option<i64> = tx
            .prepare_cached(
                "SELECT id FROM descriptors WHERE reward_type IS ?1 AND reward_source IS ?2 AND unit IS ?3
                     AND program_id IS ?4 AND name IS ?5 AND currency IS ?6 AND statuses IS ?7 AND cancellable IS ?8",
            )?
            .query_row(&words[..], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            tx.prepare_cached(
                "INSERT INTO descriptors (reward_type, reward_source, unit, program_id, name, currency, statuses,
                     cancellable) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(&words[..])?;
            tx.last_insert_rowid()
        };
        if self.descriptors.len() < MAX_REMEMBERED {
            self.descriptors.insert(descriptor.into_owned(), id);
        }
        Ok(id)
    }
}

/// Looks a borrowed key up among owned ones.
fn lookup<'a, K: Eq + std::hash::Hash>(known: &'a HashMap<K, i64>, key: &'a K) -> Option<i64> {
    known.get(key).copied()
}

impl<'a> Descriptor<'a> {
    fn of(reward: &'a Reward) -> Self {
        let word = |word: &'a Option<String>| word.as_deref().map(Cow::Borrowed);
        Self {
            reward_type: word(&reward.reward_type),
            reward_source: word(&reward.reward_source),
            unit: word(&reward.unit),
            program_id: word(&reward.program_id),
            name: word(&reward.name),
            currency: word(&reward.currency),
            statuses: word(&reward.statuses),
            cancellable: reward.cancellable,
        }
    }

    fn into_owned(self) -> Descriptor<'static> {
        let word = |word: Word<'a>| word.map(|word| Cow::Owned(word.into_owned()));
        Descriptor {
            reward_type: word(self.reward_type),
            reward_source: word(self.reward_source),
            unit: word(self.unit),
            program_id: word(self.program_id),
            name: word(self.name),
            currency: word(self.currency),
            statuses: word(self.statuses),
            cancellable: self.cancellable,
        }
    }
}
