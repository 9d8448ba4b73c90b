//! `GET /api/v1/status`: how fresh and how complete the index is, and what is open.

use std::sync::Arc;

use axum::extract::State;

use super::{Answered, json};
use crate::serve::app::App;
use crate::status::Status;

/// How things are
///
/// The same as `recoup status --json`; a few seconds old at most.
#[utoipa::path(get, path = "/api/v1/status", tag = "service", security(("token" = ["status"])),
    responses((status = 200, description = "Freshness, coverage, quota, runs, open retractions", body = Status)))]
pub(in crate::serve) async fn answer(State(app): State<Arc<App>>) -> Answered {
    Ok(json(&*app.status().await?))
}
