//! Decides when the next request to a vendor host may start. Each vendor host has one [`Pacer`].
//!
//! The pacer's deadline combines the shared budget, `Retry-After`, `X-RateLimit-*` and back-off. Neither a success nor
//! a shorter wait moves the pacer's deadline back. Only `recoup quota clear` moves the pacer's deadline back. Therefore
//! a process in a long wait rereads the shared budget.
//!
//! A request first takes a slot, because the number of slots limits the requests in flight. A request with a slot waits
//! for the pacer's deadline and draws from the lease in one step without an await. Therefore a request with a slot
//! starts at once. If a request drew from the lease first and then waited for a slot, it would start late, in a burst
//! with others.
//!
//! `concurrency` adjusts the number of slots to the host's answers, `lease` holds this process's share of the budget,
//! and `limiter` spreads that share over time. If a request would wait longer than `max_wait`, the pacer refuses it at
//! once with `Kind::Parked`, and the error says when to run again. The pacer also refuses a request with `Kind::Parked`
//! at `--max-requests` and `--until`.

mod concurrency;
mod deadline;
mod lease;
mod limiter;
mod rate_estimate;
mod recent_answers;
mod run_limits;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::options::HostOptions;
use crate::clock::{Clock, signed};
use crate::error::{Details, Error, Kind, Result};
use crate::model::budget::{Pause, QuotaHeader, QuotaState, WaitReason};
use concurrency::Controller;
pub(crate) use concurrency::Health;
use deadline::Deadline;
use lease::{Draw, Leases};
use run_limits::RunLimits;

/// How often a waiting process reads the shared budget to detect `recoup quota clear`.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Decides when requests to one vendor host start.
pub(crate) struct Pacer {
    clock: Clock,
    stop: CancellationToken,
    deadline: Arc<Deadline>,
    leases: Arc<Leases>,
    run_limits: RunLimits,
    slots: Arc<Semaphore>,
    /// Makes callers wait for the deadline and the lease one at a time, in order of arrival.
    turn: tokio::sync::Mutex<()>,
    in_flight: AtomicUsize,
    controller: Mutex<Controller>,
    max_slots: usize,
    backoff: Duration,
    backoff_max: Duration,
    max_wait: Duration,
}

/// Permission to send one request. Dropping the permit of a request frees its slot.
pub(crate) struct Permit {
    pacer: Arc<Pacer>,
    slot: Option<OwnedSemaphorePermit>,
    admitted_ms: i64,
    is_repeat: bool,
}

impl Pacer {
    pub(crate) fn new(options: &HostOptions, clock: Clock, stop: CancellationToken) -> Result<Arc<Self>> {
        check_rate(options.quota_settings.rate)?;
        let max_slots = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let slots = options.start_concurrency.clamp(1, max_slots);
        let deadline = Arc::new(Deadline::default());
        Ok(Arc::new(Self {
            clock,
            stop,
            leases: Arc::new(Leases::new(options, clock, Arc::clone(&deadline), slots as u64 * 2)),
            deadline,
            run_limits: RunLimits::new(options.max_requests, options.until),
            slots: Arc::new(Semaphore::new(slots)),
            turn: tokio::sync::Mutex::new(()),
            in_flight: AtomicUsize::new(0),
            controller: Mutex::new(Controller::new(slots)),
            max_slots,
            backoff: options.backoff,
            backoff_max: options.backoff_max.max(options.backoff),
            max_wait: options.max_wait,
        }))
    }

    /// Waits until a request to the host may start. `not_before` is the end of the caller's own back-off. The pacer
    /// takes a slot only after the caller's own back-off.
    ///
    /// # Errors
    /// Fails with `Interrupted` as soon as `stop` is cancelled. Fails with `Parked` if the wait would exceed
    /// `max_wait`, or at a limit of this run.
    pub(crate) async fn admit(self: &Arc<Self>, not_before: Option<Timestamp>) -> Result<Permit> {
        if let Some(moment) = not_before {
            let wait = millis(ceil_ms(moment) - self.clock.now_ms());
            if !wait.is_zero() {
                self.or_stop(tokio::time::sleep(wait)).await?;
            }
        }
        let slot = self.or_stop(Arc::clone(&self.slots).acquire_owned()).await?.map_err(|_closed| interrupted())?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        // Creates the permit before the wait, because a failed wait then drops the permit and frees the slot.
        let mut permit = Permit { pacer: Arc::clone(self), slot: Some(slot), admitted_ms: 0, is_repeat: false };
        permit.admitted_ms = self.wait_for_start().await?;
        Ok(permit)
    }

    /// Waits until the run's limits, the deadline and the lease all permit a request at the same instant. Returns the
    /// instant at which the request may start.
    async fn wait_for_start(&self) -> Result<i64> {
        let _turn = self.or_stop(self.turn.lock()).await?;
        let mut is_too_long = false;
        loop {
            if self.stop.is_cancelled() {
                return Err(interrupted());
            }
            let now = self.clock.now_ms();
            self.run_limits.check(now)?;
            if let Some(pause) = self.deadline.get().filter(|pause| pause.until_ms > now) {
                let wait = millis(pause.until_ms - now);
                // A back-off has its own limit. Therefore `max_wait` applies only to a wait that the host demands.
                if wait > self.max_wait && pause.reason != WaitReason::BackingOff {
                    if is_too_long {
                        return Err(self.parked(pause));
                    }
                    is_too_long = true;
                    self.or_stop(self.move_back_if_cleared(pause)).await?;
                    continue;
                }
                self.run_limits.check(pause.until_ms)?;
                self.or_stop(tokio::time::sleep(wait.min(CHECK_EVERY))).await?;
                if wait > CHECK_EVERY {
                    self.or_stop(self.move_back_if_cleared(pause)).await?;
                }
                continue;
            }
            match self.leases.draw() {
                Draw::Now => return self.run_limits.count().map(|()| now),
                Draw::At(moment_us) => {
                    let wait = u64::try_from(moment_us - self.clock.now().as_microsecond()).unwrap_or(0);
                    self.run_limits.check(moment_us / 1_000)?;
                    self.or_stop(tokio::time::sleep(Duration::from_micros(wait))).await?;
                }
                Draw::Paused(pause) => {
                    self.deadline.extend(pause);
                }
                Draw::NoLease => {
                    self.leases.renew();
                    self.or_stop(self.leases.renewed()).await?;
                }
            }
        }
    }

    /// Moves the pacer's deadline back to the pause in the shared budget. The pause in the budget is shorter than a
    /// pause that this process has reported only after `recoup quota clear`. The budget does not store a used-up quota
    /// as a pause. The next lease reports again that the quota is used up.
    async fn move_back_if_cleared(&self, seen: Pause) {
        if seen.reason != WaitReason::BackingOff
            && let Some(shared) = self.leases.shared_pause().await
        {
            self.deadline.move_back(seen, shared);
        }
    }

    async fn or_stop<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(interrupted()),
            done = wait => Ok(done),
        }
    }

    /// Extends the pacer's deadline to a retry time that the host stated.
    pub(crate) fn pause_until(&self, moment: Timestamp) {
        self.extend(Pause::asked(ceil_ms(moment), self.clock.now_ms()));
    }

    fn extend(&self, pause: Pause) {
        if self.deadline.get().is_some_and(|current| pause.until_ms <= current.until_ms) {
            return;
        }
        // Reports the pause to the shared budget before it extends the deadline. If the deadline were extended first,
        // an exchange in between would find no pause in the budget and treat the pause as cleared.
        self.leases.report_pause(pause);
        if self.deadline.extend(pause) {
            self.leases.flush();
        }
    }

    /// Records the quota that the headers of an answer state.
    pub(crate) fn record_header(&self, header: QuotaHeader) {
        self.leases.record_header(header, self.in_flight());
    }

    pub(crate) fn quota_state(&self) -> QuotaState {
        self.leases.quota_state()
    }

    /// Returns why this process cannot share the quota with other processes; `None` if it can.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.leases.trouble()
    }

    /// Returns the pacer's deadline and its reason; `None` if the deadline has passed.
    pub(crate) fn waiting(&self) -> Option<(Timestamp, WaitReason)> {
        let pause = self.deadline.get().filter(|pause| pause.until_ms > self.clock.now_ms())?;
        Some((Timestamp::from_millisecond(pause.until_ms).unwrap_or(Timestamp::MAX), pause.reason))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the error for a host that keeps answering 429. `moment` is the retry time of the host's last answer.
    pub(crate) fn parked_until(&self, moment: Timestamp) -> Error {
        self.parked(Pause::asked(ceil_ms(moment), self.clock.now_ms()))
    }

    /// Returns the error for a wait that exceeds `max_wait`.
    fn parked(&self, pause: Pause) -> Error {
        let moment = Timestamp::from_millisecond(pause.until_ms).unwrap_or(Timestamp::MAX);
        let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let moment = moment.round(whole).unwrap_or(moment);
        let allowed = signed(self.max_wait);
        if pause.reason == WaitReason::Implausible {
            let what = "the host asked for a wait of more than a day; recoup caps it at a day";
            return Error::new(Kind::Parked, format!("{what}: no request starts before {moment}"))
                .details(Details { retry_at: Some(moment), ..Details::default() })
                .hint("if the wait is a mistake, `recoup quota clear` ends it; the work so far is saved");
        }
        if pause.reason == WaitReason::OnlyReserve {
            let what = "only the reserve for retractions is left of the quota";
            return Error::new(Kind::Parked, format!("{what} until {moment}, and looking at an order leaves it alone"))
                .hint(format!("a retraction can still be sent; look again after {moment}"));
        }
        Error::new(
            Kind::Parked,
            format!("the quota is used up until {moment}, and a wait may last {allowed:#} at most (max_wait)"),
        )
        .details(Details { retry_at: Some(moment), ..Details::default() })
        .hint(format!("run the same command after {moment}; the work so far is saved"))
    }
}

impl Permit {
    /// Marks a request as the repeat of a failed request. A second failure of the same request shows nothing new about
    /// the host.
    pub(crate) fn mark_repeat(&mut self) {
        self.is_repeat = true;
    }

    /// Reports to the pacer the health that an answer shows, and the answer's retry time if it has one. After the
    /// report to the pacer, the request keeps its slot.
    pub(crate) fn report(&self, health: Health, until: Option<Timestamp>) {
        let pacer = &self.pacer;
        match until {
            Some(moment) if health == Health::Limited => pacer.record_limit(self.admitted_ms, moment),
            _ => pacer.record_answer(self.admitted_ms, health, self.is_repeat),
        }
        if let Some(moment) = until {
            pacer.pause_until(moment);
        }
    }

    /// Reports an answer as [`Permit::report`] does, and frees the request's slot.
    pub(crate) fn finish(self, health: Health, until: Option<Timestamp>) {
        self.report(health, until);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pacer.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = self.slot.take()
            && self.pacer.controller().takes_slot_back()
        {
            slot.forget();
        }
    }
}

/// Lengthens a wait by a random part of up to a quarter, because processes that failed together must not retry
/// together.
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
    match rate {
        Some(per_second) if !(per_second > 1e-9 && per_second <= 1e9) => {
            Err(Error::new(Kind::Config, format!("a rate of {per_second} requests per second cannot be used"))
                .hint("give a number above 0, such as 10/s"))
        }
        _ => Ok(()),
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.leases.close();
    }
}

#[cfg(test)]
#[path = "../tests/pacing.rs"]
mod tests;

#[cfg(test)]
#[path = "../tests/throughput.rs"]
mod throughput;

#[cfg(test)]
#[path = "../tests/shared_budget.rs"]
mod shared_budget;
