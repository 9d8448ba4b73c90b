//! The concurrency controller decides how many requests to a host may be in flight, and when all requests to the host
//! back off.
//!
//! If recoup knows the host's rate limit, a 429 lowers the request rate. Every failure other than a 429 lowers the
//! number of requests in flight. While the host's rate limit is unknown, the pacer estimates it from 429s. A 429
//! without a retry time among successes is a stray. A stray 429 delays only its own request.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::rate_estimate::RateEstimate;
use super::recent_answers::RecentAnswers;
use super::{Pacer, ceil_ms, jittered};
use crate::model::budget::{Pause, RATE_WINDOW, RateLimited, WaitReason};

/// After this many different requests fail in a row, the pacer pauses all requests to the host. Fewer failures delay
/// only their own requests, because repeated retries for a few broken accounts must not stop a crawl.
const FAILURES_IN_A_ROW: u32 = 4;

/// The number of successes after which one more request may be in flight, until the first failure. After the first
/// failure, a new slot requires as many successes as slots exist. The slow growth limits the number of refused
/// requests, because a host at its limit refuses every request in flight.
const SUCCESSES_PER_SLOT: usize = 4;

/// The number of successes after which one more request may be in flight, if the rate limit is known. At a known rate,
/// the limiter enforces the rate, and too few slots would keep the process below it.
const SUCCESSES_PER_SLOT_AT_A_RATE: usize = 1;

/// The lowest share of a learned rate to which single 429s may lower it. A learned rate is close to the host's limit.
/// Therefore a single 429 may mean that the process exceeds the limit. 429s that continue at this share are strays.
const SINGLE_429S_KEEP: f64 = 0.92;

/// The number of answers after a 429 that shows whether the host limits all requests or sent a stray. Only the answers
/// to requests that started with the limited request or later count.
const ENOUGH_ANSWERS: u32 = 8;

/// What an answer shows about the health of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// The host answered with any status other than 408, 429 and 5xx.
    Good,
    /// The host answered 429.
    Limited,
    /// The host answered 408 or 5xx, or the request got no usable answer.
    Troubled,
}

/// What the concurrency controller has learned from answers. The lock of the controller is held briefly and never
/// across an await.
pub(super) struct Controller {
    /// The target number of requests in flight.
    pub(super) slots: usize,
    /// The number of slots above the target. The controller removes each slot above the target when its request ends.
    pub(super) excess: usize,
    /// The number of successes since the target number of slots last changed.
    successes: usize,
    failures_in_a_row: u32,
    had_trouble: bool,
    /// The current back-off of the host; `None` after a success.
    backoff: Option<Duration>,
    estimate: RateEstimate,
    recent: RecentAnswers,
    /// The lowest rate that single 429s may set; `None` until the first single 429 after a confirmed limit.
    floor: Option<f64>,
    after_limit: Option<AfterLimit>,
}

impl Controller {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            excess: 0,
            successes: 0,
            failures_in_a_row: 0,
            had_trouble: false,
            backoff: None,
            estimate: RateEstimate::default(),
            recent: RecentAnswers::default(),
            floor: None,
            after_limit: None,
        }
    }

    /// Removes the slot of a finished request if the controller has more slots than the target. Returns `true` if this
    /// function removed the slot.
    pub(super) fn takes_slot_back(&mut self) -> bool {
        let is_excess = self.excess > 0;
        self.excess -= usize::from(is_excess);
        is_excess
    }
}

/// The answers to requests that started with the last limited request or later. A host at its rate limit refuses at
/// least a third of the requests after the limited request.
struct AfterLimit {
    at_ms: i64,
    answers: u32,
    refused: u32,
}

impl AfterLimit {
    fn confirms(&self) -> bool {
        self.refused >= 2 && self.refused * 3 >= self.answers
    }
}

impl Pacer {
    pub(super) fn controller(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if a request started before the current deadline. The answer to a request that started before the
    /// deadline proves nothing about the time after it: 64 requests that fail together double the back-off once, and a
    /// late success does not end the back-off.
    fn is_stale(&self, admitted_ms: i64) -> bool {
        self.deadline.get().is_some_and(|pause| admitted_ms < pause.until_ms)
    }

    /// Updates the controller after an answer without a retry time, and starts a back-off if necessary.
    pub(super) fn record_answer(&self, admitted_ms: i64, health: Health, is_repeat: bool) {
        let is_stale = self.is_stale(admitted_ms);
        let mut controller = self.controller();
        if health == Health::Good {
            controller.estimate.count(admitted_ms);
        }
        if is_stale {
            self.refine_estimate(&mut controller, admitted_ms, health);
            return;
        }
        if health != Health::Troubled {
            controller.recent.push(health == Health::Limited);
        }
        match health {
            Health::Good => {
                controller.failures_in_a_row = 0;
                controller.backoff = None;
                self.grow(&mut controller);
                return;
            }
            Health::Troubled => {
                controller.failures_in_a_row += u32::from(!is_repeat);
                if is_repeat || controller.failures_in_a_row < FAILURES_IN_A_ROW {
                    return;
                }
                controller.failures_in_a_row = 0;
                self.shrink(&mut controller);
            }
            Health::Limited if controller.recent.indicate_limit() => self.slow_down(&mut controller, admitted_ms),
            Health::Limited if self.slow_down_a_little(&mut controller, admitted_ms) => {}
            Health::Limited => return,
        }
        let backoff = controller.backoff.map_or(self.backoff, |last| last.saturating_mul(2)).min(self.backoff_max);
        controller.backoff = Some(backoff);
        drop(controller);
        let until_ms = self.clock.now_ms().saturating_add(jittered(backoff).as_millis() as i64);
        self.extend(Pause { until_ms, reason: WaitReason::BackingOff });
    }

    /// Updates the controller after a 429 with a retry time. The retry time of a 429 replaces the back-off.
    pub(super) fn record_limit(&self, admitted_ms: i64, until: Timestamp) {
        let is_stale = self.is_stale(admitted_ms);
        let mut controller = self.controller();
        if is_stale {
            self.refine_estimate(&mut controller, admitted_ms, Health::Limited);
        } else if ceil_ms(until) - self.clock.now_ms() <= RATE_WINDOW {
            self.slow_down(&mut controller, admitted_ms);
        } else {
            self.shrink(&mut controller);
        }
    }

    /// Lowers the request rate, or the number of slots if the rate is unknown.
    fn slow_down(&self, controller: &mut Controller, admitted_ms: i64) {
        let has_rate = self.leases.has_rate();
        if !has_rate {
            self.shrink(controller);
        }
        controller.recent.clear();
        controller.floor = None;
        controller.after_limit = Some(AfterLimit { at_ms: admitted_ms, answers: 0, refused: 0 });
        // If the rate limit is unknown, the pacer reports no estimate until further answers confirm the limit.
        let estimate = controller.estimate.rate_at(admitted_ms).filter(|_| has_rate);
        self.leases.report_limit(RateLimited { at_ms: admitted_ms, estimate });
    }

    /// Lowers a learned rate slightly after a single 429. Returns `true` if this function lowered the rate.
    fn slow_down_a_little(&self, controller: &mut Controller, admitted_ms: i64) -> bool {
        let Some(rate) = self.leases.learned_rate().filter(|_| !controller.recent.has_strays()) else { return false };
        if rate <= *controller.floor.get_or_insert(rate * SINGLE_429S_KEEP) {
            controller.recent.mark_stray();
            return false;
        }
        self.leases.report_limit(RateLimited { at_ms: admitted_ms, estimate: Some(rate) });
        true
    }

    /// Improves the estimate of the rate limit with an answer to a request that started before the deadline.
    fn refine_estimate(&self, controller: &mut Controller, admitted_ms: i64, health: Health) {
        let Some(after) = controller.after_limit.as_mut().filter(|_| health != Health::Troubled) else { return };
        if admitted_ms >= after.at_ms {
            after.answers += 1;
            after.refused += u32::from(health == Health::Limited);
            if after.answers == ENOUGH_ANSWERS && !after.confirms() {
                controller.recent.mark_stray();
            }
        }
        let is_limit = after.confirms() || self.leases.has_rate();
        self.leases.revise_estimate(|refused_ms| controller.estimate.rate_at(refused_ms).filter(|_| is_limit));
    }

    fn grow(&self, controller: &mut Controller) {
        if controller.slots >= self.max_slots {
            return;
        }
        controller.successes += 1;
        let needed = match (controller.had_trouble, self.leases.has_rate()) {
            (_, true) => SUCCESSES_PER_SLOT_AT_A_RATE,
            (true, false) => controller.slots,
            (false, false) => SUCCESSES_PER_SLOT,
        };
        if controller.successes < needed {
            return;
        }
        controller.successes = 0;
        controller.slots += 1;
        if controller.excess > 0 {
            controller.excess -= 1;
        } else {
            self.slots.add_permits(1);
        }
    }

    fn shrink(&self, controller: &mut Controller) {
        let halved = (controller.slots / 2).max(1);
        let surplus = controller.slots - halved;
        controller.excess += surplus - self.slots.forget_permits(surplus);
        controller.slots = halved;
        controller.successes = 0;
        controller.had_trouble = true;
    }
}
