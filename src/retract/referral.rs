//! Reads the referrals of an action's rewards before and after a send, and compares them.
//!
//! The vendor's guide ends with the Referral Feed, where a retracted referral shows *Started*. recoup infers that
//! `dateConverted` then becomes null (`docs/vendor/program-rules.md`). Therefore a referral supports a proof and never
//! replaces the rewards. A referral may list rewards that the index lacks. A reward that only the referral lists
//! becomes part of the proof if it belongs to the same action or order. `referral` stores nothing about the two people
//! of a referral.

use serde::{Deserialize, Serialize};

use super::Context;
use super::proof::Snapshot;
use super::reward_fetch::{FetchedAccount, FetchedRewards, LiveReward, Location, parse_reward, record_rewards};
use crate::error::{Kind, Result};
use crate::model::{OrderId, ReferralState, RewardId, Target, counted};
use crate::store::index::{ApiSource, ReferralRead};
use crate::store::ledger::{Retraction, State};
use crate::vendor::{Referral, ReferralAnswer};

/// The state of a referral when recoup read the referral. The dates of a referral are in Unix milliseconds of the
/// vendor's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferralSnapshot {
    pub referral_id: String,
    pub state: ReferralState,
    /// The reason why recoup could not read the referral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<i64>,
    /// The referral's rewards that have neither an order ID nor an ActionId.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlinked: Vec<UnlinkedReward>,
}

/// A reward of a referral that has neither an order ID nor an ActionId. recoup cannot tell whether this reward belongs
/// to the retracted action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnlinkedReward {
    pub reward_id: String,
    pub state: String,
}

/// The referrals that recoup read, and their rewards that the index lacked.
#[derive(Debug, Default)]
pub struct ReferralReading {
    pub referrals: Vec<ReferralSnapshot>,
    of_action: Vec<LiveReward>,
    /// Rewards that belong to the same order and have no ActionId.
    of_order: Vec<LiveReward>,
}

/// The action whose referrals recoup reads.
#[derive(Debug, Clone, Copy)]
pub struct ActionScope<'a> {
    pub target: &'a Target,
    pub order_id: &'a OrderId,
}

/// How a reward of a referral relates to the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// The reward contains the ActionId.
    Action,
    /// The reward contains the order ID and no ActionId.
    Order,
    /// The reward contains neither an order ID nor an ActionId.
    Unlinked,
    /// The reward contains another order ID or another ActionId.
    Elsewhere,
}

impl ActionScope<'_> {
    fn belongs(self, live: &LiveReward) -> Relation {
        let links = &live.extracted.links;
        let names_order = links.iter().any(|link| link.order_id.as_ref() == Some(self.order_id));
        let names_action = links.iter().any(|link| link.action_id.is_some());
        match self.target {
            _ if links.is_empty() => Relation::Unlinked,
            Target::Action(id) if links.iter().any(|link| link.action_id.as_ref() == Some(id)) => Relation::Action,
            Target::Order { .. } if names_order => Relation::Action,
            Target::Action(_) if names_order && !names_action => Relation::Order,
            _ => Relation::Elsewhere,
        }
    }
}

/// Reads the referrals of the fetched rewards, if the fetch has not already returned them. Adds new rewards of the
/// action to `look`, and returns new rewards of the order without an ActionId.
pub async fn before(
    ctx: &Context<'_>,
    about: ActionScope<'_>,
    look: &mut FetchedRewards,
) -> Result<(Vec<ReferralSnapshot>, Vec<Snapshot>)> {
    let mut ids: Vec<String> = Vec::new();
    let home = look.found.iter().filter_map(|(_, place)| match place {
        Location::SameAccount(live) => Some(&**live),
        Location::OtherAccount(_) | Location::Missing => None,
    });
    for id in home.chain(look.of_target(about.target)).filter_map(|live| live.extracted.referral_id.clone()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let known: Vec<RewardId> =
        look.relevant(about.target).map(|live| live.extracted.reward.reward_id.clone()).collect();
    let now_ms = look.now.as_millisecond();
    let reading = read(ctx, about, &ids, std::mem::take(&mut look.referrals), &known, now_ms).await?;
    let of_order = reading.of_order.iter().map(|live| Snapshot { linked: false, ..live.snapshot(now_ms) }).collect();
    for live in reading.of_action {
        let account = live.extracted.reward.account_id.clone();
        look.accounts.push(FetchedAccount { account, rewards: Some(vec![live]), asked_at: ctx.clock.now() });
    }
    Ok((reading.referrals, of_order))
}

/// Reads the referrals of the plan again, if the fetch has not already returned them. Writes new rewards of the action
/// or the order into the index, and returns them.
pub async fn after(
    ctx: &Context<'_>,
    retraction: &Retraction,
    before: &[ReferralSnapshot],
    answered: Vec<(String, ReferralAnswer)>,
    rewards: &[Snapshot],
) -> Result<(Vec<ReferralSnapshot>, Vec<Snapshot>)> {
    let about = ActionScope { target: &retraction.target(), order_id: &retraction.order_id };
    let ids: Vec<String> = before.iter().map(|was| was.referral_id.clone()).collect();
    let known: Vec<RewardId> = rewards.iter().map(|reward| RewardId::new(reward.reward_id.as_str())).collect();
    let (now_ms, asked_at) = (ctx.vendor_now()?.as_millisecond(), ctx.clock.now());
    let reading = read(ctx, about, &ids, answered, &known, now_ms).await?;
    record_referrals(ctx, &reading.referrals);
    record_rewards(ctx, reading.of_action.iter().chain(&reading.of_order), asked_at);
    let of_action = reading.of_action.iter().map(|live| live.snapshot(now_ms));
    let of_order = reading.of_order.iter().map(|live| Snapshot { linked: false, ..live.snapshot(now_ms) });
    Ok((reading.referrals, of_action.chain(of_order).collect()))
}

/// Writes referrals into the index, so that a lookup can show them.
pub fn record_referrals(ctx: &Context<'_>, referrals: &[ReferralSnapshot]) {
    let read_at = ctx.clock.now_ms();
    let read = referrals.iter().filter(|referral| referral.state != ReferralState::NotReadable);
    let rows: Vec<ReferralRead> = read
        .map(|referral| ReferralRead {
            referral_id: referral.referral_id.clone(),
            started_at: referral.started_at,
            converted_at: referral.converted_at,
            modified_at: referral.modified_at,
            read_at,
        })
        .collect();
    if !rows.is_empty() {
        ctx.cache_in_index(|index| rows.iter().try_for_each(|row| index.put_referral(row)));
    }
}

async fn read(
    ctx: &Context<'_>,
    about: ActionScope<'_>,
    ids: &[String],
    mut answered: Vec<(String, ReferralAnswer)>,
    known: &[RewardId],
    now_ms: i64,
) -> Result<ReferralReading> {
    let mut reading = ReferralReading::default();
    for id in ids {
        let place = answered.iter().position(|(answered, _)| answered == id);
        let (answer, via) = match place {
            Some(place) => (answered.swap_remove(place).1, ApiSource::GraphQl),
            None => (by_rest(ctx, id).await?, ApiSource::Rest),
        };
        let snapshot = match answer {
            ReferralAnswer::Unreadable(why) => unreadable(id, why),
            ReferralAnswer::Read(referral) => {
                let fresh = unknown(ctx, about, &referral, via, known).await?;
                match fresh {
                    None => unreadable(id, "one of its rewards cannot be read".to_owned()),
                    Some(fresh) => reading.take(about, referral, fresh, now_ms),
                }
            }
        };
        reading.referrals.push(snapshot);
    }
    Ok(reading)
}

/// Reads one referral by REST. If the quota is used up or a signal arrives, the referral counts as unreadable. The
/// rewards can still prove the retraction.
async fn by_rest(ctx: &Context<'_>, id: &str) -> Result<ReferralAnswer> {
    match ctx.advocate.referral(id).await {
        Err(error) if matches!(error.kind, Kind::Parked | Kind::Interrupted) => {
            Ok(ReferralAnswer::Unreadable(error.message))
        }
        answer => answer,
    }
}

/// Returns the rewards of the referral that recoup does not know yet; `None` if recoup cannot read one of these
/// rewards. A referral from REST may show only part of a reward. Therefore recoup also reads each of its unknown
/// rewards by ID.
async fn unknown(
    ctx: &Context<'_>,
    about: ActionScope<'_>,
    referral: &Referral,
    via: ApiSource,
    known: &[RewardId],
) -> Result<Option<Vec<LiveReward>>> {
    let mut fresh: Vec<LiveReward> = Vec::new();
    for raw in &referral.rewards {
        let Ok(mut live) = parse_reward(ctx, raw.get(), None, via) else {
            return Ok(None);
        };
        let id = live.extracted.reward.reward_id.clone();
        let is_known = known.contains(&id) || fresh.iter().any(|one| one.extracted.reward.reward_id == id);
        if is_known || about.belongs(&live) == Relation::Elsewhere {
            continue;
        }
        if via == ApiSource::Rest {
            match ctx.advocate.reward(&id).await {
                Ok(Some(raw)) => match parse_reward(ctx, &raw, None, via) {
                    Ok(read) => live = read,
                    Err(_) => return Ok(None),
                },
                Err(error) if !matches!(error.kind, Kind::Scope | Kind::Vendor | Kind::Network) => return Err(error),
                // If the read of a referral's reward by ID fails, recoup uses the reward as the referral shows it.
                Ok(None) | Err(_) => {}
            }
        }
        fresh.push(live);
    }
    Ok(Some(fresh))
}

fn unreadable(id: &str, why: String) -> ReferralSnapshot {
    ReferralSnapshot {
        referral_id: id.to_owned(),
        state: ReferralState::NotReadable,
        why: Some(why),
        started_at: None,
        converted_at: None,
        modified_at: None,
        unlinked: Vec::new(),
    }
}

impl ReferralReading {
    fn take(
        &mut self,
        about: ActionScope<'_>,
        read: Referral,
        fresh: Vec<LiveReward>,
        now_ms: i64,
    ) -> ReferralSnapshot {
        let mut unlinked = Vec::new();
        for live in fresh {
            match about.belongs(&live) {
                Relation::Action => self.of_action.push(live),
                Relation::Order => self.of_order.push(live),
                Relation::Unlinked => {
                    let reward = &live.extracted.reward;
                    let state = reward.state(now_ms).as_str().to_owned();
                    unlinked.push(UnlinkedReward { reward_id: reward.reward_id.as_str().to_owned(), state });
                }
                Relation::Elsewhere => {}
            }
        }
        ReferralSnapshot {
            referral_id: read.id,
            state: ReferralState::of(read.converted),
            why: None,
            started_at: Some(read.started),
            converted_at: read.converted,
            modified_at: read.modified,
            unlinked,
        }
    }
}

/// Describes what the referrals say about a conclusion on the retraction, phrased as the end of a sentence.
pub fn evidence(state: State, before: &[ReferralSnapshot], after: &[ReferralSnapshot], open: usize) -> Option<String> {
    let is = |wanted: ReferralState| after.iter().any(|now| now.state == wanted);
    if let Some(now) = after.iter().find(|now| now.state == ReferralState::NotReadable) {
        return Some(format!("its referral could not be read: {}", now.why.as_deref().unwrap_or("no reason is known")));
    }
    let was_converted = before.iter().all(|was| was.state == ReferralState::Converted);
    match state {
        _ if after.is_empty() => None,
        State::Confirmed | State::Partial if is(ReferralState::Converted) => {
            Some(format!("its referral still reads as converted; {STILL_CONVERTED}"))
        }
        State::Confirmed if was_converted => {
            Some("and its referral went from converted back to started: the strongest proof there is".to_owned())
        }
        State::Partial if was_converted => Some("its referral went from converted back to started".to_owned()),
        State::Confirmed | State::Partial if before.iter().all(|was| was.state == ReferralState::Started) => {
            Some("its referral reads as started, as it did before, which proves nothing more".to_owned())
        }
        State::Confirmed | State::Partial => Some("its referral reads as started".to_owned()),
        _ if is(ReferralState::Converted) => Some("its referral still reads as converted".to_owned()),
        _ if open == 0 => Some("its referral reads as started".to_owned()),
        _ => Some(format!(
            "its referral reads as started, but the vendor does not show {} as cancelled, and only the rewards are the proof",
            counted(open, "reward")
        )),
    }
}

pub const STILL_CONVERTED: &str = "the vendor takes the conversion itself back within 30 days of it only, and the rewards \
                                   are the proof";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReferralLine {
    pub referral_id: String,
    /// The referral's state before the send; `null` if recoup did not read it.
    pub before: Option<ReferralState>,
    /// The referral's state after the send; `null` if recoup did not read it.
    pub after: Option<ReferralState>,
    /// Why the last reading of the referral failed; `null` if the reading succeeded.
    pub why: Option<String>,
    /// When the referral converted, in Unix milliseconds; `null` if the referral is not converted or recoup could not
    /// read it.
    pub converted_at: Option<i64>,
    /// When the referral was modified, in Unix milliseconds.
    pub modified_at: Option<i64>,
    /// The referral's rewards that have neither an order ID nor an ActionId.
    pub unlinked: Vec<UnlinkedReward>,
}

impl ReferralLine {
    /// Builds one line for each referral, with its states before and after the send.
    pub fn all(before: &[ReferralSnapshot], after: &[ReferralSnapshot]) -> Vec<Self> {
        let line = |id: &str| {
            let was = before.iter().find(|was| was.referral_id == id);
            let now = after.iter().find(|now| now.referral_id == id);
            let newest = now.or(was)?;
            Some(Self {
                referral_id: id.to_owned(),
                before: was.map(|was| was.state),
                after: now.map(|now| now.state),
                why: newest.why.clone(),
                converted_at: newest.converted_at,
                modified_at: newest.modified_at,
                unlinked: newest.unlinked.clone(),
            })
        };
        let new = after.iter().filter(|now| before.iter().all(|was| was.referral_id != now.referral_id));
        before.iter().chain(new).filter_map(|one| line(&one.referral_id)).collect()
    }

    pub fn lines(&self) -> Vec<String> {
        let word = |state: Option<ReferralState>| state.map_or("not read", ReferralState::as_str);
        let how = match self.after {
            Some(after) => format!("{} → {after}", word(self.before)),
            None => word(self.before).to_owned(),
        };
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let mut lines = vec![format!("Referral: {how} ({}){why}", self.referral_id)];
        lines.extend(self.unlinked.iter().map(|reward| {
            format!(
                "reward {} ({}) is of the same referral and carries neither an order nor an action: whether it belongs to this \
                 one is not known, look at it yourself",
                reward.reward_id,
                reward.state.replace('_', " ")
            )
        }));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(state: ReferralState) -> ReferralSnapshot {
        ReferralSnapshot { state, ..unreadable("f1", "the token may not read referrals".to_owned()) }
    }

    #[test]
    fn each_combination_has_its_sentence() {
        use ReferralState::{Converted, NotReadable, Started};
        for (state, was, now, says) in [
            (State::Confirmed, Converted, Started, "the strongest proof there is"),
            (State::Confirmed, Started, Started, "started, as it did before"),
            (State::Confirmed, NotReadable, Started, "its referral reads as started"),
            (State::Confirmed, Converted, Converted, "within 30 days of it only"),
            (State::Confirmed, Converted, NotReadable, "could not be read: the token may not"),
            (State::Partial, Converted, Started, "from converted back to started"),
            (State::Partial, Converted, Converted, "still reads as converted"),
            (State::Unconfirmed, Converted, Started, "but the vendor does not show 1 reward as cancelled"),
            (State::Unconfirmed, Converted, Converted, "still reads as converted"),
            (State::Unconfirmed, Converted, NotReadable, "could not be read"),
        ] {
            let said = evidence(state, &[referral(was)], &[referral(now)], 1).expect("a sentence");
            assert!(said.contains(says), "{state:?} {was} → {now}: {said}");
            let is_strongest = (state, was, now) == (State::Confirmed, Converted, Started);
            assert_eq!(said.contains("strongest"), is_strongest, "{state:?} {was} → {now}: {said}");
        }
        assert_eq!(evidence(State::Confirmed, &[], &[], 0), None);
        let lines = ReferralLine::all(&[referral(Converted)], &[ReferralSnapshot { why: None, ..referral(Started) }]);
        assert_eq!(lines[0].lines(), ["Referral: converted → started (f1)"]);
    }
}
