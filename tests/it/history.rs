//! Tests of the history page: what its filters find, its pages, and its CSV file.

use crate::browser::sign_in;
use crate::chrome::{Chrome, Screen};
use crate::service::{Service, add_user, percent_encoded};
use crate::support::ready;

/// Returns the numbers of the retractions that a history page lists.
fn listed(page: &str) -> Vec<u64> {
    let parts = page.split("data-label=\"Retraction\">").skip(1);
    parts.filter_map(|part| part.split_once("\">")?.1.split('<').next()?.parse().ok()).collect()
}

#[test]
fn the_history_finds_a_part_of_a_text_and_filters_by_person_date_state_and_amount() {
    let (sim, home) = ready(&[]);
    let passwords = ["ann", "bob"].map(|name| add_user(&home, name, "agent"));
    let orders = [sim.example("plain").order_id, sim.another("plain").order_id];
    let service = Service::start(&home);
    for ((name, password), order) in ["ann", "bob"].iter().zip(&passwords).zip(&orders) {
        assert_eq!(service.login(name, password).retract(order).status, 303);
    }
    home.check(&["verify", "--watch", "--wait", "60s"], 0);
    let ann = service.login("ann", &passwords[0]);
    let find = |query: &str| {
        let page = ann.get(&format!("/history?{query}"));
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        listed(&page.body)
    };
    assert_eq!(find(""), [2, 1], "the newest first");
    let part = |order: &str| percent_encoded(&order.chars().skip(1).collect::<String>().to_lowercase());
    assert_eq!(find(&format!("q={}", part(&orders[0]))), [1], "a part of the order ID");
    assert_eq!(find("q=t-1"), [2, 1], "a part of the ticket, in another case");
    assert_eq!(find("q=REFUN"), [2, 1], "a part of the reason");
    for wildcard in ["%25", "_", "!"] {
        let expected = orders.iter().filter(|order| order.contains(&wildcard.replace("%25", "%"))).count();
        assert_eq!(find(&format!("q={wildcard}")).len(), expected, "{wildcard} is not a wildcard");
    }
    assert_eq!(find("person=bob"), [2]);
    assert_eq!(find("person=bo"), [0_u64; 0]);
    assert_eq!(find("state=confirmed"), [2, 1]);
    assert_eq!(find("state=open"), [0_u64; 0]);
    assert_eq!(find("since=2026-01-01&until=2099-12-31"), [2, 1]);
    assert_eq!(find("until=2026-01-01"), [0_u64; 0]);
    assert_eq!(find("least=0.01"), [2, 1]);
    assert_eq!(find("most=0.01"), [0_u64; 0]);
    assert_eq!(find("least=1000000"), [0_u64; 0]);
    for wrong in ["since=yesterday", "least=much", "state=odd", "before=x"] {
        assert_eq!(ann.get(&format!("/history?{wrong}")).status, 400, "{wrong} is refused and not left out");
    }
    let page = ann.get("/history").body;
    assert!(page.contains("2 retractions, the newest first."), "{page}");
}

#[test]
fn the_history_as_csv_has_the_filtered_retractions_no_account_and_no_formula() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "ann", "agent");
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--reason", "=1+1", "--ticket", "@T"], 0);
    home.check(&["retract", &sim.another("plain").order_id, "--yes", "--reason", "other"], 0);
    let service = Service::start(&home);
    let ann = service.login("ann", &password);
    let file = ann.get("/history.csv?q=%3D1");
    assert_eq!((file.status, file.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert!(file.header("content-disposition").starts_with("attachment"), "{file:?}");
    let mut reader = csv::Reader::from_reader(file.body.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 1, "{}", file.body);
    let cell = |name: &str| &rows[0][header.iter().position(|one| one == name).expect("a column")];
    assert_eq!((cell("order_id").trim_start_matches('\''), cell("state")), (order.as_str(), "confirmed"));
    assert_eq!((cell("reason"), cell("ticket")), ("'=1+1", "'@T"));
    assert!(cell("worth").contains("CENTS"), "{}", file.body);
    assert!(!file.body.contains("@example.com"), "{}", file.body);
    let all = ann.get("/history.csv").body;
    assert_eq!(all.lines().count(), 3, "{all}");
}

#[test]
fn older_pages_of_the_history_leave_out_nothing() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let password = add_user(&home, "ann", "agent");
    let orders = crate::batch::plain(&sim, 53);
    let file = crate::batch::orders_file(&home, "refunds.csv", &orders);
    crate::batch::check(&home, &file, &home.path("out.csv"), &[], 0);
    let service = Service::start(&home);
    let ann = service.login("ann", &password);
    let (mut path, mut seen) = ("/history?state=confirmed".to_owned(), Vec::new());
    loop {
        let page = ann.get(&path).body;
        assert!(page.contains("53 retractions"), "every page has the count: {page}");
        seen.extend(listed(&page));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").expect("a link").1.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(seen, (1..=53).rev().collect::<Vec<u64>>());
}

#[test]
fn the_history_fits_a_phone_and_a_zoomed_window() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "ann", "agent");
    let orders = [sim.example("plain").order_id, sim.another("plain").order_id];
    for order in &orders {
        home.check(&["retract", order, "--yes", "--reason", "refunded", "--ticket", "T-1"], 0);
    }
    let service = Service::start(&home);
    let Some(chrome) = Chrome::open("history", &service, true) else { return };
    sign_in(&chrome, "ann", &password);
    for (screen, of) in [(Screen::Desktop, "desktop"), (Screen::Phone, "phone"), (Screen::Zoomed, "zoomed")] {
        chrome.screen(screen);
        for (name, page) in [("history", "/history?least=0.01"), ("health", "/health"), ("approvals", "/approvals")] {
            chrome.go(page);
            chrome.sees("recoup");
            chrome.shoot(&format!("{name}-{of}"));
            chrome.fits();
            chrome.accessible();
        }
        chrome.go(&format!("/receipt?order={}", percent_encoded(&orders[0])));
        chrome.sees("confirmed");
        chrome.shoot(&format!("receipt-{of}"));
        chrome.fits();
    }
}
