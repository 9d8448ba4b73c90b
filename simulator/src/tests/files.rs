//! Tests that reversal files are accepted, take effect, and are reported row by row as in the vendor's guide.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    of,
    server::{Server, quick},
};
use crate::{FileErrors, Options};

async fn send(server: &Server, name: &str, content: &str) -> Value {
    let answer = server.send("POST", &format!("/_simulator/file?name={name}"), "", content).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn cell(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Returns an example order of a Performance or an Advocate program.
async fn of_program(server: &Server, performance: bool) -> Value {
    let examples = server.control("GET", "examples").await.json();
    let kinds = ["plain", "old_conversion", "locked"];
    let mut all = kinds.iter().flat_map(|kind| examples[*kind].as_array().cloned().unwrap_or_default());
    let is_it = |one: &Value| one["action_ids"][0].as_str().is_some_and(|id| id.starts_with("20817.") == performance);
    all.find(is_it).expect("an example of the program")
}

#[tokio::test]
async fn a_file_takes_rewards_back_and_says_action_not_found_all_the_same() {
    let server = Server::start(quick(of(2000))).await;
    let (advocate, performance) = (of_program(&server, false).await, of_program(&server, true).await);
    let row = |one: &Value| format!("{},{},0,ITEM_RETURNED\n", one["action_tracker_id"], cell(&one["order_id"]));
    let content = format!(
        "ActionTrackerId,OrderId,Amount,Reason\n{}{}99999,{},0,OTHER\n31001,nobody,0,OTHER\n31001,,0,OTHER\n31001,x,zero,OTHER\n",
        row(&advocate),
        row(&performance),
        cell(&advocate["order_id"]),
    );
    let taken = send(&server, "Batch_Mods_Reversals_2026_01_02.csv", &content).await;
    assert_eq!((&taken["rows"], &taken["errors"]), (&json!(6), &json!(5)));
    let path = format!("/Advertisers/SIMULATOR/FTPFileSubmissions/{}", taken["batch_id"].as_str().expect("an ID"));
    assert_eq!(server.get(&path).await.json()["Status"], "Queued");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let file = server.get(&path).await.json();
    assert_eq!(
        (&file["Status"], &file["TotalErrors"], &file["Type"]),
        (&json!("Complete"), &json!("5"), &json!("Reversal"))
    );
    assert_eq!(file["FileName"], "Batch_Mods_Reversals_2026_01_02.csv");
    let errors = server.get(file["ErrorsUri"].as_str().expect("a link")).await.json();
    let lines: Vec<(&str, &str)> = errors["ErrorDetail"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["Line"].as_str().expect("text"), row["Reason"].as_str().expect("text")))
        .collect();
    let not_found = "ACTION_NOT_FOUND";
    assert_eq!(lines, [("2", not_found), ("4", not_found), ("5", not_found), ("6", "OID_MISSING"), ("7", "MALFORMED")]);
    assert_eq!(errors["ErrorDetail"][0]["OrderId"], advocate["order_id"]);
    for one in [&advocate, &performance] {
        let id = one["action_ids"][0].as_str().expect("an action");
        let truth = server.control("GET", &format!("actions?id={id}")).await.json();
        assert_eq!(truth["all_cancelled"], true, "{truth}");
    }
    let record = server.control("GET", "record").await.json();
    assert_eq!((&record["files"][0]["rows"], &record["duplicate_dispatch"]), (&json!(6), &json!(0)));
    let delete =
        format!("ActionId={}&Amount=0&DispositionCode=X", advocate["action_ids"][0].as_str().expect("an action"));
    server.write("DELETE", &delete).await.expect("an answer");
    assert_eq!(server.control("GET", "record").await.json()["duplicate_dispatch"], 1, "two roads, one action");
}

#[tokio::test]
async fn columns_are_found_by_any_of_the_vendor_s_spellings() {
    let server = Server::start(quick(of(2000))).await;
    let examples = server.control("GET", "examples").await.json();
    let (one, other) = (&examples["plain"][0], &examples["plain"][1]);
    let by_order = format!(
        "\u{feff}Reason,AMOUNT,Oid,ActionTrackerID\nOTHER,0.00,{},{}\n",
        cell(&one["order_id"]),
        one["action_tracker_id"]
    );
    let by_action =
        format!("ActionID,Amount,Reason\n{},0,OTHER\n", other["action_ids"][0].as_str().expect("an action"));
    send(&server, "a.csv", &by_order).await;
    send(&server, "b.csv", &by_action).await;
    let refused = server.send("POST", "/_simulator/file", "", "a,b\n1,2\n").await.expect("an answer");
    assert_eq!(refused.status, 400);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for example in [one, other] {
        let id = example["action_ids"][0].as_str().expect("an action");
        assert_eq!(server.control("GET", &format!("actions?id={id}")).await.json()["all_cancelled"], true);
    }
    let list = "/Advertisers/SIMULATOR/FTPFileSubmissions";
    let names = |page: Value| -> Vec<String> {
        let rows = page["FTPFileSubmissions"].as_array().expect("a list").clone();
        rows.iter().map(|row| row["FileName"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(server.get(list).await.json()), ["b.csv", "a.csv"]);
    let day = |days: i64| crate::time::iso(crate::time::now_ms() + days * crate::data::DAY);
    for (query, found) in [
        (format!("SubmissionDateStart={}", day(-1)), 2),
        (format!("SubmissionDateStart={}", day(1)), 0),
        (format!("SubmissionDateStart={}&SubmissionDateEnd={}", day(-2), day(-1)), 0),
        (format!("CompletedDateStart={}&CompletedDateEnd={}", day(-1), day(1)), 2),
    ] {
        assert_eq!(names(server.get(&format!("{list}?{query}")).await.json()).len(), found, "{query}");
    }
    assert_eq!(server.get(&format!("{list}?SubmissionDateStart=today")).await.status, 400);
}

#[tokio::test]
async fn the_errors_are_where_the_documents_say_or_where_the_sample_says() {
    for (errors, own, documented) in
        [(FileErrors::Documented, 200, 200), (FileErrors::Short, 200, 200), (FileErrors::Dead, 404, 200)]
    {
        let server = Server::start(quick(Options { file_errors: errors, ..of(200) })).await;
        let id =
            send(&server, "a.csv", "OrderId,ActionTrackerId,Amount,Reason\nx,1,0,OTHER\n").await["batch_id"].clone();
        let path = format!("/Advertisers/SIMULATOR/FTPFileSubmissions/{}", id.as_str().expect("an ID"));
        let file = server.get(&path).await.json();
        assert_eq!(server.get(file["ErrorsUri"].as_str().expect("a link")).await.status, own, "{errors:?}");
        assert_eq!(server.get(&format!("{path}/ErrorDetails")).await.status, documented, "{errors:?}");
    }
}
