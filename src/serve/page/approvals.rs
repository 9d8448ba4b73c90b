//! Approvals: requests that need a second person, with buttons to approve, decline or withdraw them.
//!
//! The service carries out an approved request of the page or the API at once, in the name of the requester; the ledger records
//! both names. Users see no button to approve their own requests, and the ledger refuses such an approval.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};

use super::view::{in_link, minute};
use super::{Layout, PageResult, rendered};
use crate::access::Right;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Form};
use crate::store::ledger::{Approval, Stage};

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    layout: Layout,
    policy: String,
    open: Vec<Line>,
    past: Vec<Line>,
    csrf: String,
}

struct Line {
    approval: Approval,
    /// Order ID and link, if it is about one order.
    order: Option<(String, String)>,
    decision: String,
    may_decide: bool,
    may_withdraw: bool,
}

const PAST_LINES: usize = 50;

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let (policy, all) = match app.actions.ledger()? {
        Some(ledger) => (ledger.policy()?, ledger.approvals(app.clock.now())?),
        None => Default::default(),
    };
    let names = app.actions.actor(&caller.who).names();
    let may_approve = caller.who.may(Right::Approve);
    let (open, past): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|approval| matches!(approval.stage, Stage::Asked | Stage::Approved));
    let line = |approval| Line::of(approval, &names, may_approve);
    Ok(rendered(&ApprovalsPage {
        layout: Layout::of(&app, "Approvals", Some(&caller)),
        policy: policy.describe(),
        open: open.into_iter().map(line).collect(),
        past: past.into_iter().take(PAST_LINES).map(line).collect(),
        csrf: caller.csrf.clone(),
    }))
}

pub(in crate::serve) async fn approve(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    let (approved, is_carried_out) = app.approve(&form.caller.who, &id, form.fields.text("reason")).await?;
    let to = match (is_carried_out, approved.subject["order_id"].as_str()) {
        (true, Some(order)) => format!("/receipt?order={}", in_link(order)),
        _ => "/approvals".to_owned(),
    };
    Ok(Redirect::to(&to).into_response())
}

pub(in crate::serve) async fn decline(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    app.decline(&form.caller.who, &id, form.fields.text("reason")).await?;
    Ok(Redirect::to("/approvals").into_response())
}

pub(in crate::serve) async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    app.withdraw(&form.caller.who, &id, form.fields.text("reason")).await?;
    Ok(Redirect::to("/approvals").into_response())
}

impl Line {
    fn of(approval: Approval, names: &[String], may_approve: bool) -> Self {
        let order = approval.subject["order_id"].as_str().filter(|order| !order.is_empty());
        let is_own = approval.is_of(names);
        let decision = match (&approval.decided_by, &approval.decided_at) {
            (Some(by), Some(at)) => {
                let words = approval.words.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
                format!("by {by}, {}{words}", minute(at))
            }
            _ => String::new(),
        };
        Self {
            order: order.map(|order| (order.to_owned(), in_link(order))),
            decision,
            may_decide: may_approve && !is_own && approval.stage == Stage::Asked,
            may_withdraw: is_own,
            approval,
        }
    }
}
