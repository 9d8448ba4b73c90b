//! The flags of `recoup simulate`, as a type that code can also construct.
//!
//! Every default is written once, in the clap attribute; [`Options::default`] parses an empty command line. This module does
//! not read the environment.

mod choices;

use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use jiff::{SignedDuration, civil::Date};

pub use choices::{
    DeleteFault, ExportColumns, ExportFault, FaultKind, FileErrors, GraphqlSchema, LimitHeader, LinkIn, LinkNames,
    OnOff, OrderScope, ProgramRule, ReferralAfter, ReferralRewards, SubmissionsList, UserEvents,
};

/// Serves both vendor APIs in one process, to try, train and test without an account
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Number of participants at the start
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub participants: u64,
    /// Seed of the data; the data depend only on this and on --today
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// The day from which pending and expired are computed; a day long past makes pending rewards look available
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub today: Option<Date>,
    /// How far its clock is ahead of this machine's, such as -192h
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = clock, allow_hyphen_values = true)]
    pub clock: SignedDuration,
    /// Tenant alias of the Advocate API
    #[arg(long, default_value = "simulator")]
    pub tenant: String,
    /// Account SID of the Brand API
    #[arg(long, default_value = "SIMULATOR", value_name = "SID")]
    pub account_sid: String,
    /// Token with all permissions
    #[arg(long, default_value = "simulator-token")]
    pub token: String,
    /// Where a reward carries its order ID and ActionId
    #[arg(long, value_enum, default_value_t = LinkIn::Reward)]
    pub link_in: LinkIn,
    /// How the two keys are spelled
    #[arg(long, value_enum, default_value_t = LinkNames::Camel)]
    pub link_names: LinkNames,
    /// Answer only what the vendor's OpenAPI documents allow: no numbers as text, no unknown values, no nulls
    #[arg(long)]
    pub tidy: bool,
    /// Answer Get Rewards as {"rewards":[…]}, the older form
    #[arg(long)]
    pub envelope: bool,
    /// Largest page of /users; a larger limit is lowered silently
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_limit: u64,
    /// Ignore the query of /users and answer with everyone, as one integrator saw
    #[arg(long)]
    pub query_returns_all: bool,
    /// Delay before every response
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = time)]
    pub latency: Duration,
    /// Requests a second that each host accepts; more get 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Requests per window that each host accepts; more get 429
    #[arg(long, value_name = "N")]
    pub quota: Option<u64>,
    /// Length of the quota's window
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = time)]
    pub window: Duration,
    /// Headers that report the limit
    #[arg(long, value_enum, default_value_t = LimitHeader::Brand)]
    pub limit_header: LimitHeader,
    /// Break GET requests in one way at one rate, such as 502=0.05; may be repeated
    #[arg(long = "fault", value_name = "KIND=RATE", value_parser = fault)]
    pub fault: Vec<(FaultKind, f64)>,
    /// Break GET requests in every way, evenly, at this total rate
    #[arg(long, default_value_t = 0.0, value_name = "RATE", value_parser = rate)]
    pub faults: f64,
    /// Participants who join and leave while /users is paged
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub churn: u64,
    /// Share of the accounts that have a reward; without it most have one
    #[arg(long, value_name = "SHARE", value_parser = rate)]
    pub rewarded: Option<f64>,
    /// Rewards that are created or cancelled, one by one, while rewards are read
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub reward_churn: u64,
    /// Whether the tenant has a GraphQL endpoint
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub graphql: OnOff,
    /// Which GraphQL schema is in force
    #[arg(long, value_enum, default_value_t = GraphqlSchema::Current)]
    pub graphql_schema: GraphqlSchema,
    /// Largest page of GraphQL; a larger limit is refused
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub graphql_max_limit: u64,
    /// Larger pages of GraphQL end in a gateway's time-out
    #[arg(long, value_name = "N")]
    pub graphql_slow: Option<u64>,
    /// Share of GraphQL's reward lists that have an error: in one row, and every other time in the whole list
    #[arg(long, default_value_t = 0.0, value_name = "RATE", value_parser = rate)]
    pub graphql_partial: f64,
    /// Whether GraphQL answers userEvents
    #[arg(long, value_enum, default_value_t = UserEvents::On)]
    pub user_events: UserEvents,
    /// Number of accounts whose rewards always answer 500
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub accounts_fail: u64,
    /// Fault of DELETE /Actions
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub delete_fault: DeleteFault,
    /// Fault of PUT /Actions: the same choices
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub put_fault: DeleteFault,
    /// Fault of POST /reward/ID/cancel: the same choices
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub cancel_fault: DeleteFault,
    /// Known disposition codes, comma-separated; others get 400. Without it every code is accepted
    #[arg(long, value_delimiter = ',', value_name = "CODES")]
    pub known_dispositions: Vec<String>,
    /// The program rule is missing, both visibly and in effect: submissions complete, and no reward is cancelled
    #[arg(long)]
    pub rule_missing: bool,
    /// What the program rule looks like to a reader, and what it says
    #[arg(long, value_enum, default_value_t = ProgramRule::Found)]
    pub program_rule: ProgramRule,
    /// Whether the program rule takes anything back, whatever a reader sees
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub rule_works: OnOff,
    /// What a reader sees of a referral after its action was taken back
    #[arg(long, value_enum, default_value_t = ReferralAfter::Started)]
    pub referral_after: ReferralAfter,
    /// Rewards of a referral in addition to those in lists
    #[arg(long, value_enum, default_value_t = ReferralRewards::Listed)]
    pub referral_rewards: ReferralRewards,
    /// Error on the completed submission, or `none`; with a code other than ACTION_NOT_FOUND nothing is cancelled
    #[arg(long, default_value = "ACTION_NOT_FOUND", value_name = "CODE")]
    pub submission_error: String,
    /// Which actions OrderId with ActionTrackerId reaches; the vendor's documents contradict each other
    #[arg(long, value_enum, default_value_t = OrderScope::All)]
    pub order_scope: OrderScope,
    /// From Queued to In Progress
    #[arg(long, default_value = "300ms", value_name = "TIME", value_parser = time)]
    pub queue_delay: Duration,
    /// From In Progress to Complete
    #[arg(long, default_value = "600ms", value_name = "TIME", value_parser = time)]
    pub complete_delay: Duration,
    /// From Complete to the cancellation of the rewards
    #[arg(long, default_value = "400ms", value_name = "TIME", value_parser = time)]
    pub cancel_delay: Duration,
    /// What the list of all API submissions answers
    #[arg(long, value_enum, default_value_t = SubmissionsList::On)]
    pub submissions_list: SubmissionsList,
    /// How long a received submission is missing in lists; its own link finds it at once
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = time)]
    pub submissions_late: Duration,
    /// Which URL leads to the errors of a file submission
    #[arg(long, value_enum, default_value_t = FileErrors::Documented)]
    pub file_errors: FileErrors,
    /// Whether the tenant has exports; `off` answers 403
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub export: OnOff,
    /// How long an export is PENDING
    #[arg(long, default_value = "300ms", value_name = "TIME", value_parser = time)]
    pub export_delay: Duration,
    /// Fault of exports
    #[arg(long, value_enum, default_value_t = ExportFault::None)]
    pub export_fault: ExportFault,
    /// Columns of a REWARD export file
    #[arg(long, value_enum, default_value_t = ExportColumns::Plain)]
    pub export_columns: ExportColumns,
    /// How long the URL of an export file is valid
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub export_link_life: Duration,
    /// Batch IDs that are no UUIDs
    #[arg(long)]
    pub short_batch_id: bool,
    /// Make QueuedUri absolute on this host; a client must refuse to follow it
    #[arg(long, value_name = "URL")]
    pub queued_uri_host: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        #[derive(Parser)]
        struct Shell {
            #[command(flatten)]
            options: Options,
        }
        Shell::try_parse_from(["simulate"]).expect("the defaults of the flags parse").options
    }
}

impl Options {
    /// Returns the rate of each fault of GET requests: `--faults` divided evenly among the kinds, and every `--fault`.
    pub(super) fn fault_rates(&self) -> Vec<(FaultKind, f64)> {
        let mut rates = even_mix(self.faults);
        rates.extend(&self.fault);
        rates
    }
}

/// Divides the rate `total` evenly among all kinds of faults that a client can overcome by a retry.
pub(super) fn even_mix(total: f64) -> Vec<(FaultKind, f64)> {
    let kinds: Vec<_> = FaultKind::value_variants().iter().filter(|kind| kind.passes()).collect();
    if total > 0.0 { kinds.iter().map(|kind| (**kind, total / kinds.len() as f64)).collect() } else { Vec::new() }
}

/// Parses a duration such as `20ms` or `1h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|error| error.to_string())
}

/// Parses a duration that may be negative, such as `-192h`.
pub(super) fn clock(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

/// Parses `KIND=RATE`.
pub(super) fn fault(text: &str) -> Result<(FaultKind, f64), String> {
    let (kind, rate) = text.split_once('=').ok_or("write it as KIND=RATE, for example 502=0.05")?;
    let kind = FaultKind::from_str(kind, true)?;
    Ok((kind, self::rate(rate)?))
}

/// Parses a share from 0 to 1.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("{text} is no rate from 0 to 1: {error}"))?;
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(format!("{text} is not from 0 to 1")) }
}

/// Returns a value's name on the command line and in the record.
pub(super) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
