//! Flags that several commands share, with the same meaning in each.

use clap::Args;

use crate::config::Span;
use crate::retract::checks::Override;

/// A person's consent to what is planned.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// The reason, in your own words; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket; the ledger keeps it
    #[arg(long, value_name = "T")]
    pub ticket: Option<String>,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
    /// Override this check. May be repeated; the ledger records each one
    #[arg(long = "override", value_name = "NAME", value_enum)]
    pub overrides: Vec<Override>,
}

/// How something is sent, and how long it is followed.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    pub consent: ConsentArgs,
    /// Do everything but send
    #[arg(long)]
    pub dry_run: bool,
    /// How long to follow what was sent [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Refuse an order that was last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
}
