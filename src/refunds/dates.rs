//! Parses dates as shops write them.
//!
//! The date parser accepts RFC 3339, `2024-04-03`, and `2024-04-03 14:05[:06]` with or without an offset; `/` may
//! replace `-`. **A time without an offset is UTC.** The date parser accepts `03/04/2024` only if another date of the
//! file shows the order of day and month, such as `13/11/2026`. The date parser refuses the serial numbers of
//! spreadsheets.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize, Serializer};

/// A date without a time, or a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DateOrTime {
    /// The whole day, in UTC.
    Day(Date),
    At(Timestamp),
}

impl DateOrTime {
    /// Returns the earliest point in time that the date can mean.
    pub fn earliest(self) -> Timestamp {
        match self {
            Self::Day(day) => moment(day.to_datetime(jiff::civil::Time::midnight())).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
        }
    }

    /// Returns the latest point in time that the date can mean. Only an index that is newer than the latest possible
    /// refund date can prove that an order is not a referral.
    pub fn latest(self) -> Timestamp {
        match self {
            Self::Day(day) => moment(day.at(23, 59, 59, 999_999_999)).unwrap_or(Timestamp::MAX),
            Self::At(at) => at,
        }
    }
}

impl fmt::Display for DateOrTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::At(at) => at.fmt(f),
        }
    }
}

impl Serialize for DateOrTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns `true` if the year of the date is from 2000 to 2099.
pub fn is_plausible(when: DateOrTime) -> bool {
    let year = |at: Timestamp| at.to_zoned(TimeZone::UTC).year();
    year(when.earliest()) >= 2000 && year(when.latest()) < 2100
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateError {
    /// The text of the date does not show which number is the day and which is the month.
    Ambiguous,
    Unreadable,
}

/// The order of day and month in dates that end with the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// No date of the file shows the order of day and month.
    #[default]
    Unknown,
    /// The day is the first number of the date, as in `13.11.2026`.
    DayFirst,
    /// The month is the first number of the date, as in `11/13/2026`.
    MonthFirst,
}

impl DateOrder {
    /// Detects the order of day and month that all dates of a file share. Returns `Unknown` if no date shows the order
    /// of day and month, or if the dates contradict each other.
    pub fn of<'a>(cells: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::Unknown;
        for (first, second, _, _) in cells.filter_map(|cell| numbers(cell.trim())) {
            let order = match (first > 12, second > 12) {
                (true, false) => Self::DayFirst,
                (false, true) => Self::MonthFirst,
                _ => continue,
            };
            if found != Self::Unknown && found != order {
                return Self::Unknown;
            }
            found = order;
        }
        found
    }
}

/// Parses the date in one cell without the date order of its file; `None` if the cell is empty.
pub fn parse(text: &str) -> Result<Option<DateOrTime>, DateError> {
    parse_in(text, DateOrder::Unknown)
}

/// Parses the date in one cell with the date order of its file; `None` if the cell is empty.
pub fn parse_in(text: &str, order: DateOrder) -> Result<Option<DateOrTime>, DateError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let Some((first, second, year, rest)) = numbers(text) else {
        return read(text).map(Some).ok_or(DateError::Unreadable);
    };
    let own = DateOrder::of(std::iter::once(text));
    let (day, month) = match if own == DateOrder::Unknown { order } else { own } {
        _ if first == second => (first, second),
        DateOrder::DayFirst => (first, second),
        DateOrder::MonthFirst => (second, first),
        DateOrder::Unknown if first > 12 && second > 12 => return Err(DateError::Unreadable),
        DateOrder::Unknown => return Err(DateError::Ambiguous),
    };
    read(&format!("{year:04}-{month:02}-{day:02}{rest}")).map(Some).ok_or(DateError::Unreadable)
}

/// Splits a date that ends with a four-digit year into its numbers and the rest of the text. Refuses a date with a
/// two-digit year, because such a date is ambiguous.
fn numbers(text: &str) -> Option<(u32, u32, u32, &str)> {
    let end = text.find([' ', 'T', ',']).unwrap_or(text.len());
    let (day, rest) = text.split_at(end);
    let separator = day.chars().find(|c| matches!(c, '/' | '.' | '-'))?;
    let parts: Vec<&str> = day.split(separator).collect();
    let number = |part: &str, digits: std::ops::RangeInclusive<usize>| -> Option<u32> {
        (digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok()).flatten()
    };
    let [first, second, year] = parts.as_slice() else { return None };
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    Some((number(first, 1..=2)?, number(second, 1..=2)?, number(year, 4..=4)?, rest))
}

fn read(text: &str) -> Option<DateOrTime> {
    // Excludes the incomplete dates that the library jiff accepts.
    let (day, rest) = (text.get(..10)?, text.get(10..)?);
    let shape: String = day.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape != "0000-00-00" && shape != "0000/00/00" {
        return None;
    }
    let day = day.replace('/', "-");
    if rest.is_empty() {
        return day.parse().ok().map(DateOrTime::Day);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = split_offset(rest);
    if !is_time(time) {
        return None;
    }
    let text = format!("{day}T{time}");
    let at = match offset {
        Some(offset) => format!("{text}{offset}").parse().ok()?,
        None => moment(text.parse().ok()?)?,
    };
    Some(DateOrTime::At(at))
}

fn moment(at: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(at).ok()
}

/// Splits a text such as `14:05:06 +0200` into the time and the RFC 3339 offset.
fn split_offset(text: &str) -> (&str, Option<String>) {
    for utc in ["Z", "z", "UTC", "GMT"] {
        if let Some(time) = text.strip_suffix(utc) {
            return (time.trim_end_matches(' '), Some("Z".to_owned()));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else { return (text, None) };
    let (time, offset) = (text[..at].trim_end_matches(' '), &text[at..]);
    let offset = match offset.len() {
        5 if !offset.contains(':') && offset.is_ascii() => format!("{}:{}", &offset[..3], &offset[3..]),
        _ => offset.to_owned(),
    };
    (time, Some(offset))
}

/// Returns `true` if a text is a time, such as `14:05`, `14:05:06` or `14:05:06.789`.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let shape: String = clock.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let whole = shape == "00:00:00" || (shape == "00:00" && !text.contains('.'));
    whole && (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unambiguous_date_is_parsed() {
        for (text, read) in [
            ("2024-04-03", "2024-04-03"),
            (" 2024/04/03 ", "2024-04-03"),
            ("2024-04-03T10:00:00Z", "2024-04-03T10:00:00Z"),
            ("2024-04-03t10:00:00z", "2024-04-03T10:00:00Z"),
            ("2024-04-03T10:00:00+02:00", "2024-04-03T08:00:00Z"),
            ("2024-04-03 10:00:00 +0200", "2024-04-03T08:00:00Z"),
            ("2024-04-03 10:00:00 -0500", "2024-04-03T15:00:00Z"),
            ("2024-04-03 10:00:00 UTC", "2024-04-03T10:00:00Z"),
            ("2024-04-03 10:00", "2024-04-03T10:00:00Z"),
            ("2024-04-03T10:00:01.250", "2024-04-03T10:00:01.25Z"),
            ("13.11.2026", "2026-11-13"),
            ("11/13/2026", "2026-11-13"),
            ("13/11/2026 10:00", "2026-11-13T10:00:00Z"),
            ("5/5/2026", "2026-05-05"),
        ] {
            let when = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}")).expect(text);
            assert_eq!(when.to_string(), read, "{text:?}");
        }
        assert_eq!(parse("  "), Ok(None));
    }

    #[test]
    fn an_ambiguous_or_unreadable_date_is_an_error() {
        for text in ["03/04/2024", "03-04-2024 10:00", "1/2/2024T10:00", "01.11.2026"] {
            assert_eq!(parse(text), Err(DateError::Ambiguous), "{text:?}");
        }
        for text in [
            "3/4/24",
            "13/13/2024",
            "31.02.2024",
            "0/0/2024",
            "13.04.2024 soon",
            "45355",
            "1712138400",
            "20240403",
            "2024-13-01",
            "2024-02-30",
            "2024-04",
            "Mar-24",
            "3 April 2024",
            "2024-04-03 25:00",
            "2024-04-03 10",
            "2024-04-03T10:00:00+99:00",
            "2024-04-03 10:00 CET",
            "2024-04-03 10:00.5",
            "2024-04-03x",
            "２０２４-04-03",
            "yesterday",
        ] {
            assert_eq!(parse(text), Err(DateError::Unreadable), "{text:?}");
        }
    }

    #[test]
    fn dates_that_agree_determine_the_date_order_of_a_file() {
        let of = |cells: &[&str]| DateOrder::of(cells.iter().copied());
        assert_eq!(of(&["01.11.2026", "13.11.2026", "", "2026-01-02"]), DateOrder::DayFirst);
        assert_eq!(of(&["11/01/2026", "11/13/2026"]), DateOrder::MonthFirst);
        assert_eq!(of(&["11/01/2026", "11/12/2026"]), DateOrder::Unknown);
        assert_eq!(of(&["13/11/2026", "11/13/2026"]), DateOrder::Unknown);
        let read = |order| parse_in("01/11/2026", order).map(|when| when.map(|when| when.to_string()));
        assert_eq!(read(DateOrder::DayFirst), Ok(Some("2026-11-01".to_owned())));
        assert_eq!(read(DateOrder::MonthFirst), Ok(Some("2026-01-11".to_owned())));
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let day = parse("2024-04-03").expect("a date").expect("not empty");
        assert_eq!(day.earliest().to_string(), "2024-04-03T00:00:00Z");
        assert_eq!(day.latest().to_string(), "2024-04-03T23:59:59.999999999Z");
        let last = parse("9999-12-31").expect("a date").expect("not empty");
        assert!(last.earliest() <= last.latest());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>()) {
            prop_assert!(!matches!(parse(&text), Ok(Some(when)) if when.earliest() > when.latest()));
        }

        #[test]
        fn nothing_panics_on_what_looks_like_a_date(text in "[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T]?[0-9:.+Z ü-]{0,16}") {
            prop_assert!(!matches!(parse(&text), Ok(Some(when)) if when.earliest() > when.latest()));
        }
    }
}
