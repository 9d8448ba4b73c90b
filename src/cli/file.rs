//! Flags of `recoup file`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConsentArgs;
use crate::config::Span;

#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(subcommand)]
    pub command: FileCommand,
}

#[derive(Debug, Subcommand)]
pub enum FileCommand {
    /// Write the vendor's reversal file. Each order is checked like a retraction, and the ledger records its line
    Write(Box<FileWriteArgs>),
    /// Check submitted files by the vendor's list and by the rewards of each line
    Check(FileCheckArgs),
    /// Record that a line was not submitted, so that its order can be retracted another way
    Release(FileReleaseArgs),
}

#[derive(Debug, Args)]
pub struct FileWriteArgs {
    /// Order IDs, exactly as the shop writes them
    #[arg(value_name = "ORDER", required_unless_present = "from", conflicts_with = "from")]
    pub orders: Vec<String>,
    /// A shop's CSV or JSON file; recoup writes only orders that the file proves to be refunded in full
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The reversal file to write; in a folder, recoup names it Batch_Mods_Reversals_YYYY_MM_DD.csv
    #[arg(long, value_name = "DIR|FILE")]
    pub out: PathBuf,
    /// The reason code for orders without one in the list: a documented code, or your own from [file] reason_codes
    #[arg(long, value_name = "CODE", default_value = "ITEM_RETURNED")]
    pub reason_code: String,
    /// The action tracker (event type) ID if neither the list nor the action has one [default: [file] action_tracker]
    #[arg(long, value_name = "ID")]
    pub action_tracker: Option<String>,
    /// The date in the name of the reversal file [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Overwrite a reversal file that exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub consent: ConsentArgs,
    /// Check every order and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave out orders whose rewards recoup last read longer ago than this [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub max_index_age: Option<Span>,
    #[command(flatten)]
    pub columns: super::ColumnArgs,
}

#[derive(Debug, Args)]
pub struct FileCheckArgs {
    /// The vendor's ID of the file submission [default: all submissions with the name of a written file]
    #[arg(value_name = "FILE_SUBMISSION_ID")]
    pub submission: Option<String>,
    /// The name under which recoup wrote the file, if you submitted it under another name
    #[arg(long, value_name = "NAME", requires = "submission")]
    pub file: Option<String>,
}

#[derive(Debug, Args)]
pub struct FileReleaseArgs {
    /// The number of the line's retraction in the ledger
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The ticket, which the ledger keeps
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// The reason in your own words, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
