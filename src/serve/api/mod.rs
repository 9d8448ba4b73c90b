//! The JSON API, version 1, for helpdesks and scripts: look-ups, preflights, retractions, batches, status.
//!
//! It returns the same objects as the command line with `--json`. Accounts are masked unless a caller with that right requests
//! them. An error is a problem object (RFC 9457). Every request except the API's description requires a token.

pub(super) mod batches;
mod idempotency;
pub(super) mod lookup;
pub(super) mod openapi;
pub(super) mod preflight;
mod problem;
pub(super) mod retractions;
pub(super) mod status;

use axum::Json;
use axum::response::{IntoResponse, Response};
pub(super) use problem::{PROBLEM_JSON, Problem};
use serde::Serialize;

use crate::error::{Error, Kind};

pub(super) type ApiResult = Result<Response, Problem>;

fn json_text(value: &impl Serialize) -> crate::error::Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))
}

pub(super) fn json(value: &impl Serialize) -> Response {
    Json(value).into_response()
}
