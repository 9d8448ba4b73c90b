//! `POST /webhooks/advocate`: a delivery comes in, is held against the vendor's keys, written down, and answered.
//!
//! Anything but 200 is a failure for the vendor, which then tries hourly, up to 72 times (`advocate-api.md` §5): so what was taken,
//! is known already, or means nothing here is a 200, and what could be taken later is not. It answers nothing but a word.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::app::App;
use crate::store::index::Index;
use crate::webhook::{Rejected, Taken};

/// The header of the signature.
const SIGNATURE: &str = "x-hook-jws-rfc-7797";

pub(super) async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let signatures: Vec<&str> = headers.get_all(SIGNATURE).iter().filter_map(|value| value.to_str().ok()).collect();
    // Two of them, and one that holds: which was meant, nobody can tell.
    let [signature] = signatures.as_slice() else { return refused(Rejected::Unsigned) };
    let now = app.clock.now();
    if let Err(rejected) = app.options.hooks.check(signature, &body, now).await {
        return refused(rejected);
    }
    let hooks = Arc::clone(&app.options.hooks);
    let taken = app
        .on_its_own(async move |desk| {
            let mut index = Index::open(&desk.options.index, &desk.options.identity)?;
            hooks.take(&mut index, &body, now)
        })
        .await;
    match taken {
        Ok(Ok(taken)) => {
            tracing::debug!(?taken, "a webhook");
            let word = match taken {
                Taken::Queued => "queued",
                Taken::Noted => "noted",
                Taken::Known => "known",
                Taken::Stale => "stale",
            };
            (StatusCode::OK, word).into_response()
        }
        Ok(Err(rejected)) => refused(rejected),
        Err(error) => {
            tracing::warn!(kind = error.kind.name(), "a webhook could not be written down: {}", error.message);
            (StatusCode::SERVICE_UNAVAILABLE, "try again").into_response()
        }
    }
}

fn refused(rejected: Rejected) -> Response {
    tracing::info!("a webhook was refused: {}", rejected.as_str());
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
