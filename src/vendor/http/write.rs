//! The HTTP client for requests that must arrive at most once. Each request of this client gets a new HTTP/1.1
//! connection, because an HTTP client silently repeats a request if its pooled connection is dead.

use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, retry};

use super::{Answer, Failure, answer, builder, classify, no_https};
use crate::error::Result;
use crate::vendor::auth::Token;
use crate::vendor::options::HostOptions;

pub(crate) struct Writer {
    pub(crate) http: reqwest::Client,
}

impl Writer {
    /// # Errors
    /// Fails with `Config` if the base URL is unsafe or the proxy is unusable.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        let client = builder(options, version)?.retry(retry::never()).pool_max_idle_per_host(0).http1_only();
        Ok(Self { http: client.gzip(false).build().map_err(|error| no_https(&error))? })
    }

    /// Sends exactly one request over a new connection.
    pub(crate) async fn send(&self, request: RequestBuilder, token: &Token) -> Result<Answer, Failure> {
        let response = request.header(AUTHORIZATION, token.header()).send().await;
        Ok(answer(response.map_err(|error| classify(&error))?).await)
    }
}
