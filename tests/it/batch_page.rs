//! Tests of the pages of batches: many orders, filters and pages, codes in the file, and *done* only if no row is open.

use crate::batch::{Action, plain};
use crate::browser::sign_in;
use crate::chrome::{Chrome, Screen};
use crate::service::{Browser, Service, add_token, add_user};
use crate::support::{ready, wait_until};

/// Builds a refund file with these orders and as many orders that are not in the index.
fn file_of(orders: &[Action], unknown: usize) -> String {
    let known = orders.iter().map(|one| format!("\"{}\"\n", one.order.replace('"', "\"\"")));
    let unknown = (0..unknown).map(|n| format!("NEVER-SEEN-{n}\n"));
    format!("order_id\n{}", known.chain(unknown).collect::<String>())
}

/// Uploads a file, waits for its plan, and returns the path of the batch's page.
fn planned(lead: &Browser<'_>, file: &str) -> String {
    let taken = lead.upload(file.as_bytes(), &[("reason", "refunds")]);
    assert_eq!(taken.status, 303, "{}", taken.body);
    let path = taken.header("location").to_owned();
    wait_until("it is planned", || lead.get(&path).body.contains(">planned<"));
    path
}

#[test]
fn a_batch_of_many_orders_is_read_in_pages_and_by_outcome() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let path = planned(&lead, &file_of(&plain(&sim, 2), 118));
    let rows = |page: &str| page.matches("<th scope=\"row\"").count();
    let first = lead.get(&path).body;
    assert!(first.contains("all <span class=\"count\">120</span>"), "{first}");
    assert!(first.contains("send <span class=\"count\">2</span>"), "{first}");
    assert!(first.contains("Orders 1 to 50 of 120.") && rows(&first) == 50, "{first}");
    let last = lead.get(&format!("{path}?page=3")).body;
    assert!(last.contains("Orders 101 to 120 of 120.") && rows(&last) == 20, "{last}");
    let absent = lead.get(&format!("{path}?show=not_found_yet&page=2")).body;
    assert!(absent.contains("Orders 51 to 100 of 118 of 120.") && !absent.contains(">send</span>"), "{absent}");
    let sends = lead.get(&format!("{path}?show=send")).body;
    assert!(rows(&sends) == 2 && !sends.contains("NEVER-SEEN"), "{sends}");
    for odd in ["?show=%3Cscript%3E", "?page=0", "?page=999999999999", "?page=-1&show="] {
        let page = lead.get(&format!("{path}{odd}"));
        assert!(page.status == 200 && !page.body.contains("<script>"), "{odd}: {}", page.body);
    }
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_batch_is_open_until_every_row_is_proven_and_its_outcomes_follow_the_ledger() {
    // The simulator completes a reversal only after this test has read the outcomes.
    let (sim, home) = ready(&["--complete-delay", "6s"]);
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    home.configure_more("wait = '1ms'");
    home.configure_more("[schedule]\nverify = 'off'");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let orders = plain(&sim, 2);
    let path = planned(&lead, &file_of(&orders, 0));
    assert_eq!(lead.get(&format!("{path}/outcomes")).status, 404);
    let none = lead.get(&format!("{path}/outcomes")).body;
    assert!(none.contains("has no outcomes yet") && !none.contains("no such batch"), "{none}");
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    let api = service.client(&token);
    let of_api = || api.get(&format!("/api/v1{}", path.replace("/batch/", "/batches/"))).json();
    wait_until("it is applied", || of_api()["stage"] == "done");
    let page = lead.get(&path).body;
    assert!(page.contains(">2 open<") && !page.contains(">done<"), "{page}");
    assert!(lead.get("/batch").body.contains(">2 open<"));
    assert_eq!((&of_api()["open"], &of_api()["counts"]["pending"]), (&2.into(), &2.into()), "{}", of_api());
    let interim = lead.get(&format!("{path}/outcomes")).body;
    assert_eq!(interim.matches(",pending,").count(), 2, "{interim}");
    // Another process proves the retractions.
    home.check(&["verify", "--watch", "--wait", "60s"], 0);
    wait_until("it is done", || lead.get(&path).body.contains(">done<"));
    let page = lead.get(&path).body;
    assert!(page.contains("confirmed <span class=\"count\">2</span>"), "{page}");
    assert_eq!((&of_api()["open"], &of_api()["counts"]["confirmed"]), (&0.into(), &2.into()), "{}", of_api());
    let file = lead.get(&format!("{path}/outcomes")).body;
    assert_eq!(file.matches(",confirmed,").count(), 2, "{file}");
    assert!(!file.contains("pending"), "{file}");
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn a_batch_fits_a_phone_and_a_zoomed_window() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("batch-page", &service, true) else { return };
    let lead = service.login("lead", &password);
    let path = planned(&lead, &file_of(&plain(&sim, 3), 60));
    sign_in(&chrome, "lead", &password);
    for (screen, of) in
        [(Screen::Desktop, "desktop"), (Screen::Dark, "dark"), (Screen::Phone, "phone"), (Screen::Zoomed, "zoomed")]
    {
        chrome.screen(screen);
        for (name, page) in [("list", "/batch".to_owned()), ("plan", path.clone())] {
            chrome.go(&page);
            chrome.sees("Batch");
            chrome.clicks("main summary");
            chrome.shoot(&format!("{name}-{of}"));
            chrome.fits();
            chrome.accessible();
        }
    }
}
