//! The outbound webhook: an HTTP POST of JSON, signed with HMAC-SHA256.
//!
//! The HMAC covers the time and the body, so that a receiver can refuse a replayed request.

use std::fmt;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect;
use ring::hmac;
use secrecy::ExposeSecret;
use url::Url;

use super::{Message, TIMEOUT};
use crate::error::{Error, Kind, Result};
use crate::model::hex;
use crate::vendor::{Secret, is_loopback};

#[derive(Clone)]
pub struct WebhookSettings {
    /// The receiver's URL. recoup never prints the URL, because it may contain a token.
    pub url: Url,
    pub secret: Secret,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSettings(…)")
    }
}

pub(super) struct Webhook {
    http: reqwest::Client,
    url: Url,
    key: hmac::Key,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self> {
        let url = settings.url.clone();
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(Error::new(Kind::Config, "[notices] webhook_url must be https")
                .hint("http is accepted for 127.0.0.1, ::1 and localhost only"));
        }
        // Installing the TLS provider has no effect if the vendor's client has already installed a provider.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("recoup/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .timeout(TIMEOUT);
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        if url.scheme() == "http" {
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|_error| {
            Error::new(Kind::Config, "cannot set up HTTPS for notices")
                .hint("install the system's CA certificates (package ca-certificates)")
        })?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, settings.secret.read()?.expose_secret().as_bytes());
        Ok(Self { http, url, key })
    }

    pub(super) async fn send(&self, message: &Message<'_>, now: Timestamp) -> Result<(), String> {
        let body = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Recoup-Signature", signature(&self.key, now.as_second(), &body))
            .body(body);
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("the receiver answered {}", response.status().as_u16())),
            Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
            Err(error) if error.is_connect() => Err("no connection".to_owned()),
            Err(_) => Err("the connection broke".to_owned()),
        }
    }
}

/// Returns the signature header `t=UNIX_SECONDS,v1=HEX`, where HEX is the HMAC of `UNIX_SECONDS.BODY`.
fn signature(key: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_documented_one() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        // The test expects the output of: printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        assert_eq!(signature(&key, 1_700_000_000, "{}"), expected);
        assert_ne!(signature(&key, 1_700_000_001, "{}")[13..], expected[13..], "the time is signed too");
    }
}
