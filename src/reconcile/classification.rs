//! Classifies one refund by the state of its rewards and by the ledger's record of them.
//!
//! The most urgent fact about a refund determines its class. A refund is in the most urgent class if one of its rewards
//! is still active and has no retraction. recoup copies *confirmed* from the ledger. A later reading of the reward may
//! contradict it.

use serde::Serialize;

use super::reward_value::{RewardValue, Unit};
use crate::model::RewardState;

/// The class of a refund, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundClass {
    /// A reward of the refunded order is active, and no retraction will take it back.
    StillRewarded,
    /// A retraction of the order was sent or handed over, and is not proven yet.
    NotConfirmed,
    /// The row of the refund has no usable order ID.
    NotUsable,
    /// A reward of the refunded order is active. Only the action's amount shows whether the refund is full, and the
    /// index lacks that amount.
    ToCompare,
    /// A reward of the order is active, and the file's evidence is missing, unknown or contradictory; or the index has
    /// only a similar order ID.
    Unclear,
    /// A reward of the order is active, and the order was refunded in part.
    RefundedInPart,
    /// Every reward of the order was redeemed before a retraction.
    TooLate,
    /// Some rewards of the order were redeemed, and the others were taken back.
    PartlyLost,
    /// The index lacks the order, and cannot prove that the order is not a referral.
    NotFoundYet,
    /// The ledger proves the retraction of the order.
    Confirmed,
    /// No reward of the order is active, and no retraction of the ledger took the rewards back.
    CancelledOtherwise,
    /// The order is not a referral: the index lacks it, is complete, and is newer than the refund.
    NotAReferral,
    /// The refund file does not say that the order was refunded.
    NotRefunded,
}

impl RefundClass {
    /// All classes of refunds, most urgent first.
    pub const ALL: [Self; 13] = [
        Self::StillRewarded,
        Self::NotConfirmed,
        Self::NotUsable,
        Self::ToCompare,
        Self::Unclear,
        Self::RefundedInPart,
        Self::TooLate,
        Self::PartlyLost,
        Self::NotFoundYet,
        Self::Confirmed,
        Self::CancelledOtherwise,
        Self::NotAReferral,
        Self::NotRefunded,
    ];

    /// Returns the name of the refund class in the report and in outcome files.
    pub fn words(self) -> &'static str {
        match self {
            Self::StillRewarded => "refunded and still rewarded",
            Self::NotConfirmed => "retracted, not confirmed yet",
            Self::NotUsable => "row not usable",
            Self::ToCompare => "refund to compare with the action",
            Self::Unclear => "refund unclear",
            Self::RefundedInPart => "refunded in part",
            Self::TooLate => "rewarded, redeemed: too late",
            Self::PartlyLost => "partly lost",
            Self::NotFoundYet => "not found yet",
            Self::Confirmed => "retracted and confirmed",
            Self::CancelledOtherwise => "reward cancelled otherwise",
            Self::NotAReferral => "not a referral",
            Self::NotRefunded => "not refunded",
        }
    }

    /// Returns `true` if a person must act on refunds of this class.
    pub fn needs_attention(self) -> bool {
        self <= Self::PartlyLost
    }

    /// Returns `true` if refunds of this class are unfinished. Any unfinished refund makes the exit code of the command
    /// 6.
    pub fn is_open(self) -> bool {
        matches!(self, Self::StillRewarded | Self::NotConfirmed | Self::NotUsable | Self::ToCompare | Self::Unclear)
    }
}

/// What the ledger records about a reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LedgerStatus {
    /// The ledger has neither an open nor a proven retraction of this reward.
    None,
    /// A retraction of this reward is proven.
    Done,
    /// A retraction of this reward was sent and is not proven yet.
    Open,
}

/// A reward of a refunded order, as recoup last read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardStatus {
    pub reward_id: String,
    pub state: RewardState,
    pub unit: Unit,
    pub assigned: Option<i64>,
    pub redeemed: Option<i64>,
    pub ledger_status: LedgerStatus,
    pub remarks: Vec<&'static str>,
}

impl RewardStatus {
    /// Returns the amount of the reward that was not redeemed.
    fn rest(&self) -> Option<i64> {
        Some(self.assigned? - self.redeemed.unwrap_or(0))
    }

    /// Returns the redeemed amount of the reward.
    fn loss(&self) -> Option<i64> {
        self.redeemed.filter(|redeemed| *redeemed > 0).or(self.assigned)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subtotal {
    pub rewards: u64,
    pub worth: RewardValue,
}

impl Subtotal {
    fn add(&mut self, unit: &Unit, amount: Option<i64>) {
        self.rewards += 1;
        self.worth.add(unit, amount);
    }

    fn merge(&mut self, other: &Self) {
        self.rewards += other.rewards;
        self.worth.merge(&other.worth);
    }
}

/// Totals of the rewards of one refund, or of all refunds, by the present state of the rewards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RewardTotals {
    /// Active rewards without a retraction.
    pub at_stake: Subtotal,
    /// Rewards whose retraction is not proven yet.
    pub not_confirmed: Subtotal,
    /// Redeemed rewards.
    pub lost: Subtotal,
    /// Rewards that a retraction of this ledger cancelled.
    pub taken_back: Subtotal,
    /// The unredeemed part of rewards that were partly redeemed before the retraction. The vendor does not document
    /// what happens to the unredeemed part of a partly redeemed reward.
    pub review: Subtotal,
    /// Number of rewards that were cancelled without a retraction of this ledger.
    pub cancelled: u64,
    /// Number of expired rewards, which cannot be redeemed.
    pub expired: u64,
}

impl RewardTotals {
    pub fn of(known: &RewardStatus) -> Self {
        let mut shares = Self::default();
        let unit = &known.unit;
        if known.redeemed.is_some_and(|redeemed| redeemed > 0) || known.state == RewardState::Redeemed {
            shares.lost.add(unit, known.loss());
        }
        match (known.state, known.ledger_status) {
            (RewardState::Redeemed, _) => {}
            (RewardState::Expired, _) => shares.expired += 1,
            (RewardState::Cancelled, LedgerStatus::None) => shares.cancelled += 1,
            (RewardState::Cancelled, LedgerStatus::Done) => shares.taken_back.add(unit, known.rest()),
            (RewardState::PartlyRedeemed, LedgerStatus::Done) => shares.review.add(unit, known.rest()),
            // Also counts cancelled rewards as not confirmed, because a reward counts as taken back only after its
            // retraction is proven.
            (_, LedgerStatus::Open) => shares.not_confirmed.add(unit, known.rest()),
            // If a reward is active after its retraction was proven, the reward is at stake.
            (RewardState::Pending | RewardState::Available | RewardState::Unclear, _)
            | (RewardState::PartlyRedeemed, LedgerStatus::None) => {
                shares.at_stake.add(unit, known.rest());
            }
        }
        shares
    }

    pub fn merge(&mut self, other: &Self) {
        self.at_stake.merge(&other.at_stake);
        self.not_confirmed.merge(&other.not_confirmed);
        self.lost.merge(&other.lost);
        self.taken_back.merge(&other.taken_back);
        self.review.merge(&other.review);
        self.cancelled += other.cancelled;
        self.expired += other.expired;
    }

    /// Returns the class of a refund with these rewards; `None` if the rewards determine no class. `open` is `true` if
    /// a retraction of the order is unfinished, and `done` if a retraction of the order is proven.
    pub fn class(&self, open: bool, done: bool) -> Option<RefundClass> {
        if self.at_stake.rewards > 0 {
            Some(RefundClass::StillRewarded)
        } else if open {
            Some(RefundClass::NotConfirmed)
        } else if self.lost.rewards > 0 {
            // Expired rewards do not count as taken back.
            let others = self.taken_back.rewards + self.review.rewards + self.cancelled;
            Some(if others == 0 { RefundClass::TooLate } else { RefundClass::PartlyLost })
        } else if done {
            Some(RefundClass::Confirmed)
        } else {
            (self.cancelled + self.expired > 0).then_some(RefundClass::CancelledOtherwise)
        }
    }

    /// Returns the value of the rewards that determine `class`.
    pub fn worth(&self, class: RefundClass) -> RewardValue {
        match class {
            RefundClass::StillRewarded => self.at_stake.worth.clone(),
            RefundClass::NotConfirmed => self.not_confirmed.worth.clone(),
            RefundClass::TooLate | RefundClass::PartlyLost => self.lost.worth.clone(),
            RefundClass::Confirmed => self.taken_back.worth.clone(),
            // The report attributes no value to the remaining classes, because their orders may not be refunded in
            // full.
            RefundClass::NotUsable
            | RefundClass::ToCompare
            | RefundClass::Unclear
            | RefundClass::RefundedInPart
            | RefundClass::NotFoundYet
            | RefundClass::CancelledOtherwise
            | RefundClass::NotAReferral
            | RefundClass::NotRefunded => RewardValue::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a reward of 500 for a test. If the state of the reward is *partly redeemed*, 200 of the 500 are redeemed.
    fn known(state: RewardState, ledger_status: LedgerStatus) -> RewardStatus {
        let redeemed = match state {
            RewardState::Redeemed => Some(500),
            RewardState::PartlyRedeemed => Some(200),
            _ => Some(0),
        };
        let unit = Unit::Currency("USD".to_owned());
        let (reward_id, remarks) = ("r".to_owned(), Vec::new());
        RewardStatus { reward_id, state, unit, assigned: Some(500), redeemed, ledger_status, remarks }
    }

    #[test]
    fn rewards_and_ledger_determine_the_class() {
        use LedgerStatus::{Done, None as No, Open};
        use RewardState::{Available, Cancelled, Expired, PartlyRedeemed, Pending, Redeemed};
        type Row<'a> = (&'a [(RewardState, LedgerStatus)], bool, bool, Option<RefundClass>, &'a str);
        let table: &[Row<'_>] = &[
            (&[], false, false, None, ""),
            (&[], true, false, Some(RefundClass::NotConfirmed), ""),
            (&[], false, true, Some(RefundClass::Confirmed), ""),
            (&[(Available, No), (Pending, No)], false, false, Some(RefundClass::StillRewarded), "10.00 USD"),
            (&[(Available, No), (Redeemed, No)], false, false, Some(RefundClass::StillRewarded), "5.00 USD"),
            (&[(PartlyRedeemed, No)], false, false, Some(RefundClass::StillRewarded), "3.00 USD"),
            // Tests an order of which recoup sent one of two actions.
            (&[(Available, No), (Available, Open)], true, false, Some(RefundClass::StillRewarded), "5.00 USD"),
            (&[(Cancelled, Done), (Available, Done)], false, true, Some(RefundClass::StillRewarded), "5.00 USD"),
            (&[(Available, Open), (Cancelled, Open)], true, false, Some(RefundClass::NotConfirmed), "10.00 USD"),
            (&[(PartlyRedeemed, Open)], true, false, Some(RefundClass::NotConfirmed), "3.00 USD"),
            (&[(Redeemed, Open)], true, false, Some(RefundClass::NotConfirmed), ""),
            (&[(Redeemed, No), (Redeemed, No)], false, false, Some(RefundClass::TooLate), "10.00 USD"),
            (&[(Redeemed, No), (Expired, No)], false, false, Some(RefundClass::TooLate), "5.00 USD"),
            (&[(Redeemed, No), (Cancelled, No)], false, false, Some(RefundClass::PartlyLost), "5.00 USD"),
            (&[(Redeemed, Done), (Cancelled, Done)], false, true, Some(RefundClass::PartlyLost), "5.00 USD"),
            (&[(PartlyRedeemed, Done), (Cancelled, Done)], false, true, Some(RefundClass::PartlyLost), "2.00 USD"),
            (&[(Cancelled, Done), (Cancelled, Done)], false, true, Some(RefundClass::Confirmed), "10.00 USD"),
            (&[(Cancelled, Done), (Expired, Done)], false, true, Some(RefundClass::Confirmed), "5.00 USD"),
            (&[(Cancelled, No), (Expired, No)], false, false, Some(RefundClass::CancelledOtherwise), ""),
        ];
        for (rewards, open, done, class, worth) in table {
            let mut shares = RewardTotals::default();
            for (state, ledger_status) in *rewards {
                shares.merge(&RewardTotals::of(&known(*state, *ledger_status)));
            }
            assert_eq!(shares.class(*open, *done), *class, "{rewards:?}");
            assert_eq!(class.map(|class| shares.worth(class).to_string()).unwrap_or_default(), *worth, "{rewards:?}");
        }
    }

    #[test]
    fn every_part_of_a_reward_is_counted_once() {
        for ledger_status in [LedgerStatus::None, LedgerStatus::Done, LedgerStatus::Open] {
            for state in
                [RewardState::Pending, RewardState::Available, RewardState::PartlyRedeemed, RewardState::Redeemed]
            {
                let shares = RewardTotals::of(&known(state, ledger_status));
                let mut all = RewardValue::default();
                for share in [&shares.at_stake, &shares.not_confirmed, &shares.lost, &shares.taken_back, &shares.review]
                {
                    all.merge(&share.worth);
                }
                assert_eq!(all.to_string(), "5.00 USD", "{state:?} {ledger_status:?}");
            }
        }
    }

    #[test]
    fn a_reward_without_an_amount_has_unknown_value() {
        let silent =
            RewardStatus { assigned: None, redeemed: None, ..known(RewardState::Available, LedgerStatus::None) };
        assert_eq!(RewardTotals::of(&silent).at_stake.worth.to_string(), "1 reward of unknown worth (USD)");
    }

    #[test]
    fn classes_are_sorted_and_have_different_names() {
        assert!(RefundClass::ALL.is_sorted());
        let words: std::collections::HashSet<&str> = RefundClass::ALL.iter().map(|class| class.words()).collect();
        assert_eq!(words.len(), RefundClass::ALL.len());
    }
}
