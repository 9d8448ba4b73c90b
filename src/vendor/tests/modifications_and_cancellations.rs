//! Tests modifications and cancellations: exactly one request for each call, and no success without proof.

use tokio_util::sync::CancellationToken;

use super::server::{Reply, Server};
use crate::clock::Clock;
use crate::error::Kind;
use crate::model::decimal::Decimal;
use crate::model::{AccountId, ActionId, RewardId, Target};
use crate::vendor::brand::IR_VERSION;
use crate::vendor::{
    Advocate, BrandWriter, Change, HostOptions, ItemChange, ItemMoney, Modification, RewardCanceller, Secret,
    WriteOutcome,
};

const QUEUED: &str = r#"{"Status":"QUEUED","QueuedUri":"/Advertisers/SID42/APISubmissions/A-78"}"#;
const REWARD: &str = r#"{"id":"r/1","dateCancelled":null}"#;

fn canceller(options: &HostOptions) -> RewardCanceller {
    RewardCanceller::new(options, "test_a/b", Clock::system(), CancellationToken::new()).expect("a client")
}

async fn cancel(options: &HostOptions) -> WriteOutcome {
    let canceller = canceller(options);
    let permit = canceller.ready().await.expect("a permit");
    canceller.cancel(permit, &RewardId::new("r/1")).await
}

#[tokio::test]
async fn a_modification_is_the_published_put_and_judged_like_a_reversal() {
    let item = ItemChange {
        sku: "A&B".into(),
        category: None,
        quantity: Some(1),
        money: Some(ItemMoney::Amount(Decimal::from_hundredths(950))),
    };
    let modification = Modification::new("ORDER_UPDATE", Change::Items(vec![item.clone(), item]));
    for (reply, expected) in [
        (Reply::json(200, QUEUED), "queued A-78"),
        (Reply::json(200, "{}"), "unknown: the vendor answered 200 without saying QUEUED and where"),
        (Reply::json(400, r#"{"Message":"no SID42"}"#), "refused: no …"),
        (Reply::json(403, ""), "Scope: the token may not use Brand Update an Action"),
        (Reply::new(307, &[("location", "/x")], ""), "unknown: the vendor answered 307, a redirect"),
        (Reply::json(500, ""), "unknown: the vendor answered 500"),
        (Reply::new(429, &[], ""), "limited"),
        (Reply::Close, "unknown: the connection broke"),
    ] {
        let server = Server::replying([reply.clone()]).await;
        let options = server.options();
        let writer = BrandWriter::new(&options, "SID42", IR_VERSION, Clock::system(), CancellationToken::new());
        let writer = writer.expect("a client");
        let permit = writer.ready().await.expect("a permit");
        let said = match writer.modify(permit, &Target::Action(ActionId::new("1.2.3")), &modification).await {
            WriteOutcome::Accepted { batch_id, .. } => format!("queued {}", batch_id.unwrap_or_default()),
            WriteOutcome::Refused { message, .. } => format!("refused: {}", message.unwrap_or_default()),
            WriteOutcome::NotSent { error } => format!("{:?}: {error}", error.kind),
            WriteOutcome::RateLimited { .. } => "limited".to_owned(),
            WriteOutcome::Unknown { reason, .. } => format!("unknown: {reason}"),
        };
        assert!(said.starts_with(expected), "{reply:?} gave {said}, not {expected}");
        let asked = server.requests();
        assert_eq!(asked.len(), 1, "{reply:?}");
        assert_eq!(asked[0].line, "PUT /base/SID42/Actions");
        assert_eq!(asked[0].header("ir-version"), Some("14"));
        assert_eq!(
            asked[0].body,
            "ActionId=1.2.3&Sku=A%26B&Quantity=1&Amount=9.50&Sku2=A%26B&Quantity2=1&Amount2=9.50&Reason=ORDER_UPDATE&DispositionCode=ORDER_UPDATE"
        );
    }
}

#[tokio::test]
async fn each_cancellation_sends_one_request_whatever_the_answer_is() {
    let tenant = r#"{"message":"Missing or invalid tenant alias.","statusCode":404,"apiErrorCode":"TENANT_NOT_FOUND"}"#;
    for (reply, expected) in [
        (Reply::json(200, REWARD), "cancelled"),
        (Reply::json(200, r#"{"id":"r/2"}"#), "unknown: the vendor answered 200 without the reward"),
        (Reply::json(200, "[]"), "unknown: the vendor answered 200 with JSON of another shape"),
        (Reply::json(200, ""), "unknown: the vendor answered 200 with an empty body"),
        (Reply::json(204, ""), "unknown: the vendor answered 204 with an empty body"),
        (Reply::truncated(REWARD), "unknown: the vendor answered 200, but the answer broke off"),
        (
            Reply::json(400, r#"{"message":"Reward is not cancellable.","statusCode":400}"#),
            "refused 400: not cancellable: Reward is not",
        ),
        (Reply::json(400, r#"{"message":"bad","apiErrorCode":"VALIDATION_FAILED"}"#), "refused 400: bad"),
        (Reply::json(400, r#"{"message":"try again","rsCode":"RS020"}"#), "unknown: the vendor answered 400"),
        (Reply::new(400, &[], "<html>"), "refused 400: "),
        (
            Reply::json(404, r#"{"message":"Reward not found.","statusCode":404}"#),
            "refused 404: the vendor does not know the reward",
        ),
        (Reply::new(404, &[], "<html>"), "refused 404: "),
        (Reply::json(404, tenant), "Tenant: the Advocate API does not know this tenant"),
        (Reply::json(401, "{}"), "Credentials: the Advocate API refuses"),
        (Reply::json(403, "{}"), "Scope: the token may not use Advocate cancel a reward"),
        (Reply::json(403, r#"{"message":"slow down","rsCode":"RS033"}"#), "limited"),
        (Reply::json(405, ""), "refused 405: "),
        (Reply::json(408, ""), "unknown: the vendor answered 408"),
        (Reply::json(409, "{}"), "refused 409: "),
        (Reply::new(429, &[("retry-after", "30")], ""), "limited"),
        (Reply::new(307, &[("location", "/x")], ""), "unknown: the vendor answered 307, a redirect"),
        (Reply::json(500, "{}"), "unknown: the vendor answered 500"),
        (Reply::json(503, "{}"), "unknown: the vendor answered 503"),
        (Reply::Close, "unknown: the connection broke"),
        (Reply::Hang(Vec::new()), "unknown: no complete answer in time"),
    ] {
        let server = Server::replying([reply.clone()]).await;
        let outcome = cancel(&server.options()).await;
        assert!(!format!("{outcome:?}").contains("not found"), "the vendor's texts are not printed");
        let said = match outcome {
            WriteOutcome::Accepted { .. } => "cancelled".to_owned(),
            WriteOutcome::Refused { status, message, body } => {
                assert_eq!(body, "", "the answers of this host name people");
                format!("refused {status}: {}", message.unwrap_or_default())
            }
            WriteOutcome::NotSent { error } => format!("{:?}: {error}", error.kind),
            WriteOutcome::RateLimited { .. } => "limited".to_owned(),
            WriteOutcome::Unknown { reason, .. } => format!("unknown: {reason}"),
        };
        assert!(said.starts_with(expected), "{reply:?} gave {said}, not {expected}");
        let asked = server.requests();
        assert_eq!(asked.len(), 1, "{reply:?}");
        assert_eq!(asked[0].line, "POST /base/test_a%2Fb/reward/r%2F1/cancel");
        assert_eq!((asked[0].header("content-length"), asked[0].body.as_str()), (Some("0"), ""));
    }
}

#[tokio::test]
async fn a_reward_id_that_is_a_path_is_not_sent() {
    let server = Server::replying([Reply::json(200, REWARD)]).await;
    let canceller = canceller(&server.options());
    for id in ["", ".", ".."] {
        let permit = canceller.ready().await.expect("a permit");
        let outcome = canceller.cancel(permit, &RewardId::new(id)).await;
        assert!(matches!(&outcome, WriteOutcome::NotSent { error } if error.kind == Kind::Usage), "{outcome:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_cancellation_shares_the_reader_s_pace_and_retries_a_401_only_with_a_changed_token() {
    let server = Server::replying([Reply::new(429, &[("retry-after", "7200")], "")]).await;
    let advocate = Advocate::new(&server.options(), "t", Clock::system(), CancellationToken::new()).expect("a client");
    let options = HostOptions { max_wait: std::time::Duration::from_secs(5), ..server.options() };
    let reader = Advocate::new(&options, "t", Clock::system(), CancellationToken::new()).expect("a client");
    let both = canceller(&options).paced_with(&reader);
    let permit = both.ready().await.expect("a permit");
    assert!(matches!(both.cancel(permit, &RewardId::new("r")).await, WriteOutcome::RateLimited { .. }));
    let parked = reader.rewards(&AccountId::new("a"), None).await.map(|_| ()).map_err(|e| e.kind);
    assert_eq!(parked, Err(Kind::Parked));
    assert_eq!(advocate.stats().requests, 0);

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    std::fs::write(&path, "old").expect("a file");
    let server = Server::replying([Reply::json(401, "{}"), Reply::json(200, REWARD)]).await;
    let mut options = server.options();
    options.credentials.secret = Secret::File(path.clone());
    let canceller = canceller(&options);
    std::fs::write(&path, "new").expect("a file");
    let permit = canceller.ready().await.expect("a permit");
    let outcome = canceller.cancel(permit, &RewardId::new("r/1")).await;
    assert!(matches!(outcome, WriteOutcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(server.requests().len(), 2);
}
