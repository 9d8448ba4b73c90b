//! Flags of `recoup reconcile`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The shop's CSV or JSON file of refunds; - reads standard input
    #[arg(value_name = "FILE")]
    pub refunds: PathBuf,
    /// Write every row of the input with its outcome to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite the file of --out if it exists
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Look for retractions without a refund since this date [default: the oldest refund of the file]
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}
