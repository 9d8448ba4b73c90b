//! Rewards as the vendor has them now.
//!
//! A reward is looked for in the account where it was last seen, then by its ID. This module only reads and reports; what a
//! missing or moved reward means is for the caller to say.

use jiff::Timestamp;
use serde_json::json;

use crate::api::{Advocate, Rewards};
use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::extract::{Extracted, Mapping, read};
use crate::model::{AccountId, Reward, RewardId, Target};
use crate::retract::judge::{MISSING, Snapshot};
use crate::store::index::Via;
use crate::store::ledger::FORGOTTEN;

/// A reward and the account where it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The reward.
    pub reward_id: RewardId,
    /// Its account.
    pub account_id: AccountId,
    /// The API that its link came by: another one may not show the link.
    pub via: Via,
}

/// A reward's JSON and what was read out of it.
#[derive(Debug, Clone)]
pub struct LiveReward {
    /// The whole JSON.
    pub raw: String,
    /// What it says.
    pub extracted: Extracted,
    /// The API that it came by.
    pub via: Via,
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
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// One per known reward, in the same order.
    pub found: Vec<(Known, Place)>,
    /// What each account that was asked answered: what the index is refreshed with.
    pub accounts: Vec<AccountLook>,
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
pub async fn look(advocate: &Advocate, mapping: &Mapping, clock: &Clock, known: &[Known]) -> Result<Look> {
    let mut look = Look::default();
    // Nobody is asked about an account that was forgotten: its rewards are read by their IDs.
    for reward in known.iter().filter(|reward| reward.account_id.as_str() != FORGOTTEN) {
        if look.accounts.iter().all(|asked| asked.account != reward.account_id) {
            let by_graphql =
                known.iter().any(|other| other.account_id == reward.account_id && other.via == Via::GraphQl);
            let asked =
                if by_graphql { ask_by_graphql(advocate, mapping, clock, &reward.account_id).await? } else { None };
            look.accounts.push(match asked {
                Some(asked) => asked,
                None => ask(advocate, mapping, clock, &reward.account_id).await?,
            });
        }
    }
    for reward in known {
        let listed = look
            .accounts
            .iter()
            .filter(|asked| asked.account == reward.account_id)
            .flat_map(|asked| asked.rewards.iter().flatten())
            .find(|live| live.extracted.reward.reward_id == reward.reward_id);
        let place = match listed {
            Some(live) => Place::Home(Box::new(live.clone())),
            None => by_id(advocate, mapping, reward).await?,
        };
        look.found.push((reward.clone(), place));
    }
    Ok(look)
}

async fn ask(advocate: &Advocate, mapping: &Mapping, clock: &Clock, account: &AccountId) -> Result<AccountLook> {
    let asked_at = clock.now();
    let mut look = AccountLook { account: account.clone(), rewards: None, asked_at };
    if let Rewards::Listed(list) = advocate.rewards(account, None).await? {
        let rewards = look.rewards.insert(Vec::with_capacity(list.len()));
        for raw in list {
            // A reward without an ID cannot be one that is known.
            if let Ok(extracted) = read(raw.get(), account, mapping) {
                rewards.push(LiveReward { raw: raw.get().to_owned(), extracted, via: Via::Rest });
            }
        }
    }
    Ok(look)
}

/// `None` where GraphQL cannot be asked just now: Get Rewards can, and shows the rewards if not their links.
async fn ask_by_graphql(
    advocate: &Advocate,
    mapping: &Mapping,
    clock: &Clock,
    account: &AccountId,
) -> Result<Option<AccountLook>> {
    let asked_at = clock.now();
    let listed = match advocate.graph_rewards_of(&json!({"accountId_eq": account.as_str()})).await {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind, Kind::Vendor | Kind::Scope) => return Ok(None),
        Err(error) => return Err(error),
    };
    let live = |reward: crate::api::ListedReward| {
        let extracted = read(reward.raw.get(), account, mapping).ok()?;
        Some(LiveReward { raw: reward.raw.get().to_owned(), extracted, via: Via::GraphQl })
    };
    // The filter is the server's; what it let through of other accounts says nothing about this one.
    let own = listed.into_iter().filter(|reward| reward.account.as_ref() == Some(account));
    let rewards = Some(own.filter_map(live).collect());
    Ok(Some(AccountLook { account: account.clone(), rewards, asked_at }))
}

async fn by_id(advocate: &Advocate, mapping: &Mapping, reward: &Known) -> Result<Place> {
    let Some(raw) = advocate.reward(&reward.reward_id).await? else { return Ok(Place::Missing) };
    // A reward that does not name its account cannot prove that it is still in the same one.
    let extracted = read(&raw, &AccountId::new(""), mapping)?;
    let home = extracted.reward.account_id == reward.account_id || reward.account_id.as_str() == FORGOTTEN;
    let live = Box::new(LiveReward { raw, extracted, via: Via::Rest });
    Ok(if home { Place::Home(live) } else { Place::Elsewhere(live) })
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
    }
}

/// The look as snapshots; what was not found is `missing`, with what was known of it before.
pub fn snapshots(look: &Look, before: &[Snapshot], now_ms: i64) -> Vec<Snapshot> {
    look.found
        .iter()
        .map(|(known, place)| match place {
            Place::Home(live) | Place::Elsewhere(live) => {
                let was = before.iter().find(|s| s.reward_id == known.reward_id.as_str());
                Snapshot { linked: was.is_none_or(|was| was.linked), ..snapshot(&live.extracted.reward, now_ms) }
            }
            Place::Missing => {
                let was = before.iter().find(|s| s.reward_id == known.reward_id.as_str()).cloned();
                let mut gone = was.unwrap_or_else(|| Snapshot {
                    reward_id: known.reward_id.as_str().to_owned(),
                    account_id: known.account_id.as_str().to_owned(),
                    reward_source: None,
                    state: String::new(),
                    unit: None,
                    assigned: None,
                    redeemed: None,
                    linked: true,
                });
                MISSING.clone_into(&mut gone.state);
                gone
            }
        })
        .collect()
}
