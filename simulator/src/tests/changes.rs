//! Tests rewards that change while the simulator runs: all endpoints return the same change, and a seed always produces
//! the same changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{of, server::Server, world};
use crate::{
    Options,
    data::DAY,
    facts::Touch,
    keys::{Class, RewardKey, Side},
    world::World,
};

/// Returns every reward with its modification time, read by account.
fn by_account(world: &World) -> BTreeMap<u64, i64> {
    let mut all = BTreeMap::new();
    for owner in world.everyone().filter(|person| world.data.owner(*person) == *person) {
        world.rewards(owner, |key, touch| {
            all.insert(key.pack(), world.data.facts(key, touch, world.style.tidy).modified);
        });
    }
    all
}

/// Returns every reward with its modification time, read from the timeline.
fn by_moment(world: &World) -> BTreeMap<u64, i64> {
    world.timeline(|timeline, touch| {
        let slice = timeline.slice(0, timeline.total());
        assert!(slice.is_sorted());
        let one = |(moment, tie): (i64, u64)| {
            let key = world.data.tied(tie).expect("a reward");
            assert_eq!(world.data.facts(key, touch(key), world.style.tidy).modified, moment);
            (key.pack(), moment)
        };
        slice.into_iter().map(one).collect()
    })
}

#[test]
fn the_timeline_is_all_rewards_whatever_changes_and_whenever_it_is_first_asked_for() {
    for asked_first in [true, false] {
        let world = world(&Options { churn: 30, ..of(600) });
        if asked_first {
            assert_eq!(by_moment(&world), by_account(&world));
        }
        let before = by_account(&world);
        let mut offset = 0;
        while offset < 600 {
            offset += world.page(offset, 40).0.len() as u64;
        }
        assert_eq!(world.change_accounts(50), 50);
        let keys: Vec<RewardKey> = by_account(&world).keys().filter_map(|packed| RewardKey::unpack(*packed)).collect();
        world.delete_reward(keys[3]);
        world.move_reward(keys[7], world.data.owner(400));
        world.move_reward(keys[7], world.data.owner(401));
        for key in &keys[10..40] {
            world.redeem(*key, 5);
        }
        let after = by_account(&world);
        assert_ne!(after, before);
        assert_eq!(by_moment(&world), after, "asked first: {asked_first}");
    }
}

#[test]
fn many_rewards_share_one_moment_and_none_was_modified_before_it_was_made_or_ended() {
    let world = world(&of(2000));
    let mut moments = BTreeMap::<i64, usize>::new();
    for (packed, moment) in by_account(&world) {
        let key = RewardKey::unpack(packed).expect("a key");
        let facts = world.data.facts(key, Touch::default(), false);
        assert_eq!(facts.modified, moment);
        assert!(moment >= facts.created && facts.cancelled.is_none_or(|cancelled| moment >= cancelled));
        assert!(moment <= world.data.today + DAY);
        *moments.entry(moment).or_default() += 1;
    }
    let mut sizes: Vec<usize> = moments.values().copied().collect();
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
    assert!(sizes[1] > 50 && sizes[2] <= 2, "two migrations, and no other crowd: {:?}", &sizes[..4]);
    let newest = moments.keys().next_back().expect("a reward");
    let last_hour: usize = moments.range(newest - DAY / 24..).map(|(_, size)| size).sum();
    assert!((1..30).contains(&last_hour), "nor one at the end: {last_hour} in the last hour");
}

#[test]
fn a_late_order_is_known_in_both_directions() {
    let world = world(&of(500));
    let data = &world.data;
    let before = by_account(&world);
    let mut placed = BTreeSet::new();
    for buyer in [0, 7, 7, 7, 499] {
        let key = world.place_order(buyer, data.today + 9).expect("room for an order");
        assert!(data.is_real(key) && key.side == Side::Friend);
        let id = data.reward_id(key);
        assert_eq!(data.find_reward(&id), Some(key));
        assert_eq!(world.reward(&id).map(|(key, _)| key), Some(key));
        let facts = data.facts(key, Touch::default(), false);
        assert_eq!((facts.created, facts.modified), (data.today + 9, data.today + 9));
        let order = data.order_id(buyer, key.order);
        assert_eq!(data.find_order(&order, |buyer| world.is_here(buyer)), Some((buyer, key.order)));
        let actions = world.actions_of_order(&order, data.tracker(buyer, key.order));
        assert_eq!(actions.iter().filter_map(|action| data.action_id(*action)).count(), 1);
        assert_eq!(actions.first().map(|action| world.rewards_of_action(*action).len()), Some(1));
        placed.insert(key.pack());
    }
    let after = by_account(&world);
    assert_eq!(after.keys().filter(|key| !before.contains_key(key)).copied().collect::<BTreeSet<_>>(), placed);
    assert!(before.iter().all(|(key, moment)| after.get(key) == Some(moment)), "nothing else has changed");
    while world.place_order(7, data.today + 9).is_some() {}
    assert_eq!(data.orders(7), 1024, "no more orders than there are numbers");
}

#[test]
fn every_order_id_leads_back_to_its_order() {
    let world = world(&of(3000));
    let data = &world.data;
    for buyer in 0..3000 {
        for order in 0..data.orders(buyer) {
            assert_eq!(
                data.find_order(&data.order_id(buyer, order), |buyer| world.is_here(buyer)),
                Some((buyer, order))
            );
            if let Some(second) = data.second_order_id(buyer, order) {
                // The second order ID of a shared order's rewards belongs to the buyer's next order.
                let whose = order + u64::from(data.class(buyer, order) == Class::Shared);
                assert_eq!(data.find_order(&second, |buyer| world.is_here(buyer)), Some((buyer, whose)));
            }
        }
        assert_eq!(data.find_user(&data.user_id(buyer)), Some(buyer));
    }
    for odd in ["", "x", "0", "99999999999999999999999", "ORD 1 2 3", "é", "SKU-1-XL ", "WEB-"] {
        assert!(
            data.find_order(odd, |buyer| world.is_here(buyer))
                .is_none_or(|(buyer, order)| data.order_id(buyer, order) == odd),
            "{odd}"
        );
    }
}

#[test]
fn so_many_accounts_have_rewards_as_were_asked_for() {
    for share in [0.1, 0.4, 0.8] {
        let world = world(&Options { rewarded: Some(share), ..of(20_000) });
        let (mut accounts, mut rewarded) = (0, 0);
        for owner in world.everyone().filter(|person| world.data.owner(*person) == *person) {
            let mut any = false;
            world.rewards(owner, |_, _| any = true);
            accounts += 1;
            rewarded += i32::from(any);
        }
        let found = f64::from(rewarded) / f64::from(accounts);
        assert!((found - share).abs() < 0.03, "{found} instead of {share}");
    }
}

#[test]
fn which_accounts_change_is_decided_by_the_seed() {
    let run = |seed| {
        let world = world(&Options { seed, reward_churn: 9, ..of(700) });
        let before = by_account(&world);
        world.change_accounts(20);
        for _ in 0..60 {
            world.rewards_read(1);
        }
        let after = by_account(&world);
        let changed: BTreeSet<u64> = after.iter().filter(|(k, v)| before.get(k) != Some(v)).map(|(k, _)| *k).collect();
        let accounts: BTreeSet<u64> = changed
            .iter()
            .filter_map(|packed| RewardKey::unpack(*packed))
            .map(|key| world.data.owner(world.data.holder(key)))
            .collect();
        assert!(changed.len() >= accounts.len() && (20..=29).contains(&accounts.len()), "{}", accounts.len());
        assert!(changed.iter().any(|key| !before.contains_key(key)), "an order came");
        assert!(changed.iter().any(|key| before.contains_key(key)), "a reward was cancelled");
        changed
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[tokio::test]
async fn a_change_is_one_step_and_seen_in_the_truth() {
    let server = Server::start(of(300)).await;
    let lines = |truth: Vec<serde_json::Value>| -> BTreeSet<String> { truth.iter().map(ToString::to_string).collect() };
    let before = lines(server.truth("truth").await);
    let changed = server.control("POST", "change?accounts=11").await.json();
    assert_eq!(changed, serde_json::json!({"changed": 11}));
    let after = lines(server.truth("truth").await);
    assert_eq!(after.difference(&before).count(), 11);
    assert_eq!(server.control("POST", "change").await.status, 400);
    assert_eq!(server.control("POST", "set?reward-churn=2").await.status, 200);
    for account in server.truth("accounts").await.iter().take(30) {
        server.rewards(account["account_id"].as_str().unwrap_or_default()).await;
    }
    let churned = lines(server.truth("truth").await);
    assert_eq!(churned.difference(&after).count(), 2);
    let many = server.control("POST", "change?accounts=100000").await.json();
    assert!(many["changed"].as_u64().is_some_and(|n| (200..=300).contains(&n)), "every account once: {many}");
}
