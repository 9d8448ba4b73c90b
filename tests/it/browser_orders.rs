//! Tests of orders on the page in a real browser: the work queue, the search box, a choice between actions, and several
//! orders.

use crate::browser::sign_in;
use crate::chrome::{Chrome, ENTER, Screen};
use crate::service::{Service, add_user};
use crate::support::{Home, Sim, ready, wait_until};

fn team() -> (Sim, Home, String) {
    let (sim, home) = ready(&["--complete-delay", "300ms"]);
    let password = add_user(&home, "agent", "agent");
    home.configure_more(
        "[serve]\nreasons = ['returned', 'cancelled before shipping']\n\
         shop_order_url = 'https://shop.example/admin/{order_id}'",
    );
    (sim, home, password)
}

/// Pastes text into the search box with a script, because the Enter key at each line end would submit the form.
fn paste(chrome: &Chrome, text: &str) {
    chrome.script(&format!("document.getElementById('orders').value = {text:?};"));
    chrome.clicks("[role=search] button");
}

#[test]
fn an_agent_checks_several_orders_and_retracts_them_in_one_flow() {
    let (sim, home, password) = team();
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let service = Service::start(&home);
    for (test, scripts) in [("several", true), ("several-without-scripts", false)] {
        let Some(chrome) = Chrome::open(test, &service, scripts) else { return };
        sign_in(&chrome, "agent", &password);
        chrome.sees("Work queue");
        chrome.shoot("0-queue");
        if !scripts {
            // The first round of this test has retracted the orders.
            chrome.types("#orders", &one);
            chrome.clicks("[role=search] button");
            chrome.sees("confirmed");
            assert!(!chrome.has("button.copy:not([hidden])"), "no button that does nothing");
            chrome.shoot("1-order");
            continue;
        }
        paste(&chrome, &format!("{one}\n{two}\nnothing"));
        chrome.sees("Not checked yet");
        chrome.shoot("1-list");
        chrome.accessible();
        chrome.presses("Check all");
        chrome.sees("Retract the chosen orders");
        chrome.shoot("2-checked");
        chrome.accessible();
        chrome.screen(Screen::Phone);
        chrome.shoot("2-checked-phone");
        chrome.accessible();
        chrome.screen(Screen::Desktop);
        chrome.clicks(&format!("//input[@type='checkbox'][@value='{one}']"));
        chrome.clicks(&format!("//input[@type='checkbox'][@value='{two}']"));
        chrome.clicks("//select[@id='preset']/option[.='returned']");
        chrome.types("#reason", "the box was open");
        chrome.presses("Show exactly what will happen");
        chrome.sees("Retract 2 orders now");
        assert!(chrome.text().contains("returned: the box was open"), "{}", chrome.text());
        chrome.shoot("3-what-will-happen");
        chrome.accessible();
        // The browser itself refuses to submit the form without the checkbox.
        chrome.presses("Retract 2 orders now");
        assert!(sim.deletes().is_empty());
        chrome.clicks("input[name=yes]");
        chrome.presses("Retract 2 orders now");
        chrome.sees("What became of 2 orders");
        chrome.shoot("4-outcome");
        chrome.accessible();
        chrome.presses("Look at these orders");
        wait_until("both are confirmed", || {
            chrome.go("/lookup");
            paste(&chrome, &format!("{one}\n{two}"));
            chrome.text().matches("confirmed").count() == 2
        });
        chrome.screen(Screen::Phone);
        chrome.shoot("5-list-phone");
        chrome.accessible();
        chrome.go("/");
        chrome.sees("Work queue");
        chrome.shoot("6-queue-phone");
        chrome.accessible();
    }
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn an_action_is_chosen_in_place_and_an_id_is_copied() {
    let (sim, home, password) = team();
    let example = sim.example("two_actions");
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("choice", &service, true) else { return };
    sign_in(&chrome, "agent", &password);
    wait_until("the search box has the focus", || chrome.focus() == "orders");
    chrome.keys(&example.order_id);
    chrome.keys(ENTER);
    chrome.sees("This order has 2 actions.");
    chrome.shoot("1-choose");
    let path = chrome.path();
    chrome.clicks(&format!("//input[@type='radio'][@value='{}']", example.action_ids[1]));
    chrome.sees("It can be retracted");
    assert_eq!(chrome.path(), path, "in place");
    chrome.shoot("2-chosen");
    chrome.accessible();
    assert!(chrome.has("button.copy:not([hidden])"), "the buttons of the new table can be used");
    chrome.script("navigator.clipboard.writeText = async (text) => { document.body.dataset.copied = text; };");
    chrome.clicks(&format!("button[data-copy-text='{}']", example.action_ids[1]));
    chrome.sees("Copied");
    assert_eq!(chrome.script("return document.body.dataset.copied;"), example.action_ids[1].as_str());
    chrome.screen(Screen::Phone);
    chrome.shoot("3-chosen-phone");
    chrome.accessible();
    assert!(sim.deletes().is_empty());
}
