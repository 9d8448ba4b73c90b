//! The types of retractions and events, and the code that reads them from rows.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::State;
use super::redaction::{restore, restore_text};
use crate::model::{ActionId, OrderId, RewardId, Target};
use crate::store::db::{DbError, Row, Tx};

/// The means by which a request reaches the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// `DELETE /Actions` reverses the whole action.
    Reversal,
    /// `PUT /Actions` changes the action after a partial refund.
    Modification,
    /// A line of a reversal file, which the operator uploads to the vendor.
    File,
    /// `POST /reward/{id}/cancel` cancels one reward, but not the action.
    Reward,
}

impl Channel {
    const ALL: [Self; 4] = [Self::Reversal, Self::Modification, Self::File, Self::Reward];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reversal => "reversal",
            Self::Modification => "modification",
            Self::File => "file",
            Self::Reward => "reward",
        }
    }

    /// Returns `true` if this channel reverses the whole action. recoup must never send two such requests for one
    /// action.
    pub fn takes_all_back(self) -> bool {
        matches!(self, Self::Reversal | Self::File)
    }

    /// Returns the key of a target for this channel. The ledger allows one open request for each target key.
    pub(super) fn key(self, target: &str) -> String {
        match self {
            Self::Reversal => target.to_owned(),
            other => format!("{}:{target}", other.as_str()),
        }
    }
}

#[derive(Debug, Clone)]
pub struct NewRetraction {
    pub channel: Channel,
    pub target: Target,
    pub order_id: OrderId,
    /// The disposition code to send to the vendor.
    pub disposition: String,
    /// The reason for the retraction, in a person's words.
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub batch: Option<String>,
    /// The program of the rewards; `None` if the rewards have no program.
    pub program_id: Option<String>,
    pub rewards: Vec<RewardId>,
    /// JSON with the previous state of the rewards, the coverage of the index, and the warnings.
    pub plan: Value,
}

impl NewRetraction {
    /// Returns the key of this request. The ledger allows one open request for each target key.
    pub fn key(&self) -> String {
        match (self.channel, self.rewards.first()) {
            (Channel::Reward, Some(reward)) => self.channel.key(reward.as_str()),
            _ => self.channel.key(&self.target.key()),
        }
    }
}

/// A retraction with its events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retraction {
    pub id: i64,
    pub order_id: OrderId,
    #[serde(rename = "road")]
    pub channel: Channel,
    /// The ActionId; `None` if the request uses the order ID and action tracker instead.
    pub action_id: Option<ActionId>,
    pub action_tracker_id: Option<String>,
    pub state: State,
    /// The number of the attempt: 1 for the first attempt, and 1 more for each resend.
    pub attempt: i64,
    /// The program of the rewards; `None` if the rewards have no program.
    pub program_id: Option<String>,
    pub batch: Option<String>,
    /// The disposition code for the vendor.
    pub disposition: String,
    /// The reason for the retraction, in a person's words.
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub person: String,
    pub host: String,
    /// When the retraction was recorded, RFC 3339.
    pub created_at: String,
    /// JSON with the previous state of the rewards, the coverage of the index, and the warnings.
    pub plan: Value,
    /// The events of the retraction, oldest first.
    pub events: Vec<Event>,
}

impl Retraction {
    /// Returns the newest value under a key in the details of the events.
    pub fn detail(&self, key: &str) -> Option<&Value> {
        self.events.iter().rev().find_map(|event| event.details.get(key).filter(|value| !value.is_null()))
    }

    /// Returns the newest text under a key in the details of the events.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.detail(key).and_then(Value::as_str)
    }

    /// Returns the newest reading of a reward after the send: its state in the words of [`crate::model::RewardState`] or `missing`,
    /// and the time of the reading, RFC 3339.
    pub fn newest_reading(&self, reward_id: &str) -> Option<(&str, &str)> {
        self.events.iter().rev().find_map(|event| {
            let mut rewards = event.details.get("rewards")?.as_array()?.iter();
            let reward = rewards.find(|reward| reward["reward_id"].as_str() == Some(reward_id))?;
            Some((reward["state"].as_str()?, event.at.as_str()))
        })
    }

    /// Returns the time at which recoup sent the request, RFC 3339; `None` if the retraction was not sent.
    pub fn sent_at(&self) -> Option<&str> {
        let sent = |event: &&Event| event.state == State::Sending && event.changes_state();
        self.events.iter().rfind(sent).map(|event| event.at.as_str())
    }

    /// Returns the message of the newest event that changed the state; an empty text if there is no such event.
    pub fn message(&self) -> &str {
        self.events.iter().rfind(|event| event.changes_state()).map_or("", |event| event.message.as_str())
    }

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

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    pub id: i64,
    /// The time of the event, RFC 3339.
    pub at: String,
    pub state: State,
    /// The kind of the event: `state`, or the kind of a note. A note leaves the retraction's state unchanged.
    pub kind: String,
    /// The text of the event for the receipt.
    pub message: String,
    /// JSON with the request, the response, and the readings.
    pub details: Value,
    /// The user who ran the command that wrote the event.
    pub person: String,
    pub host: String,
}

impl Event {
    /// Returns the parsed [`Event::at`]; `None` if the text is not a valid time.
    pub fn moment(&self) -> Option<Timestamp> {
        self.at.parse().ok()
    }

    /// Returns `true` if the event changes the state of the retraction, and `false` for a note.
    pub fn changes_state(&self) -> bool {
        self.kind == super::STATE
    }
}

/// The columns for [`read_retraction`].
pub(super) const RETRACTION: &str =
    "r.id, r.road, r.order_id, r.action_id, r.action_tracker_id, r.attempt, r.program_id, r.batch,
     r.disposition, r.reason, r.ticket, r.person, r.host, r.created_at, r.plan";

pub(super) fn read_retraction(tx: &Tx<'_>, row: &Row<'_>) -> Result<Retraction, DbError> {
    let reason: Option<&str> = row.get(9)?;
    Ok(Retraction {
        id: row.get(0)?,
        channel: channel_of(row, 1)?,
        order_id: OrderId::new(row.get::<&str>(2)?),
        action_id: row.get::<Option<&str>>(3)?.map(ActionId::new),
        action_tracker_id: row.get(4)?,
        state: State::Planned,
        attempt: row.get(5)?,
        program_id: row.get(6)?,
        batch: row.get(7)?,
        disposition: row.get(8)?,
        reason: reason.map(|reason| restore_text(tx, reason)).transpose()?,
        ticket: row.get(10)?,
        person: row.get(11)?,
        host: row.get(12)?,
        created_at: row.get(13)?,
        plan: restore(tx, &json_of(row, 14)?)?,
        events: Vec::new(),
    })
}

/// The columns for [`read_event`].
pub(super) const EVENT: &str = "id, at, state, kind, message, details, person, host";

/// Reads an event from a row. `before` is the retraction's state before the event.
pub(super) fn read_event(tx: &Tx<'_>, row: &Row<'_>, before: State) -> Result<Event, DbError> {
    Ok(Event {
        id: row.get(0)?,
        at: row.get(1)?,
        state: if row.get::<Option<&str>>(2)?.is_some() { state_of(row, 2)? } else { before },
        kind: row.get(3)?,
        message: row.get(4)?,
        details: restore(tx, &json_of(row, 5)?)?,
        person: row.get(6)?,
        host: row.get(7)?,
    })
}

pub(super) fn state_of(row: &Row<'_>, column: usize) -> Result<State, DbError> {
    let word: &str = row.get(column)?;
    State::named(word).ok_or_else(|| DbError::Damaged(format!("unknown state {word:?}")))
}

pub(super) fn channel_of(row: &Row<'_>, column: usize) -> Result<Channel, DbError> {
    let word: &str = row.get(column)?;
    let channel = Channel::ALL.into_iter().find(|channel| channel.as_str() == word);
    channel.ok_or_else(|| DbError::Damaged(format!("unknown channel {word:?}")))
}

fn json_of(row: &Row<'_>, column: usize) -> Result<Value, DbError> {
    serde_json::from_str(row.get(column)?).map_err(|error| DbError::Damaged(error.to_string()))
}
