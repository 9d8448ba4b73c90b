//! The true data of the simulator: every existing reward, every account, and every action with its changes.
//!
//! The line of a reward contains the real order and action for every `--link-in`. With unusual names of keys, an
//! ambiguous reward has only one order ID. The simulator writes the true data from [`World`] and not from its
//! responses. The simulator writes the true data in pieces, because a million participants must fit in memory.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    facts::State,
    keys::ActionKey,
    reward_json::{Object, quoted, string},
    world::World,
};

/// The number of participants in each piece of the true data.
const PIECE: u64 = 500;

/// Returns one line for each existing reward, or with `accounts` for each account.
pub(super) fn lines(world: Arc<World>, accounts: bool) -> impl Iterator<Item = Bytes> + Send + Sync {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let (people, _) = world.page_unchanged(offset, PIECE);
        offset += people.len() as u64;
        if people.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(64 * 1024);
        for owner in people.into_iter().filter(|person| world.data.owner(*person) == *person) {
            if accounts { write_account(&mut out, &world, owner) } else { write_rewards(&mut out, &world, owner) }
        }
        // An empty piece would cost a write. Therefore an empty piece becomes a blank line.
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
        line.raw("cancellable", if facts.cancellable { "true" } else { "false" });
        line.number("cancelled_at", facts.cancelled);
        line.number("modified", Some(facts.modified));
        line.end();
        out.push(b'\n');
    });
}

/// Returns one line for each existing action.
pub(super) fn actions(world: Arc<World>) -> impl Iterator<Item = Bytes> + Send + Sync {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let (people, _) = world.page_unchanged(offset, PIECE);
        offset += people.len() as u64;
        if people.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        for buyer in people {
            for order in 0..world.data.orders(buyer) {
                for number in 0..world.data.actions(buyer, order) {
                    out.extend_from_slice(
                        action(&world, ActionKey { buyer, order, action: number }).to_string().as_bytes(),
                    );
                    out.push(b'\n');
                }
            }
        }
        Some(Bytes::from(if out.is_empty() { b"\n".to_vec() } else { out }))
    })
}

/// Describes one action: its amount, whether it is reversed, and its rewards with their cancellation times. The rewards
/// of a shared order belong to the action that gave them.
pub(super) fn action(world: &World, key: ActionKey) -> Value {
    let data = &world.data;
    let standing = world.action_log.state(data, key);
    let mut all_cancelled = true;
    let rewards: Vec<Value> = world
        .rewards_of_action(key)
        .into_iter()
        .map(|(key, touch)| {
            let facts = data.facts(key, touch, world.style.tidy);
            all_cancelled &= facts.state == State::Cancelled;
            json!({
                "reward_id": data.reward_id(key), "state": facts.state.name(), "cancellable": facts.cancellable,
                "cancelled_at": facts.cancelled,
            })
        })
        .collect();
    json!({
        "action_id": data.action_id(key), "order_id": data.order_id(key.buyer, key.order),
        "action_tracker_id": data.tracker(key.buyer, key.order), "campaign_id": data.campaign(key.buyer),
        "currency": data.currency(key.buyer), "ordered_at": data.ordered(key.buyer, key.order), "locks_at": data.locks(key),
        "intended_cents": data.amount(key.buyer, key.order), "cents": standing.cents,
        "reversed_at": standing.reversed, "all_cancelled": all_cancelled && !rewards.is_empty(), "rewards": rewards,
    })
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
