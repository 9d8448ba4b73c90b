//! Use case: serves the Model Context Protocol (MCP) on stdin and stdout, for assistants.
//!
//! The module `tools` describes the four MCP tools, and `actions` runs them. An assistant can look up orders, check
//! whether an order can be retracted, read the status of retractions, and propose a retraction. An assistant can never
//! send or approve a retraction: this module has only clients that read, and a proposal is an approval request that a
//! person decides on the page. A tidy rule enforces that the module has no other client.

mod actions;
mod tools;

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{QuitReason, RequestContext, ServerInitializeError};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::model::Actor;
use crate::retract::FollowSettings;
use crate::serve::{Audience, without_flags};
use crate::store::{Identity, Place};
use crate::vendor::{Advocate, Brand};
use tools::ToolName;

const INSTRUCTIONS: &str = "recoup takes back referral rewards of refunded orders. Look an order up first, then run a \
     preflight. A proposal needs a reason and the order's exact ID, and a person answers it at recoup's page: nothing is \
     sent before that. Say that an order is retracted only if retraction_status says confirmed.";

/// The state of the MCP server. The clients of the MCP server only read, and leave the quota's reserve for retractions.
pub struct Assistant {
    pub index: Place,
    pub ledger: Place,
    pub access: Place,
    pub identity: Identity,
    pub mapping: Mapping,
    pub advocate: Advocate,
    pub brand: Brand,
    pub clock: Clock,
    pub stop: CancellationToken,
    /// The operating-system user who started the server.
    pub os_user: Actor,
    /// The user of recoup who proposes retractions; `None` for the user that is linked to the operating-system user.
    pub proposes_as: Option<String>,
    /// The maximum age of an order's rewards in the index. The MCP tools refuse an order with older rewards.
    pub max_index_age: Duration,
    pub follows: FollowSettings,
    /// Serializes proposals, so that two proposals of the same plan become one request.
    pub proposing: tokio::sync::Mutex<()>,
}

/// Serves an assistant by MCP until stdin ends or `stop` is cancelled.
pub async fn run(assistant: Assistant) -> Result<()> {
    let stop = assistant.stop.clone();
    let failed = |why: String| Error::new(Kind::Failed, format!("the MCP server failed: {why}"));
    let running = match assistant.serve_with_ct(rmcp::transport::stdio(), stop).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
            return Err(Error::new(Kind::Usage, "the client's first message is not `initialize`")
                .hint("start `recoup mcp` from an MCP client; docs/mcp.md has its configuration"));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    match running.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(failed(error.to_string())),
        Ok(_) => Ok(()),
    }
}

impl ServerHandler for Assistant {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("recoup", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(ToolName::ALL.map(ToolName::describe).into()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        ToolName::named(name).map(ToolName::describe)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = ToolName::named(&call.name)
            .ok_or_else(|| ErrorData::invalid_params(format!("there is no tool {:?}", call.name), None))?;
        let result = match self.call(tool, call.arguments.unwrap_or_default()).await {
            Ok(value) => CallToolResult::structured(value),
            Err(error) => CallToolResult::structured_error(json!({ "error": for_assistant(&error) })),
        };
        Ok(result.into())
    }
}

/// In error texts, replaces command-line flags by the names of the tool's arguments.
fn for_assistant(error: &Error) -> Error {
    let hint = match (&error.hint, error.kind) {
        (None, Kind::Usage) => "the tool's description has its arguments".to_owned(),
        _ => without_flags(error.remedy(), Audience::Api),
    };
    Error::new(error.kind, without_flags(&error.message, Audience::Api)).hint(hint)
}
