//! Commands whose credentials the vendor has refused: a word left for whoever looks at the status.

use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;

use super::{Index, IndexReader, moment};
use crate::error::Result;

/// A command that was refused, and has not been accepted since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Refusal {
    /// `crawl`, `retract` or `verify`.
    pub command: String,
    /// When, RFC 3339.
    pub at: String,
    /// What the error said.
    pub message: String,
}

impl Index {
    /// Remembers that a command was refused; `None` forgets it, because it was accepted.
    pub fn remember_refusal(&mut self, command: &str, message: Option<&str>, at: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            match message {
                Some(message) => tx.execute(
                    "INSERT INTO refusals (command, at, message) VALUES (?1, ?2, ?3)
                     ON CONFLICT (command) DO UPDATE SET at = excluded.at, message = excluded.message",
                    params![command, at.as_millisecond(), message],
                )?,
                None => tx.execute("DELETE FROM refusals WHERE command = ?1", [command])?,
            };
            Ok(())
        })
    }
}

impl IndexReader {
    /// What was refused, in the order of commands.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        self.read(|conn| {
            conn.prepare("SELECT command, at, message FROM refusals ORDER BY command")?
                .query_map([], |row| {
                    Ok(Refusal { command: row.get(0)?, at: moment(row.get(1)?).to_string(), message: row.get(2)? })
                })?
                .collect()
        })
    }
}
