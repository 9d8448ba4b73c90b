//! The name of a plan: what a person has seen and said yes to, so that nothing else is sent on that yes.
//!
//! Two plans have one name where a person would decide the same about them: the same actions with the same rewards in the same
//! state, the same findings, the same code. Ages and coverage are not in it, since they change with every minute. Pure. It must
//! never leave out what would be sent.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::Options;
use super::judge::Snapshot;
use super::plan::{ActionPlan, Plan, Step};
use super::verdict::Finding;
use crate::model::hex;

/// Bytes of the hash that are kept: a name and no seal.
const KEPT: usize = 16;

/// The name of this plan, in hexadecimal.
pub(super) fn name(plan: &Plan, options: &Options) -> String {
    let mut actions: Vec<Value> = plan.actions.iter().map(action).collect();
    actions.sort_by_key(Value::to_string);
    let whole = json!({
        "order_id": plan.order_id,
        "disposition": options.disposition,
        "road": options.road,
        "actions": actions,
    });
    short_name(&whole.to_string())
}

/// The name of any text.
pub(super) fn short_name(text: &str) -> String {
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
    // By which API a reward was read is nothing that a person decides about.
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
