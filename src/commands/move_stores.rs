//! `recoup move`: moves all stores from files to a server, or back.

use super::{CommandContext, Exit};
use crate::cli::MoveArgs;
use crate::config::stores_at;
use crate::error::Result;
use crate::records::move_stores::{self, Options};

pub(super) async fn run(context: &CommandContext<'_>, args: &MoveArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let options = Options {
        from: stores_at(&args.from, settings)?,
        to: stores_at(&args.to, settings)?,
        dry_run: args.dry_run,
        undo: args.undo,
        yes: args.yes,
    };
    let moved = move_stores::run(options, clock, stop, report).await?;
    context.show(&moved, moved.lines())?;
    Ok(Exit::Done)
}
