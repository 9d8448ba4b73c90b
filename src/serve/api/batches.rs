//! `/api/v1/batches`: plans a file of refunds, applies the plan, and returns the outcomes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use super::idempotency::{Begun, begin};
use super::paging::{Page, words};
use super::{ApiResult, Problem, Reply, json, json_text};
use crate::error::{Kind, Result};
use crate::refunds::read::Parsed;
use crate::serve::app::App;
use crate::serve::batch::{Batch, Stage, Terms};
use crate::serve::extractors::{Caller, Query};
use crate::serve::file_options::FileOptions;
use crate::serve::flag_names::{batch_for_api, with_file_fields};
use crate::serve::page::batch::download;
use crate::serve::routes::Audience;

const PATH: &str = "/api/v1/batches";

/// Plan a batch
///
/// The body is a shop's export as CSV, TSV or JSON, at most 10 MB. Only orders that the file proves to be refunded in full are
/// planned for sending. Every order is checked live, and nothing is sent. Read the batch until it is `planned`, then apply it. If
/// a file has an unknown format and unclear columns, the response is a 400 that lists them in `doubts`; send the file again with
/// parameters that explain them.
#[utoipa::path(post, path = "/api/v1/batches", operation_id = "planBatch", tag = "batches", security(("token" = ["batch"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each file"),
           ("reason" = String, Query, description = "The reason, for rows without one"),
           ("ticket" = Option<String>, Query, description = "The ticket, for rows without one"),
           ("disposition" = Option<String>, Query, description = "The disposition code; `RETRACTION` if it is missing"),
           ("override" = Option<Vec<String>>, Query, description = "Checks to override, by name"),
           ("format" = Option<String>, Query, description = "The format of the file; recognised by its header if it is missing"),
           ("order_column" = Option<String>, Query, description = "The column with the order IDs; NAME#2 is the second column of that name"),
           ("amount_column" = Option<String>, Query, description = "The column with the amounts"),
           ("amount_means" = Option<String>, Query, description = "`refunded`, or `new-amount`: the cost of the order after the refund, 0 for a refund in full"),
           ("total_column" = Option<String>, Query, description = "The column with the total of the order"),
           ("status_column" = Option<String>, Query, description = "The column with the status of the order"),
           ("refunded_when" = Option<Vec<String>>, Query, description = "A status that means refunded in full; every other status means not refunded"),
           ("date_column" = Option<String>, Query, description = "The column with the dates of the refunds"),
           ("ignore_column" = Option<Vec<String>>, Query, description = "A column that is not about the refund"),
           ("order_prefix" = Option<String>, Query, description = "A prefix of the vendor's order IDs that the file's order IDs lack, such as `#`"),
           ("strip_order_prefix" = Option<String>, Query, description = "A prefix of the file's order IDs that the vendor's order IDs lack")),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "Planning has started", body = Batch),
              (status = 400, description = "The file cannot be read, or columns must be explained")))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(fields): Query,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let (terms, options) = (Terms::of(&fields)?, FileOptions::of(&fields)?);
    let key = match begin(&app, &caller, &headers, &uri, &body)? {
        Begun::New(key) => key,
        Begun::Replay(reply) => return Ok(located(reply)),
    };
    // Errors about the refund file quote its cells, so the service does not store these responses under the idempotency
    // key.
    let refunds = match app.read_upload(&body, &options) {
        Ok(Parsed::Complete(refunds)) => *refunds,
        Ok(Parsed::NeedsMapping(doubtful)) => return Ok(key.release(&app, Problem::doubtful(*doubtful))?),
        Err(error) => return Ok(key.release(&app, Problem::of_file(error))?),
    };
    match app.plan_batch(&caller.who, refunds, options, terms) {
        Ok(batch) => Ok(located(key.finish(&app, StatusCode::ACCEPTED, json_text(&batch_for_api(batch))?)?)),
        Err(error) => Ok(key.fail(&app, error)?),
    }
}

/// Builds the response that contains a batch and its `Location`.
fn located(reply: Reply) -> Response {
    let batch: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let location = format!("{PATH}/{}", batch["id"].as_str().unwrap_or_default());
    reply.located(&location)
}

/// List batches
///
/// Oldest first. The service keeps a batch for 90 days.
#[utoipa::path(get, path = "/api/v1/batches", operation_id = "listBatches", tag = "batches", security(("token" = ["batch"])),
    params(("stage" = Option<Vec<String>>, Query, description = "`explaining`, `planning`, `planned`, `applying`, `waiting`, `done`, `failed` or `unreadable`; several for any of them"),
           ("person" = Option<String>, Query, description = "The user who uploaded the file"),
           ("since" = Option<String>, Query, description = "Uploaded at this date or time, or later"),
           ("until" = Option<String>, Query, description = "Uploaded before this date or time"),
           ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 200; 50 if it is missing"),
           ("cursor" = Option<String>, Query, description = "From the `Link` header of the page before")),
    responses((status = 200, description = "One page of batches", body = [Batch])))]
pub(in crate::serve) async fn list(State(app): State<Arc<App>>, _caller: Caller, Query(query): Query) -> ApiResult {
    let page = Page::of(&query)?;
    let stages = words(&query, "stage", Stage::named, Stage::words())?;
    let person = query.get("person").map(str::to_owned);
    let key = |batch: &Batch| format!("{} {}", batch.created_at, batch.id);
    let this = Arc::clone(&app);
    let found = app.blocking(move || {
        let mut found = Vec::new();
        for stored in this.batches.list()?.into_iter().rev() {
            let is_listed = person.as_ref().is_none_or(|person| stored.person == *person)
                && page.after.as_ref().is_none_or(|after| key(&stored) > *after)
                && page.includes(&stored.created_at);
            if is_listed {
                let Some(batch) = this.present_batch(stored).map(for_api) else { continue };
                if stages.is_empty() || stages.contains(&batch.stage) {
                    found.push(batch);
                }
            }
            if found.len() > page.limit {
                break;
            }
        }
        Ok((page, found))
    });
    let (page, found) = found.await?;
    Ok(page.response(PATH, &query, found, key))
}

/// Read a batch
#[utoipa::path(get, path = "/api/v1/batches/{id}", operation_id = "readBatch", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 200, description = "Its present stage", body = Batch), (status = 404, description = "There is no batch with that ID")))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> ApiResult {
    let this = Arc::clone(&app);
    let batch = app.blocking(move || current(&this, &id));
    Ok(json(&batch.await?))
}

/// Returns a batch in its current stage, with texts that name the API's fields.
fn current(app: &Arc<App>, id: &str) -> Result<Batch> {
    app.batch_with_open(id).map(for_api)
}

/// Replaces the flags in a batch's texts by the API's fields.
fn for_api(mut batch: Batch) -> Batch {
    batch.message = batch.message.map(|message| with_file_fields(&message, Audience::Api));
    batch_for_api(batch)
}

/// Apply a batch
///
/// Each row is checked live again, and only what the plan says is sent. Repeating it does only what is left.
#[utoipa::path(post, path = "/api/v1/batches/{id}/apply", operation_id = "applyBatch", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 202, description = "Applying has started", body = Batch),
              (status = 409, description = "There is no plan yet, or the batch is being worked on")))]
pub(in crate::serve) async fn apply(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> ApiResult {
    let body = json_text(&batch_for_api(app.apply_batch(&caller.who, &id)?))?;
    Ok(located(Reply { status: StatusCode::ACCEPTED, body, is_replay: false }))
}

/// Download the outcomes of a batch
///
/// In the present states of the ledger. While the batch is being applied, a row that was not sent yet is `not_attempted`.
#[utoipa::path(get, path = "/api/v1/batches/{id}/outcomes", operation_id = "readOutcomes", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 200, description = "One row for each row of the file", content_type = "text/csv"),
              (status = 404, description = "There are no outcomes yet")))]
pub(in crate::serve) async fn outcomes(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(id): Path<String>,
) -> ApiResult {
    let this = Arc::clone(&app);
    let of = id.clone();
    let file = app.blocking(move || this.outcome_file(&of)).await.map_err(|error| match error.kind {
        Kind::NotIndexed => error.hint("apply it, and read it until it is `done`"),
        _ => error,
    });
    Ok(download(&id, file?))
}
