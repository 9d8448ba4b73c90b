//! Lets users change their own password.
//!
//! A change of the password requires the old password, so that a stranger at an unattended browser cannot change it.
//! The service delays further attempts after a wrong password, as at the sign-in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::login::{begin_session, origin, throttled};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::{LoginRefused, PASSWORD_AT_LEAST};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Form};

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    layout: Layout,
    csrf: String,
    problem: Option<String>,
    at_least: usize,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    password_form(&app, &caller, None, StatusCode::OK)
}

fn password_form(app: &App, caller: &Caller, problem: Option<String>, status: StatusCode) -> PageResult {
    // A user whom a proxy signs in has no password in recoup.
    if caller.session_cookie.is_none() {
        return Err(ErrorPage::forbidden(caller));
    }
    let layout = Layout::of(app, "Change your password", Some(caller));
    let mut response =
        rendered(&PasswordPage { layout, csrf: caller.csrf.clone(), problem, at_least: PASSWORD_AT_LEAST });
    *response.status_mut() = status;
    Ok(response)
}

pub(in crate::serve) async fn change(State(app): State<Arc<App>>, request: Request) -> PageResult {
    let origin = origin(&app, &request);
    let Form { caller, fields } = match Form::from_request(request, &app).await {
        Ok(form) => form,
        Err(refused) => return Ok(refused),
    };
    if caller.session_cookie.is_none() {
        return Err(ErrorPage::forbidden(&caller));
    }
    let value = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let (old, new) = (value("old"), value("new"));
    if new != value("again") {
        let problem = "The two new passwords are different.".to_owned();
        return password_form(&app, &caller, Some(problem), StatusCode::BAD_REQUEST);
    }
    let name = caller.who.name.clone();
    let changed = app.hashed(move |app| {
        app.access.with(|access| match access {
            Some(access) => access.change_password(&name, &old, &new, &origin, app.clock.now()),
            None => Ok(Err(LoginRefused::Wrong)),
        })
    });
    match changed.await? {
        Ok(session) => {
            let mut response = Redirect::to("/lookup").into_response();
            begin_session(&app, &mut response, &session);
            Ok(response)
        }
        Err(LoginRefused::Wrong) => {
            let problem = "The current password is wrong.".to_owned();
            password_form(&app, &caller, Some(problem), StatusCode::UNAUTHORIZED)
        }
        Err(LoginRefused::Throttled { until }) => {
            throttled(&app, until, |problem, status| password_form(&app, &caller, Some(problem), status))
        }
    }
}
