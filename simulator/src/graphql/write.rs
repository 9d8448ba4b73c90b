//! Writes a GraphQL response field by field, in the order of the selection.
//!
//! The simulator writes GraphQL responses directly as bytes, because a page has a thousand rewards. A GraphQL response
//! has every selected field, with null if it has no value. Numbers are written as numbers. The values of a reward in
//! GraphQL are the reward's facts and not the values of the REST notation.

use serde_json::{Value, json};

use super::{Part, document::Field, events::KEY, rewards::Page};
use crate::{
    facts::{State, Touch},
    keys::{ActionKey, RewardKey, Side},
    options::LinkIn,
    reward_json::{self, Object, quoted},
    world::World,
};

/// Returns the position of the damaged row and the path of its error; `None` if the page has no row or the client did
/// not select the event.
pub(super) fn damaged_row(field: &Field, page: &Page, roll: u64) -> Option<(usize, Value)> {
    let data = field.fields.iter().find(|field| field.name == "data")?;
    let event = data.fields.iter().find(|field| field.name == "userEvent")?;
    let row = (roll % (page.rows.len() as u64).max(1)) as usize;
    (row < page.rows.len()).then(|| (row, json!([field.alias, data.alias, row, event.alias])))
}

/// Writes the envelope of a GraphQL list.
fn list<T>(
    out: &mut Vec<u8>,
    field: &Field,
    kind: &str,
    total: u64,
    rows: &[T],
    mut row: impl FnMut(&mut Vec<u8>, &[Field], usize, &T),
) {
    let mut object = Object::new(out, true, false);
    for field in &field.fields {
        match field.name.as_str() {
            "data" => {
                let out = object.key(&field.alias);
                out.push(b'[');
                for (place, one) in rows.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    row(out, &field.fields, place, one);
                }
                out.push(b']');
            }
            "count" => object.number(&field.alias, Some(rows.len() as i64)),
            "totalCount" => object.number(&field.alias, Some(total as i64)),
            _ => object.text(&field.alias, Some(kind)),
        }
    }
    object.end();
}

/// Writes a GraphQL `FlatRewardList`.
pub(super) fn rewards(out: &mut Vec<u8>, world: &World, field: &Field, page: &Page, damaged: Option<usize>) {
    out.reserve(page.rows.len() * 900);
    list(out, field, "FlatRewardList", page.total, &page.rows, |out, fields, place, (key, touch)| {
        reward(out, world, fields, *key, *touch, damaged == Some(place));
    });
}

/// Writes a GraphQL `UserEventDataList`.
pub(super) fn events(out: &mut Vec<u8>, world: &World, field: &Field, events: &[ActionKey]) {
    list(out, field, "UserEventDataList", 0, events, |out, fields, _, action| event(out, world, fields, *action));
}

/// Writes a GraphQL `UserList`.
pub(super) fn users(out: &mut Vec<u8>, world: &World, field: &Field, part: Part) {
    let filter = field.arguments.get("filter").and_then(Value::as_object).filter(|filter| !filter.is_empty());
    let (people, total) = match filter {
        None => world.page_unchanged(part.offset, part.limit),
        Some(filter) => {
            let data = &world.data;
            let passes = |person: &u64| {
                filter.iter().all(|(key, value)| match key.as_str() {
                    "id_eq" => *value == data.user_id(*person),
                    "accountId_eq" => *value == data.account_id(data.owner(*person)),
                    _ => *value == data.email(*person),
                })
            };
            let found: Vec<u64> = world.everyone().filter(passes).collect();
            let total = found.len() as u64;
            (found.into_iter().skip(part.offset as usize).take(part.limit as usize).collect(), total)
        }
    };
    list(out, field, "UserList", total, &people, |out, fields, _, person| user(out, world, fields, *person, None));
}

pub(super) fn user(out: &mut Vec<u8>, world: &World, fields: &[Field], person: u64, account: Option<u64>) {
    let data = &world.data;
    let mut object = Object::new(out, true, false);
    for field in fields {
        let name = field.alias.as_str();
        match field.name.as_str() {
            "id" => quoted(object.key(name), |out| data.write_user_id(out, person)),
            "accountId" => {
                let owner = account.unwrap_or_else(|| data.owner(person));
                quoted(object.key(name), |out| data.write_account_id(out, owner));
            }
            "email" => object.text(name, Some(&data.email(person))),
            "firstName" => object.text(name, Some(data.first_name(person))),
            "lastName" => object.text(name, Some(data.last_name(person))),
            _ => object.text(name, Some("User")),
        }
    }
    object.end();
}

fn event(out: &mut Vec<u8>, world: &World, fields: &[Field], action: ActionKey) {
    let data = &world.data;
    let at = data.ordered(action.buyer, action.order);
    let mut object = Object::new(out, true, false);
    for field in fields {
        let name = field.alias.as_str();
        match field.name.as_str() {
            "id" => quoted(object.key(name), |out| data.write_event_id(out, action)),
            "userId" => quoted(object.key(name), |out| data.write_user_id(out, action.buyer)),
            "accountId" => quoted(object.key(name), |out| data.write_account_id(out, data.owner(action.buyer))),
            "key" => object.text(name, Some(KEY)),
            "dateTriggered" => object.number(name, Some(at)),
            "dateReceived" | "dateProcessed" => object.number(name, Some(at + 1500)),
            "fields" => {
                let mut fields = Object::new(object.key(name), true, false);
                reward_json::write_event_fields(&mut fields, world.style, data, action);
                fields.end();
            }
            _ => object.text(name, Some("UserEventData")),
        }
    }
    object.end();
}

/// Writes a GraphQL `FlatReward`. A damaged reward of a GraphQL list has no event.
pub(super) fn reward(out: &mut Vec<u8>, world: &World, fields: &[Field], key: RewardKey, touch: Touch, damaged: bool) {
    let data = &world.data;
    let facts = data.facts(key, touch, world.style.tidy);
    let manual = key.side == Side::Manual;
    let action = ActionKey { buyer: key.buyer, order: key.order, action: key.action };
    let holder = touch.moved_to.unwrap_or_else(|| data.holder(key));
    let (value, unit, called) = reward_json::worth(facts);
    let mut object = Object::new(out, true, false);
    for field in fields {
        let name = field.alias.as_str();
        match field.name.as_str() {
            "id" => quoted(object.key(name), |out| data.write_reward_id(out, key)),
            "type" => object.text(name, Some(facts.kind.name())),
            "value" => object.number(name, Some(value)),
            "availableValue" => {
                let left = value - facts.redeemed.unwrap_or_default();
                let is_left = matches!(facts.state, State::Available | State::PartlyRedeemed);
                object.number(name, Some(if is_left { left } else { 0 }));
            }
            "unit" => object.text(name, Some(unit)),
            "name" => object.text(name, called),
            "dateCreated" | "dateGiven" => object.number(name, Some(facts.created)),
            "dateScheduledFor" => object.number(name, facts.scheduled),
            "dateExpires" => object.number(name, facts.expires),
            "dateCancelled" => object.number(name, facts.cancelled),
            "dateRedeemed" => {
                object.number(name, (facts.state == State::Redeemed).then_some(facts.redeemed_at));
            }
            "dateModified" => object.number(name, Some(facts.modified)),
            "rewardSource" => object.text(name, Some(facts.source)),
            "currency" | "globalRewardKey" => object.null(name),
            "cancellable" => object.raw(name, if facts.cancellable { "true" } else { "false" }),
            "redeemable" => {
                let redeemable =
                    facts.assigned.is_some() && matches!(facts.state, State::Available | State::PartlyRedeemed);
                object.raw(name, if redeemable { "true" } else { "false" });
            }
            "programId" => object.text(name, (!manual).then_some("friends-and-family")),
            "programRewardKey" => object.text(name, (!manual).then(|| reward_json::program_reward_key(key.side))),
            "referralId" if manual => object.null(name),
            "referralId" => quoted(object.key(name), |out| data.write_referral_id(out, key.buyer, key.order)),
            "statuses" => object.raw(name, statuses(facts.state)),
            "assignedCredit" => object.number(name, facts.assigned),
            "redeemedCredit" => object.number(name, facts.redeemed),
            "user" => user(object.key(name), world, &field.fields, holder, touch.moved_to),
            "userEvent" if !key.side.is_linked() || damaged => object.null(name),
            "userEvent" => event(object.key(name), world, &field.fields, action),
            "meta" if !key.side.is_linked() || world.style.link_in != LinkIn::Meta => object.null(name),
            "meta" => meta(object.key(name), world, &field.fields, action),
            _ => object.text(name, Some("FlatReward")),
        }
    }
    object.end();
}

/// Writes the reward's metadata. With `--link-in meta` the metadata contain the link.
fn meta(out: &mut Vec<u8>, world: &World, fields: &[Field], action: ActionKey) {
    let mut object = Object::new(out, true, false);
    for field in fields {
        match field.name.as_str() {
            "status" => object.text(&field.alias, Some("SUCCESS")),
            "message" => object.null(&field.alias),
            "customMeta" => {
                let mut custom = Object::new(object.key(&field.alias), true, false);
                reward_json::write_event_fields(&mut custom, world.style, &world.data, action);
                custom.end();
            }
            _ => object.text(&field.alias, Some("RewardMeta")),
        }
    }
    object.end();
}

fn statuses(state: State) -> &'static str {
    match state {
        State::Pending => r#"["PENDING"]"#,
        State::Available | State::PartlyRedeemed => r#"["AVAILABLE"]"#,
        State::Redeemed => r#"["REDEEMED"]"#,
        State::Expired => r#"["EXPIRED"]"#,
        State::Cancelled => r#"["CANCELLED"]"#,
    }
}
