//! `recoup config show`: prints the effective settings and the source of each.

use super::{CommandContext, Exit};
use crate::cli::ConfigCommand;
use crate::error::Result;

pub(super) fn run(context: &CommandContext<'_>, command: &ConfigCommand) -> Result<Exit> {
    let ConfigCommand::Show = command;
    context.show_list(&context.settings.shown(), "there is no setting", ["setting", "value", "comes from"], |shown| {
        [shown.key.clone(), shown.value.clone().unwrap_or_else(|| "-".to_owned()), shown.source.clone()]
    })
}
