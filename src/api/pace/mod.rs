//! When the next request to a host may start. One gate per host.
//!
//! The shared budget, Retry-After, `X-RateLimit-*` and back-off meet in one deadline that only moves forward: no success and
//! no shorter wait takes it back. A caller takes a slot (requests in flight), then passes the deadline and draws from the
//! lease in hand, in one step without an await in between, so that leave is never spent before the request starts and a
//! deadline that moved during the wait is seen. Slots come first because leave taken by somebody who then waits for a
//! slot would be spent in a burst later; the price is that waiting callers hold slots nobody else could use.
//!
//! Two things answer to trouble, and never to the same: a 429 at a known rate takes the rate back, everything else the
//! requests in flight. A rate that is not known yet is learned from the first 429.
//!
//! A wait is waited out in full or not at all: farther away than `max_wait`, admission ends with `Kind::Parked` and the
//! time to come back; so it does at the bounds that were set for the process. Nothing here sends, judges or knows what is
//! sent.

mod accepted;
mod bounds;
mod deadline;
mod lease;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::options::HostOptions;
use crate::clock::{Clock, signed};
use crate::error::{Error, Kind, Result};
use crate::model::budget::{Account, Hold, Limited, Told, WaitReason};
use accepted::Accepted;
use bounds::Bounds;
use deadline::Deadline;
use lease::{Draw, Leases};

/// Different requests that fail in a row, host-wide and without a success in between, before the host's trouble is
/// everybody's. Fewer delay only the requests that met it, each by its own back-off: a few broken accounts, tried again and
/// again, must not stop the crawl around them.
const TROUBLE_IN_A_ROW: u32 = 4;

/// Healthy answers per additional slot, until the first trouble; after it a whole round of the slots. Everything that is in
/// flight when a limit is met is refused with it, so a host with a small one must be met with few.
const HEALTHY_PER_SLOT: usize = 4;

/// The same where the rate is known: it keeps the pace, and slots that are missing only keep it from being reached.
const HEALTHY_PER_SLOT_AT_A_RATE: usize = 1;

/// A host that asks to wait no longer than this speaks of a rate, not of a window's quota, in milliseconds.
const SPEAKS_OF_A_RATE: i64 = 2_500;

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

/// The gate of one host.
pub(crate) struct Pacer {
    clock: Clock,
    stop: CancellationToken,
    deadline: Arc<Deadline>,
    leases: Arc<Leases>,
    bounds: Bounds,
    slots: Arc<Semaphore>,
    /// Callers draw from a lease with a limit one at a time and in order; without a limit nobody takes it.
    turnstile: tokio::sync::Mutex<()>,
    flying: AtomicUsize,
    gauge: Mutex<Gauge>,
    ceiling: usize,
    backoff: Duration,
    backoff_max: Duration,
    max_wait: Duration,
}

/// What has been learned about the host. Locked for a few instructions, never across an await.
struct Gauge {
    /// Slots there should be.
    limit: usize,
    /// Slots that are out and must not come back.
    debt: usize,
    healthy: usize,
    in_a_row: u32,
    was_troubled: bool,
    /// The back-off that set the current deadline; `None` once an answer after it was healthy.
    step: Option<Duration>,
    accepted: Accepted,
    /// The last 429 that ended a round, and what came of the others that were started with it or after it.
    round: Option<Round>,
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

/// Leave to send one request. Dropping it gives the slot back.
pub(crate) struct Permit {
    pacer: Arc<Pacer>,
    slot: Option<OwnedSemaphorePermit>,
    admitted_ms: i64,
    is_repeat: bool,
}

impl Pacer {
    pub(crate) fn new(options: &HostOptions, clock: Clock, stop: CancellationToken) -> Result<Arc<Self>> {
        check_rate(options.terms.rate)?;
        let ceiling = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let limit = options.start_concurrency.clamp(1, ceiling);
        let deadline = Arc::new(Deadline::default());
        Ok(Arc::new(Self {
            clock,
            stop,
            leases: Arc::new(Leases::new(
                clock,
                options.budget.clone(),
                options.purpose,
                options.terms,
                Arc::clone(&deadline),
                limit * 2,
            )),
            deadline,
            bounds: Bounds::new(options.max_requests, options.until),
            slots: Arc::new(Semaphore::new(limit)),
            turnstile: tokio::sync::Mutex::new(()),
            flying: AtomicUsize::new(0),
            gauge: Mutex::new(Gauge {
                limit,
                debt: 0,
                healthy: 0,
                in_a_row: 0,
                was_troubled: false,
                step: None,
                accepted: Accepted::default(),
                round: None,
            }),
            ceiling,
            backoff: options.backoff,
            backoff_max: options.backoff_max.max(options.backoff),
            max_wait: options.max_wait,
        }))
    }

    /// Waits until a request may start.
    ///
    /// `not_before` is the caller's own back-off; it is spent before a slot is taken.
    ///
    /// # Errors
    /// `Kind::Interrupted` as soon as `stop` is cancelled; `Kind::Parked` where the deadline is farther away than
    /// `max_wait`, and at the bounds of this process.
    pub(crate) async fn admit(self: &Arc<Self>, not_before: Option<Timestamp>) -> Result<Permit> {
        if let Some(moment) = not_before {
            let wait = millis(ceil_ms(moment) - self.clock.now_ms());
            if !wait.is_zero() {
                self.or_stop(tokio::time::sleep(wait)).await?;
            }
        }
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => self.or_stop(Arc::clone(&self.slots).acquire_owned()).await?.map_err(|_closed| interrupted())?,
        };
        // Made before the gate, so that a caller who gives up in it pays its slot back the same way.
        let mut permit = Permit { pacer: Arc::clone(self), slot: Some(slot), admitted_ms: 0, is_repeat: false };
        self.flying.fetch_add(1, Ordering::Relaxed);
        permit.admitted_ms = self.pass().await?;
        Ok(permit)
    }

    /// Deadline, bounds and lease. Ends only when all of them agree on the same instant.
    async fn pass(&self) -> Result<i64> {
        let mut turn = None;
        loop {
            if self.stop.is_cancelled() {
                return Err(interrupted());
            }
            let now = self.clock.now_ms();
            self.bounds.check(now)?;
            let deadline = self.deadline.get();
            if deadline.until_ms > now {
                let wait = millis(deadline.until_ms - now);
                // A back-off is bounded by its own setting; only a wait that the host asks for can be too long.
                if wait > self.max_wait && deadline.reason != WaitReason::BackingOff {
                    return Err(self.parked(deadline.until_ms));
                }
                self.bounds.check(deadline.until_ms)?;
                self.or_stop(tokio::time::sleep(wait)).await?;
                continue;
            }
            if turn.is_none() && !self.leases.is_open() {
                turn = Some(self.or_stop(self.turnstile.lock()).await?);
                continue;
            }
            match self.leases.draw() {
                Draw::Go { due } => {
                    if due {
                        self.leases.renew();
                    }
                    return self.bounds.count().map(|()| now);
                }
                Draw::At(moment_us) => {
                    let wait = u64::try_from(moment_us - self.clock.now().as_microsecond()).unwrap_or(0);
                    self.bounds.check(moment_us / 1_000)?;
                    self.or_stop(tokio::time::sleep(Duration::from_micros(wait))).await?;
                }
                Draw::Not(hold) => {
                    self.deadline.extend(hold);
                }
                Draw::Empty if turn.is_none() => {
                    turn = Some(self.or_stop(self.turnstile.lock()).await?);
                }
                Draw::Empty => {
                    self.leases.renew();
                    self.or_stop(self.leases.given()).await?;
                }
            }
        }
    }

    async fn or_stop<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(interrupted()),
            done = wait => Ok(done),
        }
    }

    /// Moves the deadline to a moment that the host named. Never moves it back.
    pub(crate) fn hold_until(&self, moment: Timestamp) {
        self.hold(ceil_ms(moment), WaitReason::AskedTo);
    }

    fn hold(&self, until_ms: i64, reason: WaitReason) {
        let hold = Hold { until_ms, reason };
        if self.deadline.extend(hold) {
            self.leases.hold(hold);
        }
    }

    /// Takes in what the host told of its limit.
    pub(crate) fn hear(&self, told: Told) {
        self.leases.hear(told, self.in_flight());
    }

    /// What is known of the budget.
    pub(crate) fn account(&self) -> Account {
        self.leases.account()
    }

    /// Why the budget is not shared with other processes, where that is so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.leases.trouble()
    }

    /// The moment before which nothing starts, and why, where that lies ahead.
    pub(crate) fn waiting(&self) -> Option<(Timestamp, WaitReason)> {
        let deadline = self.deadline.get();
        let ahead = deadline.until_ms > self.clock.now_ms();
        ahead.then(|| (Timestamp::from_millisecond(deadline.until_ms).unwrap_or(Timestamp::MAX), deadline.reason))
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.flying.load(Ordering::Relaxed)
    }

    /// The error for a wait that is too long, naming the moment to come back.
    pub(crate) fn parked(&self, moment_ms: i64) -> Error {
        let moment = Timestamp::from_millisecond(moment_ms).unwrap_or(Timestamp::MAX);
        let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let moment = moment.round(whole).unwrap_or(moment);
        let allowed = signed(self.max_wait);
        Error::new(
            Kind::Parked,
            format!("the quota is used up until {moment}, farther away than the allowed wait of {allowed:#}"),
        )
        .hint(format!("come back after {moment}; what was done so far is kept"))
    }

    fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, admitted_ms: i64, health: Health, is_repeat: bool) {
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
            Health::Limited => self.limited(&mut gauge, admitted_ms),
        }
        let step = gauge.step.map_or(self.backoff, |step| step.saturating_mul(2)).min(self.backoff_max);
        gauge.step = Some(step);
        drop(gauge);
        let until = self.clock.now_ms().saturating_add(jittered(step).as_millis() as i64);
        self.hold(until, WaitReason::BackingOff);
    }

    /// A 429 takes the pressure off: the rate's where there is one, else the slots'; then the rate is learned from it, as
    /// soon as the other answers agree.
    fn limited(&self, gauge: &mut Gauge, admitted_ms: i64) {
        let has_rate = self.leases.has_rate();
        if !has_rate {
            self.shrink(gauge);
        }
        gauge.round = Some(Round { at_ms: admitted_ms, answers: 0, refused: 0 });
        let estimate = gauge.accepted.rate_at(admitted_ms).filter(|_| has_rate);
        self.leases.limited(Limited { at_ms: admitted_ms, estimate });
    }

    /// An answer to a request from before the deadline makes the estimate better.
    fn straggler(&self, gauge: &mut Gauge, admitted_ms: i64, health: Health) {
        let Some(round) = gauge.round.as_mut().filter(|_| health != Health::Troubled) else { return };
        if admitted_ms >= round.at_ms {
            round.answers += 1;
            round.refused += u32::from(health == Health::Limited);
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

    fn shrink(&self, gauge: &mut Gauge) {
        let halved = (gauge.limit / 2).max(1);
        let surplus = gauge.limit - halved;
        gauge.debt += surplus - self.slots.forget_permits(surplus);
        gauge.limit = halved;
        gauge.healthy = 0;
        gauge.was_troubled = true;
    }
}

impl Permit {
    /// The request repeats one that failed: another failure says nothing new about the host.
    pub(crate) fn repeats(&mut self) {
        self.is_repeat = true;
    }

    /// Reports how the request went, gives the slot back and moves the deadline where the host named a moment.
    pub(crate) fn finish(self, health: Health, until: Option<Timestamp>) {
        self.learn(health, until);
    }

    /// The same without giving the slot back.
    pub(crate) fn learn(&self, health: Health, until: Option<Timestamp>) {
        match until {
            Some(moment) if health == Health::Limited => {
                // The named moment replaces the back-off; the pressure is taken off all the same.
                if self.admitted_ms >= self.pacer.deadline.get().until_ms {
                    let mut gauge = self.pacer.gauge();
                    if ceil_ms(moment) - self.pacer.clock.now_ms() <= SPEAKS_OF_A_RATE {
                        self.pacer.limited(&mut gauge, self.admitted_ms);
                    } else {
                        self.pacer.shrink(&mut gauge);
                    }
                } else {
                    self.pacer.straggler(&mut self.pacer.gauge(), self.admitted_ms, health);
                }
                self.pacer.hold_until(moment);
            }
            Some(moment) => {
                self.pacer.learn(self.admitted_ms, health, self.is_repeat);
                self.pacer.hold_until(moment);
            }
            None => self.pacer.learn(self.admitted_ms, health, self.is_repeat),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pacer.flying.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = self.slot.take() {
            let mut gauge = self.pacer.gauge();
            if gauge.debt > 0 {
                gauge.debt -= 1;
                slot.forget();
            }
        }
    }
}

/// Adds up to a quarter, so that several processes that failed together do not come back together. Never takes away.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + fastrand::f64() / 4.0)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted before the next request")
}

fn ceil_ms(moment: Timestamp) -> i64 {
    let ms = moment.as_millisecond();
    if moment.subsec_nanosecond() % 1_000_000 > 0 { ms.saturating_add(1) } else { ms }
}

fn check_rate(rate: Option<f64>) -> Result<()> {
    let usable = |per_second: f64| per_second > 1e-9 && per_second <= 1e9;
    match rate {
        Some(per_second) if !usable(per_second) => {
            Err(Error::new(Kind::Config, format!("{per_second} requests per second is no usable rate"))
                .hint("give a number above 0, such as 10/s"))
        }
        _ => Ok(()),
    }
}

impl Drop for Pacer {
    /// Gives back what was leased and not used.
    fn drop(&mut self) {
        self.leases.close();
    }
}

#[cfg(test)]
#[path = "../tests/pacing.rs"]
mod tests;

#[cfg(test)]
#[path = "../tests/figures.rs"]
mod figures;

#[cfg(test)]
#[path = "../tests/sharing.rs"]
mod sharing;
