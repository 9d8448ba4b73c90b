//! The simulated tenant's only program, its rules in GraphQL, and what its refund rule takes back.
//!
//! The program's rules follow the schema that the vendor publishes for referral programs with objectives
//! (`docs/vendor/program-rules.md`). The visible rules and their effect are two settings, because a client must not
//! infer one from the other.

use std::sync::RwLock;

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::{
    data::DAY,
    lock::read,
    options::{OnOff, Options, ProgramRule},
};

/// The ID of the program to which every reward of an order belongs.
pub(super) const ID: &str = "friends-and-family";
/// The keys of the program's rewards, as its rules list them.
const REWARD_KEYS: [&str; 3] = ["referredReward", "referrerReward", "bonusReward"];

#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    missing: bool,
    rule: ProgramRule,
    works: OnOff,
}

impl Live {
    /// Changes one setting of the simulated program. Returns `true` if the setting's name and value are valid.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "rule-missing" => value.parse().map(|missing| self.missing = missing).is_ok(),
            "program-rule" => ProgramRule::from_str(value, true).map(|rule| self.rule = rule).is_ok(),
            "rule-works" => OnOff::from_str(value, true).map(|works| self.works = works).is_ok(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Programs {
    pub(super) live: RwLock<Live>,
}

/// What the refund rule takes back if an action is reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) reward_keys: &'static [&'static str],
    /// Whether the referral becomes *started* again.
    pub(super) conversion: bool,
}

impl Programs {
    pub(super) fn new(options: &Options) -> Self {
        let live = Live { missing: options.rule_missing, rule: options.program_rule, works: options.rule_works };
        Self { live: RwLock::new(live) }
    }

    pub(super) fn effect(&self) -> Effect {
        let Live { missing, rule, works } = *read(&self.live);
        if missing || works == OnOff::Off || rule == ProgramRule::WrongEvent {
            return Effect { reward_keys: &[], conversion: false };
        }
        let (reward_keys, conversion) = retracted(rule);
        Effect { reward_keys, conversion }
    }

    /// Returns `true` if the tenant's GraphQL schema has no program rules.
    pub(super) fn lacks_rules(&self) -> bool {
        read(&self.live).rule == ProgramRule::NoField
    }

    /// Returns `true` if the token may not read the program's rules.
    pub(super) fn hides_rules(&self) -> bool {
        read(&self.live).rule == ProgramRule::Forbidden
    }

    /// Returns the program with every field of the GraphQL schema.
    pub(super) fn program(&self, today: i64) -> Value {
        let Live { missing, rule, .. } = *read(&self.live);
        let other = rule == ProgramRule::OtherTemplate;
        json!({
            "id": ID,
            "name": "Friends and Family",
            "status": if rule == ProgramRule::Paused { "PAUSED" } else { "LIVE" },
            "templateId": if other { "points-and-tiers" } else { "obj-referral-program" },
            "rules": rules(rule, missing),
            "dateCreated": today - 900 * DAY,
            "lastActivatedDate": today - 880 * DAY,
        })
    }
}

/// Returns the keys of the rewards that the refund rule takes back, and whether it takes back the conversion.
fn retracted(rule: ProgramRule) -> (&'static [&'static str], bool) {
    if rule == ProgramRule::PartialKeys { (&REWARD_KEYS[..1], false) } else { (&REWARD_KEYS, true) }
}

fn rules(rule: ProgramRule, missing: bool) -> Value {
    match rule {
        ProgramRule::Null | ProgramRule::Forbidden | ProgramRule::NoField => return Value::Null,
        ProgramRule::OtherTemplate => {
            return json!({"earn": [{"on": "purchase", "points": 10}], "lose": [{"on": "refund", "points": 10}]});
        }
        _ => {}
    }
    let reward = |key: &str, name: &str, audience: &str, reward_key: &str| {
        json!({
            "key": key, "name": name, "actionType": "rewardAndEmail", "audience": audience,
            "reward": {"rewardType": "static"}, "overrideRewardKey": reward_key,
        })
    };
    let purchase = json!({
        "key": "friend-makes-a-purchase", "name": "Friend makes a purchase", "performsConversion": true,
        "trigger": {"triggerType": "eventTrigger", "eventKey": "purchase", "intent": "PURCHASE"},
        "actions": [
            reward("reward-the-friend", "Reward the friend", "referred", REWARD_KEYS[0]),
            reward("reward-the-referrer", "Reward the referrer", "referrer", REWARD_KEYS[1]),
        ],
        "referrerProgramRewardLimit": {"limitType": "unlimited"},
    });
    let (reward_keys, conversion) = retracted(rule);
    let mut actions = vec![json!({
        "key": "take-back-rewards", "name": "Take back the rewards", "actionType": "retraction",
        "subType": "rewards", "retractedRewardKeys": reward_keys,
    })];
    if conversion {
        actions.push(json!({
            "key": "take-back-the-conversion", "name": "Take back the conversion", "actionType": "retraction",
            "subType": "conversion",
        }));
    }
    let mut trigger = json!({"triggerType": "eventTrigger", "eventKey": "purchase", "intent": "REFUND"});
    match rule {
        ProgramRule::WrongEvent => trigger["eventKey"] = "subscription".into(),
        ProgramRule::FirstTimeOnly => trigger["firstTimeOnly"] = true.into(),
        ProgramRule::Condition => trigger["condition"] = "event.fields.total > 20".into(),
        _ => {}
    }
    let refund = json!({
        "key": "friend-refunds-a-purchase", "name": "Friend refunds a purchase", "performsConversion": false,
        "trigger": trigger, "actions": actions,
    });
    let objectives = if missing { vec![purchase] } else { vec![purchase, refund] };
    json!({"version": "4.0.0", "conversionRule": {"objectives": objectives}})
}
