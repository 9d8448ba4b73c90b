//! Carries out each form of a page view once. A reload of the response, or a second click, submits a form again, and some forms
//! make a new secret or start a job each time.

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use ring::digest::{Context, SHA256};

use crate::access::Idempotency;
use crate::error::{Error, Kind, Result};
use crate::model::hex;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields};
use crate::serve::page::ErrorPage;

/// Fields that do not describe the change.
const NOT_HASHED: [&str; 3] = ["csrf", "your_password", "form_key"];

/// Maximum length of the key of a form, in bytes.
const KEY_AT_MOST: usize = 100;

/// A form that is being carried out.
pub(super) struct FormOnce {
    user: String,
    key: String,
}

pub(super) enum Begun {
    New(FormOnce),
    /// The form was carried out before, and its response led to this path; empty if the response was a page.
    Done(String),
}

impl FormOnce {
    /// Reserves the key of a form.
    pub(super) fn begin(app: &App, caller: &Caller, path: &str, fields: &Fields) -> Result<Begun, ErrorPage> {
        let key = fields.get("form_key").unwrap_or_default();
        if key.is_empty() || key.len() > KEY_AT_MOST {
            let error = Error::new(Kind::Usage, "the form is incomplete; nothing was changed");
            return Err(error.hint("reload the page, and fill in its form").into());
        }
        let (user, key) = (caller.who.name.clone(), format!("form {key} {path}"));
        let hash = hash_of(fields);
        let known = app.access.with(|access| match access {
            Some(access) => access.begin_idempotent(&user, &key, &hash, app.clock.now()),
            None => Ok(Idempotency::New),
        })?;
        match known {
            Idempotency::New => Ok(Begun::New(Self { user, key })),
            Idempotency::Done { body, .. } => Ok(Begun::Done(body)),
            Idempotency::InFlight => Err(ErrorPage::new(
                StatusCode::CONFLICT,
                "This form is being carried out",
                "It was submitted a moment ago.".to_owned(),
                "Look at the page again before you repeat it.".to_owned(),
            )),
            Idempotency::Different => Err(ErrorPage::new(
                StatusCode::CONFLICT,
                "This form was submitted before",
                "It had other values then. Nothing was changed now.".to_owned(),
                "Reload the page, and fill in its form again.".to_owned(),
            )),
        }
    }

    /// Stores where the response leads to. A page may have a secret, so it is not stored.
    pub(super) fn finish(self, app: &App, response: &Response) -> Result<()> {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        let status = response.status().as_u16();
        app.access
            .with(|access| access.map_or(Ok(()), |access| access.finish_idempotent(&self.user, &self.key, status, to)))
    }

    /// Lets the form be submitted again, because it has changed nothing.
    pub(super) fn release(self, app: &App) -> Result<()> {
        app.access.with(|access| access.map_or(Ok(()), |access| access.forget_idempotent(&self.user, &self.key)))
    }
}

/// The response to a form whose secret was shown before.
pub(super) fn submitted_before() -> ErrorPage {
    ErrorPage::new(
        StatusCode::CONFLICT,
        "This form was carried out before",
        "Nothing was changed now. What it made was shown once, and recoup does not store it.".to_owned(),
        "If you do not have it, open the page of the user and make another one.".to_owned(),
    )
}

fn hash_of(fields: &Fields) -> String {
    let mut context = Context::new(&SHA256);
    for (name, value) in fields.pairs().filter(|(name, _)| !NOT_HASHED.contains(name)) {
        // Each part has its length as a prefix, so that two different forms never hash the same bytes.
        for part in [name, value] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
    }
    hex(context.finish().as_ref())
}
