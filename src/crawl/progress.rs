//! How far a crawl has come, and what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::model::time_left::{duration, time_left};
use crate::report::Report;
use crate::report::grouped;
use crate::vendor::advocate::Advocate;
use crate::vendor::{WaitReason, implausible_wait};

/// How often the line is drawn.
const EVERY: Duration = Duration::from_millis(500);

/// Counters that requests move and the progress line shows. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    known: AtomicU64,
    read: AtomicU64,
    listed: AtomicU64,
    /// Participants that the list says it has; 0 where it does not say.
    total: AtomicU64,
    /// Requests of this process that the run's row has.
    counted: AtomicU64,
    read_before: u64,
}

impl Meter {
    /// Goes on from what earlier processes of the run have read. `requests` is what the client has sent already, for others.
    pub(super) fn new(known: u64, read: u64, requests: u64) -> Self {
        Self(Arc::new(Counters {
            known: AtomicU64::new(known),
            read: AtomicU64::new(read),
            listed: AtomicU64::new(0),
            total: AtomicU64::new(0),
            counted: AtomicU64::new(requests),
            read_before: read,
        }))
    }

    pub(super) fn listed(&self, participants: u64, total: Option<u64>, known: u64) {
        self.0.listed.store(participants, Relaxed);
        self.0.total.store(total.unwrap_or(0), Relaxed);
        self.0.known.store(known, Relaxed);
    }

    /// Rewards, for a source that walks them: how many so far, and how many there will be.
    pub(super) fn walked(&self, read: u64, expected: Option<u64>) {
        self.0.read.store(read, Relaxed);
        self.0.known.store(expected.unwrap_or(read), Relaxed);
    }

    pub(super) fn read_one(&self) {
        self.0.read.fetch_add(1, Relaxed);
    }

    /// The requests that the run's row does not have yet; from now on it has them.
    pub(super) fn uncounted(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.0.counted.swap(sent, Relaxed))
    }

    /// Shows the line until it is dropped.
    pub(super) async fn show(&self, what: &'static str, report: &Report, advocate: &Advocate, clock: &Clock) {
        let progress = report.progress(what);
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        let (mut warned, mut warned_of_wait) = (false, false);
        loop {
            let at = Instant::now();
            tokio::time::sleep(EVERY).await;
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

    fn line(&self, active: Duration, advocate: &Advocate, now_ms: i64) -> (u64, Option<u64>, String) {
        let (read, known) = (self.0.read.load(Relaxed), self.0.known.load(Relaxed));
        let (listed, total) = (self.0.listed.load(Relaxed), self.0.total.load(Relaxed));
        let mut parts = Vec::new();
        let mut expected = known;
        if listed > 0 && listed < total {
            parts.push(format!("{} of {} participants listed", grouped(listed), grouped(total)));
            // As many accounts for each participant as so far; more accounts than participants are from an earlier walk.
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
            parts.push(format!("{} of {} requests left", grouped(left), grouped(limit)));
        }
        if let Some(until) = stats.waiting_until {
            let why = stats.wait_reason.map_or("waiting", WaitReason::as_str);
            parts.push(format!("{why} until {} UTC", until.strftime("%H:%M:%S")));
        } else if stats.backing_off > 0 && stats.in_flight == 0 {
            parts.push("the host does not answer as it should; trying again".to_owned());
        }
        (read, Some(expected.max(read)), parts.join(", "))
    }
}
