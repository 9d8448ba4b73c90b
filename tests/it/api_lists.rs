//! Tests of the API's lists: paging, filters, and decisions about approvals.

use serde_json::{Value, json};

use crate::batch::plain;
use crate::service::{Service, add_token, add_user, percent_encoded};
use crate::support::{os_user, ready, wait_until};

const JSON: &str = "application/json";

fn ids(list: &[Value]) -> Vec<Value> {
    list.iter().map(|one| one["id"].clone()).collect()
}

#[test]
fn retractions_are_listed_by_pages_and_filters() {
    let (sim, home) = ready(&["--participants", "3000"]);
    add_user(&home, "agent", "agent");
    add_user(&home, "other", "agent");
    let [agent, other] = ["agent", "other"].map(|name| add_token(&home, name, &["lookup", "retract"]));
    let service = Service::start(&home);
    let (agent, other) = (service.client(&agent), service.client(&other));
    assert_eq!(agent.list("/api/v1/retractions"), Vec::<Value>::new(), "before the first one");
    let orders: Vec<String> = plain(&sim, 5).into_iter().map(|one| one.order).collect();
    for (n, order) in orders.iter().enumerate() {
        let sent = if n < 4 { agent.retract(order) } else { other.retract(order) };
        assert!([201, 202].contains(&sent.status), "{}", sent.body);
    }
    wait_until("all are proven", || agent.list("/api/v1/retractions?state=confirmed").len() == 5);
    let all = agent.list("/api/v1/retractions");
    assert_eq!(ids(&all), [1, 2, 3, 4, 5].map(Value::from), "oldest first");
    for limit in 1..=5 {
        assert_eq!(agent.list(&format!("/api/v1/retractions?limit={limit}&ticket=T-1")), all, "{limit}");
    }
    assert_eq!(ids(&agent.list("/api/v1/retractions?person=other")), [Value::from(5)]);
    let one = agent.list(&format!("/api/v1/retractions?order_id={}", percent_encoded(&orders[1])));
    assert_eq!(ids(&one), [Value::from(2)]);
    assert!(agent.list("/api/v1/retractions?state=queued&state=unknown").is_empty());
    let at = all[2]["events"][0]["at"].as_str().expect("a time");
    assert_eq!(ids(&agent.list(&format!("/api/v1/retractions?since={at}&limit=2"))), [3, 4, 5].map(Value::from));
    assert_eq!(ids(&agent.list(&format!("/api/v1/retractions?until={at}"))), [1, 2].map(Value::from));
    assert!(agent.list("/api/v1/retractions?since=2099-01-01").is_empty());
    assert_eq!(sim.deletes().len(), 5);
}

#[test]
fn batches_are_listed_by_pages_and_filters() {
    let (sim, home) = ready(&[]);
    add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let lead = service.client(&token);
    let made: Vec<String> = (0..3)
        .map(|n| {
            let file = format!("order_id\n\"{}\"\n", sim.example("plain").order_id);
            let made = lead.post(&format!("/api/v1/batches?reason=refunds-{n}"), &n.to_string(), "text/csv", &file);
            assert_eq!(
                made.header("location"),
                format!("/api/v1/batches/{}", made.json()["id"].as_str().expect("an ID"))
            );
            made.json()["id"].as_str().expect("an ID").to_owned()
        })
        .collect();
    wait_until("all are planned", || lead.list("/api/v1/batches?stage=planned").len() == 3);
    let early = lead.get(&format!("/api/v1/batches/{}/outcomes", made[0]));
    assert_eq!(early.status, 404, "{}", early.body);
    assert!(early.body.contains("has no outcomes yet"), "the batch exists: {}", early.body);
    let mut listed: Vec<String> =
        lead.list("/api/v1/batches?limit=1").iter().filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect();
    let mut expected = made.clone();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert!(lead.list("/api/v1/batches?stage=done").is_empty());
    assert!(lead.list("/api/v1/batches?person=somebody").is_empty());
    assert!(lead.list("/api/v1/batches?since=2099-01-01").is_empty());
    assert_eq!(lead.list("/api/v1/batches?until=2099-01-01&person=lead").len(), 3);
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_lead_approves_by_api_and_the_requester_cannot() {
    let (sim, home) = ready(&[]);
    for role in ["agent", "lead"] {
        add_user(&home, role, role);
    }
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let agent = add_token(&home, "agent", &["lookup", "retract"]);
    let lead = add_token(&home, "lead", &["lookup", "retract", "approve"]);
    let service = Service::start(&home);
    let (agent, lead) = (service.client(&agent), service.client(&lead));
    let order = sim.example("plain").order_id;
    let asked = agent.retract(&order).json();
    let own = lead.retract(&sim.another("plain").order_id).json();
    let open = agent.list("/api/v1/approvals?stage=asked&limit=1");
    assert_eq!(ids(&open), [asked["approval_id"].clone(), own["approval_id"].clone()]);
    assert_eq!(ids(&lead.list("/api/v1/approvals?person=agent")), [asked["approval_id"].clone()]);
    let path = |of: &Value, what: &str| format!("/api/v1/approvals/{}/{what}", of["approval_id"]);
    let words = json!({ "reason": "seen in the shop" }).to_string();

    let refused = lead.post(&path(&own, "approve"), "own", JSON, &words);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("nobody approves their own"), "{}", refused.body);
    assert_eq!(agent.post(&path(&own, "approve"), "agent", JSON, &words).json()["missing_scope"], "approve");
    assert_eq!(agent.post(&path(&own, "withdraw"), "not-mine", JSON, &words).status, 409);
    assert!(sim.deletes().is_empty());

    let approved = lead.post(&path(&asked, "approve"), "yes", JSON, &words);
    assert_eq!(approved.status, 202, "{}", approved.body);
    assert_eq!((&approved.json()["stage"], &approved.json()["decided_by"]), (&json!("used"), &json!("lead")));
    let location = approved.header("location").to_owned();
    assert_eq!(location, format!("/api/v1/retractions?order_id={}", percent_encoded(&order)));
    wait_until("it is proven", || lead.get(&location).json()[0]["state"] == "confirmed");
    assert_eq!(lead.get(&location).json()[0]["person"], "agent");
    let again = lead.post(&path(&asked, "approve"), "yes", JSON, &words);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &approved.body));
    assert_eq!(lead.post(&path(&asked, "approve"), "twice", JSON, &words).status, 409);

    let withdrawn = lead.post(&path(&own, "withdraw"), "withdraw", JSON, "");
    assert_eq!((withdrawn.status, &withdrawn.json()["stage"]), (200, &json!("withdrawn")), "{}", withdrawn.body);
    let third = agent
        .post(
            "/api/v1/retractions",
            "third",
            JSON,
            &json!({
                "order_id": sim.another("plain").order_id, "reason": "refunded"
            })
            .to_string(),
        )
        .json();
    let declined = lead.post(&path(&third, "decline"), "decline", JSON, &words);
    assert_eq!((declined.status, &declined.json()["stage"]), (200, &json!("declined")), "{}", declined.body);
    assert_eq!(declined.json()["words"], "seen in the shop");
    assert_eq!(sim.deletes().len(), 1);
    home.check(&["audit", "verify"], 0);
}
