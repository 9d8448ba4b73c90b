//! When the next request to a host may start. One gate per host.
//!
//! The shared budget, Retry-After, `X-RateLimit-*` and back-off meet in one deadline that only moves forward: no success and
//! no shorter wait takes it back. A person can, by `recoup quota clear`: before a long wait the shared budget is read again. A caller takes a slot (requests in flight), then passes the deadline and draws from the
//! lease in hand, in one step without an await in between, so that leave is never spent before the request starts and a
//! deadline that moved during the wait is seen. Slots come first because leave taken by somebody who then waits for a
//! slot would be spent in a burst later; the price is that waiting callers hold slots nobody else could use.
//!
//! `gauge` says what the answers make of the host, `lease` how many requests the budget allows and at what rate, `limiter` when
//! each may start.
//!
//! A wait is waited out in full or not at all: farther away than `max_wait`, admission ends with `Kind::Parked` and the
//! time to come back; so it does at the bounds that were set for the process. Nothing here sends, judges or knows what is
//! sent.

mod accepted;
mod bounds;
mod deadline;
mod gauge;
mod lease;
mod limiter;
mod newest;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::options::HostOptions;
use crate::clock::{Clock, signed};
use crate::error::{Error, Kind, Result};
use crate::model::budget::{Account, Hold, Told, WaitReason};
use bounds::Bounds;
use deadline::Deadline;
use gauge::Gauge;
pub(crate) use gauge::Health;
use lease::{Draw, Leases};

/// A host that asks to wait no longer than this speaks of a rate, not of a window's quota, in milliseconds.
const SPEAKS_OF_A_RATE: i64 = 2_500;

/// How often a process that waits reads the shared budget, to see whether a person has ended the wait.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

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
    /// When a caller that waits looks at the shared budget next, Unix milliseconds.
    looks_at: AtomicI64,
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
            gauge: Mutex::new(Gauge::new(limit)),
            ceiling,
            backoff: options.backoff,
            backoff_max: options.backoff_max.max(options.backoff),
            max_wait: options.max_wait,
            looks_at: AtomicI64::new(0),
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
        let mut parks = false;
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
                    if parks {
                        return Err(self.parked(deadline));
                    }
                    parks = true;
                    self.or_stop(self.take_back_if_cleared(deadline)).await?;
                    continue;
                }
                self.bounds.check(deadline.until_ms)?;
                self.or_stop(tokio::time::sleep(wait.min(LOOKS_EVERY))).await?;
                if wait > LOOKS_EVERY && self.is_turn_to_look() {
                    self.or_stop(self.take_back_if_cleared(deadline)).await?;
                }
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

    /// Whether this caller looks at the shared budget now: of all that wait, one does every [`LOOKS_EVERY`].
    fn is_turn_to_look(&self) -> bool {
        let now = self.clock.now_ms();
        let next = now.saturating_add(LOOKS_EVERY.as_millis() as i64);
        self.looks_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| (at <= now).then_some(next)).is_ok()
    }

    /// Takes the deadline back to what the shared budget holds. It holds less than this process has told it only if a person has
    /// cleared it. A used quota is not held there: the next lease tells of it again.
    async fn take_back_if_cleared(&self, seen: Hold) {
        if seen.reason == WaitReason::BackingOff {
            return;
        }
        if let Some(held) = self.leases.held().await {
            self.deadline.take_back(seen, held);
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
        self.hold(Hold::asked(ceil_ms(moment), self.clock.now_ms()));
    }

    fn hold(&self, hold: Hold) {
        if hold.until_ms <= self.deadline.get().until_ms {
            return;
        }
        // Noted first, so that no exchange in between takes the shared budget for cleared.
        self.leases.note(hold);
        if self.deadline.extend(hold) {
            self.leases.tell();
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

    /// The error for a host that answers 429 without end; its last answer named this moment.
    pub(crate) fn parked_until(&self, moment: Timestamp) -> Error {
        self.parked(Hold::asked(ceil_ms(moment), self.clock.now_ms()))
    }

    /// The error for a wait that is too long, naming the moment to come back.
    fn parked(&self, hold: Hold) -> Error {
        let moment = Timestamp::from_millisecond(hold.until_ms).unwrap_or(Timestamp::MAX);
        let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let moment = moment.round(whole).unwrap_or(moment);
        let allowed = signed(self.max_wait);
        if hold.reason == WaitReason::Implausible {
            let what = "the host asked for a wait of more than a day, which is implausible and is capped at a day";
            return Error::new(Kind::Parked, format!("{what}: no request starts before {moment}"))
                .hint("if that cannot be right, `recoup quota clear` ends the wait; what was done so far is kept");
        }
        Error::new(
            Kind::Parked,
            format!("the quota is used up until {moment}, farther away than the allowed wait of {allowed:#}"),
        )
        .hint(format!("come back after {moment}; what was done so far is kept"))
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
        if let Some(slot) = self.slot.take()
            && self.pacer.gauge().collects()
        {
            slot.forget();
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
