//! Tests of the pages of batches: many orders, filters and pages, codes in the file, and *done* only if no row is open.

use crate::batch::{Action, plain};
use crate::browser::sign_in;
use crate::chrome::{Chrome, Screen};
use crate::service::{Browser, Client, Service, add_token, add_user};
use crate::support::{Home, ready, wait_until};

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

/// Applies the plan of a batch and waits until the run ends.
fn applied(lead: &Browser<'_>, api: &Client<'_>, path: &str) {
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    wait_until("it is applied", || of_api(api, path)["stage"] == "done");
}

fn of_api(api: &Client<'_>, path: &str) -> serde_json::Value {
    api.get(&format!("/api/v1{}", path.replace("/batch/", "/batches/"))).json()
}

/// Checks that the page, the API and the file have this outcome for the only order of a batch, and this stage.
#[track_caller]
fn has(lead: &Browser<'_>, api: &Client<'_>, path: &str, outcome: &str, stage: &str) {
    let page = lead.get(path).body;
    let words = outcome.replace('_', " ");
    assert!(page.contains(&format!("{words} <span class=\"count\">1</span>")), "{outcome}: {page}");
    assert!(page.contains(&format!("<strong class=\"state\">{stage}</strong>")), "{stage}: {page}");
    let list = lead.get("/batch").body;
    let line = list.lines().find(|line| line.contains(&format!("href=\"{path}\""))).expect("a line of the list");
    assert!(line.contains(&format!(">{stage}</span>")), "{stage}: {line}");
    let batch = of_api(api, path);
    assert_eq!(batch["counts"], serde_json::json!({ outcome: 1 }), "{batch}");
    let listed = api.list("/api/v1/batches").into_iter().find(|one| one["id"] == batch["id"]).expect("it is listed");
    assert_eq!(listed["counts"], batch["counts"]);
    let file = lead.get(&format!("{path}/outcomes")).body;
    assert!(file.contains(&format!(",{outcome},")), "{outcome}: {file}");
}

/// Returns the path of a batch's stored metadata.
fn stored(home: &Home, path: &str) -> std::path::PathBuf {
    home.path(&format!("recoup-batches/{}.json", path.trim_start_matches("/batch/")))
}

/// Changes the stored metadata of a batch to what another process or a crash may leave.
fn restore(home: &Home, path: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let file = stored(home, path);
    let mut batch = serde_json::from_slice(&std::fs::read(&file).expect("the description")).expect("JSON");
    change(&mut batch);
    std::fs::write(file, batch.to_string()).expect("it is stored");
}

#[test]
fn an_outcome_is_that_of_the_ledger_also_after_the_ledger_contradicts_a_final_one() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    for setting in ["list_after = '1ms'", "list_gap = '2ms'", "wait = '1ms'", "[schedule]\nverify = 'off'"] {
        home.configure_more(setting);
    }
    let service = Service::start(&home);
    let (lead, api) = (service.login("lead", &password), service.client(&token));
    let orders = plain(&sim, 3);
    let batch_of = |n: usize| {
        let path = planned(&lead, &file_of(&orders[n..=n], 0));
        applied(&lead, &api, &path);
        path
    };
    let verify_until = |id: &str, state: &str| {
        wait_until(state, || home.run(&["verify", id, "--json"]).state() == state);
    };

    let confirmed = batch_of(0);
    verify_until("1", "confirmed");
    has(&lead, &api, &confirmed, "confirmed", "done");
    // The test changes the stored outcome to a final outcome.
    applied(&lead, &api, &confirmed);
    has(&lead, &api, &confirmed, "already_retracted", "done");
    for reward in orders[0].reward_ids() {
        sim.rewrite(&reward, &serde_json::json!({"set": {"dateCancelled": null, "statuses": ["AVAILABLE"]}}));
    }
    verify_until("1", "unconfirmed");
    has(&lead, &api, &confirmed, "unconfirmed", "1 open");

    sim.post("set?delete-fault=reset-before");
    let lost = batch_of(1);
    verify_until("2", "not_received");
    applied(&lead, &api, &lost);
    has(&lead, &api, &lost, "failed", "1 failed");
    for reward in orders[1].reward_ids() {
        sim.cancel_reward(&reward);
    }
    verify_until("2", "confirmed");
    has(&lead, &api, &lost, "confirmed", "done");

    sim.post("set?delete-fault=400");
    let refused = batch_of(2);
    has(&lead, &api, &refused, "failed", "1 failed");
    sim.post("set?delete-fault=none");
    home.check(&["retract", &orders[2].order, "--yes", "--resend", "--reason", "mended", "--wait", "30s"], 0);
    has(&lead, &api, &refused, "confirmed", "done");
}

#[test]
fn a_batch_that_ended_early_is_not_done_and_goes_on_from_its_page() {
    let (sim, home) = ready(&["--delete-fault", "401"]);
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let (lead, api) = (service.login("lead", &password), service.client(&token));
    let path = planned(&lead, &file_of(&plain(&sim, 3), 0));
    applied(&lead, &api, &path);
    for page in ["/", "/batch", &path] {
        let shown = lead.get(page).body;
        assert!(shown.contains(">3 not attempted</") && shown.contains(&path), "{page}: {shown}");
        assert!(!shown.contains(">done</") && !shown.contains("word good"), "{page}: {shown}");
    }
    let page = lead.get(&path).body;
    assert!(page.contains("<p class=\"notice open\"") && page.contains("<button class=\"danger\">Continue"), "{page}");
    let batch = of_api(&api, &path);
    assert_eq!((&batch["left"], &batch["open"], &batch["sent"]), (&3.into(), &0.into(), &0.into()), "{batch}");
    sim.post("set?delete-fault=none");
    applied(&lead, &api, &path);
    wait_until("it is done", || lead.get(&path).body.contains(">done<"));
    let batch = of_api(&api, &path);
    assert_eq!((&batch["left"], &batch["sent"]), (&0.into(), &3.into()), "{batch}");
    assert!(lead.get("/").body.contains("Nothing waits for you."));
}

#[test]
fn a_failed_row_is_no_good_news() {
    let (sim, home) = ready(&["--delete-fault", "400"]);
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let (lead, api) = (service.login("lead", &password), service.client(&token));
    let path = planned(&lead, &file_of(&plain(&sim, 1), 0));
    applied(&lead, &api, &path);
    let page = lead.get(&path).body;
    assert!(page.contains("<p class=\"notice bad\"") && page.contains(">1 failed</strong>"), "{page}");
    assert!(lead.get("/batch").body.contains("<span class=\"word bad\">1 failed</span>"));
}

#[test]
fn a_batch_that_cannot_be_read_is_in_every_list_with_the_reason() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it changes the files of a batch") {
        return;
    }
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let (lead, api) = (service.login("lead", &password), service.client(&token));
    let orders = plain(&sim, 2);
    let [damaged, cut] = [0, 1].map(|n| planned(&lead, &file_of(&orders[n..=n], 0)));
    std::fs::write(stored(&home, &damaged), b"{").expect("damage");
    applied(&lead, &api, &cut);
    std::fs::write(stored(&home, &cut).with_extension("outcomes"), b"[").expect("damage");
    let (cookie, csrf) = (lead.cookie.clone(), lead.csrf.clone());
    assert_eq!(service.end(), Some(0));
    let service = Service::start(&home);
    let (lead, api) = (Browser { service: &service, cookie, csrf }, service.client(&token));
    for page in ["/", "/batch"] {
        let shown = lead.get(page).body;
        assert_eq!(shown.matches(">cannot be read</span>").count(), 2, "{page}: {shown}");
        assert!(shown.contains(&damaged) && shown.contains(&cut), "{page}: {shown}");
    }
    assert!(lead.get("/batch").body.contains("are damaged"));
    let listed = api.list("/api/v1/batches?stage=unreadable");
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.iter().all(|one| one["message"].as_str().is_some_and(|why| why.contains("damaged"))), "{listed:?}");
    // Applying the plan again writes the outcomes again.
    let page = lead.get(&cut).body;
    assert!(page.contains("are damaged") && page.contains("/apply"), "{page}");
    applied(&lead, &api, &cut);
    assert!(lead.get(&cut).body.contains("Download the outcomes"));
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_list_of_batches_has_a_next_page_although_a_batch_of_the_first_cannot_be_read() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it changes the files of a batch") {
        return;
    }
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    let path = planned(&lead, &file_of(&plain(&sim, 1), 0));
    let file = stored(&home, &path);
    let mut batch: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("the description")).expect("JSON");
    for n in 0..51 {
        let id = format!("20260101-{n:02}");
        batch["id"] = id.clone().into();
        let text = if n < 3 { "{".to_owned() } else { batch.to_string() };
        std::fs::write(file.with_file_name(format!("{id}.json")), text).expect("it is stored");
    }
    let lines = |page: &str| lead.get(page).body.matches("<th scope=\"row\"").count();
    assert_eq!((lines("/batch"), lines("/batch?page=2"), lines("/batch?page=3")), (50, 2, 0));
    assert!(lead.get("/batch").body.contains("/batch?page=2") && !lead.get("/batch?page=2").body.contains("page=3"));
}

#[test]
fn a_lead_reads_on_every_page_that_their_batch_has_ended_until_they_open_it() {
    let (sim, home) = ready(&[]);
    let passwords = ["lead", "other"].map(|name| add_user(&home, name, "lead"));
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let api = service.client(&token);
    let [lead, other] = [("lead", 0), ("other", 1)].map(|(name, n)| service.login(name, &passwords[n]));
    let path = planned(&lead, &file_of(&plain(&sim, 1), 0));
    assert!(!lead.get("/").body.contains("Your batch has ended"));
    applied(&lead, &api, &path);
    wait_until("it has ended", || lead.get("/").body.contains("Your batch has ended"));
    for page in ["/history", "/lookup", "/approvals", "/batch", "/health"] {
        let shown = lead.get(page).body;
        assert!(shown.contains(&format!("<a href=\"{path}\">see what became of its orders</a>")), "{page}: {shown}");
        assert!(!other.get(page).body.contains("Your batch has ended"), "{page}");
    }
    other.get(&path);
    assert!(!lead.get(&path).body.contains("Your batch has ended"));
    assert!(!lead.get("/history").body.contains("Your batch has ended"));
}

#[test]
fn a_batch_that_was_broken_off_is_in_the_work_queue_and_counts_what_it_has_sent() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it changes the files of a batch") {
        return;
    }
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "lead", &["batch"]);
    let service = Service::start(&home);
    let (lead, api) = (service.login("lead", &password), service.client(&token));
    let path = planned(&lead, &file_of(&plain(&sim, 2), 0));
    applied(&lead, &api, &path);
    // The process dies after the last send, and stores no outcome of it.
    restore(&home, &path, |batch| {
        (batch["stage"], batch["sent"]) = ("applying".into(), 0.into());
        batch.as_object_mut().expect("an object").remove("ended_at");
    });
    let start = lead.get("/").body;
    assert!(start.contains(&path) && start.contains("<span class=\"word bad\">broken off</span>"), "{start}");
    assert!(lead.get(&path).body.contains("<dt>Sent</dt><dd>2</dd>"), "{}", lead.get(&path).body);
    assert_eq!(of_api(&api, &path)["sent"], 2);
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
