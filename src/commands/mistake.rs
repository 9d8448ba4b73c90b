//! `recoup mistake`: records that a retraction was a mistake.

use super::{CommandContext, Exit};
use crate::cli::MistakeArgs;
use crate::error::{Error, Kind, Result};
use crate::retract::record_mistake;
use crate::store::ledger::Ledger;

pub(super) fn run(context: &CommandContext<'_>, args: MistakeArgs) -> Result<Exit> {
    let CommandContext { settings, clock, actor, .. } = context;
    let identity = settings.identity()?;
    if Ledger::open_read_only(&settings.ledger, Some(&identity))?.is_none() {
        return Err(Error::new(Kind::Failed, "there is no ledger yet, because nothing was retracted"));
    }
    let ledger = Ledger::open(&settings.ledger, &identity, actor)?;
    let MistakeArgs { id, ticket, reason, show_account } = args;
    let mistake = record_mistake::run(&ledger, id, &ticket, reason.as_deref(), show_account, clock)?;
    context.show(&mistake, mistake.lines())?;
    Ok(Exit::Done)
}
