//! The web pages, rendered on the server. The pages work without scripts and escape every value.
//!
//! Each page has one file in this folder and its markup in `templates/`. A page makes no decisions: it shows the
//! results of the use cases and passes the user's requests to the use cases.

pub(super) mod admin;
pub(super) mod approvals;
pub(super) mod assets;
pub(super) mod batch;
mod chart;
pub(super) mod dashboard;
pub(super) mod explain;
pub(super) mod history;
pub(super) mod home;
pub(super) mod login;
pub(super) mod lookup;
pub(super) mod mask;
mod order;
pub(super) mod password;
mod plan;
pub(super) mod preflight;
mod reason;
pub(super) mod receipt;
pub(super) mod retract;
pub(super) mod several;
mod view;
mod words;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::app::App;
use super::extractors::Caller;
use super::flag_names::{file_hint, without_flags};
use super::routes::Audience;
use super::ui_text;
use crate::access::Right;
use crate::error::{Error, Kind};

pub(super) struct Layout {
    pub(super) title: String,
    /// The tenant alias, shown on every page so that a user notices a wrong tenant before a retraction.
    pub(super) tenant: String,
    pub(super) user: Option<User>,
    /// If the browser runs no scripts, the page reloads after this many seconds; 0 for never.
    pub(super) reload_seconds: u32,
    /// The text of the search box.
    pub(super) search: String,
    /// `true` if the search box has the focus.
    pub(super) focuses_search: bool,
}

pub(super) struct User {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) csrf: String,
    /// `false` if a proxy signs the user in, because recoup then has no session to end.
    pub(super) can_sign_out: bool,
    pub(super) sees_health: bool,
    pub(super) uploads_batches: bool,
    pub(super) administers: bool,
    /// Number of requests that wait for this user's approval; `None` if the service cannot read the ledger.
    pub(super) approvals_waiting: Option<usize>,
    /// This user's batches that have ended and whose page they have not opened since.
    pub(super) ended_batches: Vec<String>,
}

impl Layout {
    pub(super) fn of(app: &App, title: impl Into<String>, caller: Option<&Caller>) -> Self {
        let user = caller.map(|caller| User {
            name: caller.who.name.clone(),
            role: caller.who.role.as_str(),
            csrf: caller.csrf.clone(),
            can_sign_out: caller.session_cookie.is_some(),
            uploads_batches: caller.who.may(Right::Batch),
            sees_health: caller.who.may(Right::SeeHealth),
            administers: caller.who.may(Right::Administer),
            approvals_waiting: app.approvals_waiting_for(&caller.who),
            ended_batches: if caller.who.may(Right::Batch) {
                app.batches.ended_unseen(&caller.who.name)
            } else {
                Vec::new()
            },
        });
        Self {
            title: title.into(),
            tenant: app.actions.settings.identity.tenant.clone(),
            user,
            reload_seconds: 0,
            search: String::new(),
            focuses_search: false,
        }
    }

    /// Number of rows of the search box: one for each line of its text, within bounds.
    pub(super) fn search_rows(&self) -> usize {
        self.search.lines().count().clamp(1, 8)
    }
}

pub(super) fn rendered(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered").into_response()
        }
    }
}

pub(super) type PageResult = Result<Response, ErrorPage>;

#[derive(Debug)]
pub(super) struct ErrorPage {
    status: StatusCode,
    heading: &'static str,
    message: String,
    hint: Option<String>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    error: &'a ErrorPage,
}

impl ErrorPage {
    pub(super) fn new(status: StatusCode, heading: &'static str, message: String, hint: String) -> Self {
        Self { status, heading, message, hint: Some(hint) }
    }

    pub(super) fn signed_out() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "You are not signed in",
            "Your session has ended, or you have not signed in yet.".to_owned(),
            "Sign in and try again. Nothing was sent.".to_owned(),
        )
    }

    pub(super) fn forbidden(caller: &Caller) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "You may not do this",
            format!("Your role is {}.", caller.who.role.as_str()),
            "Ask a lead, or ask an administrator for another role. Nothing was sent.".to_owned(),
        )
    }

    pub(super) fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This form is not from your session",
            "It was opened before you signed in, or by another site.".to_owned(),
            "Go back, reload the page, and send the form again. Nothing was sent.".to_owned(),
        )
    }

    /// Returns the page about an error in an uploaded file, with a hint that mentions fields of the upload form.
    pub(super) fn of_file(error: Error) -> Self {
        let hint = error.hint.as_deref().and_then(|hint| file_hint(hint, Audience::Page));
        Self::from(Error { hint, ..error })
    }

    /// Returns `true` if the request failed because the vendor's limit is used up.
    pub(super) fn is_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    pub(super) fn heading(&self) -> &'static str {
        self.heading
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(super) fn html(&self) -> String {
        ErrorTemplate { error: self }.render().unwrap_or_default()
    }
}

impl From<Error> for ErrorPage {
    fn from(error: Error) -> Self {
        let status = ui_text::status_of(error.kind);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = error.kind.name(), "{}", error.message);
        }
        Self {
            status,
            heading: ui_text::heading_of(error.kind),
            message: ui_text::with_times(&without_flags(&error.message, Audience::Page)),
            hint: error.hint.map(|hint| ui_text::with_times(&without_flags(&hint, Audience::Page))),
        }
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let mut response = rendered(&ErrorTemplate { error: &self });
        *response.status_mut() = self.status;
        response
    }
}

/// Returns the response to a path without a route.
pub(super) async fn not_found() -> ErrorPage {
    let error = Error::new(Kind::NotIndexed, "there is no such page");
    ErrorPage { heading: "There is no such page", ..ErrorPage::from(error) }
}
