//! Accounts that were forgotten: whatever a crawl, a look-up or a retraction reads of them stays out.
//!
//! The file holds keyed hashes of their IDs (HMAC-SHA-256), with the key of the ledger that they are from, so that it needs no
//! other file to keep them out; whose they are, nobody can read from it without trying a name. Every way into the index asks
//! here. Where nobody was forgotten, that costs one question for each transaction.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use ring::hmac;
use rusqlite::{Connection, Transaction, params};

use super::forget::{Erased, erase_rows};
use super::rewards::ReadReward;
use super::{Index, IndexReader, RunKey};
use crate::error::Result;
use crate::model::{AccountId, RewardId, UserId};
use crate::store::ledger::{FORGOTTEN, Tombstones, mac_of};

/// Accounts that were here when their tombstones came.
#[derive(Debug, Default)]
pub struct Buried {
    /// Which.
    pub accounts: Vec<AccountId>,
    /// What of them was taken out so far.
    pub erased: Erased,
}

/// The forgotten, as this writer knows them.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    keys: Vec<(hmac::Key, HashSet<Vec<u8>>)>,
    count: i64,
}

impl Forgotten {
    /// Reads them again where there are more than before. They never get fewer.
    pub(super) fn refresh(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let count =
            conn.prepare_cached("SELECT count(*) FROM tombstones")?.query_row([], |row| row.get::<_, i64>(0))?;
        if count == self.count {
            return Ok(());
        }
        self.keys.clear();
        let mut select = conn.prepare("SELECT key, mac FROM tombstones ORDER BY key")?;
        let mut rows = select.query([])?;
        let mut last: Option<Vec<u8>> = None;
        while let Some(row) = rows.next()? {
            let (key, mac): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if last.as_ref() != Some(&key) {
                self.keys.push((hmac::Key::new(hmac::HMAC_SHA256, &key), HashSet::new()));
                last = Some(key);
            }
            if let Some((_, macs)) = self.keys.last_mut() {
                macs.insert(mac);
            }
        }
        self.count = count;
        Ok(())
    }

    /// Whether this is the ID of a forgotten account.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|(key, macs)| macs.contains(hmac::sign(key, id.as_bytes()).as_ref()))
    }

    /// A number for what must be counted and must not be named.
    pub(super) fn number(&self, text: &str) -> Option<i64> {
        let (key, _) = self.keys.first()?;
        let mac = hmac::sign(key, text.as_bytes());
        mac.as_ref().first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
    }

    /// What of a reward may be kept: `None` where it is a forgotten account's own; without the account where it only names it.
    pub(super) fn admit<'a>(&self, reward: &'a ReadReward) -> Option<Cow<'a, ReadReward>> {
        if self.keys.is_empty() {
            return Some(Cow::Borrowed(reward));
        }
        if self.has(reward.extracted.reward.account_id.as_str()) {
            return None;
        }
        let raw = match self.without(&reward.raw) {
            Scrubbed::AsItIs => return Some(Cow::Borrowed(reward)),
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

    /// JSON without the IDs of forgotten accounts.
    fn without(&self, raw: &str) -> Scrubbed {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(raw) else { return Scrubbed::AsItIs };
        let mut found = Vec::new();
        collect(&json, &mut |text| {
            if self.has(text) && !found.iter().any(|known| known == text) {
                found.push(text.to_owned());
            }
        });
        if found.is_empty() { Scrubbed::AsItIs } else { scrub(raw, &found) }
    }
}

/// What became of a reward's JSON.
pub(super) enum Scrubbed {
    AsItIs,
    Changed(String),
    /// It names the account in a way that cannot be taken out of the text: it must go as a whole.
    Impossible,
}

/// The text with these IDs replaced wherever they are a whole text of the JSON. Numbers and order stay as they came.
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
        (false, true) => Scrubbed::AsItIs,
        (false, false) => Scrubbed::Changed(changed),
    }
}

/// Every text and every key.
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

/// Counts a reward that a crawl met and left out, so that what the vendor counts adds up.
pub(super) fn leave_out(
    tx: &Transaction<'_>,
    forgotten: &Forgotten,
    run: i64,
    reward: &RewardId,
    date_modified: Option<i64>,
) -> rusqlite::Result<()> {
    let Some(number) = forgotten.number(reward.as_str()) else { return Ok(()) };
    tx.prepare_cached(
        "INSERT INTO left_out (reward, run, date_modified) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
             run = excluded.run, date_modified = coalesce(excluded.date_modified, date_modified)",
    )?
    .execute(params![number, run, date_modified])
    .map(drop)
}

impl Index {
    /// Whether this account was forgotten.
    pub fn is_forgotten(&mut self, account: &AccountId) -> Result<bool> {
        self.write(|_, shared| Ok(shared.forgotten.has(account.as_str())))
    }

    /// Counts rewards of forgotten accounts that a list names, without anything else of them.
    pub fn leave_out(&mut self, run: RunKey, rewards: &[(AccountId, RewardId)]) -> Result<()> {
        self.write(|tx, shared| {
            for (account, reward) in rewards {
                if shared.forgotten.has(account.as_str()) {
                    leave_out(tx, &shared.forgotten, run.0, reward, None)?;
                }
            }
            Ok(())
        })
    }

    /// Takes over the tombstones of a ledger, and takes out the rows of the accounts that they are of: an older copy of an
    /// index may have one that was forgotten since. Both in one transaction; [`Index::erase`] then does the rest. Nothing is
    /// looked through where all of them are known.
    pub fn bury(&mut self, tombstones: &Tombstones, now: Timestamp) -> Result<Buried> {
        self.write(|tx, shared| {
            let mut new = HashSet::new();
            for mac in &tombstones.macs {
                let added = tx
                    .prepare_cached("INSERT INTO tombstones (key, mac, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                    .execute(params![tombstones.key, mac, now.as_millisecond()])?;
                if added > 0 {
                    new.insert(mac.clone());
                }
            }
            shared.forgotten.refresh(tx)?;
            let mut buried = Buried::default();
            if new.is_empty() {
                return Ok(buried);
            }
            let mut select = tx.prepare("SELECT account_id FROM accounts")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let account: AccountId = row.get(0)?;
                if new.contains(&mac_of(&tombstones.key, account.as_str())) {
                    buried.accounts.push(account);
                }
            }
            for account in &buried.accounts {
                erase_rows(tx, shared, account, &mut buried.erased)?;
            }
            Ok(buried)
        })
    }

    /// Every tombstone here, by the key of its ledger.
    pub fn tombstones(&self) -> Result<Vec<Tombstones>> {
        self.read(all)
    }
}

impl IndexReader {
    /// Every tombstone here, by the key of its ledger.
    pub fn tombstones(&self) -> Result<Vec<Tombstones>> {
        self.read(all)
    }
}

fn all(conn: &Connection) -> rusqlite::Result<Vec<Tombstones>> {
    let mut select = conn.prepare("SELECT key, mac FROM tombstones ORDER BY key, mac")?;
    let mut found: Vec<Tombstones> = Vec::new();
    for row in select.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))? {
        let (key, mac) = row?;
        match found.last_mut().filter(|last| last.key == key) {
            Some(last) => last.macs.push(mac),
            None => found.push(Tombstones { key, macs: vec![mac] }),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_goes_wherever_it_is_a_whole_text_and_nothing_else_changes() {
        let ids = ["bob@shop.example".to_owned()];
        // The JSON, and what becomes of it: `None` where it has to go as a whole.
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
                Scrubbed::AsItIs => Some(raw.to_owned()),
                Scrubbed::Changed(changed) => Some(changed),
                Scrubbed::Impossible => None,
            };
            assert_eq!(found.as_deref(), wanted, "{raw}");
        }
    }
}
