//! Updates an answer with reward states in the ledger that are newer than the index.
//!
//! A retraction reads its rewards and records their states in the ledger first. The index may lack the newest reward
//! states, because it is a cache: it was busy, restored, or crawled before.

use jiff::Timestamp;

use super::Answer;
use crate::error::Result;
use crate::model::{RewardId, RewardState};
use crate::store::ledger::Ledger;

/// Replaces the state of each reward by the ledger's state if the ledger's reading is newer.
pub fn update_from_ledger(answers: &mut [Answer], ledger: Option<&Ledger>) -> Result<()> {
    let rewards: Vec<RewardId> =
        answers.iter().flat_map(|answer| &answer.matches).map(|found| found.reward_id.clone()).collect();
    let Some(ledger) = ledger.filter(|_| !rewards.is_empty()) else { return Ok(()) };
    let retractions = ledger.of_rewards(&rewards)?;
    for found in answers.iter_mut().flat_map(|answer| &mut answer.matches) {
        let readings = retractions.iter().filter_map(|one| {
            let (state, at) = one.newest_reading(found.reward_id.as_str())?;
            Some((at.parse::<Timestamp>().ok()?, state))
        });
        let Some((at, state)) = readings.max_by_key(|(at, _)| *at) else { continue };
        if found.read_at.parse::<Timestamp>().is_ok_and(|read_at| read_at >= at) {
            continue;
        }
        // A state that is no `RewardState` means that the vendor no longer shows the reward.
        match RewardState::named(state) {
            Some(state) => (found.state, found.gone) = (state, false),
            None => found.gone = true,
        }
        found.read_at = at.to_string();
    }
    Ok(())
}
