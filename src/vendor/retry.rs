//! Whether a failure is worth another try, by method.
//!
//! Pure: no I/O, no async, no clock, no dice. Reads may be repeated; a retraction may not. So there are two tables, and
//! the one for retractions has no "again": everything that does not prove that nothing was done is `Unknown`.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::rate_headers::{wait_after_failure, wait_from_headers};

/// How a request failed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportFailure {
    /// The connection was never opened: the host has seen nothing.
    NeverConnected,
    /// No complete answer in time.
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
    /// The answer arrived and cannot be read.
    Unreadable,
    /// The answer is larger than recoup reads.
    TooLarge,
}

/// What came of one request.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// An answer with a status; its body is judged by whoever decodes it.
    Status {
        /// The HTTP status.
        status: u16,
        /// The headers of the answer.
        headers: &'a HeaderMap,
    },
    /// No usable answer.
    Transport(TransportFailure),
}

/// The limits of trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts, the first included.
    pub attempts: u32,
    /// The first back-off.
    pub backoff: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
}

impl Policy {
    /// The back-off after the given number of tries (1 is the first): doubles, up to the longest.
    pub fn backoff_after(&self, tries: u32) -> Duration {
        let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(31));
        self.backoff.saturating_mul(factor).min(self.backoff_max)
    }
}

/// How long to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The host named the moment. Waited out in full.
    Until(Timestamp),
    /// The host named none; jitter may be added, never taken away.
    Backoff(Duration),
}

/// What to do after one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An answer to work with.
    Done,
    /// Trying again would not help, or was tried often enough.
    Fail,
    /// Try again after the wait.
    Again {
        /// How long.
        wait: Wait,
        /// Whether this try counts against [`Policy::attempts`]; a 429 does not.
        counts: bool,
    },
}

/// The verdict on a read. `attempt` counts the attempts so far, this one included; an answer of 429 is none.
///
/// 429 waits; 408, 5xx, broken connections and unreadable bodies are tried again; every other 4xx and every redirect
/// fails at once (`docs/vendor/brand.md` §7, `docs/vendor/advocate.md` §6).
pub fn judge_read(outcome: Outcome<'_>, attempt: u32, policy: &Policy, now: Timestamp) -> Verdict {
    let backoff = || Wait::Backoff(policy.backoff_after(attempt));
    let (wait, counts) = match outcome {
        Outcome::Status { status: 200..=299, .. } => return Verdict::Done,
        Outcome::Status { status: 429, headers } => {
            (wait_from_headers(headers, now).map_or_else(backoff, Wait::Until), false)
        }
        Outcome::Status { status: 408 | 500..=599, headers } => {
            (wait_after_failure(headers, now).map_or_else(backoff, Wait::Until), true)
        }
        Outcome::Status { .. } | Outcome::Transport(TransportFailure::TooLarge) => return Verdict::Fail,
        Outcome::Transport(_) => (backoff(), true),
    };
    if counts && attempt >= policy.attempts { Verdict::Fail } else { Verdict::Again { wait, counts } }
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    /// 401.
    Credentials,
    /// 403.
    Scope,
    /// 429, with the moment where the host named one.
    RateLimited(Option<Timestamp>),
    /// The request never left.
    NeverConnected,
}

/// The verdict on a retraction or a modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// Accepted into the vendor's queue.
    Queued,
    /// The vendor refused it; nothing was done.
    Refused,
    /// Nothing was done, and the reason lies on our side or in the quota.
    NotDone(NotDone),
    /// It may have been done. Never sent again; reconciled by reading.
    Unknown,
}

/// The verdict on a DELETE or PUT. `queued` says whether a 2xx had a readable body that says QUEUED with a QueuedUri.
///
/// The vendor documents no idempotency key (`docs/vendor/contradictions.md` 8), so there is no verdict that means "again".
pub fn judge_dispatch(outcome: Outcome<'_>, queued: bool, now: Timestamp) -> Dispatch {
    match outcome {
        Outcome::Status { status: 200..=299, .. } if queued => Dispatch::Queued,
        Outcome::Status { status: 401, .. } => Dispatch::NotDone(NotDone::Credentials),
        Outcome::Status { status: 403, .. } => Dispatch::NotDone(NotDone::Scope),
        Outcome::Status { status: 429, headers } => {
            Dispatch::NotDone(NotDone::RateLimited(wait_from_headers(headers, now)))
        }
        Outcome::Status { status: 408, .. } => Dispatch::Unknown,
        Outcome::Status { status: 400..=499, .. } => Dispatch::Refused,
        Outcome::Transport(TransportFailure::NeverConnected) => Dispatch::NotDone(NotDone::NeverConnected),
        Outcome::Status { .. } | Outcome::Transport(_) => Dispatch::Unknown,
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
            let again = |wait, counts| Verdict::Again { wait: Wait::Backoff(wait), counts };
            let half = Duration::from_millis(500);
            let expected = match status {
                200..=299 => (Verdict::Done, Verdict::Done),
                429 => (again(half, false), again(half * 16, false)),
                408 | 500..=599 => (again(half, true), Verdict::Fail),
                _ => (Verdict::Fail, Verdict::Fail),
            };
            assert_eq!((first, last), expected, "{status}");
        }
    }

    #[test]
    fn every_transport_failure_of_a_read() {
        for failure in TRANSPORT {
            let first = judge_read(Outcome::Transport(failure), 1, &POLICY, now());
            let again = matches!(first, Verdict::Again { wait: Wait::Backoff(_), counts: true });
            assert_eq!(again, failure != TransportFailure::TooLarge, "{failure:?}");
            assert_eq!(judge_read(Outcome::Transport(failure), 5, &POLICY, now()), Verdict::Fail, "{failure:?}");
        }
    }

    #[test]
    fn a_named_moment_outranks_the_back_off() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7000"));
        let until = Timestamp::from_second(7000).expect("a moment");
        for (status, counts) in [(429, false), (503, true)] {
            let verdict = judge_read(Outcome::Status { status, headers: &headers }, 1, &POLICY, now());
            assert_eq!(verdict, Verdict::Again { wait: Wait::Until(until), counts }, "{status}");
        }
        let verdict = judge_read(Outcome::Status { status: 200, headers: &headers }, 1, &POLICY, now());
        assert_eq!(verdict, Verdict::Done);
    }

    #[test]
    fn back_off_doubles_up_to_the_longest() {
        let waits: Vec<u64> = (0..=9)
            .map(|n| POLICY.backoff_after(n).as_millis() as u64)
            .chain([POLICY.backoff_after(9999).as_secs()])
            .collect();
        assert_eq!(waits, [500, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60]);
    }

    #[test]
    fn every_status_of_a_retraction() {
        let mut headers = HeaderMap::new();
        for status in 100..600 {
            for queued in [true, false] {
                let verdict = judge_dispatch(Outcome::Status { status, headers: &headers }, queued, now());
                let expected = match (status, queued) {
                    (200..=299, true) => Dispatch::Queued,
                    (401, _) => Dispatch::NotDone(NotDone::Credentials),
                    (403, _) => Dispatch::NotDone(NotDone::Scope),
                    (429, _) => Dispatch::NotDone(NotDone::RateLimited(None)),
                    (400..=407 | 409..=499, _) => Dispatch::Refused,
                    _ => Dispatch::Unknown,
                };
                assert_eq!(verdict, expected, "{status} {queued}");
            }
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
        let until = Timestamp::from_second(30).ok();
        let verdict = judge_dispatch(Outcome::Status { status: 429, headers: &headers }, false, now());
        assert_eq!(verdict, Dispatch::NotDone(NotDone::RateLimited(until)));
    }

    #[test]
    fn every_transport_failure_of_a_retraction() {
        for failure in TRANSPORT {
            let expected = match failure {
                TransportFailure::NeverConnected => Dispatch::NotDone(NotDone::NeverConnected),
                _ => Dispatch::Unknown,
            };
            assert_eq!(judge_dispatch(Outcome::Transport(failure), false, now()), expected, "{failure:?}");
        }
    }
}
