//! The fingerprint of a plan. A person confirms one fingerprint. The confirmation allows no plan with another
//! fingerprint.
//!
//! Two plans have the same fingerprint if they have the same actions, rewards, reward states, findings and code. A
//! person would decide the same about two plans with one fingerprint. The fingerprint of a plan covers everything that
//! recoup would send. The fingerprint of a plan excludes ages and coverage, because they change every minute.
//! `plan_fingerprint` does no I/O.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::Options;
use super::checks::Finding;
use super::plan::{ActionPlan, Plan, Step};
use super::proof::Snapshot;
use crate::model::hex;

/// Number of bytes of the SHA-256 hash in a fingerprint. The fingerprint identifies a plan and is not a signature.
const KEPT: usize = 16;

/// Returns the plan's fingerprint in hexadecimal.
pub(super) fn name(plan: &Plan, options: &Options) -> String {
    let mut actions: Vec<Value> = plan.actions.iter().map(action).collect();
    actions.sort_by_key(Value::to_string);
    let whole = json!({
        "order_id": plan.order_id,
        "disposition": options.disposition,
        "channel": options.channel,
        "actions": actions,
    });
    short_hash(&whole.to_string())
}

pub(super) fn short_hash(text: &str) -> String {
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..KEPT])
}

fn action(action: &ActionPlan) -> Value {
    let step = match &action.step {
        Step::Send => json!("send"),
        Step::Follow(retraction) => json!(["follow", retraction.id]),
        Step::AlreadyCancelled => json!("already cancelled"),
        Step::Stop => json!("stop"),
    };
    let mut findings: Vec<Value> = action.findings.list().iter().map(finding).collect();
    findings.sort_by_key(Value::to_string);
    // The plan's fingerprint ignores which API returned a reward, because that does not change a person's decision.
    let shown = |reward: &Snapshot| json!(Snapshot { by_graphql: false, ..reward.clone() });
    let mut rewards: Vec<Value> = action.rewards.iter().map(shown).collect();
    rewards.sort_by_key(Value::to_string);
    json!({
        "target": action.target.key(),
        "step": step,
        "rewards": rewards,
        "findings": findings,
        "again": action.again.as_ref().map(|again| again.attempts.len()),
    })
}

fn finding(finding: &Finding) -> Value {
    json!([finding.check, finding.verdict, finding.overridden])
}
