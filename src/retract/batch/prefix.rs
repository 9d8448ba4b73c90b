//! Detects a file whose order IDs differ from the index by a constant prefix.
//!
//! A shop may show `#1001` while its API says `1001`. If the index lacks a single order of the file, a person must
//! check that order. If one constant prefix explains why the index lacks most orders of the file, a setting is wrong.
//! recoup reports the setting that is wrong about order ID prefixes, and changes no order ID.

use std::collections::BTreeMap;

use super::rows::Item;
use crate::error::{Error, Kind, Result};
use crate::lookup::candidates;
use crate::model::OrderId;
use crate::refunds::shell_quote;
use crate::store::index::IndexReader;

/// Number of order IDs of the refund file that recoup compares with the index.
const SAMPLE: usize = 200;

/// Returns an error that names the wrong setting, if the index has most sendable orders only after one constant prefix
/// is added or removed.
pub fn remedy(reader: &IndexReader, items: &[Item<'_>]) -> Result<Option<Error>> {
    let may_be_sent =
        |item: &&Item<'_>| item.same_as.is_none() && item.order.is_some_and(|it| it.decision.may_be_sent());
    let orders: Vec<&OrderId> =
        items.iter().filter(may_be_sent).filter_map(|item| Some(&item.order?.order_id)).take(SAMPLE).collect();
    let of_shop = common_prefix(&reader.some_order_ids(SAMPLE)?);
    let mut differences: BTreeMap<Difference, usize> = BTreeMap::new();
    for order_id in &orders {
        if !reader.find(order_id)?.is_empty() {
            continue;
        }
        let mut known: Vec<OrderId> =
            candidates::known(reader, order_id)?.into_iter().map(|known| known.order_id).collect();
        if let Some(prefix) = &of_shop {
            let with_prefix = OrderId::new(format!("{prefix}{order_id}"));
            if !reader.find(&with_prefix)?.is_empty() {
                known.push(with_prefix);
            }
        }
        let difference = known.iter().find_map(|known| Difference::between(order_id.as_str(), known.as_str()));
        if let Some(difference) = difference {
            *differences.entry(difference).or_default() += 1;
        }
    }
    let Some((difference, count)) = differences.into_iter().max_by_key(|(_, count)| *count) else { return Ok(None) };
    if count < 2 || count * 2 <= orders.len() {
        return Ok(None);
    }
    let (how, flag) = match &difference {
        Difference::Missing(prefix) => {
            (format!("with {prefix:?} in front"), format!("--order-prefix {}", shell_quote(prefix)))
        }
        Difference::Additional(prefix) => {
            (format!("without {prefix:?} in front"), format!("--strip-order-prefix {}", shell_quote(prefix)))
        }
    };
    let message =
        format!("the index knows {count} of {} order IDs of the file only {how}; nothing was sent", orders.len());
    Ok(Some(Error::new(Kind::Refused, message).hint(format!("if these are the same orders, say so: {flag}"))))
}

/// Returns the text before the first digit that at least 90 % of the order IDs share.
fn common_prefix(ids: &[OrderId]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in ids {
        let Some(digit) = id.as_str().find(|c: char| c.is_ascii_digit()) else { continue };
        *counts.entry(&id.as_str()[..digit]).or_default() += 1;
    }
    let (prefix, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (!prefix.is_empty() && count * 10 >= ids.len() * 9).then(|| prefix.to_owned())
}

/// The prefix that distinguishes the file's order IDs from the index's order IDs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Missing(String),
    Additional(String),
}

impl Difference {
    fn between(of_file: &str, known: &str) -> Option<Self> {
        let front = |long: &str, short: &str| {
            let prefix = long.strip_suffix(short)?;
            // If the prefix ends in a digit, the order IDs are different numbers, or a spreadsheet dropped leading
            // zeros.
            let is_constant =
                !prefix.is_empty() && !short.is_empty() && !prefix.ends_with(|c: char| c.is_ascii_digit());
            is_constant.then(|| prefix.to_owned())
        };
        front(known, of_file).map(Self::Missing).or_else(|| front(of_file, known).map(Self::Additional))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_has_a_prefix_if_nearly_all_of_its_ids_have_it() {
        let ids = |texts: &[&str]| texts.iter().map(|text| OrderId::new(*text)).collect::<Vec<_>>();
        assert_eq!(common_prefix(&ids(&["ORD-1", "ORD-22", "ORD-333"])).as_deref(), Some("ORD-"));
        assert_eq!(common_prefix(&ids(&["1", "22"])), None);
        assert_eq!(common_prefix(&ids(&["A1", "B2", "A3"])), None);
        assert_eq!(common_prefix(&[]), None);
    }

    #[test]
    fn a_constant_in_front_is_a_difference_and_a_number_is_none() {
        let missing = |text: &str| Some(Difference::Missing(text.to_owned()));
        let additional = |text: &str| Some(Difference::Additional(text.to_owned()));
        for (of_file, known, difference) in [
            ("1001", "#1001", missing("#")),
            ("#1001", "1001", additional("#")),
            ("1001", "ORD-1001", missing("ORD-")),
            ("1001", "001001", None),
            ("1001", "1001", None),
            ("1001", "#1002", None),
            ("", "#", None),
        ] {
            assert_eq!(Difference::between(of_file, known), difference, "{of_file} {known}");
        }
    }
}
