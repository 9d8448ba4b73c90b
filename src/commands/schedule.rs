//! `recoup schedule`: what runs when, and one of it now.

use super::scheduled::{Scheduled, moment, schedule};
use super::{Context, End};
use crate::cli::ScheduleCommand;
use crate::error::{Error, Kind, Result};
use crate::report::table;

pub(super) async fn run(context: &Context<'_>, command: ScheduleCommand) -> Result<End> {
    let report = context.report;
    let schedule = schedule(context)?;
    match command {
        ScheduleCommand::List => {
            let lines = schedule.lines()?;
            for line in &lines {
                report.object(line)?;
            }
            let rows = lines.iter().map(|line| {
                [
                    line.job.to_owned(),
                    line.next_at.as_ref().map_or_else(|| "off".to_owned(), |at| moment(Some(at))),
                    moment(line.started_at.as_ref()),
                    moment(line.ok_at.as_ref()),
                    line.error.clone().unwrap_or_default(),
                ]
            });
            report.lines(table(["job", "next", "last began", "last went well", "error"], rows));
            report.note("`recoup serve` runs them; `recoup schedule run JOB` runs one now");
        }
        ScheduleCommand::Run { job } => {
            let work = Scheduled::new(context);
            let done = tokio::task::spawn_blocking(move || schedule.run_now(job, work.as_ref()));
            done.await.map_err(|error| Error::new(Kind::Failed, format!("the job broke off: {error}")))??;
            report.object(&serde_json::json!({ "job": job, "done": true }))?;
            report.line(format!("{} is done", job.as_str()));
        }
    }
    Ok(End::Done)
}
