//! What a monitor reads: the check and its exit code, and the metrics file.

use crate::support::{Home, Sim, ready};

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
fn a_check_finds_a_retraction_that_is_long_overdue() {
    let (sim, home) = ready(&["--delete-fault", "hang-before"]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--wait", "1s", "--json"], 7);
    home.check(&["status", "--check"], 0);
    let ran = home.check(&["status", "--check", "--overdue", "0s", "--json"], 1);
    assert_eq!(ran.object()["problems"][0]["problem"], "overdue_retraction", "{ran:?}");
}

#[test]
fn metrics_are_written_whole_and_name_nobody() {
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
