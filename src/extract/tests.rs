//! Tests the extraction of rewards in every published and every likely form.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{RewardState, UserId};

fn account() -> AccountId {
    AccountId::new("asked")
}

fn search(value: &Value) -> Extracted {
    read(&value.to_string(), &account(), &Mapping::default()).expect("a reward with an id")
}

fn pairs(extracted: &Extracted) -> Vec<(Option<&str>, Option<&str>)> {
    extracted
        .links
        .iter()
        .map(|link| (link.order_id.as_ref().map(OrderId::as_str), link.action_id.as_ref().map(ActionId::as_str)))
        .collect()
}

#[test]
fn every_placement_and_spelling_is_found() {
    for (reward, order_path, action_path) in [
        (json!({"id": "r", "orderId": "A", "actionId": "1.2.3"}), "$.orderId", "$.actionId"),
        (
            json!({"id": "r", "userEvent": {"id": "e", "fields": {"order_id": "A", "action_id": "1.2.3"}}}),
            "$.userEvent.fields.order_id",
            "$.userEvent.fields.action_id",
        ),
        (
            json!({"id": "r", "meta": {"customMeta": {"OrderId": "A", "ActionID": "1.2.3"}}}),
            "$.meta.customMeta.OrderId",
            "$.meta.customMeta.ActionID",
        ),
        (json!({"id": "r", "Oid": "A", "ActionId": "1.2.3"}), "$.Oid", "$.ActionId"),
        (json!({"id": "r", "oid": "A", "ACTION-ID": "1.2.3"}), "$.oid", "$['ACTION-ID']"),
        (json!({"id": "r", "order": {"id": "A"}, "action": {"ID": "1.2.3"}}), "$.order.id", "$.action.ID"),
        (
            json!({"id": "r", "events": [{"Order Number": "A"}, {"actions": [{"id": "1.2.3"}]}]}),
            "$.events[*]['Order Number']",
            "$.events[*].actions[*].id",
        ),
    ] {
        let found = search(&reward);
        assert_eq!(pairs(&found), [(Some("A"), Some("1.2.3"))], "{reward}");
        assert_eq!(found.kind, LinkKind::Both);
        assert!(found.action_by_search);
        assert_eq!(found.order_path.as_deref(), Some(order_path));
        assert_eq!(found.action_path.as_deref(), Some(action_path));
    }
}

#[test]
fn other_ids_are_not_mistaken_for_ours() {
    let found = search(&json!({
        "id": "r", "uniqueId": "u", "programId": "p", "rewardId": "x", "referralId": "y", "actionTrackerId": 7,
        "transactionId": "t", "_id": {"$oid": "5462600de4b09b1c41238f2f"}, "userEvent": {"id": "e", "key": "purchase"},
        "redemptions": [{"id": "d"}], "sortOrder": 3, "order": 2, "action": "DENY", "orderTotal": 5,
    }));
    assert_eq!((found.kind, found.links.len(), found.unreadable), (LinkKind::Neither, 0, 0));
    assert_eq!((found.order_path, found.action_path, found.action_by_search), (None, None, false));
}

#[test]
fn values_are_taken_exactly_or_not_at_all() {
    for (json_value, expected, unreadable) in [
        ("\" #001 \"", Some(" #001 "), 0),
        ("\"  \"", None, 0),
        ("null", None, 0),
        ("[]", None, 0),
        ("1001", Some("1001"), 0),
        ("18446744073709551615", Some("18446744073709551615"), 0),
        ("18446744073709551616", None, 1),
        ("1e3", None, 1),
        ("1001.0", None, 1),
        ("true", None, 1),
        ("[1001, \"1001\"]", Some("1001"), 0),
        ("{}", None, 0),
        ("{\"value\": null, \"more\": [\" \"]}", None, 0),
        ("{\"value\": \"A\"}", None, 1),
        ("[{\"value\": \"A\"}, {\"value\": \"B\"}]", None, 2),
        ("{\"value\": {\"orderId\": \"A\"}}", Some("A"), 0),
        ("{\"value\": {\"orderId\": 1.5}}", None, 1),
    ] {
        let raw = format!("{{\"id\": 5, \"orderId\": {json_value}}}");
        let found = read(&raw, &account(), &Mapping::default()).expect("a reward with an id");
        let order = found.links.first().and_then(|link| link.order_id.as_ref()).map(OrderId::as_str);
        assert_eq!((order, found.unreadable), (expected, unreadable), "{json_value}");
    }
    let long = "x".repeat(OrderId::MAX_BYTES + 1);
    assert_eq!(search(&json!({"id": "r", "orderId": long})).unreadable, 1);
}

#[test]
fn different_values_are_ambiguous_and_all_listed() {
    let found = search(&json!({"id": "r", "orderId": "A", "meta": {"order_id": "B"}, "actionId": "1.2.3"}));
    assert_eq!(found.kind, LinkKind::Ambiguous);
    assert_eq!(pairs(&found), [(Some("B"), Some("1.2.3")), (Some("A"), Some("1.2.3"))]);
    assert_eq!(found.order_path.as_deref(), Some("$.meta.order_id, $.orderId"));
    let same = search(&json!({"id": "r", "orderId": "A", "meta": {"order_id": "A"}}));
    assert_eq!((same.kind, same.links.len()), (LinkKind::OrderOnly, 1));
}

#[test]
fn a_configured_path_replaces_the_search() {
    let mapping = Mapping::new(&["$.a".into(), "$..b[*].c".into()], &[]).expect("two paths");
    let reward = json!({"id": "r", "a": null, "b": [{"c": "X"}], "orderId": "Y", "actionId": "1.2.3"});
    let found = read(&reward.to_string(), &account(), &mapping).expect("a reward");
    assert_eq!(pairs(&found), [(Some("X"), Some("1.2.3"))]);
    assert_eq!(found.order_path.as_deref(), Some("$..b[*].c"), "the path as configured");
    let nothing = json!({"id": "r", "orderId": "Y"});
    let found = read(&nothing.to_string(), &account(), &mapping).expect("a reward");
    assert_eq!((found.kind, found.order_path), (LinkKind::Neither, None));
    let bad = Mapping::new(&[], &["order id".into()]).expect_err("not a path");
    assert_eq!(bad.kind, Kind::Config);
}

#[test]
fn the_published_samples_decode() {
    let rest = search(&json!({
        "id": "582142aae4b05442a5fa01a5", "type": "CREDIT", "dateGiven": 1_478_574_762_838_i64, "dateExpires": null,
        "accountId": "613611", "userId": "876343", "cancellable": true, "rewardSource": "REFERRED", "unit": "CENTS",
        "name": "Dollar Credit", "assignedCredit": 2500, "redeemedCredit": 0,
        "redemptions": [{"id": "d", "dateRedeemed": 1, "quantityRedeemed": 2000}], "amount": null, "fueltankType": null,
    }))
    .reward;
    assert_eq!((rest.account_id.as_str(), rest.assigned, rest.redeemed), ("613611", Some(2500), Some(2000)));
    assert_eq!((rest.date_given, rest.date_expires, rest.cancellable), (Some(1_478_574_762_838), None, Some(true)));

    let graphql = search(&json!({
        "id": "r", "type": "INTEGRATION", "value": "20", "statuses": ["REDEEMED", "EXPIRED"], "dateGiven": "1478574762838",
        "dateExpires": "2026-01-01T00:00:00Z", "user": {"id": "u", "accountId": "a"}, "program": {"id": "p"},
    }))
    .reward;
    assert_eq!((graphql.account_id.as_str(), graphql.user_id.as_ref().map(UserId::as_str)), ("a", Some("u")));
    assert_eq!((graphql.assigned, graphql.statuses.as_deref()), (Some(20), Some("REDEEMED,EXPIRED")));
    assert_eq!((graphql.date_given, graphql.date_expires), (Some(1_478_574_762_838), Some(1_767_225_600_000)));
    assert_eq!(graphql.program_id.as_deref(), Some("p"));

    let bare = search(&json!({"id": 12, "fuelTankType": "CREDIT"})).reward;
    assert_eq!((bare.reward_id.as_str(), bare.account_id.as_str(), bare.assigned), ("12", "asked", None));
}

#[test]
fn a_date_of_zero_is_no_date() {
    for (written, cancelled) in
        [("0", None), ("\"0\"", None), ("-1", None), ("\"1970-01-01T00:00:00Z\"", None), ("5", Some(5))]
    {
        let raw = format!("{{\"id\": \"r\", \"dateCancelled\": {written}}}");
        let found = read(&raw, &account(), &Mapping::default()).expect("a reward");
        assert_eq!(found.reward.date_cancelled, cancelled, "{written}");
    }
}

#[test]
fn an_unreadable_field_that_decides_the_state_makes_it_unclear() {
    const NOW: i64 = 1_790_000_000_000;
    let state = |key: &str, value: &Value| {
        let mut reward = json!({
            "id": "r", "assignedCredit": 500, "redeemedCredit": 0, "dateGiven": NOW - 9_000_000,
            "dateCancelled": NOW - 1_000_000,
        });
        reward[key] = value.clone();
        search(&reward).reward.state(NOW)
    };
    for (key, value) in [
        ("redeemedCredit", json!("3.5")),
        ("redeemedCredit", json!(3.5)),
        ("redeemedCredit", json!("1,200")),
        ("redeemedCredit", json!(true)),
        ("redeemedCredit", json!({"v": 5})),
        ("redeemedCredit", json!([])),
        ("redeemedCredit", json!(-1)),
        ("redeemedCredit", json!(18_446_744_073_709_551_615_u64)),
        ("redemptions", json!("all")),
        ("redemptions", json!({"quantityRedeemed": 5})),
        ("redemptions", json!([5])),
        ("redemptions", json!([{}])),
        ("redemptions", json!([{"quantityRedeemed": 5}, {"quantityRedeemed": null}])),
        ("redemptions", json!([{"quantityRedeemed": -5}])),
        ("redeemed_credit", json!(500)),
        ("RedeemedCredit", json!("500")),
        ("date_cancelled", json!(NOW - 900_000)),
        ("statuses", json!([["AVAILABLE"]])),
        ("statuses", json!([{"status": "AVAILABLE"}])),
        ("statuses", json!({"available": true})),
        ("statuses", json!(5)),
        ("statuses", json!(true)),
        ("statuses", json!(["REINSTATED"])),
        ("statuses", json!(["CANCELLED", null])),
        ("statuses", json!(["CANCELLED", "-"])),
        ("statuses", json!("CANCELLED, then reinstated")),
        ("dateRedeemed", json!(NOW - 500_000)),
        ("dateRedeemed", json!("yesterday")),
        ("dateRedeemed", json!(true)),
        ("dateCancelled", json!({"ms": NOW})),
        ("dateCancelled", json!("2026-09-21")),
        ("dateExpires", json!([])),
        ("dateGiven", json!("soon")),
    ] {
        assert_eq!(state(key, &value), RewardState::Unclear, "{key}: {value}");
    }
    for (key, value, expected) in [
        ("redeemedCredit", json!(null), RewardState::Cancelled),
        ("redeemedCredit", json!(" "), RewardState::Cancelled),
        ("redeemedCredit", json!("200"), RewardState::Cancelled),
        ("redeemedCredit", json!(500), RewardState::Redeemed),
        ("redemptions", json!([]), RewardState::Cancelled),
        ("redemptions", json!([{"quantityRedeemed": 0}]), RewardState::Cancelled),
        ("redeemed_credit", json!(0), RewardState::Cancelled),
        ("redeemed_credit", json!(null), RewardState::Cancelled),
        ("redemptions", json!([{"quantityRedeemed": 200}, {"quantityRedeemed": "300"}]), RewardState::Redeemed),
        ("redemptions", json!([{"quantityRedeemed": i64::MAX}, {"quantityRedeemed": i64::MAX}]), RewardState::Redeemed),
        ("statuses", json!([]), RewardState::Cancelled),
        ("statuses", json!("cancelled"), RewardState::Cancelled),
        ("statuses", json!(["CANCELLED", "EXPIRED"]), RewardState::Cancelled),
        ("dateRedeemed", json!(""), RewardState::Cancelled),
        ("dateCancelled", json!(null), RewardState::Available),
        ("dateCancelled", json!("0"), RewardState::Available),
    ] {
        assert_eq!(state(key, &value), expected, "{key}: {value}");
    }
}

#[test]
fn another_spelling_or_a_status_that_contradicts_a_cancellation_makes_it_unclear() {
    const NOW: i64 = 1_790_000_000_000;
    let at = NOW - 1_000_000;
    for (rest, expected) in [
        (json!({"statuses": null, "status": "AVAILABLE"}), RewardState::Unclear),
        (json!({"statuses": [], "status": "REDEEMED"}), RewardState::Unclear),
        (json!({"statuses": ["CANCELLED"], "status": "AVAILABLE"}), RewardState::Unclear),
        (json!({"statuses": ["CANCELLED"], "status": 5}), RewardState::Unclear),
        (json!({"Statuses": ["CANCELLED"], "status": "AVAILABLE"}), RewardState::Unclear),
        (json!({"statuses": ["CANCELLED"], "status": "cancelled"}), RewardState::Cancelled),
        (json!({"statuses": ["CANCELLED"], "Statuses": ["AVAILABLE"]}), RewardState::Unclear),
        (json!({"statuses": null, "STATUSES": "AVAILABLE"}), RewardState::Unclear),
        (json!({"redeemedCredit": null, "redeemed-credit": 500}), RewardState::Unclear),
        (json!({"dateRedeemed": null, "date_redeemed": at + 1}), RewardState::Unclear),
        (json!({"redemptions": null, "Redemptions": [{"quantityRedeemed": 500}]}), RewardState::Unclear),
        (json!({"statuses": ["CANCELLED"], "Statuses": ["CANCELLED"]}), RewardState::Cancelled),
    ] {
        let mut reward = json!({"id": "r", "assignedCredit": 500, "dateCancelled": at});
        reward.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        assert_eq!(search(&reward).reward.state(NOW), expected, "{rest}");
    }
    // If the documented key of the cancellation is null, another spelling does not cancel the reward.
    let alias = search(&json!({"id": "r", "dateCancelled": null, "date_cancelled": at})).reward;
    assert_eq!((alias.date_cancelled, alias.state(NOW)), (None, RewardState::Unclear));
}

#[test]
fn an_unreadable_account_is_an_error() {
    for account in [json!([]), json!({"id": "a"}), json!(1.5), json!(true)] {
        for reward in [json!({"id": "r", "accountId": account}), json!({"id": "r", "user": {"accountId": account}})] {
            assert!(read(&reward.to_string(), &self::account(), &Mapping::default()).is_err(), "{reward}");
        }
    }
}

#[test]
fn the_documented_spelling_outranks_others_also_if_it_is_null() {
    let cancelled = |raw: &str| read(raw, &account(), &Mapping::default()).map(|found| found.reward.date_cancelled);
    for (rest, expected) in [
        (r#""dateCancelled": null, "date_cancelled": 1800000000000"#, None),
        (r#""DateCancelled": 1800000000000, "dateCancelled": null"#, None),
        (r#""dateCancelled": 1800000000001, "date_cancelled": 1800000000000"#, Some(1_800_000_000_001)),
        (r#""date_cancelled": 1800000000000"#, Some(1_800_000_000_000)),
        (r#""date_cancelled": 1800000000000, "DateCancelled": 1800000000000"#, Some(1_800_000_000_000)),
    ] {
        assert_eq!(cancelled(&format!("{{\"id\": \"r\", {rest}}}")).expect("a reward"), expected, "{rest}");
    }
    let statuses = |value: Value| search(&value).reward.statuses;
    assert_eq!(statuses(json!({"id": "r", "statuses": null, "status": "CANCELLED"})), None);
    assert_eq!(statuses(json!({"id": "r", "Statuses": "Cancelled; expired"})).as_deref(), Some("CANCELLED,EXPIRED"));
    assert_eq!(
        search(&json!({"id": "r", "user": {"accountId": null, "account_id": "b"}})).reward.account_id,
        account()
    );
}

#[test]
fn a_contradictory_reward_is_refused_and_not_repeated() {
    for raw in [
        r#"{"id": "r", "dateCancelled": 1800000000000, "dateCancelled": null, "by": "ann@example.com"}"#,
        r#"{"id": "r", "by": {"ann@example.com": 1, "ann@example.com": 2}}"#,
        r#"{"id": "r", "date_cancelled": 1800000000000, "DateCancelled": null}"#,
        r#"{"id": "r", "accountId": "ann@example.com", "user": {"accountId": "b"}}"#,
    ] {
        let error = read(raw, &account(), &Mapping::default()).expect_err(raw);
        assert_eq!(error.kind, Kind::Vendor);
        assert!(!error.message.contains("ann@"), "{}", error.message);
    }
}

#[test]
fn a_reward_without_an_id_is_refused_and_not_repeated() {
    for raw in [
        "",
        "[]",
        "null",
        "{\"id\": null}",
        "{\"id\": 1e3}",
        "{\"id\": 1.0}",
        "{\"accountId\": \"ann@example.com\"}",
        "{\"id\": \" \"}",
    ] {
        let error = read(raw, &account(), &Mapping::default()).expect_err(raw);
        assert_eq!(error.kind, Kind::Vendor);
        assert!(!error.message.contains("ann@"), "{}", error.message);
    }
}

#[test]
fn a_reward_has_at_most_one_referral() {
    for (referral, id) in [
        (json!("f1"), Some("f1")),
        (json!(12_345_678_901_234_567_890_u64), Some("12345678901234567890")),
        (json!(null), None),
        (json!(" "), None),
        (json!(1.5), None),
        (json!({"id": "f1"}), None),
    ] {
        let found = search(&json!({"id": "r", "referralId": referral}));
        assert_eq!(found.referral_id.as_deref(), id, "{referral}");
    }
    assert_eq!(search(&json!({"id": "r", "referral_id": "f1"})).referral_id, None);
}

#[test]
fn the_key_sample_has_no_values_and_no_addresses() {
    let mut sample = KeySample::default();
    sample.observe(
        &json!({"id": "secret", "by": {"ann@example.com": {"x": 1}}, "list": [{"a": 1}, {"b": 2}]}).to_string(),
    );
    assert_eq!(sample.describe(), "$.by[*].x, $.id, $.list[*].a, $.list[*].b");
    for n in 0..300 {
        sample.observe(&format!("{{\"k{n}\": 1}}"));
    }
    assert_eq!(sample.describe().split(", ").count(), 200);
    assert!(sample.describe().ends_with(" and more"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![".{0,6}", Just("orderId".to_owned()), Just("order".to_owned()), Just("id".to_owned())];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics_on_any_json(value in any_json()) {
        let raw = value.to_string();
        drop(read(&raw, &account(), &Mapping::default()));
        KeySample::default().observe(&raw);
    }

    #[test]
    fn nothing_panics_on_any_text(raw in ".{0,40}") {
        prop_assert!(read(&raw, &account(), &Mapping::default()).is_err());
    }

    #[test]
    fn spelling_does_not_matter(upper in prop::collection::vec(any::<bool>(), 7), separator in "[-_ .]{0,2}") {
        let mut key = String::new();
        for (n, (letter, upper)) in "orderid".chars().zip(upper).enumerate() {
            if n == 5 {
                key.push_str(&separator);
            }
            key.push(if upper { letter.to_ascii_uppercase() } else { letter });
        }
        let found = search(&json!({"id": "r", "deep": [{"er": {key: "A"}}]}));
        prop_assert_eq!(pairs(&found), [(Some("A"), None)]);
    }
}
