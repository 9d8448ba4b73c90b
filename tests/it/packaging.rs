//! Tests of what an operator installs: shell completions, man pages, the systemd units in `deploy/`, and the image.

use std::io::Write;
use std::process::{Command, Stdio};

use clap::Parser;
use recoup::cli::Cli;

use crate::service::Service;
use crate::support::{Home, Sim, report_skipped};

fn home() -> (Sim, Home) {
    let sim = Sim::start(&["--participants", "1"]);
    let home = Home::new(&sim);
    (sim, home)
}

#[test]
fn completions_are_scripts_that_know_every_command() {
    let (_sim, home) = home();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.check(&["completions", shell], 0).stdout;
        for word in ["retract", "serve", "simulate", "--max-requests"] {
            // fish completions contain flags without dashes.
            assert!(script.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
        let Ok(mut checked) = Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
            report_skipped(&format!("whether {shell} reads its completions: there is no {shell}"));
            continue;
        };
        checked.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
        let ended = checked.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{shell}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(home.check(&["completions", "csh", "--json"], 2).error_kind(), "usage");
}

#[test]
fn every_command_has_a_man_page() {
    let (_sim, home) = home();
    let page = home.check(&["man"], 0).stdout;
    assert!(page.contains(".TH") && page.contains("recoup"), "{page}");
    let folder = home.path("man");
    home.check(&["man", "--out", &folder.display().to_string()], 0);
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read("recoup-retract.1").contains("ticket"));
    assert!(read("recoup-user-token-add.1").contains("scope"));
    let blocked = home.path("recoup.toml").join("man");
    assert!(home.check(&["man", "--out", &blocked.display().to_string(), "--json"], 1).stdout.contains("hint"));
}

#[test]
fn every_commented_setting_of_the_example_can_be_used_as_it_is() {
    let (_sim, home) = home();
    let home = ["RECOUP_TENANT", "RECOUP_ACCOUNT_SID"].iter().fold(home, |home, name| home.set(name, ""));
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/recoup.toml")).expect("text");
    let used: String = text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    for settings in [&text, &used] {
        home.configure(settings);
        let shown = home.check(&["config", "show", "--json"], 0).stdout;
        assert_eq!(shown.contains("acme"), settings == &used, "{shown}");
    }
}

#[test]
fn health_says_what_the_service_says_over_http_and_tls() {
    let (_sim, home) = home();
    let gone = home.check(&["health", "--url", "http://127.0.0.1:9", "--json"], 1);
    assert_eq!(gone.error_kind(), "network");
    let tls = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| tls.join(name).display().to_string());
    let flags: [&[&str]; 2] = [&[], &["--tls-cert", &cert, "--tls-key", &key]];
    for (scheme, flags) in ["http", "https"].iter().zip(flags) {
        let service = Service::start_with(&home, flags);
        let url = format!("{scheme}://{}", service.addr);
        assert_eq!(home.check(&["health", "--url", &url], 0).stdout, "alive\n");
        // No crawl has run, so the service is alive, and not ready.
        let unready = home.check(&["health", "--ready", "--url", &url, "--json"], 1);
        assert!(
            unready.stdout.contains("answers 503: not ready: the first crawl has not finished"),
            "{}",
            unready.stdout
        );
    }
    assert_eq!(home.check(&["health", "--url", "nowhere", "--json"], 2).error_kind(), "usage");
}

#[test]
fn the_command_lines_in_deploy_are_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        for line in text.lines() {
            if let Some((key, command)) = line.split_once('=')
                && key.starts_with("Exec")
            {
                let words = command.trim_start_matches('-').split(' ').map(str::to_owned).collect();
                lines.push((path.clone(), words));
            }
        }
    }
    let image = folder.join("../packages/image");
    let text = std::fs::read_to_string(&image).expect("text");
    let (_, command) = text.split_once("--cmd '").expect("the command of the image");
    let words = command.split('\'').next().unwrap_or_default().split(' ').map(str::to_owned);
    lines.push((image, std::iter::once("/usr/local/bin/recoup".to_owned()).chain(words).collect()));
    assert!(lines.len() >= 7, "{lines:?}");
    for (path, words) in lines {
        let words: Vec<String> = words;
        assert_eq!(words[0], "/usr/local/bin/recoup", "{}", path.display());
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{}: {words:?}: {error}", path.display());
        }
    }
}
