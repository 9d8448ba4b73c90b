//! One request on the wire and the answer as bytes, in the three ways that recoup asks.
//!
//! [`Reader`] asks a host many questions over connections that are kept; [`Writer`] sends what must arrive once, each over a
//! connection of its own; [`Storage`] fetches a file from a host that gets no credentials. All of them: TLS by rustls and ring,
//! redirects never followed (one would repeat a DELETE, or carry the token elsewhere), no silent repetition, a cap on what
//! is read. They must never judge an answer, wait, or put a URL, a token or an ID into a failure's text.

mod reader;
mod storage;
mod writer;

use std::sync::Once;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};

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

    fn no_connection(error: &dyn std::error::Error) -> Self {
        Self::new(TransportFailure::NeverConnected, format!("no connection: {}", root_cause(error)))
    }

    fn timed_out() -> Self {
        Self::new(TransportFailure::TimedOut, "no complete answer in time")
    }

    fn unreadable() -> Self {
        Self::new(TransportFailure::Unreadable, "the answer broke off or could not be unpacked")
    }

    fn broken(error: &dyn std::error::Error) -> Self {
        Self::new(TransportFailure::Broken, format!("the connection broke: {}", root_cause(error)))
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
