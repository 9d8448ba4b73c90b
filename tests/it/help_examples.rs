//! Runs every example of `recoup COMMAND --help` against the simulator as a shell line, and checks that it does what
//! its description says.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use recoup::cli::help::EXAMPLES;
use serde_json::Value;

use crate::adjust::order;
use crate::notices::{Receiver, SECRET};
use crate::support::{Home, Ran, Sim, new_stores, ready, wait_until};

/// Maps each placeholder of the help examples to the simulator's data.
struct Data(Vec<(&'static str, String)>);

impl Data {
    fn of(sim: &Sim, home: &Home, port: u16) -> Self {
        let several = order(sim);
        let all: Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
        let plain = all["plain"].as_array().expect("a list");
        let others: Vec<&Value> = plain.iter().filter(|one| one["order_id"] != several.order_id.as_str()).collect();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let retracted = text(&others[0]["order_id"]);
        std::fs::write(home.path("orders.txt"), format!("{retracted}\n")).expect("written");
        std::fs::write(home.path("refunds.csv"), format!("order_id\n\"{retracted}\"\nunknown-7\n")).expect("written");
        std::fs::write(home.path("key-of-acme"), "simulator-token\n").expect("written");
        for name in ["cert.pem", "key.pem"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name);
            std::fs::copy(file, home.path(name)).expect("copied");
        }
        // A copy of the index, which one example moves to another file.
        for suffix in ["", "-wal", "-shm"] {
            let name = |path: &Path| format!("{}{suffix}", path.display());
            if Path::new(&name(&home.database())).exists() {
                std::fs::copy(name(&home.database()), name(&home.path("copied.db"))).expect("copied");
            }
        }
        std::fs::write(home.path("place"), home.path("moved.db").display().to_string()).expect("written");
        Self(vec![
            ("1001", format!("'{retracted}'")),
            ("1002", format!("'{}'", several.order_id)),
            ("1003", format!("'{}'", text(&others[1]["order_id"]))),
            ("SKU-1", several.items[0].0.clone()),
            ("REWARD_ID", text(&others[2]["reward_ids"][0])),
            ("acme", "simulator".to_owned()),
            ("IRabc123", "SIMULATOR".to_owned()),
            ("/etc/recoup/token", home.path("key-of-acme").display().to_string()),
            ("0.0.0.0:8443", "127.0.0.1:0".to_owned()),
            ("8090", "0".to_owned()),
            // One help example uses the listen address of the settings.
            ("8080", port.to_string()),
            ("recoup_service", format!("example_{}", std::process::id())),
            ("recoup.db", home.path("copied.db").display().to_string()),
            ("/etc/recoup/database", home.path("place").display().to_string()),
        ])
    }

    fn put_into(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value))
    }
}

/// Runs a command that serves until it is stopped, and expects an address on its first output line.
fn serves(home: &Home, line: &str) {
    let mut child = home.shell(&format!("exec {line}")).spawn().expect("it starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("its first line");
    child.kill().expect("it can be stopped");
    child.wait().expect("it ends");
    assert!(first.starts_with("listening on http"), "{line}: {first:?}");
}

#[test]
fn every_example_of_the_help_runs_against_the_simulator() {
    let (sim, home) = ready(&["--participants", "1500"]);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let receiver = Receiver::start(&[]);
    let home = home.set("RECOUP_NOTICE_SECRET", SECRET);
    home.configure_more(&format!("[serve]\nlisten = '127.0.0.1:{port}'\n[notices]\nwebhook_url = '{}'", receiver.url));
    let data = Data::of(&sim, &home, port);
    let server = new_stores();
    let mut run = 0;
    for (command, examples) in EXAMPLES {
        let service = (command == "open").then(|| {
            let mut child = home.shell("exec recoup serve").stderr(Stdio::null()).spawn().expect("it starts");
            let mut first = String::new();
            BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("its first line");
            child
        });
        for (what, line) in examples {
            assert!(line.contains("recoup "), "{line}");
            let mut said = data.put_into(line);
            if said.contains("HASH") {
                let head = home.check(&["audit", "verify", "--json"], 0).object()["head"]["hash"].clone();
                said = said.replace("HASH", head.as_str().expect("a hash"));
            }
            run += 1;
            match *line {
                line if line.starts_with("recoup serve") || line.starts_with("recoup simulate") => {
                    serves(&home, &said);
                    continue;
                }
                // `recoup init` asks three questions on a terminal; its own tests answer them.
                "recoup init" => continue,
                _ => {}
            }
            if *command == *"init" {
                said =
                    said.replace("recoup init", &format!("recoup init --config {}", home.path("new.toml").display()));
            }
            let mut shell = home.shell(&said);
            if let (true, Some(address)) = (*command == *"store", &server) {
                shell.env("RECOUP_DATABASE", address);
            }
            let ran = Ran::of(&[&said], shell.output().expect("bash runs"));
            // The simulated shop's file has an order that no crawl has found, and an order that is retracted.
            let expected: &[i32] = match *line {
                line if line.contains("--watch-missing") => &[0, 4],
                // Files have no roles.
                line if line.starts_with("recoup store") && server.is_none() => &[2],
                // The simulator has not received the reversal file yet.
                "recoup file check" => &[0, 7],
                "recoup reconcile refunds.csv" | "recoup reconcile refunds.csv --out reconciled.csv" => &[0, 6],
                _ => &[0],
            };
            assert!(ran.code.is_some_and(|code| expected.contains(&code)), "{what}: {ran:#?}");
        }
        if let Some(mut service) = service {
            service.kill().expect("it can be stopped");
            service.wait().expect("it ends");
        }
    }
    assert!(run > 60, "{run}");
    for file in ["plan.csv", "reconciled.csv", "audit.csv", "recoup.bash", "recoup.1", "man/recoup-retract.1"] {
        assert!(home.path(file).is_file(), "{file}");
    }
    wait_until("every request was allowed", || sim.violations().is_empty());
}
