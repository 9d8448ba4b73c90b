//! `recoup schedule`: lists the scheduled jobs, or runs one job now.

use super::scheduled::{Scheduled, schedule, short_time};
use super::{CommandContext, Exit};
use crate::cli::ScheduleCommand;
use crate::error::{Error, Kind, Result};

pub(super) async fn run(context: &CommandContext<'_>, command: ScheduleCommand) -> Result<Exit> {
    let report = context.report;
    let schedule = schedule(context)?;
    match command {
        ScheduleCommand::List => {
            let lines = schedule.lines()?;
            let header = ["job", "next", "last start", "last success", "error"];
            context.show_list(&lines, "no job is scheduled", header, |line| {
                [
                    line.job.to_owned(),
                    line.next_at.as_ref().map_or_else(|| "off".to_owned(), |at| short_time(Some(at))),
                    short_time(line.started_at.as_ref()),
                    short_time(line.ok_at.as_ref()),
                    line.error.clone().unwrap_or_default(),
                ]
            })?;
            report.note("`recoup serve` runs them; `recoup schedule run JOB` runs one now");
        }
        ScheduleCommand::Run { job } => {
            let work = Scheduled::new(context);
            let done = tokio::task::spawn_blocking(move || schedule.run_now(job, work.as_ref()));
            done.await.map_err(|error| Error::new(Kind::Failed, format!("the job was aborted: {error}")))??;
            report.object(&serde_json::json!({ "job": job, "done": true }))?;
            report.line(format!("{} is done", job.as_str()));
        }
    }
    Ok(Exit::Done)
}
