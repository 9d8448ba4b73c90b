//! `recoup forget`: forgets accounts. This module also removes forgotten accounts from the index for every command that
//! writes to the index.

use super::{CommandContext, Exit};
use crate::cli::ForgetArgs;
use crate::error::Result;
use crate::model::AccountId;
use crate::records::forget::{self, Files};

pub(super) async fn run(context: &CommandContext<'_>, args: ForgetArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, actor, .. } = context;
    let identity = settings.identity()?;
    let files = Files { index: &settings.database, ledger: &settings.ledger, identity: &identity, actor };
    let account = AccountId::new(args.account);
    let forgotten = forget::run(&files, &account, &args.ticket, args.yes, clock, stop, report).await?;
    context.show(&forgotten, forgotten.lines())?;
    Ok(Exit::Done)
}

/// Removes the accounts from the index that the ledger marks as forgotten. A command must call this function before it
/// reads rewards into the index. With `create`, creates a missing index.
pub(super) fn apply_tombstones(context: &CommandContext<'_>, create: bool) -> Result<()> {
    let CommandContext { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    let files = Files { index: &settings.database, ledger: &settings.ledger, identity: &identity, actor };
    forget::apply_tombstones(&files, create, clock, report)
}
