//! Taking connections: where, over what, how many, and how long a slow client may take.
//!
//! Another address than this machine's own is refused unless somebody has seen to TLS: passwords and cookies never cross a
//! network in clear. On the end of the service every connection finishes its request, and takes no other.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::Options;
use super::app::App;
use super::refusal::Spoken;
use crate::error::{Error, Kind, Result};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1024;

/// A client has this long for the head of a request, and for the TLS handshake.
const HEAD: Duration = Duration::from_secs(10);

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
            let (router, stop, tls) = (router.clone(), stop.clone(), self.tls.clone());
            open.spawn(async move {
                take(stream, peer, tls, router, stop).await;
                drop(place);
            });
        }
        drop(self.listener);
        open.close();
        if tokio::time::timeout(LAST_ANSWERS, open.wait()).await.is_err() {
            tracing::warn!("some connections were still open at the end");
        }
    }
}

async fn take(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, router: Router, stop: CancellationToken) {
    // An answer of one segment must not wait for the next one.
    drop(stream.set_nodelay(true));
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
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
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
    use super::*;

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
