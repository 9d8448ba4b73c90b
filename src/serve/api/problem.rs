//! What went wrong, for a program: `application/problem+json` (RFC 9457), with the kind and the hint of every recoup error.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Error;
use crate::refunds::read::NeedsMapping;
use crate::refunds::unclear_columns::{ColumnKind, UnclearColumn};
use crate::serve::reading::{for_api, without_flags};
use crate::serve::wording::{Surface, fitted};
use crate::serve::words;

/// A failure of the API.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::serve) struct Problem {
    /// Always `about:blank`: `kind` is what programs match on.
    #[serde(rename = "type")]
    about: &'static str,
    /// What sort of failure, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What exactly.
    detail: String,
    /// The kind, as in the errors of the command line.
    kind: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The columns of a file that must be explained.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<ColumnInDoubt>)]
    doubts: Box<[ColumnInDoubt]>,
}

/// A column of a file that may say that an order was not refunded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ColumnInDoubt {
    /// Its name.
    name: String,
    /// `status`, `type`, `amount`, `quantity`, `item` or `date`.
    #[schema(value_type = String)]
    looks_like: ColumnKind,
    /// Some of its values.
    examples: Vec<String>,
}

impl Problem {
    pub(in crate::serve) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = fitted(&detail.into(), Surface::Api);
        Self { about: "about:blank", title, status: status.as_u16(), detail, kind, hint: None, doubts: Box::default() }
    }

    /// A file whose columns must be explained.
    pub(super) fn doubtful(doubtful: NeedsMapping) -> Self {
        let in_doubt = |doubt: UnclearColumn| ColumnInDoubt {
            name: doubt.name,
            looks_like: doubt.looks_like,
            examples: doubt.examples,
        };
        Self { doubts: doubtful.doubts.into_iter().map(in_doubt).collect(), ..Self::of_file(doubtful.error) }
    }

    /// An error about a file; its hint names query parameters.
    pub(super) fn of_file(error: Error) -> Self {
        Self::from(Error { hint: error.hint.as_deref().map(for_api).and_then(|hint| without_flags(&hint)), ..error })
    }

    pub(in crate::serve) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(fitted(&hint.into(), Surface::Api)), ..self }
    }

    /// Its HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Nobody knows who asks.
    pub(in crate::serve) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", "the request carries no valid API token")
            .hint("send `Authorization: Bearer TOKEN`; `recoup user token add` makes one")
    }

    /// Who asks may not.
    pub(in crate::serve) fn may_not() -> Self {
        let detail = "the token's scopes, or its user's role, do not allow this";
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
            .hint("use a token with the scope, made by `recoup user token add`; an administrator gives another role")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = words::status_of(error.kind);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = error.kind.name(), "{}", error.message);
        }
        let problem = Self::new(status, error.kind.name(), words::heading(error.kind), error.message);
        match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_string(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(CONTENT_TYPE, kind)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
