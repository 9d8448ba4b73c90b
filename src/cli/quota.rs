//! Flags of `recoup quota`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Clear an implausible wait that a host has asked for; every process on this index continues at once
    Clear(QuotaClearArgs),
}

#[derive(Debug, Args)]
pub struct QuotaClearArgs {
    /// Only this host [default: both]
    #[arg(long, value_enum, value_name = "HOST")]
    pub host: Option<QuotaHost>,
    /// Show the waits and clear nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QuotaHost {
    /// Rewards
    Advocate,
    /// Actions
    Brand,
}

impl QuotaHost {
    /// The first word of the host's name in `recoup status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Advocate => "advocate",
            Self::Brand => "brand",
        }
    }
}
