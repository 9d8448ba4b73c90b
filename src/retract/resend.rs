//! Decides whether a person may send a retraction again.
//!
//! A resend is allowed after *not received*, *failed* and *unconfirmed*. After *unconfirmed*, a resend within a day of
//! the submission's completion needs an override. recoup never repeats a request that the vendor may still process.
//! Therefore recoup follows *unknown*, *sending* and *queued* retractions instead.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Options;
use super::checks::Override;
use super::plan::{ActionPlan, Step};
use crate::error::{Details, Error, Kind, Result};
use crate::model::Target;
use crate::store::ledger::{Channel, Ledger, Retraction, State};

/// Time after a submission's completion during which a resend needs an override.
pub const EARLY: Duration = Duration::from_hours(24);

/// A resend, and the attempts before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resend {
    /// The ledger ID of the previous attempt.
    pub after: i64,
    /// The newest event of the previous attempt when the plan was made. If the previous attempt has a newer event, the
    /// plan is invalid.
    pub event: i64,
    pub reason: String,
    #[serde(rename = "override")]
    pub allowed_by: Option<String>,
    /// The attempts before this resend, oldest first.
    pub attempts: Vec<PreviousAttempt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviousAttempt {
    pub id: i64,
    /// Number of the attempt to send the action, starting at 1.
    pub attempt: i64,
    /// The state of this attempt when recoup planned the next attempt.
    pub state: String,
    /// When recoup sent the attempt, RFC 3339; `null` if it was never sent.
    pub sent_at: Option<String>,
    pub batch_id: Option<String>,
    pub message: String,
}

impl PreviousAttempt {
    fn of(retraction: &Retraction) -> Self {
        Self {
            id: retraction.id,
            attempt: retraction.attempt,
            state: retraction.state.as_str().to_owned(),
            sent_at: retraction.sent_at().map(str::to_owned),
            batch_id: retraction.text("batch_id").map(str::to_owned),
            message: retraction.message().to_owned(),
        }
    }

    pub fn line(&self) -> String {
        let sent = self.sent_at.as_deref().map_or_else(|| "never sent".to_owned(), |at| format!("sent {at}"));
        let batch = self.batch_id.as_deref().map(|id| format!(", batch ID {id}")).unwrap_or_default();
        format!("attempt {} (retraction {}): {sent}{batch}; {}: {}", self.attempt, self.id, self.state, self.message)
    }
}

/// Returns the resend that the person requests; `None` if recoup never sent a request to the target.
pub fn again(
    ledger: &Ledger,
    target: &Target,
    found: Option<&Retraction>,
    options: &Options,
    now: Timestamp,
) -> Result<Option<Resend>> {
    let attempts = ledger.attempts(target)?;
    // An attempt that recoup never sent does not change the outcome of the previous attempt, even if it superseded that
    // attempt.
    let last = match found {
        Some(found) => Some((found, found.state)),
        None => attempts.iter().rev().find_map(|attempt| Some((attempt, ended_as(attempt)?))),
    };
    let Some((last, state)) = last else { return Ok(None) };
    let allowed_by = check(last, state, target, options, now)?;
    Ok(Some(Resend {
        after: last.id,
        event: last.events.last().map_or(0, |event| event.id),
        reason: options.reason.clone().unwrap_or_default(),
        allowed_by: allowed_by.map(|allowed| allowed.as_str().to_owned()),
        attempts: attempts.iter().map(PreviousAttempt::of).collect(),
    }))
}

/// Returns the final state of an attempt, even if a later attempt has superseded it.
fn ended_as(attempt: &Retraction) -> Option<State> {
    attempt.events.iter().rev().map(|event| event.state).find(|state| state.may_be_resent())
}

/// Returns the override that a resend needs after an attempt that ended in `state`, or an error if recoup must not send
/// again.
fn check(
    last: &Retraction,
    state: State,
    target: &Target,
    options: &Options,
    now: Timestamp,
) -> Result<Option<Override>> {
    let id = last.id;
    let refused = |message: String| Error::new(Kind::Refused, message);
    if !state.may_be_resent() {
        let state = state.as_str();
        return Err(refused(format!("retraction {id} is {state}: it may have been received, so it is not sent again"))
            .hint("run `recoup verify`; --resend is for what failed, was not received, or is unconfirmed"));
    }
    if last.channel != Channel::Reversal || last.target() != *target {
        return Err(refused(format!(
            "these rewards were sent under another name (retraction {id}, {}): only that one can be sent again",
            state.as_str()
        ))
        .hint("`recoup status --retraction ID` shows it; nothing was sent"));
    }
    if state != State::Unconfirmed {
        return Ok(None);
    }
    let completed = completed_at(last).unwrap_or(now);
    let passed = Duration::try_from(now.duration_since(completed)).unwrap_or(Duration::ZERO);
    if passed >= EARLY {
        return Ok(None);
    }
    if options.overrides.contains(&Override::Early) {
        return Ok(Some(Override::Early));
    }
    let at = completed.checked_add(EARLY).map(|at| format!("{at:.0}")).unwrap_or_default();
    Err(refused(format!(
        "retraction {id} completed at {completed:.0}, less than 24 hours ago: its rewards may still cancel, so it is not sent again"
    ))
    .details(Details { overrides: vec![Override::Early.as_str()], ..Details::default() })
    .hint(format!("run `recoup verify`, wait until {at}, or name it: --override early")))
}

/// Returns when the submission completed: the later of the vendor's date and the time at which recoup read the
/// completion. If both times are unknown, returns the time of the retraction's last state change.
fn completed_at(retraction: &Retraction) -> Option<Timestamp> {
    let told = retraction.detail("submission").and_then(|submission| submission["completion_date"].as_str());
    let told = told.and_then(|text| text.parse::<Timestamp>().ok());
    let read = retraction.events.iter().rev().find(|event| event.details.get("submission").is_some());
    let read = read.or_else(|| retraction.events.iter().rfind(|event| event.changes_state()));
    told.max(read.and_then(|event| event.at.parse().ok()))
}

/// Marks a plan as a resend. If the rewards already read as cancelled, the plan sends nothing and follows the previous
/// attempt.
pub fn apply(ledger: &Ledger, action: &mut ActionPlan, again: Resend) -> Result<()> {
    if action.step == Step::AlreadyCancelled {
        let before = ledger.get(again.after)?;
        if matches!(before.state, State::Unconfirmed | State::NotReceived) {
            action.step = Step::Follow(Box::new(before));
        } else if matches!(ended_as(&before), Some(State::Unconfirmed | State::NotReceived)) {
            let message = format!(
                "every known reward of this action reads as cancelled, after retraction {} and before a later attempt was \
                 sent: there is nothing left to send",
                before.id
            );
            return Err(Error::new(Kind::Refused, message).hint(format!(
                "`recoup status --retraction {}` shows what was sent; nothing was sent now",
                before.id
            )));
        }
    }
    action.again = (action.step == Step::Send).then_some(again);
    Ok(())
}

/// Checks under the send lock that the previous attempt has not changed since the plan was made. Returns a newer
/// retraction of the same target if another process has already sent it.
pub fn still_holds(ledger: &Ledger, again: &Resend, found: Option<Retraction>) -> Result<Option<Retraction>> {
    if let Some(found) = found.filter(|found| found.id != again.after) {
        return Ok(Some(found));
    }
    let before = ledger.get(again.after)?;
    // The person who requested this resend does not know the outcome of an attempt that ended after the plan was made.
    let is_new = |attempt: &Retraction| again.attempts.iter().all(|earlier| earlier.id != attempt.id);
    let ended_since = |attempt: &Retraction| is_new(attempt) && ended_as(attempt).is_some();
    let nothing_since = !ledger.attempts(&before.target())?.iter().any(ended_since);
    let newest = before.events.last();
    let is_as_it_was = newest.map_or(0, |event| event.id) == again.event;
    // The previous attempt was superseded only by this attempt, which an earlier 429 had stopped.
    let by = newest.filter(|event| event.state == State::Superseded).and_then(|event| event.details["by"].as_i64());
    let gave_way = by.map(|by| ledger.get(by)).transpose()?.is_some_and(|by| by.state == State::Planned);
    if nothing_since && (is_as_it_was || gave_way) {
        return Ok(None);
    }
    Err(Error::new(
        Kind::Refused,
        format!("retraction {} has moved on since the plan was made; nothing was sent", again.after),
    )
    .hint("run `recoup verify`, then look at the new plan"))
}

/// Returns the ledger notes of a resend.
pub fn notes(again: &Resend) -> Vec<(&'static str, String, Value)> {
    let said = |name: &String| {
        let message = format!("a person allowed it by name: --override {name}");
        ("override", message, json!({ "override": name, "after": again.after }))
    };
    let after = format!("a person sends it again, after retraction {}", again.after);
    let mut notes = vec![("resend", after, json!({ "after": again.after }))];
    notes.extend(again.allowed_by.iter().map(said));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ActionId, Actor, OrderId, RewardId};
    use crate::store::Identity;
    use crate::store::ledger::NewRetraction;

    fn open(folder: &tempfile::TempDir) -> Result<Ledger> {
        let text = |text: &str| text.to_owned();
        let identity =
            Identity { tenant: text("t"), account_sid: text("s"), advocate_url: text("a"), brand_url: text("b") };
        Ledger::open(folder.path().join("l.db"), &identity, &Actor::new("ann", "desk"))
    }

    fn attempt(ledger: &Ledger, states: &[State]) -> Result<Retraction> {
        let new = NewRetraction {
            channel: Channel::Reversal,
            target: Target::Action(ActionId::new("1.2.3")),
            order_id: OrderId::new("1001"),
            disposition: "RETRACTION".into(),
            reason: None,
            ticket: None,
            batch: None,
            program_id: None,
            rewards: vec![RewardId::new("r")],
            plan: json!({}),
        };
        let mut retraction = ledger.begin(&new, Timestamp::UNIX_EPOCH)?;
        for state in states {
            retraction = ledger.append(&retraction, *state, "", &Value::Null, Timestamp::UNIX_EPOCH)?;
        }
        Ok(retraction)
    }

    fn planned(ledger: &Ledger, after: i64) -> Result<Resend> {
        let after = ledger.get(after)?;
        Ok(Resend {
            after: after.id,
            event: after.events.last().map_or(0, |event| event.id),
            reason: "lost".into(),
            allowed_by: None,
            attempts: ledger.attempts(&after.target())?.iter().map(PreviousAttempt::of).collect(),
        })
    }

    #[test]
    fn an_attempt_that_a_limit_turned_away_changes_nothing_and_one_that_was_refused_needs_another_word() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = &open(&folder)?;
        let first = attempt(ledger, &[State::Sending, State::Queued, State::Unconfirmed])?;
        let again = planned(ledger, first.id)?;
        assert_eq!(still_holds(ledger, &again, None)?, None);
        attempt(ledger, &[State::Sending, State::Planned])?;
        assert_eq!(ledger.get(first.id)?.state, State::Superseded);
        assert_eq!(still_holds(ledger, &again, None)?, None, "its own attempt met a limit");
        // Tests two people who resend at the same time, if the vendor refuses the first request.
        let others = planned(ledger, first.id)?;
        assert_eq!(still_holds(ledger, &others, None)?, None);
        attempt(ledger, &[State::Sending, State::Failed])?;
        for plan in [&again, &others] {
            let refused = still_holds(ledger, plan, None).expect_err("nobody has seen that refusal");
            assert_eq!(refused.kind, Kind::Refused);
        }
        Ok(())
    }
}
