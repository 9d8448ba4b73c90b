//! The reason of a retraction in a form, and the page that asks for a missing reason.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Layout, rendered};
use crate::serve::app::App;
use crate::serve::extractors::{Fields, Form};

/// The fields of a form that the page of a missing reason shows again. The page keeps all other fields unseen.
const SHOWN: [&str; 4] = ["csrf", "preset", "reason", "ticket"];

#[derive(Template)]
#[template(path = "reason_missing.html")]
struct ReasonPage<'a> {
    layout: Layout,
    /// The address to which the form is sent.
    action: &'static str,
    /// Order IDs, as the user chose them.
    orders: Vec<&'a str>,
    /// Name and value of each field that the user does not enter again.
    kept: Vec<(&'a str, &'a str)>,
    reasons: &'a [String],
    ticket: String,
    csrf: &'a str,
}

/// Joins the chosen reason and the free text. Returns `None` if the form has neither.
pub(super) fn reason_of(fields: &Fields) -> Option<String> {
    match (fields.text("preset"), fields.text("reason")) {
        (Some(preset), Some(text)) => Some(format!("{preset}: {text}")),
        (preset, text) => preset.or(text),
    }
}

/// Returns a page that asks for the reason, if the form has orders and no reason. The page keeps what the user has
/// chosen and entered. `action` is the address of the form.
pub(super) fn ask_if_missing(app: &App, form: &Form, action: &'static str) -> Option<Response> {
    let fields = &form.fields;
    if reason_of(fields).is_some() || !fields.has("order") {
        return None;
    }
    let page = rendered(&ReasonPage {
        layout: Layout::of(app, "The reason is missing", Some(&form.caller)),
        action,
        orders: fields.all("order").collect(),
        kept: fields.pairs().filter(|(name, _)| !SHOWN.contains(name)).collect(),
        reasons: &app.options.page.reasons,
        ticket: fields.text("ticket").unwrap_or_default(),
        csrf: &form.caller.csrf,
    });
    Some((StatusCode::BAD_REQUEST, page).into_response())
}
