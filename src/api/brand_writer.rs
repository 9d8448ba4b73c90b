//! Reversing an action: the one capability that moves other people's money back.
//!
//! Sources: `refund-guide.md` B and C, `brand-api.md` §1, `contradictions.md` 1 to 8. One call puts one DELETE on the wire
//! and reports what is certain about it. It must never repeat a request whose effect is not known, follow a redirect, or
//! call anything success but QUEUED. The one second request it may send is after a 401, which did nothing, and only with
//! a token that has changed in its file since.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::auth::Token;
use super::brand::{Brand, root, unusable_base};
use super::json::{Complaint, Fields, what_instead};
use super::pace::{Health, Pacer, Permit};
use super::retry::{Dispatch, NotDone, Outcome, TransportFailure, judge_dispatch};
use super::wire::{Answer, Failure, Purpose, Wire};
use super::{Host, HostOptions, credentials_refused, health, rate_headers, scope_refused};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::Target;

const HOST: Host = Host {
    name: "Brand",
    token_hint: "RECOUP_ACCOUNT_SID and RECOUP_WRITE_TOKEN, or RECOUP_AUTH_TOKEN (or the _FILE variables)",
    url_hint: "RECOUP_BRAND_URL",
};

/// The exact parameters of the DELETE. `Amount=0` always: it makes the call a full retraction (`refund-guide.md` B5).
/// The disposition code is sent as it is (`contradictions.md` 2).
pub fn reversal_form(target: &Target, disposition: &str) -> Vec<(&'static str, String)> {
    let mut form = match target {
        Target::Action(action_id) => vec![("ActionId", action_id.as_str().to_owned())],
        Target::Order { order_id, action_tracker_id } => {
            vec![("ActionTrackerId", action_tracker_id.clone()), ("OrderId", order_id.as_str().to_owned())]
        }
    };
    form.extend([("Amount", "0".to_owned()), ("DispositionCode", disposition.to_owned())]);
    form
}

/// What is certain about one reversal. Its `Debug` leaves the vendor's texts out: they name the account.
#[derive(Clone, PartialEq, Eq)]
pub enum Reversal {
    /// Accepted into the vendor's queue. Not done: only the submission and the rewards tell (`contradictions.md` 11).
    Queued {
        /// Where to ask about it, as given.
        queued_uri: String,
        /// Its last path segment.
        batch_id: Option<String>,
        /// The whole answer.
        raw: String,
    },
    /// The vendor refused it; nothing was done.
    Refused {
        /// 400, or another 4xx but 401, 403, 408 and 429.
        status: u16,
        /// The vendor's reason, without the Account SID, where it can be recognised.
        message: Option<String>,
        /// The whole answer.
        raw: String,
    },
    /// Nothing was done: `Credentials`, `Scope`, or `Network` for a connection that was never opened.
    NotDone {
        /// Why.
        error: Error,
    },
    /// Nothing was done: the quota is used up. The caller may call again; [`BrandWriter::ready`] waits or parks.
    RateLimited {
        /// Not before.
        until: Timestamp,
    },
    /// It may have been done. Never sent again; to be reconciled by reading.
    Unknown {
        /// A fragment of a sentence, without IDs.
        reason: String,
        /// The status, where one arrived.
        status: Option<u16>,
        /// The answer, where one arrived as text.
        raw: Option<String>,
    },
}

impl fmt::Debug for Reversal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { .. } => f.write_str("Queued { .. }"),
            Self::Refused { status, .. } => f.debug_struct("Refused").field("status", status).finish_non_exhaustive(),
            Self::NotDone { error } => f.debug_struct("NotDone").field("error", error).finish(),
            Self::RateLimited { until } => f.debug_struct("RateLimited").field("until", until).finish(),
            Self::Unknown { reason, status, .. } => {
                f.debug_struct("Unknown").field("reason", reason).field("status", status).finish_non_exhaustive()
            }
        }
    }
}

/// Leave to send one reversal: slot and pace are waited for, so that the intent is recorded right before the send.
pub struct SendPermit(Permit);

/// The writing client of one account.
pub struct BrandWriter {
    wire: Wire,
    pacer: Arc<Pacer>,
    clock: Clock,
    backoff: SignedDuration,
    actions: Url,
    account_sid: String,
}

impl BrandWriter {
    /// A client whose options may hold a token of its own. It paces itself; [`BrandWriter::paced_with`] shares a reading
    /// client's pace.
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, Account SID, version, rate or token.
    pub fn new(
        options: &HostOptions,
        account_sid: &str,
        ir_version: &str,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        let actions = Url::parse(&format!("{}/Actions", root(options, account_sid)?)).map_err(unusable_base)?;
        Ok(Self {
            wire: Wire::new(options, Purpose::Writing, Some(ir_version))?,
            pacer: Pacer::new(options, clock, stop)?,
            clock,
            backoff: SignedDuration::try_from(options.backoff).unwrap_or(SignedDuration::from_secs(1)),
            actions,
            account_sid: account_sid.to_owned(),
        })
    }

    /// The same, passing the gate of a reading client of the same host: one quota, one deadline.
    #[must_use]
    pub fn paced_with(mut self, brand: &Brand) -> Self {
        self.pacer = Arc::clone(brand.pacer());
        self
    }

    /// Waits until a reversal may be sent. Record the intent after it, then call [`BrandWriter::reverse`].
    ///
    /// # Errors
    /// `Interrupted` or `Parked`; nothing was sent.
    pub async fn ready(&self) -> Result<SendPermit> {
        self.pacer.admit(None).await.map(SendPermit)
    }

    /// Sends one reversal and says what is certain about it. The future must be driven to its end: dropping it after the
    /// first poll leaves the same doubt as [`Reversal::Unknown`].
    pub async fn reverse(&self, permit: SendPermit, target: &Target, disposition: &str) -> Reversal {
        let SendPermit(permit) = permit;
        let form = reversal_form(target, disposition);
        let token = self.wire.keyring().token();
        let result = self.send(&form, &token).await;
        let refused = matches!(&result, Ok(answer) if answer.status == 401);
        if refused && self.wire.keyring().is_file() && self.wire.keyring().reread(&token) == Ok(true) {
            let fresh = self.wire.keyring().token();
            let again = self.send(&form, &fresh).await;
            return self.conclude(&permit, again);
        }
        self.conclude(&permit, result)
    }

    async fn send(&self, form: &[(&str, String)], token: &Token) -> Result<Answer, Failure> {
        let result = self.wire.send(self.wire.http.delete(self.actions.clone()).form(form), token).await;
        let status = result.as_ref().map_or(0, |answer| answer.status);
        tracing::info!(host = HOST.name, status, "the reversal was answered");
        result
    }

    fn conclude(&self, permit: &Permit, result: Result<Answer, Failure>) -> Reversal {
        let now = self.clock.now();
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                permit.learn(Health::Troubled, None);
                return self.without_answer(failure, now);
            }
        };
        let Answer { status, headers, body } = answer;
        if let Some(told) = rate_headers::told(&headers, now) {
            self.pacer.hear(told);
        }
        let queued = body.as_ref().ok().and_then(|body| queued(body));
        let outcome = Outcome::Status { status, headers: &headers };
        let verdict = judge_dispatch(outcome, queued.is_some(), now);
        permit.learn(health(outcome), named_moment(verdict, &headers, now));
        let raw = || body.as_ref().ok().map(|body| String::from_utf8_lossy(body).into_owned());
        match (verdict, queued) {
            (Dispatch::Queued, Some(queued_uri)) => {
                let batch_id = queued_uri.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned);
                Reversal::Queued { queued_uri, batch_id, raw: raw().unwrap_or_default() }
            }
            (Dispatch::Refused, _) => {
                let complaint = body.as_ref().map(|body| Complaint::parse(body)).unwrap_or_default();
                let message = complaint.message.map(|text| text.replace(&self.account_sid, "…"));
                Reversal::Refused { status, message, raw: raw().unwrap_or_default() }
            }
            (Dispatch::NotDone(why), _) => self.not_done(why, "", now),
            (Dispatch::Queued | Dispatch::Unknown, _) => {
                Reversal::Unknown { reason: doubt(status, &body), status: Some(status), raw: raw() }
            }
        }
    }

    fn without_answer(&self, failure: Failure, now: Timestamp) -> Reversal {
        match judge_dispatch(Outcome::Transport(failure.kind), false, now) {
            Dispatch::NotDone(why) => self.not_done(why, &failure.detail, now),
            Dispatch::Queued | Dispatch::Refused | Dispatch::Unknown => {
                Reversal::Unknown { reason: failure.detail, status: None, raw: None }
            }
        }
    }

    fn not_done(&self, why: NotDone, detail: &str, now: Timestamp) -> Reversal {
        let error = match why {
            NotDone::Credentials => credentials_refused(HOST),
            NotDone::Scope => scope_refused(HOST, "Reverse an Action"),
            NotDone::NeverConnected => {
                Error::new(Kind::Network, format!("Brand Reverse an Action: {detail}; nothing was sent"))
            }
            NotDone::RateLimited(until) => {
                let until = until.or_else(|| now.checked_add(self.backoff).ok()).unwrap_or(now);
                return Reversal::RateLimited { until };
            }
        };
        Reversal::NotDone { error }
    }
}

fn named_moment(verdict: Dispatch, headers: &reqwest::header::HeaderMap, now: Timestamp) -> Option<Timestamp> {
    match verdict {
        Dispatch::NotDone(NotDone::RateLimited(until)) => until,
        _ => rate_headers::wait_after_failure(headers, now),
    }
}

/// The QueuedUri of an answer that says QUEUED.
pub(crate) fn queued(body: &[u8]) -> Option<String> {
    let fields = Fields::parse(body)?;
    let is_queued = fields.text("Status")?.eq_ignore_ascii_case("QUEUED");
    if is_queued { fields.text("QueuedUri") } else { None }
}

/// Why an answer leaves it open whether something was done.
fn doubt(status: u16, body: &Result<bytes::Bytes, Failure>) -> String {
    match (status, body) {
        (200..=299, Ok(body)) => match Fields::parse(body) {
            Some(_) => format!("the vendor answered {status} without saying QUEUED and where"),
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
