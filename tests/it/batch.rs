//! Tests of batches: every row of a file gets one outcome that matches the simulator, whatever faults occur.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::service::{Service, add_user, percent_encoded};
use crate::support::{Home, Ran, Sim, ready, size, wait_until};

/// An action as the simulator knows it.
#[derive(Clone)]
pub(crate) struct Action {
    pub(crate) id: Option<String>,
    pub(crate) order: String,
    tracker: String,
    cents: u64,
    pub(crate) currency: String,
    ordered_at: i64,
    locks_at: i64,
    all_cancelled: bool,
    rewards: Vec<Reward>,
}

#[derive(Clone)]
struct Reward {
    id: String,
    state: String,
    cancellable: bool,
}

impl Reward {
    fn stands(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "available")
    }
}

impl Action {
    fn all_stand(&self) -> bool {
        !self.rewards.is_empty() && self.rewards.iter().all(|reward| reward.stands() && reward.cancellable)
    }

    fn is_familiar(&self) -> bool {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        self.id.as_deref().is_some_and(|id| id.split('.').count() == 3 && id.split('.').all(digits))
    }

    pub(crate) fn full(&self) -> String {
        format!("{}.{:02}", self.cents / 100, self.cents % 100)
    }

    pub(crate) fn reward_ids(&self) -> Vec<String> {
        self.rewards.iter().map(|reward| reward.id.clone()).collect()
    }

    /// Returns the conversion day, which is in the middle of the ActionId.
    fn day(&self) -> u64 {
        day(self.id.as_deref().expect("an ActionId"))
    }
}

fn day(action_id: &str) -> u64 {
    action_id.split('.').nth(1).and_then(|day| day.parse().ok()).expect("a day")
}

fn actions(sim: &Sim) -> Vec<Action> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let reward = |value: &Value| Reward {
        id: text(&value["reward_id"]),
        state: text(&value["state"]),
        cancellable: value["cancellable"] == true,
    };
    let one = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("a line of actions");
        Action {
            id: value["action_id"].as_str().map(str::to_owned),
            order: text(&value["order_id"]),
            tracker: text(&value["action_tracker_id"]),
            currency: text(&value["currency"]),
            cents: value["intended_cents"].as_u64().expect("cents"),
            ordered_at: value["ordered_at"].as_i64().expect("a time"),
            locks_at: value["locks_at"].as_i64().expect("a time"),
            all_cancelled: value["all_cancelled"] == true,
            rewards: value["rewards"].as_array().into_iter().flatten().map(reward).collect(),
        }
    };
    sim.get("actions").lines().filter(|line| !line.is_empty()).map(one).collect()
}

/// Returns the order IDs that share a reward with another order.
fn shared(sim: &Sim) -> BTreeSet<String> {
    let lists = sim.truth().into_iter().filter_map(|reward| reward["order_ids"].as_array().cloned());
    lists.filter(|list| list.len() > 1).flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is young for the program is young for its test")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Returns actions for which the checks find nothing. Each returned action is the only action of its order.
pub(crate) fn plain(sim: &Sim, wanted: usize) -> Vec<Action> {
    let mut found = all_plain(sim);
    found.truncate(wanted);
    assert_eq!(found.len(), wanted, "the simulator has too few plain orders");
    found
}

/// Returns all actions for which the checks find nothing and which are the only one of their order.
pub(crate) fn all_plain(sim: &Sim) -> Vec<Action> {
    const DAY: i64 = 86_400_000;
    let (all, shared, now) = (actions(sim), shared(sim), now().as_millisecond());
    let mut of_order: BTreeMap<&str, usize> = BTreeMap::new();
    for action in &all {
        *of_order.entry(&action.order).or_default() += 1;
    }
    let is_plain = |action: &&Action| {
        action.all_stand()
            && action.is_familiar()
            && action.cents > 0
            && action.ordered_at > now - 25 * DAY
            && action.locks_at > now + 2 * DAY
            && of_order[action.order.as_str()] == 1
            && !shared.contains(&action.order)
    };
    all.iter().filter(is_plain).cloned().collect()
}

/// Writes a CSV file into the home directory.
pub(crate) fn csv_file(home: &Home, name: &str, header: &[&str], rows: &[Vec<String>]) -> PathBuf {
    let path = home.path(name);
    let mut writer = csv::Writer::from_path(&path).expect("a file");
    writer.write_record(header).expect("a header");
    for row in rows {
        writer.write_record(row).expect("a row");
    }
    writer.flush().expect("written");
    path
}

/// Writes a CSV file with one column of order IDs.
pub(crate) fn orders_file<'a>(home: &Home, name: &str, orders: impl IntoIterator<Item = &'a Action>) -> PathBuf {
    let rows: Vec<Vec<String>> = orders.into_iter().map(|action| vec![action.order.clone()]).collect();
    csv_file(home, name, &["order_id"], &rows)
}

/// Returns the command-line arguments that run a batch.
pub(crate) fn args(file: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut list: Vec<String> =
        ["retract", "--yes", "--json", "--file", &text(file), "--out", &text(out)].map(str::to_owned).to_vec();
    list.extend(more.iter().map(|one| (*one).to_owned()));
    list
}

pub(crate) fn run(home: &Home, file: &Path, out: &Path, more: &[&str]) -> Ran {
    let list = args(file, out, more);
    home.run(&list.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
pub(crate) fn check(home: &Home, file: &Path, out: &Path, more: &[&str], code: i32) -> Ran {
    let ran = run(home, file, out, more);
    ran.expect(code);
    ran
}

/// Returns the header and the rows of a CSV file.
fn table(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).expect("an outcome file");
    let texts = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let header = texts(reader.headers().expect("a header"));
    let rows = reader.records().map(|row| texts(&row.expect("a row"))).collect();
    (header, rows)
}

/// Returns the cells of one column of a CSV file.
#[track_caller]
pub(crate) fn column(path: &Path, name: &str) -> Vec<String> {
    let (header, rows) = table(path);
    let place = header.iter().position(|one| one == name).unwrap_or_else(|| panic!("no {name} among {header:?}"));
    rows.into_iter().map(|row| row[place].clone()).collect()
}

/// Returns the outcome code of each row. After `stopped` and `failed`, the outcome also has the reason from the column
/// `recoup_why`.
#[track_caller]
pub(crate) fn outcomes(path: &Path) -> Vec<String> {
    let pairs = column(path, "recoup_outcome").into_iter().zip(column(path, "recoup_why"));
    pairs.map(|(code, why)| with_reason(code, &why)).collect()
}

pub(crate) fn with_reason(code: String, why: &str) -> String {
    if ["stopped", "failed"].contains(&code.as_str()) { format!("{code}: {why}") } else { code }
}

/// Returns the action ID or order ID of each received DELETE, in order of arrival.
fn deleted(sim: &Sim) -> Vec<String> {
    let name = |delete: &Value| {
        let params = &delete["params"];
        params["ActionId"].as_str().or(params["OrderId"].as_str()).expect("a name").to_owned()
    };
    sim.deletes().iter().map(name).collect()
}

fn brand_requests(sim: &Sim) -> u64 {
    let record = sim.record();
    let brand = ["DELETE actions", "GET actions", "GET action", "GET action items", "GET action updates"];
    let more = ["GET submission", "GET submissions", "GET campaigns"];
    brand.iter().chain(&more).map(|name| record["requests"][name].as_u64().unwrap_or(0)).sum()
}

#[test]
fn a_plan_sends_nothing_and_apply_sends_exactly_its_rows() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 6);
    let mut rows: Vec<Vec<String>> =
        orders.iter().map(|one| vec![one.order.clone(), "7".to_owned(), one.full()]).collect();
    rows[5][2] = "0.01".to_owned();
    rows.push(vec!["NO-SUCH-ORDER-9".to_owned(), "8".to_owned(), "5.00".to_owned()]);
    let file = csv_file(&home, "refunds.csv", &["order_id", "customer", "amount"], &rows);
    let plan = home.path("plan.csv");
    let (file, plan_text) = (file.display().to_string(), plan.display().to_string());
    let ran = home.check(
        &[
            "retract",
            "--file",
            &file,
            "--plan",
            &plan_text,
            "--amount-means",
            "refunded",
            "--ignore-column",
            "customer",
            "--json",
        ],
        0,
    );
    assert_eq!(ran.object()["orders"], 5);
    assert_eq!(column(&plan, "recoup_plan")[..6], ["send", "send", "send", "send", "send", "refunded in part"]);
    assert_eq!(sim.deletes().len(), 0);
    assert!(!home.has_ledger());
    // Without a terminal `retract --apply` needs --yes.
    let out = home.path("out.csv").display().to_string();
    home.check(&["retract", "--apply", &plan_text, "--out", &out], 5);
    assert_eq!(sim.deletes().len(), 0);

    let ran = home.check(&["retract", "--apply", &plan_text, "--out", &out, "--yes", "--json"], 6);
    assert_eq!(ran.object()["outcomes"]["confirmed"], 5, "{ran:?}");
    let sent: BTreeSet<String> = deleted(&sim).into_iter().collect();
    let wanted: BTreeSet<String> = orders[..5].iter().filter_map(|one| one.id.clone()).collect();
    assert_eq!((sim.deletes().len(), sent), (5, wanted));
    let path = home.path("out.csv");
    assert_eq!(column(&path, "customer"), ["7", "7", "7", "7", "7", "7", "8"]);
    assert_eq!(outcomes(&path)[5], "refunded_in_part");
    assert!(column(&path, "recoup_why")[5].starts_with("recoup adjust "), "{:?}", column(&path, "recoup_why"));
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[test]
fn a_plan_that_was_edited_is_refused_by_its_row_and_nothing_is_sent() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 4);
    let file = orders_file(&home, "refunds.csv", &orders[..3]).display().to_string();
    let plan = home.path("plan.csv");
    let plan_text = plan.display().to_string();
    home.check(&["retract", "--file", &file, "--plan", &plan_text], 0);
    let whole = std::fs::read_to_string(&plan).expect("a plan");
    let action = orders[1].id.as_deref().expect("an action");
    let lines: Vec<&str> = whole.lines().collect();
    let without_a_row = [&lines[..2], &lines[3..]].concat().join("\n");
    for edited in [
        whole.replace(action, orders[3].id.as_deref().expect("an action")),
        without_a_row,
        lines[..lines.len() - 1].join("\n"),
    ] {
        assert_ne!(edited, whole);
        std::fs::write(&plan, &edited).expect("an edit");
        let out = home.path("out.csv").display().to_string();
        let ran = home.run(&["retract", "--apply", &plan_text, "--out", &out, "--yes", "--json"]);
        assert!(matches!(ran.code, Some(2 | 5)), "{ran:?}");
        assert!(!home.path("out.csv").exists());
    }
    let changed = whole.replace(action, orders[3].id.as_deref().expect("an action"));
    std::fs::write(&plan, changed).expect("an edit");
    let out = home.path("out.csv").display().to_string();
    let ran = home.run(&["retract", "--apply", &plan_text, "--out", &out, "--yes"]);
    assert!(ran.stderr.contains(": row 3"), "the row is named: {}", ran.stderr);
    assert_eq!(sim.deletes().len(), 0);
    assert!(!home.has_ledger());
}

#[test]
fn a_plan_row_whose_order_has_changed_stops() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders: Vec<Action> = plain(&sim, 60)
        .into_iter()
        .filter(|one| one.rewards.iter().filter(|reward| reward.state == "available").count() == 2)
        .take(4)
        .collect();
    let file = orders_file(&home, "refunds.csv", &orders).display().to_string();
    let (plan, out) = (home.path("plan.csv").display().to_string(), home.path("out.csv"));
    home.check(&["retract", "--file", &file, "--plan", &plan], 0);
    let redeemable =
        |one: &Action| sim.example("plain").order_id == one.order || one.rewards.iter().all(Reward::stands);
    assert!(orders.iter().all(redeemable));
    // After the plan, all rewards of one order and half of another order's are redeemed, and a third order is reversed
    // outside of recoup.
    for reward in orders[1].rewards.iter().chain(&orders[2].rewards[..1]) {
        sim.post(&format!("redeem?id={}", reward.id));
    }
    sim.post(&format!("cancel?action={}", orders[3].id.as_deref().expect("an action")));
    let ran = home.run(&["retract", "--apply", &plan, "--out", &out.display().to_string(), "--yes", "--json"]);
    ran.expect(6);
    let done = outcomes(&out);
    assert_eq!(done[0], "confirmed", "{done:?}");
    assert!(done[1].starts_with("stopped: "), "{done:?}");
    assert!(done[2].starts_with("stopped: ") && done[2].contains("plan"), "{done:?}");
    assert_eq!(done[3], "already_retracted", "{done:?}");
    assert_eq!(deleted(&sim), [orders[0].id.clone().expect("an action")]);
}

#[test]
fn more_orders_or_value_than_allowed_is_refused_by_the_flags_name_and_nothing_is_sent() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 3);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let many = check(&home, &file, &out, &["--max-count", "2"], 5);
    assert!(many.stderr.contains("--max-count 3"), "{}", many.stderr);
    let much = check(&home, &file, &out, &["--max-value", "1"], 5);
    assert!(much.stderr.contains("--max-value "), "{}", much.stderr);
    home.configure_more("max_count = 1");
    let configured = check(&home, &file, &out, &[], 5);
    assert_eq!(configured.error_kind(), "refused");
    assert_eq!(sim.deletes().len(), 0);
    assert!(!out.exists(), "nothing was done, and nothing keeps the next run from its file");
    check(&home, &file, &out, &["--max-count", "3", "--max-value", "1000000"], 0);
    assert_eq!(sim.deletes().len(), 3);
}

#[test]
fn without_a_readable_rule_three_orders_are_sent_as_a_trial() {
    let (sim, home) = ready(&["--participants", "3000", "--rule-works", "off", "--program-rule", "forbidden"]);
    let orders = plain(&sim, 10);
    let file = orders_file(&home, "refunds.csv", &orders[..8]);
    let out = home.path("out.csv");
    let ran = check(&home, &file, &out, &["--wait", "400ms"], 6);
    assert_eq!(sim.deletes().len(), 3);
    assert!(ran.stderr.contains("3 of them go first"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Friend refunds a purchase"), "the rule's steps: {}", ran.stderr);
    let done = outcomes(&out);
    assert_eq!(done.iter().filter(|one| *one == "not_attempted").count(), 5, "{done:?}");
    assert_eq!(done.iter().filter(|one| matches!(one.as_str(), "unconfirmed" | "pending")).count(), 3, "{done:?}");
    assert_eq!(ran.object()["outcomes"]["not_attempted"], 5);

    // With a working program rule recoup sends all remaining orders, after a trial of three orders.
    sim.post("set?rule-works=on");
    let ran = run(&home, &file, &out, &["--force", "--wait", "2s"]);
    assert!(ran.stderr.contains("3 of them go first"), "{}", ran.stderr);
    assert_eq!(sim.deletes().len(), 8, "{ran:?}");
    let sent: BTreeSet<String> = deleted(&sim).into_iter().collect();
    assert_eq!(sent.len(), 8, "none went twice");
    assert_eq!(outcomes(&out).iter().filter(|one| *one == "confirmed").count(), 5, "{:?}", outcomes(&out));

    // A program whose rule has worked once needs no further trial.
    let second = orders_file(&home, "second.csv", &orders[8..]);
    let ran = check(&home, &second, &home.path("second-out.csv"), &[], 0);
    assert!(!ran.stderr.contains("go first"), "{}", ran.stderr);
    assert_eq!(sim.deletes().len(), 10);
}

#[test]
fn an_outcome_file_that_exists_is_refused_before_anything_is_sent() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    std::fs::write(&out, "somebody's").expect("a file");
    sim.post("record/reset");
    let ran = check(&home, &file, &out, &[], 2);
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    check(&home, &file, &file, &["--force"], 2);
    check(&home, &file, &home.path("no such folder/out.csv"), &[], 2);
    home.check(&["retract", "--file", &file.display().to_string(), "--yes"], 2);
    assert_eq!(sim.requests(), 0, "{}", sim.record()["requests"]);
    assert_eq!(std::fs::read_to_string(&out).expect("a file"), "somebody's");
    check(&home, &file, &out, &["--force"], 0);
    assert_eq!(outcomes(&out), ["confirmed", "confirmed"]);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn the_outcome_file_keeps_the_csv_dialect_and_escapes_formulas() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders: Vec<Action> = plain(&sim, 40)
        .into_iter()
        .filter(|one| one.order.bytes().all(|b| b.is_ascii_alphanumeric()))
        .take(2)
        .collect();
    assert_eq!(orders.len(), 2);
    let file = home.path("refunds.csv");
    let text = format!(
        "\u{feff}kunde_nr;order_id;Kunde\r\n1;{};=cmd|' /C calc'!A0\r\n2;{};\"a;b\"\r\n",
        orders[0].order, orders[1].order
    );
    std::fs::write(&file, text).expect("a file");
    let out = home.path("out.csv");
    check(&home, &file, &out, &["--ignore-column", "kunde_nr", "--ignore-column", "Kunde"], 0);
    let written = String::from_utf8(std::fs::read(&out).expect("outcomes")).expect("UTF-8");
    let first = "\u{feff}kunde_nr;order_id;Kunde;recoup_outcome;";
    assert!(written.starts_with(first), "{written}");
    let lines: Vec<&str> = written.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{written}");
    assert!(!lines.iter().any(|line| line.contains('\n')), "{written}");
    assert!(lines[1].starts_with(&format!("1;{};", orders[0].order)) && lines[1].contains("'=cmd|"), "{written}");
    assert!(lines[2].contains(";\"a;b\";confirmed;"), "{written}");
}

#[test]
fn ndjson_input_gives_ndjson_output_and_a_json_summary() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 2);
    let file = home.path("refunds.ndjson");
    let line = |order: &str, more: &Value| serde_json::json!({"order_id": order, "note": more}).to_string();
    let lines = [
        line(&orders[0].order, &serde_json::json!({"a": [1, 2.50]})),
        line(&orders[1].order, &Value::Null),
        line("NO-SUCH-ORDER-9", &Value::Bool(true)),
    ];
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let out = home.path("out.ndjson");
    // recoup does not read nested objects, so a person must declare a column with nested objects irrelevant.
    let ran = run(&home, &file, &out, &["--ignore-column", "note"]);
    let summary = ran.object();
    assert_eq!((&summary["rows"], &summary["sent"]), (&3.into(), &2.into()), "{ran:?}");
    assert_eq!((&summary["outcomes"]["confirmed"], &summary["error"]), (&2.into(), &Value::Null), "{ran:?}");
    let written = std::fs::read_to_string(&out).expect("outcomes");
    let objects: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0]["note"], serde_json::json!({"a": [1, 2.50]}));
    assert_eq!(objects[0]["recoup_outcome"], "confirmed");
    assert_eq!(objects[0]["recoup_action"], orders[0].id.as_deref().expect("an action"));
    assert!(objects[0]["recoup_batch_id"].as_str().is_some_and(|id| id.starts_with("A-")), "{}", objects[0]);
    assert_eq!(objects[2]["recoup_batch_id"], Value::Null);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn only_a_full_refund_is_sent_and_a_partial_one_points_to_adjust() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 6);
    let part = format!("{}.{:02}", (orders[4].cents - 1) / 100, (orders[4].cents - 1) % 100);
    let amounts = [String::new(), "0".to_owned(), orders[2].full(), orders[3].full(), part, "1,234".to_owned()];
    let rows: Vec<Vec<String>> =
        orders.iter().zip(amounts).map(|(one, amount)| vec![one.order.clone(), amount]).collect();
    let file = csv_file(&home, "refunds.csv", &["order_id", "amount"], &rows);
    let out = home.path("out.csv");
    let unsaid = check(&home, &file, &out, &[], 2);
    assert!(unsaid.stderr.contains("--amount-means"), "{}", unsaid.stderr);
    check(&home, &file, &out, &["--amount-means", "refunded"], 6);
    let done = outcomes(&out);
    assert!(done[0].starts_with("stopped: unclear: "), "a blank amount is not the whole order: {done:?}");
    assert_eq!(done[1..5], ["not_refunded", "confirmed", "confirmed", "refunded_in_part"], "{done:?}");
    assert!(done[5].starts_with("stopped: unclear: "), "1,234 is two amounts: {done:?}");
    let errors = column(&out, "recoup_why");
    assert!(errors[4].starts_with("recoup adjust ") && errors[4].ends_with("--amount 0.01"), "{errors:?}");
    let decisions = column(&out, "recoup_decision");
    let words = ["unclear", "not refunded", "refunded, to compare with the action"];
    assert_eq!(decisions[..3], words, "{decisions:?}");
    assert_eq!(decisions[4], "refunded in part");
    assert!(
        column(&out, "recoup_evidence")[4].contains("refunded of the action's"),
        "{:?}",
        column(&out, "recoup_evidence")
    );
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn refused_credentials_stop_the_batch_and_the_outcomes_are_still_written() {
    for fault in ["401", "403"] {
        let (sim, home) = ready(&["--participants", "3000", "--delete-fault", fault]);
        let orders = plain(&sim, 5);
        let file = orders_file(&home, "refunds.csv", &orders);
        let out = home.path("out.csv");
        let ran = check(&home, &file, &out, &[], 3);
        assert_eq!(sim.deletes().len(), 1, "{fault}");
        assert_eq!(outcomes(&out), ["not_attempted"; 5], "{fault}");
        assert_eq!(ran.object()["sent"], 0, "{fault}: nothing was changed at the vendor");
        assert!(column(&out, "recoup_why").iter().all(|why| !why.is_empty()), "{fault}");
        // When the vendor works again, the same command sends the remaining rows.
        sim.post("set?delete-fault=none");
        check(&home, &file, &out, &["--force"], 0);
        assert_eq!(sim.deletes().len(), 6, "{fault}");
    }
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 5);
    let file = orders_file(&home, "refunds.csv", &orders);
    let home = home.set("RECOUP_AUTH_TOKEN", "wrong");
    let out = home.path("out.csv");
    check(&home, &file, &out, &[], 3);
    assert_eq!(outcomes(&out), ["not_attempted"; 5]);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn a_large_batch_costs_two_brand_requests_an_order_and_sends_the_oldest_first() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 105);
    let file = orders_file(&home, "refunds.csv", &orders);
    sim.post("record/reset");
    check(&home, &file, &home.path("out.csv"), &["--max-count", "200", "--wait", "60s"], 0);
    let asked = brand_requests(&sim);
    assert!(asked <= 105 * 2 + 30, "{asked} requests for 105 orders: {}", sim.record()["requests"]);
    let sent: Vec<u64> = deleted(&sim).iter().map(|id| day(id)).collect();
    assert_eq!(sent.len(), 105);
    // The trial's orders come first, because their rewards name no program. The remaining orders follow.
    let turns: Vec<&[u64]> = sent.chunk_by(|one, next| one <= next).collect();
    assert!(turns.len() <= 2, "the oldest conversion goes first: {sent:?}");
    assert_eq!(turns.last().and_then(|turn| turn.first()), orders.iter().map(Action::day).min().as_ref());
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

/// Returns the order IDs that appear when this number of accounts changes. Simulators with the same flags return the
/// same IDs.
fn late_orders(flags: &[&str], change: &str) -> Vec<String> {
    let sim = Sim::start(flags);
    let before: BTreeSet<String> = actions(&sim).into_iter().map(|one| one.order).collect();
    sim.post(change);
    let new = actions(&sim).into_iter().filter(|one| !before.contains(&one.order) && one.all_stand());
    new.map(|one| one.order).collect()
}

#[test]
fn a_refund_of_an_unknown_order_is_watched_and_proposed_after_the_crawl_that_finds_it() {
    let (flags, change) = (["--participants", "400"], "change?accounts=12");
    let late = late_orders(&flags, change);
    assert!(late.len() >= 2, "{late:?}");
    let (sim, home) = ready(&flags);
    let at = now().to_string();
    let rows: Vec<Vec<String>> = [&late[0], &late[1], "NEVER-COMES-1", "COMES-TOO-LATE-2"]
        .map(|order| vec![order.to_owned(), at.clone()])
        .to_vec();
    let file = csv_file(&home, "refunds.csv", &["order_id", "refunded_at"], &rows[..3]);
    let out = home.path("out.csv");
    check(&home, &file, &out, &["--watch-missing"], 4);
    assert_eq!(outcomes(&out), ["not_found_yet"; 3]);
    let list = |home: &Home| home.check(&["watch", "list", "--json"], 0).objects();
    assert_eq!(list(&home).len(), 3);
    // A row that the file repeats becomes one watched order.
    check(&home, &file, &out, &["--watch-missing", "--force"], 4);
    assert_eq!(list(&home).len(), 3);
    home.check(&["watch", "remove", &late[1]], 0);
    home.check(&["watch", "remove", &late[1]], 6);
    assert_eq!(list(&home).len(), 2);
    // A refund with `--watch-for 1ms` is no longer watched at the next crawl.
    let brief = csv_file(&home, "brief.csv", &["order_id", "refunded_at"], &rows[3..]);
    check(&home, &brief, &home.path("brief-out.csv"), &["--watch-missing", "--watch-for", "1ms"], 4);

    sim.post(change);
    let crawled = home.crawl();
    assert!(crawled.stderr.contains(" was found:") && crawled.stderr.contains("recoup retract"), "{}", crawled.stderr);
    assert!(crawled.stderr.contains("no crawl found them in time"), "{}", crawled.stderr);
    let watched = list(&home);
    assert_eq!(watched.len(), 2, "{watched:?}");
    for one in &watched {
        assert_eq!(one["found_at"].is_null(), one["order_id"] != late[0].as_str(), "{one}");
    }
    assert_eq!(sim.deletes().len(), 0, "nothing is ever sent by itself");
    let again = home.crawl();
    assert!(!again.stderr.contains(" was found:"), "it is said once: {}", again.stderr);
    let password = add_user(&home, "ann", "agent");
    let service = Service::start(&home);
    let ann = service.login("ann", &password);
    let queue = ann.get("/").body;
    assert!(
        queue.contains("Refunds whose orders have turned up") && queue.contains(&percent_encoded(&late[0])),
        "{queue}"
    );
    assert!(queue.contains("No crawl has found the order of 1 watched refund yet."), "{queue}");
    let history = ann.get("/history").body;
    let (_, shown) = history.split_once("Watched orders that were found").expect("the page keeps showing it");
    assert_eq!(shown.matches("<li>").count(), 1, "{shown}");

    // A second run of the same file sends the orders that were found. If the index is newer than the refund and lacks
    // the order, the order is no referral.
    check(&home, &file, &out, &["--force"], 0);
    assert_eq!(outcomes(&out), ["confirmed", "confirmed", "not_a_referral"]);
    assert_eq!(sim.deletes().len(), 2);
    assert!(!ann.get("/").body.contains("turned up"), "its order was retracted");
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_the_outcomes_and_the_same_file_resumes() {
    let (sim, home) = ready(&["--participants", "3000", "--latency", "20ms"]);
    // The time-out is generous, because a slow response on a busy machine would leave an unknown outcome.
    let toml = std::fs::read_to_string(home.path("recoup.toml")).expect("the configuration");
    home.configure(&toml.replace("timeout = '2s'", "timeout = '30s'"));
    let orders = plain(&sim, 30);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let list = args(&file, &out, &["--wait", "60s"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let child = home.command(&list).spawn().expect("it starts");
    wait_until("it to be in the middle", || sim.deletes().len() >= 8);
    interrupt(&child);
    let ran = Ran::of(&list, child.wait_with_output().expect("it ends"));
    ran.expect(130);
    let sent = sim.deletes().len();
    assert!(sent < 30, "it was in the middle: {sent}");
    let done = outcomes(&out);
    assert_eq!(done.len(), 30);
    assert_eq!(done.iter().filter(|one| *one == "not_attempted").count(), 30 - sent, "{done:?}");
    assert_eq!(ran.object()["sent"], sent);
    assert!(ran.stderr.contains("run the same file again"), "{}", ran.stderr);
    check(&home, &file, &out, &["--force", "--wait", "60s"], 0);
    assert_eq!(sim.deletes().len(), 30);
}

#[cfg(unix)]
#[test]
fn ctrl_c_during_a_trial_is_not_a_failed_trial() {
    let (sim, home) = ready(&["--participants", "3000", "--complete-delay", "1h", "--program-rule", "forbidden"]);
    let orders = plain(&sim, 6);
    let file = orders_file(&home, "refunds.csv", &orders);
    let out = home.path("out.csv");
    let list = args(&file, &out, &["--wait", "60s"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let child = home.command(&list).spawn().expect("it starts");
    wait_until("the trial", || sim.record()["requests"]["GET submission"].as_u64() >= Some(3));
    interrupt(&child);
    let ran = Ran::of(&list, child.wait_with_output().expect("it ends"));
    ran.expect(130);
    assert_eq!(sim.deletes().len(), 3);
    let (done, errors) = (outcomes(&out), column(&out, "recoup_why"));
    assert_eq!(done.iter().filter(|one| *one == "pending").count(), 3, "{done:?}");
    assert_eq!(done.iter().filter(|one| *one == "not_attempted").count(), 3, "{done:?}");
    assert!(!ran.stderr.contains("nothing was taken back, so"), "nobody knows that: {}", ran.stderr);
    assert!(!errors.iter().any(|why| why.contains("took nothing back")), "{errors:?}");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_plan_killed_between_two_actions_of_an_order_resumes_with_the_second() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let order = sim.example("two_actions");
    let file = csv_file(&home, "refunds.csv", &["order_id"], &[vec![order.order_id.clone()]]).display().to_string();
    let (plan, out) = (home.path("plan.csv").display().to_string(), home.path("out.csv").display().to_string());
    home.check(&["retract", "--file", &file, "--plan", &plan, "--all"], 0);
    let home = home.set("RECOUP_CRASH_AT", "planned:2");
    let apply = ["retract", "--apply", &plan, "--out", &out, "--force", "--all", "--yes", "--json", "--wait", "20s"];
    assert_eq!(home.run(&apply).code, None);
    assert_eq!(sim.deletes().len(), 1);
    let home = home.set("RECOUP_CRASH_AT", "");
    let ran = home.run(&apply);
    let sent: BTreeSet<String> = deleted(&sim).into_iter().collect();
    assert_eq!((sim.deletes().len(), sent), (2, order.action_ids.iter().cloned().collect()), "{ran:?}");
    assert!(matches!(outcomes(&home.path("out.csv"))[0].as_str(), "confirmed" | "partial"), "{ran:?}");
}

/// The expected outcome of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    /// The reversal is sent once and proven. If the test killed recoup during the send, recoup may instead find that
    /// the vendor did not receive the reversal.
    Done,
    /// Like `Done`, but one of the rewards was redeemed or had expired before the send.
    Rest,
    AlreadyCancelled,
    NotAReferral,
    NotFoundYet,
    Stopped,
    /// The order was refunded in part and still has a price above zero.
    Part,
    /// Every outcome is allowed that does not contradict the simulator.
    Any,
}

struct Row {
    cells: Vec<String>,
    expected: Expected,
    /// The IDs of the actions that this row may reverse, or the order ID if it has no ActionId.
    may_send: Vec<String>,
}

/// Builds refund rows of every kind from the simulator's data.
fn refunds_of_every_kind(sim: &Sim, wanted: usize, dice: &mut fastrand::Rng) -> Vec<Row> {
    let (all, shared, now) = (actions(sim), shared(sim), now());
    let mut of_order: BTreeMap<&str, Vec<&Action>> = BTreeMap::new();
    for action in &all {
        of_order.entry(&action.order).or_default().push(action);
    }
    let later = now.to_string();
    let mut rows: Vec<Row> = Vec::new();
    let mut orders: Vec<&Vec<&Action>> = of_order.values().collect();
    dice.shuffle(&mut orders);
    // The test takes orders of rare kinds first, so that every kind occurs.
    orders.sort_by_key(|list| usize::from(list.len() == 1 && list[0].id.is_some() && list[0].all_stand()));
    let (rare, common): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|list| list.len() > 1 || list[0].id.is_none() || !list[0].all_stand());
    let mut chosen: Vec<&Vec<&Action>> = rare.into_iter().take(wanted * 2 / 5).chain(common).collect();
    dice.shuffle(&mut chosen);
    let cells = |order: &str, action: &str, tracker: &str, amount: &str, refunded: &str, n: usize| {
        // The column has new amounts, so 0 means a full refund.
        let amount = if amount.is_empty() { "0" } else { amount };
        let refunded = if refunded.is_empty() { &later } else { refunded };
        [order, action, tracker, amount, refunded, &format!("=note {n}")].map(str::to_owned).to_vec()
    };
    for list in chosen {
        let n = rows.len();
        if n >= wanted {
            break;
        }
        let first = list[0];
        let order = first.order.as_str();
        let ids: Vec<String> = list.iter().filter_map(|action| action.id.clone()).collect();
        // Some rows have an order ID that does not exist.
        match n % 25 {
            3 => rows.push(Row {
                cells: cells(&format!("absent-{n}"), "", "", "", "2025-01-01", n),
                expected: Expected::NotAReferral,
                may_send: vec![],
            }),
            7 => rows.push(Row {
                cells: cells(&format!("absent-{n}"), "", "", "", &later, n),
                expected: Expected::NotFoundYet,
                may_send: vec![],
            }),
            11 => rows.push(Row {
                cells: cells("1.00E+09", "", "", "", "", n),
                expected: Expected::Stopped,
                may_send: vec![],
            }),
            13 => rows.push(Row { cells: cells("", "", "", "", "", n), expected: Expected::Stopped, may_send: vec![] }),
            17 if n > 20 => {
                let before = dice.usize(0..n);
                let (copied, expected, may_send) =
                    (rows[before].cells.clone(), rows[before].expected, rows[before].may_send.clone());
                rows.push(Row { cells: copied, expected, may_send });
            }
            // Reversing an action with an amount of 0 changes nothing.
            _ if shared.contains(order) || first.cents == 0 => {
                rows.push(Row { cells: cells(order, "", "", "", "", n), expected: Expected::Any, may_send: ids });
            }
            _ if list.len() > 1 => {
                // A row for an order of several actions stops if it names no action. If the rows name the actions, each
                // action gets a row.
                if n.is_multiple_of(3) {
                    rows.push(Row {
                        cells: cells(order, "", "", "", "", n),
                        expected: Expected::Stopped,
                        may_send: vec![],
                    });
                } else {
                    for action in list {
                        let id = action.id.clone().unwrap_or_default();
                        let expected =
                            if action.all_stand() && action.is_familiar() { Expected::Done } else { Expected::Any };
                        rows.push(Row {
                            cells: cells(order, &id, "", "", "", rows.len()),
                            expected,
                            may_send: vec![id],
                        });
                    }
                }
            }
            _ if first.id.is_none() => {
                let tracker = if n.is_multiple_of(2) { first.tracker.as_str() } else { "" };
                let expected = match (tracker.is_empty(), first.all_stand()) {
                    (true, _) if !first.rewards.is_empty() => Expected::Stopped,
                    (false, true) => Expected::Done,
                    _ => Expected::Any,
                };
                let may_send = if tracker.is_empty() { vec![] } else { vec![order.to_owned()] };
                rows.push(Row { cells: cells(order, "", tracker, "", "", n), expected, may_send });
            }
            _ if first.rewards.is_empty() => rows.push(Row {
                cells: cells(order, "", "", "", "2025-01-01", n),
                expected: Expected::NotAReferral,
                may_send: vec![],
            }),
            _ if first.all_stand() && first.is_familiar() => {
                let unlocked = first.locks_at > now.as_millisecond() + 2 * 86_400_000 && first.cents > 1;
                let (amount, expected) = match n % 6 {
                    0 => ("0".to_owned(), Expected::Done),
                    1 if unlocked => (first.full(), Expected::Part),
                    2 if first.cents > 1 => {
                        (format!("{}.{:02}", (first.cents - 1) / 100, (first.cents - 1) % 100), Expected::Part)
                    }
                    3 if first.cents > 1 => ("1,234".to_owned(), Expected::Stopped),
                    _ => (String::new(), Expected::Done),
                };
                let may_send = if expected == Expected::Done { ids } else { vec![] };
                rows.push(Row { cells: cells(order, "", "", &amount, "", n), expected, may_send });
            }
            _ => {
                let of = |state: &str| first.rewards.iter().filter(|reward| reward.state == state).count();
                let standing = first.rewards.iter().filter(|reward| reward.stands()).count();
                let kept = first.rewards.iter().any(|reward| reward.stands() && !reward.cancellable);
                let expected = match () {
                    () if !first.is_familiar() || kept || of("partly_redeemed") > 0 => Expected::Any,
                    () if first.all_cancelled => Expected::AlreadyCancelled,
                    () if standing == 0 => Expected::Stopped,
                    () => Expected::Rest,
                };
                let may_send =
                    if matches!(expected, Expected::Stopped | Expected::AlreadyCancelled) { vec![] } else { ids };
                rows.push(Row { cells: cells(order, "", "", "", "", n), expected, may_send });
            }
        }
    }
    rows.truncate(wanted);
    assert_eq!(rows.len(), wanted, "the simulator has too few orders");
    rows
}

/// Compares the outcome of every row with the simulator.
fn assert_true(sim: &Sim, path: &Path, rows: &[Row]) {
    let now: BTreeMap<String, Action> = actions(sim)
        .into_iter()
        .map(|action| (action.id.clone().unwrap_or_else(|| action.order.clone()), action))
        .collect();
    let (header, written) = table(path);
    assert_eq!(header[..6], ["order_id", "action_id", "action_tracker_id", "amount", "refunded_at", "note"]);
    assert_eq!(written.len(), rows.len(), "one row for each row");
    let place = |name: &str| header.iter().position(|one| one == name).expect("a column");
    let (outcome, named) = (place("recoup_outcome"), place("recoup_action"));
    let sent = deleted(sim);
    let processed: BTreeSet<String> = sim
        .deletes()
        .iter()
        .filter(|delete| delete["processed"] == true)
        .filter_map(|delete| {
            delete["params"]["ActionId"].as_str().or(delete["params"]["OrderId"].as_str()).map(str::to_owned)
        })
        .collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (n, (row, cells)) in rows.iter().zip(&written).enumerate() {
        for (before, after) in row.cells.iter().zip(cells) {
            let neutral = after.strip_prefix('\'').unwrap_or(after);
            assert!(before == after || before == neutral, "row {n}: {before:?} became {after:?}");
        }
        let word = cells[outcome].split(':').next().expect("a word").to_owned();
        let shown = format!("row {n}, {:?}: {cells:?}", row.expected);
        *seen.entry(word.clone()).or_default() += 1;
        let names: Vec<&str> = cells[named].split(' ').filter(|name| !name.is_empty()).collect();
        let targets: Vec<&Action> = if names.is_empty() {
            now.get(&row.cells[0]).into_iter().collect()
        } else {
            names.iter().map(|name| &now[*name]).collect()
        };
        match word.as_str() {
            "confirmed" => {
                // An expired reward has no value and can no longer be cancelled.
                let is_gone = |reward: &Reward| matches!(reward.state.as_str(), "cancelled" | "expired");
                let all_gone = |action: &&Action| action.rewards.iter().all(is_gone);
                assert!(!targets.is_empty() && targets.iter().all(all_gone), "{shown}");
            }
            "partial" | "already_retracted" => {
                let stands =
                    |action: &&Action| action.rewards.iter().any(|reward| reward.stands() && reward.cancellable);
                assert!(!targets.is_empty() && !targets.iter().any(stands), "{shown}");
            }
            "not_a_referral" | "not_found_yet" => assert!(
                !now.values().any(|action| action.order == row.cells[0] && !action.rewards.is_empty()),
                "{shown}"
            ),
            "failed" => assert!(
                !targets.iter().any(|action| processed.contains(action.id.as_ref().unwrap_or(&action.order))),
                "{shown}"
            ),
            _ => {}
        }
        for target in &targets {
            assert!(target.order == row.cells[0], "{shown}");
        }
        let allowed: &[&str] = match row.expected {
            Expected::Done => &["confirmed", "already_retracted", "failed"],
            Expected::Rest => &["confirmed", "partial", "already_retracted", "failed"],
            Expected::AlreadyCancelled => &["already_retracted"],
            Expected::NotAReferral => &["not_a_referral"],
            Expected::NotFoundYet => &["not_found_yet"],
            Expected::Stopped => &["stopped"],
            Expected::Part => &["refunded_in_part", "not_refunded"],
            Expected::Any => &["confirmed", "partial", "already_retracted", "stopped", "failed", "unconfirmed"],
        };
        assert!(allowed.contains(&word.as_str()), "{shown}");
    }
    for word in ["already_retracted", "not_a_referral", "not_found_yet", "stopped"] {
        assert!(seen.get(word).copied().unwrap_or(0) > 0, "no row is {word}: {seen:?}");
    }
    assert!(seen.get("failed").copied().unwrap_or(0) <= 10, "a kill costs one at most: {seen:?}");
    let distinct: BTreeSet<&String> = sent.iter().collect();
    assert_eq!(distinct.len(), sent.len(), "one DELETE for each at most");
    let asked: BTreeSet<&String> = rows.iter().flat_map(|row| &row.may_send).collect();
    assert!(distinct.is_subset(&asked), "{:?} was sent, and nobody asked for it", distinct.difference(&asked));
}

/// The test uses 500 refunds, or the number in `TEST_REFUNDS`.
#[cfg(unix)]
#[test]
fn a_batch_killed_ten_times_sends_each_refund_once_and_reports_it_truly() {
    let refunds = size("TEST_REFUNDS", 500);
    let mut dice = fastrand::Rng::with_seed(7);
    let sim = Sim::start(&["--participants", &(6 * refunds).to_string()]);
    let home = Home::new(&sim);
    let toml = std::fs::read_to_string(home.path("recoup.toml")).expect("the configuration");
    // The eleven runs fall into one hour, so the test switches the vendor's usual limit off.
    home.configure(&toml.replace("timeout = '2s'", "timeout = '500ms'\nquota = 'unlimited'"));
    home.configure_more("list_after = '1ms'");
    home.configure_more("list_gap = '2ms'");
    home.crawl();
    let rows = refunds_of_every_kind(&sim, refunds, &mut dice);
    let header = ["order_id", "action_id", "action_tracker_id", "amount", "refunded_at", "note"];
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells.clone()).collect();
    let file = csv_file(&home, "refunds.csv", &header, &cells);
    let out = home.path("out.csv");
    sim.post("set?faults=0.05");
    let count = refunds.to_string();
    let means = ["--amount-means", "new-amount", "--ignore-column", "note"];
    let more =
        [["--force", "--max-count", &count, "--max-value", "100000000", "--wait", "15s"].as_slice(), &means].concat();
    let list = args(&file, &out, &more);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let to_send: usize = rows.iter().filter(|row| matches!(row.expected, Expected::Done | Expected::Rest)).count();
    let mut kills = 0;
    for kill in 0..10 {
        let (requests, sent) = (sim.requests(), sim.deletes().len());
        let mut child = home.command(&list).spawn().expect("it starts");
        // A quarter of the kills hit the preflight, the others hit the sends.
        let (goal, more) =
            if kill % 4 == 1 { (0, dice.u64(1..400)) } else { (sent + dice.usize(1..=to_send / 12), dice.u64(0..8)) };
        wait_until("a moment to kill it", || {
            child.try_wait().expect("its state").is_some()
                || (goal > 0 && sim.deletes().len() >= goal)
                || (goal == 0 && sim.requests() >= requests + more)
        });
        kills += usize::from(child.try_wait().expect("its state").is_none());
        drop(child.kill());
        child.wait().expect("it ends");
    }
    assert_eq!(kills, 10, "every kill hit a running batch");
    let open = |done: &[String]| done.iter().any(|one| matches!(one.as_str(), "pending" | "unknown" | "not_attempted"));
    for _ in 0..6 {
        let ran = run(&home, &file, &out, &more);
        assert!(matches!(ran.code, Some(6 | 7)), "{ran:?}");
        if !open(&outcomes(&out)) {
            break;
        }
    }
    sim.post("set?faults=0");
    assert_true(&sim, &out, &rows);
    home.check(&["audit", "verify"], 0);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());

    // A further run of the same file sends nothing, and its summary says so.
    let sent = sim.deletes().len();
    let again = run(&home, &file, &out, &more);
    again.expect(6);
    assert_eq!((again.object()["sent"].as_u64(), sim.deletes().len()), (Some(0), sent));
    let done = outcomes(&out);
    assert!(!done.iter().any(|one| matches!(one.as_str(), "confirmed" | "partial")), "{done:?}");
    assert!(done.iter().filter(|one| *one == "already_retracted").count() >= sent - 10, "{done:?}");
    assert_true(&sim, &out, &rows);
}
