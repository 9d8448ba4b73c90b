//! `/api/v1/approvals`: proposes a retraction, lists the requests that need a second person's approval, and approves, declines
//! or withdraws one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;

use super::idempotency::{Begun, begin};
use super::paging::{Page, words};
use super::retractions::request_of;
use super::{ApiResult, Reply, json, json_text};
use crate::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::retract::Proposal;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::receipt_for_api;
use crate::store::ledger::{Approval, Stage};

/// Why a person decides as they do.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    /// In the person's own words, for the ledger.
    #[serde(default)]
    reason: Option<String>,
}

/// List approvals
///
/// Requests that need a second person, oldest first.
#[utoipa::path(get, path = "/api/v1/approvals", operation_id = "listApprovals", tag = "approvals", security(("token" = ["lookup"])),
    params(("stage" = Option<Vec<String>>, Query, description = "`asked`, `approved`, `declined`, `withdrawn`, `used` or `lapsed`; several for any of them"),
           ("person" = Option<String>, Query, description = "The user who asked"),
           ("since" = Option<String>, Query, description = "Asked at this date or time, or later"),
           ("until" = Option<String>, Query, description = "Asked before this date or time"),
           ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 200; 50 if it is missing"),
           ("cursor" = Option<String>, Query, description = "From the `Link` header of the page before")),
    responses((status = 200, description = "One page of approvals", body = [Approval])))]
pub(in crate::serve) async fn list(State(app): State<Arc<App>>, _caller: Caller, Query(query): Query) -> ApiResult {
    let page = Page::of(&query)?;
    let (after, person) = (page.after_number()?, query.get("person"));
    let stages = words(&query, "stage", Stage::named, Stage::words())?;
    let mut found = app.approvals()?;
    found.reverse();
    found.retain(|one| {
        one.id > after
            && (stages.is_empty() || stages.contains(&one.stage))
            && person.is_none_or(|person| one.person == person)
            && page.includes(&one.asked_at)
    });
    Ok(page.response("/api/v1/approvals", &query, found, |one| one.id.to_string()))
}

/// Propose a retraction
///
/// Checks the order live, as a preflight does, and asks another person to approve exactly this plan, even if no limit needs
/// that. Nothing is sent before a lead approves the request; then the service carries it out in the name of the user who
/// proposed it. 201: `approval` is the new request. 200: the same plan was proposed before, or nothing is left to send and
/// `approval` is `null`.
#[utoipa::path(post, path = "/api/v1/approvals", operation_id = "proposeRetraction", tag = "approvals", security(("token" = ["propose"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each proposal")),
    request_body = RetractRequest,
    responses((status = 201, description = "Proposed", body = Proposal),
              (status = 200, description = "Proposed before, or nothing is left to send", body = Proposal),
              (status = 404, description = "The order is not in the index"),
              (status = 409, description = "A check stops it, so nothing was proposed")))]
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
        Begun::Replay(reply) => return Ok(proposed(reply)),
    };
    let this = Arc::clone(&app);
    super::in_background(&app, async move {
        let proposal = match this.actions.propose(&caller.who, request).await {
            Ok(proposal) => proposal,
            Err(error) => return Ok(key.fail(&this, error)?),
        };
        let is_new = proposal.approval.is_some() && !proposal.already_proposed;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        let receipt = receipt_for_api(proposal.receipt);
        Ok(proposed(key.finish(&this, status, json_text(&Proposal { receipt, ..proposal })?)?))
    })
    .await
}

/// Builds the response to a proposal. `Location` is the request for approval, if there is one.
fn proposed(reply: Reply) -> axum::response::Response {
    let proposal: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    match proposal["approval"]["id"].as_i64() {
        Some(id) => reply.located(&format!("/api/v1/approvals/{id}")),
        None => reply.response(),
    }
}

/// Read an approval
#[utoipa::path(get, path = "/api/v1/approvals/{id}", operation_id = "readApproval", tag = "approvals", security(("token" = ["lookup"])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 200, description = "The approval", body = Approval)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> ApiResult {
    Ok(json(&app.approval(&id)?))
}

/// Approve a request
///
/// Nobody can approve their own request. The service carries an approved request of the page or the API out at once, in the name
/// of the requester: 202, and `Location` leads to the retractions of its order, or to its batch. For a request of the command
/// line the response is 200, and its user repeats the command.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/approve", operation_id = "approveRequest", tag = "approvals", security(("token" = ["approve"])),
    params(("id" = String, Path, description = "Its number"),
           ("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each decision")),
    request_body = Option<Decision>,
    responses((status = 200, description = "Approved; it was asked for at the command line", body = Approval),
              (status = 202, description = "Approved and carried out", body = Approval),
              (status = 409, description = "It is not open, it is the caller's own, or carrying it out was refused")))]
pub(in crate::serve) async fn approve(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let decision = decision_of(&body)?;
    let key = begin(&app, &caller, &headers, &uri, &body)?;
    answer(app, caller.who, id, key, decision, Answer::Approve).await
}

/// Decline a request
#[utoipa::path(post, path = "/api/v1/approvals/{id}/decline", operation_id = "declineRequest", tag = "approvals", security(("token" = ["approve"])),
    params(("id" = String, Path, description = "Its number"),
           ("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each decision")),
    request_body = Option<Decision>,
    responses((status = 200, description = "Declined; nothing was sent", body = Approval),
              (status = 409, description = "It is not open, or it is the caller's own")))]
pub(in crate::serve) async fn decline(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let decision = decision_of(&body)?;
    let key = begin(&app, &caller, &headers, &uri, &body)?;
    answer(app, caller.who, id, key, decision, Answer::Decline).await
}

/// Withdraw a request
///
/// Only the user who asked can withdraw it.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/withdraw", operation_id = "withdrawRequest", tag = "approvals", security(("token" = ["retract"])),
    params(("id" = String, Path, description = "Its number"),
           ("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each decision")),
    request_body = Option<Decision>,
    responses((status = 200, description = "Withdrawn; nothing was sent", body = Approval),
              (status = 409, description = "It is not open, or it is another user's")))]
pub(in crate::serve) async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let decision = decision_of(&body)?;
    let key = begin(&app, &caller, &headers, &uri, &body)?;
    answer(app, caller.who, id, key, decision, Answer::Withdraw).await
}

enum Answer {
    Approve,
    Decline,
    Withdraw,
}

async fn answer(
    app: Arc<App>,
    who: Principal,
    id: String,
    key: Begun,
    decision: Decision,
    answer: Answer,
) -> ApiResult {
    let key = match key {
        Begun::New(key) => key,
        Begun::Replay(reply) => return Ok(located(reply)),
    };
    let this = Arc::clone(&app);
    super::in_background(&app, async move {
        match answered(&this, &who, &id, decision.reason, answer).await {
            Ok((status, approval)) => Ok(located(key.finish(&this, status, json_text(&approval)?)?)),
            Err(error) => Ok(key.fail(&this, error)?),
        }
    })
    .await
}

/// Builds the response to a decision: 202 if the service has started to carry out an approved request, 200 otherwise.
async fn answered(
    app: &Arc<App>,
    who: &Principal,
    id: &str,
    reason: Option<String>,
    answer: Answer,
) -> Result<(StatusCode, Approval)> {
    let approval = match answer {
        Answer::Approve => {
            let (_, is_carried_out) = app.approve(who, id, reason).await?;
            let status = if is_carried_out { StatusCode::ACCEPTED } else { StatusCode::OK };
            // Reads the approval again, because carrying out the request has changed the approval's stage.
            return Ok((status, app.approval(id)?));
        }
        Answer::Decline => app.decline(who, id, reason).await?,
        Answer::Withdraw => app.withdraw(who, id, reason).await?,
    };
    Ok((StatusCode::OK, approval))
}

/// Parses the body of a decision about an approval. An empty body is a decision without a reason.
fn decision_of(body: &[u8]) -> Result<Decision> {
    if body.is_empty() {
        return Ok(Decision::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        Error::new(Kind::Usage, format!("the body is not a valid request: {error}"))
            .hint("/api/v1/openapi.json describes it")
    })
}

/// Builds the response to an approval. If the service has carried out the request, `Location` is its retractions or its
/// batch.
fn located(reply: Reply) -> axum::response::Response {
    if reply.status != StatusCode::ACCEPTED {
        return reply.response();
    }
    let approval: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let subject = &approval["subject"];
    let location = match (subject["batch"].as_str(), subject["order_id"].as_str()) {
        (Some(batch), _) => format!("/api/v1/batches/{batch}"),
        (None, order) => super::retractions::of_order_link(order.unwrap_or_default()),
    };
    reply.located(&location)
}
