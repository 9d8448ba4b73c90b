//! The options of a retraction: the request, the channel, and how long recoup follows the retraction.
//!
//! `options` refuses invalid requests before any I/O. No default permits more than the person's request.

use std::time::Duration;

use serde_json::{Value, json};

use super::approval::Granted;
use super::checks::Override;
use super::deadlines::ActionFacts;
use super::{ResolverSettings, poll_schedule};
use crate::error::{Error, Kind, Result};
use crate::model::ActionId;
use crate::refunds::amount::may_be_same_currency;
use crate::refunds::{DateOrTime, Decision, OrderRefund};
use crate::store::ledger::Channel;
use crate::vendor::HostOptions;

/// Longest disposition code, in characters (`docs/vendor/brand.md` §1).
const DISPOSITION_AT_MOST: usize = 64;

/// How long and how often recoup reads a sent retraction.
#[derive(Debug, Clone, Copy)]
pub struct FollowSettings {
    /// Total time that recoup waits for the proof of a sent retraction. If the waiting time is zero, recoup reads the
    /// retraction once.
    pub wait: Duration,
    pub first_poll: Duration,
    pub max_poll: Duration,
    /// Time that the vendor may need to change the rewards after the submission has completed.
    pub settle: Duration,
    /// Whether an unproven retraction becomes *unconfirmed* at the end of `wait`. `concludes` is `true` after a send,
    /// and `false` for a single reading.
    pub concludes: bool,
    pub submissions: SubmissionPolling,
    /// When recoup reads the submissions list for an *unknown* retraction.
    pub resolver: ResolverSettings,
    /// How long recoup keeps reading an *unconfirmed* retraction.
    pub reread_for: Duration,
}

/// Default of [`FollowSettings::reread_for`].
pub const REREAD_FOR: Duration = Duration::from_hours(14 * 24);

/// Longest wait for the vendor's rate limit that counts as normal pacing. `--wait` limits only longer waits for the
/// vendor's rate limit.
pub const PACE: Duration = Duration::from_secs(5);

/// When recoup reads the submission of a retraction. Each read of a submission costs one request of the Brand host's
/// small quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmissionPolling {
    /// Read the submission before the rewards, at every read. recoup reads every submission if few retractions are open
    /// and a person waits for them.
    Always,
    /// Read the submission after the rewards, if all rewards read as cancelled or the time is up. recoup reads
    /// submissions sparingly if many retractions are open. With sparing reads of submissions, each order costs about
    /// two Brand requests.
    Sparingly {
        /// Whether recoup reads the submission now, whatever state the rewards have.
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
            resolver: ResolverSettings::default(),
            reread_for: REREAD_FOR,
        }
    }
}

impl FollowSettings {
    pub(super) fn longer(&self, pause: Duration) -> Duration {
        pause.mul_f64(poll_schedule::GROWTH).min(self.max_poll).max(Duration::from_millis(1))
    }
}

/// Settings of the client with write access. recoup builds the client only after the person confirms.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// The Brand API's host, with the write token.
    pub host: HostOptions,
    pub ir_version: String,
    /// Longest wait for the send lock while another process holds it.
    pub lock_wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundClaim {
    pub decision: Decision,
    /// The currency of the refund file's amounts; `None` if the file states no currency.
    pub currency: Option<String>,
    /// The evidence for the refund, in one line.
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

    /// Returns `true` if the decision depends on the action's amount, or if that amount can contradict the refund file.
    pub fn needs_the_action(&self) -> bool {
        matches!(
            self.decision,
            Decision::ToCompare { .. } | Decision::InPart { .. } | Decision::InFull { refunded: Some(_), .. }
        )
    }

    pub fn json(&self) -> Value {
        json!({ "decision": self.decision.kind(), "evidence": self.evidence })
    }

    /// Compares the file's claim of a refund with the action. Returns the decision, and a reason if the decision
    /// differs from the file's decision.
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
    /// The channel by which recoup sends the request. The channel determines which earlier ledger entries block this
    /// request.
    pub channel: Channel,
    /// The ActionId from the person's request.
    pub action_id: Option<ActionId>,
    /// Whether recoup sends every action of the order.
    pub all: bool,
    /// The action tracker to send with the order ID, because the ActionId is unknown.
    pub action_tracker: Option<String>,
    /// The disposition code of the reversal. The vendor receives the disposition code unchanged.
    pub disposition: String,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub dry_run: bool,
    /// Whether recoup skips the confirmation.
    pub yes: bool,
    /// Whether recoup sends again after *failed*, *not received* or *unconfirmed*.
    pub resend: bool,
    pub overrides: Vec<Override>,
    /// Whether recoup reads the action before the send. The read costs one request of the Brand quota per order.
    pub read_action: bool,
    /// The refund of the order, according to the refund file. The action's amount can contradict the file's claim of a
    /// refund.
    pub refund: Option<RefundClaim>,
    pub batch: Option<String>,
    /// Fingerprint of the plan that the person has confirmed. If the current plan has another fingerprint, recoup sends
    /// nothing.
    pub expected_plan: Option<String>,
    pub granted: Option<Granted>,
    /// Maximum age of the newest reading of the order. If the newest reading of the order is older, recoup refuses the
    /// order.
    pub max_index_age: Duration,
    pub follows: FollowSettings,
}

impl Options {
    /// Returns `true` if the retraction needs a program rule. The program rule takes no reward back after an adjustment
    /// or a partial refund.
    pub(super) fn needs_the_rule(&self) -> bool {
        let is_in_part = |claim: &RefundClaim| matches!(claim.decision, Decision::InPart { .. });
        self.channel.takes_all_back() && !self.refund.as_ref().is_some_and(is_in_part)
    }

    /// Creates options for one channel and disposition code. The new options ask for confirmation, and have no
    /// overrides, no resend and no ActionId.
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
            expected_plan: None,
            granted: None,
            max_index_age,
            follows,
        }
    }

    /// Returns an error if the request for a retraction is invalid, before any I/O.
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

/// Returns an error if the command must ask for confirmation and has no terminal.
pub(super) fn check_can_ask(dry_run: bool, yes: bool, can_ask: bool) -> Result<()> {
    if dry_run || yes || can_ask {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
        .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"))
}
