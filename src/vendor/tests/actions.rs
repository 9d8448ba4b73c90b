//! Tests the lists of the Brand API: the requests, the number of pages read, and the completeness of a list.

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::server::{Reply, Server};
use crate::clock::Clock;
use crate::error::Kind;
use crate::model::ActionId;
use crate::vendor::brand::IR_VERSION;
use crate::vendor::{Brand, FileSubmission, UpdateFilter};

async fn brand(replies: impl IntoIterator<Item = Reply>) -> (Server, Brand) {
    let server = Server::replying(replies).await;
    let brand = Brand::new(&server.options(), "SID42", IR_VERSION, Clock::system(), CancellationToken::new());
    (server, brand.expect("a client"))
}

fn lines(server: &Server) -> Vec<String> {
    server.requests().into_iter().map(|asked| asked.line.replace("/base/SID42", "")).collect()
}

/// Returns a page of submissions whose numbers start at `from`.
fn page(from: usize, rows: usize, total: usize, next: &str) -> Reply {
    let rows: Vec<String> =
        (from..from + rows).map(|n| format!(r#"{{"BatchId":"A-{n}","Status":"Queued"}}"#)).collect();
    let rows = rows.join(",");
    Reply::json(200, &format!(r#"{{"@total":"{total}","@nextpageuri":"{next}","APISubmission":[{rows}]}}"#))
}

#[tokio::test]
async fn a_list_is_complete_only_if_no_row_can_be_missing() {
    let second = "/base/SID42/APISubmissions?Page=2";
    let bad =
        Reply::json(200, r#"{"@total":"2","APISubmission":[{"BatchId":"A-1","Status":"Queued"},{"BatchId":"A-2"}]}"#);
    for (name, replies, rows, complete, requests) in [
        ("one page", vec![page(0, 2, 2, "")], 2, true, 1),
        ("two pages", vec![page(0, 2, 3, second), page(2, 1, 3, "")], 3, true, 2),
        ("nothing", vec![page(0, 0, 0, "")], 0, true, 1),
        ("null", vec![Reply::json(200, r#"{"@total":"0","APISubmission":null}"#)], 0, true, 1),
        ("one row without brackets", vec![Reply::json(200, r#"{"APISubmission":{"Status":"Queued"}}"#)], 1, true, 1),
        ("fewer than it counts", vec![page(0, 2, 3, "")], 2, false, 1),
        ("grew while it was read", vec![page(0, 2, 3, second), page(1, 2, 4, "")], 4, true, 2),
        ("a row that cannot be read", vec![bad], 1, false, 1),
        (
            "without end",
            vec![page(0, 1, 9, second), page(1, 1, 9, "/base/SID42/APISubmissions?Page=3"), page(2, 1, 9, "")],
            2,
            false,
            2,
        ),
        ("back to the start", vec![page(0, 1, 1, "/base/SID42/APISubmissions")], 1, false, 1),
        ("round and round", vec![page(0, 1, 1, second), page(0, 1, 1, second)], 2, false, 2),
        ("a page that is gone", vec![page(0, 1, 2, second), Reply::json(404, "{}")], 1, false, 2),
    ] {
        let (server, brand) = brand(replies).await;
        let list = brand.submissions(2).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((list.rows.len(), list.complete), (rows, complete), "{name}");
        assert_eq!(lines(&server).len(), requests, "{name}");
        assert_eq!(lines(&server)[0], "GET /APISubmissions", "no filter is published: {name}");
    }
    for (reply, kind) in [
        (Reply::json(403, "{}"), Kind::Scope),
        (Reply::json(404, "{}"), Kind::Vendor),
        (Reply::json(401, "{}"), Kind::Credentials),
        (Reply::json(200, "{}"), Kind::Vendor),
        (page(0, 1, 2, "https://elsewhere.example/APISubmissions?Page=2"), Kind::Vendor),
    ] {
        let (_, brand) = brand([reply.clone()]).await;
        assert_eq!(brand.submissions(2).await.map(|_| ()).map_err(|e| e.kind), Err(kind), "{reply:?}");
    }
}

#[tokio::test]
async fn items_are_complete_or_an_error() {
    let id = ActionId::new("1.2/3");
    let (server, brand) = brand([
        Reply::json(200, r#"{"@total":"1","ActionItems":[{"Sku":"A","Quantity":"1","SaleAmount":"9.50"}]}"#),
        Reply::json(404, "{}"),
        Reply::json(200, r#"{"@total":"2","ActionItems":[{"Sku":"A"}]}"#),
    ])
    .await;
    let items = brand.action_items(&id).await.expect("an answer").expect("an action");
    assert_eq!(items[0].amount().map(|a| a.to_string()).as_deref(), Some("9.50"));
    assert_eq!(brand.action_items(&id).await, Ok(None));
    assert_eq!(brand.action_items(&id).await.map_err(|e| e.kind), Err(Kind::Vendor));
    assert_eq!(lines(&server)[0], "GET /Actions/1.2%2F3/Items");
    assert_eq!(brand.action_items(&ActionId::new("..")).await.map_err(|e| e.kind), Err(Kind::Vendor));
}

#[tokio::test]
async fn updates_are_requested_as_the_vendor_requires() {
    let (server, brand) = brand([
        Reply::json(200, r#"{"ActionUpdates":[{"Id":"1.2.3.4","State":"REVERSED"}]}"#),
        Reply::json(200, r#"{"ActionUpdates":[]}"#),
    ])
    .await;
    let from = Timestamp::from_second(1_700_000_000).expect("a moment");
    let filter =
        UpdateFilter { campaign_id: "4711".into(), from, to: from + SignedDuration::from_hours(45 * 24), state: None };
    let list = brand.action_updates(&filter, 5).await.expect("a list");
    assert_eq!((list.rows[0].action_id.as_str(), list.rows[0].is_reversed(), list.complete), ("1.2.3", true, true));
    let reversed = UpdateFilter { state: Some("REVERSED".into()), to: from, ..filter.clone() };
    brand.action_updates(&reversed, 5).await.expect("a list");
    for to in [filter.to + SignedDuration::from_secs(1), from - SignedDuration::from_secs(1)] {
        let wrong = UpdateFilter { to, ..filter.clone() };
        assert_eq!(brand.action_updates(&wrong, 5).await.map(|_| ()).map_err(|e| e.kind), Err(Kind::Usage));
    }
    let dates = "StartDate=2023-11-14T22%3A13%3A20Z&EndDate=";
    assert_eq!(
        lines(&server),
        [
            format!("GET /ActionUpdates?CampaignId=4711&{dates}2023-12-29T22%3A13%3A20Z"),
            format!("GET /ActionUpdates?CampaignId=4711&{dates}2023-11-14T22%3A13%3A20Z&State=REVERSED"),
        ]
    );
}

#[tokio::test]
async fn a_file_s_errors_are_read_at_its_link_or_at_the_documented_path() {
    let errors = Reply::json(200, r#"{"ErrorDetail":[{"Line":"2","OrderId":"1","Reason":"ACTION_NOT_FOUND"}]}"#);
    let missing = Reply::json(404, "{}");
    let file = |errors_uri: Option<&str>| {
        let text = serde_json::json!({"BatchId": "F-1", "Status": "Complete", "ErrorsUri": errors_uri});
        crate::vendor::brand::files::file(&bytes::Bytes::from(text.to_string())).expect("a file")
    };
    let documented = "GET /FTPFileSubmissions/F-1/ErrorDetails";
    let elsewhere = "GET /FTPSubmissions/F-1/Errors";
    for (given, replies, found, asked) in [
        (Some("/base/SID42/FTPSubmissions/F-1/Errors"), vec![errors.clone()], true, vec![elsewhere]),
        (
            Some("/base/SID42/FTPSubmissions/F-1/Errors"),
            vec![missing.clone(), errors.clone()],
            true,
            vec![elsewhere, documented],
        ),
        (Some("/base/SID42/FTPFileSubmissions/F-1/ErrorDetails"), vec![missing.clone()], false, vec![documented]),
        (Some("https://elsewhere.example/Errors"), vec![errors.clone()], true, vec![documented]),
        (None, vec![errors.clone()], true, vec![documented]),
    ] {
        let (server, brand) = brand(replies).await;
        let list = brand.file_errors(&file(given)).await.expect("an answer");
        assert_eq!(list.is_some_and(|list| list.rows[0].is_inconclusive()), found, "{given:?}");
        assert_eq!(lines(&server), asked, "{given:?}");
    }
    let (server, brand) = brand([
        Reply::json(200, r#"{"FTPFileSubmissions":[{"BatchId":"F/1","Status":"Queued"}]}"#),
        Reply::json(200, r#"{"BatchId":"F/1","Status":"In Progress"}"#),
        missing,
    ])
    .await;
    let since = Timestamp::from_second(1_700_000_000).expect("a moment");
    let listed: Vec<FileSubmission> = brand.file_submissions(since).await.expect("a list").rows;
    assert!(!brand.file_submission(&listed[0].batch_id).await.expect("an answer").expect("a file").is_complete());
    assert_eq!(brand.file_submission("gone").await, Ok(None));
    assert_eq!(
        lines(&server),
        [
            "GET /FTPFileSubmissions?SubmissionDateStart=2023-11-14T22%3A13%3A20Z",
            "GET /FTPFileSubmissions/F%2F1",
            "GET /FTPFileSubmissions/gone"
        ]
    );
}

#[tokio::test]
async fn a_body_of_another_submission_or_file_is_unreadable() {
    let of = |names: &str| Reply::json(200, &format!(r#"{{{names}"Status":"Complete"}}"#));
    for (asked, names, is_believed) in [
        ("/base/SID42/APISubmissions/A-1", r#""BatchId":"A-1","#, true),
        ("/base/SID42/APISubmissions/A-1?x=A-2", r#""BatchId":"a-1 ","#, true),
        ("/base/SID42/APISubmissions/A%2D1.json", r#""BatchId":"A-1","#, true),
        ("/base/SID42/APISubmissions/A-1", r#""BatchId":"B-7","Uri":"/Advertisers/SID42/APISubmissions/A-1","#, true),
        ("/base/SID42/APISubmissions/A-1", "", true),
        ("/base/SID42/APISubmissions/A-1", r#""BatchId":"A-2","#, false),
        ("/base/SID42/APISubmissions/A-1", r#""BatchId":"A-12","#, false),
        ("/base/SID42/APISubmissions/A-1", r#""Uri":"/Advertisers/SID42/APISubmissions/A-2","#, false),
        ("/base/SID42/APISubmissions/A-1", r#""BatchId":"A-2","Uri":"/Advertisers/SID42/APISubmissions/A-2","#, false),
        ("/QueuedStatus/test123", r#""BatchId":"A-2","#, false),
    ] {
        let (_server, brand) = brand([of(names)]).await;
        let answer = brand.submission(asked).await;
        match answer {
            Ok(answer) => assert!(is_believed && answer.is_some(), "{asked} {names}"),
            Err(error) => assert!(!is_believed && error.kind == Kind::Vendor, "{asked} {names}: {}", error.message),
        }
    }
    let (_server, brand) = brand([of(r#""BatchId":"F-2","#)]).await;
    assert_eq!(brand.file_submission("F-1").await.map_err(|error| error.kind), Err(Kind::Vendor));
}
