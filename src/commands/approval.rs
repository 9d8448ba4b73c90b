//! `recoup approval`: the second person at the command line, and what needs one.
//!
//! Who may is known by the operating system's user: it must be linked to a user of recoup with the right. Only where there is no
//! user at all yet may anybody set the limits.

use super::{Context, End};
use crate::access::{Access, Limits, Right};
use crate::cli::{ApprovalCommand, DecideArgs, LimitsArgs};
use crate::error::{Error, Kind, Result};
use crate::report::table;
use crate::store::ledger::{Ledger, Policy, Stage};

pub(super) fn run(context: &Context<'_>, command: &ApprovalCommand) -> Result<End> {
    match command {
        ApprovalCommand::List { all } => list(context, *all),
        ApprovalCommand::Approve(args) => decide(context, args, Stage::Approved),
        ApprovalCommand::Decline(args) => decide(context, args, Stage::Declined),
        ApprovalCommand::Withdraw(args) => decide(context, args, Stage::Withdrawn),
        ApprovalCommand::Limits(args) => limits(context, args),
    }
}

fn list(context: &Context<'_>, all: bool) -> Result<End> {
    let Context { settings, clock, report, .. } = context;
    let ledger = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())?;
    let mut approvals = ledger.map(|ledger| ledger.approvals(clock.now())).transpose()?.unwrap_or_default();
    approvals.retain(|one| all || matches!(one.stage, Stage::Asked | Stage::Approved));
    for one in &approvals {
        report.object(one)?;
    }
    if approvals.is_empty() {
        report.note("nothing waits for a second person");
    } else {
        let rows = approvals.iter().map(|one| {
            [
                one.id.to_string(),
                one.stage.as_str().to_owned(),
                one.person.clone(),
                one.asked_at.clone(),
                one.describe(),
                one.why.clone(),
                one.decided_by.clone().unwrap_or_default(),
            ]
        });
        report.lines(table(["approval", "stage", "asked by", "at", "what", "why", "answered by"], rows));
    }
    Ok(End::Done)
}

fn decide(context: &Context<'_>, args: &DecideArgs, next: Stage) -> Result<End> {
    let Context { settings, clock, report, actor, .. } = context;
    if next != Stage::Withdrawn {
        check_right(context, Right::Approve, false)?;
    }
    let ledger = Ledger::open(&settings.ledger, &settings.identity()?, actor)?;
    let now = clock.now();
    let asked = ledger.approval(args.id, now)?;
    let names = actor.names();
    let may_withdraw = asked.is_of(&names) || asked.decider_names.iter().any(|name| names.contains(name));
    if next == Stage::Withdrawn && !may_withdraw {
        return Err(Error::new(Kind::Refused, format!("approval {} is not yours to take back", args.id))
            .hint("a lead can decline what was asked for"));
    }
    let decided = ledger.decide(args.id, next, args.reason.as_deref(), now)?;
    report.object(&decided)?;
    report.line(format!("approval {} {}: {}", decided.id, decided.stage.as_str(), decided.describe()));
    if next == Stage::Approved {
        report.note(format!(
            "{} runs the same command again within 24 hours, or it is carried out at the page",
            decided.person
        ));
    }
    Ok(End::Done)
}

fn limits(context: &Context<'_>, args: &LimitsArgs) -> Result<End> {
    let Context { settings, clock, report, actor, .. } = context;
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
    report.object(&policy)?;
    report.line(policy.describe());
    Ok(End::Done)
}

/// Refuses whom nobody knows, and who may not. `unless_nobody`: before the first user, whoever runs the command may.
fn check_right(context: &Context<'_>, right: Right, unless_nobody: bool) -> Result<()> {
    let Context { settings, actor, .. } = context;
    let access = Access::open_existing(&settings.access, &settings.identity()?, Limits::default())?;
    let Some(access) = access else {
        if unless_nobody {
            return Ok(());
        }
        return Err(Error::new(Kind::Refused, "there is no user of recoup yet, so nobody may approve")
            .hint("`recoup user add NAME --role lead --os-user YOU` makes one"));
    };
    if unless_nobody && !access.has_users()? {
        return Ok(());
    }
    let person = &actor.person;
    match access.user_of_os(person)? {
        Some(user) if user.role.may(right) => Ok(()),
        Some(user) => {
            Err(Error::new(Kind::Refused, format!("{} is {}, and may not do this", user.name, user.role.as_str()))
                .hint("an administrator gives another role: `recoup user role NAME ROLE`"))
        }
        None => Err(Error::new(Kind::Refused, format!("the operating system's user {person} is no user of recoup"))
            .hint("an administrator links them: `recoup user add NAME --role lead --os-user USER`")),
    }
}
