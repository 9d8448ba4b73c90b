//! `recoup move`: all stores go to another place, nothing is lost, and at no moment both places can send.

use std::path::Path;

use serde_json::Value;

use crate::service::{Service, add_token, add_user};
use crate::support::{Home, Sim, new_stores};

/// A simulator and a machine with files, on which one order is retracted.
fn machine() -> (Sim, Home, [String; 2]) {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    let file = home.database().display().to_string();
    let home = home.set("RECOUP_DATABASE", &file);
    home.crawl();
    let orders = [sim.example("plain").order_id, sim.another("plain").order_id];
    home.check(&["retract", &orders[0], "--yes"], 0);
    add_user(&home, "ann", "agent");
    std::fs::create_dir(home.path("recoup-batches")).expect("a folder");
    for (name, text) in [("20261124-a.json", "{}"), ("20261124-a.plan", "x")] {
        std::fs::write(home.path("recoup-batches").join(name), text).expect("a file");
    }
    (sim, home, orders)
}

/// Writes an address with a password into a file, and returns how the command line names it.
fn named(home: &Home, address: &str) -> String {
    let file = home.path("address");
    std::fs::write(&file, address.replace("recoup@", "recoup:Zq7secret@")).expect("a file");
    format!("@{}", file.display())
}

fn source(home: &Home) -> String {
    home.database().display().to_string()
}

fn rows(moved: &Value, table: &str) -> u64 {
    let tables = moved["tables"].as_array().expect("a list").iter();
    tables.filter(|count| count["table"] == table).filter_map(|count| count["rows"].as_u64()).sum()
}

/// Asserts that nothing can be sent from a place, and that the error says where the stores are.
#[track_caller]
fn sends_nothing(home: &Home, sim: &Sim, order: &str, place: &str) {
    let before = sim.deletes().len();
    let refused = home.check(&["retract", order, "--yes", "--json"], 3);
    assert_eq!(refused.error_kind(), "identity", "{refused:?}");
    let said = format!("{refused:?}");
    assert!(said.contains(place) && said.contains("hint") && !said.contains("Zq7"), "{place}: {refused:?}");
    assert_eq!(sim.deletes().len(), before);
}

fn bytes_of_folder(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    files
        .filter(|path| path.is_file() && !path.ends_with("address"))
        .flat_map(|path| std::fs::read(path).expect("reads"))
        .collect()
}

#[test]
fn everything_is_at_the_other_place_and_the_source_sends_nothing_any_more() {
    let Some(address) = new_stores() else { return };
    let (sim, home, orders) = machine();
    let (from, to) = (source(&home), named(&home, &address));
    let head = home.check(&["audit", "verify", "--json"], 0).object()["head"].clone();
    let would = home.check(&["move", &from, &to, "--dry-run", "--json"], 0).object();
    assert_eq!((would["outcome"].as_str(), rows(&would, "parts")), (Some("would_move"), 2), "{would}");
    home.check(&["lookup", &orders[1]], 0);

    let moved = home.check(&["move", &from, &to, "--yes", "--json"], 0).object();
    assert_eq!((&moved["outcome"], &moved["head"]), (&"moved".into(), &head), "{moved}");
    for table in ["rewards", "links", "accounts", "events", "retractions", "users", "parts"] {
        assert!(rows(&moved, table) > 0 && rows(&moved, table) == rows(&would, table), "{table}: {moved}");
    }
    let schema = address.rsplit_once("schema=").expect("a schema").1;
    sends_nothing(&home, &sim, &orders[1], schema);
    for args in [&["lookup", "1"][..], &["status"], &["crawl"], &["user", "list"], &["audit", "verify"], &["serve"]] {
        let refused = home.check(args, 3);
        assert!(refused.stderr.contains("were moved to postgres://"), "{refused:?}");
    }
    let doctor = home.run(&["doctor"]);
    assert!(doctor.code != Some(0) && doctor.stdout.contains("were moved to postgres://"), "{doctor:?}");
    let kept = bytes_of_folder(home.database().parent().expect("a folder"));
    assert!(!kept.windows(4).any(|part| part == b"Zq7s"), "a password is in a file");

    let again = home.check(&["move", &from, &to, "--yes", "--json"], 0).object();
    assert_eq!(again["outcome"], "already_moved");
    home.check(&["move", &from, &to, "--undo"], 3);

    let there = Home::new(&sim).on(&address);
    assert_eq!(there.check(&["audit", "verify", "--json"], 0).object()["head"], head);
    there.check(&["retract", &orders[0], "--yes"], 0);
    assert_eq!(sim.deletes().len(), 1, "the ledger knows that it was sent");
    there.check(&["retract", &orders[1], "--yes"], 0);
    assert_eq!(sim.deletes().len(), 2);
    // New rows get numbers after the copied ones.
    there.check(&["crawl"], 0);
    assert!(there.check(&["user", "list"], 0).stdout.contains("ann"));

    // And back, into new files.
    let back = there.database().display().to_string();
    let head = there.check(&["audit", "verify", "--json"], 0).object()["head"].clone();
    let returned = there.check(&["move", &named(&there, &address), &back, "--yes", "--json"], 0).object();
    assert_eq!((&returned["outcome"], &returned["head"]), (&"moved".into(), &head));
    sends_nothing(&there, &sim, &sim.example("two_actions").order_id, "recoup.db");
    let files = Home::new(&sim).set("RECOUP_DATABASE", &back);
    files.check(&["audit", "verify"], 0);
    for order in &orders {
        files.check(&["retract", order, "--yes"], 0);
    }
    assert_eq!(sim.deletes().len(), 2);
    files.check(&["crawl"], 0);
    assert!(there.path("recoup-batches/20261124-a.plan").is_file());
}

#[test]
fn a_destination_with_rows_and_a_second_destination_are_refused() {
    let Some(address) = new_stores() else { return };
    let (sim, home, orders) = machine();
    let filled = Home::new(&sim).on(&address);
    filled.crawl();
    let (from, to) = (source(&home), named(&home, &address));
    let refused = home.check(&["move", &from, &to, "--yes"], 3);
    assert!(refused.stderr.contains("is not empty") && refused.stderr.contains("hint"), "{refused:?}");
    home.check(&["lookup", &orders[0]], 0);
    let file = home.path("moved.db").display().to_string();
    home.check(&["move", &from, &file, "--yes"], 0);
    let elsewhere = home.check(&["move", &from, &home.path("other.db").display().to_string(), "--yes"], 3);
    assert!(elsewhere.stderr.contains("were moved to") && elsewhere.stderr.contains("moved.db"), "{elsewhere:?}");
    home.check(&["move", &from, &from, "--yes"], 2);
}

#[test]
fn stores_that_were_moved_are_not_moved_again_to_a_new_place_of_the_same_name() {
    let (sim, home, orders) = machine();
    let (from, folder) = (source(&home), home.path("there"));
    let to = folder.join("moved.db").display().to_string();
    std::fs::create_dir(&folder).expect("a folder");
    home.check(&["move", &from, &to, "--yes"], 0);
    // Another machine has no such folder, or the stores went further.
    std::fs::rename(&folder, home.path("elsewhere")).expect("renames");
    for makes_folder in [false, true] {
        if makes_folder {
            std::fs::create_dir(&folder).expect("a folder");
        }
        for args in [&["move", &from, &to, "--yes"][..], &["move", &from, &to, "--yes", "--undo"]] {
            let refused = home.check(args, 3);
            assert!(refused.stderr.contains("hint"), "{refused:?}");
            assert!(!Path::new(&to).exists(), "{args:?}");
        }
        sends_nothing(&home, &sim, &orders[1], "moved.db");
    }
}

#[test]
fn an_index_is_not_moved_without_the_ledger_that_was_used_with_it() {
    let (sim, home, orders) = machine();
    let (from, to) = (source(&home), home.path("moved.db").display().to_string());
    let (ledger, custom) = (home.path("recoup-ledger.db"), home.path("custom.db"));
    std::fs::rename(&ledger, &custom).expect("renames");
    for _ in 0..2 {
        let refused = home.check(&["move", &from, &to, "--yes"], 3);
        assert!(refused.stderr.contains("RECOUP_LEDGER"), "{refused:?}");
        // Nothing was sealed, and no empty ledger was begun.
        assert!(!ledger.exists() && !Path::new(&to).exists());
    }
    let home = home.set("RECOUP_LEDGER", &custom.display().to_string());
    home.check(&["move", &from, &to, "--yes"], 0);
    sends_nothing(&home, &sim, &orders[1], "moved.db");
}

#[test]
fn a_process_that_has_the_source_open_cannot_send_after_the_move() {
    let (sim, home, orders) = machine();
    let token = add_token(&home, "ann", &["retract"]);
    let service = Service::start(&home);
    let to = home.path("moved.db").display().to_string();
    home.check(&["move", &source(&home), &to, "--yes"], 0);
    let before = sim.deletes().len();
    let answer = service.client(&token).retract(&orders[1]);
    assert!(answer.status >= 400 && answer.body.contains("moved"), "{answer:?}");
    assert_eq!(sim.deletes().len(), before);
}

#[test]
fn without_a_terminal_and_yes_nothing_is_moved() {
    let (_sim, home, orders) = machine();
    let to = home.path("moved.db");
    home.check(&["move", &source(&home), &to.display().to_string()], 5);
    assert!(!to.exists());
    home.check(&["lookup", &orders[0]], 0);
}

#[cfg(feature = "failpoints")]
mod crashes {
    use super::*;

    const POINTS: [&str; 7] =
        ["move-marked", "move-sealed", "move-rows", "move-rows:2", "move-rows:5", "move-completed", "move-completed:2"];

    #[test]
    fn a_killed_move_sends_from_neither_place_and_the_same_command_completes_it() {
        for point in POINTS {
            let Some(address) = new_stores() else { return };
            let (sim, home, orders) = machine();
            let (from, to) = (source(&home), named(&home, &address));
            let crashing = home.command(&["move", &from, &to, "--yes"]).env("RECOUP_CRASH_AT", point).output();
            assert_eq!(crashing.expect("runs").status.code(), None, "{point}");
            if point != "move-marked" {
                sends_nothing(&home, &sim, &orders[1], "postgres://");
            }
            let there = Home::new(&sim).on(&address);
            let is_complete = point.starts_with("move-completed");
            if !is_complete {
                there.check(&["retract", &orders[1], "--yes"], 3);
                assert_eq!(sim.deletes().len(), 1, "{point}");
            }
            let moved = home.check(&["move", &from, &to, "--yes", "--json"], 0).object();
            let wanted = if is_complete { "already_moved" } else { "moved" };
            assert_eq!(moved["outcome"], wanted, "{point}: {moved}");
            for order in &orders {
                there.check(&["retract", order, "--yes"], 0);
            }
            assert_eq!(sim.deletes().len(), 2, "{point}");
            sends_nothing(&home, &sim, &orders[1], "postgres://");
            there.check(&["audit", "verify"], 0);
            crate::index::assert_index_is_truth(&there, &sim);
        }
    }

    #[test]
    fn a_move_that_may_have_been_complete_is_neither_undone_nor_used_before_a_person_accepts_it() {
        let (sim, home, orders) = machine();
        let (from, to) = (source(&home), home.path("moved.db").display().to_string());
        // As if a failover had lost the completion, and everything that was sent from there since.
        let crashing = home.command(&["move", &from, &to, "--yes"]).env("RECOUP_CRASH_AT", "move-completing").output();
        assert_eq!(crashing.expect("runs").status.code(), None);
        let refused = home.check(&["move", &from, &to, "--undo"], 3);
        assert!(refused.stderr.contains("may have sent"), "{refused:?}");
        home.check(&["move", &from, &to, "--yes"], 0);
        let there = home.set("RECOUP_DATABASE", &to);
        there.check(&["retract", &orders[1], "--yes"], 3);
        assert_eq!(sim.deletes().len(), 1);
        there.check(&["ledger", "accept", "--yes", "--ticket", "T1"], 0);
        for order in &orders {
            there.check(&["retract", order, "--yes"], 0);
        }
        assert_eq!(sim.deletes().len(), 2);
    }

    #[test]
    fn a_killed_undo_is_completed_by_the_same_command() {
        for point in ["move-abandoned", "move-unsealed", "move-unsealed:2", "move-unsealed:3"] {
            let (sim, home, orders) = machine();
            let (from, to) = (source(&home), home.path("moved.db").display().to_string());
            let crash = |args: &[&str], point: &str| {
                let crashing = home.command(args).env("RECOUP_CRASH_AT", point).output();
                assert_eq!(crashing.expect("runs").status.code(), None, "{point}");
            };
            crash(&["move", &from, &to, "--yes"], "move-rows:2");
            crash(&["move", &from, &to, "--undo"], point);
            home.check(&["move", &from, &to, "--yes"], 3);
            home.check(&["move", &from, &to, "--undo"], 0);
            home.check(&["retract", &orders[1], "--yes"], 0);
            assert_eq!(sim.deletes().len(), 2, "{point}");
        }
    }

    #[test]
    fn a_move_that_is_given_up_can_never_become_complete() {
        for point in ["move-sealed", "move-marked", "move-rows:2"] {
            let Some(address) = new_stores() else { return };
            let (sim, home, orders) = machine();
            let (from, to) = (source(&home), named(&home, &address));
            let crashing = home.command(&["move", &from, &to, "--yes"]).env("RECOUP_CRASH_AT", point).output();
            assert_eq!(crashing.expect("runs").status.code(), None, "{point}");
            home.check(&["move", &from, &to, "--undo"], 0);
            home.check(&["retract", &orders[1], "--yes"], 0);
            assert_eq!(sim.deletes().len(), 2, "{point}");
            home.check(&["move", &from, &to, "--yes"], 3);
            let there = Home::new(&sim).on(&address);
            let refused = there.run(&["retract", &orders[1], "--yes"]);
            assert!(matches!(refused.code, Some(3)), "{point}: {refused:?}");
            assert_eq!(sim.deletes().len(), 2, "{point}");
        }
    }
}
