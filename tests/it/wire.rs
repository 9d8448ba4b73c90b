//! The way to the vendor: over TLS, and through a proxy where there is one. Both stand before the simulator here, and all names
//! are of this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// Accepts connections on a port of its own, as long as the tests run, and gives each to `serve`.
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
                // A client that goes away is none of ours.
                let serving = serve(stream);
                tokio::spawn(async move { drop(serving.await) });
            }
        });
    });
    receiver.recv().expect("it listens")
}

/// TLS before the simulator, for `localhost` and `advocate.example`.
fn front(sim: &Sim) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(tls("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(tls("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), sim.addr.clone());
    listen(move |stream| {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        async move {
            let mut outside = acceptor.accept(stream).await?;
            let mut inside = TcpStream::connect(behind).await?;
            copy_bidirectional(&mut outside, &mut inside).await.map(drop)
        }
    })
}

/// A proxy that leads everybody to one place, and keeps what it was asked.
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
fn the_vendor_is_read_over_tls_from_whom_the_system_trusts() {
    let sim = Sim::start(&["--participants", "200"]);
    let url = format!("https://localhost:{}/api/v1", front(&sim).port());
    let home = Home::new(&sim).set("RECOUP_ADVOCATE_URL", &url);
    let stranger = home.check(&["crawl", "--source", "participants", "--json"], 1);
    assert!(stranger.stdout.contains("UnknownIssuer"), "{}", stranger.stdout);
    assert_eq!(sim.requests(), 0, "nothing was said to somebody who may be anybody");
    let home = home.set("SSL_CERT_FILE", &tls("ca.pem").display().to_string());
    assert_eq!(home.crawl().object()["complete"], true);
    assert!(sim.requests() > 0);
}

#[test]
fn a_proxy_of_the_environment_is_gone_through_and_hears_no_token() {
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
