//! The options of a retraction: the request, its channel, and how long to follow it.
//!
//! Invalid requests are refused here, before any I/O. Defaults are never more permissive than the person's request.

use std::time::Duration;

use serde_json::{Value, json};

use super::approval::Granted;
use super::deadlines::ActionFacts;
use super::overrides::Override;
use super::{ResolverSettings, poll_schedule};
use crate::error::{Error, Kind, Result};
use crate::model::ActionId;
use crate::refunds::amount::may_be_same_currency;
use crate::refunds::{DateOrTime, Decision, OrderRefund};
use crate::store::ledger::Channel;
use crate::vendor::HostOptions;

/// Longest disposition code, in characters (`docs/vendor/brand.md` §1).
const DISPOSITION_AT_MOST: usize = 64;

/// How long and how often to read what was sent.
#[derive(Debug, Clone, Copy)]
pub struct FollowSettings {
    /// Total time; zero reads once.
    pub wait: Duration,
    pub first_poll: Duration,
    pub max_poll: Duration,
    /// Time that the vendor may still take after the submission completed.
    pub settle: Duration,
    /// Whether the end of `wait` makes the result *unconfirmed*. True after sending, false for a single reading.
    pub concludes: bool,
    /// When the submission is read.
    pub submissions: SubmissionPolling,
    /// When the submissions list is read for an *unknown* request.
    pub doubts: ResolverSettings,
    /// How long an *unconfirmed* retraction is read again.
    pub reread_for: Duration,
}

/// Default of [`FollowSettings::reread_for`].
pub const REREAD_FOR: Duration = Duration::from_hours(14 * 24);

/// Waits for the vendor's limit up to this length are normal pacing, whatever `--wait` says.
pub const PACE: Duration = Duration::from_secs(5);

/// When the submission of a retraction is read. Each read costs a request of the Brand host's small quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmissionPolling {
    /// Every time, before the rewards: for a few retractions that a person waits for.
    Always,
    /// After the rewards, once all of them read as cancelled, or when the time is up: about two Brand requests an order, for
    /// many orders.
    Sparingly {
        /// Read it now, whatever the rewards say.
        now: bool,
    },
}

impl Default for FollowSettings {
    fn default() -> Self {
        Self {
            wait: Duration::from_mins(10),
            first_poll: Duration::from_secs(1),
            max_poll: Duration::from_mins(1),
            settle: Duration::from_mins(10),
            concludes: true,
            submissions: SubmissionPolling::Always,
            doubts: ResolverSettings::default(),
            reread_for: REREAD_FOR,
        }
    }
}

impl FollowSettings {
    pub(super) fn longer(&self, pause: Duration) -> Duration {
        pause.mul_f64(poll_schedule::GROWTH).min(self.max_poll).max(Duration::from_millis(1))
    }
}

/// Settings of the client that may write. It is built only after the person's yes.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// The Brand host, with the token that may write.
    pub host: HostOptions,
    pub ir_version: String,
    /// Longest wait for another process that is sending.
    pub lock_wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundClaim {
    pub decision: Decision,
    /// The currency of the file's amounts, if it names one.
    pub currency: Option<String>,
    /// The evidence in one line.
    pub evidence: String,
    pub refunded_at: Option<DateOrTime>,
    pub ordered_at: Option<DateOrTime>,
}

impl RefundClaim {
    pub fn of(order: &OrderRefund) -> Self {
        Self {
            decision: order.decision.clone(),
            currency: order.evidence.currency.clone(),
            evidence: order.evidence.sentence(),
            refunded_at: order.refunded_at,
            ordered_at: order.ordered_at,
        }
    }

    /// Whether the action's amount decides, or can contradict the file.
    pub fn needs_the_action(&self) -> bool {
        matches!(
            self.decision,
            Decision::ToCompare { .. } | Decision::InPart { .. } | Decision::InFull { refunded: Some(_), .. }
        )
    }

    pub fn json(&self) -> Value {
        json!({ "decision": self.decision.kind(), "evidence": self.evidence })
    }

    /// The decision after a comparison with the action, and the reason if it differs from the file's.
    pub fn against(&self, facts: &ActionFacts) -> (Decision, Option<String>) {
        let same = match (&self.currency, &facts.currency) {
            (Some(one), Some(other)) => may_be_same_currency(one, other),
            _ => true,
        };
        self.decision.check_against_action(facts.amount, same)
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    /// The channel. It decides which earlier entries of the ledger block this one.
    pub channel: Channel,
    /// The one action that the person named.
    pub action_id: Option<ActionId>,
    /// Send every action of the order.
    pub all: bool,
    /// Send by order ID and this action tracker, because the ActionId is not known.
    pub action_tracker: Option<String>,
    /// The vendor gets this code unchanged.
    pub disposition: String,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub dry_run: bool,
    /// Do not ask the person.
    pub yes: bool,
    /// Send again after *failed*, *not received* or *unconfirmed*.
    pub resend: bool,
    pub overrides: Vec<Override>,
    /// Read the action before the send: one request of the Brand quota per order.
    pub read_action: bool,
    /// The refund that a file proves. The action's amount can contradict it.
    pub refund: Option<RefundClaim>,
    pub batch: Option<String>,
    /// Fingerprint of the plan that the person has seen. Any other plan is not sent.
    pub seen: Option<String>,
    /// The approval of a second person.
    pub granted: Option<Granted>,
    /// An order that was last read longer ago than this is refused.
    pub max_index_age: Duration,
    /// How long and how often to read what was sent.
    pub follows: FollowSettings,
}

impl Options {
    /// Whether the program rule must exist. Adjustments and partial refunds take no reward back by it.
    pub(super) fn needs_the_rule(&self) -> bool {
        let is_in_part = |claim: &RefundClaim| matches!(claim.decision, Decision::InPart { .. });
        self.channel.takes_all_back() && !self.refund.as_ref().is_some_and(is_in_part)
    }

    /// A wish for one channel with this code, for a person who can be asked: nothing named, nothing overridden, nothing again.
    pub fn new(channel: Channel, disposition: String, max_index_age: Duration, follows: FollowSettings) -> Self {
        Self {
            channel,
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

    /// An error for an invalid request, before any I/O.
    pub fn check(&self, can_ask: bool) -> Result<()> {
        let length = self.disposition.chars().count();
        if length == 0 || length > DISPOSITION_AT_MOST || self.disposition.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::Usage,
                format!("a disposition code has 1 to {DISPOSITION_AT_MOST} characters on one line"),
            )
            .hint(match self.channel {
                Channel::Modification => "leave --code out for ORDER_UPDATE",
                Channel::File => "name one of the vendor's reason codes with --reason-code",
                Channel::Reversal | Channel::Reward => "leave --disposition out for RETRACTION",
            }));
        }
        if self.action_tracker.as_ref().is_some_and(|id| id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit())) {
            return Err(Error::new(Kind::Usage, "an action tracker (event type) ID is a whole number")
                .hint("it is shown under Settings → Event Types"));
        }
        if self.resend && self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(Error::new(Kind::Usage, "sending again needs a reason, which the ledger keeps")
                .hint("say it with --reason TEXT"));
        }
        check_can_ask(self.dry_run, self.yes, can_ask)
    }
}

/// An error if a person must be asked and there is no terminal.
pub(super) fn check_can_ask(dry_run: bool, yes: bool, can_ask: bool) -> Result<()> {
    if dry_run || yes || can_ask {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
        .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"))
}
