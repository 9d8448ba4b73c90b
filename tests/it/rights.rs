//! Requests every route with every role, without a session, with the CSRF token of another session, and with an expired
//! token.

use std::collections::BTreeMap;

use recoup::access::{Right, Role};
use recoup::serve::{Access, Audience, Route, all_routes};

use crate::service::{FORM, Service, add_token, add_user};
use crate::support::ready;

/// Returns a path that matches the route and names no existing object.
fn path(route: &Route) -> String {
    route.path.replace("{id}", "9999").replace("{session}", "9999")
}

/// Returns `true` if the auth middleware accepted the request, whatever the handler then answered.
fn passed(route: &Route, status: u16, body: &str, signed_in: bool) -> bool {
    match route.audience {
        Audience::Page if !signed_in => status != 303 && status != 401,
        Audience::Page => !(status == 403 && body.contains("You may not do this")),
        Audience::Api | Audience::Machine => status != 401 && status != 403,
    }
}

#[test]
fn every_route_enforces_the_rights_of_every_role() {
    let (sim, home) = ready(&[]);
    let service = Service::start(&home);
    let mut browsers = BTreeMap::new();
    let mut tokens = BTreeMap::new();
    for role in [Role::Viewer, Role::Agent, Role::Lead, Role::Admin] {
        let name = role.as_str();
        let password = add_user(&home, name, name);
        let scopes: Vec<&str> =
            ["lookup", "preflight", "status", "metrics", "accounts", "retract", "batch", "override", "approve"]
                .into_iter()
                .filter(|word| role.may(Right::parse(word).expect("a right")))
                .collect();
        tokens.insert(role, add_token(&home, name, &scopes));
        browsers.insert(role, service.login(name, &password));
    }
    let expired = home
        .check(
            &["user", "token", "add", "admin", "--name", "old", "--scope", "lookup", "--expires", "1ms", "--json"],
            0,
        )
        .object()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let scoped = add_token(&home, "admin", &["metrics"]);
    let routes = all_routes();
    assert!(routes.len() > 30, "{}", routes.len());
    for route in &routes {
        let (path, method) = (path(route), route.method);
        let of = format!("{method} {path}");
        // The webhook route accepts a request only by the vendor's signature.
        if route.path == "/webhooks/advocate" {
            assert_eq!(service.ask(method, &path, &[], b"{}").status, 401);
            continue;
        }
        let nobody = service.ask(method, &path, &[FORM], b"");
        let open = route.access == Access::Public;
        let here = matches!(route.access, Access::RequiresOrLocal(_));
        assert_eq!(passed(route, nobody.status, &nobody.body, false), open || here, "{of} nobody: {}", nobody.status);
        for (role, browser) in &browsers {
            let may = match route.access {
                Access::Public | Access::SignedIn => true,
                Access::Requires(right) | Access::RequiresOrLocal(right) => role.may(right),
            };
            match route.audience {
                Audience::Page => {
                    let answer = if method == "GET" {
                        browser.get(&path)
                    } else {
                        // The service refuses a form with another session's CSRF token, and does nothing.
                        let cookie = [("Cookie", browser.cookie.as_str()), FORM];
                        let body = format!("csrf={}0&order=1&yes=1", browser.csrf);
                        let forged = service.ask(method, &path, &cookie, body.as_bytes());
                        if !open {
                            assert!(forged.status == 403 || forged.status == 400, "{of} forged: {}", forged.status);
                        }
                        if route.path == "/logout" || open {
                            continue;
                        }
                        browser.post(&path, &[])
                    };
                    assert_eq!(
                        passed(route, answer.status, &answer.body, true),
                        may,
                        "{of} {role:?}: {}",
                        answer.status
                    );
                    // The page's routes accept no API token.
                    let bearer = format!("Bearer {}", tokens[role]);
                    let by_token = service.ask(method, &path, &[("Authorization", &bearer), FORM], b"");
                    assert_eq!(passed(route, by_token.status, &by_token.body, false), open, "{of} by token");
                }
                Audience::Api | Audience::Machine => {
                    let bearer = format!("Bearer {}", tokens[role]);
                    let answer = service.ask(method, &path, &[("Authorization", &bearer)], b"");
                    assert_eq!(
                        passed(route, answer.status, &answer.body, true),
                        may,
                        "{of} {role:?}: {} {}",
                        answer.status,
                        answer.body
                    );
                    // The API accepts no session cookie, so another website cannot use it through a user's browser.
                    let by_cookie = service.ask(method, &path, &[("Cookie", &browser.cookie)], b"");
                    assert_eq!(passed(route, by_cookie.status, "", false), open || here, "{of} by cookie");
                }
            }
        }
        if let (Audience::Api, Access::Requires(right)) = (route.audience, route.access) {
            for (token, what) in [(&expired, "expired"), (&"rcp_nothing".to_owned(), "unknown")] {
                let bearer = format!("Bearer {token}");
                assert_eq!(service.ask(method, &path, &[("Authorization", &bearer)], b"").status, 401, "{of} {what}");
            }
            let bearer = format!("Bearer {scoped}");
            let other = service.ask(method, &path, &[("Authorization", &bearer)], b"").status;
            assert_eq!(other == 403, right != Right::Metrics, "{of}: the token is for something else");
        }
    }
    assert!(sim.deletes().is_empty(), "nothing was sent by any of it");
}
