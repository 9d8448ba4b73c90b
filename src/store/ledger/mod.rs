//! The ledger: retractions and what happened to them, append-only.
//!
//! A retraction is written once; its state is the state of its newest event. Every append names the event it follows, in
//! one immediate transaction, so that two processes can never both take a retraction from *planned* to *sending*. This
//! module must never change or remove a row, and must never let `sending` follow anything but `planned`.

mod rows;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde_json::{Value, json};

use super::{Identity, Layout, open_reader, open_writer, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};

pub use rows::{Event, NewRetraction, Retraction};
use rows::{read_event, read_retraction, state_of};
pub use state::State;

const LAYOUT: Layout = Layout {
    name: "ledger",
    schema: include_str!("../../../ledger.sql"),
    upgrades: &[],
    synchronous: "FULL",
    application_id: 0x7265_636C, // "recl"
};

/// The ledger, open.
#[derive(Debug)]
pub struct Ledger {
    conn: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens it for writing; creates it where it is missing.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self> {
        let conn = open_writer(path, &LAYOUT, identity)?;
        conn.execute(
            "INSERT INTO identity (key, value) VALUES ('ledger_id', lower(hex(randomblob(16)))) ON CONFLICT DO NOTHING",
            [],
        )
        .map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// Opens it for reading; `None` where nothing was ever retracted.
    pub fn open_read_only(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        Ok(open_reader(path, &LAYOUT, identity)?.map(|conn| Self { conn, path: path.to_owned() }))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a retraction down as *planned*, in place of one that was never sent where there is one. Durable when it returns.
    pub fn begin(
        &mut self,
        new: &NewRetraction,
        in_place_of: Option<&Retraction>,
        now: Timestamp,
    ) -> Result<Retraction> {
        let (action_id, tracker) = match &new.target {
            Target::Action(action_id) => (Some(action_id.as_str()), None),
            Target::Order { action_tracker_id, .. } => (None, Some(action_tracker_id.as_str())),
        };
        let path = self.path.clone();
        let id = self
            .transact(|tx| {
                if let Some(old) = in_place_of {
                    let why = "it was never sent; a later attempt takes its place";
                    insert_event(tx, old.id, State::Planned, why, &json!({ "abandoned": true }), now)?;
                }
                tx.execute(
                    "INSERT INTO retractions (target, attempt, order_id, action_id, action_tracker_id, disposition, reason,
                         ticket, person, host, created_at, plan)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                    params![
                        new.target.key(),
                        new.attempt,
                        new.order_id.as_str(),
                        action_id,
                        tracker,
                        new.disposition,
                        new.reason,
                        new.ticket,
                        new.person,
                        new.host,
                        text(now),
                        new.plan.to_string()
                    ],
                )?;
                let id = tx.last_insert_rowid();
                let mut insert = tx.prepare_cached(
                    "INSERT INTO retraction_rewards (reward_id, retraction_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?;
                for reward_id in &new.rewards {
                    insert.execute(params![reward_id.as_str(), id])?;
                }
                insert_event(tx, id, State::Planned, "written down; nothing sent yet", &Value::Null, now)?;
                Ok(id)
            })
            .map_err(|error| sql_error(&error, &LAYOUT, &path))?;
        self.get(id)
    }

    /// Appends an event after the newest one that `retraction` has; gives the retraction as it is then.
    ///
    /// [`Kind::Busy`] where another process was faster, and where the step is not allowed from there.
    pub fn append(
        &mut self,
        retraction: &Retraction,
        state: State,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        let path = self.path.clone();
        let newest = retraction.events.last().map(|event| event.id);
        let appended = self
            .transact(|tx| {
                let found: Option<(i64, String)> = tx
                    .query_row(
                        "SELECT id, state FROM events WHERE retraction_id = ?1 ORDER BY id DESC LIMIT 1",
                        [retraction.id],
                        |row| Ok((row.get(0)?, row.get(1)?)),
                    )
                    .optional()?;
                let Some((id, text)) = found else { return Ok(false) };
                let allowed = State::parse(&text).is_some_and(|from| from.may_become(state));
                if Some(id) != newest || !allowed {
                    return Ok(false);
                }
                insert_event(tx, retraction.id, state, message, details, now)?;
                Ok(true)
            })
            .map_err(|error| sql_error(&error, &LAYOUT, &path))?;
        if !appended {
            return Err(Error::new(
                Kind::Busy,
                format!("retraction {} was carried on by another process meanwhile", retraction.id),
            )
            .hint("run `recoup verify` to see where it stands"));
        }
        tracing::info!(retraction = retraction.id, state = state.as_str(), "{message}");
        self.get(retraction.id)
    }

    /// One retraction by its number.
    pub fn get(&self, id: i64) -> Result<Retraction> {
        self.select("WHERE r.id = ?1", params![id])?.pop().ok_or_else(|| {
            Error::new(Kind::Failed, format!("there is no retraction {id} in this ledger"))
                .hint("`recoup status` lists the open ones")
        })
    }

    /// The newest attempt on a target.
    pub fn newest(&self, target: &Target) -> Result<Option<Retraction>> {
        Ok(self.select("WHERE r.target = ?1", params![target.key()])?.pop())
    }

    /// Every attempt on a target, oldest first.
    pub fn attempts(&self, target: &Target) -> Result<Vec<Retraction>> {
        self.select("WHERE r.target = ?1", params![target.key()])
    }

    /// The number of its newest event: an index that has seen a higher one knows that this is an older copy.
    pub fn head(&self) -> Result<i64> {
        self.conn
            .query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))
            .map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Every retraction of an order, oldest first.
    pub fn of_order(&self, order_id: &OrderId) -> Result<Vec<Retraction>> {
        self.select("WHERE r.order_id = ?1", params![order_id.as_str()])
    }

    /// Every retraction that takes one of these rewards back, oldest first.
    pub fn of_rewards(&self, rewards: &[RewardId]) -> Result<Vec<Retraction>> {
        let ids: Vec<&str> = rewards.iter().map(RewardId::as_str).collect();
        self.select(
            "WHERE r.id IN (SELECT retraction_id FROM retraction_rewards WHERE reward_id IN (SELECT value FROM json_each(?1)))",
            params![json!(ids).to_string()],
        )
    }

    /// The ledger's own name, made at random with its file: an index remembers it, and refuses another.
    pub fn ledger_id(&self) -> Result<String> {
        self.conn
            .query_row("SELECT value FROM identity WHERE key = 'ledger_id'", [], |row| row.get(0))
            .map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Every retraction, oldest first.
    pub fn all(&self) -> Result<Vec<Retraction>> {
        self.select("", params![])
    }

    /// Retractions that were written down and not sent, oldest first: a crash, or credentials that were refused.
    pub fn unsent_ones(&self) -> Result<Vec<Retraction>> {
        self.select(
            "WHERE EXISTS (SELECT 1 FROM events e WHERE e.retraction_id = r.id AND e.state = 'planned'
                 AND e.details ->> '$.abandoned' IS NULL
                 AND e.id = (SELECT max(id) FROM events WHERE retraction_id = r.id))",
            params![],
        )
    }

    /// Retractions that are not at an end, oldest first.
    pub fn open_ones(&self) -> Result<Vec<Retraction>> {
        self.select(
            "WHERE (SELECT e.state FROM events e WHERE e.retraction_id = r.id ORDER BY e.id DESC LIMIT 1)
                 IN ('sending', 'queued', 'unknown', 'unconfirmed')",
            params![],
        )
    }

    /// How many retractions are in each state.
    pub fn counts(&self) -> Result<Vec<(State, u64)>> {
        let run = || -> rusqlite::Result<Vec<(State, u64)>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT e.state, count(*) FROM events e
                 WHERE e.id = (SELECT max(id) FROM events WHERE retraction_id = e.retraction_id)
                     AND e.details ->> '$.abandoned' IS NULL
                 GROUP BY e.state",
            )?;
            let rows = statement.query_map([], |row| Ok((state_of(row, 0)?, row.get::<_, i64>(1)? as u64)))?;
            rows.collect()
        };
        run().map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Whether anything was ever confirmed here: a tenant's first retraction gets the program rule explained.
    pub fn has_confirmed(&self) -> Result<bool> {
        self.conn
            .query_row("SELECT EXISTS (SELECT 1 FROM events WHERE state IN ('confirmed', 'partial'))", [], |row| {
                row.get(0)
            })
            .map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    fn transact<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&tx)?;
        tx.commit()?;
        Ok(value)
    }

    fn select(&self, filter: &str, values: impl rusqlite::Params) -> Result<Vec<Retraction>> {
        let run = || -> rusqlite::Result<Vec<Retraction>> {
            let mut statement = self.conn.prepare_cached(&format!(
                "SELECT r.id, r.order_id, r.action_id, r.action_tracker_id, r.attempt, r.disposition, r.reason, r.ticket,
                     r.person, r.host, r.created_at, r.plan FROM retractions r {filter} ORDER BY r.id"
            ))?;
            let mut found: Vec<Retraction> = statement.query_map(values, read_retraction)?.collect::<Result<_, _>>()?;
            let mut events = self.conn.prepare_cached(
                "SELECT id, at, state, message, details FROM events WHERE retraction_id = ?1 ORDER BY id",
            )?;
            for retraction in &mut found {
                retraction.events =
                    events.query_map([retraction.id], read_event)?.collect::<Result<_, rusqlite::Error>>()?;
                if let Some(newest) = retraction.events.last() {
                    retraction.state = newest.state;
                }
            }
            Ok(found)
        };
        run().map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

fn insert_event(
    conn: &Connection,
    retraction: i64,
    state: State,
    message: &str,
    details: &Value,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO events (retraction_id, at, state, message, details) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![retraction, text(now), state.as_str(), message, details.to_string()])
        .map(drop)
}

/// Milliseconds are enough for a person, and sort as text.
fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}
