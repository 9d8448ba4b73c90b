//! Exports of the Advocate API: asked for, waited for, and downloaded piece by piece.
//!
//! Source: `docs/vendor/advocate.md` §4. The download answers with a redirect to a signed address on a storage host of somebody
//! else: it is followed by a client that has no credentials to send, and by no other. The file is handed on in pieces and
//! never held whole.

use bytes::Bytes;
use reqwest::header::LOCATION;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::Question;
use super::advocate::{Advocate, segment};
use super::json::Fields;
use super::options::is_loopback;
use super::wire::{Failure, Storage};
use crate::error::{Error, Kind, Result};

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportType {
    /// One row for each reward.
    Reward,
    /// One row for each participant.
    User,
}

impl ExportType {
    /// The vendor's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reward => "REWARD",
            Self::User => "USER",
        }
    }
}

/// Where an export stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStatus {
    /// Being made.
    Pending,
    /// Can be downloaded.
    Completed,
    /// Will never be made.
    Aborted,
    /// Can no longer be downloaded.
    Expired,
    /// Something newer.
    Other(String),
}

/// One export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its ID.
    pub id: String,
    /// The vendor's type.
    pub kind: String,
    /// `CSV` or `XLSX`.
    pub format: String,
    /// The name that it was asked for under.
    pub name: String,
    /// Where it stands.
    pub status: ExportStatus,
    /// Unix milliseconds, the server's.
    pub date_created: Option<i64>,
    /// Unix milliseconds, the server's.
    pub date_completed: Option<i64>,
    /// The parameters, as JSON.
    pub params: Value,
}

impl Advocate {
    /// The newest exports of the tenant; `None` where the endpoint does not exist.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Tenant`, `Network`, `Vendor`.
    pub async fn exports(&self, limit: u32) -> Result<Option<Vec<Export>>> {
        let url = self.url("export/history/list", &[("limit", limit.to_string()), ("offset", "0".to_owned())])?;
        self.client().get("list of exports", &url, |body| export_list(body)).await
    }

    /// Asks for an export. One try: a second one would make a second export, so where no answer came, the list of exports
    /// says whether there is one of this name.
    ///
    /// # Errors
    /// As [`Advocate::exports`].
    pub async fn create_export(&self, kind: ExportType, name: &str, params: &Value) -> Result<Export> {
        let url = self.url("export", &[])?;
        let body = json!({"type": kind.as_str(), "format": "CSV", "name": name, "params": params}).to_string();
        let question = Question { endpoint: "export", attempts: 1, also: None };
        let made = self.client().post(question, &url, &Bytes::from(body), |_, body| export(body)).await?;
        made.ok_or_else(|| Error::new(Kind::Vendor, "Advocate export answered 404: this tenant has no exports"))
    }

    /// Where an export stands; `None` where the vendor does not know it. Another export is no answer.
    ///
    /// # Errors
    /// As [`Advocate::exports`].
    pub async fn export(&self, id: &str) -> Result<Option<Export>> {
        let url = self.url(&format!("export/{}", id_segment(id)?), &[])?;
        self.client().get("export", &url, |body| export(body).filter(|export| export.id == id)).await
    }

    /// Downloads a completed export, piece by piece. `None` where it can no longer be downloaded.
    ///
    /// # Errors
    /// As [`Advocate::exports`], and what `take` gives.
    pub async fn download(&self, id: &str, take: impl FnMut(&[u8]) -> Result<()>) -> Result<Option<()>> {
        let url = self.url(&format!("export/{}/download", id_segment(id)?), &[])?;
        let question = Question { endpoint: "export download", attempts: u32::MAX, also: Some(303) };
        let located = self.client().get_with(question, &url, |headers, _| {
            headers.get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned)
        });
        let Some(location) = located.await? else { return Ok(None) };
        let location = storage_url(&url, &location)?;
        let storage = Storage::new(is_loopback(&location))?;
        match storage.stream(location, take).await {
            Ok(Ok(())) => Ok(Some(())),
            Ok(Err(403 | 404 | 410)) => Ok(None),
            Ok(Err(status)) => Err(Error::new(Kind::Network, format!("the storage of the export answered {status}"))),
            Err(stopped) => Err(stopped.unwrap_or_else(|failure: Failure| {
                Error::new(Kind::Network, format!("the download of the export broke off: {}", failure.detail))
            })),
        }
    }
}

/// Another host is what a download is about; an open line, or credentials in the address, are not.
fn storage_url(asked: &Url, location: &str) -> Result<Url> {
    let refused = |why: &str| Error::new(Kind::Vendor, format!("the address of an export is not followed: {why}"));
    let url = asked.join(location).map_err(|_no_url| refused("it is no URL"))?;
    let open = url.scheme() == "http" && is_loopback(&url) && is_loopback(asked);
    if url.scheme() != "https" && !open {
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

/// One export record.
pub(crate) fn export(body: &[u8]) -> Option<Export> {
    let fields = Fields::parse(body)?;
    let date = |name: &str| fields.text(name).and_then(|ms| ms.trim().parse().ok());
    let status = fields.text("status")?;
    Some(Export {
        id: fields.text("id")?,
        kind: fields.text("type").unwrap_or_default(),
        // CSV is the vendor's default.
        format: fields.text("format").or_else(|| fields.text("outputFormat")).unwrap_or_else(|| "CSV".to_owned()),
        name: fields.text("name").unwrap_or_default(),
        status: match status.to_ascii_uppercase().as_str() {
            "PENDING" => ExportStatus::Pending,
            "COMPLETED" => ExportStatus::Completed,
            "ABORTED" => ExportStatus::Aborted,
            "EXPIRED" => ExportStatus::Expired,
            _ => ExportStatus::Other(status),
        },
        date_created: date("dateCreated"),
        date_completed: date("dateCompleted"),
        params: fields.raw("params").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null),
    })
}

fn export_list(body: &[u8]) -> Option<Vec<Export>> {
    let fields = Fields::parse(body)?;
    let rows: Vec<Box<RawValue>> = serde_json::from_str(fields.raw("data")?.get()).ok()?;
    Some(rows.iter().filter_map(|row| export(row.get().as_bytes())).collect())
}
