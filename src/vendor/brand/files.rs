//! What became of files that were handed over by FTP or e-mail: the list, one of them, its errors line by line.
//!
//! Source: `docs/vendor/brand.md` §5 (Submissions v14: FtpSubmission, FtpErrorDetail). Files are sent by the operator's own tools:
//! it must never send one. `ACTION_NOT_FOUND` on a line is normal for Advocate and proves nothing (`docs/vendor/refund-guide.md` F2).

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;

use super::super::advocate::segment;
use super::super::json::Fields;
use super::paging::{Listed, Page, page};
use super::submissions::SubmissionStatus;
use super::{Brand, INCONCLUSIVE, missing, moment, read_moment};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;

/// Pages of files, or of one file's errors, that are followed.
const FILE_PAGES: usize = 200;

/// One file that the vendor received. Kept 90 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSubmission {
    /// The vendor's ID of it; need not be a UUID.
    pub batch_id: String,
    /// The name it was sent under.
    pub file_name: Option<String>,
    /// `Conversion`, `Modification`, `Reversal` or anything newer.
    pub submission_type: Option<String>,
    /// How far the vendor has got. One sample has no status; then a date of completion means complete.
    pub status: SubmissionStatus,
    /// When it arrived, as the vendor writes it.
    pub submission_date: Option<String>,
    /// When it ended, as the vendor writes it.
    pub completion_date: Option<String>,
    /// Lines in it.
    pub total_records: Option<u64>,
    /// Lines with an error. Falls when errors are put right.
    pub total_errors: Option<u64>,
    /// Where its errors are, as given.
    pub errors_uri: Option<String>,
}

impl FileSubmission {
    /// Whether the vendor has finished with it.
    pub fn is_complete(&self) -> bool {
        self.status == SubmissionStatus::Complete
    }

    /// When it arrived.
    pub fn submitted_at(&self) -> Option<Timestamp> {
        read_moment(self.submission_date.as_ref())
    }

    /// When it ended.
    pub fn completed_at(&self) -> Option<Timestamp> {
        read_moment(self.completion_date.as_ref())
    }
}

/// What was wrong with one line of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileError {
    /// The line of the file. From what it counts, and whether the header is one, is not published.
    pub line: Option<u64>,
    /// The program's ID.
    pub campaign_id: Option<String>,
    /// The event type's ID.
    pub action_tracker_id: Option<String>,
    /// The order.
    pub order_id: Option<OrderId>,
    /// The item.
    pub sku: Option<String>,
    /// `Validation`, `Contract Error` or anything newer.
    pub status: Option<String>,
    /// A code of an open set, or a sentence (`docs/vendor/contradictions.md` 14), as it came.
    pub reason: Option<String>,
}

impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileError")
            .field("line", &self.line)
            .field("action_tracker_id", &self.action_tracker_id)
            .field("order_id", &self.order_id)
            .field("sku", &self.sku)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl FileError {
    /// Whether its only reason is `ACTION_NOT_FOUND`, which every Advocate line shows and which proves nothing.
    pub fn is_inconclusive(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| reason.trim() == INCONCLUSIVE)
    }
}

impl Brand {
    /// The files that arrived since a moment (`SubmissionDateStart`).
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn file_submissions(&self, since: Timestamp) -> Result<Listed<FileSubmission>> {
        let url = self.query("FTPFileSubmissions", &[("SubmissionDateStart", moment(since))])?;
        let list = self.list("file submissions", url, FILE_PAGES, file_page).await?;
        list.ok_or_else(|| missing("file submissions"))
    }

    /// One file; `None` where the vendor does not know it. Another file is no answer.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn file_submission(&self, batch_id: &str) -> Result<Option<FileSubmission>> {
        let url = self.url(&file_path(batch_id)?)?;
        let own = |body: &Bytes| file(body).filter(|file| file.batch_id.eq_ignore_ascii_case(batch_id));
        self.0.client.get("file submission", &url, own).await
    }

    /// The errors of a file. Its `ErrorsUri` is followed; where that is missing, leads to another host or to nothing, the
    /// documented path is asked (`docs/vendor/contradictions.md` 17). `None` where that is not there either.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Network`, `Vendor`.
    pub async fn file_errors(&self, file: &FileSubmission) -> Result<Option<Listed<FileError>>> {
        let documented = self.url(&format!("{}/ErrorDetails", file_path(&file.batch_id)?))?;
        let given = file.errors_uri.as_deref().and_then(|link| self.follow(link).ok());
        if let Some(given) = given.filter(|given| *given != documented)
            && let Some(list) = self.list("file errors", given, FILE_PAGES, file_error_page).await?
        {
            return Ok(Some(list));
        }
        self.list("file errors", documented, FILE_PAGES, file_error_page).await
    }
}

fn file_path(batch_id: &str) -> Result<String> {
    let id = segment(batch_id)
        .ok_or_else(|| Error::new(Kind::Usage, "a batch ID that is empty or made of dots cannot be looked up"))?;
    Ok(format!("FTPFileSubmissions/{id}"))
}

/// One file bare, or the only row of a page.
pub(crate) fn file(body: &Bytes) -> Option<FileSubmission> {
    one_file(&Fields::parse(body)?).or_else(|| file_page(body)?.into_rows().pop())
}

/// The list sits under `FTPFileSubmissions`.
pub(crate) fn file_page(body: &Bytes) -> Option<Page<FileSubmission>> {
    page(body, &["FTPFileSubmissions", "FTPFileSubmission"], |fields, _| one_file(fields))
}

fn one_file(fields: &Fields) -> Option<FileSubmission> {
    let completion_date = fields.text("CompletionDate");
    let status = match fields.text("Status") {
        Some(status) => SubmissionStatus::read(status),
        None if completion_date.is_some() => SubmissionStatus::Complete,
        None => SubmissionStatus::Other(String::new()),
    };
    let number = |key: &str| fields.text(key).and_then(|text| text.trim().parse().ok());
    Some(FileSubmission {
        batch_id: fields.text("BatchId")?,
        file_name: fields.text("FileName"),
        submission_type: fields.text("Type"),
        status,
        submission_date: fields.text("SubmissionDate"),
        completion_date,
        total_records: number("TotalRecords"),
        total_errors: number("TotalErrors"),
        errors_uri: fields.text("ErrorsUri"),
    })
}

/// The list sits under `ErrorDetail`.
pub(crate) fn file_error_page(body: &Bytes) -> Option<Page<FileError>> {
    page(body, &["ErrorDetail", "ErrorDetails"], |fields, _| one_file_error(fields))
}

/// A row that names neither its line nor its order says nothing about any row of the file.
fn one_file_error(fields: &Fields) -> Option<FileError> {
    let line = fields.text("Line").and_then(|text| text.trim().parse().ok());
    let order_id = fields.text("OrderId").or_else(|| fields.text("Oid")).map(OrderId::new);
    if line.is_none() && order_id.is_none() {
        return None;
    }
    Some(FileError {
        line,
        campaign_id: fields.text("CampaignId"),
        action_tracker_id: fields.text("ActionTrackerId"),
        order_id,
        sku: fields.text("Sku"),
        status: fields.text("Status"),
        reason: fields.text("Reason"),
    })
}
