//! The request quota of one host as arithmetic: what is used, what is left, and when the next request may start.
//!
//! An [`Account`] is what every process on one database shares; [`Account::exchange`] is the only way to change it: a
//! process says what became of its last lease and what the host said, and takes the next lease. A lease is about half a
//! second's worth, so that nobody commits per request. Pure: a [`Budget`] keeps the account, in a file or in memory, and
//! nothing here waits, reads a clock or knows what a request is.

mod account;

use std::fmt;

pub use account::Account;

/// The share of a window that is kept for retractions where nothing else is said.
pub const RESERVE: f64 = 0.1;

/// The longest wait that a host can mean, in milliseconds: its longest published window is a day. A longer one is a mistake, and
/// is capped.
pub const LONGEST_WAIT: i64 = 24 * 3_600_000;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Crawls, look-ups, checks: they leave the reserve alone and queue for a rate.
    #[default]
    Crawl,
    /// Retractions and their verification: they may use all of it, and go ahead.
    Retraction,
}

impl Purpose {
    /// The word for it in status and schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crawl => "crawl",
            Self::Retraction => "retraction",
        }
    }
}

/// Why requests are waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The host is troubled or said 429 without a usable moment.
    BackingOff,
    /// The quota of the window is used, as far as this purpose may use it.
    QuotaUsed,
    /// The host named the moment.
    AskedTo,
    /// The host named a moment more than [`LONGEST_WAIT`] away; the wait is capped at that.
    Implausible,
}

impl WaitReason {
    /// The word for it in progress, status and schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackingOff => "backing off",
            Self::QuotaUsed => "quota used",
            Self::AskedTo => "asked to wait",
            Self::Implausible => "asked to wait for more than a day, capped at a day",
        }
    }

    /// The reason behind the word.
    pub fn parse(text: &str) -> Self {
        let others = [Self::BackingOff, Self::QuotaUsed, Self::Implausible];
        others.into_iter().find(|reason| reason.as_str() == text).unwrap_or(Self::AskedTo)
    }
}

/// So many requests in each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub limit: u64,
    /// Milliseconds.
    pub window_ms: i64,
}

/// What is configured for a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Requests per second.
    pub rate: Option<f64>,
    /// Requests per window.
    pub quota: Option<Quota>,
    /// The quota is the vendor's published default and nobody's wish: what the host itself says outranks it.
    pub quota_is_default: bool,
    /// The share of a window that is kept for retractions, 0 to 0.9.
    pub reserve: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { rate: None, quota: None, quota_is_default: false, reserve: RESERVE }
    }
}

/// Nothing starts before a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Unix milliseconds.
    pub until_ms: i64,
    /// Why.
    pub reason: WaitReason,
}

impl Hold {
    /// A wait that the host asked for, capped at [`LONGEST_WAIT`].
    pub fn asked(until_ms: i64, now_ms: i64) -> Self {
        let longest = now_ms.saturating_add(LONGEST_WAIT);
        if until_ms > longest {
            Self { until_ms: longest, reason: WaitReason::Implausible }
        } else {
            Self { until_ms, reason: WaitReason::AskedTo }
        }
    }
}

/// A limit as the host told it with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Requests in the window.
    pub limit: u64,
    /// Requests left of it.
    pub remaining: u64,
    /// When the window ends, Unix milliseconds.
    pub resets_at_ms: i64,
    /// The window's length where the header names it, in milliseconds.
    pub window_ms: Option<i64>,
    /// When it was told, Unix milliseconds.
    pub at_ms: i64,
    /// Requests that were leased and not answered then, as far as the teller knows: they come on top.
    pub outstanding: u64,
}

/// A 429 that speaks of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limited {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Requests per second that the host seems to take, where enough was seen.
    pub estimate: Option<f64>,
}

/// What happened since the last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct News {
    /// Requests that were started.
    pub sent: u64,
    /// Of these, how many on leave that was not counted when it was given.
    pub uncounted: u64,
    /// Counted requests that will not be started.
    pub unspent: u64,
    /// The window in which they were counted.
    pub unspent_window: u64,
    /// What the host asked for.
    pub hold: Option<Hold>,
    /// What the host told.
    pub told: Option<Told>,
    /// The host said that it is too fast.
    pub limited: Option<Limited>,
}

impl News {
    /// Adds what happened later.
    pub fn merge(&mut self, later: &Self) {
        self.sent += later.sent;
        self.uncounted += later.uncounted;
        if later.unspent > 0 {
            // What is left of an older window is nobody's any more.
            self.unspent = later.unspent + if self.unspent_window == later.unspent_window { self.unspent } else { 0 };
            self.unspent_window = later.unspent_window;
        }
        self.hold = [self.hold, later.hold].into_iter().flatten().max_by_key(|hold| hold.until_ms);
        self.told = later.told.or(self.told);
        self.limited = later.limited.or(self.limited);
    }
}

/// A wish for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What for.
    pub purpose: Purpose,
    /// How many requests would be started in half a second if nothing stood against it.
    pub want: u64,
}

/// The answer to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Grant {
    /// How many requests may start: 0 for none.
    pub requests: u64,
    /// Whether they are counted already. Those that are not know no limit.
    pub counted: bool,
    /// The window they are counted in.
    pub window: u64,
    /// They are void from here on, Unix milliseconds.
    pub void_at_ms: Option<i64>,
    /// The slot of the first, Unix microseconds.
    pub starts_us: i64,
    /// From one slot to the next, in microseconds; 0 where there is no rate.
    pub spacing_us: f64,
    /// Where none may start: not before this.
    pub hold: Option<Hold>,
}

/// Why a budget could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// There is no database yet.
    NoDatabase,
    /// It is busy, read-only or broken: a sentence.
    Failed(String),
}

/// Keeps the account of one host. Every call is one exchange, whole or not at all.
pub trait Budget: fmt::Debug + Send + Sync {
    /// See [`Account::exchange`]; the account as it stands afterwards comes with the grant. May block for a moment.
    ///
    /// # Errors
    /// Where nothing was taken in: the same news must come again.
    fn exchange(
        &self,
        news: &News,
        purpose: Purpose,
        ask: Option<&Ask>,
        terms: &Terms,
        now_ms: i64,
    ) -> Result<(Grant, Account), Unavailable>;
}
