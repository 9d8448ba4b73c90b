//! Limits the requests of each API token per minute, and adds headers with the number of requests left.
//!
//! The added headers are `RateLimit-Policy` and `RateLimit` of the IETF draft *RateLimit header fields for HTTP*. The
//! limit of API requests applies to one process. The limit of API requests prevents a client that loops by mistake from
//! slowing the service down. The vendor's quota has a limit of its own.

use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use jiff::SignedDuration;

use super::{Problem, Retry};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// A token bucket for each API token. A token bucket holds the requests of one minute and refills evenly.
pub(in crate::serve) struct RateLimit {
    limiter: RateLimiter<i64, DefaultKeyedStateStore<i64>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    per_minute: NonZeroU32,
}

impl RateLimit {
    pub(in crate::serve) fn new(per_minute: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(per_minute)).with_middleware();
        Self { limiter, clock: DefaultClock::default(), per_minute }
    }

    /// Counts one request against the API token's limit. Returns how many more requests the token may make now. If the
    /// limit is used up, returns the `429` problem with the time to wait.
    pub(in crate::serve) fn count(&self, token: i64) -> Result<u32, Problem> {
        let refused = match self.limiter.check_key(&token) {
            Ok(state) => return Ok(state.remaining_burst_capacity()),
            Err(refused) => refused,
        };
        let wait = refused.wait_time_from(self.clock.now());
        let retry = Retry::After(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX));
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests",
            format!("this token has used up its {} requests a minute; nothing was done", self.per_minute),
        )
        .hint("wait as long as Retry-After says; the setting [serve] token_requests_per_minute raises the limit")
        .retry(retry))
    }

    pub(in crate::serve) fn set_headers(&self, headers: &mut HeaderMap, left: u32) {
        let text = |text: String| HeaderValue::from_str(&text).ok();
        let policy = text(format!("\"token\";q={};w=60", self.per_minute));
        let state = text(format!("\"token\";r={left}"));
        headers.extend([(POLICY, policy), (STATE, state)].into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_does_not_use_up_the_requests_of_another() {
        let limit = RateLimit::new(NonZeroU32::MIN.saturating_add(1));
        assert_eq!([limit.count(1).ok(), limit.count(1).ok()], [Some(1), Some(0)]);
        let refused = limit.count(1).expect_err("the third one");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let mut headers = HeaderMap::new();
        limit.set_headers(&mut headers, 0);
        assert_eq!(headers["ratelimit-policy"], "\"token\";q=2;w=60");
        assert_eq!(headers["ratelimit"], "\"token\";r=0");
        assert_eq!(limit.count(2).ok(), Some(1));
    }
}
