//! Tests programs with their rules: the requests, and which answers are readable, unreadable or errors.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::server::{Reply, Server};
use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::model::program_rule::RuledProgram;
use crate::vendor::{Advocate, Programs};

async fn ask(replies: impl IntoIterator<Item = Reply>, ids: Option<&[&str]>) -> (Server, Result<Programs>) {
    let server = Server::replying(replies).await;
    let advocate = Advocate::new(&server.options(), "t", Clock::system(), CancellationToken::new()).expect("a client");
    let ids: Option<Vec<String>> = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    let answer = advocate.program_rules(ids.as_deref()).await;
    (server, answer)
}

fn program(id: &str, intent: &str) -> Value {
    let trigger = json!({"triggerType": "eventTrigger", "eventKey": "purchase", "intent": intent});
    let action = json!({"key": "a", "name": "a", "actionType": "retraction", "subType": "referral"});
    let objective =
        json!({"key": "o", "name": "o", "performsConversion": false, "trigger": trigger, "actions": [action]});
    json!({"id": id, "name": "n", "status": "LIVE", "templateId": "t", "lastActivatedDate": 1,
        "rules": {"conversionRule": {"objectives": [objective]}}})
}

fn page(programs: &[Value], total: Option<u64>) -> Reply {
    Reply::json(200, &json!({"data": {"programs": {"totalCount": total, "data": programs}}}).to_string())
}

/// Returns each program with its rule's state, or why recoup cannot read the programs.
fn described(answer: &Result<Programs>) -> Vec<String> {
    match answer {
        Ok(Programs::Read(programs)) => programs.iter().map(line).collect(),
        Ok(Programs::NotReadable { why, passes }) => vec![format!("{why} ({passes})")],
        Err(error) => vec![format!("{:?}", error.kind)],
    }
}

fn line(program: &RuledProgram) -> String {
    let rule = program.judge(&[], "");
    let why = rule.why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} {:?}{why}", program.id, rule.state)
}

#[tokio::test]
async fn programs_are_requested_by_id_and_other_programs_are_dropped() {
    let (server, answer) =
        ask([page(&[program("b", "REFUND"), program("a", "PURCHASE")], Some(2))], Some(&["a", "c"])).await;
    assert_eq!(described(&answer), ["a NoSuchRule", "c NotReadable (the vendor lists no program of this ID)"]);
    let asked = server.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /base/t/graphql");
    let body: Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(body["variables"], json!({"filter": {"id_in": ["a", "c"]}, "limit": 20, "offset": 0}));
    let query = body["query"].as_str().expect("a text");
    assert!(query.contains("data { id name status templateId rules lastActivatedDate }"), "{query}");
}

#[tokio::test]
async fn every_program_is_read_page_by_page() {
    for (replies, expected, requests) in [
        (vec![page(&[program("a", "REFUND")], Some(1))], vec!["a Found"], 1),
        (vec![page(&[program("a", "REFUND")], None)], vec!["a Found"], 1),
        (vec![page(&[], Some(0))], vec![], 1),
        (
            vec![page(&[program("a", "REFUND")], Some(2)), page(&[program("b", "OTHER")], Some(2))],
            vec!["a Found", "b NoSuchRule"],
            2,
        ),
        // The scripted server ignores the offset of the request.
        (vec![page(&[program("a", "REFUND")], Some(9))], vec!["a Found"], 2),
        (
            vec![page(&[program("a", "REFUND"), program("a", "OTHER")], Some(2))],
            vec!["a NotReadable (the vendor lists it twice, with different rules)"],
            1,
        ),
        (
            vec![page(&[json!({"id": "a", "rules": null})], Some(1))],
            vec!["a NotReadable (the vendor gives no rules for this program)"],
            1,
        ),
        (vec![page(&[json!({"name": "without an ID"}), Value::Null], Some(2))], vec![], 1),
    ] {
        let (server, answer) = ask(replies, None).await;
        assert_eq!(described(&answer), expected);
        assert_eq!(server.requests().len(), requests, "{expected:?}");
    }
}

#[tokio::test]
async fn unreadable_rules_are_an_answer_and_not_an_error() {
    let error = |message: &str, path: Value| json!({"message": message, "path": path});
    let whole = |error: Value| json!({"errors": [error], "data": null}).to_string();
    let one = json!({"data": [{"id": "a", "name": "n", "status": "LIVE", "rules": null}, program("b", "REFUND")]});
    let with = |error: Value| json!({"errors": [error], "data": {"programs": one}}).to_string();
    let schema = "the GraphQL schema in force does not have the rules of programs";
    let scope = "the token may not read the rules of programs";
    for (status, body, expected) in [
        (
            200,
            whole(error("Cannot query field \"rules\" on type \"Program\"", json!(null))),
            vec![format!("{schema} (false)")],
        ),
        (400, whole(error("Cannot query field \"programs\"", json!(null))), vec![format!("{schema} (false)")]),
        (200, whole(error("Not authorized", json!(["programs"]))), vec![format!("{scope} (false)")]),
        (403, "{}".to_owned(), vec![format!("{scope} (false)")]),
        (404, "{}".to_owned(), vec!["this tenant has no GraphQL endpoint (false)".to_owned()]),
        (
            200,
            whole(error("it hurts", json!(null))),
            vec!["the server answers the query with an error (false)".to_owned()],
        ),
        (
            200,
            with(error("permission denied", json!(["programs", "data", 0, "rules"]))),
            vec![format!("a NotReadable ({scope})"), "b Found".to_owned()],
        ),
        (200, with(error("forbidden", json!(null))), vec![format!("{scope} (false)")]),
    ] {
        let (_, answer) = ask([Reply::json(status, &body)], None).await;
        assert_eq!(described(&answer), expected, "{status} {body}");
    }
    for reply in
        [Reply::json(200, "{}"), Reply::json(500, "{}"), Reply::json(200, r#"{"data":{"programs":7}}"#), Reply::Close]
    {
        let (_, answer) = ask([reply.clone()], None).await;
        assert!(matches!(&answer, Ok(Programs::NotReadable { passes: true, .. })), "{reply:?}: {answer:?}");
    }
    let (_, answer) = ask([Reply::json(401, "{}")], None).await;
    assert_eq!(answer.map_err(|error| error.kind), Err(Kind::Credentials));
}
