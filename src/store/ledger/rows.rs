//! A retraction and its events, as they are written and as they are read.

use rusqlite::Row;
use serde::Serialize;
use serde_json::Value;

use super::State;
use crate::model::{ActionId, OrderId, RewardId, Target};

/// A retraction to be written down.
#[derive(Debug, Clone)]
pub struct NewRetraction {
    /// What is taken back.
    pub target: Target,
    /// 1, or one more than the attempt that the vendor refused.
    pub attempt: i64,
    /// The order it is for.
    pub order_id: OrderId,
    /// The code that goes to the vendor.
    pub disposition: String,
    /// A person's words.
    pub reason: Option<String>,
    /// A ticket.
    pub ticket: Option<String>,
    /// Who runs this.
    pub person: String,
    /// Where.
    pub host: String,
    /// The rewards that it takes back.
    pub rewards: Vec<RewardId>,
    /// The rewards as they were before, coverage, warnings.
    pub plan: Value,
}

/// A retraction with its events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retraction {
    /// Its number in this ledger.
    pub id: i64,
    /// The order it is for.
    pub order_id: OrderId,
    /// The action, unless it went out by order ID and action tracker.
    pub action_id: Option<ActionId>,
    /// The action tracker of the fallback.
    pub action_tracker_id: Option<String>,
    /// Where it stands.
    pub state: State,
    /// 1 unless a person sent again what was refused.
    pub attempt: i64,
    /// The code that went to the vendor.
    pub disposition: String,
    /// A person's words.
    pub reason: Option<String>,
    /// A ticket.
    pub ticket: Option<String>,
    /// Who.
    pub person: String,
    /// Where.
    pub host: String,
    /// When it was written down, RFC 3339.
    pub created_at: String,
    /// Rewards before, coverage, warnings.
    pub plan: Value,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

impl Retraction {
    /// The newest value of a key in the events' details.
    pub fn detail(&self, key: &str) -> Option<&Value> {
        self.events.iter().rev().find_map(|event| event.details.get(key).filter(|value| !value.is_null()))
    }

    /// The newest text value of a key in the events' details.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.detail(key).and_then(Value::as_str)
    }

    /// The same words for the vendor.
    pub fn target(&self) -> Target {
        match (&self.action_id, &self.action_tracker_id) {
            (None, Some(tracker)) => {
                Target::Order { order_id: self.order_id.clone(), action_tracker_id: tracker.clone() }
            }
            (Some(action_id), _) => Target::Action(action_id.clone()),
            (None, None) => Target::Order { order_id: self.order_id.clone(), action_tracker_id: String::new() },
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its number in this ledger.
    pub id: i64,
    /// When, RFC 3339.
    pub at: String,
    /// The state from here on.
    pub state: State,
    /// A sentence for the receipt.
    pub message: String,
    /// What was sent, what came back, what was read.
    pub details: Value,
}

pub(super) fn read_retraction(row: &Row<'_>) -> rusqlite::Result<Retraction> {
    Ok(Retraction {
        id: row.get(0)?,
        order_id: OrderId::new(row.get::<_, String>(1)?),
        action_id: row.get::<_, Option<String>>(2)?.map(ActionId::new),
        action_tracker_id: row.get(3)?,
        state: State::Planned,
        attempt: row.get(4)?,
        disposition: row.get(5)?,
        reason: row.get(6)?,
        ticket: row.get(7)?,
        person: row.get(8)?,
        host: row.get(9)?,
        created_at: row.get(10)?,
        plan: json_of(row, 11)?,
        events: Vec::new(),
    })
}

pub(super) fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get(0)?,
        at: row.get(1)?,
        state: state_of(row, 2)?,
        message: row.get(3)?,
        details: json_of(row, 4)?,
    })
}

pub(super) fn state_of(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let text: String = row.get(column)?;
    State::parse(&text).ok_or_else(|| conversion(column, format!("unknown state {text:?}")))
}

fn json_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| conversion(column, error.to_string()))
}

fn conversion(column: usize, message: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, message.into())
}
