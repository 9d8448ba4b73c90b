//! Cancelling one reward by its ID: the last resort, where a retraction did not reach it.
//!
//! Source: `docs/vendor/advocate.md` §2 (`POST /reward/{id}/cancel`: 200 reward, 400 not cancellable, 404). It does not reverse the
//! action behind the reward. A capability of its own, never part of the reading `Advocate`. It must never send a request
//! twice whose effect is not known, and never call a reward cancelled: the published answer still shows `dateCancelled:
//! null` (`docs/vendor/contradictions.md` 37), so the reward is read again by whoever called.

use reqwest::header::CONTENT_LENGTH;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, segment, tenant_root};
use super::dispatch::{Act, Dispatcher, WriteOutcome};
use super::json::{Complaint, Fields, is_json};
use super::pace::Permit;
use super::{HostOptions, tenant_refused};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;

const CANCEL: Act = Act { endpoint: "cancel a reward", lacking: "the reward" };

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
    /// first poll leaves the same doubt as [`WriteOutcome::Unknown`].
    pub async fn cancel(&self, permit: CancelPermit, reward: &RewardId) -> WriteOutcome {
        let url = match self.url(reward) {
            Ok(url) => url,
            Err(error) => return WriteOutcome::NotSent { error },
        };
        let is_it = |body: &[u8]| (Fields::parse(body)?.text("id")? == reward.as_str()).then_some(None);
        // Servers may refuse a POST that does not say how long its body is, even where it has none.
        let request = |http: &reqwest::Client| http.post(url.clone()).header(CONTENT_LENGTH, "0");
        // The answers of this host name people, so no body goes further than this.
        let (status, message, body) = match self.dispatcher.once(&permit.0, CANCEL, request, is_it).await {
            WriteOutcome::Refused { status, message, body } => (status, message, body),
            WriteOutcome::Unknown { reason, status, .. } => {
                return WriteOutcome::Unknown { reason, status, body: None };
            }
            WriteOutcome::Accepted { queued_uri, batch_id, .. } => {
                return WriteOutcome::Accepted { queued_uri, batch_id, body: String::new() };
            }
            other => return other,
        };
        let complaint = Complaint::parse(body.as_bytes());
        let is_about_the_reward = is_json(body.as_bytes()) && !is_about_the_request(&complaint);
        let message = match status {
            _ if complaint.is_tenant() => {
                return WriteOutcome::NotSent { error: tenant_refused(HOST, &complaint.codes()) };
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
        Url::parse(&format!("{}/reward/{id}/cancel", self.root))
            .map_err(|e| Error::new(Kind::Config, format!("the Advocate base URL cannot be used: {e}")))
    }
}

/// A 400 that complains about how the question was put (`docs/vendor/advocate.md` §6) says nothing of the reward.
fn is_about_the_request(complaint: &Complaint) -> bool {
    matches!(complaint.api_error_code.as_deref(), Some("VALIDATION_FAILED" | "INVALID_JSON_REQUEST"))
}
