//! The flags of `recoup simulate`, as a type that code can also construct.
//!
//! Every default of a simulator flag is written once, in the clap attribute. [`Options::default`] parses an empty
//! command line. The simulator's options do not read the environment.

mod choices;

use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use jiff::{SignedDuration, civil::Date};

pub use choices::{
    DeleteFault, ExportColumns, ExportFault, FaultKind, FileErrors, GraphqlSchema, LimitHeader, LinkIn, LinkNames,
    OnOff, OrderScope, ProgramRule, ReferralAfter, ReferralRewards, SubmissionsList, UserEvents,
};

/// Simulate both vendor APIs in one process, to try, train and test without an account
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Serve on this port of 127.0.0.1; 0 picks a free port
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Create this number of participants at the start
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub participants: u64,
    /// Compute the data from this seed; the data depend only on the seed and on --today
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Compute pending and expired rewards from this day; a day long past makes pending rewards look available
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub today: Option<Date>,
    /// Set the simulator's clock ahead of this machine's clock by this time, such as -192h
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = clock, allow_hyphen_values = true)]
    pub clock: SignedDuration,
    /// Use this tenant alias of the Advocate API
    #[arg(long, default_value = "simulator")]
    pub tenant: String,
    /// Use this Account SID of the Brand API
    #[arg(long, default_value = "SIMULATOR", value_name = "SID")]
    pub account_sid: String,
    /// Accept this token with all permissions
    #[arg(long, default_value = "simulator-token")]
    pub token: String,
    /// Write the order ID and the ActionId into this part of a reward
    #[arg(long, value_enum, default_value_t = LinkIn::Reward)]
    pub link_in: LinkIn,
    /// Spell the keys of the order ID and the ActionId in this way
    #[arg(long, value_enum, default_value_t = LinkNames::Camel)]
    pub link_names: LinkNames,
    /// Answer only what the vendor's OpenAPI documents allow: no numbers as text, no unknown values, no nulls
    #[arg(long)]
    pub tidy: bool,
    /// Answer Get Rewards with {"rewards":[…]}, the older form
    #[arg(long)]
    pub envelope: bool,
    /// Limit a page of /users to this size; a larger limit is lowered silently
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_limit: u64,
    /// Ignore the query of /users and answer with every participant, as one integrator saw
    #[arg(long)]
    pub query_returns_all: bool,
    /// Delay every response by this time
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = time)]
    pub latency: Duration,
    /// Accept this number of requests a second on each host; more requests get 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Accept this number of requests in each window on each host; more requests get 429
    #[arg(long, value_name = "N")]
    pub quota: Option<u64>,
    /// Set the length of the quota's window
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = time)]
    pub window: Duration,
    /// Report the request limits in these headers
    #[arg(long, value_enum, default_value_t = LimitHeader::Brand)]
    pub limit_header: LimitHeader,
    /// Break GET requests in one way at one rate, such as 502=0.05; may be repeated
    #[arg(long = "fault", value_name = "KIND=RATE", value_parser = fault)]
    pub fault: Vec<(FaultKind, f64)>,
    /// Break GET requests in every way, evenly, at this total rate
    #[arg(long, default_value_t = 0.0, value_name = "RATE", value_parser = rate)]
    pub faults: f64,
    /// Let this number of participants join or leave while a client reads the pages of /users
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub churn: u64,
    /// Give this share of the accounts a reward; without the flag, most accounts have one
    #[arg(long, value_name = "SHARE", value_parser = rate)]
    pub rewarded: Option<f64>,
    /// Create or cancel this number of rewards, one by one, while a client reads rewards
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub reward_churn: u64,
    /// Set whether the tenant has a GraphQL endpoint
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub graphql: OnOff,
    /// Use this GraphQL schema
    #[arg(long, value_enum, default_value_t = GraphqlSchema::Current)]
    pub graphql_schema: GraphqlSchema,
    /// Limit a page of GraphQL to this size; a larger limit is refused
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub graphql_max_limit: u64,
    /// Let GraphQL pages larger than this end in a gateway's time-out
    #[arg(long, value_name = "N")]
    pub graphql_slow: Option<u64>,
    /// Damage this share of GraphQL's reward lists: one row, and every other time the whole list
    #[arg(long, default_value_t = 0.0, value_name = "RATE", value_parser = rate)]
    pub graphql_partial: f64,
    /// Set which filters of GraphQL's userEvents are allowed
    #[arg(long, value_enum, default_value_t = UserEvents::On)]
    pub user_events: UserEvents,
    /// Let the rewards of this number of accounts always answer 500
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub accounts_fail: u64,
    /// Break DELETE /Actions in this way
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub delete_fault: DeleteFault,
    /// Break PUT /Actions in this way
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub put_fault: DeleteFault,
    /// Break POST /reward/ID/cancel in this way
    #[arg(long, value_enum, default_value_t = DeleteFault::None)]
    pub cancel_fault: DeleteFault,
    /// Accept only these disposition codes, separated by commas; other codes get 400. Without this flag, every
    /// disposition code is accepted
    #[arg(long, value_delimiter = ',', value_name = "CODES")]
    pub known_dispositions: Vec<String>,
    /// Remove the program rule, both visibly and in effect: submissions complete, and no reward is cancelled
    #[arg(long)]
    pub rule_missing: bool,
    /// Set what the program rule looks like to a reader, and what it says
    #[arg(long, value_enum, default_value_t = ProgramRule::Found)]
    pub program_rule: ProgramRule,
    /// Set whether the program rule takes anything back, whatever a reader sees
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub rule_works: OnOff,
    /// Show a reader this state of a referral after its action was taken back
    #[arg(long, value_enum, default_value_t = ReferralAfter::Started)]
    pub referral_after: ReferralAfter,
    /// Give a referral these rewards in addition to the rewards in lists
    #[arg(long, value_enum, default_value_t = ReferralRewards::Listed)]
    pub referral_rewards: ReferralRewards,
    /// Set this error on a completed submission, or `none`; with a code other than ACTION_NOT_FOUND no reward is
    /// cancelled
    #[arg(long, default_value = "ACTION_NOT_FOUND", value_name = "CODE")]
    pub submission_error: String,
    /// Let OrderId with ActionTrackerId reach these actions; the vendor's documents contradict each other
    #[arg(long, value_enum, default_value_t = OrderScope::All)]
    pub order_scope: OrderScope,
    /// Keep a submission Queued for this time
    #[arg(long, default_value = "300ms", value_name = "TIME", value_parser = time)]
    pub queue_delay: Duration,
    /// Keep a submission In Progress for this time
    #[arg(long, default_value = "600ms", value_name = "TIME", value_parser = time)]
    pub complete_delay: Duration,
    /// Cancel the rewards this time after a submission is Complete
    #[arg(long, default_value = "400ms", value_name = "TIME", value_parser = time)]
    pub cancel_delay: Duration,
    /// Answer the list of all API submissions in this way
    #[arg(long, value_enum, default_value_t = SubmissionsList::On)]
    pub submissions_list: SubmissionsList,
    /// Omit a received submission from lists for this time; the submission's own link finds it at once
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = time)]
    pub submissions_late: Duration,
    /// Link to the errors of a file submission by this URL
    #[arg(long, value_enum, default_value_t = FileErrors::Documented)]
    pub file_errors: FileErrors,
    /// Set whether the tenant has exports; `off` answers 403
    #[arg(long, value_enum, default_value_t = OnOff::On)]
    pub export: OnOff,
    /// Keep an export PENDING for this time
    #[arg(long, default_value = "300ms", value_name = "TIME", value_parser = time)]
    pub export_delay: Duration,
    /// Break exports in this way
    #[arg(long, value_enum, default_value_t = ExportFault::None)]
    pub export_fault: ExportFault,
    /// Write these columns into a REWARD export
    #[arg(long, value_enum, default_value_t = ExportColumns::Plain)]
    pub export_columns: ExportColumns,
    /// Let the URL of an export file expire after this time
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub export_link_life: Duration,
    /// Use batch IDs that are no UUIDs
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

/// Parses the duration in a flag, such as `20ms` or `1h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|error| error.to_string())
}

/// Parses a duration in a flag that may be negative, such as `-192h`.
pub(super) fn clock(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

/// Parses the fault in a flag: `KIND=RATE`.
pub(super) fn fault(text: &str) -> Result<(FaultKind, f64), String> {
    let (kind, rate) = text.split_once('=').ok_or("write it as KIND=RATE, for example 502=0.05")?;
    let kind = FaultKind::from_str(kind, true)?;
    Ok((kind, self::rate(rate)?))
}

/// Parses a share from 0 to 1 in a flag.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("{text} is no rate from 0 to 1: {error}"))?;
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(format!("{text} is not from 0 to 1")) }
}

/// Returns the name of a flag's value on the command line and in the record.
pub(super) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
