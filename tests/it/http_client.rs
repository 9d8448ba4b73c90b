//! Tests of the HTTP client against the vendor: TLS, private certificate authorities and proxies, all on this machine.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::{Request, Response};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{Home, Sim};

fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

/// Accepts connections on a free port until the test process ends, and gives each connection to `serve`.
fn listen<S, F>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            sender.send(listener.local_addr().expect("an address")).expect("the test waits for it");
            while let Ok((stream, _)) = listener.accept().await {
                // The test does not fail if the client disconnects.
                let serving = serve(stream);
                tokio::spawn(async move { drop(serving.await) });
            }
        });
    });
    receiver.recv().expect("it listens")
}

/// Returns a TLS configuration for `localhost` and `advocate.example`.
fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(tls("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(tls("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Starts a TLS server in front of the simulator.
fn front(sim: &Sim) -> SocketAddr {
    let (acceptor, behind) = (acceptor(&[]), sim.addr.clone());
    listen(move |stream| {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        async move {
            let mut outside = acceptor.accept(stream).await?;
            let mut inside = TcpStream::connect(behind).await?;
            copy_bidirectional(&mut outside, &mut inside).await.map(drop)
        }
    })
}

/// Starts an HTTP/2 server in front of the simulator. The server answers this many requests on each connection, then
/// refuses the requests that are in flight.
fn front_over_http2(sim: &Sim, questions: u32) -> SocketAddr {
    let (acceptor, behind) = (acceptor(&["h2"]), sim.addr.clone());
    listen(move |stream| {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        async move {
            let socket = stream.into_std()?;
            let mut unread = TcpStream::from_std(socket.try_clone()?)?;
            let stream = TcpStream::from_std(socket)?;
            let mut connection = h2::server::handshake(acceptor.accept(stream).await?).await.map_err(Error::other)?;
            let mut taken = 0;
            while let Some(asked) = connection.accept().await {
                let (request, mut respond) = asked.map_err(Error::other)?;
                taken += 1;
                if taken > questions {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                let behind = behind.clone();
                tokio::spawn(async move { drop(pass_on(&behind, &request, respond).await) });
                if taken == questions {
                    connection.graceful_shutdown();
                }
            }
            drop(connection);
            // If a socket is closed with unread data, the connection is reset, and the client may lose the GOAWAY
            // frame, which says which requests were not processed.
            tokio::io::copy(&mut unread, &mut tokio::io::sink()).await.map(drop)
        }
    })
}

async fn pass_on(behind: &str, request: &Request<RecvStream>, mut respond: SendResponse<Bytes>) -> std::io::Result<()> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let head = format!("GET {path} HTTP/1.1\r\nhost: simulator\r\nauthorization: {}\r\n", header("authorization"));
    let mut inside = TcpStream::connect(behind).await?;
    inside.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    inside.read_to_end(&mut answer).await?;
    let ends = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)? + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..ends]));
    let mut body = respond.send_response(Response::new(()), false).map_err(Error::other)?;
    body.send_data(Bytes::copy_from_slice(&answer[ends..]), true).map_err(Error::other)
}

/// Starts a proxy that forwards every connection to one address and records the requests.
fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let addr = listen(move |mut outside| {
        let kept = Arc::clone(&kept);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(outside.read_u8().await?);
            }
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&head).to_lowercase());
            let mut inside = TcpStream::connect(to).await?;
            outside.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            copy_bidirectional(&mut outside, &mut inside).await.map(drop)
        }
    });
    (addr, asked)
}

#[test]
fn the_vendor_is_read_over_tls_with_the_systems_trust_store() {
    let sim = Sim::start(&["--participants", "200"]);
    let url = format!("https://localhost:{}/api/v1", front(&sim).port());
    let home = Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url);
    let stranger = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert!(stranger.stdout.contains("UnknownIssuer"), "{}", stranger.stdout);
    assert!(stranger.stderr.contains("SSL_CERT_FILE") && stranger.stderr.contains("CA certificates"), "{stranger:?}");
    assert_eq!(sim.requests(), 0, "nothing was said to somebody who may be anybody");
    let home = home.set("SSL_CERT_FILE", &tls("ca.pem").display().to_string());
    assert_eq!(home.crawl().object()["complete"], true);
    assert!(sim.requests() > 0);
}

#[test]
fn a_cleanly_closed_connection_is_no_failure() {
    let sim = Sim::start(&["--participants", "400"]);
    let url = format!("https://localhost:{}/api/v1", front_over_http2(&sim, 20).port());
    let home =
        Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url).set("SSL_CERT_FILE", &tls("ca.pem").display().to_string());
    // A time-out on a busy machine would cause a second retry.
    let patient = std::fs::read_to_string(home.path("recoup.toml"))
        .expect("the settings")
        .replace("timeout = '2s'", "timeout = '30s'");
    home.configure(&patient);
    let crawl = home.crawl().object();
    assert_eq!(crawl["complete"], true);
    // The server did not process a refused request, so recoup repeats it without a delay or a message.
    assert_eq!(crawl["requests"].as_u64(), Some(sim.requests()));
}

#[test]
fn the_environments_proxy_is_used_and_sees_no_token() {
    let sim = Sim::start(&["--participants", "200"]);
    let (addr, asked) = proxy(front(&sim));
    let home = Home::new(&sim)
        .set("RECOUP_ADVOCATE_URL", "https://advocate.example/api/v1")
        .set("SSL_CERT_FILE", &tls("ca.pem").display().to_string())
        .set("HTTPS_PROXY", &format!("http://ann:hush@{addr}"));
    assert_eq!(home.crawl().object()["complete"], true);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!asked.is_empty());
    for head in &asked {
        assert!(head.starts_with("connect advocate.example:443 "), "{head}");
        assert!(head.contains("proxy-authorization: basic"), "{head}");
        assert!(!head.contains("\r\nauthorization:"), "{head}");
    }
    let home = home.set("HTTPS_PROXY", "socks5://ann:hush@127.0.0.1:1080");
    let refused = home.check(&["crawl", "--source", "participants", "--json"], 3);
    assert!(refused.stdout.contains("HTTPS_PROXY") && !refused.stdout.contains("hush"), "{}", refused.stdout);
}

#[test]
fn a_403_of_a_firewall_is_not_blamed_on_the_token() {
    let sim = Sim::start(&["--participants", "50"]);
    let home = Home::new(&sim);
    sim.post("set?fault=403-html=1");
    for (args, code) in [(&["doctor"][..], 1), (&["crawl", "--source", "participants"], 1)] {
        let ran = home.check(args, code);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            said.contains("did not come from the API") && said.contains("Access denied | Example Firewall"),
            "{said}"
        );
        assert!(said.contains("HTTPS_PROXY"), "{said}");
        assert!(!said.contains("may not use") && !said.contains("ann@example.com"), "{said}");
    }
}
