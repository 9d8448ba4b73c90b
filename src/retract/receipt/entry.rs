//! One action of a receipt, from the ledger or from a dry run.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Kind, Result};
use crate::model::program_rule::ProgramRule;
use crate::model::{ActionId, Target};
use crate::retract::adjust::change_of;
use crate::retract::adjust::preview::{Measure, Preview};
use crate::retract::checklist;
use crate::retract::checks::{Finding, Findings, Verdict};
use crate::retract::file::{FileLine, file_line_of};
use crate::retract::match_submissions::LIST_READING;
use crate::retract::plan::{ActionPlan, StoredPlan};
use crate::retract::proof::{MISSING, Snapshot};
use crate::retract::referral::{ReferralLine, ReferralSnapshot};
use crate::retract::resend::PreviousAttempt;
use crate::store::index::IndexReader;
use crate::store::ledger::{Channel, Event, Retraction, State};

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Ledger number of the retraction; `null` if the ledger has no entry.
    pub id: Option<i64>,
    /// The channel of the retraction: `reversal`, `modification`, `file` …
    #[serde(rename = "road")]
    pub channel: Channel,
    /// The ActionId; `null` for a send by order ID and action tracker.
    pub action_id: Option<String>,
    pub action_tracker_id: Option<String>,
    /// Number of the attempt to send this action, starting at 1.
    pub attempt: Option<i64>,
    /// The previous attempts to send this action, oldest first.
    pub attempts_before: Vec<PreviousAttempt>,
    /// The state in the ledger, or `would_send`, `not_sent`, `stopped` or `already_cancelled`.
    pub state: String,
    pub message: String,
    pub batch_id: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub submission: Option<Value>,
    /// Whether this command sent the request.
    pub sent_now: bool,
    /// The parameters of the sent request; `null` if recoup sent no request.
    #[schema(value_type = Option<Object>)]
    pub sent: Option<Value>,
    /// When the request was sent, RFC 3339.
    pub sent_at: Option<String>,
    /// When the retraction was confirmed, RFC 3339.
    pub confirmed_at: Option<String>,
    pub person: Option<String>,
    /// The second person, who approved the retraction; `null` if the retraction needed no approval.
    pub approved_by: Option<String>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    /// The values that an adjustment changes, before and after; `null` for other channels.
    #[schema(value_type = Option<Object>)]
    pub change: Option<Preview>,
    /// The line of the reversal file; `null` for other channels.
    pub file: Option<FileLine>,
    pub rewards: Vec<RewardLine>,
    pub referrals: Vec<ReferralLine>,
    /// The program rules, as recoup read them before the send.
    pub program_rules: Vec<ProgramRule>,
    /// The verdict of the checks; `null` for an entry of the ledger.
    pub verdict: Option<Verdict>,
    pub findings: Vec<Finding>,
    pub check: Vec<String>,
    /// The ledger events of the retraction, oldest first.
    pub events: Vec<EventLine>,
    #[serde(skip)]
    pub(in crate::retract) ledger_state: Option<State>,
    /// Whether this command found the retraction in the ledger and sent nothing.
    #[serde(skip)]
    pub(in crate::retract) was_found: bool,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RewardLine {
    pub reward_id: String,
    /// The source of the reward: `REFERRED`, `FRIEND_SIGNUP` …
    pub reward_source: Option<String>,
    /// The state of the reward before the send.
    pub before: String,
    /// The newest state of the reward; `null` if recoup did not read the reward after the send.
    pub after: Option<String>,
    /// The newest known state of the reward, from the ledger and the index.
    pub state: String,
    /// ISO 4217 code of the reward's currency, if the index has it.
    pub currency: Option<String>,
    /// When recoup read the reward's state, RFC 3339; `null` if this request read it.
    pub as_of: Option<String>,
    pub unit: Option<String>,
    /// The amount that the reward earned, in `unit`.
    pub assigned: Option<i64>,
    /// The redeemed amount of the reward, in `unit`.
    pub redeemed: Option<i64>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct EventLine {
    /// Time of the ledger event, RFC 3339.
    pub at: String,
    pub state: State,
    /// The kind of the ledger event: `state` for a change of state, or else the kind of a note, such as `look`,
    /// `resend` or `override`.
    pub kind: String,
    pub message: String,
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        let Event { at, state, kind, message, .. } = event;
        Self { at: at.clone(), state: *state, kind: kind.clone(), message: message.clone() }
    }
}

fn is_new(reward: &Snapshot, before: &[Snapshot]) -> bool {
    before.iter().all(|was| was.reward_id != reward.reward_id)
}

fn change_now(retraction: &Retraction) -> Option<Preview> {
    Some(change_of(retraction)?.read_again(&detail::<(Option<String>, Measure)>(retraction, "after")))
}

impl RewardLine {
    /// Formats the reward's amount with its unit; empty if the amount is unknown.
    pub fn amount(&self) -> String {
        super::text::amount(self.assigned, self.unit.as_deref())
    }
}

fn reward_line(before: Option<&Snapshot>, after: Option<&Snapshot>, as_of: Option<&str>) -> RewardLine {
    let newest = after.or(before);
    RewardLine {
        reward_id: newest.map(|s| s.reward_id.clone()).unwrap_or_default(),
        reward_source: newest.and_then(|s| s.reward_source.clone()),
        before: before.map_or_else(|| "not known".to_owned(), |s| s.state.clone()),
        after: after.map(|s| s.state.clone()),
        state: newest.map_or_else(|| "not known".to_owned(), |s| s.state.clone()),
        currency: None,
        as_of: as_of.map(str::to_owned),
        unit: newest.and_then(|s| s.unit.clone()),
        assigned: newest.and_then(|s| s.assigned),
        redeemed: newest.and_then(|s| s.redeemed),
    }
}

/// Returns the newest value of `key` in the retraction's events, as a list; empty if no event has the key.
fn detail<T: DeserializeOwned>(retraction: &Retraction, key: &str) -> Vec<T> {
    retraction.detail(key).and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

impl Entry {
    pub fn of(retraction: &Retraction, findings: &[Finding]) -> Self {
        let StoredPlan { rewards: before, referrals, findings: stored, again, program_rules, .. } =
            StoredPlan::of(retraction).unwrap_or_default();
        let after: Vec<Snapshot> = detail(retraction, "rewards");
        let referrals_after: Vec<ReferralSnapshot> = detail(retraction, "referrals");
        let state = retraction.state;
        let done = |wanted: &[State]| {
            let reached = |event: &&Event| wanted.contains(&event.state) && event.changes_state();
            retraction.events.iter().rfind(reached).map(|event| event.at.clone())
        };
        let reached = state.may_have_been_sent() || retraction.detail("queued_uri").is_some();
        let look =
            retraction.events.iter().rfind(|event| event.kind == LIST_READING).map(|event| event.message.as_str());
        let check = match state {
            State::Unconfirmed | State::Unknown | State::Sending if retraction.channel == Channel::Modification => {
                checklist::uncertain_change()
            }
            State::Unconfirmed | State::Unknown | State::Sending if retraction.channel == Channel::Reward => {
                checklist::why_a_reward_may_stand()
            }
            State::Unconfirmed => checklist::why_it_may_stand(retraction.action_id.is_some(), &program_rules),
            State::Unknown | State::Sending => checklist::unknown_request(look),
            State::NotReceived => checklist::not_received(),
            _ => Vec::new(),
        };
        let read_at = |reward_id: &str| {
            Some(retraction.newest_reading(reward_id).map_or(retraction.created_at.as_str(), |(_, at)| at))
        };
        Self {
            id: Some(retraction.id),
            channel: retraction.channel,
            action_id: retraction.action_id.as_ref().map(ToString::to_string),
            action_tracker_id: retraction.action_tracker_id.clone(),
            attempt: Some(retraction.attempt),
            attempts_before: again.map(|again| again.attempts).unwrap_or_default(),
            state: state.as_str().to_owned(),
            message: retraction.message().to_owned(),
            batch_id: retraction.text("batch_id").map(str::to_owned),
            submission: retraction.detail("submission").cloned(),
            sent_now: false,
            sent: reached.then(|| retraction.detail("request").map(|request| request["parameters"].clone())).flatten(),
            // A retraction that recoup added from the vendor's list has no *sending* event.
            sent_at: done(&[State::Sending])
                .or_else(|| retraction.text("submitted_at").map(str::to_owned))
                .filter(|_| reached),
            confirmed_at: done(&[State::Confirmed]).filter(|_| state == State::Confirmed),
            person: Some(retraction.person.clone()),
            approved_by: retraction.text("approved_by").map(str::to_owned),
            reason: retraction.reason.clone(),
            ticket: retraction.ticket.clone(),
            file: file_line_of(retraction),
            change: (retraction.channel == Channel::Modification).then(|| change_now(retraction)).flatten(),
            rewards: before
                .iter()
                .map(|was| {
                    let now = after.iter().find(|now| now.reward_id == was.reward_id);
                    reward_line(Some(was), now, read_at(&was.reward_id))
                })
                .chain(
                    after
                        .iter()
                        .filter(|now| is_new(now, &before))
                        .map(|now| reward_line(None, Some(now), read_at(&now.reward_id))),
                )
                .collect(),
            referrals: ReferralLine::all(&referrals, &referrals_after),
            program_rules,
            verdict: None,
            findings: if findings.is_empty() { stored } else { findings.to_vec() },
            check,
            events: retraction.events.iter().map(EventLine::from).collect(),
            ledger_state: Some(state),
            was_found: false,
        }
    }

    /// Copies the rewards' currencies from the index. For a receipt entry of the ledger, also copies the reward states
    /// that are newer in the index.
    pub fn update_from_index(&mut self, index: &IndexReader, now: Timestamp) -> Result<()> {
        let Some(action_id) = &self.action_id else { return Ok(()) };
        let known = index.rewards_of_action(&ActionId::new(action_id))?;
        let now_ms = index.judged_now(now)?.at.as_millisecond();
        for line in &mut self.rewards {
            let Some(indexed) = known.iter().find(|one| one.reward.reward_id.as_str() == line.reward_id) else {
                continue;
            };
            line.currency.clone_from(&indexed.reward.currency);
            if self.id.is_none() {
                continue;
            }
            let read_at = line.as_of.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
            if read_at.is_none_or(|read_at| indexed.read_at > read_at) {
                let state = if indexed.gone { MISSING } else { indexed.reward.state(now_ms).as_str() };
                (line.state, line.as_of) = (state.to_owned(), Some(indexed.read_at.to_string()));
            }
        }
        Ok(())
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
            channel: Channel::Reversal,
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
            approved_by: None,
            reason: None,
            ticket: None,
            change: None,
            file: None,
            rewards: rewards.iter().map(|reward| reward_line(Some(reward), None, None)).collect(),
            referrals: Vec::new(),
            program_rules: Vec::new(),
            verdict: Some(findings.verdict()),
            findings: findings.list().to_vec(),
            check: Vec::new(),
            events: Vec::new(),
            ledger_state: None,
            was_found: false,
        }
    }

    /// Returns the error kind of this receipt entry; `None` for success.
    pub fn problem(&self) -> Option<Kind> {
        match self.ledger_state {
            Some(State::Sending | State::Queued | State::Unknown | State::Unconfirmed | State::HandedOver) => {
                Some(Kind::NotConfirmed)
            }
            Some(State::Failed | State::NotReceived) => Some(Kind::VendorRefused),
            // A *planned*, *superseded* or *released* retraction proves nothing. A later attempt may prove the
            // retraction.
            Some(State::Planned | State::Superseded | State::Released) => Some(Kind::Failed),
            _ => None,
        }
    }
}
