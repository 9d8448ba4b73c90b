//! Rewards as the vendor has them now.
//!
//! A reward is looked for in the account where it was last seen, then by its ID. Every answer is held against what was asked. This
//! module only reads and reports; what a missing or moved reward means is for the caller to say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Context;
use super::judge::{MISSING, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::extract::{Extracted, Mapping, read};
use crate::model::{AccountId, Link, LinkKind, Reward, RewardId, RewardState, Target};
use crate::store::index::ApiSource;
use crate::store::ledger::FORGOTTEN;
use crate::vendor::graphql::Graph;
use crate::vendor::{ReferralAnswer, Rewards};

/// A reward and the account where it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The reward.
    pub reward_id: RewardId,
    /// Its account.
    pub account_id: AccountId,
    /// The API that its link came by: another one may not show the link.
    pub via: ApiSource,
}

/// A reward's JSON and what was read out of it.
#[derive(Debug, Clone)]
pub struct LiveReward {
    /// The whole JSON.
    pub raw: String,
    /// What it says.
    pub extracted: Extracted,
    /// The API that it came by.
    pub via: ApiSource,
}

/// Where a known reward was found.
#[derive(Debug, Clone)]
pub enum Place {
    /// In its account, or by its ID with the same account.
    Home(Box<LiveReward>),
    /// By its ID, in another account.
    Elsewhere(Box<LiveReward>),
    /// Nowhere.
    Missing,
}

/// Everything that one look found.
#[derive(Debug, Clone)]
pub struct Look {
    /// One per known reward, in the same order.
    pub found: Vec<(Known, Place)>,
    /// What each account that was asked answered: what the index is refreshed with.
    pub accounts: Vec<AccountLook>,
    /// The time by the vendor's clock; by this machine's if `trouble` says why the vendor's cannot be used.
    pub now: Timestamp,
    /// Why nothing may be concluded from dates.
    pub trouble: Option<Error>,
    /// The referrals that came in one document with rewards, by their IDs.
    pub referrals: Vec<(String, ReferralAnswer)>,
}

impl Look {
    /// Every reward in the accounts that were asked which carries the target: its ActionId, or its order ID.
    pub fn of_target(&self, target: &Target) -> impl Iterator<Item = &LiveReward> {
        let live = self.accounts.iter().flat_map(|asked| asked.rewards.iter().flatten());
        live.filter(move |live| {
            live.extracted.links.iter().any(|link| match target {
                Target::Action(action_id) => link.action_id.as_ref() == Some(action_id),
                Target::Order { order_id, .. } => link.order_id.as_ref() == Some(order_id),
            })
        })
    }

    /// Every reward that the look was about, wherever it was found.
    pub fn relevant(&self, target: &Target) -> impl Iterator<Item = &LiveReward> {
        let found = self.found.iter().filter_map(|(_, place)| match place {
            Place::Home(live) | Place::Elsewhere(live) => Some(&**live),
            Place::Missing => None,
        });
        found.chain(self.of_target(target))
    }
}

/// What one account answered.
#[derive(Debug, Clone)]
pub struct AccountLook {
    /// The account.
    pub account: AccountId,
    /// Its rewards; `None` where the vendor knows no such account.
    pub rewards: Option<Vec<LiveReward>>,
    /// When it was asked.
    pub asked_at: Timestamp,
}

/// Reads every known reward: one question per distinct account, one more for each reward that is not there. An account with
/// a reward whose link came by GraphQL is asked by GraphQL, where the link can be seen again.
///
/// Of the referrals, as many come with it as accounts are asked by GraphQL: one document holds an account's rewards and one
/// referral.
pub async fn look(ctx: &Context<'_>, known: &[Known], referrals: &[String]) -> Result<Look> {
    let mut accounts: Vec<AccountLook> = Vec::new();
    let (mut wanted, mut answered) = (referrals.iter(), Vec::new());
    // Nobody is asked about an account that was forgotten: its rewards are read by their IDs.
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
    keep_what_stands(&mut accounts, now.as_millisecond());
    let mut found = Vec::with_capacity(known.len());
    for reward in known {
        let place = match listed(&accounts, reward) {
            Some(place) => place,
            None => by_id(ctx, reward).await?,
        };
        found.push((reward.clone(), place));
    }
    let (now, trouble) = ctx.vendor_now_or_own();
    Ok(Look { found, accounts, now, trouble: trouble.filter(|_| !known.is_empty()), referrals: answered })
}

/// What the referrals say of known rewards: one that no list has is read there by the API that its link came by.
fn known_in_referrals(ctx: &Context<'_>, answered: &[(String, ReferralAnswer)], known: &[Known]) -> Vec<AccountLook> {
    let rewards = answered.iter().flat_map(|(_, answer)| match answer {
        ReferralAnswer::Read(referral) => referral.rewards.as_slice(),
        ReferralAnswer::Unreadable(_) => &[],
    });
    let read = rewards.filter_map(|raw| read_own(ctx, raw.get(), None, ApiSource::GraphQl).ok());
    let of_known = read.filter(|live| known.iter().any(|known| known.reward_id == live.extracted.reward.reward_id));
    let asked_at = ctx.clock.now();
    let account = |live: LiveReward| {
        let account = live.extracted.reward.account_id.clone();
        AccountLook { account, rewards: Some(vec![live]), asked_at }
    };
    of_known.map(account).collect()
}

/// Where the lists have a known reward; `None` if none of them has it.
pub(super) fn listed(accounts: &[AccountLook], known: &Known) -> Option<Place> {
    let mut all = accounts.iter().flat_map(|asked| asked.rewards.iter().flatten());
    let live = all.find(|live| live.extracted.reward.reward_id == known.reward_id)?;
    Some(Place::of(live.clone(), known))
}

/// Of several statements about one reward, in one list or in the lists of several accounts, keeps the one that speaks the most
/// against a cancellation. Links that differ make it ambiguous.
pub(super) fn keep_what_stands(accounts: &mut [AccountLook], now_ms: i64) {
    struct Kept {
        weight: (u8, i64, i64),
        at: usize,
        /// What any of the statements links it to.
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

impl Place {
    pub(super) fn of(live: LiveReward, known: &Known) -> Self {
        let account = &live.extracted.reward.account_id;
        let is_home = *account == known.account_id || known.account_id.as_str() == FORGOTTEN;
        if is_home { Self::Home(Box::new(live)) } else { Self::Elsewhere(Box::new(live)) }
    }
}

async fn ask(ctx: &Context<'_>, account: &AccountId) -> Result<AccountLook> {
    let asked_at = ctx.clock.now();
    let rewards = match ctx.advocate.rewards(account, None).await? {
        Rewards::NoSuchAccount => None,
        Rewards::Listed(list) => {
            let own = |raw: Box<RawValue>| read_own(ctx, raw.get(), Some(account), ApiSource::Rest);
            Some(list.into_iter().map(own).collect::<Result<_>>()?)
        }
    };
    Ok(AccountLook { account: account.clone(), rewards, asked_at })
}

/// `None` if the server refuses the question: Get Rewards shows the rewards, if not their links. An answer that is damaged is an
/// error, because another API would hide what it says.
///
/// The filter is the server's, and it may let rewards of other accounts through, which say nothing about this one: unless one is
/// a known reward, is listed for this account as well, or names no account.
async fn ask_by_graphql(
    ctx: &Context<'_>,
    account: &AccountId,
    known: &[Known],
    referral: Option<&String>,
) -> Result<Option<(AccountLook, Option<ReferralAnswer>)>> {
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
    let own = own.iter().map(|reward| read_own(ctx, reward.raw.get(), Some(account), ApiSource::GraphQl));
    let looked = AccountLook { account: account.clone(), rewards: Some(own.collect::<Result<_>>()?), asked_at };
    Ok(Some((looked, referral)))
}

async fn by_id(ctx: &Context<'_>, reward: &Known) -> Result<Place> {
    let Some(raw) = ctx.advocate.reward(&reward.reward_id).await? else { return Ok(Place::Missing) };
    Ok(Place::of(read_own(ctx, &raw, None, ApiSource::Rest)?, reward))
}

/// Reads a reward that an answer holds, against what was asked: another tenant's, or in the list of an account one of another
/// account, makes the answer unreadable, as does a reward that cannot be read, since that could be any reward.
pub(super) fn read_own(ctx: &Context<'_>, raw: &str, asked: Option<&AccountId>, via: ApiSource) -> Result<LiveReward> {
    own(raw, asked, ctx.advocate.tenant(), ctx.mapping, via)
}

pub(super) fn own(
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
    // A reward that does not name its account cannot prove that it is still in the same one.
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
    Error::new(Kind::Vendor, format!("the vendor's answer is about {what} than the one that was asked for"))
        .hint("run the same command again; a cache or a proxy in between may mix answers up")
}

/// A reward as the ledger and the receipt keep it.
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

impl Look {
    /// An error if a reward that came by GraphQL was not read by GraphQL this time: Get Rewards does not know everything that may
    /// have happened to it.
    pub fn check_sources(&self) -> Result<()> {
        let is_by_another = |(known, place): &(Known, Place)| match place {
            Place::Home(live) | Place::Elsewhere(live) => {
                known.via == ApiSource::GraphQl && live.via != ApiSource::GraphQl
            }
            Place::Missing => false,
        };
        if !self.found.iter().any(is_by_another) {
            return Ok(());
        }
        Err(Error::new(Kind::Vendor, "the rewards were read by GraphQL before, and GraphQL does not show them now")
            .hint("nothing is concluded from Get Rewards alone, which does not show every redemption; run `recoup verify` later"))
    }
}

impl LiveReward {
    /// As [`snapshot`], with the API that it was read by.
    pub fn snapshot(&self, now_ms: i64) -> Snapshot {
        Snapshot { by_graphql: self.via == ApiSource::GraphQl, ..snapshot(&self.extracted.reward, now_ms) }
    }

    /// Whether it names another action than this one, or another order if there is no action.
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

/// The look as snapshots: every known reward, and every other one of the target that turned up in the accounts that were asked.
/// What was not found is `missing`, with what was known of it before; what names another action now, or is in another account
/// than a crawl has found it in, is unclear.
pub fn snapshots(look: &Look, target: &Target, before: &[Snapshot]) -> Vec<Snapshot> {
    let now_ms = look.now.as_millisecond();
    let was = |id: &RewardId| before.iter().find(|was| was.reward_id == id.as_str());
    let mut rewards: Vec<Snapshot> = Vec::with_capacity(look.found.len());
    for (known, place) in &look.found {
        rewards.push(match place {
            Place::Home(live) | Place::Elsewhere(live) => {
                let linked = was(&known.reward_id).is_none_or(|was| was.linked);
                let mut now = Snapshot { linked, ..live.snapshot(now_ms) };
                if live.is_of_another(target) || matches!(place, Place::Elsewhere(_)) {
                    RewardState::Unclear.as_str().clone_into(&mut now.state);
                    now.ended_at = None;
                }
                now
            }
            Place::Missing => {
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
    for live in look.of_target(target) {
        let id = live.extracted.reward.reward_id.as_str();
        if rewards.iter().all(|reward| reward.reward_id != id) {
            rewards.push(live.snapshot(now_ms));
        }
    }
    rewards
}
