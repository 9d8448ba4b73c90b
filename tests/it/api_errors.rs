//! Tests of the API's errors: each is a problem object (RFC 9457) with the facts that a program needs.

use serde_json::{Value, json};

use crate::service::{Answer, Service, add_token, add_user, percent_encoded};
use crate::support::{Home, os_user, ready};

/// Adds a user with this role and returns a new token of this user.
fn token(home: &Home, role: &str, scopes: &[&str]) -> String {
    add_user(home, role, role);
    add_token(home, role, scopes)
}

/// Returns the body of an error response, after checking its status and the rules for every problem object.
#[track_caller]
fn problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["request_id"], answer.header("x-request-id"), "{problem}");
    for member in ["type", "title", "detail", "kind", "hint"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
    }
    problem
}

#[test]
fn every_error_below_the_api_is_a_problem_with_the_id_of_its_request() {
    let (_sim, home) = ready(&[]);
    let lead = token(&home, "lead", &["lookup", "batch", "retract", "approve"]);
    let service = Service::start(&home);
    let client = service.client(&lead);
    for path in [
        "/api/v1/nothing",
        "/api/v1",
        "/api",
        "/api/v1/retractions/x",
        "/api/v1/retractions/99999999999999999999",
        "/api/v1/batches/x",
        "/api/v1/approvals/x",
    ] {
        problem(&client.get(path), 404);
    }
    problem(&client.get("/api/v1/retractions/%ff"), 400);
    let bearer = format!("Bearer {lead}");
    let wrong_method = service.ask("DELETE", "/api/v1/lookup", &[("Authorization", &bearer)], b"");
    problem(&wrong_method, 405);
    assert!(wrong_method.header("allow").contains("GET"), "{:?}", wrong_method.headers);
    problem(&client.post("/api/v1/retractions", "k", "application/json", &"x".repeat(100_000)), 413);
    problem(&client.post("/api/v1/retractions", "k", "application/json", "{}"), 400);
    problem(&client.post("/api/v1/approvals/1/approve", "k", "application/json", "[1]"), 400);
    problem(&service.get("/api/v1/lookup", &[]), 401);
    let long = service.get(&format!("/api/v1/lookup?order_id={}", "1".repeat(70_000)), &[]);
    problem(&long, if long.status == 414 { 414 } else { 431 });
}

#[test]
fn a_repeated_or_unknown_parameter_is_refused() {
    let (sim, home) = ready(&[]);
    let lead = token(&home, "lead", &["lookup", "preflight", "batch"]);
    let service = Service::start(&home);
    let client = service.client(&lead);
    let order = percent_encoded(&sim.example("plain").order_id);
    for (path, hint) in [
        (format!("/api/v1/lookup?order_id={order}&order_id=2"), "order_id"),
        (format!("/api/v1/lookup?order={order}"), "accounts, order_id"),
        (format!("/api/v1/lookup?order_id={order}&accounts=yes"), "`shown`"),
        (format!("/api/v1/preflight?order_id={order}&al=true"), "action_id, all, order_id"),
        (format!("/api/v1/preflight?order_id={order}&all=yes"), ""),
        ("/api/v1/retractions?state=done".to_owned(), "confirmed"),
        ("/api/v1/retractions?limit=1000".to_owned(), "50"),
        ("/api/v1/batches?stage=finished".to_owned(), "planned"),
        ("/api/v1/batches/x?a=b".to_owned(), "no query parameters"),
        ("/api/v1/approvals?cursor=x".to_owned(), "Link header"),
    ] {
        let answer = client.get(&path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert!(answer.json()["hint"].as_str().unwrap_or_default().contains(hint), "{path}: {}", answer.body);
    }
    assert_eq!(client.get("/api/v1/retractions?state=queued&state=unknown").status, 200, "a list of states");
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_refused_scope_is_named() {
    let (_sim, home) = ready(&[]);
    let agent = token(&home, "agent", &["lookup", "retract"]);
    let service = Service::start(&home);
    let client = service.client(&agent);
    let status = problem(&client.get("/api/v1/status"), 403);
    assert_eq!(status["missing_scope"], "status");
    assert!(status["detail"].as_str().is_some_and(|text| text.contains("the token lacks")), "{status}");
    let batch = problem(&client.get("/api/v1/batches"), 403);
    assert_eq!(batch["missing_scope"], "batch");
    assert!(batch["detail"].as_str().is_some_and(|text| text.contains("the role agent")), "{batch}");
    assert_eq!(problem(&client.get("/api/v1/lookup?order_id=1&accounts=shown"), 403)["missing_scope"], "accounts");
    let overriding = json!({ "order_id": "1", "reason": "refunded", "overrides": ["stale"] }).to_string();
    let refused = client.post("/api/v1/retractions", "k", "application/json", &overriding);
    assert_eq!(problem(&refused, 403)["missing_scope"], "override");
}

#[test]
fn a_conflict_says_as_data_what_the_caller_can_do() {
    let (sim, home) = ready(&[]);
    let agent = token(&home, "agent", &["preflight", "retract"]);
    let service = Service::start(&home);
    let client = service.client(&agent);

    let two = sim.example("two_actions");
    let ambiguous = problem(&client.retract(&two.order_id), 409);
    let mut ids: Vec<&str> =
        ambiguous["action_ids"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut expected: Vec<&str> = two.action_ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!((&ambiguous["overrides"], &ambiguous["needs_approval"]), (&json!([]), &json!(false)));

    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let asked = problem(&client.retract(&sim.example("plain").order_id), 409);
    assert_eq!((&asked["kind"], &asked["needs_approval"]), (&json!("needs_approval"), &json!(true)), "{asked}");
    let open = home.check(&["approval", "list", "--json"], 0).object();
    assert_eq!(asked["approval_id"], open["id"], "{asked}");
    let hint = asked["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("/api/v1/approvals/") && !hint.contains("recoup "), "{hint}");
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_stop_that_a_lead_may_override_is_named_and_goes_by_that_name() {
    let (sim, home) = ready(&["--rule-missing"]);
    let lead = token(&home, "lead", &["retract", "override"]);
    let service = Service::start(&home);
    let client = service.client(&lead);
    let order = sim.example("plain").order_id;
    let stopped = problem(&client.retract(&order), 409);
    assert_eq!((&stopped["overrides"], &stopped["action_ids"]), (&json!(["no-rule"]), &json!([])), "{stopped}");
    assert!(stopped["hint"].as_str().is_some_and(|hint| hint.contains("`overrides`")), "{stopped}");
    let body = json!({ "order_id": order, "reason": "refunded", "overrides": stopped["overrides"] }).to_string();
    assert!(sim.deletes().is_empty());
    let sent = client.post("/api/v1/retractions", "k", "application/json", &body);
    assert_eq!(sent.status, 202, "{}", sent.body);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_key_belongs_to_one_path_and_one_body() {
    let (sim, home) = ready(&[]);
    let lead = token(&home, "lead", &["retract", "approve", "lookup"]);
    let service = Service::start(&home);
    let client = service.client(&lead);
    // The test asks the simulator for an example order only once, because a retracted order is no longer an example of
    // kind `plain`.
    let order = sim.example("plain").order_id;
    let sent = client.retract(&order);
    assert!([201, 202].contains(&sent.status), "{}", sent.body);
    let body = json!({ "order_id": order, "reason": "another" }).to_string();
    let key = &percent_encoded(&order);
    problem(&client.post("/api/v1/retractions", key, "application/json", &body), 422);
    problem(&client.post("/api/v1/approvals/1/approve", key, "application/json", ""), 422);
    problem(&client.post("/api/v1/retractions", "", "application/json", &body), 400);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_token_over_its_limit_waits_and_another_token_does_not() {
    let (_sim, home) = ready(&[]);
    home.configure_more("[serve]\ntoken_requests_per_minute = 2");
    let first = token(&home, "agent", &["lookup"]);
    let second = add_token(&home, "agent", &["lookup"]);
    let service = Service::start(&home);
    let client = service.client(&first);
    let path = "/api/v1/lookup?order_id=1";
    let allowed = client.get(path);
    assert_eq!((allowed.status, allowed.header("ratelimit-policy")), (200, "\"token\";q=2;w=60"));
    // The limit adds a request every half minute, so the third request is refused, or a later one on a slow machine.
    let refused = (0..20).map(|_| client.get(path)).find(|answer| answer.status != 200).expect("a limit");
    assert_eq!(problem(&refused, 429)["kind"], "rate_limited");
    assert_eq!(refused.header("ratelimit"), "\"token\";r=0");
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(service.client(&second).get(path).status, 200);
}

#[test]
fn a_used_up_vendor_limit_says_when_to_retry() {
    let (sim, home) = ready(&[]);
    let agent = token(&home, "agent", &["preflight", "retract"]);
    let service = Service::start(&home);
    sim.post("set?fault=429-absurd=1");
    let answer = service.client(&agent).retract(&sim.example("plain").order_id);
    let parked = problem(&answer, 429);
    assert_eq!(parked["kind"], "parked", "{parked}");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    // recoup caps the vendor's implausible `Retry-After` at one day.
    assert!((80_000..=86_460).contains(&wait), "{wait}");
}
