//! Forgotten accounts: crawls, look-ups and retractions skip them, and the index stores none of their data.
//!
//! The index stores keyed hashes of the accounts' IDs (HMAC-SHA-256), and the key of the ledger in which the accounts
//! were forgotten. Therefore a writer recognises a forgotten account without another file. A keyed hash reveals no ID:
//! a reader of the index can only test whether a given ID is forgotten. Every writer of accounts and rewards checks the
//! tombstones.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use ring::hmac;

use super::forget::{Erased, erase_rows};
use super::rewards::ReadReward;
use super::{Index, IndexReader, RunKey};
use crate::error::Result;
use crate::model::{AccountId, RewardId, UserId};
use crate::store::db::{DbError, Tx};
use crate::store::ledger::{FORGOTTEN, Tombstones, mac_of};

/// The accounts that the index still had when it imported their tombstones.
#[derive(Debug, Default)]
pub struct ImportedTombstones {
    pub accounts: Vec<AccountId>,
    /// The counts of rows that the import deleted. [`Index::erase`] deletes the remaining data of these accounts.
    pub erased: Erased,
}

/// The tombstones that the writer has read. A writer keeps the tombstones in memory between transactions.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    keys: Vec<(hmac::Key, HashSet<Vec<u8>>)>,
    count: i64,
}

impl Forgotten {
    /// Reads the tombstones again if another process has added some. recoup never deletes tombstones.
    pub(super) fn refresh(&mut self, tx: &Tx<'_>) -> Result<(), DbError> {
        let count = tx.one("SELECT count(*) FROM tombstones", &[], |row| row.get(0))?;
        if count != self.count {
            let key = |of: &Tombstones| hmac::Key::new(hmac::HMAC_SHA256, &of.key);
            self.keys = all(tx)?.into_iter().map(|of| (key(&of), of.macs.into_iter().collect())).collect();
            self.count = count;
        }
        Ok(())
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|(key, macs)| macs.contains(hmac::sign(key, id.as_bytes()).as_ref()))
    }

    /// Returns a keyed hash of a text, so that the index can count the text without storing it. Returns `None` if the
    /// index has no tombstones.
    pub(super) fn number(&self, text: &str) -> Option<i64> {
        let (key, _) = self.keys.first()?;
        let mac = hmac::sign(key, text.as_bytes());
        mac.as_ref().first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
    }

    /// Returns the reward in the form that the index may store. Returns `None` if the reward belongs to a forgotten
    /// account. If another account's reward contains the ID of a forgotten account, replaces that ID.
    pub(super) fn admit<'a>(&self, reward: &'a ReadReward) -> Option<Cow<'a, ReadReward>> {
        if self.keys.is_empty() {
            return Some(Cow::Borrowed(reward));
        }
        if self.has(reward.extracted.reward.account_id.as_str()) {
            return None;
        }
        let raw = match self.without(&reward.raw) {
            Scrubbed::Unchanged => return Some(Cow::Borrowed(reward)),
            Scrubbed::Changed(raw) => raw,
            Scrubbed::Impossible => return None,
        };
        let mut kept = reward.clone();
        kept.raw = raw.into();
        if kept.extracted.reward.user_id.as_ref().is_some_and(|user| self.has(user.as_str())) {
            kept.extracted.reward.user_id = Some(UserId::new(FORGOTTEN));
        }
        Some(Cow::Owned(kept))
    }

    /// Removes the IDs of forgotten accounts from the JSON of a reward.
    fn without(&self, raw: &str) -> Scrubbed {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(raw) else { return Scrubbed::Unchanged };
        let mut found = Vec::new();
        collect(&json, &mut |text| {
            if self.has(text) && !found.iter().any(|known| known == text) {
                found.push(text.to_owned());
            }
        });
        if found.is_empty() { Scrubbed::Unchanged } else { scrub(raw, &found) }
    }
}

/// The result of removing an account's ID from JSON.
pub(super) enum Scrubbed {
    Unchanged,
    Changed(String),
    /// The JSON escapes the account's ID in a way that text replacement does not find, so the caller must delete all of the
    /// JSON.
    Impossible,
}

/// Replaces each of these IDs if it is a whole string of the JSON. Keeps the numbers and the order of keys in the JSON
/// unchanged.
pub(super) fn scrub(raw: &str, ids: &[String]) -> Scrubbed {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut changed = raw.to_owned();
    for id in ids {
        changed = changed.replace(&quoted(id), &quoted(FORGOTTEN));
    }
    let Ok(json) = serde_json::from_str::<serde_json::Value>(&changed) else { return Scrubbed::Impossible };
    let mut left = false;
    collect(&json, &mut |text| left |= ids.iter().any(|id| id == text));
    match (left, changed == raw) {
        (true, _) => Scrubbed::Impossible,
        (false, true) => Scrubbed::Unchanged,
        (false, false) => Scrubbed::Changed(changed),
    }
}

/// Calls `each` with every string and every key of the JSON.
fn collect(json: &serde_json::Value, each: &mut impl FnMut(&str)) {
    match json {
        serde_json::Value::String(text) => each(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, each)),
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                each(key);
                collect(value, each);
            }
        }
        _ => {}
    }
}

/// Counts a forgotten account's reward that a crawl skips, so that the vendor's totals can be compared with the index.
pub(super) fn skip_reward(
    tx: &Tx<'_>,
    forgotten: &Forgotten,
    run: i64,
    reward: &RewardId,
    date_modified: Option<i64>,
) -> Result<(), DbError> {
    let Some(number) = forgotten.number(reward.as_str()) else { return Ok(()) };
    tx.run(
        "INSERT INTO skipped_rewards (reward, run, date_modified) VALUES (?1, ?2, ?3) ON CONFLICT (reward) DO UPDATE SET
             run = excluded.run, date_modified = coalesce(excluded.date_modified, skipped_rewards.date_modified)",
        &[&number, &run, &date_modified],
    )
    .map(drop)
}

impl Index {
    pub fn is_forgotten(&mut self, account: &AccountId) -> Result<bool> {
        self.write_batch(|batch| Ok(batch.forgotten.has(account.as_str())))
    }

    /// Counts the rewards that belong to forgotten accounts. Stores no other data about the rewards of forgotten
    /// accounts.
    pub fn count_skipped(&mut self, run: RunKey, rewards: &[(AccountId, RewardId)]) -> Result<()> {
        self.write_batch(|batch| {
            for (account, reward) in rewards {
                if batch.forgotten.has(account.as_str()) {
                    skip_reward(batch.tx, &batch.forgotten, run.0, reward, None)?;
                }
            }
            Ok(())
        })
    }

    /// Copies the tombstones of a ledger and deletes the rows of their accounts, in one transaction. An older copy of
    /// an index may still have an account that was forgotten since. [`Index::erase`] deletes the rest of a forgotten
    /// account's data. If the index has all tombstones already, this method scans no rows.
    pub fn import_tombstones(&mut self, tombstones: &Tombstones, now: Timestamp) -> Result<ImportedTombstones> {
        self.write_batch(|batch| {
            let mut new = HashSet::new();
            for mac in &tombstones.macs {
                let insert =
                    "INSERT INTO tombstones (key, mac, at) VALUES (?1, ?2, ?3) ON CONFLICT (key, mac) DO NOTHING";
                if batch.tx.run(insert, &[&tombstones.key, mac, &now.as_millisecond()])? > 0 {
                    new.insert(mac.clone());
                }
            }
            batch.forgotten.refresh(batch.tx)?;
            let mut imported = ImportedTombstones::default();
            if new.is_empty() {
                return Ok(imported);
            }
            batch.tx.each("SELECT account_id FROM accounts", &[], |row| {
                let account: AccountId = row.get(0)?;
                if new.contains(&mac_of(&tombstones.key, account.as_str())) {
                    imported.accounts.push(account);
                }
                Ok(())
            })?;
            for account in &imported.accounts {
                imported.erased = erase_rows(batch, account, imported.erased)?;
            }
            Ok(imported)
        })
    }

    /// Returns all tombstones, one entry for each ledger key.
    pub fn tombstones(&self) -> Result<Vec<Tombstones>> {
        self.conn.read(all)
    }
}

impl IndexReader {
    /// Returns all tombstones, one entry for each ledger key.
    pub fn tombstones(&self) -> Result<Vec<Tombstones>> {
        self.conn.read(all)
    }
}

fn all(tx: &Tx<'_>) -> Result<Vec<Tombstones>, DbError> {
    let mut found: Vec<Tombstones> = Vec::new();
    tx.each("SELECT key, mac FROM tombstones ORDER BY key, mac", &[], |row| {
        let (key, mac): (&[u8], Vec<u8>) = (row.get(0)?, row.get(1)?);
        match found.last_mut().filter(|last| last.key == key) {
            Some(last) => last.macs.push(mac),
            None => found.push(Tombstones { key: key.to_vec(), macs: vec![mac] }),
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubbing_replaces_an_id_only_if_it_is_a_whole_string() {
        let ids = ["bob@shop.example".to_owned()];
        // Each entry: the JSON before and after the replacement; `None` if the caller must delete all of the JSON.
        let table = [
            (r#"{"a":"bob@shop.example","n":1.50}"#, Some(r#"{"a":"(forgotten)","n":1.50}"#)),
            (
                r#"{"z":["bob@shop.example"],"a":{"bob@shop.example":1}}"#,
                Some(r#"{"z":["(forgotten)"],"a":{"(forgotten)":1}}"#),
            ),
            (
                r#"{"a":"bob@shop.examples","b":"xbob@shop.example"}"#,
                Some(r#"{"a":"bob@shop.examples","b":"xbob@shop.example"}"#),
            ),
            (r#"{"a":"bob\u0040shop.example"}"#, None),
        ];
        for (raw, wanted) in table {
            let found = match scrub(raw, &ids) {
                Scrubbed::Unchanged => Some(raw.to_owned()),
                Scrubbed::Changed(changed) => Some(changed),
                Scrubbed::Impossible => None,
            };
            assert_eq!(found.as_deref(), wanted, "{raw}");
        }
    }
}
