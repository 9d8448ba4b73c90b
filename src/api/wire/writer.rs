//! Single writes: a fresh HTTP/1.1 connection each, so that nothing below us repeats a request because a kept connection
//! turned out to be dead.

use reqwest::{RequestBuilder, Response, redirect, retry};

use super::{Answer, Body, Failure, USER_AGENT, common_headers, install_crypto, no_https};
use crate::api::auth::Token;
use crate::api::options::{HostOptions, check_base, is_loopback};
use crate::error::Result;

/// The connections over which one host is written to.
pub(crate) struct Writer {
    pub(crate) http: reqwest::Client,
}

impl Writer {
    /// Checks the base URL, builds the client.
    ///
    /// # Errors
    /// `Kind::Config` for an unsafe base URL.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        check_base(&options.base)?;
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(common_headers(version)?)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(options.timeout)
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(0)
            .http1_only()
            .gzip(false);
        if is_loopback(&options.base) {
            builder = builder.no_proxy();
        }
        if options.base.scheme() == "http" {
            // A loopback host needs no certificates, and a bare container may have none to load.
            builder = builder.tls_certs_only([]);
        } else {
            builder = builder.https_only(true);
        }
        Ok(Self { http: builder.build().map_err(|error| no_https(&error))? })
    }

    /// Puts exactly one request on the wire, signed with the given token.
    pub(crate) async fn send(&self, request: RequestBuilder, token: &Token) -> Result<Answer, Failure> {
        let request = request.header(reqwest::header::AUTHORIZATION, token.header());
        let mut response = request.send().await.map_err(|error| classify(&error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status, headers, body: read_body(response).await })
    }
}

async fn read_body(mut response: Response) -> Result<bytes::Bytes, Failure> {
    let mut body = Body::default();
    while let Some(piece) = response.chunk().await.map_err(|error| classify(&error))? {
        body.push(piece)?;
    }
    Ok(body.whole())
}

pub(super) fn classify(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() {
        Failure::no_connection(error)
    } else if error.is_timeout() {
        Failure::timed_out()
    } else if error.is_decode() {
        // reqwest calls every failure while reading a body by this name.
        Failure::unreadable()
    } else {
        Failure::broken(error)
    }
}
