//! Exports the ledger event by event, for audits with other tools. The export never writes to the ledger.
//!
//! Each exported event contains the fields of its retraction, so that every line is complete. By default, the export
//! has commitments in place of account and user IDs, because the IDs are often e-mail addresses and an export leaves
//! the machine.

use serde::Serialize;
use serde_json::Value;

use super::{Ledger, hex, redaction};
use crate::error::Result;
use crate::store::db::{DbError, Row, Tx};

/// The form of the account and user IDs in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonalIds {
    /// The export contains the ledger's commitments in place of the IDs.
    Redacted,
    /// The export contains the IDs, except those of forgotten accounts.
    Shown,
}

/// An exported event, with the fields of its retraction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The number of the event.
    pub event: i64,
    /// The time of the event, RFC 3339 in UTC.
    pub at: String,
    /// The number of the retraction; `null` if the event concerns the ledger as a whole.
    pub retraction: Option<i64>,
    pub order_id: Option<String>,
    pub action_id: Option<String>,
    /// The action tracker, present only if the retraction has no ActionId.
    pub action_tracker_id: Option<String>,
    /// The program of the rewards; `null` if the rewards have no program.
    pub program_id: Option<String>,
    /// The channel of the request: `reversal`, `modification`, `file` or `reward`.
    #[serde(rename = "road")]
    pub channel: Option<String>,
    /// The number of the attempt: 1 for the first attempt, and 1 more for each resend.
    pub attempt: Option<i64>,
    pub batch: Option<String>,
    /// The disposition code sent to the vendor.
    pub disposition: Option<String>,
    /// The reason in the words of the person who started the retraction.
    pub reason: Option<String>,
    pub ticket: Option<String>,
    /// The user who ran the command that wrote the event.
    pub person: String,
    /// The machine of the user who ran the command.
    pub host: String,
    /// The new state of the retraction; `null` if the event does not change the state.
    pub state: Option<String>,
    /// The kind of the event: `state`, or the kind of a note.
    pub kind: String,
    pub message: String,
    /// JSON with the request, the response, and the readings.
    pub details: Value,
    /// The hash of the chain up to this event, in hexadecimal.
    pub hash: String,
}

/// The number of events that the export reads at once.
const PAGE: i64 = 500;

impl Ledger {
    /// Exports every event in order, up to the newest one at the time of the call. Returns the number of exported
    /// events.
    ///
    /// Reads one page of events at a time and calls `each` between two reads. If one read transaction spanned all
    /// events, a slow `each`, for example a pager, would block requests to the vendor. Events never change, so the
    /// pages of the export are consistent.
    pub fn each_event(&self, ids: PersonalIds, mut each: impl FnMut(Exported) -> Result<()>) -> Result<u64> {
        let newest = self.head()?.sequence;
        let (mut last, mut count) = (0, 0);
        loop {
            let page = self.conn.read(|tx| page(tx, last, newest, ids))?;
            let Some(end) = page.last() else { return Ok(count) };
            last = end.event;
            for event in page {
                each(event)?;
                count += 1;
            }
        }
    }
}

fn page(tx: &Tx<'_>, after: i64, newest: i64, ids: PersonalIds) -> Result<Vec<Exported>, DbError> {
    tx.rows(
        "SELECT e.id, e.at, e.retraction_id, r.order_id, r.action_id, r.action_tracker_id, r.program_id, r.road,
             r.attempt, r.batch, r.disposition, r.reason, r.ticket, e.person, e.host, e.state, e.kind, e.message,
             e.details, e.hash
         FROM events e LEFT JOIN retractions r ON r.id = e.retraction_id
         WHERE e.id > ?1 AND e.id <= ?2 ORDER BY e.id LIMIT ?3",
        &[&after, &newest, &PAGE],
        |row| exported(tx, row, ids),
    )
}

fn exported(tx: &Tx<'_>, row: &Row<'_>, ids: PersonalIds) -> Result<Exported, DbError> {
    let reason: Option<&str> = row.get(11)?;
    let details: &str = row.get(18)?;
    // The export contains damaged details unchanged, because an audit must not stop at damaged details.
    let details = serde_json::from_str(details).unwrap_or_else(|_damaged| Value::String(details.to_owned()));
    Ok(Exported {
        event: row.get(0)?,
        at: row.get(1)?,
        retraction: row.get(2)?,
        order_id: row.get(3)?,
        action_id: row.get(4)?,
        action_tracker_id: row.get(5)?,
        program_id: row.get(6)?,
        channel: row.get(7)?,
        attempt: row.get(8)?,
        batch: row.get(9)?,
        disposition: row.get(10)?,
        reason: reason.map(|reason| redaction::restore_text(tx, reason)).transpose()?,
        ticket: row.get(12)?,
        person: row.get(13)?,
        host: row.get(14)?,
        state: row.get(15)?,
        kind: row.get(16)?,
        message: row.get(17)?,
        details: match ids {
            PersonalIds::Shown => redaction::restore(tx, &details)?,
            PersonalIds::Redacted => redaction::restore_reasons(tx, &details)?,
        },
        hash: hex(row.get(19)?),
    })
}
