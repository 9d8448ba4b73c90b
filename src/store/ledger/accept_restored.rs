//! Accepts a restored ledger, so that recoup may send from this ledger again.
//!
//! One transaction records each submission of the vendor that the ledger lacks as a sent retraction, removes the mark
//! of a copy, and adds an event with the person and the submissions. No other code removes the mark.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Begun, Entry, First, Ledger, NewRetraction, State, insert, insert_event, supersede};
use crate::error::{Error, Kind, Result};
use crate::store::db::{DbError, Tx};

/// The mark that `recoup backup` writes into a copy of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyOf {
    pub ledger_id: String,
    /// The number of the original ledger's newest event at the time of the copy.
    pub sequence: i64,
    /// The hash of the original ledger's newest event at the time of the copy.
    pub hash: String,
    /// When the copy of the ledger was made, RFC 3339.
    pub at: String,
}

/// A reversal or modification that the vendor has received but the ledger lacks.
#[derive(Debug, Clone)]
pub struct Found {
    pub retraction: NewRetraction,
    /// JSON with the batch ID, the time of arrival, and the request.
    pub details: Value,
}

const FOUND: &str = "found at the vendor; sent from a ledger that was lost";

impl Ledger {
    /// Accepts this ledger for further use. Returns the number of each new retraction, in the order of `found`. The
    /// number is `None` for a retraction that the ledger already has.
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
            if let Some(server) = tx.server_instance()? {
                set_server(tx, &server)?;
            }
            let mut details = details.clone();
            details["added"] = json!(numbers.iter().flatten().collect::<Vec<_>>());
            insert_event(tx, &Entry::of_ledger("accepted", message, &details), actor, now)?;
            Ok(numbers)
        })
    }

    /// Fails if the ledger is on another PostgreSQL server than the server that it was created on or accepted on.
    pub(super) fn refuse_other_server(&self) -> Result<()> {
        self.conn.read(refuse_copy)
    }

    /// Returns the mark of a ledger copy made by `recoup backup`, or of a ledger that its PostgreSQL server does not
    /// know. recoup sends nothing from a copy until a person accepts it.
    pub fn copy_of(&self) -> Result<Option<CopyOf>> {
        self.conn.read(copy_of)
    }
}

fn copy_of(tx: &Tx<'_>) -> Result<Option<CopyOf>, DbError> {
    let mark = "SELECT value FROM identity WHERE key = 'copy_of'";
    // A mark that cannot be parsed must still prevent requests.
    let marked = tx.opt(mark, &[], |row| Ok(serde_json::from_str(row.get(0)?).unwrap_or_default()))?;
    if marked.is_some() {
        return Ok(marked);
    }
    other_server(tx)
}

/// The key in `identity` under which a ledger on PostgreSQL stores the identity of its server.
const SERVER: &str = "server";

/// Records the PostgreSQL server that the ledger belongs to.
pub(super) fn set_server(tx: &Tx<'_>, server: &str) -> Result<(), DbError> {
    let upsert =
        "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.run(upsert, &[&SERVER, &server]).map(drop)
}

/// Returns the mark of a ledger that is not on the PostgreSQL server that it belongs to. A promoted standby may lack
/// the newest events, and a restored backup lacks all events since the backup.
fn other_server(tx: &Tx<'_>) -> Result<Option<CopyOf>, DbError> {
    let Some(server) = tx.server_instance()? else { return Ok(None) };
    let known: Option<String> = tx.opt("SELECT value FROM identity WHERE key = ?1", &[&SERVER], |row| row.get(0))?;
    if known.as_deref() == Some(server.as_str()) {
        return Ok(None);
    }
    copy_as_of_now(tx).map(Some)
}

/// Returns the mark of a copy that has every event of this ledger.
fn copy_as_of_now(tx: &Tx<'_>) -> Result<CopyOf, DbError> {
    let newest = "SELECT at FROM events ORDER BY id DESC LIMIT 1";
    let at = tx.opt(newest, &[], |row| row.get(0))?.unwrap_or_default();
    let (sequence, hash) = super::chain::newest(tx)?;
    Ok(CopyOf { ledger_id: super::ledger_id(tx)?, sequence, hash: super::hex(&hash), at })
}

pub(super) fn mark_as_copy(tx: &Tx<'_>) -> Result<(), DbError> {
    let mark = serde_json::to_string(&copy_as_of_now(tx)?)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to write the mark of a copy: {error}")))?;
    let insert = "INSERT INTO identity (key, value) VALUES ('copy_of', ?1) ON CONFLICT (key) DO NOTHING";
    tx.run(insert, &[&mark]).map(drop)
}

/// Fails if this ledger is a copy that no person has accepted. A send from an unaccepted copy could repeat requests
/// that were sent after the backup.
pub(super) fn refuse_copy(tx: &Tx<'_>) -> Result<(), DbError> {
    let Some(of) = copy_of(tx)? else { return Ok(()) };
    Err(Error::new(
        Kind::Identity,
        format!("this ledger is a copy that was made at {}; what was sent since could be sent again", of.at),
    )
    .hint("run `recoup ledger accept`, which matches what the vendor has received since; nothing was sent")
    .into())
}
