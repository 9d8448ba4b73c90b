//! Signing in and out.
//!
//! The form carries a token that is bound to a cookie of its own, so that nobody is signed in as somebody else by another site.
//! A refusal never says whether the name or the password was wrong. A password is in no log and no answer.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, Page, Shell, rendered};
use crate::access::{LoginRefused, NewSession, Origin, network_of};
use crate::serve::app::App;
use crate::serve::asked::{Fields, Form, Query, fields_of};
use crate::serve::cookies::{BROWSER, FORM, Lasts, SESSION};
use crate::serve::listen::Peer;

/// A browser stays known for so long after somebody has signed in with it.
const KNOWN_FOR: Duration = Duration::from_hours(180 * 24);

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    csrf: String,
    next: String,
    name: String,
    problem: Option<String>,
    nobody_yet: bool,
}

pub(in crate::serve) async fn form(State(app): State<Arc<App>>, Query(asked): Query) -> Page {
    shown(&app, &asked, None, StatusCode::OK)
}

/// The form, with a fresh cookie and the token that fits it.
fn shown(app: &App, asked: &Fields, problem: Option<String>, status: StatusCode) -> Page {
    let nonce = crate::access::random_text()?;
    let (csrf, nobody_yet) = app.access(|access| {
        Ok(match access {
            Some(access) => (access.csrf_of(&nonce), !access.has_users()?),
            None => (String::new(), true),
        })
    })?;
    let mut response = rendered(&LoginPage {
        shell: Shell::of(app, "Sign in", None),
        csrf,
        next: next(asked),
        name: asked.text("name").unwrap_or_default(),
        problem,
        nobody_yet,
    });
    *response.status_mut() = status;
    app.set_cookie(&mut response, FORM, &nonce, Lasts::Session);
    Ok(response)
}

pub(in crate::serve) async fn enter(State(app): State<Arc<App>>, request: Request) -> Page {
    let nonce = app.cookie(request.headers(), FORM).unwrap_or_default();
    let origin = origin(&app, &request);
    let fields = fields_of(request).await?;
    let given = fields.get("csrf").unwrap_or_default().to_owned();
    let is_ours = app.access(|access| Ok(access.is_some_and(|access| access.check_csrf(&nonce, &given))))?;
    if nonce.is_empty() || !is_ours {
        return Err(Failure::forged());
    }
    let name = fields.text("name").unwrap_or_default();
    let password = SecretString::from(fields.get("password").unwrap_or_default());
    let at = app.clock.now();
    let ended = app.hashed(move |app| {
        app.access(|access| match access {
            Some(access) => access.login(&name, password.expose_secret(), &origin, at),
            None => Ok(Err(LoginRefused::Wrong)),
        })
    });
    match ended.await? {
        Ok(session) => {
            let mut response = Redirect::to(&next(&fields)).into_response();
            begin(&app, &mut response, &session);
            Ok(response)
        }
        Err(LoginRefused::Wrong) => {
            let problem = "The name or the password is wrong, or the user is disabled.".to_owned();
            shown(&app, &fields, Some(problem), StatusCode::UNAUTHORIZED)
        }
        Err(LoginRefused::Throttled { until }) => {
            throttled(&app, until, |problem, status| shown(&app, &fields, Some(problem), status))
        }
    }
}

/// Says how long it takes until another attempt is looked at.
pub(super) fn throttled(app: &App, until: Timestamp, page: impl FnOnce(String, StatusCode) -> Page) -> Page {
    let seconds = until.duration_since(app.clock.now()).as_secs().max(1);
    let problem = format!("Too many attempts. Try again in {seconds} seconds.");
    let mut response = page(problem, StatusCode::TOO_MANY_REQUESTS)?;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

pub(in crate::serve) async fn leave(State(app): State<Arc<App>>, form: Form) -> Page {
    if let Some(cookie) = &form.caller.cookie {
        app.access(|access| access.map_or(Ok(()), |access| access.end_session(cookie.expose_secret())))?;
    }
    let mut response = Redirect::to("/login").into_response();
    app.set_cookie(&mut response, SESSION, "", Lasts::Session);
    Ok(response)
}

/// Where somebody wanted to go: a path of this page, and of no other site.
fn next(asked: &Fields) -> String {
    let wanted = asked.get("next").unwrap_or("/");
    // Browsers leave control characters out of an address: `/<TAB>/host` would be another site's.
    let is_plain = !wanted.contains(|c: char| c == '\\' || c.is_control());
    let is_ours = wanted.starts_with('/') && !wanted.starts_with("//") && is_plain;
    if is_ours { wanted.to_owned() } else { "/".to_owned() }
}

/// Where an attempt comes from, for the throttle: the client as the proxy names it if there is one, the peer otherwise.
pub(super) fn origin(app: &App, request: &Request) -> Origin {
    let direct = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip());
    let client = if app.options.behind_proxy { forwarded(request.headers()).or(direct) } else { direct };
    let peer = client.map(|client| network_of(client).to_string()).unwrap_or_default();
    Origin { peer, browser: app.cookie(request.headers(), BROWSER) }
}

/// The last address of the list: the one that the proxy itself has added.
fn forwarded(headers: &HeaderMap) -> Option<std::net::IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// Hands the cookies of a new session to the browser.
pub(super) fn begin(app: &App, response: &mut Response, session: &NewSession) {
    app.set_cookie(response, SESSION, session.cookie.expose_secret(), Lasts::Session);
    app.set_cookie(response, BROWSER, &session.browser, Lasts::For(KNOWN_FOR));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (wanted, goes) in [
            ("/lookup?orders=1", "/lookup?orders=1"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/\t/evil.example", "/"),
            ("/\u{b}/evil.example", "/"),
            ("/\0", "/"),
            ("/a\u{7f}", "/"),
            ("/a\u{85}", "/"),
            ("/lookup?orders=Ä", "/lookup?orders=Ä"),
            ("", "/"),
        ] {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
            assert_eq!(next(&Fields::parse(query.as_bytes())), goes, "{wanted:?}");
        }
    }
}
