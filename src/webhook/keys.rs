//! The vendor's keys, by name: fetched when one is needed, and again when one is unknown, but not more than so often.
//!
//! A flood of deliveries that name keys which do not exist costs one question a minute. Keys that were fetched stay while a new
//! fetch fails.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use url::Url;

use super::verify::{Key, Rejected, keys_of};
use crate::api::fetch_public;

/// The keys are not fetched more often.
const FETCHED_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Keys are fetched anew after this, so that one that was taken back is not trusted for ever.
const TRUSTED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Bytes of a set of keys at most.
const SET_AT_MOST: usize = 256 * 1024;

/// The keys of one vendor.
#[derive(Debug)]
pub struct Keys {
    url: Url,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: BTreeMap<String, Key>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

impl Keys {
    /// Keys from this address; nothing is fetched yet.
    pub fn new(url: Url) -> Self {
        Self { url, known: Mutex::default() }
    }

    /// The key of a name. However many wait for it, it is fetched once.
    pub(super) async fn get(&self, kid: &str, now: Timestamp) -> Result<Key, Rejected> {
        let mut known = self.known.lock().await;
        let is_fresh = known.fetched_at.is_some_and(|at| now.duration_since(at) < TRUSTED_FOR);
        if is_fresh && let Some(key) = known.keys.get(kid) {
            return Ok(key.clone());
        }
        let may_ask = known.asked_at.is_none_or(|at| now.duration_since(at) >= FETCHED_EVERY);
        if may_ask {
            known.asked_at = Some(now);
            match fetch_public(&self.url, SET_AT_MOST).await.map(|set| keys_of(&set)) {
                Ok(Some(keys)) => {
                    known.keys = keys;
                    known.fetched_at = Some(now);
                }
                Ok(None) => tracing::warn!("the vendor's set of keys is none"),
                Err(error) => tracing::warn!(kind = error.kind.name(), "the vendor's keys: {}", error.message),
            }
        }
        match known.keys.get(kid) {
            Some(key) => Ok(key.clone()),
            None if known.fetched_at.is_none() => Err(Rejected::NoKeys),
            None => Err(Rejected::UnknownKey),
        }
    }
}
