//! Tests of the page and the API of `recoup serve`.

use std::io::Write;

use crate::service::{FORM, Service, add_token, add_user, field, form, percent_encoded};
use crate::support::{Home, Sim, os_user, ready, wait_until};

/// Prepares a crawled tenant with a user for each role, whose name is the role.
fn team() -> (Sim, Home, Vec<String>) {
    let (sim, home) = ready(&[]);
    let passwords = ["viewer", "agent", "lead", "admin"].map(|role| add_user(&home, role, role)).to_vec();
    (sim, home, passwords)
}

#[test]
fn an_order_goes_from_look_up_to_proof_on_the_page() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let link = percent_encoded(&order);

    let page = agent.get(&format!("/lookup?orders={link}"));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Can it be retracted?") && page.body.contains("accounts read"), "{}", page.body);
    assert!(page.body.contains("•••"), "accounts are masked");
    assert!(!page.body.contains("@example.com"), "accounts are masked");
    let shown = agent.get(&format!("/lookup?orders={link}&accounts=shown"));
    assert!(!shown.body.contains("•••"), "an agent may see them");
    let verdict = agent.get(&format!("/preflight?order={link}&part=1"));
    assert!(verdict.body.contains("It can be retracted") && !verdict.body.contains("<html"), "{}", verdict.body);
    assert!(sim.deletes().is_empty(), "looking sends nothing");

    let sent = agent.retract(&order);
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, format!("/receipt?order={link}").as_str()),
        "{}",
        sent.body
    );
    let receipt = || agent.get(&format!("/receipt?order={link}")).body;
    wait_until("it is proven", || receipt().contains("<strong class=\"state\">confirmed</strong>"));
    assert!(receipt().contains("T-1") && receipt().contains("refunded"), "ticket and reason are in it");
    assert_eq!(sim.deletes().len(), 1);

    // The review of a retracted order has nothing to send, and no button.
    let again = agent.post("/retract/review", &[("order", &order), ("reason", "again")]);
    assert!(again.body.contains("There is nothing to send") && !again.body.contains("Retract now"), "{}", again.body);
    assert_eq!(sim.deletes().len(), 1);
    let status = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert_eq!(status["person"], "agent");
    let history = agent.get("/history?q=agent");
    assert!(history.body.contains("confirmed"), "found by person");
    assert_eq!(agent.get("/history?q=nobody").body.matches("<tr>").count(), 0);
    let live = agent.get(&format!("/receipt/live?order={link}"));
    assert!(live.body.contains("event: end") && live.body.contains("confirmed"), "{}", live.body);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

#[test]
fn confirming_an_outdated_plan_sends_nothing() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let asked = [("order", order.as_str()), ("reason", "refunded")];
    let review = agent.post("/retract/review", &asked);
    let seen = field(&review.body, "seen").expect("a plan");
    let send = |fields: &[(&str, &str)]| {
        let mut all = asked.to_vec();
        all.extend(fields);
        agent.post("/retract/send", &all)
    };
    assert_eq!(send(&[("seen", &seen)]).status, 400, "the last step was left out");
    assert_eq!(send(&[("yes", "1")]).status, 400, "no plan was named");
    // A plan changes with the disposition code and with the state of a reward.
    let other = send(&[("yes", "1"), ("seen", &seen), ("disposition", "OTHER")]);
    assert!(other.body.contains("The plan has changed"), "{}", other.body);
    let reward = &sim.example("plain").reward_ids[0];
    sim.post(&format!("redeem?id={reward}"));
    let changed = send(&[("yes", "1"), ("seen", &seen)]);
    assert!(changed.body.contains("The plan has changed"), "{}", changed.body);
    assert!(sim.deletes().is_empty());
    let without_reason = agent.post("/retract/review", &[("order", &order)]);
    assert_eq!(without_reason.status, 400, "a reason is asked for");
}

#[test]
fn an_order_with_several_actions_offers_a_choice() {
    let (sim, home, passwords) = team();
    let example = sim.example("two_actions");
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let link = percent_encoded(&example.order_id);
    let page = agent.get(&format!("/lookup?orders={link}"));
    assert!(page.body.contains("This order has 2 actions"), "{}", page.body);
    let unclear = agent.get(&format!("/preflight?order={link}&part=1"));
    assert!(unclear.body.contains("It is unclear which action is meant"), "{}", unclear.body);
    let one = agent.get(&format!("/preflight?order={link}&action={}&part=1", percent_encoded(&example.action_ids[0])));
    assert!(one.body.contains("It can be retracted") && !one.body.contains(&example.action_ids[1]), "{}", one.body);
    let both = agent.get(&format!("/preflight?order={link}&all=1&part=1"));
    assert!(example.action_ids.iter().all(|id| both.body.contains(id)), "{}", both.body);
}

#[test]
fn a_missing_order_shows_its_certainty_and_can_be_searched_live() {
    let (sim, home, passwords) = team();
    // A scheduled job would send requests of its own.
    home.configure_more("[schedule]\nrefresh = 'off'\nverify = 'off'");
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let viewer = service.login("viewer", &passwords[0]);
    let page = viewer.get(&format!("/lookup?orders={}%0D%0A%20%0D%0Anothing", percent_encoded(&format!("{order} "))));
    assert!(page.body.contains("No order is written exactly like this.") && page.body.contains("Did you mean:"));
    assert_eq!(page.body.matches("class=\"listed\"").count(), 2, "two lines, and an empty one");
    assert_eq!(page.body.matches("This is not a referral order.").count(), 1);
    let searched = viewer.post("/lookup/source", &[("order", "nothing")]);
    assert_eq!((searched.status, searched.header("location")), (303, "/lookup?searched=1&orders=nothing"));
    let requests = sim.requests();
    for _reload in 0..2 {
        let page = viewer.get("/lookup?searched=1&orders=nothing").body;
        assert!(page.contains("Live search, ") && page.contains("searched the vendor with"), "{page}");
    }
    assert_eq!(sim.requests(), requests, "a reload does not search again");
    let other = viewer.get("/lookup?searched=1&orders=other").body;
    assert!(other.contains("The result of the live search is not stored any more"), "{other}");
    let odd = viewer.get("/lookup?orders=%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert!(!odd.body.contains("<script>alert") && odd.body.contains("&#60;script&#62;"), "what is asked is escaped");
    let many = (0..201).map(|n| n.to_string()).collect::<Vec<_>>().join("%0A");
    assert_eq!(viewer.get(&format!("/lookup?orders={many}")).status, 400);
    assert_eq!(viewer.get("/receipt?order=nothing").status, 404);
    assert_eq!(viewer.get("/nowhere").status, 404);
}

#[test]
fn a_repeated_api_request_retracts_once() {
    let (sim, home, _) = team();
    // A refresh during the test would change the `read_at` time of a reward.
    home.configure_more("[schedule]\nrefresh = 'off'\nverify = 'off'");
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup", "preflight", "retract", "accounts"]));
    let auth = ("Authorization", token.as_str());
    let link = percent_encoded(&order);
    let found = service.get(&format!("/api/v1/lookup?order_id={link}"), &[auth]);
    assert_eq!(found.status, 200);
    let cli = home.check(&["lookup", &order, "--json"], 0).object();
    assert_eq!(found.json()["matches"][0]["reward_id"], cli["matches"][0]["reward_id"]);
    assert_ne!(found.json()["matches"][0]["account_id"], cli["matches"][0]["account_id"], "masked");
    let shown = service.get(&format!("/api/v1/lookup?order_id={link}&accounts=shown"), &[auth]);
    assert_eq!(shown.json()["matches"], cli["matches"]);
    assert_eq!(service.get("/api/v1/lookup?order_id=nothing", &[auth]).json()["matches"], serde_json::json!([]));
    assert_eq!(service.get("/api/v1/lookup", &[auth]).json()["kind"], "usage");

    let plan = service.get(&format!("/api/v1/preflight?order_id={link}"), &[auth]).json();
    assert_eq!((plan["dry_run"].as_bool(), &plan["retractions"][0]["state"]), (Some(true), &"would_send".into()));
    let body = serde_json::json!({ "order_id": order, "reason": "refunded", "plan": plan["plan"] }).to_string();
    let post = |key: Option<&str>, body: &str| {
        let mut headers = vec![auth, ("Content-Type", "application/json")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        service.ask("POST", "/api/v1/retractions", &headers, body.as_bytes())
    };
    assert_eq!(post(None, &body).status, 400, "a key is asked for");
    let wrong = body.replace("\"plan\":\"", "\"plan\":\"0");
    let refused = post(Some("a"), &wrong);
    assert_eq!((refused.status, refused.json()["kind"].as_str()), (409, Some("refused")), "{}", refused.body);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let first = post(Some("b"), &body);
    assert!(first.status == 202 || first.status == 201, "{}", first.body);
    assert_eq!(post(Some("b"), &body).body, first.body, "the same answer");
    assert_eq!(post(Some("b"), &wrong).status, 422);
    let id = first.json()["retractions"][0]["id"].as_i64().expect("a number");
    let one = || service.get(&format!("/api/v1/retractions/{id}"), &[auth]).json();
    wait_until("it is proven", || one()["state"] == "confirmed");
    assert_eq!(service.get(&format!("/api/v1/retractions?order_id={link}"), &[auth]).json()[0], one());
    assert_eq!(service.get("/api/v1/retractions/99", &[auth]).status, 404);
    assert_eq!(sim.deletes().len(), 1);
    let ledger = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert_eq!(ledger["person"], "agent");
}

#[test]
fn the_description_has_every_path_of_the_api() {
    let (_sim, home) = ready(&[]);
    let service = Service::start(&home);
    let described = service.get("/api/v1/openapi.json", &[]).json();
    assert_eq!(described["openapi"], "3.1.0");
    let api = recoup::serve::all_routes().into_iter().filter(|route| route.audience == recoup::serve::Audience::Api);
    for route in api.filter(|route| !route.path.ends_with("openapi.json")) {
        let method = route.method.to_ascii_lowercase();
        assert!(described["paths"][route.path][&method].is_object(), "{} {}", route.method, route.path);
    }
    let text = described.to_string();
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name: String = text[at + 21..].chars().take_while(|c| *c != '"').collect();
        assert!(described["components"]["schemas"][&name].is_object(), "{name} is referred to and not described");
    }
}

#[test]
fn without_users_sign_in_is_impossible_and_the_page_says_how_to_add_one() {
    let (_sim, home) = ready(&[]);
    let service = Service::start(&home);
    assert!(service.get("/login", &[]).body.contains("recoup user add"));
    assert_eq!(service.get("/api/v1/lookup?order_id=1", &[("Authorization", "Bearer rcp_x")]).status, 401);
    assert_eq!(service.get("/lookup", &[]).header("location"), "/login?next=%2Flookup");
    // A user who is added while the service runs can sign in.
    let password = add_user(&home, "ann", "agent");
    assert_eq!(service.login("ann", &password).get("/lookup").status, 200);
}

#[test]
fn disabling_a_user_ends_their_sessions_and_tokens() {
    let (_sim, home, passwords) = team();
    let token = add_token(&home, "agent", &["lookup"]);
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let header = format!("Bearer {token}");
    let asks = || service.get("/api/v1/lookup?order_id=1", &[("Authorization", &header)]).status;
    assert_eq!((agent.get("/lookup").status, asks()), (200, 200));
    home.check(&["user", "disable", "agent"], 0);
    assert_eq!((agent.get("/lookup").status, asks()), (303, 401));
    assert_eq!(agent.post("/retract/review", &[("order", "1"), ("reason", "x")]).status, 401);
    assert_eq!(service.try_login("agent", &passwords[1]).status, 401);
    // Signing out also invalidates the session in the service.
    let viewer = service.login("viewer", &passwords[0]);
    assert_eq!(viewer.post("/logout", &[]).header("location"), "/login");
    assert_eq!(viewer.get("/lookup").status, 303);
}

#[test]
fn password_guesses_are_throttled() {
    let (_sim, home, passwords) = team();
    let service = Service::start(&home);
    for _ in 0..5 {
        assert_eq!(service.try_login("agent", "wrong").status, 401);
    }
    let slowed = service.try_login("agent", &passwords[1]);
    assert_eq!(slowed.status, 429);
    assert!(slowed.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    // The service refuses a form that was made for another browser's session.
    let page = service.get("/login", &[]);
    let csrf = field(&page.body, "csrf").expect("a token");
    let body = form(&[("csrf", &csrf), ("name", "agent"), ("password", &passwords[1])]);
    assert_eq!(service.ask("POST", "/login", &[FORM], body.as_bytes()).status, 403);
}

#[test]
fn every_response_has_strict_security_headers() {
    let (_sim, home, passwords) = team();
    let service = Service::start(&home);
    let viewer = service.login("viewer", &passwords[0]);
    for answer in
        [viewer.get("/lookup"), service.get("/login", &[]), service.get("/healthz", &[]), service.get("/nowhere", &[])]
    {
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        assert!(
            !answer.body.contains("<style") && !answer.body.contains(" style=") && !answer.body.contains("onclick")
        );
    }
    let signed_in = service.try_login("viewer", &passwords[0]);
    let cookie = &signed_in.headers["set-cookie"][0];
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let long = "x".repeat(70_000);
    let agent = service.login("agent", &passwords[1]);
    let too_long = agent.post("/retract/review", &[("order", "1"), ("reason", &long)]);
    assert_eq!(too_long.status, 400);
    let token = add_token(&home, "agent", &["retract"]);
    let header = format!("Bearer {token}");
    let json = [("Authorization", header.as_str()), ("Idempotency-Key", "k")];
    assert_eq!(service.ask("POST", "/api/v1/retractions", &json, long.as_bytes()).status, 413);
}

#[test]
fn a_public_address_is_refused_without_tls() {
    let (_sim, home) = ready(&[]);
    let refused = home.check(&["serve", "--listen", "0.0.0.0:0", "--json"], 2);
    assert!(refused.stdout.contains("no TLS"), "{}", refused.stdout);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    assert!(home.check(&["serve", "--listen", &addr, "--json"], 1).stdout.contains("failed to listen"));
    let half = home.check(&["serve", "--tls-cert", "x"], 2);
    assert!(half.stderr.contains("--tls-key"), "{}", half.stderr);
}

#[test]
fn health_and_metrics_report_the_state() {
    let (_sim, home, passwords) = team();
    let service = Service::start(&home);
    assert_eq!(service.get("/healthz", &[]).body, "alive\n");
    assert_eq!(service.get("/readyz", &[]).status, 200);
    drop(service.login("viewer", &passwords[0]));
    let metrics = service.get("/metrics", &[]);
    for name in [
        "recoup_index_age_seconds",
        "recoup_accounts_read",
        "recoup_accounts_waiting",
        "recoup_quota_used",
        "recoup_requests_last_hour",
        "recoup_http_answers_total",
    ] {
        assert!(metrics.body.contains(name), "{name}: {}", metrics.body);
    }
    assert!(!metrics.body.contains("example.com"), "no account is in it");
    home.configure_more("[serve]\nready_max_age = '1ms'");
    let strict = Service::start(&home);
    assert_eq!(strict.get("/readyz", &[]).status, 503);
}

#[test]
fn a_shutdown_finishes_the_open_send() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    assert_eq!(agent.retract(&order).status, 303);
    assert_eq!(service.end(), Some(0));
    let status = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert!(status["state"] == "queued" || status["state"] == "confirmed", "{status}");
    home.check(&["verify", "--watch", "--wait", "20s"], 0);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_file_of_refunds_goes_from_plan_to_outcomes() {
    let (sim, home, passwords) = team();
    let orders = [sim.example("plain").order_id, sim.example("all_redeemed").order_id, "no order 1".to_owned()];
    let file = format!("order_id\n\"{}\"\n", orders.join("\"\n\""));
    let service = Service::start(&home);
    let lead = service.login("lead", &passwords[2]);
    let upload = |csrf: &str, file: &str, reason: &str| {
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!(
            "{}{}--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../evil.csv\"\r\n\r\n{file}\r\n--B--\r\n",
            part("csrf", csrf),
            part("reason", reason)
        );
        let headers = [("Cookie", lead.cookie.as_str()), ("Content-Type", "multipart/form-data; boundary=B")];
        service.ask("POST", "/batch", &headers, body.as_bytes())
    };
    assert_eq!(upload("wrong", &file, "refunds").status, 403);
    assert_eq!(upload(&lead.csrf, &file, "").status, 400, "a reason is asked for");
    assert_eq!(upload(&lead.csrf, "<html></html>", "refunds").status, 400, "no table");
    let taken = upload(&lead.csrf, &file, "refunds");
    assert_eq!(taken.status, 303, "{}", taken.body);
    let path = taken.header("location").to_owned();
    let page = || lead.get(&path).body;
    wait_until("it is planned", || page().contains(">planned<"));
    assert!(page().contains("Retract 1 order") && page().contains("redeemed"), "{}", page());
    assert!(sim.deletes().is_empty(), "a plan sends nothing");
    assert_eq!(lead.get(&format!("{path}/outcomes")).status, 404);
    assert_eq!(lead.post(&format!("{path}/apply"), &[]).status, 400, "the last step was left out");
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    // A later crawl may find the order that is not in the index, so the batch is not done.
    wait_until("it is applied", || page().contains(">1 open<"));
    let outcomes = lead.get(&format!("{path}/outcomes"));
    assert!(outcomes.header("content-disposition").starts_with("attachment"), "{outcomes:?}");
    let lines: Vec<&str> = outcomes.body.lines().collect();
    assert!(lines[1].contains("confirmed") && lines[3].contains(",not_found_yet,"), "{lines:?}");
    assert_eq!(sim.deletes().len(), 1);
    // A second run of the batch has nothing left to send.
    assert_eq!(lead.post(&format!("{path}/apply"), &[("yes", "1")]).status, 303);
    wait_until("it is applied again", || page().contains(">1 open<"));
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(lead.get("/batch/..%2F..%2Fevil").status, 404);
    if home.skip_on_server("the rest lists the files of a batch") {
        return;
    }
    let folder = home.path("recoup-batches");
    let names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the shelf")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| !name.contains("evil")), "{names:?}");
}

#[test]
fn the_api_runs_a_batch() {
    let (sim, home, _) = team();
    let token = format!("Bearer {}", add_token(&home, "lead", &["batch"]));
    let service = Service::start(&home);
    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", "k"), ("Content-Type", "text/csv")];
    let file = format!("order_id\n\"{}\"\n", sim.example("plain").order_id);
    let made = service.ask("POST", "/api/v1/batches?reason=refunds", &headers, file.as_bytes());
    assert_eq!(made.status, 202, "{}", made.body);
    let again = service.ask("POST", "/api/v1/batches?reason=refunds", &headers, file.as_bytes());
    assert_eq!(again.json()["id"], made.json()["id"], "the same request is the same batch");
    let id = made.json()["id"].as_str().expect("a number").to_owned();
    let one = || service.get(&format!("/api/v1/batches/{id}"), &headers).json();
    wait_until("it is planned", || one()["stage"] == "planned");
    assert_eq!(service.ask("POST", &format!("/api/v1/batches/{id}/apply"), &headers, b"").status, 202);
    wait_until("it is done", || one()["stage"] == "done");
    assert!(service.get(&format!("/api/v1/batches/{id}/outcomes"), &headers).body.contains("confirmed"));
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_service_terminates_tls_and_its_cookies_are_secure() {
    let (_sim, home) = ready(&[]);
    let password = add_user(&home, "ann", "agent");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    let file = |name: &str| folder.join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let service = Service::start_with(&home, &["--tls-cert", &cert, "--tls-key", &key]);
    let page = service.ask_over_tls(&folder.join("ca.pem"), "GET", "/login", &[], b"");
    assert_eq!(page.status, 200);
    assert!(page.header("strict-transport-security").contains("max-age"));
    assert!(page.cookie("recoup-form").is_none(), "a neighbouring site could set a cookie of that name");
    let cookie = page.cookie("__Host-recoup-form").expect("a cookie");
    let csrf = field(&page.body, "csrf").expect("a token");
    let body = form(&[("csrf", &csrf), ("name", "ann"), ("password", &password)]);
    let headers = [("Cookie", cookie.as_str()), FORM];
    let entered = service.ask_over_tls(&folder.join("ca.pem"), "POST", "/login", &headers, body.as_bytes());
    assert_eq!(entered.status, 303, "{}", entered.body);
    let kept = entered.headers["set-cookie"].iter().find(|one| one.starts_with("__Host-recoup=")).expect("a session");
    assert!(kept.contains("Secure") && kept.contains("HttpOnly") && kept.contains("Path=/"), "{kept}");
    // A client without TLS gets no response, and does not block other clients.
    assert_eq!(service.get("/login", &[]).status, 0);
    assert_eq!(service.ask_over_tls(&folder.join("ca.pem"), "GET", "/healthz", &[], b"").status, 200);
    let swapped = home.check(&["serve", "--tls-cert", &key, "--tls-key", &cert, "--json"], 3);
    assert!(swapped.stdout.contains("there is no certificate in it"), "{}", swapped.stdout);
}

#[test]
fn the_api_reports_a_needed_approval_and_continues_after_it() {
    let (sim, home) = ready(&[]);
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let [_agent, password] = ["agent", "lead"].map(|role| add_user(&home, role, role));
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup", "preflight", "retract"]));
    let service = Service::start(&home);
    let order = sim.example("plain").order_id;
    let plan =
        service.get(&format!("/api/v1/preflight?order_id={}", percent_encoded(&order)), &[("Authorization", &token)]);
    let body = serde_json::json!({ "order_id": order, "reason": "refunded", "plan": plan.json()["plan"] }).to_string();
    let post = |key: &str| {
        let headers =
            [("Authorization", token.as_str()), ("Idempotency-Key", key), ("Content-Type", "application/json")];
        service.ask("POST", "/api/v1/retractions", &headers, body.as_bytes())
    };
    let asked = post("a");
    assert_eq!((asked.status, asked.json()["kind"].as_str()), (409, Some("needs_approval")), "{}", asked.body);
    assert!(sim.deletes().is_empty());
    let lead = service.login("lead", &password);
    let id = home.check(&["approval", "list", "--json"], 0).object()["id"].to_string();
    assert_eq!(lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303);
    // The approval itself runs the approved plan. The API client finds the retraction, and a repeated request sends
    // nothing.
    let found = || {
        service.get(&format!("/api/v1/retractions?order_id={}", percent_encoded(&order)), &[("Authorization", &token)])
    };
    wait_until("it is proven", || found().json()[0]["state"] == "confirmed");
    let again = post("b");
    assert!(again.status == 200 || again.status == 409, "{} {}", again.status, again.body);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn changing_a_password_ends_the_other_sessions() {
    let (_sim, home, passwords) = team();
    let service = Service::start(&home);
    let (agent, elsewhere) = (service.login("agent", &passwords[1]), service.login("agent", &passwords[1]));
    let new = "four words in a row";
    let change =
        |old: &str, new: &str, again: &str| agent.post("/password", &[("old", old), ("new", new), ("again", again)]);
    assert_eq!(change("wrong", new, new).status, 401);
    assert_eq!(change(&passwords[1], new, "another").status, 400);
    assert_eq!(change(&passwords[1], "short", "short").status, 400);
    assert_eq!(elsewhere.get("/lookup").status, 200, "nothing has changed yet");
    let changed = change(&passwords[1], new, new);
    assert_eq!(changed.status, 303, "{}", changed.body);
    assert_eq!(elsewhere.get("/lookup").status, 303, "signed out");
    let cookie = changed.cookie("recoup").expect("a new session");
    assert_eq!(service.get("/lookup", &[("Cookie", &cookie)]).status, 200);
    assert_eq!(service.try_login("agent", &passwords[1]).status, 401);
    assert_eq!(service.try_login("agent", new).status, 303);
    assert!(home.check(&["user", "log"], 0).stdout.contains("changed their own password"));
    // The service also throttles guesses of the current password.
    let open = service.login("viewer", &passwords[0]);
    let guess = || open.post("/password", &[("old", "wrong"), ("new", new), ("again", new)]).status;
    assert_eq!((0..6).map(|_| guess()).collect::<Vec<_>>(), [401, 401, 401, 401, 401, 429]);
}

#[test]
fn two_services_and_a_command_line_send_one_order_once() {
    let (sim, home, passwords) = team();
    let order = sim.example("plain").order_id;
    let (one, two) = (Service::start(&home), Service::start(&home));
    let (agent, lead) = (one.login("agent", &passwords[1]), two.login("lead", &passwords[2]));
    let asked = [("order", order.as_str()), ("reason", "refunded")];
    // Both users have reviewed the plan before either of them sends.
    let seen = [&agent, &lead].map(|who| field(&who.post("/retract/review", &asked).body, "seen").expect("a plan"));
    std::thread::scope(|scope| {
        for (who, seen) in [&agent, &lead].into_iter().zip(&seen) {
            scope.spawn(move || {
                let mut last = asked.to_vec();
                last.extend([("yes", "1"), ("seen", seen.as_str()), ("disposition", "RETRACTION")]);
                let answer = who.post("/retract/send", &last);
                // Each request sends, or finds that another request has sent.
                assert!([200, 303, 409].contains(&answer.status), "{} {}", answer.status, answer.body);
            });
        }
        scope.spawn(|| home.run(&["retract", &order, "--yes", "--reason", "refunded"]));
    });
    let receipt = || agent.get(&format!("/receipt?order={}", percent_encoded(&order))).body;
    wait_until("it is proven", || receipt().contains("<strong class=\"state\">confirmed</strong>"));
    assert_eq!(sim.deletes().len(), 1);
    home.check(&["audit", "verify"], 0);
}

#[test]
fn text_pasted_into_the_api_is_split_or_unclear_and_never_another_order() {
    let (sim, home, _) = team();
    let (one, two) = (sim.example("plain").order_id, sim.example("two_actions").order_id);
    let service = Service::start(&home);
    let agent = format!("Bearer {}", add_token(&home, "agent", &["lookup", "accounts"]));
    let viewer = format!("Bearer {}", add_token(&home, "viewer", &["lookup"]));
    let asked = |text: &str, token: &str| {
        service.get(&format!("/api/v1/lookup?order_id={}", percent_encoded(text)), &[("Authorization", token)]).json()
    };
    let found = asked(&one, &viewer);
    assert_eq!((&found["verdict"], &found["candidates"]), (&"found".into(), &serde_json::json!([])), "{found}");
    let both = asked(&format!("{one}, {two}"), &viewer);
    assert_eq!((&both["verdict"], &both["matches"]), (&"several".into(), &serde_json::json!([])), "{both}");
    assert_eq!(
        (&both["orders"][0]["order_id"], &both["orders"][1]["order_id"]),
        (&one.as_str().into(), &two.as_str().into())
    );
    let unclear = asked(&format!("{one}\u{202c}"), &viewer);
    assert_eq!((&unclear["verdict"], &unclear["candidates"][0]["order_id"]), (&"unclear".into(), &one.as_str().into()));
    let known = service.get(
        &format!("/api/v1/lookup?accounts=shown&order_id={}", percent_encoded(&one)),
        &[("Authorization", agent.as_str())],
    );
    let account = known.json()["matches"][0]["account_id"].as_str().expect("an account").to_owned();
    let orders = asked(&account, &agent);
    assert_eq!(orders["related"]["kind"], "participant", "{orders}");
    assert!(orders["related"]["orders"].as_array().is_some_and(|all| all.contains(&one.as_str().into())), "{orders}");
    // A user without the right to see accounts does not learn which account an order belongs to.
    let hidden = asked(&account, &viewer);
    assert!(hidden.get("related").is_none(), "{hidden}");
}

#[test]
fn text_pasted_into_the_page_is_split_or_unclear_with_candidates() {
    let (sim, home, passwords) = team();
    let (one, two) = (sim.example("plain"), sim.example("two_actions").order_id);
    let service = Service::start(&home);
    let viewer = service.login("viewer", &passwords[0]);
    let asked = |text: &str| viewer.get(&format!("/lookup?orders={}", percent_encoded(text))).body;
    assert_eq!(asked(&format!("{}, {two}", one.order_id)).matches("class=\"listed\"").count(), 2);
    let unclear = asked(&format!("{}\u{202c}", one.order_id));
    assert!(unclear.contains("Unclear. The pasted text has U+202C behind it.") && unclear.contains("Did you mean:"));
    assert!(unclear.contains("without U+202C behind it") && unclear.contains("&#60;U+202C&#62;"), "{unclear}");
    assert!(!unclear.contains("Can it be retracted?"), "a candidate is never acted on");
    let nothing = asked("no-such-1\u{2069}");
    assert!(nothing.contains("Unclear.") && !nothing.contains("not a referral"), "{nothing}");
    let action = asked(&one.action_ids[0]);
    assert!(action.contains("It is an ActionId of:") && action.contains(&percent_encoded(&one.order_id)), "{action}");
    let many = (0..201).map(|n| n.to_string()).collect::<Vec<_>>().join("%2C");
    let refused = viewer.get(&format!("/lookup?orders={many}"));
    assert!(refused.status == 400 && refused.body.contains("look them up in parts"), "{}", refused.body);
}

#[test]
fn eight_thousand_order_ids_are_refused_with_a_hint() {
    let (_sim, home, passwords) = team();
    let token = format!("Bearer {}", add_token(&home, "lead", &["lookup", "batch"]));
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let ids: Vec<String> = (0..8_000).map(|n| format!("100{n:07}")).collect();
    let (lines, cookie) =
        (form(&[("csrf", &agent.csrf), ("orders", &ids.join("\n"))]), [("Cookie", agent.cookie.as_str()), FORM]);
    let few = form(&[("orders", &ids[..3_000].join("\n"))]);
    for (method, path, body) in [
        ("POST", "/lookup".to_owned(), lines.as_str()),
        ("GET", format!("/lookup?{lines}"), ""),
        ("GET", format!("/lookup?{few}"), ""),
        ("POST", "/lookup/source".to_owned(), lines.as_str()),
        ("POST", "/retract/review".to_owned(), lines.as_str()),
    ] {
        let answer = service.ask(method, &path, &cookie, body.as_bytes());
        assert!([400, 405, 413, 414, 431].contains(&answer.status), "{method} {path:.40}: {}", answer.status);
        assert!(answer.header("content-type").starts_with("text/html"), "{method} {path:.40}: {:?}", answer.headers);
        assert!(answer.body.contains("class=\"hint\"") && answer.body.contains("batch"), "{path:.40}: {}", answer.body);
    }
    // Sign-in never redirects to an address that browsers reject.
    let signed_out = service.get(&format!("/lookup?{few}"), &[]);
    assert_eq!((signed_out.status, signed_out.header("location")), (303, "/login?next=%2Flookup"));

    let api = [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    for (method, path, body) in [
        ("GET", format!("/api/v1/lookup?{lines}"), ""),
        ("POST", "/api/v1/lookup".to_owned(), lines.as_str()),
        ("POST", "/api/v1/retractions".to_owned(), lines.as_str()),
        ("POST", "/api/v1/batches/1".to_owned(), lines.as_str()),
        ("GET", "/api/v1/nothing".to_owned(), ""),
    ] {
        let answer = service.ask(method, &path, &api, body.as_bytes());
        assert!((400..500).contains(&answer.status), "{method} {path:.40}: {}", answer.status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path:.40}");
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status, "{problem}");
        assert!(problem["hint"].is_string() && problem["detail"].is_string(), "{method} {path:.40}: {problem}");
    }
}

#[test]
fn a_refusal_before_the_end_of_a_long_request_arrives() {
    let (_sim, home) = ready(&[]);
    let token = format!("Bearer {}", {
        add_user(&home, "lead", "lead");
        add_token(&home, "lead", &["lookup", "retract"])
    });
    let service = Service::start(&home);
    let long = vec![b'x'; 8 << 20];
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    assert_eq!(service.ask("POST", "/api/v1/retractions", &headers, &long).status, 413);
    assert_eq!(service.ask("POST", "/nowhere", &[FORM], &long).status, 404);
}

#[test]
fn the_hints_of_page_and_api_name_their_fields_and_no_flag() {
    let (sim, home, passwords) = team();
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[1]);
    let token = format!("Bearer {}", add_token(&home, "agent", &["lookup", "preflight", "retract"]));
    let order = percent_encoded(&sim.example("two_actions").order_id);
    let api = service.get(&format!("/api/v1/preflight?order_id={order}"), &[("Authorization", token.as_str())]);
    assert_eq!(api.status, 409, "{}", api.body);
    let hint = api.json()["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint.contains("`action_id`") && hint.contains("`all`"), "{hint}");
    let page = agent.get(&format!("/retract?order={order}"));
    assert_eq!(page.status, 409, "{}", page.body);
    assert!(page.body.contains("all actions"), "{}", page.body);
    let unknown = service.get("/api/v1/preflight?order_id=nobody-has-this", &[("Authorization", token.as_str())]);
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert!(unknown.json()["hint"].is_string(), "{}", unknown.body);
}

#[test]
fn a_client_that_disconnects_gets_the_first_response_with_the_same_key() {
    let (sim, home) = ready(&["--latency", "30ms"]);
    let token = format!("Bearer {}", {
        add_user(&home, "agent", "agent");
        add_token(&home, "agent", &["retract"])
    });
    let service = Service::start(&home);
    let body = serde_json::json!({"order_id": sim.example("plain").order_id, "reason": "refunded"}).to_string();
    let request = format!(
        "POST /api/v1/retractions HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
        service.addr,
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(&service.addr).expect("it listens");
    stream.write_all(request.as_bytes()).expect("sent");
    wait_until("the request is being carried out", || !sim.deletes().is_empty());
    drop(stream);
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    wait_until("the first response is stored", || {
        let answer = service.ask("POST", "/api/v1/retractions", &headers, body.as_bytes());
        if answer.status == 409 {
            return false;
        }
        assert!([201, 202].contains(&answer.status), "{}", answer.body);
        true
    });
    assert_eq!(sim.deletes().len(), 1);
}
