//! Use case: records that a retraction was a mistake. recoup shows the rewards that the retraction took back, because a
//! person must issue them again.
//!
//! The vendor has no call that undoes a reversal. Recording a mistake writes one note into the ledger, and never
//! contacts the vendor.

use serde::Serialize;
use serde_json::json;

use super::plan::StoredPlan;
use super::proof::Snapshot;
use super::receipt::Mark;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::report::table;
use crate::store::ledger::{Ledger, Retraction, State};

const LIMITS: [&str; 3] = [
    "no call takes a reversal back: rewards are issued again by hand, on the vendor's platform",
    "for a Performance action `PUT /Actions` with Reason=RESET restores it, before its locking date only; Advocate rewards do not come back by it",
    "a goal that counts the first time only does not fire again for this participant",
];

#[derive(Debug, Serialize)]
pub struct Mistake {
    pub id: i64,
    pub order_id: String,
    /// The ActionId; `None` for a send by order ID and action tracker.
    pub action_id: Option<String>,
    /// The state of the retraction. Recording a mistake does not change the state of the retraction.
    pub state: State,
    pub ticket: String,
    pub reason: Option<String>,
    /// The rewards of the action as they were before the send.
    pub rewards: Vec<RewardBefore>,
    pub limits: Vec<&'static str>,
    pub ledger: Mark,
}

#[derive(Debug, Serialize)]
pub struct RewardBefore {
    pub reward_id: String,
    /// The source of the reward: `REFERRED`, `FRIEND_SIGNUP` …
    pub reward_source: Option<String>,
    /// The amount that the reward earned, in `unit`.
    pub amount: Option<i64>,
    /// The amount of the reward that was redeemed before the send, in `unit`.
    pub redeemed: Option<i64>,
    pub unit: Option<String>,
    pub state_before: String,
    /// The account of the reward; set only with `--show-account`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
}

pub fn run(
    ledger: &Ledger,
    id: i64,
    ticket: &str,
    reason: Option<&str>,
    show_account: bool,
    clock: &Clock,
) -> Result<Mistake> {
    let retraction = ledger.get(id)?;
    if !was_sent(&retraction) {
        return Err(Error::new(
            Kind::Refused,
            format!("retraction {id} is {}: it was never sent", retraction.state.as_str()),
        )
        .hint("nothing was taken back by it, so there is nothing to issue again"));
    }
    let rewards: Vec<RewardBefore> =
        StoredPlan::of(&retraction)?.rewards.into_iter().map(|reward| before(reward, show_account)).collect();
    let details = json!({ "ticket": ticket, "reason": reason });
    let written = ledger.note(&retraction, "mistake", "a person says that it was a mistake", &details, clock.now())?;
    Ok(Mistake {
        id,
        order_id: written.order_id.as_str().to_owned(),
        action_id: written.action_id.as_ref().map(ToString::to_string),
        state: written.state,
        ticket: ticket.to_owned(),
        reason: reason.map(str::to_owned),
        rewards,
        limits: LIMITS.to_vec(),
        ledger: Mark { id: ledger.ledger_id()?, head: ledger.head()? },
    })
}

/// Returns `true` if the vendor may have received the request of this retraction.
fn was_sent(retraction: &Retraction) -> bool {
    let left = |state| {
        matches!(
            state,
            State::Queued
                | State::Unknown
                | State::Confirmed
                | State::Partial
                | State::Unconfirmed
                | State::Processed
                | State::HandedOver
        )
    };
    retraction.state.may_have_been_sent() || retraction.events.iter().any(|event| left(event.state))
}

fn before(reward: Snapshot, show_account: bool) -> RewardBefore {
    RewardBefore {
        reward_id: reward.reward_id,
        reward_source: reward.reward_source,
        amount: reward.assigned,
        redeemed: reward.redeemed,
        unit: reward.unit,
        state_before: reward.state,
        account_id: show_account.then_some(reward.account_id),
    }
}

impl Mistake {
    pub fn lines(&self) -> Vec<String> {
        let action = self.action_id.as_ref().map_or_else(String::new, |id| format!(", action {id}"));
        let mut lines = vec![
            format!(
                "retraction {} of order {}{action} is on record as a mistake (ticket {})",
                self.id, self.order_id, self.ticket
            ),
            "the rewards as they were before, to be issued again by hand:".to_owned(),
        ];
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let rows = self.rewards.iter().map(|reward| {
            [
                reward.reward_id.clone(),
                reward.reward_source.clone().unwrap_or_default(),
                number(reward.amount),
                reward.unit.clone().unwrap_or_default(),
                number(reward.redeemed),
                reward.state_before.clone(),
                reward.account_id.clone().unwrap_or_default(),
            ]
        });
        let header = ["reward", "source", "amount", "unit", "redeemed", "state before", "account"];
        let header = if self.rewards.iter().any(|reward| reward.account_id.is_some()) {
            header
        } else {
            ["reward", "source", "amount", "unit", "redeemed", "state before", ""]
        };
        lines.extend(table(header, rows).lines().map(|line| format!("  {line}")));
        lines.extend(self.limits.iter().map(|limit| format!("limit: {limit}")));
        let Mark { id, head } = &self.ledger;
        lines.push(format!("ledger {id}, event {}, head {}", head.sequence, head.hash));
        lines
    }
}
