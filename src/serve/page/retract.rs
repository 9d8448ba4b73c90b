//! Retracts one order on three pages: a form for the reason, the exact plan, and the confirmation.
//!
//! The confirmation contains the fingerprint of the plan that the user saw. If the plan has changed, recoup sends
//! nothing and the page shows the new plan. If the user submits the confirmation twice, the ledger refuses the second
//! send.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::preflight::{query_of, request_of};
use super::reason::{ask_if_missing, reason_of};
use super::view::{Verdicts, in_link};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::Right;
use crate::error::{Error, Kind, Result};
use crate::retract::request::{PLAN_CHANGED, RetractRequest, parse_overrides};
use crate::serve::actions::nothing_sent;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Form, Query};
use crate::serve::looking::Spends;

#[derive(Template)]
#[template(path = "retract_begin.html")]
struct BeginPage {
    layout: Layout,
    request: RetractRequest,
    /// The result of the preflight; `None` if only the quota's reserve is left. The page of the plan may use the
    /// reserve.
    verdicts: Option<Verdicts>,
    /// `true` if the page shows the form, because the plan sends something or recoup could not read the order.
    sends: bool,
    unread: Option<ErrorPage>,
    csrf: String,
    /// Reasons for a retraction that the form offers.
    reasons: Vec<String>,
    /// Names of the checks that this user may override.
    overridable: Vec<&'static str>,
    /// `true` if only a lead may override some of the checks.
    needs_lead: bool,
}

#[derive(Template)]
#[template(path = "retract_review.html")]
struct ReviewPage {
    layout: Layout,
    request: RetractRequest,
    verdicts: Verdicts,
    query: String,
    csrf: String,
    account_sid: String,
    changed: bool,
}

/// Shows the result of the preflight, and a form for reason and ticket.
pub(in crate::serve) async fn begin(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let request = request_of(&fields)?;
    let (verdicts, unread) = match app.actions.look(&caller.who, &request, Spends::Looking).await {
        Ok(look) => (Some(Verdicts::of(look)), None),
        Err(error) if error.kind == Kind::Parked => (None, Some(ErrorPage::from(error))),
        Err(error) => return Err(error.into()),
    };
    let may_override = caller.who.may(Right::Override);
    let overridable = verdicts.as_ref().map(|verdicts| verdicts.overridable.clone()).unwrap_or_default();
    Ok(rendered(&BeginPage {
        layout: Layout::of(&app, format!("Retract order {}", request.order_id), Some(&caller)),
        needs_lead: !may_override && !overridable.is_empty(),
        overridable: if may_override { overridable } else { Vec::new() },
        sends: verdicts.as_ref().is_none_or(|verdicts| verdicts.sends),
        verdicts,
        unread,
        request,
        reasons: app.options.page.reasons.clone(),
        csrf: caller.csrf,
    }))
}

/// Shows the current plan of the retraction, and the form with which the user confirms the plan.
pub(in crate::serve) async fn review(State(app): State<Arc<App>>, form: Form) -> PageResult {
    if let Some(asking) = ask_if_missing(&app, &form, "/retract/review") {
        return Ok(asking);
    }
    let request = permitted_request(&form)?;
    show_plan(&app, &form.caller, request, false).await
}

async fn show_plan(app: &Arc<App>, caller: &Caller, mut request: RetractRequest, changed: bool) -> PageResult {
    request.plan = None;
    let look = if changed {
        app.actions.look_again(&caller.who, &request).await?
    } else {
        app.actions.look(&caller.who, &request, Spends::Retraction).await?
    };
    // A form that is submitted again finds its own retraction.
    if changed && !look.sends() && look.receipt.retractions.iter().any(|entry| entry.id.is_some()) {
        return Ok(to_receipt(&request));
    }
    let verdicts = Verdicts::of(look);
    request.plan = Some(verdicts.plan.clone());
    Ok(rendered(&ReviewPage {
        layout: Layout::of(app, format!("Retract order {}?", request.order_id), Some(caller)),
        query: query_of(&request),
        verdicts,
        csrf: caller.csrf.clone(),
        account_sid: app.actions.settings.identity.account_sid.clone(),
        request,
        changed,
    }))
}

/// Sends the retraction whose plan the user has confirmed.
pub(in crate::serve) async fn send(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let request = permitted_request(&form)?;
    if request.plan.is_none() || !form.fields.has("yes") {
        let unconfirmed = Error::new(Kind::Usage, "the retraction was not confirmed; nothing was sent");
        return Err(unconfirmed.hint("tick that you have read what will happen, then send it").into());
    }
    let receipt = match app.actions.retract(&form.caller.who, request.clone()).await {
        Ok(receipt) => receipt,
        Err(error) if error.kind == Kind::Refused && error.message == PLAN_CHANGED => {
            return show_plan(&app, &form.caller, request, true).await;
        }
        Err(error) if error.kind == Kind::NeedsApproval => return Ok(Redirect::to("/approvals").into_response()),
        Err(error) => return Err(error.into()),
    };
    if let Some(error) = nothing_sent(&receipt) {
        return Err(error.into());
    }
    Ok(to_receipt(&request))
}

fn to_receipt(request: &RetractRequest) -> Response {
    Redirect::to(&format!("/receipt?order={}", in_link(request.order_id.as_str()))).into_response()
}

/// Builds the retract request from a form. Fails if the form overrides a check that the user may not override.
fn permitted_request(form: &Form) -> Result<RetractRequest, ErrorPage> {
    let request = from_form(&form.fields)?;
    if !request.overrides.is_empty() && !form.caller.who.may(Right::Override) {
        return Err(ErrorPage::forbidden(&form.caller));
    }
    Ok(request)
}

pub(in crate::serve) fn from_form(fields: &Fields) -> Result<RetractRequest> {
    let request = request_of(fields)?;
    RetractRequest {
        disposition: fields.text("disposition").unwrap_or(request.disposition.clone()),
        reason: reason_of(fields),
        ticket: fields.text("ticket"),
        resend: fields.has("resend"),
        plan: fields.text("seen"),
        overrides: parse_overrides(fields.all("override"))?,
        ..request
    }
    .checked()
}
