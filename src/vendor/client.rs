//! The HTTP client of one vendor host: it waits until the pacer admits a request, sends the request, decodes the
//! answer, and retries until the answer is usable.
//!
//! `retry` decides whether the client retries a request, and `pace` decides when a request may start. `client` contains
//! the loop that calls `retry` and `pace`. The client sends only GET requests, and POST requests that change nothing at
//! the vendor.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::auth::Keyring;
use super::error_body::{ErrorBody, describe_unexpected, foreign};
use super::http::{Answer, Failure, Reader};
use super::loose_json::is_json;
use super::metrics;
use super::pace::{Health, Pacer, Permit, jittered};
use super::rate_headers::HostDate;
use super::retry::{Outcome, Policy, RetryDecision, TransportFailure, Wait, judge_read};
use super::{
    Host, HostOptions, WaitReason, credentials_refused, not_the_api, rate_headers, scope_refused, tenant_refused,
};
use crate::clock::{Clock, signed};
use crate::error::{Error, Kind, Result};
use crate::model::budget::QuotaState;

/// A snapshot of an HTTP client's activity.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// The number of requests that the client has sent, retries included.
    pub requests: u64,
    pub retries: u64,
    pub rate_limited: u64,
    pub in_flight: usize,
    /// The time before which the client starts no request.
    pub waiting_until: Option<Timestamp>,
    pub wait_reason: Option<WaitReason>,
    /// The number of failed requests that wait for their own retry.
    pub backing_off: usize,
    /// The quota that all processes share, as this process last read it.
    pub quota: QuotaState,
}

/// The vendor's clock, from the `Date` header of the newest answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostClock {
    /// The seconds by which this machine's clock is ahead of the host's; `None` if the answer has no date.
    pub ahead: Option<i64>,
    /// When the host's answer arrived, by this machine's clock.
    pub at: Timestamp,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    rate_limited: AtomicU64,
    backing_off: AtomicUsize,
}

/// Counts a request as backing off until the guard is dropped.
struct BackingOff<'a>(&'a AtomicUsize);

impl<'a> BackingOff<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for BackingOff<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that changes nothing at the vendor.
pub(crate) struct ReadRequest<'a> {
    /// The name of the vendor's endpoint in messages.
    pub(crate) endpoint: &'static str,
    pub(crate) url: &'a Url,
    /// The body of a POST; `None` if the request is a GET.
    pub(crate) json: Option<String>,
    /// The maximum number of attempts of this request. The client's own maximum number of attempts also applies.
    pub(crate) attempts: u32,
    /// One more status, besides 2xx, with which the client decodes the body of the response.
    pub(crate) also: Option<u16>,
}

/// The HTTP client of one host.
pub(crate) struct Client {
    host: Host,
    http: Reader,
    keyring: Keyring,
    pacer: Arc<Pacer>,
    policy: Policy,
    max_wait: Duration,
    clock: Clock,
    counters: Counters,
    host_clock: Mutex<Option<HostClock>>,
}

/// Counts the attempts of one request.
struct Tries {
    endpoint: &'static str,
    began: Instant,
    /// The attempts of the request that count against the retry policy.
    attempts: u32,
    /// The requests that the client sent, including the requests that the host answered with 429.
    sent: u32,
    limited_since: Option<Timestamp>,
    has_reread_token: bool,
}

impl Client {
    pub(crate) fn new(
        host: Host,
        options: &HostOptions,
        version: Option<&str>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        Ok(Self {
            host,
            http: Reader::new(options, version)?,
            keyring: Keyring::new(options.credentials.clone())?,
            pacer: Pacer::new(options, clock, stop)?,
            policy: Policy {
                attempts: options.attempts.max(1),
                backoff: options.backoff,
                backoff_max: options.backoff_max,
            },
            max_wait: options.max_wait,
            clock,
            counters: Counters::default(),
            host_clock: Mutex::default(),
        })
    }

    pub(crate) fn pacer(&self) -> &Arc<Pacer> {
        &self.pacer
    }

    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.pacer.waiting();
        Stats {
            requests: self.counters.requests.load(Ordering::Relaxed),
            retries: self.counters.retries.load(Ordering::Relaxed),
            rate_limited: self.counters.rate_limited.load(Ordering::Relaxed),
            in_flight: self.pacer.in_flight(),
            waiting_until: waiting.map(|(moment, _)| moment),
            wait_reason: waiting.map(|(_, reason)| reason),
            backing_off: self.counters.backing_off.load(Ordering::Relaxed),
            quota: self.pacer.quota_state(),
        }
    }

    /// Returns the vendor's clock compared with this machine's; `None` before the vendor's first answer.
    pub(crate) fn host_clock(&self) -> Option<HostClock> {
        *self.host_clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why this process cannot share the quota with other processes; `None` if it can.
    pub(crate) fn quota_trouble(&self) -> Option<String> {
        self.pacer.trouble()
    }

    /// Sends a GET, and retries it as [`Client::read`] does.
    pub(crate) async fn get<T>(
        &self,
        endpoint: &'static str,
        url: &Url,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let request = ReadRequest { endpoint, url, json: None, attempts: u32::MAX, also: None };
        self.read(&request, |_, body| decode(body)).await
    }

    /// Sends a request to the vendor until a usable answer arrives. Returns `Ok(None)` for a 404 if its body is JSON
    /// and does not report an unknown tenant. `decode` returns `None` for a response body that it cannot parse. The
    /// client retries a request if its answer cannot be decoded.
    ///
    /// # Errors
    /// Fails with `Interrupted` (the client starts no further request, and finishes a running one), `Parked`,
    /// `Credentials`, `Scope`, `Tenant`, `Network` if no answer arrived, or `Vendor` if no usable answer arrived.
    pub(crate) async fn read<T>(
        &self,
        request: &ReadRequest<'_>,
        decode: impl Fn(&HeaderMap, &[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let endpoint = request.endpoint;
        let policy = &Policy { attempts: request.attempts.clamp(1, self.policy.attempts), ..self.policy };
        let began = Instant::now();
        let mut tries = Tries { endpoint, began, attempts: 0, sent: 0, limited_since: None, has_reread_token: false };
        let mut not_before = None;
        loop {
            let permit = self.admit(not_before.take(), &mut tries).await?;
            let token = self.keyring.token();
            let (sent, sent_at) = (Instant::now(), self.clock.now());
            let result = self.http.send(request.url, request.json.as_deref(), &token).await;
            let status = result.as_ref().map_or(0, |answer| answer.status);
            metrics::count_answer(self.host.name, status);
            tracing::debug!(host = self.host.name, endpoint, status, took = ?sent.elapsed(), "answered");
            let now = self.clock.now();
            if let Ok(answer) = &result {
                self.read_headers(answer, sent_at, now);
            }

            // Decodes the body before `judge_read` sees the status, because a 2xx with an unreadable body counts as a
            // transport failure.
            let answer = match result.and_then(|answer| decoded(answer, request.also, &decode)) {
                Ok(Decoded::Value(value, headers)) => {
                    permit.finish(Health::Good, rate_headers::exhausted_until(&headers, now));
                    return Ok(Some(value));
                }
                Ok(Decoded::Error(answer, error)) => Ok((answer, error)),
                Err(failure) => Err(failure),
            };
            let outcome = match &answer {
                Ok((answer, error)) => {
                    Outcome::Status { status: effective_status(answer.status, error), headers: &answer.headers }
                }
                Err(failure) => Outcome::Transport(failure.kind),
            };
            if let RetryDecision::Retry { wait, counts } = judge_read(outcome, tries.attempts, policy, now) {
                let until = match wait {
                    Wait::Until(moment) => Some(moment),
                    Wait::Backoff(time) => {
                        not_before = now.checked_add(signed(jittered(time))).ok();
                        None
                    }
                };
                permit.finish(health(outcome), until);
                tracing::debug!(host = self.host.name, endpoint, status, attempt = tries.attempts, "retrying");
                if !counts {
                    tries.attempts -= 1;
                    self.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
                    self.bound_limited(&mut tries, until.or(not_before), now)?;
                }
                continue;
            }
            match answer {
                Ok((answer, error)) => {
                    let outcome = Outcome::Status { status: answer.status, headers: &answer.headers };
                    permit.finish(health(outcome), rate_headers::exhausted_until(&answer.headers, now));
                    let has_json = answer.body.as_ref().is_ok_and(|body| is_json(body));
                    if answer.status == 401 && !tries.has_reread_token && self.keyring.is_file() {
                        self.keyring.reread(&token)?;
                        tries.has_reread_token = true;
                        tries.attempts -= 1;
                    } else if answer.status == 404 && !error.is_tenant() && has_json {
                        return Ok(None);
                    } else {
                        return Err(self.refusal(&tries, &answer, &error));
                    }
                }
                Err(failure) => {
                    permit.finish(Health::Troubled, None);
                    return Err(self.failure(&tries, &failure));
                }
            }
        }
    }

    async fn admit(&self, not_before: Option<Timestamp>, tries: &mut Tries) -> Result<Permit> {
        let backing_off = not_before.map(|_| BackingOff::count(&self.counters.backing_off));
        let mut permit = self.pacer.admit(not_before).await?;
        drop(backing_off);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        if tries.sent > 0 {
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            permit.mark_repeat();
        }
        tries.sent += 1;
        tries.attempts += 1;
        Ok(permit)
    }

    fn read_headers(&self, answer: &Answer, sent_at: Timestamp, now: Timestamp) {
        if let Some(header) = rate_headers::quota_header(&answer.headers, now) {
            self.pacer.record_header(header);
        }
        let ahead = match rate_headers::host_date(&answer.headers, sent_at, now) {
            HostDate::Ahead(ahead) => Some(ahead),
            // An error answer without a date may come from a proxy. Therefore an error answer without a date does not
            // prove that the host sends no date.
            HostDate::Missing if (200..=299).contains(&answer.status) => None,
            HostDate::Missing | HostDate::Cached => return,
        };
        *self.host_clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(HostClock { ahead, at: now });
    }

    /// Fails if the host has answered 429 for longer than `max_wait`.
    fn bound_limited(&self, tries: &mut Tries, until: Option<Timestamp>, now: Timestamp) -> Result<()> {
        let since = *tries.limited_since.get_or_insert(now);
        if now.duration_since(since) > signed(self.max_wait) {
            return Err(self.pacer.parked_until(until.unwrap_or(now)));
        }
        Ok(())
    }

    fn refusal(&self, tries: &Tries, answer: &Answer, error: &ErrorBody) -> Error {
        let what = format!("{} {}", self.host.name, tries.endpoint);
        let codes = error.codes();
        let foreign = answer.body.as_ref().ok().filter(|_| answer.status >= 400).and_then(|body| foreign(body));
        if let Some(body) = foreign {
            let error = not_the_api(self.host, tries.endpoint, answer.status, &body);
            return Error { message: format!("{} ({})", error.message, tries.spent()), ..error };
        }
        let check_url = format!("check {}", self.host.url_hint);
        match answer.status {
            401 => credentials_refused(self.host, self.keyring.format_problems()),
            403 => scope_refused(self.host, tries.endpoint),
            400 | 404 if error.is_tenant() => tenant_refused(self.host, &codes),
            status @ 300..=399 => {
                Error::new(Kind::Vendor, format!("{what} answered {status}, a redirect, which is never followed"))
                    .hint(check_url)
            }
            404 => {
                Error::new(Kind::Vendor, format!("{what} answered 404 without saying what is missing")).hint(check_url)
            }
            status => Error::new(Kind::Vendor, format!("{what} answered {status}{codes} ({})", tries.spent())).hint(
                match status {
                    408 | 500.. => "the host is in trouble; run the same command again later".to_owned(),
                    _ => format!("{check_url} and the settings; -vv logs every request"),
                },
            ),
        }
    }

    fn failure(&self, tries: &Tries, failure: &Failure) -> Error {
        let kind = match failure.kind {
            TransportFailure::Unreadable | TransportFailure::TooLarge => Kind::Vendor,
            _ => Kind::Network,
        };
        Error::new(kind, format!("{} {}: {} ({})", self.host.name, tries.endpoint, failure.detail, tries.spent()))
            .hint(failure.hint(self.host.url_hint))
    }
}

impl Tries {
    /// Formats the client's effort for a message: "5 attempts in 12 s".
    fn spent(&self) -> String {
        let noun = if self.sent == 1 { "attempt" } else { "attempts" };
        let seconds = self.began.elapsed().as_secs_f64();
        let digits = usize::from(seconds < 10.0);
        format!("{} {noun} in {seconds:.digits$} s", self.sent)
    }
}

enum Decoded<T> {
    Value(T, HeaderMap),
    Error(Answer, ErrorBody),
}

fn decoded<T>(
    answer: Answer,
    also: Option<u16>,
    decode: impl Fn(&HeaderMap, &[u8]) -> Option<T>,
) -> Result<Decoded<T>, Failure> {
    if also == Some(answer.status)
        && let Ok(body) = &answer.body
        && let Some(value) = decode(&answer.headers, body)
    {
        return Ok(Decoded::Value(value, answer.headers));
    }
    if (200..=299).contains(&answer.status) {
        let body = answer.body?;
        let Some(value) = decode(&answer.headers, &body) else {
            let detail = format!("answered {}", describe_unexpected(&body));
            return Err(Failure::new(TransportFailure::Unreadable, detail));
        };
        return Ok(Decoded::Value(value, answer.headers));
    }
    let error = answer.body.as_ref().map(|body| ErrorBody::parse(body)).unwrap_or_default();
    Ok(Decoded::Error(answer, error))
}

/// Returns the HTTP status that an error code of the vendor means. The vendor publishes RS033 (rate limit), RS017 and
/// RS020 (internal errors, to be retried) without a status (`docs/vendor/advocate.md` §6). Therefore the vendor's error
/// code overrides the status of the response.
pub(super) fn effective_status(status: u16, error: &ErrorBody) -> u16 {
    if status != 401 && error.is_rs(&["RS033"]) {
        429
    } else if (400..=499).contains(&status) && error.is_rs(&["RS017", "RS020"]) {
        500
    } else {
        status
    }
}

/// Returns what the outcome of a request shows about the health of the host.
pub(super) fn health(outcome: Outcome<'_>) -> Health {
    match outcome {
        Outcome::Status { status: 429, .. } => Health::Limited,
        Outcome::Status { status: 408 | 500.., .. } | Outcome::Transport(_) => Health::Troubled,
        Outcome::Status { .. } => Health::Good,
    }
}
