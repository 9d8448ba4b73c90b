//! Use case: from order to proof.
//!
//! `options` says what was asked for, `resolve` which actions an order means, `preflight` reads their rewards live, `plan` puts
//! both together, `resend` says whether it may be sent again; `dispatch` is the only place that changes anything at the vendor,
//! and `send` says what; `follow` reads until it is proven; `judge` alone decides what counts as proof; `receipt` says what
//! happened. `adjust` changes an action instead of taking it back, and `file` hands reversals over by the vendor's file.
//! Nothing is sent twice, nothing is sent without a person's yes, and nothing is called done on the vendor's word alone.

use std::cell::RefCell;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::model::{Actor, OrderId};
use crate::report::{self, Report};
use crate::store::Identity;
use crate::store::index::Index;
use crate::store::ledger::{Ledger, Retraction};
use crate::vendor::{Advocate, Brand, Program};

pub mod accept;
pub mod adjust;
pub mod advice;
pub mod approval;
pub mod batch;
pub mod cancel;
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
use dispatch::Sent;
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

/// What reading needs.
pub struct Reads<'a> {
    /// Path of the index.
    pub index: &'a Path,
    /// Path of the ledger.
    pub ledger: &'a Path,
    /// Whom both belong to.
    pub identity: &'a Identity,
    /// Who acts, for the ledger.
    pub actor: &'a Actor,
    /// Rewards.
    pub advocate: &'a Advocate,
    /// Submissions.
    pub brand: &'a Brand,
    /// Where links are.
    pub mapping: &'a Mapping,
    /// The clock.
    pub clock: &'a Clock,
    /// The first signal.
    pub stop: &'a CancellationToken,
    /// Output.
    pub report: &'a Report,
    /// The programs of the account, once they were asked for.
    pub programs: OnceCell<Vec<Program>>,
    /// The programs whose rules this process has read.
    pub rules: rule::KnownPrograms,
    /// What this process has read of the vendor's list of submissions.
    pub lists: Lists,
    /// The index, open for writing, once something was read that it should know.
    pub freshened: RefCell<Option<Index>>,
}

/// How far this clock and the vendor's may be apart before nothing that depends on time is concluded or sent, in seconds.
pub const CLOCKS_APART: i64 = 300;

impl Reads<'_> {
    /// How far this clock is ahead of the vendor's, in seconds; `None` if its newest answer does not say what time it is.
    pub fn clock_ahead(&self) -> Option<i64> {
        self.advocate.host_clock().or_else(|| self.brand.host_clock())?.ahead
    }

    /// The time by the vendor's clock, which decides what has expired and which window has passed. An error if its answers carry
    /// no date, or if the two clocks are far apart: then what the ledger dates and what the vendor dates cannot be compared.
    pub fn vendor_now(&self) -> Result<Timestamp> {
        let ahead = self.clock_ahead();
        if let Some(trouble) = sendable::clock_trouble(ahead) {
            return Err(trouble);
        }
        let ahead = ahead.unwrap_or_default();
        Ok(self.clock.now().saturating_sub(SignedDuration::from_secs(ahead)).unwrap_or(Timestamp::MIN))
    }
}

/// Takes one order from its ID to proof.
///
/// An error means that nothing was sent; once something was, it is in the receipt, with what ended it early.
pub async fn run(reads: &Reads<'_>, writer: &WriterSettings, order_id: &OrderId, options: &Options) -> Result<Receipt> {
    sendable::check(reads)?;
    let existing = Ledger::open_read_only(reads.ledger, Some(reads.identity))?;
    let first = existing.as_ref().map_or(Ok(true), |ledger| ledger.has_confirmed().map(|any| !any))?;
    let plan = plan::make(reads, existing.as_ref(), order_id, options, None).await?;
    let mut receipt = Receipt::new(reads.identity, order_id, &plan.coverage, first);
    receipt.dry_run = options.dry_run;
    let name = seen::name(&plan, options);
    if options.seen.as_ref().is_some_and(|seen| *seen != name) {
        return Err(Error::new(Kind::Refused, "things have changed since this was shown; nothing was sent")
            .hint("look at it again as it is now"));
    }
    receipt.plan = Some(name.clone());
    let demand = demand_of(&plan);
    receipt.approval = if demand.orders == 0 { None } else { approval::outlook(existing.as_ref(), &demand)? };
    drop(existing);
    // Of several actions none goes where one stops: a person has asked for all of them.
    let stop = plan.actions.iter().find_map(|action| action.findings.error());
    let to_send = plan.actions.iter().any(|action| matches!(action.step, Step::Send));
    let ask = to_send && !options.yes && !options.dry_run && stop.is_none();
    // The receipt of a dry run says the same.
    if to_send && !options.dry_run && stop.is_none() {
        for line in receipt::plan_lines(&plan, reads.identity, options, first) {
            // Nobody is asked about what they cannot see.
            if ask { reads.report.say(line) } else { reads.report.note(line) }
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
        confirm(reads, if again { "Send this AGAIN" } else { "Retract this" }).await?;
    }
    let mut granted = None;
    if to_send {
        let subject = Subject {
            name,
            items: Vec::new(),
            json: options.wish(order_id),
            reason: options.reason.as_deref(),
            ticket: options.ticket.as_deref(),
        };
        granted = approval::before_sending(reads, &demand, &subject)?;
    }
    let options = &Options { granted, ..options.clone() };
    let mut ledger = Ledger::open(reads.ledger, reads.identity, reads.actor)?;
    let mut stopped = false;
    for action in &plan.actions {
        if stopped {
            receipt.not_sent(action, "not tried, because of what ended the one before");
            continue;
        }
        if reads.stop.is_cancelled() {
            receipt.not_sent(action, "not tried: interrupted");
            receipt.end_early(Error::new(Kind::Interrupted, "interrupted before every action was done"));
        } else {
            carry_out(reads, writer, &mut ledger, &plan, action, options, &mut receipt).await;
        }
        // Credentials, quota and signals concern every further action as well.
        stopped = receipt.error.as_ref().is_some_and(|error| matches!(error.kind.exit_code(), 3 | 8 | 130));
    }
    receipt.mark(&ledger);
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
pub async fn confirm(reads: &Reads<'_>, what: &str) -> Result<()> {
    let question = format!(
        "{what} for tenant {} (Account SID {})? It cannot be undone.",
        reads.identity.tenant, reads.identity.account_sid
    );
    ask(reads, question).await
}

/// Asks any question; *no*, a signal and a closed terminal all mean that nothing is done.
async fn ask(reads: &Reads<'_>, question: impl Into<String>) -> Result<()> {
    report::confirm(question.into(), reads.stop, "nothing was sent").await
}

/// Sends one action where that is the plan, and follows it. Whatever happens, the receipt has what was sent.
async fn carry_out(
    reads: &Reads<'_>,
    writer: &WriterSettings,
    ledger: &mut Ledger,
    plan: &Plan,
    action: &ActionPlan,
    options: &Options,
    receipt: &mut Receipt,
) {
    let (retraction, sent_now) = match &action.step {
        Step::AlreadyCancelled | Step::Stop => return receipt.planned(action),
        Step::Follow(retraction) => ((**retraction).clone(), false),
        Step::Send => match send_one(reads, writer, ledger, plan, action, options).await {
            Err(error) => {
                receipt.not_sent(action, &error.message);
                return receipt.end_early(error);
            }
            Ok(Sent::No(retraction, error)) => {
                receipt.add(&retraction, action.findings.list());
                return receipt.end_early(error);
            }
            Ok(Sent::Yes(retraction, Some(error))) => {
                receipt.add_sent(&retraction, action.findings.list());
                return receipt.end_early(error);
            }
            Ok(Sent::Yes(retraction, None)) => (*retraction, true),
            Ok(Sent::Before(retraction)) => {
                reads.report.note("another process has sent this already; following it");
                (*retraction, false)
            }
        },
    };
    follow_to_the_end(reads, &options.follows, ledger, retraction, action, sent_now, receipt).await;
}

/// Follows what was sent, and puts it into the receipt as it then stands.
async fn follow_to_the_end(
    reads: &Reads<'_>,
    follows: &Follows,
    ledger: &mut Ledger,
    retraction: Retraction,
    action: &ActionPlan,
    sent_now: bool,
    receipt: &mut Receipt,
) {
    let kept = retraction.clone();
    let (followed, error) = match follow::follow(reads, follows, ledger, retraction).await {
        Ok(followed) => (followed, None),
        // Where looking fails, what is known stays in the receipt, since something was sent.
        Err(error) => (ledger.get(kept.id).unwrap_or(kept), Some(error)),
    };
    if sent_now {
        receipt.add_sent(&followed, action.findings.list());
    } else {
        receipt.add(&followed, action.findings.list());
    }
    if reads.stop.is_cancelled() && followed.state.is_open() {
        let interrupted = Error::new(Kind::Interrupted, "interrupted; what was sent is in the ledger");
        receipt.end_early(interrupted.hint("run `recoup verify` to carry it on"));
    } else if let Some(error) = error {
        receipt.end_early(error);
    }
}

async fn send_one(
    reads: &Reads<'_>,
    writer: &WriterSettings,
    ledger: &mut Ledger,
    plan: &Plan,
    action: &ActionPlan,
    options: &Options,
) -> Result<Sent> {
    // Built here, after the person's yes.
    Sender::new(reads, writer)?.send(reads, ledger, plan, action, options).await
}
