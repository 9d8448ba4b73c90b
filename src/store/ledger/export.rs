//! The whole ledger, event by event, for those who audit it with their own tools. Nothing here writes.
//!
//! Each event comes with the fields of its retraction, so that a line says everything by itself. Account and user IDs stay
//! commitments unless they were asked for: they are often e-mail addresses, and an export travels.

use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::Value;

use super::{Ledger, hex, seal};
use crate::error::Result;

/// Whose values an export shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Account and user IDs as the commitments that the ledger holds.
    Nobodys,
    /// Account and user IDs as they are, where they were not forgotten.
    Everybodys,
}

/// One event with its retraction's fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The number of the event.
    pub event: i64,
    /// When, RFC 3339, UTC.
    pub at: String,
    /// The retraction; `null` where it concerns the ledger as a whole.
    pub retraction: Option<i64>,
    /// The order.
    pub order_id: Option<String>,
    /// The action.
    pub action_id: Option<String>,
    /// The action tracker, where there was no ActionId.
    pub action_tracker_id: Option<String>,
    /// The program, where the rewards named one.
    pub program_id: Option<String>,
    /// `reversal`, `modification`, `file` or `reward`.
    pub road: Option<String>,
    /// 1 unless a person sent it again.
    pub attempt: Option<i64>,
    /// The batch it belongs to.
    pub batch: Option<String>,
    /// The code that went to the vendor.
    pub disposition: Option<String>,
    /// Why, in the words of whoever began it.
    pub reason: Option<String>,
    /// The ticket.
    pub ticket: Option<String>,
    /// Who wrote this event.
    pub person: String,
    /// On which machine.
    pub host: String,
    /// The state from here on; `null` where it stays as it was.
    pub state: Option<String>,
    /// `state`, or what else was written down.
    pub kind: String,
    /// A sentence.
    pub message: String,
    /// What was sent, what came back, what was read.
    pub details: Value,
    /// The hash of the chain up to here, in hexadecimal.
    pub hash: String,
}

/// Events that are read at a time.
const PAGE: i64 = 500;

impl Ledger {
    /// Every event in order, up to the newest one of now; gives how many there were.
    ///
    /// Reads a page at a time and hands it out between two reads: a slow `each`, a pager for example, would otherwise hold
    /// the ledger in its old state, and nothing could be sent meanwhile. Events never change, so the pages fit together.
    pub fn each_event(&self, whose: Whose, mut each: impl FnMut(Exported) -> Result<()>) -> Result<u64> {
        let newest = self.head()?.sequence;
        let (mut last, mut count) = (0, 0);
        loop {
            let page = self.read(|conn| page(conn, last, newest, whose))?;
            let Some(end) = page.last() else { return Ok(count) };
            last = end.event;
            for event in page {
                each(event)?;
                count += 1;
            }
        }
    }
}

fn page(conn: &Connection, after: i64, newest: i64, whose: Whose) -> rusqlite::Result<Vec<Exported>> {
    let mut select = conn.prepare_cached(
        "SELECT e.id, e.at, e.retraction_id, r.order_id, r.action_id, r.action_tracker_id, r.program_id, r.road,
             r.attempt, r.batch, r.disposition, r.reason, r.ticket, e.person, e.host, e.state, e.kind, e.message,
             e.details, e.hash
         FROM events e LEFT JOIN retractions r ON r.id = e.retraction_id
         WHERE e.id > ?1 AND e.id <= ?2 ORDER BY e.id LIMIT ?3",
    )?;
    select.query_map([after, newest, PAGE], |row| exported(conn, row, whose))?.collect()
}

fn exported(conn: &Connection, row: &Row<'_>, whose: Whose) -> rusqlite::Result<Exported> {
    let reason: Option<String> = row.get(11)?;
    let details = row.get_ref(18)?.as_str()?;
    // One that somebody has damaged is shown as it stands: an audit is the last place to stop at it.
    let details = serde_json::from_str(details).unwrap_or_else(|_damaged| Value::String(details.to_owned()));
    Ok(Exported {
        event: row.get(0)?,
        at: row.get(1)?,
        retraction: row.get(2)?,
        order_id: row.get(3)?,
        action_id: row.get(4)?,
        action_tracker_id: row.get(5)?,
        program_id: row.get(6)?,
        road: row.get(7)?,
        attempt: row.get(8)?,
        batch: row.get(9)?,
        disposition: row.get(10)?,
        reason: reason.map(|reason| seal::unseal_text(conn, &reason)).transpose()?,
        ticket: row.get(12)?,
        person: row.get(13)?,
        host: row.get(14)?,
        state: row.get(15)?,
        kind: row.get(16)?,
        message: row.get(17)?,
        details: match whose {
            Whose::Everybodys => seal::unseal(conn, &details)?,
            Whose::Nobodys => seal::unseal_reasons(conn, &details)?,
        },
        hash: hex(row.get_ref(19)?.as_blob()?),
    })
}
