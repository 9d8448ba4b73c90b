//! The JSON API, version 1, for helpdesks and scripts: look-ups, preflights, retractions, batches, approvals, status.
//!
//! The API returns the same objects as the command line with `--json`. The API masks account IDs unless the caller
//! requests them and has the right to see them. An error is a problem object (RFC 9457). Every request except the
//! request for the API's description requires a token.

pub(super) mod approvals;
pub(super) mod batches;
mod idempotency;
pub(super) mod lookup;
pub(super) mod openapi;
mod paging;
pub(super) mod preflight;
mod problem;
mod rate_limit;
pub(super) mod retractions;
pub(super) mod status;

use std::sync::Arc;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
pub(super) use problem::{PROBLEM_JSON, Problem, Retry};
pub(super) use rate_limit::RateLimit;
use serde::Serialize;

use super::actions::aborted;
use super::app::App;
use crate::error::{Error, Kind};

pub(super) type ApiResult = Result<Response, Problem>;

/// The header that marks a stored response, which the service repeats for the same `Idempotency-Key`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The value of `Retry-After` in a 202: the client may then poll the state of its request.
const POLL_SECONDS: &str = "2";

/// A response in the form in which it is stored under its idempotency key.
struct Reply {
    status: StatusCode,
    body: String,
    is_replay: bool,
}

impl Reply {
    fn response(self) -> Response {
        let kind = if self.status.is_success() { "application/json" } else { PROBLEM_JSON };
        let mut response = (self.status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], self.body).into_response();
        if self.is_replay {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }

    /// Builds the response with a `Location`: the URL of the object that the request created or started.
    fn located(self, location: &str) -> Response {
        let status = self.status;
        let mut response = self.response();
        if let Ok(location) = HeaderValue::from_str(location)
            && status.is_success()
        {
            response.headers_mut().insert(LOCATION, location);
        }
        if status == StatusCode::ACCEPTED {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(POLL_SECONDS));
        }
        response
    }
}

/// Runs a request as its own task. If the client disconnects, the service still stores the response for a repeated
/// request with the same idempotency key.
async fn in_background(app: &Arc<App>, work: impl Future<Output = ApiResult> + Send + 'static) -> ApiResult {
    app.actions.tasks.spawn(work).await.unwrap_or_else(|error| Err(aborted(&error).into()))
}

fn json_text(value: &impl Serialize) -> crate::error::Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))
}

pub(super) fn json(value: &impl Serialize) -> Response {
    Json(value).into_response()
}
