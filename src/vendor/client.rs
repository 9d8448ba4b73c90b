//! Reading one host until there is an answer: pace, send, judge, decode, and again where that can help.
//!
//! What to make of an answer is decided in `retry`, when to start in `pace`; this is the loop between them. It can GET, and
//! POST what only reads: it must never send anything that changes something.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::auth::Keyring;
use super::counts;
use super::json::{Complaint, foreign, is_json, what_instead};
use super::pace::{Health, Pacer, jittered};
use super::rate_headers::HostDate;
use super::retry::{Outcome, Policy, TransportFailure, Verdict, Wait, judge_read};
use super::wire::{Answer, Failure, Reader};
use super::{
    Host, HostOptions, WaitReason, credentials_refused, not_the_api, rate_headers, scope_refused, tenant_refused,
};
use crate::clock::{Clock, signed};
use crate::error::{Error, Kind, Result};
use crate::model::budget::Account;

/// What a client has done and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Of these, how many repeated an earlier one.
    pub retries: u64,
    /// Answers that said that we are too fast.
    pub rate_limited: u64,
    /// Requests that hold a slot now.
    pub in_flight: usize,
    /// Nothing starts before this moment.
    pub waiting_until: Option<Timestamp>,
    /// Why not.
    pub wait_reason: Option<WaitReason>,
    /// Requests that failed and wait to be tried again, each by itself.
    pub backing_off: usize,
    /// What is known of the quota that every process shares.
    pub quota: Account,
}

/// What the newest answer of a host says about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardClock {
    /// How far this clock is ahead of the host's, in seconds; `None` if that answer carries no date.
    pub ahead: Option<i64>,
    /// When the answer came, by this machine's clock.
    pub at: Timestamp,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    retries: AtomicU64,
    rate_limited: AtomicU64,
    backing_off: AtomicUsize,
    clock: Mutex<Option<HeardClock>>,
}

/// Counts a request that waits before it is tried again, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reading client of one host. It can GET, and POST what only reads, and nothing else.
pub(crate) struct Client {
    host: Host,
    wire: Reader,
    keyring: Keyring,
    pacer: Arc<Pacer>,
    policy: Policy,
    max_wait: Duration,
    clock: Clock,
    counts: Counts,
}

/// What is known of one request, for the messages and the limits of trying again.
struct Tries {
    endpoint: &'static str,
    began: Instant,
    /// Attempts that count.
    attempts: u32,
    /// Requests sent.
    sent: u32,
    limited_since: Option<Timestamp>,
    signed_again: bool,
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
            wire: Reader::new(options, version)?,
            keyring: Keyring::new(options.credentials.clone())?,
            pacer: Pacer::new(options, clock, stop)?,
            policy: Policy {
                attempts: options.attempts.max(1),
                backoff: options.backoff,
                backoff_max: options.backoff_max,
            },
            max_wait: options.max_wait,
            clock,
            counts: Counts::default(),
        })
    }

    pub(crate) fn pacer(&self) -> &Arc<Pacer> {
        &self.pacer
    }

    /// What the client has done and is doing.
    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.pacer.waiting();
        Stats {
            requests: self.counts.requests.load(Ordering::Relaxed),
            retries: self.counts.retries.load(Ordering::Relaxed),
            rate_limited: self.counts.rate_limited.load(Ordering::Relaxed),
            in_flight: self.pacer.in_flight(),
            waiting_until: waiting.map(|(moment, _)| moment),
            wait_reason: waiting.map(|(_, reason)| reason),
            backing_off: self.counts.backing_off.load(Ordering::Relaxed),
            quota: self.pacer.account(),
        }
    }

    /// What the newest answer says about the host's clock; `None` before the first.
    pub(crate) fn clock_heard(&self) -> Option<HeardClock> {
        *self.counts.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_clock(&self, answer: &Answer, asked_at: Timestamp, at: Timestamp) {
        let ahead = match rate_headers::host_date(&answer.headers, asked_at, at) {
            HostDate::Ahead(ahead) => Some(ahead),
            // An error may be a proxy's own answer, which says nothing about the dates of the host's.
            HostDate::Missing if (200..=299).contains(&answer.status) => None,
            HostDate::Missing | HostDate::Cached => return,
        };
        *self.counts.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(HeardClock { ahead, at });
    }

    /// Why the quota is not shared with other processes, where that is so.
    pub(crate) fn quota_trouble(&self) -> Option<String> {
        self.pacer.trouble()
    }

    /// Reads one URL until there is an answer: pace, send, judge, decode. `None` is a 404 in JSON that does not mean an
    /// unknown tenant. `decode` gives `None` for a body that it cannot read; that is tried again like a broken one.
    ///
    /// # Errors
    /// `Interrupted` (before a request starts; one that was sent is finished), `Parked`, `Credentials`, `Scope`, `Tenant`,
    /// `Network` where there was no answer, `Vendor` where there was none to use.
    pub(crate) async fn get<T>(
        &self,
        endpoint: &'static str,
        url: &Url,
        decode: impl Fn(&Bytes) -> Option<T>,
    ) -> Result<Option<T>> {
        let question = Question { endpoint, attempts: self.policy.attempts, also: None };
        self.ask(question, url, None, |_, body| decode(body)).await
    }

    /// The same by POST, for what is asked in a JSON body. Whoever calls it vouches that asking twice is as good as once.
    pub(crate) async fn post<T>(
        &self,
        question: Question,
        url: &Url,
        body: &Bytes,
        decode: impl Fn(&HeaderMap, &Bytes) -> Option<T>,
    ) -> Result<Option<T>> {
        self.ask(question, url, Some(body), decode).await
    }

    /// A GET that has an answer with another status than 2xx too.
    pub(crate) async fn get_with<T>(
        &self,
        question: Question,
        url: &Url,
        decode: impl Fn(&HeaderMap, &Bytes) -> Option<T>,
    ) -> Result<Option<T>> {
        self.ask(question, url, None, decode).await
    }

    async fn ask<T>(
        &self,
        question: Question,
        url: &Url,
        json: Option<&Bytes>,
        decode: impl Fn(&HeaderMap, &Bytes) -> Option<T>,
    ) -> Result<Option<T>> {
        let Question { endpoint, attempts, also } = question;
        let policy = &Policy { attempts: attempts.clamp(1, self.policy.attempts), ..self.policy };
        let began = Instant::now();
        let mut tries = Tries { endpoint, began, attempts: 0, sent: 0, limited_since: None, signed_again: false };
        let mut not_before = None;
        loop {
            let mut permit = {
                let _waiting = not_before.map(|_| Waiting::count(&self.counts.backing_off));
                self.pacer.admit(not_before.take()).await?
            };
            let token = self.keyring.token();
            self.counts.requests.fetch_add(1, Ordering::Relaxed);
            if tries.sent > 0 {
                self.counts.retries.fetch_add(1, Ordering::Relaxed);
                permit.repeats();
            }
            tries.sent += 1;
            tries.attempts += 1;
            let (asked, asked_at) = (Instant::now(), self.clock.now());
            let result = self.wire.send(url, json, &token).await;
            let status = result.as_ref().map_or(0, |answer| answer.status);
            counts::count(self.host.name, status);
            tracing::debug!(host = self.host.name, endpoint, status, took = ?asked.elapsed(), "answered");
            let now = self.clock.now();
            if let Ok(answer) = &result {
                if let Some(told) = rate_headers::told(&answer.headers, now) {
                    self.pacer.hear(told);
                }
                self.hear_clock(answer, asked_at, now);
            }

            // Decode first: a 2xx whose body cannot be read is judged as a failure on the way.
            let answer = match result.and_then(|answer| readable(answer, also, &decode)) {
                Ok(Decoded::Value(value, headers)) => {
                    permit.finish(Health::Good, rate_headers::exhausted_until(&headers, now));
                    return Ok(Some(value));
                }
                Ok(Decoded::Other(answer, complaint)) => Ok((answer, complaint)),
                Err(failure) => Err(failure),
            };
            let outcome = match &answer {
                Ok((answer, complaint)) => {
                    Outcome::Status { status: effective_status(answer.status, complaint), headers: &answer.headers }
                }
                Err(failure) => Outcome::Transport(failure.kind),
            };
            if let Verdict::Again { wait, counts } = judge_read(outcome, tries.attempts, policy, now) {
                let until = match wait {
                    Wait::Until(moment) => Some(moment),
                    Wait::Backoff(time) => {
                        not_before = now.checked_add(signed(jittered(time))).ok();
                        None
                    }
                };
                permit.finish(health(outcome), until);
                let status = answer.as_ref().map_or(0, |(answer, _)| answer.status);
                tracing::debug!(host = self.host.name, endpoint, status, attempt = tries.attempts, "trying again");
                if !counts {
                    tries.attempts -= 1;
                    self.counts.rate_limited.fetch_add(1, Ordering::Relaxed);
                    self.bound_limited(&mut tries, until.or(not_before), now)?;
                }
                continue;
            }
            match answer {
                Ok((answer, complaint)) => {
                    permit.finish(health(outcome_of(&answer)), rate_headers::exhausted_until(&answer.headers, now));
                    if answer.status == 401 && !tries.signed_again && self.keyring.is_file() {
                        self.keyring.reread(&token)?;
                        tries.signed_again = true;
                        tries.attempts -= 1;
                    } else if answer.status == 404 && !complaint.is_tenant() && body_is_json(&answer) {
                        return Ok(None);
                    } else {
                        return Err(self.refusal(&tries, &answer, &complaint));
                    }
                }
                Err(failure) => {
                    permit.finish(Health::Troubled, None);
                    return Err(self.failure(&tries, &failure));
                }
            }
        }
    }

    /// A 429 without end is not waited for without end.
    fn bound_limited(&self, tries: &mut Tries, until: Option<Timestamp>, now: Timestamp) -> Result<()> {
        let since = *tries.limited_since.get_or_insert(now);
        if now.duration_since(since) > signed(self.max_wait) {
            return Err(self.pacer.parked_until(until.unwrap_or(now)));
        }
        Ok(())
    }

    /// The error for an answer that ends the matter.
    fn refusal(&self, tries: &Tries, answer: &Answer, complaint: &Complaint) -> Error {
        let what = format!("{} {}", self.host.name, tries.endpoint);
        let codes = complaint.codes();
        let body = answer.body.as_ref().ok().filter(|_| answer.status >= 400).and_then(|body| foreign(body));
        if let Some(body) = body {
            let error = not_the_api(self.host, tries.endpoint, answer.status, &body);
            return Error { message: format!("{} ({})", error.message, tries.spent()), ..error };
        }
        match answer.status {
            401 => credentials_refused(self.host, self.keyring.what_is_odd()),
            403 => scope_refused(self.host, tries.endpoint),
            400 | 404 if complaint.is_tenant() => tenant_refused(self.host, &codes),
            status @ 300..=399 => {
                Error::new(Kind::Vendor, format!("{what} answered {status}, a redirect, which is never followed"))
                    .hint(format!("check {}", self.host.url_hint))
            }
            404 => Error::new(Kind::Vendor, format!("{what} answered 404 without saying what is missing"))
                .hint(format!("check {}", self.host.url_hint)),
            status => Error::new(Kind::Vendor, format!("{what} answered {status}{codes} ({})", tries.spent())),
        }
    }

    /// The error for a request without a usable answer.
    fn failure(&self, tries: &Tries, failure: &Failure) -> Error {
        let kind = match failure.kind {
            TransportFailure::Unreadable | TransportFailure::TooLarge => Kind::Vendor,
            _ => Kind::Network,
        };
        Error::new(kind, format!("{} {}: {} ({})", self.host.name, tries.endpoint, failure.detail, tries.spent()))
    }
}

impl Tries {
    /// "5 attempts in 12 s".
    fn spent(&self) -> String {
        let noun = if self.sent == 1 { "attempt" } else { "attempts" };
        let time = self.began.elapsed();
        if time < Duration::from_secs(10) {
            format!("{} {noun} in {:.1} s", self.sent, time.as_secs_f64())
        } else {
            format!("{} {noun} in {} s", self.sent, time.as_secs())
        }
    }
}

/// What is particular about one request that reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// Its name in messages.
    pub(crate) endpoint: &'static str,
    /// Tries at most; never more than the client's own.
    pub(crate) attempts: u32,
    /// A status beside 2xx whose body may be an answer.
    pub(crate) also: Option<u16>,
}

enum Decoded<T> {
    Value(T, HeaderMap),
    Other(Answer, Complaint),
}

fn readable<T>(
    answer: Answer,
    also: Option<u16>,
    decode: impl Fn(&HeaderMap, &Bytes) -> Option<T>,
) -> Result<Decoded<T>, Failure> {
    if also == Some(answer.status)
        && let Ok(body) = &answer.body
        && let Some(value) = decode(&answer.headers, body)
    {
        return Ok(Decoded::Value(value, answer.headers));
    }
    if (200..=299).contains(&answer.status) {
        let body = answer.body?;
        return match decode(&answer.headers, &body) {
            Some(value) => Ok(Decoded::Value(value, answer.headers)),
            None => Err(Failure::new(TransportFailure::Unreadable, format!("answered {}", what_instead(&body)))),
        };
    }
    let complaint = answer.body.as_ref().map(|body| Complaint::parse(body)).unwrap_or_default();
    Ok(Decoded::Other(answer, complaint))
}

/// RS033 (rate limit) and RS017, RS020 (internal error, to be tried again) are published without a status
/// (`docs/vendor/advocate.md` §6): the code outranks the status that carries it.
pub(super) fn effective_status(status: u16, complaint: &Complaint) -> u16 {
    if status != 401 && complaint.is_rs(&["RS033"]) {
        429
    } else if (400..=499).contains(&status) && complaint.is_rs(&["RS017", "RS020"]) {
        500
    } else {
        status
    }
}

fn outcome_of(answer: &Answer) -> Outcome<'_> {
    Outcome::Status { status: answer.status, headers: &answer.headers }
}

/// What an outcome says about the host, whatever the request was.
pub(super) fn health(outcome: Outcome<'_>) -> Health {
    match outcome {
        Outcome::Status { status: 429, .. } => Health::Limited,
        Outcome::Status { status: 408 | 500.., .. } | Outcome::Transport(_) => Health::Troubled,
        Outcome::Status { .. } => Health::Good,
    }
}

fn body_is_json(answer: &Answer) -> bool {
    answer.body.as_ref().is_ok_and(|body| is_json(body))
}
