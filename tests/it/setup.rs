//! Tests of the first commands of a new user: `recoup init`, `config show`, `open`, `simulate`, and `--fields`.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::service::Service;
use crate::support::{Home, Ran, Sim, ready};

fn sim() -> Sim {
    Sim::start(&["--participants", "50"])
}

/// Creates a home without a settings file; only the hosts' addresses are in its environment.
fn new_home(sim: &Sim) -> Home {
    let home = Home::new(sim).set("RECOUP_TENANT", "").set("RECOUP_ACCOUNT_SID", "").set("RECOUP_AUTH_TOKEN", "");
    std::fs::remove_file(home.path("recoup.toml")).expect("removed");
    home
}

fn with_input(home: &Home, args: &[&str], input: &str) -> Ran {
    let mut child = home.command(args).stdin(Stdio::piped()).spawn().expect("it starts");
    // The write may fail, because a command that fails early does not read its input.
    let _unread = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    Ran::of(args, child.wait_with_output().expect("it ends"))
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("the file").permissions()) & 0o777
}

const INIT: [&str; 5] = ["init", "--tenant", "simulator", "--account-sid", "SIMULATOR"];

#[test]
fn init_writes_private_files_checks_them_and_never_overwrites() {
    let sim = sim();
    let home = new_home(&sim);
    let ran = with_input(&home, &[&INIT[..], &["--token-stdin"]].concat(), "simulator-token\n");
    ran.expect(0);
    assert!(ran.stdout.contains("ok   Advocate host") && ran.stderr.contains("next: `recoup crawl`"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("simulator-token"), "{ran:?}");
    let text = std::fs::read_to_string(home.path("recoup.toml")).expect("written");
    assert!(text.contains("tenant = \"simulator\"") && !text.contains("simulator-token"), "{text}");
    assert_eq!(std::fs::read_to_string(home.path("token")).expect("written"), "simulator-token\n");
    #[cfg(unix)]
    assert_eq!((mode(&home.path("token")), mode(&home.path("recoup.toml"))), (0o600, 0o600));
    home.crawl();

    let again = home.check(&INIT, 2);
    assert!(again.stderr.contains("exists already and is never overwritten"), "{}", again.stderr);
    std::fs::remove_file(home.path("recoup.toml")).expect("removed");
    let other = with_input(&home, &[&INIT[..], &["--token-stdin", "--json"]].concat(), "another\n");
    other.expect(2);
    assert_eq!(std::fs::read_to_string(home.path("token")).expect("kept"), "simulator-token\n");
    assert!(!home.path("recoup.toml").exists());
    // The token file already exists, so `init` uses it.
    let used = home.check(&[&INIT[..], &["--json"]].concat(), 0).object();
    assert_eq!((&used["token_written"], &used["next"]), (&false.into(), &"recoup crawl".into()), "{used}");
}

#[test]
fn init_without_a_terminal_says_which_flag_is_missing_and_writes_nothing() {
    let sim = sim();
    let home = new_home(&sim);
    for (args, says) in [
        (&["init"][..], "--tenant is missing"),
        (&["init", "--tenant", "t"], "--account-sid is missing"),
        (&INIT, "there is no token"),
        (&["init", "--tenant", " ", "--account-sid", "s"], "tenant alias is empty"),
    ] {
        let ran = home.check(args, 2);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("hint: "), "{ran:?}");
    }
    let empty = with_input(&home, &[&INIT[..], &["--token-stdin"]].concat(), "\n");
    assert!(empty.code == Some(2) && empty.stderr.contains("the token is empty"), "{empty:?}");
    assert!(!home.path("recoup.toml").exists() && !home.path("token").exists());
    // `init` reports a token that the vendor refuses, and keeps the files so that the user can correct them.
    let wrong = with_input(&home, &[&INIT[..], &["--token-stdin"]].concat(), "wrong\n");
    wrong.expect(3);
    assert!(wrong.stdout.contains("FAIL Advocate host") && wrong.stderr.contains("recoup doctor"), "{wrong:?}");
    assert!(home.path("recoup.toml").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn init_asks_on_a_terminal_and_does_not_show_the_token() {
    let sim = sim();
    let home = new_home(&sim);
    // The program `script` of util-linux runs the command on a terminal.
    let Ok(mut child) = home.shell("exec script -qec 'recoup init' /dev/null").stdin(Stdio::piped()).spawn() else {
        return crate::support::report_skipped("questions of `recoup init`: there is no bash");
    };
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = child.stdout.take().expect("a pipe");
    let mut said = String::new();
    for (question, answer) in
        [("Tenant alias:", "simulator\n"), ("Account SID:", "SIMULATOR\n"), ("(not shown):", "simulator-token\n")]
    {
        while !said.contains(question) {
            let mut some = [0; 256];
            let read = std::io::Read::read(&mut output, &mut some).expect("its output");
            assert!(read > 0, "{said}");
            said.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        input.write_all(answer.as_bytes()).expect("it reads");
    }
    std::io::Read::read_to_string(&mut output, &mut said).expect("its output");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "{said}");
    assert!(said.contains("next: `recoup crawl`") && !said.contains("simulator-token"), "{said}");
    assert_eq!(std::fs::read_to_string(home.path("token")).expect("written"), "simulator-token\n");
}

#[test]
fn config_show_says_where_each_setting_comes_from_and_no_secret() {
    let sim = sim();
    let home = Home::new(&sim);
    home.configure(
        "tenant = 'from-file'\naccount_sid = 'from-file'\nauth_token_file = 'my-token'\n[crawl]\npage_size = 50\n[profile.test.crawl]\n\
         page_size = 20\noverlap = 5\n[refund_format.erp]\norder_column = 'Auftrag'\n",
    );
    let settings = |args: &[&str]| -> Vec<Value> { home.check(args, 0).objects() };
    let of = |all: &[Value], key: &str| -> (Value, String) {
        let one = all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {all:?}"));
        (one["value"].clone(), one["source"].as_str().expect("text").to_owned())
    };
    let plain = settings(&["config", "show", "--json"]);
    let file = home.path("recoup.toml").display().to_string();
    for (key, value, source) in [
        ("tenant", "simulator", "RECOUP_TENANT"),
        ("auth_token_file", "(a secret, not shown)", "RECOUP_AUTH_TOKEN"),
        ("crawl.page_size", "50", file.as_str()),
        ("crawl.overlap", "10", "default"),
        ("retract.max_index_age", "7d", "default"),
        ("refund_format.erp.order_column", "Auftrag", file.as_str()),
    ] {
        assert_eq!(of(&plain, key), (value.into(), source.to_owned()), "{key}");
    }
    assert_eq!(of(&plain, "database").1, "RECOUP_DATABASE");
    assert_eq!(of(&plain, "serve.tls_cert"), (Value::Null, "default".to_owned()));
    let profile = settings(&["config", "show", "--profile", "test", "--json", "--database", "other.db"]);
    let in_profile = format!("{file} [profile.test]");
    assert_eq!(of(&profile, "crawl.page_size"), ("20".into(), in_profile.clone()));
    assert_eq!(of(&profile, "crawl.overlap"), ("5".into(), in_profile));
    assert_eq!(of(&profile, "database").1, "--database");
    let text = home.check(&["config", "show"], 0).stdout;
    assert!(text.contains("crawl.page_size") && !text.contains("simulator-token"), "{text}");
    let home = home.set("RECOUP_AUTH_TOKEN", "");
    let all = home.check(&["config", "show", "--json"], 0).objects();
    assert_eq!(of(&all, "auth_token_file"), (home.path("my-token").display().to_string().into(), file));
}

#[test]
fn open_names_the_address_of_a_running_service_and_says_if_there_is_none() {
    let (_sim, home) = ready(&[]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    home.configure(&format!("[serve]\nlisten = '{free}'"));
    let none = home.check(&["open", "--print"], 1);
    assert!(none.stderr.contains(&format!("no service listens at http://{free}/")), "{none:?}");
    assert!(none.stderr.contains("recoup serve"), "{none:?}");
    let service = Service::start(&home);
    home.configure(&format!("[serve]\nlisten = '{}'", service.addr));
    let url = format!("http://{}/", service.addr);
    assert_eq!(home.check(&["open", "--print"], 0).stdout.trim(), url);
    assert_eq!(home.check(&["open", "--json"], 0).object()["url"], url);
    // If there is no browser, `open` prints the address.
    assert_eq!(home.command(&["open"]).env("PATH", "").output().expect("runs").stdout, format!("{url}\n").as_bytes());
}

#[test]
fn the_simulator_names_three_orders_and_the_commands_to_try_with_them() {
    use std::io::{BufRead, BufReader};
    let sim = sim();
    let home = Home::new(&sim);
    let mut child = home.command(&["simulate", "--participants", "1500"]).spawn().expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| !line.contains("Ctrl-C")).collect();
    child.kill().expect("it can be stopped");
    child.wait().expect("it ends");
    let commands: Vec<&String> = said.iter().filter(|line| line.starts_with("  recoup ")).collect();
    assert_eq!(commands.len(), 3, "{said:?}");
    let sim = Sim::start(&["--participants", "1500"]);
    let home = Home::new(&sim);
    home.crawl();
    let codes: Vec<Option<i32>> =
        commands.iter().map(|line| home.shell(line).output().expect("bash runs").status.code()).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(0)], "{commands:?}");
}

#[test]
fn fields_choose_what_json_prints_and_never_hide_an_error() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    let ran = home.check(&["lookup", &order, "--fields", "verdict,order_id"], 0);
    assert_eq!(ran.stdout, format!("{{\"verdict\":\"found\",\"order_id\":{}}}\n", Value::from(order.as_str())));
    assert_eq!(ran.stderr, "");
    let typo = home.check(&["lookup", &order, "--json", "--fields", "verdikt"], 0);
    assert_eq!(typo.stdout, "{\"verdikt\":null}\n");
    assert!(typo.stderr.contains("no object has the field verdikt") && typo.stderr.contains("verdict"), "{typo:?}");
    let stopped = home.check(&["retract", &sim.example("two_actions").order_id, "--yes", "--fields", "order_id"], 5);
    assert!(stopped.stdout.contains("\"kind\":\"ambiguous\""), "{stopped:?}");
}

#[test]
fn adding_a_user_says_which_file_was_written() {
    let (_sim, home) = ready(&[]);
    if home.skip_on_server("it names the file of the users") {
        return;
    }
    let file = home.path("recoup-access.db").canonicalize().unwrap_or(home.path("recoup-access.db"));
    let said = home.check(&["user", "add", "ann", "--role", "admin"], 0).stderr;
    assert!(said.contains(&format!("written to {}", file.display())), "{said}");
    let bob = home.check(&["user", "add", "bob", "--role", "agent", "--json"], 0).object();
    assert_eq!(bob["file"], file.display().to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn a_new_file_of_users_beside_an_index_is_made_only_after_a_question() {
    let (_sim, home) = ready(&[]);
    let line = "exec script -qec 'recoup user add ann --role admin' /dev/null";
    let mut child = home.shell(line).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"n\n").expect("it reads");
    let said = String::from_utf8_lossy(&child.wait_with_output().expect("it ends").stdout).into_owned();
    assert!(said.contains("There is no file of users") && said.contains("no user was added"), "{said}");
    assert!(!home.path("recoup-access.db").exists());
}
