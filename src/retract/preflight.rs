//! The rewards of an action as the vendor has them right now, and what speaks against taking them back.
//!
//! Every known reward is read live, in its account or by its ID. What the index says and what the vendor says must agree, or
//! this stops. It must never send anything.

use super::judge::Snapshot;
use super::live::{Known, LiveReward, Look, Place, look, snapshot};
use super::plan::{ActionPlan, Step};
use super::resolve::{is_linked, linked_elsewhere};
use super::{Options, Reads};
use crate::error::{Error, Kind, Result};
use crate::model::{Coverage, LinkKind, OrderId, Target};
use crate::store::index::{Index, IndexedReward, ReadReward, Via};

/// Reads every known reward of the action as it is now.
pub async fn preflight(
    reads: &Reads<'_>,
    order_id: &OrderId,
    target: Target,
    indexed: &[IndexedReward],
    coverage: &Coverage,
    several: bool,
    options: &Options,
) -> Result<ActionPlan> {
    let known: Vec<Known> = indexed
        .iter()
        .map(|r| Known { reward_id: r.reward.reward_id.clone(), account_id: r.listed_by.clone(), via: r.via })
        .collect();
    let seen = look(reads.advocate, reads.mapping, reads.clock, &known).await?;
    let now_ms = reads.clock.now_ms();
    let mut warnings = Vec::new();
    let (mut rewards, mut linked) = (Vec::new(), Vec::new());
    for (indexed, (known, place)) in indexed.iter().zip(&seen.found) {
        let id = &known.reward_id;
        match place {
            Place::Home(live) if live.extracted.kind != LinkKind::Ambiguous && offers(live, &target, indexed) => {
                let is_linked = if is_link_unseen(live, indexed) {
                    let from = if indexed.via == Via::Export { "an export" } else { "GraphQL, which does not answer" };
                    warnings.push(format!("reward {id}: its link is from {from}, and cannot be seen live"));
                    is_linked(indexed, &target)
                } else {
                    live.extracted.links.iter().any(|link| link.action_id.as_ref() == target.action_id())
                };
                let now = Snapshot { linked: is_linked, ..snapshot(&live.extracted.reward, now_ms) };
                if is_linked {
                    linked.push(id.clone());
                    rewards.push(now);
                } else if several {
                    // It may belong to any action of the order, so it proves or denies none of them.
                    warnings.push(format!(
                        "reward {id} carries this order without an ActionId ({}): look at it yourself",
                        now.state
                    ));
                } else {
                    warnings.push(format!(
                        "reward {id} carries this order without an ActionId: it is read afterwards, and must cancel too"
                    ));
                    rewards.push(now);
                }
            }
            Place::Home(_) => return Err(out_of_date(&format!("reward {id} is now linked to something else"))),
            Place::Elsewhere(_) => return Err(out_of_date(&format!("reward {id} has moved to another account"))),
            // A crawl has said so already: it is known, and it is not coming back.
            Place::Missing if indexed.gone => {
                warnings.push(format!("reward {id} no longer exists at the vendor and is no part of the proof"));
            }
            Place::Missing => return Err(out_of_date(&format!("reward {id} no longer exists at the vendor"))),
        }
    }
    // A reward of the same action that the index did not know is as much part of the proof as the others.
    for live in seen.of_target(&target) {
        let id = &live.extracted.reward.reward_id;
        if live.extracted.kind == LinkKind::Ambiguous {
            return Err(out_of_date(&format!("reward {id} of this action is ambiguous")));
        }
        let links = &live.extracted.links;
        if target.action_id().is_none() && links.iter().any(|link| link.action_id.is_some()) {
            return Err(out_of_date(&format!("reward {id} of this order has an ActionId now")));
        }
        let other = links.iter().filter_map(|link| link.order_id.as_ref()).find(|other| *other != order_id);
        if let Some(other) = other
            && options.action_id.is_none()
        {
            return Err(linked_elsewhere(&format!("{:?}", other.as_str())));
        }
        if !rewards.iter().any(|r| r.reward_id == id.as_str()) {
            rewards.push(snapshot(&live.extracted.reward, now_ms));
            linked.push(id.clone());
        }
    }
    rewards.sort_by(|a, b| a.reward_id.cmp(&b.reward_id));
    let cancelled = rewards.iter().filter(|r| r.state == "cancelled").count();
    // What merely carries the same order is no reason to send anything.
    let standing = rewards.iter().filter(|r| r.linked && (r.stands() || r.state == "partly_redeemed")).count();
    let step = if standing > 0 {
        Step::Send
    } else if cancelled == rewards.len() && cancelled > 0 {
        if !coverage.complete {
            return Err(Error::new(
                Kind::Refused,
                "every known reward of this action is cancelled already, but the index is not complete: others may stand",
            )
            .hint("run `recoup crawl`, then try again; nothing was sent"));
        }
        Step::AlreadyCancelled
    } else {
        return Err(Error::new(
            Kind::Refused,
            format!("it is too late: no reward of this action can be cancelled any more ({})", states(&rewards)),
        )
        .hint("what was redeemed cannot be cancelled, and what has expired is worth nothing; nothing was sent"));
    };
    warnings.extend(other_warnings(&target, &rewards, indexed, coverage));
    // Only now: a look that ended in a refusal must not change what the next one finds.
    refresh_index(reads, &target, &seen);
    Ok(ActionPlan { target, step, rewards, linked, warnings, again: None })
}

/// Whether a live reward still says what the index says of it.
fn offers(live: &LiveReward, target: &Target, indexed: &IndexedReward) -> bool {
    if is_link_unseen(live, indexed) {
        return true;
    }
    let links = &live.extracted.links;
    let orders_agree = indexed.order_ids.iter().all(|order| links.iter().any(|l| l.order_id.as_ref() == Some(order)));
    let actions = || links.iter().filter_map(|link| link.action_id.as_ref());
    let action_agrees = match target {
        Target::Action(action_id) if is_linked(indexed, target) => actions().any(|id| id == action_id),
        // Of the same order, and without an ActionId until now.
        Target::Action(action_id) => actions().all(|id| id == action_id),
        // An ActionId that turned up since makes the fallback unnecessary, and the plan wrong.
        Target::Order { .. } => actions().next().is_none(),
    };
    orders_agree && action_agrees
}

/// A link that another API has shown cannot be seen in a reward that offers none: that says nothing against it.
fn is_link_unseen(live: &LiveReward, indexed: &IndexedReward) -> bool {
    indexed.via != Via::Rest && live.via != indexed.via && live.extracted.kind == LinkKind::Neither
}

fn out_of_date(what: &str) -> Error {
    Error::new(Kind::Refused, format!("the index is out of date: {what}"))
        .hint("run `recoup crawl`, then try again; nothing was sent")
}

fn other_warnings(
    target: &Target,
    rewards: &[Snapshot],
    indexed: &[IndexedReward],
    coverage: &Coverage,
) -> Vec<String> {
    let mut list = Vec::new();
    if let Target::Order { .. } = target {
        list.push(
            "by order ID and action tracker the vendor's guide reverses every action of this pair, its help centre the newest \
             one only; which one happens is not certain"
                .to_owned(),
        );
    }
    for reward in rewards {
        if let Some(lost) = reward.lost() {
            let unit = reward.unit.as_deref().unwrap_or("of unknown unit");
            list.push(format!("reward {}: {lost} {unit} was redeemed and is lost", reward.reward_id));
        } else if reward.state == "redeemed" {
            list.push(format!("reward {} was redeemed and is lost", reward.reward_id));
        }
    }
    for reward in indexed.iter().filter(|r| r.reward.cancellable == Some(false)) {
        let id = &reward.reward.reward_id;
        if rewards.iter().any(|now| now.reward_id == id.as_str() && now.stands()) {
            list.push(format!("reward {id}: the vendor says that it is not cancellable"));
        }
    }
    if !coverage.complete {
        list.push(format!(
            "the index is not complete ({} of {} accounts read): this action may have a reward that is not known here",
            coverage.accounts_read, coverage.accounts_known
        ));
    }
    list
}

fn states(rewards: &[Snapshot]) -> String {
    rewards.iter().map(|r| r.state.as_str()).collect::<Vec<_>>().join(", ")
}

/// What was just read is newer than the index, so it goes there: the rewards that were asked about, and no verdict about
/// any that was not found. The index is a cache: not being able to write it stops nothing, and none is made here.
pub fn refresh_index(reads: &Reads<'_>, target: &Target, look: &Look) {
    if !reads.index.exists() {
        return;
    }
    let asked_at = look.accounts.iter().map(|asked| asked.asked_at).min().unwrap_or_else(|| reads.clock.now());
    let refreshed = Index::open(reads.index, reads.identity).and_then(|mut index| {
        for live in look.relevant(target).filter(|live| !live.extracted.reward.account_id.as_str().is_empty()) {
            let reward = ReadReward::new(live.extracted.clone(), &live.raw).via(live.via);
            index.record_reward(&reward, asked_at)?;
        }
        Ok(())
    });
    if let Err(error) = refreshed {
        reads.report.warn(format!("the index was not refreshed with what was read: {error}"));
    }
}
