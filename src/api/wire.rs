//! One request on the wire and the answer as bytes.
//!
//! Builds the HTTP clients with their safety rules: TLS by rustls and ring, redirects never followed (one would repeat a
//! DELETE, or carry the token elsewhere), no silent repetition, a cap on what is read. It must never judge an answer, wait,
//! or put a URL, a token or an ID into a failure's text.

use std::error::Error as _;
use std::sync::Once;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response, redirect, retry};
use url::Url;

use super::auth::{Keyring, Token};
use super::options::{HostOptions, check_base, is_loopback};
use super::retry::TransportFailure;
use crate::error::{Error, Kind, Result};

/// The most of one answer that is read, in bytes after decompression.
const BODY_LIMIT: usize = 64 << 20;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many reads: connections are kept and shared.
    Reading,
    /// Single writes: a fresh HTTP/1.1 connection each, so that nothing below us repeats a request because a kept
    /// connection turned out to be dead.
    Writing,
}

/// The way to one host: connections and credentials.
pub(crate) struct Wire {
    pub(crate) http: reqwest::Client,
    keyring: Keyring,
    body_limit: usize,
}

/// An answer: the status and headers arrived, the body perhaps.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, Failure>,
}

/// No answer, or none that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: TransportFailure,
    /// A fragment of a sentence.
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(kind: TransportFailure, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl Wire {
    /// Checks the base URL, reads the token, builds the client.
    ///
    /// # Errors
    /// `Kind::Config` for an unsafe base URL or an unreadable token.
    pub(crate) fn new(options: &HostOptions, purpose: Purpose, version: Option<&str>) -> Result<Self> {
        check_base(&options.base)?;
        install_crypto();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(version) = version {
            let value = HeaderValue::from_str(version).map_err(|_bytes| {
                Error::new(Kind::Config, "the IR-Version is no header value").hint("use a number such as 14")
            })?;
            headers.insert(HeaderName::from_static("ir-version"), value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("recoup/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(options.timeout)
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true);
        builder = match purpose {
            Purpose::Reading => builder.pool_max_idle_per_host(options.concurrency),
            Purpose::Writing => builder.pool_max_idle_per_host(0).http1_only().gzip(false),
        };
        if is_loopback(&options.base) {
            builder = builder.no_proxy();
        }
        if options.base.scheme() == "http" {
            // A loopback host needs no certificates, and a bare container may have none to load.
            builder = builder.tls_certs_only([]);
        } else {
            builder = builder.https_only(true);
        }
        let http = builder.build().map_err(|e| {
            Error::new(Kind::Config, format!("cannot set up HTTPS: {}", root_cause(&e)))
                .hint("install the system's CA certificates (package ca-certificates)")
        })?;
        Ok(Self { http, keyring: Keyring::new(options.credentials.clone())?, body_limit: BODY_LIMIT })
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Puts exactly one request on the wire, signed with the given token.
    pub(crate) async fn send(&self, request: RequestBuilder, token: &Token) -> Result<Answer, Failure> {
        let mut response = self.keyring.sign(request, token).send().await.map_err(|e| classify(&e))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status, headers, body: read_body(response, self.body_limit).await })
    }
}

/// The way to a storage host: a client that has no credentials, so that none can follow a redirect to it.
pub(crate) struct Storage(reqwest::Client);

/// The longest silence in the middle of a download.
const STORAGE_SILENCE: Duration = Duration::from_mins(1);

impl Storage {
    /// `open`: the host is this machine, and plain http will do.
    pub(crate) fn new(open: bool) -> Result<Self> {
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("recoup/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(STORAGE_SILENCE);
        builder = if open { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        let http = builder.build().map_err(|e| {
            Error::new(Kind::Config, format!("cannot set up HTTPS: {}", root_cause(&e)))
                .hint("install the system's CA certificates (package ca-certificates)")
        })?;
        Ok(Self(http))
    }

    /// Hands a file on in pieces. The inner `Err` is a status that is not 2xx; the outer one is the caller's own error, or
    /// a broken line.
    pub(crate) async fn stream(
        &self,
        url: Url,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Result<(), u16>, Result<Error, Failure>> {
        let mut response = self.0.get(url).send().await.map_err(|e| Err(classify(&e)))?;
        if !response.status().is_success() {
            return Ok(Err(response.status().as_u16()));
        }
        while let Some(piece) = response.chunk().await.map_err(|e| Err(classify(&e)))? {
            take(&piece).map_err(Ok)?;
        }
        Ok(Ok(()))
    }
}

async fn read_body(mut response: Response, limit: usize) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| classify(&e))? {
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(Failure::new(
                TransportFailure::TooLarge,
                format!("the answer is larger than {} MiB", limit >> 20),
            ));
        }
        // Most answers are one chunk, which is then passed on without a copy.
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn classify(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() {
        Failure::new(TransportFailure::NeverConnected, format!("no connection: {}", root_cause(error)))
    } else if error.is_timeout() {
        Failure::new(TransportFailure::TimedOut, "no complete answer in time")
    } else if error.is_decode() {
        // reqwest calls every failure while reading a body by this name.
        Failure::new(TransportFailure::Unreadable, "the answer broke off or could not be unpacked")
    } else {
        Failure::new(TransportFailure::Broken, format!("the connection broke: {}", root_cause(error)))
    }
}

/// The innermost cause: an I/O or TLS error. reqwest's own text would repeat the URL, and with it an account ID.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}

/// Another part of the process may have installed one already, which is as good.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
