//! Sends one HTTP request with reqwest, and returns the answer as bytes.
//!
//! [`Reader`] sends requests that recoup may repeat, over pooled connections. [`Writer`] sends requests that must
//! arrive at most once, each over a new connection. [`Download`] fetches a file from a host that must not receive
//! credentials. No HTTP client of the vendor follows a redirect, because a redirect could repeat a DELETE or send the
//! token to another host. Every HTTP client of the vendor limits the size of an answer. `http` neither interprets an
//! HTTP status nor waits for a quota, and a [`Failure`] never contains a URL, a token or an ID.

mod download;
mod proxy;
mod read;
mod write;

use std::sync::Once;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{ClientBuilder, Response, redirect};

use super::options::{HostOptions, check_base, is_loopback};
use super::retry::TransportFailure;
use crate::error::{Error, Kind, Result};

pub(crate) use download::{Download, DownloadError};
pub(crate) use read::Reader;
pub(crate) use write::Writer;

/// The maximum size of a response body, in bytes after decompression.
const BODY_LIMIT: usize = 64 << 20;

const USER_AGENT: &str = concat!("recoup/", env!("CARGO_PKG_VERSION"));

/// A response of the host. The status and headers of the response have arrived. The read of the response's body may
/// have failed.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Vec<u8>, Failure>,
}

/// Why a request has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: TransportFailure,
    /// What failed in the request, as a fragment of a sentence.
    pub(crate) detail: String,
    /// Whether the TLS handshake failed, before the client sent any request.
    is_tls: bool,
}

impl Failure {
    pub(crate) fn new(kind: TransportFailure, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), is_tls: false }
    }

    /// Returns what the user should check after a failed request. `base` is the name of the setting that contains the
    /// host's URL.
    pub(crate) fn hint(&self, base: &str) -> String {
        match self.kind {
            TransportFailure::NeverConnected if self.is_tls => format!(
                "check that {base} names the right host; install the system's CA certificates (package ca-certificates), or \
                 name the certificate of a proxy that inspects TLS in SSL_CERT_FILE"
            ),
            TransportFailure::NeverConnected => format!(
                "check this machine's network, DNS and firewall, the host in {base}, and HTTPS_PROXY if it is set"
            ),
            TransportFailure::TimedOut => format!(
                "check the network, and HTTPS_PROXY if it is set; if the host of {base} is only slow, set a longer `timeout` in \
                 recoup.toml"
            ),
            TransportFailure::Broken => format!(
                "run the same command again; if it breaks again, check the firewall, HTTPS_PROXY if it is set, and {base}"
            ),
            TransportFailure::Unreadable => format!(
                "check that {base} is the address of the API, and that no proxy or login page answers in its place; if it is, \
                 run the same command again later"
            ),
            TransportFailure::TooLarge => {
                format!(
                    "check that {base} is the address of the API; if it is, set a smaller page size in [crawl] of recoup.toml"
                )
            }
        }
    }

    fn unreadable() -> Self {
        Self::new(TransportFailure::Unreadable, "the answer broke off or could not be unpacked")
    }
}

/// Configures the HTTP clients that read from and write to one host.
///
/// # Errors
/// Fails with `Config` if the base URL is unsafe, the proxy is unusable, or the version is invalid in an HTTP header.
fn builder(options: &HostOptions, version: Option<&str>) -> Result<ClientBuilder> {
    check_base(&options.base)?;
    let mut builder = plain_builder()
        .default_headers(common_headers(version)?)
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout);
    if is_loopback(&options.base) {
        builder = builder.no_proxy();
    } else {
        proxy::check_proxy(&options.base, &Matcher::from_env())?;
    }
    // recoup permits plain HTTP only to a loopback host. Plain HTTP needs no root certificates, which a minimal
    // container may lack.
    let is_plain = options.base.scheme() == "http";
    Ok(if is_plain { builder.tls_certs_only([]) } else { builder.https_only(true) })
}

fn plain_builder() -> ClientBuilder {
    install_crypto();
    reqwest::Client::builder().user_agent(USER_AGENT).redirect(redirect::Policy::none()).referer(false)
}

async fn answer(mut response: Response) -> Answer {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    Answer { status, headers, body: read_body(response).await }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    // reqwest has already decompressed each chunk. Therefore the size limit of an answer applies to its decompressed
    // size.
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > BODY_LIMIT {
            let detail = format!("the answer is larger than {} MiB", BODY_LIMIT >> 20);
            return Err(Failure::new(TransportFailure::TooLarge, detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn classify(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() {
        Failure {
            is_tls: is_tls(error),
            ..Failure::new(TransportFailure::NeverConnected, format!("no connection: {}", root_cause(error)))
        }
    } else if error.is_timeout() {
        Failure::new(TransportFailure::TimedOut, "no complete answer in time")
    } else if error.is_decode() {
        // reqwest reports every failure during the read of a response body as a decode error.
        Failure::unreadable()
    } else {
        Failure::new(TransportFailure::Broken, format!("the connection broke: {}", root_cause(error)))
    }
}

/// Returns `true` if a TLS error caused this error. The `source()` of an I/O error skips the error that it wraps.
/// Therefore this function also checks `get_ref()`.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls(wrapped)) || error.source().is_some_and(is_tls)
}

fn common_headers(version: Option<&str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(version) = version {
        let value = HeaderValue::from_str(version).map_err(|_bytes| {
            Error::new(Kind::Config, "the IR-Version is no header value").hint("use a number such as 14")
        })?;
        headers.insert(HeaderName::from_static("ir-version"), value);
    }
    Ok(headers)
}

/// Returns the innermost cause of an error, such as an I/O or TLS error. The outer errors of reqwest repeat the URL of
/// the request, which contains an account ID.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}

fn no_https(error: &dyn std::error::Error) -> Error {
    Error::new(Kind::Config, format!("cannot set up HTTPS: {}", root_cause(error)))
        .hint("install the system's CA certificates (package ca-certificates)")
}

/// Installs ring as the rustls provider of this process. If another provider is already installed, rustls keeps it.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
