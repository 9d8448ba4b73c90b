//! Tests of partial refunds (`recoup adjust`): the plan, the number of requests, and what the receipt claims.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready};

/// An action of the simulator with its items.
pub(crate) struct Several {
    pub(crate) order_id: String,
    action_id: String,
    /// Each item's SKU, quantity and amount.
    pub(crate) items: Vec<(String, u64, f64)>,
}

/// Sends a GET request with credentials to the simulator's Brand API and returns the JSON of the response.
fn ask(sim: &Sim, path: &str) -> Value {
    let mut stream = TcpStream::connect(&sim.addr).expect("the simulator listens");
    let key = "U0lNVUxBVE9SOnNpbXVsYXRvci10b2tlbg==";
    write!(
        stream,
        "GET /Advertisers/SIMULATOR/{path} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\nAuthorization: Basic {key}\r\n\r\n",
        sim.addr
    )
    .expect("the question");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
}

fn items(sim: &Sim, action_id: &str) -> Vec<(String, u64, f64)> {
    let page = ask(sim, &format!("Actions/{action_id}/Items"));
    let number = |value: &Value| value.to_string().trim_matches('"').parse::<f64>().expect("a number");
    let rows = page["ActionItems"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    rows.iter().map(|row| (text(&row["Sku"]), number(&row["Quantity"]) as u64, number(&row["SaleAmount"]))).collect()
}

/// Returns an order of kind `plain` whose action has at least two items.
pub(crate) fn order(sim: &Sim) -> Several {
    let all: Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
    for one in all["plain"].as_array().expect("a list") {
        let action_id = one["action_ids"][0].as_str().expect("an action").to_owned();
        let items = items(sim, &action_id);
        if items.len() > 1 {
            return Several { order_id: one["order_id"].as_str().expect("text").to_owned(), action_id, items };
        }
    }
    panic!("no plain order has several items: {all}");
}

/// Starts a simulator that has an order of several items, and crawls it.
fn with_items(flags: &[&str]) -> (Sim, Home, Several) {
    let mut all = vec!["--participants", "1500"];
    all.extend(flags);
    let (sim, home) = ready(&all);
    let order = order(&sim);
    (sim, home, order)
}

fn puts(sim: &Sim) -> Vec<Value> {
    sim.record()["puts"].as_array().cloned().expect("a list")
}

fn entry(ran: &Ran) -> Value {
    ran.object()["retractions"][0].clone()
}

#[test]
fn items_are_shown_before_and_after_and_the_end_is_processed() {
    let (sim, home, order) = with_items(&[]);
    let (first, second) = (&order.items[0], &order.items[1]);
    let amount = format!("{}=0.50", first.0);
    let delta = format!("{}=-0.25", second.0);
    let args = ["adjust", order.order_id.as_str(), "--sku", &amount, "--delta", &delta, "--ticket", "T-7", "--json"];
    let dry = home.check(&[&args[..], &["--dry-run"]].concat(), 0);
    assert_eq!(entry(&dry)["state"], "would_send");
    assert_eq!(entry(&dry)["change"]["lines"][0]["sku"], first.0.as_str());
    assert!(puts(&sim).is_empty() && !home.has_ledger());

    let ran = home.check(&[&args[..], &["--yes"]].concat(), 0);
    let done = entry(&ran);
    assert_eq!((&done["state"], &done["road"]), (&"processed".into(), &"modification".into()), "{done}");
    assert_eq!(done["ticket"], "T-7");
    let line = &done["change"]["lines"][0];
    assert_eq!(line["before"]["amount"], format!("{:.2}", first.2));
    assert_eq!((&line["sent"]["amount"], &line["expected"]["amount"]), (&"0.50".into(), &"0.50".into()));
    assert_eq!(line["after"]["amount"], "0.50");
    assert_eq!(done["change"]["lines"][1]["after"]["amount"], format!("{:.2}", second.2 - 0.25));
    let sent = puts(&sim);
    assert_eq!(sent.len(), 1);
    let params = &sent[0]["params"];
    assert_eq!(params["ActionId"], order.action_id.as_str());
    assert_eq!((&params["Sku"], &params["Amount"]), (&first.0.as_str().into(), &"0.50".into()));
    assert_eq!((&params["Sku2"], &params["ItemSubTotalDelta2"]), (&second.0.as_str().into(), &"-0.25".into()));
    assert_eq!((&params["Reason"], &params["DispositionCode"]), (&"ORDER_UPDATE".into(), &"ORDER_UPDATE".into()));
    assert!(sim.deletes().is_empty() && sim.violations().is_empty());
    let text = home.check(&["status", "--retraction", "1"], 0).stdout;
    for part in ["adjustment 1", "processed", "delta -0.25", "which no published read proves", "ItemPrice"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("confirmed"), "never: {text}");
}

#[test]
fn a_change_of_the_whole_order_warns_that_the_vendor_compares_items() {
    let (sim, home, order) = with_items(&[]);
    let ran = home.check(&["adjust", &order.order_id, "--amount", "1.00", "--yes"], 0);
    for part in ["warning (order-amount)", "warning (item-price)", "processed", "the whole order"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert_eq!(puts(&sim)[0]["params"]["Amount"], "1.00");
    // An adjusted action can be retracted; a retracted one cannot be adjusted.
    let retracted = home.check(&["retract", &order.order_id, "--yes", "--json"], 0);
    assert_eq!(retracted.state(), "confirmed");
    let refused = home.check(&["adjust", &order.order_id, "--amount", "0.50", "--yes", "--json"], 5);
    assert!(refused.stderr.contains("taken back whole (retraction 2"), "{}", refused.stderr);
    assert_eq!(puts(&sim).len(), 1);
}

#[test]
fn an_invalid_partial_refund_is_refused_and_nothing_is_sent() {
    let (sim, home, order) = with_items(&[]);
    let id = order.order_id.as_str();
    let all: Vec<String> = order.items.iter().map(|item| format!("{}=0", item.0)).collect();
    let everything: Vec<&str> = all.iter().flat_map(|one| ["--quantity", one.as_str()]).collect();
    let (sku, has, costs) = &order.items[0];
    let more = format!("{sku}={:.2}", costs + 1.0);
    let same = format!("{sku}={costs:.2}");
    let too_many = format!("{sku}={}", has + 1);
    let too_much = format!("{sku}=-{:.2}", costs + 1.0);
    let table: [(&[&str], i32, &str); 10] = [
        (&["--amount", "0"], 5, "that is a retraction"),
        (&["--amount", "0.00"], 5, "that is a retraction"),
        (&everything, 5, "that is a retraction"),
        (&["--sku", "no such=1"], 5, "has no item"),
        (&["--sku", &more], 5, "no refund"),
        (&["--sku", &same], 5, "nothing would change"),
        (&["--quantity", &too_many], 5, "no refund"),
        (&["--delta", &too_much], 5, "takes more"),
        (&["--amount", "99999.00"], 5, "no refund"),
        (&["--delta", &same], 2, "takes nothing away"),
    ];
    for (flags, code, why) in table {
        let ran = home.check(&[&["adjust", id, "--yes"], flags].concat(), code);
        assert!(ran.stderr.contains(why), "{flags:?}: {}", ran.stderr);
    }
    assert_eq!(home.check(&["adjust", id, "--yes"], 2).code, Some(2), "nothing to change");
    assert!(home.check(&["adjust", id, "--amount", "0", "--yes"], 5).stderr.contains("recoup retract"));
    let two = sim.example("two_actions");
    let ran = home.check(&["adjust", &two.order_id, "--amount", "1", "--yes", "--json"], 5);
    assert!(ran.stderr.contains("--action-id") && !ran.stderr.contains("--all"), "{}", ran.stderr);
    assert_eq!(home.check(&["adjust", "no such order", "--amount", "1", "--yes", "--json"], 4).code, Some(4));
    assert!(puts(&sim).is_empty());
    assert!(!home.has_ledger());
}

#[test]
fn the_same_change_is_sent_again_only_if_a_person_orders_it() {
    let (sim, home, order) = with_items(&[]);
    let (sku, _, costs) = &order.items[0];
    let delta = format!("{sku}=-0.10");
    let args = ["adjust", order.order_id.as_str(), "--delta", &delta, "--yes", "--json"];
    home.check(&args, 0);
    let refused = home.check(&args, 5);
    assert!(refused.stderr.contains("adjustment 1") && refused.stderr.contains("--again"), "{}", refused.stderr);
    assert_eq!(puts(&sim).len(), 1);
    assert_eq!(entry(&home.check(&[&args[..], &["--again"]].concat(), 0))["id"], 2);
    assert_eq!(puts(&sim).len(), 2);
    let left = items(&sim, &order.action_id)[0].2;
    assert!((left - (costs - 0.20)).abs() < 0.001, "{left} of {costs}");
    let again = home.check(&["status", "--retraction", "2"], 0).stdout;
    assert!(again.contains("the same as adjustment 1"), "{again}");
    // An adjustment with a different delta is a different refund, so recoup sends it.
    home.check(&["adjust", &order.order_id, "--delta", &format!("{sku}=-0.11"), "--yes"], 0);
    assert_eq!(puts(&sim).len(), 3);
}

#[test]
fn two_processes_send_the_same_change_once() {
    let (sim, home, order) = with_items(&["--latency", "50ms"]);
    let delta = format!("{}=-0.10", order.items[0].0);
    let args = ["adjust", order.order_id.as_str(), "--delta", &delta, "--yes", "--json"];
    let running: Vec<_> = (0..3).map(|_| home.command(&args).spawn().expect("it starts")).collect();
    let mut ended: Vec<_> =
        running.into_iter().map(|child| Ran::of(&args, child.wait_with_output().expect("it ends"))).collect();
    ended.sort_by_key(|ran| ran.code);
    let codes: Vec<_> = ended.iter().map(|ran| ran.code).collect();
    assert_eq!(codes, [Some(0), Some(5), Some(5)], "{ended:?}");
    assert_eq!(puts(&sim).len(), 1);
}

#[test]
fn a_second_change_is_refused_while_one_is_open() {
    let (sim, home, order) = with_items(&["--complete-delay", "1h"]);
    let sku = &order.items[0].0;
    let ran = home.check(
        &["adjust", &order.order_id, "--delta", &format!("{sku}=-0.10"), "--yes", "--wait", "50ms", "--json"],
        7,
    );
    assert_eq!(ran.state(), "queued");
    let refused = home.check(&["adjust", &order.order_id, "--delta", &format!("{sku}=-0.20"), "--yes", "--again"], 5);
    assert!(refused.stderr.contains("adjustment 1 of this action is queued"), "{}", refused.stderr);
    assert_eq!(puts(&sim).len(), 1);
    assert_eq!(home.check(&["verify", "--json"], 7).state(), "queued");
}

#[test]
fn every_response_to_the_put_leads_to_its_state() {
    let table = [
        ("400", 1, "failed"),
        ("401", 3, "planned"),
        ("403", 3, "planned"),
        ("404", 1, "failed"),
        ("408", 7, "unknown"),
        ("409", 1, "failed"),
        ("429", 0, "processed"),
        ("429-bare", 0, "processed"),
        ("500-before", 7, "unknown"),
        ("500-after", 7, "unknown"),
        ("502", 7, "unknown"),
        ("307", 7, "unknown"),
        ("reset-before", 7, "unknown"),
        ("reset-after", 7, "unknown"),
        ("hang-before", 7, "unknown"),
        ("hang-after", 7, "unknown"),
        ("unreadable", 7, "unknown"),
        ("empty", 7, "unknown"),
    ];
    for (fault, code, state) in table {
        let (sim, home) = ready(&["--put-fault", fault]);
        home.configure_more("lock_wait = '1s'");
        let order = sim.example("plain");
        let args = ["adjust", order.order_id.as_str(), "--amount", "0.50", "--yes", "--json", "--wait", "1s"];
        let ran = home.run(&args);
        assert_eq!(ran.code, Some(code), "{fault}: {ran:?}");
        assert_eq!(ran.state(), state, "{fault}: {ran:?}");
        let arrived = puts(&sim).len();
        assert_eq!(arrived, 1 + usize::from(fault.starts_with("429")), "{fault}: {:?}", puts(&sim));

        // A second run sends the change again only if the vendor certainly did nothing with the first request.
        sim.post("set?put-fault=none");
        let verified = home.run(&["verify", "--json"]);
        if state == "unknown" {
            verified.expect(7);
            assert_eq!(verified.state(), "unknown", "{fault}: the list is not asked at once");
        }
        let again = home.run(&args);
        let certain = matches!(state, "failed" | "planned");
        assert_eq!(again.code, Some(if certain { 0 } else { 5 }), "{fault}: {again:?}");
        assert_eq!(puts(&sim).len(), arrived + usize::from(certain), "{fault}");
        assert!(sim.violations().is_empty(), "{fault}: {:?}", sim.violations());
    }
}

#[test]
fn the_submission_decides_between_processed_and_failed() {
    for (error, code, state) in [("ACTION_NOT_FOUND", 0, "processed"), ("MALFORMED", 1, "failed")] {
        let (sim, home) = ready(&["--submission-error", error]);
        let order = sim.example("plain");
        let ran = home.check(&["adjust", &order.order_id, "--amount", "0.50", "--yes", "--json"], code);
        let entry = entry(&ran);
        assert_eq!(entry["state"], state, "{entry}");
        assert!(entry["submission"].to_string().contains(error), "{entry}");
        assert_eq!(puts(&sim).len(), 1);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn killed_between_any_two_steps_a_change_is_sent_at_most_once() {
    // Each entry: the crash point, whether the PUT was sent, and the state that `verify` then finds.
    for (point, sent, end) in [
        ("planned", false, "none"),
        ("sending", false, "unknown"),
        ("answered", true, "unknown"),
        ("queued", true, "processed"),
        ("completed", true, "processed"),
        ("proven", true, "processed"),
    ] {
        let (sim, home) = ready(&[]);
        let order = sim.example("plain");
        let args = ["adjust", order.order_id.as_str(), "--amount", "0.50", "--yes", "--json"];
        let home = home.set("RECOUP_CRASH_AT", point);
        assert_eq!(home.run(&args).code, None, "{point}: died by a signal");
        assert_eq!(puts(&sim).len(), usize::from(sent), "{point}");
        let home = home.set("RECOUP_CRASH_AT", "");
        home.wait_for_locks();
        let verified = home.run(&["verify", "--watch", "--wait", "500ms", "--json"]);
        if end != "none" {
            assert_eq!(verified.state(), end, "{point}: {verified:?}");
        }
        let again = home.run(&args);
        assert_eq!(again.code, Some(if end == "none" { 0 } else { 5 }), "{point}: {again:?}");
        assert_eq!(puts(&sim).len(), 1.min(usize::from(sent) + usize::from(end == "none")), "{point}");
    }
}

#[test]
fn a_change_without_a_response_is_searched_in_the_list_of_submissions() {
    for (fault, code, state) in [("reset-after", 0, "processed"), ("reset-before", 7, "unknown")] {
        let (sim, home) = ready(&["--put-fault", fault]);
        home.configure_more("list_after = '1ms'");
        let order = sim.example("plain");
        let args = ["adjust", order.order_id.as_str(), "--amount", "0.50", "--yes", "--json", "--wait", "3s"];
        let ran = home.check(&args, code);
        assert_eq!(ran.state(), state, "{fault}: {ran:?}");
        let text = home.check(&["status", "--retraction", "1"], 0).stdout;
        assert!(text.contains("list of submissions"), "{fault}: {text}");
        // Whatever the vendor's list of submissions says, recoup does not send the change again automatically.
        sim.post("set?put-fault=none");
        home.check(&args, 5);
        assert_eq!(puts(&sim).len(), 1, "{fault}");
    }
}

#[test]
fn many_open_changes_are_each_polled_at_their_own_interval() {
    let (sim, home) = ready(&["--participants", "3000", "--complete-delay", "1h"]);
    let toml = std::fs::read_to_string(home.path("recoup.toml")).expect("the configuration");
    home.configure(&toml.replace("settle = '10s'", "settle = '10m'"));
    for one in crate::batch::plain(&sim, 6) {
        home.check(&["adjust", &one.order, "--amount", "0.01", "--yes", "--wait", "1ms"], 7);
    }
    let asked = || sim.record()["requests"]["GET submission"].as_u64().unwrap_or(0);
    let before = asked();
    home.check(&["verify"], 7);
    assert_eq!(asked(), before, "none of them is overdue");
    // `verify` reads a retraction from the vendor if the command names it.
    home.check(&["verify", "1"], 7);
    assert_eq!(asked(), before + 1);
}
