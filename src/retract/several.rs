//! Decides whether a person may send several orders in one step. Each of several orders also passes the checks of a
//! single retraction.
//!
//! The limits of a batch apply to the sum of several orders. Without a limit for the sum, a person could send twenty
//! orders from the page although a batch of twenty needs a second person. `several` does no I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::approval::Demand;
use super::batch::{Limits, TRIAL};
use super::receipt::{Entry, Receipt};
use super::rule;
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::store::ledger::Policy;

const AS_A_BATCH: &str = "ask a lead to upload these orders as a batch; nothing was sent";

/// Fails if the dry runs of several orders together exceed a limit. `trusted` contains the programs with a recent
/// confirmation.
pub fn check(receipts: &[&Receipt], policy: &Policy, limits: Limits, trusted: &BTreeSet<String>) -> Result<()> {
    let sends = |receipt: &Receipt| receipt.retractions.iter().any(would_send);
    let orders = receipts.iter().filter(|receipt| sends(receipt)).count() as u64;
    let entries = || receipts.iter().flat_map(|receipt| &receipt.retractions).filter(|entry| would_send(entry));
    let demand = Demand { orders, value: value(entries()), ..Demand::default() };
    // The approval policy's rules `always` and `overrides` concern single orders. Each order asks for its own approval.
    let of_sum = Policy { always: false, overrides: false, ..policy.clone() };
    if let Some(why) = demand.wants(&of_sum) {
        let message = format!("a second person must approve so much at once ({why})");
        return Err(Error::new(Kind::Refused, message).hint(AS_A_BATCH));
    }
    if orders > limits.count {
        let message = format!("{} at once are too many: the limit is {}", counted(orders, "order"), limits.count);
        return Err(Error::new(Kind::Refused, message).hint(AS_A_BATCH));
    }
    let over = demand.value.iter().find(|(_, worth)| u64::try_from(**worth).unwrap_or(0) > limits.value);
    if let Some((unit, worth)) = over {
        let message = format!("rewards of {worth} {unit} at once are too much: the limit is {}", limits.value);
        return Err(Error::new(Kind::Refused, message).hint(AS_A_BATCH));
    }
    let mut unproven: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries().filter(|entry| !rule::may_skip_trial(&entry.program_rules)) {
        // A receipt entry without a program counts as its own program.
        let programs: BTreeSet<&str> = entry.program_rules.iter().map(|rule| rule.program_id.as_str()).collect();
        let programs = if programs.is_empty() { BTreeSet::from([""]) } else { programs };
        for program in programs.into_iter().filter(|program| !trusted.contains(*program)) {
            *unproven.entry(program).or_default() += 1;
        }
    }
    if let Some((program, actions)) = unproven.into_iter().find(|(_, actions)| *actions > TRIAL) {
        let title = if program.is_empty() { "a program of no name".to_owned() } else { format!("program {program}") };
        let message = format!(
            "{} of {title} would be sent, its rule was not found without a flaw, and no retraction of it was confirmed in the \
             last 30 days",
            counted(actions as u64, "action")
        );
        return Err(Error::new(Kind::Refused, message)
            .hint(format!("choose {TRIAL} orders of it, and wait until one of them is confirmed; nothing was sent")));
    }
    Ok(())
}

fn would_send(entry: &Entry) -> bool {
    entry.state == "would_send"
}

/// The value of the rewards that are not cancelled, by unit.
fn value<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for reward in entries.flat_map(|entry| &entry.rewards).filter(|reward| reward.state != "cancelled") {
        let unit = reward.unit.clone().unwrap_or_else(|| "of unknown unit".to_owned());
        let sum = sums.entry(unit).or_default();
        *sum = sum.saturating_add(reward.assigned.unwrap_or(0).max(0));
    }
    sums
}
