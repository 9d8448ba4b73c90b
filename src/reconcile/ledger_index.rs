//! Finds the retractions of the ledger by order, action or reward.
//!
//! recoup reads the ledger once for a reconciliation, without personal data. An attempt without an effect (refused,
//! never received, never sent, released, superseded) takes no reward back, but the report mentions it.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::classification::LedgerStatus;
use crate::error::Result;
use crate::model::{ActionId, OrderId, RewardState};
use crate::store::ledger::{Channel, Ledger, Outline, Reading, SeenReward, State};

#[derive(Debug, Default)]
pub struct LedgerIndex {
    all: Vec<Outline>,
    by_order: HashMap<OrderId, Vec<usize>>,
    by_action: HashMap<ActionId, Vec<usize>>,
    by_reward: HashMap<String, Vec<usize>>,
}

impl LedgerIndex {
    /// Reads the retractions of the ledger. The list of retractions is empty if the ledger does not exist.
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

    /// Returns all retractions of the ledger, oldest first.
    pub fn all(&self) -> &[Outline] {
        &self.all
    }

    /// Returns the retractions of an order, of these actions and of these rewards, oldest first.
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

/// Returns `true` if the vendor may have received the retraction and its result is unknown.
pub fn is_open(outline: &Outline) -> bool {
    outline.channel != Channel::Modification && outline.state.is_open()
}

pub fn is_done(outline: &Outline) -> bool {
    outline.channel != Channel::Modification && matches!(outline.state, State::Confirmed | State::Partial)
}

/// Returns `true` if the retraction reverses a whole order and may have been sent. The report expects a refund for each
/// retraction of a whole order.
pub fn needs_a_refund(outline: &Outline) -> bool {
    outline.channel.takes_all_back() && outline.state.may_have_been_sent()
}

/// Returns whether one of these retractions covers the reward, and whether that retraction is proven.
pub fn ledger_status(about: &[&Outline], order_id: &OrderId, reward_id: &str, actions: &[ActionId]) -> LedgerStatus {
    let covers = |outline: &&&Outline| {
        let by_order = outline.channel.takes_all_back() && outline.action_id.is_none() && outline.order_id == *order_id;
        let by_action = outline.channel.takes_all_back()
            && outline.action_id.as_ref().is_some_and(|action| actions.contains(action));
        by_order || by_action || seen(outline).any(|(_, reward)| reward.reward_id == reward_id)
    };
    let one = |outline: &&Outline| {
        if is_open(outline) {
            LedgerStatus::Open
        } else if is_done(outline) && !was_cancelled_before(outline, reward_id) {
            LedgerStatus::Done
        } else {
            LedgerStatus::None
        }
    };
    about.iter().filter(covers).map(one).max().unwrap_or(LedgerStatus::None)
}

/// Returns `true` if the reward was already cancelled when this retraction was sent.
fn was_cancelled_before(outline: &Outline, reward_id: &str) -> bool {
    let before = outline.readings.first().into_iter().flat_map(|reading| &reading.rewards);
    before.filter(|reward| reward.reward_id == reward_id).any(|reward| state_of(reward) == Some(RewardState::Cancelled))
}

/// Returns the newest reading of every reward in these retractions, with the time of that reading. If recoup can no
/// longer read a reward, its last successful reading counts.
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

/// Parses the reward's state in the ledger; `None` if recoup could not read the reward.
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
            channel: Channel::Reversal,
            order_id: OrderId::new("1001"),
            action_id: action.map(ActionId::new),
            created_at: at(0),
            state,
            since: at(0),
            readings: readings.iter().map(reading).collect(),
        }
    }

    #[test]
    fn a_reward_is_covered_by_retractions_that_may_cancel_it() {
        let order = OrderId::new("1001");
        let actions = [ActionId::new("1.2.3")];
        let (before, cancelled): (&[_], &[_]) = (&[(0, "available")], &[(0, "cancelled")]);
        for (state, action, channel, readings, reward, expected) in [
            (State::Queued, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::Open),
            (State::Queued, Some("1.2.3"), Channel::Reversal, before, "new", LedgerStatus::Open),
            (State::Queued, Some("9.9.9"), Channel::Reversal, before, "other", LedgerStatus::None),
            (State::Queued, Some("9.9.9"), Channel::Reversal, before, "r", LedgerStatus::Open),
            (State::Unknown, None, Channel::Reversal, before, "new", LedgerStatus::Open),
            (State::HandedOver, Some("1.2.3"), Channel::File, before, "r", LedgerStatus::Open),
            (State::Confirmed, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::Done),
            (State::Partial, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::Done),
            (State::Confirmed, Some("1.2.3"), Channel::Reversal, cancelled, "r", LedgerStatus::None),
            (State::Confirmed, None, Channel::Reward, before, "r", LedgerStatus::Done),
            (State::Confirmed, None, Channel::Reward, before, "other", LedgerStatus::None),
            (State::Failed, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::None),
            (State::Superseded, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::None),
            (State::Planned, Some("1.2.3"), Channel::Reversal, before, "r", LedgerStatus::None),
            (State::Queued, Some("1.2.3"), Channel::Modification, before, "r", LedgerStatus::None),
            (State::Processed, Some("1.2.3"), Channel::Modification, before, "r", LedgerStatus::None),
        ] {
            let one = Outline { channel, ..outline(state, action, readings) };
            assert_eq!(ledger_status(&[&one], &order, reward, &actions), expected, "{one:?} {reward}");
        }
        let (done, open) = (outline(State::Confirmed, None, before), outline(State::Queued, None, before));
        assert_eq!(ledger_status(&[&open, &done], &order, "r", &actions), LedgerStatus::Open);
    }

    #[test]
    fn the_newest_successful_reading_counts() {
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
    fn retractions_are_found_once_by_order_action_and_reward() {
        let mut sent = LedgerIndex::default();
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
