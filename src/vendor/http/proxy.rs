//! Checks the proxy that the environment configures. reqwest detects an unsupported proxy only when it connects, and
//! then reports the host as unreachable.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::error::{Error, Kind, Result};

/// Fails if reqwest cannot use the environment's proxy for this host. reqwest finds its proxy with the same matcher.
pub(super) fn check_proxy(base: &Url, proxies: &Matcher) -> Result<()> {
    let host = base
        .as_str()
        .parse()
        .map_err(|error| Error::new(Kind::Config, format!("a base URL cannot be used: {error}")))?;
    match proxies.intercept(&host) {
        Some(proxy) if proxy.uri().scheme_str() != Some("http") => {
            Err(Error::new(Kind::Config, "the proxy that the environment names cannot be used")
                .hint("HTTPS_PROXY must be an http:// address; NO_PROXY names hosts that are reached directly"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_must_be_usable_for_the_hosts_that_it_is_meant_for() {
        let base = Url::parse("https://app.example.com/api/v1").expect("a URL");
        assert!(check_proxy(&base, &Matcher::builder().build()).is_ok());
        assert!(check_proxy(&base, &Matcher::builder().https("http://proxy.example:3128").build()).is_ok());
        for unusable in ["https://proxy.example:3128", "socks5://proxy.example:1080"] {
            let refused = check_proxy(&base, &Matcher::builder().https(unusable).build()).expect_err("unusable");
            assert_eq!(refused.kind, Kind::Config, "{unusable}");
            assert!(!format!("{refused:?}").contains("proxy.example"), "the address may hold a password");
            let elsewhere = Matcher::builder().https(unusable).no("example.com").build();
            assert!(check_proxy(&base, &elsewhere).is_ok(), "{unusable}");
        }
    }
}
