//! One action of a receipt: as the ledger has it, or as it would have been sent.

use serde::Serialize;
use serde_json::Value;

use crate::error::Kind;
use crate::model::Target;
use crate::model::program_rule::ProgramRule;
use crate::retract::adjust::change_of;
use crate::retract::adjust::preview::Preview;
use crate::retract::advice;
use crate::retract::file::{Handed, handed_of};
use crate::retract::judge::Snapshot;
use crate::retract::plan::{ActionPlan, Kept};
use crate::retract::reconcile::LOOK;
use crate::retract::referral::{ReferralLine, ReferralSnapshot};
use crate::retract::resend::Earlier;
use crate::retract::verdict::{Finding, Findings, Verdict};
use crate::store::ledger::{Event, Retraction, Road, State};

/// One action of a receipt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Its number in the ledger; `null` where nothing was written down.
    pub id: Option<i64>,
    /// How the vendor hears of it: `reversal`, `modification`, `file` …
    pub road: Road,
    /// The action, unless it went out by order ID and action tracker.
    pub action_id: Option<String>,
    /// The action tracker of the fallback.
    pub action_tracker_id: Option<String>,
    /// Which attempt it is; more than 1 where a person sent it again.
    pub attempt: Option<i64>,
    /// The attempts before it, oldest first.
    pub attempts_before: Vec<Earlier>,
    /// Where it stands: a state of the ledger, or `would_send`, or `already_cancelled`.
    pub state: String,
    /// A sentence about that.
    pub message: String,
    /// The vendor's batch ID.
    pub batch_id: Option<String>,
    /// How the submission ended.
    #[schema(value_type = Option<Object>)]
    pub submission: Option<Value>,
    /// Whether this command sent it; `false` where it was sent before, and where nothing was sent.
    pub sent_now: bool,
    /// The parameters that were sent; `null` where nothing reached the vendor.
    #[schema(value_type = Option<Object>)]
    pub sent: Option<Value>,
    /// When it was sent, RFC 3339.
    pub sent_at: Option<String>,
    /// When it was confirmed, RFC 3339.
    pub confirmed_at: Option<String>,
    /// Who sent it.
    pub person: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The ticket.
    pub ticket: Option<String>,
    /// What an adjustment changes, line by line, before and after; `null` for everything else.
    #[schema(value_type = Option<Object>)]
    pub change: Option<Preview>,
    /// The line of a reversal file; `null` for everything else.
    pub file: Option<Handed>,
    /// The rewards, before and after.
    pub rewards: Vec<RewardLine>,
    /// The referrals of these rewards, before and after.
    pub referrals: Vec<ReferralLine>,
    /// The program rules that were seen before it was sent: without one the vendor takes no reward back.
    pub program_rules: Vec<ProgramRule>,
    /// Whether it may go; `null` for what is in the ledger already.
    pub verdict: Option<Verdict>,
    /// What was found, each with its evidence and its remedy.
    pub findings: Vec<Finding>,
    /// What a person should look at now.
    pub check: Vec<String>,
    /// Everything that happened, oldest first.
    pub events: Vec<EventLine>,
    #[serde(skip)]
    pub(in crate::retract) ledger_state: Option<State>,
}

/// One reward of a receipt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RewardLine {
    /// The reward.
    pub reward_id: String,
    /// `REFERRED`, `FRIEND_SIGNUP` …
    pub reward_source: Option<String>,
    /// Before anything was sent.
    pub before: String,
    /// As last read; `null` where it was not read since.
    pub after: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// What was earned.
    pub assigned: Option<i64>,
    /// What of it had been redeemed.
    pub redeemed: Option<i64>,
}

/// One event of a receipt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventLine {
    /// When, RFC 3339.
    pub at: String,
    /// The state from there on.
    pub state: State,
    /// `state`, or what else was written down while the state stayed as it was: `look`, `resend`, `override` …
    pub kind: String,
    /// What happened.
    pub message: String,
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        let Event { at, state, kind, message, .. } = event;
        Self { at: at.clone(), state: *state, kind: kind.clone(), message: message.clone() }
    }
}

/// A reward that turned up after the plan was made.
fn is_new(reward: &Snapshot, before: &[Snapshot]) -> bool {
    before.iter().all(|was| was.reward_id != reward.reward_id)
}

/// What an adjustment changes, with what was read afterwards.
fn change_now(retraction: &Retraction) -> Option<Preview> {
    let after = retraction.detail("after").and_then(|after| serde_json::from_value::<Vec<_>>(after.clone()).ok());
    Some(change_of(retraction)?.read_again(&after.unwrap_or_default()))
}

impl RewardLine {
    /// What it is worth, in its unit; empty where that is not known.
    pub fn amount(&self) -> String {
        super::text::amount(self.assigned, self.unit.as_deref())
    }
}

fn reward_line(before: Option<&Snapshot>, after: Option<&Snapshot>) -> RewardLine {
    let newest = after.or(before);
    RewardLine {
        reward_id: newest.map(|s| s.reward_id.clone()).unwrap_or_default(),
        reward_source: newest.and_then(|s| s.reward_source.clone()),
        before: before.map_or_else(|| "not known".to_owned(), |s| s.state.clone()),
        after: after.map(|s| s.state.clone()),
        unit: newest.and_then(|s| s.unit.clone()),
        assigned: newest.and_then(|s| s.assigned),
        redeemed: newest.and_then(|s| s.redeemed),
    }
}

impl Entry {
    /// The receipt of a retraction as the ledger has it.
    pub fn of(retraction: &Retraction, findings: &[Finding]) -> Self {
        let kept = Kept::of(retraction).ok();
        let before = kept.as_ref().map(|kept| kept.rewards.as_slice()).unwrap_or_default();
        let program_rules = kept.as_ref().map(|kept| kept.program_rules.as_slice()).unwrap_or_default();
        let kept_findings = kept.as_ref().map(|kept| kept.findings.as_slice()).unwrap_or_default();
        let after: Vec<Snapshot> = retraction
            .detail("rewards")
            .and_then(|value| serde_json::from_value(value.clone()).ok())
            .unwrap_or_default();
        let referrals_after: Vec<ReferralSnapshot> = retraction
            .detail("referrals")
            .and_then(|value| serde_json::from_value(value.clone()).ok())
            .unwrap_or_default();
        let referrals_before = kept.as_ref().map(|kept| kept.referrals.as_slice()).unwrap_or_default();
        let state = retraction.state;
        let done = |wanted: &[State]| {
            let reached = |event: &&Event| wanted.contains(&event.state) && event.changes_state();
            retraction.events.iter().rfind(reached).map(|event| event.at.clone())
        };
        let reached = state.may_have_been_sent() || retraction.detail("queued_uri").is_some();
        let look = retraction.events.iter().rfind(|event| event.kind == LOOK).map(|event| event.message.as_str());
        let check = match state {
            State::Unconfirmed | State::Unknown | State::Sending if retraction.road == Road::Modification => {
                advice::what_a_doubtful_change_means()
            }
            State::Unconfirmed | State::Unknown | State::Sending if retraction.road == Road::Reward => {
                advice::why_a_reward_may_stand()
            }
            State::Unconfirmed => advice::why_it_may_stand(retraction.action_id.is_some(), program_rules),
            State::Unknown | State::Sending => advice::what_unknown_means(look),
            State::NotReceived => advice::what_not_received_means(),
            _ => Vec::new(),
        };
        Self {
            id: Some(retraction.id),
            road: retraction.road,
            action_id: retraction.action_id.as_ref().map(ToString::to_string),
            action_tracker_id: retraction.action_tracker_id.clone(),
            attempt: Some(retraction.attempt),
            attempts_before: kept
                .as_ref()
                .and_then(|kept| kept.again.as_ref())
                .map(|again| again.attempts.clone())
                .unwrap_or_default(),
            state: state.as_str().to_owned(),
            message: retraction.message().to_owned(),
            batch_id: retraction.text("batch_id").map(str::to_owned),
            submission: retraction.detail("submission").cloned(),
            sent_now: false,
            sent: reached.then(|| retraction.detail("request").map(|request| request["parameters"].clone())).flatten(),
            // One that was taken over from the vendor's list has no event for it.
            sent_at: done(&[State::Sending])
                .or_else(|| retraction.text("submitted_at").map(str::to_owned))
                .filter(|_| reached),
            confirmed_at: done(&[State::Confirmed]).filter(|_| state == State::Confirmed),
            person: Some(retraction.person.clone()),
            reason: retraction.reason.clone(),
            ticket: retraction.ticket.clone(),
            file: handed_of(retraction),
            change: (retraction.road == Road::Modification).then(|| change_now(retraction)).flatten(),
            rewards: before
                .iter()
                .map(|was| reward_line(Some(was), after.iter().find(|now| now.reward_id == was.reward_id)))
                .chain(after.iter().filter(|now| is_new(now, before)).map(|now| reward_line(None, Some(now))))
                .collect(),
            referrals: ReferralLine::all(referrals_before, &referrals_after),
            program_rules: program_rules.to_vec(),
            verdict: None,
            findings: if findings.is_empty() { kept_findings.to_vec() } else { findings.to_vec() },
            check,
            events: retraction.events.iter().map(EventLine::from).collect(),
            ledger_state: Some(state),
        }
    }

    pub(super) fn unsent(action: &ActionPlan, state: &str, message: &str) -> Self {
        let tracker = match &action.target {
            Target::Action(_) => None,
            Target::Order { action_tracker_id, .. } => Some(action_tracker_id.clone()),
        };
        let again = action.again.as_ref();
        Self {
            action_id: action.target.action_id().map(ToString::to_string),
            action_tracker_id: tracker,
            attempts_before: again.map(|again| again.attempts.clone()).unwrap_or_default(),
            referrals: ReferralLine::all(&action.referrals, &[]),
            program_rules: action.rules.clone(),
            ..Self::unsent_with(&action.rewards, &action.findings, state, message)
        }
    }

    pub(super) fn unsent_with(rewards: &[Snapshot], findings: &Findings, state: &str, message: &str) -> Self {
        Self {
            id: None,
            road: Road::Reversal,
            action_id: None,
            action_tracker_id: None,
            attempt: None,
            attempts_before: Vec::new(),
            state: state.to_owned(),
            message: message.to_owned(),
            batch_id: None,
            submission: None,
            sent_now: false,
            sent: None,
            sent_at: None,
            confirmed_at: None,
            person: None,
            reason: None,
            ticket: None,
            change: None,
            file: None,
            rewards: rewards.iter().map(|reward| reward_line(Some(reward), None)).collect(),
            referrals: Vec::new(),
            program_rules: Vec::new(),
            verdict: Some(findings.verdict()),
            findings: findings.list().to_vec(),
            check: Vec::new(),
            events: Vec::new(),
            ledger_state: None,
        }
    }

    /// What this entry alone would make the command end with.
    pub fn problem(&self) -> Option<Kind> {
        match self.ledger_state {
            Some(State::Sending | State::Queued | State::Unknown | State::Unconfirmed | State::HandedOver) => {
                Some(Kind::NotConfirmed)
            }
            Some(State::Failed | State::NotReceived) => Some(Kind::VendorRefused),
            // It proves nothing by itself; where another attempt has taken its place, that one says what came of it.
            Some(State::Planned | State::Superseded | State::Released) => Some(Kind::Failed),
            _ => None,
        }
    }
}
