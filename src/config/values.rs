//! Values as a person writes them: lengths of time, and rates.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A length of time as a person writes it: `500ms`, `10m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Beyond this a length of time is a slip of the finger, and deadlines could not be computed with it.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl Span {
    fn checked(span: Duration) -> Result<Self, String> {
        if span > LONGEST { Err("no length of time here is longer than a year".to_owned()) } else { Ok(Self(span)) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // jiff leaves days out of a plain duration, since their length depends on the time zone; here a day is 24 hours.
        if let Some(days) = text.trim().strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
            return Self::checked(Duration::from_hours(u64::from(days) * 24));
        }
        let span: jiff::SignedDuration =
            text.parse().map_err(|error| format!("{error}; write it as 500ms, 30s, 10m, 1h or 7d"))?;
        let span = Duration::try_from(span).map_err(|_negative| "a length of time cannot be negative".to_owned())?;
        Self::checked(span)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Requests per second, written as `10/s`, `300/m` or `1000/h`.
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
