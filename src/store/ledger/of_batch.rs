//! Returns the present states of a batch's retractions, without their events. This module never writes to the ledger.

use super::read::STATE_OF_R;
use super::rows::state_of;
use super::{Ledger, State};
use crate::error::Result;
use crate::store::db::{DbError, Row, ToValue};

/// One retraction in its present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateLine {
    pub id: i64,
    pub order_id: String,
    /// The ActionId, or the action tracker if the request had no ActionId.
    pub action: String,
    pub state: State,
    /// The batch that sent the retraction; `None` if no batch sent it.
    pub batch: Option<String>,
}

impl Ledger {
    /// Returns the retractions of a batch of the service, oldest first. A batch may have thousands of retractions, so
    /// this function does not read their events.
    pub fn states_of_batch(&self, batch: &str) -> Result<Vec<StateLine>> {
        self.state_lines("WHERE r.batch = ?1", &[&batch])
    }

    /// Returns the present state of a retraction; `None` if the ledger does not have it.
    pub fn state_line(&self, id: i64) -> Result<Option<StateLine>> {
        Ok(self.state_lines("WHERE r.id = ?1", &[&id])?.pop())
    }

    /// Returns the later attempts on the target of a retraction, oldest first. Any of them may be a resend on another way than
    /// the batch.
    pub fn later_attempts(&self, id: i64) -> Result<Vec<StateLine>> {
        self.state_lines("WHERE r.id > ?1 AND r.target = (SELECT target FROM retractions WHERE id = ?1)", &[&id])
    }

    fn state_lines(&self, filter: &str, args: &[&dyn ToValue]) -> Result<Vec<StateLine>> {
        let select = format!(
            "SELECT r.id, r.order_id, coalesce(r.action_id, r.action_tracker_id, ''), {STATE_OF_R}, r.batch
             FROM retractions r {filter} ORDER BY r.id"
        );
        self.conn.read(|tx| tx.rows(&select, args, state_line))
    }
}

fn state_line(row: &Row<'_>) -> Result<StateLine, DbError> {
    Ok(StateLine {
        id: row.get(0)?,
        order_id: row.get(1)?,
        action: row.get(2)?,
        state: state_of(row, 3)?,
        batch: row.get(4)?,
    })
}
