//! The concurrency controller: how many requests may be in flight, and when a host's trouble pauses every request.
//!
//! A 429 at a known rate lowers the rate. Every other trouble lowers the number of slots. If the rate is unknown, the
//! pacer learns it from 429s. A 429 that names no time and arrives among successes is a stray: it delays only its own
//! request.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::rate_estimate::RateEstimate;
use super::recent_answers::RecentAnswers;
use super::{Pacer, ceil_ms, jittered};
use crate::model::budget::{Pause, RATE_WINDOW, RateLimited, WaitReason};

/// If this many different requests fail in a row, the pacer pauses every request. Fewer failures delay only their own
/// requests, so that a few broken accounts, retried again and again, do not stop a crawl.
const FAILURES_IN_A_ROW: u32 = 4;

/// Successes that each further slot requires, until the first trouble. After that, a further slot requires as many
/// successes as there are slots. At a limit the host refuses every request in flight, so the number of slots grows
/// slowly.
const SUCCESSES_PER_SLOT: usize = 4;

/// Successes that each further slot requires at a known rate. The limiter then keeps the pace, and too few slots would
/// keep the process below the rate.
const SUCCESSES_PER_SLOT_AT_A_RATE: usize = 1;

/// Single 429s lower a learned rate to no less than this share of it. A learned rate is close to the limit, so a single
/// 429 may mean the limit. If 429s continue at this share, they are strays.
const SINGLE_429S_KEEP: f64 = 0.92;

/// Number of answers, to requests that started with a limited one or after it, that show whether the host limits all of
/// them.
const ENOUGH_ANSWERS: u32 = 8;

/// What an answer says about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Any status but 408, 429 and 5xx.
    Good,
    /// 429.
    Limited,
    /// 408, 5xx, or no usable answer.
    Troubled,
}

/// What the answers have taught. The lock is held for a few instructions and never across an await.
pub(super) struct Controller {
    /// The target number of slots.
    pub(super) slots: usize,
    /// Slots in use beyond the target. Each is removed when its request ends.
    pub(super) excess: usize,
    /// Successes since the last change of the target.
    successes: usize,
    failures_in_a_row: u32,
    had_trouble: bool,
    /// The current back-off; `None` after a success.
    backoff: Option<Duration>,
    estimate: RateEstimate,
    recent: RecentAnswers,
    /// The lowest rate to which single 429s may reduce the rate; `None` until the first one after a limit.
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

    /// Whether the slot of a finished request is in excess and is removed.
    pub(super) fn takes_slot_back(&mut self) -> bool {
        let is_excess = self.excess > 0;
        self.excess -= usize::from(is_excess);
        is_excess
    }
}

/// The answers to requests that started with the last limited one or after it. A host at its limit refuses many of them.
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

    /// Whether a request started before the current deadline. Its answer then says nothing about the time after the
    /// deadline: 64 requests that fail together double the back-off once, and a late success does not end it.
    fn is_stale(&self, admitted_ms: i64) -> bool {
        self.deadline.get().is_some_and(|pause| admitted_ms < pause.until_ms)
    }

    /// Learns from an answer that names no time, and backs off if it must.
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

    /// Learns from a 429 that names a time. The time replaces the back-off.
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

    /// Lowers the rate, or the number of slots if there is no rate yet.
    fn slow_down(&self, controller: &mut Controller, admitted_ms: i64) {
        let has_rate = self.leases.has_rate();
        if !has_rate {
            self.shrink(controller);
        }
        controller.recent.clear();
        controller.floor = None;
        controller.after_limit = Some(AfterLimit { at_ms: admitted_ms, answers: 0, refused: 0 });
        // Without a rate, the estimate waits until the other answers confirm the limit.
        let estimate = controller.estimate.rate_at(admitted_ms).filter(|_| has_rate);
        self.leases.report_limit(RateLimited { at_ms: admitted_ms, estimate });
    }

    /// Lowers a learned rate a little after a single 429. Returns whether it did.
    fn slow_down_a_little(&self, controller: &mut Controller, admitted_ms: i64) -> bool {
        let Some(rate) = self.leases.learned_rate().filter(|_| !controller.recent.has_strays()) else { return false };
        if rate <= *controller.floor.get_or_insert(rate * SINGLE_429S_KEEP) {
            controller.recent.mark_stray();
            return false;
        }
        self.leases.report_limit(RateLimited { at_ms: admitted_ms, estimate: Some(rate) });
        true
    }

    /// An answer to a request from before the deadline improves the estimate of the rate.
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
