//! Approvals: requests that need a second person, with buttons to approve, decline or withdraw them.
//!
//! The service carries out an approved request of the page or the API at once, in the name of the requester; the ledger records
//! both names. Users see no button to approve their own requests, and the ledger refuses such an approval.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::view::{in_link, minute};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::Right;
use crate::error::{Error, Kind, Result};
use crate::serve::actions::aborted;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Form};
use crate::store::ledger::{Approval, Ledger, Stage};

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
    let id = find(&app, &id)?.id;
    // A task of its own: an approval whose browser has disconnected is carried out too.
    let this = Arc::clone(&app);
    let task = app.actions.tasks.spawn(async move {
        let approved = decide(&this, id, &form, Stage::Approved).await?;
        let is_carried_out = this.carry_out(&approved).await?;
        Ok::<_, ErrorPage>((approved, is_carried_out))
    });
    let (approved, is_carried_out) = task.await.unwrap_or_else(|error| Err(aborted(&error).into()))?;
    let to = match (is_carried_out, approved.subject["order_id"].as_str()) {
        (true, Some(order)) => format!("/receipt?order={}", in_link(order)),
        _ => "/approvals".to_owned(),
    };
    Ok(Redirect::to(&to).into_response())
}

pub(in crate::serve) async fn decline(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    let id = find(&app, &id)?.id;
    decide(&app, id, &form, Stage::Declined).await?;
    Ok(Redirect::to("/approvals").into_response())
}

pub(in crate::serve) async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    let names = app.actions.actor(&form.caller.who).names();
    let approval = find(&app, &id)?;
    if !approval.is_of(&names) {
        let message = format!("approval {} is not your request, so you cannot withdraw it", approval.id);
        return Err(Error::new(Kind::Refused, message).into());
    }
    decide(&app, approval.id, &form, Stage::Withdrawn).await?;
    Ok(Redirect::to("/approvals").into_response())
}

fn find(app: &App, id: &str) -> Result<Approval, ErrorPage> {
    let all = match app.actions.ledger()? {
        Some(ledger) => ledger.approvals(app.clock.now())?,
        None => Vec::new(),
    };
    all.into_iter().find(|approval| approval.id.to_string() == id).ok_or_else(|| {
        ErrorPage::new(
            StatusCode::NOT_FOUND,
            "There is no such approval",
            "this ledger has no approval of that number".to_owned(),
            "/approvals lists every approval; nothing was sent".to_owned(),
        )
    })
}

async fn decide(app: &Arc<App>, id: i64, form: &Form, next: Stage) -> Result<Approval> {
    let (actor, reason, now) = (app.actions.actor(&form.caller.who), form.fields.text("reason"), app.clock.now());
    let this = Arc::clone(app);
    app.blocking(move || {
        let settings = &this.actions.settings;
        Ledger::open(&settings.ledger, &settings.identity, &actor)?.decide(id, next, reason.as_deref(), now)
    })
    .await
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
