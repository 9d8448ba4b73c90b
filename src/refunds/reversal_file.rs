//! Writes the vendor's reversal file: `ActionTrackerId,OrderId,Amount,Reason`, with one reversal in each row
//! (`docs/vendor/refund-guide.md` E).
//!
//! The vendor does not publish encoding, quoting and maximum size of the reversal file (`docs/vendor/contradictions.md`
//! 19). Therefore recoup writes the reversal file as UTF-8 without a byte order mark, with plain commas and no quotes.
//! recoup skips a reversal that would need quotes in the file, or that lacks a value, and gives the reason. recoup
//! escapes no formulas in a reversal file, because the vendor would read the apostrophe as a part of the order ID.

use std::collections::HashSet;

use jiff::civil::Date;

use super::columns::fold;
use crate::model::OrderId;

/// The header of a reversal file, as the vendor's guide shows it.
const HEADER: &str = "ActionTrackerId,OrderId,Amount,Reason";

/// The maximum length of an order ID, in characters (`docs/vendor/brand.md` §1).
const MAX_ORDER_ID: usize = 64;

/// The reason codes that the vendor documents for reversal files (`docs/vendor/brand.md` §5 refers to §2). The reason
/// codes for reversal files lack `RESET` and `APPROVED`, because these two reverse nothing. The vendor does not
/// document the reason code `RETRACTION` for files.
const REASONS: [&str; 13] = [
    "ORDER_UPDATE",
    "ITEM_RETURNED",
    "CONS_FRAUD",
    "CONS_ERROR",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "ADV_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "ITEM_OUT_OF_STOCK",
    "TEST_ACTION",
    "PARTNER_NOT_ACTIVE",
    "CREDITED_DIFFERENT_MP",
    "OTHER",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// The action tracker ID. recoup skips a reversal without an action tracker ID.
    pub action_tracker_id: Option<String>,
    pub order_id: OrderId,
    pub reason: String,
}

/// Why the reversal file does not contain a reversal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    NoActionTracker,
    NoOrderId,
    OrderIdTooLong,
    /// The reason code is neither documented by the vendor nor configured in `recoup.toml`.
    UnknownReason,
    /// A cell of the reversal contains a comma, a quote, a line break or surrounding white space. The vendor does not
    /// publish how it reads a cell that needs quotes.
    NotPlain,
    /// An earlier row of the reversal file has the same order ID and action tracker ID.
    Repeated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRow {
    /// The index of the reversal in the caller's list.
    pub index: usize,
    pub why: SkipReason,
    /// Why recoup skips the reversal, as a lower-case sentence without a full stop.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReversalFile {
    /// The content of the reversal file; `None` if recoup skipped every reversal.
    pub text: Option<String>,
    pub skipped: Vec<SkippedRow>,
}

/// Returns the name of the reversal file for a day, such as `Batch_Mods_Reversals_2020_02_12.csv`.
pub fn file_name(day: Date) -> String {
    format!("Batch_Mods_Reversals_{:04}_{:02}_{:02}.csv", day.year(), day.month(), day.day())
}

/// Builds a reversal file of all reversals that the format can represent. `own_reasons` are the reason codes from
/// `recoup.toml`, which are case-sensitive.
pub fn build(reversals: &[Reversal], own_reasons: &[String]) -> ReversalFile {
    let mut rows = String::new();
    let mut skipped = Vec::new();
    let mut seen = HashSet::new();
    for (index, reversal) in reversals.iter().enumerate() {
        match row(reversal, own_reasons) {
            Ok((tracker, line)) if seen.insert((tracker, reversal.order_id.as_str())) => rows.push_str(&line),
            Ok(_) => {
                let message = "an earlier row has the same order and action tracker".to_owned();
                skipped.push(SkippedRow { index, why: SkipReason::Repeated, message });
            }
            Err((why, message)) => skipped.push(SkippedRow { index, why, message }),
        }
    }
    ReversalFile { text: (!rows.is_empty()).then(|| format!("{HEADER}\n{rows}")), skipped }
}

fn row<'a>(reversal: &'a Reversal, own_reasons: &[String]) -> Result<(&'a str, String), (SkipReason, String)> {
    let Some(tracker) = reversal.action_tracker_id.as_deref().filter(|id| !id.trim().is_empty()) else {
        return Err((
            SkipReason::NoActionTracker,
            "the order has no action tracker (event type) ID, which the file needs".to_owned(),
        ));
    };
    let order = reversal.order_id.as_str();
    let length = order.chars().count();
    if order.trim().is_empty() {
        return Err((SkipReason::NoOrderId, "the order ID is empty".to_owned()));
    }
    if length > MAX_ORDER_ID {
        return Err((
            SkipReason::OrderIdTooLong,
            format!(
                "the order ID has {length} characters, and a file takes at most {MAX_ORDER_ID}: retract it by the API"
            ),
        ));
    }
    let reason = reversal.reason.as_str();
    if !REASONS.contains(&reason) && !own_reasons.iter().any(|own| own == reason) {
        return Err((SkipReason::UnknownReason, unknown_reason(reason, own_reasons)));
    }
    for (what, cell) in [("action tracker ID", tracker), ("order ID", order), ("reason", reason)] {
        if !is_plain(cell) {
            return Err((
                SkipReason::NotPlain,
                format!(
                    "{what} {cell:?} needs quotes, and the vendor does not publish how it reads them: retract it by the API"
                ),
            ));
        }
    }
    Ok((tracker, format!("{tracker},{order},0,{reason}\n")))
}

/// Returns `true` if every CSV reader parses the unquoted cell to the same text.
fn is_plain(cell: &str) -> bool {
    cell.trim() == cell && !cell.chars().any(|c| matches!(c, ',' | '"' | '\u{feff}') || c.is_control())
}

fn unknown_reason(reason: &str, own_reasons: &[String]) -> String {
    let known = REASONS.iter().copied().chain(own_reasons.iter().map(String::as_str));
    match known.into_iter().find(|known| fold(known) == fold(reason)) {
        Some(known) => format!("reason {reason:?} is unknown; did you mean {known}?"),
        None => format!("reason {reason:?} is neither documented for files nor one of your own codes"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reversal(tracker: &str, order: &str, reason: &str) -> Reversal {
        let tracker = (!tracker.is_empty()).then(|| tracker.to_owned());
        Reversal { action_tracker_id: tracker, order_id: OrderId::new(order), reason: reason.to_owned() }
    }

    #[test]
    fn the_guides_example_is_written_byte_for_byte() {
        let list = [reversal("16027", "O7427540", "ITEM_RETURNED"), reversal("16027", "O8306075", "OTHER")];
        let text = "ActionTrackerId,OrderId,Amount,Reason\n16027,O7427540,0,ITEM_RETURNED\n16027,O8306075,0,OTHER\n";
        assert_eq!(build(&list, &[]), ReversalFile { text: Some(text.to_owned()), skipped: Vec::new() });
        assert_eq!(file_name(jiff::civil::date(2020, 2, 12)), "Batch_Mods_Reversals_2020_02_12.csv");
    }

    #[test]
    fn a_row_that_cannot_be_written_is_skipped_with_the_reason() {
        let own = ["Gone elsewhere".to_owned()];
        for (tracker, order, reason, why) in [
            ("", "1", "OTHER", Some(SkipReason::NoActionTracker)),
            (" ", "1", "OTHER", Some(SkipReason::NoActionTracker)),
            ("7", "", "OTHER", Some(SkipReason::NoOrderId)),
            ("7", &"x".repeat(65), "OTHER", Some(SkipReason::OrderIdTooLong)),
            ("7", &"ü".repeat(64), "OTHER", None),
            ("7", "1", "RETRACTION", Some(SkipReason::UnknownReason)),
            ("7", "1", "RESET", Some(SkipReason::UnknownReason)),
            ("7", "1", "other", Some(SkipReason::UnknownReason)),
            ("7", "1", "", Some(SkipReason::UnknownReason)),
            ("7", "1", "Gone elsewhere", None),
            ("7", "a,b", "OTHER", Some(SkipReason::NotPlain)),
            ("7", "a\"b", "OTHER", Some(SkipReason::NotPlain)),
            ("7", "a\nb", "OTHER", Some(SkipReason::NotPlain)),
            ("7", " 1", "OTHER", Some(SkipReason::NotPlain)),
            ("7", "\u{feff}1", "OTHER", Some(SkipReason::NotPlain)),
            ("7,8", "1", "OTHER", Some(SkipReason::NotPlain)),
            ("7", "=1", "OTHER", None),
            ("7", "#1001", "OTHER", None),
        ] {
            let made = build(&[reversal(tracker, order, reason)], &own);
            assert_eq!(made.skipped.first().map(|row| row.why), why, "{tracker:?} {order:?} {reason:?}");
            assert_eq!(made.text.is_none(), why.is_some());
        }
        let made = build(&[reversal("7", "1", "item returned")], &[]);
        assert!(made.skipped[0].message.contains("ITEM_RETURNED"));
    }

    #[test]
    fn one_order_is_reversed_once() {
        let list: Vec<Reversal> = ["1", "2", "1", "3"].iter().map(|order| reversal("7", order, "OTHER")).collect();
        let made = build(&list, &[]);
        assert_eq!(made.text.map(|text| text.lines().count()), Some(4));
        assert_eq!((made.skipped.len(), made.skipped[0].index, made.skipped[0].why), (1, 2, SkipReason::Repeated));
        assert_eq!(build(&[], &[]).text, None);
    }

    proptest! {
        #[test]
        fn every_row_is_written_as_it_is_or_skipped(orders in prop::collection::vec("\\PC{0,70}", 0..20)) {
            let list: Vec<Reversal> = orders.iter().map(|order| reversal("7", order, "OTHER")).collect();
            let made = build(&list, &[]);
            let skipped: Vec<usize> = made.skipped.iter().map(|row| row.index).collect();
            let text = made.text.unwrap_or_default();
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let read: Vec<String> = reader.records().map(|row| row.expect("a row")[1].to_owned()).collect();
            let written: Vec<&String> =
                orders.iter().enumerate().filter(|(n, _)| !skipped.contains(n)).map(|(_, order)| order).collect();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), written);
        }
    }
}
