//! Parses the headers about a host's rate limit and clock, in every spelling that is published or was observed.
//!
//! `rate_headers` does no I/O. `rate_headers` returns `None` for a retry time in the past. If a retry time is in the
//! past, the caller backs off. The vendor's facts about rate limit headers are from `docs/vendor/contradictions.md` 20
//! and 21 and `docs/vendor/brand.md` §7.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AGE, DATE, HeaderMap, RETRY_AFTER};

use crate::model::budget::QuotaHeader;

/// Headers with the time at which the quota resets: the Brand API's, the Partner API's, and Brand names with the
/// Partner suffix. The case of header names does not matter.
const RESET: [&str; 4] = ["x-ratelimit-reset", "x-ratelimit-reset-hour", "ratelimit-reset", "ratelimit-reset-hour"];

/// Headers with the number of remaining requests.
const REMAINING: [&str; 4] =
    ["x-ratelimit-remaining", "x-ratelimit-remaining-hour", "ratelimit-remaining", "ratelimit-remaining-hour"];

/// The length of the quota window for each suffix of a header name, in milliseconds. The vendor publishes only the
/// suffix `-hour`.
const WINDOWS: [(&str, i64); 5] =
    [("", 0), ("-second", 1_000), ("-minute", 60_000), ("-hour", 3_600_000), ("-day", 86_400_000)];

/// A reset value above this is a Unix time in seconds; a smaller value is a number of seconds from now
/// (`docs/vendor/contradictions.md` 20).
const EPOCH_FROM: f64 = 1e9;

/// Returns the retry time of a 429: its `Retry-After`, which is specific to the request, or else the latest reset time.
pub fn wait_from_headers(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    retry_after_from_headers(headers, now).or_else(|| reset(headers, now))
}

/// Returns the retry time of a failed answer other than a 429. After a failure other than a 429, a reset time counts
/// only if the quota is used up. The reset is the end of the window, and a single 502 does not justify an hour's wait.
pub fn wait_after_failure(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    retry_after_from_headers(headers, now).or_else(|| exhausted_until(headers, now))
}

fn retry_after_from_headers(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    values(headers, RETRY_AFTER.as_str()).filter_map(|v| retry_after(v, now)).max()
}

/// Returns the reset time of an answer that reports a used-up quota. Even after a successful answer, the next request
/// would exceed the used-up quota.
pub fn exhausted_until(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let none_left = REMAINING.iter().any(|name| values(headers, name).any(|v| number(v) == Some(0.0)));
    if none_left { reset(headers, now) } else { None }
}

fn reset(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    RESET.iter().flat_map(|name| values(headers, name)).filter_map(|v| seconds_or_epoch(v, now)).max()
}

/// Returns the quota of an answer that states limit, remainder and reset time. The caller fills in the field
/// `outstanding`.
pub fn quota_header(headers: &HeaderMap, now: Timestamp) -> Option<QuotaHeader> {
    let (limit, window_ms) = WINDOWS.iter().find_map(|(end, window_ms)| {
        ["x-ratelimit-limit", "ratelimit-limit"].iter().find_map(|name| {
            let limit = values(headers, &format!("{name}{end}")).find_map(number)?;
            Some((limit, (*window_ms > 0).then_some(*window_ms)))
        })
    })?;
    let remaining = REMAINING.iter().flat_map(|name| values(headers, name)).filter_map(number).reduce(f64::min)?;
    let resets_at = reset(headers, now)?;
    Some(QuotaHeader {
        limit: limit as u64,
        remaining: (remaining as u64).min(limit as u64),
        resets_at_ms: resets_at.as_millisecond(),
        window_ms,
        at_ms: now.as_millisecond(),
        outstanding: 0,
    })
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

fn retry_after(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(until) = seconds_or_epoch(text, now) {
        return Some(until);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Timestamp::try_from(date).ok().filter(|until| *until > now)
}

fn seconds_or_epoch(text: &str, now: Timestamp) -> Option<Timestamp> {
    let number = number(text)?;
    let until = if number > EPOCH_FROM {
        Timestamp::from_second(number.ceil() as i64).ok()?
    } else {
        now.checked_add(SignedDuration::from_secs_f64(number)).ok()?
    };
    (until > now).then_some(until)
}

/// Parses digits with an optional fraction. Returns `None` for a number with a sign, an exponent or a unit.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    if plain && text.len() <= 20 { text.parse().ok() } else { None }
}

/// What the `Date` header of an answer shows about the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostDate {
    /// The minimum number of whole seconds by which this machine's clock is ahead of the host's.
    Ahead(i64),
    /// The host's answer has no readable date.
    Missing,
    /// The answer comes from a cache, because it has an `Age` header. Therefore the date of a cached answer is old.
    Cached,
}

/// Compares the `Date` header of an answer with this machine's clock. The client sent the request at `sent_at`, and got
/// the answer by `now`.
pub fn host_date(headers: &HeaderMap, sent_at: Timestamp, now: Timestamp) -> HostDate {
    if values(headers, AGE.as_str()).any(|age| number(age) != Some(0.0)) {
        return HostDate::Cached;
    }
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(theirs) = date.and_then(|date| Timestamp::try_from(date).ok()) else { return HostDate::Missing };
    // The `Date` header contains whole seconds, rounded down.
    let (least, most) = (sent_at.duration_since(theirs).as_secs() - 1, now.duration_since(theirs).as_secs());
    HostDate::Ahead(if least > 0 { least } else { most.min(0) })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        map
    }

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).expect("a moment")
    }

    #[test]
    fn every_form_of_wait_is_read() {
        let hour_later = "Tue, 14 Nov 2023 23:13:20 GMT";
        for (pairs, seconds) in [
            (&[("Retry-After", "700")][..], Some(700)),
            (&[("retry-after", " 2 ")], Some(2)),
            (&[("RETRY-AFTER", "1.5")], Some(1)),
            (&[("Retry-After", hour_later)], Some(3600)),
            (&[("Retry-After", "Tuesday, 14-Nov-23 23:13:20 GMT")], Some(3600)),
            (&[("Retry-After", "Tue Nov 14 23:13:20 2023")], Some(3600)),
            (&[("Retry-After", "86400")], Some(86_400)),
            (&[("Retry-After", "1700000060")], Some(60)),
            (&[("Retry-After", "0")], None),
            (&[("Retry-After", "-5")], None),
            (&[("Retry-After", "+5")], None),
            (&[("Retry-After", "")], None),
            (&[("Retry-After", "soon")], None),
            (&[("Retry-After", ".")], None),
            (&[("Retry-After", "1e3")], None),
            (&[("Retry-After", "NaN")], None),
            (&[("Retry-After", "inf")], None),
            (&[("Retry-After", "99999999999999999999")], None),
            (&[("Retry-After", "999999999999999999999999999999")], None),
            (&[("Retry-After", "Tue, 14 Nov 2017 23:13:20 GMT")], None),
            (&[("Retry-After", "5"), ("Retry-After", "9")], Some(9)),
            (&[("X-RateLimit-Reset", "45")], Some(45)),
            (&[("x-ratelimit-reset", "1700000900")], Some(900)),
            (&[("X-RateLimit-Reset", "1487332519")], None),
            (&[("X-RateLimit-Reset", "1000000000")], Some(1_000_000_000)),
            (&[("X-RateLimit-Reset", "1000000001")], None),
            (&[("X-RateLimit-Reset", "1700000900000")], None),
            (&[("X-RateLimit-Reset-hour", "30")], Some(30)),
            (&[("RateLimit-Reset", "700")], Some(700)),
            (&[("ratelimit-reset", "1700000001")], Some(1)),
            (&[("RateLimit-Reset", "garbage"), ("X-RateLimit-Reset", "8")], Some(8)),
            (&[("X-RateLimit-Reset", "8"), ("RateLimit-Reset", "90")], Some(90)),
            (&[("Retry-After", "7"), ("X-RateLimit-Reset", "3000")], Some(7)),
            (&[("Retry-After", "garbage"), ("X-RateLimit-Reset", "3000")], Some(3000)),
            (&[("X-RateLimit-Remaining", "0")], None),
            (&[], None),
        ] {
            let wait = wait_from_headers(&headers(pairs), now()).map(|t| t.as_second() - NOW);
            assert_eq!(wait, seconds, "{pairs:?}");
        }
    }

    #[test]
    fn a_reset_alone_does_not_delay_a_retry() {
        for (pairs, seconds) in [
            (&[("X-RateLimit-Remaining", "900"), ("X-RateLimit-Reset", "3000")][..], None),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "3000")], Some(3000)),
            (&[("Retry-After", "4"), ("X-RateLimit-Reset", "3000")], Some(4)),
        ] {
            let wait = wait_after_failure(&headers(pairs), now()).map(|t| t.as_second() - NOW);
            assert_eq!(wait, seconds, "{pairs:?}");
        }
    }

    #[test]
    fn a_quota_header_has_limit_remainder_and_reset() {
        for (pairs, expected) in [
            (
                &[("X-RateLimit-Limit", "1000"), ("X-RateLimit-Remaining", "998"), ("X-RateLimit-Reset", "60")][..],
                Some((1000, 998, 60, None)),
            ),
            (
                &[("X-RateLimit-Limit-hour", "1000"), ("X-RateLimit-Remaining-hour", "7"), ("RateLimit-Reset", "700")],
                Some((1000, 7, 700, Some(3_600_000))),
            ),
            (
                &[("x-ratelimit-limit", "50"), ("x-ratelimit-remaining", "49"), ("x-ratelimit-reset", "1700000001")],
                Some((50, 49, 1, None)),
            ),
            (
                &[("RateLimit-Limit", "5"), ("RateLimit-Remaining", "9"), ("RateLimit-Reset", "1")],
                Some((5, 5, 1, None)),
            ),
            (&[("X-RateLimit-Limit", "1000"), ("X-RateLimit-Remaining", "998")], None),
            (&[("X-RateLimit-Limit", "many"), ("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", "60")], None),
            (&[("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", "60")], None),
            (&[("Retry-After", "7")], None),
        ] {
            let header = quota_header(&headers(pairs), now());
            let seen = header.map(|t| (t.limit, t.remaining, t.resets_at_ms / 1_000 - NOW, t.window_ms));
            assert_eq!(seen, expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_host_s_clock_is_its_date_unless_a_cache_answered() {
        let date = "Tue, 14 Nov 2023 22:13:20 GMT";
        for (pairs, asked, now, ahead) in [
            (&[("Date", date)][..], 0, 0, HostDate::Ahead(0)),
            (&[("Date", date)], 0, 30, HostDate::Ahead(0)),
            (&[("Date", date)], 1, 1, HostDate::Ahead(0)),
            (&[("Date", date)], 691_200, 691_201, HostDate::Ahead(691_199)),
            (&[("Date", date)], -3_600, -3_590, HostDate::Ahead(-3_590)),
            (&[("Date", date), ("Age", "0")], 60, 60, HostDate::Ahead(59)),
            (&[("Date", date), ("Age", "700")], 700, 700, HostDate::Cached),
            (&[("Date", "yesterday")], 0, 0, HostDate::Missing),
            (&[], 0, 0, HostDate::Missing),
        ] {
            let at = |seconds| Timestamp::from_second(NOW + seconds).expect("a moment");
            assert_eq!(host_date(&headers(pairs), at(asked), at(now)), ahead, "{pairs:?} {asked} {now}");
        }
    }

    #[test]
    fn a_header_that_is_not_text_is_ignored() {
        let mut map = HeaderMap::new();
        map.insert(RETRY_AFTER, HeaderValue::from_bytes(b"\xff\xfe").expect("opaque bytes are allowed"));
        assert_eq!(wait_from_headers(&map, now()), None);
    }

    #[test]
    fn a_success_may_state_that_the_quota_is_used_up() {
        for (pairs, seconds) in [
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60")][..], Some(60)),
            (&[("x-ratelimit-remaining-hour", "0"), ("RateLimit-Reset", "700")], Some(700)),
            (&[("X-RateLimit-Remaining", "0")], None),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1487332519")], None),
            (&[("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", "60")], None),
            (&[("X-RateLimit-Remaining", "none"), ("X-RateLimit-Reset", "60")], None),
            (&[("X-RateLimit-Reset", "60")], None),
        ] {
            let wait = exhausted_until(&headers(pairs), now()).map(|t| t.as_second() - NOW);
            assert_eq!(wait, seconds, "{pairs:?}");
        }
    }
}
