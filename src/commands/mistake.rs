//! `recoup mistake`: a retraction that should not have been, on record.

use super::{Context, End};
use crate::cli::MistakeArgs;
use crate::error::{Error, Kind, Result};
use crate::retract::record_mistake;
use crate::store::ledger::Ledger;

pub(super) fn run(context: &Context<'_>, args: MistakeArgs) -> Result<End> {
    let Context { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    if Ledger::open_read_only(&settings.ledger, Some(&identity))?.is_none() {
        return Err(Error::new(Kind::Failed, "there is no ledger yet: nothing was ever retracted here"));
    }
    let mut ledger = Ledger::open(&settings.ledger, &identity, actor)?;
    let MistakeArgs { id, ticket, reason, show_account } = args;
    let mistake = record_mistake::run(&mut ledger, id, &ticket, reason.as_deref(), show_account, clock)?;
    report.object(&mistake)?;
    for line in mistake.lines() {
        report.line(line);
    }
    Ok(End::Done)
}
