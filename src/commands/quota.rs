//! `recoup quota`: shows and clears the pauses and quota limits of each host.

use super::{CommandContext, Exit};
use crate::cli::{QuotaCommand, QuotaHost};
use crate::error::Result;
use crate::quota::{self, Options};

pub(super) async fn run(context: &CommandContext<'_>, command: QuotaCommand) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let QuotaCommand::Clear(args) = command;
    let options = Options { host: args.host.map(QuotaHost::name), dry_run: args.dry_run, yes: args.yes };
    let owner = settings.identity_if_set()?;
    let cleared = quota::clear(&settings.database, owner.as_ref(), options, clock, stop, report).await?;
    context.show(&cleared, cleared.lines())?;
    Ok(Exit::Done)
}
