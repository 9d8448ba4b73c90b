//! Example orders of the simulator: a few of each kind that a client must treat differently.
//!
//! The simulator chooses examples from the current [`World`]. Therefore an order is never an example of a retractable
//! order after its retraction.

use serde_json::{Value, json};

use super::{
    data::DAY,
    facts::{Facts, Kind, State},
    keys::{ActionKey, Class, Side},
    world::World,
};

/// The number of participants that the simulator searches for examples: enough to find every kind, and few enough for a
/// fast response.
const SEARCHED: usize = 200_000;
/// Maximum number of example orders of each kind.
const EACH: usize = 5;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// Orders that have one action with two cancellable rewards. The plain examples are as young and as far from the
    /// locking date as possible, because nothing must prevent their retraction. The rewards of the plain examples are
    /// credits, because a test must be able to redeem them first.
    pub plain: Vec<Example>,
    pub two_actions: Vec<Example>,
    pub no_action: Vec<Example>,
    /// Orders that have one action with one redeemed and one cancellable reward.
    pub redeemed: Vec<Example>,
    /// Orders that have one action, with every reward redeemed.
    pub all_redeemed: Vec<Example>,
    /// Orders that have one action, with every reward cancelled.
    pub already_cancelled: Vec<Example>,
    /// Orders with rewards that contain two different order IDs.
    pub ambiguous: Vec<Example>,
    /// Orders that have an action with an ActionId of an unusual form.
    pub unfamiliar_action: Vec<Example>,
    /// Orders that have an action whose amount was 0 from the start. The reversal of an action with amount 0 cancels no
    /// reward.
    pub zero_amount: Vec<Example>,
    /// Orders that have one action with a partly redeemed reward and no fully redeemed reward.
    pub partly_redeemed: Vec<Example>,
    /// Orders that have one action with an expired reward.
    pub expired: Vec<Example>,
    /// Orders that have one action with a gift card, which cannot be cancelled.
    pub gift_card: Vec<Example>,
    /// Orders that have one action with rewards that are marked as not cancellable.
    pub not_cancellable: Vec<Example>,
    /// Orders that have one action with rewards that also contain the order ID of the buyer's next order.
    pub shared: Vec<Example>,
    /// Orders like `plain`, but between 31 days and two years old.
    pub old_conversion: Vec<Example>,
    /// Orders like `plain`, but more than two years old.
    pub old_event: Vec<Example>,
    /// Orders like `plain`, but of a Performance program and past its locking date.
    pub locked: Vec<Example>,
    /// A participant who has orders and an e-mail address as account ID.
    pub email: Option<Participant>,
}

/// One example order with its actions and rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub order_id: String,
    /// The event type of the order. A reversal by order ID needs it.
    pub action_tracker_id: u64,
    pub action_ids: Vec<String>,
    /// The IDs of all rewards of the order's actions.
    pub reward_ids: Vec<String>,
    /// Whether the locking date of the order's action has passed or is near.
    is_locked: bool,
}

/// One participant with the order IDs in the rewards of their account.
#[derive(Debug, Clone, PartialEq)]
pub struct Participant {
    pub email: String,
    pub account_id: String,
    /// The order IDs in the rewards of the participant's account.
    pub order_ids: Vec<String>,
}

impl Examples {
    /// Returns the example orders as JSON, in the form of `/_simulator/examples`.
    pub fn to_json(&self) -> Value {
        let list = |examples: &[Example]| -> Vec<Value> {
            let one = |example: &Example| {
                json!({
                    "order_id": example.order_id, "action_tracker_id": example.action_tracker_id,
                    "action_ids": example.action_ids, "reward_ids": example.reward_ids,
                })
            };
            examples.iter().map(one).collect()
        };
        let email = self.email.as_ref().map(
            |person| json!({"email": person.email, "account_id": person.account_id, "order_ids": person.order_ids}),
        );
        let mut all: serde_json::Map<String, Value> =
            self.lists().into_iter().map(|(name, examples)| (name.to_owned(), list(examples).into())).collect();
        all.insert("email".to_owned(), json!(email));
        Value::Object(all)
    }

    /// Chooses example orders from the current data.
    pub(super) fn find(world: &World) -> Self {
        let mut found = Self::default();
        // Orders that are plain except for their age. The simulator uses orders of another age if it finds too few
        // plain orders.
        let mut spare = Vec::new();
        for buyer in world.everyone().take(SEARCHED) {
            for order in 0..world.data.orders(buyer) {
                found.sort_in(world, buyer, order, &mut spare);
            }
            if found.email.is_none() {
                found.email = participant(world, buyer);
            }
            if found.email.is_some() && found.lists().iter().all(|(_, list)| list.len() >= EACH) {
                break;
            }
        }
        let missing = EACH - found.plain.len().min(EACH);
        found.plain.extend(spare.into_iter().take(missing));
        found
    }

    fn lists(&self) -> [(&'static str, &Vec<Example>); 17] {
        [
            ("plain", &self.plain),
            ("two_actions", &self.two_actions),
            ("no_action", &self.no_action),
            ("redeemed", &self.redeemed),
            ("all_redeemed", &self.all_redeemed),
            ("already_cancelled", &self.already_cancelled),
            ("ambiguous", &self.ambiguous),
            ("unfamiliar_action", &self.unfamiliar_action),
            ("zero_amount", &self.zero_amount),
            ("partly_redeemed", &self.partly_redeemed),
            ("expired", &self.expired),
            ("gift_card", &self.gift_card),
            ("not_cancellable", &self.not_cancellable),
            ("shared", &self.shared),
            ("old_conversion", &self.old_conversion),
            ("old_event", &self.old_event),
            ("locked", &self.locked),
        ]
    }

    fn sort_in(&mut self, world: &World, buyer: u64, order: u64, spare: &mut Vec<Example>) {
        let data = &world.data;
        let actions: Vec<ActionKey> =
            (0..data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action }).collect();
        let mut rewards = Vec::new();
        for action in &actions {
            rewards.extend(world.rewards_of_action(*action));
        }
        if rewards.is_empty() {
            return;
        }
        let facts: Vec<Facts> = rewards.iter().map(|(key, touch)| data.facts(*key, *touch, world.style.tidy)).collect();
        let count = |of: &dyn Fn(&Facts) -> bool| facts.iter().filter(|facts| of(facts)).count();
        let cancellable = count(&|facts| facts.cancellable);
        let credits = count(&|facts| facts.kind == Kind::Credit);
        let redeemed = count(&|facts| facts.state == State::Redeemed);
        let is_partly = count(&|facts| facts.state == State::PartlyRedeemed) > 0;
        let is_expired = count(&|facts| facts.state == State::Expired) > 0;
        // Returns `true` if a reward is uncancelled and no reversal can cancel it.
        let stuck = |facts: &&Facts| !facts.cancellable && matches!(facts.state, State::Pending | State::Available);
        let stuck: Vec<&Facts> = facts.iter().filter(stuck).collect();
        // The age of the order in days, counted from `--today`, which may be a day behind the clock.
        let age = (data.today - data.ordered(buyer, order)).div_euclid(DAY);
        let is_locked = data.is_locked(actions[0], data.today + 2 * DAY);
        let whole = cancellable == facts.len();
        let list = match data.class(buyer, order) {
            Class::Kept if !stuck.is_empty() => &mut self.not_cancellable,
            Class::Plain if stuck.iter().any(|facts| facts.kind == Kind::Integration) => &mut self.gift_card,
            _ if !stuck.is_empty() => return,
            Class::TwoActions if cancellable >= 2 => &mut self.two_actions,
            Class::NoAction => &mut self.no_action,
            Class::Unfamiliar if cancellable > 0 => &mut self.unfamiliar_action,
            Class::Ambiguous => &mut self.ambiguous,
            Class::Shared if cancellable > 0 => &mut self.shared,
            Class::ZeroAmount if cancellable > 0 => &mut self.zero_amount,
            Class::Plain if whole && age > 731 => &mut self.old_event,
            Class::Plain if whole && data.is_locked(actions[0], data.today) && self.locked.len() < EACH => {
                &mut self.locked
            }
            Class::Plain if whole && age > 31 && self.old_conversion.len() < EACH => &mut self.old_conversion,
            Class::Plain if cancellable == 2 && credits == 2 && age < 28 && !is_locked => &mut self.plain,
            Class::Plain if cancellable == 2 => spare,
            Class::Plain if cancellable == 1 && redeemed == 1 => &mut self.redeemed,
            Class::Plain if redeemed == facts.len() => &mut self.all_redeemed,
            Class::Plain if facts.iter().all(|facts| facts.state == State::Cancelled) => &mut self.already_cancelled,
            Class::Plain if is_partly && redeemed == 0 => &mut self.partly_redeemed,
            Class::Plain if is_expired && redeemed == 0 => &mut self.expired,
            _ => return,
        };
        let example = || Example {
            order_id: data.order_id(buyer, order),
            action_tracker_id: data.tracker(buyer, order),
            action_ids: actions.iter().filter_map(|action| data.action_id(*action)).collect(),
            reward_ids: rewards.iter().map(|(key, _)| data.reward_id(*key)).collect(),
            is_locked,
        };
        // An order that is also an example of another kind is added after the others.
        let place = if is_locked { list.len() } else { list.iter().take_while(|known| !known.is_locked).count() };
        if place < EACH {
            list.insert(place, example());
            list.truncate(EACH);
        }
    }
}

fn participant(world: &World, person: u64) -> Option<Participant> {
    let account_id = world.data.account_id(world.data.owner(person));
    let email = world.data.email(person);
    if account_id != email || !email.contains('+') {
        return None;
    }
    let mut order_ids = Vec::new();
    world.rewards(person, |key, _| {
        if key.side != Side::Manual {
            let order = world.data.order_id(key.buyer, key.order);
            if !order_ids.contains(&order) {
                order_ids.push(order);
            }
        }
    });
    (!order_ids.is_empty()).then_some(Participant { email, account_id, order_ids })
}
