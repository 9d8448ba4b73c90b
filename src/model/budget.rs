//! The request quota of one vendor host, as arithmetic: what is used, what is left, when the next request may start.
//!
//! All processes on one index share a [`QuotaState`]. [`QuotaState::exchange`] is the only way to change it: a process reports
//! what it did with its last lease and what the host said, and takes the next lease. A lease covers about half a second of
//! requests, so that no process commits a transaction for each request. This module is pure: a [`Budget`] stores the state, in
//! a file or in memory.

mod quota_state;

use std::fmt;

pub use quota_state::QuotaState;

/// The default share of a window that is kept for retractions.
pub const RESERVE: f64 = 0.1;

/// The longest wait that recoup accepts from a host, in milliseconds. The longest window that is published is a day, so a longer
/// wait is a mistake of the host and is capped.
pub const LONGEST_WAIT: i64 = 24 * 3_600_000;

/// A window of at most this length, in milliseconds, states a rate and not a quota. The host rounds a reset up to whole seconds,
/// and a reset that it writes as an epoch second may be rounded up twice.
pub const RATE_WINDOW: i64 = 2_500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Crawls and checks. They leave the reserve alone and queue for a rate.
    #[default]
    Crawl,
    /// A person looks at an order. Leaves the reserve alone like a crawl, and does not queue behind one.
    Looking,
    /// Retractions and their verification. They may use the reserve and do not queue behind a crawl.
    Retraction,
}

impl Purpose {
    /// The word in `status` and in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crawl => "crawl",
            Self::Looking => "looking",
            Self::Retraction => "retraction",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The host fails, or it answered 429 without a usable time.
    BackingOff,
    /// The part of the window's quota that this purpose may use is used up.
    QuotaUsed,
    /// Only the reserve is left, and looking may not use it.
    OnlyReserve,
    /// The host named the time.
    AskedTo,
    /// The host named a time more than [`LONGEST_WAIT`] ahead. The wait is capped at that.
    Implausible,
}

impl WaitReason {
    /// The words in progress lines, in `status` and in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackingOff => "backing off",
            Self::QuotaUsed => "quota used",
            Self::OnlyReserve => "only the reserve is left",
            Self::AskedTo => "asked to wait",
            Self::Implausible => "asked to wait for more than a day, capped at a day",
        }
    }

    /// The reverse of [`WaitReason::as_str`].
    pub fn parse(text: &str) -> Self {
        let others = [Self::BackingOff, Self::QuotaUsed, Self::OnlyReserve, Self::Implausible];
        others.into_iter().find(|reason| reason.as_str() == text).unwrap_or(Self::AskedTo)
    }
}

/// A number of requests in each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub window_ms: i64,
}

/// What the configuration says about a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuotaSettings {
    /// Requests per second.
    pub rate: Option<f64>,
    pub quota: Option<Quota>,
    /// Whether `quota` is the vendor's published default. A limit in the host's headers then replaces it.
    pub quota_is_default: bool,
    /// The share of a window that is kept for retractions, 0 to 0.9.
    pub reserve: f64,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self { rate: None, quota: None, quota_is_default: false, reserve: RESERVE }
    }
}

/// A time before which no request starts, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Unix milliseconds.
    pub until_ms: i64,
    pub reason: WaitReason,
}

impl Pause {
    /// A wait that the host asks for, capped at [`LONGEST_WAIT`].
    pub fn asked(until_ms: i64, now_ms: i64) -> Self {
        let longest = now_ms.saturating_add(LONGEST_WAIT);
        if until_ms > longest {
            Self { until_ms: longest, reason: WaitReason::Implausible }
        } else {
            Self { until_ms, reason: WaitReason::AskedTo }
        }
    }
}

/// The limit that the headers of one answer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaHeader {
    /// Requests in the window.
    pub limit: u64,
    /// Requests left in the window.
    pub remaining: u64,
    /// When the window ends, Unix milliseconds.
    pub resets_at_ms: i64,
    /// The length of the window in milliseconds, if the header's name states it.
    pub window_ms: Option<i64>,
    /// When the answer arrived, Unix milliseconds.
    pub at_ms: i64,
    /// Requests that this process had under way then: the host may not have counted them yet.
    pub outstanding: u64,
}

/// A 429 that says that the rate is too high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimited {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Requests per second that the host seems to accept; `None` if too few answers were seen.
    pub estimate: Option<f64>,
}

/// What a process did and what the host told it since its last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UsageReport {
    /// Requests that were started.
    pub sent: u64,
    /// Started requests that no lease has counted yet.
    pub uncounted: u64,
    /// Requests of a lease that will not be started.
    pub unspent: u64,
    /// The window in which the unspent requests were counted.
    pub unspent_window: u64,
    /// A wait that the host asked for.
    pub pause: Option<Pause>,
    pub header: Option<QuotaHeader>,
    pub limited: Option<RateLimited>,
}

impl UsageReport {
    /// Adds a later report.
    pub fn merge(&mut self, later: &Self) {
        self.sent += later.sent;
        self.uncounted += later.uncounted;
        if later.unspent > 0 {
            // Unspent requests of an older window cannot be used any more.
            self.unspent = later.unspent + if self.unspent_window == later.unspent_window { self.unspent } else { 0 };
            self.unspent_window = later.unspent_window;
        }
        self.pause = later_of(self.pause, later.pause);
        self.header = later.header.or(self.header);
        self.limited = later.limited.or(self.limited);
    }
}

fn later_of(one: Option<Pause>, other: Option<Pause>) -> Option<Pause> {
    [one, other].into_iter().flatten().max_by_key(|pause| pause.until_ms)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRequest {
    pub purpose: Purpose,
    /// The number of requests that this process could start in half a second. 0 asks for no lease: the exchange only reports.
    pub want: u64,
}

/// A lease: a number of requests, and when they may start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Grant {
    /// 0 if no request may start.
    pub requests: u64,
    /// Whether the requests are counted in the window already. A lease without a limit is not.
    pub counted: bool,
    /// The number of the window that counts them.
    pub window: u64,
    /// When the lease expires, Unix milliseconds.
    pub void_at_ms: Option<i64>,
    /// The slot of the first request, Unix microseconds.
    pub starts_us: i64,
    /// The time from one slot to the next in microseconds; 0 without a rate.
    pub spacing_us: f64,
    /// Why no request may start, and until when.
    pub pause: Option<Pause>,
}

/// Why a budget could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No index exists yet.
    NoDatabase,
    /// The index is busy, read-only or broken: a sentence.
    Failed(String),
}

/// Stores the quota state of one host. Each exchange happens as a whole or not at all.
pub trait Budget: fmt::Debug + Send + Sync {
    /// Does one [`QuotaState::exchange`], and returns the new state with the lease. May block for a moment.
    ///
    /// # Errors
    /// On an error nothing was recorded, and the caller reports the same again.
    fn exchange(
        &self,
        report: &UsageReport,
        request: LeaseRequest,
        settings: &QuotaSettings,
        now_ms: i64,
    ) -> Result<(Grant, QuotaState), Unavailable>;
}
