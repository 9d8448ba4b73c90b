//! Tests of the start page: orders that wait for the user, open, doubtful and failed retractions, and the orders that
//! the user opened last.

use crate::service::{Service, add_user, percent_encoded};
use crate::support::{os_user, ready};

/// Returns the section of the start page with this heading; empty if there is no such heading.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<h2 id=\"{id}\">")).unwrap_or(page.len());
    let rest = &page[start..];
    &rest[..rest.find("</section>").unwrap_or(rest.len())]
}

#[test]
fn the_start_page_lists_what_is_doubtful_and_what_failed() {
    let (sim, home) = ready(&["--delete-fault", "reset-before"]);
    let password = add_user(&home, "viewer", "viewer");
    let service = Service::start(&home);
    let viewer = service.login("viewer", &password);
    assert!(viewer.get("/").body.contains("Nothing waits for you."));
    let (lost, failed) = (sim.example("plain").order_id, sim.another("plain").order_id);
    home.check(&["retract", &lost, "--yes", "--wait", "1ms"], 7);
    sim.post("set?delete-fault=400");
    home.check(&["retract", &failed, "--yes"], 1);
    let page = viewer.get("/").body;
    assert!(!page.contains("Nothing waits for you."), "{page}");
    let (doubtful, failures) = (section(&page, "doubtful"), section(&page, "failed"));
    assert!(doubtful.contains(&percent_encoded(&lost)) && doubtful.contains("unknown"), "{page}");
    assert!(!doubtful.contains(&percent_encoded(&failed)), "{page}");
    assert!(failures.contains(&percent_encoded(&failed)) && failures.contains("The vendor refused it"), "{page}");
    // A later attempt removes the failed attempt from the start page.
    sim.post("set?delete-fault=none");
    home.check(&["retract", &failed, "--yes", "--resend", "--reason", "mended"], 0);
    let page = viewer.get("/").body;
    assert_eq!(section(&page, "failed"), "", "{page}");
}

#[test]
fn requests_that_wait_for_a_person_are_counted_on_every_page() {
    let (sim, home) = ready(&[]);
    let passwords = ["viewer", "agent", "lead"].map(|role| add_user(&home, role, role));
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    let [viewer, agent, lead] =
        [("viewer", 0), ("agent", 1), ("lead", 2)].map(|(name, n)| service.login(name, &passwords[n]));
    assert!(!lead.get("/history").body.contains("wait for you"));
    let order = sim.example("plain").order_id;
    assert_eq!(agent.retract(&order).status, 303);
    for path in ["/", "/history", "/approvals", "/lookup", "/health", "/batch"] {
        let page = lead.get(path).body;
        assert!(page.contains("<span class=\"count\">1<span class=\"unseen\"> wait for you"), "{path}: {page}");
    }
    let to_approve = lead.get("/").body;
    assert!(section(&to_approve, "to-approve").contains("asked for by agent"), "{to_approve}");
    let own = agent.get("/").body;
    assert!(section(&own, "own").contains(&order) && !own.contains("wait for you"), "{own}");
    let none = viewer.get("/").body;
    assert!(none.contains("Nothing waits for you.") && !none.contains("class=\"count\""), "{none}");
    let id = section(&to_approve, "to-approve").split("/approvals/").nth(1).and_then(|rest| rest.split('"').next());
    let declined = lead.post(&format!("/approvals/{}/decline", id.expect("a number")), &[("reason", "no")]);
    assert_eq!(declined.status, 303);
    assert!(!lead.get("/").body.contains("class=\"count\""));
    assert!(sim.deletes().is_empty());
}

#[test]
fn the_orders_that_a_user_has_opened_are_shown_to_that_user_only() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let [agent, lead] = [("agent", 0), ("lead", 1)].map(|(name, n)| service.login(name, &passwords[n]));
    assert!(!agent.get("/").body.contains("Opened last"));
    agent.get("/lookup?orders=somebody%40example.com");
    agent.get("/lookup?orders=nothing");
    assert!(!agent.get("/").body.contains("Opened last"), "only orders are remembered");
    agent.get(&format!("/lookup?orders={}", percent_encoded(&order)));
    let page = agent.get("/").body;
    let recent = section(&page, "recent");
    assert!(recent.contains(&percent_encoded(&order)) && recent.contains("rewards"), "{page}");
    assert!(!lead.get("/").body.contains("Opened last"));
    // The list of opened orders is in memory only, so the service's files contain none of it.
    for file in ["recoup-access.db", "recoup-access.db-wal"] {
        let bytes = std::fs::read(home.path(file)).unwrap_or_default();
        assert!(!bytes.windows(order.len()).any(|part| part == order.as_bytes()), "{file}");
    }
}

#[test]
fn the_health_page_shows_every_time_in_the_form_that_the_browser_localises() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "viewer", "viewer");
    home.check(&["retract", &sim.example("plain").order_id, "--yes"], 0);
    let other = sim.another("plain").order_id;
    home.command(&["retract", &other, "--yes"]).env("RECOUP_AUTH_TOKEN", "wrong").output().expect("it runs");
    let service = Service::start(&home);
    let page = service.login("viewer", &password).get("/health").body;
    assert!(page.contains("(read <time datetime=\"") && page.contains("refused the credentials"), "{page}");
    // Without `time` elements and attributes, no RFC 3339 time is left.
    let bare: String = page.split('<').filter_map(|part| part.split_once('>').map(|(_, text)| text)).collect();
    let is_time = |word: &str| word.len() > 18 && word.as_bytes()[10] == b'T' && word.contains('Z');
    let raw: Vec<&str> = bare.split([' ', '\n', '(', ')']).filter(|word| word.is_ascii() && is_time(word)).collect();
    assert!(raw.is_empty(), "{raw:?}: {page}");
}
