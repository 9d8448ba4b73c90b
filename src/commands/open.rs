//! `recoup open`: opens the page of a local service in a browser, or prints its URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::{CommandContext, Exit};
use crate::cli::OpenArgs;
use crate::config::ServeSettings;
use crate::error::{Error, Kind, Result};
use crate::report;

/// The maximum time in which the service must accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &CommandContext<'_>, args: &OpenArgs) -> Result<Exit> {
    let serve = &context.settings.serve;
    let address = reachable(serve.listen);
    let url = url(serve);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::TcpStream::connect(address)).await;
    if !matches!(connected, Ok(Ok(_))) {
        return Err(Error::new(Kind::Network, format!("no service listens at {url}"))
            .hint("start it with `recoup serve`; if it listens elsewhere, set [serve] listen in recoup.toml"));
    }
    let opened = !args.print && !context.report.json && report::open_in_browser(&url).await;
    context.show(&json!({ "url": url }), [&url])?;
    if opened {
        context.report.note("opened in a browser");
    }
    Ok(Exit::Done)
}

/// Returns the URL of the page for a browser on this machine.
pub(super) fn url(serve: &ServeSettings) -> String {
    let scheme = if serve.tls.is_some() { "https" } else { "http" };
    let address = reachable(serve.listen);
    // The URL has a host name, because a certificate usually contains no IP address.
    let host = if serve.tls.is_some() && address.ip().is_loopback() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    format!("{scheme}://{host}/")
}

/// Replaces the unspecified address, which listens on every interface, by the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_a_browser_here_can_open() {
        for (listen, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8443", "127.0.0.1:8443"),
            ("[::]:8443", "[::1]:8443"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reachable(listen.parse().expect(listen)).to_string(), address);
        }
    }
}
