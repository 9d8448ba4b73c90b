//! The administrator's pages of the service itself: approval limits, scheduled jobs, and the effective settings.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Redirect};
use clap::ValueEnum;

use super::{Proof, confirmed};
use crate::error::{Error, Kind, Result};
use crate::schedule::{Job, JobStatus};
use crate::serve::ShownSetting;
use crate::serve::actions::aborted;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields};
use crate::serve::flag_names::without_flags;
use crate::serve::page::{Layout, PageResult, rendered};
use crate::serve::routes::Audience;
use crate::store::ledger::Policy;

/// How long a request waits for a scheduled job that it has started. The job continues after this time if it needs
/// longer.
const WAIT_FOR_JOB: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "admin_limits.html")]
struct LimitsPage {
    layout: Layout,
    policy: Policy,
    sentence: String,
    proof: Proof,
}

#[derive(Template)]
#[template(path = "admin_schedule.html")]
struct SchedulePage {
    layout: Layout,
    jobs: Vec<JobLine>,
    proof: Proof,
}

struct JobLine {
    status: JobStatus,
    /// What the scheduled job does.
    about: &'static str,
    is_running: bool,
}

#[derive(Template)]
#[template(path = "admin_settings.html")]
struct SettingsPage {
    layout: Layout,
    settings: Vec<ShownSetting>,
}

pub(in crate::serve) async fn limits(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let policy = app.actions.ledger()?.map(|ledger| ledger.policy()).transpose()?.unwrap_or_default();
    let layout = Layout::of(&app, "Approval limits", Some(&caller));
    Ok(rendered(&LimitsPage { layout, sentence: policy.describe(), policy, proof: Proof::of(&caller)? }))
}

/// Sets the approval limits, which the ledger records.
pub(in crate::serve) async fn set_limits(State(app): State<Arc<App>>, request: Request) -> PageResult {
    confirmed(&app, request, |app, caller, fields| async move {
        let policy = Policy {
            always: fields.has("always"),
            overrides: fields.has("overrides"),
            count: number(&fields, "count")?,
            value: number(&fields, "value")?,
        };
        app.ledger_for(&caller)?.set_policy(&policy, app.clock.now())?;
        app.log_change(&caller, &format!("approval limits: {}", policy.describe()))?;
        Ok(Redirect::to("/admin/limits").into_response())
    })
    .await
}

/// Parses an approval limit. An empty field of the form means no limit.
fn number(fields: &Fields, name: &str) -> Result<Option<u64>> {
    let Some(text) = fields.text(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_not_a_number| {
        Error::new(Kind::Usage, format!("{text:?} is not a limit; nothing was changed")).hint("write a whole number")
    })
}

pub(in crate::serve) async fn schedule(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let this = Arc::clone(&app);
    let jobs = app.blocking(move || this.options.schedule.0.lines());
    let line = |status: JobStatus| JobLine { about: about(status.job), is_running: status.is_running, status };
    let jobs = jobs.await?.into_iter().map(line).collect();
    let layout = Layout::of(&app, "Scheduled jobs", Some(&caller));
    Ok(rendered(&SchedulePage { layout, jobs, proof: Proof::of(&caller)? }))
}

/// Runs a scheduled job now, under the lock of its scheduled runs. Waits briefly, so that the page can show why a job
/// does not start.
pub(in crate::serve) async fn run_job(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        let job = Job::value_variants().iter().copied().find(|job| job.as_str() == name);
        let job = job.ok_or_else(|| Error::new(Kind::NotIndexed, format!("there is no job {name:?}")))?;
        app.log_change(&caller, &format!("job {}: run now", job.as_str()))?;
        let (schedule, work) = app.options.schedule.clone();
        let running = app.actions.tasks.spawn_blocking(move || schedule.run_now(job, work.as_ref()));
        if let Ok(ended) = tokio::time::timeout(WAIT_FOR_JOB, running).await {
            ended.unwrap_or_else(|error| Err(aborted(&error)))?;
        }
        Ok(Redirect::to("/admin/schedule").into_response())
    })
    .await
}

fn about(job: &str) -> &'static str {
    match job {
        "refresh" => "reads what changed at the vendor into the index",
        "verify" => "looks at every open retraction once",
        "webhooks" => "reads the accounts that webhooks have named",
        "backup" => "copies index and ledger",
        _ => "",
    }
}

pub(in crate::serve) async fn settings(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let shown = app
        .options
        .shown_settings
        .iter()
        .cloned()
        .map(|setting| ShownSetting { source: without_flags(&setting.source, Audience::Page), ..setting });
    let layout = Layout::of(&app, "Settings", Some(&caller));
    Ok(rendered(&SettingsPage { layout, settings: shown.collect() }))
}
