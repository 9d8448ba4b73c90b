//! Single writes: a fresh HTTP/1.1 connection each, so that nothing below us repeats a request because a kept connection
//! turned out to be dead.

use reqwest::{RequestBuilder, retry};

use super::{Answer, Failure, answer, builder, classify, no_https};
use crate::error::Result;
use crate::vendor::auth::Token;
use crate::vendor::options::HostOptions;

/// The client that writes to one host.
pub(crate) struct Writer {
    pub(crate) http: reqwest::Client,
}

impl Writer {
    /// Checks the base URL, builds the client.
    ///
    /// # Errors
    /// `Kind::Config` for an unsafe base URL, and a proxy that cannot be used.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        let client = builder(options, version)?.retry(retry::never()).pool_max_idle_per_host(0).http1_only();
        Ok(Self { http: client.gzip(false).build().map_err(|error| no_https(&error))? })
    }

    /// Puts exactly one request on the wire, signed with the given token.
    pub(crate) async fn send(&self, request: RequestBuilder, token: &Token) -> Result<Answer, Failure> {
        let request = request.header(reqwest::header::AUTHORIZATION, token.header());
        Ok(answer(request.send().await.map_err(|error| classify(&error))?).await)
    }
}
