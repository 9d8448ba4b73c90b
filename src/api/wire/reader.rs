//! Many questions to one host, over connections that are kept and shared.
//!
//! By hyper-util's client, the one that reqwest is made of: what reqwest adds to it (redirects, retries, cookies) is not wanted
//! for what is asked a million times, and costs as much again as the question. Whatever goes wrong here, asking again is as
//! good as asking once.

use std::error::Error as StdError;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use super::{Answer, BODY_LIMIT, Body, Failure, common_headers, install_crypto, no_https};
use crate::api::auth::Token;
use crate::api::options::{HostOptions, check_base, is_loopback};
use crate::error::{Error, Kind, Result};

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(90);
/// How often a question is put again, over another connection, that a host has not taken because it was closing the one before.
const NOT_TAKEN: u32 = 5;
/// How often a connection that says nothing is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The connections over which one host is read.
pub(crate) struct Reader {
    client: Client<HttpsConnector<Route>, Full<Bytes>>,
    headers: HeaderMap,
    timeout: Duration,
}

impl Reader {
    /// Checks the base URL, builds the client.
    ///
    /// # Errors
    /// `Kind::Config` for an unsafe base URL, and a proxy that cannot be used.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        check_base(&options.base)?;
        install_crypto();
        let mut headers = common_headers(version)?;
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let is_plain = options.base.scheme() == "http";
        let tls = ClientConfig::builder();
        let tls = if is_plain {
            // A loopback host needs no certificates, and a bare container may have none to load.
            tls.with_root_certificates(RootCertStore::empty())
        } else {
            tls.with_platform_verifier().map_err(|error| no_https(&error))?
        };
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
        let https = if is_plain { https.https_or_http() } else { https.https_only() };
        let proxies = if is_loopback(&options.base) { Matcher::builder().build() } else { Matcher::from_env() };
        let route = Route::to(&options.base, &proxies, options.connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(options.concurrency)
            .build(https.enable_http1().enable_http2().wrap_connector(route));
        Ok(Self { client, headers, timeout: options.timeout })
    }

    /// Asks one question, signed with the given token: by GET, or by POST where there is a JSON body.
    pub(crate) async fn send(&self, url: &Url, json: Option<&Bytes>, token: &Token) -> Result<Answer, Failure> {
        let uri = Uri::try_from(url.as_str()).map_err(|error| Failure::no_connection(&error))?;
        let asking = async {
            let mut left = NOT_TAKEN;
            loop {
                match self.client.request(self.request(uri.clone(), json, token)).await {
                    Ok(response) => return Ok(read(response).await),
                    Err(error) if left > 0 && is_not_taken(&error) => left -= 1,
                    Err(error) => return Err(classify(&error)),
                }
            }
        };
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Failure::timed_out()),
        }
    }

    fn request(&self, uri: Uri, json: Option<&Bytes>, token: &Token) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(json.cloned().unwrap_or_default()));
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(AUTHORIZATION, token.header());
        if json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.method_mut() = Method::POST;
        }
        request
    }
}

async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let body = async {
        let mut body = Body::default();
        while let Some(frame) = incoming.frame().await {
            if let Ok(piece) = frame.map_err(|_broken| Failure::unreadable())?.into_data() {
                body.push(piece)?;
            }
        }
        Ok(body.whole())
    };
    let body: Result<Bytes, Failure> = body.await;
    let is_packed =
        head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let body = if is_packed { body.and_then(|packed| unpack(&packed)) } else { body };
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// The text behind gzip, up to the limit, however little of it came over the wire.
fn unpack(packed: &Bytes) -> Result<Bytes, Failure> {
    let mut text = Vec::new();
    let limit = BODY_LIMIT as u64 + 1;
    MultiGzDecoder::new(packed.as_ref())
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|_garbled| Failure::unreadable())?;
    if text.len() > BODY_LIMIT {
        return Err(Failure::too_large());
    }
    Ok(text.into())
}

/// Whether the host says that it has not looked at the question: over HTTP/2 it closes a connection in good order after so
/// many questions, and the ones that are on their way by then are to be asked elsewhere. That is no trouble of the host.
fn is_not_taken(error: &ClientError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_remote()
                && ((error.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
                    || (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)));
        }
        cause = error.source();
    }
    false
}

fn classify(error: &ClientError) -> Failure {
    if error.is_connect() { Failure::no_connection(error) } else { Failure::broken(error) }
}

/// How a host is reached: at its own address, or through the proxy that the environment names.
#[derive(Debug, Clone)]
enum Route {
    Direct(HttpConnector),
    Through(Tunnel<HttpConnector>),
}

impl Route {
    fn to(base: &Url, proxies: &Matcher, connect_timeout: Duration) -> Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let host = Uri::try_from(base.as_str())
            .map_err(|error| Error::new(Kind::Config, format!("a base URL cannot be used: {error}")))?;
        let Some(proxy) = proxies.intercept(&host) else { return Ok(Self::Direct(tcp)) };
        if proxy.uri().scheme_str() != Some("http") {
            return Err(Error::new(Kind::Config, "the proxy that the environment names cannot be used")
                .hint("HTTPS_PROXY must be an http:// address, or name the hosts to reach directly in NO_PROXY"));
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        Ok(Self::Through(match proxy.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        }))
    }
}

type Failed = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match self {
            Self::Direct(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            Self::Through(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(to);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Self::Through(tunnel) => {
                let connecting = tunnel.call(to);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("packs");
        encoder.finish().expect("packs").into()
    }

    #[test]
    fn what_was_packed_comes_out_and_no_more_than_the_limit() {
        assert_eq!(unpack(&packed(b"[]")).as_deref(), Ok(b"[]".as_slice()));
        let two = [packed(b"[1,"), packed(b"2]")].concat();
        assert_eq!(unpack(&two.into()).as_deref(), Ok(b"[1,2]".as_slice()));
        let cut = packed(b"[]").slice(..8);
        assert_eq!(unpack(&cut), Err(Failure::unreadable()));
        let bomb = packed(&vec![b' '; BODY_LIMIT + 1]);
        assert!(bomb.len() < BODY_LIMIT / 100);
        assert_eq!(unpack(&bomb), Err(Failure::too_large()));
    }

    #[test]
    fn a_proxy_is_used_for_whom_it_is_meant_and_only_one_that_can_be() {
        let base = Url::parse("https://app.example.com/api/v1").expect("a URL");
        let to = |proxies: Matcher| Route::to(&base, &proxies, Duration::from_secs(1));
        assert!(matches!(to(Matcher::builder().build()), Ok(Route::Direct(_))));
        assert!(matches!(to(Matcher::builder().https("http://proxy.example:3128").build()), Ok(Route::Through(_))));
        let elsewhere = Matcher::builder().https("http://proxy.example:3128").no("example.com").build();
        assert!(matches!(to(elsewhere), Ok(Route::Direct(_))));
        for unusable in ["https://proxy.example:3128", "socks5://proxy.example:1080"] {
            let refused = to(Matcher::builder().https(unusable).build()).map(drop).expect_err("it cannot be used");
            assert_eq!(refused.kind, Kind::Config, "{unusable}");
            assert!(!format!("{refused:?}").contains("proxy.example"), "it may carry a password");
        }
    }
}
