//! `POST /webhooks/advocate`: verifies a webhook delivery against the vendor's keys and stores it.
//!
//! The vendor retries every response except 200 hourly, up to 72 times (`docs/vendor/advocate.md` §5). Therefore the
//! service responds with 200 if the delivery is stored, already known or useless, and with an error if a retry may
//! succeed. Anyone can send an invalid webhook delivery. Therefore the service counts invalid deliveries, and logs them
//! at most once a minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};

use super::app::App;
use crate::store::index::Index;
use crate::webhook::{Received, Rejected};

const SIGNATURE: &str = "x-hook-jws-rfc-7797";

pub(super) async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let signatures: Vec<&str> = headers.get_all(SIGNATURE).iter().filter_map(|value| value.to_str().ok()).collect();
    // Two signatures make a webhook delivery ambiguous, even if one of them is valid.
    let [signature] = signatures.as_slice() else { return refused(&app, Rejected::Unsigned) };
    let now = app.clock.now();
    if let Err(rejected) = app.options.hooks.check(signature, &body, now).await {
        return refused(&app, rejected);
    }
    let this = Arc::clone(&app);
    let stored = app.blocking(move || {
        let mut index = Index::open(&this.actions.settings.index, &this.actions.settings.identity)?;
        this.options.hooks.record(&mut index, &body, now)
    });
    match stored.await {
        Ok(Ok(taken)) => {
            tracing::debug!(?taken, "a webhook");
            let word = match taken {
                Received::Queued => "queued",
                Received::Noted => "noted",
                Received::Known => "known",
                Received::Stale => "stale",
            };
            (StatusCode::OK, word).into_response()
        }
        Ok(Err(rejected)) => refused(&app, rejected),
        Err(error) => {
            tracing::warn!(kind = error.kind.name(), "a webhook could not be stored: {}", error.message);
            (StatusCode::SERVICE_UNAVAILABLE, "try again").into_response()
        }
    }
}

/// Number of webhook deliveries that this process has refused, by reason.
#[derive(Debug, Default)]
pub(super) struct RefusedCounts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_reason: BTreeMap<&'static str, u64>,
    /// The time of the last log line about refused deliveries, and the total that the line reported.
    logged: Option<(Timestamp, u64)>,
}

const LOG_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

impl RefusedCounts {
    /// Counts one refused webhook delivery. If a log line is due, returns the number of refused deliveries since the
    /// last log line.
    fn count(&self, rejected: Rejected, now: Timestamp) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.by_reason.entry(rejected.as_str()).or_default() += 1;
        let total = counts.by_reason.values().sum();
        let before = match counts.logged {
            Some((at, _)) if now.duration_since(at) < LOG_INTERVAL => return None,
            logged => logged.map_or(0, |(_, before)| before),
        };
        counts.logged = Some((now, total));
        Some(total - before)
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_reason.clone()
    }
}

fn refused(app: &App, rejected: Rejected) -> Response {
    if let Some(count) = app.refused_hooks.count(rejected, app.clock.now()) {
        tracing::info!(count, "webhooks were refused, the last one because {}", rejected.as_str());
    }
    let status = match rejected {
        Rejected::Unsigned | Rejected::Algorithm | Rejected::UnknownKey | Rejected::Signature => {
            StatusCode::UNAUTHORIZED
        }
        Rejected::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
        Rejected::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Rejected::Malformed => StatusCode::BAD_REQUEST,
        Rejected::OtherTenant => StatusCode::FORBIDDEN,
    };
    (status, rejected.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_deliveries_are_logged_once_a_minute() {
        let (refused, begin) = (RefusedCounts::default(), Timestamp::UNIX_EPOCH);
        let mut logged = Vec::new();
        for second in 0..150 {
            let now = begin + SignedDuration::from_secs(second);
            logged.extend((0..10).filter_map(|_| refused.count(Rejected::UnknownKey, now)));
        }
        assert_eq!(logged, [1, 600, 600]);
        assert_eq!(refused.counts().into_values().collect::<Vec<_>>(), [1_500]);
    }
}
