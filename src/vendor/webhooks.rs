//! Lists and changes the webhook subscriptions of a tenant, and fetches the vendor's public keys.
//!
//! The vendor's facts about webhooks are from `docs/vendor/advocate.md` §2 (subscriptions) and §5 (keys). recoup sends
//! each change of a subscription once, like every write. The vendor's webhook keys are public. Therefore the request
//! for the webhook keys contains no credentials.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, parse_url, segment, tenant_root};
use super::http::{Download, DownloadError};
use super::single_write::{AcceptedBody, SingleWriter, WriteKind, WriteOutcome};
use super::{HostOptions, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};

/// A URL to which the vendor sends webhook events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    #[serde(rename(deserialize = "endpointUrl"))]
    pub url: String,
    #[serde(default)]
    pub name: Option<String>,
    /// How the subscription was created; `MANUAL` if the API created it.
    #[serde(default)]
    pub source: Option<String>,
    /// The types of events that the vendor sends to the subscription; `*` for every type.
    #[serde(default, rename(deserialize = "webhookTypes"))]
    pub types: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub enum SubscriptionChange<'a> {
    Subscribe(&'a [String]),
    Remove,
    /// Makes the vendor send a test event to the subscription.
    Test,
}

impl Advocate {
    /// Lists every webhook subscription of the tenant.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let url = self.url("subscription", &[])?;
        let listed = self.client().get("subscriptions", &url, |body| serde_json::from_slice(body).ok()).await?;
        listed.ok_or_else(|| {
            Error::new(Kind::Vendor, "Advocate subscriptions answered 404").hint("check RECOUP_ADVOCATE_URL")
        })
    }
}

/// Changes the webhook subscriptions of one tenant, and can do nothing else.
pub struct Subscriber {
    writer: SingleWriter,
    root: String,
}

impl Subscriber {
    /// # Errors
    /// Fails with `Config` if the base URL, the tenant, the rate or the token is unusable.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        Ok(Self { writer: SingleWriter::new(HOST, options, None, clock, stop)?, root })
    }

    /// Changes one webhook subscription with one request.
    ///
    /// # Errors
    /// Fails with `VendorRefused` if the vendor refused the change. Fails with `Failed` if no usable answer arrived.
    /// The vendor may have made the change, and the list of subscriptions shows whether it did.
    pub async fn change(&self, address: &str, change: SubscriptionChange<'_>) -> Result<()> {
        let escaped = segment(address).ok_or_else(|| {
            Error::new(Kind::Usage, "the address is empty").hint("name the whole URL of this service with --url")
        })?;
        let (path, endpoint) = match change {
            SubscriptionChange::Subscribe(_) => ("subscription".to_owned(), "subscribe"),
            SubscriptionChange::Remove => (format!("subscription/{escaped}"), "unsubscribe"),
            SubscriptionChange::Test => (format!("subscription/{escaped}/test"), "test of a subscription"),
        };
        let url = parse_url(&format!("{}/{path}", self.root))?;
        let body = match change {
            SubscriptionChange::Subscribe(types) => {
                json!({ "endpointUrl": address, "name": "recoup", "webhookTypes": types }).to_string()
            }
            _ => String::new(),
        };
        let request = |http: &reqwest::Client| match change {
            SubscriptionChange::Remove => http.delete(url.clone()),
            _ => http
                .post(url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, body.len().to_string())
                .body(body.clone()),
        };
        let permit = self.writer.ready().await?;
        let kind = WriteKind { endpoint, lacking: "an answer" };
        match self.writer.send(&permit, kind, request, |_| Some(AcceptedBody { queued_uri: None })).await {
            WriteOutcome::Accepted { .. } => Ok(()),
            WriteOutcome::Refused { status, message, .. } => {
                let why = message.unwrap_or_else(|| format!("status {status}"));
                Err(Error::new(Kind::VendorRefused, format!("the vendor refused to {endpoint}: {why}"))
                    .hint("`recoup webhook list` shows the subscriptions; check --url"))
            }
            WriteOutcome::NotSent { error } => Err(error),
            WriteOutcome::RateLimited { until } => Err(Error::new(
                Kind::Parked,
                format!("the vendor's quota is used up until {until:.0}; nothing was done"),
            )),
            WriteOutcome::Unknown { reason, .. } => {
                Err(Error::new(Kind::Failed, format!("the change may have been made: {reason}"))
                    .hint("`recoup webhook list` shows whether it was"))
            }
        }
    }
}

/// Fetches a public document of at most `max_bytes`, without credentials and without following a redirect.
///
/// # Errors
/// Fails with `Config` for a URL that is neither https nor on this machine, with `Network` if the document cannot be
/// fetched, and with `Vendor` if the document is too large.
pub async fn fetch_public(url: &Url, max_bytes: usize) -> Result<Vec<u8>> {
    check_base(url)?;
    let mut document = Vec::new();
    let receive = |chunk: &[u8]| {
        if document.len() + chunk.len() > max_bytes {
            return Err(Error::new(Kind::Vendor, format!("the answer is larger than {max_bytes} bytes")));
        }
        document.extend_from_slice(chunk);
        Ok(())
    };
    match Download::new(url.scheme() == "http")?.stream(url.clone(), receive).await {
        Ok(()) => Ok(document),
        Err(DownloadError::Status(status)) => Err(Error::new(Kind::Network, format!("the host answered {status}"))),
        Err(DownloadError::Receiver(error)) => Err(error),
        Err(DownloadError::Transport(failure)) => Err(Error::new(Kind::Network, failure.detail)),
    }
}
