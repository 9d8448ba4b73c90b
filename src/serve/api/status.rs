//! `GET /api/v1/status`: freshness and coverage of the index, and the open retractions.

use std::sync::Arc;

use axum::extract::State;

use super::{ApiResult, json};
use crate::serve::app::App;
use crate::status::Status;

/// Status of index and ledger
///
/// The same as `recoup status --json`, a few seconds old at most.
#[utoipa::path(get, path = "/api/v1/status", operation_id = "readStatus", tag = "service", security(("token" = ["status"])),
    responses((status = 200, description = "Freshness, coverage, quota, runs, open retractions", body = Status)))]
pub(in crate::serve) async fn show(State(app): State<Arc<App>>) -> ApiResult {
    Ok(json(&*app.status().await?))
}
