//! `Idempotency-Key`: a repeated request gets the response of the first one and has no further effect.
//!
//! An idempotency key belongs to one user. The service stores the hash of the request, and for a day its response. With
//! the same key, a client that lost the response can get the response again. The ledger, not the idempotency key,
//! prevents a second retraction of the same action.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use ring::digest::{Context, SHA256};

use super::{Problem, Reply, Retry};
use crate::access::Idempotency;
use crate::error::{Error, Kind, Result};
use crate::model::hex;
use crate::serve::app::App;
use crate::serve::extractors::Caller;

/// Maximum length of an idempotency key, in characters.
const KEY_AT_MOST: usize = 200;

/// A request that has reserved its idempotency key until the request is finished.
pub(super) struct Idempotent {
    user: String,
    key: String,
}

pub(super) enum Begun {
    New(Idempotent),
    /// The stored response of an earlier request with this key.
    Replay(Reply),
}

/// Reserves the idempotency key of a request. The stored hash covers path, query and body of the request.
pub(super) fn begin(
    app: &Arc<App>,
    caller: &Caller,
    headers: &HeaderMap,
    uri: &Uri,
    body: &[u8],
) -> std::result::Result<Begun, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).map(str::trim).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_AT_MOST || keys.next().is_some() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "usage",
            "No Idempotency-Key",
            "a request that changes something needs one Idempotency-Key of 1 to 200 characters",
        )
        .hint("make a new key for each change, and repeat a request with its key if you lost the response"));
    }
    let address = uri.path_and_query().map_or("/", |address| address.as_str());
    // Each part of the hashed text has its length as a prefix, so that two different requests never hash the same
    // bytes.
    let mut context = Context::new(&SHA256);
    context.update(&(address.len() as u64).to_le_bytes());
    context.update(address.as_bytes());
    context.update(body);
    let (user, hash) = (caller.who.name.clone(), hex(context.finish().as_ref()));
    let known = app.access.with(|access| match access {
        Some(access) => access.begin_idempotent(&user, key, &hash, app.clock.now()),
        None => Ok(Idempotency::New),
    })?;
    match known {
        Idempotency::New => Ok(Begun::New(Idempotent { user, key: key.to_owned() })),
        Idempotency::Done { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok(Begun::Replay(Reply { status, body, is_replay: true }))
        }
        Idempotency::InFlight => Err(Problem::new(
            StatusCode::CONFLICT,
            "busy",
            "The first request is still running",
            "a request with this Idempotency-Key is being carried out",
        )
        .hint("repeat the request in a moment, with the same key")
        .retry(Retry::After(SignedDuration::from_secs(1)))),
        Idempotency::Different => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "usage",
            "This key was used for another request",
            "the Idempotency-Key belongs to a request with another path, query or body",
        )
        .hint("make a new key for each change")),
    }
}

impl Idempotent {
    /// Stores the response under the idempotency key, and returns the response.
    pub(super) fn finish(self, app: &App, status: StatusCode, body: String) -> Result<Reply> {
        app.access.with(|access| {
            access.map_or(Ok(()), |access| access.finish_idempotent(&self.user, &self.key, status.as_u16(), &body))
        })?;
        Ok(Reply { status, body, is_replay: false })
    }

    /// Responds with an error. Frees the idempotency key if a repeated request may succeed.
    pub(super) fn fail(self, app: &App, error: Error) -> Result<Response> {
        let is_final = matches!(error.kind, Kind::VendorRefused | Kind::Usage);
        let problem = Problem::from(error);
        if is_final {
            return Ok(self.finish(app, problem.status(), problem.json())?.response());
        }
        self.release(app, problem)
    }

    /// Responds with a problem object and frees the idempotency key.
    pub(super) fn release(self, app: &App, problem: Problem) -> Result<Response> {
        app.access.with(|access| access.map_or(Ok(()), |access| access.forget_idempotent(&self.user, &self.key)))?;
        Ok(problem.into_response())
    }
}
