//! Chooses the actions of an order, and checks that the index is certain about them. Reads only the index.
//!
//! The check stops if the index is uncertain. If the order has several actions, a person must choose. An ambiguous reward
//! needs a configured path. A person must name an ActionId of an unfamiliar shape.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::Options;
use super::checks::{Check, Findings};
use crate::error::{Details, Error, Kind, Result};
use crate::model::{ActionId, Coverage, OrderId, Target};
use crate::store::index::{IndexReader, IndexedReward, Match};
use crate::store::ledger::Channel;

/// The actions that the person's options select. Pure.
pub fn choose_targets(order_id: &OrderId, matches: &[Match], options: &Options) -> Result<Vec<Target>> {
    if matches.iter().any(|m| m.indexed.ambiguous) {
        return Err(Error::new(
            Kind::Ambiguous,
            "a reward of this order offers several order IDs or ActionIds, so which one is meant is not certain",
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

/// Every reward of the action, and the rewards of the same order that have no ActionId: they may belong to the action.
pub fn rewards_of(reader: &IndexReader, target: &Target, matches: &[Match]) -> Result<Vec<IndexedReward>> {
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

/// Whether a reward names the target, and not only the same order.
pub fn is_linked(reward: &IndexedReward, target: &Target) -> bool {
    target.action_id().is_none_or(|action_id| reward.action_ids.contains(action_id))
}

/// Checks that every known reward agrees about the order and the ActionId.
pub fn check_links(
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
    // A person who names the action accepts every order that the action is linked to.
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

/// Stops if the oldest reading of the rewards is too old. A complete refresh also counts as a reading of the rewards that it
/// skipped as unchanged.
pub fn check_age(
    findings: &mut Findings,
    known: &[IndexedReward],
    coverage: &Coverage,
    now: Timestamp,
    limit: Duration,
) {
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

/// Stops because a reversal of this action would also take another order's rewards.
pub fn linked_elsewhere(findings: &mut Findings, others: &str, named: bool) {
    let evidence = format!("this action is also linked to another order: {others}");
    let remedy = "retracting it takes that order's rewards too; if that is right, name the action with --action-id";
    if named {
        findings.warn(Check::Shared, evidence, "it was named, so that order's rewards go too");
    } else {
        findings.stop(Check::Shared, evidence, remedy);
    }
}
