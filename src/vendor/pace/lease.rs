//! The lease of this process: how many requests the shared budget permits the process to send now.
//!
//! Each request draws from the lease in memory. About twice a second, while the lease still has requests, a blocking
//! task reports usage to the shared budget and takes the next lease. If this process cannot reach the shared budget, it
//! continues with its last copy of the quota state, and reports its usage later. At its end, the process returns unused
//! requests to the shared budget. A lease contains a number of requests and a rate. `limiter` decides when each request
//! of a lease may start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::deadline::Deadline;
use super::limiter::Limiter;
use crate::clock::Clock;
use crate::model::budget::{
    Budget, Grant, LeaseRequest, Pause, Purpose, QuotaHeader, QuotaSettings, QuotaState, RATE_WINDOW, RateLimited,
    Unavailable, UsageReport,
};
use crate::vendor::options::HostOptions;

/// How often this process reports the usage of a lease without a limit, in microseconds.
const REPORT_EVERY: i64 = 1_000_000;

/// After this many failed exchanges in a row, recoup warns that this process does not share its quota.
const FAILURES_BEFORE_WARNING: u32 = 3;

/// The result of drawing one request from the lease.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Draw {
    Now,
    /// The drawn request may start at this time, in Unix microseconds.
    At(i64),
    /// The shared budget permits no request before this pause ends.
    Paused(Pause),
    NoLease,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    left: u64,
    grant: Grant,
    /// When this process next reports the usage of a lease without a limit, in Unix microseconds.
    report_us: i64,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    next: Option<Lease>,
    /// The rate limiter. The first request of a lease with a rate creates the rate limiter.
    limiter: Option<Limiter>,
    is_exchanging: bool,
    /// Increases when all leases of this process become void. A lease that the process requested in an earlier
    /// generation is void.
    generation: u64,
    /// The shared budget's refusal of the next lease. The refusal takes effect when the current lease is used up.
    refused: Option<Pause>,
    /// The usage report for the next exchange with the shared budget.
    report: UsageReport,
    /// The number of requests that the process has started since the last exchange. The started requests measure the
    /// speed of this process.
    started: u64,
    exchanged_us: i64,
    want: u64,
    quota: QuotaState,
    is_closed: bool,
}

/// Usage of the quota that the shared budget has not recorded yet. An exchange holds the lock on the unreported usage
/// from start to end.
#[derive(Default)]
struct Unreported {
    report: UsageReport,
    failures: u32,
}

pub(super) struct Leases {
    clock: Clock,
    budget: Option<Arc<dyn Budget>>,
    purpose: Purpose,
    settings: QuotaSettings,
    deadline: Arc<Deadline>,
    state: Mutex<State>,
    unreported: Mutex<Unreported>,
    renewed: Notify,
    trouble: Mutex<Option<String>>,
}

impl Leases {
    pub(super) fn new(options: &HostOptions, clock: Clock, deadline: Arc<Deadline>, want: u64) -> Self {
        let want = if options.purpose == Purpose::Crawl { want } else { 1 };
        Self {
            clock,
            budget: options.budget.clone(),
            purpose: options.purpose,
            settings: options.quota_settings,
            deadline,
            state: Mutex::new(State { want, exchanged_us: now_us(&clock), ..State::default() }),
            unreported: Mutex::new(Unreported::default()),
            renewed: Notify::new(),
            trouble: Mutex::new(None),
        }
    }

    /// Draws one request from the lease if the request may start now. Requests the next lease when half of the current
    /// lease is used.
    pub(super) fn draw(self: &Arc<Self>) -> Draw {
        let now_us = now_us(&self.clock);
        let mut state = lock(&self.state);
        loop {
            let Some(lease) = state.lease else {
                return state.refused.take().map_or(Draw::NoLease, Draw::Paused);
            };
            let is_void = lease.grant.void_at_ms.is_some_and(|end| end * 1_000 <= now_us);
            if lease.left == 0 || is_void {
                if is_void {
                    state.limiter = None;
                }
                state.return_unspent(&lease);
                state.lease = state.next.take();
                state.keep_limiter();
                continue;
            }
            let grant = lease.grant;
            if grant.starts_us > now_us {
                return Draw::At(grant.starts_us);
            }
            if grant.spacing_us > 0.0 {
                let limiter = state.limiter.get_or_insert_with(|| Limiter::new(&grant, now_us - grant.starts_us));
                if let Err(wait) = limiter.check() {
                    return Draw::At(now_us.saturating_add(wait.as_nanos().div_ceil(1_000) as i64));
                }
            }
            let left = lease.left - u64::from(grant.counted);
            state.lease = Some(Lease { left, ..lease });
            state.started += 1;
            state.report.sent += 1;
            state.report.uncounted += u64::from(!grant.counted);
            let runs_out = if grant.counted { left <= grant.requests / 2 } else { lease.report_us <= now_us };
            // A retraction, or a person who looks at an order, sends a handful of requests and prefetches no counted
            // lease.
            let prefetches = self.purpose == Purpose::Crawl || !grant.counted;
            let is_due = runs_out && prefetches && state.next.is_none() && state.refused.is_none();
            drop(state);
            if is_due {
                self.renew();
            }
            return Draw::Now;
        }
    }

    /// Requests the next lease, if no exchange is already running. [`Leases::renewed`] waits for the end of the
    /// exchange.
    pub(super) fn renew(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if !state.is_exchanging && !state.is_closed {
            state.is_exchanging = true;
            drop(state);
            self.exchange_in_background(true);
        }
    }

    /// Runs an exchange on a blocking thread, because its file access may block. Without a shared budget, the exchange
    /// only computes in memory and runs on the caller's thread.
    fn exchange_in_background(self: &Arc<Self>, wants_lease: bool) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.budget.is_some() => {
                let leases = Arc::clone(self);
                drop(runtime.spawn_blocking(move || leases.exchange(wants_lease)));
            }
            _ => {
                self.exchange(wants_lease);
            }
        }
    }

    /// Waits until an exchange with the shared budget ends. Only one caller at a time may wait for an exchange.
    pub(super) async fn renewed(&self) {
        self.renewed.notified().await;
    }

    pub(super) fn report_pause(&self, pause: Pause) {
        lock(&self.state).report.merge(&UsageReport { pause: Some(pause), ..UsageReport::default() });
    }

    /// Reports usage to the shared budget now, if no running exchange is about to report it.
    pub(super) fn flush(self: &Arc<Self>) {
        let state = lock(&self.state);
        let is_idle = self.budget.is_some() && !state.is_exchanging && !state.is_closed;
        drop(state);
        if is_idle {
            self.exchange_in_background(false);
        }
    }

    /// Reports this process's usage and returns the pause stored in the shared budget. The outer `None` means that this
    /// process cannot reach the shared budget.
    pub(super) async fn shared_pause(self: &Arc<Self>) -> Option<Option<Pause>> {
        self.budget.as_ref()?;
        let leases = Arc::clone(self);
        tokio::task::spawn_blocking(move || leases.exchange(false)).await.ok()?.map(|quota| quota.pause)
    }

    /// Records the quota that the headers of an answer state. A new limit voids all leases that were requested without
    /// the limit.
    pub(super) fn record_header(&self, mut header: QuotaHeader, in_flight: usize) {
        let mut state = lock(&self.state);
        let last = state.report.header;
        let known = [state.quota.limit_from_header, state.quota.rate_from_header.map(|rate| rate as u64)];
        if !known.contains(&Some(header.limit)) && last.is_none_or(|last| last.limit != header.limit) {
            state.void_leases();
        }
        // The request that got this header still counts as in flight. Therefore this function subtracts the request
        // that got the header.
        header.outstanding = (in_flight as u64).saturating_sub(1);
        // The answers of a host may arrive out of order. Within a window, the answer with the smallest remainder is the
        // newest.
        let is_overtaken = last.is_some_and(|last| {
            last.limit == header.limit
                && (last.resets_at_ms - header.resets_at_ms).abs() < RATE_WINDOW
                && last.remaining < header.remaining
        });
        if !is_overtaken || header.resets_at_ms - header.at_ms <= RATE_WINDOW {
            state.report.header = Some(header);
        }
    }

    /// Records a 429 against the request rate, and voids all leases, because the next lease has a lower rate.
    pub(super) fn report_limit(&self, limited: RateLimited) {
        let mut state = lock(&self.state);
        state.report.limited = Some(limited);
        state.void_leases();
    }

    /// Replaces the rate estimate of a 429 that the process has not reported yet. `estimate` receives the time of the
    /// 429.
    pub(super) fn revise_estimate(&self, estimate: impl FnOnce(i64) -> Option<f64>) {
        if let Some(limited) = &mut lock(&self.state).report.limited {
            limited.estimate = estimate(limited.at_ms);
        }
    }

    /// Returns the current request rate if recoup learned it from 429s.
    pub(super) fn learned_rate(&self) -> Option<f64> {
        let quota = self.quota_state();
        quota.rate_learned.filter(|learned| quota.rate.is_some_and(|rate| rate >= *learned))
    }

    pub(super) fn has_rate(&self) -> bool {
        lock(&self.state).quota.rate.is_some()
    }

    pub(super) fn quota_state(&self) -> QuotaState {
        lock(&self.state).quota
    }

    /// Returns why this process cannot share the quota; `None` if it can.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Returns unused requests to the shared budget, with the last usage report.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.void_leases();
        drop(state);
        self.exchange(false);
    }

    /// Runs one exchange, and blocks as long as the shared budget blocks. Returns the shared quota state, or `None` if
    /// this process could not reach the shared budget.
    fn exchange(&self, wants_lease: bool) -> Option<QuotaState> {
        let mut unreported = lock(&self.unreported);
        let now_us = now_us(&self.clock);
        let now_ms = now_us / 1_000;
        let mut request = LeaseRequest { purpose: self.purpose, want: 0 };
        let (report, generation, mut quota) = {
            let mut state = lock(&self.state);
            let mut report = std::mem::take(&mut state.report);
            if wants_lease && !state.is_closed {
                request.want = state.next_want(self.purpose, now_us);
            } else {
                // This process reports a 429 only with a request for a lease, after the answers in flight have improved
                // the rate estimate.
                state.report.limited = report.limited.take();
            }
            (report, state.generation, state.quota)
        };
        let shared = self.budget.as_ref().map(|budget| {
            unreported.report.merge(&report);
            budget.exchange(&unreported.report, request, &self.settings, now_ms)
        });
        let is_shared = matches!(shared, Some(Ok(_)));
        let grant = match shared {
            Some(Ok((grant, state))) => {
                *unreported = Unreported::default();
                *lock(&self.trouble) = None;
                quota = state;
                grant
            }
            alone => {
                let grant = quota.exchange(&report, request, &self.settings, now_ms);
                if grant.counted {
                    unreported.report.uncounted += grant.requests;
                }
                if let Some(Err(Unavailable::Failed(why))) = alone {
                    unreported.failures += 1;
                    // A retraction, or a person who looks at an order, ends before the third exchange. Therefore the
                    // first failed exchange of a short command counts.
                    if unreported.failures >= FAILURES_BEFORE_WARNING || self.purpose != Purpose::Crawl {
                        *lock(&self.trouble) = Some(why);
                    }
                }
                grant
            }
        };
        if let Some(pause) = quota.pause {
            self.deadline.extend(pause);
        }
        let mut state = lock(&self.state);
        state.quota = quota;
        if wants_lease {
            state.is_exchanging = false;
            if request.want > 0 {
                state.accept(grant, generation, now_us);
            }
        }
        drop(state);
        self.renewed.notify_one();
        is_shared.then_some(quota)
    }
}

impl State {
    /// Returns the size of the next lease: one and a half times the requests of half a second at the measured speed,
    /// because the speed must be able to grow.
    fn next_want(&mut self, purpose: Purpose, now_us: i64) -> u64 {
        let passed = (now_us - self.exchanged_us).max(1) as f64 / 1e6;
        if purpose == Purpose::Crawl && passed > 0.05 {
            let in_half_a_second = self.started as f64 / passed / 2.0;
            self.want = (in_half_a_second * 1.5) as u64 + 4;
        }
        (self.started, self.exchanged_us) = (0, now_us);
        self.want
    }

    fn accept(&mut self, grant: Grant, generation: u64, now_us: i64) {
        let lease = Lease { left: grant.requests, grant, report_us: now_us + REPORT_EVERY };
        if generation != self.generation || self.is_closed {
            self.return_unspent(&lease);
        } else if grant.requests == 0 {
            self.refused = grant.pause;
        } else if self.lease.is_none_or(|lease| !lease.grant.counted) {
            self.lease = Some(lease);
            self.keep_limiter();
        } else {
            self.next = Some(lease);
        }
    }

    /// Drops the rate limiter if the current lease does not directly follow the last lease at the same rate.
    fn keep_limiter(&mut self) {
        let keeps = match (&self.lease, &mut self.limiter) {
            (Some(lease), Some(limiter)) => limiter.continues_with(&lease.grant),
            // Without a current lease, the next lease may still directly follow the last lease.
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !keeps {
            self.limiter = None;
        }
    }

    fn void_leases(&mut self) {
        self.generation += 1;
        self.limiter = None;
        for lease in [self.lease.take(), self.next.take()].into_iter().flatten() {
            self.return_unspent(&lease);
        }
    }

    fn return_unspent(&mut self, lease: &Lease) {
        if lease.grant.counted && lease.left > 0 {
            let unspent_window = lease.grant.window;
            self.report.merge(&UsageReport { unspent: lease.left, unspent_window, ..UsageReport::default() });
        }
    }
}

fn now_us(clock: &Clock) -> i64 {
    clock.now().as_microsecond()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
