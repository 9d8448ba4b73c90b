//! Reads the vendor's results for files that the operator has sent by FTP or e-mail: the list of files, one file, and a
//! file's errors by line.
//!
//! The vendor's facts about files are from `docs/vendor/brand.md` §5 (Submissions v14: FtpSubmission, FtpErrorDetail).
//! recoup itself sends no reversal file. `ACTION_NOT_FOUND` on a line of a file is normal for Advocate events and
//! proves nothing (`docs/vendor/refund-guide.md` F2).

use std::fmt;

use jiff::Timestamp;

use super::super::advocate::segment;
use super::super::loose_json::Fields;
use super::paging::{Listed, Page, page};
use super::submissions::SubmissionStatus;
use super::{Brand, INCONCLUSIVE, format_time, missing, parse_time};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;

/// The maximum number of pages in the list of files, and in the list of one file's errors.
const FILE_PAGES: usize = 200;

/// A file that the vendor received. The vendor keeps the record of a file for 90 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSubmission {
    /// The vendor's ID of the file. The vendor's ID of a file is not always a UUID.
    pub batch_id: String,
    pub file_name: Option<String>,
    /// The type of the file: `Conversion`, `Modification`, `Reversal` or another type. The vendor may add types.
    pub submission_type: Option<String>,
    /// The status of the vendor's processing of the file. If the vendor gives no status, as in one sample, a completion
    /// date means `Complete`.
    pub status: SubmissionStatus,
    pub submission_date: Option<String>,
    pub completion_date: Option<String>,
    pub total_records: Option<u64>,
    /// The number of lines of the file that have an error. The number of errors falls when the brand corrects errors.
    pub total_errors: Option<u64>,
    /// The vendor's link to the list of the file's errors.
    pub errors_uri: Option<String>,
}

impl FileSubmission {
    /// Returns `true` if the vendor has processed the file.
    pub fn is_complete(&self) -> bool {
        self.status == SubmissionStatus::Complete
    }

    pub fn submitted_at(&self) -> Option<Timestamp> {
        parse_time(self.submission_date.as_ref())
    }

    pub fn completed_at(&self) -> Option<Timestamp> {
        parse_time(self.completion_date.as_ref())
    }
}

/// The error of one line of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileError {
    /// The number of the line that has the error. The vendor does not publish whether the first line of a file has
    /// number 0 or 1, or whether the header counts.
    pub line: Option<u64>,
    /// The ID of the program in the file's line.
    pub campaign_id: Option<String>,
    /// The ID of the event type in the file's line.
    pub action_tracker_id: Option<String>,
    pub order_id: Option<OrderId>,
    pub sku: Option<String>,
    /// The status of the line's error: `Validation`, `Contract Error` or another status. The vendor may add statuses.
    pub status: Option<String>,
    /// The reason of the line's error: a reason code, or a full sentence (`docs/vendor/contradictions.md` 14).
    pub reason: Option<String>,
}

/// Leaves out the reason of the error, because it may be a sentence about a person.
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
    /// Returns `true` if the only reason of the error is `ACTION_NOT_FOUND`. The vendor reports `ACTION_NOT_FOUND` for
    /// every line about an Advocate event. Therefore the error `ACTION_NOT_FOUND` proves nothing.
    pub fn is_inconclusive(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| reason.trim() == INCONCLUSIVE)
    }
}

impl Brand {
    /// Lists the files that the vendor received since this time (`SubmissionDateStart`).
    pub async fn file_submissions(&self, since: Timestamp) -> Result<Listed<FileSubmission>> {
        let url = self.query("FTPFileSubmissions", &[("SubmissionDateStart", format_time(since))])?;
        let list = self.list("file submissions", url, FILE_PAGES, file_page).await?;
        list.ok_or_else(|| missing("file submissions"))
    }

    /// Reads the vendor's record of one file; `None` if the vendor does not know the batch ID. A response with another
    /// batch ID counts as unreadable.
    pub async fn file_submission(&self, batch_id: &str) -> Result<Option<FileSubmission>> {
        let url = self.url(&file_path(batch_id)?)?;
        let own = |body: &[u8]| file(body).filter(|file| file.batch_id.eq_ignore_ascii_case(batch_id));
        self.0.client.get("file submission", &url, own).await
    }

    /// Lists the errors of a file by the vendor's link `ErrorsUri`. If `ErrorsUri` is missing, points to another host,
    /// or answers 404, the client requests the documented path (`docs/vendor/contradictions.md` 17). Returns `None` if
    /// the documented path of the errors also answers 404.
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

/// Parses one bare file record, or a page that contains a single file record.
pub(crate) fn file(body: &[u8]) -> Option<FileSubmission> {
    one_file(&Fields::parse(body)?).or_else(|| file_page(body)?.rows.pop())
}

pub(crate) fn file_page(body: &[u8]) -> Option<Page<FileSubmission>> {
    page(body, &["FTPFileSubmissions", "FTPFileSubmission"], |fields, _| one_file(fields))
}

fn one_file(fields: &Fields) -> Option<FileSubmission> {
    let completion_date = fields.text("CompletionDate");
    let status = match fields.text("Status") {
        Some(status) => SubmissionStatus::parse(status),
        None if completion_date.is_some() => SubmissionStatus::Complete,
        None => SubmissionStatus::Other(String::new()),
    };
    Some(FileSubmission {
        batch_id: fields.text("BatchId")?,
        file_name: fields.text("FileName"),
        submission_type: fields.text("Type"),
        status,
        submission_date: fields.text("SubmissionDate"),
        completion_date,
        total_records: fields.number("TotalRecords"),
        total_errors: fields.number("TotalErrors"),
        errors_uri: fields.text("ErrorsUri"),
    })
}

pub(crate) fn file_error_page(body: &[u8]) -> Option<Page<FileError>> {
    page(body, &["ErrorDetail", "ErrorDetails"], |fields, _| one_file_error(fields))
}

/// Parses the error of one line of a file. Returns `None` if the error has neither a line number nor an order ID,
/// because recoup could match it to no line of the file.
fn one_file_error(fields: &Fields) -> Option<FileError> {
    let line = fields.number("Line");
    let order_id = fields.first_text(&["OrderId", "Oid"]).map(OrderId::new);
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
