//! The whole ledger at a glance: every retraction with where it stands and what was read of its rewards, one at a time.
//!
//! For questions about thousands of retractions at once, which need neither the whole plan nor every event in words. What is
//! personal is not even read: no account and no reason leaves here. Nothing here writes.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Deserialize;

use super::rows::{road_of, state_of};
use super::{Ledger, Road, State};
use crate::error::Result;
use crate::model::{ActionId, OrderId};

/// A retraction without its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Its number in this ledger.
    pub id: i64,
    /// How the vendor hears of it.
    pub road: Road,
    /// The order it is for; empty where nobody knows it.
    pub order_id: OrderId,
    /// The action, unless it went out by order ID and action tracker.
    pub action_id: Option<ActionId>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Since when it stands there.
    pub since: Timestamp,
    /// What was read of its rewards, oldest first; the first is from before anything was sent.
    pub readings: Vec<Reading>,
}

/// One look at the rewards of a retraction.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When it was written down.
    pub at: Timestamp,
    /// The rewards.
    pub rewards: Vec<SeenReward>,
}

/// One reward as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenReward {
    /// The reward.
    pub reward_id: String,
    /// The word of its state, or `missing`.
    pub state: String,
    /// Its unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// What was earned, in `unit`.
    #[serde(default)]
    pub assigned: Option<i64>,
    /// What of it was redeemed, in `unit`.
    #[serde(default)]
    pub redeemed: Option<i64>,
}

impl Ledger {
    /// Hands every retraction to `each`, oldest first, as of one moment.
    pub fn survey(&self, mut each: impl FnMut(Outline)) -> Result<()> {
        self.read(|conn| {
            let held = conn.unchecked_transaction()?;
            let mut retractions = held.prepare(
                "SELECT id, road, order_id, action_id, created_at, json_extract(plan, '$.rewards') FROM retractions ORDER BY id",
            )?;
            let mut events = held.prepare(
                "SELECT at, state, json_extract(details, '$.rewards') FROM events WHERE retraction_id = ?1 ORDER BY id",
            )?;
            let mut rows = retractions.query([])?;
            while let Some(row) = rows.next()? {
                let created_at = moment_of(row, 4)?;
                let mut outline = Outline {
                    id: row.get(0)?,
                    road: road_of(row, 1)?,
                    order_id: OrderId::new(row.get::<_, String>(2)?),
                    action_id: row.get::<_, Option<String>>(3)?.map(ActionId::new),
                    created_at,
                    state: State::Planned,
                    since: created_at,
                    readings: vec![Reading { at: created_at, rewards: rewards_of(row, 5)? }],
                };
                let mut events = events.query(params![outline.id])?;
                while let Some(event) = events.next()? {
                    outline.follow(event)?;
                }
                each(outline);
            }
            Ok(())
        })
    }
}

impl Outline {
    fn follow(&mut self, event: &Row<'_>) -> rusqlite::Result<()> {
        let at = moment_of(event, 0)?;
        if event.get_ref(1)?.as_str_or_null()?.is_some() {
            let state = state_of(event, 1)?;
            // What else is learnt on the way does not move it.
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

/// The rewards under that key; none where there is no such key, or where an event of another kind calls something else so.
fn rewards_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<SeenReward>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    Ok(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
}

fn moment_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
