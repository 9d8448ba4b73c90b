//! The page of requests for approval. The page of one request shows its plan, and a form to approve or decline the
//! request.
//!
//! The service carries out an approved request of the page or the API at once, in the name of the requester. The ledger
//! records both the requester and the approver. Users see no button to approve their own requests, and the ledger
//! refuses such an approval.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use serde_json::Value;

use super::lookup::masks_of;
use super::plan::{Part, PlanTable};
use super::view::{Reward, Verdicts, count, in_link, minute};
use super::{ErrorPage, Layout, PageResult, rendered, words};
use crate::access::Right;
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Form};
use crate::serve::looking::Spends;
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

#[derive(Template)]
#[template(path = "approval.html")]
struct ApprovalPage {
    layout: Layout,
    line: Line,
    is_open: bool,
    /// The fields of the request except the reason: label and value.
    facts: Vec<(&'static str, String)>,
    /// The current plan of a retraction.
    verdicts: Option<Verdicts>,
    /// `true` if the current plan differs from the plan in the request.
    changed: bool,
    /// Why the service could not read the current plan.
    error: Option<ErrorPage>,
    /// The last known rewards, shown if there is no current plan.
    rewards: Vec<Reward>,
    /// The changes of an adjustment, one on each line.
    change: Vec<String>,
    /// The plan of a batch, if the request is about a batch.
    plan: Option<PlanTable>,
    /// `true` if the page shows the rewards that the retraction takes back.
    shows_rewards: bool,
    csrf: String,
}

struct Line {
    approval: Approval,
    /// Order ID and link; `None` if the request is about a batch.
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

/// Shows one request for approval with its plan. Reads the plan of an open retraction live, without the quota's
/// reserve.
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> PageResult {
    let approval = app.approval(&id)?;
    let request = RetractRequest::approved(&approval);
    let names = app.actions.actor(&caller.who).names();
    let mut page = ApprovalPage {
        layout: Layout::of(&app, format!("Approval {}", approval.id), Some(&caller)),
        is_open: matches!(approval.stage, Stage::Asked | Stage::Approved),
        facts: facts_of(&approval, request.as_ref()),
        verdicts: None,
        changed: false,
        error: None,
        rewards: Vec::new(),
        change: Vec::new(),
        plan: None,
        shows_rewards: true,
        csrf: caller.csrf.clone(),
        line: Line::of(approval, &names, caller.who.may(Right::Approve)),
    };
    if page.is_open {
        page.read_plan(&app, &caller, request).await?;
    }
    Ok(rendered(&page))
}

impl ApprovalPage {
    async fn read_plan(
        &mut self,
        app: &Arc<App>,
        caller: &Caller,
        request: Option<RetractRequest>,
    ) -> Result<(), ErrorPage> {
        let approval = &self.line.approval;
        if let Some(request) = request.filter(|_| caller.who.may(Right::Preflight)) {
            match app.actions.look(&caller.who, &request, Spends::Looking).await {
                Ok(mut look) => {
                    // The page of the request already shows why the request needs an approval.
                    look.receipt.approval = None;
                    self.changed = look.receipt.plan.as_ref() != Some(&approval.name);
                    self.verdicts = Some(Verdicts::of(look));
                    return Ok(());
                }
                Err(error) => self.error = Some(error.into()),
            }
        }
        let lines = approval.subject["change"].as_array().into_iter().flatten();
        self.change = lines.filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(batch) = approval.subject["batch"].as_str() {
            let part = Part { path: &format!("/batch/{batch}"), code: "", page: 1 };
            match app.plan_of_batch(batch) {
                Ok(plan) => self.plan = plan.as_ref().map(|plan| PlanTable::of(app, plan, None, &part)).transpose()?,
                Err(error) => self.error = Some(error.into()),
            }
        } else if let Some(order) = approval.subject["order_id"].as_str().filter(|order| !order.is_empty()) {
            let answers = app.look_up(&OrderId::new(order))?;
            let masks = masks_of(&answers);
            let only = approval.subject["reward_id"].as_str();
            let found = answers.iter().flat_map(|answer| &answer.matches);
            let found = found.filter(|found| only.is_none_or(|only| only == found.reward_id.as_str()));
            self.rewards = found.map(|found| Reward::of(found, Some(&masks))).collect();
        }
        self.shows_rewards = self.plan.is_some() || !self.rewards.is_empty();
        Ok(())
    }
}

fn facts_of(approval: &Approval, request: Option<&RetractRequest>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(request) = request {
        let action = request.action_id.as_ref().map(ToString::to_string);
        facts.push(("Action", action.unwrap_or_else(|| "every action of the order".to_owned())));
        facts.push(("Sent to the vendor", format!("Amount=0, disposition code {}", request.disposition)));
        facts.extend(request.overrides.iter().map(|name| ("Overridden", name.as_str().to_owned())));
    }
    if let Some(orders) = approval.subject["orders"].as_u64() {
        facts.push(("Orders", count(orders)));
    }
    let value = approval.subject["value"].as_object().into_iter().flatten();
    facts.extend(value.map(|(unit, worth)| ("Rewards worth", words::with_units(&format!("{worth} {unit}")))));
    facts
}

pub(in crate::serve) async fn approve(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    if !form.fields.has("yes") {
        let unconfirmed = Error::new(Kind::Usage, "the approval was not confirmed; nothing was sent");
        return Err(unconfirmed
            .hint("look at the plan of the request, tick that you have read it, then approve")
            .into());
    }
    let (approved, is_carried_out) = match app.approve(&form.caller.who, &id, form.fields.text("reason")).await {
        Ok(done) => done,
        // A form that is submitted again finds the approval in use.
        Err(error) if error.kind == Kind::Refused => match app.approval(&id)? {
            used if used.stage == Stage::Used => (used, true),
            _ => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
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
                let reason = approval.words.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
                format!("by {by}, {}{reason}", minute(at))
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
