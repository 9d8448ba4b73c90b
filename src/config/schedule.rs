//! `[schedule]`: the trigger of each job, which is an interval, a cron expression, or "off".

use std::path::PathBuf;

use super::Span;
use super::file::ScheduleTable;
use crate::error::{Error, Kind, Result};
use crate::schedule::{Job, Timetable, Trigger};

#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    pub timetable: Timetable,
    /// The maximum number of requests in one refresh.
    pub refresh_max_requests: Option<u64>,
    pub backup_folder: Option<PathBuf>,
    pub backup_keep: Option<u32>,
}

impl ScheduleSettings {
    pub(super) fn of(table: ScheduleTable) -> Result<Self> {
        let mut timetable = Timetable { jitter: table.jitter.map_or(0.1, |share| share.0), ..Timetable::default() };
        let backup = if table.backup_folder.is_some() { "30 1 * * *" } else { "off" };
        for (job, text, default) in [
            (Job::Refresh, table.refresh, "1h"),
            (Job::Verify, table.verify, "5m"),
            (Job::Webhooks, table.webhooks, "5s"),
            (Job::Backup, table.backup, backup),
        ] {
            let text = text.as_deref().unwrap_or(default).trim();
            let trigger = match (text, text.parse::<Span>()) {
                ("off", _) => continue,
                (_, Ok(span)) => Trigger::every(span.0),
                _ => Trigger::cron(text),
            };
            let trigger = trigger.map_err(|why| {
                Error::new(Kind::Config, format!("[schedule] {}: {why}", job.as_str()))
                    .hint("write an interval as 1h, a cron expression as \"30 1 * * *\", or \"off\"")
            })?;
            timetable.jobs.insert(job, trigger);
        }
        if timetable.jobs.contains_key(&Job::Backup) && table.backup_folder.is_none() {
            return Err(Error::new(Kind::Config, "[schedule] backup: backup_folder is not set")
                .hint("set backup_folder, or backup = \"off\""));
        }
        Ok(Self {
            timetable,
            refresh_max_requests: table.refresh_max_requests,
            backup_folder: table.backup_folder,
            backup_keep: table.backup_keep,
        })
    }
}
