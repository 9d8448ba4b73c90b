//! The page: what people see. Rendered here, works without a script, and escapes everything that it shows.
//!
//! One file per page; the markup is in `templates/`. A page never decides: it shows what the desk says, and sends on what a
//! person wants.

pub(super) mod approvals;
pub(super) mod assets;
pub(super) mod batch;
mod chart;
pub(super) mod explain;
pub(super) mod health;
pub(super) mod history;
pub(super) mod login;
pub(super) mod lookup;
pub(super) mod masked;
pub(super) mod password;
mod plan;
pub(super) mod preflight;
pub(super) mod receipt;
pub(super) mod retract;
mod shown;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::app::App;
use super::asked::Caller;
use super::reading::{for_page, without_flags};
use super::wording::{Surface, fitted};
use super::words;
use crate::access::Right;
use crate::error::{Error, Kind};

/// What stands around every page.
pub(super) struct Shell {
    pub(super) title: String,
    /// The tenant, so that nobody retracts at the wrong one.
    pub(super) tenant: String,
    pub(super) person: Option<Person>,
    /// Read again after so many seconds where there is no script; 0 for never.
    pub(super) again: u32,
}

/// Who is signed in, as the frame shows it.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) csrf: String,
    /// Signed in here, and not by a proxy: only then there is something to sign out of.
    pub(super) can_leave: bool,
    pub(super) sees_health: bool,
    pub(super) brings_batches: bool,
}

impl Shell {
    /// The frame of a page for somebody.
    pub(super) fn of(app: &App, title: impl Into<String>, caller: Option<&Caller>) -> Self {
        let person = caller.map(|caller| Person {
            name: caller.who.name.clone(),
            role: caller.who.role.as_str(),
            csrf: caller.csrf.clone(),
            can_leave: caller.cookie.is_some(),
            brings_batches: caller.who.may(Right::Batch),
            sees_health: caller.who.may(Right::SeeHealth),
        });
        Self { title: title.into(), tenant: app.desk.options.identity.tenant.clone(), person, again: 0 }
    }
}

/// A page, or the failure of its template.
pub(super) fn rendered(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered").into_response()
        }
    }
}

/// A page, or what went wrong, as a page of its own.
pub(super) type Page = Result<Response, Failure>;

/// What went wrong, for a person.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    heading: &'static str,
    message: String,
    hint: Option<String>,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    failure: &'a Failure,
}

impl Failure {
    pub(super) fn signed_out() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            heading: "You are not signed in",
            message: "Your session has ended, or it never began.".to_owned(),
            hint: Some("Sign in and do it again. Nothing was sent.".to_owned()),
        }
    }

    pub(super) fn may_not(caller: &Caller) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            heading: "You may not do this",
            message: format!("Your role is {}.", caller.who.role.as_str()),
            hint: Some("Ask a lead, or an administrator for another role. Nothing was sent.".to_owned()),
        }
    }

    pub(super) fn forged() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            heading: "This form is not from this session",
            message: "It was opened before you signed in, or by another site.".to_owned(),
            hint: Some("Go back, load the page again, and send it once more. Nothing was sent.".to_owned()),
        }
    }

    /// One that no handler has met.
    pub(super) fn of(status: StatusCode, heading: &'static str, message: String, hint: String) -> Self {
        Self { status, heading, message, hint: Some(hint) }
    }

    /// The page as text.
    pub(super) fn html(&self) -> String {
        FailurePage { failure: self }.render().unwrap_or_default()
    }

    /// An error about an uploaded file; its hint names fields of the page.
    pub(super) fn of_file(error: Error) -> Self {
        Self::from(Error { hint: error.hint.as_deref().map(for_page).and_then(|hint| without_flags(&hint)), ..error })
    }

    /// What a fragment shows in its place.
    pub(super) fn says(&self) -> (&'static str, &str, Option<&str>) {
        (self.heading, &self.message, self.hint.as_deref())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if words::status_of(error.kind) == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = error.kind.name(), "{}", error.message);
        }
        Self {
            status: words::status_of(error.kind),
            heading: words::heading(error.kind),
            message: fitted(&error.message, Surface::Page),
            hint: error.hint.map(|hint| fitted(&hint, Surface::Page)),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = rendered(&FailurePage { failure: &self });
        *response.status_mut() = self.status;
        response
    }
}

/// Where somebody begins.
pub(super) async fn home() -> Redirect {
    Redirect::to("/lookup")
}

/// What is not in the table of routes.
pub(super) async fn not_found(State(_app): State<Arc<App>>) -> Failure {
    let nothing = Error::new(Kind::NotIndexed, "there is no such page");
    Failure { heading: "There is no such page", ..Failure::from(nothing) }
}
