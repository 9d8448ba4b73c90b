//! The fields of a reward, and the state that recoup derives from them.

use std::fmt;

use serde::Serialize;

use super::{AccountId, RewardId, UserId};

/// The fields of a reward that recoup uses. The index also stores the reward's whole JSON.
///
/// A reward from REST has no status (`docs/vendor/advocate.md` §8). Therefore [`Reward::state`] derives the status. The
/// dates of a reward are Unix milliseconds, and its amounts are in the reward's own unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reward {
    pub reward_id: RewardId,
    /// The account that the reward's JSON states, or else the account of the request.
    pub account_id: AccountId,
    pub user_id: Option<UserId>,
    /// The type of the reward: `CREDIT`, `PCT_DISCOUNT`, `FUELTANK`, `INTEGRATION` or another type. The vendor may add
    /// types of rewards.
    pub reward_type: Option<String>,
    /// The source of the reward: `FRIEND_SIGNUP`, `REFERRED`, `MANUAL` …
    pub reward_source: Option<String>,
    /// The unit of the reward's amounts: `CENTS`, `%`, `MONTH` …
    pub unit: Option<String>,
    pub program_id: Option<String>,
    pub name: Option<String>,
    /// The ISO 4217 code of the reward's currency.
    pub currency: Option<String>,
    /// The amount that the reward earned, in `unit`: `assignedCredit`, `value`, `amount` or `discountPercent`.
    pub assigned: Option<i64>,
    /// The redeemed amount of the reward, in `unit`.
    pub redeemed: Option<i64>,
    /// `false` if the vendor marks the reward as not cancellable.
    pub cancellable: Option<bool>,
    pub date_created: Option<i64>,
    pub date_given: Option<i64>,
    pub date_scheduled_for: Option<i64>,
    pub date_expires: Option<i64>,
    /// When the reward was cancelled; `None` if the reward is not cancelled.
    pub date_cancelled: Option<i64>,
    pub date_redeemed: Option<i64>,
    /// When the reward was last modified; `None` from REST, because it has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_modified: Option<i64>,
    /// GraphQL's statuses of the reward, joined by commas; `None` from REST. The statuses of a reward contain
    /// [`UNREADABLE`] if a value that decides the reward's state cannot be read.
    pub statuses: Option<String>,
}

/// The status that recoup adds to a reward if a value that decides its state cannot be read. The vendor publishes five
/// statuses of rewards (`RewardStatus` of the GraphQL schema). Any other status makes the state of the reward unclear.
pub const UNREADABLE: &str = "UNREADABLE";

/// The earliest time at which a reward can have ended: 2008-01-01, in Unix milliseconds. ActionIds count days from
/// 2008-01-01. An earlier date of a reward is a default value, or is in seconds instead of milliseconds.
const EARLIEST_END_MS: i64 = 1_199_145_600_000;

/// The largest error of recoup's estimate of the vendor's time, in milliseconds. The `Date` header and the stored clock
/// offset have a precision of a second.
pub const VENDOR_TIME_INEXACT_MS: i64 = 5_000;

/// The state of a reward, derived from its dates, amounts and statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardState {
    /// The reward is not yet available.
    Pending,
    /// The participant has earned the reward and not used it.
    Available,
    /// The participant has used part of the credit. The vendor does not publish whether it can cancel the rest of a
    /// partly redeemed reward.
    PartlyRedeemed,
    /// The participant has used all of the reward. Therefore the vendor cannot cancel a fully redeemed reward.
    Redeemed,
    Expired,
    Cancelled,
    /// The dates, amounts or statuses of the reward are unreadable or contradict each other. An unclear reward is no
    /// evidence for a retraction.
    Unclear,
}

impl RewardState {
    const ALL: [Self; 7] = [
        Self::Pending,
        Self::Available,
        Self::PartlyRedeemed,
        Self::Redeemed,
        Self::Expired,
        Self::Cancelled,
        Self::Unclear,
    ];

    /// Returns the reward state for a word of [`RewardState::as_str`].
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Returns the word for the reward state in tables, JSON and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::PartlyRedeemed => "partly_redeemed",
            Self::Redeemed => "redeemed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unclear => "unclear",
        }
    }
}

impl fmt::Display for RewardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Reward {
    /// Returns the state of the reward at `now_ms`, in Unix milliseconds by the vendor's clock.
    ///
    /// A fully redeemed reward has the state *redeemed*, whatever its other fields say. For any other reward, a
    /// cancellation outranks a redemption, and a redemption outranks an expiry. A contradiction gives
    /// [`RewardState::Unclear`]: an end that a status denies, an end at an impossible time, a redemption after the
    /// cancellation or without an amount, or an unknown status.
    pub fn state(&self, now_ms: i64) -> RewardState {
        let says = |status: &str| self.statuses.as_deref().is_some_and(|list| list.split(',').any(|s| s == status));
        let is_active = says("AVAILABLE") || says("PENDING");
        let redeemed = self.redeemed.unwrap_or(0);
        if self.has_unknown_status() {
            return RewardState::Unclear;
        }
        if redeemed > 0 && self.assigned.is_some_and(|all| redeemed >= all) {
            return RewardState::Redeemed;
        }
        if self.date_cancelled.is_some() || says("CANCELLED") {
            let ends_otherwise = (says("REDEEMED") || says("EXPIRED")) && !says("CANCELLED");
            let is_impossible = self.date_cancelled.is_some_and(|at| {
                at > now_ms.saturating_add(VENDOR_TIME_INEXACT_MS)
                    || !self.can_end_at(at, now_ms)
                    || self.date_redeemed.is_some_and(|redeemed_at| redeemed_at > at)
            });
            let redeems_nothing = redeemed == 0 && (says("REDEEMED") || self.date_redeemed.is_some());
            return if is_active || ends_otherwise || is_impossible || redeems_nothing {
                RewardState::Unclear
            } else {
                RewardState::Cancelled
            };
        }
        if says("REDEEMED") && !is_active {
            return RewardState::Redeemed;
        }
        if redeemed > 0 || says("REDEEMED") {
            return RewardState::PartlyRedeemed;
        }
        if self.date_redeemed.is_some() {
            return RewardState::Redeemed;
        }
        match self.date_expires {
            Some(at) if !self.can_end_at(at, now_ms) => RewardState::Unclear,
            // The reward may have expired after recoup read its statuses.
            Some(at) if at <= now_ms => RewardState::Expired,
            Some(_) if says("EXPIRED") => RewardState::Unclear,
            None if says("EXPIRED") => {
                if is_active {
                    RewardState::Unclear
                } else {
                    RewardState::Expired
                }
            }
            _ if self.date_scheduled_for.is_some_and(|at| at > now_ms) || says("PENDING") => RewardState::Pending,
            _ => RewardState::Available,
        }
    }

    fn has_unknown_status(&self) -> bool {
        let known = ["PENDING", "CANCELLED", "EXPIRED", "REDEEMED", "AVAILABLE"];
        self.statuses.as_deref().is_some_and(|list| list.split(',').any(|status| !known.contains(&status)))
    }

    /// Returns when the reward was cancelled or expired, in Unix milliseconds. Returns `None` if the reward has not ended, or
    /// if the vendor gives no date.
    pub fn ended_at(&self, now_ms: i64) -> Option<i64> {
        match self.state(now_ms) {
            RewardState::Cancelled => self.date_cancelled,
            RewardState::Expired => self.date_expires,
            _ => None,
        }
    }

    /// Returns `true` if the reward can have ended at this time. A reward ends after the vendor gave it. A pending
    /// reward may end after its creation, because the vendor gives it later.
    fn can_end_at(&self, at_ms: i64, now_ms: i64) -> bool {
        let given = self.date_given.filter(|given| *given <= now_ms).or(self.date_created);
        at_ms >= EARLIEST_END_MS && given.is_none_or(|given| at_ms >= given)
    }

    /// Returns a weight for choosing between several readings of one reward. The reading with the smallest weight is
    /// the strongest evidence against a cancellation. Of two readings in which the reward ended, the reading with the
    /// larger redeemed amount has the smaller weight, because the vendor cannot take that amount back. If the redeemed
    /// amounts of two readings are equal, an expiry has a smaller weight than a cancellation, and an earlier end a smaller
    /// weight than a later end.
    pub fn weight(&self, now_ms: i64) -> (u8, i64, bool, i64) {
        let state = self.state(now_ms);
        let rank = match state {
            RewardState::Available | RewardState::Pending => 0,
            RewardState::Unclear => 1,
            RewardState::PartlyRedeemed => 2,
            RewardState::Redeemed => 3,
            RewardState::Expired | RewardState::Cancelled => 4,
        };
        let redeemed = self.redeemed.unwrap_or(0);
        let is_cancelled = state == RewardState::Cancelled;
        (rank, redeemed.saturating_neg(), is_cancelled, self.ended_at(now_ms).unwrap_or(i64::MIN))
    }
}

#[cfg(test)]
impl Reward {
    /// Returns a reward for tests: a credit of 500 without a unit and without dates.
    pub fn of_a_test() -> Self {
        Self {
            reward_id: RewardId::new("r"),
            account_id: AccountId::new("a"),
            user_id: None,
            reward_type: Some("CREDIT".into()),
            reward_source: None,
            unit: None,
            program_id: None,
            name: None,
            currency: None,
            assigned: Some(500),
            redeemed: Some(0),
            cancellable: None,
            date_created: None,
            date_given: None,
            date_scheduled_for: None,
            date_expires: None,
            date_cancelled: None,
            date_redeemed: None,
            date_modified: None,
            statuses: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const DAY: i64 = 86_400_000;

    fn reward() -> Reward {
        Reward { date_created: Some(NOW - 9 * DAY), date_given: Some(NOW - 8 * DAY), ..Reward::of_a_test() }
    }

    #[test]
    fn an_impossible_moment_is_unclear() {
        for (at, state) in [
            (1, RewardState::Unclear),
            (NOW / 1_000, RewardState::Unclear),
            (32_472_144_000_000, RewardState::Unclear),
            (i64::MAX, RewardState::Unclear),
            (NOW + DAY, RewardState::Unclear),
            (NOW + 30_000, RewardState::Unclear),
            (NOW + VENDOR_TIME_INEXACT_MS + 1, RewardState::Unclear),
            (NOW + VENDOR_TIME_INEXACT_MS, RewardState::Cancelled),
            (NOW - DAY, RewardState::Cancelled),
            (NOW - 8 * DAY, RewardState::Cancelled),
            (NOW - 8 * DAY - 1, RewardState::Unclear),
        ] {
            let cancelled = Reward { date_cancelled: Some(at), ..reward() };
            assert_eq!(cancelled.state(NOW), state, "cancelled at {at}");
            assert_eq!(cancelled.ended_at(NOW), (state == RewardState::Cancelled).then_some(at));
        }
        // A reward with a future date was still pending when it was cancelled.
        let pending = Reward { date_given: Some(NOW + DAY), date_scheduled_for: Some(NOW + DAY), ..reward() };
        for (at, state) in [(NOW - DAY, RewardState::Cancelled), (NOW - 10 * DAY, RewardState::Unclear)] {
            assert_eq!(Reward { date_cancelled: Some(at), ..pending.clone() }.state(NOW), state);
        }
        // If the vendor states no date at which it gave the reward, recoup uses the reward's creation date.
        let older = Reward { date_given: None, date_cancelled: Some(NOW - 10 * DAY), ..reward() };
        assert_eq!(older.state(NOW), RewardState::Unclear);
        for (at, state) in [
            (1, RewardState::Unclear),
            (NOW - 8 * DAY - 1, RewardState::Unclear),
            (NOW - DAY, RewardState::Expired),
            (NOW + DAY, RewardState::Available),
        ] {
            assert_eq!(Reward { date_expires: Some(at), ..reward() }.state(NOW), state, "expires at {at}");
        }
    }

    #[test]
    fn a_status_that_denies_the_end_makes_the_state_unclear() {
        use RewardState::{Available, Cancelled, Expired, PartlyRedeemed, Pending, Redeemed, Unclear};
        let cancelled = Some(NOW - DAY);
        let (past, future) = (Some(NOW - DAY), Some(NOW + DAY));
        for (date_cancelled, date_expires, statuses, state) in [
            (cancelled, None, "CANCELLED", Cancelled),
            (cancelled, None, "REINSTATED", Unclear),
            (cancelled, None, "CANCELLED,REINSTATED", Unclear),
            (cancelled, None, "cancelled", Unclear),
            (cancelled, None, UNREADABLE, Unclear),
            (None, None, UNREADABLE, Unclear),
            (None, None, "", Unclear),
            (cancelled, None, "CANCELLED,REDEEMED", Unclear),
            (cancelled, None, "CANCELLED,EXPIRED", Cancelled),
            (cancelled, None, "AVAILABLE", Unclear),
            (cancelled, None, "CANCELLED,AVAILABLE", Unclear),
            (cancelled, None, "REDEEMED", Unclear),
            (None, None, "CANCELLED", Cancelled),
            (None, None, "CANCELLED,PENDING", Unclear),
            (None, None, "REDEEMED", Redeemed),
            (None, None, "REDEEMED,AVAILABLE", PartlyRedeemed),
            (None, None, "EXPIRED", Expired),
            (None, None, "EXPIRED,AVAILABLE", Unclear),
            (None, future, "EXPIRED", Unclear),
            (None, past, "AVAILABLE", Expired),
            (None, future, "AVAILABLE", Available),
            (None, None, "PENDING", Pending),
        ] {
            let found = Reward { date_cancelled, date_expires, statuses: Some(statuses.to_owned()), ..reward() };
            assert_eq!(found.state(NOW), state, "{date_cancelled:?} {date_expires:?} {statuses}");
        }
    }

    #[test]
    fn a_cancelled_reward_that_was_redeemed_is_not_simply_cancelled() {
        use RewardState::{Cancelled, Redeemed, Unclear};
        let (before, after) = (Some(NOW - 2 * DAY), Some(NOW - DAY / 2));
        for (redeemed, date_redeemed, state) in [
            (0, None, Cancelled),
            // A part of the reward was redeemed earlier, and the rest was cancelled.
            (200, None, Cancelled),
            (200, before, Cancelled),
            (200, after, Unclear),
            (500, None, Redeemed),
            (900, after, Redeemed),
            (0, before, Unclear),
            (0, after, Unclear),
        ] {
            let found = Reward { date_cancelled: Some(NOW - DAY), redeemed: Some(redeemed), date_redeemed, ..reward() };
            assert_eq!(found.state(NOW), state, "{redeemed} redeemed at {date_redeemed:?}");
        }
    }
}
