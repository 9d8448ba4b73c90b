//! Crawls of a vendor that contradicts itself. The simulator never does, so these tests bring a small server of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Home, Sim};

/// What the odd vendor says: who is listed, and the answer of Get Rewards for an account.
struct Says {
    listed: Vec<String>,
    rewards: fn(&str) -> (u16, Value),
}

/// An Advocate API of a few lines, and a home that points at it.
struct Odd {
    says: Arc<Mutex<Says>>,
    home: Home,
    _sim: Sim,
}

impl Odd {
    fn new(accounts: usize, rewards: fn(&str) -> (u16, Value)) -> Self {
        let listed = (0..accounts).map(|n| format!("a{n}")).collect();
        let says = Arc::new(Mutex::new(Says { listed, rewards }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/api/v1", listener.local_addr().expect("its address"));
        let answers = Arc::clone(&says);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("the same stream")).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                // The head ends with an empty line; there is no body to a GET.
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let (status, body) = answer(&answers.lock().expect("nobody panicked"), &first);
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        let sim = Sim::start(&["--participants", "60"]);
        let home = Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url);
        Self { says, home, _sim: sim }
    }

    fn now(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().expect("nobody panicked"));
    }

    /// Crawls, expects this exit code, and gives the first object.
    #[track_caller]
    fn crawl(&self, code: i32) -> Value {
        self.home.check(&["crawl", "--source", "participants", "--json"], code).object()
    }
}

fn answer(says: &Says, line: &str) -> (u16, Value) {
    let value = |key: &str| {
        let (_, rest) = line.split_once(&format!("{key}="))?;
        rest.split(['&', ' ']).next()
    };
    if let Some(account) = value("accountId") {
        return (says.rewards)(account);
    }
    let offset: usize = value("offset").and_then(|text| text.parse().ok()).unwrap_or(0);
    let users: Vec<Value> =
        says.listed.iter().skip(offset).take(100).map(|id| json!({"id": id, "accountId": id})).collect();
    (200, json!({"count": users.len(), "totalCount": says.listed.len(), "users": users}))
}

fn fine(account: &str) -> (u16, Value) {
    (200, json!([{"id": format!("r-{account}"), "orderId": format!("o-{account}"), "actionId": "1.2.3"}]))
}

fn gaps(outcome: &Value) -> String {
    outcome["gaps"].to_string()
}

#[test]
fn an_account_that_is_listed_and_unknown_to_get_rewards_is_a_gap_until_the_list_agrees() {
    let odd = Odd::new(40, |account| if account == "a7" { (404, json!({"message": "no"})) } else { fine(account) });
    let outcome = odd.crawl(6);
    assert!(gaps(&outcome).contains("1 account is listed but unknown to Get Rewards"), "{outcome}");
    assert_eq!((&outcome["failed_accounts"], &outcome["accounts_known"]), (&json!(1), &json!(40)));
    odd.now(|says| says.listed.retain(|id| id != "a7"));
    let outcome = odd.crawl(0);
    assert_eq!((&outcome["accounts_known"], &outcome["accounts_gone"]), (&json!(39), &json!(1)), "{outcome}");
}

#[test]
fn a_host_that_knows_nobody_stops_the_crawl() {
    let odd = Odd::new(400, |_| (404, json!({"message": "no"})));
    let outcome = odd.crawl(1);
    assert_eq!(outcome["error"]["kind"], "vendor", "{outcome}");
}

#[test]
fn an_empty_list_makes_nobody_gone() {
    let odd = Odd::new(40, fine);
    odd.crawl(0);
    odd.now(|says| says.listed.clear());
    let outcome = odd.crawl(6);
    assert!(gaps(&outcome).contains("none was marked as gone"), "{outcome}");
    assert_eq!((&outcome["accounts_known"], &outcome["accounts_gone"]), (&json!(40), &json!(0)));
    let found = odd.home.check(&["lookup", "o-a7", "--json"], 0).object();
    assert_eq!(found["matches"][0]["gone"], false);
}

#[test]
fn an_account_that_the_token_may_not_read_fails_alone() {
    let odd = Odd::new(40, |account| if account == "a0" { (403, json!({"message": "no"})) } else { fine(account) });
    let outcome = odd.crawl(6);
    assert_eq!((&outcome["failed_accounts"], &outcome["accounts"]), (&json!(1), &json!(39)), "{outcome}");
    odd.now(|says| says.rewards = |_| (403, json!({"message": "no"})));
    assert_eq!(odd.crawl(3)["error"]["kind"], "scope", "all of them are the token's");
}

#[test]
fn a_page_of_rewards_is_not_taken_for_all_of_them() {
    let odd = Odd::new(40, |account| {
        let (status, list) = fine(account);
        if account == "a7" { (status, json!({"rewards": list, "totalCount": 3})) } else { (status, list) }
    });
    let outcome = odd.crawl(6);
    assert_eq!(outcome["failed_accounts"], 1, "{outcome}");
}
