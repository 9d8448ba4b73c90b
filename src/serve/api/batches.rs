//! `/api/v1/batches`: a file of refunds → a plan → outcomes, for programs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::once::{Begun, begin};
use super::{Answered, Problem, json, text};
use crate::error::{Error, Kind};
use crate::retract::overrides::Override;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Fields, Query};
use crate::serve::batch::{Batch, Part, Terms};
use crate::serve::page::batch::download;
use crate::serve::wording::fit_batch;

/// Plan a batch
///
/// The body is the file: CSV, or one JSON object a line, at most 10 MB. Every row is checked live and nothing is sent; ask for the
/// batch until it is `planned`, then carry it out.
#[utoipa::path(post, path = "/api/v1/batches", tag = "batches", security(("token" = ["batch"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each file"),
           ("reason" = String, Query, description = "Why, for rows that name none"),
           ("ticket" = Option<String>, Query, description = "A ticket, for rows that name none"),
           ("disposition" = Option<String>, Query, description = "`RETRACTION` where it is left out"),
           ("override" = Option<Vec<String>>, Query, description = "Stops to go on in spite of, by name")),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "It is being planned", body = Batch),
              (status = 400, description = "The file cannot be read", body = Problem)))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(asked): Query,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let terms = terms_of(&asked)?;
    let once = match begin(&app, &caller, &headers, &body)? {
        Begun::Do(once) => once,
        Begun::Done(answer) => return Ok(answer),
    };
    match app.begin_batch(&caller.who, body.to_vec(), terms) {
        Ok(batch) => Ok(once.finish(&app, StatusCode::ACCEPTED, text(&fit_batch(batch))?)?),
        Err(error) => Ok(once.failed(&app, error)?),
    }
}

/// How a batch stands
#[utoipa::path(get, path = "/api/v1/batches/{id}", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 200, description = "As it stands", body = Batch), (status = 404, description = "There is none of that number", body = Problem)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> Answered {
    Ok(json(&fit_batch(app.batch(&id)?)))
}

/// Carry a batch out
///
/// Each row is checked live again and goes only where the plan says so. Sending it again does only what is left.
#[utoipa::path(post, path = "/api/v1/batches/{id}/apply", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 202, description = "It is being carried out", body = Batch),
              (status = 409, description = "There is no plan yet, or somebody is at it", body = Problem)))]
pub(in crate::serve) async fn apply(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answered {
    let batch = app.apply_batch(&caller.who, &id)?;
    let mut answer = json(&fit_batch(batch));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

/// The outcomes of a batch
#[utoipa::path(get, path = "/api/v1/batches/{id}/outcomes", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 200, description = "One row for each row of the file", content_type = "text/csv"),
              (status = 404, description = "There are none yet", body = Problem)))]
pub(in crate::serve) async fn outcomes(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(id): Path<String>,
) -> Answered {
    Ok(download(&id, app.shelf.get(&id, Part::Outcomes)?))
}

fn terms_of(asked: &Fields) -> Result<Terms, Error> {
    let reason = asked.text("reason");
    if reason.is_none() {
        return Err(Error::new(Kind::Usage, "a batch needs a reason").hint("add ?reason=…; it stays in the ledger"));
    }
    let mut overrides = Vec::new();
    for name in asked.all("override") {
        let known = Override::named(name);
        overrides.push(known.ok_or_else(|| Error::new(Kind::Usage, format!("there is no override {name:?}")))?);
    }
    Ok(Terms { disposition: asked.text("disposition"), reason, ticket: asked.text("ticket"), overrides })
}
