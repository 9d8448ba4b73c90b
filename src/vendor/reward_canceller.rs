//! Cancels one reward by its ID, for a reward that a retraction did not cancel.
//!
//! Source: `docs/vendor/advocate.md` §2 (`POST /reward/{id}/cancel`: 200 with the reward, 400 if it cannot be
//! cancelled, 404). The call does not reverse the action behind the reward. A request with an unknown effect is never
//! repeated. The published answer still shows `dateCancelled: null` (`docs/vendor/contradictions.md` 37), so the caller
//! reads the reward again before it reports success.

use reqwest::header::CONTENT_LENGTH;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, parse_url, segment, tenant_root};
use super::error_body::ErrorBody;
use super::loose_json::{Fields, is_json};
use super::pace::Permit;
use super::single_write::{AcceptedBody, SingleWriter, WriteKind, WriteOutcome};
use super::{HostOptions, tenant_refused};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;

const CANCEL: WriteKind = WriteKind { endpoint: "cancel a reward", lacking: "the reward" };

/// Permission to send one cancellation. The wait is over, so the caller can record its intent right before the send.
pub struct CancelPermit(Permit);

/// The client that cancels rewards of one tenant, and does nothing else.
pub struct RewardCanceller {
    writer: SingleWriter,
    root: String,
}

impl RewardCanceller {
    /// The options may hold a token of their own. The client has its own pace unless [`RewardCanceller::paced_with`]
    /// shares a reader's.
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

    /// Sends one cancellation. The future must run to its end: if it is dropped after its first poll, the reward may
    /// have been cancelled, as with [`WriteOutcome::Unknown`].
    pub async fn cancel(&self, permit: CancelPermit, reward: &RewardId) -> WriteOutcome {
        let url = match self.url(reward) {
            Ok(url) => url,
            Err(error) => return WriteOutcome::NotSent { error },
        };
        let is_it = |body: &[u8]| {
            let is_same = Fields::parse(body)?.text("id")? == reward.as_str();
            is_same.then_some(AcceptedBody { queued_uri: None })
        };
        // A server may refuse a POST without a content length, even if it has no body.
        let request = |http: &reqwest::Client| http.post(url.clone()).header(CONTENT_LENGTH, "0");
        // The answers of this host name people, so no body leaves this function.
        let (status, message, body) = match self.writer.send(&permit.0, CANCEL, request, is_it).await {
            WriteOutcome::Refused { status, message, body } => (status, message, body),
            WriteOutcome::Unknown { reason, status, .. } => {
                return WriteOutcome::Unknown { reason, status, body: None };
            }
            WriteOutcome::Accepted { queued_uri, batch_id, .. } => {
                return WriteOutcome::Accepted { queued_uri, batch_id, body: String::new() };
            }
            other => return other,
        };
        let error = ErrorBody::parse(body.as_bytes());
        let is_about_the_reward = is_json(body.as_bytes()) && !is_about_the_request(&error);
        let message = match status {
            _ if error.is_tenant() => {
                return WriteOutcome::NotSent { error: tenant_refused(HOST, &error.codes()) };
            }
            404 if is_json(body.as_bytes()) => Some("the vendor does not know the reward".to_owned()),
            400 if is_about_the_reward => {
                Some(format!("not cancellable: {}", message.as_deref().unwrap_or("no reason was given")))
            }
            _ => message,
        };
        WriteOutcome::Refused { status, message, body: String::new() }
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
