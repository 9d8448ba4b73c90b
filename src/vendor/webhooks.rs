//! Webhook subscriptions of a tenant, and the vendor's public keys.
//!
//! Sources: `docs/vendor/advocate.md` §2 (subscriptions) and §5 (keys). What changes a subscription is sent
//! once, as everything that changes something. The keys are public: no credentials go with that question.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::{Advocate, HOST, segment, tenant_root};
use super::dispatch::{Act, Dispatcher, WriteOutcome};
use super::wire::Storage;
use super::{HostOptions, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};

/// An address that events are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Where to.
    #[serde(rename(deserialize = "endpointUrl"))]
    pub url: String,
    /// What somebody called it.
    #[serde(default)]
    pub name: Option<String>,
    /// How it was made; `MANUAL` by the API.
    #[serde(default)]
    pub source: Option<String>,
    /// The types of events; `*` for all.
    #[serde(default, rename(deserialize = "webhookTypes"))]
    pub types: Vec<String>,
}

/// What is done to a subscription.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// It is made, for these types.
    Subscribe(&'a [String]),
    /// It is taken away.
    Remove,
    /// A test is sent to it.
    Test,
}

impl Advocate {
    /// Every subscription of the tenant.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Tenant`, `Network`, `Vendor`.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let url = self.url("subscription", &[])?;
        let listed = self.client().get("subscriptions", &url, |body| serde_json::from_slice(body).ok()).await?;
        listed.ok_or_else(|| Error::new(Kind::Vendor, "Advocate subscriptions answered 404"))
    }
}

/// The client that may change subscriptions of one tenant, and do nothing else.
pub struct Subscriber {
    dispatcher: Dispatcher,
    root: String,
}

impl Subscriber {
    /// A client of one tenant.
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, tenant, rate or token.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        Ok(Self { dispatcher: Dispatcher::new(HOST, options, None, clock, stop)?, root })
    }

    /// Changes one subscription, once.
    ///
    /// # Errors
    /// `VendorRefused` where the vendor said no; `Failed` where no answer came, so that it may have been done: the list says
    /// whether it was.
    pub async fn change(&self, address: &str, change: Change<'_>) -> Result<()> {
        let escaped = segment(address).ok_or_else(|| Error::new(Kind::Usage, "the address is empty"))?;
        let (path, endpoint) = match change {
            Change::Subscribe(_) => ("subscription".to_owned(), "subscribe"),
            Change::Remove => (format!("subscription/{escaped}"), "unsubscribe"),
            Change::Test => (format!("subscription/{escaped}/test"), "test of a subscription"),
        };
        let url = Url::parse(&format!("{}/{path}", self.root))
            .map_err(|error| Error::new(Kind::Config, format!("the Advocate base URL cannot be used: {error}")))?;
        let body = match change {
            Change::Subscribe(types) => {
                json!({ "endpointUrl": address, "name": "recoup", "webhookTypes": types }).to_string()
            }
            _ => String::new(),
        };
        let request = |http: &reqwest::Client| match change {
            Change::Remove => http.delete(url.clone()),
            _ => http
                .post(url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, body.len().to_string())
                .body(body.clone()),
        };
        let permit = self.dispatcher.ready().await?;
        let act = Act { endpoint, lacking: "an answer" };
        match self.dispatcher.once(&permit, act, request, |_| Some(None)).await {
            WriteOutcome::Accepted { .. } => Ok(()),
            WriteOutcome::Refused { status, message, .. } => {
                let why = message.unwrap_or_else(|| format!("status {status}"));
                Err(Error::new(Kind::VendorRefused, format!("the vendor refused to {endpoint}: {why}")))
            }
            WriteOutcome::NotSent { error } => Err(error),
            WriteOutcome::RateLimited { until } => Err(Error::new(
                Kind::Parked,
                format!("the vendor's limit is used up until {until:.0}; nothing was done"),
            )),
            WriteOutcome::Unknown { reason, .. } => {
                Err(Error::new(Kind::Failed, format!("whether it was done is not known: {reason}"))
                    .hint("`recoup webhook list` shows what there is"))
            }
        }
    }
}

/// Something public, whole: https, unless it is this machine; no credentials, no redirect, at most so many bytes.
///
/// # Errors
/// `Config` for an address that may not be used; `Network` where it cannot be fetched; `Vendor` where it is too large.
pub async fn fetch_public(url: &Url, at_most: usize) -> Result<Bytes> {
    check_base(url)?;
    let storage = Storage::new(url.scheme() == "http")?;
    let mut whole = Vec::new();
    let fetched = storage
        .stream(url.clone(), |piece| {
            if whole.len() + piece.len() > at_most {
                return Err(Error::new(Kind::Vendor, "the answer is larger than anything that was asked for"));
            }
            whole.extend_from_slice(piece);
            Ok(())
        })
        .await;
    match fetched {
        Ok(Ok(())) => Ok(Bytes::from(whole)),
        Ok(Err(status)) => Err(Error::new(Kind::Network, format!("the host answered {status}"))),
        Err(Ok(error)) => Err(error),
        Err(Err(failure)) => Err(Error::new(Kind::Network, failure.detail)),
    }
}
