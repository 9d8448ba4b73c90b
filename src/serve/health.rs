//! `/healthz`, `/readyz` and `/metrics`, for monitors. The responses to monitors contain no order, account or person.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::flag_names::without_flags;
use super::routes::Audience;
use crate::lookup::describe_coverage;
use crate::status::{MetricsFormat, ServiceMetrics};

/// Age at which an open retraction is overdue.
const OVERDUE_AFTER: Duration = Duration::from_hours(24);

pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Responds that the service is ready if the index is younger than `ready_max_age` and no problem blocks all
/// retractions.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let (status, text) = match readiness(&app).await {
        Ok(basis) => (StatusCode::OK, format!("ready: {basis}")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", without_flags(&why, Audience::Page))),
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text + "\n").into_response()
}

/// Returns the coverage of the index, or the reason why the service is not ready.
async fn readiness(app: &Arc<App>) -> Result<String, String> {
    let status = app.status().await.map_err(|error| match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    })?;
    if let Some(block) = status.blocked.first() {
        return Err(format!("nothing can be sent: {}", block.line()));
    }
    let coverage = status.coverage.as_ref().ok_or("there is no index yet")?;
    let basis = describe_coverage(coverage);
    let limit = crate::clock::signed(app.options.ready_max_age);
    match status.age {
        Some(age) if age <= limit => Ok(basis),
        Some(_) => Err(format!("the index is too old: {basis}")),
        None => Err(basis),
    }
}

/// Returns the metrics as OpenMetrics if the client asks for it, and in the older text format otherwise.
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|kinds| kinds.to_str().ok());
    let (format, kind) = if accepted.any(|kinds| kinds.contains("application/openmetrics-text")) {
        (MetricsFormat::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (MetricsFormat::Text, "text/plain; version=0.0.4; charset=utf-8")
    };
    let refused_hooks = app.refused_hooks.counts();
    let served = ServiceMetrics { answers: app.responses(), vendor: crate::vendor::answers_by_status(), refused_hooks };
    let text = match app.status().await {
        Ok(status) => {
            status.metrics(OVERDUE_AFTER, app.clock.now(), &served, format).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.message),
    };
    match text {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, kind), (VARY, "Accept")], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}
