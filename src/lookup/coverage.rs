//! Decides what the absence of an order from the index proves.

use jiff::Timestamp;

use crate::model::{Coverage, counted, grouped};

/// Formats the coverage of the index, such as "as of 2026-11-23 09:42 UTC, 48,210 of 48,212 accounts read".
pub fn describe_coverage(coverage: &Coverage) -> String {
    let extent = describe_extent(coverage);
    match coverage.as_of.as_deref().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(as_of) => format!("as of {} UTC, {extent}", as_of.strftime("%Y-%m-%d %H:%M")),
        None => extent,
    }
}

/// Formats the coverage of the index without its time, such as "48,210 of 48,212 accounts read".
pub fn describe_extent(coverage: &Coverage) -> String {
    let read = format!("{} of {} read", grouped(coverage.accounts_read), counted(coverage.accounts_known, "account"));
    if coverage.as_of.as_deref().is_none_or(|text| text.parse::<Timestamp>().is_err()) {
        return format!("the first crawl has not finished: {read}");
    }
    let gaps = if coverage.complete { "" } else { ", with gaps" };
    let forgotten = match coverage.accounts_forgotten {
        0 => String::new(),
        n => format!(", {} forgotten", counted(n, "account")),
    };
    format!("{read}{gaps}{forgotten}")
}

/// Returns why the absence of an order from the index does not prove that it is not a referral; `None` if the absence
/// is proof. The absence is proof only if the index is complete, has rewards and is newer than the refund.
pub fn why_absence_is_unproven(coverage: &Coverage, refunded: Timestamp) -> Option<String> {
    let as_of: Option<Timestamp> = coverage.as_of.as_deref().and_then(|at| at.parse().ok());
    if !coverage.complete || coverage.rewards_read == 0 {
        return Some(format!("the index is not complete, {}", describe_coverage(coverage)));
    }
    if as_of.is_none_or(|as_of| as_of <= refunded) {
        return Some(format!("the index is older than the refund ({refunded:.0}): run `recoup crawl`"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_index_that_is_newer_than_the_refund_proves_an_absence() {
        let refunded: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
        let newer = Some("2026-03-01T00:00:01Z".to_owned());
        for (complete, rewards_read, as_of, proves) in [
            (true, 5, newer.clone(), true),
            (false, 5, newer.clone(), false),
            (true, 0, newer, false),
            (true, 5, Some("2026-03-01T00:00:00Z".to_owned()), false),
            (true, 5, None, false),
        ] {
            let coverage = Coverage { complete, as_of, rewards_read, ..Coverage::default() };
            assert_eq!(why_absence_is_unproven(&coverage, refunded).is_none(), proves, "{coverage:?}");
        }
    }
}
