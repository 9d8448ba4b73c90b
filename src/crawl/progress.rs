//! The progress line of a crawl: the amount read, the rate, and the time left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::model::time_left::{duration, time_left};
use crate::model::{counted, grouped};
use crate::report::Report;
use crate::store::index::PageCommitted;
use crate::vendor::advocate::Advocate;
use crate::vendor::{WaitReason, implausible_wait};

const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

/// The counters that the progress line of a crawl shows. Clones of the meter share its counters.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    /// The number of known accounts, or of known rewards for the source `graphql`.
    known: AtomicU64,
    read: AtomicU64,
    /// The `totalCount` of the list of participants; 0 if the vendor does not state it.
    total: AtomicU64,
    /// The part of `read` that earlier processes of the same run have read.
    read_before: u64,
    pages: watch::Receiver<PageCommitted>,
}

impl Meter {
    /// Creates counters that start with the amounts that earlier processes of the run have read.
    pub(super) fn new(known: u64, read: u64, pages: watch::Receiver<PageCommitted>) -> Self {
        let (known, total) = (AtomicU64::new(known), AtomicU64::new(0));
        Self(Arc::new(Counters { known, total, read: AtomicU64::new(read), read_before: read, pages }))
    }

    pub(super) fn set_total_participants(&self, total: Option<u64>) {
        self.0.total.store(total.unwrap_or(0), Relaxed);
    }

    /// Updates the counters for a source that reads rewards without accounts. `expected` is the vendor's count of all
    /// rewards.
    pub(super) fn set_rewards(&self, read: u64, expected: Option<u64>) {
        self.0.read.store(read, Relaxed);
        self.0.known.store(expected.unwrap_or(read), Relaxed);
    }

    pub(super) fn add_account(&self) {
        self.0.read.fetch_add(1, Relaxed);
    }

    /// Redraws the progress line until the caller drops this future.
    pub(super) async fn show(&self, what: &'static str, report: &Report, advocate: &Advocate, clock: &Clock) {
        let progress = report.progress(what);
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        let (mut warned, mut warned_of_wait) = (false, false);
        loop {
            let at = Instant::now();
            tokio::time::sleep(REDRAW_INTERVAL).await;
            if advocate.stats().waiting_until.is_some() {
                waited += at.elapsed();
            }
            if let Some(why) = advocate.quota_trouble().filter(|_| !warned) {
                report.warn(format!("the quota is not shared with other processes for now: {why}"));
                warned = true;
            }
            let is_implausible = advocate.stats().wait_reason == Some(WaitReason::Implausible);
            if is_implausible && !warned_of_wait {
                report.warn(implausible_wait("Advocate"));
                warned_of_wait = true;
            }
            let (read, total, text) = self.line(began.elapsed().saturating_sub(waited), advocate, clock.now_ms());
            progress.show(read, total, &text);
        }
    }

    /// Returns the progress line of the crawl. `active` is the time of this process without its waits for the quota.
    /// The progress line measures the rate over the time without waits.
    fn line(&self, active: Duration, advocate: &Advocate, now_ms: i64) -> (u64, Option<u64>, String) {
        let page = *self.0.pages.borrow();
        let (read, total, listed) = (self.0.read.load(Relaxed), self.0.total.load(Relaxed), page.participants);
        let known = if listed > 0 { page.accounts_known } else { self.0.known.load(Relaxed) };
        let mut parts = Vec::new();
        let mut expected = known;
        if listed > 0 && listed < total {
            parts.push(format!("{} of {} listed", grouped(listed), counted(total, "participant")));
            // Estimates the total number of accounts from the ratio of accounts to listed participants so far. If the
            // run knows more accounts than listed participants, an earlier read of the list has added them, and the
            // ratio is meaningless.
            if known <= listed {
                expected = known.saturating_mul(total) / listed;
            }
        }
        let stats = advocate.stats();
        let done = read.saturating_sub(self.0.read_before);
        let rate = done as f64 / active.as_secs_f64().max(0.001);
        if done > 0 {
            parts.push(format!("{rate:.0}/s"));
            let held = stats.waiting_until.map_or(0, |until| until.as_millisecond() - now_ms);
            let left = time_left(expected.saturating_sub(read), rate, &stats.quota, held.max(0), now_ms);
            parts.push(format!("about {} left", duration(left)));
        }
        if let (Some(left), Some(limit)) = (stats.quota.left_to_crawl(), stats.quota.per_window()) {
            parts.push(format!("{} of {} left", grouped(left), counted(limit, "request")));
        }
        if let Some(until) = stats.waiting_until {
            let why = stats.wait_reason.map_or("waiting", WaitReason::as_str);
            parts.push(format!("{why} until {} UTC", until.strftime("%H:%M:%S")));
        } else if stats.backing_off > 0 && stats.in_flight == 0 {
            parts.push("the host answers with errors; retrying".to_owned());
        }
        (read, Some(expected.max(read)), parts.join(", "))
    }
}
