//! Tests GraphQL and exports: the requests and the meaning of each answer. The storage host of an export must get no
//! credentials.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::reads::packed;
use super::server::{Reply, Server};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::vendor::graphql::{Graph, Refusal, RewardPage, RewardQuery, Sort};
use crate::vendor::{Advocate, ExportStatus, ExportType};

fn advocate(server: &Server) -> Advocate {
    Advocate::new(&server.options(), "t", Clock::system(), CancellationToken::new()).expect("a client")
}

fn query(attempts: u32) -> RewardQuery {
    RewardQuery { filter: json!({"dateModified_gte": 5}), sort: Sort::OldestFirst, limit: 2, offset: 1, attempts }
}

const PAGE: &str = r#"{"data":{"rewards":{"totalCount":9,"data":[
    {"id":"r1","dateModified":1717729847869,"referralId":"f1","user":{"id":"ann","accountId":"ann+1@x.example"},
     "userEvent":{"id":"e1","fields":{"order_id":"1"}}},
    {"id":"r2","dateModified":"1717729847870","user":null,"userEvent":null}]}}}"#;

async fn page(body: &str, status: u16) -> Result<Graph<RewardPage>> {
    let server = Server::replying([Reply::json(status, body)]).await;
    advocate(&server).graph_rewards(&query(1)).await
}

#[tokio::test]
async fn a_page_of_rewards_is_requested_and_read() {
    let server = Server::replying([Reply::json(200, PAGE)]).await;
    let Ok(Graph::Answer(page)) = advocate(&server).graph_rewards(&query(1)).await else { panic!("no page") };
    assert_eq!((page.rows, page.total, page.damaged.len()), (2, Some(9), 0));
    let first = &page.rewards[0];
    assert_eq!(first.account.as_ref().map(crate::model::AccountId::as_str), Some("ann+1@x.example"));
    assert_eq!((first.date_modified, first.event_id.as_deref()), (Some(1_717_729_847_869), Some("e1")));
    assert_eq!((page.rewards[1].date_modified, &page.rewards[1].account), (Some(1_717_729_847_870), &None));
    let sent = server.requests();
    assert_eq!(sent[0].line, "POST /base/t/graphql");
    assert_eq!(sent[0].header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&sent[0].body).expect("JSON");
    assert!(body["query"].as_str().is_some_and(|query| query.starts_with("query Rewards(")));
    assert_eq!(
        body["variables"],
        json!({"filter": {"dateModified_gte": 5}, "limit": 2, "offset": 1, "sortBy": [{"field": "dateModified", "order": "ASC"}]})
    );
}

#[tokio::test]
async fn every_refusal_has_its_name() {
    for (status, body, refusal) in [
        (
            200,
            r#"{"errors":[{"message":"Cannot query field \"userEvent\" on type \"FlatReward\"."}]}"#,
            Refusal::Schema,
        ),
        (
            400,
            r#"{"errors":[{"message":"Cannot query field \"userEvent\" on type \"FlatReward\"."}]}"#,
            Refusal::Schema,
        ),
        (
            200,
            r#"{"errors":[{"message":"x","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}],"data":null}"#,
            Refusal::Schema,
        ),
        (200, r#"{"errors":[{"message":"Not authorised to do that"}],"data":{"rewards":null}}"#, Refusal::Scope),
        (200, r#"{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}"#, Refusal::Scope),
        (403, r#"{"statusCode":403,"message":"no"}"#, Refusal::Scope),
        (200, r#"{"errors":[{"message":"an error","extensions":{"code":"BAD_CODE"}}]}"#, Refusal::Unnamed),
        (404, r#"{"statusCode":404,"message":"There is nothing here."}"#, Refusal::NoEndpoint),
    ] {
        match page(body, status).await {
            Ok(Graph::Refused(found)) => assert_eq!(found, refusal, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    for (status, body, kind) in [
        (401, "{}", Kind::Credentials),
        (500, "{}", Kind::Vendor),
        (400, "{}", Kind::Vendor),
        (200, "<html>", Kind::Vendor),
        (200, r#"{"data":{"rewards":null}}"#, Kind::Vendor),
        (404, r#"{"apiErrorCode":"TENANT_NOT_FOUND"}"#, Kind::Tenant),
    ] {
        assert_eq!(page(body, status).await.map(|_| ()).map_err(|error| error.kind), Err(kind), "{status} {body}");
    }
}

#[tokio::test]
async fn an_error_with_a_row_damages_that_row_only() {
    let hurt =
        |path: &str| PAGE.replace("{\"data\":{", &format!("{{\"errors\":[{{\"message\":\"x\"{path}}}],\"data\":{{"));
    let Ok(Graph::Answer(read)) = page(&hurt(r#","path":["rewards","data",0,"userEvent"]"#), 200).await else {
        panic!("no page")
    };
    assert_eq!((read.rows, read.rewards.len()), (2, 1));
    assert_eq!(read.damaged[0].as_ref().map(crate::model::RewardId::as_str), Some("r1"));
    // A GraphQL error without a row index may affect any row.
    assert_eq!(page(&hurt(""), 200).await.map(|_| ()).map_err(|error| error.kind), Err(Kind::Vendor));
}

#[tokio::test]
async fn events_of_an_order_are_filtered_by_the_name_of_the_field() {
    let body = r#"{"data":{"userEvents":{"data":[{"id":"e1","key":"purchase","accountId":"ann","userId":"ann",
        "dateTriggered":5,"fields":{"order_id":"12"}}]}}}"#;
    let server = Server::replying([Reply::json(200, body)]).await;
    let events = advocate(&server).graph_events("order_id", &OrderId::new("12"), 3).await.expect("an answer");
    let Graph::Answer(events) = events else { panic!("refused") };
    assert_eq!((events.len(), events[0].fields.as_str()), (1, r#"{"order_id":"12"}"#));
    let sent: Value = serde_json::from_str(&server.requests()[0].body).expect("JSON");
    assert_eq!(sent["variables"], json!({"filter": {"fields": {"order_id_eq": "12"}}, "limit": 3, "offset": 0}));
}

const EXPORT: &str = r#"{"id":"e/1","type":"REWARD","status":"COMPLETED","dateCreated":1,"params":{"filter":{"x":1}}}"#;

#[tokio::test]
async fn an_export_is_created_with_one_request() {
    let server = Server::replying([Reply::json(201, EXPORT), Reply::json(500, "{}")]).await;
    let client = advocate(&server);
    let made = client.create_export(ExportType::Reward, "n", &json!({"a": 1})).await.expect("made");
    assert_eq!((made.id.as_str(), &made.status, made.format.as_str()), ("e/1", &ExportStatus::Completed, "CSV"));
    assert_eq!(made.params, json!({"filter": {"x": 1}}));
    let refused = client.create_export(ExportType::User, "n", &json!({})).await.map(|_| ());
    assert_eq!(refused.map_err(|error| error.kind), Err(Kind::Vendor));
    let sent = server.requests();
    assert_eq!(sent.len(), 2, "a second try would make a second export");
    assert_eq!(sent[0].body, r#"{"format":"CSV","name":"n","params":{"a":1},"type":"REWARD"}"#);
}

async fn download(location: &str, storage: Reply) -> (Result<Option<String>>, Server, Server) {
    let store = Server::replying([storage]).await;
    let location = location.replace("STORE", store.base.as_str().trim_end_matches("/base"));
    let server = Server::replying([Reply::new(303, &[("location", &location)], "")]).await;
    let mut file = Vec::new();
    let client = advocate(&server);
    let taken = client.download("e1", |piece| {
        file.extend_from_slice(piece);
        Ok(())
    });
    let done = taken.await.map(|got| got.map(|()| String::from_utf8_lossy(&file).into_owned()));
    (done, server, store)
}

#[tokio::test]
async fn a_storage_host_gets_no_credentials() {
    let (file, server, store) = download("STORE/f.csv?sig=1", Reply::new(200, &[], "id\nr1\n")).await;
    assert_eq!(file, Ok(Some("id\nr1\n".to_owned())));
    assert!(server.requests()[0].header("authorization").is_some());
    assert_eq!(store.requests()[0].line, "GET /f.csv?sig=1");
    assert_eq!(store.requests()[0].header("authorization"), None);
    assert_eq!(store.requests()[0].header("cookie"), None);
}

#[tokio::test]
async fn an_unsafe_download_address_is_refused() {
    for location in
        ["http://files.example/f.csv", "ftp://127.0.0.1/f.csv", "https://u:p@files.example/f", "file:///etc/passwd"]
    {
        let (file, _, store) = download(location, Reply::new(200, &[], "x")).await;
        assert_eq!(file.map_err(|error: Error| error.kind), Err(Kind::Vendor), "{location}");
        assert!(store.requests().is_empty());
    }
}

#[tokio::test]
async fn a_missing_file_and_a_broken_download_are_told_apart() {
    for status in [403, 404, 410] {
        let (file, _, _) = download("STORE/f", Reply::new(status, &[], "no")).await;
        assert_eq!(file, Ok(None), "{status}");
    }
    for broken in [Reply::truncated("id\nr1"), Reply::Close, Reply::new(500, &[], "")] {
        let (file, _, _) = download("STORE/f", broken).await;
        assert_eq!(file.map_err(|error: Error| error.kind), Err(Kind::Network));
    }
}

#[tokio::test]
async fn a_gzip_export_of_several_members_is_read_completely_or_fails() {
    let (first, second) = (packed(b"id\nr1\n"), packed(b"r2\n"));
    let whole = [first.clone(), second.clone()].concat();
    let reply = |encoding: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 X\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply::Bytes([head.as_bytes(), body].concat())
    };
    let (file, _, _) = download("STORE/f", reply("gzip", &whole)).await;
    assert_eq!(file, Ok(Some("id\nr1\nr2\n".to_owned())));
    let cut = whole.len() - second.len();
    for (encoding, body) in [
        ("gzip", &whole[..whole.len() - 1]),
        ("gzip", &whole[..cut + 5]),
        ("gzip", &b"id\nr1\n"[..]),
        ("br", &whole[..]),
    ] {
        let (file, _, _) = download("STORE/f", reply(encoding, body)).await;
        assert_eq!(file.map_err(|error: Error| error.kind), Err(Kind::Network), "{encoding} {}", body.len());
    }
}
