//! The values of the flags of `recoup simulate`, each with its text in `--help`.

use clap::ValueEnum;

/// Where a reward carries its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkIn {
    /// At the top of the REST reward, as the refund guide implies
    Reward,
    /// In the event that caused the reward: userEvent.fields
    Event,
    /// In meta.customMeta
    Meta,
    /// Only in what GraphQL answers
    Graphql,
    /// Nowhere
    None,
}

/// How the link's keys are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkNames {
    /// orderId, actionId
    Camel,
    /// order_id, action_id
    Snake,
    /// OrderId, ActionId
    Pascal,
    /// Oid, ActionID
    Oid,
    /// merchantRef, conversionRef: found only by a configured path
    Unusual,
    /// Any of the first four, differing from reward to reward
    Mixed,
}

/// The headers that report limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LimitHeader {
    /// X-RateLimit-Limit, -Remaining, -Reset in seconds
    Brand,
    /// The same, with -Reset as an epoch second
    BrandEpoch,
    /// X-RateLimit-Limit-hour, X-RateLimit-Remaining-hour, RateLimit-Reset, Retry-After
    Partner,
    /// Retry-After in seconds
    RetryAfter,
    /// Retry-After as an HTTP date
    RetryAfterDate,
    /// No header at all
    None,
}

/// A way in which a GET request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum FaultKind {
    /// 500 in the API's own error form
    #[value(name = "500")]
    Status500,
    /// 502 with an HTML page
    #[value(name = "502")]
    Status502,
    /// 503 in the API's own error form
    #[value(name = "503")]
    Status503,
    /// 429 with Retry-After of 0 or 1
    #[value(name = "429")]
    Status429,
    /// 429 without a usable header
    #[value(name = "429-bare")]
    Bare429,
    /// 429 whose Retry-After is in milliseconds where seconds are meant: 3600000
    #[value(name = "429-absurd")]
    Absurd429,
    /// 403 with the page of a firewall
    #[value(name = "403-html")]
    Html403,
    /// The connection is reset
    Reset,
    /// The body ends before its declared length
    Truncated,
    /// No response until the client times out, or a minute has passed
    Hang,
    /// 200 with a body that ends in the middle of the JSON
    InvalidJson,
    /// 200 without a body
    Empty,
    /// One reward of the list appears twice
    Duplicate,
}

impl FaultKind {
    /// Whether a client overcomes it by a retry.
    pub fn passes(self) -> bool {
        !matches!(self, Self::Absurd429 | Self::Html403)
    }
}

/// A fault of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeleteFault {
    /// It is queued
    None,
    /// Refused, not processed
    #[value(name = "400")]
    Status400,
    /// Refused, not processed
    #[value(name = "401")]
    Status401,
    /// Refused, not processed
    #[value(name = "403")]
    Status403,
    /// Refused, not processed
    #[value(name = "404")]
    Status404,
    /// 408, not processed
    #[value(name = "408")]
    Status408,
    /// Refused, not processed
    #[value(name = "409")]
    Status409,
    /// Too many requests once, with a usable header; then accepted
    #[value(name = "429")]
    Status429,
    /// Too many requests once, without a header; then accepted
    #[value(name = "429-bare")]
    Bare429,
    /// 500, not processed
    #[value(name = "500-before")]
    Before500,
    /// Processed, then 500
    #[value(name = "500-after")]
    After500,
    /// 502 with an HTML page, not processed
    #[value(name = "502")]
    Status502,
    /// 307 to itself, not processed; following it is recorded as a violation
    #[value(name = "307")]
    Status307,
    /// Connection reset, not processed
    ResetBefore,
    /// Processed, then the connection is reset
    ResetAfter,
    /// Never answered, not processed
    HangBefore,
    /// Processed, never answered
    HangAfter,
    /// Processed, then 200 with HTML
    Unreadable,
    /// Processed, then 200 without a body
    Empty,
    /// Processed, then 200 with broken JSON
    Invalid,
}

/// What the list of all API submissions answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SubmissionsList {
    /// The list
    On,
    /// 403
    #[value(name = "403")]
    Status403,
    /// 404
    #[value(name = "404")]
    Status404,
}

/// Which URL leads to the errors of a file submission. The vendor's documents contradict each other; both URLs answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileErrors {
    /// /FTPFileSubmissions/ID/ErrorDetails
    Documented,
    /// /FTPSubmissions/ID/Errors
    Short,
    /// A URL that does not exist
    Dead,
}

/// A fault of exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFault {
    /// Nothing
    None,
    /// They end as ABORTED
    Abort,
    /// They are completed, and expired at the first download
    Expire,
    /// They stay PENDING
    Stuck,
    /// The first download of each breaks off in the middle
    Broken,
}

/// The columns of a REWARD export file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportColumns {
    /// The reward's own fields and its owner
    Plain,
    /// Order ID and ActionId as well
    Linked,
    /// No account and no user
    NoAccount,
}

/// Whether a feature exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// It is
    On,
    /// It is not
    Off,
}

/// A GraphQL schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphqlSchema {
    /// With userEvent on rewards, and userEvents
    Current,
    /// Without them
    Old,
}

/// What GraphQL's userEvents answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserEvents {
    /// Any filter
    On,
    /// Nothing: this token may not
    Off,
    /// Filters of one field
    OneField,
}

/// Which actions an order ID reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderScope {
    /// Only the newest, as the help centre says
    Newest,
    /// All, as the refund guide says
    All,
}

/// What a reader sees of the program rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgramRule {
    /// The rule for refunds on the purchase event, with every reward
    Found,
    /// The rule is on another event, so nothing is taken back
    WrongEvent,
    /// The rule acts on a participant's first refund only; here every refund is one
    FirstTimeOnly,
    /// The rule has a condition; here it always holds
    Condition,
    /// The rule takes back the friend's rewards only, and nothing else is taken back
    PartialKeys,
    /// The rule as usual, in a program that is paused; it acts all the same
    Paused,
    /// A program of another template, whose rules have another shape; everything is taken back all the same
    OtherTemplate,
    /// The rules of the program are null; everything is taken back all the same
    Null,
    /// GraphQL has no such field as the program's rules; everything is taken back all the same
    NoField,
    /// The token may not read the program's rules; everything is taken back all the same
    Forbidden,
}

/// What a reader sees of a referral after its action was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReferralAfter {
    /// It is started again, without a date of conversion
    Started,
    /// It is still converted
    Converted,
    /// No referral can be read: this token may not
    Forbidden,
    /// No referral can be read: 404 by REST, and GraphQL has no such field
    NoField,
}

/// Rewards of a referral in addition to those in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReferralRewards {
    /// None
    Listed,
    /// One more for the same action; only GraphQL's referral names it
    Third,
    /// One more without a link to any order; only GraphQL's referral names it
    Loose,
}
