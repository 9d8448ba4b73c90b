//! Tests of reversal files: their rows and their ledger entries. An order is reversed by file or by API, never by both.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready, wait_until};

const HEADER: &str = "ActionTrackerId,OrderId,Amount,Reason";

/// Submits a reversal file to the vendor, as the operator's own tools would. Returns the vendor's ID of the file.
fn hand_in(sim: &Sim, name: &str, content: &str) -> String {
    let mut stream = TcpStream::connect(&sim.addr).expect("the simulator listens");
    write!(
        stream,
        "POST /_simulator/file?name={name} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{content}",
        sim.addr,
        content.len()
    )
    .expect("the file");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(" 200 "), "{answer}");
    let taken: Value = serde_json::from_str(body).expect("JSON");
    taken["batch_id"].as_str().expect("an ID").to_owned()
}

/// Returns up to `most` orders of kind `plain` whose IDs a reversal file can contain, with their action trackers.
fn plain(sim: &Sim, most: usize) -> Vec<(String, String)> {
    let all: Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
    let is_plain = |order: &String| !order.contains([',', '"']);
    let list = all["plain"].as_array().expect("a list").iter();
    let list =
        list.map(|one| (one["order_id"].as_str().expect("text").to_owned(), one["action_tracker_id"].to_string()));
    let list: Vec<_> = list.filter(|(order, _)| is_plain(order)).take(most).collect();
    assert!(!list.is_empty(), "{all}");
    list
}

const NAME: &str = "Batch_Mods_Reversals_2026_03_01.csv";

/// Writes a reversal file of these orders into the home directory.
fn write(home: &Home, orders: &[&str], flags: &[&str]) -> Ran {
    let out = home.path("").display().to_string();
    home.run(&[&["file", "write", "--out", &out, "--date", "2026-03-01", "--yes", "--json"], orders, flags].concat())
}

fn content(home: &Home, name: &str) -> String {
    fs::read_to_string(home.path(name)).expect("the file")
}

/// Runs `file check` until a line has this state.
fn check_until(home: &Home, state: &str) -> Ran {
    let mut last = None;
    wait_until(&format!("a line that is {state}"), || {
        let ran = home.run(&["file", "check", "--json"]);
        let is_so = ran.objects().iter().any(|receipt| receipt["retractions"][0]["state"] == state);
        last = Some(ran);
        is_so
    });
    last.expect("a check")
}

#[test]
fn the_file_is_the_vendors_and_its_lines_are_confirmed_by_their_rewards() {
    let (sim, home) = ready(&["--participants", "1500"]);
    let orders = plain(&sim, 2);
    let ids: Vec<&str> = orders.iter().map(|(order, _)| order.as_str()).collect();
    let dry = write(&home, &ids, &["--dry-run"]);
    dry.expect(0);
    assert!(!home.path(NAME).exists() && !home.has_ledger());

    let ran = write(&home, &[ids[0], ids[1], "no such order"], &["--ticket", "T-9"]);
    ran.expect(6);
    let answer = ran.object();
    assert_eq!((&answer["written"], &answer["not_written"]), (&2.into(), &1.into()), "{answer}");
    assert_eq!(answer["name"], NAME);
    assert!(answer["rows"][2]["message"].as_str().is_some_and(|why| why.contains("not a referral order")), "{answer}");
    let lines: Vec<String> =
        orders.iter().map(|(order, tracker)| format!("{tracker},{order},0,ITEM_RETURNED\n")).collect();
    assert_eq!(content(&home, NAME), format!("{HEADER}\n{}", lines.concat()));
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["retractions"], serde_json::json!({"handed_over": 2}));
    let said = home.check(&["status"], 0).stdout;
    assert!(said.contains("run `recoup file check`") && !said.contains("run `recoup verify`"), "{said}");

    // The file is not submitted yet, so the receipt claims no reversal.
    let early = home.check(&["file", "check", "--json"], 7);
    assert_eq!(early.state(), "handed_over");
    let id = hand_in(&sim, NAME, &content(&home, NAME));
    check_until(&home, "confirmed");
    wait_until("both confirmed", || home.run(&["file", "check"]).code == Some(0));
    let text = home.check(&["status", "--retraction", "1"], 0).stdout;
    for part in [": confirmed", "ACTION_NOT_FOUND", "normal for Advocate", &id, NAME, "ticket T-9"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(sim.deletes().is_empty() && sim.violations().is_empty());
    // A confirmed order is not reversed by API either.
    let again = home.check(&["retract", ids[0], "--yes", "--json"], 0);
    assert_eq!(again.object()["retractions"][0]["sent_now"], false);
    assert!(sim.deletes().is_empty());
}

#[test]
fn no_order_is_reversed_by_file_and_by_api() {
    let (sim, home) = ready(&["--participants", "1500"]);
    let orders = plain(&sim, 2);
    let (by_file, by_api) = (orders[0].0.as_str(), orders[1].0.as_str());
    write(&home, &[by_file], &[]).expect(0);
    let refused = home.check(&["retract", by_file, "--yes", "--json"], 5);
    for part in ["handed over by file (retraction 1)", "recoup file check", "recoup file release 1"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    let refused = home.check(&["adjust", by_file, "--amount", "0.50", "--yes"], 5);
    assert!(refused.stderr.contains("handed over by file"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), 0);

    home.check(&["retract", by_api, "--yes"], 0);
    let ran = write(&home, &[by_file, by_api], &[]);
    ran.expect(5);
    let answer = ran.object();
    assert!(answer["rows"][0]["message"].to_string().contains("handed over by file"), "{answer}");
    assert!(answer["rows"][1]["message"].to_string().contains("sent before (retraction 2, confirmed)"), "{answer}");
    assert!(answer["rows"][1]["hint"].to_string().contains("leave it out of the file"), "{answer}");
    assert_eq!(answer["path"], Value::Null);
    assert!(!home.path("Batch_Mods_Reversals_2026_03_01_2.csv").exists());
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn two_processes_use_only_one_channel_for_an_order() {
    let (sim, home) = ready(&["--participants", "1500", "--latency", "40ms"]);
    for (order, _) in plain(&sim, 3) {
        sim.post("record/reset");
        let out = home.path(&format!("{order}.csv"));
        let file = out.display().to_string();
        let write = ["file", "write", &order, "--out", &file, "--yes", "--json"];
        let retract = ["retract", &order, "--yes", "--json"];
        let running =
            [home.command(&write).spawn().expect("it starts"), home.command(&retract).spawn().expect("it starts")];
        let ran: Vec<Ran> = running
            .into_iter()
            .zip([&write[..], &retract[..]])
            .map(|(child, args)| Ran::of(args, child.wait_with_output().expect("it ends")))
            .collect();
        let roads = sim.deletes().len() + usize::from(out.exists());
        assert_eq!(roads, 1, "{ran:?}");
    }
}

#[test]
fn another_error_is_a_refusal_and_needs_a_reason_to_send_again() {
    let (sim, home) = ready(&[]);
    home.configure_more("settle = '1ms'");
    let (order, tracker) = plain(&sim, 1).remove(0);
    write(&home, &[&order], &[]).expect(0);
    // The submitted row lacks its reason code, because something damaged the file before the submission.
    let id = hand_in(&sim, "other.csv", &format!("{HEADER}\n{tracker},{order},0,\n"));
    let early = home.check(&["file", "check", "--json"], 7);
    assert_eq!(early.state(), "handed_over", "another name says nothing about it");
    home.check(&["file", "check", &id], 1);
    wait_until("the refusal", || {
        let ran = home.run(&["file", "check", &id, "--file", NAME, "--json"]);
        ran.code == Some(1) && ran.state() == "failed"
    });
    let text = home.check(&["status", "--retraction", "1"], 0).stdout;
    assert!(text.contains("MALFORMED"), "{text}");
    // An order that the vendor refused by file is sent by API only with a reason.
    home.check(&["retract", &order, "--yes", "--json"], 1);
    let again = ["retract", order.as_str(), "--yes", "--json", "--resend", "--reason", "the file lost its code"];
    assert_eq!(home.check(&again, 0).state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn rewards_that_are_not_cancelled_in_time_are_unconfirmed() {
    let (sim, home) = ready(&["--rule-works", "off"]);
    home.configure_more("settle = '1ms'");
    let (order, _) = plain(&sim, 1).remove(0);
    write(&home, &[&order], &[]).expect(0);
    hand_in(&sim, NAME, &content(&home, NAME));
    let ran = check_until(&home, "unconfirmed");
    ran.expect(7);
    assert!(ran.stdout.contains("Friend refunds a purchase"), "{}", ran.stdout);
    // The vendor has the file, so no line can be released, whatever its result.
    let refused = home.check(&["file", "release", "1", "--ticket", "T-1"], 5);
    assert!(refused.stderr.contains("the vendor has"), "{}", refused.stderr);
    home.check(&["retract", &order, "--yes"], 7);
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_line_is_released_only_without_evidence_of_its_submission() {
    let (sim, home) = ready(&["--participants", "1500"]);
    let orders = plain(&sim, 2);
    write(&home, &[&orders[0].0], &[]).expect(0);
    home.check(&["file", "release", "1"], 2);
    home.check(&["file", "release", "7", "--ticket", "T-1"], 1);
    let released = home.check(&["file", "release", "1", "--ticket", "T-1", "--reason", "wrong list", "--json"], 0);
    assert_eq!(released.state(), "released");
    home.check(&["file", "release", "1", "--ticket", "T-1"], 5);
    assert_eq!(home.check(&["verify", "1", "--json"], 1).state(), "released", "nothing was taken back");
    assert_eq!(home.check(&["retract", &orders[0].0, "--yes", "--json"], 0).state(), "confirmed");

    write(&home, &[&orders[1].0], &[]).expect(0);
    let name = "Batch_Mods_Reversals_2026_03_01_2.csv";
    hand_in(&sim, name, &content(&home, name));
    let refused = home.check(&["file", "release", "3", "--ticket", "T-2"], 5);
    assert!(refused.stderr.contains("nothing was released"), "{}", refused.stderr);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_list_can_set_tracker_reason_and_amount_and_incomplete_rows_are_skipped() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 3);
    assert_eq!(orders.len(), 3);
    let no_action = sim.example("no_action");
    let two = sim.example("two_actions");
    let rows = [
        (orders[0].0.as_str(), "0", orders[0].1.as_str(), "OTHER"),
        (&orders[1].0, "0.01", "", "OTHER"),
        (&orders[2].0, "0", "99", "OTHER"),
        (&no_action.order_id, "0", "", ""),
        (&two.order_id, "0", "", ""),
        ("1.00E+09", "0", "", ""),
    ];
    let header = "Order ID,Amount,Event Type ID,Disposition,Ticket\n".to_owned();
    let lines = rows.map(|(order, amount, tracker, code)| format!("\"{order}\",{amount},{tracker},{code},T-5\n"));
    let list = header + lines.concat().as_str();
    fs::write(home.path("refunds.csv"), list).expect("the list");
    let from = home.path("refunds.csv").display().to_string();
    let out = home.path("out.csv").display().to_string();
    let args = ["file", "write", "--from", &from, "--out", &out, "--yes", "--json"];
    let unsaid = home.check(&args, 2);
    assert!(unsaid.stderr.contains("--amount-means"), "an amount may be the new one: {}", unsaid.stderr);
    let ran = home.check(&[args.as_slice(), &["--amount-means", "new-amount"]].concat(), 6);
    let answer = ran.object();
    let why = |row: usize| answer["rows"][row]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer["written"], 1, "{answer}");
    for (row, part) in [
        (1, "refunded in part"),
        (2, "action tracker 99"),
        (3, "no action tracker"),
        (4, "has 2 actions"),
        (5, "scientific notation"),
    ] {
        assert!(why(row).contains(part), "{row} {part}: {}", why(row));
    }
    let tracker = &orders[0].1;
    assert_eq!(content(&home, "out.csv"), format!("{HEADER}\n{tracker},{},0,OTHER\n", orders[0].0));

    let unknown = write(&home, &[&orders[1].0], &["--reason-code", "RETRACTION"]);
    unknown.expect(5);
    assert!(unknown.stderr.contains("neither documented"), "{}", unknown.stderr);

    // A new file does not replace a file with open lines, even with --force.
    let one = |flags: &[&str]| {
        home.run(&[&["file", "write", &no_action.order_id, "--out", &out, "--yes", "--json"], flags].concat())
    };
    one(&["--action-tracker", &no_action.action_tracker_id]).expect(5);
    one(&["--action-tracker", &no_action.action_tracker_id, "--force"]).expect(5);
    // The settings can set the event type and the operator's own reason codes.
    home.configure_more(&format!(
        "[file]\naction_tracker = '{}'\nreason_codes = ['Gone elsewhere']",
        no_action.action_tracker_id
    ));
    let out = home.path("second.csv").display().to_string();
    let args =
        ["file", "write", &no_action.order_id, "--out", &out, "--reason-code", "Gone elsewhere", "--yes", "--json"];
    home.check(&args, 0);
    assert!(content(&home, "second.csv").ends_with(",0,Gone elsewhere\n"));
    // A line by order ID covers the whole order, so recoup sends no other reversal of the order.
    let by_api = ["retract", no_action.order_id.as_str(), "--action-tracker", &no_action.action_tracker_id, "--yes"];
    home.check(&by_api, 5);
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_file_that_cannot_be_written_hands_nothing_over() {
    let (sim, home) = ready(&["--latency", "150ms"]);
    let (order, _) = plain(&sim, 1).remove(0);
    sim.post("record/reset");
    let out = home.path("out.csv");
    let args = ["file", "write", &order, "--out", &out.display().to_string(), "--yes", "--json"];
    let child = home.command(&args).spawn().expect("it starts");
    wait_until("the check of the order", || sim.requests() > 0);
    fs::write(&out, "somebody else's").expect("another file");
    let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
    ran.expect(1);
    assert!(ran.stderr.contains("its lines are released"), "{}", ran.stderr);
    assert_eq!(content(&home, "out.csv"), "somebody else's");
    let left: Vec<_> = fs::read_dir(home.path("")).expect("the home").filter_map(Result::ok).collect();
    assert!(left.iter().all(|file| !file.file_name().to_string_lossy().ends_with(".tmp")), "{left:?}");
    assert_eq!(home.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_kill_between_ledger_and_file_loses_no_line() {
    for (point, is_there) in [("handed_over", false), ("file_written", true)] {
        let (sim, home) = ready(&[]);
        let (order, _) = plain(&sim, 1).remove(0);
        let home = home.set("RECOUP_CRASH_AT", point);
        assert_eq!(write(&home, &[&order], &[]).code, None, "{point}: died by a signal");
        assert_eq!(home.path(NAME).exists(), is_there, "{point}");
        let home = home.set("RECOUP_CRASH_AT", "");
        home.check(&["retract", &order, "--yes"], 5);
        if is_there {
            hand_in(&sim, NAME, &content(&home, NAME));
            check_until(&home, "confirmed");
            assert!(sim.deletes().is_empty());
        } else {
            home.check(&["file", "release", "1", "--ticket", "T-1"], 0);
            assert_eq!(home.check(&["retract", &order, "--yes", "--json"], 0).state(), "confirmed");
        }
    }
}

#[test]
fn an_order_refused_by_the_api_is_not_sent_by_file() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "400"]);
    let (order, _) = plain(&sim, 1).remove(0);
    home.check(&["retract", &order, "--yes"], 1);
    let ran = write(&home, &[&order], &[]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(!home.path(NAME).exists(), "{ran:?}");
}

#[test]
fn a_line_whose_file_the_vendor_took_under_another_name_is_not_released() {
    let (sim, home) = ready(&["--participants", "3000", "--rule-works", "off"]);
    home.configure_more("settle = '1ms'");
    let (order, _) = plain(&sim, 1).remove(0);
    write(&home, &[&order], &[]).expect(0);
    let id = hand_in(&sim, "upload7.csv", &content(&home, NAME));
    wait_until("a line that is unconfirmed", || {
        let ran = home.run(&["file", "check", &id, "--file", NAME, "--json"]);
        ran.objects().iter().any(|receipt| receipt["retractions"][0]["state"] == "unconfirmed")
    });
    let refused = home.check(&["file", "release", "1", "--ticket", "T-1"], 5);
    assert!(refused.stderr.contains("has taken the file"), "{}", refused.stderr);
}
