//! Flags of the commands that maintain index and ledger.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The folder for the copies; recoup creates it if it is missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Delete all but the newest N backups of this index and ledger [default: keep all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
}

#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Where the stores are: the file of the index, or the address of a server without a password. @FILE reads either from a file
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Where they go, in the same form; a place without rows
    #[arg(value_name = "TO")]
    pub to: String,
    /// Show what would be moved, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Give up a move that is not complete, so that the stores at FROM can be used again
    #[arg(long, conflicts_with = "dry_run")]
    pub undo: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The account ID, exactly as the vendor writes it
    #[arg(value_name = "ACCOUNT")]
    pub account: String,
    /// The ticket of the person's request; the ledger keeps it, so it must not name the person
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct MistakeArgs {
    /// The number of the retraction that was a mistake
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The ticket, which the ledger keeps
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// What went wrong, in your own words; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Also show account IDs, which are often e-mail addresses
    #[arg(long)]
    pub show_account: bool,
}

#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    pub command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Match a restored ledger against the vendor's submissions since the copy, so that recoup may send again
    Accept(AcceptArgs),
}

#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// The ticket of the restore, which the ledger keeps
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// The reason in your own words, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
    /// Accept the ledger even if the vendor's list is incomplete; recoup could send reversals twice that the list lacks
    #[arg(long)]
    pub without_vendor: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify the ledger's hash chain, and exit 1 if the ledger was altered
    Verify(AuditVerifyArgs),
    /// Export every event of the ledger in order, with the fields of its retraction
    Export(AuditExportArgs),
}

#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// A head hash from a receipt or a backup, to detect removed events and a rewritten ledger
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Write one JSON object on each line
    Ndjson,
    /// Write a CSV table for a spreadsheet, in which no cell is a formula
    Csv,
}

#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// The format of the export
    #[arg(long, value_enum, default_value = "ndjson")]
    pub format: ExportFormat,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Overwrite a file that exists
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Show account and user IDs, which are often e-mail addresses [default: hashes in their place]
    #[arg(long)]
    pub personal: bool,
}
