//! Checks whether a send needs the approval of a second person, and whether that person approved exactly this send.
//!
//! The command line, the page and the API check the approval policy here, after the first person's confirmation and
//! before the send. An approval is valid for one plan with its reason and ticket. A change of the plan, reason or
//! ticket invalidates the approval. A person cannot approve their own request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Context;
use super::checks::Override;
use super::proof::Snapshot;
use crate::error::{Details, Error, Kind, Result};
use crate::model::counted;
use crate::store::ledger::{Approval, Ledger, NewApproval, Policy, Stage};

/// Key of a subject's items in the stored approval.
const ITEMS: &str = "items";

/// The properties of a send that determine whether the policy requires approval.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    pub orders: u64,
    /// The value of the rewards that can still be cancelled, by unit.
    pub value: BTreeMap<String, i64>,
    pub overrides: Vec<Override>,
    pub again: bool,
}

/// The exact request that an approval covers.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The fingerprint of the plan.
    pub name: String,
    /// The fingerprints of the plans of a batch's rows, with their reasons and tickets. An interrupted batch continues
    /// with its first approval.
    pub items: Vec<String>,
    /// The request as JSON, which the approver reads and the service carries out.
    pub json: Value,
    pub reason: Option<&'a str>,
    pub ticket: Option<&'a str>,
}

/// The approval of a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub id: i64,
    pub asked_by: String,
    pub by: String,
}

impl Granted {
    /// Returns the ledger note for each retraction that this approval covers.
    pub(super) fn note(&self) -> (&'static str, String, Value) {
        let Self { id, asked_by, by } = self;
        let details = json!({ "approval": id, "asked_by": asked_by, "approved_by": by });
        ("approved", format!("asked for by {asked_by}, approved by {by} (approval {id})"), details)
    }
}

impl Demand {
    pub fn of_rewards<'a>(rewards: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut value: BTreeMap<String, i64> = BTreeMap::new();
        for reward in rewards.into_iter().filter(|reward| reward.linked && reward.is_outstanding()) {
            let unit = reward.unit.clone().unwrap_or_else(|| "of unknown unit".to_owned());
            let sum = value.entry(unit).or_default();
            *sum = sum.saturating_add(reward.assigned.unwrap_or(0).max(0));
        }
        Self { orders: 1, value, ..Self::default() }
    }

    /// Returns why the policy requires a second person; `None` if the policy requires none.
    pub fn wants(&self, policy: &Policy) -> Option<String> {
        if policy.overrides && !self.overrides.is_empty() {
            let names: Vec<&str> = self.overrides.iter().map(|name| name.as_str()).collect();
            return Some(format!("it overrides {}", names.join(", ")));
        }
        if policy.overrides && self.again {
            return Some("it is sent again".to_owned());
        }
        if let Some(count) = policy.count.filter(|count| self.orders > *count) {
            return Some(format!("{}, more than the limit of {count}", counted(self.orders, "order")));
        }
        if let Some(limit) = policy.value {
            let over = self.value.iter().find(|(_, worth)| u64::try_from(**worth).unwrap_or(0) > limit);
            if let Some((unit, worth)) = over {
                return Some(format!("{worth} {unit}, more than the limit of {limit}"));
            }
        }
        policy.always.then(|| "everything that is sent needs one".to_owned())
    }
}

/// Finds and consumes the approval that this send needs. Without an approval, `before_sending` requests one and returns
/// an error. The caller then sends nothing, because the send is not approved.
pub(super) fn before_sending(
    ctx: &Context<'_>,
    ledger: &Ledger,
    demand: &Demand,
    subject: &Subject<'_>,
) -> Result<Option<Granted>> {
    let why = demand.wants(&ledger.policy()?);
    if !ctx.actor.known {
        return why.map_or(Ok(None), |why| Err(no_user(&why, &ctx.actor.person)));
    }
    let now = ctx.clock.now();
    let names = ctx.actor.names();
    let known = ledger.approvals(now)?;
    let mine = || known.iter().filter(|one| one.is_of(&names));
    // Consumes the approval even if the policy requires none, because the ledger must record who approved a proposal.
    if let Some(approved) = mine().find(|one| one.stage == Stage::Approved && subject.is_within(one)) {
        return Ok(Some(granted(&ledger.decide(approved.id, Stage::Used, None, now)?)));
    }
    let Some(why) = why else { return Ok(None) };
    if let Some(begun) = mine().find(|one| one.stage == Stage::Used && one.holds(now) && subject.is_part_of(one)) {
        return Ok(Some(granted(begun)));
    }
    let asked = ledger.ask_approval(&subject.request(&why), now)?;
    Err(Error::new(
        Kind::NeedsApproval,
        format!("a second person must approve this ({why}): approval {} was asked for; nothing was sent", asked.id),
    )
    .details(Details { approval: Some(asked.id), ..Details::default() })
    .hint(format!(
        "a lead approves it at the page, or with `recoup approval approve {}`; then run the same command again",
        asked.id
    )))
}

/// Requests approval of a proposal, even if the policy requires none. Returns `true` and the earlier approval request
/// if the same person has proposed the same plan before, even with another reason.
/// `by` says what proposed it, such as `an assistant`.
pub(super) fn propose(
    ctx: &Context<'_>,
    by: &str,
    ledger: &Ledger,
    demand: &Demand,
    subject: &Subject<'_>,
) -> Result<(Approval, bool)> {
    let why = match demand.wants(&ledger.policy()?) {
        Some(why) => format!("{by} proposed it; {why}"),
        None => format!("{by} proposed it"),
    };
    if !ctx.actor.known {
        return Err(no_user(&why, &ctx.actor.person));
    }
    let (now, names) = (ctx.clock.now(), ctx.actor.names());
    let is_open = |one: &Approval| matches!(one.stage, Stage::Asked | Stage::Approved);
    let is_same = |one: &Approval| one.name == subject.name && one.is_of(&names) && is_open(one);
    if let Some(known) = ledger.approvals(now)?.into_iter().find(|one| is_same(one)) {
        return Ok((known, true));
    }
    Ok((ledger.ask_approval(&subject.request(&why), now)?, false))
}

fn no_user(why: &str, person: &str) -> Error {
    Error::new(
        Kind::NeedsApproval,
        format!("a second person must approve this ({why}), and {person} is no user of recoup; nothing was sent"),
    )
    .hint("an administrator makes you one: `recoup user add NAME --role agent --os-user YOU`")
}

fn granted(approval: &Approval) -> Granted {
    let by = approval.decided_by.clone().unwrap_or_default();
    Granted { id: approval.id, asked_by: approval.person.clone(), by }
}

impl Subject<'_> {
    fn request<'b>(&'b self, why: &'b str) -> NewApproval<'b> {
        NewApproval { name: &self.name, why, subject: self.whole(), reason: self.reason, ticket: self.ticket }
    }

    fn whole(&self) -> Value {
        let mut whole = self.json.clone();
        if !self.items.is_empty() {
            whole[ITEMS] = json!(self.items);
        }
        whole
    }

    /// Returns `true` if the approval covers this send.
    fn is_within(&self, approval: &Approval) -> bool {
        if !self.items.is_empty() {
            return self.is_part_of(approval);
        }
        approval.name == self.name
            && (approval.reason.as_deref(), approval.ticket.as_deref()) == (self.reason, self.ticket)
    }

    /// Returns `true` if the approval contains every item of this send.
    fn is_part_of(&self, approval: &Approval) -> bool {
        let approved: BTreeSet<&str> =
            approval.subject[ITEMS].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        !self.items.is_empty() && self.items.iter().all(|item| approved.contains(item.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(orders: u64, worth: i64) -> Demand {
        Demand { orders, value: BTreeMap::from([("CENTS".to_owned(), worth)]), ..Demand::default() }
    }

    #[test]
    fn only_what_is_over_a_limit_needs_a_second_person() {
        let none = Policy::default();
        let count = Policy { count: Some(1), ..Policy::default() };
        let value = Policy { value: Some(500), ..Policy::default() };
        let overrides = Policy { overrides: true, ..Policy::default() };
        let always = Policy { always: true, ..Policy::default() };
        let overriding = Demand { overrides: vec![Override::Stale], ..demand(1, 0) };
        let again = Demand { again: true, ..demand(1, 0) };
        for (policy, demand, wants) in [
            (&none, demand(1000, i64::MAX), false),
            (&count, demand(1, 0), false),
            (&count, demand(2, 0), true),
            (&value, demand(1, 500), false),
            (&value, demand(1, 501), true),
            (&overrides, demand(9, 9), false),
            (&overrides, overriding.clone(), true),
            (&overrides, again, true),
            (&always, demand(1, 0), true),
            (&count, overriding, false),
        ] {
            assert_eq!(demand.wants(policy).is_some(), wants, "{policy:?} {demand:?}");
        }
    }
}
