//! Batches: a file goes up, the plan is shown, a lead carries it out and watches, the outcomes come down.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};

use super::plan::PlanTable;
use super::shown::{count, minute};
use super::{Failure, Page, Shell, explain, rendered};
use crate::error::{Error, Kind};
use crate::refunds::formats;
use crate::refunds::plan_file::plan_of;
use crate::refunds::read::{LIST_FORMAT, Parsed};
use crate::retract::overrides::Override;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Fields, Form, check};
use crate::serve::batch::{Batch, Part, Stage, Terms};
use crate::serve::reading::{Asked, for_page};
use crate::serve::wording::{Surface, fitted};

/// Seconds after which a batch on its way is read again.
const AGAIN: u32 = 2;

#[derive(Template)]
#[template(path = "batches.html")]
struct BatchesPage {
    shell: Shell,
    batches: Vec<Line>,
    /// Formats that a person may choose, each by its name and its title.
    formats: Vec<(String, String)>,
    /// How many of them are platforms' exports.
    known: usize,
    csrf: String,
}

#[derive(Template)]
#[template(path = "batch.html")]
struct BatchPage {
    shell: Shell,
    line: Line,
    part: String,
    running: bool,
    planned: bool,
    again: bool,
    done: bool,
    plan: Option<PlanTable>,
    csrf: String,
}

struct Line {
    id: String,
    created: String,
    person: String,
    stage: &'static str,
    rows: String,
    orders: String,
    /// How many orders are sent.
    to_send: usize,
    value: String,
    sent: usize,
    message: String,
    progress: String,
    counts: Vec<(String, String)>,
    format: String,
    notes: Vec<String>,
    /// What a person said about the columns, and who.
    explained: Vec<String>,
    explained_by: String,
    decisions: Vec<(&'static str, String)>,
    reason: String,
    ticket: String,
}

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Page {
    let batches = app.shelf.list().iter().take(50).map(Line::of).collect();
    let shell = Shell::of(&app, "Batches", Some(&caller));
    let known = formats::ALL.iter().map(|format| (format.name.to_owned(), format.title.to_owned()));
    let of_settings =
        app.desk.options.reading.configured.keys().map(|name| (name.clone(), format!("{name} (of the settings)")));
    let list = std::iter::once((LIST_FORMAT.to_owned(), "a list of refunds of no known format".to_owned()));
    let formats = known.chain(of_settings).chain(list).collect();
    Ok(rendered(&BatchesPage { shell, batches, formats, known: formats::ALL.len(), csrf: caller.csrf }))
}

/// Takes a file. The form is read to its end, and refused without the session's token, before anything is done with it.
pub(in crate::serve) async fn upload(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Page {
    let broken = |error: axum::extract::multipart::MultipartError| {
        Error::new(Kind::Usage, format!("the upload cannot be read: {}", error.body_text()))
            .hint("a file of at most 10 MB goes")
    };
    let mut parts = Multipart::from_request(request, &app)
        .await
        .map_err(|error| Error::new(Kind::Usage, format!("this is no upload: {}", error.body_text())))?;
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
    check(&app, &caller, fields.get("csrf").unwrap_or_default())?;
    let terms = Terms {
        disposition: fields.text("disposition"),
        reason: fields.text("reason"),
        ticket: fields.text("ticket"),
        overrides: fields.all("override").filter_map(Override::named).collect(),
    };
    if terms.reason.is_none() {
        return Err(Error::new(Kind::Usage, "a batch needs a reason").hint("it stays in the ledger").into());
    }
    let asked = Asked::of(&fields)?;
    let batch = match app.understand(&file, &asked).map_err(Failure::of_file)? {
        Parsed::Complete(refunds) => app.begin_batch(&caller.who, *refunds, asked, terms)?,
        Parsed::NeedsMapping(_) => app.keep_to_explain(&caller.who, &file, asked, terms)?,
    };
    Ok(Redirect::to(&format!("/batch/{}", batch.id)).into_response())
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Page {
    let batch = app.batch(&id)?;
    if batch.stage == Stage::Explaining {
        return explain::show(&app, &caller, &id);
    }
    let running = matches!(batch.stage, Stage::Planning | Stage::Applying) && !batch.broken_off;
    let plan = app.shelf.get(&id, Part::Plan).ok();
    let plan = plan.and_then(|bytes| plan_of("the plan", &bytes).ok());
    let mut shell = Shell::of(&app, format!("Batch {id}"), Some(&caller));
    shell.again = if running { AGAIN } else { 0 };
    Ok(rendered(&BatchPage {
        shell,
        part: format!("/batch/{id}"),
        running,
        planned: batch.stage == Stage::Planned || batch.stage == Stage::Waiting,
        again: batch.broken_off && batch.stage == Stage::Applying,
        done: batch.stage == Stage::Done,
        line: Line::of(&batch),
        plan: plan.as_ref().map(PlanTable::of),
        csrf: caller.csrf,
    }))
}

pub(in crate::serve) async fn apply(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> Page {
    if !form.fields.has("yes") {
        let unseen = Error::new(Kind::Usage, "the last step was left out; nothing was sent");
        return Err(unseen.hint("tick that you have read the plan, then send it").into());
    }
    app.apply_batch(&form.caller.who, &id)?;
    Ok(Redirect::to(&format!("/batch/{id}")).into_response())
}

pub(in crate::serve) async fn outcomes(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<String>) -> Page {
    let bytes = app.shelf.get(&id, Part::Outcomes)?;
    Ok(download(&id, bytes))
}

/// A file to be kept, and never shown as a page.
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

impl Line {
    fn of(batch: &Batch) -> Self {
        let value: Vec<String> = batch.value.iter().map(|(unit, worth)| format!("{worth} {unit}")).collect();
        Self {
            id: batch.id.clone(),
            created: minute(&batch.created_at),
            person: batch.person.clone(),
            stage: if batch.broken_off { "broken off" } else { batch.stage.as_str() },
            rows: count(batch.rows as u64),
            orders: count(batch.orders as u64),
            to_send: batch.orders,
            value: value.join(", "),
            sent: batch.sent,
            message: batch.message.as_deref().map(|said| fitted(&for_page(said), Surface::Page)).unwrap_or_default(),
            progress: batch.progress.clone(),
            counts: batch.counts.iter().map(|(words, n)| (words.clone(), count(*n))).collect(),
            format: batch.format_title.clone(),
            notes: batch.notes.clone(),
            explained: explain::said(&batch.asked.explained),
            explained_by: batch.explained_by.clone().unwrap_or_else(|| batch.person.clone()),
            decisions: batch.decisions.iter().map(|(kind, n)| (kind.words(), count(*n as u64))).collect(),
            reason: batch.terms.reason.clone().unwrap_or_default(),
            ticket: batch.terms.ticket.clone().unwrap_or_default(),
        }
    }
}
