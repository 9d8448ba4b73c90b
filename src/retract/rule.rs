//! Reads the retraction rule of each program before a send. If a program has no retraction rule, the vendor accepts a
//! reversal and takes no reward back.
//!
//! Each program rule costs one GraphQL request per hour, because the process and the index cache the answer. The next
//! command ignores a cached *no such rule*, because a new program rule must take effect at once. A program rule can
//! stop a send or add a warning. A program rule never overrides the stop of another check, and only the rewards prove a
//! retraction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Context;
use super::checks::{Check, Findings};
use super::proof::Snapshot;
use super::reward_fetch::LiveReward;
use crate::error::Result;
use crate::model::program_rule::{NotCompared, ProgramRule, RewardKey, RuleState, RuledProgram, RuledReward};
use crate::store::index::{Index, RuleRead};
use crate::vendor::Programs;

/// How long a cached reading of a program's rule is valid.
const HOLDS: SignedDuration = SignedDuration::from_hours(1);

/// The programs that this process has read, by ID.
#[derive(Debug, Default)]
pub struct KnownPrograms {
    read: Mutex<BTreeMap<String, (RuledProgram, Timestamp)>>,
    /// Lock that a task holds during the request. Therefore the concurrently planned rows of a file share one request.
    asking: tokio::sync::Mutex<()>,
}

impl KnownPrograms {
    fn read(&self) -> MutexGuard<'_, BTreeMap<String, (RuledProgram, Timestamp)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rule of each program, ordered by program ID.
    pub(super) fn rules(&self) -> Vec<ProgramRule> {
        self.read().values().map(|(program, at)| program.judge(&[], &said(*at))).collect()
    }

    fn get(&self, id: &str, now: Timestamp) -> Option<(RuledProgram, Timestamp)> {
        self.read().get(id).filter(|(_, at)| holds(*at, now)).cloned()
    }

    fn put(&self, program: RuledProgram, at: Timestamp) {
        self.read().insert(program.id.clone(), (program, at));
    }
}

/// Compares the rule of each program with the rewards to take back.
pub(super) async fn check<'a>(
    ctx: &Context<'_>,
    live: impl Iterator<Item = &'a LiveReward>,
    rewards: &[Snapshot],
    findings: &mut Findings,
) -> Result<Vec<ProgramRule>> {
    let is_wanted = |id: &str| {
        let mut wanted = rewards.iter().filter(|reward| reward.linked);
        wanted.any(|reward| reward.reward_id == id && (reward.is_outstanding() || reward.state == "partly_redeemed"))
    };
    let mut programs: BTreeMap<Option<String>, Vec<RuledReward>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for one in live {
        let reward = &one.extracted.reward;
        if is_wanted(reward.reward_id.as_str()) && seen.insert(reward.reward_id.clone()) {
            programs.entry(reward.program_id.clone()).or_default().push(ruled(one));
        }
    }
    let ids: Vec<String> = programs.keys().flatten().cloned().collect();
    let read = read(ctx, &ids).await?;
    let mut rules = Vec::new();
    for (id, rewards) in &programs {
        let known = id.as_ref().and_then(|id| read.iter().find(|(program, _)| program.id == *id));
        rules.push(match known {
            Some((program, at)) => program.judge(rewards, &said(*at)),
            None => RuledProgram::unread("", "its rewards name no program").judge(rewards, &said(ctx.clock.now())),
        });
    }
    for rule in &rules {
        match rule.state {
            RuleState::NoSuchRule => findings.stop(
                Check::NoRule,
                format!("{}; the vendor would accept the reversal, and the rewards would stay", rule.line()),
                "set the rule up under Engage → Program rules → Add Rule: trigger Friend refunds a purchase, the purchase \
                 event, the action to take; then try again",
            ),
            RuleState::FoundBut => findings.warn(
                Check::RuleLimits,
                match rule.left_out.as_slice() {
                    [] => rule.line(),
                    left_out => format!("{}; expected to stay: reward {}", rule.line(), left_out.join(", ")),
                },
                "look at the rule under Engage → Program rules",
            ),
            RuleState::Found | RuleState::NotReadable => {}
        }
    }
    Ok(rules)
}

/// Returns `true` if recoup found the rule of every program. A program that recoup could not read counts as a program
/// without a rule.
pub fn is_found(rules: &[ProgramRule]) -> bool {
    !rules.is_empty() && rules.iter().all(|rule| rule.state == RuleState::Found)
}

/// Returns `true` if a batch may skip the trial. recoup must have found the rule of every program, and compared
/// everything but the purchase event, which Get Rewards does not return.
pub fn may_skip_trial(rules: &[ProgramRule]) -> bool {
    let is_open = |rule: &ProgramRule| rule.not_compared.iter().any(|what| *what != NotCompared::PurchaseEvent);
    is_found(rules) && !rules.iter().any(is_open)
}

/// Returns the programs with their rules, from a reading within the last hour or from the vendor.
async fn read(ctx: &Context<'_>, ids: &[String]) -> Result<Vec<(RuledProgram, Timestamp)>> {
    let _asking = ctx.session.rules.asking.lock().await;
    let now = ctx.clock.now();
    let mut found: Vec<(RuledProgram, Timestamp)> =
        ids.iter().filter_map(|id| ctx.session.rules.get(id, now)).collect();
    let is_missing = |found: &[(RuledProgram, Timestamp)], id: &String| found.iter().all(|(known, _)| known.id != *id);
    let mut missing: Vec<String> = ids.iter().filter(|id| is_missing(&found, id)).cloned().collect();
    if missing.is_empty() {
        return Ok(found);
    }
    // If the index lacks a program or recoup cannot read the index, recoup requests the program from the vendor.
    let cached = ctx.read_index(|index| {
        let cached = |id: &String| kept(&index?.program_rule(id).ok()??, now);
        Ok(missing.iter().filter_map(cached).collect::<Vec<_>>())
    });
    for (program, at) in cached.unwrap_or_default() {
        ctx.session.rules.put(program.clone(), at);
        found.push((program, at));
    }
    missing.retain(|id| is_missing(&found, id));
    if missing.is_empty() {
        return Ok(found);
    }
    let (programs, is_kept) = match ctx.advocate.program_rules(Some(&missing)).await? {
        Programs::Read(programs) => (programs, true),
        Programs::NotReadable { why, passes } => {
            (missing.iter().map(|id| RuledProgram::unread(id, why.as_str())).collect(), !passes)
        }
    };
    if is_kept {
        ctx.cache_in_index(|index| store(index, &programs, now));
    }
    for program in programs {
        ctx.session.rules.put(program.clone(), now);
        found.push((program, now));
    }
    Ok(found)
}

/// Writes programs and their rules into the index, with the time of the reading.
pub fn store(index: &mut Index, programs: &[RuledProgram], read_at: Timestamp) -> Result<()> {
    let answer = |program: &RuledProgram| serde_json::to_string(program).unwrap_or_default();
    programs.iter().try_for_each(|program| index.put_program_rule(&program.id, &answer(program), read_at))
}

/// Returns the index's copy of a program's rule; `None` if the copy is too old or says *no such rule*.
fn kept(read: &RuleRead, now: Timestamp) -> Option<(RuledProgram, Timestamp)> {
    let program: RuledProgram = serde_json::from_str(&read.answer).ok()?;
    let is_missing = program.judge(&[], "").state == RuleState::NoSuchRule;
    (program.id == read.program_id && holds(read.read_at, now) && !is_missing).then_some((program, read.read_at))
}

fn holds(read_at: Timestamp, now: Timestamp) -> bool {
    read_at <= now && now.duration_since(read_at) < HOLDS
}

/// Returns the program rule's key and the event of a reward. Get Rewards returns no event.
fn ruled(live: &LiveReward) -> RuledReward {
    let raw: Value = serde_json::from_str(&live.raw).unwrap_or_default();
    let key = match raw.get("programRewardKey") {
        Some(Value::String(key)) => RewardKey::Named(key.clone()),
        Some(Value::Null) => RewardKey::None,
        _ => RewardKey::Unknown,
    };
    RuledReward {
        reward_id: live.extracted.reward.reward_id.as_str().to_owned(),
        key,
        event_key: raw["userEvent"]["key"].as_str().map(str::to_owned),
    }
}

fn said(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unnamed_purchase_event_lets_a_file_skip_the_trial() {
        let program = RuledProgram::unread("p", "not read");
        let rule = |not_compared: Vec<NotCompared>| ProgramRule {
            state: RuleState::Found,
            not_compared,
            ..program.judge(&[], "2026-11-30T12:00:00Z")
        };
        let key = NotCompared::RewardKey("r1".to_owned());
        for (not_compared, may_skip) in [
            (vec![], true),
            (vec![NotCompared::PurchaseEvent], true),
            (vec![NotCompared::PurchaseEvent, key], false),
            (vec![NotCompared::ProgramStatus], false),
            (vec![NotCompared::Other("the purchase event, or another".to_owned())], false),
        ] {
            assert_eq!(may_skip_trial(&[rule(not_compared.clone())]), may_skip, "{not_compared:?}");
        }
    }
}
