//! Tests of approval by a second person, on the page and at the command line: the requester can never approve.

use crate::service::{Service, add_token, add_user, field, percent_encoded};
use crate::support::{os_user, ready, wait_until};

#[test]
fn a_lead_approves_an_agents_request_and_both_are_in_the_ledger() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead", "admin"].map(|role| add_user(&home, role, role));
    home.check(&["user", "role", "admin", "admin"], 0);
    // Only a user of recoup with the required right may set the limits.
    let refused = home.check(&["approval", "limits", "--always", "--json"], 5);
    assert!(refused.stdout.contains("not linked to a user of recoup"), "{}", refused.stdout);
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);

    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[0]);
    let order = sim.example("plain").order_id;
    let preflight = agent.get(&format!("/preflight?order={}&part=1", percent_encoded(&order)));
    assert!(preflight.body.contains("second person"), "it is said before: {}", preflight.body);
    let asked = agent.retract(&order);
    assert_eq!(asked.header("location"), "/approvals", "{}", asked.body);
    assert!(sim.deletes().is_empty());
    let mine = agent.get("/approvals");
    assert!(mine.body.contains("asked") && mine.body.contains("Withdraw") && !mine.body.contains("and decide"));
    let id =
        mine.body.split("id=\"approval-").nth(1).and_then(|rest| rest.split('"').next()).expect("a number").to_owned();
    assert_eq!(agent.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 403, "an agent may not");

    let lead = service.login("lead", &passwords[1]);
    // A lead cannot approve their own approval request.
    let other = sim.another("plain").order_id;
    let second = lead.retract(&other);
    assert_eq!(second.header("location"), "/approvals", "{}", second.body);
    let page = lead.get("/approvals").body;
    let own = page.split("id=\"approval-").nth(1).and_then(|rest| rest.split('"').next()).expect("a number");
    let refused = lead.post(&format!("/approvals/{own}/approve"), &[("yes", "1")]);
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("nobody approves their own"), "{}", refused.body);
    let approved = lead.post(&format!("/approvals/{id}/approve"), &[("reason", "looked at it"), ("yes", "1")]);
    assert_eq!(approved.header("location"), format!("/receipt?order={}", percent_encoded(&order)), "{}", approved.body);
    let receipt = || lead.get(&format!("/receipt?order={}", percent_encoded(&order))).body;
    wait_until("it is proven", || receipt().contains("<strong class=\"state\">confirmed</strong>"));
    assert!(receipt().contains("asked for by agent, approved by lead"), "{}", receipt());
    assert!(
        receipt().contains("<dt>Asked for by</dt><dd>agent</dd>\n<dt>Approved by</dt><dd>lead</dd>"),
        "{}",
        receipt()
    );
    assert_eq!(lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303, "to the receipt");
    assert_eq!(sim.deletes().len(), 1, "once");
    let status = home.check(&["status", "--retraction", "1", "--json"], 0).object();
    assert_eq!(status["person"], "agent");
    assert!(status["events"].to_string().contains("approved by lead"), "{status}");
    home.check(&["audit", "verify"], 0);
}

#[test]
fn an_approver_reads_the_plan_and_confirms_it_in_a_second_step() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    let example = sim.example("plain");
    service.login("agent", &passwords[0]).retract(&example.order_id);
    let lead = service.login("lead", &passwords[1]);
    let list = lead.get("/approvals").body;
    assert!(!list.contains("/approve\""), "the list has no button that sends: {list}");
    let (_, rest) = list.split_once("href=\"/approvals/").expect("a link to the request");
    let path = format!("/approvals/{}", rest.split('"').next().expect("its number"));
    let page = lead.get(&path).body;
    for id in example.reward_ids.iter().chain(&example.action_ids) {
        assert!(page.contains(id.as_str()), "{id}: {page}");
    }
    for part in ["by agent", "<time datetime=", "refunded", "T-1", "00 cents", "available", "Amount=0"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let one_click = lead.post(&format!("{path}/approve"), &[("reason", "fine")]);
    assert_eq!(one_click.status, 400, "{}", one_click.body);
    assert!(sim.deletes().is_empty());
    // If the order's plan has changed since the approval request, the page says so and offers no approval.
    sim.post(&format!("redeem?id={}", example.reward_ids[0]));
    let service = Service::start(&home);
    let lead = service.login("lead", &passwords[1]);
    let page = lead.get(&path).body;
    assert!(page.contains("no longer the one that agent asked for") && !page.contains("Approve and send"), "{page}");
    assert!(sim.deletes().is_empty());
}

#[test]
fn an_approval_that_is_submitted_twice_leads_to_the_same_receipt() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    service.login("agent", &passwords[0]).retract(&sim.example("plain").order_id);
    let id = home.check(&["approval", "list", "--json"], 0).object()["id"].to_string();
    let lead = service.login("lead", &passwords[1]);
    for _ in 0..2 {
        let approved = lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]);
        assert!(approved.header("location").starts_with("/receipt?order="), "{} {}", approved.status, approved.body);
    }
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn the_command_line_needs_the_approval_too_and_continues_after_it() {
    let (sim, home) = ready(&[]);
    let passwords = ["lead"].map(|role| add_user(&home, role, role));
    let order = sim.example("plain").order_id;
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--value", "100"], 0);
    let retract = ["retract", &order, "--yes", "--reason", "refunded", "--json"];
    let asked = home.check(&retract, 5);
    assert_eq!(asked.error_kind(), "needs_approval");
    assert!(sim.deletes().is_empty());
    assert_eq!(home.check(&retract, 5).error_kind(), "needs_approval", "asked once");
    let open = home.check(&["approval", "list", "--json"], 0).objects();
    assert_eq!((open.len(), open[0]["stage"].as_str()), (1, Some("asked")));
    let id = open[0]["id"].to_string();
    // recoup treats a user and the linked operating system user as one person.
    let own = home.check(&["approval", "approve", &id, "--json"], 5);
    assert!(own.stdout.contains("nobody approves their own"), "{}", own.stdout);

    let service = Service::start(&home);
    let lead = service.login("lead", &passwords[0]);
    let approved = lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]);
    assert_eq!(approved.status, 303, "{}", approved.body);
    let receipt = home.check(&retract, 0);
    assert_eq!(receipt.state(), "confirmed");
    assert_eq!(sim.deletes().len(), 1);
    // An order below the limit needs no approval. An approval of one order does not cover another order.
    let other = sim.example("two_actions");
    let second = home.check(&["retract", &other.order_id, "--all", "--yes", "--reason", "x", "--json"], 5);
    assert_eq!(second.error_kind(), "needs_approval");
    home.check(&["approval", "limits", "--value", "100000000"], 0);
    home.check(&["retract", &other.order_id, "--all", "--yes", "--reason", "x"], 0);
}

#[test]
fn an_approval_covers_only_the_approved_reason_and_ticket() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let order = sim.example("plain").order_id;
    let retract = |reason: &str, ticket: &str| {
        home.run(&["retract", &order, "--yes", "--reason", reason, "--ticket", ticket, "--json"])
    };
    assert_eq!(retract("refunded", "T-1").error_kind(), "needs_approval");
    assert_eq!(retract("refunded", "T-2").error_kind(), "needs_approval", "asked for by itself");
    let open = home.check(&["approval", "list", "--json"], 0).objects();
    assert_eq!(open.len(), 2, "{open:?}");
    let first = open.iter().find(|one| one["ticket"] == "T-1").expect("the first one")["id"].to_string();
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    assert_eq!(lead.post(&format!("/approvals/{first}/approve"), &[("yes", "1")]).status, 303);
    for (reason, ticket) in [("refunded", "T-2"), ("refunded ", "T-1"), ("a friend asked me", "T-1")] {
        assert_eq!(retract(reason, ticket).error_kind(), "needs_approval", "{reason:?} {ticket}");
    }
    let without = home.check(&["retract", &order, "--yes", "--reason", "refunded", "--json"], 5);
    assert_eq!(without.error_kind(), "needs_approval");
    assert!(sim.deletes().is_empty());
    retract("refunded", "T-1").expect(0);
    assert_eq!(sim.deletes().len(), 1);

    // A batch needs the same approval, even if reason and ticket come from the file.
    let file = home.path("in.csv");
    let of_file = |reason: &str| {
        let other = sim.another("plain").order_id;
        std::fs::write(&file, format!("order_id,reason\n\"{other}\",{reason}\n")).expect("a file");
        let (file, out) = (file.display().to_string(), home.path("out.csv").display().to_string());
        home.run(&[
            "retract",
            "--file",
            &file,
            "--out",
            &out,
            "--force",
            "--yes",
            "--reason",
            "x",
            "--ignore-column",
            "reason",
            "--json",
        ])
    };
    assert_eq!(of_file("refunded").error_kind(), "needs_approval");
    let asked = home.check(&["approval", "list", "--json"], 0).objects();
    let id = asked.iter().find(|one| one["subject"]["what"] == "batch").expect("the batch")["id"].to_string();
    assert_eq!(lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303);
    assert_eq!(of_file("another reason").error_kind(), "needs_approval");
    assert_eq!(sim.deletes().len(), 1);
    of_file("refunded").expect(0);
    assert_eq!(sim.deletes().len(), 2);
}

#[test]
fn a_missing_approval_is_not_found_and_not_an_internal_error() {
    let (_sim, home) = ready(&[]);
    let password = add_user(&home, "lead", "lead");
    let token = format!("Bearer {}", add_token(&home, "lead", &["lookup", "batch"]));
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    // In round 0 there is no ledger; before round 1 the test creates it.
    for n in 0..2 {
        for id in ["99", "0", "-1", "nothing", "99999999999999999999"] {
            for what in ["approve", "decline", "withdraw"] {
                let answer = lead.post(&format!("/approvals/{id}/{what}"), &[("yes", "1")]);
                assert_eq!(answer.status, 404, "{id} {what}: {}", answer.body);
                assert!(answer.body.contains("no such approval"), "{}", answer.body);
            }
        }
        for path in ["/batch/99", "/receipt?order=nothing", "/batch/99/outcomes", "/history/99"] {
            assert_eq!(lead.get(path).status, 404, "{path}");
        }
        for path in ["/api/v1/batches/99", "/api/v1/batches/99/outcomes", "/api/v1/retractions/99"] {
            let answer = service.get(path, &[("Authorization", &token)]);
            assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        }
        if n == 0 {
            home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
            home.check(&["approval", "limits", "--always"], 0);
        }
    }
}

#[test]
fn disabling_a_user_revokes_their_requests_and_approvals() {
    let (sim, home) = ready(&[]);
    let passwords = ["agent", "lead"].map(|role| add_user(&home, role, role));
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    let agent = service.login("agent", &passwords[0]);
    assert_eq!(agent.retract(&sim.example("plain").order_id).header("location"), "/approvals");
    let lead = service.login("lead", &passwords[1]);
    assert!(lead.get("/approvals").body.contains("and decide"));
    home.check(&["user", "disable", "agent"], 0);
    let page = lead.get("/approvals").body;
    assert!(!page.contains("and decide") && page.contains("withdrawn"), "{page}");
    assert_eq!(field(&page, "nothing"), None);
    assert!(sim.deletes().is_empty());
    let refused = home.check(&["user", "disable", "boss", "--json"], 5);
    assert!(refused.stdout.contains("last user"), "{}", refused.stdout);
}

#[test]
fn an_approval_ends_when_a_person_loses_the_right_to_it() {
    for on_the_page in [false, true] {
        let (sim, home) = ready(&[]);
        let boss = ["user", "add", "boss", "--role", "admin", "--os-user", &os_user(), "--json"];
        let boss_password = home.check(&boss, 0).object()["password"].as_str().expect("a password").to_owned();
        let [lead, agent] = [("lead", "lead"), ("agent", "agent")].map(|(name, role)| add_user(&home, name, role));
        home.check(&["approval", "limits", "--always"], 0);
        let service = Service::start(&home);
        let lead = service.login("lead", &lead);
        let order = sim.example("plain").order_id;
        // The approver of a request at the command line becomes an agent before its requester repeats the command.
        home.check(&["retract", &order, "--yes", "--reason", "refunded"], 5);
        let id = home.check(&["approval", "list", "--json"], 0).object()["id"].to_string();
        assert_eq!(lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303);
        let set_role = |name: &str, role: &str| {
            if on_the_page {
                let boss = service.login("boss", &boss_password);
                let key = field(&boss.get("/admin").body, "form_key").expect("a key");
                let fields = [("role", role), ("your_password", boss_password.as_str()), ("form_key", key.as_str())];
                assert_eq!(boss.post(&format!("/admin/users/{name}/role"), &fields).status, 303);
            } else {
                home.check(&["user", "role", name, role], 0);
            }
        };
        set_role("lead", "agent");
        home.check(&["retract", &order, "--yes", "--reason", "refunded"], 5);
        // The requester becomes a viewer before the approval.
        service.login("agent", &agent).retract(&sim.another("plain").order_id);
        set_role("agent", "viewer");
        let open: Vec<String> = home
            .check(&["approval", "list", "--json"], 0)
            .objects()
            .iter()
            .filter(|one| one["stage"] == "asked")
            .map(|one| one["person"].to_string())
            .collect();
        assert!(!open.iter().any(|person| person.contains("agent")), "{open:?}");
        assert!(sim.deletes().is_empty());
    }
}

#[test]
fn a_batch_waits_for_its_approval_and_then_runs() {
    let (sim, home) = ready(&[]);
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--count", "1"], 0);
    let orders = [sim.example("plain").order_id, sim.example("two_actions").order_id];
    let file = home.path("in.csv");
    std::fs::write(
        &file,
        format!(
            "order_id,action_id\n\"{}\",\n\"{}\",{}\n",
            orders[0],
            orders[1],
            sim.example("two_actions").action_ids[0]
        ),
    )
    .expect("a file");
    let (file, out) = (file.display().to_string(), home.path("out.csv").display().to_string());
    let batch = ["retract", "--file", &file, "--out", &out, "--force", "--yes", "--reason", "refunds", "--json"];
    let asked = home.check(&batch, 5);
    assert_eq!(asked.error_kind(), "needs_approval");
    assert!(sim.deletes().is_empty());
    let id = home.check(&["approval", "list", "--json"], 0).object()["id"].to_string();
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    let lead = service.login("lead", &password);
    assert_eq!(lead.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303);
    assert!(sim.deletes().is_empty(), "who asked at the command line carries it out there");
    home.check(&batch, 0);
    assert_eq!(sim.deletes().len(), 2);
    // A second run of the batch sends nothing for finished rows, so it needs no approval.
    home.check(&batch, 0);
    assert_eq!(sim.deletes().len(), 2);
}
