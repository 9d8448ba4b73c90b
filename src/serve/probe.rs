//! What machines ask: is it alive, is it ready, how much of what.
//!
//! Alive says nothing but that requests are answered; ready says that the index is younger than its limit, and that the ledger is
//! the one that it was used with. Neither names an
//! order, an account or a person.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::app::App;
use crate::lookup::basis;
use crate::retract::guard::check_ledger;
use crate::status::Served;

pub(super) async fn alive() -> &'static str {
    "alive\n"
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let coverage = app.index(|reader| {
        check_ledger(reader.as_deref(), app.desk.ledger()?.as_ref())?;
        reader.map(|reader| reader.coverage()).transpose()
    });
    let (status, text) = match coverage {
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", error.message)),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: there is no index yet".to_owned()),
        Ok(Some(coverage)) => {
            let as_of = coverage.as_of.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let age = as_of.map(|at| app.clock.now().duration_since(at));
            let limit = crate::clock::signed(app.options.ready_max_age);
            match age {
                Some(age) if age <= limit => (StatusCode::OK, format!("ready: {}", basis(&coverage))),
                Some(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: the index is old: {}", basis(&coverage)))
                }
                None => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", basis(&coverage))),
            }
        }
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text + "\n").into_response()
}

/// How long a retraction may be open before it counts as overdue.
const OVERDUE: Duration = Duration::from_hours(24);

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let refused_hooks = app.refused_hooks.counts();
    let served = Served { answers: app.answers(), vendor: crate::api::answers(), refused_hooks };
    let text = match app.status().await {
        Ok(status) => status.metrics(OVERDUE, app.clock.now(), &served).map_err(|error| error.to_string()),
        Err(error) => Err(error.message),
    };
    match text {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}
