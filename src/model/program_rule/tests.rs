//! Tests rule documents against the expected results. The documents with `schema` in the test table are valid by the
//! vendor's schema.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    program: Value,
    rewards: Vec<Value>,
    state: RuleState,
    left_out: Vec<String>,
    says: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../tests/fixtures/program-rules.json")).expect("the table")
}

fn reward(value: &Value) -> RuledReward {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let key = match (text("key"), value.get("key")) {
        (Some(key), _) => RewardKey::Named(key),
        (None, Some(_)) => RewardKey::None,
        (None, None) => RewardKey::Unknown,
    };
    RuledReward { reward_id: text("id").unwrap_or_default(), key, event_key: text("event") }
}

fn judged(program: &Value, rewards: &[RuledReward]) -> ProgramRule {
    RuledProgram::of(&program.to_string()).expect("a program").judge(rewards, "2026-11-30T12:00:00Z")
}

#[test]
fn every_rule_document_has_the_expected_result() {
    let cases = cases();
    for state in [RuleState::Found, RuleState::FoundBut, RuleState::NoSuchRule, RuleState::NotReadable] {
        assert!(cases.iter().filter(|case| case.state == state).count() >= 9, "{state:?}");
    }
    for Case { name, program, rewards, state, left_out, says } in cases {
        let rewards: Vec<RuledReward> = rewards.iter().map(reward).collect();
        let rule = judged(&program, &rewards);
        assert_eq!(rule.state, state, "{name}: {}", rule.line());
        assert_eq!(rule.left_out, left_out, "{name}");
        assert!(rule.line().contains(&says), "{name}: {}", rule.line());
        assert!(rule.line().starts_with("program friends (Refer a friend): "), "{name}: {}", rule.line());
        // The index and the ledger store a program and a rule as JSON.
        let program = RuledProgram::of(&program.to_string()).expect("a program");
        let kept = serde_json::to_string(&program).expect("JSON");
        assert_eq!(serde_json::from_str::<RuledProgram>(&kept).expect("the same"), program, "{name}");
        let kept = serde_json::to_string(&rule).expect("JSON");
        assert_eq!(serde_json::from_str::<ProgramRule>(&kept).expect("the same"), rule, "{name}");
    }
}

#[test]
fn an_ambiguous_or_broken_document_is_not_readable() {
    let whole = r#"{"conversionRule":{"objectives":[{"key":"a","name":"a","performsConversion":true,
        "trigger":{"triggerType":"eventTrigger","eventKey":"purchase","intent":"REFUND"},
        "actions":[{"key":"a","name":"a","actionType":"retraction","subType":"referral"}]}]}}"#;
    let program = |rules: &str| format!(r#"{{"id":"p","name":"n","status":"LIVE","rules":{rules}}}"#);
    let state = |rules: &str| RuledProgram::of(&program(rules)).expect("a program").judge(&[], "");
    assert_eq!(state(whole).state, RuleState::Found);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (rules, why) in [
        (whole.replace(r#""intent":"REFUND""#, r#""intent":"PURCHASE","intent":"REFUND""#), "a key twice"),
        (whole.replace(r#""intent":"REFUND""#, r#""intent":"REFUND","intent":"REFUND""#), "a key twice"),
        (whole.replace(r#""subType""#, r#""subType":"email","subType""#), "a key twice"),
        (whole.replace(r#"{"conversionRule""#, r#"{"conversionRule":{},"conversionRule""#), "a key twice"),
        (deep, "too deep"),
    ] {
        let rule = state(&rules);
        assert_eq!(rule.state, RuleState::NotReadable, "{rules}");
        assert!(rule.line().contains(why), "{}", rule.line());
    }
    for text in ["", "null", "[]", "7", "{}", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"name":"n"}"#, "{\"id\":\"p\""] {
        assert_eq!(RuledProgram::of(text), None, "{text}");
    }
}

#[test]
fn what_a_rule_says_is_repeated_without_addresses_and_not_without_end() {
    let mut program = cases().swap_remove(0).program;
    let trigger = "/rules/conversionRule/objectives/1/trigger";
    for (condition, says) in [
        ("user.email = 'ann@shop.example'", "a condition: \"(not shown"),
        (&"x".repeat(500), &format!("a condition: \"{}…\"", "x".repeat(80))),
    ] {
        program.pointer_mut(trigger).expect("a trigger")["condition"] = condition.into();
        program["name"] = condition.into();
        let line = judged(&program, &[]).line();
        assert!(line.contains(says) && !line.contains('@') && line.len() < 700, "{line}");
    }
}

/// Returns `true` if any object of a document, at any depth, has both parts of the guide's rule.
fn has_refund_with_retraction(rules: &Value, event: Option<&str>) -> bool {
    let Some(objectives) = rules["conversionRule"]["objectives"].as_array() else { return false };
    objectives.iter().any(|objective| {
        let trigger = &objective["trigger"];
        let actions = objective["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
        trigger["triggerType"] == "eventTrigger"
            && trigger["intent"] == "REFUND"
            && event.is_none_or(|event| trigger["eventKey"] == event)
            && actions.iter().any(|action| {
                action["actionType"] == "retraction"
                    && ["rewards", "referral", "conversion", "event"].iter().any(|word| action["subType"] == *word)
            })
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let words = [
        "REFUND",
        "PURCHASE",
        "refund",
        "retraction",
        "referral",
        "rewards",
        "eventTrigger",
        "purchase",
        "LIVE",
        "4.0.0",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    let keys = [
        "conversionRule",
        "objectives",
        "trigger",
        "actions",
        "intent",
        "triggerType",
        "eventKey",
        "actionType",
        "subType",
        "retractedRewardKeys",
        "firstTimeOnly",
        "condition",
        "version",
        "name",
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(keys.to_vec()), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>()),
        ]
    })
}

/// Collects the JSON pointers of all values in a document.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), all));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_document_without_a_refund_and_a_retraction_of_the_event_is_a_rule(
        n in 0usize..1000,
        changes in proptest::collection::vec((any::<u16>(), json_value(), any::<bool>()), 0..4),
        random in proptest::option::weighted(0.3, json_value()),
    ) {
        let cases = cases();
        let mut rules = random.unwrap_or_else(|| cases[n % cases.len()].program["rules"].clone());
        for (place, value, removes) in changes {
            let mut all = Vec::new();
            places(&rules, "", &mut all);
            let at = &all[usize::from(place) % all.len()];
            let (parent, key) = at.rsplit_once('/').unwrap_or_default();
            match rules.pointer_mut(parent) {
                Some(Value::Object(object)) if removes => drop(object.remove(key)),
                _ => *rules.pointer_mut(at).expect("a place of it") = value,
            }
        }
        let program = json!({"id": "p", "name": "n", "status": "LIVE", "rules": rules});
        let bought = RuledReward {
            reward_id: "r".into(), key: RewardKey::Named("referrer_reward".into()), event_key: Some("purchase".into()),
        };
        let silent = RuledReward { key: RewardKey::Unknown, event_key: None, ..bought.clone() };
        for (rewards, event) in [(vec![], None), (vec![silent], None), (vec![bought], Some("purchase"))] {
            let state = judged(&program, &rewards).state;
            if state == RuleState::Found {
                prop_assert!(has_refund_with_retraction(&rules, event), "{rules}");
            }
            if state == RuleState::FoundBut {
                prop_assert!(has_refund_with_retraction(&rules, None), "{rules}");
            }
            if state == RuleState::NoSuchRule {
                prop_assert!(!has_refund_with_retraction(&rules, None), "{rules}");
                prop_assert!(rules["conversionRule"]["objectives"].is_array(), "{rules}");
            }
        }
    }
}
