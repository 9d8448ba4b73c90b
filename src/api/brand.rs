//! Reading the Brand API: submissions, programs, one action.
//!
//! Sources: `brand-api.md` §3, §4, §7, §9. A link that the vendor returns is followed as given, to the host it came from and
//! nowhere else. It must never change anything at the vendor; `brand_writer` is a separate type for that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::advocate::segment;
use super::json::Fields;
use super::pace::Pacer;
use super::{Client, Host, HostOptions, Stats, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, OrderId};

/// The version of the Brand API that is asked for unless configured otherwise (`brand-api.md` §7).
pub const IR_VERSION: &str = "14";

/// Pages of a list that are followed; programs of one brand are a handful.
const PAGES: usize = 50;

/// The reason that is normal for Advocate lines and proves nothing either way (`contradictions.md` 15).
const INCONCLUSIVE: &str = "ACTION_NOT_FOUND";

const HOST: Host = Host {
    name: "Brand",
    token_hint: "RECOUP_ACCOUNT_SID and RECOUP_AUTH_TOKEN (or RECOUP_AUTH_TOKEN_FILE)",
    url_hint: "RECOUP_BRAND_URL",
};

/// A reading client of one account. Clones share connections, pace and counts.
#[derive(Clone)]
pub struct Brand(Arc<Inner>);

struct Inner {
    client: Client,
    /// Base URL with the Account SID, without a trailing slash.
    root: String,
}

/// How far the vendor has got with a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionStatus {
    /// Not begun.
    Queued,
    /// Begun.
    InProgress,
    /// Ended, perhaps with errors (`contradictions.md` 13).
    Complete,
    /// A status that is not published, as it came.
    Other(String),
}

/// What became of a reversal or modification. Its `Debug` leaves `raw` out: it repeats what was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The vendor's ID of the submission; need not be a UUID.
    pub batch_id: Option<String>,
    /// How far it has got.
    pub status: SubmissionStatus,
    /// `Validation`, `Contract Error` or anything newer.
    pub error_type: Option<String>,
    /// The reasons, split on spaces; an open set, shown as they came (`contradictions.md` 14).
    pub error_reasons: Vec<String>,
    /// When it ended, as the vendor writes it.
    pub completion_date: Option<String>,
    /// The whole answer.
    pub raw: String,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("batch_id", &self.batch_id)
            .field("status", &self.status)
            .field("error_type", &self.error_type)
            .field("error_reasons", &self.error_reasons)
            .finish_non_exhaustive()
    }
}

impl Submission {
    /// Whether the vendor has finished with it.
    pub fn is_complete(&self) -> bool {
        self.status == SubmissionStatus::Complete
    }

    /// Whether it carries neither an error type nor a reason. Clean means processed, not retracted.
    pub fn is_clean(&self) -> bool {
        self.error_type.is_none() && self.error_reasons.is_empty()
    }

    /// Whether its only reason is `ACTION_NOT_FOUND`, which is normal for Advocate and proves nothing.
    pub fn is_inconclusive(&self) -> bool {
        !self.error_reasons.is_empty() && self.error_reasons.iter().all(|reason| reason == INCONCLUSIVE)
    }
}

/// A program ("campaign" in the API).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The vendor's ID.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// `Performance`, `Advocate`, … or anything newer.
    pub program_type: Option<String>,
    /// Its state, as it came.
    pub state: Option<String>,
}

/// One action, as far as recoup looks at it. Texts are as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The ActionId.
    pub id: ActionId,
    /// `PENDING`, `APPROVED`, `REVERSED` or anything newer.
    pub state: Option<String>,
    /// The amount, in `Currency`, as decimal text.
    pub amount: Option<String>,
    /// The order ID: `Oid` in answers, `OrderId` in requests (`contradictions.md` 25).
    pub oid: Option<OrderId>,
    /// After it the action cannot be changed.
    pub locking_date: Option<String>,
    /// When it happened.
    pub event_date: Option<String>,
    /// The event type's ID.
    pub action_tracker_id: Option<String>,
    /// The program's ID.
    pub campaign_id: Option<String>,
}

impl Brand {
    /// A client for one account; `ir_version` is usually [`IR_VERSION`].
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, Account SID, version, rate or token.
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

    /// The submission behind a QueuedUri; `None` where the vendor does not know it (it is kept at most 90 days).
    ///
    /// # Errors
    /// `Vendor` for a link to another host; otherwise `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn submission(&self, queued_uri: &str) -> Result<Option<Submission>> {
        let url = self.follow(queued_uri)?;
        self.0.client.get("submission", &url, submission).await
    }

    /// Every program of the account.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn programs(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        let mut url = self.url("Campaigns")?;
        for _ in 0..PAGES {
            let page = self.0.client.get("programs", &url, program_page).await?.ok_or_else(|| {
                Error::new(Kind::Vendor, "Brand programs answered 404")
                    .hint(format!("check {} and RECOUP_ACCOUNT_SID", HOST.url_hint))
            })?;
            programs.extend(page.programs);
            match page.next {
                Some(next) => url = self.follow(&next)?,
                None => return Ok(programs),
            }
        }
        Err(Error::new(Kind::Vendor, format!("the list of programs has no end within {PAGES} pages")))
    }

    /// One action; `None` where the vendor does not know it, which is normal for Advocate (`brand-api.md` §3).
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn action(&self, id: &ActionId) -> Result<Option<Action>> {
        let escaped = segment(id.as_str())
            .ok_or_else(|| Error::new(Kind::Vendor, "an ActionId that is empty or made of dots cannot be looked up"))?;
        let url = self.url(&format!("Actions/{escaped}"))?;
        Ok(self
            .0
            .client
            .get("action", &url, actions)
            .await?
            .and_then(|actions| actions.into_iter().find(|action| action.id == *id)))
    }

    /// What the client has done and is doing.
    pub fn stats(&self) -> Stats {
        self.0.client.stats()
    }

    /// Why the quota is not shared with other processes, where that is so: a sentence.
    pub fn quota_trouble(&self) -> Option<String> {
        self.0.client.quota_trouble()
    }

    /// The gate of this host, for the writer that shares it.
    pub(crate) fn pacer(&self) -> &Arc<Pacer> {
        self.0.client.pacer()
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/{path}", self.0.root)).map_err(unusable_base)
    }

    fn follow(&self, link: &str) -> Result<Url> {
        resolve(&self.url("")?, link)
    }
}

/// Base URL and Account SID, without a trailing slash.
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

/// A link of the vendor's, resolved against the host it came from (`contradictions.md` 12). The client signs every request,
/// so a link to anywhere else would hand the token to a stranger: it is refused, not followed without a token.
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

/// One submission. Without a status it is none.
pub(crate) fn submission(body: &Bytes) -> Option<Submission> {
    let fields = Fields::parse(body)?;
    let status = fields.text("Status")?;
    let folded: String = status.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let status = match folded.as_str() {
        "queued" => SubmissionStatus::Queued,
        "inprogress" => SubmissionStatus::InProgress,
        "complete" => SubmissionStatus::Complete,
        _ => SubmissionStatus::Other(status),
    };
    Some(Submission {
        batch_id: fields.text("BatchId"),
        status,
        error_type: fields.text("ErrorType").filter(|t| !t.trim().is_empty()),
        error_reasons: reasons(&fields),
        completion_date: fields.text("CompletionDate"),
        raw: std::str::from_utf8(body).ok()?.to_owned(),
    })
}

fn reasons(fields: &Fields) -> Vec<String> {
    let list = fields.raw("ErrorReason").and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let texts = list.unwrap_or_else(|| fields.text("ErrorReason").into_iter().collect());
    texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

struct ProgramPage {
    programs: Vec<Program>,
    next: Option<String>,
}

/// The envelope of this list is not published; every other list of the API sits under its object's name.
fn program_page(body: &Bytes) -> Option<ProgramPage> {
    let (rows, next) = if body.trim_ascii_start().first() == Some(&b'[') {
        (serde_json::from_slice::<Vec<Box<RawValue>>>(body).ok()?, None)
    } else {
        let fields = Fields::parse(body)?;
        let list = fields.raw("Campaigns").or_else(|| fields.raw("Campaign"))?;
        (serde_json::from_str(list.get()).ok()?, fields.text("@nextpageuri"))
    };
    let program = |row: Box<RawValue>| {
        let fields = Fields::parse(row.get().as_bytes())?;
        Some(Program {
            id: fields.text("Id")?,
            name: fields.text("Name"),
            program_type: fields.text("Type"),
            state: fields.text("State"),
        })
    };
    Some(ProgramPage { programs: rows.into_iter().filter_map(program).collect(), next })
}

/// One action bare, or the rows of a page of them.
pub(crate) fn actions(body: &Bytes) -> Option<Vec<Action>> {
    let fields = Fields::parse(body)?;
    let Some(rows) = fields.raw("Actions") else { return Some(vec![one_action(&fields)?]) };
    let rows: Vec<Box<RawValue>> = serde_json::from_str(rows.get()).ok()?;
    Some(rows.iter().filter_map(|row| one_action(&Fields::parse(row.get().as_bytes())?)).collect())
}

fn one_action(fields: &Fields) -> Option<Action> {
    Some(Action {
        id: ActionId::new(fields.text("Id")?),
        state: fields.text("State"),
        amount: fields.text("Amount"),
        oid: fields.text("Oid").or_else(|| fields.text("OrderId")).map(OrderId::new),
        locking_date: fields.text("LockingDate"),
        event_date: fields.text("EventDate"),
        action_tracker_id: fields.text("ActionTrackerId"),
        campaign_id: fields.text("CampaignId"),
    })
}
