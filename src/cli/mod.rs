//! Commands and flags as types. `config` and the use cases interpret the flags. No flag carries a secret.

mod adjust;
mod approval;
mod batch;
mod file;
mod generate;
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
pub use generate::{CompletionsArgs, ManArgs};
pub use quota::{QuotaClearArgs, QuotaCommand, QuotaHost};
pub use reconcile::ReconcileArgs;
pub use records::{
    AcceptArgs, AuditArgs, AuditCommand, AuditExportArgs, AuditVerifyArgs, BackupArgs, ExportFormat, ForgetArgs,
    LedgerArgs, LedgerCommand, MistakeArgs,
};
pub use refunds::{ColumnArgs, RefundsCheckArgs, RefundsCommand};
pub use retract::{CancelRewardArgs, RetractArgs, VerifyArgs};
pub use send::{ConsentArgs, SendArgs};
pub use serve::{McpArgs, ScheduleCommand, ServeArgs};
pub use user::{TokenCommand, UserAddArgs, UserCommand};
pub use webhook::{AddressArgs, WebhookCommand};

/// Find the impact.com ActionId behind an order ID and retract that action, with proof.
///
/// Exit codes: 0 done · 1 failed · 2 wrong usage · 3 configuration or credentials · 4 order not in the index · 5 refused, nothing
/// sent · 6 some items failed · 7 sent, not confirmed · 8 parked on quota, state saved · 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "recoup", version, arg_required_else_help = true, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalFlags,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole job against a built-in simulator: crawl, look up, retract, confirm. Needs no account
    Demo(DemoArgs),
    /// Simulate both vendor APIs on this machine, to try, train and test
    Simulate(Box<impact_simulator::Options>),
    /// Check credentials, scopes, both hosts, the clock, the mapping and both files
    Doctor,
    /// Build or refresh the index of all rewards. An unfinished run is resumed
    Crawl(CrawlArgs),
    /// Look up an order: what is known, as of when, and how certain
    Lookup(LookupArgs),
    /// Take back the rewards of an order: check, show, confirm, send once, verify
    Retract(Box<RetractArgs>),
    /// Change an action after a partial refund, item by item: check, show, confirm, send once, follow
    Adjust(Box<AdjustArgs>),
    /// Retract with the vendor's reversal file, which you hand in yourself
    File(FileArgs),
    /// Update open retractions by reading their rewards; sends nothing
    Verify(VerifyArgs),
    /// Manage refunded orders that are not in the index yet
    #[command(subcommand)]
    Watch(WatchCommand),
    /// Cancel one reward by its ID, if a retraction did not cancel it. Does not reverse the action
    CancelReward(CancelRewardArgs),
    /// Show how a shop's file is read: format, columns, one decision for each order
    #[command(subcommand)]
    Refunds(RefundsCommand),
    /// Compare the shop's refunds with rewards and ledger
    Reconcile(Box<ReconcileArgs>),
    /// Show freshness, coverage, runs and open retractions
    Status(StatusArgs),
    /// Show or clear what makes recoup wait for a host
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// List the jobs that `recoup serve` runs on schedule, or run one now
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Manage webhooks, by which the vendor names accounts that have changed
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Manage users of the page and the API
    #[command(subcommand)]
    User(UserCommand),
    /// Manage approvals by a second person
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// Run the service for the support team: page, JSON API, schedule, webhooks, metrics
    Serve(ServeArgs),
    /// Serve an assistant by the Model Context Protocol: look up, check, propose. Sends nothing by itself
    Mcp(McpArgs),
    /// Verify or export the ledger
    Audit(AuditArgs),
    /// Copy index and ledger while other commands run
    Backup(BackupArgs),
    /// Accept a restored ledger
    Ledger(LedgerArgs),
    /// Remove an account from both files permanently
    Forget(ForgetArgs),
    /// Record that a retraction was a mistake, and show what to issue again
    Mistake(MistakeArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print or write man pages
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Number of simulated participants
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub participants: u64,
    /// Another seed generates other data
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Send a few requests to price each source, then use the cheapest complete one
    #[default]
    Auto,
    /// The vendor's documented way: list participants, then Get Rewards for each account
    Participants,
    /// All rewards of the tenant by GraphQL; a refresh reads what was modified
    Graphql,
    /// A REWARD export, then Get Rewards for its accounts; a refresh reads what was modified
    Export,
}

#[derive(Debug, Default, Args)]
pub struct CrawlArgs {
    /// The source to read from
    #[arg(long, value_enum, default_value = "auto")]
    pub source: Source,
    /// Show what each source would cost and which would be used, and stop
    #[arg(long, conflicts_with = "source")]
    pub plan: bool,
    /// Read everything in a new run, even if a run could be resumed or a refresh would do
    #[arg(long)]
    pub full: bool,
    /// In a refresh, also read accounts again that were last read longer ago than this [default: no age limit]
    #[arg(long, value_name = "TIME")]
    pub reread_after: Option<Span>,
    /// The most requests in flight [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub concurrency: Option<u32>,
    /// The request rate, such as 10/s, 300/m or 1000/h [default: no limit until the vendor names one]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Participants per page [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub page_size: Option<u32>,
    /// The longest wait for the vendor's limit; beyond it, save the state and exit 8 [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub max_wait: Option<Span>,
    /// Do not wait for the vendor's limit, but save the state and exit 8; the same as --max-wait 0s
    #[arg(long, conflicts_with = "max_wait")]
    pub park: bool,
    /// The most requests to send; then save the state and exit 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_requests: Option<u64>,
    /// Start no request after this time: the next occurrence of a local time of day, or a timestamp. Then exit 8
    #[arg(long, value_name = "06:00")]
    pub until: Option<Until>,
    /// If another crawl is running on this database, wait until it ends
    #[arg(long)]
    pub wait_for_lock: bool,
    /// Send no requests: extract links again from the stored raw rewards, with the present mapping
    #[arg(long, conflicts_with_all = ["full", "plan", "reread_after", "concurrency", "rate", "page_size", "max_wait", "park", "max_requests", "until"])]
    pub from_raw: bool,
}

#[derive(Debug, Args)]
pub struct LookupArgs {
    /// Order IDs, exactly as the shop writes them; one argument may hold several. An ActionId, a reward ID or a participant's ID
    /// leads to its orders. - reads one order ID per line from standard input
    #[arg(value_name = "ORDER", required = true)]
    pub orders: Vec<String>,
    /// Read this participant (e-mail address, user ID or account ID) from the vendor first; needs no crawl
    #[arg(long, value_name = "EMAIL|ID")]
    pub participant: Option<String>,
    /// Ask the vendor for orders that the index does not have: directly if possible, or by reading the newest rewards
    #[arg(long)]
    pub live: bool,
    /// The most requests for each order with --live [default: 100]
    #[arg(long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub live_requests: Option<u64>,
    /// Do not wait for the vendor's limit, but exit 8
    #[arg(long)]
    pub park: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// List accounts that the last run could not read (account IDs are often e-mail addresses)
    #[arg(long)]
    pub failed_accounts: bool,
    /// Show one retraction with all its events
    #[arg(long, value_name = "ID")]
    pub retraction: Option<i64>,
    /// Exit 1 if something needs attention: a stale index, overdue retractions, refused credentials
    #[arg(long, conflicts_with = "retraction")]
    pub check: bool,
    /// With --check: the maximum age of the index [default: 26h]
    #[arg(long, value_name = "TIME", requires = "check")]
    pub max_age: Option<Span>,
    /// How long a retraction may be open before it is overdue [default: 1d]
    #[arg(long, value_name = "TIME")]
    pub overdue: Option<Span>,
    /// Write metrics for a textfile collector to this file
    #[arg(long, value_name = "FILE", conflicts_with = "retraction")]
    pub metrics_file: Option<PathBuf>,
}
