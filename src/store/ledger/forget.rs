//! Forgets an account in the ledger: deletes its values, stores a keyed hash, and records the deletion with its ticket.
//!
//! The hashed rows of the ledger contain only commitments, so the chain still verifies after the deletion. The event of
//! the deletion does not contain the account. The caller rewrites the ledger after forgetting an account, because
//! SQLite leaves deleted text in its pages until then.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ring::hmac;
use serde_json::Value;

use super::approvals::APPROVAL;
use super::redaction::{REASON, RESPONSE};
use super::{Entry, Ledger, Retraction, insert_event, text};
use crate::error::Result;
use crate::model::AccountId;
use crate::store::db::{DbError, Tx};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstones {
    /// The HMAC key of the hashes.
    pub key: Vec<u8>,
    /// The keyed hashes, one for each forgotten account.
    pub macs: Vec<Vec<u8>>,
}

/// The number of values and retractions that the erasure affects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForgottenHere {
    /// The number of deleted values: the account's own values, and the reasons and vendor responses of its retractions.
    pub values: u64,
    /// The number of retractions with a reward in the account.
    pub retractions: u64,
}

/// Returns the keyed hash of an account.
pub fn mac_of(key: &[u8], account: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), account.as_bytes()).as_ref().to_vec()
}

impl Ledger {
    /// Returns every retraction with a reward in this account, oldest first.
    pub fn of_account(&self, account: &AccountId) -> Result<Vec<Retraction>> {
        let ids = self.conn.read(|tx| retractions_of(tx, account))?;
        ids.into_iter().map(|id| self.get(id)).collect()
    }

    /// Deletes every value of this account, and adds a tombstone and an event with `details`. If the account is already
    /// forgotten and the ledger has none of its values, changes nothing and returns `None`.
    pub fn forget(&self, account: &AccountId, details: &Value, now: Timestamp) -> Result<Option<ForgottenHere>> {
        self.conn.overwrite_deleted()?;
        self.transact(|tx, actor| {
            let mac = mac_of(&key(tx)?, account.as_str());
            let retractions = retractions_of(tx, account)?;
            let values = erase(tx, account.as_str(), &retractions)?;
            if !bury(tx, &mac, now)? && values == 0 {
                return Ok(None);
            }
            let here = ForgottenHere { values, retractions: retractions.len() as u64 };
            let mut details = details.clone();
            details["values"] = here.values.into();
            details["retractions"] = here.retractions.into();
            insert_event(tx, &Entry::of_ledger("forgotten", "an account was forgotten", &details), actor, now)?;
            Ok(Some(here))
        })
    }

    /// Returns the HMAC key and every tombstone.
    pub fn tombstones(&self) -> Result<Tombstones> {
        self.conn.read(|tx| {
            let macs = tx.rows("SELECT mac FROM tombstones ORDER BY mac", &[], |row| row.get(0))?;
            Ok(Tombstones { key: key(tx)?, macs })
        })
    }

    /// Adds tombstones that an index has imported from a lost or newer ledger, so that the accounts stay forgotten. A
    /// ledger without tombstones also adopts the index's key of tombstones. Returns the number of new tombstones.
    pub fn bury(&self, kept: &[Tombstones], now: Timestamp) -> Result<u64> {
        self.conn.overwrite_deleted()?;
        self.transact(|tx, _| {
            let own: i64 = tx.one("SELECT count(*) FROM tombstones", &[], |row| row.get(0))?;
            if let ([only], 0) = (kept, own) {
                let update = "UPDATE identity SET value = ?1 WHERE key = 'tombstone_key'";
                tx.run(update, &[&super::hex(&only.key)])?;
            }
            let key = key(tx)?;
            let mut added = 0;
            for mac in kept.iter().filter(|kept| kept.key == key).flat_map(|kept| &kept.macs) {
                added += u64::from(bury(tx, mac, now)?);
            }
            if added > 0 {
                erase_buried(tx)?;
            }
            Ok(added)
        })
    }

    /// Rewrites the ledger without deleted data, and empties its write-ahead log. The rows stay unchanged.
    pub fn rewrite(&self) -> Result<()> {
        self.conn.rewrite()
    }
}

/// Adds a tombstone. Returns `false` if the tombstone already exists.
fn bury(tx: &Tx<'_>, mac: &[u8], now: Timestamp) -> Result<bool, DbError> {
    let insert = "INSERT INTO tombstones (mac, at) VALUES (?1, ?2) ON CONFLICT (mac) DO NOTHING";
    Ok(tx.run(insert, &[&mac, &text(now)])? > 0)
}

/// Deletes an account's values, and all reasons and vendor responses of its retractions. Returns the number of deleted
/// values.
fn erase(tx: &Tx<'_>, account: &str, retractions: &BTreeSet<i64>) -> Result<u64, DbError> {
    let mut erased = 0;
    for id in retractions {
        // A reason or a vendor response may name the customer, so both are deleted.
        let texts = "DELETE FROM personal WHERE kind IN (?1, ?2) AND retraction_id = ?3";
        erased += tx.run(texts, &[&REASON, &RESPONSE, id])?;
    }
    erased += erase_approval_reasons(tx, retractions)?;
    erased += tx.run("DELETE FROM personal WHERE value = ?1", &[&account])?;
    Ok(erased)
}

/// Deletes the values of accounts with a tombstone. An older copy of a ledger may still have values of forgotten
/// accounts.
fn erase_buried(tx: &Tx<'_>) -> Result<(), DbError> {
    let accounts = "SELECT DISTINCT value FROM personal WHERE kind NOT IN (?1, ?2)";
    for value in tx.rows(accounts, &[&REASON, &RESPONSE], |row| row.get::<String>(0))? {
        if is_forgotten(tx, &value)? {
            let retractions = retractions_of(tx, &AccountId::new(value.as_str()))?;
            erase(tx, &value, &retractions)?;
        }
    }
    Ok(())
}

/// Deletes the reasons in approvals that concern these retractions: in the requests and in the answers.
fn erase_approval_reasons(tx: &Tx<'_>, retractions: &BTreeSet<i64>) -> Result<u64, DbError> {
    let (mut orders, mut batches) = (BTreeSet::<String>::new(), BTreeSet::<String>::new());
    for id in retractions {
        tx.each("SELECT order_id, batch FROM retractions WHERE id = ?1", &[id], |row| {
            orders.insert(row.get(0)?);
            batches.extend(row.get::<Option<String>>(1)?);
            Ok(())
        })?;
    }
    let events = "SELECT id, details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id";
    let events = tx.rows(events, &[&APPROVAL], |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)))?;
    let (mut concerned, mut erased) = (BTreeSet::new(), 0);
    for (id, details) in events {
        let details: Value = serde_json::from_str(&details).unwrap_or_default();
        // The event of an answer contains only the number of its request, which is an earlier event.
        let subject = |key: &str| details["subject"][key].as_str();
        let is_of = match details["approval"].as_i64() {
            Some(of) => concerned.contains(&of),
            None if subject("order_id").is_some_and(|order| orders.contains(order)) => true,
            None => subject("batch").is_some_and(|batch| batches.contains(batch)),
        };
        if is_of {
            concerned.insert(id);
            if let Some(commitment) = details[REASON].as_str() {
                erased += tx.run("DELETE FROM personal WHERE commitment = ?1", &[&commitment])?;
            }
        }
    }
    Ok(erased)
}

fn retractions_of(tx: &Tx<'_>, account: &AccountId) -> Result<BTreeSet<i64>, DbError> {
    let ids = "SELECT retraction_id FROM personal WHERE value = ?1 AND retraction_id IS NOT NULL";
    Ok(tx.rows(ids, &[&account.as_str()], |row| row.get(0))?.into_iter().collect())
}

/// Returns `true` if a value belongs to a forgotten account. The check of a value is fast if the ledger has no
/// tombstones.
pub(super) fn is_forgotten(tx: &Tx<'_>, value: &str) -> Result<bool, DbError> {
    if !tx.one("SELECT EXISTS (SELECT 1 FROM tombstones)", &[], |row| row.get::<bool>(0))? {
        return Ok(false);
    }
    let mac = mac_of(&key(tx)?, value);
    tx.one("SELECT EXISTS (SELECT 1 FROM tombstones WHERE mac = ?1)", &[&mac], |row| row.get(0))
}

fn key(tx: &Tx<'_>) -> Result<Vec<u8>, DbError> {
    let hex: String = tx.one("SELECT value FROM identity WHERE key = 'tombstone_key'", &[], |row| row.get(0))?;
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    Ok(hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
}
