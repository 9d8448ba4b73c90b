//! Downloads a file in chunks from a host that is not the vendor's API.
//!
//! The download decompresses its chunks itself, because reqwest stops without an error after the first of several gzip
//! members. If the download ended after the first gzip member, a crawl would treat the rows of the other members as
//! missing.

use std::io::Write;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::header::CONTENT_ENCODING;
use reqwest::retry;
use url::Url;

use super::{Failure, classify, no_https, plain_builder};
use crate::error::{Error, Result};

/// The longest pause between two chunks of a download.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// An HTTP client without credentials. A redirect therefore cannot send credentials to a storage host.
pub(crate) struct Download(reqwest::Client);

pub(crate) enum DownloadError {
    /// The download host answered with a status other than 2xx.
    Status(u16),
    /// The `receive` callback of the download failed.
    Receiver(Error),
    Transport(Failure),
}

impl From<Failure> for DownloadError {
    fn from(failure: Failure) -> Self {
        Self::Transport(failure)
    }
}

impl Download {
    /// `is_local` permits plain HTTP for the download, because the host is this machine.
    pub(crate) fn new(is_local: bool) -> Result<Self> {
        let mut builder = plain_builder()
            .no_gzip()
            .retry(retry::never())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(READ_TIMEOUT);
        builder = if is_local { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        Ok(Self(builder.build().map_err(|error| no_https(&error))?))
    }

    /// Downloads a file and passes it to `receive` chunk by chunk.
    pub(crate) async fn stream(
        &self,
        url: Url,
        mut receive: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<(), DownloadError> {
        let mut receive = |chunk: &[u8]| receive(chunk).map_err(DownloadError::Receiver);
        let mut response = self.0.get(url).send().await.map_err(|error| classify(&error))?;
        if !response.status().is_success() {
            return Err(DownloadError::Status(response.status().as_u16()));
        }
        let encoding = response.headers().get(CONTENT_ENCODING).map(|name| name.as_bytes().to_ascii_lowercase());
        let mut decoder = match encoding.as_deref() {
            None | Some(b"identity") => None,
            Some(b"gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => return Err(Failure::unreadable().into()),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            let Some(decoder) = &mut decoder else {
                receive(&chunk)?;
                continue;
            };
            decoder.write_all(&chunk).map_err(|_broken| Failure::unreadable())?;
            receive(decoder.get_ref())?;
            decoder.get_mut().clear();
        }
        match decoder {
            Some(decoder) => receive(&decoder.finish().map_err(|_cut_off| Failure::unreadable())?),
            None => Ok(()),
        }
    }
}
