//! Commands and flags as types. The module `config` and the use cases interpret the flags. No command-line flag
//! contains a secret.

mod adjust;
mod approval;
mod batch;
mod file;
mod generate;
pub mod help;
mod quota;
mod reconcile;
mod records;
mod refunds;
mod retract;
mod send;
mod serve;
mod setup;
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
    LedgerArgs, LedgerCommand, MistakeArgs, MoveArgs,
};
pub use refunds::{ColumnArgs, RefundsCheckArgs, RefundsCommand};
pub use retract::{CancelRewardArgs, RetractArgs, VerifyArgs};
pub use send::{ConsentArgs, SendArgs};
pub use serve::{McpArgs, ScheduleCommand, ServeArgs};
pub use setup::{ConfigCommand, InitArgs, OpenArgs, StoreCommand};
pub use user::{TokenCommand, UserAddArgs, UserCommand};
pub use webhook::{AddressArgs, NotifyCommand, WebhookCommand};

/// Find the impact.com ActionId behind an order ID and retract that action, with proof.
///
/// Exit codes: 0 done · 1 failed · 2 wrong usage · 3 configuration or credentials · 4 order not in the index · 5 refused, nothing
/// sent · 6 some items failed · 7 sent, not confirmed · 8 parked on quota, state saved · 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "recoup", version, arg_required_else_help = true, propagate_version = true, max_term_width = 110)]
#[command(help_template = help::template())]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalFlags,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole job against a built-in simulator
    ///
    /// The demonstration crawls, looks up, retracts and confirms. The demonstration needs no account at the vendor.
    #[command(after_help = help::examples("demo"))]
    Demo(DemoArgs),
    /// Simulate both vendor APIs on this machine
    ///
    /// Use the simulator to try recoup, to train people and to test.
    #[command(after_help = help::examples("simulate"))]
    Simulate(Box<impact_simulator::Options>),
    /// Write recoup.toml and a token file, then check both
    ///
    /// On a terminal, recoup asks for what the flags leave out. recoup never overwrites a file.
    #[command(after_help = help::examples("init"))]
    Init(InitArgs),
    /// Show the effective settings and where each comes from
    #[command(subcommand, after_help = help::examples("config"))]
    Config(ConfigCommand),
    /// Prepare the stores on a PostgreSQL server
    ///
    /// With a role that can add to the ledger, and not alter it.
    #[command(subcommand, after_help = help::examples("store"))]
    Store(StoreCommand),
    /// Check credentials, both hosts, the clock and both files
    ///
    /// Also checks the token's scopes, the mapping, and the refund rule of each program.
    #[command(after_help = help::examples("doctor"))]
    Doctor,
    /// Build or refresh the index of all rewards
    ///
    /// The command resumes an unfinished run.
    #[command(after_help = help::examples("crawl"))]
    Crawl(CrawlArgs),
    /// Look up an order: what is known, as of when, how certain
    #[command(after_help = help::examples("lookup"))]
    Lookup(LookupArgs),
    /// Take back the rewards of an order, with proof
    ///
    /// recoup checks the order, shows the plan, asks, sends once, and verifies.
    #[command(after_help = help::examples("retract"))]
    Retract(Box<RetractArgs>),
    /// Change an action after a partial refund, item by item
    ///
    /// recoup checks the action, shows the change, asks, sends once, and follows.
    #[command(after_help = help::examples("adjust"))]
    Adjust(Box<AdjustArgs>),
    /// Retract with the vendor's reversal file
    ///
    /// You submit the file to the vendor yourself.
    #[command(after_help = help::examples("file"))]
    File(FileArgs),
    /// Update open retractions by reading, without sending anything
    #[command(after_help = help::examples("verify"))]
    Verify(VerifyArgs),
    /// Manage refunded orders that are not in the index yet
    #[command(subcommand, after_help = help::examples("watch"))]
    Watch(WatchCommand),
    /// Cancel one reward that a retraction did not cancel
    ///
    /// The command takes the reward's ID, and does not reverse the action.
    #[command(after_help = help::examples("cancel-reward"))]
    CancelReward(CancelRewardArgs),
    /// Show how a shop's file is read, and what it proves
    #[command(subcommand, after_help = help::examples("refunds"))]
    Refunds(RefundsCommand),
    /// Compare the shop's refunds with rewards and ledger
    #[command(after_help = help::examples("reconcile"))]
    Reconcile(Box<ReconcileArgs>),
    /// Show freshness, coverage, runs and open retractions
    #[command(after_help = help::examples("status"))]
    Status(StatusArgs),
    /// Show or clear what makes recoup wait for a host
    #[command(subcommand, after_help = help::examples("quota"))]
    Quota(QuotaCommand),
    /// List the jobs of the service, or run one now
    #[command(subcommand, after_help = help::examples("schedule"))]
    Schedule(ScheduleCommand),
    /// Manage webhooks, which name accounts that changed
    #[command(subcommand, after_help = help::examples("webhook"))]
    Webhook(WebhookCommand),
    /// Test the notices that the service sends
    ///
    /// The service sends notices by webhook and by e-mail; docs/notices.md describes the setup.
    #[command(subcommand, after_help = help::examples("notify"))]
    Notify(NotifyCommand),
    /// Manage users of the page and the API
    #[command(subcommand, after_help = help::examples("user"))]
    User(UserCommand),
    /// Manage approvals by a second person
    #[command(subcommand, after_help = help::examples("approval"))]
    Approval(ApprovalCommand),
    /// Run the service for the support team
    ///
    /// The service has the page, the JSON API, the schedule, webhooks and metrics.
    #[command(after_help = help::examples("serve"))]
    Serve(ServeArgs),
    /// Serve an assistant by the Model Context Protocol
    ///
    /// An assistant can look up, check and propose. recoup sends nothing before a person approves the proposal.
    #[command(after_help = help::examples("mcp"))]
    Mcp(McpArgs),
    /// Open the page of the service in a browser
    ///
    /// The command prints the address of the page. The service must run on this machine.
    #[command(after_help = help::examples("open"))]
    Open(OpenArgs),
    /// Verify or export the ledger
    #[command(after_help = help::examples("audit"))]
    Audit(AuditArgs),
    /// Copy index and ledger while other commands run
    #[command(after_help = help::examples("backup"))]
    Backup(BackupArgs),
    /// Move all stores from files to a server, or back
    ///
    /// The source is sealed: nothing is sent from it any more. After a kill, the same command continues.
    #[command(name = "move", after_help = help::examples("move"))]
    Move(MoveArgs),
    /// Accept a restored ledger
    #[command(after_help = help::examples("ledger"))]
    Ledger(LedgerArgs),
    /// Remove an account from index and ledger permanently
    #[command(after_help = help::examples("forget"))]
    Forget(ForgetArgs),
    /// Record that a retraction was a mistake
    ///
    /// The command shows which rewards to issue again.
    #[command(after_help = help::examples("mistake"))]
    Mistake(MistakeArgs),
    /// Print completions for a shell
    #[command(after_help = help::examples("completions"))]
    Completions(CompletionsArgs),
    /// Print or write man pages
    #[command(after_help = help::examples("man"))]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Number of simulated participants
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub participants: u64,
    /// The seed of the simulated data; another seed generates other data
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Send a few requests to price each source, then use the cheapest complete one
    #[default]
    Auto,
    /// List participants, then read Get Rewards for each account; the vendor's documented way
    Participants,
    /// Read all rewards of the tenant by GraphQL; a refresh reads only modified rewards
    Graphql,
    /// Read a REWARD export, then Get Rewards for its accounts; a refresh reads only modified rewards
    Export,
}

#[derive(Debug, Default, Args)]
pub struct CrawlArgs {
    /// The vendor API from which to read rewards
    #[arg(long, value_enum, default_value = "auto")]
    pub source: Source,
    /// Show the cost of each source and the chosen source, and stop
    #[arg(long, conflicts_with = "source")]
    pub plan: bool,
    /// Read everything in a new run, even if a run could be resumed or a refresh would be enough
    #[arg(long)]
    pub full: bool,
    /// In a refresh, also read accounts again that recoup last read longer ago than this [default: no age limit]
    #[arg(long, value_name = "TIME")]
    pub reread_after: Option<Span>,
    /// The maximum number of requests in flight [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub concurrency: Option<u32>,
    /// The maximum request rate, such as 10/s, 300/m or 1000/h [default: no limit until the vendor names one]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// The number of participants per page [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub page_size: Option<u32>,
    /// The longest wait for the vendor's limit; before a longer wait, save the state and exit 8 [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub max_wait: Option<Span>,
    /// Save the state and exit 8 instead of waiting for the vendor's limit; the same as --max-wait 0s
    #[arg(long, conflicts_with = "max_wait")]
    pub park: bool,
    /// The maximum number of requests to send; after the last request, save the state and exit 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_requests: Option<u64>,
    /// Start no request after the next occurrence of this local time of day, or after this timestamp; then exit 8
    #[arg(long, value_name = "06:00")]
    pub until: Option<Until>,
    /// If another crawl is running on this database, wait until it ends
    #[arg(long)]
    pub wait_for_lock: bool,
    /// Send no requests, but extract links again from the stored raw rewards with the present mapping
    #[arg(long, conflicts_with_all = ["full", "plan", "reread_after", "concurrency", "rate", "page_size", "max_wait", "park", "max_requests", "until"])]
    pub from_raw: bool,
}

#[derive(Debug, Args)]
pub struct LookupArgs {
    /// Order IDs, exactly as the shop writes them; one argument may contain several. An ActionId, a reward ID or a
    /// participant's ID finds its orders. - reads one order ID per line from standard input
    #[arg(value_name = "ORDER", required = true)]
    pub orders: Vec<String>,
    /// Read this participant (e-mail address, user ID or account ID) from the vendor first, which needs no crawl
    #[arg(long, value_name = "EMAIL|ID")]
    pub participant: Option<String>,
    /// Ask the vendor for orders that the index does not have: directly if possible, or by reading the newest rewards
    #[arg(long)]
    pub live: bool,
    /// The maximum number of requests for each order with --live [default: 100]
    #[arg(long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub live_requests: Option<u64>,
    /// Exit 8 instead of waiting for the vendor's limit
    #[arg(long)]
    pub park: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// List accounts that the last crawl could not read (account IDs are often e-mail addresses)
    #[arg(long)]
    pub failed_accounts: bool,
    /// Show one retraction with all its events
    #[arg(long, value_name = "ID")]
    pub retraction: Option<i64>,
    /// Exit 1 if recoup finds a problem, such as a stale index, overdue retractions or refused credentials
    #[arg(long, conflicts_with = "retraction")]
    pub check: bool,
    /// With --check: the maximum age of the index [default: 26h]
    #[arg(long, value_name = "TIME", requires = "check")]
    pub max_age: Option<Span>,
    /// How long a retraction may be open before recoup reports it as overdue [default: 1d]
    #[arg(long, value_name = "TIME")]
    pub overdue: Option<Span>,
    /// Write metrics for a textfile collector to this file
    #[arg(long, value_name = "FILE", conflicts_with = "retraction")]
    pub metrics_file: Option<PathBuf>,
}
