//! Cancels one reward by its ID, if a retraction has not cancelled the reward.
//!
//! The vendor's facts about cancellations are from `docs/vendor/advocate.md` §2 (`POST /reward/{id}/cancel`: 200 with
//! the reward, 400 if it cannot be cancelled, 404). The cancellation of a reward does not reverse the action that
//! earned it. recoup never repeats a cancellation with an unknown effect. The published answer to a cancellation still
//! contains `dateCancelled: null` (`docs/vendor/contradictions.md` 37). Therefore the caller reads the reward again
//! before it reports success.

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

/// Permission to send one cancellation immediately.
pub struct CancelPermit(Permit);

/// Cancels rewards of one tenant, and can do nothing else.
pub struct RewardCanceller {
    writer: SingleWriter,
    root: String,
}

impl RewardCanceller {
    /// Creates a canceller. The token of the new client may differ from the reader's token. The canceller has its own
    /// pacer, if [`RewardCanceller::paced_with`] does not share the pacer of an [`Advocate`].
    ///
    /// # Errors
    /// Fails with `Config` if the base URL, the tenant, the rate or the token is unusable.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        Ok(Self { writer: SingleWriter::new(HOST, options, None, clock, stop)?, root })
    }

    /// Shares the pacer, and with it the quota and the deadline, with a reader of the same host.
    #[must_use]
    pub fn paced_with(mut self, advocate: &Advocate) -> Self {
        self.writer.share_pace(advocate.client().pacer());
        self
    }

    /// Waits until the pacer of the Advocate host admits a request. After the wait for the pacer, the caller records
    /// its intent in the ledger, and calls [`RewardCanceller::cancel`].
    ///
    /// # Errors
    /// Fails with `Interrupted` or `Parked`. After an error, the canceller has sent nothing.
    pub async fn ready(&self) -> Result<CancelPermit> {
        self.writer.ready().await.map(CancelPermit)
    }

    /// Sends the cancellation of one reward. The caller must await the future of a write to its end. If the caller
    /// drops the future of a cancellation after its first poll, the vendor may have cancelled the reward, as with
    /// [`WriteOutcome::Unknown`].
    pub async fn cancel(&self, permit: CancelPermit, reward: &RewardId) -> WriteOutcome {
        let url = match self.url(reward) {
            Ok(url) => url,
            Err(error) => return WriteOutcome::NotSent { error },
        };
        let is_it = |body: &[u8]| {
            let is_same = Fields::parse(body)?.text("id")? == reward.as_str();
            is_same.then_some(AcceptedBody { queued_uri: None })
        };
        // Some servers refuse a POST without a content length, even if the POST has no body.
        let request = |http: &reqwest::Client| http.post(url.clone()).header(CONTENT_LENGTH, "0");
        // The Advocate API's answers contain names of people. Therefore the cancellation of a reward returns no body.
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

/// Returns `true` if a 400 is about the form of the request (`docs/vendor/advocate.md` §6) and not about the reward.
fn is_about_the_request(error: &ErrorBody) -> bool {
    matches!(error.api_error_code.as_deref(), Some("VALIDATION_FAILED" | "INVALID_JSON_REQUEST"))
}
