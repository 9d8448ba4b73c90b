//! Flags of the commands that look after the two files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Flags of `recoup backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The folder for the copies; made where it is missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Let go of all but the newest N backups of these files [default: keep all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
}

/// Flags of `recoup forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The account ID, exactly
    #[arg(value_name = "ACCOUNT")]
    pub account: String,
    /// The ticket of the request; stays in the ledger, so it must not name the person
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
}

/// Flags of `recoup mistake`.
#[derive(Debug, Args)]
pub struct MistakeArgs {
    /// The number of the retraction
    #[arg(value_name = "ID")]
    pub id: i64,
    /// The ticket; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// What went wrong, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Show the accounts too, which are often e-mail addresses
    #[arg(long)]
    pub show_account: bool,
}

/// `recoup ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What to do with the ledger.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What `recoup ledger` does.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// After a restore, or a loss: match the ledger against what the vendor has received since, so that it may send again
    Accept(AcceptArgs),
}

/// Flags of `recoup ledger accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// The ticket of the restore; stays in the ledger
    #[arg(long, value_name = "T")]
    pub ticket: String,
    /// Why, in your words; stays in the ledger
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
    /// Go on where the vendor's list does not vouch for everything: what it does not show could be sent a second time
    #[arg(long)]
    pub without_vendor: bool,
}

/// `recoup audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do with the ledger.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What `recoup audit` does.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Compute the ledger's chain of hashes again: is it what was written? Exit 1 where it is not
    Verify(AuditVerifyArgs),
    /// Every event in order, with its retraction's fields
    Export(AuditExportArgs),
}

/// Flags of `recoup audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// A head that you kept, from a receipt or a backup: finds a cut tail and a ledger written anew
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object on each line
    Ndjson,
    /// A table for a spreadsheet; no cell is run as a formula
    Csv,
}

/// Flags of `recoup audit export`.
#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// The form
    #[arg(long, value_enum, default_value = "ndjson")]
    pub format: ExportFormat,
    /// Write it into this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file where it is there already
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Show account and user IDs, which are often e-mail addresses [default: the commitments in their place]
    #[arg(long)]
    pub personal: bool,
}
