//! Another password, chosen by whoever it belongs to: nobody else has to know it.
//!
//! The old one is asked for, and a wrong one is slowed down like signing in: a browser that was left open must not be enough.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::login::{begin, origin, throttled};
use super::{Failure, Page, Shell, rendered};
use crate::access::{LoginRefused, PASSWORD_AT_LEAST};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Form};

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    shell: Shell,
    csrf: String,
    problem: Option<String>,
    at_least: usize,
}

pub(in crate::serve) async fn form(State(app): State<Arc<App>>, caller: Caller) -> Page {
    shown(&app, &caller, None, StatusCode::OK)
}

fn shown(app: &App, caller: &Caller, problem: Option<String>, status: StatusCode) -> Page {
    // Whom a proxy vouches for has none here.
    if caller.cookie.is_none() {
        return Err(Failure::may_not(caller));
    }
    let shell = Shell::of(app, "Another password", Some(caller));
    let mut response =
        rendered(&PasswordPage { shell, csrf: caller.csrf.clone(), problem, at_least: PASSWORD_AT_LEAST });
    *response.status_mut() = status;
    Ok(response)
}

pub(in crate::serve) async fn change(State(app): State<Arc<App>>, request: Request) -> Page {
    let origin = origin(&app, &request);
    let Form { caller, fields } = match Form::from_request(request, &app).await {
        Ok(form) => form,
        Err(refused) => return Ok(refused),
    };
    if caller.cookie.is_none() {
        return Err(Failure::may_not(&caller));
    }
    let value = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let (old, new) = (value("old"), value("new"));
    if new != value("again") {
        return shown(&app, &caller, Some("The new ones are not the same.".to_owned()), StatusCode::BAD_REQUEST);
    }
    let changed = app.hashed(move |app| {
        app.access(|access| match access {
            Some(access) => {
                access.change_password(&caller.who.name, &old, &new, &origin, app.clock.now()).map(|it| (it, caller))
            }
            None => Ok((Err(LoginRefused::Wrong), caller)),
        })
    });
    match changed.await? {
        (Ok(session), _) => {
            let mut response = Redirect::to("/lookup").into_response();
            begin(&app, &mut response, &session);
            Ok(response)
        }
        (Err(LoginRefused::Wrong), caller) => {
            let problem = "The password that you have is another one.".to_owned();
            shown(&app, &caller, Some(problem), StatusCode::UNAUTHORIZED)
        }
        (Err(LoginRefused::Throttled { until }), caller) => {
            throttled(&app, until, |problem, status| shown(&app, &caller, Some(problem), status))
        }
    }
}
