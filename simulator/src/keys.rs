//! Keys of the formulas: a reward, an action, and the class of an order.

/// To whom a reward was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// To the buyer.
    Friend,
    /// To the participant who referred the buyer.
    Referrer,
    /// Given manually, without an order.
    Manual,
    /// One more reward of the buyer for the same action. Only the referral and its own ID lead to it.
    Third,
    /// One more reward of the buyer for the same referral, without a link to an order.
    Loose,
}

impl Side {
    /// Whether the reward carries its order and action.
    pub(super) fn is_linked(self) -> bool {
        !matches!(self, Self::Manual | Self::Loose)
    }

    /// Whether no list shows the reward.
    pub(super) fn is_unlisted(self) -> bool {
        matches!(self, Self::Third | Self::Loose)
    }
}

/// One reward: its action, order and buyer, and the side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RewardKey {
    pub(super) buyer: u64,
    pub(super) order: u64,
    pub(super) action: u64,
    pub(super) side: Side,
}

impl RewardKey {
    /// All four parts in one number below 2^48.
    pub(super) fn pack(self) -> u64 {
        let side = match self.side {
            Side::Friend => 0,
            Side::Referrer => 1,
            Side::Manual => 2,
            Side::Third => 3,
            Side::Loose => 4,
        };
        self.buyer | self.order << 32 | self.action << 42 | side << 44
    }

    /// The inverse of [`RewardKey::pack`].
    pub(super) fn unpack(packed: u64) -> Option<Self> {
        let side = match packed >> 44 {
            0 => Side::Friend,
            1 => Side::Referrer,
            2 => Side::Manual,
            3 => Side::Third,
            4 => Side::Loose,
            _ => return None,
        };
        Some(Self { buyer: packed & 0xffff_ffff, order: packed >> 32 & 0x3ff, action: packed >> 42 & 3, side })
    }
}

/// One action of one order of one buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ActionKey {
    pub(super) buyer: u64,
    pub(super) order: u64,
    pub(super) action: u64,
}

impl ActionKey {
    /// The reward of this action for one side, whether or not it exists.
    pub(super) fn reward(self, side: Side) -> RewardKey {
        RewardKey { buyer: self.buyer, order: self.order, action: self.action, side }
    }
}

/// What is special about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Plain,
    TwoActions,
    NoAction,
    Unfamiliar,
    Ambiguous,
    ZeroAmount,
    /// Its rewards also name the buyer's second order, which is real and has its own action.
    Shared,
    /// Its rewards say that they cannot be cancelled.
    Kept,
}
