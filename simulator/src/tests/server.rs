//! Tests that the simulator returns the true data, and that faults happen as configured. The server tests use real
//! sockets and the real clock.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{of, options};
use crate::{DeleteFault, FaultKind, Options, auth::Keys, start};

pub(super) struct Server {
    addr: SocketAddr,
    pub(super) keys: Keys,
    _stop: DropGuard,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Whether a chunked response body was complete.
    pub(super) ended: bool,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Server {
    pub(super) async fn start(options: Options) -> Self {
        let stop = CancellationToken::new();
        let keys = Keys::new(&options);
        let addr = start(options, stop.clone()).await.expect("a free port").addr;
        Self { addr, keys, _stop: stop.drop_guard() }
    }

    /// Sends one request on its own connection and reads the response. The test uses no HTTP client library, because a
    /// library could hide the simulator's behaviour.
    pub(super) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
        Self::send_to(self.addr, method, path, headers, body).await
    }

    /// Sends one request to another address than the simulator's API.
    pub(super) async fn send_to(
        addr: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(addr).await?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let mut body = answer[end + 4..].to_vec();
        let ended = !head.contains("chunked") || body.ends_with(b"0\r\n\r\n");
        if head.contains("chunked") {
            body = unchunk(&body);
        }
        Ok(Answer { status, head, body, ended })
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let headers = format!("Authorization: {}\r\nAccept: application/json\r\n", self.keys.full());
        self.send("GET", path, &headers, "").await.expect("an answer")
    }

    pub(super) async fn write(&self, method: &str, form: &str) -> io::Result<Answer> {
        let headers = format!(
            "Authorization: {}\r\nAccept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.keys.full()
        );
        self.send(method, "/Advertisers/SIMULATOR/Actions", &headers, form).await
    }

    pub(super) async fn control(&self, method: &str, path: &str) -> Answer {
        self.send(method, &format!("/_simulator/{path}"), "", "").await.expect("an answer")
    }

    pub(super) async fn truth(&self, what: &str) -> Vec<Value> {
        let lines = self.control("GET", what).await.body;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect()
    }

    pub(super) async fn rewards(&self, account: &str) -> Answer {
        let account = percent_encoding::utf8_percent_encode(account, percent_encoding::NON_ALPHANUMERIC);
        self.get(&format!("/api/v1/simulator/reward?accountId={account}")).await
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|at| at == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).expect("a chunk size");
        out.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    out
}

pub(super) fn quick(options: Options) -> Options {
    let time = Duration::from_millis(20);
    Options { queue_delay: time, complete_delay: time, cancel_delay: time, ..options }
}

#[tokio::test]
async fn a_walk_over_all_accounts_finds_the_truth() {
    let server = Server::start(Options { churn: 20, ..of(400) }).await;
    let mut offset = 0;
    while offset < 400 {
        let page = server.get(&format!("/api/v1/simulator/users?limit=1000&offset={offset}")).await.json();
        let count = page["count"].as_u64().expect("a count");
        assert!(count <= 100 && page["users"].as_array().map(Vec::len) == Some(count as usize));
        offset += count.max(1);
    }
    let truth = server.truth("truth").await;
    let accounts = server.truth("accounts").await;
    assert_eq!(accounts.iter().map(|line| line["rewards"].as_u64().unwrap_or(0)).sum::<u64>(), truth.len() as u64);
    let mut served = BTreeMap::new();
    for account in &accounts {
        let account = account["account_id"].as_str().expect("an account ID");
        let answer = server.rewards(account).await;
        assert_eq!(answer.status, 200, "{account}");
        for reward in answer.json().as_array().expect("a bare array") {
            assert_eq!(reward["accountId"], account);
            served.insert(reward["id"].as_str().unwrap_or_default().to_owned(), reward["userId"].clone());
        }
    }
    let truth: BTreeMap<String, Value> = truth
        .into_iter()
        .map(|line| (line["reward_id"].as_str().unwrap_or_default().to_owned(), line["user_id"].clone()))
        .collect();
    assert_eq!(served, truth);
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["requests"]["GET reward"], accounts.len());
    assert_eq!(record["violations"], serde_json::json!([]));
}

#[tokio::test]
async fn a_reversal_is_queued_completes_and_cancels_both_rewards() {
    let server = Server::start(quick(of(2000))).await;
    let example = server.control("GET", "examples").await.json()["plain"][0].clone();
    let action = example["action_ids"][0].as_str().expect("an action").to_owned();
    let queued = server
        .write("DELETE", &format!("ActionId={action}&Amount=0&DispositionCode=RETRACTION"))
        .await
        .expect("an answer");
    assert_eq!(queued.json()["Status"], "QUEUED");
    let uri = queued.json()["QueuedUri"].as_str().expect("a link").to_owned();
    let first = server.get(&uri).await.json();
    assert_eq!((&first["Status"], &first["Type"]), (&"Queued".into(), &"Reversal".into()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = server.get(&uri).await.json();
    assert_eq!((&last["Status"], &last["ErrorReason"]), (&"Complete".into(), &"ACTION_NOT_FOUND".into()));
    for id in example["reward_ids"].as_array().expect("two rewards") {
        let id = id.as_str().expect("an ID");
        let reward = server.get(&format!("/api/v1/simulator/reward/{id}")).await.json();
        assert!(!reward["dateCancelled"].is_null(), "{reward}");
    }
    let state = server.get(&format!("/Advertisers/SIMULATOR/Actions/{action}")).await.json()["State"].clone();
    assert_eq!(state, "REVERSED");
    server.write("DELETE", &format!("ActionId={action}&DispositionCode=OTHER")).await.expect("an answer");
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["duplicate_dispatch"], 1);
    assert_eq!(record["violations"].as_array().map(Vec::len), Some(2), "also without Amount=0: {record}");
    assert_eq!(record["deletes"][0]["params"]["DispositionCode"], "RETRACTION");
}

#[tokio::test]
async fn an_order_id_reaches_its_actions_and_a_missing_rule_cancels_nothing() {
    let server = Server::start(quick(Options { rule_missing: true, ..of(2000) })).await;
    let example = server.control("GET", "examples").await.json()["two_actions"][0].clone();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("OrderId", example["order_id"].as_str().expect("an order"))
        .append_pair("ActionTrackerId", &example["action_tracker_id"].to_string())
        .append_pair("Amount", "0")
        .append_pair("DispositionCode", "RETRACTION")
        .finish();
    assert_eq!(server.write("DELETE", &form).await.expect("an answer").status, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for id in example["action_ids"].as_array().expect("two actions") {
        let path = format!("/Advertisers/SIMULATOR/Actions/{}", id.as_str().unwrap_or_default());
        assert_eq!(server.get(&path).await.json()["State"], "REVERSED");
    }
    let after = server.control("GET", "examples").await.json()["two_actions"].clone();
    assert_eq!(after[0], example, "no reward has changed");
}

#[tokio::test]
async fn credentials_tenant_and_scope_are_checked_in_each_api_s_own_form() {
    let server = Server::start(of(50)).await;
    let users = "/api/v1/simulator/users";
    let actions = "/Advertisers/SIMULATOR/Campaigns";
    let as_token = |token: &str| {
        let keys = Keys::new(&Options { token: token.to_owned(), ..Options::default() });
        format!("Authorization: {}\r\nAccept: application/json\r\n", keys.full())
    };
    for (token, path, status) in [
        ("wrong", users, 401),
        ("wrong", actions, 401),
        ("brand-only-token", users, 403),
        ("advocate-only-token", actions, 403),
        ("read-only-token", users, 200),
        ("simulator-token", "/api/v1/other/users", 404),
        ("simulator-token", "/Advertisers/OTHER/Campaigns", 403),
        ("simulator-token", "/api/v1/simulator/reward", 400),
        ("simulator-token", "/api/v1/simulator/reward?accountId=nobody", 404),
    ] {
        let answer = server.send("GET", path, &as_token(token), "").await.expect("an answer");
        assert_eq!(answer.status, status, "{token} on {path}");
        let key = if path.starts_with("/api") { "statusCode" } else { "Status" };
        assert!(status == 200 || !answer.json()[key].is_null(), "{}", String::from_utf8_lossy(&answer.body));
    }
    let xml = server.send("GET", actions, &as_token("simulator-token").replace("json", "xml"), "").await.expect("xml");
    assert!(String::from_utf8_lossy(&xml.body).contains("<page>1</page>"), "{}", xml.head);
    let read_only = as_token("read-only-token");
    let refused = server.send("DELETE", "/Advertisers/SIMULATOR/Actions", &read_only, "ActionId=1").await;
    assert_eq!(refused.expect("an answer").status, 403);
}

#[tokio::test]
async fn every_fault_is_what_it_says() {
    for (kind, status) in [("500", 500), ("502", 502), ("503", 503), ("429", 429), ("429-bare", 429), ("empty", 200)] {
        let server = Server::start(Options { fault: vec![fault(kind)], ..of(50) }).await;
        let answer = server.get("/api/v1/simulator/users").await;
        assert_eq!(answer.status, status, "{kind}");
        assert_eq!(answer.body.is_empty(), kind == "empty");
        assert_eq!(answer.head.contains("retry-after"), kind == "429", "{}", answer.head);
        assert_eq!(server.control("GET", "record").await.json()["faults"][kind], 1);
    }
    let server = Server::start(Options { fault: vec![fault("truncated")], ..of(50) }).await;
    let answer = server.get("/api/v1/simulator/users").await;
    let declared = answer.head.to_lowercase().split("content-length: ").nth(1).map(|rest| {
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<usize>().unwrap_or_default()
    });
    assert!(!answer.body.is_empty() && declared > Some(answer.body.len()), "{}", answer.head);
    let server = Server::start(Options { fault: vec![fault("reset")], ..of(50) }).await;
    let headers = format!("Authorization: {}\r\n", server.keys.full());
    let broken = server.send("GET", "/api/v1/simulator/users", &headers, "").await;
    assert!(broken.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
}

fn fault(kind: &str) -> (FaultKind, f64) {
    options::fault(&format!("{kind}=1")).expect("a kind of fault")
}

#[tokio::test]
async fn a_processed_reversal_whose_answer_is_lost_still_takes_effect() {
    let server = Server::start(quick(Options { delete_fault: DeleteFault::ResetAfter, ..of(2000) })).await;
    let example = server.control("GET", "examples").await.json()["plain"][0].clone();
    let form = format!("ActionId={}&Amount=0&DispositionCode=X", example["action_ids"][0].as_str().expect("an action"));
    assert!(server.write("DELETE", &form).await.is_err());
    assert_eq!(server.control("POST", "set?delete-fault=429").await.status, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let id = example["reward_ids"][0].as_str().expect("an ID").to_owned();
    let reward = server.get(&format!("/api/v1/simulator/reward/{id}")).await.json();
    assert!(!reward["dateCancelled"].is_null());
    let record = server.control("GET", "record").await.json();
    assert_eq!(
        (&record["deletes"][0]["answered"], &record["deletes"][0]["processed"]),
        (&"reset".into(), &true.into())
    );
}

#[tokio::test]
async fn a_reward_can_leave_its_account_or_vanish() {
    let server = Server::start(of(500)).await;
    let truth = server.truth("truth").await;
    let (one, other) = (&truth[0], &truth[truth.len() - 1]);
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let (id, account) = (text(one, "reward_id"), text(other, "account_id"));
    let encoded = percent_encoding::utf8_percent_encode(&account, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert_eq!(server.control("POST", &format!("move-reward?id={id}&account={encoded}")).await.status, 200);
    let has = |answer: &Answer| String::from_utf8_lossy(&answer.body).contains(&id);
    assert!(!has(&server.rewards(&text(one, "account_id")).await));
    assert!(has(&server.rewards(&account).await));
    assert_eq!(server.get(&format!("/api/v1/simulator/reward/{id}")).await.json()["accountId"], account.as_str());
    assert_eq!(server.truth("truth").await.len(), truth.len());
    assert_eq!(server.control("POST", &format!("delete-reward?id={id}")).await.status, 200);
    assert_eq!(server.get(&format!("/api/v1/simulator/reward/{id}")).await.status, 404);
    assert_eq!(server.truth("truth").await.len(), truth.len() - 1);
}

#[tokio::test]
async fn limits_are_enforced_per_host_told_and_recorded() {
    let limited = Options { quota: Some(3), window: Duration::from_secs(2), ..of(50) };
    let server = Server::start(limited).await;
    let users = "/api/v1/simulator/users";
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.get(users).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(server.get("/Advertisers/SIMULATOR/Campaigns").await.status, 200, "the other host has its own limit");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let again = server.get(users).await;
    assert_eq!(again.status, 429);
    assert!(again.head.contains("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 2"), "{}", again.head);
    tokio::time::sleep(Duration::from_millis(1700)).await;
    assert_eq!(server.get(users).await.status, 200);
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["rate_limited"], 2);
    assert_eq!(record["violations"].as_array().map(Vec::len), Some(1), "one request came too early: {record}");
}

#[tokio::test]
async fn delete_faults_say_whether_they_were_processed() {
    let server = Server::start(of(2000)).await;
    let examples = server.control("GET", "examples").await.json();
    let example = examples["plain"][0]["action_ids"][0].as_str().expect("an action").to_owned();
    let form = format!("ActionId={example}&Amount=0&DispositionCode=RETRACTION");
    let mut expected = Vec::new();
    for (fault, answered, processed) in [
        ("400", "400", false),
        ("409", "409", false),
        ("429", "429", false),
        ("307", "307", false),
        ("500-after", "500", true),
        ("unreadable", "200 html", true),
        ("none", "200", true),
    ] {
        assert_eq!(server.control("POST", &format!("set?delete-fault={fault}")).await.status, 200);
        let answer = server.write("DELETE", &form).await.expect("an answer");
        assert!(answered.starts_with(&answer.status.to_string()), "{fault}: {}", answer.status);
        expected.push((answered, processed));
    }
    let record = server.control("GET", "record").await.json();
    let deletes = record["deletes"].as_array().expect("a list");
    let seen: Vec<(&str, bool)> = deletes
        .iter()
        .map(|delete| (delete["answered"].as_str().unwrap_or_default(), delete["processed"] == true))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(record["duplicate_dispatch"], 3, "after the redirect every one is a repetition");
}

#[tokio::test]
async fn the_smaller_switches_do_what_they_say() {
    let options = Options {
        envelope: true,
        accounts_fail: 3,
        short_batch_id: true,
        queued_uri_host: Some("http://evil.example/".to_owned()),
        known_dispositions: vec!["RETRACTION".to_owned()],
        ..of(500)
    };
    let server = Server::start(options).await;
    let mut failed = 0;
    for account in server.truth("accounts").await {
        let answer = server.rewards(account["account_id"].as_str().unwrap_or_default()).await;
        failed += usize::from(answer.status == 500);
        assert!(answer.status == 500 || answer.json()["rewards"].is_array());
    }
    assert_eq!(failed, 3);
    let action = server.control("GET", "examples").await.json()["plain"][0]["action_ids"][0].clone();
    let form = |code: &str| format!("ActionId={}&Amount=0&DispositionCode={code}", action.as_str().unwrap_or_default());
    assert_eq!(server.write("DELETE", &form("Retraction")).await.expect("an answer").status, 400);
    let overridden = format!("_method=DELETE&{}", form("RETRACTION"));
    let queued = server.write("POST", &overridden).await.expect("an answer").json();
    let uri = queued["QueuedUri"].as_str().expect("a link");
    assert!(uri.starts_with("http://evil.example/Advertisers/SIMULATOR/APISubmissions/A-") && uri.len() < 80, "{uri}");
    assert_eq!(server.control("POST", "set?churn=x").await.status, 400);
    let email = server.control("GET", "examples").await.json()["email"]["account_id"].clone();
    let unencoded = email.as_str().expect("an e-mail address");
    assert_eq!(server.get(&format!("/api/v1/simulator/reward?accountId={unencoded}")).await.status, 404);
    let record = server.control("GET", "record").await.json();
    assert!(record["violations"].to_string().contains("not percent-encoded"), "{record}");
}
