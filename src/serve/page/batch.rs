//! The pages of batches: a user uploads a file, reads the plan, applies it, and downloads the outcomes.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};

use super::plan::PlanTable;
use super::view::count;
use super::{ErrorPage, Layout, PageResult, explain, rendered};
use crate::error::{Error, Kind};
use crate::refunds::formats;
use crate::refunds::plan_file::plan_of;
use crate::refunds::read::{LIST_FORMAT, Parsed};
use crate::serve::app::App;
use crate::serve::batch::{Batch, Part, Stage, Terms};
use crate::serve::extractors::{Caller, Fields, Form, check_csrf};
use crate::serve::file_options::FileOptions;
use crate::serve::flag_names::{with_file_fields, without_flags};
use crate::serve::routes::Audience;

/// The page of a running batch reloads after this many seconds if the browser runs no scripts.
const RELOAD_SECONDS: u32 = 2;

#[derive(Template)]
#[template(path = "batches.html")]
struct BatchesPage {
    layout: Layout,
    batches: Vec<Batch>,
    /// Name and title of each supported file format.
    formats: Vec<(String, String)>,
    /// Number of formats that recoup recognises by the file's header.
    recognised: usize,
    csrf: String,
}

#[derive(Template)]
#[template(path = "batch.html")]
struct BatchPage {
    layout: Layout,
    batch: Batch,
    path: String,
    stage: &'static str,
    message: String,
    running: bool,
    planned: bool,
    /// Whether the batch's process has died while applying it, so that a user can resume it.
    can_resume: bool,
    done: bool,
    rows: String,
    orders: String,
    value: String,
    counts: String,
    decisions: String,
    /// How a person explained the columns, as sentences.
    explained: Vec<String>,
    plan: Option<PlanTable>,
    csrf: String,
}

const BATCHES_SHOWN: usize = 50;

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let batches = app.batches.list().into_iter().take(BATCHES_SHOWN).collect();
    let layout = Layout::of(&app, "Batches", Some(&caller));
    let known = formats::ALL.iter().map(|format| (format.name.to_owned(), format.title.to_owned()));
    let of_settings =
        app.actions.settings.reading.configured.keys().map(|name| (name.clone(), format!("{name} (of the settings)")));
    let list = std::iter::once((LIST_FORMAT.to_owned(), "a list of refunds of no known format".to_owned()));
    let formats = known.chain(of_settings).chain(list).collect();
    Ok(rendered(&BatchesPage { layout, batches, formats, recognised: formats::ALL.len(), csrf: caller.csrf }))
}

/// Accepts an upload. The CSRF token is checked after the whole form is read and before the file is used.
pub(in crate::serve) async fn upload(State(app): State<Arc<App>>, caller: Caller, request: Request) -> PageResult {
    let broken = |error: axum::extract::multipart::MultipartError| {
        Error::new(Kind::Usage, format!("the upload cannot be read: {}", error.body_text()))
            .hint("a file may have at most 10 MB")
    };
    let mut parts = Multipart::from_request(request, &app)
        .await
        .map_err(|error| Error::new(Kind::Usage, format!("the request is not an upload: {}", error.body_text())))?;
    let (mut file, mut fields) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(broken)?;
        if name == "file" {
            file = bytes.to_vec();
        } else {
            fields.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let fields: Fields = fields.into_iter().collect();
    check_csrf(&app, &caller, fields.get("csrf").unwrap_or_default())?;
    let terms = Terms::of(&fields)?;
    let options = FileOptions::of(&fields)?;
    let batch = match app.read_upload(&file, &options).map_err(ErrorPage::of_file)? {
        Parsed::Complete(refunds) => app.plan_batch(&caller.who, *refunds, options, terms)?,
        Parsed::NeedsMapping(_) => app.store_upload(&caller.who, &file, options, terms)?,
    };
    Ok(Redirect::to(&format!("/batch/{}", batch.id)).into_response())
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> PageResult {
    let batch = app.batch(&id)?;
    if batch.stage == Stage::Explaining {
        return explain::show(&app, &caller, &id);
    }
    let running = matches!(batch.stage, Stage::Planning | Stage::Applying) && !batch.broken_off;
    let plan = app.batches.read(&id, Part::Plan).ok();
    let plan = plan.and_then(|bytes| plan_of("the plan", &bytes).ok());
    let mut layout = Layout::of(&app, format!("Batch {id}"), Some(&caller));
    layout.reload_seconds = if running { RELOAD_SECONDS } else { 0 };
    let text = |text: &String| without_flags(&with_file_fields(text, Audience::Page), Audience::Page);
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    Ok(rendered(&BatchPage {
        layout,
        path: format!("/batch/{id}"),
        stage: stage_of(&batch),
        message: batch.message.as_ref().map(text).unwrap_or_default(),
        running,
        planned: batch.stage == Stage::Planned || batch.stage == Stage::Waiting,
        can_resume: batch.broken_off && batch.stage == Stage::Applying,
        done: batch.stage == Stage::Done,
        rows: count(batch.rows as u64),
        orders: count(batch.orders as u64),
        value: list(&mut batch.value.iter().map(|(unit, worth)| format!("{worth} {unit}"))),
        counts: list(&mut batch.counts.iter().map(|(words, n)| format!("{} {words}", count(*n)))),
        decisions: list(&mut batch.decisions.iter().map(|(kind, n)| format!("{} {}", count(*n as u64), kind.words()))),
        explained: explain::sentences(&batch.file_options.mapping),
        plan: plan.as_ref().map(PlanTable::of),
        csrf: caller.csrf,
        batch,
    }))
}

fn stage_of(batch: &Batch) -> &'static str {
    if batch.broken_off { "broken off" } else { batch.stage.as_str() }
}

pub(in crate::serve) async fn apply(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    if !form.fields.has("yes") {
        let unconfirmed = Error::new(Kind::Usage, "the plan was not confirmed; nothing was sent");
        return Err(unconfirmed.hint("tick that you have read the plan, then send it").into());
    }
    app.apply_batch(&form.caller.who, &id)?;
    Ok(Redirect::to(&format!("/batch/{id}")).into_response())
}

pub(in crate::serve) async fn outcomes(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(id): Path<String>,
) -> PageResult {
    Ok(download(&id, app.batches.read(&id, Part::Outcomes)?))
}

/// Returns the outcomes as an attachment, so that a browser never renders the content as a page.
pub(in crate::serve) fn download(id: &str, bytes: Vec<u8>) -> Response {
    let ending = if bytes.first() == Some(&b'{') { "ndjson" } else { "csv" };
    let kind = if ending == "csv" { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    let mut response = bytes.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"outcomes-{id}.{ending}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    response
}
