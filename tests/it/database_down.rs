//! The service while its PostgreSQL server is away: it starts, says what is wrong, sends nothing, and recovers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use crate::service::{Service, add_token, add_user, ask};
use crate::support::{Home, Sim, new_stores, wait_until};

/// What a [`Line`] does with the bytes of its connections.
#[derive(Clone, Copy)]
enum Way {
    /// No process listens: every connection is closed.
    Closed,
    Open,
    /// Bytes are lost, and no connection is closed.
    Silent,
}

/// A TCP connection to a server, which a test interrupts.
struct Line {
    port: u16,
    way: Arc<AtomicU8>,
}

impl Line {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let way = Arc::new(AtomicU8::new(Way::Closed as u8));
        let (of_thread, server) = (Arc::clone(&way), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                let pairs = [(&client, &upstream), (&upstream, &client)];
                for (from, to) in pairs.map(|(from, to)| (from.try_clone().expect("one"), to.try_clone().expect("one")))
                {
                    let way = Arc::clone(&of_thread);
                    std::thread::spawn(move || copy(from, to, &way));
                }
            }
        });
        Self { port, way }
    }

    fn set(&self, way: Way) {
        self.way.store(way as u8, SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, way: &AtomicU8) {
    from.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
    let mut buffer = [0; 16 << 10];
    while way.load(SeqCst) != Way::Closed as u8 {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if way.load(SeqCst) == Way::Open as u8 => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    for stream in [&from, &to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}

/// A crawled server, and the address of the same stores through a line.
fn behind_a_line() -> Option<(Sim, Home, Home, Line, String)> {
    let address = new_stores()?;
    let sim = Sim::start(&["--participants", "300"]);
    let direct = Home::new(&sim).on(&address);
    direct.crawl();
    add_user(&direct, "ann", "agent");
    let token = add_token(&direct, "ann", &["lookup", "retract"]);
    let server = address.split(['@', '/']).find(|part| part.contains(':') && part.contains('.')).expect("a host");
    let line = Line::to(server);
    let through = Home::new(&sim).on(&address.replace(server, &format!("127.0.0.1:{}", line.port)));
    Some((sim, direct, through, line, token))
}

#[test]
fn a_service_that_starts_before_its_database_says_so_and_recovers() {
    let Some((sim, _direct, home, line, token)) = behind_a_line() else { return };
    let service = Service::start(&home);
    assert_eq!(service.get("/healthz", &[]).status, 200);
    let unready = service.get("/readyz", &[]);
    assert_eq!(unready.status, 503, "{unready:?}");
    assert!(unready.body.contains("cannot be reached"), "{unready:?}");
    let order = sim.example("plain").order_id;
    let refused = service.client(&token).retract(&order);
    assert!(refused.status >= 500, "{refused:?}");
    assert_eq!(sim.deletes().len(), 0);
    line.set(Way::Open);
    wait_until("the service is ready", || service.get("/readyz", &[]).status == 200);
    let sent = service.client(&token).retract(&order);
    assert!(sent.status < 300, "{sent:?}");
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn a_lost_connection_is_reported_nothing_is_sent_and_the_next_one_works() {
    let Some((sim, _direct, home, line, token)) = behind_a_line() else { return };
    line.set(Way::Open);
    let service = Service::start(&home);
    let client = service.client(&token);
    let orders = [sim.example("plain").order_id, sim.another("plain").order_id];
    let path = format!("/api/v1/lookup?order_id={}", orders[0].replace('#', "%23"));
    let found = client.get(&path);
    assert_eq!(found.status, 200, "{found:?}");
    for way in [Way::Silent, Way::Closed] {
        line.set(way);
        let lost = client.get(&path);
        assert!(lost.status >= 500 && lost.body.contains("cannot be reached"), "{lost:?}");
        let refused = client.retract(&orders[1]);
        assert!(refused.status >= 500, "{refused:?}");
        wait_until("the service is not ready", || service.get("/readyz", &[]).status == 503);
        assert_eq!(sim.deletes().len(), 0);
        line.set(Way::Open);
        wait_until("the service is ready", || service.get("/readyz", &[]).status == 200);
        assert_eq!(client.get(&path).status, 200);
    }
    assert!(client.retract(&orders[1]).status < 300);
    assert_eq!(sim.deletes().len(), 1);
    let alive = ask(&service.addr, "GET", "/healthz", &[], b"");
    assert_eq!(alive.status, 200);
}
