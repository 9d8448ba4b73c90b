//! Use case: receives webhooks from the vendor. A webhook only tells recoup which account to read again.
//!
//! `verify` checks the signature of a webhook delivery, and `keys` caches the vendor's keys. recoup records a valid
//! delivery once and queues the account in it; [`read_queue`] reads the queued accounts. This module trusts no reward
//! data in a delivery and never marks a crawl as complete. An unsigned delivery cannot spend the vendor's quota.

mod keys;
mod verify;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

pub use keys::Keys;
pub use verify::{Key, Rejected, parse_jwks};

use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::extract::Mapping;
use crate::model::AccountId;
use crate::store::index::{Index, ReadReward};
use crate::vendor::advocate::{Advocate, Rewards};

/// The maximum size of a webhook delivery, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// The maximum age of a webhook event. The vendor retries for 72 hours (`docs/vendor/advocate.md` §5), so an older
/// delivery is a replay.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(4 * 24);

/// How far the vendor's clock may be ahead of this machine's clock.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// The maximum number of accounts that one call of [`read_queue`] reads.
const MAX_ACCOUNTS: usize = 200;

/// The outer object of every webhook event (`docs/vendor/advocate.md` §5). `data` differs by event type, so recoup
/// searches `data` for the account.
#[derive(Debug, Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "tenantAlias")]
    tenant_alias: Option<String>,
    created: Option<serde_json::Value>,
    #[serde(default)]
    data: serde_json::Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The webhook contains an account, which is now queued.
    Queued,
    /// The webhook contains no account, or its event type is not about rewards.
    Noted,
    /// recoup has received the webhook before.
    Known,
    /// The webhook is older than every retry of the vendor.
    Stale,
}

/// Receives webhook deliveries for one tenant.
#[derive(Debug)]
pub struct Receiver {
    keys: Arc<Keys>,
    tenant: String,
}

impl Receiver {
    /// Creates a webhook receiver. The first delivery makes the receiver fetch the keys.
    pub fn new(keys: Keys, tenant: impl Into<String>) -> Self {
        Self { keys: Arc::new(keys), tenant: tenant.into() }
    }

    /// Verifies a webhook delivery. `signature` is the header `X-Hook-JWS-RFC-7797`, and `body` is the unchanged body.
    pub async fn check(self: &Arc<Self>, signature: &str, body: &[u8], now: Timestamp) -> Result<(), Rejected> {
        if body.len() > MAX_BODY {
            return Err(Rejected::TooLarge);
        }
        let parsed = verify::parse(signature)?;
        let key = self.keys.get(&parsed.kid, now).await?;
        verify::check(&parsed, body, &key)
    }

    /// Records a verified webhook delivery in one short transaction.
    pub fn record(&self, index: &mut Index, body: &[u8], now: Timestamp) -> Result<Result<Received, Rejected>> {
        let Ok(event) = serde_json::from_slice::<Envelope>(body) else { return Ok(Err(Rejected::Malformed)) };
        if event.id.is_empty() || event.id.len() > 200 || event.kind.len() > 200 {
            return Ok(Err(Rejected::Malformed));
        }
        if event.tenant_alias.as_ref().is_some_and(|tenant| *tenant != self.tenant) {
            return Ok(Err(Rejected::OtherTenant));
        }
        if let Some(created) = event.created.as_ref().and_then(moment)
            && (now.duration_since(created) > MAX_AGE || created.duration_since(now) > MAX_AHEAD)
        {
            return Ok(Ok(Received::Stale));
        }
        let account = account_of(&event);
        let is_new = index.take_delivery(&event.id, &event.kind, account.as_ref(), now)?;
        Ok(Ok(match (is_new, account) {
            (false, _) => Received::Known,
            (true, Some(_)) => Received::Queued,
            (true, None) => Received::Noted,
        }))
    }
}

/// Returns the account in a webhook event; `None` for an event without an account, such as an export or a test.
fn account_of(event: &Envelope) -> Option<AccountId> {
    let data = &event.data;
    let places = [&data["accountId"], &data["user"]["accountId"], &data["reward"]["accountId"]];
    let found = places.into_iter().find_map(|place| place.as_str())?;
    (!found.is_empty() && found.len() <= 1000 && !found.contains('\0')).then(|| AccountId::new(found))
}

/// Parses `created` as Unix milliseconds or RFC 3339, because the vendor does not publish its format.
fn moment(value: &serde_json::Value) -> Option<Timestamp> {
    match value {
        serde_json::Value::Number(ms) => Timestamp::from_millisecond(ms.as_i64()?).ok(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct QueueRun {
    /// The number of accounts that recoup has read.
    pub read: u64,
    /// The number of queued accounts that the vendor does not know.
    pub unknown: u64,
    /// The number of accounts that recoup could not read and that stay queued.
    pub failed: u64,
}

/// Reads the queued accounts. Stops at an error that concerns every request (credentials, quota, a signal), and leaves
/// the remaining accounts queued.
pub async fn read_queue(advocate: &Advocate, index: &mut Index, mapping: &Mapping, clock: &Clock) -> Result<QueueRun> {
    let mut worked = QueueRun::default();
    loop {
        let waiting = index.waiting_accounts(MAX_ACCOUNTS, clock.now())?;
        if waiting.is_empty() {
            return Ok(worked);
        }
        for (account, due) in waiting {
            let asked_at = clock.now();
            let answer = advocate.rewards(&account, None).await.and_then(|answer| match answer {
                Rewards::Listed(raw) => ReadReward::all(raw, &account, mapping).map(Some),
                Rewards::NoSuchAccount => Ok(None),
            });
            match answer {
                Ok(Some((rewards, unusable))) => {
                    index.record_live(&account, rewards, unusable, asked_at)?;
                    index.account_was_read(&account, due)?;
                    worked.read += 1;
                }
                // A webhook can contain the ID of a deleted account. The next crawl detects whether the account still
                // exists.
                Ok(None) => {
                    index.account_was_read(&account, due)?;
                    worked.unknown += 1;
                }
                Err(error) if matches!(error.kind, Kind::Network | Kind::Vendor) => {
                    index.account_was_not_read(&account, clock.now())?;
                    worked.failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
