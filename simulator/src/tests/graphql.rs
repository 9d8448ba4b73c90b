//! Tests that GraphQL returns the true data: pages in every order, filters, events, and changes during a read. The
//! tests of GraphQL use no sockets.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

use super::{of, world};
use crate::{
    LinkIn, LinkNames, Options,
    graphql::Graphql,
    keys::{ActionKey, Side},
    record::Record,
    world::World,
};

/// A simulated tenant with GraphQL.
pub(super) struct Tenant {
    pub(super) world: World,
    pub(super) record: Record,
    pub(super) graphql: Graphql,
}

const REWARDS: &str = "query Q($filter: RewardFilterInput, $limit: Int! = 20, $offset: Int! = 0, $sortBy: [RSSortByInput!]) \
    { rewards(filter: $filter, limit: $limit, offset: $offset, sortBy: $sortBy) { totalCount count data { id type value unit \
    name dateCreated dateScheduledFor dateGiven dateExpires dateCancelled dateRedeemed dateModified rewardSource currency \
    cancellable redeemable programId programRewardKey globalRewardKey referralId statuses assignedCredit redeemedCredit \
    availableValue user { id accountId email firstName lastName } userEvent { id key userId accountId dateTriggered \
    dateReceived dateProcessed fields } meta { customMeta message } } } }";
pub(super) const EVENTS: &str = "query E($filter: UserEventDataFilterInput) \
    { userEvents(filter: $filter, limit: 100) { count data { id key userId accountId dateTriggered fields } } }";

impl Tenant {
    pub(super) fn new(options: &Options) -> Self {
        Self { world: world(options), record: Record::new(), graphql: Graphql::new(options) }
    }

    pub(super) fn ask(&self, query: &str, variables: &Value) -> Value {
        let body = json!({"query": query, "variables": variables}).to_string();
        let reply = self.graphql.answer(&self.world, &self.record, &body);
        assert_eq!(reply.status, 200);
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    pub(super) fn page(&self, filter: &Value, order: &str, limit: u64, offset: u64) -> Value {
        let (field, order) = order.split_once(' ').expect("a field and an order");
        let sort = json!([{"field": field, "order": order}]);
        let variables = json!({"filter": filter, "limit": limit, "offset": offset, "sortBy": sort});
        let answer = self.ask(REWARDS, &variables);
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"]["rewards"].clone()
    }

    /// Returns all rows of a GraphQL list, read page by page.
    fn walk(&self, filter: &Value, order: &str, limit: u64) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let page = self.page(filter, order, limit, all.len() as u64);
            let rows = page["data"].as_array().expect("rows").clone();
            assert_eq!(page["count"], rows.len());
            all.extend(rows.iter().cloned());
            if rows.is_empty() {
                assert_eq!(page["totalCount"], all.len());
                return all;
            }
        }
    }

    /// Returns the modification time, creation time and account of each reward, by reward ID.
    fn truth(&self) -> BTreeMap<String, (i64, i64, String)> {
        let (world, data) = (&self.world, &self.world.data);
        let mut all = BTreeMap::new();
        for owner in world.everyone().filter(|person| data.owner(*person) == *person) {
            world.rewards(owner, |key, touch| {
                let facts = data.facts(key, touch, world.style.tidy);
                all.insert(data.reward_id(key), (facts.modified, facts.created, data.account_id(owner)));
            });
        }
        all
    }
}

fn id(row: &Value) -> String {
    row["id"].as_str().expect("an ID").to_owned()
}

#[test]
fn every_order_of_pages_is_the_truth_also_after_changes() {
    let tenant = Tenant::new(&of(300));
    for round in 0..2 {
        let truth = tenant.truth();
        for order in ["dateModified ASC", "dateModified DESC", "dateCreated ASC", "dateCreated DESC"] {
            for limit in [29, 1000] {
                let rows = tenant.walk(&Value::Null, order, limit);
                let by = order.split(' ').next().expect("a field");
                let mut moments: Vec<i64> = rows.iter().filter_map(|row| row[by].as_i64()).collect();
                if order.ends_with("DESC") {
                    moments.reverse();
                }
                assert!(moments.is_sorted(), "{order}");
                let said: BTreeMap<String, (i64, i64, String)> = rows
                    .iter()
                    .map(|row| {
                        let number = |key: &str| row[key].as_i64().expect("a moment");
                        let account = row["user"]["accountId"].as_str().expect("an account").to_owned();
                        (id(row), (number("dateModified"), number("dateCreated"), account))
                    })
                    .collect();
                assert_eq!((rows.len(), &said), (truth.len(), &truth), "{order}, pages of {limit}, round {round}");
            }
        }
        assert_eq!(tenant.world.change_accounts(40), 40);
    }
}

#[test]
fn ties_come_in_one_order_that_is_not_that_of_their_ids() {
    let tenant = Tenant::new(&of(2000));
    let rows = tenant.walk(&Value::Null, "dateModified ASC", 1000);
    let mut tied: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in &rows {
        tied.entry(row["dateModified"].as_i64().unwrap_or_default()).or_default().push(id(row));
    }
    let largest = tied.values().max_by_key(|ids| ids.len()).expect("rewards");
    assert!(largest.len() > 50 && !largest.is_sorted());
    let again: Vec<String> = tenant.walk(&Value::Null, "dateModified ASC", 13).iter().map(id).collect();
    assert_eq!(again, rows.iter().map(id).collect::<Vec<_>>());
}

type Passes<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

#[test]
fn filters_find_what_passes_them_and_nothing_else() {
    let tenant = Tenant::new(&of(400));
    tenant.world.change_accounts(40);
    let all = tenant.walk(&Value::Null, "dateModified ASC", 1000);
    let middle = all[all.len() / 2]["dateModified"].as_i64().expect("a moment");
    let three: Vec<String> = all.iter().step_by(all.len() / 3).map(id).collect();
    let number = |row: &Value, key: &str| row[key].as_i64().unwrap_or_default();
    let referral =
        all.iter().find(|row| row["programRewardKey"] == "referrerReward").expect("one")["referralId"].clone();
    let account = all[5]["user"]["accountId"].clone();
    let user = all[9]["user"]["id"].clone();
    let day = 86_400_000;
    let cases: Vec<(Value, Passes<'_>)> = vec![
        (json!({"dateModified_gte": middle}), Box::new(|row| number(row, "dateModified") >= middle)),
        (json!({"dateModified_lt": middle}), Box::new(|row| number(row, "dateModified") < middle)),
        (
            json!({"dateCreated_gte": middle - 90 * day, "dateCreated_lt": middle}),
            Box::new(|row| (middle - 90 * day..middle).contains(&number(row, "dateCreated"))),
        ),
        (json!({"id_in": three}), Box::new(|row| three.contains(&id(row)))),
        (json!({"id_in": [three[0], three[0], "none"]}), Box::new(|row| id(row) == three[0])),
        (json!({"id_eq": three[1]}), Box::new(|row| id(row) == three[1])),
        (json!({"accountId_eq": account}), Box::new(|row| row["user"]["accountId"] == account)),
        (json!({"userId_eq": user}), Box::new(|row| row["user"]["id"] == user)),
        (json!({"referralId_eq": referral}), Box::new(|row| row["referralId"] == referral)),
        (json!({"type_eq": "FUELTANK"}), Box::new(|row| row["type"] == "FUELTANK")),
        (
            json!({"AND": [{"type_eq": "CREDIT"}, {"accountId_eq": account}]}),
            Box::new(|row| row["type"] == "CREDIT" && row["user"]["accountId"] == account),
        ),
        (
            json!({"OR": [{"type_eq": "FUELTANK"}, {"dateModified_gte": middle}], "dateModified_lt": middle + day}),
            Box::new(|row| {
                (row["type"] == "FUELTANK" || number(row, "dateModified") >= middle)
                    && number(row, "dateModified") < middle + day
            }),
        ),
        (json!({"accountId_eq": "nobody"}), Box::new(|_| false)),
        (json!({"id_in": []}), Box::new(|_| false)),
    ];
    for (filter, passes) in cases {
        let expected: BTreeSet<String> = all.iter().filter(|row| passes(row)).map(id).collect();
        for order in ["dateModified ASC", "dateModified DESC", "dateCreated ASC"] {
            let found = tenant.walk(&filter, order, 90);
            assert_eq!(found.len(), expected.len(), "{filter} {order}");
            assert_eq!(found.iter().map(id).collect::<BTreeSet<_>>(), expected, "{filter} {order}");
        }
    }
    let of_referral = tenant.walk(&json!({"referralId_eq": referral}), "dateModified ASC", 10);
    assert!(!of_referral.is_empty());
}

#[test]
fn the_event_is_the_buyer_s_and_carries_the_link() {
    for names in [LinkNames::Camel, LinkNames::Oid, LinkNames::Unusual, LinkNames::Mixed] {
        let tenant = Tenant::new(&Options { link_in: LinkIn::Graphql, link_names: names, ..of(600) });
        let (world, data) = (&tenant.world, &tenant.world.data);
        let (mut sides, mut events) = (BTreeMap::<String, HashSet<u64>>::new(), BTreeMap::new());
        for row in tenant.walk(&Value::Null, "dateModified ASC", 1000) {
            let key = data.find_reward(&id(&row)).expect("a reward");
            let holder = data.holder(key);
            assert_eq!(row["user"]["id"], data.user_id(holder));
            assert_eq!(row["user"]["accountId"], data.account_id(data.owner(holder)));
            if key.side == Side::Manual {
                assert!(row["userEvent"].is_null() && row["referralId"].is_null());
                continue;
            }
            let (event, link) = (&row["userEvent"], world.style.link(data, key));
            assert_eq!(event["userId"], data.user_id(key.buyer));
            assert_eq!(event["accountId"], data.account_id(data.owner(key.buyer)));
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let said: BTreeSet<String> =
                event["fields"].as_object().expect("fields").values().filter(|v| !v.is_null()).map(text).collect();
            let expected =
                link.orders.iter().chain(&link.action).cloned().chain([data.currency(key.buyer).to_owned()]).collect();
            assert_eq!(said, expected, "{names:?}");
            let event_id = event["id"].as_str().expect("an ID").to_owned();
            let action = ActionKey { buyer: key.buyer, order: key.order, action: key.action };
            assert_eq!(data.find_event(&event_id), Some(action));
            sides.entry(event_id.clone()).or_default().insert(key.pack());
            events.insert(event_id, (event["fields"].clone(), row["referralId"].clone()));
            let mut rest = Vec::new();
            world.style.write(&mut rest, data, key, crate::facts::Touch::default());
            let rest: Value = serde_json::from_slice(&rest).expect("JSON");
            assert!(rest["userEvent"].is_null() && rest["orderId"].is_null() && rest["Oid"].is_null(), "{rest}");
            assert!(rest["referralId"].is_null() || rest["referralId"] == row["referralId"]);
        }
        assert!(sides.values().any(|keys| keys.len() == 2), "both rewards of an action share its event");
        for (event_id, (fields, _)) in events.iter().take(30) {
            for (name, value) in
                fields.as_object().expect("fields").iter().filter(|(name, v)| *name != "currency" && !v.is_null())
            {
                let filter = json!({"filter": {"fields": {(format!("{name}_eq")): value}}});
                let found = tenant.ask(EVENTS, &filter)["data"]["userEvents"]["data"].clone();
                let found = found.as_array().expect("a list");
                assert!(found.iter().any(|event| event["id"] == *event_id), "{name} {value}");
                assert!(found.iter().all(|event| event["fields"][name] == *value));
            }
        }
    }
}

#[test]
fn a_lookup_of_an_order_leads_over_its_event_to_both_rewards() {
    let tenant = Tenant::new(&of(2000));
    let examples = crate::Examples::find(&tenant.world);
    for example in [&examples.plain[0], &examples.two_actions[0]] {
        let filter = json!({"filter": {"fields": {"orderId_eq": example.order_id}}});
        let found = tenant.ask(EVENTS, &filter)["data"]["userEvents"].clone();
        assert_eq!(found["count"], example.action_ids.len(), "an event for each action");
        let mut ids = BTreeSet::new();
        let own = json!({"accountId_eq": found["data"][0]["accountId"]});
        let own = tenant.walk(&own, "dateModified ASC", 100);
        let event = found["data"][0]["id"].clone();
        let referral = own.iter().find(|row| row["userEvent"]["id"] == event).map(|row| row["referralId"].clone());
        for row in tenant.walk(&json!({"referralId_eq": referral}), "dateModified ASC", 100) {
            ids.insert(id(&row));
        }
        assert_eq!(ids, example.reward_ids.iter().cloned().collect::<BTreeSet<_>>());
    }
    let wrong = json!({"filter": {"fields": {"order_id_eq": examples.plain[0].order_id}}});
    assert_eq!(tenant.ask(EVENTS, &wrong)["data"]["userEvents"]["count"], 0, "under another name there is nothing");
    let none = Tenant::new(&Options { link_in: LinkIn::None, ..of(2000) });
    let filter = json!({"filter": {"fields": {"orderId_eq": examples.plain[0].order_id}}});
    assert_eq!(none.ask(EVENTS, &filter)["data"]["userEvents"]["count"], 0);
    let fields = none.walk(&Value::Null, "dateModified ASC", 1000);
    let says_only_its_currency = |row: &Value| row["userEvent"]["fields"].as_object().is_some_and(|one| one.len() == 1);
    assert!(fields.iter().all(|row| row["userEvent"].is_null() || says_only_its_currency(row)));
}

#[test]
fn only_what_is_selected_is_answered_under_its_alias() {
    let tenant = Tenant::new(&of(50));
    let first = id(&tenant.page(&Value::Null, "dateModified ASC", 1, 0)["data"][0]);
    let query = format!(
        "{{ one: reward(id: \"{first}\") {{ key: id, __typename, user {{ mail: email }} }} none: reward(id: \"x\") {{ id }} \
         users(limit: 2, offset: 1) {{ totalCount data {{ id accountId }} }} rewards(limit: 1) {{ count }} }}"
    );
    let answer = tenant.ask(&query, &json!({}));
    let data = answer["data"].as_object().expect("data");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["none", "one", "rewards", "users"]);
    assert_eq!(data["one"].as_object().map(serde_json::Map::len), Some(3));
    assert_eq!((&data["one"]["key"], &data["one"]["__typename"]), (&first.into(), &"FlatReward".into()));
    assert!(data["one"]["user"]["mail"].as_str().is_some_and(|mail| mail.contains('@')));
    assert!(data["none"].is_null());
    assert_eq!(data["users"]["totalCount"], 50);
    assert_eq!(data["users"]["data"][0]["id"], tenant.world.data.user_id(1));
    assert_eq!(data["rewards"], json!({"count": 1}));
    let asked = tenant.record.to_json()["graphql"].clone();
    let expected =
        json!({"rewards": 2, "userEvents": 0, "reward": 2, "users": 1, "programs": 0, "program": 0, "referral": 0});
    assert_eq!(asked, expected);
}
