//! Sums of reward amounts, by unit.
//!
//! The sums of reward amounts are exact integers in the unit of the reward. Different units, such as dollars, months
//! and percents, have separate sums. A reward without an amount counts as a reward of unknown value, never as zero.

use std::cmp::{Ordering, Reverse};

use crate::model::counted;

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

/// The vendor's unit for hundredths of a currency.
const CENTS: &str = "CENTS";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Hundredths of a currency with this ISO 4217 code.
    Currency(String),
    /// Hundredths of an unknown currency.
    Cents,
    /// Any other unit of the vendor, such as `MONTH` or `%`.
    Other(String),
    Unnamed,
}

impl Unit {
    pub fn of(currency: Option<&str>, unit: Option<&str>) -> Self {
        let named = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        match (named(currency), named(unit)) {
            (Some(currency), Some(unit)) if unit == CENTS => Self::Currency(currency),
            (None, Some(unit)) if unit == CENTS => Self::Cents,
            (_, Some(unit)) => Self::Other(unit),
            (_, None) => Self::Unnamed,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Currency(word) | Self::Other(word) => word,
            Self::Cents => CENTS,
            Self::Unnamed => "of unknown unit",
        }
    }

    fn number(&self, amount: i128) -> String {
        match self {
            Self::Currency(_) => {
                let sign = if amount.is_negative() { "-" } else { "" };
                let hundredths = amount.unsigned_abs();
                format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100)
            }
            Self::Cents | Self::Other(_) | Self::Unnamed => amount.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    /// The sum of the amounts, in hundredths of a currency or in the unit. The type of the sum is `i128`, because a sum
    /// of `i64` values must not overflow.
    amount: i128,
    /// Number of rewards without an amount.
    unknown: u64,
}

impl Sum {
    fn words(&self, unit: &Unit) -> String {
        let amount = format!("{} {}", unit.number(self.amount), unit.as_str());
        let unknown = match self.unknown {
            0 => return amount,
            n => format!("{} of unknown worth ({})", counted(n, "reward"), unit.as_str()),
        };
        if self.amount == 0 { unknown } else { format!("{amount} and {unknown}") }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewardValue(BTreeMap<Unit, Sum>);

impl RewardValue {
    /// Adds the amount of a reward; `None` if the amount is unknown.
    pub fn add(&mut self, unit: &Unit, amount: Option<i64>) {
        let sum = self.0.entry(unit.clone()).or_default();
        match amount {
            Some(amount) => sum.amount += i128::from(amount),
            None => sum.unknown += 1,
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (unit, more) in &other.0 {
            let sum = self.0.entry(unit.clone()).or_default();
            sum.amount += more.amount;
            sum.unknown += more.unknown;
        }
    }

    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.0.keys()
    }

    /// Formats the sum in one unit for a table cell; empty if no reward has that unit.
    pub fn cell(&self, unit: &Unit) -> String {
        match self.0.get(unit) {
            None => String::new(),
            Some(sum) if sum.unknown == 0 => unit.number(sum.amount),
            Some(sum) => format!("{} + {} unknown", unit.number(sum.amount), sum.unknown),
        }
    }

    /// Compares two values by the first unit, highest value first. Currencies precede other units, and empty values are
    /// last.
    pub fn highest_first(&self, other: &Self) -> Ordering {
        let first = |worth: &Self| worth.0.iter().next().map(|(unit, sum)| (unit.clone(), Reverse(sum.amount)));
        match (first(self), first(other)) {
            (Some(one), Some(two)) => one.cmp(&two),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// Formats the sums of a value, such as `12.50 USD, 3 MONTH`; empty without rewards.
impl fmt::Display for RewardValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(unit, sum)| sum.words(unit)).collect();
        f.write_str(&parts.join(", "))
    }
}

/// An element of the JSON list of a value's sums. The amount in JSON is text, because many parsers lose precision of
/// JSON numbers.
#[derive(Serialize)]
struct Part<'a> {
    unit: &'a str,
    amount: String,
    unknown_rewards: u64,
}

impl Serialize for RewardValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (unit, sum) in &self.0 {
            let amount = unit.number(sum.amount);
            list.serialize_element(&Part { unit: unit.as_str(), amount, unknown_rewards: sum.unknown })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(amounts: &[(Option<&str>, Option<&str>, Option<i64>)]) -> RewardValue {
        let mut worth = RewardValue::default();
        for (currency, unit, amount) in amounts {
            worth.add(&Unit::of(*currency, *unit), *amount);
        }
        worth
    }

    #[test]
    fn sums_are_exact_and_kept_by_unit() {
        let (usd, cents) = (Some("USD"), Some("CENTS"));
        for (amounts, text) in [
            (vec![], ""),
            (vec![(usd, cents, Some(1000)), (usd, cents, Some(5))], "10.05 USD"),
            (vec![(usd, cents, Some(-5))], "-0.05 USD"),
            (vec![(None, cents, Some(500))], "500 CENTS"),
            (vec![(Some(""), cents, Some(500))], "500 CENTS"),
            (vec![(usd, Some("MONTH"), Some(1)), (usd, cents, Some(1))], "0.01 USD, 1 MONTH"),
            (vec![(usd, cents, Some(1)), (Some("EUR"), cents, Some(1))], "0.01 EUR, 0.01 USD"),
            (vec![(None, None, Some(7))], "7 of unknown unit"),
            (vec![(None, Some("giftcard20"), None)], "1 reward of unknown worth (giftcard20)"),
            (
                vec![(usd, cents, None), (usd, cents, None), (usd, cents, Some(1))],
                "0.01 USD and 2 rewards of unknown worth (USD)",
            ),
            (vec![(usd, cents, Some(i64::MAX)), (usd, cents, Some(i64::MAX))], "184467440737095516.14 USD"),
        ] {
            assert_eq!(worth(&amounts).to_string(), text);
            let mut twice = worth(&amounts);
            twice.merge(&RewardValue::default());
            assert_eq!(twice, worth(&amounts));
        }
    }

    #[test]
    fn json_has_amounts_as_text() {
        let json = serde_json::to_value(worth(&[(Some("USD"), Some("CENTS"), Some(1250)), (None, Some("%"), None)]));
        assert_eq!(
            json.expect("JSON"),
            serde_json::json!([
                {"unit": "USD", "amount": "12.50", "unknown_rewards": 0},
                {"unit": "%", "amount": "0", "unknown_rewards": 1}
            ])
        );
    }

    #[test]
    fn values_sort_by_unit_and_then_highest_first() {
        let usd = |n| worth(&[(Some("USD"), Some("CENTS"), Some(n))]);
        let cents = worth(&[(None, Some("CENTS"), Some(1)), (None, Some("%"), Some(40))]);
        let months = worth(&[(None, Some("MONTH"), Some(1_000_000))]);
        let mut list = [RewardValue::default(), usd(1), months.clone(), cents.clone(), usd(3), usd(2)];
        list.sort_by(RewardValue::highest_first);
        assert_eq!(list, [usd(3), usd(2), usd(1), cents, months, RewardValue::default()]);
    }
}
