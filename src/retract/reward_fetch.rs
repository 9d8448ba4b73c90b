//! Reads the current states of an action's rewards from the vendor.
//!
//! recoup looks for each known reward in its last known account, and then by its ID. Every answer about a reward must
//! match the tenant, the account and the reward of the request. The caller decides what a missing or moved reward means
//! for the retraction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Context;
use super::proof::{MISSING, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::extract::{Extracted, Mapping, read};
use crate::model::{AccountId, Link, LinkKind, Reward, RewardId, RewardState, Target};
use crate::store::index::{ApiSource, ReadReward};
use crate::store::ledger::FORGOTTEN;
use crate::vendor::graphql::Graph;
use crate::vendor::{ReferralAnswer, Rewards};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownReward {
    pub reward_id: RewardId,
    pub account_id: AccountId,
    /// The API that returned the reward's link to the order. Another API may omit the reward's link to the order.
    pub via: ApiSource,
}

#[derive(Debug, Clone)]
pub struct LiveReward {
    pub raw: String,
    pub extracted: Extracted,
    pub via: ApiSource,
}

#[derive(Debug, Clone)]
pub enum Location {
    /// recoup found the reward in its last known account.
    SameAccount(Box<LiveReward>),
    /// recoup found the reward by its ID, in another account.
    OtherAccount(Box<LiveReward>),
    Missing,
}

#[derive(Debug, Clone)]
pub struct FetchedRewards {
    /// One entry per known reward, in the order of the caller's list.
    pub found: Vec<(KnownReward, Location)>,
    /// The rewards of each account that recoup read from the vendor. The caller writes the rewards of the accounts that
    /// recoup read into the index.
    pub accounts: Vec<FetchedAccount>,
    /// The current time by the vendor's clock, or by this machine's clock if `clock_error` is set.
    pub now: Timestamp,
    /// Why recoup cannot use the vendor's clock. If recoup cannot use the vendor's clock, no date proves anything.
    pub clock_error: Option<Error>,
    /// Referrals from the same GraphQL documents as the rewards, by ID.
    pub referrals: Vec<(String, ReferralAnswer)>,
}

impl FetchedRewards {
    /// Returns the rewards of the fetched accounts that contain the target's ActionId or, for an order target, its
    /// order ID.
    pub fn of_target(&self, target: &Target) -> impl Iterator<Item = &LiveReward> {
        let live = self.accounts.iter().flat_map(|asked| asked.rewards.iter().flatten());
        live.filter(move |live| {
            live.extracted.links.iter().any(|link| match target {
                Target::Action(action_id) => link.action_id.as_ref() == Some(action_id),
                Target::Order { order_id, .. } => link.order_id.as_ref() == Some(order_id),
            })
        })
    }

    /// Returns the known rewards that recoup found, and every reward of the target. A reward may be in the result
    /// twice. Not every returned reward belongs to the action: see [`Snapshot::linked`].
    pub fn relevant(&self, target: &Target) -> impl Iterator<Item = &LiveReward> {
        let found = self.found.iter().filter_map(|(_, place)| match place {
            Location::SameAccount(live) | Location::OtherAccount(live) => Some(&**live),
            Location::Missing => None,
        });
        found.chain(self.of_target(target))
    }

    /// Writes the fetched rewards into the index, but not the missing and moved rewards. The next crawl updates the
    /// missing and moved rewards, because only the reward list of the other account proves a move.
    pub fn record_in_index(&self, ctx: &Context<'_>, target: &Target) {
        let asked_at = self.accounts.iter().map(|asked| asked.asked_at).min().unwrap_or_else(|| ctx.clock.now());
        let at_home = self.found.iter().filter_map(|(_, place)| match place {
            Location::SameAccount(live) => Some(&**live),
            Location::OtherAccount(_) | Location::Missing => None,
        });
        record_rewards(ctx, at_home.chain(self.of_target(target)), asked_at);
    }
}

/// Writes rewards from the vendor into the index. Skips a reward without an account.
pub(super) fn record_rewards<'a>(ctx: &Context<'_>, live: impl Iterator<Item = &'a LiveReward>, asked_at: Timestamp) {
    ctx.cache_in_index(|index| {
        for live in live.filter(|live| !live.extracted.reward.account_id.as_str().is_empty()) {
            let reward = ReadReward::new(live.extracted.clone(), &live.raw).via(live.via);
            index.record_reward(&reward, asked_at)?;
        }
        Ok(())
    });
}

#[derive(Debug, Clone)]
pub struct FetchedAccount {
    pub account: AccountId,
    /// The rewards of the account; `None` if the vendor does not know the account.
    pub rewards: Option<Vec<LiveReward>>,
    pub asked_at: Timestamp,
}

/// Reads every known reward from the vendor. Reading the known rewards costs one request per account, and one more for
/// each reward that its account does not list. If GraphQL returned a reward's link, this function reads that reward's
/// account by GraphQL, because Get Rewards may omit the link.
///
/// Each GraphQL document reads one account's rewards and one referral, so the number of accounts that are read by
/// GraphQL limits the number of referrals.
pub async fn fetch(ctx: &Context<'_>, known: &[KnownReward], referrals: &[String]) -> Result<FetchedRewards> {
    let mut accounts: Vec<FetchedAccount> = Vec::new();
    let (mut wanted, mut answered) = (referrals.iter(), Vec::new());
    // recoup cannot read a forgotten account. Therefore recoup reads the rewards of a forgotten account by their IDs.
    for reward in known.iter().filter(|reward| reward.account_id.as_str() != FORGOTTEN) {
        if accounts.iter().all(|asked| asked.account != reward.account_id) {
            let by_graphql =
                known.iter().any(|other| other.account_id == reward.account_id && other.via == ApiSource::GraphQl);
            let asked = if by_graphql {
                let referral = wanted.next();
                let both = ask_by_graphql(ctx, &reward.account_id, known, referral).await?;
                both.map(|(asked, answer)| {
                    answered.extend(referral.cloned().zip(answer));
                    asked
                })
            } else {
                None
            };
            accounts.push(match asked {
                Some(asked) => asked,
                None => ask(ctx, &reward.account_id).await?,
            });
        }
    }
    let of_referrals = known_in_referrals(ctx, &answered, known);
    accounts.extend(of_referrals);
    let (now, _) = ctx.vendor_now_or_own();
    keep_most_cautious(&mut accounts, now.as_millisecond());
    let mut found = Vec::with_capacity(known.len());
    for reward in known {
        let place = match listed(&accounts, reward) {
            Some(place) => place,
            None => by_id(ctx, reward).await?,
        };
        found.push((reward.clone(), place));
    }
    let (now, clock_error) = ctx.vendor_now_or_own();
    Ok(FetchedRewards {
        found,
        accounts,
        now,
        clock_error: clock_error.filter(|_| !known.is_empty()),
        referrals: answered,
    })
}

/// Extracts known rewards from the referrals, in case no account lists them. GraphQL returns the order IDs and ActionIds
/// of such a reward with it.
fn known_in_referrals(
    ctx: &Context<'_>,
    answered: &[(String, ReferralAnswer)],
    known: &[KnownReward],
) -> Vec<FetchedAccount> {
    let rewards = answered.iter().flat_map(|(_, answer)| match answer {
        ReferralAnswer::Read(referral) => referral.rewards.as_slice(),
        ReferralAnswer::Unreadable(_) => &[],
    });
    let read = rewards.filter_map(|raw| parse_reward(ctx, raw.get(), None, ApiSource::GraphQl).ok());
    let of_known = read.filter(|live| known.iter().any(|known| known.reward_id == live.extracted.reward.reward_id));
    let asked_at = ctx.clock.now();
    let account = |live: LiveReward| {
        let account = live.extracted.reward.account_id.clone();
        FetchedAccount { account, rewards: Some(vec![live]), asked_at }
    };
    of_known.map(account).collect()
}

/// Finds a known reward in the fetched accounts; `None` if no account lists it.
pub(super) fn listed(accounts: &[FetchedAccount], known: &KnownReward) -> Option<Location> {
    let mut all = accounts.iter().flat_map(|asked| asked.rewards.iter().flatten());
    let live = all.find(|live| live.extracted.reward.reward_id == known.reward_id)?;
    Some(Location::of(live.clone(), known))
}

/// Resolves duplicates of a reward, in one list or across accounts. Keeps the version that is the strongest evidence
/// against a cancellation. Marks the reward as ambiguous if its versions have different links.
pub(super) fn keep_most_cautious(accounts: &mut [FetchedAccount], now_ms: i64) {
    struct Kept {
        weight: (u8, i64, bool, i64),
        at: usize,
        /// The links that any version of the reward has.
        links: Vec<Link>,
        is_linked_otherwise: bool,
    }
    let mut kept: HashMap<RewardId, Kept> = HashMap::new();
    for (at, live) in accounts.iter().flat_map(|asked| asked.rewards.iter().flatten()).enumerate() {
        let (reward, links) = (&live.extracted.reward, &live.extracted.links);
        let weight = reward.weight(now_ms);
        match kept.entry(reward.reward_id.clone()) {
            Entry::Vacant(free) => {
                free.insert(Kept { weight, at, links: links.clone(), is_linked_otherwise: false });
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if weight < known.weight {
                    (known.weight, known.at) = (weight, at);
                }
                if known.links != *links {
                    known.is_linked_otherwise = true;
                    known.links.extend(links.iter().cloned());
                }
            }
        }
    }
    let mut at = 0;
    for rewards in accounts.iter_mut().filter_map(|asked| asked.rewards.as_mut()) {
        rewards.retain_mut(|live| {
            let of_it = kept.get(&live.extracted.reward.reward_id);
            let is_kept = of_it.is_some_and(|kept| kept.at == at);
            if let Some(of_it) = of_it.filter(|kept| is_kept && kept.is_linked_otherwise) {
                live.extracted.links.clone_from(&of_it.links);
                live.extracted.kind = LinkKind::Ambiguous;
            }
            at += 1;
            is_kept
        });
    }
}

impl Location {
    pub(super) fn of(live: LiveReward, known: &KnownReward) -> Self {
        let account = &live.extracted.reward.account_id;
        let is_home = *account == known.account_id || known.account_id.as_str() == FORGOTTEN;
        if is_home { Self::SameAccount(Box::new(live)) } else { Self::OtherAccount(Box::new(live)) }
    }
}

async fn ask(ctx: &Context<'_>, account: &AccountId) -> Result<FetchedAccount> {
    let asked_at = ctx.clock.now();
    let rewards = match ctx.advocate.rewards(account, None).await? {
        Rewards::NoSuchAccount => None,
        Rewards::Listed(list) => {
            let parse = |raw: Box<RawValue>| parse_reward(ctx, raw.get(), Some(account), ApiSource::Rest);
            Some(list.into_iter().map(parse).collect::<Result<_>>()?)
        }
    };
    Ok(FetchedAccount { account: account.clone(), rewards, asked_at })
}

/// Reads the rewards of an account by GraphQL. Returns `None` if the vendor refuses the query. After a refused GraphQL
/// query, the caller uses Get Rewards, which omits some links. A damaged GraphQL answer is an error, because Get
/// Rewards would hide its content.
///
/// The vendor applies the GraphQL filter, and may return rewards of other accounts. This function keeps a reward of
/// another account only if recoup knows the reward, this account also lists it, or the reward has no account ID.
async fn ask_by_graphql(
    ctx: &Context<'_>,
    account: &AccountId,
    known: &[KnownReward],
    referral: Option<&String>,
) -> Result<Option<(FetchedAccount, Option<ReferralAnswer>)>> {
    let (asked_at, filter) = (ctx.clock.now(), json!({"accountId_eq": account.as_str()}));
    let answer = match referral {
        None => match ctx.advocate.graph_rewards_of(&filter).await? {
            Graph::Answer(listed) => Graph::Answer((listed, None)),
            Graph::Refused(refusal) => Graph::Refused(refusal),
        },
        Some(id) => match ctx.advocate.graph_rewards_and_referral(&filter, id).await? {
            Graph::Answer((listed, referral)) => Graph::Answer((listed, Some(referral))),
            Graph::Refused(refusal) => Graph::Refused(refusal),
        },
    };
    let Graph::Answer((listed, referral)) = answer else { return Ok(None) };
    let (own, others): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|reward| reward.account.as_ref() == Some(account));
    let is_asked =
        |id: &RewardId| known.iter().any(|known| known.reward_id == *id) || own.iter().any(|reward| reward.id == *id);
    if others.iter().any(|reward| reward.account.is_none() || is_asked(&reward.id)) {
        return Err(foreign("another account"));
    }
    let parsed = own.iter().map(|reward| parse_reward(ctx, reward.raw.get(), Some(account), ApiSource::GraphQl));
    let looked = FetchedAccount { account: account.clone(), rewards: Some(parsed.collect::<Result<_>>()?), asked_at };
    Ok(Some((looked, referral)))
}

async fn by_id(ctx: &Context<'_>, reward: &KnownReward) -> Result<Location> {
    let Some(raw) = ctx.advocate.reward(&reward.reward_id).await? else { return Ok(Location::Missing) };
    Ok(Location::of(parse_reward(ctx, &raw, None, ApiSource::Rest)?, reward))
}

/// Parses a reward and checks its tenant and, if `asked` is set, its account. A reward that recoup cannot parse is an
/// error, because it may be any reward.
pub(super) fn parse_reward(
    ctx: &Context<'_>,
    raw: &str,
    asked: Option<&AccountId>,
    via: ApiSource,
) -> Result<LiveReward> {
    parse_reward_of(raw, asked, ctx.advocate.tenant(), ctx.mapping, via)
}

pub(super) fn parse_reward_of(
    raw: &str,
    asked: Option<&AccountId>,
    tenant: &str,
    mapping: &Mapping,
    via: ApiSource,
) -> Result<LiveReward> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default, rename = "tenantAlias", alias = "tenant_alias")]
        tenant: Option<Value>,
    }
    // If the vendor's answer contains no account ID, the reward may have moved to another account.
    let nowhere = AccountId::new("");
    let extracted = read(raw, asked.unwrap_or(&nowhere), mapping)
        .map_err(|error| error.context("the vendor's answer about an account's rewards cannot be read"))?;
    if asked.is_some_and(|asked| *asked != extracted.reward.account_id) {
        return Err(foreign("another account"));
    }
    let wire: Wire = serde_json::from_str(raw).map_err(|_shape| foreign("another tenant"))?;
    if wire.tenant.is_some_and(|named| named != tenant) {
        return Err(foreign("another tenant"));
    }
    Ok(LiveReward { raw: raw.to_owned(), extracted, via })
}

fn foreign(what: &str) -> Error {
    Error::new(Kind::Vendor, format!("the vendor's answer is about {what} than the request"))
        .hint("run the same command again; a cache or a proxy in between may mix answers up")
}

/// Converts a reward into the snapshot that the ledger and the receipt store.
pub fn snapshot(reward: &Reward, now_ms: i64) -> Snapshot {
    Snapshot {
        reward_id: reward.reward_id.as_str().to_owned(),
        account_id: reward.account_id.as_str().to_owned(),
        reward_source: reward.reward_source.clone(),
        state: reward.state(now_ms).as_str().to_owned(),
        unit: reward.unit.clone(),
        assigned: reward.assigned,
        redeemed: reward.redeemed,
        linked: true,
        ended_at: reward.ended_at(now_ms),
        by_graphql: false,
    }
}

impl FetchedRewards {
    /// Returns an error if an earlier reading of a reward used GraphQL and this reading used Get Rewards, which hides
    /// some redemptions.
    pub fn check_sources(&self) -> Result<()> {
        let is_by_another = |(known, place): &(KnownReward, Location)| match place {
            Location::SameAccount(live) | Location::OtherAccount(live) => {
                known.via == ApiSource::GraphQl && live.via != ApiSource::GraphQl
            }
            Location::Missing => false,
        };
        if !self.found.iter().any(is_by_another) {
            return Ok(());
        }
        Err(Error::new(Kind::Vendor, "the rewards were read by GraphQL before, and GraphQL does not show them now")
            .hint("nothing is concluded from Get Rewards alone, which does not show every redemption; run `recoup verify` later"))
    }
}

impl LiveReward {
    pub fn snapshot(&self, now_ms: i64) -> Snapshot {
        Snapshot { by_graphql: self.via == ApiSource::GraphQl, ..snapshot(&self.extracted.reward, now_ms) }
    }

    /// Returns `true` if the reward belongs to another action or, for a target without an action, to another order.
    fn is_of_another(&self, target: &Target) -> bool {
        let links = &self.extracted.links;
        match target {
            Target::Action(action_id) => {
                links.iter().filter_map(|link| link.action_id.as_ref()).any(|named| named != action_id)
            }
            Target::Order { order_id, .. } => {
                let mut named = links.iter().filter_map(|link| link.order_id.as_ref()).peekable();
                named.peek().is_some() && named.all(|named| named != order_id)
            }
        }
    }
}

/// Takes a snapshot of every known reward, and of the target's other rewards in the same accounts. A reward that recoup
/// did not find gets the state `missing` and keeps its earlier values. A reward that now belongs to another action or
/// is in another account gets the state `unclear`.
pub fn snapshots(fetch: &FetchedRewards, target: &Target, before: &[Snapshot]) -> Vec<Snapshot> {
    let now_ms = fetch.now.as_millisecond();
    let was = |id: &RewardId| before.iter().find(|was| was.reward_id == id.as_str());
    let mut rewards: Vec<Snapshot> = Vec::with_capacity(fetch.found.len());
    for (known, place) in &fetch.found {
        rewards.push(match place {
            Location::SameAccount(live) | Location::OtherAccount(live) => {
                let linked = was(&known.reward_id).is_none_or(|was| was.linked);
                let mut now = Snapshot { linked, ..live.snapshot(now_ms) };
                if live.is_of_another(target) || matches!(place, Location::OtherAccount(_)) {
                    RewardState::Unclear.as_str().clone_into(&mut now.state);
                    now.ended_at = None;
                }
                now
            }
            Location::Missing => {
                let mut gone = was(&known.reward_id).cloned().unwrap_or_else(|| Snapshot {
                    reward_id: known.reward_id.as_str().to_owned(),
                    account_id: known.account_id.as_str().to_owned(),
                    reward_source: None,
                    state: String::new(),
                    unit: None,
                    assigned: None,
                    redeemed: None,
                    linked: true,
                    ended_at: None,
                    by_graphql: false,
                });
                MISSING.clone_into(&mut gone.state);
                gone.ended_at = None;
                gone
            }
        });
    }
    for live in fetch.of_target(target) {
        let id = live.extracted.reward.reward_id.as_str();
        if rewards.iter().all(|reward| reward.reward_id != id) {
            rewards.push(live.snapshot(now_ms));
        }
    }
    rewards
}
