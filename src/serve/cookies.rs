//! The cookies of the service: their names, reading one, and setting one.
//!
//! Over TLS a name begins with `__Host-`, and so no other site below the same domain can set a cookie of that name. A browser
//! takes such a cookie only with `Secure`, which it does not keep over plain http: there the plain name is used.

use std::time::Duration;

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use cookie::{Cookie, SameSite};

use super::app::App;

/// A cookie by its two names: over plain http, and over TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(&'static str, &'static str);

/// Who is signed in.
pub(super) const SESSION: Name = Name("recoup", "__Host-recoup");

/// The form of somebody who is not signed in yet.
pub(super) const FORM: Name = Name("recoup-form", "__Host-recoup-form");

/// Somebody has signed in with this browser before.
pub(super) const BROWSER: Name = Name("recoup-browser", "__Host-recoup-browser");

/// The forms of somebody whom a proxy has signed in.
pub(super) const PROXIED: Name = Name("recoup-proxied", "__Host-recoup-proxied");

/// How long a browser keeps a cookie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lasts {
    /// Until it is closed.
    Session,
    /// So long.
    For(Duration),
}

impl App {
    /// The value of a cookie that came with a request.
    pub(super) fn cookie(&self, headers: &HeaderMap, name: Name) -> Option<String> {
        value_of(headers, self.name_of(name))
    }

    /// Sets a cookie; an empty value removes it.
    pub(super) fn set_cookie(&self, response: &mut Response, name: Name, value: &str, lasts: Lasts) {
        let mut cookie = Cookie::build((self.name_of(name), value.to_owned()))
            .path("/")
            .http_only(true)
            .secure(self.over_tls())
            // A link in a ticket leads here signed in; what changes something carries the form's token besides.
            .same_site(SameSite::Lax)
            .build();
        if let Lasts::For(time) = lasts {
            cookie.set_max_age(cookie::time::Duration::try_from(time).ok());
        }
        if value.is_empty() {
            cookie.make_removal();
        }
        if let Ok(header) = HeaderValue::from_str(&cookie.to_string()) {
            response.headers_mut().append(SET_COOKIE, header);
        }
    }

    fn name_of(&self, Name(plain, over_tls): Name) -> &'static str {
        if self.over_tls() { over_tls } else { plain }
    }
}

fn value_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    all.find_map(|header| {
        Cookie::split_parse(header)
            .filter_map(std::result::Result::ok)
            .find(|cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned())
    })
}
