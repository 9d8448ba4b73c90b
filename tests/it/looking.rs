//! Tests of looking at orders on the page and in the API: how many requests it costs, and that it shows the newest
//! known states.

use serde_json::{Value, json};

use crate::service::{Browser, Service, add_token, add_user, percent_encoded};
use crate::support::{Home, Sim, ready, wait_until};

fn quota_of(home: &Home, host: &str) -> Value {
    let status = home.check(&["status", "--json"], 0).object();
    let lines = status["quota"].as_array().cloned().expect("a list");
    lines.into_iter().find(|line| line["host"].as_str().is_some_and(|name| name.starts_with(host))).expect("the host")
}

/// Configures the quota of both hosts, and short waits.
fn configure(home: &Home, quota: &str) {
    let host = format!("timeout = '5s'\nbackoff = '5ms'\n{quota}\n");
    home.configure(&format!(
        "[advocate]\n{host}[brand]\n{host}[retract]\nfirst_poll = '10ms'\nmax_poll = '50ms'\nwait = '5s'\nsettle = '10s'\n"
    ));
}

/// Turns off the scheduled jobs, which would read the vendor when the service starts, at the same time as the test.
fn without_jobs(home: &Home) {
    home.configure_more("[schedule]\nrefresh = 'off'\nverify = 'off'");
}

/// Counts the requests about orders that the simulator received. The service's scheduled jobs send no requests about
/// orders.
fn asked(sim: &Sim) -> u64 {
    let all = sim.record()["requests"].clone();
    let names = ["GET reward", "GET reward by id", "GET referral by id", "GET action", "GET submission"];
    names.iter().filter_map(|name| all[*name].as_u64()).sum()
}

fn verdict(browser: &Browser<'_>, order: &str) -> String {
    browser.get(&format!("/preflight?order={}&part=1", percent_encoded(order))).body
}

/// Retracts an order on the page, and waits until it is confirmed.
fn retract_and_confirm(browser: &Browser<'_>, order: &str) -> String {
    let sent = browser.retract(order);
    assert_eq!(sent.status, 303, "{}", sent.body);
    let receipt = || browser.get(&format!("/receipt?order={}", percent_encoded(order))).body;
    wait_until("it is confirmed", || receipt().contains("<strong class=\"state\">confirmed</strong>"));
    receipt()
}

#[test]
fn looking_at_one_order_fifty_times_costs_one_preflight_and_no_reserve() {
    let (sim, home) = ready(&[]);
    // `doctor` reads the program rule, which recoup caches for an hour.
    home.check(&["doctor"], 0);
    configure(&home, "quota = '2000/h'\nreserve = 0.5");
    without_jobs(&home);
    let agent = add_user(&home, "agent", "agent");
    let token = format!("Bearer {}", add_token(&home, "agent", &["preflight"]));
    let order = sim.example("plain").order_id;
    let link = percent_encoded(&order);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let before = asked(&sim);
    for n in 0..50 {
        let path = match n % 3 {
            0 => format!("/preflight?order={link}"),
            1 => format!("/preflight?order={link}&part=1"),
            _ => format!("/retract?order={link}"),
        };
        assert!(agent.get(&path).body.contains("It can be retracted"), "{path}");
        let answer = service.get(&format!("/api/v1/preflight?order_id={link}"), &[("Authorization", &token)]);
        assert_eq!(answer.json()["retractions"][0]["state"], "would_send", "{}", answer.body);
        assert!(answer.header("age").parse::<u64>().is_ok(), "{answer:?}");
    }
    // One preflight costs four requests: the rewards of two accounts, their referral, and the action.
    assert_eq!(asked(&sim) - before, 4);
    assert_eq!(service.end(), Some(0));
    for (host, requests) in [("advocate", 3), ("brand", 1)] {
        let quota = quota_of(&home, host);
        assert_eq!(
            (&quota["last_hour_retraction"], &quota["last_hour_looking"]),
            (&json!(0), &json!(requests)),
            "{quota}"
        );
    }
    assert!(quota_of(&home, "brand")["left"].as_u64().is_some_and(|left| left >= 1000), "the reserve is whole");
}

#[test]
fn if_only_the_reserve_is_left_looking_says_so_and_a_retraction_is_sent() {
    let (sim, home) = ready(&[]);
    let agent = add_user(&home, "agent", "agent");
    let token = format!("Bearer {}", add_token(&home, "agent", &["preflight"]));
    let order = sim.example("plain").order_id;
    let link = percent_encoded(&order);
    // The quota leaves only the reserve after the requests of the crawl.
    let used = quota_of(&home, "advocate")["used"].as_u64().expect("a count");
    configure(&home, &format!("quota = '{}/h'", used + 40));
    let service = Service::start(&home);
    let browser = service.login("agent", &agent);
    let before = asked(&sim);
    for _ in 0..20 {
        let refused = verdict(&browser, &order);
        assert!(refused.contains("only the reserve for retractions is left"), "{refused}");
        assert!(refused.contains("Retract without looking first…"), "{refused}");
        let answer = service.get(&format!("/api/v1/preflight?order_id={link}"), &[("Authorization", &token)]);
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (429, Some("parked")), "{}", answer.body);
    }
    assert_eq!(asked(&sim), before);
    assert_eq!(quota_of(&home, "advocate")["left"], 40, "the reserve is whole");
    let begin = browser.get(&format!("/retract?order={link}")).body;
    assert!(begin.contains("The order was not read now") && begin.contains("Show exactly"), "{begin}");
    retract_and_confirm(&browser, &order);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_look_that_the_quota_ended_is_not_repeated_at_the_other_host() {
    let (sim, home) = ready(&[]);
    let agent = add_user(&home, "agent", "agent");
    let order = sim.example("plain").order_id;
    let host = "timeout = '5s'\nbackoff = '5ms'\n";
    home.configure(&format!("[advocate]\n{host}[brand]\n{host}quota = '9/h'\nreserve = 0.9\n"));
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    let refused = verdict(&agent, &order);
    assert!(refused.contains("only the reserve for retractions is left"), "{refused}");
    let after_one = asked(&sim);
    for _ in 0..10 {
        assert_eq!(verdict(&agent, &order), refused);
    }
    assert_eq!(asked(&sim), after_one);
}

#[test]
fn a_kept_preflight_is_not_shown_after_another_process_has_sent_the_order() {
    let (sim, home) = ready(&[]);
    let agent = add_user(&home, "agent", "agent");
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    assert!(verdict(&agent, &order).contains("It can be retracted"));
    home.check(&["retract", &order, "--yes"], 0);
    assert!(verdict(&agent, &order).contains("There is nothing to send"));
    if home.skip_on_server("the rest removes the ledger's file") {
        return;
    }
    // The test removes the ledger. A cached preflight must not hide that nothing can be sent.
    for file in ["recoup-ledger.db", "recoup-ledger.db-wal", "recoup-ledger.db-shm"] {
        drop(std::fs::remove_file(home.path(file)));
    }
    let refused = verdict(&agent, &order);
    assert!(refused.contains("there is no ledger at this path"), "{refused}");
}

#[test]
fn a_confirmed_order_is_asked_about_only_if_the_reader_wants_it() {
    let (sim, home) = ready(&[]);
    without_jobs(&home);
    let agent = add_user(&home, "agent", "agent");
    let order = sim.example("plain").order_id;
    let link = percent_encoded(&order);
    let service = Service::start(&home);
    let agent = service.login("agent", &agent);
    retract_and_confirm(&agent, &order);
    // The service may still be reading the state of the retraction.
    let mut before = asked(&sim);
    wait_until("nothing is asked any more", || {
        let now = asked(&sim);
        std::mem::replace(&mut before, now) == now
    });
    for _ in 0..10 {
        let page = agent.get(&format!("/lookup?orders={link}")).body;
        assert!(page.contains("Ask impact.com now"), "{page}");
        assert!(verdict(&agent, &order).contains("There is nothing to send"));
    }
    assert_eq!(asked(&sim), before, "nothing was asked");
    let ask = || agent.post("/lookup/again", &[("order", order.as_str())]);
    assert_eq!(ask().header("location"), format!("/lookup?orders={link}"));
    let after = asked(&sim);
    assert_ne!(after, before, "it was asked");
    assert_eq!(ask().status, 303);
    assert_eq!(asked(&sim), after, "once a minute");
    assert_eq!(agent.post("/lookup/again", &[("order", "nothing")]).status, 400);
    assert_eq!(service.end(), Some(0));
    assert!(quota_of(&home, "advocate")["last_hour_looking"].as_u64().is_some_and(|n| n > 0));
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn after_a_confirmed_retraction_every_place_shows_the_state_that_is_known_now() {
    let (sim, home) = ready(&[]);
    let agent = add_user(&home, "agent", "agent");
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup", "preflight"]));
    let order = sim.example("plain").order_id;
    let link = percent_encoded(&order);
    if home.skip_on_server("it restores a copy of the index's file") {
        return;
    }
    let older = std::fs::read(home.database()).expect("the index before the retraction");
    home.check(&["retract", &order, "--yes"], 0);
    // In the first round of the test, the index is the newest. In the second round, the index is from before the
    // retraction, so only the ledger has the newest state.
    for is_old in [false, true] {
        if is_old {
            for log in ["recoup.db-wal", "recoup.db-shm"] {
                drop(std::fs::remove_file(home.path(log)));
            }
            std::fs::write(home.database(), &older).expect("an older index");
        }
        let service = Service::start(&home);
        let agent = service.login("agent", &agent);
        let command = home.check(&["lookup", &order, "--json"], 0).object();
        let answer = service.get(&format!("/api/v1/lookup?order_id={link}"), &[("Authorization", &token)]).json();
        let live = service.get(&format!("/api/v1/preflight?order_id={link}"), &[("Authorization", &token)]).json();
        let ledger = home.check(&["status", "--retraction", "1", "--json"], 0).object();
        let lists = [&command["matches"], &answer["matches"], &live["retractions"][0]["rewards"], &ledger["rewards"]];
        for list in lists {
            let list = list.as_array().expect("rewards");
            assert_eq!(list.len(), 2, "{list:?}");
            for reward in list {
                assert_eq!(reward["state"], "cancelled", "{is_old}: {reward}");
                let as_of = reward.get("read_at").unwrap_or(&reward["as_of"]);
                assert!(as_of.as_str() > ledger["sent_at"].as_str(), "{is_old}: {reward}");
            }
        }
        let text = home.check(&["lookup", &order], 0).stdout;
        assert!(text.contains("as of") && text.contains("cancelled") && !text.contains("available"), "{text}");
        for page in [format!("/lookup?orders={link}"), format!("/preflight?order={link}&part=1")] {
            let body = agent.get(&page).body;
            assert_eq!(body.matches("<strong>cancelled</strong>").count(), 2, "{page}: {body}");
            assert!(body.matches("<time datetime=\"20").count() >= 2, "{page}: {body}");
            assert!(!body.contains("<strong>available<") && !body.contains("<strong>pending<"), "{page}: {body}");
        }
    }
}

#[test]
fn a_newer_index_corrects_the_state_on_a_receipt() {
    let (sim, home) = ready(&[]);
    without_jobs(&home);
    let agent = add_user(&home, "agent", "agent");
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup"]));
    let example = sim.example("plain");
    home.check(&["retract", &example.order_id, "--yes"], 0);
    sim.rewrite(&example.reward_ids[0], &json!({"set": {"dateCancelled": null}}));
    home.crawl();
    let service = Service::start(&home);
    let command = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    let answer = service.get("/api/v1/retractions/1", &[("Authorization", &token)]).json();
    for entry in [command, answer] {
        let rewards = entry["rewards"].as_array().cloned().expect("rewards");
        let one = rewards.iter().find(|one| one["reward_id"] == example.reward_ids[0].as_str()).expect("it");
        assert_eq!((&one["after"], &one["state"]), (&json!("cancelled"), &json!("available")), "{one}");
        assert!(one["as_of"].as_str() > entry["confirmed_at"].as_str(), "{one}");
    }
    let receipt = service.login("agent", &agent).get(&format!("/receipt?order={}", percent_encoded(&example.order_id)));
    assert!(receipt.body.contains("data-label=\"Now\">available</td>"), "{}", receipt.body);
}

#[test]
fn the_ticket_text_of_a_fresh_receipt_has_the_ledger_s_head_and_no_earlier_send() {
    let (sim, home) = ready(&[]);
    let agent = add_user(&home, "agent", "agent");
    let service = Service::start(&home);
    let order = sim.example("plain").order_id;
    let receipt = retract_and_confirm(&service.login("agent", &agent), &order);
    let (_, text) = receipt.split_once("id=\"receipt-text\">").expect("the text");
    let text = text.split_once("</pre>").expect("its end").0;
    assert!(!text.contains("nothing was sent now"), "{text}");
    let (_, head) = text.split_once(", head ").unwrap_or_else(|| panic!("no head: {text}"));
    let head = head.split_whitespace().next().expect("a hash");
    home.check(&["audit", "verify", "--head", head], 0);
}

#[test]
fn a_stop_has_no_button_to_retract() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    let order = sim.example("all_redeemed").order_id;
    home.check(&["retract", &order, "--dry-run"], 5);
    let service = Service::start(&home);
    let agent = verdict(&service.login("agent", &passwords[0]), &order);
    assert!(agent.contains("a check stops it") && agent.contains("A lead may override this stop"), "{agent}");
    assert!(!agent.contains("/retract?") && !agent.contains("Retract…"), "{agent}");
    let lead = verdict(&service.login("lead", &passwords[1]), &order);
    assert!(lead.contains("class=\"button second\"") && lead.contains("Override the stop…"), "{lead}");
    assert!(!lead.contains("Retract…"), "{lead}");
    // The remedy of a warning is hidden, because it says to send the retraction although a stop forbids that.
    assert!(lead.contains("old-conversion") && !lead.contains("send it"), "{lead}");
}

#[test]
fn the_page_has_words_where_the_api_has_codes() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "agent", "agent");
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup", "preflight"]));
    let example = sim.example("partly_redeemed");
    for id in &example.reward_ids {
        sim.rewrite(id, &json!({"set": {"currency": "USD"}}));
    }
    home.crawl();
    let link = percent_encoded(&example.order_id);
    let service = Service::start(&home);
    let agent = service.login("agent", &password);
    for page in [format!("/lookup?orders={link}"), format!("/preflight?order={link}&part=1")] {
        let body = agent.get(&page).body;
        for words in ["partly redeemed", "referrer", ".00 USD"] {
            assert!(body.contains(words), "{words}: {body}");
        }
        for code in ["partly_redeemed", "REFERRED", "CENTS"] {
            assert!(!body.contains(&format!(">{code}")) && !body.contains(&format!(" {code}<")), "{code}: {body}");
        }
    }
    let answer = service.get(&format!("/api/v1/lookup?order_id={link}"), &[("Authorization", &token)]).body;
    assert!(["partly_redeemed", "REFERRED", "CENTS"].iter().all(|code| answer.contains(code)), "{answer}");
}

#[test]
fn different_accounts_of_one_screen_look_different_and_are_not_named() {
    let (sim, home) = ready(&[]);
    let token = format!("Bearer {}", add_token_of_new_agent(&home));
    let service = Service::start(&home);
    let mut accounts: Vec<(String, String)> = Vec::new();
    for one in sim.truth().iter().take(300) {
        let Some(order) = one["order_ids"][0].as_str() else { continue };
        let path = format!("/api/v1/lookup?order_id={}", percent_encoded(order));
        let masked = service.get(&path, &[("Authorization", &token)]).json();
        let shown = service.get(&format!("{path}&accounts=shown"), &[("Authorization", &token)]).json();
        let ids = |answer: &Value| -> Vec<String> {
            let matches = answer["matches"].as_array().cloned().unwrap_or_default();
            matches.iter().filter_map(|found| found["account_id"].as_str().map(str::to_owned)).collect()
        };
        let pairs: Vec<(String, String)> = ids(&masked).into_iter().zip(ids(&shown)).collect();
        for (mask, account) in &pairs {
            assert!(pairs.iter().all(|(other, of)| (other == mask) == (of == account)), "{order}: {pairs:?}");
            assert!(!mask.contains(account.as_str()), "{mask}");
        }
        accounts.extend(pairs);
    }
    assert!(accounts.iter().any(|(mask, _)| mask.ends_with("(2)")), "no two were alike: {accounts:?}");
}

fn add_token_of_new_agent(home: &Home) -> String {
    add_user(home, "agent", "agent");
    add_token(home, "agent", &["lookup", "accounts"])
}
