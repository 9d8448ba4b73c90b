//! Plans a retraction without sending it. Sends, previews and proposals all use the plan that `propose` makes.
//!
//! A proposal is a request for a person's approval. No function of `propose` can send a reversal, because none takes
//! the settings of the client with write access. `recoup mcp`, and an API token that has only the
//! scope `propose`, can call no other part of the retraction use case.

use serde::Serialize;

use super::approval::{self, Demand, Subject};
use super::plan::{self, Plan, Step};
use super::receipt::Receipt;
use super::request::{PLAN_CHANGED, RetractRequest, RunOptions};
use super::{Context, Options, demand_of, plan_fingerprint, readiness};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::store::ledger::{Approval, Ledger};

/// The plan of a request, and the start of the receipt, which lists no action yet.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) receipt: Receipt,
    /// The fingerprint of the plan.
    pub(super) name: String,
    pub(super) demand: Demand,
    /// The error of a check that stops an action of the order. A stop of one action stops the whole order, because the
    /// person requested the whole order.
    pub(super) stop: Option<Error>,
}

/// A request for approval that an assistant or a program made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Proposal {
    /// The approval request; `null` if there is nothing to send.
    pub approval: Option<Approval>,
    /// Whether the same person has proposed the same plan before. For a repeated proposal, `approval` is the earlier
    /// request, with the reason of that request.
    pub already_proposed: bool,
    /// The receipt of the dry run, which shows what a send would do.
    pub receipt: Receipt,
}

/// Makes the plan of a request, and checks that it equals the plan that the person saw.
pub(super) async fn prepare(ctx: &Context<'_>, order_id: &OrderId, options: &Options) -> Result<Prepared> {
    readiness::check(ctx)?;
    let existing = ctx.ledger()?;
    let first = existing.map_or(Ok(true), |ledger| ledger.has_confirmed().map(|any| !any))?;
    let plan = plan::make(ctx, existing, order_id, options, None).await?;
    let name = plan_fingerprint::name(&plan, options);
    if options.expected_plan.as_ref().is_some_and(|expected| *expected != name) {
        return Err(Error::new(Kind::Refused, PLAN_CHANGED).hint("look at the new plan and confirm that one"));
    }
    let demand = demand_of(&plan);
    let approval = if demand.orders == 0 {
        None
    } else {
        demand.wants(&existing.map(Ledger::policy).transpose()?.unwrap_or_default())
    };
    let stop = plan.actions.iter().find_map(|action| action.findings.error());
    let receipt = Receipt {
        dry_run: options.dry_run,
        plan: Some(name.clone()),
        approval,
        ..Receipt::new(ctx.identity, order_id, &plan.coverage, first)
    };
    Ok(Prepared { plan, receipt, name, demand, stop })
}

impl Prepared {
    /// Returns `true` if the plan sends at least one action.
    pub(super) fn sends(&self) -> bool {
        self.plan.actions.iter().any(|action| matches!(action.step, Step::Send))
    }

    /// Returns the receipt of a run that sends nothing.
    pub(super) fn into_receipt(mut self) -> Receipt {
        for action in &self.plan.actions {
            match self.stop {
                Some(_) => self.receipt.not_sent(action, "not sent: another action of this order stops"),
                None => self.receipt.planned(action),
            }
        }
        if let Some(error) = self.stop {
            self.receipt.end_early(error);
        }
        self.receipt
    }
}

/// Reads the vendor's current data, and returns the receipt of a dry run.
pub async fn preview(ctx: &Context<'_>, request: &RetractRequest, run: &RunOptions) -> Result<Receipt> {
    let options = Options { dry_run: true, ..request.options(run) };
    options.check(false)?;
    Ok(prepare(ctx, &request.order_id, &options).await?.into_receipt())
}

/// Requests a person's approval of a retraction, even if the approval limits require none.
///
/// The approval request covers exactly the present plan. If a check stops the order, or nothing is left to send, this
/// function requests no approval. `by` says what proposes, such as `an assistant`.
pub async fn propose(ctx: &Context<'_>, by: &str, request: &RetractRequest, run: &RunOptions) -> Result<Proposal> {
    let options = Options { dry_run: true, ..request.options(run) };
    options.check(false)?;
    let prepared = prepare(ctx, &request.order_id, &options).await?;
    if let Some(error) = prepared.stop {
        return Err(error);
    }
    if !prepared.sends() {
        return Ok(Proposal { approval: None, already_proposed: false, receipt: prepared.into_receipt() });
    }
    let ledger = ctx.open_ledger()?;
    let subject = Subject {
        name: prepared.name.clone(),
        items: Vec::new(),
        json: request.subject(),
        reason: options.reason.as_deref(),
        ticket: options.ticket.as_deref(),
    };
    let (approval, already_proposed) = approval::propose(ctx, by, ledger, &prepared.demand, &subject)?;
    let mut receipt = prepared.into_receipt();
    receipt.mark(ledger);
    Ok(Proposal { approval: Some(approval), already_proposed, receipt })
}
