//! Use case: reverses an order's actions and proves that the vendor took their rewards back.
//!
//! `request` has the request of a retraction, and `options` has the checked form of the request. `plan` chooses the
//! actions of the order, `preflight` checks the current rewards of those actions, and `resend` decides whether recoup
//! may send an action again. `dispatch` is the only module that changes anything at the vendor, and `send` builds the
//! request. `follow` reads a retraction until its effect is proven, `proof` alone decides what counts as proof, and
//! `receipt` reports. `propose` plans a retraction without sending it, and requests a person's approval. `adjust`
//! changes an action instead of reversing it, and `file` writes reversals in the vendor's file format. recoup sends no
//! request twice, and sends no request without a person's confirmation. recoup never relies on the vendor's
//! acknowledgement alone.

use crate::error::{Error, Kind, Result};
use crate::report;
use crate::store::ledger::{Ledger, Retraction};

pub mod accept_restored;
pub mod adjust;
pub mod approval;
pub mod batch;
pub mod cancel;
pub mod checklist;
pub mod checks;
mod context;
mod deadlines;
mod dispatch;
pub mod file;
mod follow;
mod match_submissions;
mod options;
pub mod plan;
mod plan_fingerprint;
mod poll_schedule;
mod preflight;
pub mod proof;
#[cfg(test)]
mod proof_tests;
mod propose;
pub mod readiness;
pub mod receipt;
pub mod record_mistake;
pub mod referral;
pub mod request;
mod resend;
mod reward_fetch;
pub mod rule;
mod send;
pub mod several;
mod unknown_resolver;
pub mod verify;

use approval::{Demand, Subject};
use checks::{Finding, Override};
pub use context::{Context, Session};
use dispatch::{Dispatched, Sent};
pub use match_submissions::ResolverSettings;
use options::check_can_ask;
pub use options::{FollowSettings, Options, PACE, REREAD_FOR, RefundClaim, SubmissionPolling, WriterSettings};
use plan::{ActionPlan, Plan, Step};
use propose::Prepared;
pub use propose::{Proposal, preview, propose};
use receipt::Receipt;
use request::{RetractRequest, RunOptions};
pub use resend::PreviousAttempt;
pub use reward_fetch::snapshot;
use send::Sender;
pub use unknown_resolver::SubmissionLists;

/// Largest tolerated difference between this machine's clock and the vendor's, in seconds. If this machine's clock and
/// the vendor's differ more than that, recoup sends nothing and concludes nothing that depends on time.
pub const MAX_CLOCK_DIFFERENCE: i64 = 300;

/// Reverses one order and follows the reversal until it is proven.
///
/// An error means that recoup sent nothing for the order. After a send, the receipt has the sent request and any error
/// that ended the run early.
pub async fn run(
    ctx: &Context<'_>,
    writer: &WriterSettings,
    request: &RetractRequest,
    run: &RunOptions,
) -> Result<Receipt> {
    let (order_id, options) = (&request.order_id, &request.options(run));
    let prepared = propose::prepare(ctx, order_id, options).await?;
    // A run that sends nothing ends here, because it must not create a ledger.
    let idle = prepared.plan.actions.iter().all(|action| matches!(action.step, Step::AlreadyCancelled));
    if options.dry_run || prepared.stop.is_some() || idle {
        return Ok(prepared.into_receipt());
    }
    let to_send = prepared.sends();
    let Prepared { plan, mut receipt, name, demand, .. } = prepared;
    if to_send {
        let again = plan.actions.iter().any(|action| action.again.is_some());
        let lines = receipt::plan_lines(&plan, ctx.identity, options, receipt.first);
        show_and_confirm(ctx, lines, options.yes, if again { "Send this AGAIN" } else { "Retract this" }).await?;
    }
    let ledger = ctx.open_ledger()?;
    let mut granted = None;
    if to_send {
        let subject = Subject {
            name,
            items: Vec::new(),
            json: request.subject(),
            reason: options.reason.as_deref(),
            ticket: options.ticket.as_deref(),
        };
        granted = approval::before_sending(ctx, ledger, &demand, &subject)?;
    }
    let options = &Options { granted, ..options.clone() };
    let mut stopped = false;
    for action in &plan.actions {
        if stopped {
            receipt.not_sent(action, "not tried, because the action before it ended with an error");
            continue;
        }
        if ctx.stop.is_cancelled() {
            receipt.not_sent(action, "not tried: interrupted");
            receipt.end_early(Error::new(Kind::Interrupted, "interrupted before every action was done"));
        } else {
            carry_out(ctx, writer, ledger, &plan, action, options, &mut receipt).await;
        }
        stopped = receipt.error.as_ref().is_some_and(affects_every_order);
    }
    receipt.mark(ledger);
    Ok(receipt)
}

/// Returns `true` if an error affects every further order: refused credentials, a used-up quota or a signal.
pub fn affects_every_order(error: &Error) -> bool {
    matches!(error.kind.exit_code(), 3 | 8 | 130)
}

/// Summarizes the actions that a plan would send, because the approval policy depends on them.
fn demand_of(plan: &Plan) -> Demand {
    let sends = || plan.actions.iter().filter(|action| action.step == Step::Send);
    let mut overrides: Vec<_> = sends().flat_map(|action| action.findings.overridden()).collect();
    let allowed = sends().filter_map(|action| action.again.as_ref()?.allowed_by.as_deref());
    overrides.extend(allowed.filter_map(Override::named));
    Demand {
        orders: u64::from(sends().next().is_some()),
        again: sends().any(|action| action.again.is_some()),
        overrides,
        ..Demand::of_rewards(sends().flat_map(|action| &action.rewards))
    }
}

/// Shows the plan, and asks the person for confirmation if `yes` is not set. recoup prints the plan even under
/// `--quiet` if it asks for confirmation.
async fn show_and_confirm(ctx: &Context<'_>, lines: Vec<String>, yes: bool, what: &str) -> Result<()> {
    for line in lines {
        if yes { ctx.report.note(line) } else { ctx.report.say(line) }
    }
    if yes { Ok(()) } else { confirm(ctx, what).await }
}

/// Asks the person for confirmation. An error means that the person declined, or that a signal or a closed terminal
/// ended the question.
pub async fn confirm(ctx: &Context<'_>, what: &str) -> Result<()> {
    let question = format!(
        "{what} for tenant {} (Account SID {})? It cannot be undone.",
        ctx.identity.tenant, ctx.identity.account_sid
    );
    report::confirm(question, ctx.stop, "nothing was sent").await
}

/// Carries out one action of the plan. The receipt has every sent request, even after an error.
async fn carry_out(
    ctx: &Context<'_>,
    writer: &WriterSettings,
    ledger: &Ledger,
    plan: &Plan,
    action: &ActionPlan,
    options: &Options,
    receipt: &mut Receipt,
) {
    let findings = action.findings.list();
    match &action.step {
        Step::AlreadyCancelled | Step::Stop => receipt.planned(action),
        Step::Follow(retraction) => {
            let retraction = (**retraction).clone();
            follow_to_the_end(ctx, &options.follows, ledger, retraction, false, findings, receipt).await;
        }
        Step::Send => {
            // recoup builds the client with write access only after the person confirms.
            let sent = match Sender::new(ctx, writer) {
                Ok(sender) => sender.send(ctx, ledger, plan, action, options).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(dispatched) => {
                    follow_dispatched(ctx, &options.follows, ledger, dispatched, findings, receipt).await;
                }
                Err(error) => {
                    receipt.not_sent(action, &error.message);
                    receipt.end_early(error);
                }
            }
        }
    }
}

/// Follows a request that this process or another process has sent, and adds it to the receipt.
async fn follow_dispatched(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    dispatched: Dispatched,
    findings: &[Finding],
    receipt: &mut Receipt,
) {
    let Dispatched { retraction, sent, error } = dispatched;
    let sent_now = sent == Sent::Now;
    if let Some(error) = error {
        receipt.add(&retraction, findings, sent_now);
        return receipt.end_early(error);
    }
    if sent == Sent::Before {
        ctx.report.note("another process has sent this already; following it");
    }
    follow_to_the_end(ctx, follows, ledger, retraction, sent_now, findings, receipt).await;
}

/// Follows a retraction until it ends, and then adds it to the receipt.
async fn follow_to_the_end(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: Retraction,
    sent_now: bool,
    findings: &[Finding],
    receipt: &mut Receipt,
) {
    let kept = retraction.clone();
    let (followed, error) = match follow::follow(ctx, follows, ledger, retraction).await {
        Ok(followed) => (followed, None),
        // The receipt keeps a sent request, even if recoup can no longer read the ledger.
        Err(error) => (ledger.get(kept.id).unwrap_or(kept), Some(error)),
    };
    receipt.add(&followed, findings, sent_now);
    if ctx.stop.is_cancelled() && followed.state.is_open() {
        let interrupted = Error::new(Kind::Interrupted, "interrupted; what was sent is in the ledger");
        receipt.end_early(interrupted.hint("run `recoup verify` to carry it on"));
    } else if let Some(error) = error {
        receipt.end_early(error);
    }
}
