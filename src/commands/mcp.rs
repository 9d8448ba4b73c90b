//! `recoup mcp`: starts the MCP server for an assistant on stdin and stdout, from flags and settings.

use std::io::IsTerminal;
use std::time::Duration;

use super::{CommandContext, Exit};
use crate::cli::McpArgs;
use crate::config::{HostFlags, Span};
use crate::error::Result;
use crate::mcp::{self, Assistant};
use crate::model::budget::Purpose;

/// The maximum time that an MCP tool waits for the vendor's quota.
const MAX_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn run(context: &CommandContext<'_>, args: McpArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, actor, .. } = context;
    if std::io::stdin().is_terminal() {
        report.note("an MCP client starts this command and speaks to it on standard input; Ctrl-C ends it");
    }
    let flags = HostFlags { purpose: Purpose::Looking, max_wait: Some(Span(MAX_WAIT)), ..HostFlags::default() };
    let assistant = Assistant {
        index: settings.database.clone(),
        ledger: settings.ledger.clone(),
        access: settings.access.clone(),
        identity: settings.identity()?,
        mapping: settings.mapping.clone(),
        advocate: context.advocate(flags)?,
        brand: context.brand(flags)?,
        clock: **clock,
        stop: (*stop).clone(),
        os_user: (*actor).clone(),
        proposes_as: args.person,
        max_index_age: settings.retract.max_index_age,
        follows: super::retract::follows(settings, None),
        proposing: tokio::sync::Mutex::default(),
    };
    Box::pin(mcp::run(assistant)).await?;
    Ok(Exit::Done)
}
