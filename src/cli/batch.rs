//! Flags of a batch, and of the list of refunds that wait for their orders.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Span;

/// Flags of `recoup retract --file`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many refunds at once")]
pub struct BatchArgs {
    /// A shop's file, CSV or JSON, - for standard input; only orders that it proves to be refunded in full are retracted
    #[arg(long, value_name = "FILE", conflicts_with = "orders")]
    pub file: Option<PathBuf>,
    /// Write one row of outcome for each row of refunds here
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace an output file that exists
    #[arg(long)]
    pub force: bool,
    /// Write what would be done here, send nothing, and stop
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with = "out")]
    pub plan: Option<PathBuf>,
    /// Do exactly what this plan says, adjustments included, each row checked live again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "orders"])]
    pub apply: Option<PathBuf>,
    /// Orders at most [default: 100]
    #[arg(long, value_name = "N")]
    pub max_count: Option<u64>,
    /// Value at most that may be taken back, in each unit of the rewards [default: 1000000]
    #[arg(long, value_name = "N")]
    pub max_value: Option<u64>,
    /// Put orders that are not found yet on the list that every crawl looks for
    #[arg(long)]
    pub watch_missing: bool,
    /// How long they are waited for [default: 30d]
    #[arg(long, value_name = "TIME", requires = "watch_missing")]
    pub watch_for: Option<Span>,
    /// Also adjust orders that were refunded in part, as `recoup adjust` does
    #[arg(long)]
    pub partials: bool,
    /// What its columns mean. Last: what comes after it would stand under its heading.
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}

impl BatchArgs {
    /// Whether this is a batch at all.
    pub fn is_batch(&self) -> bool {
        self.file.is_some() || self.apply.is_some()
    }
}

/// `recoup watch`.
#[derive(Debug, Subcommand)]
pub enum WatchCommand {
    /// Refunds that wait for their orders, and those whose orders have turned up
    List,
    /// Wait for these no longer
    Remove {
        /// Order IDs, exactly as they are on the list
        #[arg(value_name = "ORDER", required = true)]
        orders: Vec<String>,
    },
}
