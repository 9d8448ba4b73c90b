//! `recoup forget`, and what it means for every other command that writes to the index.

use super::{Context, End};
use crate::cli::ForgetArgs;
use crate::error::Result;
use crate::model::AccountId;
use crate::records::forget::{self, Files};

pub(super) async fn run(context: &Context<'_>, args: ForgetArgs) -> Result<End> {
    let Context { settings, clock, stop, report, actor, .. } = context;
    let identity = settings.identity()?;
    let files = Files { index: &settings.database, ledger: &settings.ledger, identity: &identity, actor };
    let account = AccountId::new(args.account);
    let forgotten = forget::run(&files, &account, &args.ticket, args.yes, clock, stop, report).await?;
    report.object(&forgotten)?;
    for line in forgotten.lines() {
        report.line(line);
    }
    Ok(End::Done)
}

/// Before anything is read into the index: whom the ledger has forgotten stays out. `create` where an index may be made.
pub(super) fn apply_tombstones(context: &Context<'_>, create: bool) -> Result<()> {
    let Context { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    let files = Files { index: &settings.database, ledger: &settings.ledger, identity: &identity, actor };
    forget::apply_tombstones(&files, create, clock, report)
}
