//! Tests that recoup reads the program rule for refunds before a send: what the rule says, what it stops, and what it
//! never decides alone.

use serde_json::Value;

use crate::batch::{check as check_batch, orders_file, outcomes, plain};
use crate::service::{Service, add_user, percent_encoded};
use crate::support::{Home, Ran, Sim, ready, wait_until};

const RULE: &str = "\"Friend refunds a purchase\": a refund of the event purchase retracts";
const BY_HAND: &str = "a program rule must exist, or nothing is taken back";

/// Returns how often recoup requested the programs.
fn asked(sim: &Sim) -> u64 {
    sim.record()["graphql"]["programs"].as_u64().expect("a count")
}

/// Returns the only program of the receipt's only action.
fn rule(ran: &Ran) -> Value {
    let rules = ran.object()["retractions"][0]["program_rules"].clone();
    assert_eq!(rules.as_array().map(Vec::len), Some(1), "{rules}");
    rules[0].clone()
}

fn text(value: &Value) -> String {
    value.to_string()
}

#[test]
fn a_rule_that_is_found_is_named_in_plan_receipt_and_ledger_and_read_once_an_hour() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    let dry = home.check(&["retract", &order, "--dry-run"], 0);
    assert!(dry.stdout.contains("program friends-and-family (Friends and Family): rule found: "), "{}", dry.stdout);
    assert!(dry.stdout.contains(RULE), "{}", dry.stdout);
    assert!(!dry.stdout.contains(BY_HAND) && !dry.stderr.contains(BY_HAND), "{dry:?}");
    assert_eq!(asked(&sim), 1);
    let ran = home.check(&["retract", &order, "--yes"], 0);
    assert!(ran.stdout.contains("rule found: ") && ran.stderr.contains("rule found: "), "plan and receipt: {ran:?}");
    assert!(!ran.stdout.contains(BY_HAND) && !ran.stderr.contains(BY_HAND), "the first one needs no steps: {ran:?}");
    let kept = home.check(&["verify", "1", "--json"], 0);
    assert_eq!(rule(&kept)["state"], "found");
    assert!(text(&rule(&kept)["rules"]).contains("referredReward"), "{}", rule(&kept));
    assert!(text(&rule(&kept)["not_compared"]).contains("the purchase event"), "Get Rewards names none");
    let other = sim.another("plain").order_id;
    home.check(&["retract", &other, "--dry-run"], 0);
    assert_eq!(asked(&sim), 1, "three commands, one question");
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[test]
fn no_such_rule_stops_unless_a_person_overrides_it_by_name() {
    let (sim, home) = ready(&["--rule-missing"]);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["retract", &order, "--yes", "--json"], 5);
    assert_eq!(ran.error_kind(), "refused");
    assert_eq!(rule(&ran)["state"], "no_such_rule");
    let said = text(&ran.object());
    assert!(said.contains("no such rule") && said.contains("the rewards would stay"), "{said}");
    assert!(said.contains("Add Rule") && said.contains("--override no-rule"), "{said}");
    assert!(sim.deletes().is_empty());
    home.check(&["retract", &order, "--yes", "--override", "redeemed"], 5);
    assert!(sim.deletes().is_empty(), "another name overrides nothing");
    let ran = home.check(&["retract", &order, "--yes", "--json", "--override", "no-rule", "--wait", "200ms"], 7);
    assert_eq!(ran.state(), "unconfirmed");
    let next = home.check(&["verify", "1"], 7);
    assert!(next.stdout.contains("there was no program rule for refunds when this was sent"), "{}", next.stdout);
    assert!(!next.stdout.contains("is there a program rule"), "it is known: {}", next.stdout);
    let kept = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert!(text(&kept["findings"]).contains(r#""check":"no-rule""#), "{kept}");
    assert!(text(&kept["findings"]).contains(r#""overridden":true"#), "{kept}");
}

#[test]
fn a_rule_for_another_event_is_detected_even_if_rewards_name_no_event() {
    let (sim, home) = ready(&["--participants", "3000", "--program-rule", "wrong-event"]);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["retract", &order, "--dry-run", "--json"], 0);
    assert_eq!(rule(&ran)["state"], "found_but", "Get Rewards does not name the event: {}", rule(&ran));
    assert!(text(&rule(&ran)["reasons"]).contains("purchases the program rewards"), "{}", rule(&ran));
    let doctor = home.run(&["doctor"]);
    assert!(doctor.stdout.contains("rule found, but no refund rule is for an event"), "{}", doctor.stdout);
    let file = orders_file(&home, "refunds.csv", &plain(&sim, 5));
    let ran = check_batch(&home, &file, &home.path("out.csv"), &["--wait", "400ms"], 6);
    assert!(ran.stderr.contains("3 of them go first"), "the trial stays: {}", ran.stderr);
    assert_eq!(sim.deletes().len(), 3);
}

#[test]
fn a_retraction_relies_on_the_rules_that_doctor_read() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--dry-run"], 0);
    sim.post("set?rule-missing=true");
    let doctor = home.check(&["doctor"], 1);
    assert!(doctor.stdout.contains("no such rule"), "{}", doctor.stdout);
    home.check(&["retract", &order, "--yes"], 5);
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_rule_that_was_just_set_up_counts_at_once() {
    let (sim, home) = ready(&["--rule-missing"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes"], 5);
    sim.post("set?rule-missing=false");
    assert_eq!(home.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
    assert_eq!(asked(&sim), 2);
}

#[test]
fn a_rule_that_is_found_with_a_flaw_warns_and_names_the_rewards_that_stay() {
    for (flag, graphql, why, code) in [
        ("wrong-event", true, "the rule is for the event subscription, and reward ", 7),
        ("first-time-only", false, "the trigger runs for the first time only (firstTimeOnly)", 0),
        ("condition", false, "the trigger has a condition: ", 0),
        ("partial-keys", false, "the retraction leaves out reward ", 7),
        ("paused", false, "the program is PAUSED and not LIVE", 0),
    ] {
        let sim = Sim::start(&["--participants", "400", "--program-rule", flag]);
        let home = Home::new(&sim);
        home.check(&["crawl", "--source", if graphql { "graphql" } else { "participants" }], 0);
        let order = sim.example("plain");
        let ran = home.check(&["retract", &order.order_id, "--yes", "--json", "--wait", "300ms"], code);
        let rule = rule(&ran);
        assert_eq!(rule["state"], "found_but", "{flag}: {rule}");
        assert!(text(&rule["reasons"]).contains(why), "{flag}: {rule}");
        let findings = ran.object()["retractions"][0]["findings"].clone();
        let found = findings.as_array().into_iter().flatten().find(|one| one["check"] == "rule-limits");
        let found = found.unwrap_or_else(|| panic!("{flag}: no warning: {findings}"));
        assert_eq!(found["verdict"], "go_with_warning", "{flag}");
        let left_out = rule["left_out"].as_array().map(Vec::len);
        assert_eq!(
            left_out,
            Some(match flag {
                "paused" => 0,
                "partial-keys" => 1,
                _ => 2,
            }),
            "{flag}: {rule}"
        );
        assert_eq!(text(&found["evidence"]).contains("expected to stay: reward "), left_out != Some(0), "{found}");
        assert_eq!(sim.deletes().len(), 1, "{flag}");
    }
}

#[test]
fn a_rule_that_cannot_be_read_falls_back_to_the_steps_by_hand() {
    for (flags, why) in [
        (&["--program-rule", "no-field"][..], "the GraphQL schema in force does not have the rules of programs"),
        (&["--program-rule", "forbidden"], "the token may not read the rules of programs"),
        (&["--program-rule", "null"], "the vendor gives no rules for this program"),
        (&["--program-rule", "other-template"], "its rules have another form than the published one"),
        (&["--graphql", "off"], "this tenant has no GraphQL endpoint"),
    ] {
        let (sim, home) = ready(flags);
        let order = sim.example("plain").order_id;
        let ran = home.check(&["retract", &order, "--yes"], 0);
        assert!(ran.stdout.contains(&format!("rule not readable: {why}")), "{flags:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(BY_HAND), "the first one of a tenant: {flags:?}: {}", ran.stderr);
        let next = home.check(&["retract", &sim.another("plain").order_id, "--yes"], 0);
        assert!(!next.stderr.contains(BY_HAND) && next.stdout.contains(why), "{flags:?}: {next:?}");
        assert!(asked(&sim) <= 1, "{flags:?}: what refuses is not asked again within the hour");
    }
}

#[test]
fn a_failing_host_stops_no_retraction_and_is_not_cached() {
    let (sim, home) = ready(&["--graphql-slow", "15"]);
    let ran = home.check(&["retract", &sim.example("plain").order_id, "--yes", "--json"], 0);
    assert_eq!((ran.state().as_str(), &rule(&ran)["state"]), ("confirmed", &Value::from("not_readable")));
    assert_eq!(home.check(&["status", "--json"], 0).object()["program_rules"], Value::Array(Vec::new()));
    sim.post("set?graphql-slow=none");
    let ran = home.check(&["retract", &sim.another("plain").order_id, "--yes", "--json"], 0);
    assert_eq!(rule(&ran)["state"], "found");
}

#[test]
fn an_unconfirmed_receipt_names_the_rule_that_was_seen() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["retract", &order, "--yes", "--wait", "300ms"], 7);
    assert!(ran.stdout.contains("check: seen before it was sent, program friends-and-family"), "{}", ran.stdout);
    assert!(ran.stdout.contains(RULE), "{}", ran.stdout);
    assert!(ran.stdout.contains("the program rule was found: is it still there"), "{}", ran.stdout);

    let (sim, home) = ready(&["--rule-works", "off", "--program-rule", "forbidden"]);
    let ran = home.check(&["retract", &sim.example("plain").order_id, "--yes", "--wait", "300ms"], 7);
    assert!(ran.stdout.contains("rule not readable: the token may not"), "{}", ran.stdout);
    assert!(ran.stdout.contains("is there a program rule with the trigger"), "{}", ran.stdout);
}

#[test]
fn a_file_whose_rule_is_found_needs_no_trial_and_reads_it_once() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let file = orders_file(&home, "refunds.csv", &plain(&sim, 5));
    let out = home.path("out.csv");
    let ran = check_batch(&home, &file, &out, &[], 0);
    assert!(ran.stderr.contains("rule found: "), "said before anything is sent: {}", ran.stderr);
    assert!(!ran.stderr.contains("go first"), "{}", ran.stderr);
    assert_eq!(outcomes(&out), ["confirmed"; 5]);
    assert_eq!(asked(&sim), 1, "{}", sim.record()["graphql"]);
}

#[test]
fn a_file_whose_program_has_no_rule_sends_nothing() {
    let (sim, home) = ready(&["--participants", "3000", "--rule-missing"]);
    let file = orders_file(&home, "refunds.csv", &plain(&sim, 5));
    let out = home.path("out.csv");
    let ran = check_batch(&home, &file, &out, &[], 6);
    assert!(ran.stderr.contains("no such rule"), "{}", ran.stderr);
    assert!(sim.deletes().is_empty());
    assert!(
        outcomes(&out).iter().all(|one| one.starts_with("stopped: program friends-and-family")),
        "{:?}",
        outcomes(&out)
    );
    assert_eq!(asked(&sim), 1, "{}", sim.record()["graphql"]);
    let ran = check_batch(&home, &file, &out, &["--force", "--override", "no-rule", "--wait", "400ms"], 6);
    assert!(ran.stderr.contains("3 of them go first"), "the trial stays: {}", ran.stderr);
    assert_eq!(sim.deletes().len(), 3);
}

#[test]
fn an_adjustment_needs_no_rule() {
    let (sim, home) = ready(&["--rule-missing"]);
    let order = sim.example("plain").order_id;
    let ran = home.run(&["adjust", &order, "--amount", "1.00", "--dry-run", "--json"]);
    assert!(!text(&ran.object()).contains("no-rule"), "{ran:?}");
    assert_eq!(asked(&sim), 0);
}

#[test]
fn doctor_has_a_line_for_the_rule_of_each_program() {
    let (sim, home) = ready(&[]);
    for (setting, code, says) in [
        ("program-rule=found", 0, "ok   program rule: program friends-and-family (Friends and Family): rule found: "),
        ("program-rule=first-time-only", 0, "rule found, but the trigger runs for the first time only"),
        ("program-rule=forbidden", 0, "rule not readable: the token may not"),
        ("program-rule=no-field", 0, "rule not readable: the GraphQL schema in force"),
        ("program-rule=found&rule-missing=true", 1, "FAIL program rule: program friends-and-family"),
        ("program-rule=paused", 0, "no such rule"),
    ] {
        sim.post(&format!("set?{setting}"));
        let ran = home.check(&["doctor"], code);
        assert!(ran.stdout.contains(says), "{setting}: {}", ran.stdout);
        assert_eq!(ran.stderr.contains(BY_HAND), setting != "program-rule=found", "{setting}: {}", ran.stderr);
    }
    let json = home.check(&["doctor", "--json"], 0);
    assert!(json.objects().iter().any(|check| check["check"] == "program rule"), "{}", json.stdout);
}

#[test]
fn status_and_the_page_show_the_rule_as_it_was_last_read() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    assert!(lead.get("/health").body.contains("No retraction has read a program rule yet."));
    let order = sim.example("plain").order_id;
    let verdict = lead.get(&format!("/preflight?order={}&part=1", percent_encoded(&order)));
    assert!(verdict.body.contains("rule found: "), "{}", verdict.body);
    wait_until("health has it", || lead.get("/health").body.contains("rule found: "));
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["program_rules"][0]["program_id"], "friends-and-family", "{status}");
    assert!(home.check(&["status"], 0).stdout.contains("program friends-and-family (Friends and Family): rule found"));
    assert_eq!(asked(&sim), 1, "health and status ask nothing");

    let (sim, home) = ready(&["--rule-missing"]);
    home.check(&["retract", &sim.example("plain").order_id, "--dry-run"], 5);
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let health = lead.get("/health").body;
    assert!(health.contains("notice bad\">program friends-and-family"), "{health}");
    let order = sim.example("plain").order_id;
    let verdict = lead.get(&format!("/preflight?order={}&part=1", percent_encoded(&order))).body;
    assert!(
        verdict.contains("no such rule") && verdict.contains("It cannot be retracted: a check stops it"),
        "{verdict}"
    );
}
