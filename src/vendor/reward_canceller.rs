//! Cancelling one reward by its ID: the last resort, where a retraction did not reach it.
//!
//! Source: `docs/vendor/advocate.md` §2 (`POST /reward/{id}/cancel`: 200 reward, 400 not cancellable, 404). It does not reverse the
//! action behind the reward. A capability of its own, never part of the reading `Advocate`. It must never send a request
//! twice whose effect is not known, and never call a reward cancelled: the published answer still shows `dateCancelled:
//! null` (`docs/vendor/contradictions.md` 37), so the reward is read again by whoever called.

use std::fmt;

use jiff::Timestamp;
use reqwest::header::CONTENT_LENGTH;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, segment, tenant_root};
use super::dispatch::{Act, Certain, Dispatcher};
use super::json::{Complaint, Fields, is_json};
use super::pace::Permit;
use super::{HostOptions, tenant_refused};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;

const CANCEL: Act = Act { endpoint: "cancel a reward", lacking: "the reward" };

/// What is certain about one cancellation. Its `Debug` leaves the vendor's texts out: they name people.
#[derive(Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// The vendor took it, and answered with the reward. Read the reward again before calling it cancelled.
    Cancelled {
        /// The reward as raw JSON.
        raw: String,
    },
    /// 400: the reward cannot be cancelled: redeemed, a gift card, or cancelled already. Nothing was done.
    NotCancellable {
        /// The vendor's reason, where it can be recognised. May hold IDs.
        message: Option<String>,
        /// The whole answer.
        raw: String,
    },
    /// 404: the vendor does not know the reward. Nothing was done.
    Missing,
    /// The vendor refused it for another reason; nothing was done.
    Refused {
        /// Another 4xx but 401, 403, 408 and 429, or a 400 or 404 that is not about the reward.
        status: u16,
        /// The vendor's reason, where it can be recognised. May hold IDs.
        message: Option<String>,
        /// The whole answer.
        raw: String,
    },
    /// Nothing was done: `Credentials`, `Scope`, `Tenant`, `Network` for a connection that was never opened, or `Usage` for
    /// an ID that cannot be one.
    NotDone {
        /// Why.
        error: Error,
    },
    /// Nothing was done: too many requests. The caller may call again; [`RewardCanceller::ready`] waits or parks.
    RateLimited {
        /// Not before.
        until: Timestamp,
    },
    /// It may have been done. Never sent again blindly; the reward is read to find out.
    Unknown {
        /// A fragment of a sentence, without IDs.
        reason: String,
        /// The status, where one arrived.
        status: Option<u16>,
        /// The answer, where one arrived as text.
        raw: Option<String>,
    },
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled { .. } => f.write_str("Cancelled { .. }"),
            Self::NotCancellable { .. } => f.write_str("NotCancellable { .. }"),
            Self::Missing => f.write_str("Missing"),
            Self::Refused { status, .. } => f.debug_struct("Refused").field("status", status).finish_non_exhaustive(),
            Self::NotDone { error } => f.debug_struct("NotDone").field("error", error).finish(),
            Self::RateLimited { until } => f.debug_struct("RateLimited").field("until", until).finish(),
            Self::Unknown { reason, status, .. } => {
                f.debug_struct("Unknown").field("reason", reason).field("status", status).finish_non_exhaustive()
            }
        }
    }
}

/// Leave to send one cancellation: slot and pace are waited for, so that the intent is recorded right before the send.
pub struct CancelPermit(Permit);

/// The client that may cancel rewards of one tenant, and do nothing else.
pub struct RewardCanceller {
    dispatcher: Dispatcher,
    root: String,
}

impl RewardCanceller {
    /// A client whose options may hold a token of its own. It paces itself; [`RewardCanceller::paced_with`] shares a reading
    /// client's pace.
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, tenant, rate or token.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        Ok(Self { dispatcher: Dispatcher::new(HOST, options, None, clock, stop)?, root })
    }

    /// The same, passing the gate of a reading client of the same host: one quota, one deadline.
    #[must_use]
    pub fn paced_with(mut self, advocate: &Advocate) -> Self {
        self.dispatcher.pace_with(advocate.client().pacer());
        self
    }

    /// Waits until a cancellation may be sent. Record the intent after it, then call [`RewardCanceller::cancel`].
    ///
    /// # Errors
    /// `Interrupted` or `Parked`; nothing was sent.
    pub async fn ready(&self) -> Result<CancelPermit> {
        self.dispatcher.ready().await.map(CancelPermit)
    }

    /// Sends one cancellation and says what is certain about it. The future must be driven to its end: dropping it after the
    /// first poll leaves the same doubt as [`Cancellation::Unknown`].
    pub async fn cancel(&self, permit: CancelPermit, reward: &RewardId) -> Cancellation {
        let url = match self.url(reward) {
            Ok(url) => url,
            Err(error) => return Cancellation::NotDone { error },
        };
        let is_it = |body: &[u8]| (Fields::parse(body)?.text("id")? == reward.as_str()).then_some(());
        // Servers may refuse a POST that does not say how long its body is, even where it has none.
        let request = |http: &reqwest::Client| http.post(url.clone()).header(CONTENT_LENGTH, "0");
        match self.dispatcher.once(&permit.0, CANCEL, request, is_it).await {
            Certain::Taken { raw, .. } => Cancellation::Cancelled { raw },
            Certain::Refused { complaint, .. } if complaint.is_tenant() => {
                Cancellation::NotDone { error: tenant_refused(HOST, &complaint.codes()) }
            }
            Certain::Refused { status: 404, raw, .. } if is_json(raw.as_bytes()) => Cancellation::Missing,
            Certain::Refused { status: 400, complaint, raw }
                if is_json(raw.as_bytes()) && !is_about_the_request(&complaint) =>
            {
                Cancellation::NotCancellable { message: complaint.message, raw }
            }
            Certain::Refused { status, complaint, raw } => {
                Cancellation::Refused { status, message: complaint.message, raw }
            }
            Certain::NotDone { error } => Cancellation::NotDone { error },
            Certain::RateLimited { until } => Cancellation::RateLimited { until },
            Certain::Unknown { reason, status, raw } => Cancellation::Unknown { reason, status, raw },
        }
    }

    fn url(&self, reward: &RewardId) -> Result<Url> {
        let id = segment(reward.as_str())
            .ok_or_else(|| Error::new(Kind::Usage, "a reward ID that is empty or made of dots cannot be cancelled"))?;
        Url::parse(&format!("{}/reward/{id}/cancel", self.root))
            .map_err(|e| Error::new(Kind::Config, format!("the Advocate base URL cannot be used: {e}")))
    }
}

/// A 400 that complains about how the question was put (`docs/vendor/advocate.md` §6) says nothing of the reward.
fn is_about_the_request(complaint: &Complaint) -> bool {
    matches!(complaint.api_error_code.as_deref(), Some("VALIDATION_FAILED" | "INVALID_JSON_REQUEST"))
}
