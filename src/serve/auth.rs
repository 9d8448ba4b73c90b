//! Authentication and authorization: checks each request against its route's required access before a handler runs.
//!
//! A browser sends a session cookie, or uses a proxy that signs users in. A program sends a token and no cookie, so another
//! site cannot call the API through a user's browser. A request without a known caller reaches only public routes.

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
use super::api::openapi::check_query;
use super::app::App;
use super::cookies::{Lifetime, PROXY_NONCE, SESSION};
use super::extractors::Caller;
use super::listen::Peer;
use super::page::ErrorPage;
use super::routes::{Access, Audience, Route};
use crate::access::{proxied, random_text};
use crate::error::Result;

/// Maximum length in bytes of the path that a browser opens after the sign-in.
const NEXT_AT_MOST: usize = 2_000;

/// Passes a request to its handler if the caller has the access that the route requires. Refuses any other request with
/// an error, or redirects to the sign-in.
pub(super) async fn authorize(State((app, route)): State<(Arc<App>, Route)>, request: Request, next: Next) -> Response {
    let caller = match route.audience {
        Audience::Page => app.page_caller(&request),
        Audience::Api | Audience::Machine => app.token_caller(request.headers()),
    };
    let caller = match (caller, route.audience) {
        (Ok(caller), _) => caller,
        (Err(error), Audience::Page) => return ErrorPage::from(error).into_response(),
        (Err(error), _) => return Problem::from(error).into_response(),
    };
    let limit = app.rate_limit.as_ref().zip(caller.as_ref().and_then(|caller| caller.who.by.token()));
    let Some((limit, token)) = limit.filter(|_| route.audience == Audience::Api) else {
        return respond(app, route, caller, request, next).await;
    };
    let (left, mut response) = match limit.count(token) {
        Ok(left) => (left, respond(Arc::clone(&app), route, caller, request, next).await),
        Err(refused) => (0, refused.into_response()),
    };
    limit.set_headers(response.headers_mut(), left);
    response
}

async fn respond(app: Arc<App>, route: Route, caller: Option<Caller>, mut request: Request, next: Next) -> Response {
    let allowed = match (&caller, route.access) {
        (_, Access::Public) | (Some(_), Access::SignedIn) => true,
        (Some(caller), Access::Requires(right) | Access::RequiresOrLocal(right)) => caller.who.may(right),
        (None, Access::RequiresOrLocal(_)) => is_local(&app, &request),
        (None, _) => false,
    };
    if allowed {
        if route.audience == Audience::Api
            && let Err(problem) = check_query(route.method, route.path, request.uri().query().unwrap_or_default())
        {
            return problem.into_response();
        }
        let new_nonce = caller
            .as_ref()
            .and_then(|caller| caller.proxy_nonce.clone())
            .filter(|nonce| app.cookie(request.headers(), PROXY_NONCE).as_ref() != Some(nonce));
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let mut response = next.run(request).await;
        if let Some(nonce) = new_nonce {
            app.set_cookie(&mut response, PROXY_NONCE, &nonce, Lifetime::For(app.options.sessions.absolute));
        }
        return response;
    }
    match (route.audience, caller) {
        (Audience::Page, None) if request.method() == Method::GET => {
            Redirect::to(&format!("/login?next={}", escaped_path(&request))).into_response()
        }
        (Audience::Page, None) => ErrorPage::signed_out().into_response(),
        (Audience::Page, Some(caller)) => ErrorPage::forbidden(&caller).into_response(),
        (_, None) => Problem::no_token().into_response(),
        (_, Some(caller)) => match route.access {
            Access::Requires(right) | Access::RequiresOrLocal(right) => {
                Problem::forbidden(&caller.who, right).into_response()
            }
            Access::Public | Access::SignedIn => Problem::no_token().into_response(),
        },
    }
}

/// Returns `true` if a request was made on this machine and was not forwarded by a proxy.
///
/// A proxy on this machine also connects from a loopback address, even if the operator forgot `--behind-proxy`.
/// Therefore a request made on this machine must have a loopback host in `Host`, no header that proxies add, and
/// HTTP/1.1, because nginx forwards in HTTP/1.0 by default.
fn is_local(app: &App, request: &Request) -> bool {
    let Options { behind_proxy, sign_in_proxy, .. } = &app.options;
    let peer = request.extensions().get::<Peer>();
    !behind_proxy
        && sign_in_proxy.is_none()
        && peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
        && request.version() == Version::HTTP_11
        && !is_forwarded(request.headers())
        && request.headers().get(HOST).is_some_and(|host| host.to_str().is_ok_and(is_loopback_host))
}

/// Returns `true` if the request has a header that proxies add.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let by_proxy = |name: &str| {
        ["x-forwarded", "x-original", "x-real-ip", "x-client-ip", "x-scheme", "cf-"]
            .iter()
            .any(|start| name.starts_with(start))
            || ["forwarded", "via", "true-client-ip"].contains(&name)
    };
    headers.keys().any(|name| by_proxy(name.as_str()))
}

/// Returns `true` if a Host header is a loopback address or `localhost`.
fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the requested path with its query, percent-encoded for the `next` parameter of the sign-in.
fn escaped_path(request: &Request) -> String {
    let whole = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // The query is left out if it is too long, because browsers reject a long `Location`.
    let wanted = if whole.len() > NEXT_AT_MOST { request.uri().path() } else { whole };
    url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect()
}

impl App {
    /// Identifies the caller by the session cookie, or by the header of the proxy that signs users in.
    fn page_caller(&self, request: &Request) -> Result<Option<Caller>> {
        let headers = request.headers();
        self.access.with(|access| {
            let Some(access) = access else { return Ok(None) };
            if let Some(cookie) = self.cookie(headers, SESSION).map(SecretString::from)
                && let Some(session) = access.session(cookie.expose_secret(), self.clock.now())?
            {
                let (who, csrf) = (session.principal, session.csrf);
                return Ok(Some(Caller { who, csrf, session_cookie: Some(cookie), proxy_nonce: None }));
            }
            let Some((trusted, name)) = &self.options.sign_in_proxy else { return Ok(None) };
            let Some(Peer(peer)) = request.extensions().get::<Peer>() else { return Ok(None) };
            let values: Vec<&[u8]> = headers.get_all(name.as_str()).iter().map(HeaderValue::as_bytes).collect();
            let Some(user) = proxied(peer.ip(), &values, *trusted) else { return Ok(None) };
            let Some(who) = access.by_proxy(user)? else { return Ok(None) };
            let known = self.cookie(headers, PROXY_NONCE).filter(|nonce| !nonce.is_empty());
            let nonce = known.map_or_else(random_text, Ok)?;
            let mut caller = Caller { who, csrf: String::new(), session_cookie: None, proxy_nonce: Some(nonce) };
            caller.csrf = access.csrf_of(caller.csrf_subject().expose_secret());
            Ok(Some(caller))
        })
    }

    /// Identifies the caller by the token in the `Authorization` header.
    fn token_caller(&self, headers: &HeaderMap) -> Result<Option<Caller>> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(None) };
        self.access.with(|access| {
            let Some(access) = access else { return Ok(None) };
            let who = access.token(token.trim(), self.clock.now())?;
            Ok(who.map(|who| Caller { who, csrf: String::new(), session_cookie: None, proxy_nonce: None }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_name_is_a_local_host() {
        for (host, is_loopback) in [
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
            assert_eq!(is_loopback_host(host), is_loopback, "{host}");
        }
    }
}
