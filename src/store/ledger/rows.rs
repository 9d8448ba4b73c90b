//! A retraction and its events, as they are written and as they are read.

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::Value;

use super::State;
use super::seal::{unseal, unseal_text};
use crate::model::{ActionId, OrderId, RewardId, Target};

/// The way by which the vendor hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    /// `DELETE /Actions`: the whole action is taken back.
    Reversal,
    /// `PUT /Actions`: the action is changed, after a partial refund.
    Modification,
    /// A line of a reversal file that the operator hands in.
    File,
    /// `POST /reward/{id}/cancel`: one reward, and not the action.
    Reward,
}

impl Road {
    const ALL: [Self; 4] = [Self::Reversal, Self::Modification, Self::File, Self::Reward];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reversal => "reversal",
            Self::Modification => "modification",
            Self::File => "file",
            Self::Reward => "reward",
        }
    }

    /// Whether it takes the whole action back, so that two of these must never go out for one action.
    pub fn takes_all_back(self) -> bool {
        matches!(self, Self::Reversal | Self::File)
    }

    /// What is unique for the vendor, by this road.
    pub(super) fn key(self, target: &str) -> String {
        match self {
            Self::Reversal => target.to_owned(),
            other => format!("{}:{target}", other.as_str()),
        }
    }
}

/// A retraction to be written down.
#[derive(Debug, Clone)]
pub struct NewRetraction {
    /// How the vendor hears of it.
    pub road: Road,
    /// What is taken back.
    pub target: Target,
    /// The order it is for.
    pub order_id: OrderId,
    /// The code that goes to the vendor.
    pub disposition: String,
    /// A person's words.
    pub reason: Option<String>,
    /// A ticket.
    pub ticket: Option<String>,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// The program of the rewards, where they name one.
    pub program_id: Option<String>,
    /// The rewards that it takes back.
    pub rewards: Vec<RewardId>,
    /// The rewards as they were before, coverage, warnings.
    pub plan: Value,
}

impl NewRetraction {
    /// The key under which the ledger allows one dispatch.
    pub fn key(&self) -> String {
        match (self.road, self.rewards.first()) {
            (Road::Reward, Some(reward)) => self.road.key(reward.as_str()),
            _ => self.road.key(&self.target.key()),
        }
    }
}

/// A retraction with its events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retraction {
    /// Its number in this ledger.
    pub id: i64,
    /// The order it is for.
    pub order_id: OrderId,
    /// How the vendor hears of it.
    pub road: Road,
    /// The action, unless it went out by order ID and action tracker.
    pub action_id: Option<ActionId>,
    /// The action tracker of the fallback.
    pub action_tracker_id: Option<String>,
    /// Where it stands.
    pub state: State,
    /// 1 unless a person sent it again.
    pub attempt: i64,
    /// The program of the rewards, where they name one.
    pub program_id: Option<String>,
    /// The batch it belongs to.
    pub batch: Option<String>,
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

    /// When it was sent, RFC 3339; `None` where nothing went out.
    pub fn sent_at(&self) -> Option<&str> {
        let sent = |event: &&Event| event.state == State::Sending && event.changes_state();
        self.events.iter().rfind(sent).map(|event| event.at.as_str())
    }

    /// The newest sentence about where it stands; notes are about something else.
    pub fn message(&self) -> &str {
        self.events.iter().rfind(|event| event.changes_state()).map_or("", |event| event.message.as_str())
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
    /// `state`, or what else was written down while the state stayed as it was.
    pub kind: String,
    /// A sentence for the receipt.
    pub message: String,
    /// What was sent, what came back, what was read.
    pub details: Value,
    /// Who ran the command that wrote this.
    pub person: String,
    /// Where.
    pub host: String,
}

impl Event {
    /// When, as a moment; `None` where that cannot be read.
    pub fn moment(&self) -> Option<Timestamp> {
        self.at.parse().ok()
    }

    /// Whether it says where the retraction stands, and is not a note beside that.
    pub fn changes_state(&self) -> bool {
        self.kind == super::STATE
    }
}

/// The columns that [`read_retraction`] reads.
pub(super) const RETRACTION: &str =
    "r.id, r.road, r.order_id, r.action_id, r.action_tracker_id, r.attempt, r.program_id, r.batch,
     r.disposition, r.reason, r.ticket, r.person, r.host, r.created_at, r.plan";

pub(super) fn read_retraction(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<Retraction> {
    let reason: Option<String> = row.get(9)?;
    Ok(Retraction {
        id: row.get(0)?,
        road: word_of(row, 1, Road::ALL.into_iter(), Road::as_str)?,
        order_id: OrderId::new(row.get::<_, String>(2)?),
        action_id: row.get::<_, Option<String>>(3)?.map(ActionId::new),
        action_tracker_id: row.get(4)?,
        state: State::Planned,
        attempt: row.get(5)?,
        program_id: row.get(6)?,
        batch: row.get(7)?,
        disposition: row.get(8)?,
        reason: reason.map(|reason| unseal_text(conn, &reason)).transpose()?,
        ticket: row.get(10)?,
        person: row.get(11)?,
        host: row.get(12)?,
        created_at: row.get(13)?,
        plan: unseal(conn, &json_of(row, 14)?)?,
        events: Vec::new(),
    })
}

/// The columns that [`read_event`] reads.
pub(super) const EVENT: &str = "id, at, state, kind, message, details, person, host";

/// An event; `before` is the state that it leaves as it was, where it has none of its own.
pub(super) fn read_event(conn: &Connection, row: &Row<'_>, before: State) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get(0)?,
        at: row.get(1)?,
        state: if row.get_ref(2)?.as_str_or_null()?.is_some() { state_of(row, 2)? } else { before },
        kind: row.get(3)?,
        message: row.get(4)?,
        details: unseal(conn, &json_of(row, 5)?)?,
        person: row.get(6)?,
        host: row.get(7)?,
    })
}

pub(super) fn state_of(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    word_of(row, column, State::ALL.into_iter(), State::as_str)
}

pub(super) fn road_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Road> {
    word_of(row, column, Road::ALL.into_iter(), Road::as_str)
}

fn word_of<T: Copy>(
    row: &Row<'_>,
    column: usize,
    mut all: impl Iterator<Item = T>,
    word: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    all.find(|one| word(*one) == text).ok_or_else(|| conversion(column, format!("unknown word {text:?}")))
}

fn json_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| conversion(column, error.to_string()))
}

fn conversion(column: usize, message: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, message.into())
}
