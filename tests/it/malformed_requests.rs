//! Sends malformed requests to every route of the service: none breaks the service or sends a reversal.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use recoup::serve::{Audience, all_routes};

use crate::service::{Service, add_token, add_user};
use crate::support::{ready, size};

/// Text fragments that parsers treat specially, and unexpected bytes.
const PIECES: &[&[u8]] = &[
    b"order=1",
    b"orders=%ff%00%0d%0a",
    b"&&==&",
    b"%",
    b"%zz",
    b"csrf=",
    b"yes=1&seen=",
    b"\0",
    b"\xff\xfe",
    b"\r\n",
    b"{\"order_id\":",
    b"{\"order_id\":\"1\",\"reason\":\"x\",\"plan\":\"y\"}",
    b"[[[[[[[[[[[[[[[[",
    b"1e999999",
    b"\"\\ud800\"",
    b"order_id\n\"1",
    b"order_id,action_id\n1,2,3\n",
    b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n",
    b"--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n",
    b"--B--\r\n",
    b"<script>alert(1)</script>",
    b"../../../../etc/passwd",
    b"'; DROP TABLE users; --",
];

const TYPES: &[&str] = &[
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=B",
    "multipart/form-data",
    "text/csv",
    "text/csv; charset=utf-16",
    "\u{7f}",
    "",
];

fn nonsense(random: &mut fastrand::Rng, csrf: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..random.usize(0..8) {
        match random.u8(0..8) {
            0 => body.extend((0..random.usize(0..64)).map(|_| random.u8(..))),
            1 => body.extend(format!("csrf={csrf}&").bytes()),
            2 => body.extend(format!("--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n").bytes()),
            _ => body.extend(random.choice(PIECES).copied().unwrap_or_default()),
        }
    }
    body
}

#[test]
fn malformed_requests_on_every_route_break_nothing_and_send_nothing() {
    let (sim, home) = ready(&[]);
    let password = add_user(&home, "admin", "admin");
    let scopes = ["lookup", "preflight", "status", "metrics", "accounts", "retract", "batch", "override", "approve"];
    let token = format!("Bearer {}", add_token(&home, "admin", &scopes));
    let service = Service::start(&home);
    let browser = service.login("admin", &password);
    let seed = size("TEST_SEED", 5) as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut answered = 0;
    for route in all_routes() {
        // Skips routes that end the session, hash a password, or stream events.
        if ["/logout", "/login", "/receipt/live"].contains(&route.path) {
            continue;
        }
        for n in 0..size("TEST_NONSENSE", 24) {
            let query = String::from_utf8_lossy(&nonsense(&mut random, &browser.csrf)).into_owned();
            let query: String = query.chars().filter(char::is_ascii_graphic).collect();
            let id = random.choice(["1", "-1", "99999999999999999999", "%00", "%2e%2e", "%ff", "x"]).unwrap_or("x");
            let path = format!("{}?{query}", route.path.replace("{id}", id));
            let body = nonsense(&mut random, &browser.csrf);
            let key = format!("{seed}-{}-{n}", route.path);
            let kind = random.choice(TYPES).copied().unwrap_or_default();
            let mut headers = vec![("Content-Type", kind), ("Idempotency-Key", key.as_str())];
            match route.audience {
                Audience::Page => headers.push(("Cookie", browser.cookie.as_str())),
                Audience::Api | Audience::Machine => headers.push(("Authorization", token.as_str())),
            }
            let answer = service.ask(route.method, &path, &headers, &body);
            // No response may have a 5xx status, because the simulated vendor answers every request.
            assert!(
                (200..500).contains(&answer.status),
                "seed {seed}: {} {path} {headers:?} {:?}: {} {}",
                route.method,
                String::from_utf8_lossy(&body),
                answer.status,
                answer.body
            );
            answered += 1;
        }
    }
    assert!(answered > 500, "{answered}");
    assert!(sim.deletes().is_empty(), "nothing was retracted by any of it");
    assert_eq!(service.get("/healthz", &[]).status, 200);
}

#[test]
fn a_connection_without_http_is_closed() {
    let (_sim, home) = ready(&[]);
    let service = Service::start(&home);
    let long = [b"GET / HTTP/1.1\r\nHost: x\r\nX: ".as_slice(), &b"a".repeat(100_000)].concat();
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(5_000)].concat();
    for bytes in [
        b"\x16\x03\x01\x02\x00".as_slice(),
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n",
        &long,
        &many,
    ] {
        let mut stream = TcpStream::connect(&service.addr).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        let _refused_early = stream.write_all(bytes);
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        let _hung_up = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || !answer.contains(" 200 "), "{:?}: {answer}", String::from_utf8_lossy(bytes));
        assert_eq!(service.get("/healthz", &[]).status, 200);
    }
}
