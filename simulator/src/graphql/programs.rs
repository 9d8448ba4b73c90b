//! Writes programs and referrals for GraphQL responses. A response contains few programs and referrals. Therefore the
//! simulator builds programs and referrals as JSON trees.

use serde_json::{Map, Value, json};

use super::{Part, document::Field, rewards, write};
use crate::{
    keys::Side,
    reward_json::{Object, quoted},
    world::World,
};

/// Returns the error for a GraphQL field that the token may not read.
fn forbidden(path: &[Value]) -> Value {
    json!({"message": "Not authorised", "path": path})
}

/// Writes a GraphQL `ProgramList`.
pub(super) fn list(out: &mut Vec<u8>, world: &World, field: &Field, part: Part, errors: &mut Vec<Value>) {
    let one = world.programs.program(world.data.today);
    let all: Vec<Value> = Some(one).filter(|one| passes(one, field.arguments.get("filter"))).into_iter().collect();
    let total = all.len();
    let rows: Vec<Value> = all.into_iter().skip(part.offset as usize).take(part.limit as usize).collect();
    let mut object = Object::new(out, true, false);
    for field_of_list in &field.fields {
        let name = field_of_list.alias.as_str();
        match field_of_list.name.as_str() {
            "data" => {
                let path = |row: usize| vec![json!(field.alias), json!(name), json!(row)];
                let rows: Vec<Value> = rows
                    .iter()
                    .enumerate()
                    .map(|(row, one)| selected(world, one, field_of_list, &path(row), errors))
                    .collect();
                object.raw(name, &Value::Array(rows).to_string());
            }
            "count" => object.number(name, Some(rows.len() as i64)),
            "totalCount" => object.number(name, Some(total as i64)),
            _ => object.text(name, Some("ProgramList")),
        }
    }
    object.end();
}

/// Writes a GraphQL `Program` or null.
pub(super) fn one(out: &mut Vec<u8>, world: &World, field: &Field, errors: &mut Vec<Value>) {
    let one = world.programs.program(world.data.today);
    let found = if field.arguments.get("id") == Some(&one["id"]) {
        selected(world, &one, field, &[json!(field.alias)], errors)
    } else {
        Value::Null
    };
    out.extend_from_slice(found.to_string().as_bytes());
}

fn selected(world: &World, one: &Value, field: &Field, path: &[Value], errors: &mut Vec<Value>) -> Value {
    let mut row = Map::new();
    for wanted in &field.fields {
        let value = if wanted.name == "__typename" { "Program".into() } else { one[&wanted.name].clone() };
        if wanted.name == "rules" && world.programs.hides_rules() {
            errors.push(forbidden(&[path, &[json!(wanted.alias)]].concat()));
        }
        row.insert(wanted.alias.clone(), value);
    }
    Value::Object(row)
}

fn passes(one: &Value, filter: Option<&Value>) -> bool {
    let each = filter.and_then(Value::as_object).into_iter().flatten().filter(|(_, value)| !value.is_null());
    each.into_iter().all(|(key, value)| {
        let parts = || value.as_array().into_iter().flatten();
        match key.as_str() {
            "AND" => parts().all(|part| passes(one, Some(part))),
            "OR" => parts().any(|part| passes(one, Some(part))),
            key => match key.split_once('_') {
                Some((name, "eq")) => one[name] == *value,
                Some((name, "ne")) => one[name] != *value,
                Some((name, "in")) => parts().any(|value| one[name] == *value),
                _ => false,
            },
        }
    })
}

/// Writes a GraphQL `Referral` or null.
pub(super) fn referral(out: &mut Vec<u8>, world: &World, field: &Field) {
    let data = &world.data;
    let id = field.arguments.get("id").and_then(Value::as_str).unwrap_or_default();
    let Some((buyer, order)) = world.referral(id) else { return out.extend_from_slice(b"null") };
    let dates = world.referral_dates(buyer, order);
    let all = world.rewards_of_referral(buyer, order);
    let mut object = Object::new(out, true, false);
    for field in &field.fields {
        let name = field.alias.as_str();
        let reward_of = |side: Side| all.iter().find(|(key, _)| key.side == side);
        match field.name.as_str() {
            "id" => quoted(object.key(name), |out| data.write_referral_id(out, buyer, order)),
            "programId" => object.text(name, Some(crate::programs::ID)),
            "dateReferralStarted" | "dateModerated" => object.number(name, Some(dates.started)),
            "dateConverted" => object.number(name, dates.converted),
            "dateModified" => object.number(name, Some(dates.modified)),
            "moderationStatus" => object.text(name, Some("ACTIONED")),
            "referredModerationStatus" | "referrerModerationStatus" => object.text(name, Some("APPROVED")),
            "referredUser" => write::user(object.key(name), world, &field.fields, buyer, None),
            "referrerUser" => match data.referrer(buyer) {
                Some(person) => write::user(object.key(name), world, &field.fields, person, None),
                None => object.null(name),
            },
            "referredReward" | "referrerReward" => {
                let side = if field.name == "referredReward" { Side::Friend } else { Side::Referrer };
                match reward_of(side) {
                    Some((key, touch)) => {
                        write::reward(object.key(name), world, &field.fields, *key, *touch, false);
                    }
                    None => object.null(name),
                }
            }
            "rewards" => {
                let out = object.key(name);
                out.push(b'[');
                let shown = rewards::passing(world, field.arguments.get("filter"), all.clone());
                for (place, (key, touch)) in shown.into_iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write::reward(out, world, &field.fields, key, touch, false);
                }
                out.push(b']');
            }
            "__typename" => object.text(name, Some("Referral")),
            _ => object.null(name),
        }
    }
    object.end();
}

/// Returns the error for a referral that the token may not read.
pub(super) fn referral_forbidden(field: &Field) -> Value {
    forbidden(&[json!(field.alias)])
}
