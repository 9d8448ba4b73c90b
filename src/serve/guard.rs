//! Who may: every request is held to its route before a handler sees it.
//!
//! People come with a session's cookie, or through a proxy whose word is taken; programs come with a token, and with nothing
//! else: a browser never sends that by itself, so that no other site can use it. It must never let a request pass of which it
//! does not know who asks.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::{ExposeSecret, SecretString};

use super::Options;
use super::api::Problem;
use super::app::App;
use super::asked::Caller;
use super::cookies::{Lasts, PROXIED, SESSION};
use super::listen::Peer;
use super::page::Failure;
use super::routes::{Answers, Need, Route};
use crate::access::{proxied, random_text};
use crate::error::Result;

/// Bytes of an address that somebody is brought back to after signing in.
const NEXT_AT_MOST: usize = 2_000;

/// Holds a request to its route.
pub(super) async fn guard(State((app, route)): State<(Arc<App>, Route)>, mut request: Request, next: Next) -> Response {
    let caller = match route.answers {
        Answers::Page => app.person(&request),
        Answers::Api | Answers::Machine => app.program(request.headers()),
    };
    let caller = match (caller, route.answers) {
        (Ok(caller), _) => caller,
        (Err(error), Answers::Page) => return Failure::from(error).into_response(),
        (Err(error), _) => return Problem::from(error).into_response(),
    };
    let may = match (&caller, route.need) {
        (_, Need::Nobody) | (Some(_), Need::Anybody) => true,
        (Some(caller), Need::May(right) | Need::MayOrHere(right)) => caller.who.may(right),
        // A monitor on the same machine needs no token.
        (None, Need::MayOrHere(_)) => is_from_here(&app, &request),
        (None, _) => false,
    };
    if may {
        // Somebody whom a proxy has signed in gets the number that their forms are bound to.
        let new_number = caller
            .as_ref()
            .and_then(|caller| caller.proxied.clone())
            .filter(|number| app.cookie(request.headers(), PROXIED).as_ref() != Some(number));
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let mut response = next.run(request).await;
        if let Some(number) = new_number {
            app.set_cookie(&mut response, PROXIED, &number, Lasts::For(app.options.sessions.absolute));
        }
        return response;
    }
    match (route.answers, caller) {
        (Answers::Page, None) if request.method() == Method::GET => {
            Redirect::to(&format!("/login?next={}", escaped(&request))).into_response()
        }
        (Answers::Page, None) => Failure::signed_out().into_response(),
        (Answers::Page, Some(caller)) => Failure::may_not(&caller).into_response(),
        (_, None) => Problem::no_token().into_response(),
        (_, Some(_)) => Problem::may_not().into_response(),
    }
}

/// Whether a request was made on this machine. What a proxy on this machine hands on comes from a loopback address too, also if
/// nobody has said --behind-proxy: so it must show nothing of a proxy, and ask this machine by its own name in HTTP/1.1, which
/// nginx does not speak to what is behind it unless it is told to.
fn is_from_here(app: &App, request: &Request) -> bool {
    let Options { behind_proxy, sign_in_proxy, .. } = &app.options;
    let peer = request.extensions().get::<Peer>();
    !behind_proxy
        && sign_in_proxy.is_none()
        && peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
        && request.version() == Version::HTTP_11
        && !is_forwarded(request.headers())
        && request.headers().get(HOST).is_some_and(|host| host.to_str().is_ok_and(is_this_machine))
}

/// Whether a header says that a proxy has handed the request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let by_proxy = |name: &str| {
        ["x-forwarded", "x-original", "x-real-ip", "x-client-ip", "x-scheme", "cf-"]
            .iter()
            .any(|start| name.starts_with(start))
            || ["forwarded", "via", "true-client-ip"].contains(&name)
    };
    headers.keys().any(|name| by_proxy(name.as_str()))
}

/// Whether a Host header names this machine by a loopback address or `localhost`.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Where somebody wanted to go, to bring them there once they are signed in.
fn escaped(request: &Request) -> String {
    let whole = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A header of the answer has it, and would be too long for a browser otherwise.
    let wanted = if whole.len() > NEXT_AT_MOST { request.uri().path() } else { whole };
    url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect()
}

impl App {
    /// The person behind a request of the page.
    fn person(&self, request: &Request) -> Result<Option<Caller>> {
        let headers = request.headers();
        self.access(|access| {
            let Some(access) = access else { return Ok(None) };
            if let Some(cookie) = self.cookie(headers, SESSION).map(SecretString::from)
                && let Some(session) = access.session(cookie.expose_secret(), self.clock.now())?
            {
                return Ok(Some(Caller { who: session.who, csrf: session.csrf, cookie: Some(cookie), proxied: None }));
            }
            let Some((trusted, name)) = &self.options.sign_in_proxy else { return Ok(None) };
            let Some(Peer(peer)) = request.extensions().get::<Peer>() else { return Ok(None) };
            let values: Vec<&[u8]> = headers.get_all(name.as_str()).iter().map(HeaderValue::as_bytes).collect();
            let Some(user) = proxied(peer.ip(), &values, *trusted) else { return Ok(None) };
            let Some(who) = access.by_proxy(user)? else { return Ok(None) };
            let kept = self.cookie(headers, PROXIED).filter(|number| !number.is_empty());
            let number = kept.map_or_else(random_text, Ok)?;
            let mut caller = Caller { who, csrf: String::new(), cookie: None, proxied: Some(number) };
            caller.csrf = access.csrf_of(caller.csrf_subject().expose_secret());
            Ok(Some(caller))
        })
    }

    /// The program behind a request of the API.
    fn program(&self, headers: &HeaderMap) -> Result<Option<Caller>> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(None) };
        self.access(|access| {
            let Some(access) = access else { return Ok(None) };
            let who = access.token(token.trim(), self.clock.now())?;
            Ok(who.map(|who| Caller { who, csrf: String::new(), cookie: None, proxied: None }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_name_is_this_machine() {
        for (host, is_here) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("recoup.example.com", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("192.0.2.1:8080", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), is_here, "{host}");
        }
    }
}
