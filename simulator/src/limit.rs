//! Enforces the simulator's request limits, reports them in headers, and checks whether the client obeys them.
//!
//! Each simulated vendor host has its own request limits. If a client sends a request before the end of a requested
//! wait, the simulator records a violation. Without `--rate` and `--quota`, the simulator enforces no request limits.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    lock::hold,
    options::{LimitHeader, Options},
    record::Host,
};

/// The time after a refusal during which a request is not a violation, because the client may have sent it before the
/// refusal arrived.
const IN_FLIGHT_TOLERANCE: Duration = Duration::from_millis(250);
/// Tolerance for inexact clocks and timers of the client.
const TIMER_TOLERANCE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Limits {
    start: Instant,
    rate: Option<u64>,
    quota: Option<u64>,
    window: Duration,
    header: LimitHeader,
    hosts: [Mutex<Used>; 2],
    pause: [Pause; 2],
}

/// How much of its request limits a host has used.
#[derive(Debug)]
struct Used {
    /// The tokens in a bucket for the requests of one second.
    tokens: f64,
    filled: Instant,
    window_began: Option<Instant>,
    in_window: u64,
}

/// When the simulator told the client to wait, and when that wait ends, in milliseconds since the start.
#[derive(Debug, Default)]
struct Pause {
    at: AtomicU64,
    until: AtomicU64,
}

/// The state of a host's request limits after one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitState {
    pub(super) over: bool,
    limit: u64,
    remaining: u64,
    reset: Duration,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Self {
        let start = Instant::now();
        let used = || {
            let tokens = options.rate.unwrap_or(0) as f64;
            Mutex::new(Used { tokens, filled: start, window_began: None, in_window: 0 })
        };
        Self {
            start,
            rate: options.rate,
            quota: options.quota,
            window: options.window,
            header: options.limit_header,
            hosts: [used(), used()],
            pause: Default::default(),
        }
    }

    /// Counts a request against the host's limits. Returns `None` if the simulator has no limits.
    pub(super) fn admit(&self, host: Host, now: Instant) -> Option<LimitState> {
        if self.rate.is_none() && self.quota.is_none() {
            return None;
        }
        let mut used = hold(&self.hosts[host as usize]);
        let mut standing =
            LimitState { over: false, limit: self.rate.unwrap_or(0), remaining: 0, reset: Duration::from_secs(1) };
        if let Some(rate) = self.rate {
            let rate = rate as f64;
            let gained = now.saturating_duration_since(used.filled).as_secs_f64() * rate;
            used.tokens = (used.tokens + gained).min(rate.max(1.0));
            used.filled = now;
            standing.remaining = used.tokens as u64;
            if used.tokens < 1.0 {
                standing.over = true;
                standing.reset = Duration::from_secs_f64((1.0 - used.tokens) / rate);
            }
        }
        if let Some(quota) = self.quota {
            let mut began = *used.window_began.get_or_insert(now);
            if now.saturating_duration_since(began) >= self.window {
                (began, used.in_window) = (now, 0);
                used.window_began = Some(now);
            }
            let left = self.window.saturating_sub(now.saturating_duration_since(began));
            let full = used.in_window >= quota;
            if full || !standing.over {
                standing.limit = quota;
                standing.remaining = quota.saturating_sub(used.in_window + 1);
                standing.reset = left;
            }
            standing.over |= full;
        }
        if standing.over {
            standing.remaining = 0;
        } else {
            used.in_window += 1;
            used.tokens -= 1.0;
        }
        Some(standing)
    }

    /// Returns the headers that report the state of the request limits. If the simulator refuses the request, this
    /// function records that the client must wait.
    pub(super) fn headers(&self, host: Host, standing: LimitState, now: Instant) -> Vec<(&'static str, String)> {
        let seconds = standing.reset.as_secs_f64().ceil() as u64;
        let epoch = (unix_seconds() + standing.reset.as_secs_f64()).ceil() as u64;
        let (limit, remaining) = (standing.limit.to_string(), standing.remaining.to_string());
        let headers = match self.header {
            LimitHeader::Brand | LimitHeader::BrandEpoch => {
                let reset = if self.header == LimitHeader::Brand { seconds } else { epoch };
                vec![
                    ("x-ratelimit-limit", limit),
                    ("x-ratelimit-remaining", remaining),
                    ("x-ratelimit-reset", reset.to_string()),
                ]
            }
            LimitHeader::Partner => {
                let mut headers = vec![
                    ("x-ratelimit-limit-hour", limit),
                    ("x-ratelimit-remaining-hour", remaining),
                    ("ratelimit-reset", seconds.to_string()),
                ];
                if standing.over {
                    headers.push(("retry-after", seconds.to_string()));
                }
                headers
            }
            LimitHeader::RetryAfter if standing.over => vec![("retry-after", seconds.to_string())],
            LimitHeader::RetryAfterDate if standing.over => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
                vec![("retry-after", httpdate::fmt_http_date(at))]
            }
            LimitHeader::RetryAfter | LimitHeader::RetryAfterDate | LimitHeader::None => Vec::new(),
        };
        if standing.over && !headers.is_empty() {
            // Every header is rounded up. Therefore a client that obeys the header sends its next request after the
            // true end of the wait.
            self.set_pause(host, now, standing.reset);
        }
        headers
    }

    /// Records that the client must wait for this time.
    pub(super) fn set_pause(&self, host: Host, now: Instant, wait: Duration) {
        let pause = &self.pause[host as usize];
        let at = now.saturating_duration_since(self.start);
        // A second refusal during a wait does not restart the wait, because otherwise every request of a client that
        // never waits would count as in flight.
        if at.as_millis() as u64 >= pause.until.load(Relaxed) {
            pause.at.store(at.as_millis() as u64, Relaxed);
        }
        pause.until.fetch_max((at + wait).as_millis() as u64, Relaxed);
    }

    /// Returns how long before the end of the wait a request arrives; `None` if the request is not too early.
    pub(super) fn too_early(&self, host: Host, now: Instant) -> Option<Duration> {
        let pause = &self.pause[host as usize];
        let until = pause.until.load(Relaxed);
        if until == 0 {
            return None;
        }
        let now = now.saturating_duration_since(self.start);
        let since = now.saturating_sub(Duration::from_millis(pause.at.load(Relaxed)));
        let early = Duration::from_millis(until).saturating_sub(now);
        (early > TIMER_TOLERANCE && since > IN_FLIGHT_TOLERANCE).then_some(early)
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_refuses_until_its_window_ends_and_notices_impatience() {
        let options = Options { quota: Some(2), window: Duration::from_secs(10), ..Options::default() };
        let limits = Limits::new(&options);
        let at = |ms| limits.start + Duration::from_millis(ms);
        let over = |ms| limits.admit(Host::Brand, at(ms)).map(|standing| standing.over);
        assert_eq!([over(0), over(10), over(20)], [Some(false), Some(false), Some(true)]);
        let standing = limits.admit(Host::Brand, at(1000)).expect("there are limits");
        let headers = limits.headers(Host::Brand, standing, at(1000));
        assert_eq!(headers[2], ("x-ratelimit-reset", "9".to_owned()));
        assert!(limits.too_early(Host::Brand, at(1100)).is_none(), "it was on its way");
        assert!(limits.too_early(Host::Brand, at(2000)).is_some());
        assert!(limits.too_early(Host::Advocate, at(2000)).is_none(), "the other host has no pause");
        limits.set_pause(Host::Brand, at(2000), Duration::from_secs(8));
        assert!(limits.too_early(Host::Brand, at(2100)).is_some(), "a second refusal is no excuse");
        assert!(limits.too_early(Host::Brand, at(10_001)).is_none());
        assert_eq!(over(10_100), Some(false));
    }

    #[test]
    fn a_rate_lets_a_paced_client_through() {
        let options = Options { rate: Some(5), ..Options::default() };
        let limits = Limits::new(&options);
        for request in 0..50_u64 {
            let now = limits.start + Duration::from_millis(request * 201);
            assert!(!limits.admit(Host::Advocate, now).expect("there are limits").over, "request {request}");
        }
        let late = limits.start + Duration::from_mins(1);
        let over = (0..20).filter(|_| limits.admit(Host::Advocate, late).is_some_and(|s| s.over)).count();
        assert_eq!(over, 15, "a burst of one second's worth passes");
    }
}
