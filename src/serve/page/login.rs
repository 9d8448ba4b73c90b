//! Signs users in and out.
//!
//! The sign-in form contains a CSRF token that is bound to its own cookie, so that another site cannot sign a user in
//! under another name. An error at the sign-in never says whether the name or the password was wrong. No log and no
//! response contains a password.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::{LoginRefused, NewSession, Origin, network_of};
use crate::model::counted;
use crate::serve::app::App;
use crate::serve::cookies::{BROWSER, LOGIN_FORM, Lifetime, SESSION};
use crate::serve::extractors::{Fields, Form, Query, form_fields};
use crate::serve::listen::Peer;

/// How long recoup knows a browser after a user has signed in with it.
const BROWSER_KNOWN_FOR: Duration = Duration::from_hours(180 * 24);

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    layout: Layout,
    csrf: String,
    next: String,
    name: String,
    problem: Option<String>,
    has_no_users: bool,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, Query(fields): Query) -> PageResult {
    login_form(&app, &fields, None, StatusCode::OK)
}

/// Shows the sign-in form with a new cookie and the CSRF token that belongs to the cookie.
fn login_form(app: &App, fields: &Fields, problem: Option<String>, status: StatusCode) -> PageResult {
    let nonce = crate::access::random_text()?;
    let (csrf, has_no_users) = app.access.with(|access| {
        Ok(match access {
            Some(access) => (access.csrf_of(&nonce), !access.has_users()?),
            None => (String::new(), true),
        })
    })?;
    let mut response = rendered(&LoginPage {
        layout: Layout::of(app, "Sign in", None),
        csrf,
        next: next_path(fields),
        name: fields.text("name").unwrap_or_default(),
        problem,
        has_no_users,
    });
    *response.status_mut() = status;
    app.set_cookie(&mut response, LOGIN_FORM, &nonce, Lifetime::BrowserSession);
    Ok(response)
}

pub(in crate::serve) async fn sign_in(State(app): State<Arc<App>>, request: Request) -> PageResult {
    let nonce = app.cookie(request.headers(), LOGIN_FORM).unwrap_or_default();
    let origin = origin(&app, &request);
    let fields = form_fields(request).await?;
    let given = fields.get("csrf").unwrap_or_default();
    let is_valid = app.access.with(|access| Ok(access.is_some_and(|access| access.check_csrf(&nonce, given))))?;
    if nonce.is_empty() || !is_valid {
        return Err(ErrorPage::forged());
    }
    let name = fields.text("name").unwrap_or_default();
    let password = SecretString::from(fields.get("password").unwrap_or_default());
    let at = app.clock.now();
    let login = app.hashed(move |app| {
        app.access.with(|access| match access {
            Some(access) => access.login(&name, password.expose_secret(), &origin, at),
            None => Ok(Err(LoginRefused::Wrong)),
        })
    });
    match login.await? {
        Ok(session) => {
            let mut response = Redirect::to(&next_path(&fields)).into_response();
            begin_session(&app, &mut response, &session);
            Ok(response)
        }
        Err(LoginRefused::Wrong) => {
            let problem = "The name or the password is wrong, or the user is disabled.".to_owned();
            login_form(&app, &fields, Some(problem), StatusCode::UNAUTHORIZED)
        }
        Err(LoginRefused::Throttled { until }) => {
            throttled(&app, until, |problem, status| login_form(&app, &fields, Some(problem), status))
        }
    }
}

/// Returns the response to a throttled sign-in, which says when the next attempt is accepted.
pub(super) fn throttled(
    app: &App,
    until: Timestamp,
    page: impl FnOnce(String, StatusCode) -> PageResult,
) -> PageResult {
    let seconds = until.duration_since(app.clock.now()).as_secs().max(1);
    let problem = format!("Too many attempts. Try again in {}.", counted(seconds, "second"));
    let mut response = page(problem, StatusCode::TOO_MANY_REQUESTS)?;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

pub(in crate::serve) async fn sign_out(State(app): State<Arc<App>>, form: Form) -> PageResult {
    if let Some(cookie) = &form.caller.session_cookie {
        app.access.with(|access| access.map_or(Ok(()), |access| access.end_session(cookie.expose_secret())))?;
    }
    let mut response = Redirect::to("/login").into_response();
    app.set_cookie(&mut response, SESSION, "", Lifetime::BrowserSession);
    Ok(response)
}

/// Returns the path to open after the sign-in, which is always a path of this service.
fn next_path(fields: &Fields) -> String {
    let wanted = fields.get("next").unwrap_or("/");
    // Browsers drop control characters from an address, so `/<TAB>/host` would lead to another site.
    let is_plain = !wanted.contains(|c: char| c == '\\' || c.is_control());
    let is_local = wanted.starts_with('/') && !wanted.starts_with("//") && is_plain;
    if is_local { wanted.to_owned() } else { "/".to_owned() }
}

/// Returns the client of a sign-in attempt, for the throttle: the address that the proxy reports, or the connection's
/// peer.
pub(super) fn origin(app: &App, request: &Request) -> Origin {
    let direct = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip());
    let client = if app.options.behind_proxy { forwarded_for(request.headers()).or(direct) } else { direct };
    let peer = client.map(|client| network_of(client).to_string()).unwrap_or_default();
    Origin { peer, browser: app.cookie(request.headers(), BROWSER) }
}

/// Returns the last address of `X-Forwarded-For`, which the proxy itself adds. A client can forge the earlier addresses
/// in `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> Option<std::net::IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// Sets the cookies of a new session.
pub(super) fn begin_session(app: &App, response: &mut Response, session: &NewSession) {
    app.set_cookie(response, SESSION, session.cookie.expose_secret(), Lifetime::BrowserSession);
    app.set_cookie(response, BROWSER, &session.browser, Lifetime::For(BROWSER_KNOWN_FOR));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_redirects_to_no_other_site() {
        for (wanted, target) in [
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
            assert_eq!(next_path(&Fields::parse(query.as_bytes())), target, "{wanted:?}");
        }
    }
}
