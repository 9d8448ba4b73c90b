//! Flags that several commands share, with the same meaning in each.

use clap::Args;

use crate::config::Span;
use crate::retract::checks::Override;

/// Flags with which a person approves the shown plan.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// The reason in your own words, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket, which the ledger keeps
    #[arg(long, value_name = "T")]
    pub ticket: Option<String>,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
    /// Override this check, which the ledger records. The flag may be repeated
    #[arg(long = "override", value_name = "NAME", value_enum)]
    pub overrides: Vec<Override>,
}

/// Flags for whether to send, and for how long to follow a send.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    pub consent: ConsentArgs,
    /// Do everything except send
    #[arg(long)]
    pub dry_run: bool,
    /// How long to follow the sent requests [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Refuse an order whose rewards recoup last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
}
