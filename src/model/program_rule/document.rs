//! Parses a program's rules by the schema that the vendor publishes for referral programs (version 4.0.0 of
//! `obj-referral-program/rules.schema.json`). The parser refuses a rule document that differs from the vendor's schema.
//!
//! Program rules in another form than the vendor's schema are *not readable*. recoup never treats an unknown word as a
//! refund rule. If a rule document contains an unknown word, recoup cannot tell whether the program has a refund rule.

use serde_json::{Map, Value};

use super::{Retraction, Rules, Takes, short};

const VERSION: &str = "4.0.0";

/// The keys of an objective, a trigger and an action in the schema. Any other key in a rule document may change the
/// effect of a rule.
const OBJECTIVE: &[&str] = &["key", "name", "actions", "trigger", "performsConversion", "referrerProgramRewardLimit"];
const TRIGGER: &[&str] = &["triggerType", "eventKey", "intent", "firstTimeOnly", "condition"];
const ACTION: &[&str] = &[
    "key",
    "name",
    "actionType",
    "subType",
    "retractedRewardKeys",
    "sourceEventKey",
    "sourceEventFilter",
    "firstTimeOnly",
    "condition",
];
const OTHER_ACTIONS: &[&str] = &["tieredRewardsAndEmail", "rewardAndEmail", "email", "exchangeReward"];

type Read<T> = Result<T, String>;

pub(super) fn read(rules: &Value) -> Rules {
    match retractions(rules) {
        Ok(Known { retractions, purchases, doubt }) => Rules::Read { retractions, purchases, doubt },
        Err(why) => Rules::NotReadable { why },
    }
}

/// The refund rules of a program, its rewarded purchase events, and an unknown part that may be another refund rule.
struct Known {
    retractions: Vec<Retraction>,
    purchases: Vec<String>,
    doubt: Option<String>,
}

fn retractions(rules: &Value) -> Read<Known> {
    if rules.is_null() {
        return Err("the vendor gives no rules for this program".to_owned());
    }
    let rules = object(rules, "the rules")?;
    match rules.get("version") {
        None => {}
        Some(Value::String(version)) if version == VERSION => {}
        Some(other) => return Err(format!("its rules are of version {}, which recoup does not know", shown(other))),
    }
    let conversion = rules.get("conversionRule").ok_or("its rules have another form than the published one")?;
    let objectives = object(conversion, "conversionRule")?
        .get("objectives")
        .and_then(Value::as_array)
        .filter(|objectives| !objectives.is_empty())
        .ok_or("its rules have no list of objectives")?;
    let (mut found, mut purchases, mut doubt) = (Vec::new(), Vec::new(), None);
    for objective in objectives {
        match of_objective(objective)? {
            Objective::Refund(retractions) => found.extend(retractions),
            Objective::Purchase(event) => purchases.push(event),
            Objective::Other => {}
            Objective::Unknown(word) => doubt = doubt.or(Some(word)),
        }
    }
    let extra = unknown_key(rules, &["version", "conversionRule"])
        .or_else(|| unknown_key(object(conversion, "conversionRule").ok()?, &["objectives"]));
    doubt = doubt.or(extra.map(|key| format!("its rules have a part that recoup does not know: {key}")));
    purchases.sort_unstable();
    purchases.dedup();
    Ok(Known { retractions: found, purchases, doubt })
}

enum Objective {
    /// The trigger of the objective is a refund. If the list of retractions is empty, the objective of the program
    /// takes nothing back.
    Refund(Vec<Retraction>),
    /// The trigger of the objective is a purchase with this event key, and the objective gives rewards.
    Purchase(String),
    Other,
    /// The vendor's schema does not contain this word of the rule document.
    Unknown(String),
}

fn of_objective(objective: &Value) -> Read<Objective> {
    let objective = object(objective, "an objective")?;
    let trigger = object(objective.get("trigger").unwrap_or(&Value::Null), "the trigger of an objective")?;
    match text(trigger, "triggerType")?.ok_or("a trigger has no type")? {
        "eventTrigger" => {}
        "criteriaTrigger" | "referralTrigger" => return Ok(Objective::Other),
        other => return Ok(Objective::Unknown(format!("recoup does not know the trigger {}", quoted(other)))),
    }
    match text(trigger, "intent")? {
        Some("REFUND") => {}
        Some("OTHER") => return Ok(Objective::Other),
        None | Some("PURCHASE") => return Ok(purchase(objective, trigger)),
        Some(other) => return Ok(Objective::Unknown(format!("recoup does not know the intent {}", quoted(other)))),
    }
    let event_key = text(trigger, "eventKey")?.ok_or("a refund trigger names no event")?.to_owned();
    let name = text(objective, "name")?.or(text(objective, "key")?).unwrap_or("of no name").to_owned();
    let mut shared = limits(trigger, "the trigger")?;
    shared.extend(unknown_setting(objective, OBJECTIVE, "the rule"));
    shared.extend(unknown_setting(trigger, TRIGGER, "the trigger"));
    let none = Vec::new();
    let actions = match objective.get("actions") {
        None => &none,
        Some(actions) => actions.as_array().ok_or("the actions of a refund are not a list")?,
    };
    let (mut found, mut unknown) = (Vec::new(), None);
    for action in actions {
        let action = object(action, "an action of a refund")?;
        let kind = text(action, "actionType")?.ok_or("an action of a refund has no type")?;
        if OTHER_ACTIONS.contains(&kind) {
            continue;
        }
        if kind != "retraction" {
            unknown = Some(format!("recoup does not know the action {}", quoted(kind)));
            continue;
        }
        let mut limits = [shared.clone(), limits(action, "the retraction")?].concat();
        limits.extend(unknown_setting(action, ACTION, "the retraction"));
        let takes = match text(action, "subType")?.ok_or("a retraction does not say what it takes back")? {
            "rewards" => Takes::Rewards { keys: reward_keys(action)? },
            "referral" => Takes::Referral,
            "conversion" => Takes::Conversion,
            "event" => {
                let key = text(action, "sourceEventKey")?.ok_or("a retraction of an event names no event")?.to_owned();
                if let Some(filter) = text(action, "sourceEventFilter")?.filter(|filter| !filter.trim().is_empty()) {
                    limits
                        .push(format!("the retraction takes back only events that pass a filter: {}", quoted(filter)));
                }
                Takes::Event { key }
            }
            other => {
                unknown = Some(format!("recoup does not know what a retraction of {} takes back", quoted(other)));
                continue;
            }
        };
        found.push(Retraction { name: name.clone(), event_key: event_key.clone(), takes, limits });
    }
    Ok(match unknown {
        // The unknown action may be the retraction that the vendor's guide describes.
        Some(unknown) if found.is_empty() => Objective::Unknown(unknown),
        _ => Objective::Refund(found),
    })
}

fn purchase(objective: &Map<String, Value>, trigger: &Map<String, Value>) -> Objective {
    let actions = objective.get("actions").and_then(Value::as_array);
    let rewards = |action: &Value| {
        matches!(action["actionType"].as_str(), Some("tieredRewardsAndEmail" | "rewardAndEmail" | "exchangeReward"))
    };
    match trigger.get("eventKey").and_then(Value::as_str) {
        Some(event) if actions.is_some_and(|actions| actions.iter().any(rewards)) => {
            Objective::Purchase(event.to_owned())
        }
        _ => Objective::Other,
    }
}

fn reward_keys(action: &Map<String, Value>) -> Read<Vec<String>> {
    let keys = action.get("retractedRewardKeys").and_then(Value::as_array);
    let keys = keys.ok_or("a retraction of rewards does not list their keys")?;
    let key = |key: &Value| key.as_str().map(str::to_owned);
    keys.iter().map(key).collect::<Option<_>>().ok_or_else(|| "a key of rewards is not a text".to_owned())
}

/// Returns the reasons why a trigger or an action does not run on every refund.
fn limits(of: &Map<String, Value>, what: &str) -> Read<Vec<String>> {
    let mut limits = Vec::new();
    match of.get("firstTimeOnly") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::Bool(true)) => limits.push(format!("{what} runs for the first time only (firstTimeOnly)")),
        Some(_) => return Err("firstTimeOnly is neither true nor false".to_owned()),
    }
    if let Some(condition) = text(of, "condition")?.filter(|condition| !condition.trim().is_empty()) {
        limits.push(format!("{what} has a condition: {}", quoted(condition)));
    }
    Ok(limits)
}

fn unknown_setting(of: &Map<String, Value>, known: &[&str], what: &str) -> Option<String> {
    unknown_key(of, known).map(|key| format!("{what} has a setting that recoup does not know: {key}"))
}

fn unknown_key(of: &Map<String, Value>, known: &[&str]) -> Option<String> {
    of.keys().find(|key| !known.contains(&key.as_str())).map(|key| quoted(key))
}

fn object<'a>(value: &'a Value, what: &str) -> Read<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| format!("{what} is not an object"))
}

/// Returns the text at a key of a JSON object; `None` if the key is missing or null.
fn text<'a>(of: &'a Map<String, Value>, key: &str) -> Read<Option<&'a str>> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{key} is not a text")),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", short(text))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| "that is no text".to_owned(), quoted)
}
