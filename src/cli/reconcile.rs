//! Flags of `recoup reconcile`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The shop's file, CSV or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    pub refunds: PathBuf,
    /// Write every row with its outcome to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite the file of --out
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Look for retractions without a refund since this date [default: the oldest refund of the file]
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}
