//! Taking connections: where, over what, how many, and how long a slow client may take.
//!
//! One address has a part of the connections, so that it cannot take all of them from everybody else; a client that neither
//! asks nor reads is hung up on.
//!
//! Another address than this machine's own is refused unless somebody has seen to TLS: passwords and cookies never cross a
//! network in clear. On the end of the service every connection finishes its request, and takes no other.

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
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::Options;
use super::app::App;
use super::refusal::Spoken;
use crate::access::network_of;
use crate::error::{Error, Kind, Result};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1024;

/// Connections at once from one address; more are closed at once. Behind a proxy nothing is counted: all come from its address.
const CONNECTIONS_OF_ONE: usize = 128;

/// Requests in one connection; the answer to the last one closes it.
const REQUESTS: u32 = 1_000;

/// A client has this long for the head of a request, also of the next one in the same connection, and for the TLS handshake.
const HEAD: Duration = Duration::from_secs(10);

/// A client has this long to read more of an answer.
const WRITE: Duration = Duration::from_secs(30);

/// After the end was asked for, connections have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// A bound address.
pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// Binds the address, if it may be.
pub(super) async fn bind(options: &Options) -> Result<Bound> {
    let address = options.listen;
    check(address, options.tls.is_some(), options.behind_proxy)?;
    let tls = options.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
    let failed = |error: std::io::Error| {
        Error::new(Kind::Failed, format!("failed to listen on {address}: {error}"))
            .hint("choose another --listen, or port 0 for any that is free")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, tls })
}

/// Refuses an address that others reach, where passwords would cross the network in clear.
fn check(address: SocketAddr, tls: bool, behind_proxy: bool) -> Result<()> {
    if address.ip().is_loopback() || tls || behind_proxy {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{address} can be reached from other machines, and there is no TLS")).hint(
        "name --tls-cert and --tls-key, or put a reverse proxy with TLS in front and say --behind-proxy, or listen on 127.0.0.1",
    ))
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let wrong = |path: &Path, why: String| {
        Error::new(Kind::Config, format!("{} is not usable: {why}", path.display()))
            .hint("both files are PEM: the whole chain in one, the key of its first certificate in the other")
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
    /// The address, with the port that was taken.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections until the service ends, and lets those that are open finish.
    pub(super) async fn serve(self, app: &App, router: Router) {
        let (stop, open) = (app.stop.clone(), TaskTracker::new());
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let counted = (!app.options.behind_proxy).then(Counted::default);
        loop {
            let place = tokio::select! {
                place = Arc::clone(&room).acquire_owned() => place,
                () = stop.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, for example: it passes, and must not be asked about in a hot loop.
                    tracing::warn!(%error, "a connection was not taken");
                    app.clock.sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let one_of = match counted.as_ref().map(|counted| counted.one_more(peer.ip())) {
                Some(None) => {
                    tracing::debug!("an address has too many connections; this one is closed");
                    continue;
                }
                Some(one_of) => one_of,
                None => None,
            };
            let (router, stop, tls) = (router.clone(), stop.clone(), self.tls.clone());
            open.spawn(async move {
                take(stream, peer, tls, router, stop).await;
                drop((place, one_of));
            });
        }
        drop(self.listener);
        open.close();
        if tokio::time::timeout(LAST_ANSWERS, open.wait()).await.is_err() {
            tracing::warn!("some connections were still open at the end");
        }
    }
}

/// Open connections by the network that they come from.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; ends with it.
struct OneOf(Counted, IpAddr);

impl Counted {
    /// Counts one more connection; `None` if its network has as many as it may have.
    fn one_more(&self, address: IpAddr) -> Option<OneOf> {
        let network = network_of(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= CONNECTIONS_OF_ONE {
            return None;
        }
        *count += 1;
        Some(OneOf(self.clone(), network))
    }
}

impl Drop for OneOf {
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

/// A stream on which a write that makes no progress fails.
fn impatient<S: AsyncRead + AsyncWrite>(stream: S) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    Box::pin(stream)
}

async fn take(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, router: Router, stop: CancellationToken) {
    // An answer of one segment must not wait for the next one.
    drop(stream.set_nodelay(true));
    let stream = impatient(stream);
    match tls {
        None => talk(stream, peer, router, stop).await,
        Some(acceptor) => match tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, peer, router, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
            Err(_elapsed) => tracing::debug!("a client was too slow for TLS"),
        },
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    let asked = AtomicU32::new(0);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let is_last = asked.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS;
        let answer = router.clone().call(request);
        async move {
            let mut response = answer.await?;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Spoken::new(stream)), service);
    tokio::pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A connection whose client has sent this and never reads; its other end, to be served.
    async fn sent(bytes: &[u8]) -> (tokio::io::DuplexStream, impl Future<Output = ()>) {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(bytes).await.expect("it is sent");
        let router = Router::new().route("/", axum::routing::get(|| async { "x".repeat(1 << 20) }));
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        (client, talk(impatient(server), peer, router, CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_and_who_never_asks_is_hung_up_on() {
        for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"GET / HTTP/1.1\r\nHost", b""] {
            let (_client, served) = sent(bytes).await;
            let ended = tokio::time::timeout(Duration::from_mins(1), served).await;
            assert!(ended.is_ok(), "{:?}", String::from_utf8_lossy(bytes));
        }
        // One that reads slowly gets all of it.
        let (mut client, served) = sent(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let reading = async move {
            let (mut all, mut piece) = (0, vec![0; 64 << 10]);
            loop {
                tokio::time::sleep(WRITE / 2).await;
                match client.read(&mut piece).await.expect("it is read") {
                    0 => return all,
                    read => all += read,
                }
            }
        };
        assert!(tokio::join!(served, reading).1 > 1 << 20);
    }

    #[test]
    fn one_network_has_a_part_of_the_connections() {
        let counted = Counted::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut open: Vec<OneOf> = (0..CONNECTIONS_OF_ONE)
            .map(|n| counted.one_more(address(&format!("2001:db8::{n:x}"))).expect("room"))
            .collect();
        assert!(counted.one_more(address("2001:db8::ffff:1")).is_none(), "the same /64");
        assert!(counted.one_more(address("2001:db8:0:1::1")).is_some(), "another /64");
        assert!(counted.one_more(address("192.0.2.1")).is_some());
        open.pop();
        assert!(counted.one_more(address("2001:db8::1")).is_some(), "one has ended");
        drop(open);
        assert!(counted.0.lock().expect("nobody panicked").is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn an_address_that_others_reach_needs_tls() {
        for (address, tls, proxy, goes) in [
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
            assert_eq!(check(address, tls, proxy).is_ok(), goes, "{address} {tls} {proxy}");
        }
    }
}
