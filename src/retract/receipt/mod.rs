//! The receipt: what was taken back, what was sent, what came of it, as text fit for a ticket and as JSON.
//!
//! A receipt must never say more than the ledger does, and never names an account: account IDs are often e-mail addresses.

mod text;

use serde::Serialize;
use serde_json::Value;

use super::adjust::change_of;
use super::adjust::preview::Preview;
use super::advice;
use super::file::{Handed, handed_of};
use super::judge::Snapshot;
use super::plan::{ActionPlan, Kept, Step};
use super::reconcile::LOOK;
use super::resend::Earlier;
use super::verdict::{Finding, Findings, Verdict};
use crate::error::{Error, Kind};
use crate::model::{Coverage, OrderId, Target};
use crate::store::Identity;
use crate::store::ledger::{Event, Head, Ledger, Retraction, Road, State};

pub use text::{coverage_line, finding_lines, plan_lines};

/// What happened to one order.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// The order.
    pub order_id: OrderId,
    /// The tenant it was done for.
    pub tenant: String,
    /// The Account SID it was done for.
    pub account_sid: String,
    /// Nothing was sent, because nothing was to be sent.
    pub dry_run: bool,
    /// One per action.
    pub retractions: Vec<Entry>,
    /// How much of the tenant this rests on: *confirmed* speaks of the rewards that are known.
    pub coverage: Coverage,
    /// A tenant's first retraction gets the program rule explained.
    #[serde(skip)]
    pub first: bool,
    /// The ledger and how far it is: with it, `recoup audit verify --head` finds a cut tail. `null` where nothing was written.
    pub ledger: Option<Mark>,
    /// What ended it early; `null` where nothing did.
    pub error: Option<Error>,
}

/// Which ledger a receipt is from, and its newest event then.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// The ledger's own name.
    pub id: String,
    /// Its newest event.
    #[serde(flatten)]
    pub head: Head,
}

impl Mark {
    /// The mark of a ledger as it is now; `None` where that cannot be read.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        ledger.ledger_id().and_then(|id| Ok(Self { id, head: ledger.head()? })).ok()
    }

    /// The same as a line.
    pub fn line(&self) -> String {
        format!("ledger {}, event {}, head {}", self.id, self.head.sequence, self.head.hash)
    }
}

/// One action of a receipt.
#[derive(Debug, Serialize)]
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
    pub submission: Option<Value>,
    /// Whether this command sent it; `false` where it was sent before, and where nothing was sent.
    pub sent_now: bool,
    /// The parameters that were sent; `null` where nothing reached the vendor.
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
    pub change: Option<Preview>,
    /// The line of a reversal file; `null` for everything else.
    pub file: Option<Handed>,
    /// The rewards, before and after.
    pub rewards: Vec<RewardLine>,
    /// Whether it may go; `null` for what is in the ledger already.
    pub verdict: Option<Verdict>,
    /// What was found, each with its evidence and its remedy.
    pub findings: Vec<Finding>,
    /// What a person should look at now.
    pub check: Vec<String>,
    /// Everything that happened, oldest first.
    pub events: Vec<EventLine>,
    #[serde(skip)]
    pub(super) ledger_state: Option<State>,
}

/// One reward of a receipt.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
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
        let kept_findings = kept.as_ref().map(|kept| kept.findings.as_slice()).unwrap_or_default();
        let after: Vec<Snapshot> = retraction
            .detail("rewards")
            .and_then(|value| serde_json::from_value(value.clone()).ok())
            .unwrap_or_default();
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
            State::Unconfirmed => advice::why_it_may_stand(retraction.action_id.is_some()),
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
            verdict: None,
            findings: if findings.is_empty() { kept_findings.to_vec() } else { findings.to_vec() },
            check,
            events: retraction.events.iter().map(EventLine::from).collect(),
            ledger_state: Some(state),
        }
    }

    fn unsent(action: &ActionPlan, state: &str, message: &str) -> Self {
        let tracker = match &action.target {
            Target::Action(_) => None,
            Target::Order { action_tracker_id, .. } => Some(action_tracker_id.clone()),
        };
        let again = action.again.as_ref();
        Self {
            action_id: action.target.action_id().map(ToString::to_string),
            action_tracker_id: tracker,
            attempts_before: again.map(|again| again.attempts.clone()).unwrap_or_default(),
            ..Self::unsent_with(&action.rewards, &action.findings, state, message)
        }
    }

    fn unsent_with(rewards: &[Snapshot], findings: &Findings, state: &str, message: &str) -> Self {
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
            // Nothing was taken back by it; where another attempt has, that one says so.
            Some(State::Planned | State::Superseded | State::Released) => Some(Kind::Failed),
            _ => None,
        }
    }
}

impl Receipt {
    /// An empty receipt.
    pub fn new(identity: &Identity, order_id: &OrderId, coverage: &Coverage, first: bool) -> Self {
        Self {
            order_id: order_id.clone(),
            tenant: identity.tenant.clone(),
            account_sid: identity.account_sid.clone(),
            dry_run: false,
            retractions: Vec::new(),
            coverage: coverage.clone(),
            first,
            ledger: None,
            error: None,
        }
    }

    /// Marks it with how far the ledger is. Where that cannot be read, what was sent is still worth a receipt.
    pub fn mark(&mut self, ledger: &Ledger) {
        self.ledger = Mark::of(ledger);
    }

    /// An action as it stands, with nothing sent.
    pub fn planned(&mut self, action: &ActionPlan) {
        match &action.step {
            Step::Send => {
                let message = "a dry run: nothing was sent; this action would be retracted with Amount=0";
                self.retractions.push(Entry::unsent(action, "would_send", message));
            }
            Step::Follow(retraction) => self.add(retraction, action.findings.list()),
            Step::Stop => {
                let why = action.findings.error().map(|error| error.message).unwrap_or_default();
                self.retractions.push(Entry::unsent(action, "stopped", &format!("{why}; nothing was sent")));
            }
            Step::AlreadyCancelled => {
                let message = "every known reward of it is cancelled already, and not by this ledger; nothing was sent";
                self.retractions.push(Entry::unsent(action, "already_cancelled", message));
            }
        }
    }

    /// A change of an action, with nothing sent.
    pub fn would_adjust(&mut self, action: &ActionPlan, change: &Preview) {
        let message = "a dry run: nothing was sent; this action would be changed as shown";
        let entry = Entry::unsent(action, "would_send", message);
        self.retractions.push(Entry { road: Road::Modification, change: Some(change.clone()), ..entry });
    }

    /// A reward that would be cancelled by itself, with nothing sent.
    pub fn would_cancel(&mut self, reward: &Snapshot, findings: &Findings) {
        self.retractions.push(Entry {
            road: Road::Reward,
            ..Entry::unsent_with(
                std::slice::from_ref(reward),
                findings,
                "would_send",
                "a dry run: nothing was sent; this reward would be cancelled, and its action not reversed",
            )
        });
    }

    /// An action that was left as it is.
    pub fn not_sent(&mut self, action: &ActionPlan, why: &str) {
        match &action.step {
            Step::Send => self.retractions.push(Entry::unsent(action, "not_sent", why)),
            Step::Follow(_) | Step::AlreadyCancelled | Step::Stop => self.planned(action),
        }
    }

    /// A retraction of the ledger.
    pub fn add(&mut self, retraction: &Retraction, findings: &[Finding]) {
        self.retractions.push(Entry::of(retraction, findings));
    }

    /// A retraction that this command has sent.
    pub fn add_sent(&mut self, retraction: &Retraction, findings: &[Finding]) {
        self.retractions.push(Entry { sent_now: true, ..Entry::of(retraction, findings) });
    }

    /// Something ended it early; of several, the one that decides the exit code.
    pub fn end_early(&mut self, error: Error) {
        if self.error.as_ref().is_none_or(|known| error.kind.rank() < known.kind.rank()) {
            self.error = Some(error);
        }
    }

    /// What the command ends with, where that is not success.
    pub fn problem(&self) -> Option<Error> {
        let worst = self.retractions.iter().filter_map(|entry| Some((entry.problem()?, entry)));
        let worst = worst.min_by_key(|(kind, _)| kind.rank());
        if let Some(error) = &self.error {
            // What was sent and cannot be looked at is still sent.
            return Some(match worst {
                Some((kind, _)) if kind.rank() < error.kind.rank() => Error { kind, ..error.clone() },
                _ => error.clone(),
            });
        }
        let (kind, entry) = worst?;
        let message = format!("order {:?} is {}: {}", self.order_id.as_str(), entry.state, entry.message);
        Some(match kind {
            Kind::NotConfirmed if entry.road == Road::File => Error::new(kind, message)
                .hint("run `recoup file check` once the vendor has processed the file; it is not sent by another road"),
            Kind::VendorRefused if entry.road == Road::File => Error::new(kind, message)
                .hint("mend the cause, then use `recoup retract`, or write it into another file"),
            Kind::NotConfirmed => {
                Error::new(kind, message).hint("run `recoup verify` to carry it on; it is never sent again by itself")
            }
            Kind::VendorRefused if entry.road == Road::Modification => {
                Error::new(kind, message).hint("nothing was changed: mend the cause, then run the same command again")
            }
            Kind::VendorRefused => {
                Error::new(kind, message).hint("mend the cause, then send it again with --resend --reason TEXT")
            }
            _ if entry.ledger_state == Some(State::Superseded) => Error::new(kind, message).hint(
                "another attempt has taken its place: `recoup retract ORDER --dry-run` shows where the order stands",
            ),
            _ if entry.ledger_state == Some(State::Released) => {
                Error::new(kind, message).hint("nothing was taken back by it: use `recoup retract ORDER`")
            }
            _ => Error::new(kind, message).hint("nothing was sent; run the same command again"),
        })
    }
}
