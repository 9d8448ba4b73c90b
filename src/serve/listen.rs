//! Accepts connections: checks the listen address, and limits the number of connections and the time for slow clients.
//!
//! Passwords and cookies never cross a network unencrypted: without TLS, only a loopback address is allowed. Each
//! network may open only a part of all connections. The service disconnects a client that neither sends nor reads.
//!
//! recoup has its own accept loop, because `axum::serve` supports neither a header time-out nor a connection limit.
//! axum-server would save no code, because it would need recoup's own acceptor for the limit per network and for the
//! write time-out. recoup uses hyper for HTTP, rustls for TLS, hyper-util for draining, and tokio-io-timeout for the
//! write time-out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::Options;
use super::app::App;
use super::connection::Connection;
use crate::access::network_of;
use crate::error::{Error, Kind, Result};

/// Maximum number of open connections. Further connections to the service wait in the kernel's accept queue.
const CONNECTIONS: usize = 1024;

/// Maximum number of open connections from one network. The service closes a further connection at once. Behind a proxy
/// this limit does not apply, because the proxy makes all connections.
const CONNECTIONS_PER_NETWORK: usize = 128;

/// Maximum number of requests on one connection, after which the service closes the connection.
const REQUESTS_PER_CONNECTION: u32 = 1_000;

/// Time limit for the TLS handshake, and for receiving the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A write that makes no progress for this long fails.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time after a stop signal in which open connections may finish their request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

pub(super) async fn bind(options: &Options) -> Result<Bound> {
    let address = options.listen;
    check_address(address, options.tls.is_some(), options.behind_proxy)?;
    let tls = options.tls.as_ref().map(|(cert, key)| tls_acceptor(cert, key)).transpose()?;
    let failed = |error: std::io::Error| {
        Error::new(Kind::Failed, format!("failed to listen on {address}: {error}"))
            .hint("choose another --listen, or port 0 for any free port")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, tls })
}

/// Fails if other machines can reach the address and passwords would cross the network unencrypted.
fn check_address(address: SocketAddr, tls: bool, behind_proxy: bool) -> Result<()> {
    if address.ip().is_loopback() || tls || behind_proxy {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{address} can be reached from other machines, and there is no TLS")).hint(
        "set --tls-cert and --tls-key, or put a reverse proxy with TLS in front and add --behind-proxy, or listen on 127.0.0.1",
    ))
}

fn tls_acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let wrong = |path: &Path, why: String| {
        Error::new(Kind::Config, format!("{} is not usable: {why}", path.display()))
            .hint("both files are PEM: the certificate chain in one, the key of its first certificate in the other")
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(cert, "there is no certificate in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(key, "there is no private key in it".to_owned()),
        error => wrong(key, error.to_string()),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(cert, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Bound {
    /// Returns the bound address. If port 0 was requested, the address has the port that the operating system chose.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the service is stopped. After the stop, open connections may finish their request.
    pub(super) async fn serve(self, app: &App, router: Router) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let per_network = (!app.options.behind_proxy).then(PerNetwork::default);
        loop {
            let accepted = tokio::select! {
                accepted = async { (Arc::clone(&room).acquire_owned().await, self.listener.accept().await) } => accepted,
                () = app.stop.cancelled() => break,
            };
            let (stream, peer, permit) = match accepted {
                (permit, Ok((stream, peer))) => (stream, peer, permit),
                (_, Err(error)) => {
                    // The accept error is temporary, such as too many open files. A pause keeps the accept loop from
                    // spinning.
                    tracing::warn!(%error, "a connection was not accepted");
                    app.clock.sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let slot = match &per_network {
                None => None,
                Some(per_network) => {
                    let slot = per_network.open(peer.ip());
                    if slot.is_none() {
                        tracing::debug!("a network has too many connections; this one is closed");
                        continue;
                    }
                    slot
                }
            };
            let (router, tls, watcher) = (router.clone(), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                serve_connection(stream, peer, tls, router, watcher).await;
                drop((permit, slot));
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections were still open at the end");
        }
    }
}

/// Number of open connections from each network.
#[derive(Debug, Clone, Default)]
struct PerNetwork(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// Counts as one open connection of the network until the value is dropped.
struct Slot(PerNetwork, IpAddr);

impl PerNetwork {
    /// Counts a connection. Returns `None` if the network has reached its limit of connections.
    fn open(&self, address: IpAddr) -> Option<Slot> {
        let network = network_of(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= CONNECTIONS_PER_NETWORK {
            return None;
        }
        *count += 1;
        Some(Slot(self.clone(), network))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

fn with_write_timeout<S: AsyncRead + AsyncWrite>(stream: S) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) {
    // Without `TCP_NODELAY`, Nagle's algorithm delays a response of one segment.
    drop(stream.set_nodelay(true));
    let stream = with_write_timeout(stream);
    match tls {
        None => serve_http(stream, peer, router, watcher).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, peer, router, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("a TLS handshake timed out"),
        },
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
) {
    let requests = AtomicU32::new(0);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let is_last = requests.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS_PER_CONNECTION;
        let response = router.clone().call(request);
        async move {
            let mut response = response.await?;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Connection::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Returns the address of the connection's peer: the client, or the proxy if the service is behind a proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Returns a client that has sent `bytes`, and the future that serves its connection.
    async fn client(bytes: &[u8]) -> (tokio::io::DuplexStream, impl Future<Output = ()>) {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(bytes).await.expect("room for the request");
        let router = Router::new().route("/", axum::routing::get(|| async { "x".repeat(1 << 20) }));
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let served = async move {
            let graceful = GracefulShutdown::new();
            serve_http(with_write_timeout(server), peer, router, graceful.watcher()).await;
        };
        (client, served)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_or_never_sends_is_disconnected() {
        for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"GET / HTTP/1.1\r\nHost", b""] {
            let (_client, served) = client(bytes).await;
            let ended = tokio::time::timeout(Duration::from_mins(1), served).await;
            assert!(ended.is_ok(), "{:?}", String::from_utf8_lossy(bytes));
        }
        // A client that reads slowly gets the whole response.
        let (mut client, served) = client(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let reading = async move {
            let (mut all, mut piece) = (0, vec![0; 64 << 10]);
            loop {
                tokio::time::sleep(WRITE_TIMEOUT / 2).await;
                match client.read(&mut piece).await.expect("the response") {
                    0 => return all,
                    read => all += read,
                }
            }
        };
        assert!(tokio::join!(served, reading).1 > 1 << 20);
    }

    #[test]
    fn one_network_gets_only_a_part_of_the_connections() {
        let per_network = PerNetwork::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut open: Vec<Slot> = (0..CONNECTIONS_PER_NETWORK)
            .map(|n| per_network.open(address(&format!("2001:db8::{n:x}"))).expect("room"))
            .collect();
        assert!(per_network.open(address("2001:db8::ffff:1")).is_none(), "the same /64");
        assert!(per_network.open(address("2001:db8:0:1::1")).is_some(), "another /64");
        assert!(per_network.open(address("192.0.2.1")).is_some());
        open.pop();
        assert!(per_network.open(address("2001:db8::1")).is_some(), "one was closed");
        drop(open);
        assert!(per_network.0.lock().expect("no panic").is_empty(), "closed connections leave no entry");
    }

    #[test]
    fn an_address_that_others_reach_needs_tls() {
        for (address, tls, proxy, allowed) in [
            ("127.0.0.1:8080", false, false, true),
            ("[::1]:8080", false, false, true),
            ("127.9.9.9:1", false, false, true),
            ("0.0.0.0:8080", false, false, false),
            ("[::]:8080", false, false, false),
            ("192.0.2.1:80", false, false, false),
            ("0.0.0.0:8080", true, false, true),
            ("0.0.0.0:8080", false, true, true),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(check_address(address, tls, proxy).is_ok(), allowed, "{address} {tls} {proxy}");
        }
    }
}
