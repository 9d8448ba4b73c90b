//! The client of the vendor, which is the only module that speaks HTTP to the vendor.
//!
//! Each host of the vendor has one client, which waits for the pacer, sends the request, judges the answer and decodes
//! it. [`Advocate`] and [`Brand`] only read the vendor's data. [`BrandWriter`], [`RewardCanceller`] and [`Subscriber`]
//! are the only types that can change anything at the vendor. The types that change something at the vendor send each
//! request once. The vendor's JSON formats are private to the module `vendor`. The functions of `vendor` return types
//! of `model` or of `vendor`. No error, log line or `Debug` text of the vendor's client may contain a token, an Account
//! SID, an account ID or a query string.
//!
//! Every function that reads can fail with `Interrupted` (a signal arrived before a request started), `Parked` (the
//! wait for the quota is too long), `Credentials`, `Scope`, `Tenant` (Advocate only), `Network` (no answer) or `Vendor`
//! (no usable answer).

pub mod advocate;
pub mod auth;
pub mod brand;
pub mod brand_writer;
mod client;
mod credential_format;
mod error_body;
pub mod exports;
pub mod graphql;
mod http;
mod loose_json;
mod metrics;
pub mod modification;
pub mod options;
mod pace;
pub mod programs;
pub mod rate_headers;
pub mod referrals;
pub mod retry;
pub mod reward_canceller;
mod single_write;
#[cfg(test)]
mod tests;
pub mod webhooks;

pub use crate::model::budget::WaitReason;
#[cfg(test)]
pub(crate) use advocate::reward_text;
pub use advocate::{Advocate, Rewards, UsersPage};
pub use auth::{Credentials, Secret};
pub use brand::{
    Action, ActionItem, ActionUpdate, Brand, FileError, FileSubmission, IR_VERSION, Listed, Program, Submission,
    SubmissionStatus, UpdateFilter,
};
pub use brand_writer::{BrandWriter, SendPermit, reversal_form};
pub use client::{HostClock, Stats};
pub(crate) use credential_format::FormatProblems;
pub use exports::{Export, ExportStatus, ExportType};
pub use graphql::{Graph, ListedReward, Refusal, RewardPage, UserEvent};
pub use metrics::answers_by_status;
pub use modification::{
    Change, ItemChange, ItemMoney, Modification, ORDER_UPDATE, is_full_retraction, modification_form,
};
pub(crate) use options::is_loopback;
pub use options::{HostOptions, check_base};
pub use programs::Programs;
pub use referrals::{Referral, ReferralAnswer};
pub use reward_canceller::{CancelPermit, RewardCanceller};
pub use single_write::WriteOutcome;
pub use webhooks::{Subscriber, Subscription, SubscriptionChange, fetch_public};

use crate::error::{Error, Kind};
use client::{Client, ReadRequest, effective_status, health};

/// The display name of a vendor host and of its settings, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) token_hint: &'static str,
    pub(crate) url_hint: &'static str,
}

/// Returns the warning about a host if its answer demands a wait of more than a day.
pub fn implausible_wait(host: &str) -> String {
    format!(
        "the {host} host asked for a wait of more than a day; recoup waits a day at most, and `recoup quota clear` ends the wait"
    )
}

/// Returns the error for a 401 of the vendor. `problems` describes what is suspicious about the credentials.
pub(crate) fn credentials_refused(host: Host, problems: Option<String>) -> Error {
    let problems = problems.map_or_else(String::new, |problems| format!("; {problems}"));
    Error::new(Kind::Credentials, format!("the {} API refuses the credentials{problems}", host.name))
        .hint(format!("check {}", host.token_hint))
}

/// Returns the error for a 403 of the vendor.
pub(crate) fn scope_refused(host: Host, endpoint: &str) -> Error {
    Error::new(Kind::Scope, format!("the token may not use {} {endpoint}", host.name))
        .hint(format!("give the token this scope in impact.com, or use another token: {}", host.token_hint))
}

/// Returns the error for an answer from a proxy or firewall between recoup and the vendor's API. The answer of a proxy
/// proves nothing about the token, the tenant or the requested object.
pub(crate) fn not_the_api(host: Host, endpoint: &str, status: u16, body: &str) -> Error {
    let token = match status {
        401 | 403 => format!("; if the host is reached directly, check {}", host.token_hint),
        _ => String::new(),
    };
    Error::new(
        Kind::Vendor,
        format!(
            "{} {endpoint} answered {status} with {body}, which did not come from the API: a firewall, a proxy or a login page \
             answered in its place",
            host.name
        ),
    )
    .hint(format!("check that this machine may reach the host of {}, and HTTPS_PROXY if it is set{token}", host.url_hint))
}

/// Returns the error for a 400 or 404 with a code which means that the vendor does not know the tenant. `codes` are the
/// vendor's error codes in brackets.
pub(crate) fn tenant_refused(host: Host, codes: &str) -> Error {
    Error::new(
        Kind::Tenant,
        format!("the {} API does not know this tenant, or the credentials do not belong to it{codes}", host.name),
    )
    .hint(format!(
        "check RECOUP_TENANT (Settings > Advocate Settings > General > Tenant Details), then {}",
        host.token_hint
    ))
}
