//! Questions to one host, over connections that are kept and shared. Asking again is as good as asking once.

use std::error::Error as StdError;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::retry;
use url::Url;

use super::{Answer, Failure, answer, builder, classify, no_https};
use crate::error::Result;
use crate::vendor::auth::Token;
use crate::vendor::options::HostOptions;

/// How often a request is repeated over another connection because the host closed the one before without looking at it.
const REFUSED: u32 = 5;

/// The client that reads one host.
pub(crate) struct Reader(reqwest::Client);

impl Reader {
    /// Checks the base URL, builds the client.
    ///
    /// # Errors
    /// `Kind::Config` for an unsafe base URL, and a proxy that cannot be used.
    pub(crate) fn new(options: &HostOptions, version: Option<&str>) -> Result<Self> {
        let host = options.base.host_str().unwrap_or_default().to_owned();
        let again = retry::for_host(host).no_budget().max_retries_per_request(REFUSED).classify_fn(|asked| {
            if asked.error().is_some_and(is_refused_unread) { asked.retryable() } else { asked.success() }
        });
        let client = builder(options, version)?.retry(again).pool_max_idle_per_host(options.concurrency).build();
        Ok(Self(client.map_err(|error| no_https(&error))?))
    }

    /// Asks one question, signed with the given token: by POST if there is a JSON body, else by GET.
    pub(crate) async fn send(&self, url: &Url, json: Option<&Bytes>, token: &Token) -> Result<Answer, Failure> {
        let request = match json {
            Some(json) => self
                .0
                .post(url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(json.clone()),
            None => self.0.get(url.clone()),
        };
        let response = request.header(AUTHORIZATION, token.header()).send().await;
        Ok(answer(response.map_err(|error| classify(&error))?).await)
    }
}

/// Whether the host says that it has not looked at the request: a host closes an HTTP/2 connection in good order after a
/// number of requests, and refuses those that are on their way at that moment. reqwest repeats these by itself too, but only
/// twice, which is too few if many requests meet a small number.
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
