//! What was asked for: of an order, of the road it takes, and of the time that looking may take.
//!
//! What cannot be meant is refused here, before any I/O. Nothing here may soften what a person has not asked for.

use std::time::Duration;

use serde_json::{Value, json};

use super::approval::Granted;
use super::overrides::Override;
use super::windows::ActionFacts;
use super::{Doubts, schedule};
use crate::error::{Error, Kind, Result};
use crate::model::ActionId;
use crate::refunds::amount::may_be_same_currency;
use crate::refunds::{DateOrTime, Decision, OrderRefund};
use crate::store::ledger::Road;
use crate::vendor::HostOptions;

/// The longest disposition code, in characters (`docs/vendor/brand.md` §1).
const DISPOSITION_AT_MOST: usize = 64;

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

/// A wait for the vendor's limit that is no longer than this belongs to the pace of requests, whatever `--wait` says.
pub const PACE: Duration = Duration::from_secs(5);

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
    pub(super) fn longer(&self, pause: Duration) -> Duration {
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

/// What a file proves of the refund of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundClaim {
    /// The decision.
    pub decision: Decision,
    /// The currency of its amounts, if the file names one.
    pub currency: Option<String>,
    /// What it rests on, in one line.
    pub evidence: String,
    /// When the order was refunded, if the file says so.
    pub refunded_at: Option<DateOrTime>,
    /// When it was ordered, if the file says so.
    pub ordered_at: Option<DateOrTime>,
}

impl RefundClaim {
    /// The claim of one order of a file.
    pub fn of(order: &OrderRefund) -> Self {
        Self {
            decision: order.decision.clone(),
            currency: order.evidence.currency.clone(),
            evidence: order.evidence.sentence(),
            refunded_at: order.refunded_at,
            ordered_at: order.ordered_at,
        }
    }

    /// Whether the live action's amount decides, or can contradict an amount of the file.
    pub fn needs_the_action(&self) -> bool {
        matches!(
            self.decision,
            Decision::ToCompare { .. } | Decision::InPart { .. } | Decision::InFull { refunded: Some(_), .. }
        )
    }

    /// The claim as the ledger keeps it beside the plan.
    pub fn json(&self) -> Value {
        json!({ "decision": self.decision.kind(), "evidence": self.evidence })
    }

    /// The decision held against the live action, and why it differs.
    pub fn against(&self, facts: &ActionFacts) -> (Decision, Option<String>) {
        let same = match (&self.currency, &facts.currency) {
            (Some(one), Some(other)) => may_be_same_currency(one, other),
            _ => true,
        };
        self.decision.check_against_action(facts.amount, same)
    }
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
    /// What a file proves of the refund; the live action's amount can contradict it.
    pub refund: Option<RefundClaim>,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// What a person has seen and said yes to, by the name that its plan had: anything else is not sent.
    pub seen: Option<String>,
    /// A second person's yes to it.
    pub granted: Option<Granted>,
    /// An order that was last read longer ago than this is refused.
    pub max_index_age: Duration,
    /// How long and how often to look.
    pub follows: Follows,
}

impl Options {
    /// Whether rewards are to go by the program rule: an adjustment takes none back, and neither does a refund in part.
    pub(super) fn needs_the_rule(&self) -> bool {
        let is_in_part = |claim: &RefundClaim| matches!(claim.decision, Decision::InPart { .. });
        self.road.takes_all_back() && !self.refund.as_ref().is_some_and(is_in_part)
    }

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
            refund: None,
            batch: None,
            seen: None,
            granted: None,
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
                Road::Modification => "leave --code out for ORDER_UPDATE",
                Road::File => "name one of the vendor's reason codes with --reason-code",
                Road::Reversal | Road::Reward => "leave --disposition out for RETRACTION",
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
pub(super) fn check_can_ask(dry_run: bool, yes: bool, can_ask: bool) -> Result<()> {
    if dry_run || yes || can_ask {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
        .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"))
}
