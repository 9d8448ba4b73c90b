//! Tests of refund files that are uploaded on the page or by the API: recoup sends only what a file proves to be
//! refunded in full, and shows why.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::batch::{Action, plain};
use crate::browser::sign_in;
use crate::chrome::{Chrome, Screen};
use crate::service::{Service, add_token, add_user, percent_encoded};
use crate::support::{Home, Sim, ready, wait_until};

/// Prepares a crawled tenant with a user of role `lead`.
fn team() -> (Sim, Home, String) {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    (sim, home, password)
}

/// Returns the total of an order in the format of a refund file.
fn total(sim: &Sim, order: &str) -> String {
    let lines = sim.get("actions");
    let mut actions = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = actions.find(|action| action["order_id"] == order);
    let cents = found.and_then(|action| action["intended_cents"].as_u64()).expect("the amount of an action");
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A Shopify orders export: the first order is refunded, the second is paid, and 1.00 of the third is refunded. Each of
/// the three orders has a second line item.
fn orders_export(sim: &Sim, actions: &[Action]) -> String {
    let mut file =
        "Name,Email,Financial Status,Currency,Total,Created at,Lineitem quantity,Lineitem name,Refunded Amount\n"
            .to_owned();
    let states = ["refunded", "paid", "partially_refunded"];
    for (action, state) in actions.iter().zip(states) {
        let total = total(sim, &action.order);
        let refunded = if state == "refunded" {
            total.as_str()
        } else if state == "paid" {
            "0.00"
        } else {
            "1.00"
        };
        let order = &action.order;
        let paid = format!("buyer@example.com,{state},USD,{total},2026-11-01 10:00:00 +0000,1,Shirt,{refunded}");
        let rows = format!("\"{order}\",{paid}\n\"{order}\",buyer@example.com,,,,2026-11-01 10:00:00 +0000,2,Socks,\n");
        file.push_str(&rows);
    }
    file
}

/// A file of unknown format with a status column: the first order is refunded, the second is not.
fn doubtful_file(actions: &[Action]) -> String {
    format!(
        "order_id,Zustand,E-Mail\n\"{}\",zurück,a@example.com\n\"{}\",bezahlt,b@example.com\n",
        actions[0].order, actions[1].order
    )
}

/// Returns the order IDs of the actions that recoup reversed.
fn reversed(sim: &Sim, actions: &[Action]) -> Vec<usize> {
    let deletes = sim.deletes();
    let ids = deletes.iter().filter_map(|delete| delete["params"]["ActionId"].as_str().map(str::to_owned));
    ids.filter_map(|id| actions.iter().position(|action| action.id.as_deref() == Some(&id))).collect()
}

/// Returns the uploaded files that the service stores for this home.
fn uploads(home: &Home) -> Vec<std::path::PathBuf> {
    let files =
        std::fs::read_dir(home.path("recoup-batches")).into_iter().flatten().map(|entry| entry.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "upload")).collect()
}

#[test]
fn an_uploaded_orders_export_shows_its_statuses_and_sends_only_the_refunded_order() {
    let (sim, home, password) = team();
    let actions = plain(&sim, 3);
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let taken = lead.upload(orders_export(&sim, &actions).as_bytes(), &[("reason", "refunds")]);
    assert_eq!(taken.status, 303, "{}", taken.body);
    let path = taken.header("location").to_owned();
    let page = || lead.get(&path).body;
    wait_until("it is planned", || page().contains(">planned<"));
    let shown = page();
    for text in [
        "Shopify orders export",
        "1 refunded in full, 1 refunded in part, 1 not refunded",
        "<dt>Financial Status</dt>",
        "<dt>Refunded Amount</dt>",
        "<dd>paid</dd>",
        "<dd>partially_refunded</dd>",
        "Retract 1 order",
        "Nothing is sent for it.",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let (_, table) = shown.split_once("<h2>The plan</h2>").expect("a plan");
    assert_eq!(table.matches("<th scope=\"row\"").count(), 3, "one line for each order: {table}");
    let place = |text: &str| table.find(text).unwrap_or_else(|| panic!("{text}: {table}"));
    assert!(place("<dd>refunded</dd>") < place("<dd>partially_refunded</dd>"), "what is sent comes first");
    assert!(place("<dd>partially_refunded</dd>") < place("<dd>paid</dd>"), "then what is refunded in part");
    assert!(!table.contains("buyer@example.com"), "columns that are no evidence are not shown");
    assert!(sim.deletes().is_empty(), "a plan sends nothing");
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    wait_until("it is done", || page().contains(">done<"));
    assert_eq!(reversed(&sim, &actions), [0], "{:?}", sim.deletes());
    assert_eq!(sim.deletes().len(), 1);
    let outcomes = lead.get(&format!("{path}/outcomes")).body;
    assert!(outcomes.contains("recoup_decision,recoup_evidence") && outcomes.contains("not_refunded"), "{outcomes}");
    assert!(uploads(&home).is_empty(), "a file that needs no explanation is not kept");
}

#[test]
fn a_file_with_ambiguous_columns_is_explained_in_a_form_before_the_plan() {
    let (sim, home, password) = team();
    let actions = plain(&sim, 2);
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let taken = lead.upload(doubtful_file(&actions).as_bytes(), &[("reason", "refunds")]);
    assert_eq!(taken.status, 303, "{}", taken.body);
    let path = taken.header("location").to_owned();
    let form = lead.get(&path).body;
    for text in ["“Zustand” is", "looks like a status", "taken for the order ID", "<label for=\"column-1\">", "bezahlt"]
    {
        assert!(form.contains(text), "{text}: {form}");
    }
    assert!(
        !form.contains(" selected") && !form.contains("--"),
        "nothing is chosen beforehand, and no flag is named: {form}"
    );
    if home.skip_on_server("the rest reads the files of an upload") {
        return;
    }
    let kept = uploads(&home);
    let mode = std::fs::metadata(kept.first().expect("the upload")).expect("its metadata").permissions().mode();
    assert_eq!((kept.len(), mode & 0o077), (1, 0), "only its owner may read it");

    let explain = |fields: &[(&str, &str)]| lead.post(&format!("{path}/explain"), fields);
    for (fields, reason) in [
        (&[][..], "Choose what each of these columns means: “Zustand”"),
        (&[("column_1", "status")], "Say which values of “Zustand” mean refunded"),
        (
            &[("column_1", "status"), ("column_2", "status"), ("refunded_when", "x")],
            "Only one column can be the status",
        ),
        (&[("column_1", "nothing"), ("refunded_when", "zurück")], "Choose the column that has the status"),
        (&[("column_1", "everything")], "is not a meaning of a column"),
        (&[("column_1", "refunded"), ("column_2", "new-amount")], "not both"),
    ] {
        let again = explain(fields);
        assert_eq!(again.status, 400, "{fields:?}");
        assert!(again.body.contains(reason) && again.body.contains("“Zustand” is"), "{fields:?}: {}", again.body);
    }
    let no_token = service.ask(
        "POST",
        &format!("{path}/explain"),
        &[("Cookie", &lead.cookie), crate::service::FORM],
        b"column_1=status",
    );
    assert_eq!(no_token.status, 403, "a form of another site");
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 409, "there is no plan yet");

    let done = explain(&[("column_1", "status"), ("refunded_when", "zurück\r\nRetoure")]);
    assert_eq!(done.status, 303, "{}", done.body);
    let page = || lead.get(&path).body;
    wait_until("it is planned", || page().contains(">planned<"));
    let shown = page();
    assert!(shown.contains("1 refunded in full, 1 not refunded") && shown.contains("<dd>bezahlt</dd>"), "{shown}");
    assert!(shown.contains("Explained by lead") && shown.contains("if it is “zurück” or “Retoure”"), "{shown}");
    assert!(uploads(&home).is_empty(), "the file is removed once it is planned");
    assert_eq!(explain(&[("column_1", "nothing")]).status, 409, "it was explained before");
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    wait_until("it is done", || page().contains(">done<"));
    assert_eq!(reversed(&sim, &actions), [0], "{:?}", sim.deletes());
}

#[test]
fn a_file_without_a_known_column_of_order_ids_is_explained_in_the_form() {
    let (sim, home, password) = team();
    let actions = plain(&sim, 1);
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    // In the second file two columns could be the order ID, so recoup uses neither.
    for (header, place) in [("Kauf,Filiale", 0), ("order_id,Order Number", 1)] {
        let cells =
            if place == 0 { format!("\"{}\",x", actions[0].order) } else { format!("x,\"{}\"", actions[0].order) };
        let taken = lead.upload(format!("{header}\n{cells}\n").as_bytes(), &[("reason", "refunds")]);
        let path = taken.header("location").to_owned();
        let form = lead.get(&path).body;
        assert!(form.contains("order ID") && !form.contains("--"), "{form}");
        let (order, other) = (format!("column_{place}"), format!("column_{}", 1 - place));
        let done = lead.post(&format!("{path}/explain"), &[(&order, "order"), (&other, "nothing")]);
        assert_eq!(done.status, 303, "{header}: {}", done.body);
        wait_until("it is planned", || lead.get(&path).body.contains(">planned<"));
        assert!(lead.get(&path).body.contains("Retract 1 order"), "{}", lead.get(&path).body);
    }
}

#[test]
fn the_api_lists_ambiguous_columns_and_reads_the_file_as_the_query_says() {
    let (sim, home, _) = team();
    let actions = plain(&sim, 2);
    let token = format!("Bearer {}", add_token(&home, "lead", &["batch"]));
    let service = Service::start(&home);
    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", "k"), ("Content-Type", "text/csv")];
    let file = doubtful_file(&actions);
    let create =
        |query: &str| service.ask("POST", &format!("/api/v1/batches?reason=refunds{query}"), &headers, file.as_bytes());
    let refused = create("");
    assert_eq!(refused.status, 400, "{}", refused.body);
    let problem = refused.json();
    let doubt = serde_json::json!([{ "name": "Zustand", "looks_like": "status", "examples": ["zurück", "bezahlt"] }]);
    assert_eq!(problem["doubts"], doubt, "{problem}");
    let hint = problem["hint"].as_str().expect("a hint");
    assert!(hint.contains("status_column=Zustand refunded_when=VALUE") && !hint.contains("--"), "{hint}");
    assert_eq!(create("&statuscolumn=Zustand").status, 400, "a misspelt parameter");
    assert!(create("&amount_means=x").body.contains("new-amount"));

    // The Idempotency-Key is still free, because the refused request did nothing.
    let query = format!("&status_column=Zustand&refunded_when={}&refunded_when=Retoure", percent_encoded("zurück"));
    let made = create(&query);
    assert_eq!(made.status, 202, "{}", made.body);
    assert_eq!(create(&query).json()["id"], made.json()["id"], "the same request is the same batch");
    assert_eq!(create("&ignore_column=Zustand").status, 422, "the same key with another query");
    let id = made.json()["id"].as_str().expect("a number").to_owned();
    let one = || service.get(&format!("/api/v1/batches/{id}"), &headers).json();
    wait_until("it is planned", || one()["stage"] == "planned");
    let batch = one();
    assert_eq!((&batch["format"], &batch["format_title"]), (&Value::from("list"), &Value::from("list of refunds")));
    assert_eq!(batch["decisions"], serde_json::json!({ "refunded_in_full": 1, "not_refunded": 1 }));
    assert!(batch["notes"].is_array() && batch["orders"] == 1, "{batch}");
    assert_eq!(service.ask("POST", &format!("/api/v1/batches/{id}/apply"), &headers, b"").status, 202);
    wait_until("it is done", || one()["stage"] == "done");
    assert_eq!(reversed(&sim, &actions), [0], "{:?}", sim.deletes());
}

#[test]
fn a_hint_about_a_file_names_no_flag_at_the_page_or_the_api() {
    let (_sim, home, password) = team();
    let token = format!("Bearer {}", add_token(&home, "lead", &["batch"]));
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    for (n, (file, format)) in [
        ("a,b\n1,2\n", ""),
        ("order_id,Order Number\n1,2\n", ""),
        ("order_id,amount\n1,0\n2,0\n", ""),
        ("order_id,Status\n1,paid\n", ""),
        ("order_id\n1\n", "nonsense"),
        ("order_id\n1\n", "shopify-orders"),
        ("Name,Financial Status\n", "stripe"),
        ("order_id,recoup_plan_mark\n1,x\n", ""),
        ("[{\"order_id\": {\"id\": 1}}]", ""),
        ("<html>", ""),
        ("", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let key = n.to_string();
        let headers = [("Authorization", token.as_str()), ("Idempotency-Key", key.as_str())];
        let query = if format.is_empty() { String::new() } else { format!("&format={format}") };
        let answer = service.ask("POST", &format!("/api/v1/batches?reason=x{query}"), &headers, file.as_bytes());
        assert_eq!(answer.status, 400, "{file:?}: {}", answer.body);
        let text = answer.body.replace("\\\"", "\"");
        assert!(!text.contains("--") && !text.contains("`recoup"), "{file:?}: {text}");
        let answer = lead.upload(file.as_bytes(), &[("reason", "x"), ("format", format)]);
        let body = if answer.status == 303 { lead.get(answer.header("location")).body } else { answer.body };
        let (_, main) = body.split_once("<main").expect("a page");
        assert!(!main.contains("--") && !main.contains("`recoup"), "{file:?}: {main}");
    }
}

#[test]
fn the_settings_say_how_uploads_are_read() {
    let (sim, home, _) = team();
    let actions = plain(&sim, 2);
    home.configure_more(
        "[refunds]\nstrip_order_prefix = \"SHOP-\"\n[refund_format.kasse]\nrecognise_by = [\"Beleg\", \"Zustand\"]\norder_column = \"Beleg\"\n\
         status_column = \"Zustand\"\nrefunded_when = [\"zurück\"]\n",
    );
    let token = format!("Bearer {}", add_token(&home, "lead", &["batch"]));
    let service = Service::start(&home);
    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", "k"), ("Content-Type", "text/csv")];
    let file = format!("Beleg,Zustand\n\"SHOP-{}\",zurück\n\"SHOP-{}\",bezahlt\n", actions[0].order, actions[1].order);
    let made = service.ask("POST", "/api/v1/batches?reason=refunds", &headers, file.as_bytes());
    assert_eq!(made.status, 202, "{}", made.body);
    let id = made.json()["id"].as_str().expect("a number").to_owned();
    let one = || service.get(&format!("/api/v1/batches/{id}"), &headers).json();
    wait_until("it is planned", || one()["stage"] == "planned");
    assert_eq!((&one()["format"], &one()["orders"]), (&Value::from("kasse"), &Value::from(1)), "{}", one());
}

#[test]
fn a_lead_uploads_an_orders_export_and_explains_another_file_in_a_browser() {
    let (sim, home, password) = team();
    let actions = plain(&sim, 3);
    let (export, list) = (home.path("orders.csv"), home.path("list.csv"));
    std::fs::write(&export, orders_export(&sim, &actions)).expect("a file");
    std::fs::write(&list, doubtful_file(&actions)).expect("a file");
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("upload", &service, true) else { return };
    sign_in(&chrome, "lead", &password);
    chrome.go("/batch");
    chrome.presses("How the file is read");
    chrome.shoot("1-upload");
    chrome.accessible();
    chrome.types("#file", &export.display().to_string());
    chrome.types("#reason", "returns of the week");
    chrome.presses("Check every order");
    chrome.sees("Retract 1 order");
    chrome.sees("Nothing is sent for it.");
    let text = chrome.text();
    assert!(text.contains("Shopify orders export") && text.contains("not refunded"), "{text}");
    assert!(!text.contains("partially_refunded"), "the evidence is in the details: {text}");
    chrome.clicks(".cards summary");
    chrome.sees("Evidence of the file");
    for (screen, of) in [(Screen::Desktop, "light"), (Screen::Dark, "dark"), (Screen::Phone, "phone")] {
        chrome.screen(screen);
        chrome.shoot(&format!("2-plan-{of}"));
        chrome.accessible();
    }
    chrome.screen(Screen::Desktop);
    chrome.clicks("input[name=yes]");
    chrome.presses("Retract 1 order");
    chrome.sees("confirmed 1");
    assert_eq!(reversed(&sim, &actions), [0], "{:?}", sim.deletes());

    chrome.go("/batch");
    chrome.types("#file", &list.display().to_string());
    chrome.types("#reason", "returns of the week");
    chrome.presses("Check every order");
    chrome.sees("What do the columns mean?");
    for (screen, of) in [(Screen::Desktop, "light"), (Screen::Dark, "dark"), (Screen::Phone, "phone")] {
        chrome.screen(screen);
        chrome.shoot(&format!("3-explain-{of}"));
        chrome.accessible();
    }
    chrome.screen(Screen::Desktop);
    chrome.clicks("#column-1 option[value=status]");
    chrome.presses("Check every order");
    chrome.sees("Say which values of “Zustand” mean refunded");
    chrome.shoot("4-explain-again");
    chrome.accessible();
    chrome.types("#refunded-when", "zurück");
    chrome.presses("Check every order");
    chrome.sees("1 refunded in full, 1 not refunded");
    chrome.sees("sent before");
    chrome.shoot("5-explained");
    chrome.accessible();
    assert_eq!(sim.deletes().len(), 1, "a plan sends nothing");
}
