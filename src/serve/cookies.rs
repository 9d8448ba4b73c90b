//! The cookies of the service: their names and attributes.
//!
//! Over TLS, the name of each cookie starts with `__Host-`, so that another site of the same domain cannot set the
//! cookie. Browsers accept the prefix `__Host-` only on `Secure` cookies, and reject `Secure` cookies over plain HTTP.
//! Therefore over plain HTTP the service uses cookie names without the prefix `__Host-`.

use std::time::Duration;

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use cookie::{Cookie, SameSite};

use super::app::App;

/// The two names of a cookie: over plain HTTP, and over TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(&'static str, &'static str);

pub(super) const SESSION: Name = Name("recoup", "__Host-recoup");

/// The cookie that binds the sign-in form to one browser before a session exists.
pub(super) const LOGIN_FORM: Name = Name("recoup-form", "__Host-recoup-form");

/// The cookie that identifies a browser in which a user has signed in before.
pub(super) const BROWSER: Name = Name("recoup-browser", "__Host-recoup-browser");

/// The cookie that binds the forms to one browser if a proxy signs the user in.
pub(super) const PROXY_NONCE: Name = Name("recoup-proxied", "__Host-recoup-proxied");

/// How long a browser keeps a cookie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    /// The browser keeps the cookie until it is closed.
    BrowserSession,
    For(Duration),
}

impl App {
    pub(super) fn cookie(&self, headers: &HeaderMap, name: Name) -> Option<String> {
        let name = self.cookie_name(name);
        let mut all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        all.find_map(|header| {
            Cookie::split_parse(header)
                .filter_map(std::result::Result::ok)
                .find(|cookie| cookie.name() == name)
                .map(|cookie| cookie.value().to_owned())
        })
    }

    /// Sets a cookie. An empty value removes the cookie.
    pub(super) fn set_cookie(&self, response: &mut Response, name: Name, value: &str, lifetime: Lifetime) {
        let mut cookie = Cookie::build((self.cookie_name(name), value.to_owned()))
            .path("/")
            .http_only(true)
            .secure(self.over_tls())
            // `SameSite` is `Lax` and not `Strict`, so that a user who follows a link in a ticket is signed in. Forms
            // are also protected by a CSRF token.
            .same_site(SameSite::Lax)
            .build();
        if let Lifetime::For(time) = lifetime {
            cookie.set_max_age(cookie::time::Duration::try_from(time).ok());
        }
        if value.is_empty() {
            cookie.make_removal();
        }
        if let Ok(header) = HeaderValue::from_str(&cookie.to_string()) {
            response.headers_mut().append(SET_COOKIE, header);
        }
    }

    fn cookie_name(&self, Name(plain, over_tls): Name) -> &'static str {
        if self.over_tls() { over_tls } else { plain }
    }
}
