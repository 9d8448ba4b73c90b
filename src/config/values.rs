//! Parses setting values: durations, rates, quotas, shares and times.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::model::budget::Quota;

/// A duration, written as `500ms`, `10m`, `1h 30m` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The longest accepted duration. A longer duration is probably a typing error, and could overflow a deadline.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl Span {
    fn checked(span: Duration) -> Result<Self, String> {
        if span > LONGEST { Err("a duration cannot be longer than a year".to_owned()) } else { Ok(Self(span)) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // jiff refuses days in a duration, because their length depends on the time zone. In a setting, a day has 24
        // hours.
        if let Some(days) = text.trim().strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
            return Self::checked(Duration::from_hours(u64::from(days) * 24));
        }
        let span: jiff::SignedDuration =
            text.parse().map_err(|error| format!("{error}; write it as 500ms, 30s, 10m, 1h or 7d"))?;
        let span = Duration::try_from(span).map_err(|_negative| "a duration cannot be negative".to_owned())?;
        Self::checked(span)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A request rate per second, written as `10/s`, `300/m` or `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a rate as 10/s, 300/m or 1000/h".to_owned();
        let (count, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let count: f64 = count.trim().parse().map_err(|_unparsable| wrong())?;
        if count.is_finite() && count > 0.0 { Ok(Self(count / seconds)) } else { Err(wrong()) }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A number of requests per window, written as `1000/h`, `50000/d`, `300/m`, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerWindow(pub Option<Quota>);

impl FromStr for PerWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a quota as 1000/h, 50000/d or 300/m, or \"unlimited\"".to_owned();
        if text.trim() == "unlimited" {
            return Ok(Self(None));
        }
        let (count, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let window_ms = match unit.trim() {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        match count.trim().parse() {
            Ok(limit) if limit > 0 => Ok(Self(Some(Quota { limit, window_ms }))),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for PerWindow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A fraction, written as `"10%"` or as a number from 0 to 0.9.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl Share {
    fn checked(share: f64) -> Result<Self, String> {
        if (0.0..=0.9).contains(&share) {
            Ok(Self(share))
        } else {
            Err("a reserve is between 0% and 90%, written as \"10%\" or 0.1".to_owned())
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, scale) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |percent| (percent, 100.0));
        Self::checked(number.trim().parse().map_or(f64::NAN, |number: f64| number / scale))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let share = match Written::deserialize(deserializer)? {
            Written::Number(number) => Self::checked(number),
            Written::Text(text) => text.parse(),
        };
        share.map_err(serde::de::Error::custom)
    }
}

/// The time at which a run stops: the next occurrence of a local time of day, or a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A local time of day, such as `06:00`.
    Local(Time),
    /// A timestamp, such as `2026-05-01T06:00:00Z`.
    Moment(Timestamp),
}

impl Until {
    /// Returns the next occurrence of this time after `now`, in this machine's time zone.
    pub fn after(self, now: Timestamp) -> Timestamp {
        self.after_in(now, &TimeZone::system())
    }

    fn after_in(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let time = match self {
            Self::Moment(moment) => return moment,
            Self::Local(time) => time,
        };
        let today = now.to_zoned(zone.clone()).date();
        let on = |day: jiff::civil::Date| zone.to_timestamp(day.to_datetime(time)).ok().filter(|moment| *moment > now);
        on(today).or_else(|| on(today.tomorrow().ok()?)).unwrap_or(Timestamp::MAX)
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('T') || text.contains(' ') {
            let wrong = |error| format!("{error}; write a date and time as 2026-05-01T06:00:00Z");
            return text.parse().map(Self::Moment).map_err(wrong);
        }
        text.parse().map(Self::Local).map_err(|error| format!("{error}; write it as 06:00, or 2026-05-01T06:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_and_shares_as_people_write_them() {
        for (text, quota) in [
            ("1000/h", Some((1000, 3_600_000))),
            (" 50000 / d ", Some((50_000, 86_400_000))),
            ("7/s", Some((7, 1_000))),
            ("0/h", None),
            ("1000", None),
            ("1.5/h", None),
            ("1/w", None),
        ] {
            let read = text.parse::<PerWindow>().ok().and_then(|quota| quota.0);
            assert_eq!(read.map(|quota| (quota.limit, quota.window_ms)), quota, "{text}");
        }
        assert_eq!("unlimited".parse(), Ok(PerWindow(None)));
        for (text, share) in [("10%", Some(0.1)), ("0.25", Some(0.25)), ("0", Some(0.0)), ("90 %", Some(0.9))] {
            assert_eq!(text.parse::<Share>().ok().map(|share| share.0), share, "{text}");
        }
        for text in ["91%", "-1%", "1.5", "ten", "", "NaN"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_its_next_occurrence_where_the_machine_is() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (now, until, then) in [
            ("2026-05-01T20:00:00Z", "06:00", "2026-05-02T04:00:00Z"),
            ("2026-05-02T03:59:59Z", "06:00", "2026-05-02T04:00:00Z"),
            ("2026-05-02T04:00:00Z", "06:00", "2026-05-03T04:00:00Z"),
            ("2026-05-02T04:00:00Z", "2026-05-02T06:00:00+02:00", "2026-05-02T04:00:00Z"),
        ] {
            let until: Until = until.parse().expect(until);
            let now = now.parse().expect(now);
            assert_eq!(until.after_in(now, &zone).to_string(), then, "{now}");
        }
        for text in ["25:00", "soon", "", "2026-05-02T06:00:00"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }
}
