//! The part of the vendor's GraphQL schema that the simulator supports, and the check of a query against it.
//!
//! Types, fields and arguments follow the published GraphQL schema of 2022 (`docs/vendor/advocate.md` §3), without the
//! parts that the simulator cannot answer. `--graphql-schema old` omits events, as the vendor's GraphQL schema of 2020
//! does. The module of the GraphQL schema does not know the data.

use serde_json::{Map, Value};

use super::document::Field;

/// A GraphQL field: its name, its arguments, and its type (empty for a scalar).
type Known = (&'static str, &'static [&'static str], &'static str);

const LIST: &[&str] = &["filter", "limit", "offset", "sortBy", "timeZone", "timeZoneOffset"];
const NONE: &[&str] = &[];
const AT: &[&str] = &["at"];

const QUERY: &[Known] = &[
    ("rewards", LIST, "FlatRewardList"),
    ("reward", &["id"], "FlatReward"),
    ("users", &["filter", "query", "limit", "offset", "sortBy", "timeZone", "timeZoneOffset"], "UserList"),
    ("userEvents", &["filter", "limit", "offset", "sortBy"], "UserEventDataList"),
    ("programs", &["filter", "timeZone", "timeZoneOffset", "limit", "offset"], "ProgramList"),
    ("program", &["id"], "Program"),
    ("referral", &["id"], "Referral"),
];

const FLAT_REWARD: &[Known] = &[
    ("id", NONE, ""),
    ("type", NONE, ""),
    ("value", NONE, ""),
    ("availableValue", AT, ""),
    ("unit", NONE, ""),
    ("name", NONE, ""),
    ("dateCreated", NONE, ""),
    ("dateScheduledFor", NONE, ""),
    ("dateGiven", NONE, ""),
    ("dateExpires", NONE, ""),
    ("dateCancelled", NONE, ""),
    ("dateRedeemed", NONE, ""),
    ("dateModified", NONE, ""),
    ("rewardSource", NONE, ""),
    ("currency", NONE, ""),
    ("cancellable", NONE, ""),
    ("redeemable", NONE, ""),
    ("programId", NONE, ""),
    ("programRewardKey", NONE, ""),
    ("globalRewardKey", NONE, ""),
    ("referralId", NONE, ""),
    ("statuses", AT, ""),
    ("assignedCredit", NONE, ""),
    ("redeemedCredit", AT, ""),
    ("user", NONE, "User"),
    ("userEvent", NONE, "UserEventData"),
    ("meta", NONE, "RewardMeta"),
];

const USER: &[Known] =
    &[("id", NONE, ""), ("accountId", NONE, ""), ("email", NONE, ""), ("firstName", NONE, ""), ("lastName", NONE, "")];

const EVENT: &[Known] = &[
    ("id", NONE, ""),
    ("userId", NONE, ""),
    ("accountId", NONE, ""),
    ("key", NONE, ""),
    ("fields", NONE, ""),
    ("dateTriggered", NONE, ""),
    ("dateReceived", NONE, ""),
    ("dateProcessed", NONE, ""),
];

const PROGRAM: &[Known] = &[
    ("id", NONE, ""),
    ("name", NONE, ""),
    ("status", NONE, ""),
    ("templateId", NONE, ""),
    ("rules", NONE, ""),
    ("dateCreated", NONE, ""),
    ("lastActivatedDate", NONE, ""),
];

const REFERRAL: &[Known] = &[
    ("id", NONE, ""),
    ("programId", NONE, ""),
    ("referredUser", NONE, "User"),
    ("referrerUser", NONE, "User"),
    ("referredReward", NONE, "FlatReward"),
    ("referrerReward", NONE, "FlatReward"),
    ("moderationStatus", NONE, ""),
    ("referredModerationStatus", NONE, ""),
    ("referrerModerationStatus", NONE, ""),
    ("dateReferralStarted", NONE, ""),
    ("dateReferralPaid", NONE, ""),
    ("dateReferralEnded", NONE, ""),
    ("dateModerated", NONE, ""),
    ("dateUserModified", NONE, ""),
    ("dateConverted", NONE, ""),
    ("dateModified", NONE, ""),
    ("referralCodeUsed", NONE, ""),
    ("shareLinkUsed", NONE, ""),
    ("rewards", &["filter"], "FlatReward"),
];

const META: &[Known] = &[("status", NONE, ""), ("message", NONE, ""), ("customMeta", NONE, "")];

const REWARD_FILTER: &[&str] = &[
    "AND",
    "OR",
    "id_eq",
    "id_in",
    "accountId_eq",
    "userId_eq",
    "referralId_eq",
    "type_eq",
    "dateModified_gte",
    "dateModified_lt",
    "dateCreated_gte",
    "dateCreated_lt",
];
const EVENT_FILTER: &[&str] =
    &["key", "id_eq", "userId_eq", "accountId_eq", "dateTriggered_gte", "dateTriggered_lt", "fields"];
const PROGRAM_FILTER: &[&str] =
    &["AND", "OR", "id_eq", "id_in", "name_eq", "name_in", "status_eq", "status_ne", "status_in"];
const USER_FILTER: &[&str] = &["id_eq", "accountId_eq", "email_eq"];

fn fields_of(kind: &str) -> &'static [Known] {
    match kind {
        "FlatRewardList" => &[("data", NONE, "FlatReward"), ("count", NONE, ""), ("totalCount", NONE, "")],
        "UserList" => &[("data", NONE, "User"), ("count", NONE, ""), ("totalCount", NONE, "")],
        "UserEventDataList" => &[("data", NONE, "UserEventData"), ("count", NONE, "")],
        "ProgramList" => &[("data", NONE, "Program"), ("count", NONE, ""), ("totalCount", NONE, "")],
        "Program" => PROGRAM,
        "Referral" => REFERRAL,
        "FlatReward" => FLAT_REWARD,
        "User" => USER,
        "UserEventData" => EVENT,
        "RewardMeta" => META,
        _ => QUERY,
    }
}

/// The parts of the published GraphQL schema that the tenant's schema does not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) events: bool,
    /// Whether the tenant's schema lacks the rules of programs.
    pub(super) rules: bool,
    pub(super) referral: bool,
}

impl Missing {
    fn field(self, kind: &str, name: &str) -> bool {
        match (kind, name) {
            (_, "userEvent" | "userEvents") => self.events,
            ("Program", "rules") => self.rules,
            ("Query", "referral") => self.referral,
            _ => false,
        }
    }
}

/// Checks that the GraphQL type has these fields and arguments. The error of the selection's check is the message for
/// the client.
pub(super) fn check(fields: &[Field], kind: &str, missing: Missing) -> Result<(), String> {
    for field in fields.iter().filter(|field| field.name != "__typename") {
        let known = fields_of(kind).iter().find(|known| {
            let (name, ..) = known;
            *name == field.name && !missing.field(kind, name)
        });
        let Some((name, arguments, holds)) = known else {
            return Err(format!("Cannot query field \"{}\" on type \"{kind}\".", field.name));
        };
        if let Some(odd) = field.arguments.keys().find(|key| !arguments.contains(&key.as_str())) {
            return Err(format!("Unknown argument \"{odd}\" on field \"{kind}.{name}\"."));
        }
        if holds.is_empty() != field.fields.is_empty() {
            let must = if holds.is_empty() { "must not" } else { "must" };
            return Err(format!("Field \"{name}\" of type \"{holds}\" {must} have a selection of subfields."));
        }
        if arguments.first() == Some(&"id") && !field.arguments.get("id").is_some_and(Value::is_string) {
            return Err(format!("Field \"{name}\" argument \"id\" of type \"ID!\" is required."));
        }
        check_filter(name, field.arguments.get("filter"))?;
        check(&field.fields, holds, missing)?;
    }
    Ok(())
}

fn check_filter(field: &str, filter: Option<&Value>) -> Result<(), String> {
    let (known, kind) = match field {
        "rewards" => (REWARD_FILTER, "RewardFilterInput"),
        "userEvents" => (EVENT_FILTER, "UserEventDataFilterInput"),
        "users" => (USER_FILTER, "UserFilterInput"),
        "programs" => (PROGRAM_FILTER, "ProgramFilterInput"),
        _ => return Ok(()),
    };
    check_input(filter, known, kind, 0)
}

fn check_input(input: Option<&Value>, known: &[&str], kind: &str, depth: usize) -> Result<(), String> {
    let object: &Map<String, Value> = match input {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(object)) if depth < 8 => object,
        Some(_) => return Err(format!("A value of type \"{kind}\" must be an object, and not too deep.")),
    };
    for (key, value) in object {
        if !known.contains(&key.as_str()) {
            return Err(format!("Field \"{key}\" is not defined by type \"{kind}\"."));
        }
        if matches!(key.as_str(), "AND" | "OR") {
            let parts = value.as_array().ok_or_else(|| format!("\"{key}\" of type \"{kind}\" must be a list."))?;
            for part in parts {
                check_input(Some(part), known, kind, depth + 1)?;
            }
        }
        let fits = match key.as_str() {
            "AND" | "OR" | "fields" => true,
            key if key.ends_with("_in") => value.as_array().is_some_and(|ids| ids.iter().all(Value::is_string)),
            key if key.starts_with("date") => value.is_i64(),
            _ => value.is_string(),
        };
        if !fits && !value.is_null() {
            return Err(format!("Expected another type for \"{key}\" of type \"{kind}\"."));
        }
    }
    Ok(())
}
