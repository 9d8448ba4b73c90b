//! Sends a request that must arrive at most once, and states what is certain about it afterwards.
//!
//! Reversals, modifications and cancelled rewards share this code. The vendor documents no idempotency key
//! (`docs/vendor/contradictions.md` 8), so a request with an unknown effect is never repeated, and a redirect is never followed.
//! The one request that may be sent again is one that got a 401, which did nothing, and only if the token in its file has changed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use tokio_util::sync::CancellationToken;

use super::auth::{Keyring, Token};
use super::error_body::{ErrorBody, describe_unexpected, foreign};
use super::http::{Answer, Failure, Writer};
use super::loose_json::Fields;
use super::metrics;
use super::pace::{Health, Pacer, Permit};
use super::retry::{NotDone, Outcome, TransportFailure, WriteVerdict, judge_write};
use super::{
    Host, HostOptions, credentials_refused, effective_status, health, not_the_api, rate_headers, scope_refused,
};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};

/// Writes to one host.
pub(crate) struct SingleWriter {
    host: Host,
    http: Writer,
    keyring: Keyring,
    pacer: Arc<Pacer>,
    clock: Clock,
    backoff: SignedDuration,
}

/// A kind of request that changes something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteKind {
    /// The name in messages, such as `Reverse an Action`.
    pub(crate) endpoint: &'static str,
    /// What a 2xx without success lacks: the words after "without".
    pub(crate) lacking: &'static str,
}

/// What is certain about one request.
pub(crate) enum WriteOutcome<T> {
    /// The vendor accepted it.
    Accepted { value: T, raw: String },
    /// The vendor refused it. Nothing was done.
    Refused { status: u16, error: ErrorBody, raw: String },
    /// Nothing was done, for a reason on our side.
    NotDone { error: Error },
    /// Nothing was done, because the quota is used up.
    RateLimited { until: Timestamp },
    /// It may have been done.
    Unknown { reason: String, status: Option<u16>, raw: Option<String> },
}

impl SingleWriter {
    pub(crate) fn new(
        host: Host,
        options: &HostOptions,
        version: Option<&str>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        Ok(Self {
            host,
            http: Writer::new(options, version)?,
            keyring: Keyring::new(options.credentials.clone())?,
            pacer: Pacer::new(options, clock, stop)?,
            clock,
            backoff: SignedDuration::try_from(options.backoff).unwrap_or(SignedDuration::from_secs(1)),
        })
    }

    /// Uses the pacer of another client of the same host: both then share one quota and one deadline.
    pub(crate) fn share_pace(&mut self, pacer: &Arc<Pacer>) {
        self.pacer = Arc::clone(pacer);
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// `Interrupted` or `Parked`. Nothing was sent.
    pub(crate) async fn ready(&self) -> Result<Permit> {
        self.pacer.admit(None).await
    }

    /// Sends one request and judges the answer. `accepted` reads the body of a 2xx that says that the vendor accepted the request.
    pub(crate) async fn send<T>(
        &self,
        permit: &Permit,
        kind: WriteKind,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
        accepted: impl Fn(&[u8]) -> Option<T>,
    ) -> WriteOutcome<T> {
        let token = self.keyring.token();
        let mut result = self.send_once(kind, &request, &token).await;
        let is_refused = matches!(&result, Ok(answer) if answer.status == 401);
        if is_refused && self.keyring.is_file() && self.keyring.reread(&token) == Ok(true) {
            result = self.send_once(kind, &request, &self.keyring.token()).await;
        }
        self.judge(permit, kind, result, accepted)
    }

    async fn send_once(
        &self,
        kind: WriteKind,
        request: &impl Fn(&reqwest::Client) -> RequestBuilder,
        token: &Token,
    ) -> Result<Answer, Failure> {
        let result = self.http.send(request(&self.http.http), token).await;
        let status = result.as_ref().map_or(0, |answer| answer.status);
        metrics::count_answer(self.host.name, status);
        tracing::info!(host = self.host.name, endpoint = kind.endpoint, status, "a write was answered");
        result
    }

    fn judge<T>(
        &self,
        permit: &Permit,
        kind: WriteKind,
        result: Result<Answer, Failure>,
        accepted: impl Fn(&[u8]) -> Option<T>,
    ) -> WriteOutcome<T> {
        let now = self.clock.now();
        let Answer { status, headers, body } = match result {
            Ok(answer) => answer,
            Err(failure) => {
                permit.report(Health::Troubled, None);
                return self.judge_failure(kind, failure, now);
            }
        };
        if let Some(header) = rate_headers::quota_header(&headers, now) {
            self.pacer.record_header(header);
        }
        let is_success = (200..=299).contains(&status);
        let read = body.as_ref().ok();
        let mut error = read.filter(|_| !is_success).map(|body| ErrorBody::parse(body)).unwrap_or_default();
        let foreign = read.filter(|_| status >= 400).and_then(|body| foreign(body));
        if let Some(what) = &foreign {
            error.message = Some(format!("{what}, which did not come from the API"));
        }
        let value = read.filter(|_| is_success).and_then(|body| accepted(body));
        let outcome = Outcome::Status { status: effective_status(status, &error), headers: &headers };
        let verdict = judge_write(outcome, value.is_some(), now);
        let until = match verdict {
            WriteVerdict::NotDone(NotDone::RateLimited(until)) => until,
            _ => rate_headers::wait_after_failure(&headers, now),
        };
        permit.report(health(outcome), until);
        let raw = read.map(|body| String::from_utf8_lossy(body).into_owned());
        match (verdict, value) {
            (WriteVerdict::Queued, Some(value)) => WriteOutcome::Accepted { value, raw: raw.unwrap_or_default() },
            (WriteVerdict::Refused, _) => WriteOutcome::Refused { status, error, raw: raw.unwrap_or_default() },
            (WriteVerdict::NotDone(why), _) => match (why, foreign) {
                (NotDone::Credentials | NotDone::Scope, Some(what)) => {
                    WriteOutcome::NotDone { error: not_the_api(self.host, kind.endpoint, status, &what) }
                }
                _ => self.not_done(kind, why, "", now),
            },
            (WriteVerdict::Queued | WriteVerdict::Unknown, _) => {
                WriteOutcome::Unknown { reason: why_unknown(kind, status, &body), status: Some(status), raw }
            }
        }
    }

    fn judge_failure<T>(&self, kind: WriteKind, failure: Failure, now: Timestamp) -> WriteOutcome<T> {
        match judge_write(Outcome::Transport(failure.kind), false, now) {
            WriteVerdict::NotDone(why) => self.not_done(kind, why, &failure.detail, now),
            WriteVerdict::Queued | WriteVerdict::Refused | WriteVerdict::Unknown => {
                WriteOutcome::Unknown { reason: failure.detail, status: None, raw: None }
            }
        }
    }

    fn not_done<T>(&self, kind: WriteKind, why: NotDone, detail: &str, now: Timestamp) -> WriteOutcome<T> {
        let error = match why {
            NotDone::Credentials => credentials_refused(self.host, self.keyring.format_problems()),
            NotDone::Scope => scope_refused(self.host, kind.endpoint),
            NotDone::NeverConnected => {
                Error::new(Kind::Network, format!("{} {}: {detail}; nothing was sent", self.host.name, kind.endpoint))
            }
            NotDone::RateLimited(until) => {
                let until = until.or_else(|| now.checked_add(self.backoff).ok()).unwrap_or(now);
                return WriteOutcome::RateLimited { until };
            }
        };
        WriteOutcome::NotDone { error }
    }
}

/// Why an answer does not show whether the request was done.
fn why_unknown(kind: WriteKind, status: u16, body: &Result<Vec<u8>, Failure>) -> String {
    match (status, body) {
        (200..=299, Ok(body)) => match Fields::parse(body) {
            Some(_) => format!("the vendor answered {status} without {}", kind.lacking),
            None => format!("the vendor answered {status} with {}", describe_unexpected(body)),
        },
        (200..=299, Err(failure)) if failure.kind == TransportFailure::TimedOut => {
            format!("the vendor answered {status}, but not completely in time")
        }
        (200..=299, Err(failure)) => format!("the vendor answered {status}, but {}", failure.detail),
        (300..=399, _) => format!("the vendor answered {status}, a redirect, which is never followed"),
        _ => format!("the vendor answered {status}"),
    }
}
