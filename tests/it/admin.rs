//! Tests of the page's administration: which users may open it, that each change needs the administrator's password,
//! and that the log has each change.

use crate::browser::sign_in;
use crate::chrome::{Chrome, Screen};
use crate::service::{Answer, Browser, Service, add_token, add_user, field};
use crate::support::{Home, Sim, ready};

fn team() -> (Sim, Home, String) {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "boss", "admin");
    (sim, home, password)
}

/// Extracts the secret that the page shows once.
fn secret(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.body);
    let (_, rest) = page.body.split_once("<pre id=\"secret\">").expect("a secret");
    rest.split_once('<').expect("its end").0.to_owned()
}

/// Sends a change with the administrator's password, as a form of a new page view.
fn change(boss: &Browser<'_>, password: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    submit(boss, password, &form_key(boss), path, fields)
}

/// Submits a form of the page view with this key.
fn submit(boss: &Browser<'_>, password: &str, key: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("your_password", password), ("form_key", key)];
    all.extend(fields);
    boss.post(path, &all)
}

/// Opens a page with forms. Returns the key of its forms.
fn form_key(boss: &Browser<'_>) -> String {
    field(&boss.get("/admin").body, "form_key").unwrap_or_else(|| "none".to_owned())
}

#[test]
fn an_administrator_manages_users_sessions_and_tokens_and_the_log_has_each_change() {
    let (_sim, home, password) = team();
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    let done = |path: &str, fields: &[(&str, &str)]| change(&boss, &password, path, fields);

    let given = secret(&done("/admin/users", &[("name", "ann"), ("role", "agent")]));
    let ann = service.login("ann", &given);
    assert_eq!(ann.get("/lookup").status, 200);
    assert!(boss.get("/admin").body.contains("/admin/users/ann"));

    assert_eq!(done("/admin/users/ann/role", &[("role", "lead")]).status, 303);
    assert_eq!(ann.get("/batch").status, 200, "the role is that of now");

    let days = [("purpose", "helpdesk"), ("scope", "lookup"), ("scope", "batch"), ("days", "30")];
    let token = secret(&done("/admin/users/ann/tokens", &days));
    assert_eq!(service.client(&token).get("/api/v1/batches").status, 200);
    let page = boss.get("/admin/users/ann").body;
    assert!(page.contains("helpdesk") && page.contains("lookup batch") && !page.contains(&token), "shown once: {page}");
    assert_eq!(done("/admin/tokens/1/revoke", &[("user", "ann")]).header("location"), "/admin/users/ann");
    assert_eq!(service.client(&token).get("/api/v1/batches").status, 401);

    assert_eq!(done("/admin/users/ann/sign-out", &[]).status, 303);
    assert_eq!(ann.get("/lookup").status, 303, "the session has ended");
    let fresh = secret(&done("/admin/users/ann/password", &[]));
    assert_eq!(service.try_login("ann", &given).status, 401);
    let again = service.login("ann", &fresh);
    assert_eq!(done("/admin/users/ann/disable", &[]).status, 303);
    assert_eq!(again.get("/lookup").status, 303);
    assert_eq!(done("/admin/users/ann/enable", &[]).status, 303);
    service.login("ann", &fresh);

    let log = boss.get("/admin/log").body;
    let changes = [
        "user ann: added as agent",
        "user ann: role lead",
        "token 1 of ann added for lookup, batch",
        "token 1 revoked",
        "user ann: 1 session ended",
        "user ann: another password",
        "user ann: disabled",
        "user ann: enabled",
    ];
    for what in changes {
        assert!(log.contains(what), "{what}: {log}");
    }
    let on_the_command_line = home.check(&["user", "log"], 0).stdout;
    assert!(on_the_command_line.contains("user ann: role lead") && on_the_command_line.contains("boss"));
    assert!(!log.contains(&fresh) && !log.contains(&token), "no secret in the log");
}

#[test]
fn a_change_without_the_password_or_by_another_role_changes_nothing() {
    let (_sim, home, password) = team();
    let lead_password = add_user(&home, "lead", "lead");
    add_token(&home, "lead", &["lookup"]);
    let service = Service::start(&home);
    let (boss, lead) = (service.login("boss", &password), service.login("lead", &lead_password));
    let changes: [(&str, &[(&str, &str)]); 9] = [
        ("/admin/users", &[("name", "eve"), ("role", "admin")]),
        ("/admin/users/lead/role", &[("role", "admin")]),
        ("/admin/users/lead/password", &[]),
        ("/admin/users/lead/disable", &[]),
        ("/admin/users/lead/sign-out", &[]),
        ("/admin/users/lead/tokens", &[("purpose", "x"), ("scope", "lookup"), ("days", "1")]),
        ("/admin/tokens/1/revoke", &[]),
        ("/admin/limits", &[("always", "1")]),
        ("/admin/schedule/verify/run", &[]),
    ];
    let before = home.check(&["user", "log"], 0).stdout;
    for (path, fields) in changes {
        let missing = boss.post(path, fields);
        assert!(missing.status == 400 && missing.body.contains("nothing was changed"), "{path}: {}", missing.body);
        let mut ticked = fields.to_vec();
        ticked.push(("yes", "1"));
        assert_eq!(boss.post(path, &ticked).status, 400, "{path}: a tick is not the password");
        assert_eq!(change(&lead, &lead_password, path, fields).status, 403, "{path}");
    }
    for page in ["/admin", "/admin/users/lead", "/admin/limits", "/admin/schedule", "/admin/settings", "/admin/log"] {
        assert_eq!((lead.get(page).status, boss.get(page).status), (403, 200), "{page}");
    }
    let wrong = change(&boss, "not the password", "/admin/users/lead/role", &[("role", "admin")]);
    assert!(wrong.status == 401 && wrong.body.contains("Your password is wrong."), "{}", wrong.body);
    assert_eq!(home.check(&["user", "log"], 0).stdout, before);
    assert_eq!(lead.get("/lookup").status, 200, "the session of the lead goes on");
    assert!(
        !lead.get("/lookup").body.contains("href=\"/admin\"") && boss.get("/lookup").body.contains("href=\"/admin\"")
    );
}

/// The path of a form, its fields, and the entry in the log.
type Form<'f> = (&'f str, &'f [(&'f str, &'f str)], &'f str);

#[test]
fn a_form_that_is_submitted_twice_is_carried_out_once() {
    let (_sim, home, password) = team();
    add_user(&home, "ann", "agent");
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    let token = [("purpose", "desk"), ("scope", "lookup"), ("days", "30")];
    let forms: [Form<'_>; 4] = [
        ("/admin/users", &[("name", "bob"), ("role", "agent")], "user bob: added as agent"),
        ("/admin/users/ann/password", &[], "user ann: another password"),
        ("/admin/users/ann/tokens", &token, "token 1 of ann added for lookup"),
        ("/admin/schedule/verify/run", &[], "job verify: run now"),
    ];
    for (path, fields, logged) in forms {
        let key = form_key(&boss);
        let first = submit(&boss, &password, &key, path, fields);
        let again = submit(&boss, &password, &key, path, fields);
        if first.status == 200 {
            let shown = secret(&first);
            assert!(again.status == 409 && !again.body.contains(&shown), "{path}: {}", again.body);
            assert!(again.body.contains("Nothing was changed now."), "{path}: {}", again.body);
        } else {
            assert_eq!(again.header("location"), first.header("location"), "{path}: {}", again.body);
        }
        let log = home.check(&["user", "log"], 0).stdout;
        assert_eq!(log.matches(logged).count(), 1, "{path}: {log}");
    }
    // A form that was refused may be submitted again, and other forms of the same page view too.
    let key = form_key(&boss);
    let path = "/admin/users/ann/tokens";
    assert_eq!(submit(&boss, &password, &key, path, &token[..1]).status, 400);
    secret(&submit(&boss, &password, &key, path, &token));
    let other = [("purpose", "other"), ("scope", "lookup"), ("days", "30")];
    let changed = submit(&boss, &password, &key, path, &other);
    assert!(changed.status == 409 && changed.body.contains("other values"), "{}", changed.body);
    assert_eq!(submit(&boss, &password, &key, "/admin/users/ann/role", &[("role", "lead")]).status, 303);
    assert_eq!(boss.post(path, &[&token[..], &[("your_password", password.as_str())]].concat()).status, 400, "no key");
}

#[test]
fn one_session_is_ended_and_the_others_go_on() {
    let (_sim, home, password) = team();
    let ann_password = add_user(&home, "ann", "agent");
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    let (first, second) = (service.login("ann", &ann_password), service.login("ann", &ann_password));
    let page = boss.get("/admin/users/ann").body;
    let paths: Vec<&str> = page.split("action=\"").filter_map(|rest| rest.split('"').next()).collect();
    let paths: Vec<&str> = paths.into_iter().filter(|path| path.ends_with("/end")).collect();
    assert_eq!(paths.len(), 2, "{page}");
    let ended = change(&boss, &password, paths[0], &[]);
    assert_eq!(ended.header("location"), "/admin/users/ann", "{}", ended.body);
    let mut signed_in = [first.get("/lookup").status, second.get("/lookup").status];
    signed_in.sort_unstable();
    assert_eq!(signed_in, [200, 303]);
    assert_eq!(change(&boss, &password, paths[0], &[]).status, 404, "it has ended already");
    assert!(boss.get("/admin/log").body.contains("user ann: 1 session ended"));
}

#[test]
fn wrong_passwords_for_a_change_are_throttled_like_sign_ins() {
    let (_sim, home, password) = team();
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    let guess = || change(&boss, "not the password", "/admin/users/boss/role", &[("role", "admin")]).status;
    let statuses: Vec<u16> = (0..40).map(|_| guess()).collect();
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn the_last_administrator_cannot_be_disabled_or_lose_the_role() {
    let (_sim, home, password) = team();
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    for (path, fields) in [("/admin/users/boss/disable", &[][..]), ("/admin/users/boss/role", &[("role", "lead")])] {
        let refused = change(&boss, &password, path, fields);
        assert!(refused.status == 409 && refused.body.contains("last user who may manage users"), "{}", refused.body);
    }
    assert_eq!(boss.get("/admin").status, 200);
}

#[test]
fn an_administrator_sets_the_approval_limits_runs_a_job_and_sees_the_settings() {
    let (sim, home, password) = team();
    let agent_password = add_user(&home, "ann", "agent");
    let service = Service::start(&home);
    let boss = service.login("boss", &password);
    let done = |path: &str, fields: &[(&str, &str)]| change(&boss, &password, path, fields);
    assert_eq!(done("/admin/limits", &[("count", "many")]).status, 400);
    assert_eq!(done("/admin/limits", &[("value", "1")]).status, 303);
    let shown = home.check(&["approval", "limits", "--json"], 0).object();
    assert_eq!(
        (&shown["always"], &shown["count"], &shown["value"]),
        (&false.into(), &serde_json::Value::Null, &1.into())
    );
    let asked = service.login("ann", &agent_password).retract(&sim.example("plain").order_id);
    assert_eq!(asked.header("location"), "/approvals", "the limit holds: {}", asked.body);
    assert!(sim.deletes().is_empty());

    assert_eq!(done("/admin/schedule/nothing/run", &[]).status, 404);
    assert_eq!(done("/admin/schedule/verify/run", &[]).status, 303);
    let jobs = home.check(&["schedule", "list", "--json"], 0).objects();
    let verify = jobs.iter().find(|job| job["job"] == "verify").expect("the job");
    assert!(verify["ok_at"].is_string(), "{verify}");
    let page = boss.get("/admin/schedule").body;
    assert!(page.contains(">done</span>"), "{page}");

    let settings = boss.get("/admin/settings").body;
    assert!(
        settings.contains("retract.max_index_age")
            && settings.contains("<td data-label=\"Value\" class=\"code\">7d</td>")
    );
    for key in ["auth_token", "token_file"] {
        let line = settings.lines().find(|line| line.contains(key)).unwrap_or_default();
        assert!(!line.contains("simulator-token"), "{line}");
    }
    let log = boss.get("/admin/log").body;
    assert!(log.contains("approval limits: ") && log.contains("job verify: run now"), "{log}");
}

#[test]
fn the_administration_is_accessible_and_fits_a_phone_and_a_zoomed_window() {
    let (_sim, home, password) = team();
    add_token(&home, "boss", &["lookup", "status"]);
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("admin", &service, true) else { return };
    sign_in(&chrome, "boss", &password);
    let pages = ["", "/users/boss", "/limits", "/schedule", "/settings", "/log"];
    for (screen, of) in
        [(Screen::Desktop, "desktop"), (Screen::Dark, "dark"), (Screen::Phone, "phone"), (Screen::Zoomed, "zoomed")]
    {
        chrome.screen(screen);
        for page in pages {
            chrome.go(&format!("/admin{page}"));
            chrome.sees("Approval limits");
            chrome.script("for (const one of document.querySelectorAll('details')) one.open = true;");
            chrome.shoot(&format!("{}-{of}", page.trim_start_matches('/').replace('/', "-")));
            chrome.fits();
            chrome.accessible();
        }
    }
    chrome.screen(Screen::Desktop);
    chrome.go("/admin");
    chrome.types("#name", "carl");
    chrome.types("#add-password", &password);
    chrome.presses("Add the user");
    chrome.sees("It is shown only this once.");
    chrome.shoot("secret");
    chrome.accessible();
}
