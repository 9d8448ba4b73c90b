//! How many participants must order so that a wanted share of the accounts has a reward.
//!
//! An approximation by the shares that the formulas give, good to a few hundredths. Nothing here decides for one
//! participant.

/// How many participants order and how many have a reward by hand, of 10,000, where a share was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewarded {
    pub(super) buyers: u64,
    pub(super) manual: u64,
}

impl Rewarded {
    /// So that about this share of the accounts has a reward: as a buyer, as whoever referred one, or by hand.
    pub(super) fn new(share: f64) -> Self {
        // Accounts have a few more members than one, and each member three ways to a reward.
        let person = 1.0 - (1.0 - share).powf(1.0 / MEMBERS);
        let manual = (person * 0.2).min(0.12);
        let buyers = (1.0 - ((1.0 - person) / (1.0 - manual)).sqrt()) / REWARDED_SIDES;
        let of = |share: f64| (share * 10_000.0).round().clamp(0.0, 10_000.0) as u64;
        Self { buyers: of(buyers), manual: of(manual) }
    }
}

/// Participants per account, on average: 1.25 of each block of 16 are in the account of another.
const MEMBERS: f64 = 16.0 / 14.75;
/// The share of orders that reward a given one of their sides.
const REWARDED_SIDES: f64 = 0.95;
