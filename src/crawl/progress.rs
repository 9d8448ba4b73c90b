//! How far a crawl has come, and what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::WaitReason;
use crate::api::advocate::Advocate;
use crate::clock::Clock;
use crate::model::budget::Account;
use crate::report::Report;
use crate::report::grouped;

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
        let mut warned = false;
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

/// Seconds until so many more requests are done at this pace, the waits for the quota included.
fn time_left(requests: u64, per_second: f64, quota: &Account, held_ms: i64, now_ms: i64) -> f64 {
    let working = requests as f64 / per_second.max(0.001);
    let held = held_ms as f64 / 1_000.0;
    let (Some(left), Some(per_window)) = (quota.left_to_crawl(), quota.per_window()) else { return held + working };
    let beyond = requests.saturating_sub(left);
    if beyond == 0 || per_window == 0 {
        return held + working;
    }
    // Every window that begins takes its full length, but the last; work within them is faster or takes just as long.
    let window = quota.window_ms.unwrap_or(3_600_000) as f64 / 1_000.0;
    let reset = quota.window_ends_ms.map_or(window, |end| (end - now_ms).max(0) as f64 / 1_000.0);
    let whole = (beyond - 1) / per_window;
    let last = (beyond - whole * per_window) as f64 / per_second.max(0.001);
    let first = reset.max(left as f64 / per_second.max(0.001));
    first + whole as f64 * window.max(per_window as f64 / per_second.max(0.001)) + last
}

/// Seconds as a person says them.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, text) in [(0.4, "0s"), (59.0, "59s"), (61.0, "1m 01s"), (7260.0, "2h 01m")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn the_time_left_includes_the_waits() {
        let account = Account {
            limit: Some(1_000),
            reserve: 0.1,
            used: 800,
            window_ms: Some(3_600_000),
            window_ends_ms: Some(600_000),
            ..Account::default()
        };
        for (requests, seconds) in [
            (50, 5.0),
            (100, 10.0),
            (200, 600.0 + 10.0),
            (1_000, 600.0 + 90.0),
            (1_001, 600.0 + 3_600.0 + 0.1),
            (2_000, 600.0 + 2.0 * 3_600.0 + 10.0),
        ] {
            let left = time_left(requests, 10.0, &account, 0, 0);
            assert!((left - seconds).abs() < 0.01, "{requests}: {left}, not {seconds}");
        }
        assert!((time_left(100, 10.0, &Account::default(), 30_000, 0) - 40.0).abs() < 0.01);
    }
}
