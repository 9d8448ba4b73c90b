//! Tests of what a monitor reads: `recoup status --check` with its exit code, and the metrics file.

use crate::service::Service;
use crate::support::{Home, Sim, ready, report_skipped};

/// Expects that nothing can be sent: `retract` refuses with this exit code, and every health check fails with the same
/// reason.
#[track_caller]
fn everything_is_red(sim: &Sim, home: &Home, problem: &str, says: &str, refused: i32) {
    let sent = sim.deletes().len();
    let order = sim.another("plain").order_id;
    let ran = home.check(&["retract", &order, "--yes"], refused);
    assert!(ran.stdout.contains(says) || ran.stderr.contains(says), "{says}: {ran:?}");
    assert_eq!(sim.deletes().len(), sent, "{says}");
    let plain = home.run(&["status"]);
    assert_ne!(plain.code, Some(0), "{says}: {plain:?}");
    assert!(
        plain.stdout.contains("ATTENTION: nothing can be sent: ") && plain.stdout.contains(says),
        "{says}: {plain:?}"
    );
    assert!(problem != "clock" || !plain.stdout.contains("agreed"), "{plain:?}");
    let check = home.run(&["status", "--check", "--json"]);
    assert_ne!(check.code, Some(0), "{says}: {check:?}");
    assert_eq!(check.object()["problems"][0]["problem"], problem, "{says}: {check:?}");
    let doctor = home.run(&["doctor", "--json"]);
    assert_ne!(doctor.code, Some(0), "{says}: {doctor:?}");
    assert!(doctor.objects().iter().any(|line| line["ok"] == false && line["message"].to_string().contains(says)));
    let answer = Service::start(home).get("/readyz", &[]);
    assert!(answer.status == 503 && answer.body.contains(says), "{says}: {} {}", answer.status, answer.body);
}

/// Expects that every health check passes, after a command that sent a request to the vendor.
#[track_caller]
fn everything_is_green(home: &Home) {
    home.check(&["doctor"], 0);
    home.check(&["status", "--check"], 0);
    assert_eq!(Service::start(home).get("/readyz", &[]).status, 200);
}

#[test]
fn health_is_red_when_the_vendor_s_answers_carry_no_date() {
    let (sim, home) = ready(&[]);
    everything_is_green(&home);
    sim.post("set?date=off");
    everything_is_red(&sim, &home, "clock", "carry no Date", 5);
    assert_eq!(home.run(&["status", "--json"]).object()["clock"]["seconds"], serde_json::Value::Null);
    sim.post("set?date=on");
    everything_is_green(&home);
}

#[test]
fn health_is_red_when_the_clock_is_ten_minutes_off() {
    for clock in ["10m", "-10m"] {
        let (sim, home) = ready(&[]);
        sim.post(&format!("set?clock={clock}"));
        everything_is_red(&sim, &home, "clock", "nothing can be concluded from dates", 5);
        sim.post("set?clock=0s");
        everything_is_green(&home);
    }
}

#[cfg(unix)]
#[test]
fn health_is_red_when_the_ledger_its_folder_or_its_lock_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let chmod = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("modes are changed");
    };
    for (obstacle, says) in [
        ("a folder as the lock", "failed to lock"),
        ("a lock of somebody else", "failed to lock"),
        ("a ledger that is read-only", "cannot be written"),
        ("a folder that is read-only", "cannot be written"),
        ("an index that is read-only", "cannot be written"),
    ] {
        let (sim, mut home) = ready(&[]);
        if home.skip_on_server("it changes the modes of files") {
            return;
        }
        home.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
        if !home.drop_root() {
            report_skipped("files that cannot be written: nobody cannot run the binary");
            return;
        }
        everything_is_green(&home);
        let (lock, folder) = (home.path("recoup-ledger.db.send.lock"), home.ledger().with_file_name(""));
        let changed = match obstacle {
            "a folder as the lock" => {
                std::fs::remove_file(&lock).expect("the lock");
                std::fs::create_dir(&lock).expect("a folder");
                None
            }
            "a lock of somebody else" => Some((lock, 0o000)),
            "a ledger that is read-only" => Some((home.ledger(), 0o400)),
            "an index that is read-only" => Some((home.database(), 0o400)),
            _ => Some((folder, 0o500)),
        };
        // A database is writable even in a read-only folder if its WAL files exist. Each WAL file has the mode of its
        // database.
        let remove_logs = || {
            for log in ["recoup.db-wal", "recoup.db-shm", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
                drop(std::fs::remove_file(home.path(log)));
            }
        };
        if let Some((path, mode)) = &changed {
            remove_logs();
            chmod(path, *mode);
        }
        everything_is_red(&sim, &home, "ledger", says, 1);
        if let Some((path, _)) = &changed {
            chmod(path, 0o700);
            remove_logs();
            everything_is_green(&home);
        }
    }
}

#[test]
fn health_is_red_and_another_order_is_not_sent_when_a_page_of_the_ledger_is_damaged() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it damages a page of a file") {
        return;
    }
    home.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
    let mut file = std::fs::read(home.ledger()).expect("the ledger");
    let end = file.len();
    file[end - 4096..].fill(0);
    std::fs::write(home.ledger(), &file).expect("damaged");
    everything_is_red(&sim, &home, "ledger", "is damaged", 1);
    home.check(&["retract", &sim.another("plain").order_id, "--dry-run"], 1);
    let out = home.path("out.csv");
    home.check(&["file", "write", &sim.another("plain").order_id, "--out", out.to_str().expect("UTF-8"), "--yes"], 1);
    assert!(!out.exists());
}

#[test]
fn a_check_finds_a_stale_index_and_refused_credentials_and_nothing_else() {
    let sim = Sim::start(&["--participants", "100"]);
    let home = Home::new(&sim);
    let ran = home.check(&["status", "--check", "--json"], 1);
    assert_eq!(ran.object()["problems"][0]["problem"], "stale_index");
    assert_eq!(ran.error_kind(), "failed");
    home.crawl();
    assert_eq!(home.check(&["status", "--check", "--json"], 0).object()["problems"].as_array().map(Vec::len), Some(0));
    assert!(home.check(&["status", "--check", "--max-age", "0s", "--json"], 1).stdout.contains("stale_index"));
    let home = home.set("RECOUP_AUTH_TOKEN", "wrong");
    home.check(&["crawl", "--json"], 3);
    let ran = home.check(&["status", "--check", "--json"], 1);
    assert_eq!(ran.object()["problems"][0]["problem"], "refused_credentials", "{ran:?}");
    assert!(!ran.stdout.contains("wrong"), "no token: {}", ran.stdout);
    let home = home.set("RECOUP_AUTH_TOKEN", "simulator-token");
    home.crawl();
    home.check(&["status", "--check"], 0);
}

#[test]
fn a_check_finds_an_overdue_retraction() {
    let (sim, home) = ready(&["--delete-fault", "hang-before"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "1s", "--json"], 7);
    home.check(&["status", "--check"], 0);
    let ran = home.check(&["status", "--check", "--overdue", "0s", "--json"], 1);
    assert_eq!(ran.object()["problems"][0]["problem"], "overdue_retraction", "{ran:?}");
}

#[test]
fn metrics_are_written_atomically_and_name_no_person() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes"], 0);
    let file = home.path("recoup.prom");
    home.check(&["status", "--metrics-file", file.to_str().expect("UTF-8")], 0);
    let text = std::fs::read_to_string(&file).expect("the metrics");
    for line in ["recoup_index_complete 1", "recoup_retractions{state=\"confirmed\"} 1", "recoup_credentials_refused 0"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("# TYPE recoup_index_age_seconds gauge"), "{text}");
    assert!(!text.contains('@') && !text.contains(&order), "{text}");
    let nowhere = home.path("no such folder/recoup.prom");
    let ran = home.check(&["status", "--metrics-file", nowhere.to_str().expect("UTF-8"), "--json"], 1);
    assert_eq!(ran.error_kind(), "storage");
}

/// Causes each problem with the ledger, after which recoup must send nothing from the home.
#[test]
fn status_check_doctor_and_readyz_fail_when_nothing_is_sent_from_this_ledger() {
    for trouble in ["missing", "moved", "older", "another", "copy", "half", "tampered"] {
        let (sim, home) = ready(&["--participants", "3000"]);
        if home.skip_on_server("it moves and restores files") {
            return;
        }
        let (first, second) = (sim.example("plain").order_id, sim.example("redeemed").order_id);
        home.check(&["retract", &first, "--yes"], 0);
        let older = std::fs::read(home.ledger()).expect("the ledger");
        home.check(&["retract", &second, "--yes"], 0);
        let service = Service::start(&home);
        assert_eq!(service.get("/readyz", &[]).status, 200, "{trouble}");
        drop(service);
        home.check(&["status"], 0);
        let newest = std::fs::read(home.ledger()).expect("the ledger");
        for file in ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
            drop(std::fs::remove_file(home.path(file)));
        }
        let (kind, code) = if trouble == "tampered" { ("tampered", 1) } else { ("identity", 3) };
        match trouble {
            "missing" => {}
            "moved" => std::fs::write(home.path("moved.db"), newest).expect("at another place"),
            "older" => std::fs::write(home.ledger(), older).expect("a restore"),
            "another" => {
                let other = Home::new(&sim);
                other.crawl();
                other.check(&["retract", &sim.another("plain").order_id, "--yes"], 0);
                std::fs::copy(other.ledger(), home.ledger()).expect("another one");
            }
            _ => {
                std::fs::write(home.ledger(), newest).expect("as it was");
                let conn = rusqlite::Connection::open(home.ledger()).expect("the ledger");
                conn.execute_batch(match trouble {
                    "half" => "DROP TRIGGER events_remain; DELETE FROM events WHERE id = (SELECT max(id) FROM events)",
                    "tampered" => "DROP TRIGGER events_stay; UPDATE events SET message = 'x' WHERE id = 2",
                    _ => "INSERT INTO identity VALUES ('copy_of', '{}')",
                })
                .expect("changed");
            }
        }
        for args in [&["status", "--json"][..], &["status", "--check", "--json"]] {
            let ran = home.check(args, code);
            assert_eq!(ran.error_kind(), kind, "{trouble}: {ran:?}");
            let name = if trouble == "moved" { "missing" } else { trouble };
            assert_eq!(ran.object()["ledger_trouble"], name, "{ran:?}");
        }
        let problems = home.check(&["status", "--check", "--json"], code).object()["problems"].clone();
        assert_eq!(problems[0]["problem"], "ledger", "{trouble}: {problems}");
        // The remedy, which `retract`, the monitor, `status` and the service all show.
        let remedy = problems[0]["remedy"].as_str().unwrap_or_else(|| panic!("{trouble}: {problems}"));
        let refused = home.check(&["retract", &second, "--dry-run"], code);
        assert!(refused.stderr.contains(remedy), "{trouble}: {remedy}: {refused:?}");
        let text = home.check(&["status", "--check"], code).stdout;
        assert!(text.contains(remedy), "{trouble}: {remedy}: {text}");
        let doctor = home.check(&["doctor", "--json"], code);
        let checks = doctor.objects();
        let line = checks.iter().find(|line| line["check"] == "ledger of this index").expect("a line");
        assert!(line["ok"] == false && line["remedy"] == remedy, "{trouble}: {line}");
        let service = Service::start(&home);
        let answer = service.get("/readyz", &[]);
        assert!(answer.status == 503 && answer.body.contains("ledger"), "{trouble}: {} {}", answer.status, answer.body);
        assert!(answer.body.contains(remedy), "{trouble}: {remedy}: {}", answer.body);
        let sent = sim.deletes().len();
        home.check(&["retract", &second, "--yes"], code);
        assert_eq!(sim.deletes().len(), sent, "{trouble}");
    }
}

#[test]
fn no_failed_account_is_said_and_not_left_out() {
    let (_sim, home) = ready(&[]);
    let said = home.check(&["status", "--failed-accounts"], 0).stdout;
    assert!(said.contains("accounts that the last run could not read: none"), "{said}");
    assert!(!home.check(&["status"], 0).stdout.contains("could not read"));
}
