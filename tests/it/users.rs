//! Tests of `recoup user` and its tokens, and of how passwords and tokens are stored.

use crate::support::ready;

#[test]
fn adding_changing_and_disabling_users_is_logged() {
    let (_sim, home) = ready(&[]);
    let none = home.check(&["user", "list", "--json"], 1);
    assert!(none.stdout.contains("there is no user yet"), "{}", none.stdout);
    assert!(!home.path("recoup-access.db").exists(), "looking makes no file");
    let added = home.check(&["user", "add", "ann", "--role", "agent", "--json"], 0).object();
    let password = added["password"].as_str().expect("a password").to_owned();
    assert!(password.len() >= 20);
    assert_eq!(home.check(&["user", "add", "ann", "--role", "lead", "--json"], 2).error_kind(), "usage");
    assert_eq!(home.check(&["user", "add", "no spaces", "--role", "lead", "--json"], 2).error_kind(), "usage");
    assert_eq!(home.check(&["user", "role", "ann", "lead", "--json"], 0).object()["role"], "lead");
    let rotated = home.check(&["user", "rotate", "ann", "--json"], 0).object();
    assert_ne!(rotated["password"].as_str(), Some(password.as_str()));
    let token = home
        .check(
            &["user", "token", "add", "ann", "--name", "desk", "--scope", "lookup", "--scope", "retract", "--json"],
            0,
        )
        .object();
    assert!(token["token"].as_str().is_some_and(|token| token.starts_with("rcp_")));
    let listed = home.check(&["user", "token", "list", "--json"], 0).object();
    assert_eq!(
        (listed["scopes"].clone(), listed["token"].clone()),
        (serde_json::json!(["lookup", "retract"]), serde_json::Value::Null)
    );
    home.check(&["user", "token", "revoke", "1"], 0);
    home.check(&["user", "token", "revoke", "1"], 1);
    assert!(home.check(&["user", "disable", "ann", "--json"], 0).object()["disabled_at"].is_string());
    assert!(home.check(&["user", "enable", "ann", "--json"], 0).object()["disabled_at"].is_null());
    assert_eq!(home.check(&["user", "disable", "nobody", "--json"], 1).error_kind(), "failed");
    let log = home.check(&["user", "log"], 0).stdout;
    for what in ["added as agent", "role lead", "another password", "token 1 revoked", "disabled", "enabled"] {
        assert!(log.contains(what), "{what}: {log}");
    }
}

#[test]
fn the_last_admin_keeps_the_role_and_the_hint_fits_the_command() {
    let (_sim, home) = ready(&[]);
    home.check(&["user", "add", "ann", "--role", "admin"], 0);
    let role = home.check(&["user", "role", "ann", "lead"], 5).stderr;
    assert!(role.contains("make another user admin first") && !role.contains("--yes"), "{role}");
    assert!(home.check(&["user", "disable", "ann"], 5).stderr.contains("--yes"));
}

#[test]
fn no_secret_is_in_the_database_or_the_output() {
    let (_sim, home) = ready(&[]);
    let secret = "correct horse battery staple";
    let mut child = home.command(&["user", "add", "ann", "--role", "admin", "--password-stdin", "-vv"]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().expect("starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), format!("{secret}\n").as_bytes())
        .expect("is read");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(secret));
    let token = home.check(&["user", "token", "add", "ann", "--name", "x", "--scope", "lookup", "--json"], 0).object();
    let token = token["token"].as_str().expect("a token").to_owned();
    let holds = |text: &str| home.holds("access", text);
    assert!(holds("$argon2id$") && !holds(secret) && !holds(&token));
    #[cfg(unix)]
    if home.server().is_none() {
        let path = home.path("recoup-access.db");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    }
    let short = home.command(&["user", "rotate", "ann", "--password-stdin", "--json"]).output().expect("runs");
    assert_eq!(short.status.code(), Some(2), "standard input is empty");
}
