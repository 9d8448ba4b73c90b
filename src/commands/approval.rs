//! `recoup approval`: lists and decides approvals on the command line, and sets the limits above which a retraction
//! needs approval.
//!
//! The operating-system user who runs the command must be linked to a user of recoup who has the required right. While
//! recoup has no user, anyone may set the limits.

use super::{CommandContext, Exit};
use crate::access::{AccessControl, Limits, Right};
use crate::cli::{ApprovalCommand, DecideArgs, LimitsArgs};
use crate::error::{Error, Kind, Result};
use crate::store::ledger::{Ledger, Policy, Stage};

pub(super) fn run(context: &CommandContext<'_>, command: &ApprovalCommand) -> Result<Exit> {
    match command {
        ApprovalCommand::List { all } => list(context, *all),
        ApprovalCommand::Approve(args) => decide(context, args, Stage::Approved),
        ApprovalCommand::Decline(args) => decide(context, args, Stage::Declined),
        ApprovalCommand::Withdraw(args) => decide(context, args, Stage::Withdrawn),
        ApprovalCommand::Limits(args) => limits(context, args),
    }
}

fn list(context: &CommandContext<'_>, all: bool) -> Result<Exit> {
    let CommandContext { settings, clock, .. } = context;
    let ledger = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())?;
    let mut approvals = ledger.map(|ledger| ledger.approvals(clock.now())).transpose()?.unwrap_or_default();
    approvals.retain(|one| all || matches!(one.stage, Stage::Asked | Stage::Approved));
    let header = ["approval", "stage", "requested by", "at", "what", "why", "decided by"];
    context.show_list(&approvals, "no request waits for approval", header, |one| {
        [
            one.id.to_string(),
            one.stage.as_str().to_owned(),
            one.person.clone(),
            one.asked_at.clone(),
            one.describe(),
            one.why.clone(),
            one.decided_by.clone().unwrap_or_default(),
        ]
    })
}

fn decide(context: &CommandContext<'_>, args: &DecideArgs, next: Stage) -> Result<Exit> {
    let CommandContext { settings, clock, report, actor, .. } = context;
    if next != Stage::Withdrawn {
        check_right(context, Right::Approve, false)?;
    }
    let ledger = Ledger::open(&settings.ledger, &settings.identity()?, actor)?;
    let now = clock.now();
    let asked = ledger.approval(args.id, now)?;
    let names = actor.names();
    let may_withdraw = asked.is_of(&names) || asked.decider_names.iter().any(|name| names.contains(name));
    if next == Stage::Withdrawn && !may_withdraw {
        return Err(Error::new(
            Kind::Refused,
            format!("approval {} is not your request or decision, so you cannot withdraw it", args.id),
        )
        .hint("a lead can decline it"));
    }
    let decided = ledger.decide(args.id, next, args.reason.as_deref(), now)?;
    context.show(&decided, [format!("approval {} {}: {}", decided.id, decided.stage.as_str(), decided.describe())])?;
    if next == Stage::Approved {
        report.note(format!(
            "{} must repeat the command within 24 hours; a request of the page is carried out when it is approved there",
            decided.person
        ));
    }
    Ok(Exit::Done)
}

fn limits(context: &CommandContext<'_>, args: &LimitsArgs) -> Result<Exit> {
    let CommandContext { settings, clock, actor, .. } = context;
    let LimitsArgs { always, overrides, count, value, none } = *args;
    let sets = always || overrides || none || count.is_some() || value.is_some();
    let policy = if sets {
        check_right(context, Right::Administer, true)?;
        let policy = Policy { always, overrides, count, value };
        Ledger::open(&settings.ledger, &settings.identity()?, actor)?.set_policy(&policy, clock.now())?;
        policy
    } else {
        let ledger = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())?;
        ledger.map(|ledger| ledger.policy()).transpose()?.unwrap_or_default()
    };
    context.show(&policy, [policy.describe()])?;
    Ok(Exit::Done)
}

/// Fails if the operating-system user is not linked to a user of recoup who has `right`. With `or_no_users`, succeeds
/// while recoup has no user.
fn check_right(context: &CommandContext<'_>, right: Right, or_no_users: bool) -> Result<()> {
    let CommandContext { settings, actor, .. } = context;
    let access = AccessControl::open_existing(&settings.access, &settings.identity()?, Limits::default())?;
    let Some(access) = access else {
        if or_no_users {
            return Ok(());
        }
        return Err(Error::new(Kind::Refused, "there is no user of recoup yet, so nobody can approve")
            .hint("`recoup user add NAME --role lead --os-user YOU` adds one"));
    };
    if or_no_users && !access.has_users()? {
        return Ok(());
    }
    let person = &actor.person;
    match access.user_of_os(person)? {
        Some(user) if user.role.may(right) => Ok(()),
        Some(user) => {
            Err(Error::new(Kind::Refused, format!("{} is {} and may not do this", user.name, user.role.as_str()))
                .hint("an administrator can give another role: `recoup user role NAME ROLE`"))
        }
        None => Err(Error::new(
            Kind::Refused,
            format!("the operating system's user {person} is not linked to a user of recoup"),
        )
        .hint("an administrator can add one: `recoup user add NAME --role lead --os-user USER`")),
    }
}
