//! The pages of batches: a user uploads a file, reads the plan, applies it, and downloads the outcomes.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};

use super::plan::{self, Part, PlanTable};
use super::view::count;
use super::{ErrorPage, Layout, PageResult, explain, rendered};
use crate::error::{Error, Kind, Result};
use crate::refunds::formats;
use crate::refunds::read::{LIST_FORMAT, Parsed};
use crate::serve::app::App;
use crate::serve::batch::{Batch, Counts, Stage, Terms};
use crate::serve::extractors::{Caller, Fields, Form, Query, check_csrf};
use crate::serve::file_options::FileOptions;
use crate::serve::flag_names::{with_file_fields, without_flags};
use crate::serve::routes::Audience;

/// The page of a running batch reloads after this many seconds if the browser runs no scripts.
const RELOAD_SECONDS: u32 = 2;

#[derive(Template)]
#[template(path = "batches.html")]
struct BatchesPage {
    layout: Layout,
    batches: Vec<BatchLine>,
    /// Links to the previous and the next page of the list of batches.
    previous: Option<String>,
    next: Option<String>,
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
    stage: String,
    /// CSS class of the stage.
    tone: &'static str,
    message: String,
    running: bool,
    /// Number of sent orders and number of all orders to send, while the service applies the batch.
    progress: Option<(u64, u64)>,
    planned: bool,
    /// `true` if the batch's process has died while applying the batch, so that a user can resume it.
    can_resume: bool,
    /// `true` if the plan of the batch was applied.
    done: bool,
    /// Whether applying the plan again can do more: some rows are open or not attempted, or the outcomes cannot be read.
    can_repeat: bool,
    /// Whether outcomes can be downloaded.
    has_outcomes: bool,
    rows: String,
    orders: String,
    value: String,
    decisions: String,
    /// How a person explained the columns of the file, as sentences.
    explained: Vec<String>,
    plan: Option<PlanTable>,
    csrf: String,
}

/// A row in the list of batches.
struct BatchLine {
    stage: String,
    tone: &'static str,
    rows: String,
    sent: String,
    batch: Batch,
}

const BATCHES_SHOWN: usize = 50;

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> PageResult {
    let page = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1_usize).max(1);
    let this = Arc::clone(&app);
    let lines = app.blocking(move || {
        let stored = this.batches.list()?;
        let first = (page - 1).saturating_mul(BATCHES_SHOWN);
        let has_more = stored.len() > first.saturating_add(BATCHES_SHOWN);
        let shown = stored.into_iter().skip(first).take(BATCHES_SHOWN);
        let lines = shown.filter_map(|batch| this.present_batch(batch)).map(BatchLine::of);
        Ok((lines.collect(), has_more))
    });
    let (batches, has_more) = lines.await?;
    let link = |page: usize| format!("/batch?page={page}");
    let (previous, next) = ((page > 1).then(|| link(page - 1)), has_more.then(|| link(page + 1)));
    let layout = Layout::of(&app, "Batches", Some(&caller));
    let known = formats::ALL.iter().map(|format| (format.name.to_owned(), format.title.to_owned()));
    let of_settings =
        app.actions.settings.reading.configured.keys().map(|name| (name.clone(), format!("{name} (of the settings)")));
    let list = std::iter::once((LIST_FORMAT.to_owned(), "a list of refunds of no known format".to_owned()));
    let formats = known.chain(of_settings).chain(list).collect();
    let recognised = formats::ALL.len();
    Ok(rendered(&BatchesPage { layout, batches, previous, next, formats, recognised, csrf: caller.csrf }))
}

/// Accepts an uploaded refund file. Checks the CSRF token after reading the whole form and before using the file.
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

pub(in crate::serve) async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query,
) -> PageResult {
    let batch = app.batch(&id)?;
    if batch.stage == Stage::Explaining {
        return explain::show(&app, &caller, &id);
    }
    if !matches!(batch.stage, Stage::Applying | Stage::Planning) {
        app.batches.seen(&caller.who.name, &id);
    }
    let this = Arc::clone(&app);
    let page = app.blocking(move || BatchPage::of(&this, &caller, batch, &query));
    Ok(rendered(&page.await?))
}

impl BatchPage {
    fn of(app: &App, caller: &Caller, mut batch: Batch, query: &Fields) -> Result<Self> {
        let path = format!("/batch/{}", batch.id);
        let plan = app.plan_of_batch(&batch.id)?;
        let read = plan.as_ref().map(|plan| app.outcomes(&batch, plan)).transpose();
        let is_damaged = read.is_err() && batch.stage == Stage::Done;
        let mut outcomes = match read {
            Ok(outcomes) => outcomes.flatten(),
            // The form below writes the outcomes again.
            Err(error) if is_damaged => {
                batch = batch.unreadable(&error);
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(outcomes) = &outcomes {
            batch.set_counts(Counts::of(outcomes));
        }
        let part = Part {
            path: &path,
            code: query.get("show").unwrap_or_default(),
            page: query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1),
        };
        let table = match &plan {
            Some(plan) => Some(PlanTable::of(app, plan, outcomes.as_mut(), &part)?),
            None => None,
        };
        let is_applying = batch.stage == Stage::Applying;
        let running = (is_applying || batch.stage == Stage::Planning) && !batch.broken_off;
        let mut layout = Layout::of(app, format!("Batch {}", batch.id), Some(caller));
        layout.reload_seconds = if running { RELOAD_SECONDS } else { 0 };
        let text = |text: &String| without_flags(&with_file_fields(text, Audience::Page), Audience::Page);
        let decisions = batch.decisions.iter().map(|(kind, n)| format!("{} {}", count(*n as u64), kind.words()));
        let progress = outcomes.as_ref().zip(plan.as_ref()).filter(|_| is_applying);
        Ok(Self {
            layout,
            stage: batch.words(),
            tone: match batch.stage {
                Stage::Planned | Stage::Waiting => "",
                _ => batch.tone(),
            },
            message: batch.message.as_ref().map(text).unwrap_or_default(),
            running,
            progress: progress.map(|(outcomes, plan)| plan::progress(plan, outcomes)),
            planned: batch.stage == Stage::Planned || batch.stage == Stage::Waiting,
            can_resume: batch.broken_off && is_applying,
            done: batch.stage == Stage::Done || is_damaged,
            can_repeat: is_damaged || (batch.stage == Stage::Done && (batch.open > 0 || batch.left > 0)),
            has_outcomes: outcomes.is_some(),
            rows: count(batch.rows as u64),
            orders: count(batch.orders as u64),
            value: plan.as_ref().filter(|_| !running).map(|plan| plan::value_to_send(app, plan)).unwrap_or_default(),
            decisions: decisions.collect::<Vec<_>>().join(", "),
            explained: explain::sentences(&batch.file_options.mapping),
            plan: table,
            csrf: caller.csrf.clone(),
            path,
            batch,
        })
    }
}

impl BatchLine {
    fn of(batch: Batch) -> Self {
        let (rows, sent) = (count(batch.rows as u64), count(batch.sent as u64));
        Self { stage: batch.words(), tone: batch.tone(), rows, sent, batch }
    }

    /// Why the batch cannot be read.
    fn why(&self) -> &str {
        self.batch.message.as_deref().unwrap_or_default()
    }
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
    let (this, of) = (Arc::clone(&app), id.clone());
    Ok(download(&id, app.blocking(move || this.outcome_file(&of)).await?))
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
