//! Tests that the formulas return the same links in both directions, that every ID can be decoded, and that every form
//! of ID occurs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::{of, world};
use crate::{
    Examples, LinkIn, LinkNames, Options, data,
    facts::Touch,
    keys::{ActionKey, Class, RewardKey, Side},
    world::World,
};

#[test]
fn accounts_and_actions_agree_on_every_reward() {
    for participants in [1, 2, 7, 100, 500, 2000] {
        for seed in [1, 2, 99] {
            let world = world(&Options { seed, ..of(participants) });
            let data = &world.data;
            let (mut from_accounts, mut from_actions) = (BTreeSet::new(), BTreeSet::new());
            for owner in world.everyone().filter(|person| data.owner(*person) == *person) {
                world.rewards(owner, |key, _| {
                    assert!(data.is_real(key));
                    assert_eq!(data.owner(data.holder(key)), owner);
                    assert!(from_accounts.insert(key.pack()), "a reward is in two accounts");
                });
            }
            for buyer in 0..participants {
                for order in 0..data.orders(buyer) {
                    for action in 0..data.actions(buyer, order) {
                        let rewards = world.rewards_of_action(ActionKey { buyer, order, action });
                        assert!(!rewards.is_empty(), "an order without a reward cannot be seen by anyone");
                        from_actions.extend(rewards.into_iter().map(|(key, _)| key.pack()));
                    }
                }
            }
            let ordered = |key: &&u64| RewardKey::unpack(**key).is_some_and(|key| key.side != Side::Manual);
            let from_accounts: BTreeSet<u64> = from_accounts.iter().filter(ordered).copied().collect();
            assert_eq!(from_accounts, from_actions, "{participants} participants, seed {seed}");
        }
    }
}

#[test]
fn every_id_is_unique_and_can_be_read_back() {
    let world = world(&of(3000));
    let data = &world.data;
    let (mut accounts, mut users) = (HashSet::new(), HashSet::new());
    let (mut orders, mut actions, mut rewards) = (HashSet::new(), HashSet::new(), HashSet::new());
    for person in 0..3000 {
        assert!(accounts.insert(data.account_id(person)) && users.insert(data.user_id(person)));
        assert_eq!(data.find_account(&data.account_id(person)), Some(person));
        for order in 0..data.orders(person) {
            let id = data.order_id(person, order);
            assert!(id.chars().count() <= 64 && orders.insert(id.clone()), "{id}");
            for action in 0..data.actions(person, order) {
                let key = ActionKey { buyer: person, order, action };
                if let Some(id) = data.action_id(key) {
                    assert_eq!(data.find_action(&id), Some(key));
                    assert!(actions.insert(id));
                }
            }
        }
        data.rewards_of(person, |key| {
            let id = data.reward_id(key);
            assert_eq!(data.find_reward(&id), Some(key));
            assert!(rewards.insert(id));
        });
    }
    for odd in ["", "x", "0", "600000", "4294967296", "ada+99999999999999999999@example.com", "1.2.3", "ACT-zz", "é"] {
        let found = data.find_account(odd).filter(|person| data.account_id(*person) != odd);
        assert!(found.is_none() && data.find_action(odd).is_none() && data.find_reward(odd).is_none(), "{odd}");
    }
}

type Shape = fn(&str) -> bool;

#[test]
fn the_data_have_the_shapes_that_people_meet() {
    let world = world(&of(2000));
    let data = &world.data;
    let mut orders = Vec::new();
    for buyer in 0..2000 {
        orders.extend((0..data.orders(buyer)).map(|order| (buyer, order)));
    }
    let ids: BTreeSet<String> = orders.iter().map(|(buyer, order)| data.order_id(*buyer, *order)).collect();
    let shapes: [(&str, Shape); 9] = [
        ("leading zero", |id| id.starts_with('0')),
        ("hash", |id| id.starts_with('#')),
        ("space", |id| id.contains(' ')),
        ("slash", |id| id.contains('/')),
        ("percent", |id| id.contains("%2F")),
        ("plus", |id| id.contains('+')),
        ("non-ASCII", |id| !id.is_ascii()),
        ("64 characters", |id| id.len() == 64),
        ("UUID", |id| id.len() == 36),
    ];
    for (name, shape) in shapes {
        assert!(ids.iter().any(|id| shape(id)), "no order ID with {name}");
    }
    assert!(ids.iter().any(|id| id.starts_with("SKU") && ids.contains(&id.to_lowercase())), "no twins");
    let odd = [Class::TwoActions, Class::NoAction, Class::Unfamiliar, Class::Ambiguous, Class::ZeroAmount];
    for class in odd.into_iter().chain([Class::Shared, Class::Kept]) {
        assert!(orders.iter().any(|(buyer, order)| data.class(*buyer, *order) == class), "no {class:?}");
    }
    let owners: Vec<u64> = (0..2000).filter(|person| data.owner(*person) == *person).collect();
    assert!(owners.len() < 2000, "nobody shares an account");
    assert_eq!(owners.iter().map(|owner| data.members(*owner).count()).sum::<usize>(), 2000);
    let sizes: Vec<usize> = owners
        .iter()
        .map(|owner| {
            let mut size = 0;
            world.rewards(*owner, |_, _| size += 1);
            size
        })
        .collect();
    assert!(sizes.iter().any(|size| *size >= 500), "no large account");
    assert!(sizes.iter().filter(|size| **size <= 3).count() * 10 > sizes.len() * 8, "most accounts are small");
    let mut states = BTreeMap::<_, usize>::new();
    for owner in &owners {
        world.rewards(*owner, |key, touch| {
            *states.entry(data.facts(key, touch, false).state.name()).or_default() += 1;
        });
    }
    assert_eq!(states.len(), 6, "{states:?}");
    let examples = Examples::find(&world);
    for (kind, list) in examples.to_json().as_object().expect("an object") {
        assert!(!list.is_null() && list.as_array().is_none_or(|list| !list.is_empty()), "no example of {kind}");
    }
}

#[test]
fn the_seed_decides_everything() {
    let everything = |seed| {
        let world = world(&Options { seed, ..of(300) });
        let mut out = Vec::new();
        for owner in 0..300 {
            world.rewards(owner, |key, touch| {
                world.style.write(&mut out, &world.data, key, touch);
            });
        }
        out
    };
    assert!(everything(5) == everything(5));
    assert!(everything(5) != everything(6));
}

#[test]
fn rewards_say_in_every_placement_what_the_truth_says() {
    use LinkIn as In;
    use LinkNames as Names;
    for link_in in [In::Reward, In::Event, In::Meta] {
        for names in [Names::Camel, Names::Snake, Names::Pascal, Names::Oid, Names::Unusual, Names::Mixed] {
            for tidy in [false, true] {
                let world = world(&Options { link_in, link_names: names, tidy, ..of(600) });
                for owner in 0..600 {
                    world.rewards(owner, |key, touch| check_reward(&world, key, touch, link_in));
                }
            }
        }
    }
}

fn check_reward(world: &World, key: RewardKey, touch: Touch, link_in: LinkIn) {
    let mut out = Vec::new();
    let facts = world.style.write(&mut out, &world.data, key, touch);
    let reward: Value = serde_json::from_slice(&out).expect("a reward is JSON");
    let place = match link_in {
        LinkIn::Reward => Some(&reward),
        LinkIn::Event => reward.pointer("/userEvent/fields"),
        LinkIn::Meta => reward.pointer("/meta/customMeta"),
        LinkIn::None | LinkIn::Graphql => None,
    };
    let said = |names: &[&str]| -> Vec<String> {
        let fields = place.and_then(Value::as_object).into_iter().flatten();
        let values = fields.filter(|(name, _)| names.contains(&name.to_lowercase().replace('_', "").as_str()));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        values.map(|(_, value)| value).filter(|value| !value.is_null()).map(text).collect()
    };
    let link = world.style.link(&world.data, key);
    assert_eq!(said(&["orderid", "oid", "ordernumber", "merchantref"]), link.orders, "{reward}");
    assert_eq!(said(&["actionid", "conversionref"]), link.action.into_iter().collect::<Vec<_>>(), "{reward}");
    assert_eq!(reward["cancellable"], facts.cancellable);
    if world.style.tidy {
        assert!(reward.as_object().expect("an object").values().all(|value| !value.is_null()), "{reward}");
        assert!(["CREDIT", "PCT_DISCOUNT", "FUELTANK"].contains(&reward["type"].as_str().unwrap_or_default()));
        assert!(reward["dateGiven"].is_i64());
    }
}

#[test]
fn examples_are_what_their_kind_says() {
    let world = world(&of(2000));
    let data = &world.data;
    let examples = Examples::find(&world);
    let keys = |list: &[crate::Example]| -> Vec<ActionKey> {
        list.iter().flat_map(|one| one.action_ids.iter().filter_map(|id| data.find_action(id))).collect()
    };
    let days = |key: &ActionKey| (data.today - data.ordered(key.buyer, key.order)) / data::DAY;
    assert!(keys(&examples.plain).iter().all(|key| days(key) < 28 && !data.is_locked(*key, data.today + data::DAY)));
    assert!(keys(&examples.old_event).iter().all(|key| days(key) > 730));
    assert!(keys(&examples.old_conversion).iter().all(|key| (31..=731).contains(&days(key))));
    assert!(keys(&examples.locked).iter().all(|key| data.is_locked(*key, data.today)));
    for key in keys(&examples.shared) {
        let next = data.order_id(key.buyer, key.order + 1);
        for (reward, _) in world.rewards_of_action(key) {
            assert!(world.style.link(data, reward).orders.contains(&next));
        }
    }
    let stuck = |list: &[crate::Example]| {
        list.iter().all(|one| {
            one.reward_ids.iter().filter_map(|id| world.reward(id)).any(|(key, touch)| {
                let facts = data.facts(key, touch, false);
                !facts.cancellable && !world.cancel_reward(key, data.today)
            })
        })
    };
    assert!(stuck(&examples.gift_card) && stuck(&examples.not_cancellable));
    assert!(!examples.gift_card.is_empty() && !examples.not_cancellable.is_empty());
}

#[test]
fn items_add_up_to_their_order_and_have_names_of_their_own() {
    let world = world(&of(2000));
    let data = &world.data;
    let (mut several, mut odd) = (false, false);
    for buyer in 0..2000 {
        for order in 0..data.orders(buyer) {
            let items = data.items(ActionKey { buyer, order, action: 0 });
            assert_eq!(items.iter().map(|item| item.cents).sum::<i64>(), data.amount(buyer, order) as i64);
            assert!(items.iter().all(|item| item.quantity > 0 && item.cents >= 0));
            let skus: HashSet<&str> = items.iter().map(|item| item.sku.as_str()).collect();
            assert_eq!(skus.len(), items.len());
            several |= items.len() > 1;
            odd |= skus.iter().any(|sku| sku.contains('&'));
        }
    }
    assert!(several && odd);
}
