//! Tests of a ledger whose main file was copied, linked or replaced by hand: no reversal is sent twice.

#[cfg(feature = "failpoints")]
use crate::support::Sim;
use crate::support::{Home, Ran, ready, wait_until};

/// Copies the main database files of `home` into `copy`, without SQLite's WAL and shared-memory files.
pub fn copy_main_files(home: &Home, copy: Home) -> Home {
    for name in ["recoup.db", "recoup-ledger.db"] {
        if home.path(name).exists() {
            std::fs::copy(home.path(name), copy.path(name)).expect("a copy");
        }
    }
    copy
}

#[cfg(unix)]
#[test]
fn a_database_with_two_names_is_refused_by_either() {
    let (sim, home) = ready(&["--complete-delay", "1h"]);
    if home.skip_on_server("it links files") {
        return;
    }
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "100ms"], 7);
    let folder = home.path("elsewhere");
    std::fs::create_dir(&folder).expect("a folder");
    for (name, setting) in [("recoup-ledger.db", "RECOUP_LEDGER"), ("recoup.db", "RECOUP_DATABASE")] {
        let link = folder.join(name);
        std::fs::hard_link(home.path(name), &link).expect("a second name");
        for by in [home.path(name), link.clone()] {
            let args = ["retract", order.as_str(), "--yes", "--json"];
            let output = home.command(&args).env(setting, &by).output().expect("it runs");
            let ran = Ran::of(&args, output);
            ran.expect(3);
            assert_eq!(ran.error_kind(), "config", "{ran:?}");
            let folder = std::fs::canonicalize(by.parent().expect("a folder")).expect("is there");
            for part in ["2 names (hard links)", "-samefile", &folder.display().to_string()] {
                assert!(ran.stderr.contains(part), "{part}: {ran:?}");
            }
        }
        std::fs::remove_file(link).expect("one name is left");
    }
    home.check(&["retract", &order, "--yes", "--wait", "100ms"], 7);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_second_process_reports_that_the_order_is_being_retracted_right_now() {
    let (sim, home) = ready(&["--participants", "3000", "--delete-fault", "hang-after"]);
    home.configure_more("lock_wait = '100ms'");
    let (order, other) = (sim.example("plain").order_id, sim.example("redeemed").order_id);
    let first = ["retract", order.as_str(), "--yes", "--wait", "1ms"];
    let mut sending = home.command(&first).spawn().expect("it starts");
    wait_until("the DELETE to arrive", || !sim.deletes().is_empty());
    for (order, code, kind) in [(&order, 7, "not_confirmed"), (&other, 1, "busy")] {
        let ran = home.check(&["retract", order, "--yes", "--json"], code);
        assert_eq!(ran.error_kind(), kind, "{ran:?}");
        assert!(ran.stderr.contains("being retracted right now"), "{ran:?}");
    }
    assert!(sending.try_wait().expect("its state").is_none(), "the first one is still at it");
    sending.wait().expect("it ends");
    assert_eq!(sim.deletes().len(), 1);
}

/// The crash points of a retraction, each with whether its DELETE was sent.
#[cfg(feature = "failpoints")]
const POINTS: [(&str, bool); 7] = [
    ("planned", false),
    ("committed", false),
    ("sending", false),
    ("answered", true),
    ("queued", true),
    ("completed", true),
    ("proven", true),
];

#[cfg(feature = "failpoints")]
fn killed_at(point: &str, sent: bool) -> (Sim, Home, Vec<String>) {
    let (sim, home) = ready(&[]);
    let args = ["retract", &sim.example("plain").order_id, "--yes", "--json", "--wait", "1s"].map(str::to_owned);
    let plain: Vec<&str> = args.iter().map(String::as_str).collect();
    let home = home.set("RECOUP_CRASH_AT", point);
    assert_eq!(home.run(&plain).code, None, "{point}: died by a signal");
    assert_eq!(sim.deletes().len(), usize::from(sent), "{point}");
    (sim, home, args.to_vec())
}

#[cfg(feature = "failpoints")]
#[test]
fn killed_at_any_step_the_two_main_files_alone_send_nothing_twice() {
    for (point, sent) in POINTS {
        let (sim, home, args) = killed_at(point, sent);
        if home.skip_on_server("it copies files") {
            return;
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let copy = copy_main_files(&home, Home::new(&sim));
        for _ in 0..2 {
            let again = copy.run(&args);
            assert!(matches!(again.code, Some(0 | 7)), "{point}: {again:?}");
            copy.run(&["verify", "--watch", "--wait", "1s"]);
        }
        assert!(sim.deletes().len() <= 1, "{point}: {:?}", sim.deletes());
        copy.check(&["audit", "verify"], 0);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn killed_at_any_step_an_older_ledger_beside_the_index_alone_sends_nothing() {
    for (point, sent) in POINTS {
        let (sim, home) = ready(&["--participants", "3000"]);
        if home.skip_on_server("it copies files") {
            return;
        }
        home.check(&["retract", &sim.example("redeemed").order_id, "--yes"], 0);
        let before = std::fs::read(home.ledger()).expect("the older file");
        let args = ["retract", &sim.example("plain").order_id, "--yes", "--json", "--wait", "1s"];
        let home = home.set("RECOUP_CRASH_AT", point);
        assert_eq!(home.run(&args).code, None, "{point}: died by a signal");
        assert_eq!(sim.deletes().len(), 1 + usize::from(sent), "{point}");
        let copy = copy_main_files(&home, Home::new(&sim));
        std::fs::write(copy.ledger(), before).expect("the older file");
        let again = copy.run(&args);
        // recoup accepts an older ledger after a crash at `planned` or `committed`, because it had sent nothing and the
        // index does not record a send yet.
        if !matches!(point, "planned" | "committed") {
            again.expect(3);
            assert!(again.stderr.contains("older copy"), "{point}: {again:?}");
        }
        assert!(sim.deletes().len() <= 2, "{point}: {:?}", sim.deletes());
    }
}
