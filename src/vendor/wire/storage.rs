//! A file from a host of somebody else, piece by piece.
//!
//! It is unpacked here and not by reqwest, which ends without an error after the first of several gzip members: a crawl would take
//! the rest of an export for missing rows.

use std::io::Write;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::header::CONTENT_ENCODING;
use reqwest::retry;
use url::Url;

use super::{Failure, classify, no_https, plain_builder};
use crate::error::{Error, Result};

/// The longest silence in the middle of a download.
const SILENCE: Duration = Duration::from_mins(1);

/// The way to a storage host: a client that has no credentials, so that none can follow a redirect to it.
pub(crate) struct Storage(reqwest::Client);

impl Storage {
    /// `open`: the host is this machine, and plain http will do.
    pub(crate) fn new(open: bool) -> Result<Self> {
        let mut builder = plain_builder()
            .no_gzip()
            .retry(retry::never())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE);
        builder = if open { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        Ok(Self(builder.build().map_err(|error| no_https(&error))?))
    }

    /// Hands a file on in pieces. The inner `Err` is a status that is not 2xx; the outer one is the caller's own error, or
    /// a broken line.
    pub(crate) async fn stream(
        &self,
        url: Url,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Result<(), u16>, Result<Error, Failure>> {
        let mut response = self.0.get(url).send().await.map_err(|e| Err(classify(&e)))?;
        if !response.status().is_success() {
            return Ok(Err(response.status().as_u16()));
        }
        let encoding =
            response.headers().get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
        let mut packed = match encoding.as_deref() {
            None | Some(b"identity") => None,
            Some(b"gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => return Err(Err(Failure::unreadable())),
        };
        while let Some(piece) = response.chunk().await.map_err(|e| Err(classify(&e)))? {
            let Some(decoder) = &mut packed else {
                take(&piece).map_err(Ok)?;
                continue;
            };
            decoder.write_all(&piece).map_err(|_broken| Err(Failure::unreadable()))?;
            take(decoder.get_ref()).map_err(Ok)?;
            decoder.get_mut().clear();
        }
        if let Some(decoder) = packed {
            let rest = decoder.finish().map_err(|_cut_off| Err(Failure::unreadable()))?;
            take(&rest).map_err(Ok)?;
        }
        Ok(Ok(()))
    }
}
