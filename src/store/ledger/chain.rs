//! The hash chain of the ledger. Every event contains a hash over itself and the previous event. The first event of a
//! retraction also contains a hash over the retraction's row.
//!
//! The audit reports an altered, removed, added or reordered row with its number. A hash chain alone does not reveal
//! that its tail was truncated or that all of it was rewritten. To detect a truncated or rewritten chain, the audit
//! needs a [`Head`] that is stored elsewhere, for example on a receipt. This module never writes to the ledger.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::Value;

use super::pre_send_check::Newest;
use super::{State, hex, main_file};
use crate::store::db::{DbError, Row, Tx};

pub(super) type Hash = [u8; 32];

/// The newest event of the ledger. Every receipt contains the head, and the index stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Head {
    /// The number of the newest event; 0 in an empty ledger.
    pub sequence: i64,
    /// The hash of the newest event, in hexadecimal.
    pub hash: String,
}

/// The result of verifying the whole ledger.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    pub ledger_id: String,
    pub events: u64,
    pub retractions: u64,
    /// The number of personal values that the ledger stores.
    pub personal_kept: u64,
    pub head: Head,
    /// The number of the event with the expected hash; `null` if the caller expected no hash, or if no event has the
    /// expected hash.
    pub head_found: Option<i64>,
    /// The faults found, in the order of the events.
    pub faults: Vec<Fault>,
    pub outside_chain: &'static [&'static str],
}

/// The data of the ledger that the chain does not cover, with their other protection.
const OUTSIDE: &[&str] = &[
    "whom the ledger belongs to, and the mark of a copy: every command compares the first with the settings",
    "that a personal value is there: each one fits its commitment, and one that is missing reads as forgotten",
    "tombstones of forgotten accounts, and the list of refunds that wait for their orders",
    "SQLite's indexes: its integrity check compares them with the tables",
];

/// A difference between the rows of the ledger and the rows that recoup wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The number of the damaged event; `null` if the fault is not in an event.
    pub sequence: Option<i64>,
    pub retraction: Option<i64>,
    pub what: String,
}

/// The columns of `events` that the hash covers.
pub(super) struct Link<'a> {
    pub id: i64,
    pub retraction_id: Option<i64>,
    pub at: &'a str,
    pub state: Option<&'a str>,
    pub kind: &'a str,
    pub message: &'a str,
    pub details: &'a str,
    pub person: &'a str,
    pub host: &'a str,
}

impl Link<'_> {
    /// Returns the hash of this event, which includes the previous event's hash `before`.
    pub fn hash(&self, before: &Hash) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(b"recoup event 1\n");
        context.update(before);
        context.update(&self.id.to_be_bytes());
        // The number of a retraction is never 0.
        context.update(&self.retraction_id.unwrap_or(0).to_be_bytes());
        let texts =
            [self.at, self.state.unwrap_or_default(), self.kind, self.message, self.details, self.person, self.host];
        for text in texts {
            field(&mut context, Some(text));
        }
        finish(context)
    }
}

/// Hashes the length of a text and then the text, so that different rows give different bytes. `None` and an empty text
/// have different hashes.
fn field(context: &mut Context, text: Option<&str>) {
    match text {
        None => context.update(&u64::MAX.to_be_bytes()),
        Some(text) => {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
    }
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Returns the start of the chain, which the first event uses as its previous hash.
pub(super) fn genesis(ledger_id: &str) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup ledger 1\n");
    field(&mut context, Some(ledger_id));
    finish(context)
}

/// Returns the number and the hash of the newest event.
pub(super) fn newest(tx: &Tx<'_>) -> Result<(i64, Hash), DbError> {
    let newest = "SELECT id, hash FROM events ORDER BY id DESC LIMIT 1";
    match tx.opt(newest, &[], |row| Ok((row.get(0)?, row.get(1)?)))? {
        Some(newest) => Ok(newest),
        None => Ok((0, genesis(&super::ledger_id(tx)?))),
    }
}

/// The key under which a retraction's first event stores the hash of the retraction's row.
pub(super) const ROW: &str = "row";

/// Returns the rewards that each retraction takes back, ordered by ID. Reads every row of the table of rewards.
pub(super) fn rewards_by_retraction(tx: &Tx<'_>) -> Result<BTreeMap<i64, Vec<String>>, DbError> {
    let mut rewards: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    tx.each("SELECT retraction_id, reward_id FROM retraction_rewards", &[], |row| {
        rewards.entry(row.get(0)?).or_default().push(row.get(1)?);
        Ok(())
    })?;
    for of in rewards.values_mut() {
        of.sort();
    }
    Ok(rewards)
}

/// Returns a hash over a retraction's row and the rewards that it takes back.
pub(super) fn row_hash(tx: &Tx<'_>, retraction_id: i64) -> Result<String, DbError> {
    let select = "SELECT reward_id FROM retraction_rewards WHERE retraction_id = ?1";
    let mut rewards: Vec<String> = tx.rows(select, &[&retraction_id], |row| row.get(0))?;
    // Rust sorts the IDs, because the order of the database depends on its collation.
    rewards.sort();
    row_hash_with(tx, retraction_id, &rewards)
}

fn row_hash_with(tx: &Tx<'_>, retraction_id: i64, rewards: &[String]) -> Result<String, DbError> {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup retraction 1\n");
    context.update(&retraction_id.to_be_bytes());
    let select =
        "SELECT road, target, CAST(attempt AS TEXT), order_id, action_id, action_tracker_id, program_id, disposition,
         reason, ticket, batch, person, host, created_at, plan FROM retractions WHERE id = ?1";
    tx.each(select, &[&retraction_id], |row| {
        for column in 0..15 {
            field(&mut context, row.get(column)?);
        }
        Ok(())
    })?;
    for reward in rewards {
        field(&mut context, Some(reward));
    }
    Ok(hex(&finish(context)))
}

/// Verifies the whole chain. `expected` is the hash of a head stored elsewhere, for example on a receipt.
pub(super) fn audit(tx: &Tx<'_>, expected: Option<&str>) -> Result<Audit, DbError> {
    let ledger_id = super::ledger_id(tx)?;
    let mut walk = Walk::from_the_beginning(tx)?;
    let head_found = walk.go_on(tx, &rewards_by_retraction(tx)?, expected)?;
    let Walk { before, at, newest, mut faults } = walk;
    let retractions: Vec<i64> = tx.rows("SELECT id FROM retractions ORDER BY id", &[], |row| row.get(0))?;
    for id in retractions.iter().filter(|id| !newest.contains_key(id)) {
        let what = "this retraction has no first event".to_owned();
        faults.push(Fault { sequence: None, retraction: Some(*id), what });
    }
    let personal_kept = super::redaction::check(tx, &mut faults)?;
    if let Some(expected) = expected
        && head_found.is_none()
    {
        let what = format!("no event has the hash {expected}: the tail was cut, or the ledger was written anew since");
        faults.push(Fault { sequence: None, retraction: None, what });
    }
    if let Some(what) = main_file::gap(tx, at, &before)? {
        faults.push(Fault { sequence: None, retraction: None, what });
    }
    let head = Head { sequence: at, hash: hex(&before) };
    let (events, retractions) = (at.max(0) as u64, retractions.len() as u64);
    Ok(Audit { ledger_id, events, retractions, personal_kept, head, head_found, faults, outside_chain: OUTSIDE })
}

/// The state of a verification of the chain, which can resume after new events.
#[derive(Debug)]
pub(super) struct Walk {
    /// The hash of the last verified event.
    pub before: Hash,
    /// The number of the last verified event.
    pub at: i64,
    /// The state of each retraction according to the verified events.
    pub newest: BTreeMap<i64, Newest>,
    pub faults: Vec<Fault>,
}

impl Walk {
    /// Creates the state of a verification that begins before the first event.
    pub fn from_the_beginning(tx: &Tx<'_>) -> Result<Self, DbError> {
        let before = genesis(&super::ledger_id(tx)?);
        Ok(Self { before, at: 0, newest: BTreeMap::new(), faults: Vec::new() })
    }

    /// Returns `true` if the last verified event is still in the table, unchanged.
    pub fn still_holds(&self, tx: &Tx<'_>) -> Result<bool, DbError> {
        Ok(self.at == 0 || hash_at(tx, self.at)?.as_deref() == Some(&hex(&self.before)))
    }

    /// Verifies the events after the last verified event. Returns the number of the event with the hash `expected`.
    pub fn go_on(
        &mut self,
        tx: &Tx<'_>,
        rewards: &BTreeMap<i64, Vec<String>>,
        expected: Option<&str>,
    ) -> Result<Option<i64>, DbError> {
        // No SQL index has all columns of this query, so SQLite reads the table itself.
        let select = "SELECT id, retraction_id, at, state, kind, message, details, person, host, hash FROM events
             WHERE id > ?1 ORDER BY id";
        let mut found = None;
        let after = self.at;
        tx.each(select, &[&after], |row| {
            self.event(tx, row, rewards)?;
            if expected.is_some_and(|expected| expected.eq_ignore_ascii_case(&hex(&self.before))) {
                found = Some(self.at);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn event(&mut self, tx: &Tx<'_>, row: &Row<'_>, rewards: &BTreeMap<i64, Vec<String>>) -> Result<(), DbError> {
        let (id, retraction_id): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let link = Link {
            id,
            retraction_id,
            at: row.get(2)?,
            state: row.get(3)?,
            kind: row.get(4)?,
            message: row.get(5)?,
            details: row.get(6)?,
            person: row.get(7)?,
            host: row.get(8)?,
        };
        let mut fault = |what: String| self.faults.push(Fault { sequence: Some(id), retraction: retraction_id, what });
        if id != self.at + 1 {
            fault(format!("events {} to {} are missing", self.at + 1, id - 1));
        }
        let computed = link.hash(&self.before);
        let stored: Vec<u8> = row.get(9)?;
        if stored != computed {
            fault("this event, or the order of events before it, is not what was written".to_owned());
        }
        if let Some(retraction_id) = retraction_id {
            let state = link.state.and_then(State::named);
            let before = self.newest.get(&retraction_id);
            if before.is_none() {
                let details: Value = serde_json::from_str(link.details).unwrap_or_default();
                let rewards = rewards.get(&retraction_id).map_or(&[][..], Vec::as_slice);
                if details[ROW].as_str() != Some(&row_hash_with(tx, retraction_id, rewards)?) {
                    fault(format!(
                        "the row of retraction {retraction_id}, or its list of rewards, is not what was written"
                    ));
                }
            }
            let from = before.and_then(|before| before.state);
            if let (Some(from), Some(to)) = (from, state)
                && matches!(to, State::Planned | State::Sending | State::HandedOver | State::Superseded)
                && !from.may_become(to)
            {
                // The writer of this event saw an older state of the retraction, which would allow a second request.
                fault(format!("{} may not follow {}", to.as_str(), from.as_str()));
            }
            let state = state.or(from);
            self.newest.insert(retraction_id, Newest { event: id, state });
        }
        // The verification continues from the stored hash, so that one altered row is only one fault.
        self.before = stored.try_into().unwrap_or(computed);
        self.at = id;
        Ok(())
    }
}

/// Returns the hash of one event, in hexadecimal.
pub(super) fn hash_at(tx: &Tx<'_>, sequence: i64) -> Result<Option<String>, DbError> {
    tx.opt("SELECT hash FROM events WHERE id = ?1", &[&sequence], |row| Ok(hex(&row.get::<Hash>(0)?)))
}
