//! Sending what must arrive at most once: one request, and what is certain about it afterwards.
//!
//! Reversals, modifications and cancelled rewards share this judgement (`docs/vendor/contradictions.md` 8: no idempotency key is
//! documented). It must never repeat a request whose effect is not known, nor follow a redirect. The one second request it
//! may send is after a 401, which did nothing, and only with a token that has changed in its file since.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use tokio_util::sync::CancellationToken;

use super::auth::{Keyring, Token};
use super::counts;
use super::json::{Complaint, Fields, foreign, what_instead};
use super::pace::{Health, Pacer, Permit};
use super::retry::{Dispatch, NotDone, Outcome, TransportFailure, judge_dispatch};
use super::wire::{Answer, Failure, Writer};
use super::{
    Host, HostOptions, credentials_refused, effective_status, health, not_the_api, rate_headers, scope_refused,
};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};

/// The way in which one host is written to.
pub(crate) struct Dispatcher {
    host: Host,
    wire: Writer,
    keyring: Keyring,
    pacer: Arc<Pacer>,
    clock: Clock,
    backoff: SignedDuration,
}

/// One kind of request that changes something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    /// Its name in messages: `Reverse an Action`.
    pub(crate) endpoint: &'static str,
    /// What an answer of 2xx lacks that is no success, after "without".
    pub(crate) lacking: &'static str,
}

/// What is certain about one request that changes something at the vendor.
///
/// The ledger and the receipt are written from this value. Its `Debug` leaves the vendor's texts out: they name people and the
/// account.
#[derive(Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The vendor accepted the request. That is not the end of it: only a later reading proves an effect
    /// (`docs/vendor/contradictions.md` 11 and 37).
    Accepted {
        /// The link of the submission, as the vendor gave it; `None` for a cancelled reward, which has no submission.
        queued_uri: Option<String>,
        /// The last segment of `queued_uri`.
        batch_id: Option<String>,
        body: String,
    },
    /// The vendor refused the request; nothing was done.
    Refused {
        /// A 4xx, but 401, 403, 408 or 429.
        status: u16,
        /// The vendor's reason, if it can be recognised. May hold IDs.
        message: Option<String>,
        body: String,
    },
    /// The request may have been done. It is never sent again; reading finds out.
    Unknown {
        /// A fragment of a sentence, without IDs.
        reason: String,
        /// `None` if no answer arrived.
        status: Option<u16>,
        body: Option<String>,
    },
    /// Nothing was done: `Credentials`, `Scope`, `Tenant`, `Usage`, or `Network` for a connection that was never opened.
    NotSent { error: Error },
    /// Nothing was done, because the quota is used up until then.
    RateLimited { until: Timestamp },
}

impl fmt::Debug for WriteOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { .. } => f.write_str("Accepted { .. }"),
            Self::Refused { status, .. } => f.debug_struct("Refused").field("status", status).finish_non_exhaustive(),
            Self::Unknown { reason, status, .. } => {
                f.debug_struct("Unknown").field("reason", reason).field("status", status).finish_non_exhaustive()
            }
            Self::NotSent { error } => f.debug_struct("NotSent").field("error", error).finish(),
            Self::RateLimited { until } => f.debug_struct("RateLimited").field("until", until).finish(),
        }
    }
}

impl Dispatcher {
    pub(crate) fn new(
        host: Host,
        options: &HostOptions,
        version: Option<&str>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        Ok(Self {
            host,
            wire: Writer::new(options, version)?,
            keyring: Keyring::new(options.credentials.clone())?,
            pacer: Pacer::new(options, clock, stop)?,
            clock,
            backoff: SignedDuration::try_from(options.backoff).unwrap_or(SignedDuration::from_secs(1)),
        })
    }

    /// Passes another client's gate from now on: one quota, one deadline.
    pub(crate) fn pace_with(&mut self, pacer: &Arc<Pacer>) {
        self.pacer = Arc::clone(pacer);
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// `Interrupted` or `Parked`; nothing was sent.
    pub(crate) async fn ready(&self) -> Result<Permit> {
        self.pacer.admit(None).await
    }

    /// Sends one request and judges what came of it. `accepted` reads the body of a 2xx: the link of the submission, if there is
    /// one; `None` if the body does not say that the vendor accepted the request.
    pub(crate) async fn once(
        &self,
        permit: &Permit,
        act: Act,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
        accepted: impl Fn(&[u8]) -> Option<Option<String>>,
    ) -> WriteOutcome {
        let token = self.keyring.token();
        let mut result = self.send(act, &request, &token).await;
        let refused = matches!(&result, Ok(answer) if answer.status == 401);
        if refused && self.keyring.is_file() && self.keyring.reread(&token) == Ok(true) {
            let fresh = self.keyring.token();
            result = self.send(act, &request, &fresh).await;
        }
        self.conclude(permit, act, result, accepted)
    }

    async fn send(
        &self,
        act: Act,
        request: &impl Fn(&reqwest::Client) -> RequestBuilder,
        token: &Token,
    ) -> Result<Answer, Failure> {
        let result = self.wire.send(request(&self.wire.http), token).await;
        let status = result.as_ref().map_or(0, |answer| answer.status);
        counts::count(self.host.name, status);
        tracing::info!(host = self.host.name, endpoint = act.endpoint, status, "a write was answered");
        result
    }

    fn conclude(
        &self,
        permit: &Permit,
        act: Act,
        result: Result<Answer, Failure>,
        accepted: impl Fn(&[u8]) -> Option<Option<String>>,
    ) -> WriteOutcome {
        let now = self.clock.now();
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                permit.learn(Health::Troubled, None);
                return self.without_answer(act, failure, now);
            }
        };
        let Answer { status, headers, body } = answer;
        if let Some(told) = rate_headers::told(&headers, now) {
            self.pacer.hear(told);
        }
        let mut complaint = match status {
            200..=299 => Complaint::default(),
            _ => body.as_ref().map(|body| Complaint::parse(body)).unwrap_or_default(),
        };
        let foreign = body.as_ref().ok().filter(|_| status >= 400).and_then(|body| foreign(body));
        if let Some(what) = &foreign {
            complaint.message = Some(format!("{what}, which did not come from the API"));
        }
        let accepted = body.as_ref().ok().filter(|_| (200..=299).contains(&status)).and_then(|body| accepted(body));
        let outcome = Outcome::Status { status: effective_status(status, &complaint), headers: &headers };
        let verdict = judge_dispatch(outcome, accepted.is_some(), now);
        permit.learn(health(outcome), named_moment(verdict, &headers, now));
        let text = || body.as_ref().ok().map(|body| String::from_utf8_lossy(body).into_owned());
        match (verdict, accepted) {
            (Dispatch::Queued, Some(queued_uri)) => {
                let last_segment = |uri: &String| uri.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned);
                let batch_id = queued_uri.as_ref().and_then(last_segment);
                WriteOutcome::Accepted { queued_uri, batch_id, body: text().unwrap_or_default() }
            }
            (Dispatch::Refused, _) => {
                WriteOutcome::Refused { status, message: complaint.message, body: text().unwrap_or_default() }
            }
            (Dispatch::NotDone(NotDone::Credentials | NotDone::Scope), _) if foreign.is_some() => {
                WriteOutcome::NotSent {
                    error: not_the_api(self.host, act.endpoint, status, &foreign.unwrap_or_default()),
                }
            }
            (Dispatch::NotDone(why), _) => self.not_done(act, why, "", now),
            (Dispatch::Queued | Dispatch::Unknown, _) => {
                WriteOutcome::Unknown { reason: doubt(act, status, &body), status: Some(status), body: text() }
            }
        }
    }

    fn without_answer(&self, act: Act, failure: Failure, now: Timestamp) -> WriteOutcome {
        match judge_dispatch(Outcome::Transport(failure.kind), false, now) {
            Dispatch::NotDone(why) => self.not_done(act, why, &failure.detail, now),
            Dispatch::Queued | Dispatch::Refused | Dispatch::Unknown => {
                WriteOutcome::Unknown { reason: failure.detail, status: None, body: None }
            }
        }
    }

    fn not_done(&self, act: Act, why: NotDone, detail: &str, now: Timestamp) -> WriteOutcome {
        let error = match why {
            NotDone::Credentials => credentials_refused(self.host, self.keyring.what_is_odd()),
            NotDone::Scope => scope_refused(self.host, act.endpoint),
            NotDone::NeverConnected => {
                Error::new(Kind::Network, format!("{} {}: {detail}; nothing was sent", self.host.name, act.endpoint))
            }
            NotDone::RateLimited(until) => {
                let until = until.or_else(|| now.checked_add(self.backoff).ok()).unwrap_or(now);
                return WriteOutcome::RateLimited { until };
            }
        };
        WriteOutcome::NotSent { error }
    }
}

fn named_moment(verdict: Dispatch, headers: &reqwest::header::HeaderMap, now: Timestamp) -> Option<Timestamp> {
    match verdict {
        Dispatch::NotDone(NotDone::RateLimited(until)) => until,
        _ => rate_headers::wait_after_failure(headers, now),
    }
}

/// Why an answer leaves it open whether something was done.
fn doubt(act: Act, status: u16, body: &Result<bytes::Bytes, Failure>) -> String {
    match (status, body) {
        (200..=299, Ok(body)) => match Fields::parse(body) {
            Some(_) => format!("the vendor answered {status} without {}", act.lacking),
            None => format!("the vendor answered {status} with {}", what_instead(body)),
        },
        (200..=299, Err(failure)) if failure.kind == TransportFailure::TimedOut => {
            format!("the vendor answered {status}, but not completely in time")
        }
        (200..=299, Err(failure)) => format!("the vendor answered {status}, but {}", failure.detail),
        (300..=399, _) => format!("the vendor answered {status}, a redirect, which is never followed"),
        _ => format!("the vendor answered {status}"),
    }
}
