//! Tests of backups of the index and the ledger: a backup is consistent during writes, complete or absent, and never
//! leads to a second send.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Home, Ran, Sim, os_user, ready, wait_until};

/// Runs `recoup backup` into a folder of the home directory.
fn backup(home: &Home, more: &[&str]) -> Value {
    let folder = home.path("backup").display().to_string();
    let args: Vec<&str> = ["backup", folder.as_str(), "--json"].iter().chain(more).copied().collect();
    home.check(&args, 0).object()
}

fn file(of: &Value) -> PathBuf {
    PathBuf::from(of["file"].as_str().expect("a file"))
}

/// Replaces the ledger with a copy, as an operator would after a disk failure.
fn restore(home: &Home, copy: &Path) {
    for file in ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    std::fs::copy(copy, home.ledger()).expect("a restore");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.contains(".lock"))
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn the_backup_folder_is_private_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;

    let (_sim, home) = ready(&["--participants", "20"]);
    for umask in ["000", "022", "077", "277"] {
        let folder = home.path(&format!("backup-{umask}"));
        let program = home.command(&["backup"]);
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$0\" backup \"$1\"")])
            .args([program.get_program(), folder.as_os_str()])
            .env_clear()
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(&["backup"], shell.output().expect("it runs")).expect(0);
        assert_eq!(folder.metadata().expect("the folder").permissions().mode() & 0o777, 0o700, "umask {umask}");
    }
}

#[test]
fn both_files_are_copied_while_a_crawl_writes() {
    let sim = Sim::start(&["--participants", "3000", "--latency", "5ms"]);
    let home = Home::new(&sim);
    home.check(&["lookup", "x", "--participant", "nobody"], 4);
    let args = ["crawl", "--source", "participants", "--json"];
    let mut crawl = home.command(&args).spawn().expect("it starts");
    wait_until("the crawl reads", || sim.requests() > 200);
    let written = backup(&home, &[]);
    assert!(crawl.try_wait().expect("its state").is_none(), "the crawl goes on meanwhile");
    assert_eq!(written["ledger"], Value::Null, "nothing was ever retracted");
    let copy = file(&written["index"]);
    // The backup of the index is readable by itself.
    let copied = copy.display().to_string();
    let status = home.check(&["status", "--json", "--database", &copied], 0).object();
    let known = status["coverage"]["accounts_known"].as_u64().expect("a number");
    assert!(known > 0 && status["coverage"]["complete"] == false, "{status}");
    Ran::of(&args, crawl.wait_with_output().expect("it ends")).expect(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(copy.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(names(&home.path("backup")).len(), 1, "{:?}", names(&home.path("backup")));
}

#[test]
fn a_backup_names_the_head_and_its_copy_is_verified() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    let receipt = home.check(&["retract", &order.order_id, "--yes", "--json"], 0).object();
    let written = backup(&home, &[]);
    assert_eq!(written["ledger"]["head"]["hash"], receipt["ledger"]["hash"]);
    let copy = file(&written["ledger"]);
    let head = receipt["ledger"]["hash"].as_str().expect("a head").to_owned();
    let elsewhere = Home::new(&sim).set("RECOUP_LEDGER", &copy.display().to_string());
    elsewhere.check(&["audit", "verify", "--head", &head], 0);
}

#[test]
fn pruning_keeps_the_newest_backups_and_deletes_only_its_own_files() {
    let (_sim, home) = ready(&[]);
    backup(&home, &[]);
    let folder = home.path("backup");
    for other in ["recoup-20200101T000000Z.db.bak", "mine.db", "other-20200101T000000Z.db", ".recoup-backup-x.partial"]
    {
        std::fs::write(folder.join(other), "x").expect("a file");
    }
    std::fs::write(folder.join("recoup-20200101T000000Z.db"), "x").expect("an old backup");
    let second = backup(&home, &["--keep", "2"]);
    assert_eq!(second["removed"].as_array().expect("a list").len(), 1, "{second}");
    let third = backup(&home, &["--keep", "1"]);
    assert_eq!(third["removed"].as_array().expect("a list").len(), 2, "{third}");
    let left = names(&folder);
    assert_eq!(left.len(), 4, "the newest, and what is not its own: {left:?}");
    assert!(!left.iter().any(|name| name.contains("partial")), "{left:?}");
}

#[test]
fn a_failed_backup_leaves_no_file() {
    let sim = Sim::start(&["--participants", "400"]);
    let home = Home::new(&sim);
    let folder = home.path("backup").display().to_string();
    assert_eq!(home.check(&["backup", &folder, "--json"], 1).error_kind(), "failed");
    home.crawl();
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 0);
    let conn = rusqlite::Connection::open(home.ledger()).expect("the ledger");
    conn.execute_batch("DROP TRIGGER events_stay; UPDATE events SET message = 'x' WHERE id = 2").expect("tampered");
    drop(conn);
    let ran = home.check(&["backup", &folder, "--json"], 1);
    assert_eq!(ran.error_kind(), "tampered");
    assert!(names(&home.path("backup")).iter().all(|name| !name.contains("ledger")), "no copy under a final name");
    let bad = home.path("recoup.toml").display().to_string();
    assert_eq!(home.check(&["backup", &bad, "--json"], 1).error_kind(), "storage");
}

#[test]
fn doctor_finds_damage_before_a_look_up_meets_it() {
    use std::io::{Seek, SeekFrom, Write};
    let sim = Sim::start(&["--participants", "1500"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes"], 0);
    let well = home.check(&["doctor", "--json"], 0);
    for name in ["form of the index", "form of the ledger"] {
        assert!(
            well.stdout.contains(&format!(r#"{{"check":"{name}","ok":true,"message":"sound","remedy":null}}"#)),
            "{}",
            well.stdout
        );
    }
    let conn = rusqlite::Connection::open(home.database()).expect("the index");
    // The damage is in the raw rewards, which a look-up does not read.
    let (page, size): (i64, i64) = conn
        .query_row("SELECT max(pageno), max(pgsize) FROM dbstat WHERE name = 'raw_rewards'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("a page");
    conn.close().expect("closes");
    let mut file = std::fs::OpenOptions::new().write(true).open(home.database()).expect("the file");
    file.seek(SeekFrom::Start(((page - 1) * size).unsigned_abs())).expect("is there");
    file.write_all(&[0xA5; 512]).expect("damages");
    drop(file);
    home.check(&["lookup", &order, "--json"], 0);
    let ran = home.check(&["doctor", "--json"], 1);
    assert_eq!(ran.error_kind(), "storage");
    assert!(ran.stdout.contains(r#""check":"form of the index","ok":false"#), "{}", ran.stdout);
    assert!(ran.stdout.contains("is damaged") && ran.stdout.contains("move the file away"), "{}", ran.stdout);
    assert!(ran.stdout.contains(r#""check":"form of the ledger","ok":true"#), "{}", ran.stdout);
}

/// Returns an order whose action can be adjusted, and the delta of the adjustment.
fn a_change(sim: &Sim) -> (String, String) {
    let order = crate::adjust::order(sim);
    let delta = format!("{}=-0.10", order.items[0].0);
    (order.order_id, delta)
}

#[test]
fn a_change_sent_after_the_backup_is_not_sent_again_from_it() {
    let (sim, home) = ready(&["--participants", "1500"]);
    let (order, delta) = a_change(&sim);
    let copy = file(&backup_after_a_retraction(&sim, &home)["ledger"]);
    let adjust = ["adjust", order.as_str(), "--delta", &delta, "--yes", "--json"];
    home.check(&adjust, 0);
    restore(&home, &copy);
    assert_eq!(home.check(&adjust, 3).error_kind(), "identity");
    let accepted = accept(&home, &["--yes"]);
    accepted.expect(0);
    let accepted = accepted.object();
    assert_eq!((&accepted["modifications"], &accepted["added"][0]["road"]), (&1.into(), &"modification".into()));
    // recoup first follows the submission in the vendor's list. After that, recoup sends the same change only if a
    // person orders it with `--again`.
    let refused = home.check(&adjust, 5);
    assert!(refused.stderr.contains("is queued"), "{}", refused.stderr);
    let verified = home.check(&["verify", "2", "--json"], 0);
    assert_eq!(verified.state(), "processed");
    let refused = home.check(&adjust, 5);
    assert!(refused.stderr.contains("--again"), "{}", refused.stderr);
    assert_eq!(sim.record()["puts"].as_array().map(Vec::len), Some(1), "{}", sim.record());
    home.check(&[&adjust[..], &["--again"]].concat(), 0);
    home.check(&["audit", "verify"], 0);
}

/// Retracts one order and makes a backup of the index and the ledger.
fn backup_after_a_retraction(sim: &Sim, home: &Home) -> Value {
    home.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
    backup(home, &[])
}

#[test]
fn the_copy_of_another_ledger_is_not_accepted() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let (one, two) = two_orders(&sim);
    // Moves the home to a new ledger and a new index of the same tenant.
    let other = Home::new(&sim);
    other.crawl();
    other.check(&["retract", &one, "--yes"], 0);
    home.run(&["retract", &two, "--yes"]);
    let copy = file(&backup(&other, &[])["ledger"]);
    restore(&home, &copy);
    assert_eq!(home.check(&["retract", &two, "--yes", "--json"], 3).error_kind(), "identity");
    let accepted = accept(&home, &["--yes"]);
    accepted.expect(0);
    assert_eq!((&accepted.object()["trouble"], &accepted.object()["since"]), (&"another".into(), &Value::Null));
    home.run(&["retract", &two, "--yes"]);
    assert_eq!(sim.deletes().len(), 2);
}

/// Returns two orders whose rewards are not cancelled: the tests send the first before the backup and the second after
/// it.
fn two_orders(sim: &Sim) -> (String, String) {
    let (one, two) = (sim.example("plain"), sim.example("redeemed"));
    assert_ne!(one.order_id, two.order_id);
    (one.order_id, two.order_id)
}

fn accept(home: &Home, more: &[&str]) -> Ran {
    let args: Vec<&str> = ["ledger", "accept", "--ticket", "OPS-1", "--json"].iter().chain(more).copied().collect();
    home.run(&args)
}

#[test]
fn a_restored_ledger_sends_nothing_until_it_is_accepted_and_then_nothing_twice() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let (one, two) = two_orders(&sim);
    home.check(&["retract", &one, "--yes"], 0);
    let copy = file(&backup(&home, &[])["ledger"]);
    home.run(&["retract", &two, "--yes"]);
    assert_eq!(sim.deletes().len(), 2);
    restore(&home, &copy);
    for order in [&one, &two] {
        let refused = home.check(&["retract", order, "--yes", "--json"], 3);
        assert_eq!(refused.error_kind(), "identity");
        assert!(refused.stderr.contains("recoup ledger accept"), "{}", refused.stderr);
    }
    // recoup refuses the restored ledger also if a new index replaces the old one.
    std::fs::remove_file(home.database()).expect("the index");
    home.crawl();
    assert_eq!(home.check(&["retract", &two, "--yes", "--json"], 3).error_kind(), "identity");
    assert_eq!(accept(&home, &[]).error_kind(), "refused", "nobody can be asked here");

    let accepted = accept(&home, &["--yes", "--reason", "disk failed"]);
    accepted.expect(0);
    let accepted = accepted.object();
    assert_eq!((&accepted["trouble"], &accepted["vouched"]), (&"copy".into(), &true.into()));
    assert_eq!(accepted["added"].as_array().map(Vec::len), Some(1), "{accepted}");
    assert_eq!(accepted["added"][0]["order_id"], two.as_str());
    assert_eq!(accepted["by"], os_user(), "{accepted}");
    home.check(&["audit", "verify"], 0);
    for order in [&one, &two] {
        let again = home.run(&["retract", order, "--yes", "--json"]);
        assert_eq!(again.object()["retractions"][0]["sent_now"], false, "{again:?}");
    }
    assert_eq!(sim.deletes().len(), 2, "nothing went out twice");
    let receipt = home.run(&["verify", "2", "--json"]).object();
    assert_ne!(receipt["retractions"][0]["sent_at"], Value::Null, "{receipt}");
    assert_eq!(receipt["retractions"][0]["state"], "partial", "its rewards are proof enough: {receipt}");
    let events = home.check(&["audit", "export"], 0).objects();
    let event = events.iter().find(|event| event["kind"] == "accepted").expect("an event");
    assert_eq!((&event["details"]["ticket"], &event["details"]["reason"]), (&"OPS-1".into(), &"disk failed".into()));
    assert!(event["message"].to_string().contains(&format!("accepted by {}", os_user())), "{event}");
    assert_eq!(accept(&home, &["--yes"]).object()["accepted"], false, "nothing is left to accept");
}

#[test]
fn a_lost_ledger_is_rebuilt_from_the_vendors_list() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let (one, two) = two_orders(&sim);
    home.check(&["retract", &one, "--yes"], 0);
    home.run(&["retract", &two, "--yes"]);
    for file in ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    assert_eq!(home.check(&["retract", &one, "--yes", "--json"], 3).error_kind(), "identity");
    let accepted = accept(&home, &["--yes"]);
    accepted.expect(0);
    assert_eq!(accepted.object()["trouble"], "missing");
    assert_eq!(accepted.object()["added"].as_array().map(Vec::len), Some(2), "{accepted:?}");
    for order in [&one, &two] {
        home.run(&["retract", order, "--yes"]);
    }
    assert_eq!(sim.deletes().len(), 2);
    home.check(&["audit", "verify"], 0);
}

/// With `looked_at`, `verify` adds an event to the older copy, so the copy's newest event is younger than the events
/// that it lacks.
fn an_older_copy_without_a_mark(looked_at: bool) {
    let (sim, home) = ready(&["--participants", "3000"]);
    let (one, two) = two_orders(&sim);
    home.check(&["retract", &one, "--yes"], 0);
    let old = home.path("old.db");
    std::fs::copy(home.ledger(), &old).expect("a copy");
    home.run(&["retract", &two, "--yes"]);
    restore(&home, &old);
    if looked_at {
        home.run(&["verify", "1"]);
    }
    let accepted = accept(&home, &["--yes"]);
    accepted.expect(0);
    assert_eq!(accepted.object()["trouble"], "older");
    assert_eq!(accepted.object()["added"].as_array().map(Vec::len), Some(1), "{accepted:?}");
    home.run(&["retract", &two, "--yes"]);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn an_older_copy_without_a_mark_is_accepted_the_same_way() {
    an_older_copy_without_a_mark(false);
}

#[test]
fn reading_an_older_copy_before_accepting_it_hides_nothing() {
    an_older_copy_without_a_mark(true);
}

#[test]
fn without_the_vendors_list_a_flag_is_needed_and_recorded() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes"], 0);
    let copy = file(&backup(&home, &[])["ledger"]);
    restore(&home, &copy);
    // The vendor keeps submissions for at most 90 days.
    let conn = rusqlite::Connection::open(home.ledger()).expect("the ledger");
    let sql = "UPDATE identity SET value = json_set(value, '$.at', '2020-01-01T00:00:00.000Z') WHERE key = 'copy_of'";
    assert_eq!(conn.execute(sql, []).expect("an old copy"), 1);
    drop(conn);
    let refused = accept(&home, &["--yes"]);
    refused.expect(5);
    assert!(refused.stderr.contains("90 days") && refused.stderr.contains("--without-vendor"), "{}", refused.stderr);
    let accepted = accept(&home, &["--yes", "--without-vendor"]);
    accepted.expect(0);
    assert_eq!(accepted.object()["vouched"], false);
    let events = home.check(&["audit", "export"], 0).objects();
    let event = events.iter().find(|event| event["kind"] == "accepted").expect("an event");
    assert_eq!(event["details"]["without_vendor"], true);
    home.check(&["retract", &order.order_id, "--yes"], 0);
    assert_eq!(sim.deletes().len(), 1);
}
