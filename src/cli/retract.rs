//! Flags of the commands that retract, and of those that look after what was retracted.

use clap::Args;

use super::{BatchArgs, SendArgs};
use crate::config::Span;

/// Flags of `recoup retract`.
#[derive(Debug, Args)]
pub struct RetractArgs {
    /// Order IDs, exactly as the shop writes them
    #[arg(value_name = "ORDER", required_unless_present_any = ["file", "apply"])]
    pub orders: Vec<String>,
    /// The one action to retract, named by its ActionId; it must belong to the order
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub action_id: Option<String>,
    /// Retract every action of the order
    #[arg(long)]
    pub all: bool,
    /// Where the index has the order without an ActionId: retract by order ID and this action tracker (event type) ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["action_id", "all"])]
    pub action_tracker: Option<String>,
    /// The disposition code that goes to the vendor, as it is; custom codes are case-sensitive
    #[arg(long, value_name = "CODE", default_value = "RETRACTION")]
    pub disposition: String,
    /// Why, how carefully, and how long.
    #[command(flatten)]
    pub send: SendArgs,
    /// Send again what failed, was not received, or is unconfirmed for a day; needs --reason
    #[arg(long)]
    pub resend: bool,
    /// Many refunds at once. Last: what comes after it would stand under its heading.
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// Flags of `recoup verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Numbers of retractions [default: all that are open]
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Go on until none is open
    #[arg(long)]
    pub watch: bool,
    /// Go on until none is open, but no longer than this
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Do not wait for the vendor's limit: exit 8
    #[arg(long)]
    pub park: bool,
}

/// Flags of `recoup cancel-reward`.
#[derive(Debug, Args)]
pub struct CancelRewardArgs {
    /// The reward, as `recoup lookup` names it
    #[arg(value_name = "REWARD_ID")]
    pub reward_id: String,
    /// The ticket this belongs to; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// Why, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do everything but send
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
    /// How long to follow what was sent [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
}
