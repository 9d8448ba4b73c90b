//! The error of an API request: `application/problem+json` (RFC 9457) with the kind and the hint of the recoup error.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Error;
use crate::refunds::read::NeedsMapping;
use crate::refunds::unclear_columns::{ColumnKind, UnclearColumn};
use crate::serve::flag_names::{file_hint, without_flags};
use crate::serve::routes::Audience;
use crate::serve::ui_text;

pub(in crate::serve) const PROBLEM_JSON: &str = "application/problem+json";

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::serve) struct Problem {
    /// Always `about:blank`: `kind` is what programs match on.
    #[serde(rename = "type")]
    about: &'static str,
    /// A heading for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What failed.
    detail: String,
    /// The kind, as in the errors of the command line.
    kind: &'static str,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Columns of a file that must be explained.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<ColumnInDoubt>)]
    doubts: Box<[ColumnInDoubt]>,
}

/// A column of a file that may say that an order was not refunded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ColumnInDoubt {
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
        let detail = without_flags(&detail.into(), Audience::Api);
        Self { about: "about:blank", title, status: status.as_u16(), detail, kind, hint: None, doubts: Box::default() }
    }

    /// Columns of a file must be explained.
    pub(super) fn doubtful(doubtful: NeedsMapping) -> Self {
        let in_doubt = |doubt: UnclearColumn| ColumnInDoubt {
            name: doubt.name,
            looks_like: doubt.looks_like,
            examples: doubt.examples,
        };
        Self { doubts: doubtful.unclear.into_iter().map(in_doubt).collect(), ..Self::of_file(doubtful.error) }
    }

    /// An error about a file; its hint names query parameters.
    pub(super) fn of_file(error: Error) -> Self {
        Self::from(Error { hint: error.hint.as_deref().and_then(|hint| file_hint(hint, Audience::Api)), ..error })
    }

    pub(in crate::serve) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(without_flags(&hint.into(), Audience::Api)), ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(in crate::serve) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", "the request has no valid API token")
            .hint("send `Authorization: Bearer TOKEN`; `recoup user token add` makes a token")
    }

    pub(in crate::serve) fn forbidden() -> Self {
        let detail = "the token's scopes, or its user's role, do not allow this";
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail).hint(
            "use a token with that scope, made by `recoup user token add`, or ask an administrator for another role",
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = ui_text::status_of(error.kind);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = error.kind.name(), "{}", error.message);
        }
        let problem = Self::new(status, error.kind.name(), ui_text::heading_of(error.kind), error.message);
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
        let kind = HeaderValue::from_static(PROBLEM_JSON);
        let mut response = (status, [(CONTENT_TYPE, kind)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
