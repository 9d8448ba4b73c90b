//! Flags of batches (`recoup retract --file`) and of `recoup watch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Span;

/// Flags of `recoup retract --file`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many refunds at once")]
pub struct BatchArgs {
    /// A shop's CSV or JSON file, or - for standard input; recoup retracts only orders that the file proves to be
    /// refunded in full
    #[arg(long, value_name = "FILE", conflicts_with = "orders")]
    pub file: Option<PathBuf>,
    /// Write the outcomes to this file, with one row for each row of the input
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite an output file that exists
    #[arg(long)]
    pub force: bool,
    /// Write the plan to this file and stop, without sending anything
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with = "out")]
    pub plan: Option<PathBuf>,
    /// Carry out this plan, including its adjustments; recoup checks each row live again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "orders"])]
    pub apply: Option<PathBuf>,
    /// The most orders to retract [default: 100]
    #[arg(long, value_name = "N")]
    pub max_count: Option<u64>,
    /// The most value to take back, in each unit of the rewards [default: 1000000]
    #[arg(long, value_name = "N")]
    pub max_value: Option<u64>,
    /// Watch orders that are not in the index yet: every crawl looks for them
    #[arg(long)]
    pub watch_missing: bool,
    /// How long to watch these orders [default: 30d]
    #[arg(long, value_name = "TIME", requires = "watch_missing")]
    pub watch_for: Option<Span>,
    /// Also adjust orders that were refunded in part, as `recoup adjust` does
    #[arg(long)]
    pub partials: bool,
    // The flattened `ColumnArgs` must be last, because clap lists any later flag under their heading.
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}

impl BatchArgs {
    pub fn is_batch(&self) -> bool {
        self.file.is_some() || self.apply.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub enum WatchCommand {
    /// List watched orders, and those that were found
    List,
    /// Stop watching orders
    Remove {
        /// Order IDs, exactly as `recoup watch list` prints them
        #[arg(value_name = "ORDER", required = true)]
        orders: Vec<String>,
    },
}
