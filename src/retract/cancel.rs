//! Use case: cancels one reward by its ID, as a last resort after a reversal that did not cancel the reward.
//!
//! Cancelling a reward does not reverse its action. recoup shows the current reward, a person confirms, and recoup
//! writes the ledger before it sends the one request. Only a later reading of the reward proves the cancellation. If
//! the vendor may already have received a cancellation of the reward, recoup follows that cancellation and never sends
//! another. A cancelled reward proves nothing about the retraction of its action. Therefore `follow` keeps cancelled
//! rewards and retracted actions apart.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::approval::{self, Demand, Subject};
use super::checks::{Check, Findings};
use super::dispatch::{Dispatch, Job, PLAN_FRESH_FOR, mark_unknown};
use super::follow;
use super::match_submissions::has_passed;
use super::plan::StoredPlan;
use super::proof::{Conclusion, MISSING, Observation, Snapshot, SubmissionProgress, evaluate};
use super::receipt::Receipt;
use super::reward_fetch::{parse_reward, snapshot};
use super::{Context, FollowSettings, checklist, plan_fingerprint, readiness};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::extract::Extracted;
use crate::model::{Coverage, OrderId, RewardId, RewardState, Target};
use crate::store::index::ApiSource;
use crate::store::ledger::{Channel, Event, FORGOTTEN, Ledger, NewRetraction, Retraction, State};
use crate::vendor::{CancelPermit, HostOptions, RewardCanceller, WriteOutcome};

#[derive(Debug, Clone)]
pub struct CancelOptions {
    pub reason: String,
    pub ticket: String,
    pub dry_run: bool,
    /// Whether the command skips the confirmation.
    pub yes: bool,
    pub follows: FollowSettings,
}

impl CancelOptions {
    /// Returns an error if the request to cancel a reward is invalid, before any I/O.
    pub fn check(&self, can_ask: bool) -> Result<()> {
        if self.reason.trim().is_empty() || self.ticket.trim().is_empty() {
            return Err(Error::new(Kind::Usage, "cancelling one reward needs a ticket and a reason")
                .hint("say them with --ticket T and --reason TEXT"));
        }
        super::check_can_ask(self.dry_run, self.yes, can_ask)
    }
}

/// Settings of the client that may cancel rewards. recoup builds the client only after the person confirms.
#[derive(Debug, Clone)]
pub struct CancellerSettings {
    pub host: HostOptions,
    /// Longest wait for the send lock while another process holds it.
    pub lock_wait: Duration,
}

/// A reward that the vendor allows recoup to cancel.
struct CancellableReward {
    snapshot: Snapshot,
    extracted: Extracted,
    read_at: Instant,
}

/// Cancels one reward, and follows it until the cancellation is proven.
///
/// An error means that recoup sent no cancellation. After a send, the receipt has the sent request and any error that
/// ended the run early.
pub async fn run(
    ctx: &Context<'_>,
    settings: &CancellerSettings,
    reward_id: &RewardId,
    options: &CancelOptions,
) -> Result<Receipt> {
    readiness::check(ctx)?;
    let existing = ctx.ledger()?;
    let coverage = ctx.coverage()?;
    let before = existing.map(|ledger| sent_before(ledger, reward_id)).transpose()?.flatten();
    if let Some(before) = before {
        let mut receipt = Receipt::new(ctx.identity, &before.order_id, &coverage, false);
        receipt.dry_run = options.dry_run;
        if options.dry_run {
            receipt.add(&before, &[], false);
        } else {
            let ledger = ctx.open_ledger()?;
            super::follow_to_the_end(ctx, &options.follows, ledger, before, false, &[], &mut receipt).await;
        }
        return Ok(receipt);
    }
    let reward = read_cancellable(ctx, reward_id).await?;
    let findings = findings(existing, reward_id)?;
    let order_id = order_of(&reward, existing, reward_id)?;
    let mut receipt = Receipt::new(ctx.identity, &order_id, &coverage, false);
    receipt.dry_run = options.dry_run;
    if options.dry_run {
        receipt.would_cancel(&reward.snapshot, &findings);
        return Ok(receipt);
    }
    let lines = plan_lines(ctx, &reward.snapshot, &order_id, &findings);
    super::show_and_confirm(ctx, lines, options.yes, "Cancel this reward").await?;
    let subject = Subject {
        name: plan_fingerprint::short_hash(&format!("reward {reward_id}")),
        items: Vec::new(),
        json: json!({ "what": "reward", "order_id": order_id, "reward_id": reward_id }),
        reason: Some(&options.reason),
        ticket: Some(&options.ticket),
    };
    let demand = Demand { overrides: findings.overridden(), ..Demand::of_rewards([&reward.snapshot]) };
    let ledger = ctx.open_ledger()?;
    let granted = approval::before_sending(ctx, ledger, &demand, &subject)?;
    let identity = ctx.identity;
    let canceller =
        RewardCanceller::new(&settings.host, &identity.tenant, *ctx.clock, ctx.stop.clone())?.paced_with(ctx.advocate);
    let mut job = CancelJob { ctx, canceller, reward_id, options, order_id, reward, findings, coverage };
    let (max_wait, lock_wait) = (settings.host.max_wait, settings.lock_wait);
    let granted = granted.as_ref();
    let dispatched = Dispatch { ctx, ledger, max_wait, lock_wait, granted }.run(&mut job).await?;
    super::follow_dispatched(ctx, &options.follows, ledger, dispatched, &[], &mut receipt).await;
    receipt.mark(ledger);
    Ok(receipt)
}

/// Returns the newest cancellation of this reward that may have reached the vendor.
fn sent_before(ledger: &Ledger, reward_id: &RewardId) -> Result<Option<Retraction>> {
    let attempts = ledger.attempts_by(Channel::Reward, reward_id.as_str())?;
    Ok(attempts.into_iter().rfind(|attempt| attempt.state.may_have_been_sent()))
}

/// Reads the reward, and returns an error if the reward cannot be cancelled.
async fn read_cancellable(ctx: &Context<'_>, reward_id: &RewardId) -> Result<CancellableReward> {
    let refused = |message: String| Error::new(Kind::Refused, message);
    let Some(raw) = ctx.advocate.reward(reward_id).await? else {
        return Err(refused(format!("the vendor does not know reward {reward_id}; nothing was sent"))
            .hint("reward IDs are in `recoup lookup ORDER`"));
    };
    let extracted = parse_reward(ctx, &raw, None, ApiSource::Rest)?.extracted;
    let now_ms = ctx.vendor_now()?.as_millisecond();
    let why = match extracted.reward.state(now_ms) {
        RewardState::Pending | RewardState::Available if extracted.reward.cancellable == Some(false) => {
            "the vendor says that it is not cancellable"
        }
        RewardState::Pending | RewardState::Available => "",
        RewardState::Cancelled => "it is cancelled already",
        RewardState::Redeemed => "it was redeemed, and what was redeemed cannot be cancelled",
        RewardState::PartlyRedeemed => "it was redeemed in part, and what cancelling does to the rest is not published",
        RewardState::Expired => "it has expired and is worth nothing",
        RewardState::Unclear => {
            "its dates, amounts or statuses cannot be read or contradict each other, so whether it can be cancelled is not clear"
        }
    };
    if !why.is_empty() {
        return Err(refused(format!("reward {reward_id}: {why}; nothing was sent")));
    }
    let indexed = ctx.read_index(|index| Ok(index.map(|index| index.reward(reward_id)).transpose()?.flatten()))?;
    if indexed.is_some_and(|indexed| indexed.reward.account_id != extracted.reward.account_id) {
        return Err(refused(format!(
            "reward {reward_id} is in another account than the index has it in; nothing was sent"
        ))
        .hint("run `recoup crawl`, then try again; if it stays, compare the reward with the vendor's Reward Feed"));
    }
    Ok(CancellableReward { snapshot: snapshot(&extracted.reward, now_ms), extracted, read_at: Instant::now() })
}

/// Returns warnings about retractions of this reward's action.
fn findings(ledger: Option<&Ledger>, reward_id: &RewardId) -> Result<Findings> {
    let mut findings = Findings::default();
    let Some(ledger) = ledger else { return Ok(findings) };
    let whole = ledger.of_rewards(std::slice::from_ref(reward_id))?;
    let whole = whole.into_iter().filter(|other| other.channel.takes_all_back() && other.state.may_have_been_sent());
    for other in whole {
        let state = other.state.as_str();
        let end =
            if other.state.is_open() { "; it may still cancel this reward, and then proves nothing by it" } else { "" };
        let evidence = format!("retraction {} of its action is {state}{end}", other.id);
        findings.warn(Check::Retracted, evidence, "let `recoup verify` look at it first");
    }
    Ok(findings)
}

/// Returns the order of the reward; empty if the order is uncertain.
fn order_of(reward: &CancellableReward, ledger: Option<&Ledger>, reward_id: &RewardId) -> Result<OrderId> {
    let links = &reward.extracted.links;
    if let [link] = links.as_slice()
        && let Some(order_id) = &link.order_id
    {
        return Ok(order_id.clone());
    }
    let known = ledger.map(|ledger| ledger.of_rewards(std::slice::from_ref(reward_id))).transpose()?;
    let newest = known.into_iter().flatten().next_back();
    Ok(newest.map_or_else(|| OrderId::new(""), |retraction| retraction.order_id))
}

fn plan_lines(ctx: &Context<'_>, reward: &Snapshot, order_id: &OrderId, findings: &Findings) -> Vec<String> {
    let identity = ctx.identity;
    let unit = reward.unit.as_deref().unwrap_or("");
    let amount = reward.assigned.map(|n| format!(", {n} {unit}")).unwrap_or_default();
    let source = reward.reward_source.as_deref().map(|source| format!(", {source}")).unwrap_or_default();
    let order = if order_id.as_str().is_empty() {
        "an order that is not known".to_owned()
    } else {
        format!("order {order_id}")
    };
    let mut lines = vec![
        format!("will cancel for tenant {} (Account SID {}):", identity.tenant, identity.account_sid),
        format!("  reward {} of {order}: {}{amount}{}", reward.reward_id, reward.state, source.trim_end()),
        format!("  {}", checklist::REWARD_ALONE),
    ];
    lines.extend(findings.list().iter().map(|finding| format!("  {}", finding.line())));
    lines
}

struct CancelJob<'a> {
    ctx: &'a Context<'a>,
    canceller: RewardCanceller,
    reward_id: &'a RewardId,
    options: &'a CancelOptions,
    order_id: OrderId,
    reward: CancellableReward,
    findings: Findings,
    coverage: Coverage,
}

impl Job for CancelJob<'_> {
    type Permit = CancelPermit;
    const ACCEPTED: &'static str = "the vendor took it; not proven until the reward reads as cancelled";
    const REFUSED_HINT: &'static str =
        "nothing was cancelled; `recoup cancel-reward` may be run again once the cause is mended";

    async fn ready(&mut self, _ledger: &Ledger) -> Result<CancelPermit> {
        let permit = self.canceller.ready().await?;
        if !self.is_fresh() {
            let now = read_cancellable(self.ctx, self.reward_id).await?;
            if now.snapshot != self.reward.snapshot {
                return Err(Error::new(Kind::Refused, "the reward has changed since it was shown; nothing was sent")
                    .hint("run the same command again and look at it"));
            }
            self.reward = now;
        }
        Ok(permit)
    }

    fn is_fresh(&self) -> bool {
        self.reward.read_at.elapsed() <= PLAN_FRESH_FOR
    }

    fn sent_meanwhile(&self, ledger: &Ledger) -> Result<Option<Retraction>> {
        match sent_before(ledger, self.reward_id)? {
            // Only the holder of the send lock sends. The process that recorded *sending* has died, because this
            // process now holds the send lock.
            Some(found) if found.state == State::Sending => {
                mark_unknown(ledger, &found, self.ctx.clock.now()).map(Some)
            }
            found => Ok(found),
        }
    }

    fn intent(&self) -> NewRetraction {
        let links = &self.reward.extracted.links;
        let action_id = if let [link] = links.as_slice() { link.action_id.clone() } else { None };
        let order_id = self.order_id.clone();
        NewRetraction {
            channel: Channel::Reward,
            target: action_id.map_or_else(
                || Target::Order { order_id: order_id.clone(), action_tracker_id: String::new() },
                Target::Action,
            ),
            order_id,
            // The vendor's cancellation call takes no disposition code.
            disposition: String::new(),
            reason: Some(self.options.reason.clone()),
            ticket: Some(self.options.ticket.clone()),
            batch: None,
            program_id: self.reward.extracted.reward.program_id.clone(),
            rewards: vec![self.reward_id.clone()],
            plan: json!({
                "rewards": [self.reward.snapshot],
                "findings": self.findings.list(),
                "coverage": self.coverage,
                "clock_ahead": self.ctx.clock_ahead(),
            }),
        }
    }

    fn request(&self) -> (&'static str, Value) {
        let parameters = json!({ "reward": self.reward_id.as_str() });
        ("cancelling the reward", json!({ "method": "POST", "resource": "reward/cancel", "parameters": parameters }))
    }

    async fn send(&self, permit: CancelPermit) -> WriteOutcome {
        self.canceller.cancel(permit, self.reward_id).await
    }
}

/// Reads the rewards of a cancellation again. A reward that the vendor no longer returns gets the state `missing`.
pub async fn read_again(ctx: &Context<'_>, before: &[Snapshot]) -> Result<Vec<Snapshot>> {
    let mut rewards = Vec::with_capacity(before.len());
    for was in before {
        rewards.push(match ctx.advocate.reward(&RewardId::new(was.reward_id.as_str())).await? {
            Some(raw) => {
                let live = parse_reward(ctx, &raw, None, ApiSource::Rest)?;
                let account = live.extracted.reward.account_id.as_str();
                // A reward that is now in another account may belong to another tenant, or the vendor's answer may be
                // an old copy from a cache.
                if was.account_id != FORGOTTEN && account != was.account_id {
                    return Err(Error::new(Kind::Vendor, "the reward was read in another account than before")
                        .hint("compare it with the vendor's Reward Feed (Show more)"));
                }
                live.snapshot(ctx.vendor_now()?.as_millisecond())
            }
            None => Snapshot { state: MISSING.to_owned(), ended_at: None, ..was.clone() },
        });
    }
    Ok(rewards)
}

/// Reads an open cancellation once. Only the reward proves the cancellation.
pub async fn observe(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: &mut Retraction,
    time_up: bool,
) -> Result<()> {
    let kept = StoredPlan::of(retraction)?;
    let sent_at = follow::sent_at_ms(retraction, &kept);
    let before = kept.rewards;
    let rewards = read_again(ctx, &before).await?;
    let taken = retraction.events.iter().find(|event| event.state == State::Queued);
    // The cancellation of a reward has no submission. Therefore the vendor's answer counts as its completion.
    let submission = if taken.is_some() { SubmissionProgress::Complete } else { SubmissionProgress::None };
    let settled = taken.and_then(Event::moment).is_some_and(|at| has_passed(at, follows.settle, ctx.clock.now()));
    let observation = Observation { submission, sent_at, before, rewards, reads_since_complete: 0, time_up, settled };
    if let Conclusion::Become(state, message) = evaluate(retraction.state, &observation) {
        crash::point("proven");
        let message = match state {
            State::Unconfirmed => "the vendor took it, and the reward does not read as cancelled".to_owned(),
            _ => message,
        };
        let details = json!({ "rewards": observation.rewards });
        *retraction = ledger.append(retraction, state, &message, &details, ctx.clock.now())?;
    }
    Ok(())
}
