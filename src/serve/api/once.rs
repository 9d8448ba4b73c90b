//! `Idempotency-Key`: the same request twice is one request, also where the first answer got lost.
//!
//! The key belongs to a user; what was asked with it is remembered by its hash, and its answer for a day. The ledger would not
//! send the same action twice either way: this gives the second caller the first one's answer.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::digest::{Context, SHA256};

use super::Problem;
use crate::access::Idempotency;
use crate::error::{Error, Kind, Result};
use crate::model::hex;
use crate::serve::app::App;
use crate::serve::asked::Caller;

/// Characters of a key at most.
const KEY_AT_MOST: usize = 200;

/// A request that is done once.
pub(super) struct OnceOnly {
    user: String,
    key: String,
}

/// What a key came to.
pub(super) enum Begun {
    /// It is to be done.
    Do(OnceOnly),
    /// It was done, and this came of it.
    Done(Response),
}

/// Takes the key of a request, or gives the answer that it had. `parts` are what was asked: the body, and the query if it says
/// what is done.
pub(super) fn begin(
    app: &Arc<App>,
    caller: &Caller,
    headers: &HeaderMap,
    parts: &[&[u8]],
) -> std::result::Result<Begun, Problem> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::trim).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_AT_MOST {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "usage",
            "No Idempotency-Key",
            "what changes something needs an Idempotency-Key of 1 to 200 characters",
        )
        .hint("make one for each retraction, and send the same one again where the answer got lost"));
    }
    let (user, hash) = (caller.who.name.clone(), hash_of(parts));
    let known = app.access(|access| match access {
        Some(access) => access.begin_idempotent(&user, key, &hash, app.clock.now()),
        None => Ok(Idempotency::New),
    })?;
    match known {
        Idempotency::New => Ok(Begun::Do(OnceOnly { user, key: key.to_owned() })),
        Idempotency::Done { status, body } => Ok(Begun::Done(answer(status, body))),
        Idempotency::InFlight => Err(Problem::new(
            StatusCode::CONFLICT,
            "busy",
            "The first request is still at it",
            "a request with this Idempotency-Key is being carried out",
        )
        .hint("ask again in a moment, with the same key")),
        Idempotency::Different => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "usage",
            "This key was used for something else",
            "the Idempotency-Key belongs to a request that asks for something else",
        )),
    }
}

/// The SHA-256 of what was asked. The length of each part is in it, so that no two requests are the same bytes.
fn hash_of(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            context.update(&(part.len() as u64).to_le_bytes());
        }
        context.update(part);
    }
    hex(context.finish().as_ref())
}

impl OnceOnly {
    /// Keeps the answer for whoever asks again.
    pub(super) fn finish(self, app: &App, status: StatusCode, body: String) -> Result<Response> {
        app.access(|access| {
            access.map_or(Ok(()), |access| access.finish_idempotent(&self.user, &self.key, status.as_u16(), &body))
        })?;
        Ok(answer(status.as_u16(), body))
    }
}

impl OnceOnly {
    /// Nothing was done, or it was refused. Where the same request may go better later, its key is free again.
    pub(super) fn failed(self, app: &App, error: Error) -> Result<Response> {
        let for_good = matches!(error.kind, Kind::VendorRefused | Kind::Usage);
        self.refused(app, Problem::from(error), for_good)
    }

    /// Answers with a problem. If the same request may succeed later, its key is free again.
    pub(super) fn refused(self, app: &App, problem: Problem, for_good: bool) -> Result<Response> {
        if for_good {
            let status = problem.status();
            return self.finish(app, status, super::text(&problem)?);
        }
        app.access(|access| access.map_or(Ok(()), |access| access.forget_idempotent(&self.user, &self.key)))?;
        Ok(problem.into_response())
    }
}

fn answer(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}
