//! Use case: receive webhooks. A webhook only names an account to read again; recoup trusts none of its data.
//!
//! `verify` checks the signature of a delivery, and `keys` caches the vendor's keys. A valid delivery is recorded once, and its
//! account is queued; [`read_queue`] reads the queued accounts. Nothing here trusts what a delivery says about a reward, marks
//! anything as complete, or lets a stranger spend the vendor's quota.

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

/// Largest accepted delivery, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// A delivery of an older event is a replay: the vendor retries for 72 hours (`docs/vendor/advocate.md` §5).
const MAX_AGE: SignedDuration = SignedDuration::from_hours(4 * 24);

/// How far the vendor's clock may be ahead.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Most accounts read by one call of [`read_queue`].
const MAX_ACCOUNTS: usize = 200;

/// The envelope of every event (`docs/vendor/advocate.md` §5). `data` differs by type, and its account is searched for.
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
    /// The account that the delivery names is queued.
    Queued,
    /// The delivery names no account, or its type is not about rewards.
    Noted,
    /// The delivery was received before.
    Known,
    /// The delivery is too old to be a first one.
    Stale,
}

/// Receives deliveries for one tenant.
#[derive(Debug)]
pub struct Receiver {
    keys: Arc<Keys>,
    tenant: String,
}

impl Receiver {
    /// A receiver. The first delivery fetches the keys.
    pub fn new(keys: Keys, tenant: impl Into<String>) -> Self {
        Self { keys: Arc::new(keys), tenant: tenant.into() }
    }

    /// Verifies a delivery. `signature` is the header `X-Hook-JWS-RFC-7797`, `body` the unchanged bytes.
    pub async fn check(self: &Arc<Self>, signature: &str, body: &[u8], now: Timestamp) -> Result<(), Rejected> {
        if body.len() > MAX_BODY {
            return Err(Rejected::TooLarge);
        }
        let parsed = verify::parse(signature)?;
        let key = self.keys.get(&parsed.kid, now).await?;
        verify::check(&parsed, body, &key)
    }

    /// Records a verified delivery in one short transaction.
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

/// The account of an event; `None` for an export or a test.
fn account_of(event: &Envelope) -> Option<AccountId> {
    let data = &event.data;
    let places = [&data["accountId"], &data["user"]["accountId"], &data["reward"]["accountId"]];
    let found = places.into_iter().find_map(|place| place.as_str())?;
    (!found.is_empty() && found.len() <= 1000).then(|| AccountId::new(found))
}

/// `created` is Unix milliseconds or RFC 3339; the vendor does not publish which.
fn moment(value: &serde_json::Value) -> Option<Timestamp> {
    match value {
        serde_json::Value::Number(ms) => Timestamp::from_millisecond(ms.as_i64()?).ok(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct QueueRun {
    /// Accounts read.
    pub read: u64,
    /// Accounts that the vendor does not know.
    pub unknown: u64,
    /// Accounts that could not be read and stay queued.
    pub failed: u64,
}

/// Reads the queued accounts. An error that concerns every request (credentials, quota, a signal) ends it, and the queue stays.
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
                // A webhook can name a deleted account. The next crawl finds out whether it is gone.
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
