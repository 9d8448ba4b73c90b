//! The marks of a move, as JSON in the table `identity` of each store.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::store::db::{DbError, Tx};

/// The key of the mark in each store of the source. The mark names the destination; nothing changes the store after it.
pub(super) const MOVED_TO: &str = "moved_to";
/// The key of the mark in each store of the destination until the move is complete.
pub(super) const MOVING_FROM: &str = "moving_from";
/// The key of the mark in the ledger of the destination after the move is complete.
pub(super) const MOVED_FROM: &str = "moved_from";

/// The marks of one move have the same ID. No mark has a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub id: String,
    /// The ledger that moves.
    pub ledger_id: String,
    /// The index of the other side, as it is shown to people.
    pub place: String,
    /// When the move began, RFC 3339.
    pub at: String,
    /// The move was given up, and must never become complete.
    #[serde(default)]
    pub is_abandoned: bool,
    /// The destination was about to become complete. Only the mark of the source has it.
    #[serde(default)]
    pub is_completing: bool,
}

impl Mark {
    pub fn read(tx: &Tx<'_>, key: &str) -> Result<Option<Self>, DbError> {
        let text: Option<String> = tx.opt("SELECT value FROM identity WHERE key = ?1", &[&key], |row| row.get(0))?;
        let parse = |text: String| {
            serde_json::from_str(&text).map_err(|_cause| DbError::Damaged("the mark of a move is damaged".to_owned()))
        };
        text.map(parse).transpose()
    }

    pub fn write(&self, tx: &Tx<'_>, key: &str) -> Result<(), DbError> {
        let upsert =
            "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        tx.run(upsert, &[&key, &self.text()?]).map(drop)
    }

    pub fn remove(tx: &Tx<'_>, key: &str) -> Result<(), DbError> {
        tx.run("DELETE FROM identity WHERE key = ?1", &[&key]).map(drop)
    }

    fn text(&self) -> Result<String, DbError> {
        let text = serde_json::to_string(self);
        text.map_err(|error| Error::new(Kind::Failed, format!("failed to write the mark of a move: {error}")).into())
    }
}

/// Returns the error of a store that has moved.
pub(super) fn moved(mark: &Mark) -> Error {
    let Mark { place, at, .. } = mark;
    Error::new(Kind::Identity, format!("these stores were moved to {place} at {at}; nothing was sent"))
        .hint("set RECOUP_DATABASE to that place; `recoup move --undo` gives up a move that is not complete")
}

/// Fails if the store has moved, or if it is the incomplete destination of a move.
pub fn refuse_moved(tx: &Tx<'_>) -> Result<(), DbError> {
    let marks = "SELECT key FROM identity WHERE key IN ('moved_to', 'moving_from')";
    for key in tx.rows(marks, &[], |row| row.get::<String>(0))? {
        let Some(mark) = Mark::read(tx, &key)? else { continue };
        if key == MOVED_TO {
            return Err(moved(&mark).into());
        }
        let what = if mark.is_abandoned { "was given up" } else { "is not complete" };
        return Err(Error::new(
            Kind::Identity,
            format!("the move from {} to this place {what}; nothing was sent", mark.place),
        )
        .hint("run the same `recoup move` again to complete it, or use the place that the stores came from")
        .into());
    }
    Ok(())
}
