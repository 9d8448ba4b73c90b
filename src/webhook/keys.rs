//! Caches the vendor's public keys for webhooks by key ID.
//!
//! A webhook with a cached key ID never waits for a fetch of keys, so a sender of unknown key IDs delays no valid
//! webhook. Unknown key IDs cause at most one fetch a minute. If a fetch of keys fails, the cached keys stay valid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::verify::{Key, Rejected, parse_jwks};
use crate::vendor::fetch_public;

/// The minimum time between two fetches of the vendor's keys.
const FETCH_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// The time-out of a fetch of the vendor's keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The age at which recoup fetches the vendor's keys again in the background. recoup uses the cached keys meanwhile.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_hours(12);

/// The age of the cached keys at which a webhook waits for a new fetch. recoup trusts a revoked key for at most this
/// time.
const TRUSTED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The maximum size of a key set, in bytes.
const MAX_SET: usize = 256 * 1024;

#[derive(Debug)]
pub struct Keys {
    url: Url,
    known: Mutex<Known>,
    /// Locked while recoup fetches the keys.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: BTreeMap<String, Key>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

impl Known {
    fn is_younger_than(&self, age: SignedDuration, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| now.duration_since(at) < age)
    }
}

impl Keys {
    /// Creates an empty cache for the keys at this URL.
    pub fn new(url: Url) -> Self {
        Self { url, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// Returns the key with this ID, from the cache or after a fetch. Concurrent callers share one fetch of the keys.
    pub(super) async fn get(self: &Arc<Self>, kid: &str, now: Timestamp) -> Result<Key, Rejected> {
        let (known, is_new) = {
            let known = self.known();
            let key = known.keys.get(kid).filter(|_| known.is_younger_than(TRUSTED_FOR, now)).cloned();
            (key, known.is_younger_than(RENEWED_AFTER, now))
        };
        match known {
            Some(key) if is_new => return Ok(key),
            Some(key) => {
                drop(self.fetch_aside(now));
                return Ok(key);
            }
            // The fetch runs in its own task, so that a sender that disconnects does not cancel the only fetch of this
            // minute.
            None => drop(self.fetch_aside(now).await),
        }
        let known = self.known();
        match known.keys.get(kid) {
            Some(key) => Ok(key.clone()),
            None if known.fetched_at.is_none() => Err(Rejected::NoKeys),
            None => Err(Rejected::UnknownKey),
        }
    }

    fn fetch_aside(self: &Arc<Self>, now: Timestamp) -> tokio::task::JoinHandle<()> {
        let keys = Arc::clone(self);
        tokio::spawn(async move { keys.fetch(now).await })
    }

    async fn fetch(&self, now: Timestamp) {
        let _one = self.fetching.lock().await;
        {
            let mut known = self.known();
            if known.asked_at.is_some_and(|at| now.duration_since(at) < FETCH_INTERVAL) {
                return;
            }
            known.asked_at = Some(now);
        }
        match tokio::time::timeout(FETCH_TIMEOUT, fetch_public(&self.url, MAX_SET)).await {
            Ok(Ok(set)) => {
                let Some(keys) = parse_jwks(&set) else {
                    return tracing::warn!("the vendor's key set cannot be parsed");
                };
                let mut known = self.known();
                known.keys = keys;
                known.fetched_at = Some(now);
            }
            Ok(Err(error)) => tracing::warn!(kind = error.kind.name(), "the vendor's keys: {}", error.message),
            Err(_elapsed) => tracing::warn!("the fetch of the vendor's keys timed out after 5 seconds"),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_is_given_up_after_five_seconds() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/jwks.json", silent.local_addr().expect("an address"));
        let keys = Arc::new(Keys::new(url.parse().expect("a URL")));
        let began = tokio::time::Instant::now();
        assert_eq!(keys.get("k", Timestamp::UNIX_EPOCH).await, Err(Rejected::NoKeys));
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
