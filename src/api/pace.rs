//! When the next request to a host may start. One gate per host.
//!
//! Rate, Retry-After, `X-RateLimit-*` and back-off meet in one deadline that only moves forward: no success and no
//! shorter wait takes it back. A caller takes a slot (requests in flight), then passes the deadline and the rate, in
//! one step without an await in between, so that a token of the rate is never spent before the request starts and a
//! deadline that moved during the wait is seen. Slots come first because a token taken by somebody who then waits for a
//! slot would be spent in a burst later; the price is that waiting callers hold slots nobody else could use.
//!
//! A wait is waited out in full or not at all: farther away than `max_wait`, admission ends with `Kind::Parked` and the
//! time to come back. Nothing here sends, judges or knows what is sent.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::options::HostOptions;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};

/// Different requests that fail in a row, host-wide and without a success in between, before the host's trouble is
/// everybody's. Fewer delay only the requests that met it, each by its own back-off: a few broken accounts, tried again and
/// again, must not stop the crawl around them.
const TROUBLE_IN_A_ROW: u32 = 4;

/// Healthy answers per additional slot, until the first trouble; after it a whole round of the slots.
const HEALTHY_PER_SLOT: usize = 2;

/// governor on tokio's clock: a paused clock moves it, and it never sleeps on a timer of its own.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

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

/// Why requests are waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The host named the moment.
    AskedTo,
    /// The host is troubled or said 429 without a usable moment.
    BackingOff,
}

impl WaitReason {
    /// The word for it in progress and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AskedTo => "asked to wait",
            Self::BackingOff => "backing off",
        }
    }
}

/// Moment and reason in one number that orders by moment, so that both move in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deadline {
    /// Unix milliseconds.
    ms: i64,
    reason: WaitReason,
}

impl Deadline {
    fn pack(self) -> i64 {
        self.ms.saturating_mul(2) | i64::from(self.reason == WaitReason::AskedTo)
    }

    fn unpack(packed: i64) -> Self {
        Self { ms: packed >> 1, reason: if packed & 1 == 1 { WaitReason::AskedTo } else { WaitReason::BackingOff } }
    }
}

/// The gate of one host.
pub(crate) struct Pacer {
    clock: Clock,
    stop: CancellationToken,
    /// A packed [`Deadline`]. Only ever moved by `fetch_max`.
    deadline: AtomicI64,
    slots: Arc<Semaphore>,
    /// Callers pass the rate one at a time and in order; without a rate nobody takes it.
    turnstile: tokio::sync::Mutex<()>,
    rate: Option<Rate>,
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
        let ceiling = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let limit = options.start_concurrency.clamp(1, ceiling);
        Ok(Arc::new(Self {
            clock,
            stop,
            deadline: AtomicI64::new(0),
            slots: Arc::new(Semaphore::new(limit)),
            turnstile: tokio::sync::Mutex::new(()),
            rate: options.rate.map(limiter).transpose()?,
            flying: AtomicUsize::new(0),
            gauge: Mutex::new(Gauge { limit, debt: 0, healthy: 0, in_a_row: 0, was_troubled: false, step: None }),
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
    /// `max_wait`.
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
        permit.admitted_ms = match &self.rate {
            None => self.pass(None).await?,
            Some(rate) => {
                let _turn = self.or_stop(self.turnstile.lock()).await?;
                self.pass(Some(rate)).await?
            }
        };
        Ok(permit)
    }

    /// Deadline and rate. Ends only when both agree on the same instant.
    async fn pass(&self, rate: Option<&Rate>) -> Result<i64> {
        loop {
            if self.stop.is_cancelled() {
                return Err(interrupted());
            }
            let now = self.clock.now_ms();
            let deadline = self.deadline();
            if deadline.ms > now {
                let wait = millis(deadline.ms - now);
                // A back-off is bounded by its own setting; only a wait that the host asks for can be too long.
                if wait > self.max_wait && deadline.reason == WaitReason::AskedTo {
                    return Err(self.parked(deadline.ms));
                }
                self.or_stop(tokio::time::sleep(wait)).await?;
                continue;
            }
            let Some(rate) = rate else { return Ok(now) };
            match rate.check() {
                Ok(()) => return Ok(now),
                Err(not_until) => {
                    let wait = not_until.wait_time_from(rate.clock().now());
                    self.or_stop(tokio::time::sleep(wait)).await?;
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

    fn hold(&self, ms: i64, reason: WaitReason) {
        self.deadline.fetch_max(Deadline { ms, reason }.pack(), Ordering::AcqRel);
    }

    fn deadline(&self) -> Deadline {
        Deadline::unpack(self.deadline.load(Ordering::Acquire))
    }

    /// The moment before which nothing starts, and why, where that lies ahead.
    pub(crate) fn waiting(&self) -> Option<(Timestamp, WaitReason)> {
        let deadline = self.deadline();
        let ahead = deadline.ms > self.clock.now_ms();
        ahead.then(|| (Timestamp::from_millisecond(deadline.ms).unwrap_or(Timestamp::MAX), deadline.reason))
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
        let allowed = SignedDuration::try_from(self.max_wait).unwrap_or(SignedDuration::MAX);
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
        // Answers to requests from before the current deadline are news from before it: 64 requests that fail together
        // double the back-off once, and a straggler's success does not end it.
        if admitted_ms < self.deadline().ms {
            return;
        }
        let mut gauge = self.gauge();
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
            }
            Health::Limited => {}
        }
        let step = gauge.step.map_or(self.backoff, |step| step.saturating_mul(2)).min(self.backoff_max);
        gauge.step = Some(step);
        self.shrink(&mut gauge);
        let until = self.clock.now_ms().saturating_add(jittered(step).as_millis() as i64);
        self.hold(until, WaitReason::BackingOff);
    }

    fn grow(&self, gauge: &mut Gauge) {
        if gauge.limit >= self.ceiling {
            return;
        }
        gauge.healthy += 1;
        if gauge.healthy < if gauge.was_troubled { gauge.limit } else { HEALTHY_PER_SLOT } {
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
                if self.admitted_ms >= self.pacer.deadline().ms {
                    let mut gauge = self.pacer.gauge();
                    self.pacer.shrink(&mut gauge);
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

fn limiter(per_second: f64) -> Result<Rate> {
    let period = Duration::try_from_secs_f64(1.0 / per_second).ok().filter(|p| !p.is_zero() && per_second > 0.0);
    let quota = period.and_then(Quota::with_period).ok_or_else(|| {
        Error::new(Kind::Config, format!("{per_second} requests per second is no usable rate"))
            .hint("give a number above 0, such as 10/s")
    })?;
    // Timers tick in milliseconds; without a burst of a hundredth of a second, fast rates could not be reached.
    let burst = NonZeroU32::new((per_second / 100.0) as u32).unwrap_or(NonZeroU32::MIN);
    Ok(RateLimiter::direct_with_clock(quota.allow_burst(burst), TokioClock(Instant::now())))
}

#[cfg(test)]
#[path = "tests/pacing.rs"]
mod tests;
