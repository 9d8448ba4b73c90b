//! Runs the scheduled jobs of the service. A job runs the use case of a command, without output.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::CommandContext;
use crate::cli::{BackupArgs, CrawlArgs, VerifyArgs};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::report::Report;
use crate::schedule::{Job, Schedule, Work};

pub(super) struct Scheduled {
    settings: Settings,
    clock: Clock,
    actor: Actor,
    runtime: Handle,
}

impl Scheduled {
    pub(super) fn new(context: &CommandContext<'_>) -> Arc<Self> {
        let CommandContext { settings, clock, actor, .. } = context;
        let actor = Actor { host: format!("{} (schedule)", actor.host), ..(*actor).clone() };
        Arc::new(Self { settings: (*settings).clone(), clock: **clock, actor, runtime: Handle::current() })
    }
}

pub(super) fn schedule(context: &CommandContext<'_>) -> Result<Schedule> {
    let CommandContext { settings, clock, stop, .. } = context;
    Ok(Schedule {
        index: settings.database.clone(),
        identity: settings.identity()?,
        timetable: settings.schedule.timetable.clone(),
        clock: **clock,
        stop: (*stop).clone(),
    })
}

impl Work for Scheduled {
    fn run(&self, job: Job, stop: &CancellationToken) -> Result<()> {
        let report = Report::silent();
        let Self { settings, clock, actor, runtime } = self;
        let context = CommandContext {
            settings,
            clock,
            stop,
            report: &report,
            actor,
            first_advocate: std::sync::OnceLock::new(),
        };
        runtime.block_on(async {
            let done = match job {
                Job::Refresh => {
                    let max_requests = settings.schedule.refresh_max_requests;
                    let args = CrawlArgs { max_requests, ..CrawlArgs::default() };
                    super::remember_refusal(&context, "crawl", super::crawl::run(&context, &args).await)
                }
                Job::Verify => {
                    let args = VerifyArgs { ids: Vec::new(), watch: false, wait: None, park: true };
                    super::remember_refusal(&context, "verify", super::retract::verify(&context, &args).await)
                }
                Job::Webhooks => super::webhook::work(&context).await,
                Job::Backup => {
                    let Some(folder) = settings.schedule.backup_folder.clone() else {
                        return Err(Error::new(Kind::Config, "the backup job has no folder")
                            .hint("set [schedule] backup_folder"));
                    };
                    let args = BackupArgs { folder, keep: settings.schedule.backup_keep };
                    super::backup::run(&context, &args).await
                }
            };
            super::remember_clock(&context);
            match done {
                Ok(_) => Ok(()),
                // A job does not fail if the quota is used up, a retraction is not confirmed yet, another process is
                // busy, or this process is stopping. The next run of the job continues the work.
                Err(error)
                    if matches!(error.kind, Kind::Parked | Kind::NotConfirmed | Kind::Busy | Kind::Interrupted) =>
                {
                    tracing::info!(job = job.as_str(), kind = error.kind.name(), "{}", error.message);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        })
    }
}

/// Formats an RFC 3339 time to the second. Returns an empty text if the time is `None`.
pub(super) fn short_time(text: Option<&String>) -> String {
    text.and_then(|text| text.parse::<Timestamp>().ok()).map_or_else(String::new, |at| format!("{at:.0}"))
}
