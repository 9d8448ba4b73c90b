//! The HTTP client for requests that recoup may repeat. This client pools connections, and repeats a request if the
//! host has refused it unread.

use std::error::Error as StdError;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::retry;
use url::Url;

use super::{Answer, Failure, answer, builder, classify, no_https};
use crate::error::Result;
use crate::vendor::auth::Token;
use crate::vendor::options::HostOptions;

/// How many times the client repeats one request that the host has refused unread. If many
/// requests are in flight and the host closes each connection after 20, a few of ten thousand are refused six times.
const MAX_REPEATS: u32 = 10;

pub(crate) struct Reader(reqwest::Client);

impl Reader {
    /// # Errors
    /// Fails with `Config` if the base URL is unsafe or the proxy is unusable.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        let host = options.base.host_str().unwrap_or_default().to_owned();
        let repeats = retry::for_host(host).no_budget().max_retries_per_request(MAX_REPEATS).classify_fn(|sent| {
            if sent.error().is_some_and(is_refused_unread) { sent.retryable() } else { sent.success() }
        });
        let client = builder(options, version)?.retry(repeats).pool_max_idle_per_host(options.concurrency).build();
        Ok(Self(client.map_err(|error| no_https(&error))?))
    }

    /// Sends a POST if the request has a JSON body, and a GET otherwise.
    pub(crate) async fn send(&self, url: &Url, json: Option<&str>, token: &Token) -> Result<Answer, Failure> {
        let request = match json {
            Some(json) => self
                .0
                .post(url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(json.to_owned()),
            None => self.0.get(url.clone()),
        };
        let response = request.header(AUTHORIZATION, token.header()).send().await;
        Ok(answer(response.map_err(|error| classify(&error))?).await)
    }
}

/// Returns `true` if the host reports that it has not read the request. A host closes an HTTP/2 connection gracefully
/// after a number of requests, and refuses the requests that are then in flight. reqwest repeats a refused request only
/// twice. Two repeats are too few if many requests share a connection that the host closes after a few.
fn is_refused_unread(error: &(dyn StdError + 'static)) -> bool {
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
