//! The simulator's clock, and the date formats of both APIs.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// How far the simulator's clock is ahead of the machine's clock, in milliseconds. The shift is a static, because a
/// process with a shifted clock runs only one simulator.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);
/// Whether the simulator's responses omit the `Date` header.
static DATELESS: AtomicBool = AtomicBool::new(false);

/// Sets how far the simulator's clock is ahead of the machine's clock.
pub(super) fn set_clock(ahead: SignedDuration) {
    AHEAD_MS.store(i64::try_from(ahead.as_millis()).unwrap_or(0), Ordering::Release);
}

/// Sets whether responses on new connections have a `Date` header.
pub(super) fn set_date(on: bool) {
    DATELESS.store(!on, Ordering::Release);
}

/// Returns `true` if hyper writes the `Date` header.
pub(super) fn has_date() -> bool {
    !DATELESS.load(Ordering::Acquire)
}

/// Returns the `Date` header of a shifted clock; `None` if hyper writes the machine's time.
pub(super) fn moved_date() -> Option<String> {
    let is_moved = AHEAD_MS.load(Ordering::Acquire) != 0 && has_date();
    let now = Duration::from_millis(u64::try_from(now_ms()).unwrap_or(0));
    is_moved.then(|| httpdate::fmt_http_date(UNIX_EPOCH + now))
}

pub(super) fn now_ms() -> i64 {
    let machine = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    machine + AHEAD_MS.load(Ordering::Acquire)
}

/// Formats a time as ISO 8601 with seconds, as the Brand API does.
pub(super) fn iso(ms: i64) -> String {
    Timestamp::from_second(ms.div_euclid(1000)).map(|at| at.to_string()).unwrap_or_default()
}

/// Parses an ISO 8601 date and time to Unix milliseconds.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Returns midnight UTC of a day; `None` stands for today.
pub(super) fn midnight(day: Option<Date>) -> i64 {
    let today = || Timestamp::from_millisecond(now_ms()).unwrap_or_else(|_out_of_range| Timestamp::now());
    let day = day.unwrap_or_else(|| today().to_zoned(TimeZone::UTC).date());
    day.to_zoned(TimeZone::UTC).map_or(0, |at| at.timestamp().as_millisecond())
}
