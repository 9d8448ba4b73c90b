//! Tests of notices: what the service sends by webhook and by e-mail, to small local servers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ring::hmac;
use serde_json::Value;

use crate::service::{Service, add_user};
use crate::support::{Home, Sim, os_user, ready, wait_until};

pub const SECRET: &str = "a secret of the test";

/// The scheduled jobs are off, because a job could cause an event before the service has created the notice queue.
const UNSCHEDULED: &str = "[schedule]\nrefresh = 'off'\nverify = 'off'";

/// A local receiver of webhooks, which answers with the given status codes first, then always with 200.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    taken: Arc<Mutex<Vec<Value>>>,
    all: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub fn start(codes: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let this = Self { url, taken: Arc::default(), all: Arc::default() };
        let (receiver, codes) = (this.clone(), codes.to_vec());
        std::thread::spawn(move || {
            let mut codes = codes.into_iter();
            for stream in listener.incoming() {
                let code = codes.next().unwrap_or(200);
                receiver.answer(stream.expect("a connection"), code);
            }
        });
        this
    }

    fn answer(&self, stream: TcpStream, code: u16) {
        let mut reader = BufReader::new(stream);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().expect("a length")];
        reader.read_exact(&mut body).expect("a body");
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(is_signed(&headers["recoup-signature"], &body), "{headers:?}");
        let notice: Value = serde_json::from_str(&body).expect("JSON");
        let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).expect("the answer goes");
        self.all.lock().expect("a list").push(notice.clone());
        if code == 200 {
            self.taken.lock().expect("a list").push(notice);
        }
    }

    fn taken(&self) -> Vec<Value> {
        self.taken.lock().expect("a list").clone()
    }

    fn of(&self, event: &str) -> Vec<Value> {
        self.taken().into_iter().filter(|notice| notice["event"] == event).collect()
    }
}

/// Checks the webhook's signature as docs/notices.md describes it.
fn is_signed(header: &str, body: &str) -> bool {
    let (time, tag) = header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("both parts");
    let bytes: Vec<u8> =
        (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).expect("hexadecimal")).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, format!("{time}.{body}").as_bytes(), &bytes).is_ok()
}

/// A local mail server that accepts every mail, or refuses every recipient.
struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    fn start(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, mails) = (listener.local_addr().expect("an address").port(), Arc::default());
        let inbox = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve_mail(stream.expect("a connection"), refuses, &inbox);
            }
        });
        Self { port, mails }
    }
}

fn serve_mail(stream: TcpStream, refuses: bool, inbox: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 test\r\n").expect("a greeting");
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|read| read > 0)
    } {
        let answer = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME\r\n",
            "RCPT" if refuses => "550 no such user: secret-name@example.com\r\n",
            "DATA" => {
                reader.get_mut().write_all(b"354 go\r\n").expect("an answer");
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && reader.read_line(&mut mail).is_ok_and(|read| read > 0) {}
                inbox.lock().expect("a list").push(mail);
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 fine\r\n",
        };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Adds a `[notices]` table with a webhook and short times to the configuration.
fn with_webhook(home: Home, url: &str, more: &str) -> Home {
    home.configure_more(&format!(
        "[notices]\nwebhook_url = '{url}'\npage_url = 'https://recoup.example.com/'\nrate = '1000/s'\ncheck = '20ms'\n\
         backoff = '10ms'\n{more}"
    ));
    home.set("RECOUP_NOTICE_SECRET", SECRET)
}

/// Waits until the service has stored the time from which it sends notices.
fn wait_for_start(home: &Home) {
    wait_until("the queue has begun", || {
        let begun = |count: &str| count.parse::<i64>().is_ok_and(|count| count > 0);
        home.has_store("notices")
            && begun(&home.rows("notices", "SELECT count(*) FROM identity WHERE key LIKE 'since %'")[0][0])
    });
}

#[test]
fn a_request_for_approval_is_told_once_after_failures_and_over_a_restart() {
    let (sim, home) = ready(&[]);
    let receiver = Receiver::start(&[500, 302, 404]);
    let home = with_webhook(home, &receiver.url, "");
    let password = add_user(&home, "agent", "agent");
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    wait_for_start(&home);
    let order = sim.example("plain").order_id;
    assert_eq!(service.login("agent", &password).retract(&order).header("location"), "/approvals");
    wait_until("the notice arrives", || !receiver.taken().is_empty());
    let told = receiver.of("needs_approval");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["order_id"], &told[0]["link"]),
        (&Value::from(order), &Value::from("https://recoup.example.com/approvals"))
    );
    // The notice contains neither the reason, nor the ticket, nor the person.
    assert!(!["refunded", "T-1", "agent", "@"].iter().any(|word| told[0].to_string().contains(word)), "{told:?}");
    let all = receiver.all.lock().expect("a list").clone();
    assert_eq!(all.len(), 4, "three failures first");
    assert!(all.iter().all(|notice| notice == &told[0]), "each attempt is the same: {all:?}");
    assert_eq!(service.end(), Some(0));

    // An approval request that was made while no service runs is sent by the next service. No notice is sent twice.
    let other = sim.another("plain").order_id;
    home.check(&["retract", &other, "--yes", "--reason", "x"], 5);
    let _service = Service::start(&home);
    wait_until("the second notice arrives", || receiver.taken().len() > 1);
    assert_eq!(receiver.of("needs_approval")[1]["order_id"], Value::from(other));
    assert_eq!(receiver.taken().len(), 2);
}

#[test]
fn batches_open_retractions_a_stale_index_and_refused_credentials_are_told() {
    let sim = Sim::start(&["--participants", "400", "--cancel-delay", "1h"]);
    let receiver = Receiver::start(&[]);
    let home = with_webhook(
        Home::new(&sim),
        &receiver.url,
        &format!("unconfirmed_after = '1ms'\n[serve]\nready_max_age = '0s'\n{UNSCHEDULED}"),
    );
    let password = add_user(&home, "lead", "lead");
    let service = Service::start(&home);
    wait_for_start(&home);
    home.check(&["crawl", "--source", "participants"], 0);
    wait_until("the index is stale", || !receiver.of("index_stale").is_empty());
    let order = sim.example("plain").order_id;
    home.check(&["retract", &order, "--yes", "--reason", "x", "--wait", "10ms"], 7);
    wait_until("the retraction is told", || !receiver.of("unconfirmed").is_empty());
    assert_eq!(receiver.of("unconfirmed")[0]["order_id"], Value::from(order));
    let lead = service.login("lead", &password);
    let file = format!("order_id,status\n\"{}\",refunded\n", sim.another("plain").order_id);
    let uploaded = lead.upload(b"no file of refunds", &[("reason", "x")]);
    assert!(uploaded.status < 500, "{}", uploaded.body);
    let planned = lead.upload(
        file.as_bytes(),
        &[("reason", "x"), ("order_column", "order_id"), ("status_column", "status"), ("refunded_when", "refunded")],
    );
    let page = planned.header("location").to_owned();
    assert!(page.starts_with("/batch/"), "{} {}", planned.status, planned.body);
    wait_until("it is planned", || lead.get(&page).body.contains("/apply"));
    assert!(lead.post(&format!("{page}/apply"), &[("yes", "1")]).status < 400);
    wait_until("the batch is told", || !receiver.of("batch_done").is_empty());
    assert_eq!(receiver.of("batch_done")[0]["link"], Value::from(format!("https://recoup.example.com{page}")));
    let refused =
        home.command(&["crawl", "--source", "participants"]).env("RECOUP_AUTH_TOKEN", "wrong").output().expect("runs");
    assert_eq!(refused.status.code(), Some(3));
    wait_until("the refusal is told", || !receiver.of("credentials_refused").is_empty());
    assert!(
        !receiver.taken().iter().any(|notice| notice.to_string().contains("wrong") || notice.to_string().contains('@'))
    );
}

#[test]
fn a_blocked_quota_is_told() {
    let sim = Sim::start(&["--participants", "200", "--quota", "40", "--limit-header", "retry-after"]);
    let receiver = Receiver::start(&[]);
    let home = with_webhook(Home::new(&sim), &receiver.url, UNSCHEDULED);
    let _service = Service::start(&home);
    wait_for_start(&home);
    home.run(&["crawl", "--source", "participants", "--park"]);
    wait_until("the quota is told", || !receiver.of("quota_blocked").is_empty());
    assert!(receiver.of("quota_blocked")[0]["text"].as_str().is_some_and(|text| text.contains("advocate")));
}

#[test]
fn a_test_notice_says_what_happened_on_each_channel() {
    let sim = Sim::start(&["--participants", "1"]);
    let bare = Home::new(&sim).check(&["notify", "test", "--json"], 3);
    assert!(bare.error_kind() == "config" && bare.stdout.contains("docs/notices.md"), "{}", bare.stdout);
    let (receiver, mail) = (Receiver::start(&[]), MailServer::start(false));
    let smtp = |port: u16| {
        format!(
            "smtp_host = '127.0.0.1'\nsmtp_port = {port}\nsmtp_tls = 'none'\nfrom = 'recoup@example.com'\nto = ['ann@example.com', 'Bo <bo@example.com>']"
        )
    };
    let home = with_webhook(Home::new(&sim), &receiver.url, &smtp(mail.port));
    let sent = home.check(&["notify", "test", "--json"], 0).objects();
    assert!(sent.len() == 2 && sent.iter().all(|one| one["delivered"] == true), "{sent:?}");
    assert_eq!(receiver.taken()[0]["event"], "test");
    let mails = mail.mails.lock().expect("a list").clone();
    assert_eq!(mails.len(), 1, "one mail for both");
    for part in [
        "From: recoup@example.com",
        "ann@example.com",
        "bo@example.com",
        "Subject: recoup: a test",
        "https://recoup.example.com/",
    ] {
        assert!(mails[0].contains(part), "{part}: {}", mails[0]);
    }
    // The error about a refused mail names the reply code and no address.
    let strict = MailServer::start(true);
    let home = with_webhook(Home::new(&sim), &Receiver::start(&[503]).url, &smtp(strict.port));
    let failed = home.check(&["notify", "test", "--json"], 1);
    let said = failed.objects();
    assert!(said[0]["error"]["message"].as_str().is_some_and(|text| text.contains("answered 503")), "{said:?}");
    assert!(said[1]["error"]["message"].as_str().is_some_and(|text| text.contains("answered 550")), "{said:?}");
    assert!(!failed.stdout.contains("secret-name") && !failed.stdout.contains(SECRET), "{}", failed.stdout);
}

#[test]
fn unusable_settings_are_refused_with_a_hint() {
    let sim = Sim::start(&["--participants", "1"]);
    for (toml, secret, said) in [
        ("webhook_url = 'https://hooks.example.com/x'", "", "no secret"),
        ("webhook_url = 'nowhere'", SECRET, "is not a URL"),
        ("webhook_url = 'http://hooks.example.com/x'", SECRET, "must be https"),
        ("smtp_host = 'smtp.example.com'", "", "needs `from` and `to`"),
        ("smtp_host = 'smtp.example.com'\nfrom = 'a@b.c'\nto = []", "", "needs `from` and `to`"),
        ("smtp_host = 'smtp.example.com'\nfrom = 'a@b.c'\nto = ['nobody']", "", "e-mail addresses"),
        ("smtp_host = 'smtp.example.com'\nfrom = 'a@b.c'\nto = ['a@b.c']\nsmtp_tls = 'none'", "", "this machine"),
        ("smtp_host = 'smtp.example.com'\nfrom = 'a@b.c'\nto = ['a@b.c']\nsmtp_tls = 'ssl'", "", "none of its words"),
        ("smtp_host = 'smtp.example.com'\nfrom = 'a@b.c'\nto = ['a@b.c']\nsmtp_user = 'a'", "", "no password"),
        ("webhook = 'x'", "", "unknown field"),
    ] {
        let home = Home::new(&sim).set("RECOUP_NOTICE_SECRET", secret);
        home.configure_more(&format!("[notices]\n{toml}"));
        let ran = home.check(&["notify", "test", "--json"], 3);
        assert!(ran.stdout.contains(said) && !ran.stdout.contains("\"hint\":null"), "{toml}: {}", ran.stdout);
        assert!(!ran.stdout.contains("example.com/x"), "an address may hold a token: {}", ran.stdout);
    }
}

#[test]
fn forgetting_removes_the_orders_from_the_queue() {
    let (sim, home) = ready(&[]);
    // The receiver always fails, so the notice stays in the queue.
    let receiver = Receiver::start(&[500; 100]);
    let home = with_webhook(home, &receiver.url, "");
    add_user(&home, "ann", "agent");
    home.check(&["user", "add", "boss", "--role", "admin", "--os-user", &os_user()], 0);
    home.check(&["approval", "limits", "--always"], 0);
    let service = Service::start(&home);
    wait_for_start(&home);
    let order = sim.example("plain");
    home.check(&["retract", &order.order_id, "--yes", "--reason", "x"], 5);
    wait_until("it is queued", || receiver.all.lock().expect("a list").len() > 1);
    assert_eq!(service.end(), Some(0));
    assert!(home.holds("notices", &order.order_id));
    let truth = sim.truth();
    let account =
        truth.iter().find(|line| line["reward_id"] == order.reward_ids[0].as_str()).expect("its reward")["account_id"]
            .clone();
    home.check(&["forget", account.as_str().expect("an account"), "--ticket", "T-1", "--yes"], 0);
    assert!(!home.holds("notices", &order.order_id));
}
