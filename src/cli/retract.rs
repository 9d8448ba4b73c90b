//! Flags of `recoup retract`, `verify` and `cancel-reward`.

use clap::Args;

use super::{BatchArgs, SendArgs};
use crate::config::Span;

#[derive(Debug, Args)]
pub struct RetractArgs {
    /// Order IDs, exactly as the shop writes them
    #[arg(value_name = "ORDER", required_unless_present_any = ["file", "apply"])]
    pub orders: Vec<String>,
    /// The ActionId of the action to retract; it must belong to the order
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub action_id: Option<String>,
    /// Retract every action of the order
    #[arg(long)]
    pub all: bool,
    /// The action tracker (event type) ID with which to retract by order ID, if the index has no ActionId for the order
    #[arg(long, value_name = "ID", conflicts_with_all = ["action_id", "all"])]
    pub action_tracker: Option<String>,
    /// The disposition code, which recoup sends to the vendor unchanged; the case of custom codes matters
    #[arg(long, value_name = "CODE", default_value = "RETRACTION")]
    pub disposition: String,
    #[command(flatten)]
    pub send: SendArgs,
    /// Send a retraction again that failed, was not received, or is unconfirmed for a day; needs --reason
    #[arg(long)]
    pub resend: bool,
    // The flattened `BatchArgs` must be last, because clap lists any later flag under their heading.
    #[command(flatten)]
    pub batch: BatchArgs,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Numbers of retractions [default: all open ones]
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Continue until no retraction is open
    #[arg(long)]
    pub watch: bool,
    /// Continue until no retraction is open, but no longer than this
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Exit 8 instead of waiting for the vendor's limit
    #[arg(long)]
    pub park: bool,
}

#[derive(Debug, Args)]
pub struct CancelRewardArgs {
    /// The reward ID, as `recoup lookup` shows it
    #[arg(value_name = "REWARD_ID")]
    pub reward_id: String,
    /// The ticket, which the ledger keeps
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// The reason in your own words, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do everything except send
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
    /// How long to follow the sent cancellation [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
}
