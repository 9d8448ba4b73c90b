//! The route table: each path with its audience, its required access and its handler.
//!
//! The router is built from the route table and has no other path. The service authorizes a request before its handler
//! runs. A test requests every route with every role.

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
use super::auth::authorize;
use super::batch::UPLOAD_AT_MOST;
use super::extractors::FORM_AT_MOST;
use super::headers::finish;
use super::page::admin;
use super::{api, health, page, webhooks};
use crate::access::Right;
use crate::webhook::MAX_BODY;

/// The time limit of a request. A slower request gets a 504, and the action that it started continues.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// The kind of client that a route serves. The kind of client decides how the service identifies the caller and which
/// form an error has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Browsers, with HTML and a session cookie.
    Page,
    /// API clients, with JSON and a token.
    Api,
    /// Monitors and webhook senders, with plain text.
    Machine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    SignedIn,
    Requires(Right),
    /// A request from this machine needs no sign-in. A request from another machine needs a caller with this right.
    RequiresOrLocal(Right),
}

#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The HTTP method: `GET` or `POST`.
    pub method: &'static str,
    /// Path pattern. `{name}` matches one segment.
    pub path: &'static str,
    pub audience: Audience,
    pub access: Access,
}

/// Returns every route, for tests.
pub fn all() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

pub(super) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for (route, handler) in table() {
        let authorized = from_fn_with_state((Arc::clone(app), route), authorize);
        router = router.route(route.path, handler.layer(authorized));
    }
    router
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::max(FORM_AT_MOST))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(Arc::clone(app), finish))
        .with_state(Arc::clone(app))
}

fn table() -> Vec<(Route, MethodRouter<Arc<App>>)> {
    let page = |method, path, access| Route { method, path, audience: Audience::Page, access };
    let api = |method, path, access| Route { method, path, audience: Audience::Api, access };
    let machine = |method, path, access| Route { method, path, audience: Audience::Machine, access };
    let requires = Access::Requires;
    let upload = || DefaultBodyLimit::max(UPLOAD_AT_MOST + FORM_AT_MOST);
    vec![
        (page("GET", "/", requires(Right::LookUp)), get(page::home::show)),
        (page("GET", "/login", Access::Public), get(page::login::show)),
        (page("POST", "/login", Access::Public), post(page::login::sign_in)),
        (page("POST", "/logout", Access::SignedIn), post(page::login::sign_out)),
        (page("GET", "/password", Access::SignedIn), get(page::password::show)),
        (page("POST", "/password", Access::SignedIn), post(page::password::change)),
        (page("GET", "/lookup", requires(Right::LookUp)), get(page::lookup::show)),
        (page("POST", "/lookup/check", requires(Right::Preflight)), post(page::lookup::check)),
        (page("POST", "/lookup/source", requires(Right::LookUp)), post(page::lookup::search)),
        (page("POST", "/lookup/again", requires(Right::Preflight)), post(page::lookup::ask_again)),
        (page("GET", "/preflight", requires(Right::Preflight)), get(page::preflight::show)),
        (page("GET", "/retract", requires(Right::Retract)), get(page::retract::begin)),
        (page("POST", "/retract/review", requires(Right::Retract)), post(page::retract::review)),
        (page("POST", "/retract/send", requires(Right::Retract)), post(page::retract::send)),
        (page("POST", "/retract/several/review", requires(Right::Retract)), post(page::several::review)),
        (page("POST", "/retract/several/send", requires(Right::Retract)), post(page::several::send)),
        (page("GET", "/retract/several/sent", requires(Right::Retract)), get(page::several::sent)),
        (page("GET", "/receipt", requires(Right::LookUp)), get(page::receipt::show)),
        (page("GET", "/receipt/live", requires(Right::LookUp)), get(page::receipt::live)),
        (page("GET", "/history", requires(Right::LookUp)), get(page::history::list)),
        (page("GET", "/history.csv", requires(Right::LookUp)), get(page::history::export)),
        (page("GET", "/history/{id}", requires(Right::LookUp)), get(page::history::one)),
        (page("GET", "/batch", requires(Right::Batch)), get(page::batch::list)),
        (page("POST", "/batch", requires(Right::Batch)), post(page::batch::upload).layer(upload())),
        (page("GET", "/batch/{id}", requires(Right::Batch)), get(page::batch::show)),
        (page("POST", "/batch/{id}/explain", requires(Right::Batch)), post(page::explain::submit)),
        (page("POST", "/batch/{id}/apply", requires(Right::Batch)), post(page::batch::apply)),
        (page("GET", "/batch/{id}/outcomes", requires(Right::Batch)), get(page::batch::outcomes)),
        (page("GET", "/approvals", requires(Right::LookUp)), get(page::approvals::list)),
        (page("GET", "/approvals/{id}", requires(Right::LookUp)), get(page::approvals::one)),
        (page("POST", "/approvals/{id}/approve", requires(Right::Approve)), post(page::approvals::approve)),
        (page("POST", "/approvals/{id}/decline", requires(Right::Approve)), post(page::approvals::decline)),
        (page("POST", "/approvals/{id}/withdraw", requires(Right::Retract)), post(page::approvals::withdraw)),
        (page("GET", "/health", requires(Right::SeeHealth)), get(page::dashboard::show)),
        (page("GET", "/admin", requires(Right::Administer)), get(admin::users::list)),
        (page("POST", "/admin/users", requires(Right::Administer)), post(admin::users::add)),
        (page("GET", "/admin/users/{id}", requires(Right::Administer)), get(admin::users::one)),
        (page("POST", "/admin/users/{id}/role", requires(Right::Administer)), post(admin::users::set_role)),
        (page("POST", "/admin/users/{id}/password", requires(Right::Administer)), post(admin::users::set_password)),
        (page("POST", "/admin/users/{id}/disable", requires(Right::Administer)), post(admin::users::disable)),
        (page("POST", "/admin/users/{id}/enable", requires(Right::Administer)), post(admin::users::enable)),
        (page("POST", "/admin/users/{id}/sign-out", requires(Right::Administer)), post(admin::users::end_sessions)),
        (
            page("POST", "/admin/users/{id}/sessions/{session}/end", requires(Right::Administer)),
            post(admin::users::end_session),
        ),
        (page("POST", "/admin/users/{id}/tokens", requires(Right::Administer)), post(admin::users::add_token)),
        (page("POST", "/admin/tokens/{id}/revoke", requires(Right::Administer)), post(admin::users::revoke_token)),
        (page("GET", "/admin/limits", requires(Right::Administer)), get(admin::system::limits)),
        (page("POST", "/admin/limits", requires(Right::Administer)), post(admin::system::set_limits)),
        (page("GET", "/admin/schedule", requires(Right::Administer)), get(admin::system::schedule)),
        (page("POST", "/admin/schedule/{id}/run", requires(Right::Administer)), post(admin::system::run_job)),
        (page("GET", "/admin/settings", requires(Right::Administer)), get(admin::system::settings)),
        (page("GET", "/admin/log", requires(Right::Administer)), get(admin::users::log)),
        (page("GET", "/assets/recoup.css", Access::Public), get(page::assets::style)),
        (page("GET", "/assets/recoup.js", Access::Public), get(page::assets::script)),
        (page("GET", "/assets/recoup.svg", Access::Public), get(page::assets::icon)),
        (api("GET", "/api/v1/lookup", requires(Right::LookUp)), get(api::lookup::show)),
        (api("GET", "/api/v1/preflight", requires(Right::Preflight)), get(api::preflight::show)),
        (api("POST", "/api/v1/retractions", requires(Right::Retract)), post(api::retractions::create)),
        (api("GET", "/api/v1/retractions", requires(Right::LookUp)), get(api::retractions::list)),
        (api("GET", "/api/v1/retractions/{id}", requires(Right::LookUp)), get(api::retractions::one)),
        (api("GET", "/api/v1/openapi.json", Access::Public), get(api::openapi::describe)),
        (api("GET", "/api/v1/batches", requires(Right::Batch)), get(api::batches::list)),
        (api("POST", "/api/v1/batches", requires(Right::Batch)), post(api::batches::create).layer(upload())),
        (api("GET", "/api/v1/batches/{id}", requires(Right::Batch)), get(api::batches::one)),
        (api("POST", "/api/v1/batches/{id}/apply", requires(Right::Batch)), post(api::batches::apply)),
        (api("GET", "/api/v1/batches/{id}/outcomes", requires(Right::Batch)), get(api::batches::outcomes)),
        (api("GET", "/api/v1/approvals", requires(Right::LookUp)), get(api::approvals::list)),
        (api("GET", "/api/v1/approvals/{id}", requires(Right::LookUp)), get(api::approvals::one)),
        (api("POST", "/api/v1/approvals/{id}/approve", requires(Right::Approve)), post(api::approvals::approve)),
        (api("POST", "/api/v1/approvals/{id}/decline", requires(Right::Approve)), post(api::approvals::decline)),
        (api("POST", "/api/v1/approvals/{id}/withdraw", requires(Right::Retract)), post(api::approvals::withdraw)),
        (api("GET", "/api/v1/status", requires(Right::SeeHealth)), get(api::status::show)),
        (
            machine("POST", "/webhooks/advocate", Access::Public),
            post(webhooks::receive).layer(DefaultBodyLimit::max(MAX_BODY)),
        ),
        (machine("GET", "/healthz", Access::Public), get(health::alive)),
        (machine("GET", "/metrics", Access::RequiresOrLocal(Right::Metrics)), get(health::metrics)),
        (machine("GET", "/readyz", Access::Public), get(health::ready)),
    ]
}
