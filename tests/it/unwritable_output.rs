//! Tests of output that cannot be written: recoup reports a full disk as a failure but not a closed pipe, and it
//! replaces only regular files.
//!
//! `/dev/full` simulates the full disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::batch::{orders_file, outcomes, plain};
use crate::support::{Home, Ran, Sim, ready, report_skipped, wait_until};

const NOT_WRITTEN: &str = "failed to write to standard output";

/// Returns `true` if `/dev/full` exists; otherwise reports a skipped test.
fn has_full_device() -> bool {
    let there = Path::new("/dev/full").exists();
    if !there {
        report_skipped("this system has no /dev/full");
    }
    there
}

#[derive(Clone, Copy)]
enum Stdout {
    Read,
    Full,
    Closed,
}

fn run(home: &Home, args: &[&str], stdout: Stdout) -> Ran {
    let mut command = home.command(args);
    match stdout {
        Stdout::Read => {}
        Stdout::Full => {
            command.stdout(File::create("/dev/full").expect("the device"));
        }
        Stdout::Closed => {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            command.stdout(writer);
        }
    }
    Ran::of(args, command.output().expect("the binary runs"))
}

/// Returns every command that ends by itself, in an order in which each has something to print.
fn every_command(sim: &Sim, home: &Home) -> Vec<Vec<String>> {
    let (order, other) = (sim.example("plain"), sim.another("plain"));
    let refunds = home.path("refunds.csv");
    fs::write(&refunds, format!("order_id\n\"{}\"\n", order.order_id)).expect("a file");
    let folder = |name: &str| home.path(name).display().to_string();
    let (refunds, outbox, backups, man) = (folder("refunds.csv"), folder("outbox"), folder("backups"), folder("man"));
    let (index, moved) = (home.database().display().to_string(), folder("moved.db"));
    fs::create_dir_all(&outbox).expect("a folder");
    let (order, reward) = (order.order_id.as_str(), other.reward_ids[0].as_str());
    let hook = "--url=https://recoup.example/webhooks/advocate";
    [
        vec!["--help"],
        vec!["--version"],
        vec!["help", "retract"],
        vec!["completions", "bash"],
        vec!["man"],
        vec!["man", "--out", &man],
        vec!["demo", "--participants", "300"],
        vec!["doctor"],
        vec!["config", "show"],
        vec!["crawl", "--plan"],
        vec!["crawl"],
        vec!["lookup", order],
        vec!["lookup", order, "no such order"],
        vec!["file", "write", &other.order_id, "--out", &outbox, "--dry-run"],
        vec!["file", "check"],
        vec!["file", "release", "1"],
        vec!["adjust", order, "--amount", "1.00", "--dry-run"],
        vec!["retract", order, "--dry-run"],
        vec!["retract", "--file", &refunds, "--plan", "-"],
        vec!["retract", "--file", &refunds, "--dry-run"],
        vec!["retract", order, "--yes"],
        vec!["retract", "--file", &refunds, "--out", "-", "--yes"],
        vec!["cancel-reward", reward, "--ticket", "T-1", "--reason", "test", "--yes"],
        vec!["verify", "1"],
        vec!["watch", "list"],
        vec!["watch", "remove", order],
        vec!["reconcile", &refunds],
        vec!["refunds", "check", &refunds],
        vec!["refunds", "formats"],
        vec!["quota", "clear", "--dry-run"],
        vec!["status"],
        vec!["status", "--check"],
        vec!["status", "--retraction", "1"],
        vec!["schedule", "list"],
        vec!["schedule", "run", "verify"],
        vec!["webhook", "subscribe", hook, "--yes"],
        vec!["webhook", "list"],
        vec!["webhook", "test", hook, "--yes"],
        vec!["webhook", "work"],
        vec!["webhook", "remove", hook, "--yes"],
        vec!["user", "add", "ann", "--role", "lead"],
        vec!["user", "list"],
        vec!["user", "role", "ann", "agent"],
        vec!["user", "rotate", "ann"],
        vec!["user", "token", "add", "ann", "--name", "x", "--scope", "lookup"],
        vec!["user", "token", "list"],
        vec!["user", "token", "revoke", "1"],
        vec!["user", "disable", "ann"],
        vec!["user", "enable", "ann"],
        vec!["user", "log"],
        vec!["approval", "limits"],
        vec!["approval", "list"],
        vec!["approval", "approve", "1"],
        vec!["approval", "decline", "1"],
        vec!["approval", "withdraw", "1"],
        vec!["audit", "verify"],
        vec!["audit", "export"],
        vec!["audit", "export", "--format", "csv"],
        vec!["backup", &backups],
        vec!["move", &index, &moved, "--dry-run"],
        vec!["ledger", "accept", "--yes"],
        vec!["mistake", "1", "--ticket", "M-1", "--reason", "wrong order"],
        vec!["forget", "no such account", "--ticket", "F-1", "--yes"],
    ]
    .into_iter()
    .map(|args| args.into_iter().map(str::to_owned).collect())
    .collect()
}

/// Returns the names of the man pages of commands without subcommands.
fn leaves(home: &Home) -> BTreeSet<String> {
    let folder = home.path("pages");
    home.check(&["man", "--out", folder.to_str().expect("UTF-8")], 0);
    let pages: Vec<String> = fs::read_dir(folder)
        .expect("the pages")
        .map(|page| page.expect("a page").file_name().to_string_lossy().trim_end_matches(".1").to_owned())
        .collect();
    let is_leaf = |page: &&String| !pages.iter().any(|other| other.starts_with(&format!("{page}-")));
    pages.iter().filter(is_leaf).cloned().collect()
}

/// Runs every command twice, with text output and with JSON output.
fn run_all(stdout: Stdout) -> Vec<Ran> {
    let (sim, home) = ready(&[]);
    let mut all = Vec::new();
    for args in every_command(&sim, &home) {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        all.push(run(&home, &args, stdout));
        args.push("--json");
        all.push(run(&home, &args, stdout));
    }
    all
}

#[test]
fn the_table_of_commands_has_every_command() {
    let (sim, home) = ready(&[]);
    let table: BTreeSet<String> =
        every_command(&sim, &home).iter().map(|args| format!("recoup-{}-", args.join("-"))).collect();
    let without: Vec<String> = leaves(&home)
        .into_iter()
        .filter(|leaf| !table.iter().any(|args| args.starts_with(&format!("{leaf}-"))))
        .collect();
    // The table excludes some commands: `init` writes its files once, `notify test` needs a receiver, and `open` and `health`
    // need a service, and `store init` a server. `serve`, `simulate` and `mcp` run until a signal or the end of their input; `serve` and `simulate`
    // have a test below.
    let others = ["health", "init", "mcp", "notify-test", "open", "serve", "simulate", "store-init"]
        .map(|name| format!("recoup-{name}"));
    assert_eq!(without, others);
}

#[test]
fn a_full_disk_is_exit_1_in_every_command_and_a_closed_pipe_is_success() {
    if !has_full_device() {
        return;
    }
    let [read, full, closed] = std::thread::scope(|scope| {
        [Stdout::Read, Stdout::Full, Stdout::Closed]
            .map(|stdout| scope.spawn(move || run_all(stdout)))
            .map(|thread| thread.join().expect("no panic"))
    });
    let mut succeeded = 0;
    for ((read, full), closed) in read.iter().zip(&full).zip(&closed) {
        assert_eq!(closed.code, read.code, "closed pipe: {closed:?}\n{read:?}");
        assert!(!closed.stderr.contains(NOT_WRITTEN), "{closed:?}");
        let prints = !read.stdout.is_empty();
        let expected = if prints && read.code == Some(0) { Some(1) } else { read.code };
        assert_eq!(full.code, expected, "full disk: {full:?}\n{read:?}");
        assert_eq!(full.stderr.matches(NOT_WRITTEN).count(), usize::from(prints), "said once: {full:?}");
        succeeded += usize::from(prints && read.code == Some(0));
    }
    let idle: Vec<String> = read.iter().filter(|ran| ran.code != Some(0)).map(|ran| format!("{ran:?}")).collect();
    assert!(succeeded >= 80, "most of the table prints and succeeds; these do not: {idle:#?}");
}

#[test]
fn a_service_that_cannot_print_its_address_serves_and_exits_1() {
    if !has_full_device() {
        return;
    }
    let (_sim, home) = ready(&[]);
    home.check(&["user", "add", "ann", "--role", "admin"], 0);
    for args in [&["simulate", "--port", "0"][..], &["serve", "--listen", "127.0.0.1:0", "--quiet"]] {
        let mut child = home
            .command(args)
            .stdout(File::create("/dev/full").expect("the device"))
            .stderr(File::create(home.path("stderr")).expect("a file"))
            .spawn()
            .expect("starts");
        wait_until("it says that its address cannot be printed", || {
            fs::read_to_string(home.path("stderr")).is_ok_and(|text| text.contains(NOT_WRITTEN))
        });
        assert!(child.try_wait().expect("its state").is_none(), "it goes on");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        assert_eq!(child.wait().expect("ends").code(), Some(1), "{args:?}");
    }
}

#[test]
fn an_unwritable_standard_error_changes_no_exit_code_and_stops_nothing() {
    if !has_full_device() {
        return;
    }
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    let code = |args: &[&str]| {
        let full = File::create("/dev/full").expect("the device");
        home.command(args).stderr(full).status().expect("the binary runs").code()
    };
    assert_eq!(code(&["no-such-command"]), Some(2));
    assert_eq!(code(&["status", "-vv"]), Some(0));
    // The program must not panic in the middle of a retraction if the log cannot be written.
    assert_eq!(code(&["retract", &order, "--yes", "-vv"]), Some(0));
    assert_eq!(home.check(&["status", "--retraction", "1", "--json"], 0).object()["state"], "confirmed");
}

/// Creates a FIFO. Returns the path of the FIFO and the thread that reads it.
fn fifo(home: &Home, name: &str) -> (PathBuf, std::thread::JoinHandle<String>) {
    let path = home.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let open = path.clone();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        File::open(open).expect("the FIFO").read_to_string(&mut text).expect("text");
        text
    });
    (path, reader)
}

/// Each entry: a command that writes a table or metrics to a path (its last argument), and a part of the expected
/// content.
fn writers(home: &Home) -> Vec<(Vec<String>, &'static str)> {
    let refunds = home.path("refunds.csv").display().to_string();
    [
        (vec!["audit", "export", "--out"], "\"event\":1"),
        (vec!["status", "--metrics-file"], "recoup_index_complete"),
        (vec!["reconcile", &refunds, "--out"], "order_id"),
        (vec!["retract", "--file", &refunds, "--plan"], "order_id"),
        (vec!["retract", "--file", &refunds, "--yes", "--out"], "already_retracted"),
    ]
    .map(|(args, holds)| (args.into_iter().map(str::to_owned).collect(), holds))
    .to_vec()
}

#[test]
fn a_database_is_never_replaced_by_output() {
    let (_sim, home) = retracted();
    if home.skip_on_server("it names the files of the stores") {
        return;
    }
    for database in [home.ledger(), home.database()] {
        for (args, _) in writers(&home) {
            let path = database.display().to_string();
            let mut args: Vec<&str> = args.iter().map(String::as_str).chain([path.as_str()]).collect();
            // `status` always replaces its metrics file, so it has no --force.
            args.extend((args[0] != "status").then_some("--force"));
            let ran = home.check(&args, 2);
            assert!(ran.stderr.contains("is a database"), "{ran:?}");
        }
    }
    home.check(&["audit", "verify"], 0);
}

/// Prepares a home with one retraction and a refund file.
fn retracted() -> (Sim, Home) {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes"], 0);
    fs::write(home.path("refunds.csv"), format!("order_id\n\"{order}\"\n")).expect("a file");
    (sim, home)
}

#[test]
fn a_special_file_is_streamed_to_or_refused_and_never_replaced() {
    if !has_full_device() {
        return;
    }
    let (_sim, home) = retracted();
    for (n, (args, holds)) in writers(&home).into_iter().enumerate() {
        let to = |path: &Path, more: &[&str]| {
            let path = path.display().to_string();
            let mut args: Vec<&str> = args.iter().map(String::as_str).chain([path.as_str()]).collect();
            args.extend(more);
            home.run(&args)
        };
        // `status` always replaces its metrics file, so it has no --force.
        let force: &[&str] = if args[0] == "status" { &[] } else { &["--force"] };
        // If the output path is a FIFO, the reader gets everything, and the FIFO stays.
        let (path, reader) = fifo(&home, &format!("fifo-{n}"));
        to(&path, &[]).expect(0);
        let text = reader.join().expect("the reader ends");
        assert!(text.contains(holds), "{args:?}: {text}");
        assert!(fs::metadata(&path).expect("there").file_type().is_fifo(), "{args:?}");
        // If the output path is a device or a link to a device, recoup writes to it.
        to(Path::new("/dev/null"), &[]).expect(0);
        assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
        let full = to(Path::new("/dev/full"), &[]);
        full.expect(1);
        assert!(full.stderr.contains("failed to write /dev/full"), "{full:?}");
        assert!(fs::metadata("/dev/full").expect("there").file_type().is_char_device());
        // If the output path is a link to a file, recoup replaces the file and keeps the link.
        let (link, target) = (home.path(&format!("link-{n}")), home.path(&format!("target-{n}")));
        symlink(&target, &link).expect("a link");
        assert_eq!(to(&link, force).code, Some(2), "{args:?}: a dangling link is refused");
        assert!(!target.exists());
        fs::write(&target, "old").expect("a file");
        to(&link, force).expect(0);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink(), "{args:?}");
        assert!(fs::read_to_string(&target).expect("there").contains(holds), "{args:?}");
        // If the output path is a folder or a socket, recoup refuses it.
        let folder = home.path(&format!("folder-{n}"));
        fs::create_dir(&folder).expect("a folder");
        let socket = home.path(&format!("socket-{n}"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        for path in [&folder, &socket] {
            assert_eq!(to(path, force).code, Some(2), "{args:?}: {path:?}");
        }
        assert!(fs::metadata(&socket).expect("there").file_type().is_socket());
    }
    let left: Vec<_> = fs::read_dir(home.path("")).expect("the home").filter_map(Result::ok).collect();
    assert!(left.iter().all(|file| !file.file_name().to_string_lossy().starts_with(".recoup-")), "{left:?}");
}

#[test]
fn a_database_a_backup_and_a_reversal_file_are_regular_files_or_refused() {
    let (sim, home) = retracted();
    if home.skip_on_server("it makes a database a FIFO") {
        return;
    }
    let order = sim.another("plain").order_id;
    let path = home.path("fifo.db");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let fifo = path.display().to_string();
    for database in [fifo.as_str(), "/dev/null"] {
        for args in [&["status"][..], &["crawl"], &["lookup", "x"], &["doctor"]] {
            let ran = home.run(&[args, &["--database", database]].concat());
            assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
            assert!([ran.stdout.as_str(), &ran.stderr].concat().contains("no regular file"), "{ran:?}");
        }
    }
    // SQLite opens the WAL beside the database, and would block if the WAL is a FIFO.
    let log = home.path("recoup-ledger.db-wal");
    drop(fs::remove_file(&log));
    assert!(Command::new("mkfifo").arg(&log).status().expect("mkfifo runs").success());
    let ran = home.check(&["retract", &order, "--yes"], 1);
    assert!(ran.stderr.contains("no regular file") && ran.stderr.contains("-wal"), "{ran:?}");
    fs::remove_file(&log).expect("removed");
    for target in [fifo.as_str(), "/dev/null"] {
        home.check(&["backup", target], 1);
        for force in [&[][..], &["--force"]] {
            let ran = home.run(&[&["file", "write", &order, "--yes", "--out", target][..], force].concat());
            ran.expect(2);
        }
    }
    assert!(fs::metadata(&path).expect("there").file_type().is_fifo());
    assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
}

#[test]
fn a_fifo_without_a_reader_is_refused_after_a_short_wait_and_nothing_is_sent() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    fs::write(home.path("refunds.csv"), format!("order_id\n\"{order}\"\n")).expect("a file");
    let path = home.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let (refunds, out) = (home.path("refunds.csv").display().to_string(), path.display().to_string());
    let ran = home.run(&["retract", "--file", &refunds, "--out", &out, "--yes"]);
    ran.expect(2);
    assert!(ran.stderr.contains("no process reads"), "{ran:?}");
    assert!(sim.deletes().is_empty());
}

#[test]
fn unwritable_outcomes_are_exit_1_and_a_repetition_writes_them_without_sending_twice() {
    if !has_full_device() {
        return;
    }
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = plain(&sim, 4);
    for (n, out) in ["/dev/full", "-"].into_iter().enumerate() {
        let file = orders_file(&home, &format!("refunds-{n}.csv"), &orders[2 * n..2 * n + 2]);
        let again = home.path(&format!("outcomes-{n}.csv"));
        let batch = |out: &str, json: &[&str]| {
            let mut command = home.command(
                &[&["retract", "--file", &file.display().to_string(), "--yes", "--out", out][..], json].concat(),
            );
            if out == "-" {
                command.stdout(File::create("/dev/full").expect("the device"));
            }
            Ran::of(&["retract"], command.stderr(Stdio::piped()).output().expect("the binary runs"))
        };
        let ran = batch(out, &[]);
        ran.expect(1);
        for part in ["2 sent, and the ledger has each of them", "sends nothing twice", "another --out"] {
            assert!(ran.stderr.contains(part), "{part}: {ran:?}");
        }
        assert_eq!(sim.deletes().len(), 2 * (n + 1));
        batch(&again.display().to_string(), &["--json"]).expect(0);
        assert_eq!(outcomes(&again), ["already_retracted", "already_retracted"]);
        assert_eq!(fs::metadata(&again).expect("there").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(sim.deletes().len(), 4);
    assert!(sim.violations().is_empty());
}

/// recoup creates the temporary output file with private permissions before it sends the first reversal.
#[test]
fn the_outcome_file_is_reserved_before_anything_is_sent() {
    let (sim, home) = ready(&["--participants", "3000", "--latency", "50ms"]);
    let file = orders_file(&home, "refunds.csv", &plain(&sim, 1));
    sim.post("record/reset");
    let out = home.path("outcomes.csv").display().to_string();
    let args = ["retract", "--file", &file.display().to_string(), "--yes", "--out", &out];
    let child = home.command(&args).spawn().expect("starts");
    let reserved = || {
        let files = fs::read_dir(home.path("")).expect("the home").filter_map(Result::ok);
        let mut drafts = files.filter(|file| file.file_name().to_string_lossy().starts_with(".recoup-"));
        drafts.next().and_then(|draft| draft.metadata().ok()).map(|draft| draft.permissions().mode() & 0o777)
    };
    wait_until("the file is reserved", || reserved() == Some(0o600));
    assert!(sim.deletes().is_empty(), "nothing is sent before that");
    Ran::of(&args, child.wait_with_output().expect("ends")).expect(0);
    assert_eq!((sim.deletes().len(), reserved()), (1, None));
}
