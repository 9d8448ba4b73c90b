//! Tests of the service's metrics, and of the alert rules and the dashboard in `deploy/` that read them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::service::{Service, add_token, add_user, percent_encoded};
use crate::support::{Home, Sim, browser_required, ready, report_skipped, wait_until};

/// Prepares a service that has crawled, retracted and answered, so that every metric has a value.
fn busy() -> (Sim, Home) {
    let (sim, home) = ready(&[]);
    home.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
    home.configure_more("[schedule]\nverify = '1s'\nrefresh = 'off'");
    (sim, home)
}

/// Returns `/metrics` after requests that increase every counter of the service, in each format.
fn scrape(home: &Home, order: &str) -> [String; 2] {
    add_user(home, "ann", "admin");
    let token = format!("Bearer {}", add_token(home, "ann", &["metrics", "lookup", "preflight"]));
    let service = Service::start(home);
    service.get("/api/v1/lookup?order_id=1", &[("Authorization", &token)]);
    let order = percent_encoded(order);
    service.get(&format!("/api/v1/preflight?order_id={order}"), &[("Authorization", &token)]);
    service.ask("POST", "/webhooks/advocate", &[("Content-Type", "application/json")], b"{}");
    let read = |accept: &str, kind: &str| {
        let scraped = service.get("/metrics", &[("Authorization", &token), ("Accept", accept)]);
        assert!(scraped.header("content-type").starts_with(kind), "{accept}: {}", scraped.header("content-type"));
        scraped.body
    };
    let text = || read("text/html, */*;q=0.1", "text/plain; version=0.0.4");
    wait_until("a job has succeeded", || text().contains("recoup_job_ok_age_seconds{"));
    let open = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    [text(), read(open, "application/openmetrics-text; version=1.0.0")]
}

/// Returns the metric names in Prometheus expressions.
fn names(expressions: &str) -> BTreeSet<String> {
    let words = expressions.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("recoup_")).map(str::to_owned).collect()
}

fn deploy(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_metric_has_help_and_type_and_deploy_uses_only_metrics_that_exist() {
    let (sim, home) = busy();
    let [plain, text] = scrape(&home, &sim.another("plain").order_id);
    assert!(text.ends_with("# EOF\n") && !plain.contains("# EOF"), "{plain}");
    assert!(plain.contains("# TYPE recoup_http_answers_total counter\n"), "{plain}");
    assert!(text.contains("# TYPE recoup_http_answers counter\n"), "{text}");
    let (mut help, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name)) => _ = help.insert(name.to_owned(), line.len() > name.len() + 10),
            (Some("#"), Some("TYPE"), Some(name)) => {
                _ = types.insert(name.to_owned(), words.next().unwrap_or_default());
            }
            (Some("#"), ..) => {}
            (Some(sample), ..) => {
                samples.insert(sample.split('{').next().unwrap_or_default().to_owned());
            }
            _ => {}
        }
    }
    assert!(samples.len() > 20, "{text}");
    for sample in &samples {
        let metric = sample.strip_suffix("_total").filter(|name| types.contains_key(*name)).unwrap_or(sample);
        assert!(help.get(metric).is_some_and(|has_text| *has_text), "{sample} has no HELP: {text}");
        assert!(
            types.get(metric).is_some_and(|kind| ["gauge", "counter"].contains(kind)),
            "{sample} has no TYPE: {text}"
        );
    }
    let rules = deploy("alerts.yml");
    let rules: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(rules.len() > 5);
    let board: Value = serde_json::from_str(&deploy("grafana.json")).expect("a dashboard is JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let board: Vec<String> = panels
        .flat_map(|panel| panel["targets"].as_array().expect("targets").iter().map(|target| target["expr"].to_string()))
        .collect();
    let used: BTreeSet<String> = names(&rules.join("\n")).union(&names(&board.join("\n"))).cloned().collect();
    assert!(used.len() > 15, "{used:?}");
    // `deploy/` may use only metrics for which this service has returned a value.
    let unknown: Vec<&String> = used.difference(&samples).collect();
    assert!(unknown.is_empty(), "deploy/ uses metrics that do not exist: {unknown:?}\n{text}");
    assert_eq!(names("sum(recoup_a{x=\"1\"}) > 3 * recoup_b"), ["recoup_a", "recoup_b"].map(str::to_owned).into());
}

#[test]
fn promtool_has_no_complaint_about_the_metrics() {
    let is_missing = |error: std::io::Error| {
        report_skipped(&format!("promtool does not run: {error} (Debian's package prometheus)"));
    };
    let promtool = |arg: &str| {
        let mut command = std::process::Command::new("promtool");
        command.args(["check", arg]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).spawn()
    };
    if let Err(error) = promtool("metrics").and_then(|mut child| child.kill().and_then(|()| child.wait())) {
        assert!(!browser_required(), ".ci/run installs promtool: {error}");
        return is_missing(error);
    }
    let (sim, home) = busy();
    let [of_service, _] = scrape(&home, &sim.another("plain").order_id);
    let file = home.path("recoup.prom");
    home.check(&["status", "--metrics-file", &file.display().to_string()], 0);
    for text in [of_service, std::fs::read_to_string(&file).expect("the metrics")] {
        let mut child = promtool("metrics").expect("it runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text.as_bytes()).expect("the metrics go");
        let checked = child.wait_with_output().expect("it ends");
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
    }
}
