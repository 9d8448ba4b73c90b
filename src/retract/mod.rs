//! Use case: from order to proof.
//!
//! `options` says what was asked for, `resolve` which actions an order means, `preflight` reads their rewards live, `plan` puts
//! both together, `resend` says whether it may be sent again; `dispatch` is the only place that changes anything at the vendor,
//! and `send` says what; `follow` reads until it is proven; `judge` alone decides what counts as proof; `receipt` says what
//! happened. `adjust` changes an action instead of taking it back, and `file` hands reversals over by the vendor's file.
//! Nothing is sent twice, nothing is sent without a person's yes, and nothing is called done on the vendor's word alone.

use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::report;
use crate::store::ledger::{Ledger, Retraction};

pub mod accept;
pub mod adjust;
pub mod advice;
pub mod approval;
pub mod batch;
pub mod cancel;
mod context;
mod dispatch;
mod doubt;
pub mod file;
mod follow;
pub mod guard;
pub mod judge;
mod live;
pub mod mistake;
mod options;
pub mod overrides;
pub mod plan;
mod preflight;
#[cfg(test)]
mod proof_tests;
pub mod receipt;
mod reconcile;
pub mod referral;
mod resend;
mod resolve;
pub mod rule;
mod schedule;
mod seen;
mod send;
pub mod sendable;
pub mod verdict;
pub mod verify;
mod windows;

use approval::{Demand, Subject};
pub use context::{Context, Session};
use dispatch::{Dispatched, Sent};
pub use doubt::Lists;
pub use live::snapshot;
use options::check_can_ask;
pub use options::{Follows, Options, PACE, REREAD_FOR, RefundClaim, Submissions, WriterSettings};
use overrides::Override;
use plan::{ActionPlan, Plan, Step};
use receipt::Receipt;
pub use reconcile::Doubts;
pub use resend::Earlier;
use send::Sender;
use verdict::Finding;

/// How far this clock and the vendor's may be apart before nothing that depends on time is concluded or sent, in seconds.
pub const CLOCKS_APART: i64 = 300;

/// Takes one order from its ID to proof.
///
/// An error means that nothing was sent; once something was, it is in the receipt, with what ended it early.
pub async fn run(ctx: &Context<'_>, writer: &WriterSettings, order_id: &OrderId, options: &Options) -> Result<Receipt> {
    sendable::check(ctx)?;
    let existing = ctx.ledger()?;
    let first = existing.map_or(Ok(true), |ledger| ledger.has_confirmed().map(|any| !any))?;
    let plan = plan::make(ctx, existing, order_id, options, None).await?;
    let mut receipt = Receipt::new(ctx.identity, order_id, &plan.coverage, first);
    receipt.dry_run = options.dry_run;
    let name = seen::name(&plan, options);
    if options.seen.as_ref().is_some_and(|seen| *seen != name) {
        return Err(Error::new(Kind::Refused, "things have changed since this was shown; nothing was sent")
            .hint("look at it again as it is now"));
    }
    receipt.plan = Some(name.clone());
    let demand = demand_of(&plan);
    receipt.approval = if demand.orders == 0 { None } else { approval::outlook(existing, &demand)? };
    // Of several actions none goes where one stops: a person has asked for all of them.
    let stop = plan.actions.iter().find_map(|action| action.findings.error());
    let to_send = plan.actions.iter().any(|action| matches!(action.step, Step::Send));
    let ask = to_send && !options.yes && !options.dry_run && stop.is_none();
    // The receipt of a dry run says the same.
    if to_send && !options.dry_run && stop.is_none() {
        for line in receipt::plan_lines(&plan, ctx.identity, options, first) {
            // Nobody is asked about what they cannot see.
            if ask { ctx.report.say(line) } else { ctx.report.note(line) }
        }
    }
    // Looking at an order must not create a ledger.
    let idle = plan.actions.iter().all(|action| matches!(action.step, Step::AlreadyCancelled));
    if options.dry_run || stop.is_some() || idle {
        for action in &plan.actions {
            match stop {
                Some(_) => receipt.not_sent(action, "not sent: another action of this order stops"),
                None => receipt.planned(action),
            }
        }
        if let Some(error) = stop {
            receipt.end_early(error);
        }
        return Ok(receipt);
    }
    if ask {
        let again = plan.actions.iter().any(|action| action.again.is_some());
        confirm(ctx, if again { "Send this AGAIN" } else { "Retract this" }).await?;
    }
    let ledger = ctx.open_ledger()?;
    let mut granted = None;
    if to_send {
        let subject = Subject {
            name,
            items: Vec::new(),
            json: options.wish(order_id),
            reason: options.reason.as_deref(),
            ticket: options.ticket.as_deref(),
        };
        granted = approval::before_sending(ctx, ledger, &demand, &subject)?;
    }
    let options = &Options { granted, ..options.clone() };
    let mut stopped = false;
    for action in &plan.actions {
        if stopped {
            receipt.not_sent(action, "not tried, because of what ended the one before");
            continue;
        }
        if ctx.stop.is_cancelled() {
            receipt.not_sent(action, "not tried: interrupted");
            receipt.end_early(Error::new(Kind::Interrupted, "interrupted before every action was done"));
        } else {
            carry_out(ctx, writer, ledger, &plan, action, options, &mut receipt).await;
        }
        // Credentials, quota and signals concern every further action as well.
        stopped = receipt.error.as_ref().is_some_and(|error| matches!(error.kind.exit_code(), 3 | 8 | 130));
    }
    receipt.mark(ledger);
    Ok(receipt)
}

/// What the actions of one order that would be sent come to.
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

/// Asks the person; *no*, a signal and a closed terminal all mean that nothing is sent.
pub async fn confirm(ctx: &Context<'_>, what: &str) -> Result<()> {
    let question = format!(
        "{what} for tenant {} (Account SID {})? It cannot be undone.",
        ctx.identity.tenant, ctx.identity.account_sid
    );
    ask(ctx, question).await
}

/// Asks any question; *no*, a signal and a closed terminal all mean that nothing is done.
async fn ask(ctx: &Context<'_>, question: impl Into<String>) -> Result<()> {
    report::confirm(question.into(), ctx.stop, "nothing was sent").await
}

/// Carries out the plan for one action. Whatever happens, the receipt has what was sent.
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
            // The writing client is built only now, after the person's yes.
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

/// Follows what this process, or another one before it, has sent, and adds it to the receipt.
async fn follow_dispatched(
    ctx: &Context<'_>,
    follows: &Follows,
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

/// Follows a retraction, and adds it to the receipt as it is afterwards.
async fn follow_to_the_end(
    ctx: &Context<'_>,
    follows: &Follows,
    ledger: &Ledger,
    retraction: Retraction,
    sent_now: bool,
    findings: &[Finding],
    receipt: &mut Receipt,
) {
    let kept = retraction.clone();
    let (followed, error) = match follow::follow(ctx, follows, ledger, retraction).await {
        Ok(followed) => (followed, None),
        // What was sent stays in the receipt, also if it can no longer be read.
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
