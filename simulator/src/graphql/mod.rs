//! Simulates GraphQL of the Advocate API: rewards of the whole tenant, their events, referrals, and the program's
//! rules.
//!
//! The simulated GraphQL follows the vendor's published schema (`docs/vendor/advocate.md` §3): one POST endpoint, lists
//! by limit and offset, errors beside data, and status 200 for an unknown field. The simulator records a GraphQL
//! mutation and never carries it out. The submodules in reading order are `document` (parser) → `schema` (allowed
//! fields) → `rewards`, `events`, `programs` (selection) → `write` (response).

mod document;
mod events;
mod programs;
mod rewards;
mod schema;
mod write;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
    sync::{Mutex, RwLock},
};

use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use self::document::{Field, Kind};
use super::{
    changes::READS,
    lock::{hold, read},
    options::{GraphqlSchema, OnOff, Options, ReferralAfter, UserEvents, rate},
    random::{Tag, hash},
    record::Record,
    reply::{JSON, Reply, advocate_error},
    world::World,
};

#[derive(Debug, Clone)]
pub(super) struct Live {
    on: OnOff,
    schema: GraphqlSchema,
    max_limit: u64,
    slow: Option<u64>,
    partial: f64,
    events: UserEvents,
}

impl Live {
    /// Changes one setting of the simulated GraphQL. Returns `true` if the setting's name and value are valid.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "graphql" => OnOff::from_str(value, true).map(|on| self.on = on).is_ok(),
            "graphql-schema" => GraphqlSchema::from_str(value, true).map(|schema| self.schema = schema).is_ok(),
            "graphql-max-limit" => value.parse().map(|limit| self.max_limit = limit).is_ok(),
            "graphql-slow" if value == "none" => {
                self.slow = None;
                true
            }
            "graphql-slow" => value.parse().map(|limit| self.slow = Some(limit)).is_ok(),
            "graphql-partial" => rate(value).map(|rate| self.partial = rate).is_ok(),
            "user-events" => UserEvents::from_str(value, true).map(|events| self.events = events).is_ok(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Graphql {
    pub(super) live: RwLock<Live>,
    seed: u64,
    damage: Mutex<Damage>,
}

/// The number of attempts at each list that had a GraphQL error, and the total number of errors.
#[derive(Debug, Default)]
struct Damage {
    attempts: HashMap<u64, u64>,
    all: u64,
}

/// What the simulator damages in one list of rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damaged {
    /// The event of one row of the list is damaged. The damaged row is the variant's number modulo the number of rows.
    Row(u64),
    All,
}

/// The requested range of a GraphQL list.
#[derive(Debug, Clone, Copy)]
struct Part {
    limit: u64,
    offset: u64,
}

/// A response that ends the GraphQL request before all fields are written.
enum Early {
    /// A GraphQL error with this message and without data.
    Error(String),
    Reply(Reply),
}

impl From<String> for Early {
    fn from(message: String) -> Self {
        Self::Error(message)
    }
}

impl Graphql {
    pub(super) fn new(options: &Options) -> Self {
        let live = Live {
            on: options.graphql,
            schema: options.graphql_schema,
            max_limit: options.graphql_max_limit,
            slow: options.graphql_slow,
            partial: options.graphql_partial,
            events: options.user_events,
        };
        Self { live: RwLock::new(live), seed: options.seed, damage: Mutex::default() }
    }

    /// Answers one POST to the GraphQL endpoint.
    pub(super) fn answer(&self, world: &World, record: &Record, body: &str) -> Reply {
        let live = read(&self.live).clone();
        if live.on == OnOff::Off {
            return advocate_error(404, "There is nothing here.", None, None);
        }
        let Ok(sent) = serde_json::from_str::<Map<String, Value>>(body) else {
            return advocate_error(400, "The body is not a JSON object.", Some("VALIDATION_FAILED"), None);
        };
        match self.execute(world, record, &live, &sent, body) {
            Ok(reply) | Err(Early::Reply(reply)) => reply,
            Err(Early::Error(message)) => Reply::json(200, &json!({"errors": [{"message": message}]})),
        }
    }

    fn execute(
        &self,
        world: &World,
        record: &Record,
        live: &Live,
        sent: &Map<String, Value>,
        body: &str,
    ) -> Result<Reply, Early> {
        let text = sent.get("query").and_then(Value::as_str).ok_or_else(|| "Must provide a query.".to_owned())?;
        let none = Map::new();
        let variables = sent.get("variables").and_then(Value::as_object).unwrap_or(&none);
        let operation = document::parse(text, variables)?;
        if operation.kind != Kind::Query {
            record.violation("a GraphQL document that is no query was sent");
            return Err(Early::Error("Only queries are answered here.".to_owned()));
        }
        let missing = schema::Missing {
            events: live.schema == GraphqlSchema::Old,
            rules: world.programs.lacks_rules(),
            referral: world.referrals.after() == ReferralAfter::NoField,
        };
        schema::check(&operation.fields, "Query", missing)?;
        let (mut out, mut errors) = (b"{\"data\":{".to_vec(), Vec::new());
        for (place, field) in operation.fields.iter().enumerate() {
            record.graphql(&field.name);
            if place > 0 {
                out.push(b',');
            }
            super::reward_json::string(&mut out, &field.alias);
            out.push(b':');
            match field.name.as_str() {
                "rewards" => {
                    let part = part(field, live)?;
                    world.rewards_read(READS);
                    let damaged = self.damaged(live.partial, body, place);
                    if damaged == Some(Damaged::All) {
                        record.fault("graphql data".to_owned());
                        let errors = json!([{"message": "Exception while fetching data", "path": [field.alias]}]);
                        return Ok(Reply::json(200, &json!({"data": null, "errors": errors})));
                    }
                    let page = rewards::page(world, field, part)?;
                    let row = match damaged {
                        Some(Damaged::Row(row)) => write::damaged_row(field, &page, row),
                        _ => None,
                    };
                    if let Some((_, path)) = &row {
                        record.fault("graphql row".to_owned());
                        errors.push(json!({"message": "Exception while fetching data", "path": path}));
                    }
                    write::rewards(&mut out, world, field, &page, row.map(|(row, _)| row));
                }
                "reward" => {
                    let id = field.arguments.get("id").and_then(Value::as_str).unwrap_or_default();
                    match world.reward(id) {
                        Some((key, touch)) => write::reward(&mut out, world, &field.fields, key, touch, false),
                        None => out.extend_from_slice(b"null"),
                    }
                }
                "programs" => programs::list(&mut out, world, field, part(field, live)?, &mut errors),
                "program" => programs::one(&mut out, world, field, &mut errors),
                "referral" if world.referrals.after() == ReferralAfter::Forbidden => {
                    errors.push(programs::referral_forbidden(field));
                    out.extend_from_slice(b"null");
                }
                "referral" => programs::referral(&mut out, world, field),
                "users" => write::users(&mut out, world, field, part(field, live)?),
                "userEvents" => {
                    let part = part(field, live)?;
                    let filter = field.arguments.get("filter").and_then(Value::as_object).unwrap_or(&none);
                    allowed(live.events, filter)?;
                    write::events(&mut out, world, field, &events::find(world, filter, part));
                }
                _ => super::reward_json::string(&mut out, "Query"),
            }
        }
        out.push(b'}');
        if !errors.is_empty() {
            out.extend_from_slice(b",\"errors\":");
            out.extend_from_slice(Value::Array(errors).to_string().as_bytes());
        }
        out.push(b'}');
        Ok(Reply::new(200, JSON, out))
    }

    /// Decides whether and how the simulator damages this attempt to read a list. If a client repeats the GraphQL
    /// request, it finally succeeds.
    fn damaged(&self, rate: f64, body: &str, place: usize) -> Option<Damaged> {
        if rate <= 0.0 {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(body.as_bytes());
        hasher.write_usize(place);
        let key = hasher.finish();
        let mut damage = hold(&self.damage);
        let attempt = damage.attempts.get(&key).copied().unwrap_or(0);
        let roll = hash(self.seed, Tag::Partial, key, attempt);
        let hit = ((roll >> 11) as f64 / (1_u64 << 53) as f64) < rate;
        // Does not store a list that never broke, because every repetition of it succeeds.
        if hit || attempt > 0 {
            damage.attempts.insert(key, attempt + 1);
        }
        damage.all += u64::from(hit);
        let whole = damage.all.is_multiple_of(2);
        hit.then(|| if whole { Damaged::All } else { Damaged::Row(hash(self.seed, Tag::Partial, roll, attempt)) })
    }
}

/// Returns the requested range of a GraphQL list. Fails if the requested range is larger than the simulator allows.
fn part(field: &Field, live: &Live) -> Result<Part, Early> {
    let number = |name: &str, default: u64| match field.arguments.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| format!("Argument \"{name}\" of \"{}\" must be a whole number from 0.", field.name)),
    };
    let (limit, offset) = (number("limit", 20)?, number("offset", 0)?);
    if limit > live.max_limit {
        return Err(Early::Error(format!("The limit of {limit} is larger than {}.", live.max_limit)));
    }
    if live.slow.is_some_and(|slow| limit > slow) {
        return Err(Early::Reply(Reply::html(504)));
    }
    Ok(Part { limit, offset })
}

/// Checks that the tenant's `--user-events` allows this filter.
fn allowed(events: UserEvents, filter: &Map<String, Value>) -> Result<(), Early> {
    let conditions: usize =
        filter.iter().map(|(key, value)| if key == "fields" { value.as_object().map_or(0, Map::len) } else { 1 }).sum();
    match events {
        UserEvents::Off => Err(Early::Error("Not authorised".to_owned())),
        UserEvents::OneField if conditions > 1 => Err(Early::Error("Only one field can be filtered here".to_owned())),
        UserEvents::OneField | UserEvents::On => Ok(()),
    }
}
