//! Converts the ledger's events and retractions to CSV: one row for each event or retraction, and the same columns in
//! every version.
//!
//! A spreadsheet runs no cell of the CSV as a formula, and no cell contains a line break.

use std::borrow::Cow;

use crate::error::{Error, Kind, Result};
use crate::refunds::csv_injection::escape;
use crate::report::one_line;
use crate::retract::receipt::{Entry, RewardLine};
use crate::store::ledger::{Exported, Retraction};

const COLUMNS: [&str; 20] = [
    "event",
    "at",
    "retraction",
    "order_id",
    "action_id",
    "action_tracker_id",
    "program_id",
    "road",
    "attempt",
    "batch",
    "disposition",
    "reason",
    "ticket",
    "person",
    "host",
    "state",
    "kind",
    "message",
    "details",
    "hash",
];

pub(super) fn header() -> Result<String> {
    row(&COLUMNS.map(Cow::Borrowed))
}

pub(super) fn line(event: &Exported) -> Result<String> {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells: [String; 20] = [
        event.event.to_string(),
        event.at.clone(),
        number(event.retraction),
        text(&event.order_id),
        text(&event.action_id),
        text(&event.action_tracker_id),
        text(&event.program_id),
        text(&event.channel),
        number(event.attempt),
        text(&event.batch),
        text(&event.disposition),
        text(&event.reason),
        text(&event.ticket),
        event.person.clone(),
        event.host.clone(),
        text(&event.state),
        event.kind.clone(),
        event.message.clone(),
        event.details.to_string(),
        event.hash.clone(),
    ];
    safe_row(cells)
}

/// The columns of the history of retractions. The columns of the history contain no account.
const HISTORY_COLUMNS: [&str; 17] = [
    "retraction",
    "recorded_at",
    "order_id",
    "action_id",
    "action_tracker_id",
    "state",
    "last_event_at",
    "person",
    "approved_by",
    "ticket",
    "reason",
    "road",
    "disposition",
    "sent_at",
    "confirmed_at",
    "rewards",
    "worth",
];

/// Writes retractions with their receipts as CSV, one line for each retraction.
pub fn history<'a>(retractions: impl IntoIterator<Item = (&'a Retraction, &'a Entry)>) -> Result<String> {
    let mut lines = vec![row(&HISTORY_COLUMNS.map(Cow::Borrowed))?];
    for (retraction, entry) in retractions {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let rewards: Vec<&str> = entry.rewards.iter().map(|reward| reward.reward_id.as_str()).collect();
        let worth: Vec<String> = entry.rewards.iter().map(worth).filter(|worth| !worth.is_empty()).collect();
        lines.push(safe_row([
            retraction.id.to_string(),
            retraction.created_at.clone(),
            retraction.order_id.to_string(),
            text(&entry.action_id),
            text(&entry.action_tracker_id),
            retraction.state.as_str().to_owned(),
            retraction.events.last().map(|event| event.at.clone()).unwrap_or_default(),
            retraction.person.clone(),
            text(&entry.approved_by),
            text(&retraction.ticket),
            text(&retraction.reason),
            retraction.channel.as_str().to_owned(),
            retraction.disposition.clone(),
            text(&entry.sent_at),
            text(&entry.confirmed_at),
            rewards.join(" "),
            worth.join("; "),
        ])?);
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// Formats the amount of a reward with its unit and currency as the vendor writes them, such as `6300 CENTS USD`.
fn worth(reward: &RewardLine) -> String {
    let Some(number) = reward.assigned else { return String::new() };
    let parts = [Some(number.to_string()), reward.unit.clone(), reward.currency.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Writes a CSV row in which a spreadsheet runs no cell as a formula.
fn safe_row<const N: usize>(cells: [String; N]) -> Result<String> {
    row(&cells.map(|cell| Cow::Owned(escape(&one_line(&cell)).into_owned())))
}

fn row(cells: &[Cow<'_, str>]) -> Result<String> {
    let failed = |cause: String| Error::new(Kind::Failed, format!("failed to write CSV: {cause}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(|error| failed(error.to_string()))?;
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_every_column_and_is_quoted_where_it_must_be() {
        let event = Exported {
            event: 7,
            at: "2026-01-01T00:00:00.000Z".into(),
            retraction: None,
            order_id: Some("=HYPERLINK(\"x\"),1".into()),
            action_id: None,
            action_tracker_id: None,
            program_id: None,
            channel: None,
            attempt: None,
            batch: None,
            disposition: None,
            reason: Some("two\nlines;=1+1".into()),
            ticket: None,
            person: "ann".into(),
            host: "desk".into(),
            state: None,
            kind: "note".into(),
            message: String::new(),
            details: serde_json::json!({"a": "b"}),
            hash: "00".into(),
        };
        let text = format!("{}\n{}\n", header().expect("a row"), line(&event).expect("a row"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let read: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
        assert_eq!((reader.headers().expect("names").len(), read.len(), read[0].len()), (20, 1, 20));
        assert_eq!((&read[0][3], &read[0][11]), ("'=HYPERLINK(\"x\"),1", "two\\nlines;'=1+1"));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(&read[0][18], r#"{"a":"b"}"#);
    }
}
