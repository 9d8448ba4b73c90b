//! A reward, as far as recoup acts on it or shows it, and where it stands.

use std::fmt;

use serde::Serialize;

use super::{AccountId, RewardId, UserId};

/// The parts of a reward that recoup acts on or shows; the whole JSON is kept beside it.
///
/// REST has no status field (`advocate-api.md` §8): [`Reward::state`] derives it. Dates are Unix milliseconds, amounts are in the
/// reward's own unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reward {
    /// The reward's ID.
    pub reward_id: RewardId,
    /// The account it belongs to; where the JSON has none, the account that was asked.
    pub account_id: AccountId,
    /// The user it belongs to, where the JSON says so.
    pub user_id: Option<UserId>,
    /// `CREDIT`, `PCT_DISCOUNT`, `FUELTANK`, `INTEGRATION` or anything newer.
    pub reward_type: Option<String>,
    /// `FRIEND_SIGNUP`, `REFERRED`, `MANUAL` …
    pub reward_source: Option<String>,
    /// `CENTS`, `%`, `MONTH` …
    pub unit: Option<String>,
    /// The program it was earned in.
    pub program_id: Option<String>,
    /// The human-readable name.
    pub name: Option<String>,
    /// ISO 4217 code where the program has one.
    pub currency: Option<String>,
    /// What was earned, in `unit`: `assignedCredit`, `amount` or `discountPercent`.
    pub assigned: Option<i64>,
    /// What of it was redeemed, in `unit`.
    pub redeemed: Option<i64>,
    /// `false` where the vendor says that it cannot be cancelled.
    pub cancellable: Option<bool>,
    /// Unix milliseconds.
    pub date_created: Option<i64>,
    /// Unix milliseconds.
    pub date_given: Option<i64>,
    /// Unix milliseconds.
    pub date_scheduled_for: Option<i64>,
    /// Unix milliseconds.
    pub date_expires: Option<i64>,
    /// Unix milliseconds; a date here means cancelled.
    pub date_cancelled: Option<i64>,
    /// Unix milliseconds.
    pub date_redeemed: Option<i64>,
    /// Unix milliseconds; `None` from REST, which does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_modified: Option<i64>,
    /// GraphQL's list of statuses, joined by commas; `None` from REST. [`UNREADABLE`] is among them if one of the values that
    /// decide the state cannot be read.
    pub statuses: Option<String>,
}

/// The status of a reward that says something about its state that recoup cannot read. The vendor publishes five statuses
/// (`RewardStatus` of the GraphQL schema); this word, like every other one, makes the state unclear.
pub const UNREADABLE: &str = "UNREADABLE";

/// The earliest moment that a reward can have ended, 2008-01-01 in Unix milliseconds: the day that an ActionId counts from. An
/// earlier date is a default value or seconds in place of milliseconds.
const EARLIEST_END_MS: i64 = 1_199_145_600_000;

/// How exactly the vendor's time is known, in milliseconds: the `Date` of its answers has whole seconds, and so has the offset
/// that is kept of it.
pub const VENDOR_TIME_INEXACT_MS: i64 = 5_000;

/// Where a reward stands, derived from its dates and amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardState {
    /// Not yet available.
    Pending,
    /// Earned and not used.
    Available,
    /// Part of a credit was used; what happens to the rest is not published.
    PartlyRedeemed,
    /// Used up. Cannot be cancelled.
    Redeemed,
    /// Ran out.
    Expired,
    /// Taken back.
    Cancelled,
    /// Its dates, amounts or statuses cannot be read or contradict each other: whether it stands is not known, and it proves nothing.
    Unclear,
}

impl RewardState {
    /// The word for it in tables, JSON and the ledger.
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
    /// The state at `now_ms` (Unix milliseconds, by the vendor's clock), whatever source the reward came from.
    ///
    /// A reward that was redeemed whole is redeemed, whatever else is said. Otherwise a cancellation outranks a redemption, and
    /// a redemption an expiry. Everything that contradicts itself is [`RewardState::Unclear`]: an end that a status denies, one at
    /// an impossible moment, a redemption after the cancellation or without an amount, a status that recoup does not know.
    pub fn state(&self, now_ms: i64) -> RewardState {
        let says = |status: &str| self.statuses.as_deref().is_some_and(|list| list.split(',').any(|s| s == status));
        let stands = says("AVAILABLE") || says("PENDING");
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
            return if stands || ends_otherwise || is_impossible || redeems_nothing {
                RewardState::Unclear
            } else {
                RewardState::Cancelled
            };
        }
        if says("REDEEMED") && !stands {
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
            // The statuses were read at some time before now, and say nothing of what has passed since.
            Some(at) if at <= now_ms => RewardState::Expired,
            Some(_) if says("EXPIRED") => RewardState::Unclear,
            None if says("EXPIRED") => {
                if stands {
                    RewardState::Unclear
                } else {
                    RewardState::Expired
                }
            }
            _ if self.date_scheduled_for.is_some_and(|at| at > now_ms) || says("PENDING") => RewardState::Pending,
            _ => RewardState::Available,
        }
    }

    /// Whether a status is none of those that the vendor publishes.
    fn has_unknown_status(&self) -> bool {
        let known = ["PENDING", "CANCELLED", "EXPIRED", "REDEEMED", "AVAILABLE"];
        self.statuses.as_deref().is_some_and(|list| list.split(',').any(|status| !known.contains(&status)))
    }

    /// When it was cancelled or expired, in Unix milliseconds; `None` if it was not, or if the vendor gives no date.
    pub fn ended_at(&self, now_ms: i64) -> Option<i64> {
        match self.state(now_ms) {
            RewardState::Cancelled => self.date_cancelled,
            RewardState::Expired => self.date_expires,
            _ => None,
        }
    }

    /// Whether it can have ended at this moment: not about 1970, and not before it was given. A pending reward, which is given
    /// later, can end from its creation on.
    fn can_end_at(&self, at_ms: i64, now_ms: i64) -> bool {
        let given = self.date_given.filter(|given| *given <= now_ms).or(self.date_created);
        at_ms >= EARLIEST_END_MS && given.is_none_or(|given| at_ms >= given)
    }

    /// How much a statement about a reward speaks against its cancellation, to choose among several about one reward: the
    /// smallest weight speaks the most. Of two ends the one with more redeemed comes first, then the earlier one.
    pub fn weight(&self, now_ms: i64) -> (u8, i64, i64) {
        let rank = match self.state(now_ms) {
            RewardState::Available | RewardState::Pending => 0,
            RewardState::Unclear => 1,
            RewardState::PartlyRedeemed => 2,
            RewardState::Redeemed => 3,
            RewardState::Expired => 4,
            RewardState::Cancelled => 5,
        };
        let redeemed = self.redeemed.unwrap_or(0);
        (rank, redeemed.saturating_neg(), self.ended_at(now_ms).unwrap_or(i64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const DAY: i64 = 86_400_000;

    fn reward() -> Reward {
        Reward {
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
            date_created: Some(NOW - 9 * DAY),
            date_given: Some(NOW - 8 * DAY),
            date_scheduled_for: None,
            date_expires: None,
            date_cancelled: None,
            date_redeemed: None,
            date_modified: None,
            statuses: None,
        }
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
        // One that is given in the future was pending when it was cancelled.
        let pending = Reward { date_given: Some(NOW + DAY), date_scheduled_for: Some(NOW + DAY), ..reward() };
        for (at, state) in [(NOW - DAY, RewardState::Cancelled), (NOW - 10 * DAY, RewardState::Unclear)] {
            assert_eq!(Reward { date_cancelled: Some(at), ..pending.clone() }.state(NOW), state);
        }
        // Without the moment at which it was given, its creation counts.
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
    fn of_two_statements_the_one_that_stands_counts() {
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
            // What was redeemed before is lost, and the rest was cancelled.
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
