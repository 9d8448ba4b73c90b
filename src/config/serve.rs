//! `[serve]`: the listening address, sign-in, and the readiness check of the service.
//!
//! This module only reads the settings. The service decides whether it may listen on the address.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::file::ServeTable;
use crate::error::{Error, Kind, Result};

const LISTEN: &str = "127.0.0.1:8080";

/// The default limit: a hundred a second, more than a helpdesk needs, and few enough that a loop by mistake leaves room for
/// other clients.
const TOKEN_REQUESTS_PER_MINUTE: u32 = 6_000;

#[derive(Debug, Clone)]
pub struct ServeSettings {
    pub listen: SocketAddr,
    /// The PEM files of certificate chain and key, if the service terminates TLS itself.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether a reverse proxy terminates TLS.
    pub behind_proxy: bool,
    /// The IP address of a proxy that signs users in, and the header in which it sends the user's name.
    pub sign_in_proxy: Option<(IpAddr, String)>,
    /// The time without a request after which a session expires.
    pub session_idle: Duration,
    /// The time after which a session expires, even if it is in use.
    pub session_end: Duration,
    /// The maximum age of the index for a ready service.
    pub ready_max_age: Duration,
    /// Requests of one API token in a minute; `None` for no limit.
    pub token_requests_per_minute: Option<NonZeroU32>,
}

impl ServeSettings {
    pub(super) fn of(table: ServeTable) -> Result<Self> {
        let wrong = |key: &str, why: &str, hint: &str| {
            Error::new(Kind::Config, format!("[serve] {key}: {why}")).hint(hint.to_owned())
        };
        let listen = table.listen.as_deref().unwrap_or(LISTEN);
        let listen = listen.parse().map_err(|error| {
            wrong("listen", &format!("{error}"), "write an address and a port, such as 127.0.0.1:8080")
        })?;
        let tls = match (table.tls_cert, table.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("tls_cert, tls_key", "one without the other", "set both, or neither")),
        };
        let sign_in_proxy = match (table.proxy_address, table.proxy_header) {
            (Some(address), Some(header)) => {
                let address = address
                    .parse()
                    .map_err(|error| wrong("proxy_address", &format!("{error}"), "write the proxy's IP address"))?;
                Some((address, header))
            }
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "proxy_address, proxy_header",
                    "one without the other",
                    "set both: recoup trusts a proxy only by its address and its header",
                ));
            }
        };
        let span = |span: Option<super::Span>, default| super::span(span, default);
        Ok(Self {
            listen,
            tls,
            behind_proxy: table.behind_proxy.unwrap_or(false),
            sign_in_proxy,
            session_idle: span(table.session_idle, Duration::from_hours(1)),
            session_end: span(table.session_end, Duration::from_hours(12)),
            ready_max_age: span(table.ready_max_age, Duration::from_hours(26)),
            token_requests_per_minute: NonZeroU32::new(
                table.token_requests_per_minute.unwrap_or(TOKEN_REQUESTS_PER_MINUTE),
            ),
        })
    }
}
