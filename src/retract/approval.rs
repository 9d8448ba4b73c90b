//! The second person: whether what is about to be sent needs one, and whether one has said yes to exactly this.
//!
//! Every road asks here after its own yes and before anything is sent, so that the page and the command line are bound alike. A
//! yes names what it was given for, its reason and its ticket included; where anything of that has changed it is no yes. This module must never take the same
//! person for two.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Context;
use super::judge::Snapshot;
use super::overrides::Override;
use crate::error::{Error, Kind, Result};
use crate::store::ledger::{Approval, Ledger, NewApproval, Policy, Stage};

/// The key of the parts of a subject.
const ITEMS: &str = "items";

/// What is about to be sent, as the policy looks at it.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// Orders.
    pub orders: u64,
    /// What their standing rewards are worth, by unit.
    pub value: BTreeMap<String, i64>,
    /// Stops that are overridden.
    pub overrides: Vec<Override>,
    /// Something is sent again.
    pub again: bool,
}

/// What exactly it is.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The name of exactly this.
    pub name: String,
    /// The names of its parts with their reasons and tickets, where it has many: a batch that was cut off goes on by the yes that
    /// it began with.
    pub items: Vec<String>,
    /// What it is, for whoever approves it and for whoever carries it out.
    pub json: Value,
    /// A person's words.
    pub reason: Option<&'a str>,
    /// Their ticket.
    pub ticket: Option<&'a str>,
}

/// A second person's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Its number in the ledger.
    pub id: i64,
    /// Who asked.
    pub asked_by: String,
    /// Who said yes.
    pub by: String,
}

impl Granted {
    /// The note that each retraction of it carries.
    pub(super) fn note(&self) -> (&'static str, String, Value) {
        let Self { id, asked_by, by } = self;
        let details = json!({ "approval": id, "asked_by": asked_by, "approved_by": by });
        ("approved", format!("asked for by {asked_by}, approved by {by} (approval {id})"), details)
    }
}

impl Demand {
    /// One order with these rewards.
    pub fn of_rewards<'a>(rewards: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut value: BTreeMap<String, i64> = BTreeMap::new();
        for reward in rewards.into_iter().filter(|reward| reward.linked && reward.stands()) {
            let unit = reward.unit.clone().unwrap_or_else(|| "of unknown unit".to_owned());
            let sum = value.entry(unit).or_default();
            *sum = sum.saturating_add(reward.assigned.unwrap_or(0).max(0));
        }
        Self { orders: 1, value, ..Self::default() }
    }

    /// Why it needs a second person; `None` where it does not.
    pub fn wants(&self, policy: &Policy) -> Option<String> {
        if policy.overrides && !self.overrides.is_empty() {
            let names: Vec<&str> = self.overrides.iter().map(|name| name.as_str()).collect();
            return Some(format!("it overrides {}", names.join(", ")));
        }
        if policy.overrides && self.again {
            return Some("it is sent again".to_owned());
        }
        if let Some(count) = policy.count.filter(|count| self.orders > *count) {
            return Some(format!("{} orders are more than {count}", self.orders));
        }
        if let Some(limit) = policy.value {
            let over = self.value.iter().find(|(_, worth)| u64::try_from(**worth).unwrap_or(0) > limit);
            if let Some((unit, worth)) = over {
                return Some(format!("{worth} {unit} are more than {limit}"));
            }
        }
        policy.always.then(|| "everything that is sent needs one".to_owned())
    }
}

/// Why a second person would be needed, for a person who looks before they ask.
pub(super) fn outlook(ledger: Option<&Ledger>, demand: &Demand) -> Result<Option<String>> {
    let policy = ledger.map(Ledger::policy).transpose()?.unwrap_or_default();
    Ok(demand.wants(&policy))
}

/// Whether it may be sent. Where a second person is needed and has not said yes to exactly this, they are asked, and nothing is
/// sent. A yes that is given here is used up.
pub(super) fn before_sending(
    ctx: &Context<'_>,
    ledger: &Ledger,
    demand: &Demand,
    subject: &Subject<'_>,
) -> Result<Option<Granted>> {
    let Some(why) = demand.wants(&ledger.policy()?) else { return Ok(None) };
    if !ctx.actor.known {
        return Err(Error::new(
            Kind::NeedsApproval,
            format!(
                "a second person must approve this ({why}), and {} is no user of recoup; nothing was sent",
                ctx.actor.person
            ),
        )
        .hint("an administrator makes you one: `recoup user add NAME --role agent --os-user YOU`"));
    }
    let now = ctx.clock.now();
    let names = ctx.actor.names();
    let known = ledger.approvals(now)?;
    let mine = || known.iter().filter(|one| one.is_of(&names));
    if let Some(approved) = mine().find(|one| one.stage == Stage::Approved && subject.is_within(one)) {
        return Ok(Some(granted(&ledger.decide(approved.id, Stage::Used, None, now)?)));
    }
    if let Some(begun) = mine().find(|one| one.stage == Stage::Used && one.holds(now) && subject.is_part_of(one)) {
        return Ok(Some(granted(begun)));
    }
    let new = NewApproval {
        name: &subject.name,
        why: &why,
        subject: subject.whole(),
        reason: subject.reason,
        ticket: subject.ticket,
    };
    let asked = ledger.ask_approval(&new, now)?;
    Err(Error::new(
        Kind::NeedsApproval,
        format!("a second person must approve this ({why}): approval {} was asked for; nothing was sent", asked.id),
    )
    .hint(format!(
        "a lead approves it at the page, or with `recoup approval approve {}`; then run the same command again",
        asked.id
    )))
}

fn granted(approval: &Approval) -> Granted {
    let by = approval.decided_by.clone().unwrap_or_default();
    Granted { id: approval.id, asked_by: approval.person.clone(), by }
}

impl Subject<'_> {
    fn whole(&self) -> Value {
        let mut whole = self.json.clone();
        if !self.items.is_empty() {
            whole[ITEMS] = json!(self.items);
        }
        whole
    }

    /// Whether the yes was given for this, or for more.
    fn is_within(&self, approval: &Approval) -> bool {
        if !self.items.is_empty() {
            return self.is_part_of(approval);
        }
        approval.name == self.name
            && (approval.reason.as_deref(), approval.ticket.as_deref()) == (self.reason, self.ticket)
    }

    /// Whether every part of it was part of what was approved.
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
