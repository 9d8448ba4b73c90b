//! What this ledger did, found by order, by action and by reward.
//!
//! The ledger is read once, whole and without anything personal. Attempts that are known to have done nothing (refused, never
//! received, never sent, released, replaced) take nothing back and cover nothing, but are there to be told of.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::class::Cover;
use crate::error::Result;
use crate::model::{ActionId, OrderId, RewardState};
use crate::store::ledger::{Ledger, Outline, Reading, Road, SeenReward, State};

/// Every retraction of the ledger.
#[derive(Debug, Default)]
pub struct Sent {
    all: Vec<Outline>,
    by_order: HashMap<OrderId, Vec<usize>>,
    by_action: HashMap<ActionId, Vec<usize>>,
    by_reward: HashMap<String, Vec<usize>>,
}

impl Sent {
    /// Reads the ledger; nothing where there is none.
    pub fn read(ledger: Option<&Ledger>) -> Result<Self> {
        let mut sent = Self::default();
        if let Some(ledger) = ledger {
            ledger.summaries()?.into_iter().for_each(|outline| sent.add(outline));
        }
        Ok(sent)
    }

    fn add(&mut self, outline: Outline) {
        let place = self.all.len();
        self.by_order.entry(outline.order_id.clone()).or_default().push(place);
        if let Some(action_id) = &outline.action_id {
            self.by_action.entry(action_id.clone()).or_default().push(place);
        }
        let rewards: HashSet<&String> =
            outline.readings.iter().flat_map(|reading| &reading.rewards).map(|reward| &reward.reward_id).collect();
        for reward_id in rewards {
            self.by_reward.entry(reward_id.clone()).or_default().push(place);
        }
        self.all.push(outline);
    }

    /// Every retraction, oldest first.
    pub fn all(&self) -> &[Outline] {
        &self.all
    }

    /// What was done about an order, about these actions and about these rewards, oldest first.
    pub fn about<'a>(
        &self,
        order_id: &OrderId,
        actions: impl Iterator<Item = &'a ActionId>,
        rewards: impl Iterator<Item = &'a str>,
    ) -> Vec<&Outline> {
        let mut places: BTreeSet<usize> = self.by_order.get(order_id).into_iter().flatten().copied().collect();
        places.extend(actions.filter_map(|action_id| self.by_action.get(action_id)).flatten());
        places.extend(rewards.filter_map(|reward_id| self.by_reward.get(reward_id)).flatten());
        places.into_iter().map(|place| &self.all[place]).collect()
    }
}

/// Whether the vendor may have it, and its end is not known.
pub fn is_open(outline: &Outline) -> bool {
    outline.road != Road::Modification && outline.state.is_open()
}

/// Whether it is proven.
pub fn is_done(outline: &Outline) -> bool {
    outline.road != Road::Modification && matches!(outline.state, State::Confirmed | State::Partial)
}

/// Whether it takes a whole order back, and the vendor may have it: what a refund should stand behind.
pub fn needs_a_refund(outline: &Outline) -> bool {
    outline.road.takes_all_back() && outline.state.may_have_been_sent()
}

/// What these retractions do about one reward of their order.
pub fn cover(about: &[&Outline], order_id: &OrderId, reward_id: &str, actions: &[ActionId]) -> Cover {
    let covers = |outline: &&&Outline| {
        let by_order = outline.road.takes_all_back() && outline.action_id.is_none() && outline.order_id == *order_id;
        let by_action =
            outline.road.takes_all_back() && outline.action_id.as_ref().is_some_and(|action| actions.contains(action));
        by_order || by_action || seen(outline).any(|(_, reward)| reward.reward_id == reward_id)
    };
    let one = |outline: &&Outline| {
        if is_open(outline) {
            Cover::Open
        } else if is_done(outline) && !was_cancelled_before(outline, reward_id) {
            Cover::Done
        } else {
            Cover::None
        }
    };
    about.iter().filter(covers).map(one).max().unwrap_or(Cover::None)
}

/// Cancelled before anything was sent: not by this retraction.
fn was_cancelled_before(outline: &Outline, reward_id: &str) -> bool {
    let before = outline.readings.first().into_iter().flat_map(|reading| &reading.rewards);
    before.filter(|reward| reward.reward_id == reward_id).any(|reward| state_of(reward) == Some(RewardState::Cancelled))
}

/// The newest readings of every reward in these retractions, with when that was. One that could not be read any more tells
/// nothing: its earlier reading stays.
pub fn newest_readings<'a>(about: &[&'a Outline]) -> HashMap<&'a str, (Timestamp, RewardState, &'a SeenReward)> {
    let mut newest: HashMap<&str, (Timestamp, RewardState, &SeenReward)> = HashMap::new();
    for (at, reward) in about.iter().flat_map(|outline| seen(outline)) {
        let Some(state) = state_of(reward) else { continue };
        let known = newest.entry(&reward.reward_id).or_insert((at, state, reward));
        if at >= known.0 {
            *known = (at, state, reward);
        }
    }
    newest
}

fn seen(outline: &Outline) -> impl Iterator<Item = (Timestamp, &SeenReward)> {
    outline.readings.iter().flat_map(|Reading { at, rewards }| rewards.iter().map(|reward| (*at, reward)))
}

/// The state of a word of the ledger; `None` for a reward that could not be read any more.
fn state_of(reward: &SeenReward) -> Option<RewardState> {
    use RewardState::{Available, Cancelled, Expired, PartlyRedeemed, Pending, Redeemed, Unclear};
    [Pending, Available, PartlyRedeemed, Redeemed, Expired, Cancelled, Unclear]
        .into_iter()
        .find(|state| state.as_str() == reward.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(state: State, action: Option<&str>, readings: &[(i64, &str)]) -> Outline {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let reading = |(second, word): &(i64, &str)| Reading {
            at: at(*second),
            rewards: vec![SeenReward {
                reward_id: "r".into(),
                state: (*word).into(),
                unit: None,
                assigned: Some(5),
                redeemed: None,
            }],
        };
        Outline {
            id: 1,
            road: Road::Reversal,
            order_id: OrderId::new("1001"),
            action_id: action.map(ActionId::new),
            created_at: at(0),
            state,
            since: at(0),
            readings: readings.iter().map(reading).collect(),
        }
    }

    #[test]
    fn a_reward_is_covered_by_what_may_take_it_back() {
        let order = OrderId::new("1001");
        let actions = [ActionId::new("1.2.3")];
        let (before, cancelled): (&[_], &[_]) = (&[(0, "available")], &[(0, "cancelled")]);
        for (state, action, road, readings, reward, expected) in [
            (State::Queued, Some("1.2.3"), Road::Reversal, before, "r", Cover::Open),
            (State::Queued, Some("1.2.3"), Road::Reversal, before, "new", Cover::Open),
            (State::Queued, Some("9.9.9"), Road::Reversal, before, "other", Cover::None),
            (State::Queued, Some("9.9.9"), Road::Reversal, before, "r", Cover::Open),
            (State::Unknown, None, Road::Reversal, before, "new", Cover::Open),
            (State::HandedOver, Some("1.2.3"), Road::File, before, "r", Cover::Open),
            (State::Confirmed, Some("1.2.3"), Road::Reversal, before, "r", Cover::Done),
            (State::Partial, Some("1.2.3"), Road::Reversal, before, "r", Cover::Done),
            (State::Confirmed, Some("1.2.3"), Road::Reversal, cancelled, "r", Cover::None),
            (State::Confirmed, None, Road::Reward, before, "r", Cover::Done),
            (State::Confirmed, None, Road::Reward, before, "other", Cover::None),
            (State::Failed, Some("1.2.3"), Road::Reversal, before, "r", Cover::None),
            (State::Superseded, Some("1.2.3"), Road::Reversal, before, "r", Cover::None),
            (State::Planned, Some("1.2.3"), Road::Reversal, before, "r", Cover::None),
            (State::Queued, Some("1.2.3"), Road::Modification, before, "r", Cover::None),
            (State::Processed, Some("1.2.3"), Road::Modification, before, "r", Cover::None),
        ] {
            let one = Outline { road, ..outline(state, action, readings) };
            assert_eq!(cover(&[&one], &order, reward, &actions), expected, "{one:?} {reward}");
        }
        let (done, open) = (outline(State::Confirmed, None, before), outline(State::Queued, None, before));
        assert_eq!(cover(&[&open, &done], &order, "r", &actions), Cover::Open);
    }

    #[test]
    fn the_newest_reading_counts_and_a_missing_reward_tells_nothing() {
        for (readings, expected) in [
            (vec![(1, "available"), (2, "cancelled")], Some((2, RewardState::Cancelled))),
            (vec![(2, "cancelled"), (1, "available")], Some((2, RewardState::Cancelled))),
            (vec![(1, "available"), (2, "missing")], Some((1, RewardState::Available))),
            (vec![(1, "missing")], None),
            (vec![], None),
        ] {
            let one = outline(State::Queued, None, &readings);
            let newest = newest_readings(&[&one]).get("r").map(|(at, state, _)| (at.as_second(), *state));
            assert_eq!(newest, expected, "{readings:?}");
        }
    }

    #[test]
    fn retractions_are_found_by_order_action_and_reward_once() {
        let mut sent = Sent::default();
        sent.add(outline(State::Queued, Some("1.2.3"), &[(0, "available"), (1, "cancelled")]));
        let (order, other) = (OrderId::new("1001"), OrderId::new("1002"));
        let (action, stranger) = (ActionId::new("1.2.3"), ActionId::new("9.9.9"));
        for (order, action, reward, found) in [
            (&order, &action, "r", 1),
            (&other, &action, "x", 1),
            (&other, &stranger, "r", 1),
            (&other, &stranger, "x", 0),
        ] {
            assert_eq!(sent.about(order, [action].into_iter(), [reward].into_iter()).len(), found);
        }
    }
}
