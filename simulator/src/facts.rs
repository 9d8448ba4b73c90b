//! Computes the facts of one simulated reward: type, dates, amounts, and the state that follows from them.
//!
//! A reward from REST has no status field. Therefore clients derive the state from dates and amounts. All correct
//! clients must derive the same state of a reward. Therefore a reward meets the condition of only one state, and the
//! dates of pending and expired rewards are days away from today.

use super::{
    data::{DAY, Data},
    keys::{Class, RewardKey, Side},
    random::Tag,
};

/// The state that a client should derive from the reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Available,
    PartlyRedeemed,
    Redeemed,
    Expired,
    Cancelled,
}

impl State {
    /// Returns the name of the reward's state in `/_simulator/truth`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::PartlyRedeemed => "partly_redeemed",
            Self::Redeemed => "redeemed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns `true` if a reward in this state can be cancelled, provided that its type allows it. The vendor does not
    /// publish what happens to a partly redeemed reward. The simulator does not cancel it.
    fn cancellable(self) -> bool {
        matches!(self, Self::Pending | Self::Available)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Credit,
    Discount,
    FuelTank,
    Integration,
    Unknown,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Credit => "CREDIT",
            Self::Discount => "PCT_DISCOUNT",
            Self::FuelTank => "FUELTANK",
            Self::Integration => "INTEGRATION",
            Self::Unknown => "STORE_POINTS_V2",
        }
    }
}

/// The changes of a reward since the simulator's start. An unchanged reward has none of the changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) cancelled: Option<i64>,
    pub(super) redeemed: Option<i64>,
    pub(super) deleted: bool,
    pub(super) moved_to: Option<u64>,
    /// When the reward last changed, in Unix milliseconds; `None` if it has not changed since the simulator's start.
    pub(super) modified: Option<i64>,
}

/// The current facts of one simulated reward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Whether a retraction or a cancellation cancels the reward. The simulator never cancels gift cards, and rewards
    /// marked as not cancellable.
    pub(super) cancellable: bool,
    pub(super) created: i64,
    pub(super) scheduled: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) cancelled: Option<i64>,
    /// The amount that the reward earned; `None` if the reward is not a credit.
    pub(super) assigned: Option<i64>,
    pub(super) redeemed: Option<i64>,
    pub(super) redeemed_at: i64,
    /// When the reward last changed, in Unix milliseconds. Many simulated rewards last changed at the same time.
    pub(super) modified: i64,
    pub(super) source: &'static str,
    /// A random number for the choices in the reward's JSON.
    pub(super) look: u64,
}

impl Data {
    /// Computes the facts of one reward from the formulas and the reward's changes.
    pub(super) fn facts(&self, key: RewardKey, touch: Touch, tidy: bool) -> Facts {
        let packed = key.pack();
        let created = self.created(key);
        let roll = self.hash(Tag::Kind, packed, 0);
        let kind = match roll % 100 {
            _ if key.side.is_unlisted() => Kind::Credit,
            0..70 => Kind::Credit,
            70..80 => Kind::Discount,
            80..92 => Kind::FuelTank,
            _ if tidy => Kind::Credit,
            92..98 => Kind::Integration,
            _ => Kind::Unknown,
        };
        let credit = kind == Kind::Credit;
        let mut state = match self.hash(Tag::State, packed, 0) % 100 {
            0..10 => State::Pending,
            // Only credits are redeemed, because REST shows a redeemed amount for credits only.
            10..20 if credit => State::Redeemed,
            20..25 if credit => State::PartlyRedeemed,
            25..33 => State::Expired,
            33..45 => State::Cancelled,
            _ => State::Available,
        };
        let late = self.late_reward(key).is_some();
        if key.side.is_unlisted() || (late && state != State::Pending) {
            // The reward of a new order is neither expired nor redeemed.
            state = State::Available;
        }
        let spread = self.hash(Tag::Value, packed, 1);
        let scheduled = (state == State::Pending).then(|| self.today + (2 + spread % 43) as i64 * DAY);
        let expires = match state {
            // A reward that was created yesterday or today expires at its creation.
            State::Expired => Some((created + 30 * DAY).min(self.today - DAY).max(created)),
            State::Available if spread % 10 < 4 => Some(self.today + (30 + spread % 370) as i64 * DAY),
            _ => None,
        };
        let ended = matches!(state, State::Cancelled | State::Redeemed | State::PartlyRedeemed)
            .then(|| self.ended(packed, created));
        let mut cancelled = ended.filter(|_| state == State::Cancelled);
        let assigned = credit.then(|| 500 + (roll >> 32) as i64 % 46 * 100);
        let mut redeemed = assigned.map(|assigned| match state {
            State::Redeemed => assigned,
            State::PartlyRedeemed => assigned / 2,
            _ => 0,
        });
        let mut redeemed_at = ended.unwrap_or(created);
        let migrated = self.migrated(packed, created).filter(|_| !late);
        let modified = touch.modified.unwrap_or(created.max(ended.unwrap_or(created)).max(migrated.unwrap_or(created)));
        if let Some(at) = touch.redeemed
            && credit
            && state.cancellable()
        {
            (state, redeemed, redeemed_at) = (State::Redeemed, assigned, at);
        }
        if let Some(at) = touch.cancelled {
            (state, cancelled) = (State::Cancelled, Some(at));
        }
        let is_kept = key.side != Side::Manual && self.class(key.buyer, key.order) == Class::Kept;
        let cancellable = state.cancellable() && kind != Kind::Integration && !is_kept;
        let source = match (key.side, tidy) {
            (Side::Friend | Side::Third | Side::Loose, _) => "REFERRED",
            (Side::Referrer, _) => "FRIEND_SIGNUP",
            (Side::Manual, false) if spread.is_multiple_of(3) => "AUTOMATED",
            (Side::Manual, _) => "MANUAL",
        };
        let look = self.hash(Tag::Look, packed, 0);
        Facts {
            kind,
            state,
            cancellable,
            created,
            scheduled,
            expires,
            cancelled,
            assigned,
            redeemed,
            redeemed_at,
            modified,
            source,
            look,
        }
    }

    /// Returns when a reward was cancelled or redeemed: within ten days after its creation, and not after today. The
    /// times of cancellations and redemptions differ from reward to reward, because the newest rewards must not all
    /// have the same time.
    fn ended(&self, packed: u64, created: i64) -> i64 {
        let room = (self.today - created).clamp(1, 10 * DAY);
        created + (self.hash(Tag::State, packed, 1) % room as u64) as i64
    }

    /// Returns an invertible number by which rewards of the same millisecond are sorted. The order of the invertible
    /// numbers differs from the order of reward IDs.
    pub(super) fn tie(&self, key: RewardKey) -> u64 {
        self.scramble(key.pack()).reverse_bits()
    }

    /// Returns the reward of an invertible number, as the inverse of [`Data::tie`].
    pub(super) fn tied(&self, tie: u64) -> Option<RewardKey> {
        RewardKey::unpack(self.unscramble(tie.reverse_bits()))
    }

    /// Returns the time at which a simulated migration modified this reward; `None` if no migration did. Two migrations
    /// modified a tenth of the older rewards.
    fn migrated(&self, packed: u64, created: i64) -> Option<i64> {
        let roll = self.hash(Tag::Migration, packed, 0);
        if created > self.today - 30 * DAY || !roll.is_multiple_of(10) {
            return None;
        }
        Some(if (roll >> 32).is_multiple_of(2) {
            self.today - 20 * DAY + 11_111_111
        } else {
            self.today - 5 * DAY + 55_555_555
        })
    }
}
