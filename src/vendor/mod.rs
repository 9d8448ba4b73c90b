//! The only code that speaks HTTP: one client per host, which paces, sends, judges and decodes.
//!
//! [`Advocate`] and [`Brand`] read; [`BrandWriter`] and [`RewardCanceller`] are the only types that can change anything, and
//! they send each request once. Wire shapes stay in here; what comes out speaks in `model`'s words. No token, Account SID, account ID
//! or query string may reach an error, a log line or a `Debug` text.

pub mod advocate;
pub mod auth;
pub mod brand;
pub mod brand_writer;
mod client;
mod counts;
mod dispatch;
pub mod exports;
pub mod graphql;
mod json;
pub mod modification;
mod oddity;
pub mod options;
mod pace;
pub mod programs;
pub mod rate_headers;
pub mod referrals;
pub mod retry;
pub mod reward_canceller;
#[cfg(test)]
mod tests;
pub mod webhooks;
mod wire;

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
pub use client::{HeardClock, Stats};
pub use counts::answers;
pub use dispatch::WriteOutcome;
pub use exports::{Export, ExportStatus, ExportType};
pub use graphql::{Graph, ListedReward, Refusal, RewardPage, UserEvent};
pub use modification::{
    Change, ItemChange, ItemMoney, Modification, ORDER_UPDATE, is_full_retraction, modification_form,
};
pub(crate) use oddity::Oddities;
pub use options::{HostOptions, check_base};
pub use programs::Programs;
pub use referrals::{Referral, ReferralAnswer};
pub use reward_canceller::{CancelPermit, RewardCanceller};
pub use webhooks::{Change as SubscriptionChange, Subscriber, Subscription, fetch_public};

use crate::error::{Error, Kind};
use client::{Client, Question, effective_status, health};

/// Names a host and its settings in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) token_hint: &'static str,
    pub(crate) url_hint: &'static str,
}

/// The warning about a wait that a host cannot mean.
pub fn implausible_wait(host: &str) -> String {
    format!(
        "the {host} host asked for a wait of more than a day; recoup waits a day at most, and `recoup quota clear` ends the wait"
    )
}

/// 401. `odd` is what is odd about the credentials, as a sentence.
pub(crate) fn credentials_refused(host: Host, odd: Option<String>) -> Error {
    let odd = odd.map_or_else(String::new, |odd| format!("; {odd}"));
    Error::new(Kind::Credentials, format!("the {} API refuses the credentials{odd}", host.name))
        .hint(format!("check {}", host.token_hint))
}

/// 403.
pub(crate) fn scope_refused(host: Host, endpoint: &str) -> Error {
    Error::new(Kind::Scope, format!("the token may not use {} {endpoint}", host.name))
        .hint(format!("give the token this scope in impact.com, or use another one: {}", host.token_hint))
}

/// A status of an error with a body that the API does not send: it says nothing about the token, the tenant or what was asked for.
pub(crate) fn not_the_api(host: Host, endpoint: &str, status: u16, body: &str) -> Error {
    let own = match status {
        401 | 403 => format!("; if nothing lies in between, check {}", host.token_hint),
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
    .hint(format!("check that this machine may reach the host of {}, and HTTPS_PROXY if it is set{own}", host.url_hint))
}

/// 400 or 404 with a code that says that the tenant is unknown; `codes` in brackets.
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
