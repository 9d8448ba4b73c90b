//! Helpers for tests of `recoup serve`: start the service on a free port, and send requests like a browser or an API
//! client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::Home;

/// A running `recoup serve`.
pub struct Service {
    pub addr: String,
    child: Child,
}

impl Service {
    pub fn start(home: &Home) -> Self {
        Self::start_with(home, &[])
    }

    pub fn start_with(home: &Home, flags: &[&str]) -> Self {
        home.leave_the_index_alone();
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--quiet"];
        args.extend(flags);
        Self::of(home.command(&args).stderr(Stdio::inherit()))
    }

    /// Starts the service with its log in a file.
    pub fn start_logging(home: &Home, log: std::fs::File) -> Self {
        home.leave_the_index_alone();
        Self::of(home.command(&["serve", "--listen", "127.0.0.1:0"]).stderr(log))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}"));
        let addr = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).expect("a scheme");
        Self { addr: addr.to_owned(), child }
    }

    /// Returns the process ID of the service.
    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, b"")
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(&self.addr, method, path, headers, body)
    }

    /// Sends a request over TLS and trusts only this CA file.
    pub fn ask_over_tls(&self, ca: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(&self.addr).expect("it listens");
        ask_on(StreamOwned::new(client, stream), &self.addr, method, path, headers, body)
    }

    /// Returns an API client that sends this token.
    pub fn client(&self, token: &str) -> Client<'_> {
        Client { service: self, bearer: format!("Bearer {token}") }
    }

    /// Signs a user in and returns the browser.
    #[track_caller]
    pub fn login(&self, name: &str, password: &str) -> Browser<'_> {
        let answer = self.try_login(name, password);
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.cookie("recoup").expect("a session");
        let page = self.get("/lookup", &[("Cookie", &cookie)]);
        let csrf = field(&page.body, "csrf").expect("a token in the form");
        Browser { service: self, cookie, csrf }
    }

    /// Submits the sign-in form.
    pub fn try_login(&self, name: &str, password: &str) -> Answer {
        self.try_login_in(name, password, "/lookup", "")
    }

    /// Submits the sign-in form in a browser with this cookie; `next` is the page after the sign-in.
    pub fn try_login_in(&self, name: &str, password: &str, next: &str, kept: &str) -> Answer {
        let page = self.get("/login", &[]);
        let cookie = format!("{}; {kept}", page.cookie("recoup-form").expect("a cookie"));
        let csrf = field(&page.body, "csrf").expect("a token");
        let body = form(&[("csrf", &csrf), ("name", name), ("password", password), ("next", next)]);
        self.ask("POST", "/login", &[("Cookie", &cookie), FORM], body.as_bytes())
    }

    /// Sends SIGTERM to the service, as a service manager does, and returns its exit code.
    pub fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let told = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Sends one request on a new connection.
pub fn ask(addr: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    ask_on(TcpStream::connect(addr).expect("it listens"), addr, method, path, headers, body)
}

fn ask_on(
    mut stream: impl Read + Write,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("text");
    }
    write!(request, "Content-Length: {}\r\n\r\n", body.len()).expect("text");
    stream.write_all(request.as_bytes()).expect("the head goes");
    // A server that refuses a request early may have closed the connection before the body was sent.
    let _refused_early = stream.write_all(body);
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {}
    let mut answer = Answer::of(&head);
    let mut body = Vec::new();
    // Reads the response by its content length, because some servers keep the connection open.
    let length = answer.header("content-length").parse().unwrap_or(u64::MAX);
    let _cut_off = stream.take(length).read_to_end(&mut body);
    answer.body = String::from_utf8_lossy(&body).into_owned();
    if answer.status >= 400 {
        assert!(!names_a_flag(&answer.body), "a flag of the command line: {method} {path:.80}: {}", answer.body);
    }
    answer
}

/// Returns `true` if a text names a command-line flag outside of a quotation of the request.
fn names_a_flag(text: &str) -> bool {
    let text = text.replace("&quot;", "\"").replace("&#34;", "\"").replace("\\\"", "\"");
    text.match_indices("--").any(|(at, _)| {
        !text[..at].ends_with(|c: char| c.is_alphanumeric() || "-\"!".contains(c))
            && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
    })
}

/// The content-type header of a form.
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A client of the JSON API.
pub struct Client<'a> {
    service: &'a Service,
    bearer: String,
}

impl Client<'_> {
    pub fn get(&self, path: &str) -> Answer {
        self.service.get(path, &[("Authorization", &self.bearer)])
    }

    pub fn post(&self, path: &str, key: &str, kind: &str, body: &str) -> Answer {
        let headers = [("Authorization", self.bearer.as_str()), ("Idempotency-Key", key), ("Content-Type", kind)];
        self.service.ask("POST", path, &headers, body.as_bytes())
    }

    /// Retracts an order. The Idempotency-Key is the order ID in percent-encoding, because a header contains only
    /// ASCII.
    pub fn retract(&self, order: &str) -> Answer {
        let body = serde_json::json!({ "order_id": order, "reason": "refunded", "ticket": "T-1" }).to_string();
        self.post("/api/v1/retractions", &percent_encoded(order), "application/json", &body)
    }

    /// Returns every item of a list, over all its pages.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let (mut path, mut all) = (path.to_owned(), Vec::new());
        loop {
            let page = self.get(&path);
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            all.extend(page.json().as_array().expect("a list").clone());
            let Some(next) = page.header("link").strip_prefix('<') else { return all };
            next.strip_suffix(">; rel=\"next\"").expect("a link to the next page").clone_into(&mut path);
        }
    }
}

/// A browser with a signed-in user.
pub struct Browser<'a> {
    pub service: &'a Service,
    pub cookie: String,
    pub csrf: String,
}

impl Browser<'_> {
    /// Opens a page in the browser.
    pub fn get(&self, path: &str) -> Answer {
        self.service.get(path, &[("Cookie", &self.cookie)])
    }

    /// Submits a form with the browser's CSRF token.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend(fields);
        self.service.ask("POST", path, &[("Cookie", &self.cookie), FORM], form(&all).as_bytes())
    }

    /// Uploads a refund file in the page's form.
    pub fn upload(&self, file: &[u8], fields: &[(&str, &str)]) -> Answer {
        let mut body = Vec::new();
        for (name, value) in [("csrf", self.csrf.as_str())].iter().chain(fields) {
            body.extend(
                format!("--B--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        body.extend(b"--B--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.csv\"\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n--B--B--\r\n");
        let headers = [("Cookie", self.cookie.as_str()), ("Content-Type", "multipart/form-data; boundary=B--B")];
        self.service.ask("POST", "/batch", &headers, &body)
    }

    /// Submits the forms of a retraction and returns the response to the last form.
    #[track_caller]
    pub fn retract(&self, order: &str) -> Answer {
        let asked = [("order", order), ("reason", "refunded"), ("ticket", "T-1")];
        let review = self.post("/retract/review", &asked);
        assert_eq!(review.status, 200, "{}", review.body);
        let seen = field(&review.body, "seen").expect("the name of the plan");
        let mut last = asked.to_vec();
        last.extend([("yes", "1"), ("seen", seen.as_str()), ("disposition", "RETRACTION")]);
        self.post("/retract/send", &last)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: String,
}

impl Answer {
    /// Parses the head of a response; the body stays empty.
    fn of(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Self { status, headers, body: String::new() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// Returns a cookie of the response as the value of a `Cookie` header.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let all = self.headers.get("set-cookie")?;
        let cookie = all.iter().find(|cookie| cookie.starts_with(&format!("{name}=")))?;
        cookie.split(';').next().map(str::to_owned)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Adds a user and returns the password.
#[track_caller]
pub fn add_user(home: &Home, name: &str, role: &str) -> String {
    let added = home.check(&["user", "add", name, "--role", role, "--json"], 0).object();
    added["password"].as_str().expect("a password").to_owned()
}

/// Adds a token and returns it.
#[track_caller]
pub fn add_token(home: &Home, user: &str, scopes: &[&str]) -> String {
    let mut args = vec!["user", "token", "add", user, "--name", "test", "--json"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    home.check(&args, 0).object()["token"].as_str().expect("a token").to_owned()
}

/// Returns the value of a hidden form field.
pub fn field(html: &str, name: &str) -> Option<String> {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// Encodes fields as a form body.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    pairs.join("&")
}

/// Percent-encodes a value for a link or a form.
pub fn percent_encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
