//! Tests reads: which requests the client retries, which fail at once, and what an error may contain.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::server::{Reply, Server, options};
use crate::clock::Clock;
use crate::error::{Error, Kind};
use crate::model::{AccountId, ActionId, RewardId, UserId};
use crate::vendor::brand::{IR_VERSION, resolve};
use crate::vendor::{Advocate, Brand, HostOptions, Rewards, Secret};

const REWARDS: &str = r#"[{"id":"r1"},{"id":"r2","orderId":12345678901234567890123}]"#;
const EMAIL: &str = "ann+x@example.com";

fn advocate(options: &HostOptions) -> Advocate {
    Advocate::new(options, "test_a/b", Clock::system(), CancellationToken::new()).expect("a client")
}

fn brand(options: &HostOptions) -> Brand {
    Brand::new(options, "SID42", IR_VERSION, Clock::system(), CancellationToken::new()).expect("a client")
}

async fn rewards(options: &HostOptions) -> Result<Rewards, Error> {
    advocate(options).rewards(&AccountId::new(EMAIL), None).await
}

fn listed(rewards: Result<Rewards, Error>) -> Vec<String> {
    match rewards {
        Ok(Rewards::Listed(rewards)) => rewards.iter().map(|r| r.get().to_owned()).collect(),
        other => panic!("no list: {other:?}"),
    }
}

#[tokio::test]
async fn a_success_without_a_date_makes_the_host_s_clock_unknown() {
    let json = ("content-type", "application/json");
    let date = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");
    let server = Server::replying([
        Reply::new(200, &[json, date], "[]"),
        Reply::new(200, &[json, date, ("age", "700")], "[]"),
        Reply::new(403, &[json], "{}"),
        Reply::json(200, "[]"),
        Reply::new(200, &[json, date], "[]"),
    ])
    .await;
    let advocate = advocate(&server.options());
    assert_eq!(advocate.host_clock(), None);
    for knows in [true, true, true, false, true] {
        drop(advocate.rewards(&AccountId::new(EMAIL), None).await);
        assert_eq!(advocate.host_clock().map(|clock| clock.ahead.is_some()), Some(knows));
    }
}

#[tokio::test]
async fn requests_are_as_the_vendor_publishes_them() {
    let server = Server::replying([
        Reply::json(200, r#"{"count":0,"totalCount":7,"users":[]}"#),
        Reply::json(200, REWARDS),
        Reply::json(200, r#"{"id":"r/1?"}"#),
        Reply::json(404, "{}"),
    ])
    .await;
    let advocate = advocate(&server.options());
    let page = advocate.users(Some("a b&c"), 100, 200).await.expect("a page");
    assert_eq!((page.rows, page.total), (0, Some(7)));
    let account = AccountId::new("ann+x%y/ü@example.com");
    advocate.rewards(&account, Some(&UserId::new("u 1"))).await.expect("rewards");
    let reward = advocate.reward(&RewardId::new("r/1?")).await.expect("a reward");
    assert_eq!(reward.as_deref(), Some(r#"{"id":"r/1?"}"#));
    brand(&server.options()).action(&ActionId::new("1.2.3")).await.expect("an answer");
    let asked = server.requests();
    let lines: Vec<&str> = asked.iter().map(|a| a.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /base/test_a%2Fb/users?limit=100&offset=200&query=a%20b%26c",
            "GET /base/test_a%2Fb/reward?accountId=ann%2Bx%25y%2F%C3%BC%40example.com&userId=u%201",
            "GET /base/test_a%2Fb/reward/r%2F1%3F",
            "GET /base/SID42/Actions/1.2.3",
        ]
    );
    for request in &asked {
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some("Basic U0lENDI6aHVzaA=="));
        assert!(request.header("accept-encoding").is_some_and(|v| v.contains("gzip")));
        assert_eq!(request.body, "");
    }
    assert_eq!(asked[0].header("ir-version"), None);
    assert_eq!(asked[3].header("ir-version"), Some("14"));
    assert_eq!((advocate.stats().requests, advocate.stats().retries, advocate.stats().in_flight), (3, 0, 0));
}

#[tokio::test]
async fn survivable_faults_are_survived() {
    let html = "<html><body>Bad gateway</body></html>";
    for (name, fault) in [
        ("500", Reply::json(500, "{}")),
        ("502 page", Reply::new(502, &[("content-type", "text/html")], html)),
        ("408", Reply::json(408, "")),
        ("closed", Reply::Close),
        ("truncated", Reply::truncated("[{\"id\":")),
        ("hang", Reply::Hang(Vec::new())),
        ("hang in the body", Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[".to_vec())),
        ("empty", Reply::json(200, "")),
        ("invalid", Reply::json(200, "[{\"id\":")),
        ("page with 200", Reply::new(200, &[("content-type", "text/html")], html)),
        ("error object with 200", Reply::json(200, r#"{"message":"oops"}"#)),
        ("garbled gzip", Reply::new(200, &[("content-encoding", "gzip")], "[]")),
        ("RS020", Reply::json(400, r#"{"message":"x","statusCode":400,"rsCode":"RS020"}"#)),
    ] {
        let server = Server::replying([fault.clone(), fault, Reply::json(200, REWARDS)]).await;
        let advocate = advocate(&server.options());
        let list = listed(advocate.rewards(&AccountId::new(EMAIL), None).await);
        assert_eq!(list, [r#"{"id":"r1"}"#, r#"{"id":"r2","orderId":12345678901234567890123}"#], "{name}");
        assert_eq!((advocate.stats().requests, advocate.stats().retries), (3, 2), "{name}");
    }
}

pub(super) fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("packs");
    encoder.finish().expect("packs")
}

#[tokio::test]
async fn a_gzip_answer_is_inflated_up_to_the_size_limit() {
    let answered = |body: Vec<u8>| async move {
        let head = format!("HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
        let server = Server::replying([Reply::Bytes([head.into_bytes(), body].concat())]).await;
        let options = HostOptions { timeout: Duration::from_mins(1), attempts: 1, ..server.options() };
        rewards(&options).await
    };
    assert_eq!(listed(answered(packed(b"[]")).await), [""; 0]);
    let whole = packed(br#"[{"id":"r1"}]"#);
    assert_eq!(listed(answered(whole.clone()).await), [r#"{"id":"r1"}"#]);
    for kept in [8, whole.len() - 8, whole.len() - 1] {
        let error = answered(whole[..kept].to_vec()).await.map(|_| ()).expect_err("not all of it");
        assert!(error.message.contains("could not be unpacked"), "{kept}: {error:?}");
    }
    // reqwest decodes only the first of several gzip members. recoup must notice that the other gzip members are
    // missing.
    let parts = [packed(b"[{\"id\":"), packed(b"\"r1\"}]")].concat();
    assert_eq!(answered(parts).await.map(|_| ()).map_err(|error| error.kind), Err(Kind::Vendor));
    let bomb = packed(&vec![b' '; (64 << 20) + 1]);
    assert!(bomb.len() < 1 << 20);
    let error = answered(bomb).await.map(|_| ()).expect_err("too much");
    assert_eq!(error.kind, Kind::Vendor);
    assert!(error.message.contains("larger than 64 MiB"), "{error:?}");
    assert!(error.hint.is_some_and(|hint| hint.contains("a smaller page size")));
}

#[tokio::test]
async fn a_429_is_waited_for_and_costs_no_attempt() {
    let limited = Reply::json(429, r#"{"message":"slow down"}"#);
    let rs033 = Reply::json(403, r#"{"message":"slow down","rsCode":"RS033"}"#);
    let mut replies = vec![limited; 9];
    replies.extend([rs033, Reply::json(200, "[]")]);
    let server = Server::replying(replies).await;
    let advocate = advocate(&server.options());
    assert_eq!(listed(advocate.rewards(&AccountId::new(EMAIL), None).await), [""; 0]);
    assert_eq!((advocate.stats().requests, advocate.stats().rate_limited), (11, 10));
}

#[tokio::test]
async fn a_wait_that_is_too_long_parks() {
    for (name, headers) in [
        ("429", Reply::new(429, &[("Retry-After", "7200")], "")),
        ("503", Reply::new(503, &[("retry-after", "7200")], "")),
        ("without end", Reply::json(429, "{}")),
    ] {
        let server = Server::replying([headers]).await;
        let options = HostOptions { max_wait: Duration::from_millis(20), ..server.options() };
        let error = rewards(&options).await.map(|_| ()).expect_err(name);
        assert_eq!(error.kind, Kind::Parked, "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_success_that_uses_up_the_quota_pauses_the_next_request() {
    let headers = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "7000")];
    let server = Server::replying([Reply::new(200, &headers, "[]")]).await;
    let advocate = advocate(&server.options());
    assert_eq!(listed(advocate.rewards(&AccountId::new(EMAIL), None).await), [""; 0]);
    assert!(advocate.stats().waiting_until.is_some());
    let error = advocate.rewards(&AccountId::new(EMAIL), None).await.map(|_| ()).expect_err("two hours");
    assert_eq!(error.kind, Kind::Parked);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn errors_have_a_kind_and_hold_no_secret_or_personal_data() {
    let xml = r#"<?xml version="1.0"?><ImpactRadiusResponse><Status>OK</Status></ImpactRadiusResponse>"#;
    let leaky =
        format!(r#"{{"message":"no {EMAIL} for SID42","statusCode":400,"apiErrorCode":"NOPE","rsCode":"{EMAIL}"}}"#);
    let tenant = r#"{"message":"Missing or invalid tenant alias.","statusCode":404,"apiErrorCode":"TENANT_NOT_FOUND"}"#;
    for (reply, kind, requests, says) in [
        (Reply::json(400, &leaky), Kind::Vendor, 1, "Advocate Get Rewards answered 400 (NOPE) (1 attempt in 0."),
        (Reply::json(401, &leaky), Kind::Credentials, 1, "refuses the credentials"),
        (Reply::json(402, "{}"), Kind::Vendor, 1, "answered 402"),
        (Reply::json(403, &leaky), Kind::Scope, 1, "may not use Advocate Get Rewards"),
        (Reply::json(404, tenant), Kind::Tenant, 1, "does not know this tenant, or the credentials"),
        (Reply::json(404, r#"{"rsCode":"RS045"}"#), Kind::Tenant, 1, "(RS045)"),
        (Reply::json(404, r#"{"rsCode":"RS015"}"#), Kind::Tenant, 1, "(RS015)"),
        (Reply::json(400, r#"{"rsCode":"RS038"}"#), Kind::Tenant, 1, "(RS038)"),
        (Reply::new(404, &[], "<html>nginx</html>"), Kind::Vendor, 1, "answered 404"),
        (Reply::new(307, &[("location", "/elsewhere")], ""), Kind::Vendor, 1, "a redirect, which is never followed"),
        (Reply::new(200, &[], xml), Kind::Vendor, 3, "answered XML where JSON was expected (3 attempts in 0."),
        (Reply::new(200, &[], "<!DOCTYPE html><p>"), Kind::Vendor, 3, "an HTML page where JSON was expected"),
        (Reply::json(200, ""), Kind::Vendor, 3, "an empty body"),
        (Reply::json(200, "{}"), Kind::Vendor, 3, "JSON of another shape"),
        (Reply::json(200, "[{"), Kind::Vendor, 3, "cut off or broken"),
        (Reply::json(500, &leaky), Kind::Vendor, 3, "answered 500 (NOPE) (3 attempts in 0."),
        (Reply::Close, Kind::Network, 3, "the connection broke"),
        (Reply::Hang(Vec::new()), Kind::Network, 3, "no complete answer in time (3 attempts in 1."),
    ] {
        let server = Server::replying([reply]).await;
        let error = rewards(&server.options()).await.map(|_| ()).expect_err(says);
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(says), "{error:?} does not say {says}");
        assert!(error.hint.is_some(), "{error:?} does not say what to check");
        assert_eq!(server.requests().len(), requests, "{says}");
        let text = format!("{error:?}");
        for secret in ["ann", "example.com", "%40", "SID42", "hush", "accountId", "test_a"] {
            assert!(!text.contains(secret), "{text} says {secret}");
        }
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_network_error_without_its_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}/base", listener.local_addr().expect("an address"));
    drop(listener);
    let error = rewards(&options(Url::parse(&base).expect("a URL"))).await.map(|_| ()).expect_err("no server listens");
    assert_eq!(error.kind, Kind::Network);
    assert!(error.message.contains("no connection: "), "{}", error.message);
    assert!(!error.message.contains("base"), "{}", error.message);
    let hint = error.hint.expect("what to check");
    assert!(["DNS", "firewall", "HTTPS_PROXY", "RECOUP_ADVOCATE_URL"].iter().all(|word| hint.contains(word)), "{hint}");
}

#[tokio::test]
async fn an_unknown_account_is_an_answer() {
    for body in [r#"{"message":"no","rsCode":"RS041"}"#, r#"{"message":"no","statusCode":404}"#, "{}"] {
        let server = Server::replying([Reply::json(404, body)]).await;
        assert!(matches!(rewards(&server.options()).await, Ok(Rewards::NoSuchAccount)), "{body}");
        assert_eq!(advocate(&server.options()).reward(&RewardId::new("r")).await, Ok(None), "{body}");
    }
}

#[tokio::test]
async fn a_body_of_another_reward_or_action_is_retried() {
    for body in [r#"{"id":"other"}"#, r#"{"ID":"r"}"#, r#"{"id":"r","id":"r"}"#, r#"{"id":null}"#] {
        let server = Server::replying([Reply::json(200, body), Reply::json(200, r#"{"id":"r"}"#)]).await;
        let found = advocate(&server.options()).reward(&RewardId::new("r")).await;
        assert_eq!(found.expect("asked again").as_deref(), Some(r#"{"id":"r"}"#), "{body}");
        let server = Server::replying([Reply::json(200, body)]).await;
        let error = advocate(&server.options()).reward(&RewardId::new("r")).await.expect_err(body);
        assert_eq!(error.kind, Kind::Vendor, "{body}");
    }
    let server = Server::replying([Reply::json(200, r#"{"Id":"9.9.9"}"#), Reply::json(200, r#"{"Id":"1.2.3"}"#)]).await;
    let found =
        brand(&server.options()).action(&ActionId::new("1.2.3")).await.expect("asked again").expect("the action");
    assert_eq!(found.id, ActionId::new("1.2.3"));
}

#[tokio::test]
async fn a_rotated_token_is_read_again_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    std::fs::write(&path, "old\n").expect("a file");
    let server = Server::replying([Reply::json(401, "{}"), Reply::json(200, "[]"), Reply::json(401, "{}")]).await;
    let mut options = server.options();
    options.credentials.secret = Secret::File(path.clone());
    let advocate = advocate(&options);
    std::fs::write(&path, "new\n").expect("a file");
    assert_eq!(listed(advocate.rewards(&AccountId::new(EMAIL), None).await), [""; 0]);
    let error = advocate.rewards(&AccountId::new(EMAIL), None).await.map(|_| ()).expect_err("still refused");
    assert_eq!(error.kind, Kind::Credentials);
    assert!(error.hint.is_some_and(|hint| hint.contains("RECOUP_ADVOCATE_TOKEN")));
    let tokens: Vec<_> = server.requests().iter().map(|a| a.header("authorization").map(str::to_owned)).collect();
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens.len(), 4, "each call tried once more");
}

#[tokio::test]
async fn a_stop_finishes_the_request_under_way_and_starts_no_other() {
    let server = Server::replying([Reply::json(500, "{}"), Reply::json(200, "[]")]).await;
    let stop = CancellationToken::new();
    let options = HostOptions { backoff: Duration::from_mins(1), ..server.options() };
    let advocate = Advocate::new(&options, "t", Clock::system(), stop.clone()).expect("a client");
    let task = tokio::spawn({
        let advocate = advocate.clone();
        async move { advocate.rewards(&AccountId::new(EMAIL), None).await.map(|_| ()) }
    });
    while advocate.stats().requests == 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    assert_eq!(task.await.expect("no panic").map_err(|e| e.kind), Err(Kind::Interrupted));
    assert_eq!(server.requests().len(), 1, "the request that was sent arrived and was answered");
    assert_eq!(advocate.users(None, 1, 0).await.map(|_| ()).map_err(|e| e.kind), Err(Kind::Interrupted));
}

#[test]
fn a_link_is_followed_to_its_own_host_only() {
    let base = Url::parse("https://api.impact.com/Advertisers/SID/").expect("a URL");
    for (link, goes_to) in [
        ("/Advertisers/SID/APISubmissions/A-1", Some("https://api.impact.com/Advertisers/SID/APISubmissions/A-1")),
        ("/QueuedStatus/test123", Some("https://api.impact.com/QueuedStatus/test123")),
        ("/Advertisers/SID/Campaigns?Page=2", Some("https://api.impact.com/Advertisers/SID/Campaigns?Page=2")),
        ("https://api.impact.com/x", Some("https://api.impact.com/x")),
        ("https://api.impact.com:443/x", Some("https://api.impact.com/x")),
        ("", None),
        ("//evil.example/x", None),
        ("\\\\evil.example/x", None),
        ("/\\evil.example/x", None),
        ("https://evil.example/x", None),
        ("https://api.impact.com.evil.example/x", None),
        ("https://api.impact.com@evil.example/x", None),
        ("https://sid:token@api.impact.com/x", None),
        ("https://api.impact.com:8443/x", None),
        ("http://api.impact.com/x", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("https://", None),
    ] {
        let url = resolve(&base, link).map(|url| url.to_string()).map_err(|e| e.kind);
        assert_eq!(url, goes_to.map(str::to_owned).ok_or(Kind::Vendor), "{link}");
    }
}

#[tokio::test]
async fn programs_are_read_to_the_end_and_submissions_by_their_link() {
    let server = Server::replying([
        Reply::json(
            200,
            r#"{"@nextpageuri":"/base/SID42/Campaigns?Page=2","Campaigns":[{"Id":7,"Name":"A","Type":"Advocate"}]}"#,
        ),
        Reply::json(200, r#"{"@nextpageuri":"","Campaigns":[{"Id":"8","State":"ACTIVE"}]}"#),
        Reply::json(200, r#"{"Status":"Queued"}"#),
        Reply::json(404, "{}"),
    ])
    .await;
    let brand = brand(&server.options());
    let programs = brand.programs().await.expect("programs");
    assert_eq!(programs.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["7", "8"]);
    assert!(brand.submission("/QueuedStatus/test123").await.expect("an answer").is_some());
    assert_eq!(brand.submission("/QueuedStatus/gone").await, Ok(None));
    assert_eq!(brand.submission("https://127.0.0.1/x").await.map_err(|e| e.kind), Err(Kind::Vendor));
    let lines: Vec<String> = server.requests().into_iter().map(|a| a.line).collect();
    assert_eq!(
        lines,
        [
            "GET /base/SID42/Campaigns",
            "GET /base/SID42/Campaigns?Page=2",
            "GET /QueuedStatus/test123",
            "GET /QueuedStatus/gone"
        ]
    );
}

#[tokio::test]
async fn a_page_of_a_firewall_is_not_taken_for_an_answer_of_the_vendor() {
    let page = format!("<!DOCTYPE html><html><head><title>Access denied for {EMAIL}</title></head></html>");
    let xml = "<?xml version=\"1.0\"?><ImpactRadiusResponse><Status>ERROR</Status></ImpactRadiusResponse>";
    let bodies = [
        (page.as_str(), true),
        ("Forbidden by rule 7", true),
        (r#"{"message":"no"}"#, false),
        (xml, false),
        ("", false),
    ];
    for status in [400, 401, 402, 403, 404, 407, 410, 451, 500, 502, 503, 504] {
        for (body, is_foreign) in bodies {
            if status == 404 && body.starts_with('{') {
                // The fixture is the API's own answer for an unknown account.
                continue;
            }
            let server = Server::replying([Reply::new(status, &[], body)]).await;
            let error = rewards(&server.options()).await.map(|_| ()).expect_err("no rewards");
            let text = format!("{error:?}");
            assert_eq!(text.contains("did not come from the API"), is_foreign, "{status} {body}: {text}");
            assert!(!text.contains("ann") && !text.contains("rule"), "{text}");
            if is_foreign {
                assert_eq!(error.kind, Kind::Vendor, "{text}");
                assert!(text.contains(&format!("answered {status}")) && text.contains("HTTPS_PROXY"), "{text}");
                assert!(!text.contains("may not use") && !text.contains("refuses the credentials"), "{text}");
            }
        }
    }
}
