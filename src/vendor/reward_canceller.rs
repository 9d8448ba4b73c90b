//! Cancels one reward by its ID, for a reward that a retraction did not cancel.
//!
//! Source: `docs/vendor/advocate.md` §2 (`POST /reward/{id}/cancel`: 200 with the reward, 400 if it cannot be cancelled, 404). The call
//! does not reverse the action behind the reward. A request with an unknown effect is never repeated. The published answer still
//! shows `dateCancelled: null` (`docs/vendor/contradictions.md` 37), so the caller reads the reward again before it reports success.

use std::fmt;

use jiff::Timestamp;
use reqwest::header::CONTENT_LENGTH;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, parse_url, segment, tenant_root};
use super::error_body::ErrorBody;
use super::loose_json::{Fields, is_json};
use super::pace::Permit;
use super::single_write::{SingleWriter, WriteKind, WriteOutcome};
use super::{HostOptions, tenant_refused};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;

const CANCEL: WriteKind = WriteKind { endpoint: "cancel a reward", lacking: "the reward" };

/// What is certain about one cancellation.
#[derive(Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// The vendor accepted it and answered with the reward (`raw`). The caller reads the reward again before it reports success.
    Cancelled { raw: String },
    /// 400: the reward is redeemed, a gift card, or cancelled already. Nothing was done.
    NotCancellable {
        /// The vendor's reason, if the body has one. It may hold IDs.
        message: Option<String>,
        /// The body of the answer.
        raw: String,
    },
    /// 404: the vendor does not know the reward. Nothing was done.
    Missing,
    /// The vendor refused it for another reason. Nothing was done.
    Refused {
        /// Any other 4xx but 401, 403, 408 and 429, or a 400 or 404 that is not about the reward.
        status: u16,
        /// The vendor's reason, if the body has one. It may hold IDs.
        message: Option<String>,
        /// The body of the answer.
        raw: String,
    },
    /// Nothing was done: `Credentials`, `Scope`, `Tenant`, `Network` for a connection that was never opened, or `Usage` for
    /// an ID that cannot be one.
    NotDone { error: Error },
    /// Nothing was done, because the quota is used up. The caller may call again; [`RewardCanceller::ready`] waits or parks.
    RateLimited { until: Timestamp },
    /// It may have been done. It must not be sent again; reading the reward finds out what happened.
    Unknown {
        /// A fragment of a sentence, without IDs.
        reason: String,
        status: Option<u16>,
        /// The body, if one arrived as text.
        raw: Option<String>,
    },
}

/// Leaves out the vendor's texts, which name people.
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

/// Permission to send one cancellation. All waiting is over, so that the caller records its intent right before the send.
pub struct CancelPermit(Permit);

/// The client that cancels rewards of one tenant, and does nothing else.
pub struct RewardCanceller {
    writer: SingleWriter,
    root: String,
}

impl RewardCanceller {
    /// The options may hold a token of their own. The client has its own pace unless [`RewardCanceller::paced_with`] shares a reader's.
    ///
    /// # Errors
    /// `Config` for an unusable base URL, tenant, rate or token.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        Ok(Self { writer: SingleWriter::new(HOST, options, None, clock, stop)?, root })
    }

    /// Shares quota and deadline with a client that reads the same host.
    #[must_use]
    pub fn paced_with(mut self, advocate: &Advocate) -> Self {
        self.writer.share_pace(advocate.client().pacer());
        self
    }

    /// Waits until a cancellation may be sent. The caller then records its intent and calls [`RewardCanceller::cancel`].
    ///
    /// # Errors
    /// `Interrupted` or `Parked`. Nothing was sent.
    pub async fn ready(&self) -> Result<CancelPermit> {
        self.writer.ready().await.map(CancelPermit)
    }

    /// Sends one cancellation. The future must run to its end: if it is dropped after its first poll, the reward may have been cancelled,
    /// as with [`Cancellation::Unknown`].
    pub async fn cancel(&self, permit: CancelPermit, reward: &RewardId) -> Cancellation {
        let url = match self.url(reward) {
            Ok(url) => url,
            Err(error) => return Cancellation::NotDone { error },
        };
        let is_it = |body: &[u8]| (Fields::parse(body)?.text("id")? == reward.as_str()).then_some(());
        // A server may refuse a POST without a content length, even if it has no body.
        let request = |http: &reqwest::Client| http.post(url.clone()).header(CONTENT_LENGTH, "0");
        match self.writer.send(&permit.0, CANCEL, request, is_it).await {
            WriteOutcome::Accepted { raw, .. } => Cancellation::Cancelled { raw },
            WriteOutcome::Refused { error, .. } if error.is_tenant() => {
                Cancellation::NotDone { error: tenant_refused(HOST, &error.codes()) }
            }
            WriteOutcome::Refused { status: 404, raw, .. } if is_json(raw.as_bytes()) => Cancellation::Missing,
            WriteOutcome::Refused { status: 400, error, raw }
                if is_json(raw.as_bytes()) && !is_about_the_request(&error) =>
            {
                Cancellation::NotCancellable { message: error.message, raw }
            }
            WriteOutcome::Refused { status, error, raw } => {
                Cancellation::Refused { status, message: error.message, raw }
            }
            WriteOutcome::NotDone { error } => Cancellation::NotDone { error },
            WriteOutcome::RateLimited { until } => Cancellation::RateLimited { until },
            WriteOutcome::Unknown { reason, status, raw } => Cancellation::Unknown { reason, status, raw },
        }
    }

    fn url(&self, reward: &RewardId) -> Result<Url> {
        let id = segment(reward.as_str())
            .ok_or_else(|| Error::new(Kind::Usage, "a reward ID that is empty or made of dots cannot be cancelled"))?;
        parse_url(&format!("{}/reward/{id}/cancel", self.root))
    }
}

/// Whether a 400 is about the form of the request (`docs/vendor/advocate.md` §6) and not about the reward.
fn is_about_the_request(error: &ErrorBody) -> bool {
    matches!(error.api_error_code.as_deref(), Some("VALIDATION_FAILED" | "INVALID_JSON_REQUEST"))
}
