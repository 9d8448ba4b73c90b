//! Reads the vendor's results for reversals and modifications: one submission by its link, or the list of all
//! submissions.
//!
//! The vendor's facts about submissions are from `docs/vendor/brand.md` §4 and `docs/vendor/contradictions.md` 11 to
//! 16. A submission with the status `Complete` may have errors, `ACTION_NOT_FOUND` proves nothing, and the vendor may
//! add reasons at any time. No submission proves that the vendor reversed an action.

use std::fmt;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use url::Url;

use super::super::loose_json::{Fields, text};
use super::paging::{Listed, Page, page};
use super::{Brand, INCONCLUSIVE, missing, parse_time};
use crate::error::Result;
use crate::model::{OrderId, Target};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionStatus {
    Queued,
    InProgress,
    /// The vendor has processed the submission, which may still have errors (`docs/vendor/contradictions.md` 13).
    Complete,
    /// A status of a submission that the vendor does not publish.
    Other(String),
}

/// The vendor's record of a request to reverse or modify an action.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The vendor's ID of the submission. The vendor's ID of a submission is not always a UUID.
    pub batch_id: Option<String>,
    /// The type of the submission: `Conversion`, `Modification`, `Reversal` or another type. The vendor may add types.
    pub submission_type: Option<String>,
    pub status: SubmissionStatus,
    pub submission_date: Option<String>,
    /// The order ID of the submission, if its request contained an order ID.
    pub order_id: Option<OrderId>,
    /// The ID of the submission's event type.
    pub action_tracker_id: Option<String>,
    /// The ID of the submission's program.
    pub campaign_id: Option<String>,
    /// The parameters of the submission's original request. A submission has the ActionId only in the parameters of its
    /// request (`docs/vendor/brand.md` §4).
    pub payload: Vec<(String, String)>,
    /// The type of the submission's error: `Validation`, `Contract Error` or another type. The vendor may add types.
    pub error_type: Option<String>,
    /// The reason codes of the submission's error, split at spaces. The vendor may add reason codes
    /// (`docs/vendor/contradictions.md` 14).
    pub error_reasons: Vec<String>,
    pub completion_date: Option<String>,
    /// The vendor's link to the submission.
    pub uri: Option<String>,
    pub raw: String,
}

/// Leaves out the parameters of the submission's request, because they contain IDs.
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
    pub fn submitted_at(&self) -> Option<Timestamp> {
        parse_time(self.submission_date.as_ref())
    }

    pub fn completed_at(&self) -> Option<Timestamp> {
        parse_time(self.completion_date.as_ref())
    }

    /// Returns the value of a parameter of the submission's original request. The case of the parameter's `name` does
    /// not matter.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.payload.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns `true` if the submission is about this target: its request contains the ActionId, or the order ID and
    /// the event type. If the request lacks the order ID or the event type, this function compares the submission's own
    /// field instead.
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

    /// Returns `true` if this may be the submission at the URL: its batch ID or its URI ends like the URL, or it has
    /// neither. In a published sample, the batch ID of a submission differs from its URI
    /// (`docs/vendor/contradictions.md` 12). Therefore a match of either the batch ID or the URI is enough.
    fn may_be_at(&self, url: &Url) -> bool {
        let wanted = name_in(url.path());
        let own = self.uri.as_deref().map(name_in);
        let mut names = self.batch_id.iter().map(|id| id.trim().to_owned()).chain(own).peekable();
        names.peek().is_none() || names.any(|name| name.eq_ignore_ascii_case(&wanted))
    }

    /// Returns `true` if the vendor has processed the submission.
    pub fn is_complete(&self) -> bool {
        self.status == SubmissionStatus::Complete
    }

    /// Returns `true` if the submission has neither an error type nor a reason. A submission without errors does not
    /// prove that the vendor took the reward back.
    pub fn is_clean(&self) -> bool {
        self.error_type.is_none() && self.error_reasons.is_empty()
    }

    /// Returns `true` if the only reason of the submission's error is `ACTION_NOT_FOUND`. The vendor reports
    /// `ACTION_NOT_FOUND` for every Advocate event. Therefore the error `ACTION_NOT_FOUND` proves nothing.
    pub fn is_inconclusive(&self) -> bool {
        !self.error_reasons.is_empty() && self.error_reasons.iter().all(|reason| reason == INCONCLUSIVE)
    }
}

impl SubmissionStatus {
    /// Parses the status of a submission. Case and spacing of a status do not matter: `In Progress` equals
    /// `InProgress`.
    pub(super) fn parse(status: String) -> Self {
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
    /// Reads the submission at a QueuedUri; `None` if the vendor does not know the URI. The vendor keeps a submission
    /// for at most 90 days. A response with another submission counts as unreadable.
    ///
    /// # Errors
    /// Also fails with `Vendor` if the link points to another host.
    pub async fn submission(&self, queued_uri: &str) -> Result<Option<Submission>> {
        let url = self.follow(queued_uri)?;
        let own = |body: &[u8]| submission(body).filter(|answer| answer.may_be_at(&url));
        self.0.client.get("submission", &url, own).await
    }

    /// Lists the submissions of the last 90 days, with at most `pages` pages. The list of submissions has no published
    /// filter or order, and the vendor discourages reading it (`docs/vendor/brand.md` §4). Therefore callers must list
    /// the submissions rarely. Only a complete list of submissions can prove that a request never arrived.
    pub async fn submissions(&self, pages: usize) -> Result<Listed<Submission>> {
        let list = self.list("submissions", self.url("APISubmissions")?, pages, submission_page).await?;
        list.ok_or_else(|| missing("submissions"))
    }
}

/// Parses a page of the vendor's submissions. The published JSON key of the submissions is the singular `APISubmission`
/// (`docs/vendor/brand.md` §3). The parser of submissions also accepts a plural key.
pub(crate) fn submission_page(body: &[u8]) -> Option<Page<Submission>> {
    page(body, &["APISubmission", "APISubmissions"], one_submission)
}

/// Parses one submission of the vendor. Returns `None` if the submission has no status.
pub(crate) fn submission(body: &[u8]) -> Option<Submission> {
    one_submission(&Fields::parse(body)?, std::str::from_utf8(body).ok()?)
}

fn one_submission(fields: &Fields, raw: &str) -> Option<Submission> {
    Some(Submission {
        batch_id: fields.text("BatchId"),
        submission_type: fields.text("Type"),
        status: SubmissionStatus::parse(fields.text("Status")?),
        submission_date: fields.text("SubmissionDate"),
        order_id: fields.first_text(&["OrderId", "Oid"]).map(OrderId::new),
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

/// Decodes the ID at the end of a URL's path, without query and `.json`.
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

/// Parses the parameters of a submission's original request. In the published sample, the parameters of the request are
/// form-encoded text. The parser of the parameters also accepts a JSON object, or a string that contains a JSON object.
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
