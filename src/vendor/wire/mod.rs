//! One request on the wire and the answer as bytes, in the three ways that recoup asks. reqwest does the work.
//!
//! [`Reader`] asks a host many questions over connections that are kept; [`Writer`] sends what must arrive once, each over a
//! connection of its own; [`Storage`] fetches a file from a host that gets no credentials. No client follows a redirect: one
//! would repeat a DELETE, or carry the token elsewhere. No client reads an answer of any size. They must never judge an answer,
//! wait, or put a URL, a token or an ID into a failure's text.

mod proxy;
mod reader;
mod storage;
mod writer;

use std::sync::Once;

use bytes::{Bytes, BytesMut};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{ClientBuilder, Response, redirect};

use super::options::{HostOptions, check_base, is_loopback};
use super::retry::TransportFailure;
use crate::error::{Error, Kind, Result};

pub(crate) use reader::Reader;
pub(crate) use storage::Storage;
pub(crate) use writer::Writer;

/// The most of one answer that is read, in bytes after decompression.
const BODY_LIMIT: usize = 64 << 20;

/// Who asks.
const USER_AGENT: &str = concat!("recoup/", env!("CARGO_PKG_VERSION"));

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

    fn unreadable() -> Self {
        Self::new(TransportFailure::Unreadable, "the answer broke off or could not be unpacked")
    }

    fn too_large() -> Self {
        Self::new(TransportFailure::TooLarge, format!("the answer is larger than {} MiB", BODY_LIMIT >> 20))
    }
}

/// The body of an answer, piece by piece, up to the limit.
#[derive(Default)]
struct Body {
    /// Most answers are one piece, which is then passed on without a copy.
    first: Bytes,
    rest: BytesMut,
}

impl Body {
    fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        if self.first.len() + self.rest.len() + piece.len() > BODY_LIMIT {
            return Err(Failure::too_large());
        }
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.rest.extend_from_slice(&piece);
        }
        Ok(())
    }

    fn whole(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.first.len() + self.rest.len());
        whole.extend_from_slice(&self.first);
        whole.extend_from_slice(&self.rest);
        whole.freeze()
    }
}

/// What the clients that read and write one host have in common.
///
/// # Errors
/// `Kind::Config` for an unsafe base URL, a proxy that cannot be used, and a version that is no header value.
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
    // A loopback host needs no certificates, and a bare container may have none to load.
    let is_plain = options.base.scheme() == "http";
    Ok(if is_plain { builder.tls_certs_only([]) } else { builder.https_only(true) })
}

/// What every client has in common.
fn plain_builder() -> ClientBuilder {
    install_crypto();
    reqwest::Client::builder().user_agent(USER_AGENT).redirect(redirect::Policy::none()).referer(false)
}

/// Reads the answer, up to the limit.
async fn answer(mut response: Response) -> Answer {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    Answer { status, headers, body: read_body(response).await }
}

async fn read_body(mut response: Response) -> Result<Bytes, Failure> {
    let mut body = Body::default();
    // Each piece is unpacked already, so that the limit holds for what a packed answer becomes.
    while let Some(piece) = response.chunk().await.map_err(|error| classify(&error))? {
        body.push(piece)?;
    }
    Ok(body.whole())
}

fn classify(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() {
        Failure::new(TransportFailure::NeverConnected, format!("no connection: {}", root_cause(error)))
    } else if error.is_timeout() {
        Failure::new(TransportFailure::TimedOut, "no complete answer in time")
    } else if error.is_decode() {
        // reqwest calls every failure while it reads a body by this name.
        Failure::unreadable()
    } else {
        Failure::new(TransportFailure::Broken, format!("the connection broke: {}", root_cause(error)))
    }
}

/// The headers of every request to one host.
///
/// # Errors
/// `Kind::Config` where the version is no header value.
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

/// The innermost cause: an I/O or TLS error. The outer texts would repeat the URL, and with it an account ID.
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

/// Another part of the process may have installed one already, which is as good.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
