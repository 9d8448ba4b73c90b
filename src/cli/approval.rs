//! Flags of `recoup approval`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// List requests that wait for approval
    List {
        /// Also list requests that are decided, used or expired
        #[arg(long)]
        all: bool,
    },
    /// Approve the request of another person, who then repeats their command
    Approve(DecideArgs),
    /// Decline a request
    Decline(DecideArgs),
    /// Withdraw what you have requested or approved
    Withdraw(DecideArgs),
    /// Show which requests need approval, or set it for every user of this ledger
    Limits(LimitsArgs),
}

#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The number of the approval request
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The reason, in your own words; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Flags that set which requests need approval. A limit without a flag is removed.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Require approval for every retraction and adjustment
    #[arg(long)]
    pub always: bool,
    /// Require approval for every override, and for every retraction that is sent again
    #[arg(long)]
    pub overrides: bool,
    /// Require approval for more than this number of orders at once
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Require approval for more than this value at once, in any unit of the rewards
    #[arg(long, value_name = "N")]
    pub value: Option<u64>,
    /// Remove every limit, so that no request needs approval
    #[arg(long, conflicts_with_all = ["always", "overrides", "count", "value"])]
    pub none: bool,
}
