//! Tests of the service's scheduled jobs: they start on time, one at a time, and again after a kill.

use crate::service::Service;
use crate::support::{Home, Sim, wait_until};

fn uncrawled() -> (Sim, Home) {
    let sim = Sim::start(&["--participants", "200"]);
    let home = Home::new(&sim);
    (sim, home)
}

#[test]
fn the_schedule_crawls_and_verifies_retractions_of_other_processes() {
    let (sim, home) = uncrawled();
    home.configure_more("[schedule]\nverify = '1s'\nbackup_folder = 'backups'\nbackup = '1s'");
    let service = Service::start(&home);
    assert_eq!(service.get("/readyz", &[]).status, 503, "there is nothing yet");
    wait_until("it is ready", || service.get("/readyz", &[]).status == 200);
    let order = sim.example("plain").order_id;
    let sent = home.run(&["retract", &order, "--yes", "--wait", "0s", "--json"]);
    assert!(sent.code == Some(7) || sent.code == Some(0), "{sent:?}");
    let state = || home.check(&["status", "--retraction", "1", "--json"], 0).object()["state"].clone();
    wait_until("the schedule proves it", || state() == "confirmed");
    if home.skip_on_server("the rest waits for a backup of files") {
        return;
    }
    wait_until("a backup is there", || std::fs::read_dir(home.path("backups")).is_ok_and(|folder| folder.count() >= 2));
    let lines = home.check(&["schedule", "list", "--json"], 0).objects();
    let of = |job: &str| lines.iter().find(|line| line["job"] == job).expect("a line").clone();
    assert!(of("refresh")["ok_at"].is_string() && of("refresh")["next_at"].is_string(), "{lines:?}");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_due_job_runs_in_one_process_only() {
    let (sim, home) = uncrawled();
    home.configure_more("[schedule]\nrefresh = '1h'");
    let services = [Service::start(&home), Service::start(&home)];
    wait_until("both are ready", || services.iter().all(|service| service.get("/readyz", &[]).status == 200));
    let runs = || home.check(&["status", "--json"], 0).object()["runs"].as_array().map_or(0, Vec::len);
    assert_eq!(runs(), 1, "each account was read by one of them");
    // `schedule run` runs the job before it is due; the job is then due an hour later.
    home.check(&["schedule", "run", "refresh"], 0);
    assert_eq!(runs(), 2);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[test]
fn a_failed_job_is_reported_and_a_killed_one_runs_again() {
    let sim = Sim::start(&["--participants", "500", "--latency", "300ms"]);
    let home = Home::new(&sim);
    let wrong = home.set("RECOUP_AUTH_TOKEN", "wrong");
    let failed = wrong.check(&["schedule", "run", "refresh", "--json"], 3);
    assert_eq!(failed.error_kind(), "credentials");
    let line = wrong.check(&["schedule", "list", "--json"], 0).object();
    assert!(line["error"].as_str().is_some_and(|error| error.contains("credentials")), "{line}");
    let home = wrong.set("RECOUP_AUTH_TOKEN", "simulator-token");
    let before = sim.requests();
    let mut killed = home.command(&["schedule", "run", "refresh"]).spawn().expect("starts");
    wait_until("it reads", || sim.requests() > before);
    killed.kill().expect("it can be killed");
    killed.wait().expect("it ends");
    home.wait_for_locks();
    home.check(&["schedule", "run", "refresh"], 0);
    assert!(home.check(&["schedule", "list", "--json"], 0).object()["error"].is_null());
}

#[test]
fn invalid_schedules_are_refused() {
    let (_sim, home) = uncrawled();
    for wrong in ["refresh = 'often'", "refresh = '0 6 * * 1'", "backup = '1h'", "refresh = '10ms'"] {
        home.configure_more(&format!("[schedule]\n{wrong}"));
        let refused = home.check(&["schedule", "list", "--json"], 3);
        assert_eq!(refused.error_kind(), "config", "{wrong}");
        let text = std::fs::read_to_string(home.path("recoup.toml")).expect("the file");
        home.configure(text.split("[schedule]").next().expect("what was before"));
    }
    home.configure_more("[schedule]\nrefresh = '30 1 * * Mon-Fri'\nverify = 'off'");
    let lines = home.check(&["schedule", "list", "--json"], 0).objects();
    assert!(lines[0]["next_at"].is_string() && lines[1]["next_at"].is_null(), "{lines:?}");
    let none = home.check(&["schedule", "run", "backup", "--json"], 3);
    assert!(none.stdout.contains("backup_folder"), "{}", none.stdout);
}
