//! Reads the current rewards of an action, and checks whether recoup may take them back.
//!
//! The preflight reads every known reward in its account or by its ID, and stops if the index and the vendor disagree.
//! Every problem of the preflight becomes a finding. Therefore the person sees all problems at once. The preflight
//! sends nothing that changes data at the vendor.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::checks::{Check, Findings, Verdict};
use super::deadlines::{self, ActionFacts};
use super::options::RefundClaim;
use super::plan::{ActionPlan, Step, is_linked, linked_elsewhere};
use super::proof::Snapshot;
use super::referral::{self, ActionScope};
use super::reward_fetch::{KnownReward, LiveReward, Location, fetch};
use super::rule;
use super::{Context, Options};
use crate::error::{Kind, Result};
use crate::model::decimal::Decimal;
use crate::model::{Coverage, LinkKind, OrderId, Reward, Target, counted};
use crate::store::index::{ApiSource, IndexedReward};

pub struct Inputs<'a> {
    pub order_id: &'a OrderId,
    pub target: &'a Target,
    /// The indexed rewards of the action, and the rewards of the same order without an ActionId.
    pub indexed: &'a [IndexedReward],
    pub coverage: &'a Coverage,
    pub referrals: &'a [String],
    pub several: bool,
    pub options: &'a Options,
}

/// Reads every known reward of the action. Also reads the action from the Brand API if the plan has something to send.
pub async fn preflight(ctx: &Context<'_>, question: Inputs<'_>, mut findings: Findings) -> Result<ActionPlan> {
    let Inputs { order_id, target, indexed, coverage, referrals, several, options } = question;
    let known: Vec<KnownReward> = indexed
        .iter()
        .map(|r| KnownReward { reward_id: r.reward.reward_id.clone(), account_id: r.listed_by.clone(), via: r.via })
        .collect();
    let mut seen = fetch(ctx, &known, referrals).await?;
    let (referrals, of_referral) = referral::before(ctx, ActionScope { target, order_id }, &mut seen).await?;
    if let Some(error) = &seen.clock_error {
        findings.stop(Check::ClocksApart, error.message.clone(), error.hint.clone().unwrap_or_default());
    }
    let now_ms = seen.now.as_millisecond();
    let (mut rewards, mut linked) = (Vec::new(), Vec::new());
    for (indexed, (known, place)) in indexed.iter().zip(&seen.found) {
        let id = &known.reward_id;
        match place {
            Location::SameAccount(live)
                if live.extracted.kind != LinkKind::Ambiguous && offers(live, target, indexed) =>
            {
                let is_linked = if is_link_unseen(live, indexed) {
                    let from =
                        if indexed.via == ApiSource::Export { "an export" } else { "GraphQL, which does not answer" };
                    findings.warn(
                        Check::UnseenLink,
                        format!("reward {id}: its link is from {from}, and cannot be seen live"),
                        "compare it with the vendor's Reward Feed (Show more)",
                    );
                    is_linked(indexed, target)
                } else {
                    live.extracted.links.iter().any(|link| link.action_id.as_ref() == target.action_id())
                };
                let now = Snapshot { linked: is_linked, ..live.snapshot(now_ms) };
                if is_linked {
                    linked.push(id.clone());
                    rewards.push(now);
                } else if several {
                    // The reward may belong to any action of the order. Therefore the state of that reward proves
                    // nothing about this action.
                    findings.warn(
                        Check::NoActionId,
                        format!("reward {id} carries this order without an ActionId ({})", now.state),
                        "look at it yourself: which action it belongs to is not known",
                    );
                } else {
                    findings.warn(
                        Check::NoActionId,
                        format!("reward {id} carries this order without an ActionId"),
                        "it is read afterwards, and must cancel too",
                    );
                    rewards.push(now);
                }
            }
            Location::SameAccount(_) => changed(&mut findings, &format!("reward {id} is now linked to something else")),
            Location::OtherAccount(_) => changed(&mut findings, &format!("reward {id} has moved to another account")),
            // A crawl has already found that the vendor deleted the reward.
            Location::Missing if indexed.gone => findings.warn(
                Check::Gone,
                format!("reward {id} no longer exists at the vendor and is no part of the proof"),
                "nothing can be done about it",
            ),
            Location::Missing => changed(&mut findings, &format!("reward {id} no longer exists at the vendor")),
        }
    }
    // A reward of this action that the index lacks is also part of the proof.
    for live in seen.of_target(target) {
        let id = &live.extracted.reward.reward_id;
        if live.extracted.kind == LinkKind::Ambiguous {
            changed(&mut findings, &format!("reward {id} of this action is ambiguous"));
            continue;
        }
        let links = &live.extracted.links;
        if target.action_id().is_none() && links.iter().any(|link| link.action_id.is_some()) {
            changed(&mut findings, &format!("reward {id} of this order has an ActionId now"));
            continue;
        }
        let is_new = !rewards.iter().any(|r: &Snapshot| r.reward_id == id.as_str());
        let other = links.iter().filter_map(|link| link.order_id.as_ref()).find(|other| *other != order_id);
        if let Some(other) = other
            && is_new
        {
            linked_elsewhere(&mut findings, &format!("{:?}", other.as_str()), options.action_id.is_some());
        }
        if is_new {
            rewards.push(live.snapshot(now_ms));
            linked.push(id.clone());
        }
    }
    for now in of_referral {
        findings.warn(
            Check::NoActionId,
            format!("reward {} of the same referral carries this order without an ActionId", now.reward_id),
            "it is read afterwards, and must cancel too",
        );
        rewards.push(now);
    }
    rewards.sort_by(|a, b| a.reward_id.cmp(&b.reward_id));
    let mut step = check_rewards(&mut findings, &rewards, coverage);
    let (mut event_at, mut facts, mut rules) = (None, ActionFacts::default(), Vec::new());
    if step == Step::Send {
        let live: Vec<&Reward> = seen.relevant(target).map(|live| &live.extracted.reward).collect();
        check_cancellable(&mut findings, &rewards, &live, now_ms);
        if options.needs_the_rule() {
            rules = rule::check(ctx, seen.relevant(target), &rewards, &mut findings).await?;
        }
        let now = seen.now;
        facts = action_facts(ctx, target, options, now, &mut findings).await?;
        event_at = deadlines::event_at(target.action_id(), &live, &facts, now);
        if let Some(event_at) = event_at {
            deadlines::check_age(&mut findings, event_at, now);
        }
        deadlines::check_action(&mut findings, &facts, now);
        if let Some(claim) = &options.refund {
            deadlines::check_refund(&mut findings, claim, &facts);
            if let Some(event) = deadlines::event_day(target.action_id(), &facts, now) {
                deadlines::check_dates(&mut findings, claim, event);
            }
        }
        check_scope(&mut findings, target, coverage);
    }
    if findings.verdict() == Verdict::Stop {
        step = Step::Stop;
    } else {
        // recoup updates the index only after the checks, because a refused plan must not change the findings of the
        // next plan.
        seen.record_in_index(ctx, target);
        referral::record_referrals(ctx, &referrals);
    }
    let program_id = seen.relevant(target).find_map(|live| live.extracted.reward.program_id.clone());
    let target = target.clone();
    let again = None;
    Ok(ActionPlan { target, step, rewards, referrals, linked, program_id, rules, event_at, findings, facts, again })
}

/// Chooses the step of the action from the reward states: send, nothing to send, or too late.
fn check_rewards(findings: &mut Findings, rewards: &[Snapshot], coverage: &Coverage) -> Step {
    let cancelled = rewards.iter().filter(|r| r.state == "cancelled").count();
    // Only a reward with this ActionId justifies a send.
    let outstanding =
        rewards.iter().filter(|r| r.linked && (r.is_outstanding() || r.state == "partly_redeemed")).count();
    if outstanding == 0 && cancelled == rewards.len() && cancelled > 0 {
        if !coverage.complete {
            findings.stop(
                Check::Incomplete,
                "every known reward of this action is cancelled already, but the index is not complete: there may be others that are not",
                "run `recoup crawl`, then try again",
            );
        }
        return Step::AlreadyCancelled;
    }
    let losses: Vec<String> = rewards.iter().filter_map(loss).collect();
    let unclear: Vec<&str> = rewards.iter().filter(|r| r.state == "unclear").map(|r| r.reward_id.as_str()).collect();
    if !unclear.is_empty() {
        let evidence = format!(
            "reward {}: its dates, amounts or statuses cannot be read or contradict each other, so whether it is cancelled is not clear",
            unclear.join(", ")
        );
        let remedy = "compare it with the vendor's Reward Feed (Show more), and ask the vendor about it";
        if outstanding == 0 {
            findings.stop(Check::Unclear, evidence, remedy);
        } else {
            findings.warn(Check::Unclear, format!("{evidence}; it will block the proof"), remedy);
        }
    }
    if outstanding == 0 && !unclear.is_empty() {
        return Step::Send;
    }
    if outstanding == 0 && !rewards.is_empty() {
        let states: Vec<&str> = rewards.iter().map(|r| r.state.as_str()).collect();
        let lost = if losses.is_empty() { String::new() } else { format!("; lost: {}", losses.join(", ")) };
        findings.stop(
            Check::Redeemed,
            format!("it is too late: no reward of this action can be cancelled any more ({}){lost}", states.join(", ")),
            "what was redeemed cannot be cancelled, and what has expired is worth nothing",
        );
    } else {
        for lost in losses {
            findings.warn(
                Check::Redeemed,
                format!("{lost} was redeemed and is lost"),
                "what was redeemed cannot be cancelled; the rest of it may stay",
            );
        }
    }
    Step::Send
}

/// Describes the redeemed part of a reward, which the vendor cannot take back.
fn loss(reward: &Snapshot) -> Option<String> {
    let id = &reward.reward_id;
    match reward.lost() {
        Some(lost) => Some(format!("reward {id}: {lost} {}", reward.unit.as_deref().unwrap_or("of unknown unit"))),
        None => (reward.state == "redeemed").then(|| format!("reward {id}")),
    }
}

fn check_cancellable(findings: &mut Findings, rewards: &[Snapshot], live: &[&Reward], now_ms: i64) {
    let outstanding: Vec<&Reward> = live
        .iter()
        .copied()
        .filter(|reward| {
            rewards.iter().any(|now| now.reward_id == reward.reward_id.as_str() && now.linked && now.is_outstanding())
        })
        .collect();
    let mut reasons: Vec<(String, &str)> = Vec::new();
    for reward in &outstanding {
        if let Some(why) = deadlines::not_cancellable(reward, reward.state(now_ms)) {
            reasons.push((reward.reward_id.to_string(), why));
        }
    }
    reasons.sort();
    reasons.dedup();
    let distinct: BTreeSet<&str> = outstanding.iter().map(|reward| reward.reward_id.as_str()).collect();
    if !reasons.is_empty() && reasons.len() == distinct.len() {
        let all: Vec<String> = reasons.iter().map(|(id, why)| format!("reward {id}: {why}")).collect();
        findings.stop(Check::NotCancellable, all.join("; "), "talk to the vendor about these rewards");
    } else {
        for (id, why) in reasons {
            findings.warn(Check::NotCancellable, format!("reward {id}: {why}"), "it will stay; the others go");
        }
    }
}

/// Reads the action, if the Brand API returns it. The vendor does not document whether the Brand API returns Advocate
/// events (`docs/vendor/brand.md` §3).
async fn action_facts(
    ctx: &Context<'_>,
    target: &Target,
    options: &Options,
    now: Timestamp,
    findings: &mut Findings,
) -> Result<ActionFacts> {
    // Only the action's amount shows whether a refund is partial.
    let is_wanted = options.read_action || options.refund.as_ref().is_some_and(RefundClaim::needs_the_action);
    let Some(action_id) = target.action_id().filter(|_| is_wanted) else { return Ok(ActionFacts::default()) };
    let found = match ctx.brand.action(action_id).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(ActionFacts::default()),
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Network | Kind::Vendor) => {
            findings.warn(
                Check::ActionUnread,
                format!("the action could not be read ({error}), so its locking date and amount were not checked"),
                "look at it under Engage → Transactions, or go ahead: the rewards are what counts",
            );
            return Ok(ActionFacts::default());
        }
        Err(error) => return Err(error),
    };
    let locking_date = found.locks_at();
    let money = |text: Option<&String>| text.and_then(|text| Decimal::parse(text));
    let mut program_type = None;
    // recoup needs the program's type only after the locking date. Therefore recoup requests the list of programs only
    // after the locking date.
    if locking_date.is_some_and(|locked| locked <= now) {
        let programs = ctx.programs().await.unwrap_or_default();
        let program = programs.iter().find(|program| Some(&program.id) == found.campaign_id.as_ref());
        program_type = program.and_then(|program| program.program_type.clone());
    }
    Ok(ActionFacts {
        amount: money(found.intended_amount.as_ref().or(found.amount.as_ref())),
        amount_now: money(found.amount.as_ref()),
        event_date: found.happened_at(),
        state: found.state,
        locking_date,
        program_type,
        currency: found.currency,
        action_tracker_id: found.action_tracker_id,
    })
}

/// Returns `true` if the vendor's reward has the same order and action as the indexed reward.
fn offers(live: &LiveReward, target: &Target, indexed: &IndexedReward) -> bool {
    if is_link_unseen(live, indexed) {
        return true;
    }
    let links = &live.extracted.links;
    let orders_agree = indexed.order_ids.iter().all(|order| links.iter().any(|l| l.order_id.as_ref() == Some(order)));
    let actions = || links.iter().filter_map(|link| link.action_id.as_ref());
    let action_agrees = match target {
        Target::Action(action_id) if is_linked(indexed, target) => actions().any(|id| id == action_id),
        // The index has no ActionId for this reward.
        Target::Action(action_id) => actions().all(|id| id == action_id),
        // If the reward now has an ActionId, recoup must not reverse by order ID instead.
        Target::Order { .. } => actions().next().is_none(),
    };
    orders_agree && action_agrees
}

/// Returns `true` if an earlier answer of another API had the reward's link, and the API of this answer returns no
/// links. If an API returns no links, a missing link in its answer proves nothing.
fn is_link_unseen(live: &LiveReward, indexed: &IndexedReward) -> bool {
    indexed.via != ApiSource::Rest && live.via != indexed.via && live.extracted.kind == LinkKind::Neither
}

fn changed(findings: &mut Findings, what: &str) {
    findings.stop(Check::Changed, format!("the index is out of date: {what}"), "run `recoup crawl`, then try again");
}

fn check_scope(findings: &mut Findings, target: &Target, coverage: &Coverage) {
    if let Target::Order { .. } = target {
        findings.warn(
            Check::ByOrder,
            "by order ID and action tracker the vendor's guide reverses every action of this pair, its help centre the newest one \
             only; which one happens is not certain",
            "look at every action of the order afterwards",
        );
    }
    if !coverage.complete {
        findings.warn(
            Check::Incomplete,
            format!(
                "the index is not complete ({} of {} read): this action may have a reward that is not known here",
                coverage.accounts_read,
                counted(coverage.accounts_known, "account")
            ),
            "run `recoup crawl` until it is complete, then `recoup verify`",
        );
    }
}
