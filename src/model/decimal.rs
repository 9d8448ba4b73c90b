//! An exact decimal number for amounts of money.
//!
//! A binary fraction cannot represent a cent exactly. Therefore recoup stores no amount as `f64`. A `Decimal` never
//! rounds: it refuses a text that it cannot represent exactly. Decimal crates accept exponents and round excess digits.
//! Therefore `Decimal` has its own parser.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Neg, Sub};

use serde::{Serialize, Serializer};

/// The largest number of digits after an amount's decimal point. The vendor writes two digits after the decimal point
/// (`docs/vendor/brand.md` §1, Transport).
const PLACES: usize = 6;
const UNIT: i128 = 1_000_000;
/// The largest number of digits before an amount's decimal point. The vendor writes eight digits before the decimal
/// point. With this many digits, the sum of a year's orders cannot overflow.
const WHOLE: usize = 24;

/// An amount in any currency or unit. The text of an amount has at least two digits after the decimal point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i128);

impl Decimal {
    pub const ZERO: Self = Self(0);

    /// Parses an amount such as `12`, `12.5`, `-0.50` or `+3`, even with white space around it. Returns `None` for any
    /// other text, for example a text with an exponent, a comma, or more than six significant digits after the point.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.len() > WHOLE || fraction.len() > PLACES {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let fraction: i128 = format!("{fraction:0<PLACES$}").parse().ok()?;
        let units = whole * UNIT + fraction;
        Some(Self(if negative { -units } else { units }))
    }

    /// Converts a number of cents to an amount.
    pub fn from_hundredths(hundredths: i64) -> Self {
        Self(i128::from(hundredths) * (UNIT / 100))
    }

    /// Converts the amount to cents; `None` if it is not a whole number of cents or too large.
    pub fn cents(self) -> Option<i64> {
        (self.0 % (UNIT / 100) == 0).then(|| i64::try_from(self.0 / (UNIT / 100)).ok()).flatten()
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the absolute value of the amount. Many exports write a refund as a negative amount.
    #[must_use]
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    pub fn is_negative(self) -> bool {
        self.0.cmp(&0) == Ordering::Less
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) =
            (self.0.unsigned_abs() / UNIT.unsigned_abs(), self.0.unsigned_abs() % UNIT.unsigned_abs());
        let digits = format!("{fraction:0PLACES$}");
        let kept = digits.trim_end_matches('0').len().max(2);
        let sign = if self.is_negative() { "-" } else { "" };
        write!(f, "{sign}{whole}.{}", &digits[..kept])
    }
}

/// Serialises the amount as text, because most JSON parsers round a number.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Decimal {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_of_cents_is_cents() {
        for (text, cents) in
            [("42", Some(4200)), ("-0.5", Some(-50)), ("0.001", None), ("999999999999999999999999", None)]
        {
            assert_eq!(Decimal::parse(text).expect("an amount").cents(), cents, "{text}");
        }
    }

    #[test]
    fn a_text_is_parsed_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0", Some("0.00")),
            ("-0.00", Some("0.00")),
            ("19.99", Some("19.99")),
            (" 19.9 ", Some("19.90")),
            ("+5", Some("5.00")),
            ("-5.00", Some("-5.00")),
            (".5", Some("0.50")),
            ("5.", Some("5.00")),
            ("000123.10", Some("123.10")),
            ("0.000001", Some("0.000001")),
            ("0.1230000000", Some("0.123")),
            ("99999999999999", Some("99999999999999.00")),
            ("0.0000001", None),
            ("1234567890123456789012345", None),
            ("", None),
            ("-", None),
            (".", None),
            ("1,5", None),
            ("1e3", None),
            ("1.00E+09", None),
            ("1.2.3", None),
            ("--1", None),
            ("NaN", None),
            ("é", None),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.to_string()).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let of = |text: &str| Decimal::parse(text).expect("a number");
        assert_eq!(of("0.1") + of("0.2"), of("0.3"));
        assert_eq!(of("19.27") - of("5"), of("14.27"));
        assert!((of("19.27") + -of("19.270")).is_zero());
        assert!(of("-0.01") < Decimal::ZERO && of("-0.01").is_negative());
        assert_eq!(Decimal::from_hundredths(2500), of("25"));
    }
}
