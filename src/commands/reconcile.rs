//! `recoup reconcile`: compares the shop's refunds with the index and the ledger, and prints the outcome of each
//! refund.

use super::{CommandContext, Exit};
use crate::cli::ReconcileArgs;
use crate::error::{Error, Kind, Result};
use crate::reconcile::{self, ReconcileRequest};
use crate::refunds::{DateOrTime, dates};

pub(super) fn run(context: &CommandContext<'_>, args: &ReconcileArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let identity = settings.identity_if_set()?;
    let request = ReconcileRequest {
        refunds: &args.refunds,
        read: super::refunds::options(settings, &args.columns),
        out: args.out.as_deref(),
        force: args.force,
        since: args.since.as_deref().map(since).transpose()?,
        index: &settings.database,
        ledger: &settings.ledger,
        identity: identity.as_ref(),
    };
    let reconciliation = reconcile::run(&request, clock, stop, report)?;
    context.show(&reconciliation, reconciliation.lines())?;
    if let Some(warning) = reconciliation.warning() {
        report.warn(warning);
    }
    Ok(reconciliation.problem().map_or(Exit::Done, Exit::Reported))
}

fn since(text: &str) -> Result<jiff::Timestamp> {
    dates::parse(text).ok().flatten().map(DateOrTime::earliest).ok_or_else(|| {
        Error::new(Kind::Usage, format!("--since {text:?} is not a date"))
            .hint("write it as 2026-03-01 or 2026-03-01T14:05:00Z; a time without an offset is UTC")
    })
}
