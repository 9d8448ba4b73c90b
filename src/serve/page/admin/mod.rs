//! The pages of an administrator: users with their sessions and tokens, approval limits, schedule, settings, and the log of
//! changes.
//!
//! Each change calls the use case of its command, and the log records the change in the administrator's name. Each
//! change requires the administrator's own password, so that a stranger at an unattended browser cannot change
//! anything.

mod form_once;
pub(in crate::serve) mod system;
pub(in crate::serve) mod users;

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use form_once::{Begun, FormOnce, submitted_before};

use super::login::{origin, throttled};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::{AccessControl, By, LoginRefused, User};
use crate::error::{Error, Kind, Result};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Form};
use crate::store::ledger::Ledger;

/// The pages of the administration: path and title.
pub(super) const PAGES: &[(&str, &str)] = &[
    ("/admin", "Users"),
    ("/admin/limits", "Approval limits"),
    ("/admin/schedule", "Scheduled jobs"),
    ("/admin/settings", "Settings"),
    ("/admin/log", "Log of changes"),
];

/// The values by which a form proves that the administrator sends it.
pub(super) struct Proof {
    csrf: String,
    /// Names this page view. The service carries each of its forms out once.
    form_key: String,
    /// `true` if the form asks for the password. A user whom a proxy signs in has no password, and ticks a box instead.
    by_password: bool,
}

impl Proof {
    fn of(caller: &Caller) -> Result<Self> {
        Ok(Self {
            csrf: caller.csrf.clone(),
            form_key: crate::access::random_text()?,
            by_password: caller.session_cookie.is_some(),
        })
    }
}

/// A secret that the page shows only once.
#[derive(Template)]
#[template(path = "admin_secret.html")]
struct SecretPage {
    layout: Layout,
    what: String,
    secret: String,
    back: String,
}

fn secret_page(app: &App, caller: &Caller, what: String, secret: &str, back: String) -> Response {
    let layout = Layout::of(app, "Shown only this once", Some(caller));
    rendered(&SecretPage { layout, what, secret: secret.to_owned(), back })
}

/// Reads the form of a change, checks that the administrator has confirmed it, and carries it out once: a browser that reloads
/// the response submits the form again.
async fn confirmed<Done>(
    app: &Arc<App>,
    request: Request,
    change: impl FnOnce(Arc<App>, Caller, Fields) -> Done,
) -> PageResult
where
    Done: Future<Output = PageResult>,
{
    let path = request.uri().path().to_owned();
    let (caller, fields) = match proven(app, request).await {
        Ok(form) => form,
        Err(refused) => return Ok(refused),
    };
    let once = match FormOnce::begin(app, &caller, &path, &fields)? {
        Begun::New(once) => once,
        Begun::Done(to) if to.is_empty() => return Err(submitted_before()),
        Begun::Done(to) => return Ok(Redirect::to(&to).into_response()),
    };
    let done = change(Arc::clone(app), caller, fields).await;
    match &done {
        Ok(response) => once.finish(app, response)?,
        Err(_) => once.release(app)?,
    }
    done
}

/// Reads the form of a change. Fails if the administrator has not confirmed the change.
async fn proven(app: &Arc<App>, request: Request) -> Result<(Caller, Fields), Response> {
    let origin = origin(app, &request);
    let Form { caller, fields } = Form::from_request(request, app).await?;
    let refuse = |message: &str, hint: &str| {
        let error = Error::new(Kind::Usage, format!("{message}; nothing was changed")).hint(hint);
        ErrorPage::from(error).into_response()
    };
    if caller.session_cookie.is_none() {
        if fields.has("yes") {
            return Ok((caller, fields));
        }
        return Err(refuse("the change was not confirmed", "tick that you want to make this change"));
    }
    let password = fields.get("your_password").unwrap_or_default().to_owned();
    if password.is_empty() {
        return Err(refuse("your password is missing", "a change needs the password that you sign in with"));
    }
    let name = caller.who.name.clone();
    let checked = app.hashed(move |app| {
        app.access.with(|access| match access {
            Some(access) => access.confirm_password(&name, &password, &origin, app.clock.now()),
            None => Ok(Err(LoginRefused::Wrong)),
        })
    });
    let wrong = |problem: String, status| {
        ErrorPage::new(status, "Nothing was changed", problem, "Go back and try again.".to_owned())
    };
    match checked.await {
        Ok(Ok(())) => Ok((caller, fields)),
        Ok(Err(LoginRefused::Wrong)) => {
            Err(wrong("Your password is wrong.".to_owned(), StatusCode::UNAUTHORIZED).into_response())
        }
        Ok(Err(LoginRefused::Throttled { until })) => {
            Err(throttled(app, until, |problem, status| Ok(wrong(problem, status).into_response())).into_response())
        }
        Err(error) => Err(ErrorPage::from(error).into_response()),
    }
}

impl App {
    /// Changes users or tokens in the administrator's name. The change records itself in the log.
    fn change<T>(&self, caller: &Caller, change: impl FnOnce(&mut AccessControl, &By<'_>) -> Result<T>) -> Result<T> {
        let (actor, at) = (self.actions.actor(&caller.who), self.clock.now());
        self.access.with(|access| {
            let access = access.ok_or_else(|| Error::new(Kind::Failed, "there is no user yet"))?;
            change(access, &By { actor: &actor, at })
        })
    }

    /// Records a change to something other than users and tokens in the log.
    fn log_change(&self, caller: &Caller, what: &str) -> Result<()> {
        self.change(caller, |access, by| access.log(what, by))
    }

    /// Withdraws the approvals and the approval requests that a user may no longer make.
    fn withdraw_lost(&self, caller: &Caller, user: &User) -> Result<()> {
        if self.actions.ledger()?.is_some() {
            self.ledger_for(caller)?.withdraw_all_of(&user.names(), &user.lost(), self.clock.now())?;
        }
        Ok(())
    }

    fn ledger_for(&self, caller: &Caller) -> Result<Ledger> {
        let settings = &self.actions.settings;
        Ledger::open(&settings.ledger, &settings.identity, &self.actions.actor(&caller.who))
    }
}
