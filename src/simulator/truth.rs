//! The truth: every reward that exists now, every account, and orders picked as examples of each kind.
//!
//! It names the real order and action whatever `--link-in` shows of them, except that under unusual names an ambiguous
//! reward has one order ID. Written from [`World`] and not from what was served, piece by piece, so that a million participants can be read
//! without being held.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    data::{ActionKey, Class, Side},
    facts::State,
    reward_json::{Object, quoted, string},
    world::World,
};

/// People per piece.
const PIECE: u64 = 500;
/// Participants that examples are looked for among: enough for every kind, few enough to answer at once.
const SEARCHED: usize = 200_000;

/// One line per reward (or, with `accounts`, per account) that exists now.
pub(super) fn lines(world: Arc<World>, accounts: bool) -> impl Iterator<Item = Bytes> + Send + Sync {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let (people, _) = world.look(offset, PIECE);
        offset += people.len() as u64;
        if people.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(64 * 1024);
        for owner in people.into_iter().filter(|person| world.data.owner(*person) == *person) {
            if accounts { write_account(&mut out, &world, owner) } else { write_rewards(&mut out, &world, owner) }
        }
        // Never empty: an empty piece would be a valid chunk, but it would also be a wasted write.
        Some(Bytes::from(if out.is_empty() { b"\n".to_vec() } else { out }))
    })
}

fn write_account(out: &mut Vec<u8>, world: &World, owner: u64) {
    let mut rewards = 0;
    world.rewards(owner, |_, _| rewards += 1);
    let mut line = Object::new(out, true, false);
    line.key("account_id");
    quoted(line.out, |out| world.data.write_account_id(out, owner));
    line.number("rewards", Some(rewards));
    line.end();
    out.push(b'\n');
}

fn write_rewards(out: &mut Vec<u8>, world: &World, owner: u64) {
    let data = &world.data;
    world.rewards(owner, |key, touch| {
        let facts = data.facts(key, touch, world.style.tidy);
        let link = world.style.link(data, key);
        let mut line = Object::new(out, true, false);
        line.text("reward_id", Some(&data.reward_id(key)));
        line.key("account_id");
        quoted(line.out, |out| data.write_account_id(out, owner));
        line.text("user_id", Some(&data.user_id(touch.moved_to.unwrap_or_else(|| data.holder(key)))));
        list(line.key("order_ids"), &link.orders);
        list(line.key("action_ids"), link.action.as_slice());
        line.text("state", Some(facts.state.name()));
        line.number("assigned", facts.assigned);
        line.number("redeemed", facts.redeemed);
        line.number("modified", Some(facts.modified));
        line.end();
        out.push(b'\n');
    });
}

fn list(out: &mut Vec<u8>, items: &[String]) {
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(out, item);
    }
    out.push(b']');
}

/// Orders to try things on, up to five of each kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// One action, two rewards, both still cancellable.
    pub plain: Vec<Example>,
    /// Two actions.
    pub two_actions: Vec<Example>,
    /// No ActionId on the rewards.
    pub no_action: Vec<Example>,
    /// One action, one reward redeemed and one cancellable.
    pub redeemed: Vec<Example>,
    /// One action, every reward redeemed.
    pub all_redeemed: Vec<Example>,
    /// One action, every reward cancelled.
    pub already_cancelled: Vec<Example>,
    /// Rewards that offer two different order IDs.
    pub ambiguous: Vec<Example>,
    /// An ActionId that does not look like one.
    pub unfamiliar_action: Vec<Example>,
    /// An action whose amount was 0 from the start, which a reversal does not reverse.
    pub zero_amount: Vec<Example>,
    /// A participant with orders whose ID is an e-mail address.
    pub email: Option<Participant>,
}

/// One order with what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The merchant's order ID.
    pub order_id: String,
    /// The event type, for reversals by order ID.
    pub action_tracker_id: u64,
    /// The order's actions.
    pub action_ids: Vec<String>,
    /// Every reward of those actions.
    pub reward_ids: Vec<String>,
}

/// One participant with the orders on the rewards of their account.
#[derive(Debug, Clone, PartialEq)]
pub struct Participant {
    /// E-mail address.
    pub email: String,
    /// Account ID.
    pub account_id: String,
    /// Order IDs on the account's rewards.
    pub order_ids: Vec<String>,
}

impl Examples {
    /// As JSON, in the shape of `/_simulator/examples`.
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
        json!({
            "plain": list(&self.plain),
            "two_actions": list(&self.two_actions),
            "no_action": list(&self.no_action),
            "redeemed": list(&self.redeemed),
            "all_redeemed": list(&self.all_redeemed),
            "already_cancelled": list(&self.already_cancelled),
            "ambiguous": list(&self.ambiguous),
            "unfamiliar_action": list(&self.unfamiliar_action),
            "zero_amount": list(&self.zero_amount),
            "email": email,
        })
    }

    /// Looks for them as things stand now.
    pub(super) fn find(world: &World) -> Self {
        let mut found = Self::default();
        for buyer in world.everyone().take(SEARCHED) {
            for order in 0..world.data.orders(buyer) {
                found.sort_in(world, buyer, order);
            }
            if found.email.is_none() {
                found.email = participant(world, buyer);
            }
            if found.email.is_some() && found.lists().iter().all(|list| list.len() >= 5) {
                break;
            }
        }
        found
    }

    fn lists(&self) -> [&Vec<Example>; 9] {
        [
            &self.plain,
            &self.two_actions,
            &self.no_action,
            &self.redeemed,
            &self.all_redeemed,
            &self.already_cancelled,
            &self.ambiguous,
            &self.unfamiliar_action,
            &self.zero_amount,
        ]
    }

    fn sort_in(&mut self, world: &World, buyer: u64, order: u64) {
        let data = &world.data;
        let actions: Vec<ActionKey> =
            (0..data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action }).collect();
        let mut rewards = Vec::new();
        for action in &actions {
            rewards.extend(world.rewards_of_action(*action));
        }
        let states: Vec<State> =
            rewards.iter().map(|(key, touch)| data.facts(*key, *touch, world.style.tidy).state).collect();
        let cancellable = states.iter().filter(|state| state.cancellable()).count();
        let redeemed = states.iter().filter(|state| **state == State::Redeemed).count();
        let list = match data.class(buyer, order) {
            _ if rewards.is_empty() => return,
            Class::TwoActions if cancellable >= 2 => &mut self.two_actions,
            Class::NoAction => &mut self.no_action,
            Class::Unfamiliar if cancellable > 0 => &mut self.unfamiliar_action,
            Class::Ambiguous => &mut self.ambiguous,
            Class::ZeroAmount if cancellable > 0 => &mut self.zero_amount,
            Class::Plain if cancellable == 2 => &mut self.plain,
            Class::Plain if cancellable == 1 && redeemed == 1 => &mut self.redeemed,
            Class::Plain if redeemed == states.len() => &mut self.all_redeemed,
            Class::Plain if states.iter().all(|state| *state == State::Cancelled) => &mut self.already_cancelled,
            _ => return,
        };
        if list.len() < 5 {
            list.push(Example {
                order_id: data.order_id(buyer, order),
                action_tracker_id: data.tracker(buyer, order),
                action_ids: actions.iter().filter_map(|action| data.action_id(*action)).collect(),
                reward_ids: rewards.iter().map(|(key, _)| data.reward_id(*key)).collect(),
            });
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
