//! Tests of the page in a real browser: what a support agent sees, clicks and may do.

use crate::chrome::{Chrome, ENTER, Screen, TAB};
use crate::service::{Service, add_user, percent_encoded};
use crate::support::{Home, Sim, os_user, ready, wait_until};

/// Signs in on the page with the keyboard only.
#[track_caller]
pub(crate) fn sign_in(chrome: &Chrome, name: &str, password: &str) {
    chrome.go("/login");
    // The browser sets the focus shortly after it has loaded the page.
    wait_until("the name has the focus", || chrome.focus() == "name");
    chrome.keys(name);
    chrome.keys(TAB);
    chrome.keys(password);
    chrome.keys(ENTER);
    chrome.sees("Sign out");
}

fn team() -> (Sim, Home, Vec<String>) {
    let (sim, home) = ready(&["--complete-delay", "600ms"]);
    let passwords = ["viewer", "agent", "lead", "admin"].map(|role| add_user(&home, role, role)).to_vec();
    (sim, home, passwords)
}

#[test]
fn an_agent_looks_up_retracts_and_watches_it_become_confirmed() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("agent", &service, true) else { return };
    sign_in(&chrome, "agent", &passwords[1]);
    // The agent needs one field and Enter. The pasted order ID has an extra space.
    assert_eq!(chrome.focus(), "orders");
    chrome.keys(&format!("{order} "));
    chrome.keys(ENTER);
    chrome.sees("No order is written exactly like this.");
    chrome.shoot("0-did-you-mean");
    chrome.presses(&order);
    chrome.sees("It can be retracted");
    assert!(chrome.text().contains("accounts read") && !chrome.text().contains("@example.com"));
    chrome.shoot("1-look-up");
    chrome.presses("Retract…");
    chrome.sees("Show exactly what will happen");
    assert_eq!(chrome.focus(), "reason");
    chrome.keys("The buyer sent it back");
    chrome.types("#ticket", "T-4711");
    chrome.shoot("2-reason");
    chrome.presses("Show exactly what will happen");
    chrome.sees("Retract now");
    chrome.shoot("3-what-will-happen");
    // The browser itself refuses to submit the form without the checkbox.
    chrome.presses("Retract now");
    assert_eq!(chrome.path(), "/retract/review");
    assert!(sim.deletes().is_empty());
    chrome.clicks("input[name=yes]");
    chrome.presses("Retract now");
    chrome.sees("Receipt for order");
    let first = chrome.text();
    assert!(first.contains("queued") || first.contains("completed"), "seen on its way: {first}");
    // The receipt updates without a reload of the page.
    chrome.script("document.body.dataset.same = 'yes';");
    chrome.sees("confirmed:");
    assert_eq!(chrome.script("return document.body.dataset.same;"), "yes");
    assert!(chrome.text().contains("T-4711") && chrome.text().contains("The buyer sent it back"));
    assert!(chrome.has("[data-print]:not([hidden])") && chrome.has("[data-copy]:not([hidden])"));
    chrome.shoot("4-receipt");
    chrome.screen(Screen::Phone);
    chrome.shoot("5-receipt-phone");
    assert_eq!(sim.deletes().len(), 1);
    // The page of a retracted order has no button to retract.
    chrome.go(&format!("/lookup?orders={}", percent_encoded(&order)));
    chrome.sees("There is nothing to send");
    assert!(!chrome.text().contains("Retract…"), "{}", chrome.text());
    assert_eq!(sim.deletes().len(), 1);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[test]
fn a_viewer_has_no_button_and_is_refused() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("viewer", &service, true) else { return };
    sign_in(&chrome, "viewer", &passwords[0]);
    chrome.go(&format!("/lookup?orders={}", percent_encoded(&order)));
    chrome.sees("It can be retracted");
    assert!(!chrome.text().contains("Retract…") && !chrome.has("a[href^='/retract']"));
    assert!(!chrome.text().contains("Show accounts") && !chrome.text().contains("Batches"));
    chrome.shoot("1-no-button");
    chrome.go(&format!("/retract?order={}", percent_encoded(&order)));
    chrome.sees("You may not do this");
    chrome.shoot("2-refused");
    // The script sends the POST itself, with the session's CSRF token and every field of the form.
    chrome.go("/lookup");
    let status = chrome.script(&format!(
        "const body = new URLSearchParams({{ csrf: document.querySelector('input[name=csrf]').value, order: {order:?}, \
         reason: 'mine', yes: '1', seen: 'x' }}); const ask = new XMLHttpRequest(); ask.open('POST', '/retract/send', false); \
         ask.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded'); ask.send(body); return ask.status;"
    ));
    assert_eq!(status, 403);
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_lead_approves_what_an_agent_asked_for() {
    let (sim, home, passwords) = team();
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let Some(agent) = Chrome::open("approval", &service, true) else { return };
    sign_in(&agent, "agent", &passwords[1]);
    agent.go(&format!("/retract?order={}", percent_encoded(&order)));
    agent.sees("A second person must approve it");
    agent.types("#reason", "refunded");
    agent.presses("Show exactly what will happen");
    agent.sees("Retract now");
    agent.clicks("input[name=yes]");
    agent.presses("Retract now");
    agent.sees("Withdraw");
    assert!(!agent.has("form[action$='/approve']"), "not by whoever asked");
    agent.shoot("1-asked");
    assert!(sim.deletes().is_empty());

    let Some(lead) = Chrome::open("approval", &service, true) else { return };
    sign_in(&lead, "lead", &passwords[2]);
    lead.go("/approvals");
    lead.sees("Look at the plan and decide…");
    lead.shoot("2-to-decide");
    lead.presses("Look at the plan and decide…");
    lead.sees("Approve and send");
    assert!(lead.text().contains("00 cents") && lead.text().contains("by agent"), "{}", lead.text());
    lead.shoot("3-plan");
    lead.accessible();
    lead.types("form[action$='/approve'] input[name=reason]", "looked at the order");
    // The browser itself refuses to submit the form without the checkbox.
    lead.presses("Approve and send");
    assert!(sim.deletes().is_empty());
    lead.clicks("input[name=yes]");
    lead.presses("Approve and send");
    lead.sees("confirmed:");
    lead.shoot("4-approved");
    lead.go("/approvals");
    lead.sees("No request waits for approval.");
    agent.go(&format!("/receipt?order={}", percent_encoded(&order)));
    agent.sees("confirmed:");
    agent.presses("All events");
    assert!(agent.text().contains("approved by lead"), "{}", agent.text());
    agent.shoot("4-receipt");
    // The printed page shows closed `details` elements too.
    agent.go(&format!("/receipt?order={}", percent_encoded(&order)));
    agent.sees("confirmed:");
    let shows_events = "return document.querySelector('.events li').checkVisibility();";
    assert_eq!(agent.script(shows_events), false);
    agent.screen(Screen::Paper);
    assert_eq!(agent.script(shows_events), true);
    agent.shoot("5-receipt-printed");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_page_works_without_scripts() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("without-scripts", &service, false) else { return };
    sign_in(&chrome, "agent", &passwords[1]);
    chrome.types("#orders", &order);
    chrome.clicks("[role=search] button");
    chrome.sees("Can it be retracted?");
    chrome.shoot("1-look-up");
    chrome.presses("Can it be retracted?");
    chrome.sees("It can be retracted");
    chrome.presses("Retract…");
    chrome.types("#reason", "refunded");
    chrome.presses("Show exactly what will happen");
    chrome.clicks("input[name=yes]");
    chrome.presses("Retract now");
    // The receipt updates without a reload of the page.
    chrome.sees("confirmed:");
    assert!(!chrome.has("[data-print]:not([hidden])"), "no button that does nothing");
    chrome.shoot("2-receipt");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn every_page_is_accessible_light_dark_and_on_a_phone() {
    let (sim, home, passwords) = team();
    let (waits, done) = (sim.example("plain").order_id, sim.another("plain").order_id);
    home.check(&["retract", &done, "--yes", "--reason", "refunded"], 0);
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--value", "1"], 0);
    let order = percent_encoded(&waits);
    let two = percent_encoded(&sim.example("two_actions").order_id);
    let service = Service::start(&home);
    let asked = service.login("agent", &passwords[1]).retract(&waits);
    assert_eq!(asked.header("location"), "/approvals", "{}", asked.body);
    let Some(chrome) = Chrome::open("accessible", &service, true) else { return };
    chrome.go("/login");
    chrome.accessible();
    chrome.shoot("login");
    sign_in(&chrome, "admin", &passwords[3]);
    let done = percent_encoded(&done);
    let pages = [
        ("queue", "/".to_owned(), "Waits for your approval"),
        ("lookup-actions", format!("/lookup?orders={two}"), "Choose the one"),
        ("lookup-confirmed", format!("/lookup?orders={done}"), "There is nothing to send"),
        ("lookup", format!("/lookup?orders={order}%0A{two}%0Anothing"), "Similar"),
        ("lookup-one", format!("/lookup?orders={order}&accounts=shown"), "It can be retracted"),
        ("retract", format!("/retract?order={order}"), "Show exactly"),
        ("receipt", format!("/receipt?order={done}"), "confirmed"),
        ("history", "/history".to_owned(), "confirmed"),
        ("approvals", "/approvals".to_owned(), "Look at the plan"),
        ("batch", "/batch".to_owned(), "Check every order"),
        ("health", "/health".to_owned(), "Crawls"),
        ("password", "/password".to_owned(), "Change your password"),
        ("refused", "/history/999".to_owned(), "Back"),
    ];
    for (screen, of) in [(Screen::Desktop, "light"), (Screen::Dark, "dark"), (Screen::Phone, "phone")] {
        chrome.screen(screen);
        for (name, path, text) in &pages {
            chrome.go(path);
            if *name == "lookup" {
                assert!(chrome.text().contains("nothing"), "{}", chrome.text());
            } else {
                chrome.sees(text);
            }
            chrome.shoot(&format!("{name}-{of}"));
            chrome.accessible();
        }
    }
}
