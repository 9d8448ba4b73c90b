//! What the ledger must not have before an action is modified. Asked when the plan is made, and again under the lock.
//!
//! A delta that is applied twice takes money twice, so the same change again needs a person's word; a change while another is
//! open, or beside a reversal, needs none, because nobody could say what comes of both. This must never take a doubt for leave.

use serde_json::Value;

use super::preview::Preview;
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};
use crate::retract::plan::{handed_over, sent_before};
use crate::store::ledger::{Ledger, Retraction, Road, State};

/// The key of the change in the plan that the ledger keeps.
pub const CHANGE: &str = "change";

/// What a modification is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The action.
    pub target: &'a Target,
    /// The order.
    pub order_id: &'a OrderId,
    /// The rewards that are linked to it.
    pub rewards: &'a [RewardId],
    /// What is to change.
    pub preview: &'a Preview,
    /// A person said that the same is to go out again.
    pub again: bool,
}

/// What was sent before, and stands in nothing's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The newest that may have been received.
    pub newest: Option<i64>,
    /// Those that asked for the same.
    pub same: Vec<i64>,
}

/// The change that a modification of the ledger asked for; `None` where its plan cannot be read.
pub fn change_of(retraction: &Retraction) -> Option<Preview> {
    serde_json::from_value(retraction.plan.get(CHANGE).cloned().unwrap_or(Value::Null)).ok()
}

/// Refuses where the ledger speaks against it.
pub fn check(ledger: &Ledger, question: Question<'_>) -> Result<Earlier> {
    let Question { target, order_id, rewards, preview, again } = question;
    if let Some(found) = sent_before(ledger, target, order_id, rewards)? {
        return Err(taken_back(&found));
    }
    let attempts = ledger.attempts_by(Road::Modification, &target.key())?;
    let sent: Vec<&Retraction> = attempts.iter().filter(|attempt| attempt.state.may_have_been_sent()).collect();
    let newest = sent.last().copied();
    // Not only the newest: one that was taken over from the vendor's list may stand on top of it.
    let is_under_way = |sent: &&&Retraction| sent.state.is_open() && sent.state != State::Unconfirmed;
    if let Some(open) = sent.iter().rfind(is_under_way) {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "adjustment {} of this action is {}: what comes of two at once nobody can say",
                open.id,
                open.state.as_str()
            ),
        )
        .hint("run `recoup verify` until it is at an end; nothing was sent"));
    }
    if let Some(doubtful) = newest.filter(|newest| newest.state == State::Unconfirmed && !again) {
        return Err(Error::new(
            Kind::Refused,
            format!("adjustment {} of this action is unconfirmed: it may have been made", doubtful.id),
        )
        .hint(
            "look at the action in the vendor's platform; to send this in spite of it, add --again; nothing was sent",
        ));
    }
    // Not received, by two whole lists: a person decides whether that is enough.
    let may_be = |attempt: &&Retraction| attempt.state.may_have_been_sent() || attempt.state == State::NotReceived;
    // A change that cannot be read may be the same.
    let same: Vec<i64> = attempts
        .iter()
        .filter(may_be)
        .filter(|attempt| change_of(attempt).is_none_or(|change| change.asks_the_same(preview)))
        .map(|attempt| attempt.id)
        .collect();
    if let Some(id) = same.last().filter(|_| !again) {
        let at = attempts.iter().find(|attempt| attempt.id == *id).map_or("", |attempt| attempt.created_at.as_str());
        return Err(Error::new(
            Kind::Refused,
            format!(
                "the same change was sent before (adjustment {id}, {at}): sent twice, it could take the money twice"
            ),
        )
        .hint("if this is another refund, add --again; nothing was sent"));
    }
    Ok(Earlier { newest: newest.map(|newest| newest.id), same })
}

/// Why an action that is, or is being, taken back is not modified.
pub fn taken_back(found: &Retraction) -> Error {
    if found.state == State::HandedOver {
        return handed_over(found);
    }
    let state = found.state.as_str();
    Error::new(
        Kind::Refused,
        format!("this action was taken back whole (retraction {}, {state}): there is nothing left to adjust", found.id),
    )
    .hint(format!("`recoup status --retraction {}` shows it; nothing was sent", found.id))
}
