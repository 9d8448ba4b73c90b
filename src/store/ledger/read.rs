//! Questions to the ledger. Nothing here writes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::params;
use serde_json::json;

use super::rows::{EVENT, RETRACTION, read_event, read_retraction, state_of};
use super::{Audit, Event, Head, LAYOUT, Ledger, Retraction, Road, State, chain, hex};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};
use crate::store::sql_error;

/// The newest state of a retraction `r`.
const STANDS: &str =
    "(SELECT e.state FROM events e WHERE e.retraction_id = r.id AND e.state IS NOT NULL ORDER BY e.id DESC LIMIT 1)";

impl Ledger {
    /// One retraction by its number.
    pub fn get(&self, id: i64) -> Result<Retraction> {
        self.select("WHERE r.id = ?1", params![id])?.pop().ok_or_else(|| {
            Error::new(Kind::Failed, format!("there is no retraction {id} in this ledger"))
                .hint("`recoup status` lists the open ones")
        })
    }

    /// The newest attempt to take a target back by the API.
    pub fn newest(&self, target: &Target) -> Result<Option<Retraction>> {
        Ok(self.attempts(target)?.pop())
    }

    /// Every attempt to take a target back by the API, oldest first.
    pub fn attempts(&self, target: &Target) -> Result<Vec<Retraction>> {
        self.attempts_by(Road::Reversal, &target.key())
    }

    /// Every attempt on a target by one road, oldest first. On the road of single rewards the target is the reward ID.
    pub fn attempts_by(&self, road: Road, target: &str) -> Result<Vec<Retraction>> {
        self.select("WHERE r.target = ?1", params![road.key(target)])
    }

    /// Every retraction of an order, by whatever road, oldest first.
    pub fn of_order(&self, order_id: &OrderId) -> Result<Vec<Retraction>> {
        self.select("WHERE r.order_id = ?1", params![order_id.as_str()])
    }

    /// Every retraction that takes one of these rewards back, by whatever road, oldest first.
    pub fn of_rewards(&self, rewards: &[RewardId]) -> Result<Vec<Retraction>> {
        let ids: Vec<&str> = rewards.iter().map(RewardId::as_str).collect();
        self.select(
            "WHERE r.id IN (SELECT retraction_id FROM retraction_rewards WHERE reward_id IN (SELECT value FROM json_each(?1)))",
            params![json!(ids).to_string()],
        )
    }

    /// Every retraction, oldest first.
    pub fn all(&self) -> Result<Vec<Retraction>> {
        self.select("", params![])
    }

    /// Retractions that were written down and not sent, oldest first: a crash, or credentials that were refused.
    pub fn unsent_ones(&self) -> Result<Vec<Retraction>> {
        self.select(&format!("WHERE {STANDS} = 'planned'"), params![])
    }

    /// Retractions that are not at an end, oldest first.
    pub fn open_ones(&self) -> Result<Vec<Retraction>> {
        self.select(
            &format!("WHERE {STANDS} IN ('sending', 'queued', 'unknown', 'unconfirmed', 'handed_over')"),
            params![],
        )
    }

    /// How many retractions are in each state, without those whose place another one took.
    pub fn counts(&self) -> Result<Vec<(State, u64)>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT e.state, count(*) FROM events e
                 WHERE e.id IN (SELECT max(id) FROM events WHERE state IS NOT NULL GROUP BY retraction_id)
                     AND e.retraction_id IS NOT NULL AND e.state <> 'superseded'
                 GROUP BY e.state",
            )?;
            let rows = statement.query_map([], |row| Ok((state_of(row, 0)?, row.get::<_, i64>(1)? as u64)))?;
            rows.collect()
        })
    }

    /// Whether anything was ever confirmed here: a tenant's first retraction gets the program rule explained.
    pub fn has_confirmed(&self) -> Result<bool> {
        self.read(|conn| {
            conn.query_row("SELECT EXISTS (SELECT 1 FROM events WHERE state IN ('confirmed', 'partial'))", [], |row| {
                row.get(0)
            })
        })
    }

    /// Programs in which a reversal was confirmed since then.
    pub fn confirmed_programs(&self, since: Timestamp) -> Result<BTreeSet<String>> {
        self.read(|conn| {
            let mut programs = conn.prepare_cached(
                "SELECT DISTINCT coalesce(r.program_id, '') FROM events e JOIN retractions r ON r.id = e.retraction_id
                 WHERE e.state IN ('confirmed', 'partial') AND e.at >= ?1 AND r.road = 'reversal'",
            )?;
            programs.query_map([super::text(since)], |row| row.get(0))?.collect()
        })
    }

    /// The ledger's own name, made at random with its file: an index remembers it, and refuses another.
    pub fn ledger_id(&self) -> Result<String> {
        self.read(super::ledger_id)
    }

    /// How far it is: an index or a receipt that has seen more knows that this is an older copy.
    pub fn head(&self) -> Result<Head> {
        self.read(|conn| {
            let (sequence, hash) = chain::newest(conn)?;
            Ok(Head { sequence, hash: hex(&hash) })
        })
    }

    /// The hash of one event, in hexadecimal; `None` where there is none of that number.
    pub fn hash_at(&self, sequence: i64) -> Result<Option<String>> {
        self.read(|conn| chain::hash_at(conn, sequence))
    }

    /// Computes the whole chain again; `expected` is the hash of a head that somebody has kept.
    pub fn audit(&self, expected: Option<&str>) -> Result<Audit> {
        self.read(|conn| {
            // One moment of the ledger: others append while this reads.
            let tx = conn.unchecked_transaction()?;
            chain::audit(&tx, expected)
        })
    }

    /// What concerns the ledger as a whole, oldest first: `each` gets one event at a time.
    pub fn ledger_events(&self) -> Result<Vec<Event>> {
        self.read(|conn| {
            let mut events =
                conn.prepare_cached(&format!("SELECT {EVENT} FROM events WHERE retraction_id IS NULL ORDER BY id"))?;
            events.query_map([], |row| read_event(conn, row, State::Planned))?.collect()
        })
    }

    /// A question, with its failure in the user's words.
    pub(super) fn read<T>(&self, work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.conn()).map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    fn select(&self, filter: &str, values: impl rusqlite::Params) -> Result<Vec<Retraction>> {
        self.read(|conn| {
            let mut statement =
                conn.prepare_cached(&format!("SELECT {RETRACTION} FROM retractions r {filter} ORDER BY r.id"))?;
            let mut found: Vec<Retraction> =
                statement.query_map(values, |row| read_retraction(conn, row))?.collect::<rusqlite::Result<_>>()?;
            let mut events =
                conn.prepare_cached(&format!("SELECT {EVENT} FROM events WHERE retraction_id = ?1 ORDER BY id"))?;
            for retraction in &mut found {
                let mut rows = events.query([retraction.id])?;
                while let Some(row) = rows.next()? {
                    let event = read_event(conn, row, retraction.state)?;
                    retraction.state = event.state;
                    retraction.events.push(event);
                }
            }
            Ok(found)
        })
    }
}
