//! Flags of `recoup reconcile`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `recoup reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The shop's file, CSV or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    pub refunds: PathBuf,
    /// Write every row, with what became of it, into this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file of --out
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Look for retractions without a refund from this date on [default: the oldest refund of the file]
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// What its columns mean.
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}
