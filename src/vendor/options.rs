//! The settings of one vendor host, and the check of its base URL. `options` neither connects nor reads the
//! environment.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::{Host, Url};

use super::auth::Credentials;
use crate::error::{Error, Kind, Result};
use crate::model::budget::{Budget, Purpose, QuotaSettings};

#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The base URL of the host, without tenant or Account SID.
    pub base: Url,
    pub credentials: Credentials,
    pub quota_settings: QuotaSettings,
    pub purpose: Purpose,
    /// The quota of the host that all processes share. `None` means that the client counts only the requests of this
    /// process.
    pub budget: Option<Arc<dyn Budget>>,
    /// The maximum number of requests of this run, retries included. After the maximum number of requests, every call
    /// of the client fails with `Kind::Parked`.
    pub max_requests: Option<u64>,
    /// The time from which the client starts no request, and every call fails with `Kind::Parked`.
    pub until: Option<Timestamp>,
    /// The maximum number of requests in flight.
    pub concurrency: usize,
    /// The number of requests that may be in flight at the start. The number of requests in flight grows to
    /// `concurrency` while the host is healthy.
    pub start_concurrency: usize,
    /// The time limit of one request, from opening the connection to the last byte of the answer.
    pub timeout: Duration,
    /// The time limit for opening a connection, TLS included.
    pub connect_timeout: Duration,
    /// The number of attempts for each read, including the first attempt. An attempt that the host answers with 429
    /// does not count.
    pub attempts: u32,
    /// The first back-off after a failed request, if the host states no retry time.
    pub backoff: Duration,
    /// The longest back-off after failed requests, if the host states no retry time.
    pub backoff_max: Duration,
    /// The longest wait for the quota of the host. A call that would wait longer for the quota fails with
    /// `Kind::Parked`.
    pub max_wait: Duration,
}

impl HostOptions {
    /// Creates options with cautious defaults: 2 requests in flight growing to 8 (`docs/vendor/contradictions.md` 41),
    /// 30 s per request, 5 attempts, back-off from 0.5 s to a minute, waits of up to an hour
    /// (`docs/vendor/contradictions.md` 20).
    pub fn new(base: Url, credentials: Credentials) -> Self {
        Self {
            base,
            credentials,
            quota_settings: QuotaSettings::default(),
            purpose: Purpose::Crawl,
            budget: None,
            max_requests: None,
            until: None,
            concurrency: 8,
            start_concurrency: 2,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            attempts: 5,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_mins(1),
            max_wait: Duration::from_hours(1),
        }
    }
}

/// Fails if the base URL would send the token unencrypted, or if it contains credentials.
///
/// # Errors
/// Fails with `Config` if the URL is neither https nor http to a loopback host, or has a user, a password, a query or a
/// fragment.
pub fn check_base(url: &Url) -> Result<()> {
    let plain = url.scheme() == "http" && is_loopback(url);
    if url.scheme() != "https" && !plain {
        return Err(Error::new(Kind::Config, "a base URL must be https, so that the token is encrypted on its way")
            .hint("http is accepted for 127.0.0.1, ::1 and localhost only"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::new(Kind::Config, "a base URL must have no user, password, query or fragment")
            .hint("give the Account SID and the token in their own settings"));
    }
    Ok(())
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_loopback_and_has_no_credentials() {
        for (text, good) in [
            ("https://app.referralsaasquatch.com/api/v1", true),
            ("https://api.impact.com/Advertisers/", true),
            ("http://127.0.0.1:8080/api/v1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:80/x", true),
            ("http://localhost:3000", true),
            ("http://LOCALHOST", true),
            ("http://localhost.example.com", false),
            ("http://128.0.0.1", false),
            ("http://api.impact.com", false),
            ("ftp://127.0.0.1", false),
            ("file:///tmp", false),
            ("https://sid:token@api.impact.com", false),
            ("https://sid@api.impact.com", false),
            ("https://api.impact.com/?a=b", false),
            ("https://api.impact.com/#x", false),
        ] {
            let url = Url::parse(text).expect("a URL");
            assert_eq!(check_base(&url).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_refused_base_url() {
        let url = Url::parse("https://sid:token@api.impact.com").expect("a URL");
        let error = check_base(&url).expect_err("a password");
        assert!(!format!("{error:?}").contains("token@"), "{error:?}");
    }
}
