//! The request quota of one vendor host: the requests used, the requests left, and the earliest time of the next
//! request.
//!
//! All processes that use one index share a [`QuotaState`]. Only [`QuotaState::exchange`] changes the shared quota
//! state. A process reports the requests that it sent since its last lease and the limits that the host stated, and
//! takes the next lease. A lease covers about half a second of requests, because no process should commit a transaction
//! for each request. `budget` does no I/O. A [`Budget`] stores the quota state, in a file or in memory.

mod quota_state;
mod shift;

use std::fmt;

pub use quota_state::QuotaState;
pub use shift::Shifted;

/// The default share of a window's quota that only retractions may use.
pub const RESERVE: f64 = 0.1;

/// The longest wait that recoup accepts from a host, in milliseconds. The longest published quota window is a day.
/// Therefore a wait of more than a day is an error of the host, and recoup caps the wait.
pub const LONGEST_WAIT: i64 = 24 * 3_600_000;

/// A limit counts as a rate and not as a quota if its window is at most this long, in milliseconds. The host rounds a
/// reset up to whole seconds, and may round up a second time if it writes the reset as an epoch second.
pub const RATE_WINDOW: i64 = 2_500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// The requests of crawls and checks. Crawls and checks never use the share of the quota that is reserved for
    /// retractions, and wait for a free slot of the rate.
    #[default]
    Crawl,
    /// The requests of a person who looks at an order. A person who looks at an order never uses the reserved share of
    /// the quota, and does not wait behind a crawl.
    Looking,
    /// The requests of retractions and their verification. Retractions may use the reserved share of the quota, and do
    /// not wait behind a crawl.
    Retraction,
}

impl Purpose {
    /// Returns the word for this purpose in `recoup status` and in the index.
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
    /// The host fails, or it answered 429 without a valid retry time.
    BackingOff,
    /// This purpose has used up its requests of the quota window.
    QuotaUsed,
    /// Only the reserve of the quota is left. A person who looks at an order may not use the reserve.
    OnlyReserve,
    /// The host asked recoup to wait until a stated time.
    AskedTo,
    /// The host asked for a wait longer than [`LONGEST_WAIT`]. Therefore recoup waits only for the longest accepted
    /// wait.
    Implausible,
}

impl WaitReason {
    /// Returns the wait reason as text for progress lines, for `recoup status` and for the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackingOff => "backing off",
            Self::QuotaUsed => "quota used",
            Self::OnlyReserve => "only the reserve is left",
            Self::AskedTo => "asked to wait",
            Self::Implausible => "asked to wait for more than a day, capped at a day",
        }
    }

    /// Parses the result of [`WaitReason::as_str`].
    pub fn parse(text: &str) -> Self {
        let others = [Self::BackingOff, Self::QuotaUsed, Self::OnlyReserve, Self::Implausible];
        others.into_iter().find(|reason| reason.as_str() == text).unwrap_or(Self::AskedTo)
    }
}

/// The number of requests that a host allows in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub window_ms: i64,
}

/// The configured limits of a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuotaSettings {
    /// The maximum request rate of the host, per second.
    pub rate: Option<f64>,
    pub quota: Option<Quota>,
    /// `true` if `quota` is the vendor's published default. A limit in the host's response headers replaces the
    /// published default quota.
    pub quota_is_default: bool,
    /// The share of a window's quota that only retractions may use, 0 to 0.9.
    pub reserve: f64,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self { rate: None, quota: None, quota_is_default: false, reserve: RESERVE }
    }
}

/// A time before which no request may start, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The end of the pause, in Unix milliseconds.
    pub until_ms: i64,
    pub reason: WaitReason,
}

impl Pause {
    /// Returns the pause that a host asks for, capped at [`LONGEST_WAIT`].
    pub fn asked(until_ms: i64, now_ms: i64) -> Self {
        let longest = now_ms.saturating_add(LONGEST_WAIT);
        if until_ms > longest {
            Self { until_ms: longest, reason: WaitReason::Implausible }
        } else {
            Self { until_ms, reason: WaitReason::AskedTo }
        }
    }
}

/// The limit that the headers of one response state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaHeader {
    /// The number of requests that the quota window allows.
    pub limit: u64,
    /// The number of requests left in the quota window.
    pub remaining: u64,
    /// When the quota window ends, in Unix milliseconds.
    pub resets_at_ms: i64,
    /// The length of the quota window in milliseconds, if the header's name contains it.
    pub window_ms: Option<i64>,
    /// When the response with the limit arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// The requests of this process that were in flight when the response arrived. The host may not have counted the
    /// requests in flight yet.
    pub outstanding: u64,
}

/// A 429 response by which the host says that the request rate is too high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimited {
    /// When the 429 response arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// The requests per second that the host seems to accept; `None` if recoup has seen too few responses for an estimate.
    pub estimate: Option<f64>,
}

/// The requests that a process has sent, and the limits that the host has stated, since the process's last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UsageReport {
    /// The number of requests that the process has started.
    pub sent: u64,
    /// The part of the sent requests that no lease has counted yet.
    pub uncounted: u64,
    /// The number of leased requests that the process will not start.
    pub unspent: u64,
    /// The number of the quota window that has counted the `unspent` requests.
    pub unspent_window: u64,
    /// The wait that the host asked for.
    pub pause: Option<Pause>,
    pub header: Option<QuotaHeader>,
    pub limited: Option<RateLimited>,
}

impl UsageReport {
    /// Adds a later usage report to this report.
    pub fn merge(&mut self, later: &Self) {
        self.sent += later.sent;
        self.uncounted += later.uncounted;
        if later.unspent > 0 {
            // Unspent requests from an older quota window are void.
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
    /// The number of requests that this process could start in half a second. With a want of 0, the exchange only
    /// reports usage and gives no lease.
    pub want: u64,
}

/// A lease of requests: their number, and the time at which the first request may start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Grant {
    /// The number of leased requests; 0 if no request may start.
    pub requests: u64,
    /// `true` if the quota of the window has already counted the leased requests. If the quota window has no limit, the
    /// quota does not count leased requests.
    pub counted: bool,
    /// The number of the quota window that has counted the leased requests.
    pub window: u64,
    /// When the lease expires, Unix milliseconds.
    pub void_at_ms: Option<i64>,
    /// The time slot of the first request, Unix microseconds.
    pub starts_us: i64,
    /// The time between two slots of the request rate, in microseconds; 0 if there is no rate limit.
    pub spacing_us: f64,
    /// The reason why no request may start, and the end of the wait.
    pub pause: Option<Pause>,
}

/// The reason why a budget is unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// The index of this process does not exist yet.
    NoDatabase,
    /// The index is busy, read-only or damaged. The variant's text is the error message of the index.
    Failed(String),
}

/// Stores the quota state of one host. Each exchange with a budget is atomic.
pub trait Budget: fmt::Debug + Send + Sync {
    /// Runs [`QuotaState::exchange`] once on the stored quota state. Returns the new quota state with the lease. An
    /// exchange may block for a short time.
    ///
    /// # Errors
    /// After an error, the budget has recorded nothing. Therefore the caller must report the same requests again at the
    /// next exchange.
    fn exchange(
        &self,
        report: &UsageReport,
        request: LeaseRequest,
        settings: &QuotaSettings,
        now_ms: i64,
    ) -> Result<(Grant, QuotaState), Unavailable>;
}
