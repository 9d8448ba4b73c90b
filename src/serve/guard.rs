//! Who may: every request is held to its route before a handler sees it.
//!
//! People come with a session's cookie, or through a proxy whose word is taken; programs come with a token, and with nothing
//! else: a browser never sends that by itself, so that no other site can use it. It must never let a request pass of which it
//! does not know who asks.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::api::Problem;
use super::app::App;
use super::asked::Caller;
use super::listen::Peer;
use super::page::Failure;
use super::routes::{Answers, Need, Route};
use crate::access::proxied;
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
        // A monitor on the same machine needs no token; what came through a proxy is not from here.
        (None, Need::MayOrHere(_)) => is_from_here(&app, &request),
        (None, _) => false,
    };
    if may {
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        return next.run(request).await;
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

fn is_from_here(app: &App, request: &Request) -> bool {
    let peer = request.extensions().get::<Peer>();
    !app.options.behind_proxy && peer.is_some_and(|Peer(peer)| peer.ip().is_loopback())
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
            if let Some(cookie) = cookie(headers, self.session_cookie())
                && let Some(session) = access.session(&cookie, self.clock.now())?
            {
                return Ok(Some(Caller { who: session.who, csrf: session.csrf, cookie: Some(cookie) }));
            }
            let Some((trusted, name)) = &self.options.sign_in_proxy else { return Ok(None) };
            let Some(Peer(peer)) = request.extensions().get::<Peer>() else { return Ok(None) };
            let values: Vec<&[u8]> = headers.get_all(name.as_str()).iter().map(HeaderValue::as_bytes).collect();
            let Some(user) = proxied(peer.ip(), &values, *trusted) else { return Ok(None) };
            let Some(who) = access.by_proxy(user)? else { return Ok(None) };
            let mut caller = Caller { who, csrf: String::new(), cookie: None };
            caller.csrf = access.csrf_of(&caller.csrf_subject());
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
            Ok(who.map(|who| Caller { who, csrf: String::new(), cookie: None }))
        })
    }

    /// The name of the session's cookie. Over TLS no other site below the same domain can set one of this name.
    pub(super) fn session_cookie(&self) -> &'static str {
        if self.over_tls() { "__Host-recoup" } else { "recoup" }
    }
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    all.find_map(|header| {
        cookie::Cookie::split_parse(header)
            .filter_map(std::result::Result::ok)
            .find(|cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned())
    })
}
