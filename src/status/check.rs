//! What a monitor wants to know: is anything wrong that a person must hear of.
//!
//! These are: whatever keeps everything from being sent (a ledger that is not fit, a clock that is far from the vendor's or not
//! known), an index that is older than it may be, retractions that are long overdue, credentials that the vendor has refused, a
//! proof that a newer crawl contradicts, and a wait that a host cannot mean.
//! Gaps are not: a single account that can never be read would keep the alarm on for ever, and the
//! metrics have them. Only computes; nothing is read here.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Status;
use super::text::in_words;
use crate::clock::signed;
use crate::model::budget::WaitReason;
use crate::store::ledger::State;

/// How old things may get.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Age of the index, since the newest crawl that came to its end began.
    pub max_age: Duration,
    /// Time that a retraction may be open, or written down and not sent.
    pub overdue: Duration,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Trouble)]
pub struct Problem {
    /// `ledger`, `stale_index`, `overdue_retraction`, `refused_credentials`, `standing_again`, `implausible_wait` or `clock`.
    pub problem: &'static str,
    /// What exactly, as a sentence.
    pub message: String,
}

impl Status {
    /// Everything that is wrong.
    pub fn check(&self, limits: Limits, now: Timestamp) -> Vec<Problem> {
        let mut problems = self.blocked.clone();
        let mut found = |problem, message| problems.push(Problem { problem, message });
        let max_age = limits.max_age.as_secs() as i64;
        match self.age_seconds {
            None => found("stale_index", "no crawl has come to its end yet".to_owned()),
            Some(age) if age >= max_age => {
                found("stale_index", format!("the index is {} old, and may be {}", in_words(age), in_words(max_age)));
            }
            Some(_) => {}
        }
        for open in self.overdue(limits.overdue, now) {
            let (id, order, state, since) = (open.id, &open.order_id, open.state.as_str(), &open.since);
            found("overdue_retraction", format!("retraction {id} of order {order} has been {state} since {since}"));
        }
        for again in &self.standing_again {
            let (id, order, reward) = (again.id, &again.order_id, &again.reward_id);
            let message = format!(
                "retraction {id} of order {order} was proven, but reward {reward} does not read as cancelled; run `recoup verify {id}`"
            );
            found("standing_again", message);
        }
        for refusal in &self.refusals {
            found(
                "refused_credentials",
                format!("`recoup {}` was refused at {}: {}", refusal.command, refusal.at, refusal.message),
            );
        }
        for line in self.quota.iter().filter(|line| line.wait_reason == Some(WaitReason::Implausible.as_str())) {
            let until = line.waiting_until.as_deref().unwrap_or_default();
            let why = "it asked for more than a day; `recoup quota clear` ends the wait";
            found("implausible_wait", format!("no request goes to {} before {until}: {why}", line.host));
        }
        problems
    }

    /// Retractions that have been open, or written down and not sent, for longer than this. An *unconfirmed* one is not among
    /// them: it is read again for 14 days, and there is nothing that anybody is late with.
    pub(super) fn overdue(&self, limit: Duration, now: Timestamp) -> Vec<&super::OpenLine> {
        let limit = signed(limit);
        let is_late = |since: &str| since.parse::<Timestamp>().is_ok_and(|since| now.duration_since(since) > limit);
        self.open.iter().filter(|open| open.state != State::Unconfirmed && is_late(&open.since)).collect()
    }
}
