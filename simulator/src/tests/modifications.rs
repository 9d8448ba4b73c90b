//! Tests that modifications are visible, that lists are complete or fail, and that the cancellation of a reward can
//! fail.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    of,
    server::{Server, quick},
};
use crate::{DeleteFault, Options, SubmissionsList};

/// Waits until all delays of [`quick`] are over.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn example(server: &Server, kind: &str) -> Value {
    server.control("GET", "examples").await.json()[kind][0].clone()
}

fn action_of(example: &Value) -> String {
    example["action_ids"][0].as_str().expect("an action").to_owned()
}

async fn items(server: &Server, action: &str) -> Vec<(String, u64, f64)> {
    let page = server.get(&format!("/Advertisers/SIMULATOR/Actions/{action}/Items")).await.json();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok()).expect("a number as text");
    let rows = page["ActionItems"].as_array().expect("a list");
    rows.iter()
        .map(|row| {
            (
                row["Sku"].as_str().expect("a SKU").to_owned(),
                number(&row["Quantity"]) as u64,
                number(&row["SaleAmount"]),
            )
        })
        .collect()
}

/// Returns a plain action that has several items.
async fn with_items(server: &Server) -> (String, Vec<(String, u64, f64)>) {
    for one in server.control("GET", "examples").await.json()["plain"].as_array().expect("a list") {
        let action = action_of(one);
        let items = items(server, &action).await;
        if items.len() > 1 {
            return (action, items);
        }
    }
    panic!("no plain action has several items");
}

#[tokio::test]
async fn items_change_as_asked_and_everything_at_zero_takes_the_action_back() {
    let server = Server::start(quick(of(2000))).await;
    let (action, before) = with_items(&server).await;
    let path = format!("/Advertisers/SIMULATOR/Actions/{action}");
    let amount = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok()).expect("money as text");
    let (first, second) = (&before[0], &before[1]);
    let put = form(&[
        ("ActionId", &action),
        ("Sku", &first.0),
        ("Quantity", "7"),
        ("Amount", "1.50"),
        ("Sku2", &second.0),
        ("ItemSubTotalDelta2", "-0.25"),
        ("Reason", "ORDER_UPDATE"),
        ("DispositionCode", "ORDER_UPDATE"),
    ]);
    let queued = server.write("PUT", &put).await.expect("an answer").json();
    assert_eq!(queued["Status"], "QUEUED");
    assert_eq!(items(&server, &action).await, before, "accepted is not done");
    settle().await;
    let after = items(&server, &action).await;
    assert_eq!(after[0], (first.0.clone(), 7, 1.5));
    assert!((after[1].2 - (second.2 - 0.25)).abs() < 0.001, "{after:?}");
    let one = server.get(&path).await.json();
    let total: f64 = after.iter().map(|item| item.2).sum();
    assert!((amount(&one["Amount"]) - total).abs() < 0.001, "{one}");
    assert_eq!(one["State"], "PENDING");
    let encoded = percent_encoding::utf8_percent_encode(&first.0, percent_encoding::NON_ALPHANUMERIC).to_string();
    let item = server.get(&format!("{path}/Items/{encoded}")).await.json();
    assert_eq!((&item["Quantity"], &item["AdjustmentReason"]), (&json!("7"), &json!("ORDER_UPDATE")));

    let zeros: Vec<(String, String)> = (1..=after.len())
        .zip(&after)
        .map(|(place, item)| (if place == 1 { "Sku".to_owned() } else { format!("Sku{place}") }, item.0.clone()))
        .collect();
    let mut pairs = vec![("ActionId".to_owned(), action.clone()), ("Reason".to_owned(), "ITEM_RETURNED".to_owned())];
    for (name, sku) in zeros {
        pairs.push((name.replace("Sku", "Quantity"), "0".to_owned()));
        pairs.push((name, sku));
    }
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    server.write("PUT", &form(&pairs)).await.expect("an answer");
    settle().await;
    let one = server.get(&path).await.json();
    assert_eq!((&one["State"], amount(&one["Amount"])), (&json!("REVERSED"), 0.0));
    let truth = server.control("GET", &format!("actions?id={action}")).await.json();
    assert_eq!((&truth["all_cancelled"], truth["reversed_at"].is_i64()), (&json!(true), true), "{truth}");
    assert!(truth["rewards"][0]["cancelled_at"].is_i64());
    let record = server.control("GET", "record").await.json();
    assert_eq!(record["puts"].as_array().map(Vec::len), Some(2));
    assert_eq!(record["puts"][0]["params"]["ItemSubTotalDelta2"], "-0.25");
}

#[tokio::test]
async fn an_order_level_amount_is_absolute_and_wrong_numbers_are_refused() {
    let server = Server::start(quick(of(2000))).await;
    let (action, _) = with_items(&server).await;
    for (name, value, field) in
        [("Amount", "x", "Amount"), ("ItemSubTotalDelta", "1,5", "Amount"), ("Quantity", "-1", "Quantity")]
    {
        let put = form(&[("ActionId", &action), ("Sku", "A"), (name, value), ("Reason", "ORDER_UPDATE")]);
        let put = if name == "Amount" { put.replace("Sku=A&", "") } else { put };
        let refused = server.write("PUT", &put).await.expect("an answer");
        assert_eq!((refused.status, &refused.json()["Errors"][0]["Field"]), (400, &json!(field)), "{name}={value}");
    }
    for (amount, state) in [("12.34", "PENDING"), ("0", "REVERSED")] {
        server
            .write("PUT", &form(&[("ActionId", &action), ("Amount", amount), ("Reason", "ORDER_UPDATE")]))
            .await
            .expect("an answer");
        settle().await;
        let one = server.get(&format!("/Advertisers/SIMULATOR/Actions/{action}")).await.json();
        assert_eq!(
            (&one["State"], one["Amount"].as_str()),
            (&json!(state), Some(if amount == "0" { "0.00" } else { amount }))
        );
    }
    let program = action.split('.').next().expect("a program").to_owned();
    let now = crate::time::now_ms();
    let date = |days: i64| crate::time::iso(now + days * crate::data::DAY);
    let updates = |query: String| {
        let server = &server;
        async move { server.get(&format!("/Advertisers/SIMULATOR/ActionUpdates?{query}")).await }
    };
    let answer =
        updates(format!("CampaignId={program}&StartDate={}&EndDate={}&State=REVERSED", date(-1), date(1))).await;
    let list = answer.json()["ActionUpdates"].clone();
    let own: Vec<&Value> =
        list.as_array().into_iter().flatten().filter(|row| row["ActionId"] == action.as_str()).collect();
    assert_eq!(
        (own.len(), &own[0]["Disposition"], &own[0]["DeltaAmount"]),
        (1, &json!("ORDER_UPDATE"), &json!("-12.34"))
    );
    let id = own[0]["Id"].as_str().expect("an ID").to_owned();
    assert!(id.starts_with(&format!("{action}.")));
    assert_eq!(server.get(&format!("/Advertisers/SIMULATOR/ActionUpdates/{id}")).await.json()["State"], "REVERSED");
    for (query, status) in [
        (String::new(), 400),
        (format!("CampaignId={program}"), 200),
        (format!("CampaignId={program}&StartDate={}", date(-1)), 400),
        (format!("CampaignId={program}&EndDate={}", date(1)), 400),
        (format!("CampaignId={program}&StartDate={}&EndDate={}", date(-46), date(0)), 400),
        (format!("CampaignId={program}&StartDate={}&EndDate={}", date(-1200), date(-1190)), 400),
        (format!("CampaignId={program}&StartDate=yesterday&EndDate={}", date(0)), 400),
    ] {
        assert_eq!(updates(query.clone()).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn a_page_leads_to_the_next_with_the_same_question() {
    let server = Server::start(of(2000)).await;
    let now = crate::time::now_ms();
    let date = |days: i64| crate::time::iso(now + days * crate::data::DAY);
    let mut path = format!(
        "/Advertisers/SIMULATOR/ActionUpdates?CampaignId=4711&ActionDateStart={}&ActionDateEnd={}&PageSize=9",
        date(-40),
        date(0)
    );
    let (mut seen, mut total) = (Vec::new(), String::new());
    while !path.is_empty() {
        let page = server.get(&path).await.json();
        let rows = page["ActionUpdates"].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
        seen.extend(rows.iter().map(|row| row["Id"].to_string()));
        total = page["@total"].as_str().expect("text").to_owned();
        path = page["@nextpageuri"].as_str().expect("a link").to_owned();
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert!(count > 18 && seen.len() == count && total == count.to_string(), "{count} of {total}");
}

#[tokio::test]
async fn submissions_are_listed_late_or_not_at_all_where_asked() {
    let late = Options { submissions_late: Duration::from_mins(1), ..quick(of(2000)) };
    let server = Server::start(late).await;
    let action = action_of(&example(&server, "plain").await);
    let delete = form(&[("ActionId", &action), ("Amount", "0"), ("DispositionCode", "X")]);
    let uri = server.write("DELETE", &delete).await.expect("an answer").json()["QueuedUri"].clone();
    assert_eq!(server.get(uri.as_str().expect("a link")).await.status, 200, "by its link it is there");
    let list = "/Advertisers/SIMULATOR/APISubmissions";
    let length = |page: &Value| page["APISubmission"].as_array().map(Vec::len);
    assert_eq!(length(&server.get(list).await.json()), Some(0));
    assert_eq!(server.control("POST", "set?submissions-late=0s").await.status, 200);
    let page = server.get(list).await.json();
    assert_eq!(page["APISubmission"][0]["Payload"], delete);
    for (setting, status) in [("403", 403), ("404", 404), ("on", 200)] {
        assert_eq!(server.control("POST", &format!("set?submissions-list={setting}")).await.status, 200);
        assert_eq!(server.get(list).await.status, status);
    }
    let none = Server::start(Options { submissions_list: SubmissionsList::Status403, ..of(50) }).await;
    assert_eq!(none.get(list).await.status, 403);
}

#[tokio::test]
async fn cancels_and_puts_can_fail_like_deletes_and_are_recorded() {
    let server = Server::start(Options { put_fault: DeleteFault::ResetAfter, ..quick(of(2000)) }).await;
    let plain = example(&server, "plain").await;
    let action = action_of(&plain);
    assert!(server.write("PUT", &form(&[("ActionId", &action), ("Amount", "1"), ("Reason", "X")])).await.is_err());
    let headers = format!("Authorization: {}\r\n", server.keys.full());
    let cancel = |id: &Value| {
        let path = format!("/api/v1/simulator/reward/{}/cancel", id.as_str().expect("an ID"));
        let (server, headers) = (&server, headers.clone());
        async move { server.send("POST", &path, &headers, "").await }
    };
    let mut expected = Vec::new();
    for (fault, answered, processed) in
        [("400", "400", false), ("429", "429", false), ("500-before", "500", false), ("unreadable", "200 html", true)]
    {
        server.control("POST", &format!("set?cancel-fault={fault}")).await;
        let answer = cancel(&plain["reward_ids"][0]).await.expect("an answer");
        assert!(answered.starts_with(&answer.status.to_string()), "{fault}: {}", answer.status);
        expected.push((answered.to_owned(), processed));
    }
    server.control("POST", "set?cancel-fault=none").await;
    assert_eq!(cancel(&plain["reward_ids"][0]).await.expect("an answer").status, 400, "it is cancelled already");
    assert_eq!(cancel(&plain["reward_ids"][1]).await.expect("an answer").status, 200);
    assert_eq!(cancel(&json!("nobody")).await.expect("an answer").status, 404);
    expected.extend([("400".to_owned(), false), ("200".to_owned(), true), ("404".to_owned(), false)]);
    for kind in ["gift_card", "not_cancellable"] {
        let mut refused = 0;
        for id in example(&server, kind).await["reward_ids"].as_array().expect("rewards") {
            let answer = cancel(id).await.expect("an answer");
            refused += usize::from(answer.status == 400);
            expected.push((answer.status.to_string(), answer.status == 200));
        }
        assert!(refused > 0, "{kind}");
    }
    let record = server.control("GET", "record").await.json();
    let cancels = record["cancels"].as_array().expect("a list");
    let seen: Vec<(String, bool)> = cancels
        .iter()
        .map(|one| (one["answered"].as_str().unwrap_or_default().to_owned(), one["processed"] == true))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(cancels[0]["params"]["id"], plain["reward_ids"][0]);
    assert_eq!((&record["puts"][0]["answered"], &record["faults"]["cancel 429"]), (&json!("reset"), &json!(1)));
    let truth = server.truth("actions").await;
    let own = truth.iter().find(|line| line["action_id"] == action.as_str()).expect("the action");
    assert_eq!((&own["all_cancelled"], &own["reversed_at"]), (&json!(true), &Value::Null), "rewards alone: {own}");
}
