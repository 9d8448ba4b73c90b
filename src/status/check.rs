//! `recoup status --check`: finds the problems that the operator must know about. `check` does no I/O.
//!
//! The operator must know about a ledger or a clock that blocks every send, a stale index, an overdue retraction,
//! credentials that the vendor refused, a proof that a newer crawl contradicts, and an implausible wait. A gap in a
//! crawl is not a problem of `recoup status --check`, because one account that can never be read would keep the alarm
//! on forever. The metrics report the gaps of a crawl.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Status;
use super::text::human_duration;
use crate::clock::signed;
use crate::error::Error;
use crate::model::budget::WaitReason;
use crate::store::ledger::State;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum age of the index, counted from the start of the newest finished crawl.
    pub max_age: Duration,
    /// Maximum time that a retraction may be open, or planned and not sent.
    pub overdue: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Trouble)]
pub struct Problem {
    /// The name of the problem: `ledger`, `stale_index`, `overdue_retraction`, `refused_credentials`, `standing_again`,
    /// `implausible_wait` or `clock`.
    pub problem: &'static str,
    /// The problem as a sentence.
    pub message: String,
    /// What the operator should do about the problem.
    pub remedy: Option<String>,
}

impl Problem {
    pub(super) fn of(problem: &'static str, error: &Error) -> Self {
        Self { problem, message: error.message.clone(), remedy: error.hint.clone() }
    }

    /// Joins the problem and its remedy in one line of text.
    pub fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.clone(),
        }
    }
}

impl Status {
    pub fn check(&self, limits: Limits, now: Timestamp) -> Vec<Problem> {
        let mut problems = self.blocked.clone();
        let mut found = |problem, message, remedy: &str| {
            problems.push(Problem { problem, message, remedy: Some(remedy.to_owned()) });
        };
        let crawl = "run `recoup crawl`, or see why the scheduled job fails";
        let max_age = limits.max_age.as_secs() as i64;
        match self.age_seconds {
            None => found("stale_index", "no crawl has finished yet".to_owned(), "run `recoup crawl`"),
            Some(age) if age >= max_age => {
                found(
                    "stale_index",
                    format!("the index is {} old; the limit is {}", human_duration(age), human_duration(max_age)),
                    crawl,
                );
            }
            Some(_) => {}
        }
        for open in self.overdue(limits.overdue, now) {
            let (id, order, state, since) = (open.id, &open.order_id, open.state.as_str(), &open.since);
            let message = format!("retraction {id} of order {order} has been {state} since {since}");
            found("overdue_retraction", message, &format!("run `recoup verify {id}`"));
        }
        for again in &self.standing_again {
            let (id, order, reward) = (again.id, &again.order_id, &again.reward_id);
            let message =
                format!("retraction {id} of order {order} was proven, but reward {reward} does not read as cancelled");
            found("standing_again", message, &format!("run `recoup verify {id}`"));
        }
        for refusal in &self.refusals {
            found(
                "refused_credentials",
                format!("`recoup {}` was refused at {}: {}", refusal.command, refusal.at, refusal.message),
                "correct the credentials, then run `recoup doctor`",
            );
        }
        for line in self.quota.iter().filter(|line| line.wait_reason == Some(WaitReason::Implausible.as_str())) {
            let until = line.waiting_until.as_deref().unwrap_or_default();
            let why = "the host asked for a pause of more than a day";
            let message = format!("no request is sent to {} before {until}: {why}", line.host);
            found("implausible_wait", message, "if it is a mistake, `recoup quota clear` ends it");
        }
        problems
    }

    /// Returns the retractions that have been open, or planned and not sent, for longer than `limit`. An *unconfirmed*
    /// retraction is never overdue: recoup reads it again for 14 days, and no person has to act.
    pub(super) fn overdue(&self, limit: Duration, now: Timestamp) -> Vec<&super::OpenLine> {
        let limit = signed(limit);
        let is_late = |since: &str| since.parse::<Timestamp>().is_ok_and(|since| now.duration_since(since) > limit);
        self.open.iter().filter(|open| open.state != State::Unconfirmed && is_late(&open.since)).collect()
    }
}
