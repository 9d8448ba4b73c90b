//! Runs the commands of the documentation that are marked as runnable, page by page, against the simulator.
//!
//! A block that begins with ```` ```sh run ```` runs until it ends, and must succeed. A block that begins with
//! ```` ```sh background ```` starts a server, which runs until the end of the page.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use crate::support::{Home, Ran, Sim};

/// Returns the runnable blocks of a documentation page in order: each with its lines, and whether it runs in the
/// background.
fn blocks(page: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line, &mut open) {
            ("```sh run", None) => open = Some((false, String::new())),
            ("```sh background", None) => open = Some((true, String::new())),
            ("```", Some(_)) => found.extend(open.take()),
            (line, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (_, None) => {}
        }
    }
    found
}

/// Servers that a documentation page starts; dropping this type stops them.
struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ended_already = child.kill();
            let _ended_already = child.wait();
        }
    }
}

#[test]
fn the_five_minutes_of_the_readme_run_word_for_word() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README");
    let blocks = blocks(&page);
    assert!(blocks.len() >= 6, "{blocks:?}");
    // The port numbers of the documentation page may be in use on this machine.
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let (simulator, service) = (free(), free());
    let sim = Sim::start(&["--participants", "1"]);
    let home = Home::new(&sim);
    home.configure(&format!("[serve]\nlisten = '127.0.0.1:{service}'\n"));
    let own = ["RECOUP_ADVOCATE_URL", "RECOUP_BRAND_URL", "RECOUP_TENANT", "RECOUP_ACCOUNT_SID", "RECOUP_AUTH_TOKEN"];
    let home = own.into_iter().fold(home, |home, name| home.set(name, ""));
    let mut servers = Servers(Vec::new());
    // The `export` lines of earlier blocks, because the page assumes one terminal.
    let mut exported = String::new();
    let mut output = String::new();
    for (is_background, block) in blocks {
        let block = block.replace("8099", &simulator.to_string());
        if is_background {
            let line = format!("{exported}exec {block}");
            let mut child = home.shell(&line).stderr(Stdio::null()).spawn().expect("it starts");
            let mut first = String::new();
            BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("its first line");
            servers.0.push(child);
            assert!(first.starts_with("listening on http"), "{block}: {first:?}");
        } else {
            let ran =
                Ran::of(&[&block], home.shell(&format!("set -e\n{exported}{block}")).output().expect("bash runs"));
            ran.expect(0);
            output.push_str(&ran.stdout);
            exported.extend(block.lines().filter(|line| line.starts_with("export ")).flat_map(|line| [line, "\n"]));
        }
    }
    assert_eq!(servers.0.len(), 2);
    assert!(output.contains("(retraction 1): confirmed"), "{output}");
    assert!(!output.contains("(retraction 2)"), "{output}");
}
