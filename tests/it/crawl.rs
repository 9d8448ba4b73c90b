//! Tests of crawls by participants: whatever fails, the index ends equal to the vendor's data, or names its gaps.

use serde_json::{Value, json};

use crate::index::{assert_index_is_truth, indexed, truth};
use crate::support::{Home, Ran, Sim, wait_until};

fn requests_to(sim: &Sim, endpoint: &str) -> u64 {
    sim.record()["requests"][endpoint].as_u64().unwrap_or(0)
}

#[test]
fn the_index_equals_the_truth() {
    let sim = Sim::start(&["--participants", "2000"]);
    let home = Home::new(&sim);
    let outcome = home.crawl().object();
    assert_index_is_truth(&home, &sim);
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_eq!(outcome["failed_accounts"], 0);
    assert_eq!(outcome["rewards"].as_u64(), Some(truth(&sim).len() as u64));
    let accounts = sim.get("accounts").lines().count() as u64;
    assert_eq!(outcome["accounts"].as_u64(), Some(accounts));
    assert_eq!(requests_to(&sim, "GET reward"), accounts, "one Get Rewards per distinct account");
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn the_index_equals_the_truth_under_faults_and_a_moving_list() {
    let sim = Sim::start(&["--participants", "2000", "--faults", "0.15", "--churn", "60"]);
    let home = Home::new(&sim);
    home.configure_more("[crawl]\npage_size = 50");
    let outcome = home.crawl().object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let faults = sim.record()["faults"].as_object().map_or(0, serde_json::Map::len);
    assert!(faults >= 8, "every kind of fault has happened: {}", sim.record()["faults"]);
    assert_eq!(sim.violations(), Vec::<Value>::new());
}

#[test]
fn the_index_equals_the_truth_under_each_fault_alone() {
    let kinds =
        ["500", "502", "503", "429", "429-bare", "reset", "truncated", "hang", "invalid-json", "empty", "duplicate"];
    for kind in kinds {
        let sim = Sim::start(&["--participants", "150", "--fault", &format!("{kind}=0.2")]);
        let home = Home::new(&sim);
        home.crawl();
        assert_index_is_truth(&home, &sim);
        assert!(
            sim.record()["faults"][kind].as_u64().unwrap_or(0) > 0,
            "{kind} has happened: {}",
            sim.record()["faults"]
        );
    }
}

#[cfg(unix)]
#[test]
fn a_crawl_killed_twenty_times_resumes_and_repeats_few_requests() {
    const BATCH: u64 = 20;
    const IN_FLIGHT: u64 = 8;
    let sim = Sim::start(&["--participants", "2000", "--latency", "2ms"]);
    let home = Home::new(&sim);
    home.configure_more(&format!("[crawl]\nbatch = {BATCH}"));
    let flight = IN_FLIGHT.to_string();
    let args = ["crawl", "--source", "participants", "--concurrency", &flight, "--json"];
    let accounts = sim.get("accounts").lines().count() as u64;
    let mut kills = 0;
    for place in 1..=20 {
        let goal = accounts * place / 21;
        let mut child = home.command(&args).spawn().expect("it starts");
        wait_until("the crawl to read some accounts", || {
            requests_to(&sim, "GET reward") >= goal || child.try_wait().expect("its state").is_some()
        });
        if child.try_wait().expect("its state").is_none() {
            child.kill().expect("it can be killed");
            kills += 1;
        }
        child.wait().expect("it ends");
        home.wait_for_locks();
    }
    assert_eq!(kills, 20, "every kill hit a running crawl");
    let outcome = home.check(&args, 0).object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let twice = requests_to(&sim, "GET reward") - accounts;
    // The size of a batch is counted in rows. Every account has at least one row, so a batch of the crawl has at most
    // as many accounts as rows.
    assert!(twice <= kills * (IN_FLIGHT + BATCH), "{twice} requests were made twice over {kills} kills");
}

#[test]
fn accounts_that_cannot_be_read_are_reported_and_exit_6() {
    let sim = Sim::start(&["--participants", "300", "--accounts-fail", "3"]);
    let home = Home::new(&sim);
    home.configure_more("[crawl]\nbatch = 500");
    let ran = home.check(&["crawl", "--source", "participants", "--json"], 6);
    assert_eq!(ran.object()["failed_accounts"], 3);
    assert_eq!(ran.object()["complete"], false);
    assert_eq!(ran.error_kind(), "some_failed");
    assert!(!ran.stderr.contains('@'), "no account is named: {}", ran.stderr);
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(status["failed_accounts"], 3);
    assert_eq!(status["failed"], Value::Null);
    let listed = home.check(&["status", "--failed-accounts", "--json"], 0).object();
    assert_eq!(listed["failed"].as_array().map(Vec::len), Some(3));
    // A look-up without a match claims no more than the crawl has read.
    let answer = home.check(&["lookup", "no such order", "--json"], 4).object();
    assert_eq!(answer["coverage"]["complete"], false);
    assert!(home.check(&["lookup", "no such order"], 4).stdout.contains("not in what has been read so far"));
}

#[test]
fn an_answer_about_another_account_is_a_gap_until_the_account_is_read_again() {
    let sim = Sim::start(&["--participants", "300", "--query-returns-all"]);
    let home = Home::new(&sim);
    let order = sim.another("plain");
    // A cache in front of the vendor returns another account's rewards for one account.
    for id in &order.reward_ids {
        sim.rewrite(id, &json!({"set": {"accountId": "other@example.com"}, "only": "rest"}));
    }
    home.check(&["crawl", "--source", "participants", "--json"], 6);
    let status = home.check(&["status", "--failed-accounts", "--json"], 0).object();
    let failed = status["failed"].as_array().expect("a list").clone();
    assert_eq!(status["failed_accounts"], failed.len());
    assert!(
        !failed.is_empty() && failed.iter().all(|it| it["reason"].to_string().contains("another account")),
        "{status}"
    );
    let stored =
        |home: &Home| -> usize { home.rows("index", "SELECT count(*) FROM rewards")[0][0].parse().expect("a number") };
    let kept = stored(&home);
    assert!(kept + 2 <= sim.truth().len(), "no reward of these answers is kept");
    let ran = home.check(&["lookup", &order.order_id, "--json"], 4);
    assert_eq!(ran.object()["verdict"], "not_found_yet", "{ran:?}");
    // A live look-up also rejects rewards of another account.
    let account = failed[0]["account_id"].as_str().expect("an account");
    let live = home.check(&["lookup", &order.order_id, "--participant", account, "--json"], 1);
    assert!(live.stdout.contains("another account"), "{live:?}");
    assert_eq!(stored(&home), kept);
    for id in &order.reward_ids {
        sim.rewrite(id, &json!({}));
    }
    home.crawl();
    assert_eq!(stored(&home), sim.truth().len());
    home.check(&["lookup", &order.order_id], 0);
}

#[test]
fn the_link_is_found_wherever_it_is_and_however_it_is_spelled() {
    for place in ["reward", "event", "meta"] {
        for names in ["camel", "snake", "pascal", "oid", "mixed"] {
            let sim = Sim::start(&["--participants", "120", "--link-in", place, "--link-names", names]);
            let home = Home::new(&sim);
            let outcome = home.crawl().object();
            assert_index_is_truth(&home, &sim);
            assert!(outcome["links"].as_u64() > Some(0), "{place} {names}: {outcome}");
        }
    }
}

#[test]
fn no_link_at_all_is_an_error_and_a_mapping_repairs_it_without_the_network() {
    let sim = Sim::start(&["--participants", "200", "--link-names", "unusual"]);
    let home = Home::new(&sim);
    let ran = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert_eq!(ran.error_kind(), "no_links");
    assert!(ran.stderr.contains("merchantRef"), "the keys that were seen: {}", ran.stderr);
    home.configure_more("[mapping]\norder_id = '$.merchantRef'\naction_id = '$.conversionRef'");
    sim.post("record/reset");
    let again = home.check(&["crawl", "--from-raw", "--json"], 0).object();
    assert!(again["links"].as_u64() > Some(0), "{again}");
    assert_eq!(sim.requests(), 0);
    assert_index_is_truth(&home, &sim);
}

#[test]
fn wrong_credentials_tenant_or_scope_end_a_crawl_and_fail_no_account() {
    let sim = Sim::start(&["--participants", "100"]);
    for (name, value, kind) in [
        ("RECOUP_AUTH_TOKEN", "wrong", "credentials"),
        ("RECOUP_TENANT", "nobody", "tenant"),
        ("RECOUP_AUTH_TOKEN", "brand-only-token", "scope"),
    ] {
        let home = Home::new(&sim).set(name, value);
        let ran = home.check(&["crawl", "--source", "participants", "--json"], 3);
        assert_eq!(ran.error_kind(), kind, "{ran:?}");
        assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
        let status = home.check(&["status", "--json"], 0).object();
        assert_eq!(status["failed_accounts"], 0);
    }
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", "");
    assert_eq!(home.check(&["crawl", "--source", "participants", "--json"], 3).error_kind(), "config");
}

#[test]
fn a_second_crawl_fails_or_waits() {
    let sim = Sim::start(&["--participants", "300", "--latency", "5ms"]);
    let home = Home::new(&sim);
    let args = ["crawl", "--source", "participants", "--concurrency", "2", "--json"];
    let first = home.command(&args).spawn().expect("it starts");
    wait_until("the first to send a request", || requests_to(&sim, "GET reward") > 0);
    let second = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert_eq!(second.error_kind(), "busy");
    let third = home.check(&["crawl", "--source", "participants", "--wait-for-lock", "--json"], 0);
    assert_eq!(third.object()["complete"], true);
    Ran::of(&args, first.wait_with_output().expect("it ends")).expect(0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_state_and_the_next_crawl_resumes() {
    let sim = Sim::start(&["--participants", "600", "--latency", "5ms"]);
    let home = Home::new(&sim);
    let accounts = sim.get("accounts").lines().count() as u64;
    let args = ["crawl", "--source", "participants", "--concurrency", "4", "--json"];
    let child = home.command(&args).spawn().expect("it starts");
    wait_until("the crawl to read some accounts", || requests_to(&sim, "GET reward") > 50);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
    ran.expect(130);
    assert_eq!(ran.error_kind(), "interrupted");
    assert!(requests_to(&sim, "GET reward") < accounts);
    home.crawl();
    assert_index_is_truth(&home, &sim);
    assert_eq!(
        requests_to(&sim, "GET reward"),
        accounts,
        "requests in flight were finished, and no account was read twice"
    );
}

#[test]
fn accounts_that_are_no_longer_listed_are_marked_as_gone() {
    let sim = Sim::start(&["--participants", "500"]);
    let home = Home::new(&sim);
    home.crawl();
    let before = indexed(&home).len();
    sim.post("set?churn=40");
    let outcome = home.crawl().object();
    assert_eq!(outcome["complete"], true, "{outcome}");
    assert_index_is_truth(&home, &sim);
    let counts = home.rows("index", "SELECT count(*), count(gone_at) FROM accounts").remove(0);
    assert!(counts[1] != "0", "{counts:?} accounts and gone ones, {before} rewards before");
}

#[test]
fn many_deleted_accounts_in_a_row_do_not_end_a_crawl() {
    // The deleted accounts are still in the list of participants. The simulator deletes the accounts before the crawl,
    // or after the crawl has read 150 accounts.
    for after in [0, 150] {
        let sim = Sim::start(&["--participants", "500"]);
        let home = Home::new(&sim);
        sim.post(&format!("vanish?after={after}&accounts=100"));
        let outcome = home.check(&["crawl", "--source", "participants", "--json"], 6).object();
        assert_eq!(outcome["failed_accounts"], 100, "{outcome}");
        assert_eq!(
            outcome["accounts"].as_u64().map(|read| read + 100),
            outcome["accounts_known"].as_u64(),
            "every other account was read: {outcome}"
        );
    }
}

#[test]
fn a_host_that_knows_no_account_ends_a_crawl() {
    for after in [0, 150] {
        let sim = Sim::start(&["--participants", "5000"]);
        let home = Home::new(&sim);
        sim.post(&format!("vanish?after={after}"));
        let ran = home.check(&["crawl", "--source", "participants", "--json"], 1);
        assert_eq!(ran.error_kind(), "vendor");
        assert!(ran.stdout.contains("listed accounts in a row"), "{}", ran.stdout);
        assert!(requests_to(&sim, "GET reward") < after + 500, "{}", requests_to(&sim, "GET reward"));
    }
}

#[test]
fn a_second_crawl_sees_changed_and_deleted_rewards() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain");
    sim.post(&format!("delete-reward?id={}", order.reward_ids[0]));
    sim.post(&format!("redeem?id={}", order.reward_ids[1]));
    home.crawl();
    assert_index_is_truth(&home, &sim);
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    let by_id = |id: &str| answer["matches"].as_array().and_then(|m| m.iter().find(|m| m["reward_id"] == id)).cloned();
    assert_eq!(by_id(&order.reward_ids[0]).expect("kept")["gone"], true);
    assert_eq!(by_id(&order.reward_ids[1]).expect("kept")["state"], "redeemed");
}

#[test]
fn an_enforced_limit_is_respected() {
    for header in ["brand", "brand-epoch", "partner", "retry-after", "retry-after-date", "none"] {
        let sim = Sim::start(&["--participants", "60", "--quota", "60", "--window", "1s", "--limit-header", header]);
        let home = Home::new(&sim);
        home.crawl();
        assert_index_is_truth(&home, &sim);
        assert_eq!(sim.violations(), Vec::<Value>::new(), "{header}");
    }
}

#[test]
fn a_wait_beyond_max_wait_parks_the_crawl() {
    let sim = Sim::start(&["--participants", "300", "--quota", "100", "--window", "1h"]);
    let home = Home::new(&sim);
    let ran = home.check(&["crawl", "--source", "participants", "--max-wait", "1s", "--json"], 8);
    assert_eq!(ran.error_kind(), "parked");
    let read = home.check(&["status", "--json"], 0).object()["runs"][0]["accounts_read"].as_u64();
    assert!(read > Some(0), "some accounts are kept: {read:?}");
}

#[test]
fn the_rate_option_is_respected() {
    let sim = Sim::start(&["--participants", "100"]);
    let home = Home::new(&sim);
    home.check(&["crawl", "--source", "participants", "--rate", "60/s", "--json"], 0);
    let busiest = sim.record()["busiest_second"].as_u64().expect("a number");
    assert!(busiest <= 66, "{busiest} requests in the busiest second");
}

#[test]
fn a_database_of_another_tenant_another_version_or_a_damaged_one_is_refused() {
    let sim = Sim::start(&["--participants", "60"]);
    let home = Home::new(&sim);
    home.crawl();
    let other = Sim::start(&["--participants", "60"]);
    let home = home.set("RECOUP_ADVOCATE_URL", &format!("http://{}/api/v1", other.addr));
    for args in [
        vec!["crawl", "--source", "participants", "--json"],
        vec!["lookup", "1", "--json"],
        vec!["retract", "1", "--yes", "--json"],
    ] {
        assert_eq!(home.check(&args, 3).error_kind(), "identity");
    }
    let home = home.set("RECOUP_ADVOCATE_URL", &format!("http://{}/api/v1", sim.addr));
    if home.skip_on_server("it changes the bytes of SQLite's file") {
        return;
    }
    for version in [2, 999] {
        let conn = rusqlite::Connection::open(home.database()).expect("the index");
        conn.pragma_update(None, "user_version", version).expect("another schema");
        drop(conn);
        let before = std::fs::read(home.database()).expect("the file");
        for args in [vec!["lookup", "1", "--json"], vec!["crawl", "--source", "participants", "--json"]] {
            let ran = home.check(&args, 3);
            assert_eq!(ran.error_kind(), "other_version");
            assert!(ran.stdout.contains("move the file away and run `recoup crawl`"), "{}", ran.stdout);
        }
        assert!(std::fs::read(home.database()).expect("the file") == before, "it stays as it is");
    }
    std::fs::write(home.database(), "this is no database at all, not even a little".repeat(200)).expect("rubbish");
    for file in ["recoup.db-wal", "recoup.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    let ran = home.check(&["lookup", "1", "--json"], 1);
    assert_eq!(ran.error_kind(), "storage");
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    home.check(&["crawl", "--source", "participants", "--json"], 1);
    home.check(&["status", "--json"], 1);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_the_crawl_resumes_when_there_is_room() {
    let sim = Sim::start(&["--participants", "1500"]);
    let home = Home::new(&sim);
    if home.skip_on_server("the limit concerns a file of this process") {
        return;
    }
    // A file size limit simulates a full disk. Its signal SIGXFSZ must not end the process.
    let program = home.command(&["crawl", "--source", "participants", "--json"]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", "ulimit -f 300; exec \"$0\" crawl --json"])
        .arg(program.get_program())
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(&["crawl", "--source", "participants"], shell.output().expect("it runs"));
    ran.expect(1);
    assert_eq!(ran.error_kind(), "storage", "{ran:?}");
    home.crawl();
    assert_index_is_truth(&home, &sim);
}

#[test]
fn a_few_bad_accounts_do_not_stall_a_crawl_with_default_settings() {
    let sim = Sim::start(&["--participants", "300", "--accounts-fail", "3"]);
    let home = Home::new(&sim);
    home.configure("");
    let outcome = home.check(&["crawl", "--source", "participants", "--json"], 6).object();
    assert_eq!(outcome["failed_accounts"], 3);
    let seconds = outcome["seconds"].as_f64().expect("a number");
    assert!(seconds < 40.0, "{seconds} s for three bad accounts of 300");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures how long the program takes to give up")]
fn a_host_that_is_down_ends_a_crawl_with_a_network_error() {
    let sim = Sim::start(&["--participants", "60"]);
    // The listener is closed, so its port refuses connections.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/api/v1", listener.local_addr().expect("its address"));
    drop(listener);
    let home = Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url);
    home.configure("");
    let began = std::time::Instant::now();
    let ran = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert_eq!(ran.error_kind(), "network");
    assert!(ran.stderr.contains("5 attempts"), "{}", ran.stderr);
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn a_failed_crawl_that_read_nothing_does_not_hide_the_previous_one() {
    let sim = Sim::start(&["--participants", "120"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain").order_id;
    let home = home.set("RECOUP_AUTH_TOKEN", "wrong");
    assert_eq!(home.check(&["crawl", "--source", "participants", "--json"], 3).error_kind(), "credentials");
    let status = home.check(&["status", "--json"], 0).object();
    assert_eq!(
        (&status["coverage"]["complete"], status["runs"].as_array().map(Vec::len)),
        (&Value::Bool(true), Some(1))
    );
    assert_eq!(home.check(&["lookup", &order, "--json"], 0).object()["coverage"]["complete"], true);
    assert_eq!(home.check(&["crawl", "--from-raw", "--json"], 0).object()["complete"], true);
}

#[cfg(unix)]
#[test]
fn ctrl_c_during_a_wait_says_how_to_resume() {
    let sim = Sim::start(&["--participants", "300", "--quota", "50", "--window", "1h"]);
    let home = Home::new(&sim);
    let args = ["crawl", "--source", "participants", "--max-wait", "2h", "--json"];
    let child = home.command(&args).spawn().expect("it starts");
    // A crawl leaves a tenth of the quota to retractions.
    wait_until("the quota to be used up", || sim.requests() >= 40);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
    ran.expect(130);
    assert!(ran.stderr.contains("again to resume"), "{}", ran.stderr);
}
