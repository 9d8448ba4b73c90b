//! Tests referrals: the requests, which answers are readable, and which failures are errors.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::server::{Reply, Server};
use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::vendor::{Advocate, Graph, ListedReward, Referral, ReferralAnswer};

fn advocate(server: &Server) -> Advocate {
    Advocate::new(&server.options(), "t", Clock::system(), CancellationToken::new()).expect("a client")
}

const BODY: &str = r#"{"id":"f/1","referredUser":{"email":"ann@example.com"},"referredReward":{"id":"r1"},
    "referrerReward":null,"dateReferralStarted":1779894752097,"dateConverted":null,"dateModified":"1779894752494"}"#;

async fn rest(reply: Reply) -> Result<ReferralAnswer> {
    let server = Server::replying([reply]).await;
    advocate(&server).referral("f/1").await
}

fn read(answer: Result<ReferralAnswer>) -> Referral {
    match answer {
        Ok(ReferralAnswer::Read(referral)) => referral,
        other => panic!("not read: {other:?}"),
    }
}

fn why(answer: Result<ReferralAnswer>) -> String {
    match answer {
        Ok(ReferralAnswer::Unreadable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_referral_is_read_by_its_id_without_its_people() {
    let server = Server::replying([Reply::json(200, BODY)]).await;
    let referral = read(advocate(&server).referral("f/1").await);
    assert_eq!(server.requests()[0].line, "GET /base/t/referrals/f%2F1");
    assert_eq!((referral.started, referral.converted), (1_779_894_752_097, None));
    assert_eq!(referral.modified, Some(1_779_894_752_494));
    assert_eq!(referral.rewards.iter().map(|raw| raw.get()).collect::<Vec<_>>(), [r#"{"id":"r1"}"#]);
    assert!(!format!("{referral:?}").contains("ann"));
    let converted = BODY.replace("\"dateConverted\":null", "\"dateConverted\":1779894760000");
    assert_eq!(read(rest(Reply::json(200, &converted)).await).converted, Some(1_779_894_760_000));
}

#[tokio::test]
async fn only_a_null_says_that_a_referral_is_not_converted() {
    for without in [
        BODY.replace("\"dateConverted\":null,", ""),
        BODY.replace("\"dateConverted\":null", "\"dateConverted\":0"),
        BODY.replace("\"dateConverted\":null", "\"dateConverted\":\"soon\""),
        BODY.replace("\"dateConverted\":null", "\"dateConverted\":false"),
        BODY.replace("1779894752097", "null"),
    ] {
        assert_eq!(why(rest(Reply::json(200, &without)).await), "its dates do not say whether it is converted");
    }
}

#[tokio::test]
async fn a_body_of_another_referral_or_with_a_repeated_key_is_retried() {
    let other = BODY.replace("f/1", "f/2");
    let twice = BODY.replace("\"dateConverted\":null", "\"dateConverted\":null,\"dateConverted\":1779894760000");
    for body in [other.as_str(), twice.as_str(), "[]", "null", "{}"] {
        let why = why(rest(Reply::json(200, body)).await);
        assert!(why.contains("JSON of another shape"), "{body}: {why}");
    }
    let server = Server::replying([Reply::json(200, &other), Reply::json(200, BODY)]).await;
    assert_eq!(read(advocate(&server).referral("f/1").await).id, "f/1", "a cache may return a wrong answer once");
}

#[tokio::test]
async fn an_unreadable_referral_is_an_answer_and_refused_credentials_are_an_error() {
    assert_eq!(why(rest(Reply::json(404, "{}")).await), "the vendor does not know it");
    assert_eq!(why(rest(Reply::json(403, "{}")).await), "the token may not read referrals");
    assert!(why(rest(Reply::json(500, "{}")).await).contains("answered 500"));
    assert!(why(rest(Reply::Close).await).contains("2 attempts"));
    assert_eq!(rest(Reply::json(401, "{}")).await.expect_err("refused").kind, Kind::Credentials);
    let server = Server::replying([Reply::json(200, BODY)]).await;
    assert!(why(advocate(&server).referral("..").await).contains("dots"));
    assert!(server.requests().is_empty());
}

const ROW: &str = r#"{"id":"r1","user":{"id":"ann","accountId":"a"},"userEvent":null}"#;

fn both(referral: &str, errors: &str) -> String {
    format!(r#"{{"data":{{"rewards":{{"totalCount":1,"data":[{ROW}]}},"referral":{referral}}}{errors}}}"#)
}

const REFERRAL: &str =
    r#"{"id":"f1","dateReferralStarted":5,"dateConverted":7,"dateModified":8,"rewards":[{"id":"r1"},{"id":"r2"}]}"#;

async fn graph(server: &Server) -> Result<(Vec<ListedReward>, ReferralAnswer)> {
    both_of(&advocate(server)).await
}

async fn both_of(advocate: &Advocate) -> Result<(Vec<ListedReward>, ReferralAnswer)> {
    match advocate.graph_rewards_and_referral(&json!({"accountId_eq": "a"}), "f1").await? {
        Graph::Answer(answer) => Ok(answer),
        Graph::Refused(refusal) => panic!("{refusal:?}"),
    }
}

#[tokio::test]
async fn rewards_and_referral_are_one_request() {
    let server = Server::replying([Reply::json(200, &both(REFERRAL, ""))]).await;
    let (rewards, referral) = graph(&server).await.expect("an answer");
    let referral = read(Ok(referral));
    assert_eq!((rewards.len(), referral.rewards.len(), referral.converted), (1, 2, Some(7)));
    assert_eq!(server.requests().len(), 1);
    let sent: Value = serde_json::from_str(&server.requests()[0].body).expect("JSON");
    assert_eq!(sent["variables"]["referral"], "f1");
    assert!(sent["query"].as_str().is_some_and(|query| query.starts_with("query RewardsAndReferral(")));
}

#[tokio::test]
async fn after_a_refused_referral_the_rewards_are_read_and_no_referral_is_requested() {
    let refused = r#"{"errors":[{"message":"Cannot query field \"referral\" on type \"Query\"."}]}"#;
    let alone = format!(r#"{{"data":{{"rewards":{{"totalCount":1,"data":[{ROW}]}}}}}}"#);
    let server = Server::replying([Reply::json(200, refused), Reply::json(200, &alone)]).await;
    let advocate = advocate(&server);
    for requests in [2, 3] {
        let answer = both_of(&advocate).await.expect("an answer");
        assert_eq!((answer.0.len(), server.requests().len()), (1, requests));
        assert!(why(Ok(answer.1)).contains("does not have referrals"));
    }
}

#[tokio::test]
async fn an_error_in_the_referral_does_not_affect_the_rewards() {
    for (referral, errors, says) in [
        ("null", r#","errors":[{"message":"Not authorised","path":["referral"]}]"#, "may not read"),
        (REFERRAL, r#","errors":[{"message":"x","path":["referral","rewards",0,"userEvent"]}]"#, "with an error"),
        ("null", "", "does not know"),
        (r#"{"id":"f1","dateReferralStarted":5,"dateConverted":null}"#, "", "without its rewards"),
        (r#"{"id":"f1","dateReferralStarted":5,"rewards":[]}"#, "", "do not say"),
        ("[]", "", "cannot be read"),
    ] {
        let server = Server::replying([Reply::json(200, &both(referral, errors))]).await;
        let (rewards, answer) = graph(&server).await.expect("an answer");
        assert_eq!(rewards.len(), 1);
        let why = why(Ok(answer));
        assert!(why.contains(says), "{referral}: {why}");
    }
    let another = REFERRAL.replace("f1", "f2");
    let server = Server::replying([Reply::json(200, &both(&another, ""))]).await;
    let (rewards, answer) = graph(&server).await.expect("the rewards");
    assert_eq!(rewards.len(), 1, "the rewards are read");
    assert!(why(Ok(answer)).contains("another referral"));
    let row = r#","errors":[{"message":"x","path":["rewards","data",0,"userEvent"]}]"#;
    let server = Server::replying([Reply::json(200, &both(REFERRAL, row))]).await;
    assert_eq!(graph(&server).await.expect_err("a damaged reward").kind, Kind::Vendor);
}
