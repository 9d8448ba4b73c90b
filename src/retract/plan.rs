//! Plans a retraction: finds the order's actions, reads their current rewards, and collects the findings of every
//! check.
//!
//! A dry run and a real run make the plan with the same code. Planning reads the index, the ledger and the vendor's
//! data, and sends nothing that changes data at the vendor. The plan stops if the vendor's answer or the index is
//! uncertain. An ambiguous reward needs a configured path. A person must choose among several actions, or confirm an
//! ActionId of an unfamiliar shape.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::checks::{Check, Finding, Findings};
use super::deadlines::ActionFacts;
use super::preflight::{Inputs, preflight};
use super::proof::Snapshot;
use super::referral::ReferralSnapshot;
use super::resend::{self, Resend};
use super::{Context, Options, readiness};
use crate::error::{Details, Error, Kind, Result};
use crate::lookup::{self, describe_coverage};
use crate::model::program_rule::ProgramRule;
use crate::model::{ActionId, Coverage, OrderId, RewardId, Target};
use crate::store::index::{ApiSource, IndexReader, IndexedReward, Match};
use crate::store::ledger::{Channel, Event, Ledger, NewRetraction, Retraction, State};

/// What recoup does with one action of the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send the action, because the ledger shows that the vendor never received it.
    Send,
    /// Follow the earlier retraction of the action, or report how it ended. recoup does not send the action twice.
    Follow(Box<Retraction>),
    AlreadyCancelled,
    /// Send nothing, because a check stops the action and the person has not overridden that check.
    Stop,
}

#[derive(Debug, Clone)]
pub struct ActionPlan {
    pub target: Target,
    pub step: Step,
    /// The current rewards of the action, and the rewards of the same order that have no ActionId.
    pub rewards: Vec<Snapshot>,
    pub referrals: Vec<ReferralSnapshot>,
    /// The rewards that contain this ActionId.
    pub linked: Vec<RewardId>,
    pub program_id: Option<String>,
    pub rules: Vec<ProgramRule>,
    /// When the purchase happened; `None` if the time is unknown or if the plan sends nothing.
    pub event_at: Option<Timestamp>,
    pub findings: Findings,
    /// What the Brand API returned about the action; empty if recoup did not read the action.
    pub facts: ActionFacts,
    /// The previous attempts of a resend; `None` for a first attempt.
    pub again: Option<Resend>,
}

impl ActionPlan {
    fn new(target: Target, step: Step, findings: Findings) -> Self {
        Self {
            target,
            step,
            rewards: Vec::new(),
            referrals: Vec::new(),
            linked: Vec::new(),
            program_id: None,
            rules: Vec::new(),
            event_at: None,
            findings,
            facts: ActionFacts::default(),
            again: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub order_id: OrderId,
    pub coverage: Coverage,
    pub actions: Vec<ActionPlan>,
    /// When recoup read the data of this plan. The dispatcher renews an old plan before it sends.
    pub made: Instant,
    /// How far this machine's clock was ahead of the vendor's when the plan was made, in seconds.
    pub clock_ahead: Option<i64>,
}

/// The plan of one action, in the form that the ledger stores.
#[derive(Debug, Default, Serialize, serde::Deserialize)]
pub struct StoredPlan {
    pub rewards: Vec<Snapshot>,
    #[serde(default)]
    pub referrals: Vec<ReferralSnapshot>,
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The names of the overridden checks.
    #[serde(default)]
    pub overridden: Vec<String>,
    #[serde(default)]
    pub coverage: serde_json::Value,
    /// The previous attempts of a resend; `None` for a first attempt.
    #[serde(default)]
    pub again: Option<Resend>,
    #[serde(default)]
    pub program_rules: Vec<ProgramRule>,
    /// How far this machine's clock was ahead of the vendor's, in seconds. The ledger's dates are from this machine's
    /// clock. Therefore the proof corrects the ledger's dates by the clock difference.
    #[serde(default)]
    pub clock_ahead: Option<i64>,
}

impl StoredPlan {
    pub fn of(retraction: &Retraction) -> Result<Self> {
        serde_json::from_value(retraction.plan.clone()).map_err(|error| {
            Error::new(Kind::Storage, format!("the plan of retraction {} is damaged: {error}", retraction.id))
        })
    }
}

/// Builds the ledger entry for one action of a plan. `extra` adds one field to the stored plan.
pub fn ledger_entry(
    plan: &Plan,
    action: &ActionPlan,
    options: &Options,
    extra: Option<(&str, Value)>,
) -> NewRetraction {
    // The fields of [`StoredPlan`].
    let mut stored = json!({
        "rewards": action.rewards,
        "referrals": action.referrals,
        "findings": action.findings.list(),
        "overridden": action.findings.overridden(),
        "coverage": plan.coverage,
        "again": action.again,
        "program_rules": action.rules,
        "clock_ahead": plan.clock_ahead,
    });
    if let Some((key, value)) = extra {
        stored[key] = value;
    }
    NewRetraction {
        channel: options.channel,
        target: action.target.clone(),
        order_id: plan.order_id.clone(),
        disposition: options.disposition.clone(),
        reason: options.reason.clone(),
        ticket: options.ticket.clone(),
        batch: options.batch.clone(),
        program_id: action.program_id.clone(),
        rewards: action.linked.clone(),
        plan: stored,
    }
}

struct IndexedOrder {
    coverage: Coverage,
    is_found: bool,
    several: bool,
    actions: Vec<IndexedAction>,
}

struct IndexedAction {
    target: Target,
    /// The action's rewards, and the rewards of the same order that have no ActionId.
    rewards: Vec<IndexedReward>,
    /// IDs of the referrals of the rewards that GraphQL returned.
    referrals: Vec<String>,
}

/// Plans one order, or only the action in `only`.
pub async fn make(
    ctx: &Context<'_>,
    ledger: Option<&Ledger>,
    order_id: &OrderId,
    options: &Options,
    only: Option<&Target>,
) -> Result<Plan> {
    let indexed = ctx.read_index(|index| match index {
        Some(index) => read_index(index, ledger, order_id, options, only).map(Some),
        None => Ok(None),
    })?;
    let Some(IndexedOrder { coverage, is_found, several, actions: indexed }) = indexed else {
        return from_ledger(ledger, order_id, Coverage::default(), options)?.ok_or_else(|| {
            Error::new(Kind::NotIndexed, "there is no index yet")
                .hint("run `recoup crawl` first, or `recoup lookup ORDER --participant EMAIL`")
        });
    };
    if !is_found {
        return match from_ledger(ledger, order_id, coverage.clone(), options)? {
            Some(plan) => Ok(plan),
            None => Err(ctx.read_index(|index| not_indexed(index, order_id, &coverage))?),
        };
    }
    let mut actions = Vec::new();
    for IndexedAction { target, rewards: known, referrals } in indexed {
        let linked: Vec<RewardId> =
            known.iter().filter(|r| is_linked(r, &target)).map(|r| r.reward.reward_id.clone()).collect();
        let found = ledger.map(|ledger| sent_before(ledger, &target, order_id, &linked)).transpose()?.flatten();
        if let Some(found) = &found
            && found.state == State::HandedOver
        {
            return Err(handed_over(found));
        }
        if let Some(found) = found.as_ref().filter(|found| !options.resend || !found.state.is_open()) {
            let rewards = StoredPlan::of(found)?.rewards;
            let step = Step::Follow(Box::new(found.clone()));
            actions.push(ActionPlan { rewards, linked, ..ActionPlan::new(target, step, Findings::default()) });
            continue;
        }
        let mut again = None;
        if let Some(ledger) = ledger.filter(|_| options.channel.takes_all_back()) {
            check_refused_before(ledger, &target, order_id, options)?;
            if options.resend && options.channel == Channel::Reversal {
                again = resend::again(ledger, &target, found.as_ref(), options, ctx.clock.now())?;
            }
        }
        let mut findings = Findings::new(&options.overrides);
        check_links(&mut findings, order_id, &target, &known, options);
        check_age(&mut findings, &known, &coverage, ctx.clock.now(), options.max_index_age);
        let inputs = Inputs {
            order_id,
            target: &target,
            indexed: &known,
            coverage: &coverage,
            referrals: &referrals,
            several,
            options,
        };
        let mut action = preflight(ctx, inputs, findings).await?;
        if let (Some(ledger), Some(again)) = (ledger, again) {
            resend::apply(ledger, &mut action, again)?;
        }
        actions.push(action);
    }
    let clock_ahead = ctx.clock_ahead();
    Ok(Plan { order_id: order_id.clone(), coverage, actions, made: Instant::now(), clock_ahead })
}

fn read_index(
    index: &IndexReader,
    ledger: Option<&Ledger>,
    order_id: &OrderId,
    options: &Options,
    only: Option<&Target>,
) -> Result<IndexedOrder> {
    if let Some(fault) = readiness::ledger_fault(Some(index), ledger)? {
        return Err(fault.refusal());
    }
    let coverage = index.coverage()?;
    let matches = index.find(order_id)?;
    let targets = if matches.is_empty() { Vec::new() } else { choose_targets(order_id, &matches, options)? };
    let several =
        targets.len() > 1 || matches.iter().filter_map(|m| m.action_id.as_ref()).collect::<BTreeSet<_>>().len() > 1;
    let mut actions = Vec::new();
    for target in targets.into_iter().filter(|target| only.is_none_or(|only| only == target)) {
        let rewards = rewards_of(index, &target, &matches)?;
        let by_graphql = rewards.iter().filter(|indexed| indexed.via == ApiSource::GraphQl);
        let referrals = index.referral_ids(by_graphql.map(|indexed| &indexed.reward.reward_id))?;
        actions.push(IndexedAction { target, rewards, referrals });
    }
    Ok(IndexedOrder { coverage, is_found: !matches.is_empty(), several, actions })
}

/// Returns the actions of the order that the options select.
fn choose_targets(order_id: &OrderId, matches: &[Match], options: &Options) -> Result<Vec<Target>> {
    if matches.iter().any(|m| m.indexed.ambiguous) {
        return Err(Error::new(
            Kind::Ambiguous,
            "a reward of this order has several order IDs or ActionIds, and nothing says which is right",
        )
        .hint("set [mapping] order_id and action_id in recoup.toml to the JSONPath that is right, then run `recoup crawl --from-raw`"));
    }
    let actions: BTreeSet<&ActionId> = matches.iter().filter_map(|m| m.action_id.as_ref()).collect();
    if let Some(tracker) = &options.action_tracker {
        if !actions.is_empty() {
            return Err(Error::new(
                Kind::Refused,
                "the index has the ActionId of this order, so the action tracker is not needed",
            )
            .hint("leave --action-tracker out: naming one action is safer than naming an order"));
        }
        return Ok(vec![Target::Order { order_id: order_id.clone(), action_tracker_id: tracker.clone() }]);
    }
    let action_ids = || actions.iter().map(ToString::to_string).collect();
    if let Some(named) = &options.action_id {
        return if actions.contains(named) {
            Ok(vec![Target::Action(named.clone())])
        } else {
            Err(Error::new(Kind::Refused, format!("action {named} does not belong to this order in the index"))
                .details(Details { action_ids: action_ids(), ..Details::default() })
                .hint("`recoup lookup ORDER` lists the actions of an order"))
        };
    }
    match actions.len() {
        0 => {
            Err(Error::new(Kind::Refused, "the index has this order without an ActionId").hint(match options.channel {
                Channel::Modification => "an adjustment needs the ActionId: look the order up in the vendor's platform",
                _ => "to retract by order ID, name the event type with --action-tracker ID (Settings → Event Types)",
            }))
        }
        1 => Ok(actions.into_iter().cloned().map(Target::Action).collect()),
        n if options.all => {
            debug_assert!(n > 1, "several actions");
            Ok(actions.into_iter().cloned().map(Target::Action).collect())
        }
        n => {
            let list: Vec<String> = action_ids();
            Err(Error::new(Kind::Ambiguous, format!("this order has {n} actions: {}", list.join(", ")))
                .details(Details { action_ids: list, ..Details::default() })
                .hint(match options.channel {
                    Channel::Reversal => "name one with --action-id ID, or take all back with --all",
                    Channel::File => "a line of a file names an order and not an action: use `recoup retract` with --action-id ID or --all",
                    _ => "name one with --action-id ID",
                }))
        }
    }
}

/// Returns every reward of the action, and the rewards of the same order without an ActionId. A reward without an
/// ActionId may belong to the action.
fn rewards_of(reader: &IndexReader, target: &Target, matches: &[Match]) -> Result<Vec<IndexedReward>> {
    let mut found = match target {
        Target::Action(action_id) => reader.rewards_of_action(action_id)?,
        Target::Order { .. } => Vec::new(),
    };
    for other in matches.iter().filter(|m| m.action_id.is_none()) {
        if found.iter().all(|known| known.reward.reward_id != other.indexed.reward.reward_id) {
            found.push(other.indexed.clone());
        }
    }
    Ok(found)
}

/// Returns `true` if the reward contains the target's ActionId, or if the target is a whole order.
pub fn is_linked(reward: &IndexedReward, target: &Target) -> bool {
    target.action_id().is_none_or(|action_id| reward.action_ids.contains(action_id))
}

/// Checks that every known reward agrees about the order and the ActionId.
fn check_links(
    findings: &mut Findings,
    order_id: &OrderId,
    target: &Target,
    known: &[IndexedReward],
    options: &Options,
) {
    if known.is_empty() {
        findings.stop(Check::NoReward, "no reward of this action is in the index", "run `recoup crawl`");
    }
    if known.iter().any(|reward| reward.ambiguous) {
        findings.stop(
            Check::Ambiguous,
            "a reward of this action offers several order IDs or ActionIds",
            "set [mapping] in recoup.toml, then run `recoup crawl --from-raw`",
        );
    }
    // If the person names the ActionId, that choice accepts every order that is linked to the action.
    let named = options.action_id.as_ref() == target.action_id() && options.action_id.is_some();
    let others: BTreeSet<&str> = known
        .iter()
        .filter(|r| is_linked(r, target))
        .flat_map(|r| &r.order_ids)
        .filter(|o| *o != order_id)
        .map(OrderId::as_str)
        .collect();
    if !others.is_empty() {
        linked_elsewhere(findings, &format!("{others:?}"), named);
    }
    if let Some(action_id) = target.action_id()
        && !action_id.is_familiar()
        && known.iter().any(|reward| reward.action_by_search && is_linked(reward, target))
    {
        let evidence = format!(
            "{:?} was found by searching, and does not look like an ActionId (three dotted groups of digits)",
            action_id.as_str()
        );
        let remedy = "if it is one, name it with --action-id, or set [mapping] action_id in recoup.toml";
        if named {
            findings.warn(Check::Unfamiliar, evidence, "it was named, so it goes");
        } else {
            findings.stop(Check::Unfamiliar, evidence, remedy);
        }
    }
}

/// Adds a stop if the oldest reading of the rewards is older than `limit`. A complete refresh counts as a reading of
/// every reward that the refresh skipped as unchanged.
fn check_age(findings: &mut Findings, known: &[IndexedReward], coverage: &Coverage, now: Timestamp, limit: Duration) {
    let as_of: Option<Timestamp> =
        coverage.as_of.as_deref().filter(|_| coverage.complete).and_then(|at| at.parse().ok());
    let seen_at = |reward: &IndexedReward| as_of.map_or(reward.read_at, |as_of| reward.read_at.max(as_of));
    let Some(oldest) = known.iter().filter(|reward| !reward.gone).map(seen_at).min() else { return };
    if Duration::try_from(now.duration_since(oldest)).is_ok_and(|age| age > limit) {
        findings.stop(
            Check::Stale,
            format!("the index is out of date: this order was last read at {oldest:.0}"),
            "run `recoup crawl`, or `recoup lookup ORDER --participant EMAIL`, or allow it with --max-index-age",
        );
    }
}

/// Adds a stop: a reversal of this action would also take back the rewards of another order.
pub fn linked_elsewhere(findings: &mut Findings, others: &str, named: bool) {
    let evidence = format!("this action is also linked to another order: {others}");
    let remedy = "retracting it takes that order's rewards too; if that is right, name the action with --action-id";
    if named {
        findings.warn(Check::Shared, evidence, "it was named, so that order's rewards go too");
    } else {
        findings.stop(Check::Shared, evidence, remedy);
    }
}

/// Makes a plan from the ledger alone, for an order that the index lacks.
fn from_ledger(
    ledger: Option<&Ledger>,
    order_id: &OrderId,
    coverage: Coverage,
    options: &Options,
) -> Result<Option<Plan>> {
    let Some(ledger) = ledger else { return Ok(None) };
    // Only the index knows all actions of an order. The ledger knows only the actions that recoup sent.
    if options.all {
        return Ok(None);
    }
    let asked_for = |retraction: &Retraction| {
        retraction.state.may_have_been_sent()
            && retraction.channel.takes_all_back()
            && (options.action_id.is_none() || options.action_id == retraction.action_id)
            && (options.action_tracker.is_none() || options.action_tracker == retraction.action_tracker_id)
    };
    let mut actions = Vec::new();
    for retraction in ledger.of_order(order_id)?.into_iter().filter(asked_for) {
        let mut findings = Findings::default();
        let evidence = "the index does not have this order: it may have other actions";
        findings.warn(Check::NotIndexed, evidence, "run `recoup crawl`");
        let rewards = StoredPlan::of(&retraction)?.rewards;
        let (target, step) = (retraction.target(), Step::Follow(Box::new(retraction)));
        actions.push(ActionPlan { rewards, ..ActionPlan::new(target, step, findings) });
    }
    let (order_id, made) = (order_id.clone(), Instant::now());
    Ok((!actions.is_empty()).then_some(Plan { order_id, coverage, actions, made, clock_ahead: None }))
}

/// Builds the error for an order ID that the index lacks. The error suggests indexed orders with a similar ID.
fn not_indexed(index: Option<&IndexReader>, order_id: &OrderId, coverage: &Coverage) -> Result<Error> {
    let error = |message| Error::new(Kind::NotIndexed, message);
    if let Some(unclear) = index.map(|index| lookup::why_unclear(index, order_id)).transpose()?.flatten() {
        return Ok(error(unclear).hint(format!(
            "order IDs match exactly, and nothing was sent: name the order exactly, {}",
            describe_coverage(coverage)
        )));
    }
    let absent = if coverage.complete { "not a referral order" } else { "not in what has been read so far" };
    Ok(error(format!("{absent}, {}", describe_coverage(coverage)))
        .hint("if the order is recent, run `recoup crawl`, or `recoup lookup ORDER --participant EMAIL`"))
}

/// Returns a retraction that may already have reached the vendor for this target. The returned retraction has the same
/// target, another target with the same rewards, or the whole order as its target.
pub fn sent_before(
    ledger: &Ledger,
    target: &Target,
    order_id: &OrderId,
    rewards: &[RewardId],
) -> Result<Option<Retraction>> {
    if let Some(newest) = ledger.newest(target)?
        && newest.state.may_have_been_sent()
    {
        return Ok(Some(newest));
    }
    // An adjustment does not reverse the action, and neither does the cancellation of one reward.
    let sent = |retraction: &Retraction| retraction.state.may_have_been_sent() && retraction.channel.takes_all_back();
    if let Some(by_file) = ledger.attempts_by(Channel::File, &target.key())?.into_iter().rfind(sent) {
        return Ok(Some(by_file));
    }
    if let Some(same_reward) = ledger.of_rewards(rewards)?.into_iter().rfind(sent) {
        return Ok(Some(same_reward));
    }
    // A reversal by order ID, such as a line of a reversal file, may reach every action of the order or only the
    // newest. The vendor does not document which. An open reversal by order ID blocks every other send for the order.
    // Any earlier send for the order blocks a reversal by order ID.
    let by_order = matches!(target, Target::Order { .. });
    Ok(ledger.of_order(order_id)?.into_iter().rfind(|other| {
        let other_by_order = matches!(other.target(), Target::Order { .. }) || other.channel == Channel::File;
        sent(other) && (by_order || (other_by_order && other.state.is_open()))
    }))
}

/// Builds the error for an order that is a line of a reversal file.
pub fn handed_over(found: &Retraction) -> Error {
    let id = found.id;
    Error::new(Kind::Refused, format!("this order was handed over by file (retraction {id})")).hint(format!(
        "`recoup file check` settles it once the vendor has the file; if it was never handed in, `recoup file release {id} \
         --ticket T`; nothing was sent, because two channels would reverse it twice"
    ))
}

/// Returns an error if an earlier send to the target *failed* or was *not received*, and the person does not request a
/// resend.
pub fn check_refused_before(ledger: &Ledger, target: &Target, order_id: &OrderId, options: &Options) -> Result<()> {
    // An attempt that recoup never sent does not change the outcome of the previous attempt.
    let ended = |event: &Event| event.state.may_be_resent();
    let mut attempts = ledger.attempts(target)?;
    // A line of a reversal file that the vendor refused also counts as an attempt for the reversal channel. A new
    // reversal file may contain the refused line again.
    if options.channel == Channel::Reversal {
        let refused = |other: &Retraction| other.channel == Channel::File && other.state == State::Failed;
        attempts.extend(ledger.of_order(order_id)?.into_iter().filter(refused));
        attempts.sort_by_key(|attempt| attempt.id);
    }
    let newest = attempts.into_iter().rev().find_map(|attempt| {
        let end = attempt.events.into_iter().rfind(ended)?;
        Some((attempt.id, end))
    });
    let Some((id, end)) = newest.filter(|_| !options.resend) else { return Ok(()) };
    let (what, hint) = match end.state {
        State::Failed => {
            ("the vendor refused this before", "fix the cause, then send it again with --resend --reason TEXT")
        }
        State::NotReceived => {
            ("the vendor did not receive this before", "if it should be sent again, add --resend --reason TEXT")
        }
        _ => (
            "this was sent before, and its rewards were not cancelled",
            "compare its rewards with the vendor's Reward Feed first; to send it again, add --resend --reason TEXT",
        ),
    };
    Err(Error::new(Kind::VendorRefused, format!("{what} (retraction {id}): {}", end.message)).hint(hint))
}
