//! Flags of `recoup reconcile`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `recoup reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The shop's refunds, CSV or NDJSON; - reads standard input
    #[arg(value_name = "FILE")]
    pub refunds: PathBuf,
    /// Write every row, with what became of it, into this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file of --out
    #[arg(long, requires = "out")]
    pub force: bool,
    /// The column that holds the order IDs, where the names leave that open
    #[arg(long, value_name = "NAME")]
    pub order_column: Option<String>,
    /// Look for retractions without a refund from this date on [default: the oldest refund of the file]
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
}
