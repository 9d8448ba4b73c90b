//! The keys from which the formulas compute the data: a reward, an action, and the class of an order.

/// The recipient of a simulated reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// The buyer of the order receives the reward.
    Friend,
    /// The participant who referred the buyer receives the reward.
    Referrer,
    /// A participant received the reward manually, without an order.
    Manual,
    /// The buyer receives one more reward for the same action. A client finds the additional reward only by the
    /// referral or by the reward's own ID.
    Third,
    /// The buyer receives one more reward for the same referral, without a link to an order.
    Loose,
}

impl Side {
    /// Returns `true` if the reward contains its order ID and ActionId.
    pub(super) fn is_linked(self) -> bool {
        !matches!(self, Self::Manual | Self::Loose)
    }

    /// Returns `true` if lists of rewards do not contain this reward.
    pub(super) fn is_unlisted(self) -> bool {
        matches!(self, Self::Third | Self::Loose)
    }
}

/// The key of one reward: its buyer, order and action, and its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RewardKey {
    pub(super) buyer: u64,
    pub(super) order: u64,
    pub(super) action: u64,
    pub(super) side: Side,
}

impl RewardKey {
    /// Packs all four parts of the reward's key into one number below 2^48.
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

    /// Unpacks a number into a reward's key, as the inverse of [`RewardKey::pack`].
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ActionKey {
    pub(super) buyer: u64,
    pub(super) order: u64,
    pub(super) action: u64,
}

impl ActionKey {
    /// Returns the key of this action's reward for one recipient. The reward of the returned key may not exist.
    pub(super) fn reward(self, side: Side) -> RewardKey {
        RewardKey { buyer: self.buyer, order: self.order, action: self.action, side }
    }
}

/// How a simulated order differs from a plain order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Plain,
    TwoActions,
    NoAction,
    Unfamiliar,
    Ambiguous,
    ZeroAmount,
    /// The rewards also contain the ID of the buyer's second order, which exists and has its own action.
    Shared,
    /// The rewards of the order are marked as not cancellable.
    Kept,
}
