//! Extractors: the caller, and the fields of a query or a form.
//!
//! [`Form`] is the only way to read the fields of a signed-in user's form. [`Form`] rejects a form without the
//! session's CSRF token, so a handler cannot omit the check of the token. A field of a form may occur several times. An
//! order ID in a form is never trimmed or changed.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::app::App;
use super::page::ErrorPage;
use crate::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::OrderId;

/// Maximum size of a form, in bytes.
pub(super) const FORM_AT_MOST: usize = 64 * 1024;

/// The authenticated user. [`super::auth::authorize`] inserts it before the handler runs.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) who: Principal,
    /// The CSRF token for this user's forms; empty for API clients.
    pub(super) csrf: String,
    pub(super) session_cookie: Option<SecretString>,
    /// The nonce that binds the forms to one browser if a proxy signs the user in.
    pub(super) proxy_nonce: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ErrorPage::signed_out().into_response())
    }
}

/// The names and values of a request's fields, in the order of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses a query string or the body of a form.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// Returns the first value of the named field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of the named field, trimmed; `None` if it is empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns `true` if the named checkbox is ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Returns the order ID from the field `order` or `order_id`.
    pub(super) fn order(&self) -> Result<OrderId> {
        let text = self.get("order").or_else(|| self.get("order_id"));
        let text = text.ok_or_else(|| Error::new(Kind::Usage, "the request has no order ID"))?;
        lookup::order_id(text)
    }
}

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

pub(super) struct Query(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// The fields of a form whose CSRF token is valid.
pub(super) struct Form {
    pub(super) caller: Caller,
    pub(super) fields: Fields,
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ErrorPage::signed_out().into_response())?;
        let fields = form_fields(request).await.map_err(IntoResponse::into_response)?;
        check_csrf(app, &caller, fields.get("csrf").unwrap_or_default()).map_err(IntoResponse::into_response)?;
        Ok(Self { caller, fields })
    }
}

/// Fails if the CSRF token does not belong to this session.
pub(super) fn check_csrf(app: &App, caller: &Caller, given: &str) -> Result<(), ErrorPage> {
    let subject = caller.csrf_subject();
    let is_valid =
        app.access.with(|access| Ok(access.is_some_and(|access| access.check_csrf(subject.expose_secret(), given))))?;
    if is_valid { Ok(()) } else { Err(ErrorPage::forged()) }
}

impl Caller {
    /// Returns the secret from which the CSRF token is derived: the session cookie, or if a proxy signs the user in,
    /// the user name and the nonce in the browser's cookie.
    pub(super) fn csrf_subject(&self) -> SecretString {
        let nonce = self.proxy_nonce.as_deref().unwrap_or_default();
        self.session_cookie.clone().unwrap_or_else(|| format!("proxy:{}:{nonce}", self.who.name).into())
    }
}

/// Reads a form without checking its CSRF token. The sign-in form is the only caller of this function, because no
/// session exists before the sign-in.
pub(super) async fn form_fields(request: Request) -> Result<Fields, ErrorPage> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Error::new(Kind::Usage, "the request body is not a form").into());
    }
    let body = axum::body::to_bytes(request.into_body(), FORM_AT_MOST);
    let body = body.await.map_err(|_broken| {
        Error::new(Kind::Usage, "the form is longer than 64 KB, or was cut off")
            .hint("send less at once; a lead can upload a file of refunds as a batch")
    })?;
    Ok(Fields::parse(&body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_may_repeat_and_an_order_id_is_not_trimmed() {
        let fields = Fields::parse(b"order=%201001%20&override=stale&override=shared&yes=&x");
        assert_eq!(fields.order().expect("an order").as_str(), " 1001 ");
        assert_eq!(fields.all("override").collect::<Vec<_>>(), ["stale", "shared"]);
        assert!(fields.has("yes") && fields.has("x") && !fields.has("y"));
        assert_eq!(fields.text("yes"), None);
        assert!(Fields::parse(b"").order().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let fields = Fields::parse(&bytes);
            let _ = (fields.get("order"), fields.text("a"), fields.order().is_ok());
        }
    }
}
