//! Flags of `recoup quota`.

use clap::{Args, Subcommand, ValueEnum};

/// `recoup quota`.
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// End a wait that a host has asked for and that cannot be right; every process on this index goes on at once
    Clear(QuotaClearArgs),
}

/// Flags of `recoup quota clear`.
#[derive(Debug, Args)]
pub struct QuotaClearArgs {
    /// Only this host [default: both]
    #[arg(long, value_enum, value_name = "HOST")]
    pub host: Option<QuotaHost>,
    /// Show what is held, and clear nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
}

/// A host of the vendor's.
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
