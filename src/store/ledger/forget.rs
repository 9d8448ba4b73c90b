//! Forgetting an account: its values go, a keyed hash stays, and an event says that it happened and under which ticket.
//!
//! The hashed rows hold commitments only, so the chain verifies as before. Nothing here may write the account down, not even
//! in the event; the file is written anew afterwards, because SQLite leaves deleted text where it was until then.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ring::hmac;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::approvals::APPROVAL;
use super::seal::{REASON, RESPONSE};
use super::{Entry, Ledger, Retraction, insert_event, text};
use crate::error::Result;
use crate::model::AccountId;

/// The tombstones of one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstones {
    /// The key of their hashes.
    pub key: Vec<u8>,
    /// One for each forgotten account.
    pub macs: Vec<Vec<u8>>,
}

/// What forgetting took out of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForgottenHere {
    /// Values: the account's own, and the reasons and the vendor's answers of the retractions that it is in.
    pub values: u64,
    /// Retractions that it is in.
    pub retractions: u64,
}

/// The keyed hash of an account.
pub fn mac_of(key: &[u8], account: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), account.as_bytes()).as_ref().to_vec()
}

impl Ledger {
    /// Every retraction with a reward in this account, oldest first.
    pub fn of_account(&self, account: &AccountId) -> Result<Vec<Retraction>> {
        let ids: Vec<i64> = self.read(|conn| retractions_of(conn, account))?.into_iter().collect();
        ids.into_iter().map(|id| self.get(id)).collect()
    }

    /// Whether this account was forgotten.
    pub fn is_forgotten(&self, account: &AccountId) -> Result<bool> {
        self.read(|conn| is_forgotten(conn, account.as_str()))
    }

    /// Takes every value of this account, and leaves a tombstone. Gives `None`, and changes nothing, where the account was
    /// forgotten before and nothing of it is here. `details` is what else the event is to say.
    pub fn forget(&self, account: &AccountId, mut details: Value, now: Timestamp) -> Result<Option<ForgottenHere>> {
        self.erase_for_good()?;
        self.transact(|tx, actor| {
            let mac = mac_of(&key(tx)?, account.as_str());
            let retractions = retractions_of(tx, account)?;
            let mut values = 0;
            for id in &retractions {
                values += erase_texts(tx, *id)?;
            }
            values += erase_asked(tx, &retractions)?;
            values += tx.execute("DELETE FROM personal WHERE value = ?1", [account.as_str()])?;
            let buried = tx.execute(
                "INSERT INTO tombstones (mac, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![mac, text(now)],
            )?;
            if buried == 0 && values == 0 {
                return Ok(None);
            }
            let here = ForgottenHere { values: values as u64, retractions: retractions.len() as u64 };
            details["values"] = here.values.into();
            details["retractions"] = here.retractions.into();
            let message = "an account was forgotten";
            let entry = Entry { retraction_id: None, state: None, kind: "forgotten", message, details: &details };
            insert_event(tx, &entry, actor, now)?;
            Ok(Some(here))
        })
    }

    /// The key and every tombstone.
    pub fn tombstones(&self) -> Result<Tombstones> {
        self.read(|conn| {
            let mut select = conn.prepare_cached("SELECT mac FROM tombstones ORDER BY mac")?;
            let macs = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(Tombstones { key: key(conn)?, macs })
        })
    }

    /// Takes over what an index has kept of a ledger that was lost, or is newer: its accounts stay forgotten. A ledger
    /// without tombstones takes the key as well. Gives how many came.
    pub fn bury(&self, kept: &[Tombstones], now: Timestamp) -> Result<u64> {
        self.erase_for_good()?;
        self.transact(|tx, _| {
            let own: i64 = tx.query_row("SELECT count(*) FROM tombstones", [], |row| row.get(0))?;
            if let ([only], 0) = (kept, own) {
                tx.execute("UPDATE identity SET value = ?1 WHERE key = 'tombstone_key'", [super::hex(&only.key)])?;
            }
            let key = key(tx)?;
            let mut came = 0;
            for mac in kept.iter().filter(|kept| kept.key == key).flat_map(|kept| &kept.macs) {
                let insert = "INSERT INTO tombstones (mac, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
                came += tx.execute(insert, params![mac, text(now)])?;
            }
            if came > 0 {
                erase_buried(tx)?;
            }
            Ok(came as u64)
        })
    }

    /// From here on what is deleted is overwritten.
    fn erase_for_good(&self) -> Result<()> {
        self.read(|conn| conn.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(())))
    }

    /// Writes the file anew, without what was deleted, and empties its log. The rows stay as they are.
    pub fn rewrite(&self) -> Result<()> {
        self.read(crate::store::rewrite)
    }
}

/// Values of accounts that a tombstone is of: an older copy has them still.
fn erase_buried(tx: &Connection) -> rusqlite::Result<()> {
    let values: Vec<String> = tx
        .prepare("SELECT DISTINCT value FROM personal WHERE kind NOT IN (?1, ?2)")?
        .query_map([REASON, RESPONSE], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for value in values {
        if is_forgotten(tx, &value)? {
            let retractions = retractions_of(tx, &AccountId::new(value.as_str()))?;
            for id in &retractions {
                erase_texts(tx, *id)?;
            }
            erase_asked(tx, &retractions)?;
            tx.execute("DELETE FROM personal WHERE value = ?1", [&value])?;
        }
    }
    Ok(())
}

/// What was written about a retraction, by a person or by the vendor: it may name whoever is in it.
fn erase_texts(tx: &Connection, retraction: i64) -> rusqlite::Result<usize> {
    tx.execute(
        "DELETE FROM personal WHERE kind IN (?1, ?2) AND retraction_id = ?3",
        params![REASON, RESPONSE, retraction],
    )
}

/// What was written about these retractions where a second person was asked for them, and what that one has answered.
fn erase_asked(tx: &Connection, retractions: &BTreeSet<i64>) -> rusqlite::Result<usize> {
    let (mut orders, mut batches) = (BTreeSet::<String>::new(), BTreeSet::<String>::new());
    for id in retractions {
        let (order, batch): (_, Option<_>) =
            tx.query_row("SELECT order_id, batch FROM retractions WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        orders.insert(order);
        batches.extend(batch);
    }
    let mut events =
        tx.prepare("SELECT id, details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id")?;
    let mut rows = events.query([APPROVAL])?;
    let (mut concerned, mut erased) = (BTreeSet::new(), 0);
    while let Some(row) = rows.next()? {
        let (id, details): (i64, String) = (row.get(0)?, row.get(1)?);
        let details: Value = serde_json::from_str(&details).unwrap_or_default();
        // An answer comes after its question, and names it.
        let subject = |key: &str| details["subject"][key].as_str();
        let is_of = match details["approval"].as_i64() {
            Some(of) => concerned.contains(&of),
            None if subject("order_id").is_some_and(|order| orders.contains(order)) => true,
            None => subject("batch").is_some_and(|batch| batches.contains(batch)),
        };
        if is_of {
            concerned.insert(id);
            if let Some(commitment) = details[REASON].as_str() {
                erased += tx.execute("DELETE FROM personal WHERE commitment = ?1", [commitment])?;
            }
        }
    }
    Ok(erased)
}

fn retractions_of(conn: &Connection, account: &AccountId) -> rusqlite::Result<BTreeSet<i64>> {
    conn.prepare_cached("SELECT retraction_id FROM personal WHERE value = ?1 AND retraction_id IS NOT NULL")?
        .query_map([account.as_str()], |row| row.get(0))?
        .collect()
}

/// Whether a value is that of a forgotten account; costs next to nothing where nobody was forgotten.
pub(super) fn is_forgotten(conn: &Connection, value: &str) -> rusqlite::Result<bool> {
    let any: bool = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM tombstones)")?.query_row([], |row| row.get(0))?;
    if !any {
        return Ok(false);
    }
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM tombstones WHERE mac = ?1)")?
        .query_row([mac_of(&key(conn)?, value)], |row| row.get(0))
}

fn key(conn: &Connection) -> rusqlite::Result<Vec<u8>> {
    let hex: String = conn.query_row("SELECT value FROM identity WHERE key = 'tombstone_key'", [], |row| row.get(0))?;
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    Ok(hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
}
