//! Decides whether the client retries a failed request to the vendor. Requests that read and requests that write have
//! separate retry rules.
//!
//! `retry` does no I/O. The client may repeat a read and must not repeat a write. [`judge_write`] never returns a
//! retry: every outcome of a write that may have changed something is [`WriteVerdict::Unknown`].

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::rate_headers::{wait_after_failure, wait_from_headers};

/// How the transport of a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportFailure {
    /// The client could not open a connection. Therefore the vendor's host has received nothing.
    NeverConnected,
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
    /// The client cannot decode the host's answer.
    Unreadable,
    /// The host's answer exceeds the size limit.
    TooLarge,
}

/// The outcome of one request to the vendor.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// The host answered with a status. The caller of the retry rules decodes the body of the host's answer.
    Status { status: u16, headers: &'a HeaderMap },
    /// The request got no usable answer.
    Transport(TransportFailure),
}

/// The limits on retries of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The number of attempts of a read, including the first attempt.
    pub attempts: u32,
    pub backoff: Duration,
    pub backoff_max: Duration,
}

impl Policy {
    /// Returns the back-off after the given number of attempts. The back-off doubles with each attempt, up to
    /// `backoff_max`.
    pub fn backoff_after(&self, attempts: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1).min(31));
        self.backoff.saturating_mul(factor).min(self.backoff_max)
    }
}

/// How long the client waits before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The host stated a time before which the client must not retry. The client never retries before the stated time.
    Until(Timestamp),
    /// The host stated no retry time. Therefore the client backs off. Jitter only lengthens the back-off.
    Backoff(Duration),
}

/// What the client does after one attempt of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// The answer to the read is usable.
    Done,
    /// The read fails, because a retry cannot help or the attempts are used up.
    Fail,
    Retry {
        wait: Wait,
        /// Whether the attempt counts against [`Policy::attempts`]. An attempt that the host answers with 429 does not
        /// count.
        counts: bool,
    },
}

/// Decides what the client does after one attempt of a read. `attempt` is the number of counted attempts, including
/// this attempt.
///
/// A 429 makes the client wait before it retries a read. The client retries a read after 408, 5xx, broken connections
/// and unreadable bodies. A read fails at once after every other 4xx and every redirect (`docs/vendor/brand.md` §7,
/// `docs/vendor/advocate.md` §6).
pub fn judge_read(outcome: Outcome<'_>, attempt: u32, policy: &Policy, now: Timestamp) -> RetryDecision {
    let backoff = || Wait::Backoff(policy.backoff_after(attempt));
    let (wait, counts) = match outcome {
        Outcome::Status { status: 200..=299, .. } => return RetryDecision::Done,
        Outcome::Status { status: 429, headers } => {
            (wait_from_headers(headers, now).map_or_else(backoff, Wait::Until), false)
        }
        Outcome::Status { status: 408 | 500..=599, headers } => {
            (wait_after_failure(headers, now).map_or_else(backoff, Wait::Until), true)
        }
        Outcome::Status { .. } | Outcome::Transport(TransportFailure::TooLarge) => return RetryDecision::Fail,
        Outcome::Transport(_) => (backoff(), true),
    };
    if counts && attempt >= policy.attempts { RetryDecision::Fail } else { RetryDecision::Retry { wait, counts } }
}

/// Why a write had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    /// The vendor answered 401.
    Credentials,
    /// The vendor answered 403.
    Scope,
    /// The vendor answered 429. The time is the retry time, if the host stated one.
    RateLimited(Option<Timestamp>),
    /// The client could not open a connection to the vendor.
    NeverConnected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteVerdict {
    /// The vendor has queued the request.
    Queued,
    /// The vendor refused the request and did nothing.
    Refused,
    /// The vendor did nothing with the request, because of a cause on recoup's side or the quota.
    NotDone(NotDone),
    /// The vendor may have processed the write. recoup never sends the write again. A later read shows its effect.
    Unknown,
}

/// Decides what one write did at the vendor. `queued` is `true` if a 2xx had a readable body with QUEUED and a
/// QueuedUri.
///
/// No verdict about a write means "retry", because the vendor documents no idempotency key
/// (`docs/vendor/contradictions.md` 8).
pub fn judge_write(outcome: Outcome<'_>, queued: bool, now: Timestamp) -> WriteVerdict {
    match outcome {
        Outcome::Status { status: 200..=299, .. } if queued => WriteVerdict::Queued,
        Outcome::Status { status: 401, .. } => WriteVerdict::NotDone(NotDone::Credentials),
        Outcome::Status { status: 403, .. } => WriteVerdict::NotDone(NotDone::Scope),
        Outcome::Status { status: 429, headers } => {
            WriteVerdict::NotDone(NotDone::RateLimited(wait_from_headers(headers, now)))
        }
        Outcome::Status { status: 408, .. } => WriteVerdict::Unknown,
        Outcome::Status { status: 400..=499, .. } => WriteVerdict::Refused,
        Outcome::Transport(TransportFailure::NeverConnected) => WriteVerdict::NotDone(NotDone::NeverConnected),
        Outcome::Status { .. } | Outcome::Transport(_) => WriteVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, RETRY_AFTER};

    use super::*;

    const POLICY: Policy =
        Policy { attempts: 5, backoff: Duration::from_millis(500), backoff_max: Duration::from_mins(1) };
    const TRANSPORT: [TransportFailure; 5] = [
        TransportFailure::NeverConnected,
        TransportFailure::TimedOut,
        TransportFailure::Broken,
        TransportFailure::Unreadable,
        TransportFailure::TooLarge,
    ];

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn every_status_of_a_read() {
        let headers = HeaderMap::new();
        for status in 100..600 {
            let outcome = Outcome::Status { status, headers: &headers };
            let first = judge_read(outcome, 1, &POLICY, now());
            let last = judge_read(outcome, 5, &POLICY, now());
            let again = |wait, counts| RetryDecision::Retry { wait: Wait::Backoff(wait), counts };
            let half = Duration::from_millis(500);
            let expected = match status {
                200..=299 => (RetryDecision::Done, RetryDecision::Done),
                429 => (again(half, false), again(half * 16, false)),
                408 | 500..=599 => (again(half, true), RetryDecision::Fail),
                _ => (RetryDecision::Fail, RetryDecision::Fail),
            };
            assert_eq!((first, last), expected, "{status}");
        }
    }

    #[test]
    fn every_transport_failure_of_a_read() {
        for failure in TRANSPORT {
            let first = judge_read(Outcome::Transport(failure), 1, &POLICY, now());
            let again = matches!(first, RetryDecision::Retry { wait: Wait::Backoff(_), counts: true });
            assert_eq!(again, failure != TransportFailure::TooLarge, "{failure:?}");
            assert_eq!(judge_read(Outcome::Transport(failure), 5, &POLICY, now()), RetryDecision::Fail, "{failure:?}");
        }
    }

    #[test]
    fn a_time_in_the_headers_replaces_the_back_off() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7000"));
        let until = Timestamp::from_second(7000).expect("a moment");
        for (status, counts) in [(429, false), (503, true)] {
            let verdict = judge_read(Outcome::Status { status, headers: &headers }, 1, &POLICY, now());
            assert_eq!(verdict, RetryDecision::Retry { wait: Wait::Until(until), counts }, "{status}");
        }
        let verdict = judge_read(Outcome::Status { status: 200, headers: &headers }, 1, &POLICY, now());
        assert_eq!(verdict, RetryDecision::Done);
    }

    #[test]
    fn the_back_off_doubles_up_to_the_longest() {
        let waits: Vec<u64> = (0..=9)
            .map(|n| POLICY.backoff_after(n).as_millis() as u64)
            .chain([POLICY.backoff_after(9999).as_secs()])
            .collect();
        assert_eq!(waits, [500, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60]);
    }

    #[test]
    fn every_status_of_a_write() {
        let mut headers = HeaderMap::new();
        for status in 100..600 {
            for queued in [true, false] {
                let verdict = judge_write(Outcome::Status { status, headers: &headers }, queued, now());
                let expected = match (status, queued) {
                    (200..=299, true) => WriteVerdict::Queued,
                    (401, _) => WriteVerdict::NotDone(NotDone::Credentials),
                    (403, _) => WriteVerdict::NotDone(NotDone::Scope),
                    (429, _) => WriteVerdict::NotDone(NotDone::RateLimited(None)),
                    (400..=407 | 409..=499, _) => WriteVerdict::Refused,
                    _ => WriteVerdict::Unknown,
                };
                assert_eq!(verdict, expected, "{status} {queued}");
            }
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
        let until = Timestamp::from_second(30).ok();
        let verdict = judge_write(Outcome::Status { status: 429, headers: &headers }, false, now());
        assert_eq!(verdict, WriteVerdict::NotDone(NotDone::RateLimited(until)));
    }

    #[test]
    fn every_transport_failure_of_a_write() {
        for failure in TRANSPORT {
            let expected = match failure {
                TransportFailure::NeverConnected => WriteVerdict::NotDone(NotDone::NeverConnected),
                _ => WriteVerdict::Unknown,
            };
            assert_eq!(judge_write(Outcome::Transport(failure), false, now()), expected, "{failure:?}");
        }
    }
}
