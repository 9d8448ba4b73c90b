//! Flags of `recoup quota`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Clear an implausible wait that a host has asked for; every process on this index continues at once
    Clear(QuotaClearArgs),
}

#[derive(Debug, Args)]
pub struct QuotaClearArgs {
    /// Clear the wait of this host only [default: both hosts]
    #[arg(long, value_enum, value_name = "HOST")]
    pub host: Option<QuotaHost>,
    /// Show the waits and clear none
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QuotaHost {
    /// The Advocate host, which has the rewards
    Advocate,
    /// The Brand host, which has the actions
    Brand,
}

impl QuotaHost {
    /// Returns the first word of the host's name in `recoup status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Advocate => "advocate",
            Self::Brand => "brand",
        }
    }
}
