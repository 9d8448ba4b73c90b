//! Replaces `recoup mcp` in a build without the feature `mcp`: the command is an error.

use super::{CommandContext, Exit};
use crate::cli::McpArgs;
use crate::error::{Error, Result};

#[expect(clippy::unused_async, reason = "it replaces a function that serves")]
pub(super) async fn run(_context: &CommandContext<'_>, _args: McpArgs) -> Result<Exit> {
    Err(Error::left_out("`recoup mcp`", "mcp"))
}
