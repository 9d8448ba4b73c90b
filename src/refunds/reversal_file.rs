//! Writes the vendor's reversal file: `ActionTrackerId,OrderId,Amount,Reason`, one reversal a row
//! (`docs/vendor/refund-guide.md` E).
//!
//! The vendor does not publish encoding, quoting and maximum size (`docs/vendor/contradictions.md` 19). The file therefore
//! is UTF-8 without a byte order mark, with plain commas and no quotes. A row that would need more, or that lacks a value,
//! is skipped with a reason. Formulas are not escaped here: the vendor would take the apostrophe for a part of the order ID.

use std::collections::HashSet;

use jiff::civil::Date;
use serde::Serialize;

use super::columns::fold;
use super::csv_table;
use super::input;
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, OrderId};

/// As in the vendor's guide.
pub const HEADER: &str = "ActionTrackerId,OrderId,Amount,Reason";

/// In characters (`docs/vendor/brand.md` §1).
pub const MAX_ORDER_ID: usize = 64;

/// Reasons that are documented for files (`docs/vendor/brand.md` §5 refers to §2). `RESET` and `APPROVED` are left out,
/// because they do not reverse anything. `RETRACTION` is not documented for files.
pub const REASONS: [&str; 13] = [
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
    /// Without it the row is skipped.
    pub action_tracker_id: Option<String>,
    pub order_id: OrderId,
    pub reason: String,
}

/// Why a row is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    NoActionTracker,
    NoOrderId,
    OrderIdTooLong,
    /// The reason is neither documented nor configured.
    UnknownReason,
    /// A cell has a comma, a quote, a line break or surrounding white space. The vendor does not publish how it reads those.
    NotPlain,
    /// An earlier row has the same order and action tracker.
    Repeated,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedRow {
    /// Index of the reversal.
    pub index: usize,
    pub why: SkipReason,
    /// A lower-case sentence without a full stop.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReversalFile {
    pub name: String,
    pub text: String,
    /// Indexes of the reversals, in row order.
    pub written: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReversalFiles {
    /// Empty if every row was skipped.
    pub files: Vec<ReversalFile>,
    pub skipped: Vec<SkippedRow>,
}

/// `Batch_Mods_Reversals_2020_02_12.csv`
pub fn file_name(day: Date) -> String {
    format!("Batch_Mods_Reversals_{:04}_{:02}_{:02}.csv", day.year(), day.month(), day.day())
}

/// Splits the reversals into files of at most `most_rows` rows. File names after the first one of a day are numbered.
/// `own_reasons` are the configured reason codes; case matters.
pub fn build(reversals: &[Reversal], own_reasons: &[String], day: Date, most_rows: Option<usize>) -> ReversalFiles {
    let mut skipped = Vec::new();
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for (index, reversal) in reversals.iter().enumerate() {
        match row(reversal, own_reasons) {
            Ok((tracker, line)) if seen.insert((tracker, reversal.order_id.as_str())) => rows.push((index, line)),
            Ok(_) => {
                let message = "the same order and action tracker stand in an earlier row".to_owned();
                skipped.push(SkippedRow { index, why: SkipReason::Repeated, message });
            }
            Err((why, message)) => skipped.push(SkippedRow { index, why, message }),
        }
    }
    let first = file_name(day);
    let files = rows.chunks(most_rows.unwrap_or(usize::MAX).max(1)).enumerate().map(|(n, rows)| {
        let name = if n == 0 { first.clone() } else { first.replace(".csv", &format!("_{}.csv", n + 1)) };
        let mut text = format!("{HEADER}\n");
        for (_, line) in rows {
            text.push_str(line);
        }
        ReversalFile { name, text, written: rows.iter().map(|(index, _)| *index).collect() }
    });
    ReversalFiles { files: files.collect(), skipped }
}

fn row<'a>(reversal: &'a Reversal, own_reasons: &[String]) -> Result<(&'a str, String), (SkipReason, String)> {
    let Some(tracker) = reversal.action_tracker_id.as_deref().filter(|id| !id.trim().is_empty()) else {
        return Err((
            SkipReason::NoActionTracker,
            "no action tracker (event type) ID: the file cannot name the order".to_owned(),
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
            format!("the order ID has {length} characters, a file takes {MAX_ORDER_ID}: retract it by the API"),
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
                    "{what} {cell:?} needs quotes, and how the vendor reads those is not published: retract it by the API"
                ),
            ));
        }
    }
    Ok((tracker, format!("{tracker},{order},0,{reason}\n")))
}

/// Whether every CSV reader reads the cell the same way.
fn is_plain(cell: &str) -> bool {
    cell.trim() == cell && !cell.chars().any(|c| matches!(c, ',' | '"' | '\u{feff}') || c.is_control())
}

fn unknown_reason(reason: &str, own_reasons: &[String]) -> String {
    let known = REASONS.iter().copied().chain(own_reasons.iter().map(String::as_str));
    match known.into_iter().find(|known| fold(known) == fold(reason)) {
        Some(known) => format!("reason {reason:?} is not known, {known} is"),
        None => format!("reason {reason:?} is neither documented for files nor among your own codes"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    pub line: u64,
    pub action_tracker_id: Option<String>,
    pub action_id: Option<ActionId>,
    pub order_id: Option<OrderId>,
    pub amount: Option<String>,
    pub reason: Option<String>,
}

impl FileLine {
    pub fn is_reversal(&self) -> bool {
        let amount = self.amount.as_deref().map(super::amount::parse);
        matches!(amount, Some(Ok(Some(amount))) if amount.is_zero())
    }
}

pub fn read(name: &str, bytes: &[u8], most_rows: usize) -> Result<Vec<FileLine>> {
    let known = ["actionid", "actiontrackerid", "orderid", "oid", "amount", "reason"];
    let score = |cells: &[String]| cells.iter().filter(|cell| known.contains(&fold(cell).as_str())).count();
    let table = csv_table::read(name, &input::decode(name, bytes)?, most_rows, &score)?;
    let header: Vec<String> = table.header.iter().map(|cell| fold(cell)).collect();
    let place = |names: &[&str]| -> Result<Option<usize>> {
        let mut found = header.iter().enumerate().filter(|(_, cell)| names.contains(&cell.as_str())).map(|(n, _)| n);
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => Err(Error::new(
                Kind::Usage,
                format!(
                    "{name} has two columns for one thing: {:?} and {:?}",
                    table.header[first], table.header[second]
                ),
            )),
            (first, _) => Ok(first),
        }
    };
    let action = place(&["actionid"])?;
    let tracker = place(&["actiontrackerid"])?;
    let order = place(&["orderid", "oid"])?;
    let (amount, reason) = (place(&["amount"])?, place(&["reason"])?);
    if action.is_none() && (order.is_none() || tracker.is_none()) {
        return Err(Error::new(
            Kind::Usage,
            format!("{name} is no reversal file: it names neither orders nor actions"),
        )
        .hint(format!("its header is {HEADER}, or has ActionId in place of the first two")));
    }
    let lines = table.rows.into_iter().map(|(line, cells)| {
        let cell = |place: Option<usize>| cells.get(place?).filter(|text| !text.is_empty()).cloned();
        FileLine {
            line,
            action_tracker_id: cell(tracker),
            action_id: cell(action).map(ActionId::new),
            order_id: cell(order).map(OrderId::new),
            amount: cell(amount),
            reason: cell(reason),
        }
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reversal(tracker: &str, order: &str, reason: &str) -> Reversal {
        let tracker = (!tracker.is_empty()).then(|| tracker.to_owned());
        Reversal { action_tracker_id: tracker, order_id: OrderId::new(order), reason: reason.to_owned() }
    }

    fn day() -> Date {
        jiff::civil::date(2020, 2, 12)
    }

    #[test]
    fn the_guides_example_comes_out_byte_for_byte() {
        let list = [reversal("16027", "O7427540", "ITEM_RETURNED"), reversal("16027", "O8306075", "OTHER")];
        let made = build(&list, &[], day(), None);
        assert_eq!(made.files.len(), 1);
        assert_eq!(made.files[0].name, "Batch_Mods_Reversals_2020_02_12.csv");
        assert_eq!(
            made.files[0].text,
            "ActionTrackerId,OrderId,Amount,Reason\n16027,O7427540,0,ITEM_RETURNED\n16027,O8306075,0,OTHER\n"
        );
        assert_eq!((made.files[0].written.as_slice(), made.skipped.len()), ([0, 1].as_slice(), 0));
    }

    #[test]
    fn what_cannot_be_written_comes_back_with_the_reason() {
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
            let made = build(&[reversal(tracker, order, reason)], &own, day(), None);
            assert_eq!(made.skipped.first().map(|row| row.why), why, "{tracker:?} {order:?} {reason:?}");
            assert_eq!(made.files.is_empty(), why.is_some());
        }
        let made = build(&[reversal("7", "1", "item returned")], &[], day(), None);
        assert!(made.skipped[0].message.contains("ITEM_RETURNED"));
    }

    #[test]
    fn one_order_is_reversed_once_and_large_lists_are_split() {
        let list: Vec<Reversal> = ["1", "2", "1", "3"].iter().map(|order| reversal("7", order, "OTHER")).collect();
        let made = build(&list, &[], day(), Some(2));
        let files: Vec<(&str, &[usize])> =
            made.files.iter().map(|it| (it.name.as_str(), it.written.as_slice())).collect();
        assert_eq!(
            files,
            [
                ("Batch_Mods_Reversals_2020_02_12.csv", [0, 1].as_slice()),
                ("Batch_Mods_Reversals_2020_02_12_2.csv", [3].as_slice())
            ]
        );
        assert_eq!((made.skipped[0].index, made.skipped[0].why), (2, SkipReason::Repeated));
        assert_eq!(build(&[], &[], day(), Some(0)).files, []);
    }

    #[test]
    fn every_published_spelling_is_read() {
        for header in [
            "ActionTrackerId,OrderId,Amount,Reason",
            "ActionTrackerID,Oid,Amount,Reason",
            "actiontrackerid,OID,amount,REASON",
        ] {
            let lines =
                read("x.csv", format!("{header}\r\n7,O1,0.00,OTHER\r\n7,O2,5,OTHER\r\n").as_bytes(), 9).expect(header);
            assert_eq!((lines.len(), lines[0].line, lines[1].line), (2, 2, 3));
            assert_eq!(lines[0].order_id, Some(OrderId::new("O1")));
            assert_eq!(lines[0].action_tracker_id.as_deref(), Some("7"));
            assert_eq!((lines[0].is_reversal(), lines[1].is_reversal()), (true, false));
        }
        let lines = read("x.csv", b"ActionID,Amount,Reason\n1.2.3,0,OTHER\n", 9).expect("actions");
        assert_eq!(lines[0].action_id, Some(ActionId::new("1.2.3")));
        for text in ["OrderId,Amount\n", "ActionTrackerId,OrderId,Oid\n", "x\n", ""] {
            assert_eq!(read("x.csv", text.as_bytes(), 9).expect_err(text).kind, Kind::Usage);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(orders in prop::collection::vec("\\PC{0,70}", 0..20)) {
            let list: Vec<Reversal> = orders.iter().map(|order| reversal("7", order, "OTHER")).collect();
            let made = build(&list, &[], day(), None);
            let written: Vec<usize> = made.files.iter().flat_map(|file| file.written.clone()).collect();
            prop_assert_eq!(written.len() + made.skipped.len(), orders.len());
            let read = match made.files.first() {
                Some(file) => read("x.csv", file.text.as_bytes(), 100).expect("a file"),
                None => Vec::new(),
            };
            let read: Vec<&str> = read.iter().filter_map(|line| line.order_id.as_ref()).map(OrderId::as_str).collect();
            prop_assert_eq!(read, written.iter().map(|n| orders[*n].as_str()).collect::<Vec<_>>());
        }
    }
}
