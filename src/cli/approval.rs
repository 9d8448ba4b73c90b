//! Flags of `recoup approval`.

use clap::{Args, Subcommand};

/// `recoup approval`.
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// What waits for a second person, and what became of the rest
    List {
        /// Also those that are at an end
        #[arg(long)]
        all: bool,
    },
    /// Say yes to what somebody else has asked for; they then run the same command again
    Approve(DecideArgs),
    /// Say no
    Decline(DecideArgs),
    /// Take back what you have asked for or approved
    Withdraw(DecideArgs),
    /// Show what needs a second person, or set it for everybody who uses this ledger
    Limits(LimitsArgs),
}

/// Which approval, and why.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: i64,
    /// In your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What needs a second person. What is not named here does not.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Everything that is sent
    #[arg(long)]
    pub always: bool,
    /// Every override, and whatever is sent again
    #[arg(long)]
    pub overrides: bool,
    /// More orders at once than this
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// More value at once than this, in any unit of the rewards
    #[arg(long, value_name = "N")]
    pub value: Option<u64>,
    /// Nothing: take every limit away
    #[arg(long, conflicts_with_all = ["always", "overrides", "count", "value"])]
    pub none: bool,
}
