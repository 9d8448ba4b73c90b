//! Computes how many participants must order to give a certain share of the accounts a reward.
//!
//! The computed number is an approximation from the shares in the formulas, accurate to a few hundredths.

/// The numbers for `--rewarded`: of 10,000 participants, how many order and how many have a manual reward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewarded {
    pub(super) buyers: u64,
    pub(super) manual: u64,
}

impl Rewarded {
    /// Computes how many participants order and how many have a manual reward, for about this share of accounts with a
    /// reward.
    pub(super) fn new(share: f64) -> Self {
        // An account has slightly more than one member, and each member can get a reward in three ways.
        let person = 1.0 - (1.0 - share).powf(1.0 / MEMBERS);
        let manual = (person * 0.2).min(0.12);
        let buyers = (1.0 - ((1.0 - person) / (1.0 - manual)).sqrt()) / REWARDED_SIDES;
        let of = |share: f64| (share * 10_000.0).round().clamp(0.0, 10_000.0) as u64;
        Self { buyers: of(buyers), manual: of(manual) }
    }
}

/// The average number of participants per account: in each block of 16, on average 1.25 share the account of another
/// participant.
const MEMBERS: f64 = 16.0 / 14.75;
/// The share of the orders that reward the friend. The share of the orders that reward the referrer is the same.
const REWARDED_SIDES: f64 = 0.95;
