//! What the answers say about a host, and how many requests may be in flight because of it.
//!
//! Two things answer to trouble, and never to the same: 429s at a known rate take the rate back, everything else the
//! requests in flight. A rate that is not known yet is learned from 429s. One that names no moment, among answers that
//! succeed, is no limit: it delays the request that met it.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::accepted::Accepted;
use super::newest::Newest;
use super::{Pacer, jittered};
use crate::model::budget::{Hold, Limited, WaitReason};

/// Different requests that fail in a row, host-wide and without a success in between, before the host's trouble is
/// everybody's. Fewer delay only the requests that met it, each by its own back-off: a few broken accounts, tried again and
/// again, must not stop the crawl around them.
const TROUBLE_IN_A_ROW: u32 = 4;

/// Healthy answers per additional slot, until the first trouble; after it a whole round of the slots. Everything that is in
/// flight when a limit is met is refused with it, so a host with a small one must be met with few.
const HEALTHY_PER_SLOT: usize = 4;

/// The same where the rate is known: it keeps the pace, and slots that are missing only keep it from being reached.
const HEALTHY_PER_SLOT_AT_A_RATE: usize = 1;

/// 429s that come singly take a learned rate back to this share of it at most. The rate is near the limit by its nature, so that
/// one may mean it. If they go on at this share of the rate, the host refuses requests by chance.
const SINGLY: f64 = 0.92;

/// Requests that started with one that met a limit, or after it: if so many were answered and most were taken, it was none.
const TAKEN: u32 = 8;

/// What an answer says about the host's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answers: any status but 408, 429 and 5xx.
    Good,
    /// It said that we are too fast.
    Limited,
    /// It failed, or could not be heard.
    Troubled,
}

/// What has been learned about the host. Locked for a few instructions, never across an await.
pub(super) struct Gauge {
    /// Slots there should be.
    pub(super) limit: usize,
    /// Slots that are out and must not come back.
    pub(super) debt: usize,
    healthy: usize,
    in_a_row: u32,
    was_troubled: bool,
    /// The back-off that set the current deadline; `None` once an answer after it was healthy.
    step: Option<Duration>,
    accepted: Accepted,
    newest: Newest,
    /// The least that single 429s leave of the learned rate; `None` until the first since a limit was met.
    floor: Option<f64>,
    /// The last 429 that ended a round, and what came of the others that were started with it or after it.
    round: Option<Round>,
}

impl Gauge {
    /// A host of which nothing is known yet.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            debt: 0,
            healthy: 0,
            in_a_row: 0,
            was_troubled: false,
            step: None,
            accepted: Accepted::default(),
            newest: Newest::default(),
            floor: None,
            round: None,
        }
    }

    /// Whether a slot that comes back is kept, because too many are out.
    pub(super) fn collects(&mut self) -> bool {
        let owes = self.debt > 0;
        self.debt -= usize::from(owes);
        owes
    }
}

/// What tells a limit that is reached from a 429 now and then: when it is reached, the others are refused as well.
struct Round {
    at_ms: i64,
    answers: u32,
    refused: u32,
}

impl Round {
    fn is_full(&self) -> bool {
        self.refused >= 2 && self.refused * 3 >= self.answers
    }
}

impl Pacer {
    pub(super) fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn learn(&self, admitted_ms: i64, health: Health, is_repeat: bool) {
        let is_old = admitted_ms < self.deadline.get().until_ms;
        let mut gauge = self.gauge();
        if health == Health::Good {
            gauge.accepted.count(admitted_ms);
        }
        if is_old {
            self.straggler(&mut gauge, admitted_ms, health);
        }
        // Answers to requests from before the current deadline are news from before it: 64 requests that fail together
        // double the back-off once, and a straggler's success does not end it.
        if is_old {
            return;
        }
        if health != Health::Troubled {
            gauge.newest.push(health == Health::Limited);
        }
        match health {
            Health::Good => {
                gauge.in_a_row = 0;
                gauge.step = None;
                self.grow(&mut gauge);
                return;
            }
            Health::Troubled => {
                gauge.in_a_row += u32::from(!is_repeat);
                if is_repeat || gauge.in_a_row < TROUBLE_IN_A_ROW {
                    return;
                }
                // Each step takes as many failures again.
                gauge.in_a_row = 0;
                self.shrink(&mut gauge);
            }
            Health::Limited if gauge.newest.say_limit() => self.limited(&mut gauge, admitted_ms),
            Health::Limited => {
                if !self.limited_once(&mut gauge, admitted_ms) {
                    return;
                }
            }
        }
        let step = gauge.step.map_or(self.backoff, |step| step.saturating_mul(2)).min(self.backoff_max);
        gauge.step = Some(step);
        drop(gauge);
        let until = self.clock.now_ms().saturating_add(jittered(step).as_millis() as i64);
        self.hold(Hold { until_ms: until, reason: WaitReason::BackingOff });
    }

    /// A 429 takes the pressure off: the rate's where there is one, else the slots'; then the rate is learned from it, as
    /// soon as the other answers agree.
    pub(super) fn limited(&self, gauge: &mut Gauge, admitted_ms: i64) {
        let has_rate = self.leases.has_rate();
        if !has_rate {
            self.shrink(gauge);
        }
        gauge.newest.forget();
        gauge.floor = None;
        gauge.round = Some(Round { at_ms: admitted_ms, answers: 0, refused: 0 });
        let estimate = gauge.accepted.rate_at(admitted_ms).filter(|_| has_rate);
        self.leases.limited(Limited { at_ms: admitted_ms, estimate });
    }

    /// A 429 among answers that succeed. Whether anybody waits for it but the request that met it: if the rate was learned, it may
    /// be the limit, and the rate is taken back a little.
    fn limited_once(&self, gauge: &mut Gauge, admitted_ms: i64) -> bool {
        let Some(rate) = self.leases.learned_rate().filter(|_| !gauge.newest.is_stray()) else { return false };
        if rate <= *gauge.floor.get_or_insert(rate * SINGLY) {
            gauge.newest.stray();
            return false;
        }
        self.leases.limited(Limited { at_ms: admitted_ms, estimate: Some(rate) });
        true
    }

    /// An answer to a request from before the deadline makes the estimate better.
    pub(super) fn straggler(&self, gauge: &mut Gauge, admitted_ms: i64, health: Health) {
        let Some(round) = gauge.round.as_mut().filter(|_| health != Health::Troubled) else { return };
        if admitted_ms >= round.at_ms {
            round.answers += 1;
            round.refused += u32::from(health == Health::Limited);
            if round.answers == TAKEN && !round.is_full() {
                gauge.newest.stray();
            }
        }
        let counts = round.is_full() || self.leases.has_rate();
        self.leases.estimate(|refused_ms| gauge.accepted.rate_at(refused_ms).filter(|_| counts));
    }

    fn grow(&self, gauge: &mut Gauge) {
        if gauge.limit >= self.ceiling {
            return;
        }
        gauge.healthy += 1;
        let enough = match (gauge.was_troubled, self.leases.has_rate()) {
            (true, false) => gauge.limit,
            (false, false) => HEALTHY_PER_SLOT,
            // After a trouble too: the rate is what keeps the pressure down.
            (_, true) => HEALTHY_PER_SLOT_AT_A_RATE,
        };
        if gauge.healthy < enough {
            return;
        }
        gauge.healthy = 0;
        gauge.limit += 1;
        if gauge.debt > 0 {
            gauge.debt -= 1;
        } else {
            self.slots.add_permits(1);
        }
    }

    pub(super) fn shrink(&self, gauge: &mut Gauge) {
        let halved = (gauge.limit / 2).max(1);
        let surplus = gauge.limit - halved;
        gauge.debt += surplus - self.slots.forget_permits(surplus);
        gauge.limit = halved;
        gauge.healthy = 0;
        gauge.was_troubled = true;
    }
}
