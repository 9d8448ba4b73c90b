//! The values of the flags of `recoup simulate`, each with its text in `--help`.

use clap::ValueEnum;

/// The part of a reward that contains the link: its order ID and ActionId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkIn {
    /// The link is at the top of the REST reward, as the refund guide implies
    Reward,
    /// The link is in the event that caused the reward: userEvent.fields
    Event,
    /// The link is in meta.customMeta of the reward
    Meta,
    /// Only GraphQL's answers contain the link
    Graphql,
    /// No answer contains the link
    None,
}

/// The spelling of the link's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkNames {
    /// The keys are orderId and actionId
    Camel,
    /// The keys are order_id and action_id
    Snake,
    /// The keys are OrderId and ActionId
    Pascal,
    /// The keys are Oid and ActionID
    Oid,
    /// The keys are merchantRef and conversionRef, which only a configured path finds
    Unusual,
    /// The keys have any of the first four spellings, differing from reward to reward
    Mixed,
}

/// The headers that report the simulator's request limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LimitHeader {
    /// The headers are X-RateLimit-Limit, -Remaining, and -Reset in seconds
    Brand,
    /// The headers are X-RateLimit-Limit, -Remaining, and -Reset as an epoch second
    BrandEpoch,
    /// The headers are X-RateLimit-Limit-hour, X-RateLimit-Remaining-hour, RateLimit-Reset, Retry-After
    Partner,
    /// The header is Retry-After in seconds
    RetryAfter,
    /// The header is Retry-After as an HTTP date
    RetryAfterDate,
    /// No header reports the limit
    None,
}

/// A way in which the simulator breaks a GET request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum FaultKind {
    /// Answers 500 in the API's own error form
    #[value(name = "500")]
    Status500,
    /// Answers 502 with an HTML page
    #[value(name = "502")]
    Status502,
    /// Answers 503 in the API's own error form
    #[value(name = "503")]
    Status503,
    /// Answers 429 with a Retry-After of 0 or 1
    #[value(name = "429")]
    Status429,
    /// Answers 429 without a usable header
    #[value(name = "429-bare")]
    Bare429,
    /// Answers 429 with a Retry-After in milliseconds instead of seconds: 3600000
    #[value(name = "429-absurd")]
    Absurd429,
    /// Answers 403 with the page of a firewall
    #[value(name = "403-html")]
    Html403,
    /// Resets the connection
    Reset,
    /// Ends the body before its declared length
    Truncated,
    /// Sends no response until the client times out, or a minute has passed
    Hang,
    /// Answers 200 with a body that ends in the middle of the JSON
    InvalidJson,
    /// Answers 200 without a body
    Empty,
    /// Answers with a list in which one reward appears twice
    Duplicate,
}

impl FaultKind {
    /// Returns `true` if a client can overcome the fault by a retry.
    pub fn passes(self) -> bool {
        !matches!(self, Self::Absurd429 | Self::Html403)
    }
}

/// A way in which the simulator breaks a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeleteFault {
    /// Queues the write
    None,
    /// Answers 400 and does not process the write
    #[value(name = "400")]
    Status400,
    /// Answers 401 and does not process the write
    #[value(name = "401")]
    Status401,
    /// Answers 403 and does not process the write
    #[value(name = "403")]
    Status403,
    /// Answers 404 and does not process the write
    #[value(name = "404")]
    Status404,
    /// Answers 408 and does not process the write
    #[value(name = "408")]
    Status408,
    /// Answers 409 and does not process the write
    #[value(name = "409")]
    Status409,
    /// Answers 429 once, with a usable header; then accepts the write
    #[value(name = "429")]
    Status429,
    /// Answers 429 once, without a header; then accepts the write
    #[value(name = "429-bare")]
    Bare429,
    /// Answers 500 and does not process the write
    #[value(name = "500-before")]
    Before500,
    /// Processes the write, then answers 500
    #[value(name = "500-after")]
    After500,
    /// Answers 502 with an HTML page and does not process the write
    #[value(name = "502")]
    Status502,
    /// Redirects with 307 to the same URL and does not process the write; records a violation if the client follows
    #[value(name = "307")]
    Status307,
    /// Resets the connection and does not process the write
    ResetBefore,
    /// Processes the write, then resets the connection
    ResetAfter,
    /// Never answers and does not process the write
    HangBefore,
    /// Processes the write and never answers
    HangAfter,
    /// Processes the write, then answers 200 with HTML
    Unreadable,
    /// Processes the write, then answers 200 without a body
    Empty,
    /// Processes the write, then answers 200 with broken JSON
    Invalid,
}

/// What the simulator answers for the list of all API submissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SubmissionsList {
    /// Answers with the list
    On,
    /// Answers 403
    #[value(name = "403")]
    Status403,
    /// Answers 404
    #[value(name = "404")]
    Status404,
}

/// The URL that leads to the errors of a file submission. The vendor's documents contradict each other about this URL.
/// Both URLs answer in the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileErrors {
    /// The link is /FTPFileSubmissions/ID/ErrorDetails
    Documented,
    /// The link is /FTPSubmissions/ID/Errors
    Short,
    /// The link is a URL that does not exist
    Dead,
}

/// A way in which the simulator breaks exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFault {
    /// Breaks no export
    None,
    /// Ends every export as ABORTED
    Abort,
    /// Completes every export, and lets it expire at the first download
    Expire,
    /// Keeps every export PENDING
    Stuck,
    /// Breaks off the first download of each export in the middle
    Broken,
}

/// The columns of a REWARD export file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportColumns {
    /// The file has the reward's own fields and its owner
    Plain,
    /// The file also has the order ID and the ActionId
    Linked,
    /// The file has neither account nor user
    NoAccount,
}

/// Whether the simulated tenant has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// The tenant has the feature
    On,
    /// The tenant lacks the feature
    Off,
}

/// The GraphQL schema of the simulated tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphqlSchema {
    /// The schema has userEvent on rewards, and userEvents
    Current,
    /// The schema has neither userEvent nor userEvents
    Old,
}

/// What GraphQL's userEvents answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserEvents {
    /// Allows any filter of userEvents
    On,
    /// Refuses every query of userEvents, because the token may not read events
    Off,
    /// Allows filters of userEvents by one field
    OneField,
}

/// The actions that a reversal by order ID reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderScope {
    /// The order ID reaches only the newest action, as the help centre says
    Newest,
    /// The order ID reaches all actions, as the refund guide says
    All,
}

/// What a reader sees of the program rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgramRule {
    /// The rule for refunds is on the purchase event, with every reward
    Found,
    /// The rule is on another event; nothing is taken back
    WrongEvent,
    /// The rule acts on a participant's first refund only; in the simulator every refund is a first refund
    FirstTimeOnly,
    /// The rule has a condition, which always holds in the simulator
    Condition,
    /// The rule takes back the friend's rewards only, and nothing else is taken back
    PartialKeys,
    /// The rule is as usual, in a program that is paused; it still acts
    Paused,
    /// The program has another template, and its rules have another shape; everything is still taken back
    OtherTemplate,
    /// The rules of the program are null; everything is still taken back
    Null,
    /// GraphQL has no field for the program's rules; everything is still taken back
    NoField,
    /// The token may not read the program's rules; everything is still taken back
    Forbidden,
}

/// What a reader sees of a referral after its action was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReferralAfter {
    /// The referral is started again, without a date of conversion
    Started,
    /// The referral is still converted
    Converted,
    /// The token may not read any referral
    Forbidden,
    /// No referral can be read: REST answers 404, and GraphQL has no such field
    NoField,
}

/// The rewards that a referral has in addition to the rewards in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReferralRewards {
    /// The referral has no additional reward
    Listed,
    /// The referral has one more reward for the same action, which only GraphQL's referral contains
    Third,
    /// The referral has one more reward without a link to any order, which only GraphQL's referral contains
    Loose,
}
