//! The programs of `examples/`, run against the service, the simulator and a mail server of a few lines.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ring::hmac;
use serde_json::json;

use crate::mail_server::MailServer;
use crate::service::{Service, add_token, add_user, ask};
use crate::support::{Home, Ran, browser_required, ready, report_skipped, wait_until};

const SECRET: &str = "a secret of the shop";

/// Returns whether there is a Python. Under `TEST_BROWSER` a missing Python is a failure.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found || !browser_required(), "TEST_BROWSER is set, and there is no python3");
    if !found {
        report_skipped("the examples: there is no python3");
    }
    found
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).display().to_string()
}

/// The webhook of the example. It is stopped on drop.
struct Webhook {
    child: Child,
    addr: String,
}

impl Webhook {
    fn start(home: &Home, service: &Service, token: &str) -> Self {
        let mut command = home.command_of("python3");
        command.args(["-B", &example("refund-webhook/refund_webhook.py"), "127.0.0.1:0"]);
        command.env("RECOUP_URL", format!("http://{}", service.addr)).env("RECOUP_TOKEN", token);
        let mut child = command.env("SHOP_SECRET", SECRET).stderr(Stdio::inherit()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("its first line");
        // It writes a line for each event, so somebody must read them.
        std::thread::spawn(move || lines.lines().count());
        let addr = first.trim().strip_prefix("listening on http://").expect("its address").to_owned();
        Self { child, addr }
    }

    /// Sends an event as the shop does, with a signature by `secret`.
    fn event(&self, secret: &str, body: &str) -> (u16, String) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = recoup::model::hex(hmac::sign(&key, body.as_bytes()).as_ref());
        let answer = ask(&self.addr, "POST", "/", &[("X-Shop-Signature", &signature)], body.as_bytes());
        (answer.status, answer.body)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

#[test]
fn a_refund_webhook_proposes_once_and_only_a_person_sends() {
    if !has_python() {
        return;
    }
    let (sim, home) = ready(&[]);
    add_user(&home, "shop", "agent");
    let password = add_user(&home, "lead", "lead");
    let token = add_token(&home, "shop", &["propose"]);
    let service = Service::start(&home);
    let webhook = Webhook::start(&home, &service, &token);
    let refund = |id: &str, order: &str, in_full: bool| {
        json!({ "refund_id": id, "order_id": order, "refunded_in_full": in_full }).to_string()
    };
    let order = sim.example("plain").order_id;
    let whole = refund("R-1", &order, true);

    assert_eq!(webhook.event("another secret", &whole).0, 401);
    assert_eq!(webhook.event(SECRET, "{}").0, 400);
    let (status, said) = webhook.event(SECRET, &refund("R-0", &order, false));
    assert!(status == 200 && said.contains("not refunded in full"), "{said}");
    let approvals = || home.check(&["approval", "list", "--json"], 0).objects();
    assert!(approvals().is_empty());

    // The shop repeats events: the same refund, and another refund of the same order.
    for id in ["R-1", "R-1", "R-2"] {
        let (status, said) = webhook.event(SECRET, &refund(id, &order, true));
        assert!(status == 200 && said.contains("waits for a person"), "{status}: {said}");
    }
    let asked = approvals();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((&asked[0]["person"], &asked[0]["ticket"]), (&json!("shop"), &json!("R-1")));
    let (status, said) = webhook.event(SECRET, &refund("R-3", &sim.example("two_actions").order_id, true));
    assert!(status == 200 && said.contains("nothing was proposed (ambiguous)"), "{said}");
    let (status, said) = webhook.event(SECRET, &refund("R-4", "no such order", true));
    assert!(status == 200 && said.contains("nothing was proposed (not_indexed)"), "{said}");

    // The token can do nothing else.
    let bearer = format!("Bearer {token}");
    let body = json!({ "order_id": order, "reason": "refunded" }).to_string();
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "k")];
    assert_eq!(service.ask("POST", "/api/v1/retractions", &headers, body.as_bytes()).status, 403);
    let approve = format!("/api/v1/approvals/{}/approve", asked[0]["id"]);
    assert_eq!(service.ask("POST", &approve, &headers, b"").status, 403);
    assert!(sim.deletes().is_empty(), "nothing is sent before a person approves it");

    let lead = service.login("lead", &password);
    let page = lead.get(&format!("/approvals/{}", asked[0]["id"])).body;
    assert!(page.contains("a program proposed it") && page.contains("by shop"), "{page}");
    let approved = lead.post(&format!("/approvals/{}/approve", asked[0]["id"]), &[("yes", "1")]);
    assert_eq!(approved.status, 303, "{}", approved.body);
    wait_until("it is proven", || home.run(&["verify"]).code == Some(0) && sim.deletes().len() == 1);
    let (status, said) = webhook.event(SECRET, &refund("R-5", &order, true));
    assert!(status == 200 && said.contains("nothing is left to take back"), "{said}");
    assert_eq!(sim.deletes().len(), 1);
    // The shop sends an event again if recoup cannot answer.
    assert_eq!(service.end(), Some(0));
    assert_eq!(webhook.event(SECRET, &refund("R-6", &order, true)).0, 503);
}

#[test]
fn the_nightly_report_reads_compares_and_mails_and_changes_nothing() {
    if !has_python() {
        return;
    }
    let (sim, home) = ready(&[]);
    let mail = MailServer::start(false);
    let nightly = |host_port: u16, file: &str| {
        let line = format!("exec python3 -B '{}' {file}", example("nightly/nightly.py"));
        let mut command = home.shell(&line);
        command.env("REPORT_TO", "ann@example.com").env("REPORT_FROM", "recoup@example.com");
        command.env("SMTP_HOST", "127.0.0.1").env("SMTP_PORT", host_port.to_string());
        Ran::of(&[&line], command.output().expect("it runs"))
    };
    let order = sim.example("plain").order_id;
    std::fs::write(home.path("refunds.csv"), format!("order_id\n\"{order}\"\n")).expect("the refunds");
    let rewarded = nightly(mail.port, "refunds.csv");
    rewarded.expect(6);
    home.check(&["retract", &order, "--reason", "refunded", "--yes"], 0);
    let settled = nightly(mail.port, "refunds.csv");
    settled.expect(0);
    let missing = nightly(mail.port, "nowhere.csv");
    missing.expect(6);
    let mails = mail.mails.lock().expect("the mails").clone();
    assert_eq!(mails.len(), 3);
    assert!(mails[0].contains("Subject: recoup: a person should look") && mails[0].contains(&order), "{}", mails[0]);
    assert!(mails[0].contains("filename=\"reconciled.csv\""), "{}", mails[0]);
    assert!(mails[1].contains("Subject: recoup: all is well") && mails[1].contains("confirmed: 1"), "{}", mails[1]);
    assert!(mails[2].contains("Subject: recoup: no comparison"), "{}", mails[2]);
    assert_eq!(sim.deletes().len(), 1, "only the command retracted");
    // A report that nobody gets is a failure.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let lost = nightly(closed, "refunds.csv");
    lost.expect(1);
    assert!(lost.stderr.contains("could not be mailed"), "{lost:?}");
}
