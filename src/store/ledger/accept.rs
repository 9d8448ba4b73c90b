//! What makes a restored ledger one that may send again, in one transaction.
//!
//! What the vendor has received and this ledger does not know is written down as sent, the mark of a copy goes, and an event
//! says who accepted what. This is the only place that takes the mark away, and it must never do so without that event.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Begun, Entry, First, Ledger, NewRetraction, State, insert, insert_event, supersede};
use crate::error::{Error, Kind, Result};

/// What a copy that `recoup backup` made says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyOf {
    /// The ledger's own name.
    pub ledger_id: String,
    /// Its newest event then.
    pub sequence: i64,
    /// The hash of that.
    pub hash: String,
    /// When the copy was made, RFC 3339.
    pub at: String,
}

/// A reversal or a modification that was found at the vendor.
#[derive(Debug, Clone)]
pub struct Found {
    /// The retraction that it becomes.
    pub retraction: NewRetraction,
    /// Batch ID, when it arrived, what was sent.
    pub details: Value,
}

/// What one that was taken over says of itself.
const FOUND: &str = "found at the vendor; sent from a ledger that was lost";

impl Ledger {
    /// Refuses where this file is a copy that nobody has accepted: what was sent since could be sent again.
    pub(super) fn may_send(&self) -> Result<()> {
        let Some(of) = self.copy_of()? else { return Ok(()) };
        Err(Error::new(
            Kind::Identity,
            format!("this ledger is a copy that was made at {}; what was sent since could be sent again", of.at),
        )
        .hint("run `recoup ledger accept`, which matches what the vendor has received since; nothing was sent"))
    }

    /// Takes this ledger as the one to go on with. Gives for each of `found` its number here; `None` where it was known after
    /// all.
    pub fn accept(&self, found: &[Found], message: &str, details: &Value, now: Timestamp) -> Result<Vec<Option<i64>>> {
        self.transact(|tx, actor| {
            let mut numbers = Vec::with_capacity(found.len());
            for one in found {
                let first = First { state: State::Queued, message: FOUND, details: &one.details };
                numbers.push(match insert(tx, &one.retraction, &first, actor, now)? {
                    Begun::Written(id) => {
                        supersede(tx, id, one.retraction.road, actor, now)?;
                        Some(id)
                    }
                    Begun::Refused(..) => None,
                });
            }
            take_mark(tx)?;
            let mut details = details.clone();
            details["added"] = json!(numbers.iter().flatten().collect::<Vec<_>>());
            let entry = Entry { retraction_id: None, state: None, kind: "accepted", message, details: &details };
            insert_event(tx, &entry, actor, now)?;
            Ok(numbers)
        })
    }

    /// Where this file is a copy made by `recoup backup`: what it is a copy of, and when. Nothing is sent from it until a
    /// person has accepted it.
    pub fn copy_of(&self) -> Result<Option<CopyOf>> {
        let text: Option<String> = self.read(|conn| {
            use rusqlite::OptionalExtension;
            conn.query_row("SELECT value FROM identity WHERE key = 'copy_of'", [], |row| row.get(0)).optional()
        })?;
        // A mark that cannot be read is a mark.
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
    }
}

fn take_mark(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM identity WHERE key = 'copy_of'", []).map(drop)
}
