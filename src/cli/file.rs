//! Flags of `recoup file` and its commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConsentArgs;
use crate::config::Span;

/// Flags of `recoup file`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FileCommand,
}

/// The commands of `recoup file`.
#[derive(Debug, Subcommand)]
pub enum FileCommand {
    /// Write the vendor's reversal file: each order is checked as a retraction is, and its line goes into the ledger
    Write(Box<FileWriteArgs>),
    /// Read back what became of the files that were handed in, by the vendor's list and by the rewards of every line
    Check(FileCheckArgs),
    /// Say that a line was not handed in, so that its order may go another road
    Release(FileReleaseArgs),
}

/// Flags of `recoup file write`.
#[derive(Debug, Args)]
pub struct FileWriteArgs {
    /// Order IDs, exactly as the shop writes them
    #[arg(value_name = "ORDER", required_unless_present = "from", conflicts_with = "from")]
    pub orders: Vec<String>,
    /// A shop's file, CSV or JSON; only orders that it proves to be refunded in full are written
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Where the file goes; in a folder it is named Batch_Mods_Reversals_YYYY_MM_DD.csv
    #[arg(long, value_name = "DIR|FILE")]
    pub out: PathBuf,
    /// The reason code where the list has none; a documented one, or your own from [file] reason_codes
    #[arg(long, value_name = "CODE", default_value = "ITEM_RETURNED")]
    pub reason_code: String,
    /// The action tracker (event type) ID where neither the list nor the action names one [default: [file] action_tracker]
    #[arg(long, value_name = "ID")]
    pub action_tracker: Option<String>,
    /// The day in the file's name [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// What a person says to it.
    #[command(flatten)]
    pub consent: ConsentArgs,
    /// Check everything and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave out where the order was last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
    /// What the columns of the list mean.
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}

/// Flags of `recoup file check`.
#[derive(Debug, Args)]
pub struct FileCheckArgs {
    /// The vendor's file submission [default: all of the right name]
    #[arg(value_name = "FILE_SUBMISSION_ID")]
    pub submission: Option<String>,
    /// The name under which recoup wrote it, where it was handed in under another
    #[arg(long, value_name = "NAME", requires = "submission")]
    pub file: Option<String>,
}

/// Flags of `recoup file release`.
#[derive(Debug, Args)]
pub struct FileReleaseArgs {
    /// The number of the line in the ledger
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The ticket this belongs to; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// Why, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
