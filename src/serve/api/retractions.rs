//! `/api/v1/retractions`: retract one order, and read retractions.
//!
//! A retraction is sent at most once, even if a client repeats its request: the `Idempotency-Key` returns the first response, and
//! the ledger refuses a second retraction of the same action.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::idempotency::{Begun, Idempotent, begin};
use super::{ApiResult, Problem, json, json_text};
use crate::access::{Principal, Right};
use crate::error::{Error, Kind};
use crate::retract::receipt::{Entry, Receipt};
use crate::retract::request::RetractRequest;
use crate::serve::actions::{aborted, nothing_sent};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::{entry_for, receipt_for_api};
use crate::serve::routes::Audience;

/// Retract an order
///
/// Checks the order live, sends the retraction once, and reads its rewards once. Returns the receipt: 201 if the retraction is
/// confirmed, 202 if it is not confirmed yet. The service follows it in the background; read the retraction to see it become
/// `confirmed`.
#[utoipa::path(post, path = "/api/v1/retractions", tag = "retractions", security(("token" = ["retract"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each retraction")),
    request_body = RetractRequest,
    responses((status = 201, description = "Confirmed", body = Receipt),
              (status = 202, description = "Sent, not confirmed yet", body = Receipt),
              (status = 400, description = "Invalid request", body = Problem),
              (status = 404, description = "The order is not in the index", body = Problem),
              (status = 409, description = "Nothing was sent, or the vendor refused", body = Problem),
              (status = 422, description = "The key was used for another request", body = Problem),
              (status = 429, description = "The vendor's limit is used up", body = Problem)))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let request = RetractRequest::from_json(&body)?;
    if !request.overrides.is_empty() && !caller.who.may(Right::Override) {
        return Err(Problem::forbidden());
    }
    let key = match begin(&app, &caller, &headers, &[&body])? {
        Begun::New(key) => key,
        Begun::Replay(response) => return Ok(response),
    };
    // A task of its own: if the client disconnects, the response is still stored for a repetition with the same key.
    let task = app.actions.tasks.spawn(carry_out(Arc::clone(&app), caller.who, request, key));
    task.await.unwrap_or_else(|error| Err(aborted(&error).into()))
}

/// Retracts an order and stores the response under the key of the request.
async fn carry_out(app: Arc<App>, who: Principal, request: RetractRequest, key: Idempotent) -> ApiResult {
    let receipt = match app.actions.retract(&who, request).await {
        Ok(receipt) => receipt,
        Err(error) => return Ok(key.fail(&app, error)?),
    };
    let problem = receipt.problem();
    let refusal = nothing_sent(&receipt).or(problem.clone().filter(|error| error.kind == Kind::VendorRefused));
    if let Some(error) = refusal {
        return Ok(key.fail(&app, error)?);
    }
    let status = if problem.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok(key.finish(&app, status, json_text(&receipt_for_api(receipt))?)?)
}

/// Retractions of an order
#[utoipa::path(get, path = "/api/v1/retractions", tag = "retractions", security(("token" = ["lookup"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte")),
    responses((status = 200, description = "Every retraction of the order, oldest first", body = [Entry])))]
pub(in crate::serve) async fn of_order(State(app): State<Arc<App>>, _caller: Caller, Query(query): Query) -> ApiResult {
    let order = query.order()?;
    let known = match app.actions.ledger()? {
        Some(ledger) => ledger.of_order(&order)?,
        None => Vec::new(),
    };
    let mut entries: Vec<Entry> =
        known.iter().map(|retraction| entry_for(Entry::of(retraction, &[]), Audience::Api)).collect();
    app.actions.update_entries(&mut entries)?;
    Ok(json(&entries))
}

/// One retraction with all its events
#[utoipa::path(get, path = "/api/v1/retractions/{id}", tag = "retractions", security(("token" = ["lookup"])),
    params(("id" = i64, Path, description = "Its number in the ledger")),
    responses((status = 200, description = "The retraction in the ledger", body = Entry),
              (status = 404, description = "There is no retraction of that number", body = Problem)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<i64>) -> ApiResult {
    let unknown = || {
        Error::new(Kind::NotIndexed, format!("there is no retraction {id} in this ledger"))
            .hint("GET /api/v1/retractions with `order_id` lists the retractions of an order")
    };
    let ledger = app.actions.ledger()?.ok_or_else(unknown)?;
    let retraction = ledger.get(id).map_err(|_unknown| unknown())?;
    let mut entry = entry_for(Entry::of(&retraction, &[]), Audience::Api);
    app.actions.update_entries(std::slice::from_mut(&mut entry))?;
    Ok(json(&entry))
}
