//! Makes a restored ledger one that may send again, in one transaction.
//!
//! What the vendor has received and this ledger does not know is recorded as sent, the mark of a copy is removed, and an event
//! says who accepted what. Nothing else removes the mark.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Begun, Entry, First, Ledger, NewRetraction, State, insert, insert_event, supersede};
use crate::error::{Error, Kind, Result};
use crate::store::db::{DbError, Tx};

/// The mark in a copy that `recoup backup` made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyOf {
    pub ledger_id: String,
    /// The newest event of the original at that time.
    pub sequence: i64,
    /// The hash of that event.
    pub hash: String,
    /// When the copy was made, RFC 3339.
    pub at: String,
}

/// A reversal or a modification that the vendor has received and this ledger does not know.
#[derive(Debug, Clone)]
pub struct Found {
    pub retraction: NewRetraction,
    /// Batch ID, when it arrived, what was sent.
    pub details: Value,
}

const FOUND: &str = "found at the vendor; sent from a ledger that was lost";

impl Ledger {
    /// Accepts this ledger as the one to continue with. Gives the number of each of `found`; `None` if the ledger knew it.
    pub fn accept_restored(
        &self,
        found: &[Found],
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Vec<Option<i64>>> {
        self.transact(|tx, actor| {
            let mut numbers = Vec::with_capacity(found.len());
            for one in found {
                let first = First { state: State::Queued, message: FOUND, details: &one.details };
                numbers.push(match insert(tx, &one.retraction, &first, actor, now)? {
                    Begun::Written(id) => {
                        supersede(tx, id, one.retraction.channel, actor, now)?;
                        Some(id)
                    }
                    Begun::Refused(..) => None,
                });
            }
            tx.run("DELETE FROM identity WHERE key = 'copy_of'", &[])?;
            let mut details = details.clone();
            details["added"] = json!(numbers.iter().flatten().collect::<Vec<_>>());
            insert_event(tx, &Entry::of_ledger("accepted", message, &details), actor, now)?;
            Ok(numbers)
        })
    }

    /// The mark of a copy made by `recoup backup`. Nothing is sent from a copy until it is accepted.
    pub fn copy_of(&self) -> Result<Option<CopyOf>> {
        self.conn.read(copy_of)
    }
}

fn copy_of(tx: &Tx<'_>) -> Result<Option<CopyOf>, DbError> {
    let mark = "SELECT value FROM identity WHERE key = 'copy_of'";
    // A mark that cannot be parsed is still a mark.
    tx.opt(mark, &[], |row| Ok(serde_json::from_str(row.get(0)?).unwrap_or_default()))
}

/// Fails if this file is a copy that was not accepted: what was sent since could be sent again.
pub(super) fn refuse_copy(tx: &Tx<'_>) -> Result<(), DbError> {
    let Some(of) = copy_of(tx)? else { return Ok(()) };
    Err(Error::new(
        Kind::Identity,
        format!("this ledger is a copy that was made at {}; what was sent since could be sent again", of.at),
    )
    .hint("run `recoup ledger accept`, which matches what the vendor has received since; nothing was sent")
    .into())
}
