//! Tests of webhooks: a delivery with a valid signature adds an account to the queue of accounts to read; no other
//! request does.

use serde_json::Value;

use crate::service::{Answer, Service, percent_encoded};
use crate::support::{Home, Sim, ready, wait_until};

/// Returns the signature and the body of a webhook that the simulator made.
fn delivery(sim: &Sim, query: &str) -> (String, String) {
    let made: Value = serde_json::from_str(&sim.post_for(&format!("webhook?{query}"))).expect("a delivery");
    (made["signature"].as_str().expect("text").to_owned(), made["body"].as_str().expect("text").to_owned())
}

fn post(service: &Service, signature: &str, body: &str) -> Answer {
    service.ask("POST", "/webhooks/advocate", &[("X-Hook-JWS-RFC-7797", signature)], body.as_bytes())
}

/// Switches off the scheduled jobs, so that only `recoup webhook work` reads the queue.
fn quiet(home: &Home) {
    home.configure_more("[schedule]\nrefresh = 'off'\nverify = 'off'\nwebhooks = 'off'");
}

fn account(sim: &Sim) -> String {
    sim.truth()[0]["account_id"].as_str().expect("an account").to_owned()
}

#[test]
fn a_valid_delivery_causes_its_account_to_be_read_again() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let service = Service::start(&home);
    let account = account(&sim);
    let before = sim.requests();
    let (signature, body) = delivery(&sim, &format!("account={}&id=one", percent_encoded(&account)));
    let taken = post(&service, &signature, &body);
    assert_eq!((taken.status, taken.body.as_str()), (200, "queued"));
    assert_eq!(post(&service, &signature, &body).body, "known", "the same delivery twice");
    assert_eq!(sim.requests(), before, "a delivery alone asks nothing");
    let worked = home.check(&["webhook", "work", "--json"], 0).object();
    assert_eq!((worked["read"].as_u64(), worked["failed"].as_u64()), (Some(1), Some(0)));
    assert_eq!(sim.requests(), before + 1);
    assert_eq!(home.check(&["webhook", "work", "--json"], 0).object()["read"], 0);
    let (signature, body) = delivery(&sim, "type=test");
    assert_eq!(post(&service, &signature, &body).body, "noted", "a type that names nobody");
    let (signature, body) = delivery(&sim, &format!("account={}&age_ms=400000000", percent_encoded(&account)));
    assert_eq!(post(&service, &signature, &body).body, "stale");
    assert!(!service.get("/metrics", &[]).body.contains(&account));
}

#[test]
fn invalid_deliveries_are_refused() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let service = Service::start(&home);
    for how in ["wrong_key", "wrong_alg", "none", "altered", "unknown_kid", "other_key"] {
        let (signature, body) = delivery(&sim, &format!("account=a&how={how}"));
        let refused = post(&service, &signature, &body);
        assert_eq!(refused.status, 401, "{how}: {}", refused.body);
    }
    let (signature, body) = delivery(&sim, "account=a");
    for signature in ["", "..", "a.b.c", "e30..", &signature.replace("..", "."), &signature[1..], &"x".repeat(9000)] {
        let status = post(&service, signature, &body).status;
        assert!(status == 401 || status == 413, "{signature:.20}: {status}");
    }
    let twice = [("X-Hook-JWS-RFC-7797", signature.as_str()), ("X-Hook-JWS-RFC-7797", signature.as_str())];
    assert_eq!(service.ask("POST", "/webhooks/advocate", &twice, body.as_bytes()).status, 401);
    assert_eq!(service.ask("POST", "/webhooks/advocate", &[], body.as_bytes()).status, 401);
    assert_eq!(post(&service, &signature, &"x".repeat(300_000)).status, 413);
    let (signature, body) = delivery(&sim, "account=a&tenant=another");
    assert_eq!(post(&service, &signature, &body).status, 403);
    assert_eq!(home.check(&["webhook", "work", "--json"], 0).object()["read"], 0, "nothing of it was taken");
}

#[test]
fn a_flood_of_unknown_keys_costs_one_request_and_a_rotated_key_is_found() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let service = Service::start(&home);
    let asked = |sim: &Sim| {
        let made: Value = serde_json::from_str(&sim.post_for("webhook?how=good")).expect("a delivery");
        made["asked_for_keys"].as_u64().expect("a number")
    };
    let (signature, body) = delivery(&sim, "how=unknown_kid");
    for _ in 0..50 {
        assert_eq!(post(&service, &signature, &body).status, 401);
    }
    assert_eq!(asked(&sim), 1);
    let (signature, body) = delivery(&sim, "account=a");
    assert_eq!(post(&service, &signature, &body).status, 200, "keys that are known still hold");
    // A service that starts after the vendor's key rotation knows the new key.
    sim.post("webhook?rotate=1");
    let fresh = Service::start(&home);
    let (signature, body) = delivery(&sim, "account=a&how=other_key");
    assert_eq!(post(&fresh, &signature, &body).status, 200);
}

#[test]
fn a_flood_of_refused_deliveries_is_counted_and_does_not_fill_the_log() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let log = home.path("log");
    let file = std::fs::File::create(&log).expect("a log");
    let service = Service::start_logging(&home, file);
    let (signature, body) = delivery(&sim, "how=unknown_kid");
    for _ in 0..200 {
        assert_eq!(post(&service, &signature, &body).status, 401);
    }
    let metrics = service.get("/metrics", &[]).body;
    let line = metrics.lines().find(|line| line.starts_with("recoup_webhooks_refused_total")).expect(&metrics);
    assert!(line.ends_with(" 200") && line.contains("not the vendor's"), "{line}");
    let log = std::fs::read_to_string(&log).expect("the log");
    let lines = log.lines().filter(|line| line.contains("webhook")).count();
    assert!((1..=3).contains(&lines), "one line a minute: {log}");
}

#[test]
fn if_the_keys_cannot_be_fetched_the_vendor_is_told_to_retry() {
    let (sim, home) = ready(&[]);
    home.configure_more(
        "[webhook]\njwks_url = 'http://127.0.0.1:1/jwks.json'\n[schedule]\nwebhooks = 'off'\nrefresh = 'off'",
    );
    let service = Service::start(&home);
    let (signature, body) = delivery(&sim, "account=a");
    assert_eq!(post(&service, &signature, &body).status, 503);
}

#[test]
fn a_forgotten_account_is_not_queued() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let service = Service::start(&home);
    let account = account(&sim);
    let (signature, body) = delivery(&sim, &format!("account={}", percent_encoded(&account)));
    assert_eq!(post(&service, &signature, &body).body, "queued");
    home.check(&["forget", &account, "--ticket", "T", "--yes"], 0);
    assert_eq!(home.check(&["webhook", "work", "--json"], 0).object()["read"], 0, "taken off");
    let (signature, body) = delivery(&sim, &format!("account={}", percent_encoded(&account)));
    assert_eq!(post(&service, &signature, &body).status, 200);
    assert_eq!(home.check(&["webhook", "work", "--json"], 0).object()["read"], 0, "and not put on again");
}

#[test]
fn subscriptions_are_created_listed_tested_and_deleted() {
    let (sim, home) = ready(&[]);
    quiet(&home);
    let service = Service::start(&home);
    let url = format!("http://{}/webhooks/advocate", service.addr);
    let dry = home.check(&["webhook", "subscribe", "--url", &url, "--dry-run", "--json"], 0).object();
    assert_eq!(dry["dry_run"], true);
    assert_eq!(home.check(&["webhook", "subscribe", "--url", &url, "--json"], 5).error_kind(), "refused");
    assert_eq!(home.check(&["webhook", "list", "--json"], 0).objects().len(), 0, "nothing was sent");
    home.check(&["webhook", "subscribe", "--url", &url, "--yes"], 0);
    let listed = home.check(&["webhook", "list", "--json"], 0).object();
    assert_eq!((listed["url"].as_str(), listed["types"][0].as_str()), (Some(url.as_str()), Some("reward.created")));
    home.check(&["webhook", "test", "--url", &url, "--yes"], 0);
    let delivered = || service.get("/metrics", &[]).body.contains("route=\"/webhooks/advocate\",status=\"2xx\"} 1");
    wait_until("the test arrives", delivered);
    home.check(&["webhook", "remove", "--url", &url, "--yes"], 0);
    assert_eq!(home.check(&["webhook", "remove", "--url", &url, "--yes", "--json"], 1).error_kind(), "vendor_refused");
    assert_eq!(
        home.check(&["webhook", "subscribe", "--url", "http://shop.example/x", "--yes", "--json"], 2).error_kind(),
        "usage"
    );
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}
