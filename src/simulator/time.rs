//! The wall clock, and how the two APIs write it.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// Unix milliseconds, now.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// ISO 8601 with seconds, as the Brand API writes dates.
pub(super) fn iso(ms: i64) -> String {
    Timestamp::from_second(ms.div_euclid(1000)).map(|at| at.to_string()).unwrap_or_default()
}

/// Unix milliseconds of an ISO 8601 date and time.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Midnight UTC of a day, or of today.
pub(super) fn midnight(day: Option<Date>) -> i64 {
    let day = day.unwrap_or_else(|| Timestamp::now().to_zoned(TimeZone::UTC).date());
    day.to_zoned(TimeZone::UTC).map_or(0, |at| at.timestamp().as_millisecond())
}
