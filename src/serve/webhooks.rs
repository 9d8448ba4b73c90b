//! `POST /webhooks/advocate`: a delivery comes in, is held against the vendor's keys, written down, and answered.
//!
//! Anything but 200 is a failure for the vendor, which then tries hourly, up to 72 times (`docs/vendor/advocate.md` §5): so what was taken,
//! is known already, or means nothing here is a 200, and what could be taken later is not. It answers nothing but a word. Anybody
//! can send what is refused, so it is counted, and the log has a line of it once a minute at most.

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

/// The header of the signature.
const SIGNATURE: &str = "x-hook-jws-rfc-7797";

pub(super) async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let signatures: Vec<&str> = headers.get_all(SIGNATURE).iter().filter_map(|value| value.to_str().ok()).collect();
    // Two of them, and one that holds: which was meant, nobody can tell.
    let [signature] = signatures.as_slice() else { return refused(&app, Rejected::Unsigned) };
    let now = app.clock.now();
    if let Err(rejected) = app.options.hooks.check(signature, &body, now).await {
        return refused(&app, rejected);
    }
    let hooks = Arc::clone(&app.options.hooks);
    let taken = app
        .on_its_own(async move |desk| {
            let mut index = Index::open(&desk.options.index, &desk.options.identity)?;
            hooks.record(&mut index, &body, now)
        })
        .await;
    match taken {
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
            tracing::warn!(kind = error.kind.name(), "a webhook could not be written down: {}", error.message);
            (StatusCode::SERVICE_UNAVAILABLE, "try again").into_response()
        }
    }
}

/// Refused deliveries by why, since this process began.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: BTreeMap<&'static str, u64>,
    /// When the log was told, and how many had been refused by then.
    told: Option<(Timestamp, u64)>,
}

/// The log is told of refused deliveries this often at most.
const TOLD_EVERY: SignedDuration = SignedDuration::from_mins(1);

impl Refused {
    /// Counts one more; how many are new, if the log is to be told.
    fn count(&self, rejected: Rejected, now: Timestamp) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.all.entry(rejected.as_str()).or_default() += 1;
        let all = counts.all.values().sum();
        let before = match counts.told {
            Some((at, _)) if now.duration_since(at) < TOLD_EVERY => return None,
            told => told.map_or(0, |(_, before)| before),
        };
        counts.told = Some((now, all));
        Some(all - before)
    }

    /// Every count.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
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
    fn a_flood_of_refused_deliveries_is_a_line_a_minute() {
        let (refused, begin) = (Refused::default(), Timestamp::UNIX_EPOCH);
        let mut told = Vec::new();
        for second in 0..150 {
            let now = begin + SignedDuration::from_secs(second);
            told.extend((0..10).filter_map(|_| refused.count(Rejected::UnknownKey, now)));
        }
        assert_eq!(told, [1, 600, 600]);
        assert_eq!(refused.counts().into_values().collect::<Vec<_>>(), [1_500]);
    }
}
