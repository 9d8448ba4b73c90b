//! `/api/v1/batches`: plan a file of refunds, carry the plan out, download the outcomes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::idempotency::{Begun, begin};
use super::{ApiResult, Problem, json, json_text};
use crate::error::{Error, Kind, Result};
use crate::refunds::read::Parsed;
use crate::serve::app::App;
use crate::serve::batch::{Batch, Part, Terms};
use crate::serve::extractors::{Caller, Fields, Query};
use crate::serve::file_options::{FIELDS, FileOptions};
use crate::serve::flag_names::{batch_for_api, with_file_fields};
use crate::serve::page::batch::download;
use crate::serve::routes::Audience;

/// Plan a batch
///
/// The body is a shop's export as CSV, TSV or JSON, at most 10 MB. Only orders that the file proves to be refunded in full are
/// planned for sending. Every order is checked live, and nothing is sent. Read the batch until it is `planned`, then apply it. If
/// a file has an unknown format and unclear columns, the response is a 400 that lists them in `doubts`; send the file again with
/// parameters that explain them.
#[utoipa::path(post, path = "/api/v1/batches", tag = "batches", security(("token" = ["batch"])),
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
              (status = 400, description = "The file cannot be read, or columns must be explained", body = Problem)))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
    Query(fields): Query,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    check_names(&fields)?;
    let (terms, options) = (Terms::of(&fields)?, FileOptions::of(&fields)?);
    // The key covers the query, because the query decides how the file is read.
    let key = match begin(&app, &caller, &headers, &[&body, query.unwrap_or_default().as_bytes()])? {
        Begun::New(key) => key,
        Begun::Replay(response) => return Ok(response),
    };
    // These problems quote cells of the file, so the service does not store them under the key.
    let refunds = match app.read_upload(&body, &options) {
        Ok(Parsed::Complete(refunds)) => *refunds,
        Ok(Parsed::NeedsMapping(doubtful)) => return Ok(key.release(&app, Problem::doubtful(*doubtful))?),
        Err(error) => return Ok(key.release(&app, Problem::of_file(error))?),
    };
    match app.plan_batch(&caller.who, refunds, options, terms) {
        Ok(batch) => Ok(key.finish(&app, StatusCode::ACCEPTED, json_text(&batch_for_api(batch))?)?),
        Err(error) => Ok(key.fail(&app, error)?),
    }
}

/// One batch
#[utoipa::path(get, path = "/api/v1/batches/{id}", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 200, description = "Its present stage", body = Batch), (status = 404, description = "There is no batch with that ID", body = Problem)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> ApiResult {
    let mut batch = app.batch(&id)?;
    batch.message = batch.message.map(|message| with_file_fields(&message, Audience::Api));
    Ok(json(&batch_for_api(batch)))
}

/// Apply a batch
///
/// Each row is checked live again, and only what the plan says is sent. Repeating it does only what is left.
#[utoipa::path(post, path = "/api/v1/batches/{id}/apply", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 202, description = "Applying has started", body = Batch),
              (status = 409, description = "There is no plan yet, or the batch is being worked on", body = Problem)))]
pub(in crate::serve) async fn apply(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> ApiResult {
    let batch = app.apply_batch(&caller.who, &id)?;
    let mut response = json(&batch_for_api(batch));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// The outcomes of a batch
#[utoipa::path(get, path = "/api/v1/batches/{id}/outcomes", tag = "batches", security(("token" = ["batch"])),
    params(("id" = String, Path, description = "The ID of the batch")),
    responses((status = 200, description = "One row for each row of the file", content_type = "text/csv"),
              (status = 404, description = "There are no outcomes yet", body = Problem)))]
pub(in crate::serve) async fn outcomes(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(id): Path<String>,
) -> ApiResult {
    Ok(download(&id, app.batches.read(&id, Part::Outcomes)?))
}

/// Fails on an unknown parameter: a misspelt one would change how the file is read, or what is sent.
fn check_names(fields: &Fields) -> Result<()> {
    let known = || ["reason", "ticket", "disposition", "override"].into_iter().chain(FIELDS.map(|(name, _)| name));
    match fields.names().find(|name| !known().any(|known| known == *name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(Kind::Usage, format!("there is no parameter {name:?}"))
            .hint(format!("the parameters are {}", known().collect::<Vec<_>>().join(", ")))),
    }
}
