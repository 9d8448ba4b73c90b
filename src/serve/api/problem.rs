//! The error of an API request: `application/problem+json` (RFC 9457) with the kind, the hint and the facts of the recoup error.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::access::{Principal, Right};
use crate::error::{Details, Error, Kind};
use crate::refunds::read::NeedsMapping;
use crate::refunds::unclear_columns::{ColumnKind, UnclearColumn};
use crate::serve::flag_names::{file_hint, without_flag_clauses, without_flags};
use crate::serve::routes::Audience;
use crate::serve::ui_text;

pub(in crate::serve) const PROBLEM_JSON: &str = "application/problem+json";

/// The problem is boxed to keep `Result` small, because every handler returns a `Result` with it.
#[derive(Debug)]
pub(in crate::serve) struct Problem(Box<Body>);

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body {
    /// Always `about:blank`: `kind` is what programs match on.
    #[serde(rename = "type")]
    about: &'static str,
    /// A heading for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What failed.
    detail: String,
    /// What programs match on: a kind of the command line's errors, `unauthorized`, `forbidden` or `rate_limited`.
    kind: &'static str,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The scope that the request needs, and the token or its user's role lacks. Only in a 403.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_scope: Option<&'static str>,
    /// The actions of the order, if the request must name one of them. In every 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_ids: Option<Vec<String>>,
    /// The checks that stop the request and that `overrides` may name; empty if no override helps. In every 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    overrides: Option<Vec<&'static str>>,
    /// Whether a second person must approve the request. In every 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_approval: Option<bool>,
    /// The number of the approval, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<i64>,
    /// Columns of a file that must be explained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<ColumnInDoubt>,
    #[serde(skip)]
    #[schema(ignore)]
    retry: Option<Retry>,
}

/// When a client may repeat the same request. The response states it as `Retry-After`, in seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) enum Retry {
    After(SignedDuration),
    At(Timestamp),
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
        let conflicts = status == StatusCode::CONFLICT;
        Self(Box::new(Body {
            about: "about:blank",
            title,
            status: status.as_u16(),
            detail: without_flags(&detail.into(), Audience::Api),
            kind,
            hint: None,
            missing_scope: None,
            action_ids: conflicts.then(Vec::new),
            overrides: conflicts.then(Vec::new),
            needs_approval: conflicts.then_some(false),
            approval_id: None,
            doubts: Vec::new(),
            retry: None,
        }))
    }

    /// Returns the error for a file some of whose columns must be explained.
    pub(super) fn doubtful(doubtful: NeedsMapping) -> Self {
        let in_doubt = |doubt: UnclearColumn| ColumnInDoubt {
            name: doubt.name,
            looks_like: doubt.looks_like,
            examples: doubt.examples,
        };
        let mut problem = Self::of_file(doubtful.error);
        problem.0.doubts = doubtful.unclear.into_iter().map(in_doubt).collect();
        problem
    }

    /// Converts an error about a refund file. The hint of the converted error has query parameters in place of flags.
    pub(super) fn of_file(error: Error) -> Self {
        Self::from(Error { hint: error.hint.as_deref().and_then(|hint| file_hint(hint, Audience::Api)), ..error })
    }

    pub(in crate::serve) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(without_flags(&hint.into(), Audience::Api));
        self
    }

    pub(super) fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = Some(retry);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(in crate::serve) fn json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    pub(in crate::serve) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", "the request has no valid API token")
            .hint("send `Authorization: Bearer TOKEN`; `recoup user token add` makes a token")
    }

    pub(in crate::serve) fn forbidden(who: &Principal, right: Right) -> Self {
        let scope = right.as_str();
        let (detail, hint) = if who.role.may(right) {
            (
                format!("the token lacks the scope `{scope}`"),
                "make a token with that scope by `recoup user token add`".to_owned(),
            )
        } else {
            (
                format!("the request needs the scope `{scope}`, and the role {} may not have it", who.role.as_str()),
                "use the token of a user with another role, or ask an administrator for that role".to_owned(),
            )
        };
        let mut problem = Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail).hint(hint);
        problem.0.missing_scope = Some(scope);
        problem
    }

    fn with_details(mut self, details: Details) -> Self {
        let Details { action_ids, overrides, approval, retry_at } = details;
        let body = &mut self.0;
        body.retry = body.retry.or(retry_at.map(Retry::At));
        if body.status != StatusCode::CONFLICT.as_u16() {
            return self;
        }
        if let Some(id) = approval {
            body.hint = Some(format!(
                "a lead approves it on the page, or with POST /api/v1/approvals/{id}/approve; the service then carries it out"
            ));
        } else if !overrides.is_empty() {
            // Removes the clause about an override from a hint, because the clause contains a command-line flag.
            let remedy = body.hint.as_deref().and_then(without_flag_clauses).unwrap_or_default();
            let separator = if remedy.is_empty() { "" } else { "; " };
            let names = overrides.join("`, `");
            body.hint = Some(format!("{remedy}{separator}a lead sends it all the same with `overrides`: `{names}`"));
        } else if !action_ids.is_empty() {
            body.hint = Some("name one of `action_ids` in `action_id`, or set `all`; nothing was sent".to_owned());
        }
        (body.action_ids, body.overrides, body.approval_id) = (Some(action_ids), Some(overrides), approval);
        self
    }
}

/// Returns the hint for an error without its own hint.
fn default_hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "/api/v1/openapi.json describes every request",
        Kind::Refused => "nothing was sent; GET /api/v1/preflight shows every check",
        kind => kind.default_hint(),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = ui_text::status_of(error.kind);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = error.kind.name(), "{}", error.message);
        }
        // The conversion needs the original hint, because it finds the clauses to replace by their flags.
        let hint = error.hint.clone().unwrap_or_else(|| default_hint(error.kind).to_owned());
        let mut problem = Self::new(status, error.kind.name(), ui_text::heading_of(error.kind), error.message);
        problem.0.retry = match error.kind {
            Kind::Busy => Some(Retry::After(SignedDuration::from_secs(1))),
            // After a stop of the service, another process of the service has usually started within ten seconds.
            Kind::Interrupted => Some(Retry::After(SignedDuration::from_secs(10))),
            _ => None,
        };
        if error.kind == Kind::NeedsApproval {
            problem.0.needs_approval = Some(true);
        }
        problem.0.hint = Some(hint);
        let problem = problem.with_details(error.details.map(|details| *details).unwrap_or_default());
        match problem.0.hint.clone() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let kind = HeaderValue::from_static(PROBLEM_JSON);
        let mut response = (status, [(CONTENT_TYPE, kind)], self.json()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry) = self.0.retry {
            response.extensions_mut().insert(retry);
        }
        response
    }
}

impl Retry {
    /// Returns the whole seconds from now until the retry, at least one.
    pub(in crate::serve) fn seconds(self, now: Timestamp) -> i64 {
        let wait = match self {
            Self::After(wait) => wait,
            Self::At(at) => at.duration_since(now),
        };
        (wait.as_millis() as i64).saturating_add(999).div_euclid(1_000).max(1)
    }
}
