//! The receipt: what was taken back, what was sent, what came of it, as text fit for a ticket and as JSON.
//!
//! A receipt must never say more than the ledger does, and never names an account: account IDs are often e-mail addresses.

mod entry;
mod text;

use serde::Serialize;

use super::adjust::preview::Preview;
use super::judge::{Snapshot, losses};
use super::plan::{ActionPlan, Step};
use super::verdict::{Finding, Findings};
use crate::error::{Error, Kind};
use crate::model::{Coverage, OrderId};
use crate::store::Identity;
use crate::store::ledger::{Head, Ledger, Retraction, Road, State};

pub use entry::{Entry, EventLine, RewardLine};
pub use text::{coverage_line, finding_lines, plan_lines};

/// What happened to one order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// The order.
    pub order_id: OrderId,
    /// The tenant it was done for.
    pub tenant: String,
    /// The Account SID it was done for.
    pub account_sid: String,
    /// Nothing was sent, because nothing was to be sent.
    pub dry_run: bool,
    /// The name of the plan: another plan has another name, so that a yes to one is no yes to another. `null` where no plan
    /// was made.
    pub plan: Option<String>,
    /// Why a second person would have to approve it; `null` where nobody has to.
    pub approval: Option<String>,
    /// One per action.
    pub retractions: Vec<Entry>,
    /// How much of the tenant this rests on: *confirmed* speaks of the rewards that are known.
    pub coverage: Coverage,
    /// A tenant's first retraction gets the program rule explained.
    #[serde(skip)]
    pub first: bool,
    /// The ledger and how far it is: with it, `recoup audit verify --head` finds a cut tail. `null` where nothing was written.
    pub ledger: Option<Mark>,
    /// What ended it early; `null` where nothing did.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Error>,
}

/// Which ledger a receipt is from, and its newest event then.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Mark {
    /// The ledger's own name.
    pub id: String,
    /// Its newest event.
    #[serde(flatten)]
    pub head: Head,
}

impl Mark {
    /// The mark of a ledger as it is now; `None` where that cannot be read.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        ledger.ledger_id().and_then(|id| Ok(Self { id, head: ledger.head()? })).ok()
    }

    /// The same as a line.
    pub fn line(&self) -> String {
        format!("ledger {}, event {}, head {}", self.id, self.head.sequence, self.head.hash)
    }
}

impl Receipt {
    /// An empty receipt.
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

    /// Marks it with how far the ledger is. Where that cannot be read, what was sent is still worth a receipt.
    pub fn mark(&mut self, ledger: &Ledger) {
        self.ledger = Mark::of(ledger);
    }

    /// An action as it stands, with nothing sent.
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

    /// A change of an action, with nothing sent.
    pub fn would_adjust(&mut self, action: &ActionPlan, change: &Preview) {
        let message = "a dry run: nothing was sent; this action would be changed as shown";
        let entry = Entry::unsent(action, "would_send", message);
        self.retractions.push(Entry { road: Road::Modification, change: Some(change.clone()), ..entry });
    }

    /// A reward that would be cancelled by itself, with nothing sent.
    pub fn would_cancel(&mut self, reward: &Snapshot, findings: &Findings) {
        self.retractions.push(Entry {
            road: Road::Reward,
            ..Entry::unsent_with(
                std::slice::from_ref(reward),
                findings,
                "would_send",
                "a dry run: nothing was sent; this reward would be cancelled, and its action not reversed",
            )
        });
    }

    /// An action that was left as it is.
    pub fn not_sent(&mut self, action: &ActionPlan, why: &str) {
        match &action.step {
            Step::Send => self.retractions.push(Entry::unsent(action, "not_sent", why)),
            Step::Follow(_) | Step::AlreadyCancelled | Step::Stop => self.planned(action),
        }
    }

    /// A retraction of the ledger; `sent_now` if this command has sent it.
    pub fn add(&mut self, retraction: &Retraction, findings: &[Finding], sent_now: bool) {
        self.retractions.push(Entry { sent_now, ..Entry::of(retraction, findings) });
    }

    /// Something ended it early; of several, the one that decides the exit code.
    pub fn end_early(&mut self, error: Error) {
        if self.error.as_ref().is_none_or(|known| error.kind.rank() < known.kind.rank()) {
            self.error = Some(error);
        }
    }

    /// What the command ends with, where that is not success.
    pub fn problem(&self) -> Option<Error> {
        let worst = self.retractions.iter().filter_map(|entry| Some((entry.problem()?, entry)));
        let worst = worst.min_by_key(|(kind, _)| kind.rank());
        if let Some(error) = &self.error {
            // What was sent and cannot be looked at is still sent.
            return Some(match worst {
                Some((kind, _)) if kind.rank() < error.kind.rank() => Error { kind, ..error.clone() },
                _ => error.clone(),
            });
        }
        let (kind, entry) = worst?;
        let message = format!("order {:?} is {}: {}", self.order_id.as_str(), entry.state, entry.message);
        Some(match kind {
            Kind::NotConfirmed if entry.road == Road::File => Error::new(kind, message)
                .hint("run `recoup file check` once the vendor has processed the file; it is not sent by another road"),
            Kind::VendorRefused if entry.road == Road::File => Error::new(kind, message)
                .hint("mend the cause, then use `recoup retract`, or write it into another file"),
            Kind::NotConfirmed => {
                Error::new(kind, message).hint("run `recoup verify` to carry it on; it is never sent again by itself")
            }
            Kind::VendorRefused if entry.road == Road::Modification => {
                Error::new(kind, message).hint("nothing was changed: mend the cause, then run the same command again")
            }
            Kind::VendorRefused => {
                Error::new(kind, message).hint("mend the cause, then send it again with --resend --reason TEXT")
            }
            _ if entry.ledger_state == Some(State::Superseded) => Error::new(kind, message)
                .hint("another attempt has taken its place, and says what came of it: `recoup verify` with its number"),
            _ if entry.ledger_state == Some(State::Released) => {
                Error::new(kind, message).hint("nothing was taken back by it: use `recoup retract ORDER`")
            }
            _ => Error::new(kind, message).hint("nothing was sent; run the same command again"),
        })
    }
}
