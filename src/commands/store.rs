//! `recoup store init`: creates the stores on a server, and prints or runs the rights of the service's user.

use super::{CommandContext, Exit};
use crate::cli::StoreCommand;
use crate::error::Result;
use crate::records::service_role;

pub(super) fn run(context: &CommandContext<'_>, command: &StoreCommand) -> Result<Exit> {
    let CommandContext { settings, report, actor, .. } = context;
    let StoreCommand::Init(args) = command;
    let role = args.role.as_deref();
    let prepared = service_role::init(&settings.database, &settings.identity()?, actor, role, args.apply, report)?;
    context.show(&prepared, prepared.lines())?;
    Ok(Exit::Done)
}
