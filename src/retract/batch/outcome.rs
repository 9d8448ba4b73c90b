//! Defines the outcome of each row of a batch, as the outcome file shows it. `outcome` does no I/O.
//!
//! A row of a batch is done only if the ledger proves its retraction. A row of a batch is *not a referral* only if the
//! index proves that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::model::counted;
use crate::retract::receipt::Entry;
use crate::store::ledger::State;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// This batch run retracted the order, and every reward reads as cancelled.
    Confirmed,
    /// This batch run retracted the order, but the vendor cannot cancel the redeemed part of a reward.
    Partial,
    /// recoup sent the request, and the vendor has not finished processing it.
    Pending,
    /// The vendor has processed the request, but a reward is not cancelled.
    Unconfirmed,
    /// The vendor's response was lost, so the request may have taken effect.
    Unknown,
    /// The order is not a referral: the index lacks it, is complete, and is newer than the refund.
    NotAReferral,
    /// The index lacks the order, and a later crawl may add it.
    NotFoundYet,
    NotRefunded,
    /// The refund is partial, and recoup sent no request for it. The message is the command that adjusts the action.
    RefundedInPart,
    /// recoup adjusted the action for a partial refund. The vendor does not document whether the reward changes.
    Adjusted,
    /// The order was retracted by an earlier run, or outside recoup.
    AlreadyRetracted,
    /// A check of the plan or a problem in the row prevents the send.
    Stopped,
    /// The vendor refused the request or did not receive it.
    Failed,
    /// recoup sent no request for the row, because of a dry run, an interruption or a failed trial.
    NotAttempted,
}

impl Outcome {
    pub const ALL: [Self; 14] = [
        Self::Confirmed,
        Self::Partial,
        Self::Pending,
        Self::Unconfirmed,
        Self::Unknown,
        Self::NotAReferral,
        Self::NotFoundYet,
        Self::NotRefunded,
        Self::RefundedInPart,
        Self::Adjusted,
        Self::AlreadyRetracted,
        Self::Stopped,
        Self::Failed,
        Self::NotAttempted,
    ];

    /// Returns the code of the outcome in outcome files and in JSON, such as `not_a_referral`.
    pub fn code(self) -> String {
        self.words().replace(' ', "_")
    }

    /// Returns `true` if the outcome may still change: the retraction is not proven, or a later crawl may add the
    /// order.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Unconfirmed | Self::Unknown | Self::NotFoundYet)
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Partial => "partial",
            Self::Pending => "pending",
            Self::Unconfirmed => "unconfirmed",
            Self::Unknown => "unknown",
            Self::NotAReferral => "not a referral",
            Self::NotFoundYet => "not found yet",
            Self::NotRefunded => "not refunded",
            Self::RefundedInPart => "refunded in part",
            Self::Adjusted => "adjusted",
            Self::AlreadyRetracted => "already retracted",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::NotAttempted => "not attempted",
        }
    }

    /// Returns the error kind that determines the exit code; `None` if the row is done.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Confirmed
            | Self::Partial
            | Self::AlreadyRetracted
            | Self::NotAReferral
            | Self::NotRefunded
            | Self::Adjusted => None,
            Self::RefundedInPart | Self::Stopped | Self::Failed | Self::NotAttempted => Some(Kind::SomeFailed),
            Self::Pending | Self::Unconfirmed | Self::Unknown => Some(Kind::NotConfirmed),
            Self::NotFoundYet => Some(Kind::NotIndexed),
        }
    }

    /// Returns the row's outcome for a retraction in `state`. `before` is `true` if an earlier run added the retraction
    /// to the ledger.
    pub fn of_state(state: State, before: bool) -> Self {
        match state {
            State::Confirmed | State::Partial if before => Self::AlreadyRetracted,
            State::Confirmed => Self::Confirmed,
            State::Partial => Self::Partial,
            State::Queued => Self::Pending,
            State::Unconfirmed => Self::Unconfirmed,
            State::Unknown | State::Sending => Self::Unknown,
            State::Failed | State::NotReceived => Self::Failed,
            // A reversal never ends as *processed*, *handed over* or *released*.
            State::Processed | State::HandedOver | State::Released => Self::Stopped,
            State::Planned | State::Superseded => Self::NotAttempted,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOutcome {
    pub outcome: Outcome,
    /// The reason for the outcome; empty if the outcome needs no explanation.
    pub message: String,
    pub actions: Vec<String>,
    pub rewards: Vec<String>,
    pub retractions: Vec<i64>,
    pub batch_ids: Vec<String>,
    /// When the row's last retraction was confirmed, RFC 3339.
    pub confirmed_at: Option<String>,
    pub decision: String,
    pub evidence: String,
    /// Number of planned actions that were not sent.
    #[serde(default)]
    pub unsent: usize,
}

/// One retraction of a row, in its present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAction {
    /// The retraction's number in the ledger.
    pub id: i64,
    /// The ActionId of the retraction, or the action tracker if the request had no ActionId.
    pub action: String,
    pub state: State,
    /// Whether recoup sent the retraction before this batch.
    pub is_earlier: bool,
}

/// The columns that an outcome file adds.
pub const OUTCOME_COLUMNS: [&str; 9] = [
    "recoup_outcome",
    "recoup_action",
    "recoup_reward",
    "recoup_retraction",
    "recoup_batch_id",
    "recoup_confirmed_at",
    "recoup_why",
    "recoup_decision",
    "recoup_evidence",
];

impl RowOutcome {
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
            actions: Vec::new(),
            rewards: Vec::new(),
            retractions: Vec::new(),
            batch_ids: Vec::new(),
            confirmed_at: None,
            decision: String::new(),
            evidence: String::new(),
            unsent: 0,
        }
    }

    /// Combines the receipts of a row's actions into one outcome: the outcome of the most severe receipt. The flag of
    /// each entry is `true` if an earlier run added the entry to the ledger.
    pub fn of_entries(entries: &[(Entry, bool)]) -> Self {
        let judged = |(entry, before): &(Entry, bool)| match entry.ledger_state {
            Some(state) => Outcome::of_state(state, *before),
            None => Outcome::NotAttempted,
        };
        let Some(worst) = entries.iter().max_by_key(|pair| severity(judged(pair))) else {
            return Self::new(Outcome::NotAttempted, "nothing was to be done");
        };
        let outcome = judged(worst);
        let message = match (outcome, worst.0.id) {
            (Outcome::Confirmed, _) => String::new(),
            (Outcome::AlreadyRetracted, Some(id)) => {
                format!("proven before: {}; not read again now, which `recoup verify {id}` does", worst.0.message)
            }
            _ => worst.0.message.clone(),
        };
        let mut done = Self::new(outcome, message);
        for (entry, _) in entries {
            done.actions.extend(entry.action_id.clone());
            done.rewards.extend(entry.rewards.iter().map(|reward| reward.reward_id.clone()));
            done.retractions.extend(entry.id);
            done.batch_ids.extend(entry.batch_id.clone());
            done.confirmed_at = done.confirmed_at.max(entry.confirmed_at.clone());
        }
        done
    }

    /// Returns the outcome of a row from the present states of its retractions; `None` if the row has no retraction.
    /// `unsent` is the number of the row's planned actions without a retraction. The returned outcome has no message.
    pub fn of_sent(unsent: usize, sent: &[SentAction]) -> Option<Self> {
        let newest = || sent.iter().filter(|one| one.state != State::Superseded);
        let outcome = |one: &SentAction| Outcome::of_state(one.state, one.is_earlier);
        let mut worst = newest().map(outcome).max_by_key(|outcome| severity(*outcome))?;
        let actions: BTreeSet<&str> = newest().map(|one| one.action.as_str()).collect();
        if unsent > 0 && severity(Outcome::NotAttempted) > severity(worst) {
            worst = Outcome::NotAttempted;
        }
        let mut row = Self::new(worst, "");
        row.actions = actions.into_iter().map(str::to_owned).collect();
        row.retractions = newest().map(|one| one.id).collect();
        row.unsent = unsent;
        Some(row)
    }

    /// Returns `true` if `now`, the outcome by the present states of the row's retractions, replaces this outcome.
    /// `is_new` is `true` if `now` contains a retraction that this outcome does not contain.
    pub fn is_replaced_by(&self, now: &Self, is_new: bool) -> bool {
        match (self.outcome, now.outcome) {
            (before, after) if before == after => false,
            // A repeated batch calls its own earlier proven retractions *already retracted*.
            (Outcome::AlreadyRetracted, Outcome::Confirmed | Outcome::Partial) => false,
            // *Stopped* and *not attempted* are about actions without a retraction. The states of the other actions
            // cannot end these outcomes.
            (Outcome::Stopped | Outcome::NotAttempted, after) => is_new || severity(after) > severity(self.outcome),
            _ => true,
        }
    }

    /// Returns the row's values of [`OUTCOME_COLUMNS`].
    pub fn cells(&self) -> Vec<String> {
        let numbers: Vec<String> = self.retractions.iter().map(ToString::to_string).collect();
        let cells = [
            self.outcome.code(),
            self.actions.join(" "),
            self.rewards.join(" "),
            numbers.join(" "),
            self.batch_ids.join(" "),
            self.confirmed_at.clone().unwrap_or_default(),
            self.message.clone(),
            self.decision.clone(),
            self.evidence.clone(),
        ];
        cells.map(|cell| crate::report::one_line(&cell).into_owned()).into()
    }
}

/// Returns the severity of an outcome as a number. A row gets the outcome of its most severe action.
pub(super) fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::AlreadyRetracted | Outcome::NotAReferral | Outcome::NotRefunded => 0,
        Outcome::Confirmed | Outcome::Adjusted => 1,
        Outcome::Partial => 2,
        Outcome::NotFoundYet => 3,
        Outcome::Pending => 4,
        Outcome::NotAttempted | Outcome::RefundedInPart => 5,
        Outcome::Stopped => 6,
        Outcome::Unconfirmed => 7,
        Outcome::Failed => 8,
        Outcome::Unknown => 9,
    }
}

pub fn counts(done: &[RowOutcome]) -> BTreeMap<Outcome, u64> {
    let mut counts = BTreeMap::new();
    for one in done {
        *counts.entry(one.outcome).or_insert(0) += 1;
    }
    counts
}

/// Returns the error that determines the exit code; `None` if every row is done. `ended` is the error that stopped the
/// batch early.
pub fn problem(done: &[RowOutcome], ended: Option<&Error>) -> Option<Error> {
    let left = done.iter().filter(|one| one.outcome.kind().is_some()).count();
    let worst = done.iter().filter_map(|one| one.outcome.kind()).min_by_key(|kind| kind.rank());
    let message = format!("{left} of {} not done", counted(done.len(), "row"));
    match (ended, worst) {
        (Some(ended), worst) => {
            let kind = worst.filter(|kind| kind.rank() < ended.kind.rank()).unwrap_or(ended.kind);
            let again = || "run the same file again: it does only what is left".to_owned();
            let hint = if ended.kind == Kind::Interrupted { Some(again()) } else { ended.hint.clone() };
            Some(Error { hint, ..Error::new(kind, format!("{message}: {}", ended.message)) })
        }
        (None, Some(kind)) => {
            let hint = match kind {
                Kind::NotConfirmed => "`recoup verify --watch` carries on what was sent; or run the same file again",
                Kind::NotIndexed => "run `recoup crawl`, then the same file again",
                _ => "the outcome file says why for each row; the same file again does only what is left",
            };
            Some(Error::new(kind, message).hint(hint))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_outcome() {
        use State::{
            Confirmed, Failed, HandedOver, NotReceived, Partial, Planned, Queued, Sending, Unconfirmed, Unknown,
        };
        for (state, before, outcome) in [
            (Confirmed, false, Outcome::Confirmed),
            (Confirmed, true, Outcome::AlreadyRetracted),
            (Partial, false, Outcome::Partial),
            (Partial, true, Outcome::AlreadyRetracted),
            (Queued, true, Outcome::Pending),
            (Sending, false, Outcome::Unknown),
            (Unknown, true, Outcome::Unknown),
            (Unconfirmed, true, Outcome::Unconfirmed),
            (Failed, false, Outcome::Failed),
            (NotReceived, false, Outcome::Failed),
            (HandedOver, false, Outcome::Stopped),
            (Planned, false, Outcome::NotAttempted),
        ] {
            assert_eq!(Outcome::of_state(state, before), outcome, "{state:?} {before}");
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_row_that_matters_most() {
        use Outcome::{
            Confirmed, Failed, NotAReferral, NotFoundYet, NotRefunded, Pending, RefundedInPart, Stopped, Unknown,
        };
        let rows = |outcomes: &[Outcome]| outcomes.iter().map(|one| RowOutcome::new(*one, "why")).collect::<Vec<_>>();
        let code = |outcomes: &[Outcome], ended: Option<Kind>| {
            let ended = ended.map(|kind| Error::new(kind, "ended"));
            problem(&rows(outcomes), ended.as_ref()).map_or(0, |error| error.kind.exit_code())
        };
        assert_eq!(code(&[Confirmed, NotAReferral, NotRefunded], None), 0);
        assert_eq!(code(&[Confirmed, RefundedInPart], None), 6);
        assert_eq!(code(&[Confirmed, NotFoundYet], None), 4);
        assert_eq!(code(&[Pending, NotFoundYet], None), 7);
        assert_eq!(code(&[Unknown, Stopped], None), 6);
        assert_eq!(code(&[Failed], None), 6);
        assert_eq!(code(&[Failed], Some(Kind::Parked)), 8);
        assert_eq!(code(&[Failed], Some(Kind::Credentials)), 3);
        assert_eq!(code(&[Failed], Some(Kind::Interrupted)), 130);
    }

    #[test]
    fn a_row_has_the_code_of_its_outcome_and_the_reason_apart() {
        let cells = RowOutcome::new(Outcome::Stopped, "it is too late").cells();
        assert_eq!(
            (cells.len(), cells[0].as_str(), cells[6].as_str()),
            (OUTCOME_COLUMNS.len(), "stopped", "it is too late")
        );
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).expect("JSON"), outcome.code(), "{outcome:?}");
        }
    }

    #[test]
    fn an_order_is_not_confirmed_while_one_of_its_actions_is_not_sent() {
        let sent =
            |id: i64, action: &str, state| SentAction { id, action: action.to_owned(), state, is_earlier: false };
        let now = |unsent, sent: &[SentAction]| RowOutcome::of_sent(unsent, sent).map(|row| row.outcome);
        let (first, second) = (sent(1, "a", State::Confirmed), sent(2, "b", State::Confirmed));
        assert_eq!(now(2, &[]), None, "nothing was sent for it");
        assert_eq!(now(0, std::slice::from_ref(&first)), Some(Outcome::Confirmed));
        assert_eq!(now(1, std::slice::from_ref(&first)), Some(Outcome::NotAttempted));
        assert_eq!(now(0, &[first.clone(), second]), Some(Outcome::Confirmed));
        assert_eq!(now(0, &[first.clone(), sent(2, "b", State::Queued)]), Some(Outcome::Pending));
        assert_eq!(now(1, &[first.clone(), sent(2, "b", State::Unknown)]), Some(Outcome::Unknown));
        assert_eq!(now(0, &[sent(1, "a", State::Superseded), sent(2, "a", State::Queued)]), Some(Outcome::Pending));
        let earlier = SentAction { is_earlier: true, ..first };
        assert_eq!(now(0, &[earlier]), Some(Outcome::AlreadyRetracted));
    }

    #[test]
    fn the_ledger_replaces_every_outcome_that_came_from_a_state() {
        let row = |outcome| RowOutcome::new(outcome, "");
        for (before, now, is_new, is_replaced) in [
            (Outcome::Confirmed, Outcome::Unconfirmed, false, true),
            (Outcome::Partial, Outcome::Unconfirmed, false, true),
            (Outcome::AlreadyRetracted, Outcome::Unconfirmed, false, true),
            (Outcome::AlreadyRetracted, Outcome::Confirmed, false, false),
            (Outcome::Failed, Outcome::Confirmed, false, true),
            (Outcome::Failed, Outcome::Pending, false, true),
            (Outcome::Failed, Outcome::Failed, true, false),
            (Outcome::Stopped, Outcome::Confirmed, false, false),
            (Outcome::Stopped, Outcome::Unconfirmed, false, true),
            (Outcome::NotAttempted, Outcome::Confirmed, false, false),
            (Outcome::NotAttempted, Outcome::Confirmed, true, true),
            (Outcome::NotAttempted, Outcome::Unknown, false, true),
        ] {
            assert_eq!(row(before).is_replaced_by(&row(now), is_new), is_replaced, "{before:?} {now:?} {is_new}");
        }
    }
}
