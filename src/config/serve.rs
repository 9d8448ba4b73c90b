//! `[serve]`: the listening address, sign-in, and the readiness check of the service.
//!
//! This module only reads the settings of the service. The service itself decides whether it may listen on the address.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::file::ServeTable;
use crate::error::{Error, Kind, Result};
use crate::model::LinkTemplate;

const LISTEN: &str = "127.0.0.1:8080";

/// The default limit of requests for one API token: a hundred a second. A helpdesk needs fewer requests, and a client
/// in an endless loop still leaves room for other clients.
const TOKEN_REQUESTS_PER_MINUTE: u32 = 6_000;

/// The maximum number of reasons that the page offers, which is as many as fit on a screen.
const REASONS_AT_MOST: usize = 30;

/// The maximum length of an offered reason, in characters. A reason with free text must fit the form's field.
const REASON_CHARS: usize = 200;

#[derive(Debug, Clone)]
pub struct ServeSettings {
    pub listen: SocketAddr,
    /// The PEM files of certificate chain and key, if the service terminates TLS itself.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `true` if a reverse proxy terminates TLS.
    pub behind_proxy: bool,
    /// The IP address of a proxy that signs users in, and the header in which the proxy sends the user's name.
    pub sign_in_proxy: Option<(IpAddr, String)>,
    /// The time without a request after which a session expires.
    pub session_idle: Duration,
    /// The time after which a session expires, even if it is in use.
    pub session_end: Duration,
    /// The maximum age of the index while the service reports that it is ready.
    pub ready_max_age: Duration,
    /// The maximum number of requests of one API token in a minute; `None` for no limit.
    pub token_requests_per_minute: Option<NonZeroU32>,
    /// The reasons for a retraction that the page offers.
    pub reasons: Vec<String>,
    /// The URL of an order's page in the shop.
    pub shop_order_url: Option<LinkTemplate>,
    /// The URL of an action's page at the vendor.
    pub vendor_action_url: Option<LinkTemplate>,
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
        let template = |key: &str, text: Option<String>, placeholder: &str, example: &str| {
            let parse = |text: String| {
                LinkTemplate::parse(&text, placeholder)
                    .map_err(|why| wrong(key, &why, &format!("write a URL such as {example}")))
            };
            text.map(parse).transpose()
        };
        let shop_order_url = template(
            "shop_order_url",
            table.shop_order_url,
            "{order_id}",
            "https://shop.example/admin/orders/{order_id}",
        )?;
        let vendor_action_url = template(
            "vendor_action_url",
            table.vendor_action_url,
            "{action_id}",
            "https://vendor.example/actions/{action_id}",
        )?;
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
            reasons: reasons(table.reasons.unwrap_or_default())?,
            shop_order_url,
            vendor_action_url,
        })
    }
}

/// Checks the offered reasons for a retraction: each must be one line of text.
fn reasons(reasons: Vec<String>) -> Result<Vec<String>> {
    let wrong = |why: String| {
        Error::new(Kind::Config, format!("[serve] reasons: {why}"))
            .hint("write a list of short texts, such as [\"returned\", \"cancelled before shipping\"]")
    };
    if reasons.len() > REASONS_AT_MOST {
        return Err(wrong(format!("{} reasons are too many, at most {REASONS_AT_MOST}", reasons.len())));
    }
    for reason in &reasons {
        if reason.trim().is_empty() || reason.chars().any(char::is_control) {
            return Err(wrong(format!("{reason:?} is not one line of text")));
        }
        if reason.chars().count() > REASON_CHARS {
            return Err(wrong(format!("{reason:?} is longer than {REASON_CHARS} characters")));
        }
    }
    Ok(reasons.into_iter().map(|reason| reason.trim().to_owned()).collect())
}
