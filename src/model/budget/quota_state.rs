//! The quota state of one host, and the calculation of each lease.
//!
//! recoup enforces a quota by counting the leased requests in each window. Crawls and people who look at orders may not
//! lease the share of the quota that is reserved for retractions. recoup enforces a request rate by slots at fixed
//! intervals. Each lease of requests gets the next free slots. Therefore the requests of two processes alternate. A
//! person's request does not queue for a slot. A person's request starts at once, and delays the next lease of a crawl
//! by the same time.

use super::{
    Grant, LONGEST_WAIT, LeaseRequest, Pause, Purpose, QuotaHeader, QuotaSettings, RATE_WINDOW, UsageReport,
    WaitReason, later_of,
};

/// The length of a lease in seconds.
const LEASE: f64 = 0.5;

/// A lease contains at most a fiftieth of a quota, because several processes must be able to share a small quota.
const LEASES_PER_QUOTA: u64 = 50;

/// The largest difference of two reset times in one quota window, in milliseconds.
const SAME_RESET: i64 = 2_500;

/// The share of a learned rate that recoup uses. The requests that a 429 costs are more than the unused share of the
/// rate would gain.
const CAREFUL: f64 = 0.97;

/// A single 429 never lowers a known rate below this share, because the estimate of one process does not include the
/// requests of other processes.
const DECREASE: f64 = 0.7;

/// The growth of a learned rate for each second without a 429, as a share of the rate at the last 429.
const INCREASE: f64 = 0.002_5;

/// The growth of the learned rate doubles after each interval of this length without a 429, in milliseconds.
const DOUBLES_AFTER: i64 = 30_000;

/// The assumed length of a quota window of unknown length, in milliseconds.
const HOUR: i64 = 3_600_000;

/// The longest back-off that recoup stores, in milliseconds.
const LONGEST_BACKOFF: i64 = 15 * 60_000;

/// recoup forgets a learned rate after this time without a 429, in milliseconds.
const FORGOTTEN_AFTER: i64 = 24 * HOUR;

/// The requests to one host, counted over all processes. The times of a quota state are in Unix milliseconds if the
/// field name has no other unit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QuotaState {
    /// The share of a window's quota that only retractions may use, from the newest configuration.
    pub reserve: f64,
    /// The limit in force, in requests per quota window.
    pub limit: Option<u64>,
    /// The length of the quota window; `None` if the length is unknown.
    pub window_ms: Option<i64>,
    pub limit_from_header: Option<u64>,
    /// When the current quota window ends; `None` before the window's first request.
    pub window_ends_ms: Option<i64>,
    /// The number of the current quota window. A lease from an earlier window is void.
    pub window: u64,
    /// The number of requests that were leased or started in the current quota window.
    pub used: u64,
    /// The number of requests left in the window, according to the newest response header.
    pub remaining: Option<u64>,
    pub header_at_ms: Option<i64>,
    /// The rate in force, in requests per second.
    pub rate: Option<f64>,
    pub rate_from_header: Option<f64>,
    /// The rate that recoup learned from 429 responses, in requests per second.
    pub rate_learned: Option<f64>,
    /// The learned rate at the last 429. The learned rate grows by a share of the rate at the last 429.
    pub rate_at_last_429: Option<f64>,
    /// The time of the last 429 that was about the request rate.
    pub limited_at_ms: Option<i64>,
    pub rate_raised_at_ms: i64,
    /// The next free slot at the current rate, in Unix microseconds.
    pub next_slot_us: i64,
    /// The next free slot for people's requests and retractions, which do not queue behind a crawl.
    pub next_retraction_us: i64,
    pub pause: Option<Pause>,
}

impl QuotaState {
    /// Records a process's usage report. Returns a lease if the process asks for a lease.
    pub fn exchange(
        &mut self,
        report: &UsageReport,
        request: LeaseRequest,
        settings: &QuotaSettings,
        now_ms: i64,
    ) -> Grant {
        self.reserve = settings.reserve;
        self.end_window(now_ms);
        self.used += report.uncounted;
        if report.unspent_window == self.window {
            self.used = self.used.saturating_sub(report.unspent);
        }
        self.pause = later_of(self.pause, report.pause);
        // Ignores a limit of 0, because it would stop every request, and then no later response could correct the
        // limit.
        if let Some(header) = report.header.as_ref().filter(|header| header.limit > 0) {
            self.apply_header(header);
        }
        self.cap(now_ms);
        self.limit = match (self.limit_from_header, settings.quota) {
            (Some(limit), Some(quota)) if !settings.quota_is_default => Some(limit.min(quota.limit)),
            (Some(limit), _) => Some(limit),
            (None, quota) => quota.map(|quota| quota.limit),
        };
        if self.limit_from_header.is_none() {
            self.window_ms = settings.quota.map(|quota| quota.window_ms);
            if let (Some(end), Some(window_ms)) = (self.window_ends_ms, self.window_ms) {
                // The current quota window may have begun before the user configured this length.
                self.window_ends_ms = Some(end.min(window_end(now_ms, window_ms)));
            }
        }
        if report.uncounted > 0 {
            // Counts the requests of a quota window even without a limit, because a response may state a limit before
            // the window ends.
            self.window_ends_ms.get_or_insert(window_end(now_ms, self.window_ms.unwrap_or(HOUR)));
        }
        self.adapt_rate(report, settings, now_ms);
        if request.want > 0 { self.grant(request, now_ms) } else { Grant::default() }
    }

    /// Caps the times in the quota state. A quota state outlives its process. Therefore a wrong clock, or a host that
    /// asks for a wait of a year, must not stop every later process.
    fn cap(&mut self, now_ms: i64) {
        self.pause = self.pause.map(|pause| match pause.reason {
            WaitReason::BackingOff => {
                Pause { until_ms: pause.until_ms.min(now_ms.saturating_add(LONGEST_BACKOFF)), ..pause }
            }
            _ if pause.until_ms > now_ms.saturating_add(LONGEST_WAIT) => Pause::asked(pause.until_ms, now_ms),
            _ => pause,
        });
        // [`window_end`] may add up to a second to a window of a day.
        let longest = LONGEST_WAIT + 1_000;
        self.window_ends_ms = self.window_ends_ms.map(|end| end.min(now_ms.saturating_add(longest)));
    }

    /// Ends the pause and forgets the quota window from response headers, because the next response states it again. A
    /// configured limit still counts the requests that recoup sent in the last hour (`sent`). Returns `true` if the
    /// quota state changed.
    pub fn clear(&mut self, sent: u64, now_ms: i64) -> bool {
        let before = *self;
        self.pause = None;
        if self.limit_from_header.is_some() {
            (self.limit_from_header, self.limit, self.window_ms) = (None, None, None);
            (self.remaining, self.header_at_ms) = (None, None);
            self.begin_window(Some(now_ms + HOUR), sent);
        }
        *self != before
    }

    fn end_window(&mut self, now_ms: i64) {
        if self.window_ends_ms.is_some_and(|end| end <= now_ms) {
            self.begin_window(None, 0);
            self.remaining = None;
        }
    }

    fn begin_window(&mut self, ends_ms: Option<i64>, used: u64) {
        self.window += 1;
        self.window_ends_ms = ends_ms;
        self.used = used;
    }

    /// Applies the limit that a response header states. If the host has counted more requests than recoup, the host's
    /// count replaces recoup's, because other programs use the same quota.
    fn apply_header(&mut self, header: &QuotaHeader) {
        let resets_at_ms = header.resets_at_ms.min(header.at_ms.saturating_add(LONGEST_WAIT));
        let length = resets_at_ms - header.at_ms;
        if self.limit_from_header != Some(header.limit) {
            let rate = Some(header.limit as f64);
            if length <= RATE_WINDOW {
                self.rate_from_header = rate;
                return;
            }
            self.limit_from_header = Some(header.limit);
            self.window_ms = None;
            if self.rate_from_header == rate {
                // An earlier response arrived in the last second of this quota window. Therefore recoup mistook the
                // quota for a rate.
                self.rate_from_header = None;
            }
        }
        // A reset time states how much of a quota window is left. The longest remaining time that recoup has seen is
        // the best estimate of the window's length.
        self.window_ms = header.window_ms.or(Some(self.window_ms.unwrap_or(0).max(length)));
        self.remaining = Some(header.remaining);
        self.header_at_ms = Some(header.at_ms);
        let used = header.limit.saturating_sub(header.remaining);
        match self.window_ends_ms {
            Some(end) if (resets_at_ms - end).abs() <= SAME_RESET => {
                self.window_ends_ms = Some(end.max(resets_at_ms));
                self.used = self.used.max(used);
            }
            _ => self.begin_window(Some(resets_at_ms), used + header.outstanding),
        }
    }

    /// Lowers the learned rate by a factor after a 429. Raises the learned rate in steps while recoup uses the rate
    /// without a 429.
    fn adapt_rate(&mut self, report: &UsageReport, settings: &QuotaSettings, now_ms: i64) {
        let lowest = |rates: [Option<f64>; 3]| rates.into_iter().flatten().reduce(f64::min);
        if let Some(limited) = &report.limited {
            let known = lowest([settings.rate, self.rate_from_header, self.rate_learned]);
            let careful = limited.estimate.map(|rate| rate * CAREFUL);
            let learned = match known {
                Some(rate) => Some(careful.unwrap_or(0.0).clamp(rate * DECREASE, rate * CAREFUL)),
                None => careful,
            };
            if let Some(rate) = learned {
                self.rate_learned = Some(rate);
                self.rate_at_last_429 = Some(rate);
                self.limited_at_ms = Some(limited.at_ms);
                self.rate_raised_at_ms = now_ms;
                // Discards the slots that recoup planned at the old rate.
                self.next_slot_us = self.next_slot_us.min(now_ms * 1_000);
            }
        } else if let (Some(rate), Some(base), Some(limited_at)) =
            (self.rate_learned, self.rate_at_last_429, self.limited_at_ms)
        {
            let quiet = now_ms - limited_at;
            let passed = (now_ms - self.rate_raised_at_ms).clamp(0, 5_000) as f64 / 1_000.0;
            // A request rate that recoup hardly uses does not prove that the host would accept a higher rate.
            if report.sent as f64 >= 0.5 * rate * passed && passed > 0.0 {
                let doubled = 2_f64.powi((quiet / DOUBLES_AFTER).clamp(0, 10) as i32);
                self.rate_learned = Some(rate + base * INCREASE * doubled * passed);
            }
            self.rate_raised_at_ms = now_ms;
            let others = lowest([settings.rate, self.rate_from_header, None]);
            if quiet > FORGOTTEN_AFTER || self.rate_learned >= others.or(Some(f64::INFINITY)) {
                (self.rate_learned, self.rate_at_last_429, self.limited_at_ms) = (None, None, None);
            }
        }
        self.rate = lowest([settings.rate, self.rate_from_header, self.rate_learned]);
    }

    fn grant(&mut self, request: LeaseRequest, now_ms: i64) -> Grant {
        let refused = |pause| Grant { pause: Some(pause), ..Grant::default() };
        if let Some(pause) = self.pause.filter(|pause| pause.until_ms > now_ms) {
            return refused(pause);
        }
        let counted = self.limit.is_some() || self.rate.is_some();
        let mut requests = if counted { request.want } else { u64::MAX };
        let mut void_at_ms = None;
        if let Some(limit) = self.limit {
            let left = self.usable(limit, request.purpose).saturating_sub(self.used);
            let end = *self.window_ends_ms.get_or_insert(window_end(now_ms, self.window_ms.unwrap_or(HOUR)));
            if left == 0 {
                let is_reserved = request.purpose == Purpose::Looking && self.used < limit;
                let reason = if is_reserved { WaitReason::OnlyReserve } else { WaitReason::QuotaUsed };
                return refused(Pause { until_ms: end, reason });
            }
            void_at_ms = Some(end);
            requests = requests.min(left).min((limit / LEASES_PER_QUOTA).max(1));
        }
        let now_us = now_ms * 1_000;
        let (mut starts_us, mut spacing_us) = (now_us, 0.0);
        if let Some(rate) = self.rate {
            spacing_us = spacing(rate);
            requests = requests.min(((rate * LEASE).ceil() as u64).max(1));
            let span = (requests as f64 * spacing_us).ceil() as i64;
            // Moves slots in the far future back, because they would remain there after a clock was set back.
            let longest = now_us + (2.0 * span as f64) as i64 + 60_000_000;
            match request.purpose {
                Purpose::Crawl => {
                    starts_us = self.next_slot_us.clamp(now_us, longest);
                    self.next_slot_us = starts_us + span;
                }
                Purpose::Retraction | Purpose::Looking => {
                    starts_us = self.next_retraction_us.clamp(now_us, longest);
                    self.next_retraction_us = starts_us + span;
                    self.next_slot_us = self.next_slot_us.clamp(now_us, longest) + span;
                }
            }
        }
        if counted {
            self.used += requests;
        }
        Grant { requests, counted, window: self.window, void_at_ms, starts_us, spacing_us, pause: None }
    }

    /// Returns the part of a limit that a purpose may use. A crawl may always use one request, because it must make
    /// progress.
    fn usable(&self, limit: u64, purpose: Purpose) -> u64 {
        let without_reserve = ((limit as f64 * (1.0 - self.reserve)).floor() as u64).min(limit);
        match purpose {
            Purpose::Retraction => limit,
            Purpose::Looking => without_reserve,
            Purpose::Crawl => without_reserve.max(limit.min(1)),
        }
    }

    /// Returns how many requests crawls, and people who look at orders, may still send in this window; `None` without a
    /// limit.
    pub fn left_to_crawl(&self) -> Option<u64> {
        self.limit.map(|limit| self.usable(limit, Purpose::Crawl).saturating_sub(self.used))
    }

    /// Returns how many requests are left in this window, with the requests reserved for retractions; `None` without a
    /// limit.
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }

    /// Returns how many requests crawls, and people who look at orders, may send in a whole window; `None` without a
    /// limit.
    pub fn per_window(&self) -> Option<u64> {
        self.limit.map(|limit| self.usable(limit, Purpose::Crawl))
    }

    /// Returns the quota state at a later time, if no process sends a request until then.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.end_window(now_ms);
        self.pause = self.pause.filter(|pause| pause.until_ms > now_ms);
        self
    }
}

/// Returns the end of a quota window that begins now. The host's quota window begins slightly later, when the request
/// arrives.
fn window_end(now_ms: i64, length_ms: i64) -> i64 {
    now_ms + length_ms + (length_ms / 100).clamp(100, 1_000)
}

/// Returns the interval between two slots of the request rate, in microseconds. The interval is slightly longer than
/// the rate requires, because network jitter must not exceed the rate. A host that allows no burst of requests needs a
/// larger margin.
fn spacing(rate: f64) -> f64 {
    let kept = if rate < 2.0 { 0.985 } else { 0.995 };
    1e6 / (rate * kept)
}

#[cfg(test)]
mod tests;
