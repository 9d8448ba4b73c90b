//! Reads the Brand API of the vendor. `brand` reads programs, and its submodules read actions, submissions and files.
//!
//! The vendor's facts about the Brand API are from `docs/vendor/brand.md` §3, §4, §5, §7, §9. The client follows a link
//! in a response only if the link points to the host of that response. The reading client of the Brand API changes
//! nothing at the vendor; [`super::BrandWriter`] does.

pub mod actions;
pub mod files;
mod paging;
pub mod submissions;

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::segment;
use super::loose_json::Fields;
use super::pace::Pacer;
use super::{Client, Host, HostClock, HostOptions, Stats, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
pub use actions::{Action, ActionItem, ActionUpdate, UpdateFilter};
pub use files::{FileError, FileSubmission};
pub use paging::Listed;
use paging::{Page, page};
pub use submissions::{Submission, SubmissionStatus};

/// The default version of the Brand API (`docs/vendor/brand.md` §7).
pub const IR_VERSION: &str = "14";

/// The maximum number of pages of a short list, such as the programs of a brand.
const PAGES: usize = 50;

/// The error that the vendor reports for every Advocate event. The error `ACTION_NOT_FOUND` proves nothing
/// (`docs/vendor/contradictions.md` 15).
const INCONCLUSIVE: &str = "ACTION_NOT_FOUND";

const HOST: Host = Host {
    name: "Brand",
    token_hint: "RECOUP_ACCOUNT_SID and RECOUP_AUTH_TOKEN (or RECOUP_AUTH_TOKEN_FILE)",
    url_hint: "RECOUP_BRAND_URL",
};

/// Reads the data of one account from the Brand API. All clones of a Brand client share one set of connections, one
/// pacer and one set of counters.
#[derive(Clone)]
pub struct Brand(Arc<Inner>);

struct Inner {
    client: Client,
    /// The Brand API's base URL with the Account SID, without a trailing slash.
    root: String,
}

/// A program of the vendor. The Brand API calls a program a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub id: String,
    pub name: Option<String>,
    /// The type of the program: `Performance`, `Advocate` or another type. The vendor may add types.
    pub program_type: Option<String>,
    pub state: Option<String>,
}

impl Brand {
    /// Creates a client that reads the Brand API. `ir_version` is usually [`IR_VERSION`].
    ///
    /// # Errors
    /// Fails with `Config` if the base URL, the Account SID, the version, the rate or the token is unusable.
    pub fn new(
        options: &HostOptions,
        account_sid: &str,
        ir_version: &str,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        let root = root(options, account_sid)?;
        Ok(Self(Arc::new(Inner { client: Client::new(HOST, options, Some(ir_version), clock, stop)?, root })))
    }

    /// Lists every program of the vendor account.
    pub async fn programs(&self) -> Result<Vec<Program>> {
        let list = self.list("programs", self.url("Campaigns")?, PAGES, program_page).await?;
        let list = list.ok_or_else(|| missing("programs"))?;
        if list.complete || list.pages < PAGES {
            return Ok(list.rows);
        }
        Err(Error::new(Kind::Vendor, format!("the list of programs has no end within {PAGES} pages")))
    }

    /// Returns the vendor's clock compared with this machine's; `None` before the vendor's first answer.
    pub fn host_clock(&self) -> Option<HostClock> {
        self.0.client.host_clock()
    }

    pub fn stats(&self) -> Stats {
        self.0.client.stats()
    }

    /// Returns why this process cannot share the quota with other processes, as a sentence; `None` if it can.
    pub fn quota_trouble(&self) -> Option<String> {
        self.0.client.quota_trouble()
    }

    /// Returns the pacer of this host. A [`super::BrandWriter`] for the same host shares the pacer.
    pub(crate) fn pacer(&self) -> &Arc<Pacer> {
        self.0.client.pacer()
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/{path}", self.0.root)).map_err(unusable_base)
    }

    fn query(&self, path: &str, pairs: &[(&str, String)]) -> Result<Url> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(pairs);
        Ok(url)
    }

    fn follow(&self, link: &str) -> Result<Url> {
        resolve(&self.url("")?, link)
    }
}

/// Returns the error for a list endpoint of the vendor that answers 404.
fn missing(list: &str) -> Error {
    Error::new(Kind::Vendor, format!("Brand {list} answered 404"))
        .hint(format!("check {} and RECOUP_ACCOUNT_SID", HOST.url_hint))
}

/// Formats a time for a query parameter: `2024-01-01T00:00:00Z` (`docs/vendor/brand.md` §3).
fn format_time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Parses a time in a response, which has an offset: `2020-09-10T10:11:15-07:00`.
fn parse_time(text: Option<&String>) -> Option<Timestamp> {
    text?.trim().parse().ok()
}

/// Returns base URL and Account SID of the Brand API, without a trailing slash.
pub(crate) fn root(options: &HostOptions, account_sid: &str) -> Result<String> {
    check_base(&options.base)?;
    let sid = segment(account_sid)
        .ok_or_else(|| Error::new(Kind::Config, "the Account SID is missing").hint("set RECOUP_ACCOUNT_SID"))?;
    let root = format!("{}/{sid}", options.base.as_str().trim_end_matches('/'));
    Url::parse(&root).map_err(unusable_base)?;
    Ok(root)
}

pub(crate) fn unusable_base(cause: url::ParseError) -> Error {
    Error::new(Kind::Config, format!("the Brand base URL cannot be used: {cause}")).hint("check RECOUP_BRAND_URL")
}

/// Resolves a link from a response against the host of that response (`docs/vendor/contradictions.md` 12). The client
/// sends the token with every request. Therefore the client refuses a link to another host.
pub(crate) fn resolve(base: &Url, link: &str) -> Result<Url> {
    let refused =
        |why: &str| Error::new(Kind::Vendor, format!("the vendor returned a link that is not followed: {why}"));
    let url = base.join(link).map_err(|e| refused(&e.to_string()))?;
    if link.trim().is_empty() {
        return Err(refused("it is empty"));
    }
    if url.scheme() != base.scheme() {
        return Err(refused("it changes the scheme"));
    }
    if url.origin() != base.origin() {
        return Err(refused("it leads to another host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it carries credentials"));
    }
    Ok(url)
}

/// Parses a page of the account's programs. The vendor does not publish the JSON key of the array of programs. In every
/// other list of the vendor, the key of the array is the name of its objects.
fn program_page(body: &[u8]) -> Option<Page<Program>> {
    let program = |fields: &Fields, _: &str| {
        Some(Program {
            id: fields.text("Id")?,
            name: fields.text("Name"),
            program_type: fields.text("Type"),
            state: fields.text("State"),
        })
    };
    page(body, &["Campaigns", "Campaign"], program)
}
