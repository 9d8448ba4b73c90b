//! The receipt of an order: the requests and their results, as text for a ticket and as JSON.
//!
//! A receipt of a send states only facts that the ledger contains. A receipt contains no account ID, because account
//! IDs are often e-mail addresses.

mod entry;
mod text;

use serde::Serialize;

use super::adjust::preview::Preview;
use super::checks::{Finding, Findings};
use super::plan::{ActionPlan, Step};
use super::proof::{Snapshot, losses};
use crate::error::{Error, Kind};
use crate::model::{Coverage, OrderId};
use crate::store::Identity;
use crate::store::ledger::{Channel, Head, Ledger, Retraction, State};

pub use entry::{Entry, EventLine, RewardLine};
pub use text::{coverage_line, finding_lines, plan_lines};

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    pub order_id: OrderId,
    pub tenant: String,
    pub account_sid: String,
    pub dry_run: bool,
    /// Fingerprint of the plan; `null` if the receipt has no plan. A person's confirmation is valid for one plan's
    /// fingerprint only.
    pub plan: Option<String>,
    /// Why the policy requires a second person's approval; `null` if the policy requires none.
    pub approval: Option<String>,
    /// One receipt entry for each action of the order.
    pub retractions: Vec<Entry>,
    /// How much of the tenant the index has read. *Confirmed* refers only to the rewards that recoup knows.
    pub coverage: Coverage,
    /// Whether this is the tenant's first retraction. The receipt of the first retraction explains the program rule.
    #[serde(skip)]
    pub first: bool,
    /// The ledger and its newest event. `recoup audit verify --head` uses the event to detect a truncated ledger. The
    /// mark is `null` if this run wrote nothing to the ledger.
    pub ledger: Option<Mark>,
    /// The error that ended the run early; `null` without an error.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Error>,
}

/// A ledger and its newest event.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Mark {
    pub id: String,
    #[serde(flatten)]
    pub head: Head,
}

impl Mark {
    /// Reads the newest event of the ledger; `None` if recoup cannot read the ledger.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        ledger.ledger_id().and_then(|id| Ok(Self { id, head: ledger.head()? })).ok()
    }

    pub fn line(&self) -> String {
        format!("ledger {}, event {}, head {}", self.id, self.head.sequence, self.head.hash)
    }
}

impl Receipt {
    pub fn new(identity: &Identity, order_id: &OrderId, coverage: &Coverage, first: bool) -> Self {
        Self {
            order_id: order_id.clone(),
            tenant: identity.tenant.clone(),
            account_sid: identity.account_sid.clone(),
            dry_run: false,
            plan: None,
            approval: None,
            retractions: Vec::new(),
            coverage: coverage.clone(),
            first,
            ledger: None,
            error: None,
        }
    }

    /// Builds a receipt of past retractions from their ledger entries. A receipt from ledger entries sends nothing.
    pub fn of_ledger(
        identity: &Identity,
        order_id: &OrderId,
        coverage: &Coverage,
        ledger: &Ledger,
        retractions: &[Retraction],
    ) -> Self {
        let mut receipt = Self::new(identity, order_id, coverage, false);
        receipt.retractions = retractions.iter().map(|retraction| Entry::of(retraction, &[])).collect();
        receipt.mark(ledger);
        receipt
    }

    /// Adds the ledger's newest event to the receipt. A receipt without the ledger's newest event is still useful.
    /// Therefore recoup ignores an error when it adds the ledger's newest event to a receipt.
    pub fn mark(&mut self, ledger: &Ledger) {
        self.ledger = Mark::of(ledger);
    }

    /// Adds to the receipt a planned action that this run does not send.
    pub fn planned(&mut self, action: &ActionPlan) {
        match &action.step {
            Step::Send => {
                let message = "a dry run: nothing was sent; this action would be retracted with Amount=0";
                self.retractions.push(Entry::unsent(action, "would_send", message));
            }
            Step::Follow(retraction) => self.add(retraction, action.findings.list(), false),
            Step::Stop => {
                let why = action.findings.error().map(|error| error.message).unwrap_or_default();
                self.retractions.push(Entry::unsent(action, "stopped", &format!("{why}; nothing was sent")));
            }
            Step::AlreadyCancelled => {
                let lost = losses(&action.rewards);
                let message = format!(
                    "every known reward of it is cancelled already, and not by this ledger{lost}; nothing was sent"
                );
                self.retractions.push(Entry::unsent(action, "already_cancelled", &message));
            }
        }
    }

    /// Adds to the receipt an adjustment that a real run would send.
    pub fn would_adjust(&mut self, action: &ActionPlan, change: &Preview) {
        let message = "a dry run: nothing was sent; this action would be changed as shown";
        let entry = Entry::unsent(action, "would_send", message);
        self.retractions.push(Entry { channel: Channel::Modification, change: Some(change.clone()), ..entry });
    }

    /// Adds to the receipt a reward that a real run would cancel.
    pub fn would_cancel(&mut self, reward: &Snapshot, findings: &Findings) {
        self.retractions.push(Entry {
            channel: Channel::Reward,
            ..Entry::unsent_with(
                std::slice::from_ref(reward),
                findings,
                "would_send",
                "a dry run: nothing was sent; this reward would be cancelled, and its action not reversed",
            )
        });
    }

    /// Adds to the receipt an action that recoup did not send, with the reason.
    pub fn not_sent(&mut self, action: &ActionPlan, why: &str) {
        match &action.step {
            Step::Send => self.retractions.push(Entry::unsent(action, "not_sent", why)),
            Step::Follow(_) | Step::AlreadyCancelled | Step::Stop => self.planned(action),
        }
    }

    /// Adds a retraction from the ledger to the receipt. `sent_now` is `true` if this command sent the retraction.
    pub fn add(&mut self, retraction: &Retraction, findings: &[Finding], sent_now: bool) {
        self.retractions.push(Entry { sent_now, was_found: !sent_now, ..Entry::of(retraction, findings) });
    }

    /// Records in the receipt the error that ended the run early. If a run had several errors, its receipt keeps the
    /// most severe error.
    pub fn end_early(&mut self, error: Error) {
        if self.error.as_ref().is_none_or(|known| error.kind.rank() < known.kind.rank()) {
            self.error = Some(error);
        }
    }

    /// Returns the error with which the command ends; `None` for success.
    pub fn problem(&self) -> Option<Error> {
        let worst = self.retractions.iter().filter_map(|entry| Some((entry.problem()?, entry)));
        let worst = worst.min_by_key(|(kind, _)| kind.rank());
        if let Some(error) = &self.error {
            // The error of an entry that was sent and that recoup cannot read may be more severe than the recorded
            // error.
            return Some(match worst {
                Some((kind, _)) if kind.rank() < error.kind.rank() => Error { kind, ..error.clone() },
                _ => error.clone(),
            });
        }
        let (kind, entry) = worst?;
        let message = format!("order {:?} is {}: {}", self.order_id.as_str(), entry.state, entry.message);
        Some(match kind {
            Kind::NotConfirmed if entry.channel == Channel::File => Error::new(kind, message)
                .hint("run `recoup file check` once the vendor has processed the file; it is not sent through another channel"),
            Kind::VendorRefused if entry.channel == Channel::File => Error::new(kind, message)
                .hint("fix the cause, then use `recoup retract`, or write it into another file"),
            Kind::NotConfirmed => {
                Error::new(kind, message).hint("run `recoup verify` to carry it on; it is never sent again by itself")
            }
            Kind::VendorRefused if entry.channel == Channel::Modification => {
                Error::new(kind, message).hint("nothing was changed: fix the cause, then run the same command again")
            }
            Kind::VendorRefused => {
                Error::new(kind, message).hint("fix the cause, then send it again with --resend --reason TEXT")
            }
            _ if entry.ledger_state == Some(State::Superseded) => Error::new(kind, message)
                .hint("a later attempt superseded it: see that attempt with `recoup status --retraction ID`"),
            _ if entry.ledger_state == Some(State::Released) => {
                Error::new(kind, message).hint("nothing was taken back by it: use `recoup retract ORDER`")
            }
            _ => Error::new(kind, message).hint("nothing was sent; run the same command again"),
        })
    }
}
