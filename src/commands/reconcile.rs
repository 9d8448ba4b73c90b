//! `recoup reconcile`: the shop's refunds → what became of each.

use super::{Context, End};
use crate::cli::ReconcileArgs;
use crate::error::{Error, Kind, Result};
use crate::reconcile::{self, Job};
use crate::refunds::{DateOrTime, dates};

pub(super) fn run(context: &Context<'_>, args: &ReconcileArgs) -> Result<End> {
    let Context { settings, clock, stop, report, .. } = context;
    let identity = settings.identity_if_set()?;
    let job = Job {
        refunds: &args.refunds,
        read: super::refunds::options(settings, &args.columns),
        out: args.out.as_deref(),
        force: args.force,
        since: args.since.as_deref().map(since).transpose()?,
        index: &settings.database,
        ledger: &settings.ledger,
        identity: identity.as_ref(),
    };
    let reconciliation = reconcile::run(&job, clock, stop, report)?;
    report.object(&reconciliation)?;
    for line in reconciliation.lines() {
        report.line(line);
    }
    if let Some(doubt) = reconciliation.doubt() {
        report.warn(doubt);
    }
    Ok(reconciliation.problem().map_or(End::Done, End::Said))
}

fn since(text: &str) -> Result<jiff::Timestamp> {
    dates::parse(text).ok().flatten().map(DateOrTime::earliest).ok_or_else(|| {
        Error::new(Kind::Usage, format!("--since {text:?} is no date"))
            .hint("write it as 2026-03-01 or 2026-03-01T14:05:00Z; without an offset it is UTC")
    })
}
