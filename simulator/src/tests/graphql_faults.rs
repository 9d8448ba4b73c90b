//! Tests the faults of GraphQL: each flag does what it says, and a repeated request succeeds.

use serde_json::{Value, json};

use super::{
    graphql::{EVENTS, Tenant},
    of, options,
    server::{Answer, Server},
};
use crate::{GraphqlSchema, OnOff, Options, UserEvents, auth::Keys};

const SHORT: &str = "query Q($limit: Int! = 20) { rewards(limit: $limit) { data { id userEvent { id } } } }";

fn message(answer: &Value) -> String {
    answer["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_the_schema_does_not_have_is_refused_without_data() {
    let tenant = Tenant::new(&of(50));
    for (query, says) in [
        (
            "{ rewards { data { id cancelledReason } } }",
            "Cannot query field \"cancelledReason\" on type \"FlatReward\".",
        ),
        ("{ nothing }", "Cannot query field \"nothing\" on type \"Query\"."),
        ("{ rewards(first: 3) { count } }", "Unknown argument \"first\" on field \"Query.rewards\"."),
        ("{ rewards(filter: {id_like: \"x\"}) { count } }", "Field \"id_like\" is not defined"),
        ("{ rewards(filter: {AND: [{dateModified_gt: 1}]}) { count } }", "Field \"dateModified_gt\" is not defined"),
        ("{ rewards(filter: {id_in: \"x\"}) { count } }", "Expected another type"),
        ("{ userEvents { totalCount } }", "Cannot query field \"totalCount\" on type \"UserEventDataList\"."),
        ("{ rewards(sortBy: [{field: \"colour\", order: ASC}]) { count } }", "sorted by"),
        ("{ rewards(limit: -1) { count } }", "whole number"),
        ("{ rewards }", "must have a selection"),
        ("{ rewards { count { x } } }", "must not have a selection"),
        ("{ reward { id } }", "is required"),
        ("{ rewards { count }", "Syntax Error"),
    ] {
        let answer = tenant.ask(query, &json!({}));
        assert!(message(&answer).contains(says), "{query}: {answer}");
        assert!(answer["data"].is_null());
    }
    assert_eq!(tenant.record.to_json()["violations"], json!([]));
    let answer = tenant.ask("mutation { moderateGraphNodes { id } }", &json!({}));
    assert!(!message(&answer).is_empty() && answer["data"].is_null());
    assert_eq!(tenant.record.to_json()["violations"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_old_schema_has_no_events() {
    let tenant = Tenant::new(&Options { graphql_schema: GraphqlSchema::Old, ..of(50) });
    let answer = tenant.ask(SHORT, &json!({}));
    assert_eq!(message(&answer), "Cannot query field \"userEvent\" on type \"FlatReward\".");
    assert_eq!(message(&tenant.ask(EVENTS, &json!({}))), "Cannot query field \"userEvents\" on type \"Query\".");
    assert!(tenant.ask("{ rewards { count } }", &json!({}))["errors"].is_null());
}

#[test]
fn a_page_that_is_too_large_is_refused() {
    let tenant = Tenant::new(&Options { graphql_max_limit: 100, ..of(50) });
    assert!(tenant.ask(SHORT, &json!({"limit": 100}))["errors"].is_null());
    let answer = tenant.ask(SHORT, &json!({"limit": 101}));
    assert!(answer["data"].is_null() && message(&answer).contains("larger than 100"), "{answer}");
}

#[test]
fn events_can_be_forbidden_or_limited_to_one_field() {
    let two = json!({"filter": {"key": "purchase", "fields": {"orderId_eq": "x"}}});
    let one = json!({"filter": {"fields": {"orderId_eq": "x"}}});
    let says = |events: UserEvents, filter: &Value| {
        message(&Tenant::new(&Options { user_events: events, ..of(50) }).ask(EVENTS, filter))
    };
    assert_eq!(says(UserEvents::Off, &one), "Not authorised");
    assert_eq!(says(UserEvents::OneField, &one), "");
    assert!(says(UserEvents::OneField, &two).contains("one field"));
    assert_eq!(says(UserEvents::On, &two), "");
}

#[test]
fn lists_are_damaged_at_the_rate_and_come_whole_when_asked_again() {
    let tenant = Tenant::new(&Options { graphql_partial: 0.3, ..of(500) });
    let (mut rows, mut whole) = (0, 0);
    for limit in 100..300 {
        let mut answers = (0..50).map(|_| tenant.ask(SHORT, &json!({"limit": limit})));
        let first = answers.next().expect("an answer");
        let errors = first["errors"].as_array();
        match (errors, first["data"].is_null()) {
            (None, false) => {}
            (Some(errors), true) => {
                whole += 1;
                assert_eq!(errors.len(), 1);
            }
            (Some(errors), false) => {
                rows += 1;
                assert_eq!(errors.len(), 1);
                let row = errors[0]["path"][2].as_u64().expect("a row");
                assert_eq!(errors[0]["path"], json!(["rewards", "data", row, "userEvent"]));
                assert!(first["data"]["rewards"]["data"][row as usize]["userEvent"].is_null() && row < limit);
                assert_eq!(first["data"]["rewards"]["data"].as_array().map(Vec::len), Some(limit as usize));
            }
            (None, true) => panic!("neither data nor errors"),
        }
        assert!(answers.any(|answer| answer["errors"].is_null()), "a list of {limit} never comes whole");
    }
    assert!((10..50).contains(&rows) && (10..50).contains(&whole), "{rows} rows and {whole} lists of 200");
    let faults = tenant.record.to_json()["faults"].clone();
    assert!(faults["graphql row"].as_u64() >= Some(rows) && faults["graphql data"].as_u64() >= Some(whole), "{faults}");
}

async fn post(server: &Server, token: &str, query: &str, variables: &Value) -> std::io::Result<Answer> {
    let keys = Keys::new(&Options { token: token.to_owned(), ..Options::default() });
    let headers = format!("Authorization: {}\r\nContent-Type: application/json\r\n", keys.full());
    let body = json!({"query": query, "variables": variables}).to_string();
    server.send("POST", "/api/v1/simulator/graphql", &headers, &body).await
}

#[tokio::test]
async fn it_is_served_counted_switched_and_guarded() {
    let server = Server::start(Options { graphql: OnOff::Off, ..of(200) }).await;
    let full = "simulator-token";
    let ask =
        async |token: &str, limit: u64| post(&server, token, SHORT, &json!({"limit": limit})).await.expect("an answer");
    let off = ask(full, 5).await;
    assert_eq!((off.status, &off.json()["statusCode"]), (404, &404.into()));
    assert_eq!(server.control("POST", "set?graphql=on&graphql-slow=50").await.status, 200);
    for token in [full, "read-only-token", "advocate-only-token"] {
        let answer = ask(token, 5).await;
        assert_eq!(answer.status, 200, "{token}");
        assert_eq!(answer.json()["data"]["rewards"]["data"].as_array().map(Vec::len), Some(5));
    }
    for (token, status) in [("rest-only-token", 403), ("brand-only-token", 403), ("wrong", 401)] {
        assert_eq!(ask(token, 5).await.status, status, "{token}");
    }
    let rest_only = Keys::new(&Options { token: "rest-only-token".to_owned(), ..Options::default() });
    let headers = format!("Authorization: {}\r\n", rest_only.full());
    assert_eq!(server.send("GET", "/api/v1/simulator/users", &headers, "").await.expect("an answer").status, 200);
    let slow = ask(full, 51).await;
    assert_eq!(slow.status, 504);
    assert!(String::from_utf8_lossy(&slow.body).contains("<html>") && slow.head.contains("text/html"));
    assert_eq!(ask(full, 50).await.status, 200);
    for (set, status) in [
        ("graphql-slow=none&graphql-schema=old", 200),
        ("graphql-max-limit=7", 200),
        ("graphql-partial=0", 200),
        ("user-events=one-field", 200),
        ("user-events=maybe", 400),
        ("graphql-partial=2", 400),
        ("graphql-colour=1", 400),
        ("graphql=perhaps", 400),
    ] {
        assert_eq!(server.control("POST", &format!("set?{set}")).await.status, status, "{set}");
    }
    assert!(message(&ask(full, 5).await.json()).starts_with("Cannot query field \"userEvent\""));
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["requests"]["POST graphql"], 10);
    assert_eq!(record["graphql"]["rewards"], 5, "those that were understood: {record}");
    assert_eq!(record["violations"], json!([]));
    server.control("POST", "record/reset").await;
    let record = server.control("GET", "record").await.json();
    assert_eq!((&record["requests"]["POST graphql"], &record["graphql"]["rewards"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn faults_break_each_query_on_its_own() {
    let kind = options::fault("502=0.5").expect("a kind of fault");
    let server = Server::start(Options { fault: vec![kind], ..of(200) }).await;
    let (mut broken, mut at_all) = (0, 0);
    for limit in 1..30 {
        let mut tries = 0;
        loop {
            let answer = post(&server, "simulator-token", SHORT, &json!({"limit": limit})).await.expect("an answer");
            tries += 1;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 502);
            assert!(tries < 40, "limit {limit} never gets through");
        }
        broken += tries - 1;
        at_all += i32::from(tries > 1);
    }
    assert!((5..25).contains(&at_all), "{at_all} of 29 pages broke, {broken} times");
}

#[tokio::test]
async fn rewards_change_while_pages_are_read() {
    let server = Server::start(Options { reward_churn: 5, ..of(200) }).await;
    let before = server.truth("truth").await;
    for limit in 1..9 {
        post(&server, "simulator-token", SHORT, &json!({"limit": limit})).await.expect("an answer");
    }
    let after = server.truth("truth").await;
    assert_eq!(after.iter().filter(|line| !before.contains(line)).count(), 5);
}
