//! The JSON API, version 1: look up, preflight, retract, follow, ask how things are. For helpdesks and scripts.
//!
//! The same objects as `--json` of the command line, with accounts masked unless somebody with the right asks for them. A
//! failure is a problem of RFC 9457. It must never answer a request without a token, but for its own description.

pub(super) mod batches;
pub(super) mod lookup;
mod once;
pub(super) mod openapi;
pub(super) mod preflight;
mod problem;
pub(super) mod retractions;
pub(super) mod status;

use axum::Json;
use axum::response::{IntoResponse, Response};
pub(super) use problem::Problem;
use serde::Serialize;

/// An answer, or a problem.
pub(super) type Answered = Result<Response, Problem>;

/// Something as the text of JSON.
fn text(value: &impl Serialize) -> crate::error::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| crate::error::Error::new(crate::error::Kind::Failed, format!("failed to write JSON: {error}")))
}

/// Something as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    Json(value).into_response()
}
