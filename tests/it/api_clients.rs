//! The example clients of `examples/api/`, run against the service.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service::{Service, add_token, add_user};
use crate::support::{Home, Ran, Sim, browser_required, ready, report_skipped};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the path of the program if it runs; otherwise reports a skipped test. Panics if `TEST_BROWSER` is set and
/// the program is missing.
fn found(program: &Path, what: &str) -> Option<PathBuf> {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => Some(program.to_owned()),
        other => {
            assert!(!browser_required(), "TEST_BROWSER is set, and {}: {other:?}", program.display());
            report_skipped(&format!("{what}: there is no {}", program.display()));
            None
        }
    }
}

/// Runs an example client with a retractable order, then with the same order again, then with an order of two actions.
fn check_client(sim: &Sim, home: &Home, command: impl Fn() -> Command) {
    add_user(home, "agent", "agent");
    let token = add_token(home, "agent", &["lookup", "preflight", "retract"]);
    let service = Service::start(home);
    let run = |order: &str| {
        let mut command = command();
        command.env("RECOUP_URL", format!("http://{}", service.addr)).env("RECOUP_TOKEN", &token);
        let output = command.args([order, "refunded", "T-1"]).output().expect("it runs");
        Ran::of(&[order], output)
    };
    let order = sim.example("plain").order_id;
    let first = run(&order);
    first.expect(0);
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(lines, ["look-up: found", "preflight: would_send", "retraction 1: confirmed"], "{first:?}");
    let again = run(&order);
    again.expect(0);
    assert!(again.stdout.ends_with("retraction 1: confirmed\n"), "{again:?}");
    assert_eq!(sim.deletes().len(), 1, "the same order is retracted once");
    let two = sim.example("two_actions");
    let refused = run(&two.order_id);
    refused.expect(5);
    assert!(refused.stdout.contains("not sent (ambiguous)"), "{refused:?}");
    let named = |id: &String| refused.stdout.contains(id.as_str());
    assert!(refused.stdout.contains("  action_ids: ") && two.action_ids.iter().all(named), "{refused:?}");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_python_client_retracts_an_order_once() {
    let Some(python) = found(Path::new("python3"), "the Python client") else { return };
    let (sim, home) = ready(&[]);
    check_client(&sim, &home, || {
        let mut command = Command::new(&python);
        command.arg("-B").arg(root().join("examples/api/recoup.py"));
        command
    });
}

#[test]
fn the_typescript_client_has_no_type_error_and_retracts_an_order_once() {
    let compiler = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules/.bin/tsc");
    let programs = (found(Path::new("node"), "the TypeScript client"), found(&compiler, "the TypeScript client"));
    let (Some(node), Some(compiler)) = programs else { return };
    let (sim, home) = ready(&[]);
    let flags = ["--strict", "--target", "es2022", "--module", "nodenext", "--outDir"];
    let source = root().join("examples/api/recoup.mts");
    let output = Command::new(compiler).args(flags).arg(home.path("client")).arg(&source).output().expect("it runs");
    Ran::of(&["tsc"], output).expect(0);
    check_client(&sim, &home, || {
        let mut command = Command::new(&node);
        command.arg(home.path("client").join("recoup.mjs"));
        command
    });
}
