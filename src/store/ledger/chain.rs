//! The chain: every event holds a hash over itself and the one before it, the first event of a retraction also one over the
//! retraction's row.
//!
//! An altered, removed, added or reordered row is found at its number. A bare chain cannot tell that its tail was cut or that
//! all of it was written anew: for that somebody must have kept a [`Head`], and every receipt has one. This module computes
//! and compares; it must never write.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::before_send::Newest;
use super::{State, hex, main_file};

/// A hash of the chain.
pub(super) type Hash = [u8; 32];

/// How far the ledger is: what a receipt carries, and what an index remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Head {
    /// The number of the newest event; 0 in an empty ledger.
    pub sequence: i64,
    /// Its hash, in hexadecimal.
    pub hash: String,
}

/// What the chain says of the whole ledger.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// The ledger's own name.
    pub ledger_id: String,
    /// Events that were checked.
    pub events: u64,
    /// Retractions that were checked.
    pub retractions: u64,
    /// Personal values that are there and fit their commitments.
    pub personal_kept: u64,
    /// How far the ledger is.
    pub head: Head,
    /// What is wrong, in the order of the events.
    pub faults: Vec<Fault>,
    /// What no hash covers, as sentences.
    pub outside_chain: &'static [&'static str],
}

/// What the file holds beside the chain, and what is known of it all the same.
const OUTSIDE: &[&str] = &[
    "whom the ledger belongs to, and the mark of a copy: every command compares the first with the settings",
    "that a personal value is there: each one fits its commitment, and one that is missing reads as forgotten",
    "tombstones of forgotten accounts, and the list of refunds that wait for their orders",
    "SQLite's indexes: its integrity check compares them with the tables",
];

/// One place where the ledger is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The event at which it shows; `null` where it is not in an event.
    pub sequence: Option<i64>,
    /// The retraction that it concerns.
    pub retraction: Option<i64>,
    /// A sentence.
    pub what: String,
}

/// A row of `events` as the hash sees it.
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
    /// The hash of this row after `before`.
    pub fn hash(&self, before: &Hash) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(b"recoup event 1\n");
        context.update(before);
        context.update(&self.id.to_be_bytes());
        // A retraction's number is never 0.
        context.update(&self.retraction_id.unwrap_or(0).to_be_bytes());
        let texts =
            [self.at, self.state.unwrap_or_default(), self.kind, self.message, self.details, self.person, self.host];
        for text in texts {
            field(&mut context, Some(text));
        }
        finish(context)
    }
}

/// Length first, so that no two rows are the same bytes; nothing and empty text differ.
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

/// What stands before the first event.
pub(super) fn genesis(ledger_id: &str) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup ledger 1\n");
    field(&mut context, Some(ledger_id));
    finish(context)
}

/// The hash of the newest event.
pub(super) fn newest(conn: &Connection) -> rusqlite::Result<(i64, Hash)> {
    let newest = conn
        .prepare_cached("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match newest {
        Some(newest) => Ok(newest),
        None => Ok((0, genesis(&super::ledger_id(conn)?))),
    }
}

/// The key of a first event's details under which the hash of the retraction's row stands.
pub(super) const ROW: &str = "row";

/// The rewards that each retraction takes back, in the order of their IDs; every row of the table is read.
pub(super) fn rewards_by_retraction(conn: &Connection) -> rusqlite::Result<BTreeMap<i64, Vec<String>>> {
    let mut rewards: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut select = conn.prepare_cached("SELECT retraction_id, reward_id FROM retraction_rewards")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        rewards.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    for of in rewards.values_mut() {
        of.sort();
    }
    Ok(rewards)
}

/// A hash over a retraction's row and the rewards that it takes back.
pub(super) fn row_hash(conn: &Connection, retraction_id: i64) -> rusqlite::Result<String> {
    let mut rewards =
        conn.prepare_cached("SELECT reward_id FROM retraction_rewards WHERE retraction_id = ?1 ORDER BY reward_id")?;
    let rewards: Vec<String> = rewards.query_map([retraction_id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    row_hash_with(conn, retraction_id, &rewards)
}

fn row_hash_with(conn: &Connection, retraction_id: i64, rewards: &[String]) -> rusqlite::Result<String> {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup retraction 1\n");
    context.update(&retraction_id.to_be_bytes());
    let columns = conn
        .prepare_cached(
            "SELECT road, target, CAST(attempt AS TEXT), order_id, action_id, action_tracker_id, program_id, disposition, reason,
                 ticket, batch, person, host, created_at, plan FROM retractions WHERE id = ?1",
        )?
        .query_row([retraction_id], |row| (0..15).map(|n| row.get(n)).collect::<rusqlite::Result<Vec<Option<String>>>>())
        .optional()?;
    for column in columns.iter().flatten() {
        field(&mut context, column.as_deref());
    }
    for reward in rewards {
        field(&mut context, Some(reward));
    }
    Ok(hex(&finish(context)))
}

/// Goes through the whole chain. `expected` is a head that somebody kept, on a receipt for example.
pub(super) fn audit(conn: &Connection, expected: Option<&str>) -> rusqlite::Result<Audit> {
    let ledger_id = super::ledger_id(conn)?;
    let mut walk = Walk::from_the_beginning(conn)?;
    let seen = walk.go_on(conn, &rewards_by_retraction(conn)?, expected)?;
    let Walk { before, at, newest, mut faults } = walk;
    let mut retractions = 0;
    let mut ids = conn.prepare("SELECT id FROM retractions ORDER BY id")?;
    for id in ids.query_map([], |row| row.get::<_, i64>(0))? {
        let id = id?;
        retractions += 1;
        if !newest.contains_key(&id) {
            faults.push(Fault {
                sequence: None,
                retraction: Some(id),
                what: "this retraction has no first event".to_owned(),
            });
        }
    }
    let personal_kept = super::seal::check(conn, &mut faults)?;
    if let Some(expected) = expected
        && !seen
    {
        let what = format!("no event has the hash {expected}: the tail was cut, or the ledger was written anew since");
        faults.push(Fault { sequence: None, retraction: None, what });
    }
    if let Some(what) = main_file::gap(conn, at, &before)? {
        faults.push(Fault { sequence: None, retraction: None, what });
    }
    let head = Head { sequence: at, hash: hex(&before) };
    let events = at.max(0) as u64;
    Ok(Audit { ledger_id, events, retractions, personal_kept, head, faults, outside_chain: OUTSIDE })
}

/// The chain as it is computed from the table, event by event.
#[derive(Debug)]
pub(super) struct Walk {
    /// The hash of the newest event that was read.
    pub before: Hash,
    /// Its number.
    pub at: i64,
    /// Where each retraction stands by the events that were read.
    pub newest: BTreeMap<i64, Newest>,
    /// What is wrong, in the order of the events.
    pub faults: Vec<Fault>,
}

impl Walk {
    /// Before the first event.
    pub fn from_the_beginning(conn: &Connection) -> rusqlite::Result<Self> {
        let before = genesis(&super::ledger_id(conn)?);
        Ok(Self { before, at: 0, newest: BTreeMap::new(), faults: Vec::new() })
    }

    /// Whether the table has the newest event that was read, as it was.
    pub fn still_holds(&self, conn: &Connection) -> rusqlite::Result<bool> {
        Ok(self.at == 0 || hash_at(conn, self.at)?.as_deref() == Some(&hex(&self.before)))
    }

    /// Reads the events that come next; gives whether one of them has the hash `expected`.
    pub fn go_on(
        &mut self,
        conn: &Connection,
        rewards: &BTreeMap<i64, Vec<String>>,
        expected: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let mut events = conn.prepare_cached(
            "SELECT id, retraction_id, at, state, kind, message, details, person, host, hash FROM events NOT INDEXED
             WHERE id > ?1 ORDER BY id",
        )?;
        let mut rows = events.query([self.at])?;
        let mut seen = false;
        while let Some(row) = rows.next()? {
            self.event(conn, row, rewards)?;
            seen |= expected.is_some_and(|expected| expected.eq_ignore_ascii_case(&hex(&self.before)));
        }
        Ok(seen)
    }

    fn event(
        &mut self,
        conn: &Connection,
        row: &Row<'_>,
        rewards: &BTreeMap<i64, Vec<String>>,
    ) -> rusqlite::Result<()> {
        let text = |n: usize| row.get_ref(n).and_then(|value| Ok(value.as_str_or_null()?.unwrap_or_default()));
        let (id, retraction_id): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let link = Link {
            id,
            retraction_id,
            at: text(2)?,
            state: row.get_ref(3)?.as_str_or_null()?,
            kind: text(4)?,
            message: text(5)?,
            details: text(6)?,
            person: text(7)?,
            host: text(8)?,
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
                if details[ROW].as_str() != Some(&row_hash_with(conn, retraction_id, rewards)?) {
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
                // Written by a process that was shown an older state: it would let the action out again.
                fault(format!("{} may not follow {}", to.as_str(), from.as_str()));
            }
            let state = state.or(from);
            self.newest.insert(retraction_id, Newest { event: id, state });
        }
        // What follows is judged by what is stored, so that one altered row is one fault.
        self.before = stored.try_into().unwrap_or(computed);
        self.at = id;
        Ok(())
    }
}

/// The hash of one event, in hexadecimal.
pub(super) fn hash_at(conn: &Connection, sequence: i64) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT hash FROM events WHERE id = ?1")?
        .query_row(params![sequence], |row| row.get::<_, Hash>(0))
        .optional()
        .map(|hash| hash.map(|hash| hex(&hash)))
}
