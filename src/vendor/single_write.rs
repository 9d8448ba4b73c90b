//! Sends a request that must arrive at most once, and returns what recoup knows for certain about its effect.
//!
//! Reversals, modifications and reward cancellations all use `single_write`. The vendor documents no idempotency key
//! (`docs/vendor/contradictions.md` 8). Therefore recoup never repeats a write with an unknown effect, and never
//! follows a redirect. recoup repeats a write only after a 401, which proves that the vendor did nothing, and only if
//! the token file contains a new token.

use std::fmt;
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

/// Sends the requests that change something to one host.
pub(crate) struct SingleWriter {
    host: Host,
    http: Writer,
    keyring: Keyring,
    pacer: Arc<Pacer>,
    clock: Clock,
    backoff: SignedDuration,
}

/// A kind of request that changes something at the vendor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteKind {
    /// The name of the vendor's endpoint in messages, such as `Reverse an Action`.
    pub(crate) endpoint: &'static str,
    /// What a 2xx without proof of success lacks, as the words after "without" in a message.
    pub(crate) lacking: &'static str,
}

/// The body of a 2xx by which the vendor accepts a write.
pub(crate) struct AcceptedBody {
    /// The vendor's link to the submission; `None` for a request without a submission.
    pub(crate) queued_uri: Option<String>,
}

/// What recoup knows for certain about one request that changes something at the vendor. The ledger and the receipt
/// record the outcome of each write.
#[derive(Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The vendor accepted the write. Only a later read proves the effect of an accepted write
    /// (`docs/vendor/contradictions.md` 11 and 37).
    Accepted {
        /// The vendor's link to the submission; `None` for a reward cancellation, which has no submission.
        queued_uri: Option<String>,
        /// The last path segment of `queued_uri`.
        batch_id: Option<String>,
        body: String,
    },
    /// The vendor refused the write and did nothing.
    Refused {
        /// The status of the refusal: a 4xx other than 401, 403, 408 and 429.
        status: u16,
        /// The vendor's reason for the refusal, if the body contains a reason. The vendor's reason may contain IDs.
        message: Option<String>,
        body: String,
    },
    /// The vendor may have processed the write. recoup must not send the write again. A later read shows its effect.
    Unknown {
        /// Why the effect of the write is unknown, as a fragment of a sentence without IDs.
        reason: String,
        /// The status of the vendor's answer; `None` if no answer arrived.
        status: Option<u16>,
        body: Option<String>,
    },
    /// The vendor did nothing with the request. The error's kind is `Credentials`, `Scope`, `Tenant`, `Usage`, or
    /// `Network` if the client could open no connection.
    NotSent { error: Error },
    /// The vendor did nothing with the request, because the quota is used up. The caller may wait until the reset of
    /// the quota and send again.
    RateLimited { until: Timestamp },
}

/// Leaves out the vendor's texts, because they name people and the account.
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

    /// Uses the pacer of another client of the same host. Two clients with one pacer share one quota and one deadline.
    pub(crate) fn share_pace(&mut self, pacer: &Arc<Pacer>) {
        self.pacer = Arc::clone(pacer);
    }

    /// Waits until the pacer of the host admits a request.
    ///
    /// # Errors
    /// Fails with `Interrupted` or `Parked`. After an error, the writer has sent nothing.
    pub(crate) async fn ready(&self) -> Result<Permit> {
        self.pacer.admit(None).await
    }

    /// Sends one request and decides from the answer what the request did. `accepted` parses the body of a 2xx, and
    /// returns `None` if the body does not show that the vendor accepted the request.
    pub(crate) async fn send(
        &self,
        permit: &Permit,
        kind: WriteKind,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
        accepted: impl Fn(&[u8]) -> Option<AcceptedBody>,
    ) -> WriteOutcome {
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

    fn judge(
        &self,
        permit: &Permit,
        kind: WriteKind,
        result: Result<Answer, Failure>,
        accepted: impl Fn(&[u8]) -> Option<AcceptedBody>,
    ) -> WriteOutcome {
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
        let accepted = read.filter(|_| is_success).and_then(|body| accepted(body));
        let outcome = Outcome::Status { status: effective_status(status, &error), headers: &headers };
        let verdict = judge_write(outcome, accepted.is_some(), now);
        let until = match verdict {
            WriteVerdict::NotDone(NotDone::RateLimited(until)) => until,
            _ => rate_headers::wait_after_failure(&headers, now),
        };
        permit.report(health(outcome), until);
        let text = read.map(|body| String::from_utf8_lossy(body).into_owned());
        match (verdict, accepted) {
            (WriteVerdict::Queued, Some(AcceptedBody { queued_uri })) => {
                let last_segment = |uri: &String| uri.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned);
                let batch_id = queued_uri.as_ref().and_then(last_segment);
                WriteOutcome::Accepted { queued_uri, batch_id, body: text.unwrap_or_default() }
            }
            (WriteVerdict::Refused, _) => {
                WriteOutcome::Refused { status, message: error.message, body: text.unwrap_or_default() }
            }
            (WriteVerdict::NotDone(why), _) => match (why, foreign) {
                (NotDone::Credentials | NotDone::Scope, Some(what)) => {
                    WriteOutcome::NotSent { error: not_the_api(self.host, kind.endpoint, status, &what) }
                }
                _ => self.not_done(kind, why, None, now),
            },
            (WriteVerdict::Queued | WriteVerdict::Unknown, _) => {
                WriteOutcome::Unknown { reason: why_unknown(kind, status, &body), status: Some(status), body: text }
            }
        }
    }

    fn judge_failure(&self, kind: WriteKind, failure: Failure, now: Timestamp) -> WriteOutcome {
        match judge_write(Outcome::Transport(failure.kind), false, now) {
            WriteVerdict::NotDone(why) => self.not_done(kind, why, Some(&failure), now),
            WriteVerdict::Queued | WriteVerdict::Refused | WriteVerdict::Unknown => {
                WriteOutcome::Unknown { reason: failure.detail, status: None, body: None }
            }
        }
    }

    fn not_done(&self, kind: WriteKind, why: NotDone, failure: Option<&Failure>, now: Timestamp) -> WriteOutcome {
        let error = match why {
            NotDone::Credentials => credentials_refused(self.host, self.keyring.format_problems()),
            NotDone::Scope => scope_refused(self.host, kind.endpoint),
            NotDone::NeverConnected => {
                let detail = failure.map_or("no connection", |failure| &failure.detail);
                let error = Error::new(
                    Kind::Network,
                    format!("{} {}: {detail}; nothing was sent", self.host.name, kind.endpoint),
                );
                Error { hint: failure.map(|failure| failure.hint(self.host.url_hint)), ..error }
            }
            NotDone::RateLimited(until) => {
                let until = until.or_else(|| now.checked_add(self.backoff).ok()).unwrap_or(now);
                return WriteOutcome::RateLimited { until };
            }
        };
        WriteOutcome::NotSent { error }
    }
}

/// Returns why the vendor's answer does not show whether the vendor processed the request.
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
