//! The one table of what there is: every path with who may use it and what answers.
//!
//! The router is built from it, each route with the guard in front, and a test goes through it with every role. A path that is
//! not in here does not exist.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::app::App;
use super::asked::FORM_AT_MOST;
use super::batch::UPLOAD_AT_MOST;
use super::guard::guard;
use super::headers::on_every_answer;
use super::{api, page, probe, webhooks};
use crate::access::Right;
use crate::webhook::MAX_BODY;

/// No answer takes longer; what was begun for somebody goes on without them.
const LONGEST: Duration = Duration::from_mins(2);

/// To whom a route speaks, and so how it says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// People: HTML, a session's cookie.
    Page,
    /// Programs: JSON, a token.
    Api,
    /// Monitors and senders: plain text.
    Machine,
}

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anybody at all.
    Nobody,
    /// Whoever is signed in.
    Anybody,
    /// Whoever has this right.
    May(Right),
    /// The same, and anybody on this machine.
    MayOrHere(Right),
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path; `{name}` stands for one segment.
    pub path: &'static str,
    /// To whom it speaks.
    pub answers: Answers,
    /// Who may.
    pub need: Need,
}

type Served = (Route, MethodRouter<Arc<App>>);

/// Every route, for tests and for the documentation.
pub fn all() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// The router, each route guarded.
pub(super) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for (route, handler) in table() {
        let held = from_fn_with_state((Arc::clone(app), route), guard);
        router = router.route(route.path, handler.layer(held));
    }
    router
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::max(FORM_AT_MOST))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LONGEST))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(Arc::clone(app), on_every_answer))
        .with_state(Arc::clone(app))
}

/// A file may be larger than a form.
fn large() -> DefaultBodyLimit {
    DefaultBodyLimit::max(UPLOAD_AT_MOST + FORM_AT_MOST)
}

fn delivery() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MAX_BODY)
}

fn table() -> Vec<Served> {
    let page = |method, path, need| Route { method, path, answers: Answers::Page, need };
    let program = |method, path, need| Route { method, path, answers: Answers::Api, need };
    let machine = |method, path, need| Route { method, path, answers: Answers::Machine, need };
    let may = Need::May;
    vec![
        (page("GET", "/", Need::Anybody), get(page::home)),
        (page("GET", "/login", Need::Nobody), get(page::login::form)),
        (page("POST", "/login", Need::Nobody), post(page::login::enter)),
        (page("POST", "/logout", Need::Anybody), post(page::login::leave)),
        (page("GET", "/password", Need::Anybody), get(page::password::form)),
        (page("POST", "/password", Need::Anybody), post(page::password::change)),
        (page("GET", "/lookup", may(Right::LookUp)), get(page::lookup::show)),
        (page("POST", "/lookup/source", may(Right::LookUp)), post(page::lookup::source)),
        (page("GET", "/preflight", may(Right::Preflight)), get(page::preflight::show)),
        (page("GET", "/retract", may(Right::Retract)), get(page::retract::begin)),
        (page("POST", "/retract/review", may(Right::Retract)), post(page::retract::review)),
        (page("POST", "/retract/send", may(Right::Retract)), post(page::retract::send)),
        (page("GET", "/receipt", may(Right::LookUp)), get(page::receipt::show)),
        (page("GET", "/receipt/live", may(Right::LookUp)), get(page::receipt::live)),
        (page("GET", "/history", may(Right::LookUp)), get(page::history::list)),
        (page("GET", "/history/{id}", may(Right::LookUp)), get(page::history::one)),
        (page("GET", "/batch", may(Right::Batch)), get(page::batch::list)),
        (page("POST", "/batch", may(Right::Batch)), post(page::batch::upload).layer(large())),
        (page("GET", "/batch/{id}", may(Right::Batch)), get(page::batch::show)),
        (page("POST", "/batch/{id}/explain", may(Right::Batch)), post(page::explain::submit)),
        (page("POST", "/batch/{id}/apply", may(Right::Batch)), post(page::batch::apply)),
        (page("GET", "/batch/{id}/outcomes", may(Right::Batch)), get(page::batch::outcomes)),
        (page("GET", "/approvals", may(Right::LookUp)), get(page::approvals::list)),
        (page("POST", "/approvals/{id}/approve", may(Right::Approve)), post(page::approvals::approve)),
        (page("POST", "/approvals/{id}/decline", may(Right::Approve)), post(page::approvals::decline)),
        (page("POST", "/approvals/{id}/withdraw", may(Right::Retract)), post(page::approvals::withdraw)),
        (page("GET", "/health", may(Right::SeeHealth)), get(page::health::show)),
        (page("GET", "/assets/recoup.css", Need::Nobody), get(page::assets::style)),
        (page("GET", "/assets/recoup.js", Need::Nobody), get(page::assets::script)),
        (page("GET", "/assets/recoup.svg", Need::Nobody), get(page::assets::icon)),
        (program("GET", "/api/v1/lookup", may(Right::LookUp)), get(api::lookup::answer)),
        (program("GET", "/api/v1/preflight", may(Right::Preflight)), get(api::preflight::answer)),
        (program("POST", "/api/v1/retractions", may(Right::Retract)), post(api::retractions::create)),
        (program("GET", "/api/v1/retractions", may(Right::LookUp)), get(api::retractions::of_order)),
        (program("GET", "/api/v1/retractions/{id}", may(Right::LookUp)), get(api::retractions::one)),
        (program("GET", "/api/v1/openapi.json", Need::Nobody), get(api::openapi::describe)),
        (program("POST", "/api/v1/batches", may(Right::Batch)), post(api::batches::create).layer(large())),
        (program("GET", "/api/v1/batches/{id}", may(Right::Batch)), get(api::batches::one)),
        (program("POST", "/api/v1/batches/{id}/apply", may(Right::Batch)), post(api::batches::apply)),
        (program("GET", "/api/v1/batches/{id}/outcomes", may(Right::Batch)), get(api::batches::outcomes)),
        (program("GET", "/api/v1/status", may(Right::SeeHealth)), get(api::status::answer)),
        (machine("POST", "/webhooks/advocate", Need::Nobody), post(webhooks::receive).layer(delivery())),
        (machine("GET", "/healthz", Need::Nobody), get(probe::alive)),
        (machine("GET", "/metrics", Need::MayOrHere(Right::Metrics)), get(probe::metrics)),
        (machine("GET", "/readyz", Need::Nobody), get(probe::ready)),
    ]
}
