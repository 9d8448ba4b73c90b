//! `/api/v1/retractions`: retracts one order, and reads retractions.
//!
//! A retraction is sent at most once, even if a client repeats its request: the `Idempotency-Key` returns the first
//! response, and the ledger refuses a second retraction of the same action.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::idempotency::{Begun, begin};
use super::paging::{Page, words};
use super::{ApiResult, Problem, Reply, in_background, json, json_text};
use crate::access::Right;
use crate::error::{Error, Kind};
use crate::lookup;
use crate::retract::receipt::{Entry, Receipt};
use crate::retract::request::RetractRequest;
use crate::serve::actions::nothing_sent;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::{entry_for, receipt_for_api};
use crate::serve::routes::Audience;
use crate::store::ledger::{Filter, State as LedgerState};

const PATH: &str = "/api/v1/retractions";

/// Retract an order
///
/// Checks the order live, sends the retraction once, and reads its rewards once. Returns the receipt: 201 if the retraction is
/// confirmed, 202 if it is not confirmed yet. The service follows it in the background; read the retraction at `Location` to see
/// it become `confirmed`.
#[utoipa::path(post, path = "/api/v1/retractions", operation_id = "retractOrder", tag = "retractions", security(("token" = ["retract"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each retraction")),
    request_body = RetractRequest,
    responses((status = 201, description = "Confirmed", body = Receipt),
              (status = 202, description = "Sent, not confirmed yet", body = Receipt),
              (status = 404, description = "The order is not in the index"),
              (status = 409, description = "Nothing was sent, or the vendor refused")))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let request = request_of(&caller, &body)?;
    let key = match begin(&app, &caller, &headers, &uri, &body)? {
        Begun::New(key) => key,
        Begun::Replay(reply) => return Ok(located(reply)),
    };
    let this = Arc::clone(&app);
    in_background(&app, async move {
        let receipt = match this.actions.retract(&caller.who, request).await {
            Ok(receipt) => receipt,
            Err(error) => return Ok(key.fail(&this, error)?),
        };
        let problem = receipt.problem();
        let refusal = nothing_sent(&receipt).or(problem.clone().filter(|error| error.kind == Kind::VendorRefused));
        if let Some(error) = refusal {
            return Ok(key.fail(&this, error)?);
        }
        let status = if problem.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        Ok(located(key.finish(&this, status, json_text(&receipt_for_api(receipt))?)?))
    })
    .await
}

/// Reads the body of a retraction or a proposal. Fails if the caller has no right to its overrides.
pub(super) fn request_of(caller: &Caller, body: &[u8]) -> Result<RetractRequest, Problem> {
    let request = RetractRequest::from_json(body)?;
    if !request.overrides.is_empty() && !caller.who.may(Right::Override) {
        return Err(Problem::forbidden(&caller.who, Right::Override));
    }
    Ok(request)
}

/// Builds the response with a receipt. `Location` is the URL of the retraction, or of the list of the order's
/// retractions if there are several.
fn located(reply: Reply) -> Response {
    let receipt: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let mut ids = receipt["retractions"].as_array().into_iter().flatten().filter_map(|entry| entry["id"].as_i64());
    let location = match (ids.next(), ids.next()) {
        (Some(id), None) => format!("{PATH}/{id}"),
        _ => of_order_link(receipt["order_id"].as_str().unwrap_or_default()),
    };
    reply.located(&location)
}

/// Returns the URL of an order's retractions.
pub(super) fn of_order_link(order: &str) -> String {
    format!("{PATH}?order_id={}", byte_serialize(order.as_bytes()).collect::<String>())
}

/// List retractions
///
/// Oldest first, from the ledger. Without a filter it lists everything that was sent or recorded, through any channel.
#[utoipa::path(get, path = "/api/v1/retractions", operation_id = "listRetractions", tag = "retractions", security(("token" = ["lookup"])),
    params(("order_id" = Option<String>, Query, description = "The order ID, byte for byte"),
           ("state" = Option<Vec<String>>, Query, description = "A state of the ledger, such as `queued` or `confirmed`; several for any of them"),
           ("person" = Option<String>, Query, description = "The user who asked for it"),
           ("ticket" = Option<String>, Query, description = "The ticket, byte for byte"),
           ("since" = Option<String>, Query, description = "Recorded at this date or time, or later"),
           ("until" = Option<String>, Query, description = "Recorded before this date or time"),
           ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 200; 50 if it is missing"),
           ("cursor" = Option<String>, Query, description = "From the `Link` header of the page before")),
    responses((status = 200, description = "One page of retractions", body = [Entry])))]
pub(in crate::serve) async fn list(State(app): State<Arc<App>>, _caller: Caller, Query(query): Query) -> ApiResult {
    let page = Page::of(&query)?;
    let filter = Filter {
        order_id: query.get("order_id").map(lookup::order_id).transpose()?,
        ticket: query.get("ticket").map(str::to_owned),
        person: query.get("person").map(str::to_owned),
        states: words(&query, "state", LedgerState::named, LedgerState::words())?,
        since: page.since,
        until: page.until,
        after: page.after_number()?,
        newest_first: false,
        limit: page.limit + 1,
    };
    let this = Arc::clone(&app);
    let found = app.blocking(move || match this.actions.ledger()? {
        Some(ledger) => ledger.list(&filter),
        None => Ok(Vec::new()),
    });
    let mut entries: Vec<Entry> =
        found.await?.iter().map(|retraction| entry_for(Entry::of(retraction, &[]), Audience::Api)).collect();
    app.actions.update_entries(&mut entries)?;
    Ok(page.response(PATH, &query, entries, |entry| entry.id.unwrap_or_default().to_string()))
}

/// Read a retraction
///
/// With all its events, oldest first.
#[utoipa::path(get, path = "/api/v1/retractions/{id}", operation_id = "readRetraction", tag = "retractions", security(("token" = ["lookup"])),
    params(("id" = String, Path, description = "Its number in the ledger")),
    responses((status = 200, description = "The retraction in the ledger", body = Entry)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> ApiResult {
    let unknown = || {
        Error::new(Kind::NotIndexed, format!("there is no retraction {id:?} in this ledger"))
            .hint("GET /api/v1/retractions lists them")
    };
    let ledger = app.actions.ledger()?.ok_or_else(unknown)?;
    let retraction = ledger.get(id.parse().map_err(|_not_a_number| unknown())?).map_err(|_unknown| unknown())?;
    let mut entry = entry_for(Entry::of(&retraction, &[]), Audience::Api);
    app.actions.update_entries(std::slice::from_mut(&mut entry))?;
    Ok(json(&entry))
}
