//! The account of one host's quota, and the arithmetic of its exchanges.
//!
//! A window's quota is kept by counting leases; crawls and look-ups leave the reserve of it alone. A rate is kept by a
//! schedule: every lease has its slots on one time line, so that two processes take turns. A retraction does not queue: it
//! starts at once, and the next lease of a crawl starts later by as much.

use super::{Ask, Grant, Hold, LONGEST_WAIT, News, Purpose, Terms, Told, WaitReason};

/// How much of a rate a lease holds, in seconds.
const LEASE: f64 = 0.5;

/// The most of a quota that one lease holds: a small one is shared in small pieces.
const SHARE: u64 = 50;

/// A window that is no longer than this is the host's way to say a rate, in milliseconds: a reset in seconds is rounded up,
/// and as an epoch it may be rounded up twice.
const RATE_WINDOW: i64 = 2_500;

/// Two resets that differ by no more than this mean the same window, in milliseconds.
const SAME_RESET: i64 = 2_500;

/// Of a learned rate this much is used: a 429 costs more than it gains.
const CAREFUL: f64 = 0.97;

/// A 429 at a known rate takes away at most this much of it; the estimate of one process does not see the others.
const DECREASE: f64 = 0.7;

/// What comes back of a learned rate in each second without a 429, as a share of what it was at the last one.
const INCREASE: f64 = 0.002_5;

/// After each such time without a 429 it comes back twice as fast, in milliseconds.
const DOUBLES_AFTER: i64 = 30_000;

/// A window whose length nobody said, in milliseconds.
const HOUR: i64 = 3_600_000;

/// The longest back-off that is kept.
const LONGEST_BACKOFF: i64 = 15 * 60_000;

/// A rate that was learned longer ago says nothing any more, in milliseconds.
const FORGOTTEN_AFTER: i64 = 24 * HOUR;

/// Requests of one host, shared by every process. Moments are Unix milliseconds unless their name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Account {
    /// The share kept for retractions, as last configured.
    pub reserve: f64,
    /// Requests per window: what is in force.
    pub limit: Option<u64>,
    /// The length of the window, where it is known.
    pub window_ms: Option<i64>,
    /// The limit that the host told.
    pub limit_told: Option<u64>,
    /// When the current window ends; `None` before its first request.
    pub window_ends_ms: Option<i64>,
    /// Counts windows, so that a lease of an older one is known as such.
    pub window: u64,
    /// Requests leased or started in the window.
    pub used: u64,
    /// What the host last said is left.
    pub remaining: Option<u64>,
    /// When it said so.
    pub told_at_ms: Option<i64>,
    /// Requests per second: what is in force.
    pub rate: Option<f64>,
    /// Requests per second as the host told it.
    pub rate_told: Option<f64>,
    /// Requests per second as 429s taught it.
    pub rate_learned: Option<f64>,
    /// The learned rate at the last 429: the measure of its increase.
    pub rate_top: Option<f64>,
    /// The last 429 that spoke of a rate.
    pub limited_at_ms: Option<i64>,
    /// When the learned rate was last increased.
    pub grown_at_ms: i64,
    /// The next free slot of the schedule, Unix microseconds.
    pub next_slot_us: i64,
    /// The same for retractions, which do not queue.
    pub next_retraction_us: i64,
    /// Nothing starts before this.
    pub hold: Option<Hold>,
}

impl Account {
    /// Takes the news in, and gives a lease where one is asked for.
    pub fn exchange(&mut self, news: &News, ask: Option<&Ask>, terms: &Terms, now_ms: i64) -> Grant {
        self.reserve = terms.reserve;
        self.roll(now_ms);
        self.used += news.uncounted;
        if news.unspent_window == self.window {
            self.used = self.used.saturating_sub(news.unspent);
        }
        self.hold = [self.hold, news.hold].into_iter().flatten().max_by_key(|hold| hold.until_ms);
        // A limit of nothing would leave no request to hear of a better one.
        if let Some(told) = news.told.as_ref().filter(|told| told.limit > 0) {
            self.hear(told);
        }
        self.bound(now_ms);
        self.limit = match (self.limit_told, terms.quota) {
            (Some(told), Some(quota)) if !terms.quota_is_default => Some(told.min(quota.limit)),
            (Some(told), _) => Some(told),
            (None, quota) => quota.map(|quota| quota.limit),
        };
        if self.limit_told.is_none() {
            self.window_ms = terms.quota.map(|quota| quota.window_ms);
        }
        if self.limit_told.is_none()
            && let (Some(end), Some(window_ms)) = (self.window_ends_ms, self.window_ms)
        {
            // Begun when nothing was known of it, or when another length was configured.
            self.window_ends_ms = Some(end.min(window_end(now_ms, window_ms)));
        }
        if news.uncounted > 0 {
            // What is sent without a limit belongs to a window all the same: a limit may be learned in it.
            self.window_ends_ms.get_or_insert(window_end(now_ms, self.window_ms.unwrap_or(HOUR)));
        }
        self.adapt(news, terms, now_ms);
        match ask {
            Some(ask) => self.grant(ask, now_ms),
            None => Grant::default(),
        }
    }

    /// What is kept outlives the process that wrote it: a clock that was wrong, or a host that named a year, must not lock
    /// every later one out.
    fn bound(&mut self, now_ms: i64) {
        self.hold = self.hold.map(|hold| match hold.reason {
            WaitReason::BackingOff => {
                Hold { until_ms: hold.until_ms.min(now_ms.saturating_add(LONGEST_BACKOFF)), ..hold }
            }
            _ if hold.until_ms > now_ms.saturating_add(LONGEST_WAIT) => Hold::asked(hold.until_ms, now_ms),
            _ => hold,
        });
        // A window of a day ends a little later than a day from now: see `window_end`.
        let longest = LONGEST_WAIT + 1_000;
        self.window_ends_ms = self.window_ends_ms.map(|end| end.min(now_ms.saturating_add(longest)));
    }

    /// Ends the wait, and forgets the window that the host told of, so that the next request hears of it anew. What recoup has
    /// counted against a configured limit still counts: `sent` is what it sent in the last hour. Returns whether anything changed.
    pub fn clear(&mut self, sent: u64, now_ms: i64) -> bool {
        let before = *self;
        self.hold = None;
        if self.limit_told.is_some() {
            (self.limit_told, self.limit, self.window_ms, self.remaining, self.told_at_ms) =
                (None, None, None, None, None);
            self.begin_window(Some(now_ms + HOUR), sent);
        }
        *self != before
    }

    /// A window that is over counts no more.
    fn roll(&mut self, now_ms: i64) {
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

    /// What the host says outranks what was counted, where it says more.
    fn hear(&mut self, told: &Told) {
        let resets_at_ms = told.resets_at_ms.min(told.at_ms.saturating_add(LONGEST_WAIT));
        let length = resets_at_ms - told.at_ms;
        if length <= RATE_WINDOW && self.limit_told != Some(told.limit) {
            self.rate_told = (told.limit > 0).then_some(told.limit as f64);
            return;
        }
        if self.limit_told != Some(told.limit) {
            self.limit_told = Some(told.limit);
            self.window_ms = None;
            if self.rate_told == Some(told.limit as f64) {
                // What looked like a rate was the last second of this window.
                self.rate_told = None;
            }
        }
        // A reset only says how much is left of a window: the longest that was seen is nearest to its length.
        self.window_ms = told.window_ms.or(Some(self.window_ms.unwrap_or(0).max(length)));
        self.remaining = Some(told.remaining);
        self.told_at_ms = Some(told.at_ms);
        let used = told.limit.saturating_sub(told.remaining);
        match self.window_ends_ms {
            Some(end) if (resets_at_ms - end).abs() <= SAME_RESET => {
                self.window_ends_ms = Some(end.max(resets_at_ms));
                self.used = self.used.max(used);
            }
            _ => self.begin_window(Some(resets_at_ms), used + told.outstanding),
        }
    }

    /// Multiplicative decrease on a 429, additive increase while the rate is used without one.
    fn adapt(&mut self, news: &News, terms: &Terms, now_ms: i64) {
        let lowest = |rates: [Option<f64>; 3]| rates.into_iter().flatten().reduce(f64::min);
        if let Some(limited) = &news.limited {
            let known = lowest([terms.rate, self.rate_told, self.rate_learned]);
            let careful = limited.estimate.map(|rate| rate * CAREFUL);
            let learned = match known {
                Some(rate) => Some(careful.unwrap_or(0.0).clamp(rate * DECREASE, rate * CAREFUL)),
                None => careful,
            };
            if let Some(rate) = learned {
                self.rate_learned = Some(rate);
                self.rate_top = Some(rate);
                self.limited_at_ms = Some(limited.at_ms);
                self.grown_at_ms = now_ms;
                // Slots that were given out at the old rate are not waited for.
                self.next_slot_us = self.next_slot_us.min(now_ms * 1_000);
            }
        } else if let (Some(rate), Some(top), Some(limited_at)) = (self.rate_learned, self.rate_top, self.limited_at_ms)
        {
            let quiet = now_ms - limited_at;
            let passed = (now_ms - self.grown_at_ms).clamp(0, 5_000) as f64 / 1_000.0;
            // What nobody uses proves nothing.
            if news.sent as f64 >= 0.5 * rate * passed && passed > 0.0 {
                let doubled = 2_f64.powi((quiet / DOUBLES_AFTER).clamp(0, 10) as i32);
                self.rate_learned = Some(rate + top * INCREASE * doubled * passed);
            }
            self.grown_at_ms = now_ms;
            let others = lowest([terms.rate, self.rate_told, None]);
            if quiet > FORGOTTEN_AFTER || self.rate_learned >= others.or(Some(f64::INFINITY)) {
                (self.rate_learned, self.rate_top, self.limited_at_ms) = (None, None, None);
            }
        }
        self.rate = lowest([terms.rate, self.rate_told, self.rate_learned]);
    }

    fn grant(&mut self, ask: &Ask, now_ms: i64) -> Grant {
        if let Some(hold) = self.hold.filter(|hold| hold.until_ms > now_ms) {
            return Grant { hold: Some(hold), ..Grant::default() };
        }
        let mut requests = match (self.limit, self.rate) {
            (None, None) => u64::MAX,
            _ => ask.want.max(1),
        };
        let mut void_at_ms = None;
        if let Some(limit) = self.limit {
            let left = self.usable(limit, ask.purpose).saturating_sub(self.used);
            let end = *self.window_ends_ms.get_or_insert(window_end(now_ms, self.window_ms.unwrap_or(HOUR)));
            if left == 0 {
                let hold = Hold { until_ms: end, reason: WaitReason::QuotaUsed };
                return Grant { hold: Some(hold), ..Grant::default() };
            }
            void_at_ms = Some(end);
            requests = requests.min(left).min((limit / SHARE).max(1));
        }
        let now_us = now_ms * 1_000;
        let (mut starts_us, mut spacing_us) = (now_us, 0.0);
        if let Some(rate) = self.rate {
            spacing_us = spacing(rate);
            requests = requests.min(((rate * LEASE).ceil() as u64).max(1));
            let span = (requests as f64 * spacing_us).ceil() as i64;
            // A clock that was set back must not leave slots in a far future.
            let longest = now_us + (2.0 * span as f64) as i64 + 60_000_000;
            match ask.purpose {
                Purpose::Crawl => {
                    starts_us = self.next_slot_us.clamp(now_us, longest);
                    self.next_slot_us = starts_us + span;
                }
                Purpose::Retraction => {
                    starts_us = self.next_retraction_us.clamp(now_us, longest);
                    self.next_retraction_us = starts_us + span;
                    self.next_slot_us = self.next_slot_us.clamp(now_us, longest) + span;
                }
            }
        }
        let counted = requests < u64::MAX;
        if counted {
            self.used += requests;
        }
        Grant { requests, counted, window: self.window, void_at_ms, starts_us, spacing_us, hold: None }
    }

    /// What a purpose may use of a limit.
    fn usable(&self, limit: u64, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Retraction => limit,
            Purpose::Crawl => ((limit as f64 * (1.0 - self.reserve)).floor() as u64).clamp(limit.min(1), limit),
        }
    }

    /// What crawls and look-ups may still use of the window; `None` without a limit.
    pub fn left_to_crawl(&self) -> Option<u64> {
        self.limit.map(|limit| self.usable(limit, Purpose::Crawl).saturating_sub(self.used))
    }

    /// What is left of the window in all; `None` without a limit.
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }

    /// What crawls and look-ups may use of one window; `None` without a limit.
    pub fn per_window(&self) -> Option<u64> {
        self.limit.map(|limit| self.usable(limit, Purpose::Crawl))
    }

    /// The same account at a later moment, before anybody asks anything.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.roll(now_ms);
        self.hold = self.hold.filter(|hold| hold.until_ms > now_ms);
        self
    }
}

/// When a window that begins now is over. The host's begins when the request arrives there, not when it is planned here.
fn window_end(now_ms: i64, length_ms: i64) -> i64 {
    now_ms + length_ms + (length_ms / 100).clamp(100, 1_000)
}

/// From one slot to the next, in microseconds. A little less than the rate, so that jitter on the way never makes it more; a
/// bucket that holds but one request needs more of that.
fn spacing(rate: f64) -> f64 {
    let kept = if rate < 2.0 { 0.985 } else { 0.995 };
    1e6 / (rate * kept)
}

#[cfg(test)]
mod tests;
