//! Tests of look-ups on the page: the search box, an order on one screen, links and reasons of the settings, and
//! several orders.

use crate::service::{Browser, Service, add_user, field, percent_encoded};
use crate::support::{Home, Sim, os_user, ready, wait_until};

/// Returns the fingerprints of the plans in a form.
fn plans(html: &str) -> Vec<String> {
    let values = html.split("name=\"seen\" value=\"").skip(1);
    values.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect()
}

fn lookup(browser: &Browser<'_>, text: &str) -> String {
    browser.get(&format!("/lookup?orders={}", percent_encoded(text))).body
}

fn confirmed(browser: &Browser<'_>, order: &str) {
    let receipt = || browser.get(&format!("/receipt?order={}", percent_encoded(order))).body;
    wait_until("it is confirmed", || receipt().contains("<strong class=\"state\">confirmed</strong>"));
}

/// Prepares a crawled tenant, and returns the passwords of an agent and a lead.
fn team(flags: &[&str]) -> (Sim, Home, [String; 2]) {
    let (sim, home) = ready(flags);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    (sim, home, passwords)
}

#[test]
fn every_page_has_the_search_box_and_it_finds_any_id() {
    let (sim, home, [agent, lead]) = team(&[]);
    let (example, other) = (sim.example("plain"), sim.another("plain").order_id);
    let link = percent_encoded(&example.order_id);
    home.check(&["retract", &other, "--yes", "--ticket", "SUP-4711"], 0);
    let service = Service::start(&home);
    let lead = service.login("lead", &lead);
    let pages = ["/", "/lookup", "/history", "/approvals", "/batch", "/health", "/password"].map(str::to_owned);
    let of_order = ["/preflight?order=", "/retract?order="].map(|path| format!("{path}{link}"));
    for path in pages.iter().chain(&of_order) {
        let page = lead.get(path);
        assert_eq!((page.status, page.body.matches("id=\"orders\"").count()), (200, 1), "{path}");
    }
    let agent = service.login("agent", &agent);
    for id in [&example.action_ids[0], &example.reward_ids[0]] {
        let page = lookup(&agent, id);
        assert!(page.contains("This is not an order ID.") && page.contains(&link), "{id}: {page}");
    }
    let ticket = lookup(&agent, " SUP-4711 ");
    assert!(ticket.contains("It is the ticket of a retraction of:"), "{ticket}");
    assert!(ticket.contains(&format!("/lookup?orders={}", percent_encoded(&other))), "{ticket}");
    assert!(!ticket.contains("not a referral"), "{ticket}");
    let unknown = lookup(&agent, "SUP-4712");
    assert!(unknown.contains("This is not a referral order.") && !unknown.contains("ticket of"), "{unknown}");
}

#[test]
fn an_order_shows_verdict_rewards_and_history_in_this_order() {
    let (sim, home, [agent, _]) = team(&[]);
    let example = sim.example("plain");
    let link = percent_encoded(&example.order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let part = agent.get(&format!("/preflight?order={link}&part=1")).body;
    let places =
        ["It can be retracted", "Retract…", "<table class=\"cards\">"].map(|text| part.find(text).expect(text));
    assert!(places.is_sorted() && part.matches("<table class=\"cards\">").count() == 1, "{part}");
    assert!(part.find("Program rule and referral") > part.find("</table>"), "{part}");
    for id in example.reward_ids.iter().chain(&example.action_ids) {
        assert!(part.contains(&format!("data-copy-text=\"{id}\"")), "{id}: {part}");
    }
    assert!(part.contains("•••") && !part.contains("@example.com"), "accounts are masked: {part}");
    let shown = agent.get(&format!("/preflight?order={link}&part=1&accounts=shown")).body;
    assert!(shown.contains("@example.com"), "{shown}");
    agent.retract(&example.order_id);
    confirmed(&agent, &example.order_id);
    let page = lookup(&agent, &example.order_id);
    let places =
        ["<strong>confirmed</strong>", "<table class=\"cards\">", "<h2>History</h2>", "Events of retraction 1"]
            .map(|text| page.find(text).expect(text));
    assert!(places.is_sorted(), "{page}");
    assert!(page.contains("by agent, ticket T-1: refunded"), "{page}");
    // Times are `time` elements, which the script converts to the reader's time zone.
    assert!(!page.contains("as read 2") && page.contains(", as read <time datetime="), "{page}");
    assert!(page.contains("As of <time datetime="), "{page}");
}

#[test]
fn several_actions_are_chosen_in_place() {
    let (sim, home, [agent, _]) = team(&[]);
    let example = sim.example("two_actions");
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let page = lookup(&agent, &example.order_id);
    for id in &example.action_ids {
        assert!(page.contains(&format!("type=\"radio\" name=\"action\" value=\"{id}\"")), "{id}: {page}");
    }
    // The queries that the browser sends for one chosen action, and for all actions.
    let link = percent_encoded(&example.order_id);
    let chosen = percent_encoded(&example.action_ids[1]);
    let one = agent.get(&format!("/preflight?order={link}&all=1&action={chosen}&part=1")).body;
    assert!(one.contains("It can be retracted") && one.contains(&example.action_ids[1]), "{one}");
    assert!(!one.contains(&example.action_ids[0]), "{one}");
    let all = agent.get(&format!("/preflight?order={link}&all=1&action=&part=1")).body;
    assert!(example.action_ids.iter().all(|id| all.contains(id)) && all.contains("&#38;all=1"), "{all}");
}

#[test]
fn links_and_reasons_come_from_the_settings() {
    let (sim, home, [agent, _]) = team(&[]);
    let example = sim.example("plain");
    let service = Service::start(&home);
    let before = lookup(&service.login("agent", &agent), &example.order_id);
    assert!(!before.contains("in the shop") && !before.contains("target=\"_blank\""), "{before}");
    drop(service);
    home.configure_more(
        "[serve]\nreasons = ['returned', 'cancelled before shipping']\n\
         shop_order_url = 'https://shop.example/admin/{order_id}?tab=1'\n\
         vendor_action_url = 'https://vendor.example/action/{action_id}'",
    );
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let page = lookup(&agent, &example.order_id);
    let escaped = percent_encoded(&example.order_id);
    assert!(page.contains(&format!("href=\"https://shop.example/admin/{escaped}?tab=1\"")), "{page}");
    assert!(page.contains(&format!("href=\"https://vendor.example/action/{}\"", example.action_ids[0])), "{page}");
    assert!(page.contains("rel=\"noopener noreferrer\""), "{page}");
    let begin = agent.get(&format!("/retract?order={escaped}")).body;
    assert!(begin.contains("<option>cancelled before shipping</option>"), "{begin}");
    let review = |fields: &[(&str, &str)]| {
        let mut all = vec![("order", example.order_id.as_str())];
        all.extend(fields);
        agent.post("/retract/review", &all)
    };
    let reason = |fields: &[(&str, &str)]| field(&review(fields).body, "reason").unwrap_or_default();
    assert_eq!(reason(&[("preset", "returned"), ("reason", "")]), "returned");
    assert_eq!(reason(&[("preset", "returned"), ("reason", "the box was open")]), "returned: the box was open");
    assert_eq!(reason(&[("preset", ""), ("reason", "mine")]), "mine");
    let missing = review(&[("preset", ""), ("reason", " ")]);
    assert!(missing.status == 400 && missing.body.contains("choose one, or write your own"), "{}", missing.body);
}

#[test]
fn a_form_without_a_reason_comes_back_with_what_was_entered() {
    let (sim, home, [agent, _]) = team(&[]);
    home.configure_more("[serve]\nreasons = ['returned']");
    let (one, other) = (sim.example("plain").order_id, sim.example("two_actions").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let entered = [("order", one.as_str()), ("preset", ""), ("reason", ""), ("ticket", "SUP-1"), ("disposition", "X9")];
    let mut several = vec![("order", other.as_str())];
    several.extend(entered);
    for (path, fields) in [("/retract/review", &entered[..]), ("/retract/several/review", &several[..])] {
        let page = agent.post(path, fields);
        assert!(page.status == 400 && page.body.contains("A retraction needs a reason"), "{path}: {}", page.body);
        assert!(page.body.contains(&format!("action=\"{path}\"")), "{}", page.body);
        assert_eq!(field(&page.body, "ticket").as_deref(), Some("SUP-1"), "{path}");
        assert_eq!(field(&page.body, "disposition").as_deref(), Some("X9"), "{path}");
        let orders = fields.iter().filter(|(name, _)| *name == "order").count();
        assert_eq!(page.body.matches("name=\"order\"").count(), orders, "{path}: {}", page.body);
        assert!(page.body.contains("<option>returned</option>"), "{}", page.body);
    }
}

#[test]
fn a_link_that_could_lead_elsewhere_is_refused() {
    let (_sim, home) = ready(&[]);
    let written = std::fs::read_to_string(home.path("recoup.toml")).expect("the settings");
    for (line, why) in [
        ("shop_order_url = 'https://shop.example/admin'", "has no {order_id}"),
        ("shop_order_url = 'javascript:alert({order_id})'", "is not a URL of http or https"),
        ("vendor_action_url = 'https://{action_id}.example/'", "is not a URL"),
        ("reasons = ['']", "is not one line of text"),
    ] {
        home.configure(&format!("{written}\n[serve]\n{line}\n"));
        let ran = home.check(&["config", "show"], 3);
        assert!(ran.stderr.contains("[serve] ") && ran.stderr.contains(why), "{line}: {}", ran.stderr);
    }
}

#[test]
fn several_orders_are_checked_and_retracted_in_one_flow() {
    let (sim, home, [agent, _]) = team(&[]);
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let (redeemed, ambiguous) = (sim.example("all_redeemed").order_id, sim.example("two_actions").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let text = [&one, &two, &redeemed, &ambiguous, &"nothing".to_owned()].map(String::as_str).join("\n");
    let unchecked = lookup(&agent, &text);
    assert!(unchecked.contains("Check all") && unchecked.contains("Not checked yet"), "{unchecked}");
    assert_eq!(unchecked.matches("class=\"listed\"").count(), 5, "{unchecked}");
    assert!(!unchecked.contains("type=\"checkbox\""), "only a checked order can be chosen");
    let checked = agent.post("/lookup/check", &[("orders", &text)]).body;
    assert_eq!(checked.matches("It can be retracted").count(), 2, "{checked}");
    assert_eq!(checked.matches("type=\"checkbox\" name=\"order\"").count(), 2, "{checked}");
    assert!(checked.contains("stop (redeemed)") && checked.contains("2 actions: choose one"), "{checked}");
    assert!(checked.contains("This is not a referral order."), "{checked}");
    assert!(sim.deletes().is_empty());

    let asked = [("order", one.as_str()), ("order", two.as_str()), ("reason", "refunded"), ("ticket", "T-9")];
    let review = agent.post("/retract/several/review", &asked);
    let seen = plans(&review.body);
    assert_eq!((review.status, seen.len()), (200, 2), "{}", review.body);
    let mut all = asked.to_vec();
    all.extend(seen.iter().map(|plan| ("seen", plan.as_str())));
    assert_eq!(agent.post("/retract/several/send", &all).status, 400, "the last step was left out");
    assert_eq!(agent.post("/retract/several/send", &[&asked[..], &[("yes", "1")]].concat()).status, 400, "no plan");
    assert!(sim.deletes().is_empty());
    all.push(("yes", "1"));
    let sent = sent_page(&agent, &all);
    assert_eq!(sent.matches(">Receipt</a>").count(), 2, "{sent}");
    for order in [&one, &two] {
        confirmed(&agent, order);
    }
    assert_eq!(sim.deletes().len(), 2);
    let ledger = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert_eq!((&ledger["person"], &ledger["ticket"]), (&"agent".into(), &"T-9".into()), "{ledger}");
    home.check(&["audit", "verify"], 0);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

/// Submits the last form of several orders, and follows the redirect.
#[track_caller]
fn sent_page(browser: &Browser<'_>, form: &[(&str, &str)]) -> String {
    let sent = browser.post("/retract/several/send", form);
    assert_eq!(sent.status, 303, "a reload must not submit the form again: {}", sent.body);
    let page = browser.get(sent.header("location"));
    assert_eq!(page.status, 200, "{}", page.body);
    page.body
}

#[test]
fn a_form_that_is_submitted_again_shows_what_was_sent_and_sends_nothing() {
    let (sim, home, [agent, lead]) = team(&[]);
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let service = Service::start(&home);
    let (agent, lead) = (service.login("agent", &agent), service.login("lead", &lead));
    let asked = [("order", one.as_str()), ("order", two.as_str()), ("reason", "refunded")];
    let seen = plans(&agent.post("/retract/several/review", &asked).body);
    let mut all = asked.to_vec();
    all.extend(seen.iter().map(|plan| ("seen", plan.as_str())));
    all.push(("yes", "1"));
    let first = agent.post("/retract/several/send", &all).header("location").to_owned();
    for order in [&one, &two] {
        confirmed(&agent, order);
    }
    let is_true = |page: &str| {
        assert_eq!(page.matches(">Receipt</a>").count(), 2, "{page}");
        assert_eq!(page.matches(">confirmed</span>").count(), 2, "{page}");
        assert!(!page.to_lowercase().contains("nothing was sent"), "{page}");
    };
    is_true(&agent.get(&first).body);
    is_true(&sent_page(&agent, &all));
    // The ledger is enough: also after a restart, and for another user.
    is_true(&lead.get(&first).body);

    let order = plain_orders(&sim).pop().expect("a third order");
    let asked = [("order", order.as_str()), ("reason", "refunded"), ("disposition", "RETRACTION")];
    let review = agent.post("/retract/review", &asked).body;
    let seen = field(&review, "seen").expect("the name of the plan");
    let single = [&asked[..], &[("yes", "1"), ("seen", seen.as_str())]].concat();
    for _ in 0..2 {
        let sent = agent.post("/retract/send", &single);
        assert!(sent.header("location").starts_with("/receipt?order="), "{} {}", sent.status, sent.body);
    }
    assert_eq!(sim.deletes().len(), 3);
}

#[test]
fn orders_that_were_submitted_twice_at_once_are_not_called_unsent() {
    let (sim, home, [agent, _]) = team(&[]);
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let asked = [("order", one.as_str()), ("order", two.as_str()), ("reason", "refunded")];
    let seen = plans(&agent.post("/retract/several/review", &asked).body);
    let mut all = asked.to_vec();
    all.extend(seen.iter().map(|plan| ("seen", plan.as_str())));
    all.push(("yes", "1"));
    let pages: Vec<String> = std::thread::scope(|scope| {
        let both: Vec<_> = (0..2).map(|_| scope.spawn(|| sent_page(&agent, &all))).collect();
        both.into_iter().map(|page| page.join().expect("a page")).collect()
    });
    for order in [&one, &two] {
        confirmed(&agent, order);
    }
    assert_eq!(sim.deletes().len(), 2);
    for page in pages {
        assert_eq!(page.matches(">Receipt</a>").count(), 2, "{page}");
    }
}

#[test]
fn a_changed_plan_among_several_is_not_sent() {
    let (sim, home, [agent, _]) = team(&[]);
    let (one, two) = (sim.example("plain"), sim.another("plain").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let asked = [("order", one.order_id.as_str()), ("order", two.as_str()), ("reason", "refunded")];
    let seen = plans(&agent.post("/retract/several/review", &asked).body);
    sim.post(&format!("redeem?id={}", one.reward_ids[0]));
    let mut all = asked.to_vec();
    all.extend(seen.iter().map(|plan| ("seen", plan.as_str())));
    all.push(("yes", "1"));
    let sent = sent_page(&agent, &all);
    assert!(sent.contains("the plan has changed") && sent.matches(">Receipt</a>").count() == 1, "{sent}");
    confirmed(&agent, &two);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn no_order_is_sent_after_one_whose_outcome_is_unknown() {
    let (sim, home, [agent, _]) = team(&["--delete-fault", "reset-before"]);
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let asked = [("order", one.as_str()), ("order", two.as_str()), ("reason", "refunded")];
    let seen = plans(&agent.post("/retract/several/review", &asked).body);
    let mut all = asked.to_vec();
    all.extend(seen.iter().map(|plan| ("seen", plan.as_str())));
    all.push(("yes", "1"));
    let sent = sent_page(&agent, &all);
    assert!(sent.contains("unknown") && sent.contains("Not attempted"), "{sent}");
    let known = home.check(&["status", "--json"], 0).object();
    assert_eq!(known["retractions"], serde_json::json!({ "unknown": 1 }), "{known}");
}

#[test]
fn the_limits_of_the_second_person_apply_to_the_sum_of_several_orders() {
    let (sim, home, [agent, _]) = team(&[]);
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--count", "1"], 0);
    let (one, two) = (sim.example("plain").order_id, sim.another("plain").order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let asked = [("order", one.as_str()), ("order", two.as_str()), ("reason", "refunded")];
    let review = agent.post("/retract/several/review", &asked).body;
    assert!(review.contains("a second person must approve so much at once"), "{review}");
    assert!(review.contains("as a batch") && !review.contains("now</button>"), "{review}");
    // The test combines the plans of two forms with one order each in one request.
    let plan = |order: &str| {
        let review = agent.post("/retract/several/review", &[("order", order), ("reason", "refunded")]);
        plans(&review.body).pop().expect("a plan")
    };
    let (first, second) = (plan(&one), plan(&two));
    let mut all = asked.to_vec();
    all.extend([("seen", first.as_str()), ("seen", second.as_str()), ("yes", "1")]);
    let refused = agent.post("/retract/several/send", &all);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("more than the limit of 1"), "{}", refused.body);
    // The service refuses more orders than a form may have, and an order that is named twice.
    let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let fields: Vec<(&str, &str)> = many.iter().map(|id| ("order", id.as_str())).chain([("reason", "x")]).collect();
    assert_eq!(agent.post("/retract/several/review", &fields).status, 400);
    let twice = [("order", one.as_str()), ("order", one.as_str()), ("reason", "x"), ("yes", "1")];
    let twice = [&twice[..], &[("seen", first.as_str()), ("seen", first.as_str())]].concat();
    assert_eq!(agent.post("/retract/several/send", &twice).status, 400);
    assert!(sim.deletes().is_empty());
}

/// Returns order IDs that can be retracted.
fn plain_orders(sim: &Sim) -> Vec<String> {
    let examples: serde_json::Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
    let plain = examples["plain"].as_array().expect("a list");
    plain.iter().filter_map(|one| one["order_id"].as_str().map(str::to_owned)).collect()
}

/// Posts the review form of these orders and returns the page with their plans.
fn review(browser: &Browser<'_>, orders: &[String]) -> String {
    let mut fields: Vec<(&str, &str)> = orders.iter().map(|order| ("order", order.as_str())).collect();
    fields.push(("reason", "refunded"));
    browser.post("/retract/several/review", &fields).body
}

#[test]
fn more_than_three_orders_of_a_program_wait_for_a_proof_if_its_rule_cannot_be_read() {
    let (sim, home, [agent, _]) = team(&["--participants", "3000", "--program-rule", "forbidden"]);
    let orders = plain_orders(&sim);
    assert_eq!(orders.len(), 5, "{orders:?}");
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let refused = review(&agent, &orders[..4]);
    assert!(refused.contains("no retraction of it was confirmed in the last 30 days"), "{refused}");
    assert!(refused.contains("choose 3 orders") && !refused.contains("now</button>"), "{refused}");
    let three = review(&agent, &orders[..3]);
    assert!(three.contains("Retract 3 orders now"), "{three}");
    home.check(&["retract", &orders[0], "--yes"], 0);
    let proven = review(&agent, &orders[1..]);
    assert!(proven.contains("Retract 4 orders now"), "{proven}");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_limits_of_a_batch_apply_to_the_sum_of_several_orders() {
    let (sim, home, [agent, _]) = team(&[]);
    let orders = [sim.example("plain").order_id, sim.another("plain").order_id];
    for (limit, why) in [
        ("max_count = 1", "2 orders at once are too many: the limit is 1"),
        ("max_value = 6500", "at once are too much: the limit is 6500"),
    ] {
        let written = std::fs::read_to_string(home.path("recoup.toml")).expect("the settings");
        home.configure_more(limit);
        let service = Service::start(&home);
        let agent = service.login("agent", &agent);
        let refused = review(&agent, &orders);
        assert!(refused.contains(why) && !refused.contains("now</button>"), "{limit}: {refused}");
        let one = review(&agent, &orders[..1]);
        assert!(one.contains("Retract 1 order now"), "{limit}: {one}");
        home.configure(&written);
    }
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--value", "6500"], 0);
    let service = Service::start(&home);
    let refused = review(&service.login("agent", &agent), &orders);
    assert!(refused.contains("more than the limit of 6500"), "{refused}");
    assert!(sim.deletes().is_empty());
}
