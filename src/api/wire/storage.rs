//! A file from a host of somebody else, piece by piece.

use std::time::Duration;

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
        let mut builder =
            plain_builder().retry(retry::never()).connect_timeout(Duration::from_secs(10)).read_timeout(SILENCE);
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
        while let Some(piece) = response.chunk().await.map_err(|e| Err(classify(&e)))? {
            take(&piece).map_err(Ok)?;
        }
        Ok(Ok(()))
    }
}
