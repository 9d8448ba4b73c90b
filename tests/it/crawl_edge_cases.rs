//! Tests of crawls of a vendor that contradicts itself. The simulator never contradicts itself, so these tests have a
//! small server of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Home, Sim};

/// The responses of the contradictory vendor: the list of accounts, and Get Rewards for an account.
struct Responses {
    listed: Vec<String>,
    rewards: fn(&str) -> (u16, Value),
}

/// A minimal Advocate API, and a home directory that uses it.
struct ContradictoryVendor {
    responses: Arc<Mutex<Responses>>,
    home: Home,
    _sim: Sim,
}

impl ContradictoryVendor {
    fn new(accounts: usize, rewards: fn(&str) -> (u16, Value)) -> Self {
        let listed = (0..accounts).map(|n| format!("a{n}")).collect();
        let responses = Arc::new(Mutex::new(Responses { listed, rewards }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/api/v1", listener.local_addr().expect("its address"));
        let answers = Arc::clone(&responses);
        // The server thread runs until the test process ends.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("the same stream")).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                // An empty line ends the head of the request; a GET request has no body.
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let (status, body) = answer(&answers.lock().expect("no thread panicked"), &first);
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        let sim = Sim::start(&["--participants", "60"]);
        let home = Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url);
        Self { responses, home, _sim: sim }
    }

    fn change(&self, edit: impl FnOnce(&mut Responses)) {
        edit(&mut self.responses.lock().expect("no thread panicked"));
    }

    /// Crawls, checks the exit code, and returns the first JSON object of the output.
    #[track_caller]
    fn crawl(&self, code: i32) -> Value {
        self.home.check(&["crawl", "--source", "participants", "--json"], code).object()
    }
}

fn answer(responses: &Responses, line: &str) -> (u16, Value) {
    let value = |key: &str| {
        let (_, rest) = line.split_once(&format!("{key}="))?;
        rest.split(['&', ' ']).next()
    };
    if let Some(account) = value("accountId") {
        return (responses.rewards)(account);
    }
    let offset: usize = value("offset").and_then(|text| text.parse().ok()).unwrap_or(0);
    let users: Vec<Value> =
        responses.listed.iter().skip(offset).take(100).map(|id| json!({"id": id, "accountId": id})).collect();
    (200, json!({"count": users.len(), "totalCount": responses.listed.len(), "users": users}))
}

fn fine(account: &str) -> (u16, Value) {
    (200, json!([{"id": format!("r-{account}"), "orderId": format!("o-{account}"), "actionId": "1.2.3"}]))
}

fn gaps(outcome: &Value) -> String {
    outcome["gaps"].to_string()
}

#[test]
fn an_account_that_is_listed_and_unknown_to_get_rewards_is_a_gap_until_the_list_agrees() {
    let vendor =
        ContradictoryVendor::new(
            40,
            |account| if account == "a7" { (404, json!({"message": "no"})) } else { fine(account) },
        );
    let outcome = vendor.crawl(6);
    assert!(gaps(&outcome).contains("1 account is listed but unknown to Get Rewards"), "{outcome}");
    assert_eq!((&outcome["failed_accounts"], &outcome["accounts_known"]), (&json!(1), &json!(40)));
    vendor.change(|responses| responses.listed.retain(|id| id != "a7"));
    let outcome = vendor.crawl(0);
    assert_eq!((&outcome["accounts_known"], &outcome["accounts_gone"]), (&json!(39), &json!(1)), "{outcome}");
}

#[test]
fn a_host_that_answers_404_for_every_account_stops_the_crawl() {
    let vendor = ContradictoryVendor::new(400, |_| (404, json!({"message": "no"})));
    let outcome = vendor.crawl(1);
    assert_eq!(outcome["error"]["kind"], "vendor", "{outcome}");
}

#[test]
fn an_empty_list_marks_no_account_as_gone() {
    let vendor = ContradictoryVendor::new(40, fine);
    vendor.crawl(0);
    vendor.change(|responses| responses.listed.clear());
    let outcome = vendor.crawl(6);
    assert!(gaps(&outcome).contains("none was marked as gone"), "{outcome}");
    assert_eq!((&outcome["accounts_known"], &outcome["accounts_gone"]), (&json!(40), &json!(0)));
    let found = vendor.home.check(&["lookup", "o-a7", "--json"], 0).object();
    assert_eq!(found["matches"][0]["gone"], false);
}

#[test]
fn an_account_that_the_token_may_not_read_fails_alone() {
    let vendor =
        ContradictoryVendor::new(
            40,
            |account| if account == "a0" { (403, json!({"message": "no"})) } else { fine(account) },
        );
    let outcome = vendor.crawl(6);
    assert_eq!((&outcome["failed_accounts"], &outcome["accounts"]), (&json!(1), &json!(39)), "{outcome}");
    vendor.change(|responses| responses.rewards = |_| (403, json!({"message": "no"})));
    assert_eq!(vendor.crawl(3)["error"]["kind"], "scope", "all of them are the token's");
}

#[test]
fn a_partial_page_of_rewards_is_not_taken_for_all() {
    let vendor = ContradictoryVendor::new(40, |account| {
        let (status, list) = fine(account);
        if account == "a7" { (status, json!({"rewards": list, "totalCount": 3})) } else { (status, list) }
    });
    let outcome = vendor.crawl(6);
    assert_eq!(outcome["failed_accounts"], 1, "{outcome}");
}
