//! `recoup backup`: both files, copied while everything runs.

use super::{Context, End};
use crate::cli::BackupArgs;
use crate::error::Result;
use crate::records::backup::{self, Options};

pub(super) async fn run(context: &Context<'_>, args: &BackupArgs) -> Result<End> {
    let Context { settings, clock, stop, report, .. } = context;
    let identity = settings.identity_if_set()?;
    let options = Options {
        index: &settings.database,
        ledger: &settings.ledger,
        identity: identity.as_ref(),
        folder: &args.folder,
        keep: args.keep.map(|keep| keep as usize),
    };
    let backup = backup::run(&options, clock, stop, report).await?;
    report.object(&backup)?;
    for line in backup.lines() {
        report.line(line);
    }
    Ok(End::Done)
}
