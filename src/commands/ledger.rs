//! `recoup ledger accept`: a restored ledger is matched against the vendor's submissions.

use super::retract::reads;
use super::{Context, End, warn_of_quota};
use crate::cli::{LedgerArgs, LedgerCommand};
use crate::config::Wishes;
use crate::error::Result;
use crate::model::budget::Purpose;
use crate::retract::accept_restored::{self, AcceptOptions};

pub(super) async fn run(context: &Context<'_>, args: LedgerArgs) -> Result<End> {
    let LedgerCommand::Accept(args) = args.command;
    let Context { settings, report, .. } = context;
    let identity = settings.identity()?;
    let wishes = Wishes { purpose: Purpose::Retraction, ..Wishes::default() };
    let (advocate, brand) = (context.advocate(wishes)?, context.brand(wishes)?);
    let reads = reads(context, &identity, &advocate, &brand);
    let options =
        AcceptOptions { ticket: args.ticket, reason: args.reason, yes: args.yes, without_vendor: args.without_vendor };
    let accepted = accept_restored::run(&reads, &options).await?;
    report.object(&accepted)?;
    for line in accepted.lines() {
        report.line(line);
    }
    warn_of_quota(&advocate, &brand, report);
    Ok(End::Done)
}
