//! Returns the indexed state of rewards, for comparison with another list of rewards.

use jiff::Timestamp;

use super::links::links_of;
use super::lookups::indexed;
use super::{Index, IndexedReward, RunKey, moment};
use crate::error::Result;
use crate::model::RewardId;

/// A reward in the state of its last reading.
#[derive(Debug, Clone)]
pub struct IndexedSnapshot {
    pub indexed: IndexedReward,
    /// The start of the run that read the reward, which is earlier than the reading.
    pub began_at: Timestamp,
}

impl Index {
    /// Returns the snapshots of rewards that this run, or a run that it refreshes, has read. Leaves out readings of
    /// older runs, because an older run's source may use another clock.
    pub fn snapshots(&self, run: RunKey, rewards: &[RewardId]) -> Result<Vec<IndexedSnapshot>> {
        self.conn.read(|tx| {
            let mut snapshots = Vec::with_capacity(rewards.len());
            for reward in rewards {
                let found: Option<(i64, i64)> = tx.opt(
                    "SELECT rewards.id, runs.started_at FROM rewards JOIN runs ON runs.id = read_run
                     WHERE reward_id = ?1 AND read_run >= (SELECT base FROM runs WHERE id = ?2)",
                    &[reward, &run.0],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )?;
                if let Some((row, began_at)) = found {
                    let indexed = indexed(tx, row, &links_of(tx, row)?)?;
                    snapshots.push(IndexedSnapshot { indexed, began_at: moment(began_at) });
                }
            }
            Ok(snapshots)
        })
    }
}
