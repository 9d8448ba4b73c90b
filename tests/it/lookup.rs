//! Tests of look-ups: exact matches, the coverage of the index in the answer, and live reads without a crawl.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready};

/// Runs a command with this standard input.
fn with_input(home: &Home, args: &[&str], input: &[u8]) -> Ran {
    let mut child = home.command(args).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("its standard input").write_all(input).expect("the input");
    Ran::of(args, child.wait_with_output().expect("it ends"))
}

/// Returns an order ID and its account ID; the order has one account, one order ID and one ActionId.
fn some_order(sim: &Sim) -> (String, String) {
    let truth = sim.truth();
    let is_single = |reward: &&Value| {
        ["order_ids", "action_ids"].iter().all(|key| reward[*key].as_array().is_some_and(|list| list.len() == 1))
    };
    let reward = truth.iter().find(is_single).expect("a reward with an order and an action");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&reward["order_ids"][0]), text(&reward["account_id"]))
}

#[test]
fn only_the_exact_order_matches_and_similar_ones_are_listed_apart() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain").order_id;
    let answer = home.check(&["lookup", &order, "--json"], 0).object();
    assert!(answer["matches"].as_array().is_some_and(|list| !list.is_empty()), "{answer}");
    for similar in [format!("#{order}"), format!(" {order}"), format!("00{order}")] {
        let ran = home.check(&["lookup", &similar, "--json"], 4);
        assert_eq!(ran.error_kind(), "not_indexed");
        let answer = ran.object();
        assert_eq!(answer["matches"].as_array().map(Vec::len), Some(0), "{similar:?}");
        let suggestions = answer["suggestions"].as_array().cloned().unwrap_or_default();
        assert!(suggestions.contains(&Value::from(order.as_str())), "{similar:?}: {suggestions:?}");
        let said = home.check(&["lookup", &similar], 4).stdout;
        assert!(said.contains(": unclear: ") && said.contains("did you mean"), "{said}");
        assert!(!said.contains("not a referral"), "{said}");
    }
}

#[test]
fn an_answer_has_the_documented_json() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain");
    let answer = home.check(&["lookup", &order.order_id, "--json"], 0).object();
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&answer),
        ["candidates", "clock", "coverage", "matches", "order_id", "referrals", "suggestions", "verdict"]
    );
    assert_eq!(
        keys(&answer["coverage"]),
        ["accounts_known", "accounts_read", "as_of", "complete", "rewards_known", "rewards_read", "source"]
    );
    for found in answer["matches"].as_array().expect("a list") {
        let keys = keys(found);
        for key in ["action_id", "reward_id", "account_id", "state", "program_id", "date_given", "gone", "ambiguous"] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:?}");
        }
        assert!(order.reward_ids.iter().any(|id| found["reward_id"] == id.as_str()), "{found}");
        assert!(order.action_ids.iter().any(|id| found["action_id"] == id.as_str()), "{found}");
    }
}

#[test]
fn orders_are_answered_in_order_also_from_a_spreadsheets_list() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let (one, two) = (sim.example("plain").order_id, sim.example("two_actions").order_id);
    let asked = |ran: &Ran| -> Vec<String> {
        let objects = ran.objects();
        objects.iter().filter_map(|answer| Some(answer["order_id"].as_str()?.to_owned())).collect()
    };
    let ran = home.check(&["lookup", &one, "nobody's", &two, "--json"], 4);
    assert_eq!(asked(&ran), [one.as_str(), "nobody's", two.as_str()]);
    let input = format!("\u{feff}{one}\r\n\r\n{two}\r\n");
    let ran = with_input(&home, &["lookup", "-", "--json"], input.as_bytes());
    ran.expect(0);
    assert_eq!(asked(&ran), [one.as_str(), two.as_str()]);
    for (input, line) in [
        (format!("{one}\n{}\n", "x".repeat(10_000)).into_bytes(), "line 2"),
        ([one.as_bytes(), b"\n\n\xff\xfe\n"].concat(), "line 3"),
    ] {
        let ran = with_input(&home, &["lookup", "-", "--json"], &input);
        ran.expect(2);
        assert!(ran.stderr.contains(line), "{}", ran.stderr);
    }
}

#[test]
fn a_list_without_an_order_id_is_a_usage_error() {
    let sim = Sim::start(&["--participants", "20"]);
    let home = Home::new(&sim);
    for input in ["", "\n\r\n"] {
        let ran = with_input(&home, &["lookup", "-"], input.as_bytes());
        ran.expect(2);
        assert!(ran.stderr.contains("one order ID per line"), "{}", ran.stderr);
    }
}

#[test]
fn an_absence_says_what_it_rests_on() {
    let sim = Sim::start(&["--participants", "120", "--accounts-fail", "2"]);
    let home = Home::new(&sim);
    let ran = home.check(&["lookup", "nobody's"], 4);
    assert!(ran.stdout.contains("nothing has been crawled yet"), "{}", ran.stdout);
    let answer = home.check(&["lookup", "nobody's", "--json"], 4).object();
    assert_eq!((&answer["coverage"]["complete"], &answer["coverage"]["as_of"]), (&Value::Bool(false), &Value::Null));
    home.check(&["crawl", "--source", "participants", "--json"], 6);
    let ran = home.check(&["lookup", "nobody's"], 4);
    assert!(ran.stdout.contains("not in what has been read so far") && ran.stdout.contains("with gaps"), "{ran:?}");
    let whole = Sim::start(&["--participants", "120"]);
    let home = Home::new(&whole);
    home.crawl();
    let ran = home.check(&["lookup", "nobody's"], 4);
    assert!(ran.stdout.contains("not a referral order, as of "), "{}", ran.stdout);
}

#[test]
fn an_index_without_any_order_id_never_says_not_a_referral_order() {
    let sim = Sim::start(&["--participants", "120"]);
    let home = Home::new(&sim);
    home.configure_more("[mapping]\norder_id = '$.nothing'");
    let ran = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert_eq!(ran.error_kind(), "no_links");
    let ran = home.check(&["lookup", "nobody's"], 4);
    assert!(ran.stdout.contains("not in what has been read so far"), "{}", ran.stdout);
}

#[test]
fn a_participant_is_read_live_and_matched_exactly() {
    for flags in [&["--participants", "400"][..], &["--participants", "400", "--query-returns-all"]] {
        let sim = Sim::start(flags);
        let home = Home::new(&sim);
        let (order, account) = some_order(&sim);
        let ran = home.check(&["lookup", &order, "--participant", &account, "--json"], 0);
        let answer = ran.object();
        assert!(
            answer["matches"].as_array().is_some_and(|list| list.iter().any(|m| m["account_id"] == account.as_str())),
            "{answer}"
        );
        assert_eq!(answer["coverage"]["complete"], false, "one person is not the tenant");
        assert_eq!(sim.record()["requests"]["GET reward"], 1, "nobody else was asked about");
        let ran = home.check(&["lookup", &order, "--participant", "nobody@nowhere.example"], 0);
        assert!(ran.stderr.contains("no participant matched"), "{}", ran.stderr);
        assert_eq!(sim.record()["requests"]["GET reward"], 1);
    }
}

#[test]
fn a_participant_is_searched_on_at_most_ten_pages() {
    let sim = Sim::start(&["--participants", "2000", "--query-returns-all"]);
    let home = Home::new(&sim);
    let ran = home.check(&["lookup", "1", "--participant", "nobody@nowhere.example"], 4);
    assert!(ran.stderr.contains("955 participants compared, and there were more"), "{}", ran.stderr);
    assert_eq!(sim.record()["requests"]["GET users"], 10);
}

#[test]
fn a_closed_pipe_is_success() {
    let sim = Sim::start(&["--participants", "120"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain").order_id;
    let mut child = home.command(&["lookup", &order, "--json"]).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns texts that people paste for an order ID, each with the difference that recoup must name.
fn pasted(order: &str) -> Vec<(String, &'static str)> {
    let wide: String =
        order.chars().map(|c| c.to_digit(10).and_then(|n| char::from_u32(0xff10 + n)).unwrap_or(c)).collect();
    let mut pasted = vec![
        (format!("{order}\u{202c}"), "without U+202C behind it"),
        (format!("\u{feff}{order}"), "without U+FEFF in front of it"),
        (format!("#{order}"), "without the # in front"),
        (format!("Order #{order}"), "a part of the text"),
        (format!("\u{201c}{order}\u{201d}"), "without the quotes around it"),
        (format!("{order}."), "without the punctuation around it"),
        (format!("{order}\u{a0}"), "without the blanks around it"),
        (format!("https://shop.example/account/orders/{order}?ref=mail"), "the end of the URL"),
    ];
    if wide != order {
        pasted.push((wide, "in ordinary characters"));
    }
    pasted
}

#[test]
fn a_pasted_text_is_unclear_if_the_index_has_an_order_that_it_may_mean() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let order = sim.example("plain").order_id;
    for (text, because) in pasted(&order) {
        let ran = home.check(&["lookup", &text, "--json"], 4);
        let answer = ran.object();
        assert_eq!((&answer["verdict"], &answer["matches"]), (&"unclear".into(), &serde_json::json!([])), "{answer}");
        let known =
            answer["candidates"].as_array().expect("a list").iter().find(|one| one["order_id"] == order.as_str());
        let said = known.and_then(|known| known["because"].as_str()).unwrap_or_default();
        assert!(said.contains(because), "{text:?}: {answer}");
        let said = home.check(&["lookup", &text], 4).stdout;
        assert!(said.contains(": unclear: ") && said.contains(&format!("did you mean {order:?}")), "{said}");
        assert!(!said.contains("not a referral") && !said.contains('\u{202c}'), "{said:?}");
    }
    // The texts have an unknown order ID with the same invisible marks.
    for text in
        ["no-such-1\u{202c}", "no\u{ad}-such-1", "\u{2067}no-such-1\u{2069}", "https://shop.example/orders/no-such-1"]
    {
        let answer = home.check(&["lookup", text, "--json"], 4).object();
        assert_eq!(
            (&answer["verdict"], &answer["candidates"]),
            (&"unclear".into(), &serde_json::json!([])),
            "{answer}"
        );
    }
    let answer = home.check(&["lookup", "no-such-1", "--json"], 4).object();
    assert_eq!((&answer["verdict"], answer.get("unclear")), (&"not_a_referral".into(), None), "{answer}");
}

#[test]
fn each_order_of_a_line_is_answered() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let (one, two) = (sim.example("plain").order_id, sim.example("two_actions").order_id);
    for between in [", ", ";", "\t", "\u{2028}", "\u{85}", "\u{ff0c}"] {
        let ran = home.check(&["lookup", &format!("{one}{between}{two}"), "--json"], 0);
        let asked: Vec<Value> = ran.objects().iter().map(|answer| answer["order_id"].clone()).collect();
        assert_eq!(asked, [one.as_str(), two.as_str()], "{between:?}");
    }
    // recoup keeps an order ID whole in a list, even if the ID contains separators of lists.
    let mut odd = sim.truth().into_iter().filter_map(|reward| Some(reward["order_ids"][0].as_str()?.to_owned()));
    let odd = odd.find(|order| order.contains(',') && order.contains(';')).expect("an order with separators");
    let ran = home.check(&["lookup", &format!("{odd}, {two};{odd}"), "--json"], 0);
    let asked: Vec<Value> = ran.objects().iter().map(|answer| answer["order_id"].clone()).collect();
    assert_eq!(asked, [odd.as_str(), two.as_str(), odd.as_str()]);
    // A line of standard input may be longer than any order ID.
    let many = vec![one.as_str(); 400].join(", ");
    let ran = with_input(&home, &["lookup", "-", "--json"], many.as_bytes());
    ran.expect(0);
    assert_eq!(ran.objects().len(), 400);
}

#[test]
fn an_action_a_reward_and_a_participant_lead_to_their_orders() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let example = sim.example("plain");
    let answer = home.check(&["lookup", &example.order_id, "--json"], 0).object();
    let of = |key: &str| answer["matches"][0][key].as_str().expect("text").to_owned();
    for (text, kind) in [
        (example.action_ids[0].clone(), "action"),
        (format!(" {}\u{200b}", example.action_ids[0]), "action"),
        (example.reward_ids[0].clone(), "reward"),
        (of("account_id"), "participant"),
        (of("user_id"), "participant"),
    ] {
        let found = home.check(&["lookup", &text, "--json"], 4).object();
        assert_eq!((&found["verdict"], &found["related"]["kind"]), (&"unclear".into(), &kind.into()), "{found}");
        let orders = found["related"]["orders"].as_array().expect("a list");
        assert!(orders.contains(&example.order_id.as_str().into()), "{text:?}: {found}");
    }
}

/// The index finds a reward also by its user ID, because some user IDs differ from the account ID.
#[test]
fn a_user_id_that_differs_from_the_account_id_leads_to_its_orders() {
    let sim = Sim::start(&["--participants", "300"]);
    let home = Home::new(&sim);
    home.crawl();
    let orders = sim.truth().into_iter().filter_map(|reward| Some(reward["order_ids"][0].as_str()?.to_owned()));
    let differs = |order: String| {
        let answer = home.run(&["lookup", &order, "--json"]).object();
        let (user, account) = (answer["matches"][0]["user_id"].as_str()?, answer["matches"][0]["account_id"].as_str()?);
        (user != account).then(|| (order, user.to_owned()))
    };
    let (order, user) = orders.take(200).find_map(differs).expect("a user with another ID than the account");
    let found = home.check(&["lookup", &user, "--json"], 4).object();
    assert_eq!(found["related"]["kind"], "participant", "{found}");
    assert!(found["related"]["orders"].as_array().is_some_and(|all| all.contains(&order.into())), "{found}");
}

#[test]
fn a_pasted_text_sends_nothing_and_names_the_order_that_it_may_mean() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    for (text, _) in pasted(&order) {
        for args in [
            &["retract", &text, "--yes", "--reason", "refunded", "--json"][..],
            &["adjust", &text, "--amount", "1", "--yes", "--reason", "refunded", "--json"],
        ] {
            let ran = home.check(args, 4);
            assert_eq!(ran.error_kind(), "not_indexed");
            let said = ran.stdout.as_str();
            assert!(said.contains("did you mean") && said.contains(&order) && said.contains("unclear"), "{said}");
            assert!(!said.contains("not a referral"), "{said}");
        }
    }
    assert!(sim.deletes().is_empty());
    assert_eq!(sim.record()["requests"]["PUT action"], Value::Null);
}
