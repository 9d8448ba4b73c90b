//! Flags of `recoup approval`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// List requests that wait for approval
    List {
        /// Also those that are decided, used or expired
        #[arg(long)]
        all: bool,
    },
    /// Approve the request of another person, who then repeats their command
    Approve(DecideArgs),
    /// Decline a request
    Decline(DecideArgs),
    /// Withdraw what you have requested or approved
    Withdraw(DecideArgs),
    /// Show which requests need approval, or set it for everyone who uses this ledger
    Limits(LimitsArgs),
}

#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The number of the approval
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The reason, in your own words; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Which requests need approval. A limit that is not named is removed.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Every retraction and adjustment
    #[arg(long)]
    pub always: bool,
    /// Every override, and every retraction that is sent again
    #[arg(long)]
    pub overrides: bool,
    /// More orders than this at once
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// More value than this at once, in any unit of the rewards
    #[arg(long, value_name = "N")]
    pub value: Option<u64>,
    /// Nothing: remove every limit
    #[arg(long, conflicts_with_all = ["always", "overrides", "count", "value"])]
    pub none: bool,
}
