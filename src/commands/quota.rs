//! `recoup quota`: what makes recoup wait, and ending it.

use super::{Context, End};
use crate::cli::{QuotaCommand, QuotaHost};
use crate::error::Result;
use crate::quota::{self, Options};

pub(super) async fn run(context: &Context<'_>, command: QuotaCommand) -> Result<End> {
    let Context { settings, clock, stop, report, .. } = context;
    let QuotaCommand::Clear(args) = command;
    let options = Options { host: args.host.map(QuotaHost::name), dry_run: args.dry_run, yes: args.yes };
    let owner = settings.identity_if_set()?;
    let cleared = quota::clear(&settings.database, owner.as_ref(), options, clock, stop, report).await?;
    report.object(&cleared)?;
    for line in cleared.lines() {
        report.line(line);
    }
    Ok(End::Done)
}
