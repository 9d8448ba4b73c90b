//! `recoup ledger accept`: matches a restored ledger against the vendor's submissions.

use super::retract::with_clients;
use super::{CommandContext, Exit};
use crate::cli::{LedgerArgs, LedgerCommand};
use crate::config::HostFlags;
use crate::error::Result;
use crate::model::budget::Purpose;
use crate::retract::accept_restored::{self, AcceptOptions};

pub(super) async fn run(context: &CommandContext<'_>, args: LedgerArgs) -> Result<Exit> {
    let LedgerCommand::Accept(args) = args.command;
    let flags = HostFlags { purpose: Purpose::Retraction, ..HostFlags::default() };
    let options =
        AcceptOptions { ticket: args.ticket, reason: args.reason, yes: args.yes, without_vendor: args.without_vendor };
    let accepted = with_clients(context, flags, async |ctx| accept_restored::run(ctx, &options).await).await?;
    context.show(&accepted, accepted.lines())?;
    Ok(Exit::Done)
}
