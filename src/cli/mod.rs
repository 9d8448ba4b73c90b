//! Commands and flags as types; nothing else.
//!
//! What a flag means is decided in `config` and in the use cases. No flag may carry a secret, and no flag may be here that
//! does nothing.

mod adjust;
mod approval;
mod batch;
mod file;
mod paper;
mod quota;
mod reconcile;
mod records;
mod refunds;
mod retract;
mod send;
mod serve;
mod user;
mod webhook;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{GlobalFlags, Rate, Span, Until};

pub use adjust::AdjustArgs;
pub use approval::{ApprovalCommand, DecideArgs, LimitsArgs};
pub use batch::{BatchArgs, WatchCommand};
pub use file::{FileArgs, FileCheckArgs, FileCommand, FileReleaseArgs, FileWriteArgs};
pub use paper::{CompletionsArgs, ManArgs};
pub use quota::{QuotaClearArgs, QuotaCommand, QuotaHost};
pub use reconcile::ReconcileArgs;
pub use records::{
    AcceptArgs, AuditArgs, AuditCommand, AuditExportArgs, AuditVerifyArgs, BackupArgs, ExportFormat, ForgetArgs,
    LedgerArgs, LedgerCommand, MistakeArgs,
};
pub use refunds::{ColumnArgs, RefundsCheckArgs, RefundsCommand};
pub use retract::{CancelRewardArgs, RetractArgs, VerifyArgs};
pub use send::{ConsentArgs, SendArgs};
pub use serve::{ScheduleCommand, ServeArgs};
pub use user::{TokenCommand, UserAddArgs, UserCommand};
pub use webhook::{AddressArgs, WebhookCommand};

/// Find the impact.com ActionId behind an order ID and retract that action, with proof.
///
/// Exit codes: 0 done · 1 failed · 2 wrong usage · 3 configuration or credentials · 4 order not in the index · 5 refused, nothing
/// sent · 6 some items failed · 7 sent, not confirmed · 8 parked on quota, state saved · 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "recoup", version, arg_required_else_help = true, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// The flags of every command.
    #[command(flatten)]
    pub global: GlobalFlags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do the whole job against a built-in simulator: crawl, look up, retract, prove. Needs no account
    Demo(DemoArgs),
    /// Serve both vendor APIs from this machine, to try, train and test
    Simulate(Box<impact_simulator::Options>),
    /// Check credentials, scopes, both hosts, the clock, the mapping and both files, and say what to do
    Doctor,
    /// Build or refresh the index: every participant's rewards, once. An unfinished run goes on
    Crawl(CrawlArgs),
    /// Say what is known of an order, as of when, and how sure
    Lookup(LookupArgs),
    /// Take the rewards of an order back: check, show, confirm, send once, prove
    Retract(Box<RetractArgs>),
    /// Change an action after a partial refund, item by item: check, show before and after, confirm, send once, follow
    Adjust(Box<AdjustArgs>),
    /// Retract by the vendor's reversal file, which you hand in yourself: write it, check it, release what was not handed in
    File(FileArgs),
    /// Carry retractions that are still open forward, by reading only
    Verify(VerifyArgs),
    /// Refunds whose orders nobody has seen yet
    #[command(subcommand)]
    Watch(WatchCommand),
    /// Cancel one reward by its ID: the last resort where a retraction did not reach it. Does not reverse the action
    CancelReward(CancelRewardArgs),
    /// How a shop's file is read: format, columns, one decision for each order
    #[command(subcommand)]
    Refunds(RefundsCommand),
    /// Compare the shop's refunds with rewards and ledger: what is still rewarded, what is proven, what is lost
    Reconcile(Box<ReconcileArgs>),
    /// Freshness, coverage, runs and open retractions
    Status(StatusArgs),
    /// What makes recoup wait for a host, and ending it
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// What `recoup serve` does by itself: when, and how it went; or one of it now
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Let the vendor say which accounts have changed
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Who may use the page and the API
    #[command(subcommand)]
    User(UserCommand),
    /// The second person: what waits for one, yes or no, and what needs one
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// One address for the support team: page, JSON API, schedule, webhooks, metrics
    Serve(ServeArgs),
    /// Is the ledger what was written, and what is in it
    Audit(AuditArgs),
    /// Copy both files, consistently, while everything runs
    Backup(BackupArgs),
    /// What a ledger needs after a restore
    Ledger(LedgerArgs),
    /// Take an account out of both files, for good
    Forget(ForgetArgs),
    /// Write down that a retraction was a mistake, and say what to issue again
    Mistake(MistakeArgs),
    /// Completions for a shell, on standard output
    Completions(CompletionsArgs),
    /// Man pages
    Man(ManArgs),
}

/// Flags of `recoup demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many participants to simulate
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub participants: u64,
    /// Another seed, other data
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// Where a crawl reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Ask a few questions, price each way, take the cheapest that is complete
    Auto,
    /// The vendor's own way: list participants, then Get Rewards for each account
    Participants,
    /// All rewards of the tenant by GraphQL; refreshes by what was modified
    Graphql,
    /// A REWARD export, then Get Rewards for the accounts in it; refreshes by what was modified
    Export,
}

/// Flags of `recoup crawl`.
#[derive(Debug, Args)]
pub struct CrawlArgs {
    /// Where to read from
    #[arg(long, value_enum, default_value = "auto")]
    pub source: Source,
    /// Say what each way would cost and which would be taken, and stop
    #[arg(long, conflicts_with = "source")]
    pub plan: bool,
    /// Read everything: begin a new run where an unfinished one could go on, or a refresh would do
    #[arg(long)]
    pub full: bool,
    /// In a refresh, also read accounts again so that no reading gets older than this [default: none for its age]
    #[arg(long, value_name = "TIME")]
    pub reread_after: Option<Span>,
    /// Requests in flight at most [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub concurrency: Option<u32>,
    /// Requests at most, as 10/s, 300/m or 1000/h [default: no limit until the vendor names one]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Participants a page [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub page_size: Option<u32>,
    /// Wait for the vendor's limit at most this long; beyond it save the state and exit 8 [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub max_wait: Option<Span>,
    /// Do not wait for the vendor's limit at all: save the state and exit 8, as --max-wait 0s
    #[arg(long, conflicts_with = "max_wait")]
    pub park: bool,
    /// Send at most this many requests; then save the state and exit 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_requests: Option<u64>,
    /// Start no request from this local time of day on (its next occurrence), or from this moment on; then exit 8
    #[arg(long, value_name = "06:00")]
    pub until: Option<Until>,
    /// Where another crawl is running on this database, wait for its end instead of leaving
    #[arg(long)]
    pub wait_for_lock: bool,
    /// Read no network: extract again from the stored raw rewards, with the mapping as it is configured now
    #[arg(long, conflicts_with_all = ["full", "plan", "reread_after", "concurrency", "rate", "page_size", "max_wait", "park", "max_requests", "until"])]
    pub from_raw: bool,
}

/// Flags of `recoup lookup`.
#[derive(Debug, Args)]
pub struct LookupArgs {
    /// Order IDs, exactly as the shop writes them, several in one argument if need be; an ActionId, a reward ID or a
    /// participant's ID lead to their orders; - reads one per line from standard input
    #[arg(value_name = "ORDER", required = true)]
    pub orders: Vec<String>,
    /// Ask the vendor about this participant (e-mail address, user ID or account ID) first; needs no crawl
    #[arg(long, value_name = "EMAIL|ID")]
    pub participant: Option<String>,
    /// Ask the vendor for orders that the index does not have: directly where that is possible, else by reading what is newest
    #[arg(long)]
    pub live: bool,
    /// Requests at most for each order that is looked for with --live [default: 100]
    #[arg(long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub live_requests: Option<u64>,
    /// Where the vendor is asked, do not wait for its limit: exit 8
    #[arg(long)]
    pub park: bool,
}

/// Flags of `recoup status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// List the accounts that the last run could not read (account IDs are often e-mail addresses)
    #[arg(long)]
    pub failed_accounts: bool,
    /// Show one retraction with all its events
    #[arg(long, value_name = "ID")]
    pub retraction: Option<i64>,
    /// Exit 1 where a person must hear of it: a stale index, overdue retractions, refused credentials
    #[arg(long, conflicts_with = "retraction")]
    pub check: bool,
    /// With --check: how old the index may be [default: 26h]
    #[arg(long, value_name = "TIME", requires = "check")]
    pub max_age: Option<Span>,
    /// How long a retraction may be open before it is overdue [default: 1d]
    #[arg(long, value_name = "TIME")]
    pub overdue: Option<Span>,
    /// Write metrics for a textfile collector into this file
    #[arg(long, value_name = "FILE", conflicts_with = "retraction")]
    pub metrics_file: Option<PathBuf>,
}
