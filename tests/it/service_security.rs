//! Tests of attacks on the service from outside: exhausting connections, finding out user names, locking users out,
//! reading traffic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::service::{FORM, Service, add_user, field, form};
use crate::support::{Home, Sim, ready};

/// Maximum number of connections that the service accepts from one address.
#[cfg(target_os = "linux")]
const CONNECTIONS_OF_ONE: usize = 128;

/// Maximum number of requests that the service accepts on one connection.
const REQUESTS: usize = 1_000;

/// Prepares a crawled tenant with an agent, and returns the agent's password.
fn with_agent() -> (Sim, Home, String) {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "agent", "agent");
    (sim, home, password)
}

/// Opens more connections than the service accepts, all from 127.0.0.2. Each connection sends one request and never
/// reads the response.
#[cfg(target_os = "linux")]
fn many_that_never_read(addr: &str) -> Vec<TcpStream> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("files can be open");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let addr = addr.parse().expect("an address");
    runtime.block_on(async {
        let mut open = Vec::new();
        for _ in 0..1_100 {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.2:0".parse().expect("an address")).expect("Linux has all of 127.0.0.0/8");
            // The service accepts a connection over the limit and closes it at once.
            let stream = socket.connect(addr).await.expect("it listens");
            let _closed_already = stream.try_write(b"GET /login HTTP/1.1\r\nHost: x\r\n\r\n");
            open.push(stream.into_std().expect("a stream"));
        }
        open
    })
}

#[cfg(target_os = "linux")]
#[test]
fn connections_that_never_read_do_not_block_others() {
    let home = Home::new(&Sim::start(&[]));
    let service = Service::start(&home);
    let open = many_that_never_read(&service.addr);
    let mut other = TcpStream::connect(&service.addr).expect("it listens");
    other.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    other.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("the question");
    let mut answer = String::new();
    other.read_to_string(&mut answer).expect("an answer while they are open");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // A connection that the service closed at once has no data; an accepted connection has a response.
    let was_taken = |stream: &TcpStream| {
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        stream.peek(&mut [0]).is_ok_and(|read| read > 0)
    };
    assert_eq!(open.iter().filter(|stream| was_taken(stream)).count(), CONNECTIONS_OF_ONE);
}

#[test]
fn the_number_of_requests_of_a_connection_is_limited() {
    let home = Home::new(&Sim::start(&[]));
    let service = Service::start(&home);
    let mut stream = TcpStream::connect(&service.addr).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let all = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS + 100);
    stream.write_all(all.as_bytes()).expect("the questions");
    let mut answers = Vec::new();
    // The service does not read the remaining requests, so the connection ends with a reset.
    let _reset = stream.read_to_end(&mut answers);
    let answers = String::from_utf8(answers).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), REQUESTS);
    assert_eq!(answers.matches("connection: close").count(), 1, "the last one says so");
}

#[test]
fn sign_in_does_not_reveal_user_names() {
    let (_sim, home, _) = with_agent();
    let tried = |service: &Service, name: &str| -> Vec<(u16, bool)> {
        (0..7)
            .map(|_| {
                let answer = service.try_login(name, "wrong");
                assert!(answer.body.contains(name), "the form keeps the name");
                (answer.status, answer.headers.contains_key("retry-after"))
            })
            .collect()
    };
    let service = Service::start(&home);
    let user = tried(&service, "agent");
    assert_eq!(user[..6], [(401, false), (401, false), (401, false), (401, false), (401, false), (429, true)]);
    assert_eq!(tried(&service, "nobody"), user);
}

#[test]
fn guesses_do_not_lock_a_user_out_of_a_known_browser() {
    let (_sim, home, password) = with_agent();
    let service = Service::start(&home);
    let first = service.try_login("agent", &password);
    let known = first.cookie("recoup-browser").expect("the browser is known now");
    let kept = first.headers["set-cookie"].iter().find(|one| one.starts_with("recoup-browser=")).expect("a cookie");
    assert!(kept.contains("Max-Age=15552000") && kept.contains("HttpOnly"), "{kept}");
    for _ in 0..6 {
        service.try_login("agent", "wrong");
    }
    assert_eq!(service.try_login("agent", &password).status, 429, "any other browser waits");
    assert_eq!(service.try_login_in("agent", &password, "/lookup", &known).status, 303);
}

#[test]
fn a_control_character_in_next_does_not_redirect_to_another_site() {
    let (_sim, home, password) = with_agent();
    let service = Service::start(&home);
    for (next, goes) in [("/lookup", "/lookup"), ("/\t/evil.example", "/"), ("/\u{b}", "/"), ("//evil.example", "/")] {
        let entered = service.try_login_in("agent", &password, next, "");
        assert_eq!((entered.status, entered.header("location")), (303, goes), "{next:?}");
    }
}

#[test]
fn behind_a_proxy_with_tls_no_neighbouring_site_can_set_a_cookie_of_the_service() {
    let (_sim, home, password) = with_agent();
    let service = Service::start_with(&home, &["--behind-proxy"]);
    let page = service.get("/login", &[]);
    let cookie = page.cookie("__Host-recoup-form").expect("a cookie");
    let csrf = field(&page.body, "csrf").expect("a token");
    let body = form(&[("csrf", &csrf), ("name", "agent"), ("password", &password)]);
    let enter = |cookie: &str| service.ask("POST", "/login", &[("Cookie", cookie), FORM], body.as_bytes());
    assert_eq!(enter(&cookie.replace("__Host-", "")).status, 403, "the plain name means nothing here");
    let entered = enter(&cookie);
    assert_eq!(entered.status, 303, "{}", entered.body);
    for set in page.headers["set-cookie"].iter().chain(&entered.headers["set-cookie"]) {
        assert!(set.starts_with("__Host-recoup") && set.contains("Secure") && set.contains("Path=/"), "{set}");
        assert!(!set.contains("Domain"), "{set}");
    }
    // Over plain http, browsers reject a `__Host-` cookie, so the service uses names without this prefix.
    let plain = Service::start(&home);
    let set = &plain.get("/login", &[]).headers["set-cookie"][0];
    assert!(set.starts_with("recoup-form=") && !set.contains("Secure"), "{set}");
}

#[test]
fn form_tokens_of_proxy_users_belong_to_one_session() {
    let (_sim, home, _) = with_agent();
    home.configure_more("[serve]\nproxy_address = '127.0.0.1'\nproxy_header = 'X-Forwarded-User'");
    let service = Service::start(&home);
    let proxy = ("X-Forwarded-User", "agent");
    let begin = || {
        let page = service.get("/lookup?orders=nothing", &[proxy]);
        assert_eq!(page.status, 200, "{}", page.body);
        (page.cookie("recoup-proxied").expect("a number"), field(&page.body, "csrf").expect("a token"))
    };
    let ((cookie, csrf), (other_cookie, other_csrf)) = (begin(), begin());
    assert_ne!(csrf, other_csrf, "another session, another token");
    let again = service.get("/lookup?orders=nothing", &[proxy, ("Cookie", &cookie)]);
    assert_eq!(
        (field(&again.body, "csrf"), again.cookie("recoup-proxied")),
        (Some(csrf.clone()), None),
        "the same one"
    );
    let post = |cookie: &str, csrf: &str| {
        let body = form(&[("csrf", csrf), ("order", "nothing")]);
        service.ask("POST", "/lookup/source", &[proxy, ("Cookie", cookie), FORM], body.as_bytes()).status
    };
    assert_eq!(post(&cookie, &csrf), 303);
    for (cookie, csrf) in [(&cookie, &other_csrf), (&other_cookie, &csrf), (&String::new(), &csrf)] {
        assert_eq!(post(cookie, csrf), 403);
    }
}

#[test]
fn requests_forwarded_by_a_local_proxy_get_no_metrics() {
    let (_sim, home) = ready(&[]);
    let service = Service::start(&home);
    assert_eq!(service.get("/metrics", &[]).status, 200, "a monitor on this machine");
    for header in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 caddy"),
    ] {
        assert_eq!(service.get("/metrics", &[header]).status, 401, "{header:?}");
    }
    let status = |request: &str| {
        let mut stream = TcpStream::connect(&service.addr).expect("it listens");
        stream.write_all(request.as_bytes()).expect("the question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer");
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    let addr = &service.addr;
    let close = "Connection: close\r\n\r\n";
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\n{close}")), "200");
    // The proxy forwards the requested host name, or adds no header and uses HTTP/1.0 as nginx does.
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\nHost: recoup.example.com\r\n{close}")), "401");
    assert_eq!(status(&format!("GET /metrics HTTP/1.0\r\nHost: {addr}\r\n{close}")), "401");
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_memory_is_protected_from_dumps_and_debuggers() {
    use std::os::unix::fs::MetadataExt;

    let home = Home::new(&Sim::start(&[]));
    let service = Service::start(&home);
    let proc = std::path::PathBuf::from(format!("/proc/{}", service.pid()));
    let limits = std::fs::read_to_string(proc.join("limits")).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit of core dumps");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // In /proc, a non-dumpable process belongs to root, whichever user runs it.
    assert_eq!(proc.join("environ").metadata().expect("a file").uid(), 0);
}

#[test]
fn every_unit_disables_core_dumps_and_keeps_files_private() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut units = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "service") {
            let unit = std::fs::read_to_string(&path).expect("a unit");
            for line in ["LimitCORE=0", "UMask=0077", "NoNewPrivileges=yes"] {
                assert!(unit.lines().any(|known| known == line), "{}: {line}", path.display());
            }
            units += 1;
        }
    }
    assert!(units >= 5, "{units}");
}
