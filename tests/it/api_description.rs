//! Tests of the API's OpenAPI description: a linter accepts it, and its examples have the shape of real responses.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::service::{Answer, Service, add_token, add_user, percent_encoded};
use crate::support::{Home, Ran, browser_required, os_user, ready, report_skipped, wait_until};

const JSON: &str = "application/json";

#[test]
fn a_linter_finds_nothing_in_the_description() {
    let redocly = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules/.bin/redocly");
    if !redocly.exists() {
        assert!(!browser_required(), "TEST_BROWSER is set, and there is no {}", redocly.display());
        report_skipped(&format!("the description: there is no {} (npm's package @redocly/cli)", redocly.display()));
        return;
    }
    let (_sim, home) = ready(&[]);
    let service = Service::start(&home);
    let file = home.path("openapi.json");
    std::fs::write(&file, service.get("/api/v1/openapi.json", &[]).body).expect("a file");
    let mut command = Command::new(redocly);
    // The linter must neither send telemetry nor look for a newer version.
    command.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true").current_dir(home.path(""));
    // The linter's `recommended-strict` rules treat warnings as errors.
    command.args(["lint", "--extends", "recommended-strict", "openapi.json"]);
    Ran::of(&["redocly"], command.output().expect("it runs")).expect(0);
}

/// JSON keys whose values are maps or documents of the vendor. The keys inside the values of such keys depend on the
/// data.
const MAPS: &[&str] =
    &["counts", "value", "decisions", "jobs", "sent", "submission", "subject", "coverage", "open", "runs"];

/// Returns the differences between the shapes of two JSON values. `null` and an empty list match every shape.
fn differences(example: &Value, real: &Value, at: &str, found: &mut Vec<String>) {
    match (example, real) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                match (a.get(key), b.get(key)) {
                    (Some(_), Some(_)) if MAPS.contains(&key.as_str()) => {}
                    (Some(a), Some(b)) => differences(a, b, &format!("{at}.{key}"), found),
                    (None, _) => found.push(format!("{at}.{key} is missing in the example")),
                    (_, None) => found.push(format!("{at}.{key} is only in the example")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if let (Some(a), Some(b)) = (a.first(), b.first()) {
                differences(a, b, &format!("{at}[0]"), found);
            }
        }
        _ if std::mem::discriminant(example) == std::mem::discriminant(real) => {}
        _ => found.push(format!("{at}: {example} in the example, {real} in the response")),
    }
}

/// Recorded requests and responses of the API by operation and status.
#[derive(Default)]
struct Recorded(Map<String, Value>);

impl Recorded {
    fn add(&mut self, operation: &str, what: &str, value: Value) {
        let known = self.0.entry(operation).or_insert_with(|| json!({}));
        known[what] = value;
    }

    #[track_caller]
    fn response(&mut self, operation: &str, status: u16, answer: &Answer) -> Value {
        assert_eq!(answer.status, status, "{operation}: {}", answer.body);
        let is_json = answer.header("content-type").starts_with(JSON);
        let value = if is_json { answer.json() } else { Value::String(answer.body.clone()) };
        self.add(operation, &status.to_string(), value.clone());
        value
    }
}

/// Makes each successful request of the API once and records it.
fn record() -> (Home, Value, Recorded) {
    // The test needs a submission that is still queued at the first reading after the send.
    let (sim, home) = ready(&["--complete-delay", "3s"]);
    for role in ["agent", "lead"] {
        add_user(&home, role, role);
    }
    let [agent, lead] = [
        add_token(&home, "agent", &["lookup", "preflight", "propose", "retract", "status"]),
        add_token(&home, "lead", &["batch", "approve"]),
    ];
    let service = Service::start(&home);
    let document = service.get("/api/v1/openapi.json", &[]).json();
    let (agent, lead) = (service.client(&agent), service.client(&lead));
    let mut recorded = Recorded::default();
    recorded.add("describeApi", "200", json!({ "openapi": document["openapi"] }));

    let order = sim.example("plain").order_id;
    let query = percent_encoded(&order);
    recorded.response("lookUpOrder", 200, &agent.get(&format!("/api/v1/lookup?order_id={query}")));
    let checked = recorded.response("checkOrder", 200, &agent.get(&format!("/api/v1/preflight?order_id={query}")));
    let request =
        json!({ "order_id": order, "reason": "The buyer sent it back", "ticket": "T-1", "plan": checked["plan"] });
    recorded.add("retractOrder", "request", request.clone());
    let sent = agent.post("/api/v1/retractions", "first", JSON, &request.to_string());
    recorded.response("retractOrder", 202, &sent);
    wait_until("it is proven", || agent.get(sent.header("location")).json()["state"] == "confirmed");
    let again = json!({ "order_id": order, "reason": "The buyer sent it back" }).to_string();
    recorded.response("retractOrder", 201, &agent.post("/api/v1/retractions", "second", JSON, &again));
    recorded.response("listRetractions", 200, &agent.get("/api/v1/retractions?state=confirmed&limit=1"));
    recorded.response("readRetraction", 200, &agent.get("/api/v1/retractions/1"));
    recorded.response("readStatus", 200, &agent.get("/api/v1/status"));

    let other = sim.another("plain").order_id;
    let file = format!("order_id,ticket\n\"{other}\",T-2\n");
    recorded.add("planBatch", "request", file.clone().into());
    let made = lead.post("/api/v1/batches?reason=refunds", "file", "text/csv", &file);
    recorded.response("planBatch", 202, &made);
    let batch = made.header("location").to_owned();
    wait_until("it is planned", || lead.get(&batch).json()["stage"] == "planned");
    recorded.response("readBatch", 200, &lead.get(&batch));
    recorded.response("listBatches", 200, &lead.get("/api/v1/batches?stage=planned"));
    recorded.response("applyBatch", 202, &lead.post(&format!("{batch}/apply"), "", JSON, ""));
    wait_until("it is done", || lead.get(&batch).json()["stage"] == "done");
    recorded.response("readOutcomes", 200, &lead.get(&format!("{batch}/outcomes")));

    let two = sim.example("two_actions");
    let request = json!({ "order_id": two.order_id, "action_id": two.action_ids[1], "reason": "The shop refunded it",
        "ticket": "T-3" });
    recorded.add("proposeRetraction", "request", request.clone());
    for (key, status) in [("proposed", 201), ("again", 200)] {
        let proposed = agent.post("/api/v1/approvals", key, JSON, &request.to_string());
        recorded.response("proposeRetraction", status, &proposed);
        if status == 200 {
            let withdrawn = agent.post(&format!("{}/withdraw", proposed.header("location")), "taken back", JSON, "");
            assert_eq!(withdrawn.status, 200, "{}", withdrawn.body);
        }
    }

    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let third = sim.example("two_actions");
    let ask = |action: &str, reason: &str| {
        let body = json!({ "order_id": third.order_id, "action_id": action, "reason": reason }).to_string();
        let asked = agent.post("/api/v1/retractions", reason, JSON, &body);
        assert_eq!(asked.json()["needs_approval"], true, "{}", asked.body);
        format!("/api/v1/approvals/{}", asked.json()["approval_id"])
    };
    let action = &third.action_ids[0];
    let [approved, declined, withdrawn] = ["refunded", "refunded?", "by mistake"].map(|reason| ask(action, reason));
    recorded.response("listApprovals", 200, &agent.get("/api/v1/approvals?stage=asked&limit=1"));
    recorded.response("readApproval", 200, &agent.get(&approved));
    let decision = json!({ "reason": "Seen in the shop" });
    for operation in ["approveRequest", "declineRequest", "withdrawRequest"] {
        recorded.add(operation, "request", decision.clone());
    }
    let decision = decision.to_string();
    let decide = |path: &str, what: &str| lead.post(&format!("{path}/{what}"), path, JSON, &decision);
    recorded.response("declineRequest", 200, &decide(&declined, "decline"));
    let own = agent.post(&format!("{withdrawn}/withdraw"), "own", JSON, &decision);
    recorded.response("withdrawRequest", 200, &own);
    recorded.response("approveRequest", 202, &decide(&approved, "approve"));
    home.check(&["retract", &third.order_id, "--action-id", &third.action_ids[1], "--yes", "--reason", "refunded"], 5);
    let asked = agent.get("/api/v1/approvals?stage=asked").json();
    recorded.response("approveRequest", 200, &decide(&format!("/api/v1/approvals/{}", asked[0]["id"]), "approve"));
    drop(service);
    (home, document, recorded)
}

/// Writes the recorded requests and responses to the examples file, with placeholders for this machine's names.
fn write_examples(home: &Home, recorded: &Recorded) {
    let text = serde_json::to_string_pretty(&recorded.0).expect("JSON");
    let asked = &recorded.0["approveRequest"]["200"];
    let of_machine = ["host", "person"].map(|key| format!("\"{key}\": {}", asked[key]));
    let by_token = recorded.0["readApproval"]["200"]["host"].as_str().unwrap_or_default();
    let text = text
        .replace(&home.path("").display().to_string(), "/var/lib/recoup/")
        .replace(&of_machine[0], "\"host\": \"support-1\"")
        .replace(&of_machine[1], "\"person\": \"ann\"")
        .replace(by_token, "support-1 (API token 1)");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/api/examples.json");
    std::fs::write(file, text + "\n").expect("a file");
}

/// With `TEST_EXAMPLES=1` this test writes the recorded requests and responses to the examples file that the OpenAPI
/// description includes.
#[test]
#[expect(clippy::disallowed_methods, reason = "a developer asks for new examples by a variable")]
fn every_example_has_the_shape_of_a_real_response() {
    let (home, document, recorded) = record();
    if std::env::var_os("TEST_EXAMPLES").is_some() {
        return write_examples(&home, &recorded);
    }
    let mut found = Vec::new();
    let mut compared = 0;
    for (_, methods) in document["paths"].as_object().expect("paths") {
        for (_, operation) in methods.as_object().expect("methods") {
            let name = operation["operationId"].as_str().expect("a name");
            let responses = operation["responses"].as_object().expect("responses").iter();
            let successes =
                responses.filter(|(status, _)| status.starts_with('2')).map(|(status, it)| (status.as_str(), it));
            for (what, described) in successes.chain(operation.get("requestBody").map(|body| ("request", body))) {
                let content =
                    described["content"].as_object().expect("a body").values().next().expect("a content type");
                differences(&content["example"], &recorded.0[name][what], &format!("{name} {what}"), &mut found);
                compared += 1;
            }
        }
    }
    assert!(found.is_empty() && compared > 20, "{compared}: {found:#?}");
}

#[test]
fn every_response_has_the_described_headers() {
    let (sim, home) = ready(&["--complete-delay", "3s"]);
    add_user(&home, "agent", "agent");
    let token = add_token(&home, "agent", &["lookup", "retract"]);
    let service = Service::start(&home);
    let agent = service.client(&token);
    let order = sim.example("plain").order_id;
    let (sent, again) = (agent.retract(&order), agent.retract(&order));
    assert_eq!((sent.status, again.status), (202, 202), "{}", sent.body);
    assert_eq!((sent.header("location"), sent.header("retry-after")), ("/api/v1/retractions/1", "2"));
    assert_eq!((sent.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!((again.header("location"), &again.body), ("/api/v1/retractions/1", &sent.body));
    assert_eq!(sent.header("ratelimit-policy"), "\"token\";q=6000;w=60");
    assert!(sent.header("ratelimit").starts_with("\"token\";r=59"), "{:?}", sent.headers);
    assert!(!sent.header("x-request-id").is_empty() && sent.header("x-request-id") != again.header("x-request-id"));
    let public = service.get("/api/v1/openapi.json", &[]);
    assert!(public.header("ratelimit").is_empty() && !public.header("x-request-id").is_empty());
    assert_eq!(sim.deletes().len(), 1);
}
