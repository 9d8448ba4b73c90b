//! Use case: from order to proof.
//!
//! `resolve` says which actions an order means, `preflight` reads their rewards live, `plan` puts both together, `resend` says
//! whether it may be sent again; `dispatch` is the only place that changes anything at the vendor, and `send` says what;
//! `follow` reads until it is proven; `judge` alone decides what counts as proof; `receipt` says what happened. `adjust` changes
//! an action instead of taking it back, and `file` hands reversals over by the vendor's file.
//! Nothing is sent twice, nothing is sent without a person's yes, and nothing is called done on the vendor's word alone.

use std::path::Path;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::api::{Advocate, Brand, HostOptions, Program};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::model::decimal::Decimal;
use crate::model::{ActionId, Actor, OrderId};
use crate::report::{self, Report};
use crate::store::Identity;
use crate::store::ledger::{Ledger, Retraction, Road};

pub mod accept;
pub mod adjust;
pub mod advice;
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
pub mod overrides;
pub mod plan;
mod preflight;
pub mod receipt;
mod reconcile;
mod resend;
mod resolve;
mod schedule;
mod send;
pub mod verdict;
pub mod verify;
mod windows;

use dispatch::Sent;
pub use doubt::Lists;
use overrides::Override;
use plan::{ActionPlan, Plan, Step};
use receipt::Receipt;
pub use reconcile::Doubts;
use send::Sender;

/// The longest disposition code, in characters (`brand-api.md` §1).
const DISPOSITION_AT_MOST: usize = 64;

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
    /// What this process has read of the vendor's list of submissions.
    pub lists: Lists,
}

/// How long and how often to look.
#[derive(Debug, Clone, Copy)]
pub struct Follows {
    /// How long in all.
    pub wait: Duration,
    /// The first pause.
    pub first_poll: Duration,
    /// The longest pause.
    pub max_poll: Duration,
    /// How long after the submission completed the vendor may still take.
    pub settle: Duration,
    /// Whether the end of `wait` is such an end too: it is after sending, it is not for a single look.
    pub concludes: bool,
    /// When the submission is asked for.
    pub submissions: Submissions,
    /// When the list of submissions is read for what nobody answered.
    pub doubts: Doubts,
    /// How long an *unconfirmed* one is read again.
    pub reread_for: Duration,
}

/// How long an *unconfirmed* one is read again, where nobody says otherwise.
pub const REREAD_FOR: Duration = Duration::from_hours(14 * 24);

/// When the submission of a retraction is asked for. Each question counts against the Brand host's small quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submissions {
    /// With every look, before the rewards: for a few retractions that a person waits for.
    EveryLook,
    /// After the rewards, once all of them read as cancelled, or when the time is up: about two Brand requests an order, for
    /// many at once.
    Sparingly {
        /// Now, whatever the rewards say.
        now: bool,
    },
}

impl Default for Follows {
    fn default() -> Self {
        Self {
            wait: Duration::from_mins(10),
            first_poll: Duration::from_secs(1),
            max_poll: Duration::from_mins(1),
            settle: Duration::from_mins(10),
            concludes: true,
            submissions: Submissions::EveryLook,
            doubts: Doubts::default(),
            reread_for: REREAD_FOR,
        }
    }
}

impl Follows {
    /// The pause after this one.
    fn longer(&self, pause: Duration) -> Duration {
        pause.mul_f64(schedule::GROWTH).min(self.max_poll).max(Duration::from_millis(1))
    }
}

/// How the writing capability is built, after the person's yes and not before.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// The Brand host with the token that may write.
    pub host: HostOptions,
    /// `IR-Version`.
    pub ir_version: String,
    /// How long to wait for another process that is sending.
    pub lock_wait: Duration,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// By which road it goes: what else the ledger must not have depends on it.
    pub road: Road,
    /// The one action, named by a person.
    pub action_id: Option<ActionId>,
    /// Every action of the order.
    pub all: bool,
    /// The fallback to order ID and action tracker.
    pub action_tracker: Option<String>,
    /// Goes to the vendor as it is.
    pub disposition: String,
    /// Goes to the ledger.
    pub reason: Option<String>,
    /// Goes to the ledger.
    pub ticket: Option<String>,
    /// Everything but sending.
    pub dry_run: bool,
    /// No question.
    pub yes: bool,
    /// Send again what failed, was not received, or is unconfirmed.
    pub resend: bool,
    /// The stops that the person overrides, by their names.
    pub overrides: Vec<Override>,
    /// Whether the action itself is read before it is sent: one request of the Brand API's quota an order.
    pub read_action: bool,
    /// What was refunded, where somebody says so: 0 and the whole amount go, a part stops.
    pub amount: Option<Decimal>,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// An order that was last read longer ago than this is refused.
    pub max_index_age: Duration,
    /// How long and how often to look.
    pub follows: Follows,
}

impl Options {
    /// A wish for one road with this code, for a person who can be asked: nothing named, nothing overridden, nothing again.
    pub fn new(road: Road, disposition: String, max_index_age: Duration, follows: Follows) -> Self {
        Self {
            road,
            action_id: None,
            all: false,
            action_tracker: None,
            disposition,
            reason: None,
            ticket: None,
            dry_run: false,
            yes: false,
            resend: false,
            overrides: Vec::new(),
            read_action: true,
            amount: None,
            batch: None,
            max_index_age,
            follows,
        }
    }

    /// Refuses what cannot be meant, before any I/O.
    pub fn check(&self, can_ask: bool) -> Result<()> {
        let length = self.disposition.chars().count();
        if length == 0 || length > DISPOSITION_AT_MOST || self.disposition.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::Usage,
                format!("a disposition code has 1 to {DISPOSITION_AT_MOST} characters on one line"),
            )
            .hint(match self.road {
                Road::Reversal => "leave --disposition out for RETRACTION",
                _ => "leave --code out for ORDER_UPDATE",
            }));
        }
        if self.action_tracker.as_ref().is_some_and(|id| id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit())) {
            return Err(Error::new(Kind::Usage, "an action tracker (event type) ID is a whole number")
                .hint("it is shown under Settings → Event Types"));
        }
        if self.resend && self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(Error::new(
                Kind::Usage,
                "sending again needs a reason, for whoever asks later why it was sent twice",
            )
            .hint("say it with --reason TEXT"));
        }
        check_can_ask(self.dry_run, self.yes, can_ask)
    }
}

/// Refuses where a person must be asked and cannot be.
fn check_can_ask(dry_run: bool, yes: bool, can_ask: bool) -> Result<()> {
    if dry_run || yes || can_ask {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
        .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"))
}

/// Takes one order from its ID to proof.
///
/// An error means that nothing was sent; once something was, it is in the receipt, with what ended it early.
pub async fn run(reads: &Reads<'_>, writer: &WriterSettings, order_id: &OrderId, options: &Options) -> Result<Receipt> {
    let existing = Ledger::open_read_only(reads.ledger, Some(reads.identity))?;
    let first = existing.as_ref().map_or(Ok(true), |ledger| ledger.has_confirmed().map(|any| !any))?;
    let plan = plan::make(reads, existing.as_ref(), order_id, options, None).await?;
    drop(existing);
    let mut receipt = Receipt::new(reads.identity, order_id, &plan.coverage, first);
    receipt.dry_run = options.dry_run;
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
    let question = question.into();
    let answer = tokio::select! {
        answer = tokio::task::spawn_blocking(move || report::ask(&question)) => answer,
        () = reads.stop.cancelled() => {
            return Err(Error::new(Kind::Interrupted, "interrupted at the question; nothing was sent"));
        }
    };
    match answer {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Error::new(Kind::Declined, "declined; nothing was sent")),
        _ => Err(Error::new(Kind::Declined, "the answer could not be read; nothing was sent")),
    }
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
