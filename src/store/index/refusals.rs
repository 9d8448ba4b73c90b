//! Commands whose credentials the vendor has refused. `recoup status` reports the refused commands.

use jiff::Timestamp;
use serde::Serialize;

use super::{Index, IndexReader, moment};
use crate::error::Result;

/// A command whose credentials the vendor has refused and not accepted since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Refusal {
    /// `crawl`, `retract` or `verify`.
    pub command: String,
    /// The time of the refusal, RFC 3339.
    pub at: String,
    pub message: String,
}

impl Index {
    /// Records that the vendor refused the credentials of a command. If `message` is `None`, the vendor has accepted
    /// the credentials, and the record is deleted.
    pub fn remember_refusal(&mut self, command: &str, message: Option<&str>, at: Timestamp) -> Result<()> {
        self.conn.write(|tx| {
            match message {
                Some(message) => tx.run(
                    "INSERT INTO refusals (command, at, message) VALUES (?1, ?2, ?3)
                     ON CONFLICT (command) DO UPDATE SET at = excluded.at, message = excluded.message",
                    &[&command, &at.as_millisecond(), &message],
                )?,
                None => tx.run("DELETE FROM refusals WHERE command = ?1", &[&command])?,
            };
            Ok(())
        })
    }
}

impl IndexReader {
    /// Returns all commands with refused credentials, ordered by command.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        self.conn.read(|tx| {
            tx.rows("SELECT command, at, message FROM refusals ORDER BY command", &[], |row| {
                Ok(Refusal { command: row.get(0)?, at: moment(row.get(1)?).to_string(), message: row.get(2)? })
            })
        })
    }
}
