//! Tests the program's rules and the referrals: what a client sees, and what the rule takes back.

use serde_json::{Value, json};

use super::{graphql::Tenant, of, server::Server};
use crate::{
    Examples, OnOff, Options, ProgramRule, ReferralAfter, ReferralRewards, advocate::Advocate, keys::Side,
    record::Endpoint, referrals,
};

const PROGRAMS: &str = "query P($ids: [ID!]) { programs(filter: {id_in: $ids}, limit: 20) { count totalCount \
    data { id name status templateId rules lastActivatedDate } } }";
const REFERRAL: &str = "query R($id: ID!, $account: ID) { rewards(filter: {accountId_eq: $account}) { count } \
    referral(id: $id) { id programId dateReferralStarted dateConverted dateModified moderationStatus \
    rewards { id referralId dateCancelled userEvent { fields } } } }";

fn with(rule: ProgramRule) -> Tenant {
    Tenant::new(&Options { program_rule: rule, ..of(2000) })
}

fn programs(tenant: &Tenant) -> Value {
    tenant.ask(PROGRAMS, &json!({"ids": ["friends-and-family"]}))
}

/// Returns the refund objective of the visible rules; `None` if they have no refund objective.
fn refund(tenant: &Tenant) -> Option<Value> {
    let rules = &programs(tenant)["data"]["programs"]["data"][0]["rules"];
    let objectives = rules["conversionRule"]["objectives"].as_array()?;
    objectives.iter().find(|one| one["trigger"]["intent"] == "REFUND").cloned()
}

/// Reverses the action of the first plain example. Returns how many rewards the reversal cancelled, and the referral.
fn retracted(tenant: &Tenant) -> (usize, Value) {
    let world = &tenant.world;
    let example = Examples::find(world).plain[0].clone();
    let action = world.action(&example.action_ids[0]).expect("an action");
    world.retract(action, 1_800_000_000_000);
    let ids = &example.reward_ids;
    let cancelled = ids.iter().filter(|id| world.reward(id).is_some_and(|(_, touch)| touch.cancelled.is_some()));
    (cancelled.count(), referral(tenant, &ids[0]))
}

/// Returns the referral of a reward, from a GraphQL list of rewards.
fn referral(tenant: &Tenant, reward: &str) -> Value {
    let reward = tenant.page(&json!({"id_eq": reward}), "dateModified ASC", 1, 0)["data"][0].clone();
    let asked = json!({"id": reward["referralId"], "account": reward["user"]["accountId"]});
    let answer = tenant.ask(REFERRAL, &asked);
    assert!(answer["data"]["rewards"]["count"].as_u64() > Some(0), "{answer}");
    answer["data"]["referral"].clone()
}

#[test]
fn the_rule_that_is_found_takes_everything_back_and_the_referral_starts_again() {
    let tenant = with(ProgramRule::Found);
    let answer = programs(&tenant)["data"]["programs"].clone();
    assert_eq!((&answer["count"], &answer["totalCount"]), (&json!(1), &json!(1)));
    let program = &answer["data"][0];
    assert_eq!((&program["status"], &program["templateId"]), (&json!("LIVE"), &json!("obj-referral-program")));
    assert!(program["lastActivatedDate"].is_i64());
    let objective = refund(&tenant).expect("the rule");
    assert_eq!(objective["trigger"]["eventKey"], "purchase");
    assert_eq!(objective["actions"][0]["actionType"], "retraction");
    let before = referral(&tenant, &Examples::find(&tenant.world).plain[0].reward_ids[0]);
    assert!(before["dateConverted"].as_i64() > before["dateReferralStarted"].as_i64(), "{before}");
    let (cancelled, after) = retracted(&tenant);
    assert_eq!((cancelled, &after["dateConverted"]), (2, &Value::Null));
    assert_eq!(after["dateModified"], 1_800_000_000_000_i64);
    assert_eq!(after["rewards"].as_array().map(Vec::len), Some(2));
    let one =
        tenant.ask("{ program(id: \"friends-and-family\") { name } none: program(id: \"x\") { id } }", &json!({}));
    assert_eq!(one["data"], json!({"program": {"name": "Friends and Family"}, "none": null}));
    let none = tenant.ask(PROGRAMS, &json!({"ids": ["x"]}));
    assert_eq!(none["data"]["programs"]["data"], json!([]));
    assert_eq!(tenant.record.to_json()["graphql"]["programs"], 3);
    assert_eq!(tenant.record.to_json()["graphql"]["referral"], 2);
}

#[test]
fn each_rule_reads_as_its_name_says_and_takes_back_what_it_says() {
    let trigger = |rule| refund(&with(rule)).expect("the rule")["trigger"].clone();
    assert_eq!(trigger(ProgramRule::WrongEvent)["eventKey"], "subscription");
    assert_eq!(retracted(&with(ProgramRule::WrongEvent)).0, 0);
    assert_eq!(trigger(ProgramRule::FirstTimeOnly)["firstTimeOnly"], true);
    assert!(trigger(ProgramRule::Condition)["condition"].is_string());
    let partial = with(ProgramRule::PartialKeys);
    let actions = refund(&partial).expect("the rule")["actions"].clone();
    assert_eq!(actions.as_array().map(Vec::len), Some(1));
    assert_eq!(actions[0]["retractedRewardKeys"], json!(["referredReward"]));
    let (cancelled, referral) = retracted(&partial);
    assert!(cancelled == 1 && !referral["dateConverted"].is_null(), "{referral}");
    assert_eq!(programs(&with(ProgramRule::Paused))["data"]["programs"]["data"][0]["status"], "PAUSED");
    for rule in [
        ProgramRule::OtherTemplate,
        ProgramRule::Null,
        ProgramRule::NoField,
        ProgramRule::Forbidden,
        ProgramRule::Paused,
        ProgramRule::Condition,
    ] {
        let tenant = with(rule);
        assert!(refund(&tenant).is_none() || matches!(rule, ProgramRule::Paused | ProgramRule::Condition));
        assert_eq!(retracted(&tenant).0, 2, "{rule:?}");
    }
}

#[test]
fn rules_that_cannot_be_read_are_refused_in_both_known_ways() {
    let refused = programs(&with(ProgramRule::NoField));
    assert_eq!(refused["errors"][0]["message"], "Cannot query field \"rules\" on type \"Program\".");
    assert!(refused["data"].is_null());
    let forbidden = programs(&with(ProgramRule::Forbidden));
    assert_eq!(forbidden["errors"], json!([{"message": "Not authorised", "path": ["programs", "data", 0, "rules"]}]));
    let program = &forbidden["data"]["programs"]["data"][0];
    assert!(program["rules"].is_null() && program["name"] == "Friends and Family");
}

#[test]
fn a_missing_rule_is_missing_to_see_and_in_effect_and_a_rule_without_effect_is_seen() {
    let missing = Tenant::new(&Options { rule_missing: true, ..of(2000) });
    let rules = &programs(&missing)["data"]["programs"]["data"][0]["rules"];
    assert_eq!(rules["conversionRule"]["objectives"].as_array().map(Vec::len), Some(1));
    let (cancelled, referral) = retracted(&missing);
    assert!(cancelled == 0 && !referral["dateConverted"].is_null());
    for rule in [ProgramRule::Found, ProgramRule::NoField] {
        let tenant = Tenant::new(&Options { rule_works: OnOff::Off, program_rule: rule, ..of(2000) });
        assert_eq!(refund(&tenant).is_some(), rule == ProgramRule::Found);
        assert_eq!(retracted(&tenant).0, 0);
    }
}

#[test]
fn a_referral_stays_converted_or_cannot_be_read_if_told_so() {
    let after = |after| retracted(&Tenant::new(&Options { referral_after: after, ..of(2000) }));
    let (cancelled, stays) = after(ReferralAfter::Converted);
    assert!(cancelled == 2 && stays["dateConverted"].is_i64());
    assert_eq!(after(ReferralAfter::Forbidden), (2, Value::Null));
    let forbidden = Tenant::new(&Options { referral_after: ReferralAfter::Forbidden, ..of(50) });
    let answer = forbidden.ask(REFERRAL, &json!({"id": "x"}));
    assert_eq!(answer["errors"], json!([{"message": "Not authorised", "path": ["referral"]}]));
    assert!(answer["data"]["rewards"]["count"].is_u64());
    let refused = Tenant::new(&Options { referral_after: ReferralAfter::NoField, ..of(50) });
    let answer = refused.ask(REFERRAL, &json!({"id": "x"}));
    assert!(answer["data"].is_null(), "{answer}");
    assert_eq!(answer["errors"][0]["message"], "Cannot query field \"referral\" on type \"Query\".");
    assert!(with(ProgramRule::Found).ask("{ referral(id: \"x\") { id } }", &json!({}))["data"]["referral"].is_null());
}

#[test]
fn a_third_reward_and_one_without_a_link_are_in_the_referral_and_in_no_list() {
    for rewards in [ReferralRewards::Third, ReferralRewards::Loose] {
        let tenant = Tenant::new(&Options { referral_rewards: rewards, ..of(2000) });
        let example = Examples::find(&tenant.world).plain[0].clone();
        assert_eq!(example.reward_ids.len(), 2);
        let of_referral = referral(&tenant, &example.reward_ids[0])["rewards"].clone();
        let rows = of_referral.as_array().expect("a list");
        let more = rows.iter().find(|row| !example.reward_ids.iter().any(|id| row["id"] == *id)).expect("one more");
        assert_eq!((rows.len(), more["userEvent"].is_null()), (3, rewards == ReferralRewards::Loose), "{more}");
        let id = more["id"].as_str().expect("an ID");
        let (key, _) = tenant.world.reward(id).expect("it can be read by its ID");
        let listed = tenant.page(&json!({"referralId_eq": more["referralId"]}), "dateModified ASC", 10, 0);
        assert_eq!(listed["totalCount"], 2);
        let (cancelled, after) = retracted(&tenant);
        let rows = after["rewards"].as_array().expect("a list").clone();
        let more = rows.iter().find(|row| row["id"] == id).expect("still there");
        assert_eq!((cancelled, more["dateCancelled"].is_null()), (2, key.side == Side::Loose));
        let all = tenant.page(&Value::Null, "dateModified ASC", 1000, 0);
        let all = all["data"].as_array().expect("rows").iter().any(|row| row["id"] == id);
        assert!(!all, "no list has it, also after it was cancelled");
        let plain = with(ProgramRule::Found);
        assert!(plain.world.reward(id).is_none(), "without the setting it does not exist");
    }
}

#[tokio::test]
async fn a_referral_is_looked_up_by_rest_with_the_keys_of_the_document() {
    assert_eq!(Advocate::endpoint(&hyper::Method::GET, "referrals/x"), Endpoint::Referral);
    let server = Server::start(of(2000)).await;
    let example = server.control("GET", "examples").await.json()["plain"][0].clone();
    let mut rewards = Vec::new();
    for id in example["reward_ids"].as_array().expect("two rewards") {
        let path = format!("/api/v1/simulator/reward/{}", id.as_str().expect("an ID"));
        rewards.push(server.get(&path).await.json());
    }
    let id = rewards.iter().find_map(|reward| reward["referralId"].as_str()).expect("a referral");
    let path = format!("/api/v1/simulator/referrals/{id}");
    let found = server.get(&path).await.json();
    let mut keys: Vec<&str> = found.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut published = [
        "id",
        "referredUser",
        "referrerUser",
        "referredReward",
        "referrerReward",
        "referralCodeUsed",
        "shareLinkUsed",
        "moderationStatus",
        "referredModerationStatus",
        "referrerModerationStatus",
        "fraudSignals",
        "dateReferralStarted",
        "dateReferralPaid",
        "dateReferralEnded",
        "dateModerated",
        "dateConverted",
        "dateModified",
        "dateUserModified",
        "programId",
    ];
    published.sort_unstable();
    assert_eq!(keys, published);
    assert!(rewards.contains(&found["referredReward"]) && rewards.contains(&found["referrerReward"]), "{found}");
    assert!(found["id"] == id && found["dateConverted"].is_i64() && found["moderationStatus"] == "ACTIONED");
    assert_eq!(server.get("/api/v1/simulator/referrals/6a1709e0eb067e53ef651c29").await.status, 404);
    for (setting, status) in [("forbidden", 403), ("no-field", 404), ("converted", 200)] {
        server.control("POST", &format!("set?referral-after={setting}")).await;
        assert_eq!(server.get(&path).await.status, status, "{setting}");
    }
    assert_eq!(server.control("POST", "set?referral-after=sometimes").await.status, 400);
    assert_eq!(server.control("POST", "set?program-rule=found&rule-works=off&rule-missing=false").await.status, 200);
    assert_eq!(server.control("GET", "record").await.json()["requests"]["GET referral by id"], 5);
}

#[test]
fn of_two_actions_both_must_be_taken_back_before_the_referral_starts_again() {
    let tenant = with(ProgramRule::Found);
    let world = &tenant.world;
    let example = Examples::find(world).two_actions[0].clone();
    let converted: Vec<bool> = example
        .action_ids
        .iter()
        .map(|id| {
            let action = world.action(id).expect("an action");
            world.retract(action, 1_800_000_000_000);
            let dates: referrals::Dates = world.referral_dates(action.buyer, action.order);
            dates.converted.is_some()
        })
        .collect();
    assert_eq!(converted, [true, false]);
}
