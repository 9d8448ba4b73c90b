//! What the index has of rewards that somebody else lists, and since when that holds.

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::answers::indexed;
use super::{Index, IndexedReward, RunKey, moment};
use crate::error::Result;
use crate::model::RewardId;

/// A reward as it was last read.
#[derive(Debug, Clone)]
pub struct Copied {
    /// The reward.
    pub indexed: IndexedReward,
    /// When the run began in which it was read: the reading is later than this.
    pub began_at: Timestamp,
}

impl Index {
    /// Those of these rewards that were read in a run or in one that it refreshes. What an older run has read is left out:
    /// another source may have read it, which says nothing about the clock by which it began.
    pub fn copies(&self, run: RunKey, rewards: &[RewardId]) -> Result<Vec<Copied>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT rewards.id, runs.started_at FROM rewards JOIN runs ON runs.id = read_run
                 WHERE reward_id = ?1 AND read_run >= (SELECT base FROM runs WHERE id = ?2)",
            )?;
            let mut copies = Vec::with_capacity(rewards.len());
            for reward in rewards {
                let found: Option<(i64, i64)> =
                    find.query_row((reward, run.0), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                if let Some((row, began_at)) = found {
                    copies.push(Copied { indexed: indexed(conn, row)?, began_at: moment(began_at) });
                }
            }
            Ok(copies)
        })
    }
}
