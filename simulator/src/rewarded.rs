//! Computes how many participants must order so that a given share of the accounts has a reward.
//!
//! The result is an approximation from the shares in the formulas, accurate to a few hundredths.

/// For `--rewarded`: of 10,000 participants, how many order and how many have a manual reward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewarded {
    pub(super) buyers: u64,
    pub(super) manual: u64,
}

impl Rewarded {
    /// Computes both numbers so that about this share of the accounts has a reward: as a buyer, as a referrer, or manually.
    pub(super) fn new(share: f64) -> Self {
        // An account has slightly more than one member, and each member can get a reward in three ways.
        let person = 1.0 - (1.0 - share).powf(1.0 / MEMBERS);
        let manual = (person * 0.2).min(0.12);
        let buyers = (1.0 - ((1.0 - person) / (1.0 - manual)).sqrt()) / REWARDED_SIDES;
        let of = |share: f64| (share * 10_000.0).round().clamp(0.0, 10_000.0) as u64;
        Self { buyers: of(buyers), manual: of(manual) }
    }
}

/// Average number of participants per account: in each block of 16, on average 1.25 share the account of another
/// participant.
const MEMBERS: f64 = 16.0 / 14.75;
/// Share of the orders that reward the friend. The share for the referrer is the same.
const REWARDED_SIDES: f64 = 0.95;
