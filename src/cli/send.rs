//! The flags that the commands with a request to the vendor share.
//!
//! `retract` and `adjust` mean the same by each of them. What one of them means otherwise is its own.

use clap::Args;

use crate::config::Span;
use crate::retract::overrides::Override;

/// Why, how carefully, and how long.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Why, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket this belongs to; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: Option<String>,
    /// Do everything but send
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
    /// How long to follow what was sent [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Refuse where the order was last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
    /// Go on in spite of this stop; name each one. The ledger keeps the names
    #[arg(long = "override", value_name = "NAME", value_enum)]
    pub overrides: Vec<Override>,
}
