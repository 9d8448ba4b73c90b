//! Creates, lists and downloads exports of the Advocate API.
//!
//! The vendor's facts about exports are from `docs/vendor/advocate.md` §4. The vendor answers the download of an export
//! with a redirect to a signed URL on a storage host. A client without credentials follows the redirect, and passes the
//! file on in chunks, because memory must never hold the whole file.

use reqwest::header::LOCATION;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::ReadRequest;
use super::advocate::{Advocate, segment};
use super::http::{Download, DownloadError};
use super::loose_json::Fields;
use super::options::is_loopback;
use crate::error::{Error, Kind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportType {
    /// The export has one row for each reward.
    Reward,
    /// The export has one row for each participant.
    User,
}

impl ExportType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reward => "REWARD",
            Self::User => "USER",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStatus {
    Pending,
    Completed,
    /// The vendor has stopped creating the export.
    Aborted,
    /// The vendor no longer offers the export's file for download.
    Expired,
    /// A status of an export that the vendor does not publish.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub id: String,
    /// The vendor's name of the export type.
    pub kind: String,
    /// The format of the export: `CSV` or `XLSX`.
    pub format: String,
    /// The name that the request for the export chose.
    pub name: String,
    pub status: ExportStatus,
    /// When the vendor created the export, in Unix milliseconds by the vendor's clock.
    pub date_created: Option<i64>,
    pub params: Value,
}

impl Advocate {
    /// Lists the newest exports of the tenant; `None` if the vendor has no such endpoint.
    pub async fn exports(&self, limit: u32) -> Result<Option<Vec<Export>>> {
        let url = self.url("export/history/list", &[("limit", &limit.to_string()), ("offset", "0")])?;
        self.client().get("list of exports", &url, export_list).await
    }

    /// Creates an export with a single attempt, because a retry could create a second export. If no answer to the
    /// request for an export arrives, the caller searches the list of exports for `name`.
    pub async fn create_export(&self, kind: ExportType, name: &str, params: &Value) -> Result<Export> {
        let url = self.url("export", &[])?;
        let json = json!({"type": kind.as_str(), "format": "CSV", "name": name, "params": params}).to_string();
        let request = ReadRequest { endpoint: "export", url: &url, json: Some(json), attempts: 1, also: None };
        let made = self.client().read(&request, |_, body| export(body)).await?;
        made.ok_or_else(|| {
            Error::new(Kind::Vendor, "Advocate export answered 404: this tenant has no exports")
                .hint("read another --source, such as participants")
        })
    }

    /// Reads the state of one export; `None` if the vendor does not know the export's ID. A response with the ID of
    /// another export counts as unreadable.
    pub async fn export(&self, id: &str) -> Result<Option<Export>> {
        let url = self.url(&format!("export/{}", id_segment(id)?), &[])?;
        self.client().get("export", &url, |body| export(body).filter(|export| export.id == id)).await
    }

    /// Downloads a completed export, and passes its file to `receive` chunk by chunk. Returns `None` if the vendor no
    /// longer offers the export's file.
    ///
    /// # Errors
    /// Also fails with every error of `receive`.
    pub async fn download(&self, id: &str, receive: impl FnMut(&[u8]) -> Result<()>) -> Result<Option<()>> {
        let url = self.url(&format!("export/{}/download", id_segment(id)?), &[])?;
        let request =
            ReadRequest { endpoint: "export download", url: &url, json: None, attempts: u32::MAX, also: Some(303) };
        let located = self.client().read(&request, |headers, _| {
            headers.get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned)
        });
        let Some(location) = located.await? else { return Ok(None) };
        let location = storage_url(&url, &location)?;
        match Download::new(is_loopback(&location))?.stream(location, receive).await {
            Ok(()) => Ok(Some(())),
            Err(DownloadError::Status(403 | 404 | 410)) => Ok(None),
            Err(DownloadError::Status(status)) => {
                Err(Error::new(Kind::Network, format!("the storage of the export answered {status}"))
                    .hint("run `recoup crawl` again later, or read another --source"))
            }
            Err(DownloadError::Receiver(error)) => Err(error),
            Err(DownloadError::Transport(failure)) => {
                Err(Error::new(Kind::Network, format!("the download of the export broke off: {}", failure.detail))
                    .hint(failure.hint("the export")))
            }
        }
    }
}

/// Checks the URL from which to download an export, which is on another host than the API. The check of a download URL
/// refuses plain HTTP, and credentials inside the URL.
fn storage_url(api: &Url, location: &str) -> Result<Url> {
    let refused = |why: &str| {
        Error::new(Kind::Vendor, format!("the address of an export is not followed: {why}"))
            .hint("read another --source, such as participants, and report it to the vendor")
    };
    let url = api.join(location).map_err(|_no_url| refused("it is no URL"))?;
    let is_local = url.scheme() == "http" && is_loopback(&url) && is_loopback(api);
    if url.scheme() != "https" && !is_local {
        return Err(refused("it is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it carries credentials"));
    }
    Ok(url)
}

fn id_segment(id: &str) -> Result<String> {
    segment(id).ok_or_else(|| Error::new(Kind::Vendor, "the ID of an export is empty or made of dots"))
}

pub(crate) fn export(body: &[u8]) -> Option<Export> {
    let fields = Fields::parse(body)?;
    let status = fields.text("status")?;
    Some(Export {
        id: fields.text("id")?,
        kind: fields.text("type").unwrap_or_default(),
        // The vendor creates an export as CSV by default.
        format: fields.first_text(&["format", "outputFormat"]).unwrap_or_else(|| "CSV".to_owned()),
        name: fields.text("name").unwrap_or_default(),
        status: match status.to_ascii_uppercase().as_str() {
            "PENDING" => ExportStatus::Pending,
            "COMPLETED" => ExportStatus::Completed,
            "ABORTED" => ExportStatus::Aborted,
            "EXPIRED" => ExportStatus::Expired,
            _ => ExportStatus::Other(status),
        },
        date_created: fields.number("dateCreated"),
        params: fields.raw("params").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null),
    })
}

fn export_list(body: &[u8]) -> Option<Vec<Export>> {
    let fields = Fields::parse(body)?;
    let rows: Vec<Box<RawValue>> = serde_json::from_str(fields.raw("data")?.get()).ok()?;
    Some(rows.iter().filter_map(|row| export(row.get().as_bytes())).collect())
}
