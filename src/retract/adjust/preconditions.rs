//! Checks the ledger before a modification: once for the plan, and again under the send lock.
//!
//! If the vendor applies a delta twice, it subtracts the amount twice. Therefore a second send of the same change needs
//! a person's permission. recoup always refuses a change if another change of the action is open or the action is
//! reversed, because the result would be unpredictable.

use serde_json::Value;

use super::preview::Preview;
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};
use crate::retract::plan::{handed_over, sent_before};
use crate::store::ledger::{Channel, Ledger, Retraction, State};

/// Key of an adjustment's change in the plan that the ledger stores.
pub const CHANGE: &str = "change";

#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    pub target: &'a Target,
    pub order_id: &'a OrderId,
    /// The rewards that contain the ActionId of the proposed change.
    pub rewards: &'a [RewardId],
    pub preview: &'a Preview,
    /// Whether a person allows recoup to send the same change a second time.
    pub again: bool,
}

/// Earlier adjustments of the action that do not block the new adjustment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviousAdjustments {
    /// The newest adjustment that the vendor may have received.
    pub newest: Option<i64>,
    /// Earlier adjustments that make the same change as the new adjustment.
    pub same: Vec<i64>,
}

/// Returns the change of a modification; `None` if recoup cannot read its stored plan.
pub fn change_of(retraction: &Retraction) -> Option<Preview> {
    serde_json::from_value(retraction.plan.get(CHANGE).cloned().unwrap_or(Value::Null)).ok()
}

/// Fails if an entry of the ledger blocks the modification.
pub fn check(ledger: &Ledger, question: Proposal<'_>) -> Result<PreviousAdjustments> {
    let Proposal { target, order_id, rewards, preview, again } = question;
    if let Some(found) = sent_before(ledger, target, order_id, rewards)? {
        return Err(taken_back(&found));
    }
    let attempts = ledger.attempts_by(Channel::Modification, &target.key())?;
    let sent: Vec<&Retraction> = attempts.iter().filter(|attempt| attempt.state.may_have_been_sent()).collect();
    let newest = sent.last().copied();
    // Checks all adjustments of the action, because an adjustment that recoup added from the vendor's list may follow
    // an open adjustment.
    let is_under_way = |sent: &&&Retraction| sent.state.is_open() && sent.state != State::Unconfirmed;
    if let Some(open) = sent.iter().rfind(is_under_way) {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "adjustment {} of this action is {}: the result of two at once could not be told apart",
                open.id,
                open.state.as_str()
            ),
        )
        .hint("run `recoup verify` until it has ended; nothing was sent"));
    }
    if let Some(unconfirmed) = newest.filter(|newest| newest.state == State::Unconfirmed && !again) {
        return Err(Error::new(
            Kind::Refused,
            format!("adjustment {} of this action is unconfirmed: it may have been made", unconfirmed.id),
        )
        .hint("look at the action in the vendor's platform; to send this anyway, add --again; nothing was sent"));
    }
    // recoup concludes *not received* from two vendor lists. Therefore a person decides whether to send the change
    // again.
    let may_be = |attempt: &&Retraction| attempt.state.may_have_been_sent() || attempt.state == State::NotReceived;
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
    Ok(PreviousAdjustments { newest: newest.map(|newest| newest.id), same })
}

/// Returns the error for an adjustment of an action that is reversed or being reversed.
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
