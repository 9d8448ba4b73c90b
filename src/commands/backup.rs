//! `recoup backup`: copies the index and the ledger while other commands run.

use super::{CommandContext, Exit};
use crate::cli::BackupArgs;
use crate::error::Result;
use crate::records::backup::{self, Options};

pub(super) async fn run(context: &CommandContext<'_>, args: &BackupArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let identity = settings.identity_if_set()?;
    let options = Options {
        index: &settings.database,
        ledger: &settings.ledger,
        identity: identity.as_ref(),
        folder: &args.folder,
        keep: args.keep.map(|keep| keep as usize),
    };
    let backup = backup::run(&options, clock, stop, report).await?;
    context.show(&backup, backup.lines())?;
    Ok(Exit::Done)
}
