//! The flags that the commands share that ask the vendor for something, or hand something in.
//!
//! Each means the same wherever it stands. What one command means otherwise is its own.

use clap::Args;

use crate::config::Span;
use crate::retract::overrides::Override;

/// What a person says to what is planned.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// Why, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket this belongs to; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: Option<String>,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
    /// Go on in spite of this stop; name each one. The ledger keeps the names
    #[arg(long = "override", value_name = "NAME", value_enum)]
    pub overrides: Vec<Override>,
}

/// How carefully something is sent, and how long it is followed.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// What a person says to it.
    #[command(flatten)]
    pub consent: ConsentArgs,
    /// Do everything but send
    #[arg(long)]
    pub dry_run: bool,
    /// How long to follow what was sent [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// Refuse where the order was last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
}
