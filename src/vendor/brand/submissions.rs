//! What became of what was sent: one submission by its link, and the list of all of them.
//!
//! Sources: `docs/vendor/brand.md` §4, `docs/vendor/contradictions.md` 11 to 16. `Complete` may carry errors, `ACTION_NOT_FOUND` proves nothing,
//! and reasons are an open set. It must never say that an action was reversed: no submission knows.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use url::Url;

use super::super::json::{Fields, text};
use super::paging::{Listed, Page, page};
use super::{Brand, INCONCLUSIVE, missing, read_moment};
use crate::error::Result;
use crate::model::{OrderId, Target};

/// How far the vendor has got with a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionStatus {
    /// Not begun.
    Queued,
    /// Begun.
    InProgress,
    /// Ended, perhaps with errors (`docs/vendor/contradictions.md` 13).
    Complete,
    /// A status that is not published, as it came.
    Other(String),
}

/// What became of a reversal or modification. Its `Debug` leaves out what was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The vendor's ID of the submission; need not be a UUID.
    pub batch_id: Option<String>,
    /// `Conversion`, `Modification`, `Reversal` or anything newer.
    pub submission_type: Option<String>,
    /// How far it has got.
    pub status: SubmissionStatus,
    /// When it arrived, as the vendor writes it.
    pub submission_date: Option<String>,
    /// The order it is about, where the request named one.
    pub order_id: Option<OrderId>,
    /// The event type's ID.
    pub action_tracker_id: Option<String>,
    /// The program's ID.
    pub campaign_id: Option<String>,
    /// The form that was sent, as far as it can be read: an ActionId is here and nowhere else (`docs/vendor/brand.md` §4).
    pub payload: Vec<(String, String)>,
    /// `Validation`, `Contract Error` or anything newer.
    pub error_type: Option<String>,
    /// The reasons, split on spaces; an open set, shown as they came (`docs/vendor/contradictions.md` 14).
    pub error_reasons: Vec<String>,
    /// When it ended, as the vendor writes it.
    pub completion_date: Option<String>,
    /// Where it is, as given.
    pub uri: Option<String>,
    /// The whole answer.
    pub raw: String,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("batch_id", &self.batch_id)
            .field("submission_type", &self.submission_type)
            .field("status", &self.status)
            .field("error_type", &self.error_type)
            .field("error_reasons", &self.error_reasons)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Submission {
    /// One of this type with this form, and nothing else.
    pub fn sample(kind: &str, payload: &[(&str, &str)]) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            batch_id: None,
            submission_type: text(kind),
            status: SubmissionStatus::Complete,
            submission_date: None,
            order_id: None,
            action_tracker_id: None,
            campaign_id: None,
            payload: payload.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            error_type: None,
            error_reasons: Vec::new(),
            completion_date: None,
            uri: None,
            raw: String::new(),
        }
    }
}

impl Submission {
    /// When it arrived.
    pub fn submitted_at(&self) -> Option<Timestamp> {
        read_moment(self.submission_date.as_ref())
    }

    /// When it ended.
    pub fn completed_at(&self) -> Option<Timestamp> {
        read_moment(self.completion_date.as_ref())
    }

    /// The value that was sent under a name, in any case of letters.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.payload.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it is about this target: its payload names the ActionId, or the order and the event type. Of the last two
    /// the submission's own fields count where the payload is silent.
    pub fn is_about(&self, target: &Target) -> bool {
        match target {
            Target::Action(action_id) => self.sent("ActionId") == Some(action_id.as_str()),
            Target::Order { order_id, action_tracker_id } => {
                let order = self.sent("OrderId").or_else(|| self.sent("Oid"));
                let order = order.or_else(|| self.order_id.as_ref().map(OrderId::as_str));
                let tracker = self.sent("ActionTrackerId").or(self.action_tracker_id.as_deref());
                self.sent("ActionId").is_none()
                    && order == Some(order_id.as_str())
                    && tracker == Some(action_tracker_id.as_str())
            }
        }
    }

    /// Whether it may be what this URL was asked for: either of its names, batch ID and URI, is that of the URL, or it has none.
    /// The two differ in a published sample (`docs/vendor/contradictions.md` 12).
    fn is_asked_for_by(&self, url: &Url) -> bool {
        let wanted = name_in(url.path());
        let own = self.uri.as_deref().map(name_in);
        let mut names = self.batch_id.iter().map(|id| id.trim().to_owned()).chain(own).peekable();
        names.peek().is_none() || names.any(|name| name.eq_ignore_ascii_case(&wanted))
    }

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

impl SubmissionStatus {
    /// Reads `In Progress` however it is spaced and in whatever case.
    pub(super) fn read(status: String) -> Self {
        let folded: String = status.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        match folded.as_str() {
            "queued" => Self::Queued,
            "inprogress" => Self::InProgress,
            "complete" => Self::Complete,
            _ => Self::Other(status),
        }
    }
}

impl Brand {
    /// The submission behind a QueuedUri; `None` where the vendor does not know it (it is kept at most 90 days). The body of
    /// another submission is no answer.
    ///
    /// # Errors
    /// `Vendor` for a link to another host; otherwise `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn submission(&self, queued_uri: &str) -> Result<Option<Submission>> {
        let url = self.follow(queued_uri)?;
        let own = |body: &Bytes| submission(body).filter(|answer| answer.is_asked_for_by(&url));
        self.0.client.get("submission", &url, own).await
    }

    /// Every submission of the last 90 days, from at most `pages` pages. No filter and no order is published for this list,
    /// and the vendor discourages asking for it (`docs/vendor/brand.md` §4): ask sparingly, and compare dates here. Only a complete
    /// list can show that a request never arrived.
    ///
    /// # Errors
    /// `Scope` where the token may not list them, `Vendor` where the account has no such list (404) or answers something
    /// else; otherwise `Interrupted`, `Parked`, `Credentials`, `Network`.
    pub async fn submissions(&self, pages: usize) -> Result<Listed<Submission>> {
        let list = self.list("submissions", self.url("APISubmissions")?, pages, submission_page).await?;
        list.ok_or_else(|| missing("submissions"))
    }
}

/// The list sits under `APISubmission` (`docs/vendor/brand.md` §3); a plural would surprise nobody.
pub(crate) fn submission_page(body: &Bytes) -> Option<Page<Submission>> {
    page(body, &["APISubmission", "APISubmissions"], one_submission)
}

/// One submission. Without a status it is none.
pub(crate) fn submission(body: &Bytes) -> Option<Submission> {
    one_submission(&Fields::parse(body)?, std::str::from_utf8(body).ok()?)
}

fn one_submission(fields: &Fields, raw: &str) -> Option<Submission> {
    Some(Submission {
        batch_id: fields.text("BatchId"),
        submission_type: fields.text("Type"),
        status: SubmissionStatus::read(fields.text("Status")?),
        submission_date: fields.text("SubmissionDate"),
        order_id: fields.text("OrderId").or_else(|| fields.text("Oid")).map(OrderId::new),
        action_tracker_id: fields.text("ActionTrackerId"),
        campaign_id: fields.text("CampaignId"),
        payload: fields.raw("Payload").map(payload).unwrap_or_default(),
        error_type: fields.text("ErrorType").filter(|t| !t.trim().is_empty()),
        error_reasons: reasons(fields),
        completion_date: fields.text("CompletionDate"),
        uri: fields.text("Uri"),
        raw: raw.to_owned(),
    })
}

/// The ID at the end of a path: decoded, without a query and without the form that is asked for.
fn name_in(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default().trim().trim_end_matches('/');
    let name = percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8_lossy().into_owned();
    match name.strip_suffix(".json") {
        Some(bare) => bare.to_owned(),
        None => name,
    }
}

fn reasons(fields: &Fields) -> Vec<String> {
    let list = fields.raw("ErrorReason").and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let texts = list.unwrap_or_else(|| fields.text("ErrorReason").into_iter().collect());
    texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// The form that was sent. The published sample is form-encoded text; an object, or the text of one, is read too. Anything
/// else has no pairs, and stands in [`Submission::raw`].
fn payload(raw: &RawValue) -> Vec<(String, String)> {
    let Some(sent) = text(raw) else { return members(raw.get()) };
    if sent.trim_start().starts_with('{') {
        return members(&sent);
    }
    let pairs = url::form_urlencoded::parse(sent.trim().trim_start_matches('?').as_bytes());
    pairs.into_owned().filter(|(key, value)| !(key.is_empty() || value.is_empty())).collect()
}

fn members(object: &str) -> Vec<(String, String)> {
    let members: Option<std::collections::BTreeMap<String, Box<RawValue>>> = serde_json::from_str(object).ok();
    members.unwrap_or_default().into_iter().filter_map(|(key, value)| Some((key, text(&value)?))).collect()
}
