//! What `recoup serve` takes from `[serve]`: where it listens, who signs in how long, and when it calls itself ready.
//!
//! Whether an address may be used as it is, is decided in the use case; here only what was written is read.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::file::ServeTable;
use crate::error::{Error, Kind, Result};

/// Where the page is, where nobody says otherwise.
const LISTEN: &str = "127.0.0.1:8080";

/// Settings of `recoup serve`.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM, where the service speaks TLS itself.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A reverse proxy that speaks TLS is in front.
    pub behind_proxy: bool,
    /// The proxy whose word is taken for who somebody is, and the header that says it.
    pub sign_in_proxy: Option<(IpAddr, String)>,
    /// A session without a request for this long ends.
    pub session_idle: Duration,
    /// A session ends after this time whatever happens.
    pub session_end: Duration,
    /// An index that is older than this is not ready.
    pub ready_max_age: Duration,
}

impl ServeSettings {
    pub(super) fn of(table: ServeTable) -> Result<Self> {
        let wrong = |key: &str, why: &str, hint: &str| {
            Error::new(Kind::Config, format!("[serve] {key}: {why}")).hint(hint.to_owned())
        };
        let listen = table.listen.as_deref().unwrap_or(LISTEN);
        let listen = listen
            .parse()
            .map_err(|error| wrong("listen", &format!("{error}"), "it is an address and a port, as 127.0.0.1:8080"))?;
        let tls = match (table.tls_cert, table.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("tls_cert, tls_key", "one without the other", "name both files, or neither")),
        };
        let sign_in_proxy = match (table.proxy_address, table.proxy_header) {
            (Some(address), Some(header)) => {
                let address = address
                    .parse()
                    .map_err(|error| wrong("proxy_address", &format!("{error}"), "it is the proxy's IP address"))?;
                Some((address, header))
            }
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "proxy_address, proxy_header",
                    "one without the other",
                    "a proxy is trusted only where both its address and its header are named",
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
        })
    }
}
