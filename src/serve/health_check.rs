//! Asks a running service whether it is healthy, for a container's health check and other monitors without an HTTP client.

use std::time::Duration;

use reqwest::redirect;
use url::Url;

use crate::error::{Error, Kind, Result};

/// The time limit of the whole request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a response that an error repeats.
const SHOWN_AT_MOST: usize = 500;

/// Returns the text of a healthy response from `url`.
///
/// The request carries no secret. Therefore this function accepts any certificate from this machine, where the name in the
/// certificate is usually that of the proxy or of the public address.
pub async fn ask(url: &Url) -> Result<String> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let is_local = crate::vendor::is_loopback(url);
    let mut http = reqwest::Client::builder().redirect(redirect::Policy::none()).timeout(TIMEOUT);
    if is_local {
        http = http.no_proxy().tls_danger_accept_invalid_certs(true);
    }
    if url.scheme() == "http" {
        http = http.tls_certs_only([]);
    }
    let http = http.build().map_err(|error| Error::new(Kind::Failed, format!("failed to set up HTTP: {error}")))?;
    let answer = async {
        let response = http.get(url.clone()).send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.text().await?))
    };
    let (status, text) = answer.await.map_err(|error| {
        let why = if error.is_timeout() { "no answer in ten seconds" } else { "no connection, or it broke" };
        Error::new(Kind::Network, format!("the service at {url} does not answer: {why}"))
            .hint("start it with `recoup serve`; if it listens elsewhere, name its address with --url")
    })?;
    let text = text.trim();
    if status.is_success() {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_AT_MOST).collect();
    Err(Error::new(Kind::Failed, format!("the service at {url} answers {}: {shown}", status.as_u16()))
        .hint("`recoup status --check` names what is wrong and its remedy"))
}
