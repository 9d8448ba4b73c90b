//! What was asked: who asks, and the fields of a query or a form.
//!
//! A form's fields are only to be had through [`Form`], which refuses them without the session's own CSRF token: no handler can
//! forget to look. Fields that come several times are several; an order ID is taken byte for byte.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::app::App;
use super::page::Failure;
use crate::access::Who;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::OrderId;

/// Bytes of a form at most.
pub(super) const FORM_AT_MOST: usize = 64 * 1024;

/// Who asks. The guard has put it there; without it no handler that wants it is reached.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) who: Who,
    /// The token that every form of this person carries; empty for programs.
    pub(super) csrf: String,
    /// The session's cookie, where there is one.
    pub(super) cookie: Option<SecretString>,
    /// The number that the forms of somebody are bound to whom a proxy has signed in.
    pub(super) proxied: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Failure::signed_out().into_response())
    }
}

/// Fields by name, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Fields of a query or of a form's body.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a name, without the spaces around it; `None` where nothing is left.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every name, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a box was ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The one order that a request is about.
    pub(super) fn order(&self) -> Result<OrderId> {
        let text = self.get("order").or_else(|| self.get("order_id"));
        let text = text.ok_or_else(|| Error::new(Kind::Usage, "no order ID was given"))?;
        lookup::order_id(text)
    }
}

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// The fields of the query.
pub(super) struct Query(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// The fields of a form that carries the session's own CSRF token.
pub(super) struct Form {
    pub(super) caller: Caller,
    pub(super) fields: Fields,
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Failure::signed_out().into_response())?;
        let fields = fields_of(request).await.map_err(IntoResponse::into_response)?;
        check(app, &caller, fields.get("csrf").unwrap_or_default()).map_err(IntoResponse::into_response)?;
        Ok(Self { caller, fields })
    }
}

/// Refuses a form that was not made for this session.
pub(super) fn check(app: &App, caller: &Caller, given: &str) -> Result<(), Failure> {
    let subject = caller.csrf_subject();
    let is_ours =
        app.access(|access| Ok(access.is_some_and(|access| access.check_csrf(subject.expose_secret(), given))))?;
    if is_ours { Ok(()) } else { Err(Failure::forged()) }
}

impl Caller {
    /// What the CSRF token is derived from: the session's cookie, or the name that a proxy has vouched for and a number that the
    /// browser keeps as long as a session lasts.
    pub(super) fn csrf_subject(&self) -> SecretString {
        let number = self.proxied.as_deref().unwrap_or_default();
        self.cookie.clone().unwrap_or_else(|| format!("proxy:{}:{number}", self.who.name).into())
    }
}

/// The fields of a form's body, unchecked: for the one form that comes before a session.
pub(super) async fn fields_of(request: Request) -> Result<Fields, Failure> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Error::new(Kind::Usage, "this is no form").into());
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
    fn fields_may_come_several_times_and_order_ids_stay_as_they_are() {
        let fields = Fields::parse(b"order=%201001%20&override=stale&override=shared&yes=&x");
        assert_eq!(fields.order().expect("an order").as_str(), " 1001 ");
        assert_eq!(fields.all("override").collect::<Vec<_>>(), ["stale", "shared"]);
        assert!(fields.has("yes") && fields.has("x") && !fields.has("y"));
        assert_eq!(fields.text("yes"), None);
        assert!(Fields::parse(b"").order().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            let fields = Fields::parse(&bytes);
            let _ = (fields.get("order"), fields.text("a"), fields.order().is_ok());
        }
    }
}
