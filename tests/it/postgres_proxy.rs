//! A TCP proxy in front of a PostgreSQL server, which cuts a connection at a commit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The moment at which the proxy cuts the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The PostgreSQL server never receives the commit.
    Before,
    /// The PostgreSQL server commits, and the client gets no response.
    After,
    /// The client loses the connection first, and the PostgreSQL server receives the commit a moment later.
    Late,
}

/// A proxy on a free port, which runs until the test process ends.
pub struct Proxy {
    pub port: u16,
    cuts: Arc<Cuts>,
}

#[derive(Default)]
struct Cuts {
    armed: Mutex<Option<(usize, Cut)>>,
    commits: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to a PostgreSQL server at `host:port`.
    pub fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cuts = Arc::new(Cuts::default());
        let (server, of_thread) = (server.to_owned(), Arc::clone(&cuts));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                connect(client, upstream, &of_thread);
            }
        });
        Self { port, cuts }
    }

    /// Makes the proxy cut the connection at the commit with this number, counted from 1 from now on. With `None`, the
    /// proxy cuts no connection.
    pub fn arm(&self, cut: Option<(usize, Cut)>) {
        *self.cuts.armed.lock().expect("no panic") = cut;
        self.cuts.commits.store(0, SeqCst);
    }

    /// Returns the number of commits since [`Proxy::arm`].
    pub fn commits(&self) -> usize {
        self.cuts.commits.load(SeqCst)
    }
}

fn connect(client: TcpStream, server: TcpStream, cuts: &Arc<Cuts>) {
    let muted = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client) =
        (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
    let is_muted = Arc::clone(&muted);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            if is_muted.load(SeqCst) || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        for stream in [&from_server, &to_client] {
            drop(stream.shutdown(Shutdown::Both));
        }
    });
    let cuts = Arc::clone(cuts);
    std::thread::spawn(move || {
        drop(forward(&client, &server, &cuts, &muted));
        for stream in [&client, &server] {
            drop(stream.shutdown(Shutdown::Both));
        }
    });
}

/// Forwards the client's messages to the server, until one of them disconnects or a commit is cut.
fn forward(mut client: &TcpStream, mut server: &TcpStream, cuts: &Cuts, muted: &AtomicBool) -> std::io::Result<()> {
    let mut length = [0; 4];
    // The first message of the PostgreSQL protocol has no type byte.
    client.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut startup)?;
    server.write_all(&[&length[..], &startup].concat())?;
    loop {
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        client.read_exact(&mut body)?;
        let message = [&head[..], &body].concat();
        if message.ends_with(b"COMMIT\0") {
            let nth = cuts.commits.fetch_add(1, SeqCst) + 1;
            match *cuts.armed.lock().expect("no panic") {
                Some((wanted, Cut::Before)) if wanted == nth => return Ok(()),
                Some((wanted, Cut::After)) if wanted == nth => muted.store(true, SeqCst),
                Some((wanted, Cut::Late)) if wanted == nth => {
                    muted.store(true, SeqCst);
                    client.shutdown(Shutdown::Both)?;
                    std::thread::park_timeout(Duration::from_millis(300));
                    server.write_all(&message)?;
                    // Keeps the connection to the server open until the server has answered.
                    std::thread::park_timeout(Duration::from_millis(300));
                    return Ok(());
                }
                _ => {}
            }
        }
        server.write_all(&message)?;
    }
}
