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
    /// GraphQL's list of statuses, joined by commas; `None` from REST.
    pub statuses: Option<String>,
}

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
        }
    }
}

impl fmt::Display for RewardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Reward {
    /// The state at `now_ms` (Unix milliseconds). A cancellation outranks everything, a redemption outranks an expiry.
    pub fn state(&self, now_ms: i64) -> RewardState {
        let has = |status: &str| self.statuses.as_deref().is_some_and(|list| list.split(',').any(|s| s == status));
        let redeemed = self.redeemed.unwrap_or(0);
        if self.date_cancelled.is_some() || has("CANCELLED") {
            RewardState::Cancelled
        } else if has("REDEEMED") || (redeemed > 0 && self.assigned.is_some_and(|assigned| redeemed >= assigned)) {
            RewardState::Redeemed
        } else if redeemed > 0 {
            RewardState::PartlyRedeemed
        } else if self.date_redeemed.is_some() {
            RewardState::Redeemed
        } else if self.date_expires.is_some_and(|at| at <= now_ms) || has("EXPIRED") {
            RewardState::Expired
        } else if self.date_scheduled_for.is_some_and(|at| at > now_ms) || has("PENDING") {
            RewardState::Pending
        } else {
            RewardState::Available
        }
    }
}
