//! `/api/v1/batches`: a file of refunds → a plan → outcomes, for programs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::once::{Begun, begin};
use super::{Answered, Problem, json, text};
use crate::error::{Error, Kind};
use crate::refunds::read::Parsed;
use crate::retract::overrides::Override;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Fields, Query};
use crate::serve::batch::{Batch, Part, Terms};
use crate::serve::page::batch::download;
use crate::serve::reading::{Asked, FIELDS, for_api};
use crate::serve::wording::fit_batch;

/// Plan a batch
///
/// The body is the file: a shop's export as CSV, TSV or JSON, at most 10 MB. What it proves about each order is decided first, and
/// only orders that were refunded in full are planned for sending. Every order is checked live and nothing is sent; ask for the
/// batch until it is `planned`, then carry it out. A file of no known format whose columns are not certain is a 400 that lists
/// them in `doubts`; send it again with parameters that explain them.
#[utoipa::path(post, path = "/api/v1/batches", tag = "batches", security(("token" = ["batch"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each file"),
           ("reason" = String, Query, description = "Why, for rows that name none"),
           ("ticket" = Option<String>, Query, description = "A ticket, for rows that name none"),
           ("disposition" = Option<String>, Query, description = "`RETRACTION` where it is left out"),
           ("override" = Option<Vec<String>>, Query, description = "Stops to go on in spite of, by name"),
           ("format" = Option<String>, Query, description = "The format of the file; recognised by its header if it is left out"),
           ("order_column" = Option<String>, Query, description = "The column with the order IDs; NAME#2 is the second column of that name"),
           ("amount_column" = Option<String>, Query, description = "The column with the amounts"),
           ("amount_means" = Option<String>, Query, description = "`refunded`, or `new-amount`: what the order costs after the refund, 0 for a refund in full"),
           ("total_column" = Option<String>, Query, description = "The column with what the whole order cost"),
           ("status_column" = Option<String>, Query, description = "The column that says whether an order was refunded"),
           ("refunded_when" = Option<Vec<String>>, Query, description = "A value of that column that means refunded in full; any other value means not refunded"),
           ("date_column" = Option<String>, Query, description = "The column with the dates of the refunds"),
           ("ignore_column" = Option<Vec<String>>, Query, description = "A column that says nothing about the refund"),
           ("order_prefix" = Option<String>, Query, description = "What the vendor's order IDs have in front and those of the file lack, as `#`"),
           ("strip_order_prefix" = Option<String>, Query, description = "What the order IDs of the file have in front and the vendor's lack")),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "It is being planned", body = Batch),
              (status = 400, description = "The file cannot be read, or columns must be explained", body = Problem)))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
    Query(fields): Query,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    check_names(&fields)?;
    let (terms, asked) = (terms_of(&fields)?, Asked::of(&fields)?);
    // The query says how the file is read, so the same file with another query is another request.
    let once = match begin(&app, &caller, &headers, &[&body, query.unwrap_or_default().as_bytes()])? {
        Begun::Do(once) => once,
        Begun::Done(answer) => return Ok(answer),
    };
    // The problem quotes cells of the file, so it is not kept for a second request with the same key.
    let refunds = match app.understand(&body, &asked) {
        Ok(Parsed::Complete(refunds)) => *refunds,
        Ok(Parsed::NeedsMapping(doubtful)) => return Ok(once.refused(&app, Problem::doubtful(*doubtful), false)?),
        Err(error) => return Ok(once.refused(&app, Problem::of_file(error), false)?),
    };
    match app.begin_batch(&caller.who, refunds, asked, terms) {
        Ok(batch) => Ok(once.finish(&app, StatusCode::ACCEPTED, text(&fit_batch(batch))?)?),
        Err(error) => Ok(once.failed(&app, error)?),
    }
}

/// How a batch stands
#[utoipa::path(get, path = "/api/v1/batches/{id}", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 200, description = "As it stands", body = Batch), (status = 404, description = "There is none of that number", body = Problem)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> Answered {
    let mut batch = app.batch(&id)?;
    batch.message = batch.message.as_deref().map(for_api);
    Ok(json(&fit_batch(batch)))
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

/// Refuses a parameter that is not known: a misspelt one would change how the file is read, or what is sent.
fn check_names(fields: &Fields) -> Result<(), Error> {
    let of_terms = ["reason", "ticket", "disposition", "override"];
    let known = || of_terms.into_iter().chain(FIELDS.iter().map(|(name, _)| *name));
    match fields.names().find(|name| !known().any(|known| known == *name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(Kind::Usage, format!("there is no parameter {name:?}"))
            .hint(format!("the parameters are {}", known().collect::<Vec<_>>().join(", ")))),
    }
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
