//! Tests simulated exports: their content, their statuses, and their faults. The export tests use real sockets and
//! never wait, because all delays are zero or endless.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use super::{
    of,
    server::{Answer, Server},
};
use crate::{ExportColumns, ExportFault, OnOff, Options, auth::Keys};

const EXPORT: &str = "/api/v1/simulator/export";

fn at_once(options: Options) -> Options {
    Options { export_delay: Duration::ZERO, ..options }
}

async fn ask(server: &Server, body: &Value) -> Answer {
    let headers = format!("Authorization: {}\r\nContent-Type: application/json\r\n", server.keys.full());
    server.send("POST", EXPORT, &headers, &body.to_string()).await.expect("an answer")
}

/// Creates an export for a test. Returns the ID of the new export.
async fn asked(server: &Server, body: &Value) -> String {
    let made = ask(server, body).await;
    assert_eq!((made.status, &made.json()["status"]), (201, &"PENDING".into()), "{}", made.json());
    made.json()["id"].as_str().expect("an ID").to_owned()
}

async fn status(server: &Server, id: &str) -> Value {
    server.get(&format!("{EXPORT}/{id}")).await.json()["status"].clone()
}

/// Returns host and path of an export's file.
async fn location(server: &Server, id: &str) -> (SocketAddr, String) {
    let answer = server.get(&format!("{EXPORT}/{id}/download")).await;
    assert_eq!(answer.status, 303, "{}", answer.json());
    let location = answer.head.split("location: http://").nth(1).expect("a location");
    let (addr, path) = location.lines().next().and_then(|line| line.split_once('/')).expect("a path");
    (addr.parse().expect("an address"), format!("/{path}"))
}

async fn file(server: &Server, id: &str, headers: &str) -> Answer {
    let (addr, path) = location(server, id).await;
    Server::send_to(addr, "GET", &path, headers, "").await.expect("an answer")
}

type Rows = Vec<BTreeMap<String, String>>;

fn rows(answer: &Answer) -> Rows {
    assert_eq!((answer.status, answer.ended), (200, true));
    csv::Reader::from_reader(&answer.body[..]).deserialize().map(|row| row.expect("a row")).collect()
}

async fn exported(server: &Server, body: &Value) -> Rows {
    let id = asked(server, body).await;
    rows(&file(server, &id, "").await)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

#[tokio::test]
async fn a_reward_export_is_the_truth_row_for_row() {
    let options = Options { export_columns: ExportColumns::Linked, accounts_fail: 3, ..at_once(of(2000)) };
    let server = Server::start(options).await;
    let truth = server.truth("truth").await;
    let moved = text(&truth[0]["reward_id"]);
    let other = text(&truth[truth.len() - 1]["account_id"]);
    let other = percent_encoding::utf8_percent_encode(&other, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert_eq!(server.control("POST", &format!("move-reward?id={moved}&account={other}")).await.status, 200);
    let gone = text(&truth[1]["reward_id"]);
    assert_eq!(server.control("POST", &format!("delete-reward?id={gone}")).await.status, 200);
    let expected: Vec<Vec<String>> = server
        .truth("truth")
        .await
        .iter()
        .map(|line| {
            let statuses = match text(&line["state"]).as_str() {
                "partly_redeemed" => "AVAILABLE".to_owned(),
                state => state.to_uppercase(),
            };
            let one = |key: &str| text(&line[key]);
            let orders = [text(&line["order_ids"][0]), text(&line["order_ids"][1])];
            let [order, second] = orders;
            let whose = [one("reward_id"), one("account_id"), one("user_id"), one("assigned"), one("redeemed")];
            whose.into_iter().chain([statuses, order, second, text(&line["action_ids"][0])]).collect()
        })
        .collect();
    let columns = "id accountId userId assignedCredit redeemedCredit statuses orderId orderNumber actionId";
    let found: Vec<Vec<String>> = exported(&server, &json!({"type": "REWARD"}))
        .await
        .iter()
        .map(|row| columns.split(' ').map(|column| row[column].clone()).collect())
        .collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(found, expected)| found == expected));
    let any = |is_so: &dyn Fn(&str) -> bool| found.iter().flatten().any(|cell| is_so(cell));
    assert!(any(&|cell| cell.contains('"')) && any(&|cell| cell.starts_with("A,")) && any(&|cell| cell.contains('ö')));
    assert!(any(&|cell| cell.starts_with("WEB-")), "a second order ID is among them");
}

#[tokio::test]
async fn its_cells_are_the_fields_of_the_api() {
    let server = Server::start(Options { tidy: true, ..at_once(of(500)) }).await;
    let fields = json!({"includeUserFields": true, "includeReferralFields": true});
    let rows = exported(&server, &json!({"type": "REWARD", "params": {"fields": fields}})).await;
    let columns = "type,unit,assignedCredit,redeemedCredit,programId,programRewardKey,rewardSource,dateCreated,dateGiven,\
                   dateScheduledFor,dateExpires,dateCancelled,accountId,userId,referralId";
    for row in rows.iter().step_by(17) {
        let reward = server.get(&format!("/api/v1/simulator/reward/{}", row["id"])).await.json();
        for column in columns.split(',') {
            assert_eq!(row[column], text(&reward[column]), "{column} of {reward}");
        }
        let value = ["assignedCredit", "amount", "discountPercent"].map(|key| text(&reward[key])).concat();
        assert_eq!(row["value"], value, "{reward}");
        assert!(row["dateModified"] >= row["dateCreated"] && row["dateModified"] >= row["dateCancelled"]);
        assert!(row["email"].contains('@') && !row["firstName"].is_empty() && !row["lastName"].is_empty());
    }
    let plain = exported(&server, &json!({"type": "REWARD"})).await;
    assert!(!plain[0].contains_key("email") && !plain[0].contains_key("referralId"), "{:?}", plain[0]);
    assert!(!plain[0].contains_key("orderId"));
    assert_eq!(server.control("POST", "set?export-columns=no-account").await.status, 200);
    let without = exported(&server, &json!({"type": "REWARD"})).await;
    assert_eq!(without.len(), plain.len());
    assert!(!without[0].contains_key("accountId") && !without[0].contains_key("userId"));
}

#[tokio::test]
async fn a_user_export_lists_everyone() {
    let server = Server::start(Options { max_limit: 1000, ..at_once(of(600)) }).await;
    let users = server.get("/api/v1/simulator/users?limit=1000").await.json();
    let users = users["users"].as_array().expect("a list");
    let columns = ["id", "accountId", "email", "firstName", "lastName", "dateCreated"];
    let line = |cell: &dyn Fn(&str) -> String| columns.map(cell);
    let expected: Vec<[String; 6]> = users.iter().map(|user| line(&|column| text(&user[column]))).collect();
    let all = exported(&server, &json!({"type": "USER", "format": "CSV"})).await;
    let found: Vec<[String; 6]> = all.iter().map(|row| line(&|column| row[column].clone())).collect();
    assert_eq!(found, expected);
    let since: i64 = found[7][5].parse().expect("a moment");
    let later = exported(&server, &json!({"type": "USER", "params": {"createdOrUpdatedSince": since}})).await;
    let expected = found.iter().filter(|row| row[5].parse().is_ok_and(|at: i64| at >= since)).count();
    assert!(expected > 0 && later.len() == expected && expected < found.len());
}

#[tokio::test]
async fn a_filter_leaves_out_what_was_not_modified_since() {
    let today = Some(jiff::civil::date(2026, 1, 1));
    let server = Server::start(Options { today, ..at_once(of(2000)) }).await;
    let all = exported(&server, &json!({"type": "REWARD"})).await;
    let mut moments: Vec<i64> = all.iter().map(|row| row["dateModified"].parse().expect("a moment")).collect();
    moments.sort_unstable();
    let since = moments[moments.len() * 3 / 4];
    for since in [json!(since), json!(since.to_string())] {
        let later =
            exported(&server, &json!({"type": "REWARD", "params": {"filter": {"dateModified_gte": since}}})).await;
        let since: i64 = text(&since).parse().expect("a number");
        assert_eq!(later.len(), moments.iter().filter(|at| **at >= since).count());
    }
    let last = moments[moments.len() - 1] + 1;
    let filter = json!({"type": "REWARD", "params": {"filter": {"dateModified_gte": last}}});
    assert_eq!(exported(&server, &filter).await.len(), 0, "a header alone");
    let example = server.control("GET", "examples").await.json()["plain"][0].clone();
    let action = text(&example["action_ids"][0]);
    assert_eq!(server.control("POST", &format!("cancel?action={action}")).await.status, 200);
    let mut cancelled: Vec<String> = exported(&server, &filter).await.iter().map(|row| row["id"].clone()).collect();
    let mut expected: Vec<String> = example["reward_ids"].as_array().expect("two").iter().map(text).collect();
    cancelled.sort_unstable();
    expected.sort_unstable();
    assert_eq!(cancelled, expected, "what was cancelled just now, and the export as it is when downloaded");
}

#[tokio::test]
async fn what_is_unknown_is_refused() {
    let server = Server::start(at_once(of(50))).await;
    for (body, status) in [
        (json!({"type": "REWARD", "params": {"filter": {"rewardSource_eq": "MANUAL"}}}), 201),
        (json!({"type": "REWARD", "params": null}), 201),
        (json!({"type": "REWARD", "params": {"filter": {"dateModified_since": 1}}}), 400),
        (json!({"type": "REWARD", "params": {"filter": {"dateModified_gte": "yesterday"}}}), 400),
        (json!({"type": "REWARD", "params": {"filter": []}}), 400),
        (json!({"type": "USER", "params": {"sinceWhen": 1}}), 400),
        (json!({"type": "REWARD", "format": "XLSX"}), 400),
        (json!({"type": "REFERRAL"}), 400),
        (json!({"type": "reward"}), 400),
        (json!([]), 400),
    ] {
        let answer = ask(&server, &body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(status == 201 || answer.json()["apiErrorCode"] == "VALIDATION_FAILED", "{}", answer.json());
    }
    for path in ["/nobody", "/nobody/download", "/history/lost", "/"] {
        assert_eq!(server.get(&format!("{EXPORT}{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_list_has_the_newest_first() {
    let server = Server::start(at_once(of(50))).await;
    let mut ids = Vec::new();
    for place in 0..12 {
        let params = json!({"filter": {"dateModified_gte": place}});
        ids.push(asked(&server, &json!({"type": "REWARD", "name": format!("n{place}"), "params": params})).await);
    }
    ids.reverse();
    let seen =
        |list: &Value| list["data"].as_array().into_iter().flatten().map(|one| text(&one["id"])).collect::<Vec<_>>();
    let list = server.get(&format!("{EXPORT}/history/list")).await.json();
    assert_eq!((&list["count"], &list["totalCount"]), (&10.into(), &12.into()));
    assert_eq!(seen(&list), ids[..10]);
    let rest = server.get(&format!("{EXPORT}/history/list?limit=5&offset=9")).await.json();
    assert_eq!((&rest["count"], &rest["totalCount"]), (&3.into(), &12.into()));
    assert_eq!(seen(&rest), ids[9..]);
    let newest = &list["data"][0];
    assert_eq!(*newest, server.get(&format!("{EXPORT}/{}", ids[0])).await.json());
    assert_eq!((&newest["status"], &newest["requester"]), (&"COMPLETED".into(), &"API".into()));
    assert_eq!(newest["params"], json!({"filter": {"dateModified_gte": 11}}));
    let moment = |key: &str| newest[key].as_i64().expect("a moment");
    assert!(moment("dateCreated") <= moment("dateCompleted") && moment("dateCompleted") < moment("dateExpires"));
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["exports"][11], json!({"type": "REWARD", "params": newest["params"], "name": "n11"}));
    assert_eq!(record["requests"]["POST export"], 12);
    assert_eq!((&record["requests"]["GET export list"], &record["requests"]["GET export"]), (&2.into(), &1.into()));
}

#[tokio::test]
async fn an_export_is_pending_until_its_time_and_for_ever_where_it_is_stuck() {
    let server = Server::start(Options { export_delay: Duration::from_hours(1), ..of(50) }).await;
    let id = asked(&server, &json!({"type": "REWARD"})).await;
    assert_eq!(status(&server, &id).await, "PENDING");
    let early = server.get(&format!("{EXPORT}/{id}/download")).await;
    assert_eq!((early.status, &early.json()["statusCode"]), (404, &404.into()));
    assert_eq!(server.control("POST", "set?export-delay=0s&export-fault=stuck").await.status, 200);
    assert_eq!(status(&server, &id).await, "PENDING");
    assert_eq!(server.control("POST", "set?export-fault=none").await.status, 200);
    assert_eq!(status(&server, &id).await, "COMPLETED");
    assert_eq!(server.control("POST", "set?export-fault=lost").await.status, 400);
}

#[tokio::test]
async fn aborted_and_expired_exports_cannot_be_downloaded() {
    let server = Server::start(Options { export_fault: ExportFault::Abort, ..at_once(of(50)) }).await;
    let id = asked(&server, &json!({"type": "REWARD"})).await;
    assert_eq!(status(&server, &id).await, "ABORTED");
    assert_eq!(server.control("POST", "set?export-fault=expire").await.status, 200);
    assert_eq!(status(&server, &id).await, "ABORTED", "it will never be made");
    let id = asked(&server, &json!({"type": "REWARD"})).await;
    assert_eq!(status(&server, &id).await, "COMPLETED");
    let download = server.get(&format!("{EXPORT}/{id}/download")).await;
    assert_eq!((download.status, status(&server, &id).await), (404, "EXPIRED".into()));
    assert_eq!(server.control("POST", "set?export-fault=none").await.status, 200);
    assert_eq!(server.get(&format!("{EXPORT}/{id}/download")).await.status, 404);
    assert_eq!(server.control("GET", "record").await.json()["downloads"], 0);
}

#[tokio::test]
async fn the_first_download_of_each_export_breaks_off() {
    let server = Server::start(Options { export_fault: ExportFault::Broken, ..at_once(of(3000)) }).await;
    for kind in ["REWARD", "USER"] {
        let id = asked(&server, &json!({"type": kind})).await;
        let first = file(&server, &id, "").await;
        assert_eq!((first.status, first.ended), (200, false));
        let second = file(&server, &id, "").await;
        assert!(second.ended && second.body.starts_with(&first.body));
        let (part, whole) = (first.body.len(), second.body.len());
        assert!(part > whole / 4 && part < whole * 3 / 4, "{part} of {whole}");
        assert!(!first.body.ends_with(b"\r\n"), "in the middle of a row");
    }
    let record = server.control("GET", "record").await.json();
    assert_eq!((&record["downloads"], &record["requests"]["GET export download"]), (&4.into(), &4.into()));
    assert_eq!(record["violations"], json!([]));
}

#[tokio::test]
async fn credentials_on_the_storage_origin_are_a_violation() {
    let server = Server::start(at_once(of(50))).await;
    let id = asked(&server, &json!({"type": "REWARD"})).await;
    rows(&file(&server, &id, "").await);
    assert_eq!(server.control("GET", "record").await.json()["violations"], json!([]));
    for (header, named) in
        [(format!("Authorization: {}", server.keys.full()), "authorization"), ("Cookie: a=b".to_owned(), "cookie")]
    {
        rows(&file(&server, &id, &format!("{header}\r\n")).await);
        let violations = server.control("GET", "record").await.json()["violations"].clone();
        let last = violations.as_array().and_then(|all| all.last()).map(text).unwrap_or_default();
        assert!(last.contains(named) && !violations.to_string().contains("Basic"), "{violations}");
    }
}

#[tokio::test]
async fn a_link_holds_for_a_while_and_for_one_file() {
    let server = Server::start(at_once(of(50))).await;
    let (one, other) = (asked(&server, &json!({"type": "USER"})).await, asked(&server, &json!({"type": "USER"})).await);
    let (addr, path) = location(&server, &one).await;
    assert_ne!(location(&server, &one).await.1, path, "each has its own signature");
    let fetched = async |path: &str| Server::send_to(addr, "GET", path, "", "").await.expect("an answer").status;
    assert_eq!((fetched(&path).await, fetched(&path).await), (200, 200));
    assert_eq!(fetched(&path.replace(&one, &other)).await, 403);
    assert_eq!(fetched(path.split('?').next().unwrap_or_default()).await, 403);
    assert_eq!(Server::send_to(addr, "PUT", &path, "", "").await.expect("an answer").status, 405);
    let server = Server::start(Options { export_link_life: Duration::ZERO, ..at_once(of(50)) }).await;
    let id = asked(&server, &json!({"type": "USER"})).await;
    assert_eq!(file(&server, &id, "").await.status, 403);
}

#[tokio::test]
async fn exports_can_be_off_for_everyone_or_for_one_token() {
    let server = Server::start(Options { export: OnOff::Off, ..at_once(of(50)) }).await;
    let body = json!({"type": "REWARD"});
    assert_eq!(ask(&server, &body).await.status, 403);
    assert_eq!(server.get(&format!("{EXPORT}/history/list")).await.status, 403);
    assert_eq!(server.control("POST", "set?export=on").await.status, 200);
    assert_eq!(ask(&server, &body).await.status, 201);
    let keys = Keys::new(&Options { token: "rest-only-token".to_owned(), ..Options::default() });
    let headers = format!("Authorization: {}\r\n", keys.full());
    for (method, path, status) in [
        ("POST", EXPORT.to_owned(), 403),
        ("GET", format!("{EXPORT}/history/list"), 403),
        ("POST", "/api/v1/simulator/graphql".to_owned(), 403),
        ("GET", "/api/v1/simulator/users".to_owned(), 200),
    ] {
        let answer = server.send(method, &path, &headers, &body.to_string()).await.expect("an answer");
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(server.control("GET", "record").await.json()["exports"].as_array().map(Vec::len), Some(1));
}
