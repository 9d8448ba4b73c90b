//! Summaries of all retractions: their states and the readings of their rewards.
//!
//! Summaries are for queries over thousands of retractions that do not need plans or event messages. Summaries contain
//! no personal data, because this module does not resolve commitments. Summarising never writes to the ledger.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::rows::{channel_of, state_of};
use super::{Channel, Ledger, State};
use crate::error::Result;
use crate::model::{ActionId, OrderId};
use crate::store::db::{DbError, Row};

/// The summary of one retraction.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    pub id: i64,
    pub channel: Channel,
    /// The order ID of the retraction, empty if the order is unknown.
    pub order_id: OrderId,
    /// The ActionId; `None` if the request uses the order ID and action tracker instead.
    pub action_id: Option<ActionId>,
    pub created_at: Timestamp,
    pub state: State,
    /// When the retraction entered its current state.
    pub since: Timestamp,
    /// The readings of the rewards, oldest first. The first reading of the rewards precedes the request.
    pub readings: Vec<Reading>,
}

/// The rewards of a retraction at the time of one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub at: Timestamp,
    pub rewards: Vec<SeenReward>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenReward {
    pub reward_id: String,
    /// The reward's state in the vendor's words, or `missing`.
    pub state: String,
    #[serde(default)]
    pub unit: Option<String>,
    /// The earned amount of the reward, in `unit`.
    #[serde(default)]
    pub assigned: Option<i64>,
    /// The redeemed part of the reward's amount, in `unit`.
    #[serde(default)]
    pub redeemed: Option<i64>,
}

impl Ledger {
    /// Returns the summary of every retraction, oldest first. All summaries come from one state of the ledger.
    pub fn summaries(&self) -> Result<Vec<Outline>> {
        let retractions = "SELECT id, road, order_id, action_id, created_at, plan FROM retractions ORDER BY id";
        let events = "SELECT at, state, details FROM events WHERE retraction_id = ?1 ORDER BY id";
        self.conn.read(|tx| {
            let mut all = tx.rows(retractions, &[], |row| {
                let created_at = moment_of(row, 4)?;
                Ok(Outline {
                    id: row.get(0)?,
                    channel: channel_of(row, 1)?,
                    order_id: OrderId::new(row.get::<&str>(2)?),
                    action_id: row.get::<Option<&str>>(3)?.map(ActionId::new),
                    created_at,
                    state: State::Planned,
                    since: created_at,
                    readings: vec![Reading { at: created_at, rewards: rewards_of(row, 5)? }],
                })
            })?;
            for outline in &mut all {
                let id = outline.id;
                tx.each(events, &[&id], |event| outline.follow(event))?;
            }
            Ok(all)
        })
    }
}

impl Outline {
    fn follow(&mut self, event: &Row<'_>) -> Result<(), DbError> {
        let at = moment_of(event, 0)?;
        if event.get::<Option<&str>>(1)?.is_some() {
            let state = state_of(event, 1)?;
            // An event that repeats the state reports progress, and does not change the time of the state.
            if state != self.state {
                (self.state, self.since) = (state, at);
            }
        }
        let rewards = rewards_of(event, 2)?;
        if !rewards.is_empty() {
            self.readings.push(Reading { at, rewards });
        }
        Ok(())
    }
}

/// Returns the list under the key `rewards`. Returns an empty list if the key is missing or its value has another type.
fn rewards_of(row: &Row<'_>, column: usize) -> Result<Vec<SeenReward>, DbError> {
    let mut json: Value = serde_json::from_str(row.get(column)?).unwrap_or_default();
    let rewards = json.get_mut("rewards").map(Value::take).unwrap_or_default();
    Ok(serde_json::from_value(rewards).unwrap_or_default())
}

fn moment_of(row: &Row<'_>, column: usize) -> Result<Timestamp, DbError> {
    row.get::<&str>(column)?.parse().map_err(|error: jiff::Error| DbError::Damaged(error.to_string()))
}
