//! Tests reversals: exactly one request for each call, and no success without proof.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::server::{Reply, Server, options};
use crate::clock::Clock;
use crate::error::Kind;
use crate::model::{ActionId, OrderId, Target};
use crate::vendor::brand::IR_VERSION;
use crate::vendor::{Brand, BrandWriter, HostOptions, Secret, WriteOutcome};

const QUEUED: &str = r#"{"Status":"QUEUED","QueuedUri":"/Advertisers/SID42/APISubmissions/A-77"}"#;

/// The page with which a firewall answers.
const PAGE: &str = "<html><head><title>Access denied ann@example.com</title></head></html>";

fn writer(options: &HostOptions) -> BrandWriter {
    BrandWriter::new(options, "SID42", IR_VERSION, Clock::system(), CancellationToken::new()).expect("a client")
}

async fn reverse(options: &HostOptions) -> WriteOutcome {
    let writer = writer(options);
    let permit = writer.ready().await.expect("a permit");
    writer.reverse(permit, &Target::Action(ActionId::new("1.2.3")), "RETRACTION").await
}

#[tokio::test]
async fn the_request_is_as_the_guide_shows_it() {
    let server = Server::replying([Reply::json(200, QUEUED)]).await;
    let writer = writer(&server.options());
    let order = Target::Order { order_id: OrderId::new("a b&c=#ü"), action_tracker_id: "12345".into() };
    for (target, disposition) in
        [(Target::Action(ActionId::new("1234.5678.9123456")), "RETRACTION"), (order, "my Code")]
    {
        let permit = writer.ready().await.expect("a permit");
        let reversal = writer.reverse(permit, &target, disposition).await;
        let expected = WriteOutcome::Accepted {
            queued_uri: Some("/Advertisers/SID42/APISubmissions/A-77".into()),
            batch_id: Some("A-77".into()),
            body: QUEUED.into(),
        };
        assert_eq!(reversal, expected);
    }
    let asked = server.requests();
    assert_eq!(asked[0].body, "ActionId=1234.5678.9123456&Amount=0&DispositionCode=RETRACTION");
    assert_eq!(asked[1].body, "ActionTrackerId=12345&OrderId=a+b%26c%3D%23%C3%BC&Amount=0&DispositionCode=my+Code");
    for request in &asked {
        assert_eq!(request.line, "DELETE /base/SID42/Actions");
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(request.header("authorization"), Some("Basic U0lENDI6aHVzaA=="));
        assert_eq!(request.header("ir-version"), Some("14"));
    }
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn each_call_sends_one_request_whatever_the_answer_is() {
    let error = r#"{"Status":"ERROR","Message":"Bad SID42","Errors":[{"Field":"ActionId","Message":"unknown"}]}"#;
    for (reply, expected) in [
        (Reply::json(200, QUEUED), "queued"),
        (Reply::json(202, QUEUED), "queued"),
        (Reply::json(200, r#"{"status":"queued","queueduri":"/x/1"}"#), "queued"),
        (Reply::json(200, r#"{"Status":"QUEUED"}"#), "unknown: the vendor answered 200 without saying QUEUED"),
        (Reply::json(200, r#"{"Status":"OK","Uri":"/x"}"#), "unknown: the vendor answered 200 without saying QUEUED"),
        (Reply::json(200, error), "unknown: the vendor answered 200 without saying QUEUED"),
        (Reply::json(200, ""), "unknown: the vendor answered 200 with an empty body"),
        (Reply::json(200, "{\"Status\":"), "unknown: the vendor answered 200 with JSON that is cut off"),
        (Reply::new(200, &[], "<Status>QUEUED</Status>"), "unknown: the vendor answered 200 with XML"),
        (Reply::truncated(QUEUED), "unknown: the vendor answered 200, but the answer broke off"),
        (
            Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()),
            "unknown: the vendor answered 200, but not completely",
        ),
        (Reply::Hang(Vec::new()), "unknown: no complete answer in time"),
        (Reply::Close, "unknown: the connection broke"),
        (Reply::Bytes(b"HTTP/9 what".to_vec()), "unknown: the connection broke"),
        (Reply::new(301, &[("location", "/base/SID42/Actions")], ""), "unknown: the vendor answered 301, a redirect"),
        (Reply::new(307, &[("location", "/base/SID42/Actions")], ""), "unknown: the vendor answered 307, a redirect"),
        (Reply::new(308, &[("location", "/base/SID42/Actions")], ""), "unknown: the vendor answered 308, a redirect"),
        (Reply::json(400, error), "refused: Bad …; ActionId: unknown"),
        (Reply::json(402, ""), "refused: "),
        (Reply::json(404, "<html>"), "refused: "),
        (Reply::json(405, ""), "refused: "),
        (Reply::json(408, ""), "unknown: the vendor answered 408"),
        (Reply::json(409, ""), "refused: "),
        (Reply::json(401, error), "Credentials: the Brand API refuses the credentials"),
        (Reply::json(403, error), "Scope: the token may not use"),
        (
            Reply::new(403, &[], PAGE),
            "Vendor: Brand Reverse an Action answered 403 with an HTML page (\"Access denied\")",
        ),
        (
            Reply::new(401, &[], PAGE),
            "Vendor: Brand Reverse an Action answered 401 with an HTML page (\"Access denied\")",
        ),
        (Reply::new(403, &[], "error code: 1020"), "Vendor: Brand Reverse an Action answered 403 with plain text"),
        (Reply::new(405, &[], PAGE), "refused: an HTML page (\"Access denied\"), which did not come from the API"),
        (Reply::new(429, &[("retry-after", "30")], ""), "limited"),
        (Reply::json(500, error), "unknown: the vendor answered 500"),
        (Reply::new(503, &[("retry-after", "30")], ""), "unknown: the vendor answered 503"),
    ] {
        let server = Server::replying([reply.clone()]).await;
        let said = match reverse(&server.options()).await {
            WriteOutcome::Accepted { .. } => "queued".to_owned(),
            WriteOutcome::Refused { message, .. } => format!("refused: {}", message.unwrap_or_default()),
            WriteOutcome::NotSent { error } => format!("{:?}: {error}", error.kind),
            WriteOutcome::RateLimited { .. } => "limited".to_owned(),
            WriteOutcome::Unknown { reason, .. } => format!("unknown: {reason}"),
        };
        assert!(said.starts_with(expected), "{reply:?} gave {said}, not {expected}");
        assert_eq!(server.requests().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_never_opened_sent_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    match reverse(&options(Url::parse(&base).expect("a URL"))).await {
        WriteOutcome::NotSent { error } => {
            assert_eq!(error.kind, Kind::Network);
            assert!(error.message.ends_with("nothing was sent"), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_closed_kept_connection_does_not_repeat_a_write() {
    // The scripted server closes each connection without notice. If a server closes connections without notice, a
    // connection pool would repeat the next request.
    let bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{QUEUED}", QUEUED.len());
    let server = Server::replying([Reply::Bytes(bytes.into_bytes())]).await;
    let writer = writer(&server.options());
    for sent in 1..=20 {
        let permit = writer.ready().await.expect("a permit");
        let reversal = writer.reverse(permit, &Target::Action(ActionId::new("1.2.3")), "RETRACTION").await;
        assert!(matches!(reversal, WriteOutcome::Accepted { .. }), "{reversal:?}");
        assert_eq!(server.requests().len(), sent);
    }
}

#[tokio::test]
async fn a_401_is_retried_only_with_a_changed_token() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    for (replies, rotated, requests, queued) in [
        (vec![Reply::json(401, "{}"), Reply::json(200, QUEUED)], true, 2, true),
        (vec![Reply::json(401, "{}"), Reply::json(200, QUEUED)], false, 1, false),
        (vec![Reply::json(401, "{}")], true, 2, false),
    ] {
        std::fs::write(&path, "old").expect("a file");
        let server = Server::replying(replies).await;
        let mut options = server.options();
        options.credentials.secret = Secret::File(path.clone());
        let writer = writer(&options);
        if rotated {
            std::fs::write(&path, "new").expect("a file");
        }
        let permit = writer.ready().await.expect("a permit");
        let reversal = writer.reverse(permit, &Target::Action(ActionId::new("1.2.3")), "X").await;
        assert_eq!(matches!(reversal, WriteOutcome::Accepted { .. }), queued, "{reversal:?}");
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn a_rate_limit_pauses_the_reader_of_the_same_host_too() {
    let server = Server::replying([Reply::new(429, &[("retry-after", "7200")], "")]).await;
    let clock = Clock::system();
    let options = HostOptions { max_wait: Duration::from_secs(5), ..server.options() };
    let brand = Brand::new(&options, "SID42", IR_VERSION, clock, CancellationToken::new()).expect("a client");
    let writer = writer(&options).paced_with(&brand);
    let permit = writer.ready().await.expect("a permit");
    assert_eq!(brand.stats().in_flight, 1);
    let reversal = writer.reverse(permit, &Target::Action(ActionId::new("1.2.3")), "X").await;
    let WriteOutcome::RateLimited { until } = reversal else { panic!("{reversal:?}") };
    let seconds = until.duration_since(clock.now()).as_secs();
    assert!((7190..=7200).contains(&seconds), "{seconds}");
    assert_eq!(brand.programs().await.map(|_| ()).map_err(|e| e.kind), Err(Kind::Parked));
    assert_eq!(writer.ready().await.map(|_| ()).map_err(|e| e.kind), Err(Kind::Parked));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_stop_prevents_the_next_reversal_and_finishes_the_current_one() {
    let server = Server::replying([Reply::json(200, QUEUED)]).await;
    let stop = CancellationToken::new();
    let writer =
        BrandWriter::new(&server.options(), "SID42", IR_VERSION, Clock::system(), stop.clone()).expect("a client");
    let permit = writer.ready().await.expect("a permit");
    stop.cancel();
    let reversal = writer.reverse(permit, &Target::Action(ActionId::new("1.2.3")), "X").await;
    assert!(matches!(reversal, WriteOutcome::Accepted { .. }), "{reversal:?}");
    assert_eq!(writer.ready().await.map(|_| ()).map_err(|e| e.kind), Err(Kind::Interrupted));
}
