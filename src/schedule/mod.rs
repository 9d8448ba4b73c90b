//! Use case: runs the scheduled jobs of the service, each job in one process at a time.
//!
//! `trigger` computes when a job is due, and the index stores when the job last ran. While a job runs, its process
//! holds a lock. The lock is released when the process ends. The caller implements the scheduled jobs as [`Work`]. The
//! index records a failed job. The job runs again at its next due time. One due time never causes two runs of a job.

mod trigger;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use trigger::Trigger;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::store::index::{Index, IndexReader, JobRow};
use crate::store::{Identity, Place, ProcessLock};

/// The longest pause between two reads of the index. The schedule must read the index, because another process may run
/// a job and the clock may change.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// A scheduled job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Crawls what changed and what was not read for too long, then looks up the watched orders
    Refresh,
    /// Reads every open retraction once
    Verify,
    /// Reads the accounts that webhooks have named
    Webhooks,
    /// Backs up the index and the ledger
    Backup,
}

impl Job {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Verify => "verify",
            Self::Webhooks => "webhooks",
            Self::Backup => "backup",
        }
    }
}

/// The trigger of each job. A job without a trigger does not run.
#[derive(Debug, Clone, Default)]
pub struct Timetable {
    pub jobs: BTreeMap<Job, Trigger>,
    /// The largest random delay of a job's run, as a share of the job's interval.
    pub jitter: f64,
}

/// Runs the scheduled jobs. The schedule runs each job on a blocking thread. The job must return soon after `stop` is
/// cancelled.
pub trait Work: Send + Sync + 'static {
    fn run(&self, job: Job, stop: &CancellationToken) -> Result<()>;
}

#[derive(Debug, Clone)]
pub struct Schedule {
    pub index: Place,
    /// The tenant and the hosts to which the index belongs.
    pub identity: Identity,
    pub timetable: Timetable,
    pub clock: Clock,
    pub stop: CancellationToken,
}

/// One line of `recoup schedule list`.
#[derive(Debug, Serialize)]
pub struct JobStatus {
    pub job: &'static str,
    /// The next due time of the job in RFC 3339; `null` if the job is not scheduled.
    pub next_at: Option<String>,
    /// When the newest run of the job started, in RFC 3339.
    pub started_at: Option<String>,
    /// When the newest run of the job finished, in RFC 3339.
    pub finished_at: Option<String>,
    /// Whether the newest run has not finished: it runs, or its process has died.
    #[serde(skip)]
    pub is_running: bool,
    /// The time of the newest successful run, in RFC 3339.
    pub ok_at: Option<String>,
    /// Why the newest run of the job failed; `null` if it succeeded.
    pub error: Option<String>,
}

impl Schedule {
    /// Runs due jobs until `stop` is cancelled, then waits for the running jobs.
    pub async fn run(self, work: Arc<dyn Work>) {
        let (began, zone) = (self.clock.now(), TimeZone::system());
        let running = TaskTracker::new();
        loop {
            let mut pause = POLL_INTERVAL;
            match self.due(began, &zone) {
                Ok(list) => {
                    let now = self.clock.now();
                    for (job, last, at) in list {
                        if at > now {
                            let left = Duration::try_from(at.duration_since(now)).unwrap_or(POLL_INTERVAL);
                            pause = pause.min(left.max(Duration::from_millis(10)));
                            continue;
                        }
                        let (this, work) = (self.clone(), Arc::clone(&work));
                        running.spawn_blocking(move || this.run_due(job, last, work.as_ref()));
                        // A job stays due until its run has recorded its start in the index. The schedule refuses to
                        // start the same run of a job a second time.
                        pause = pause.min(Duration::from_secs(1));
                    }
                }
                Err(error) => {
                    tracing::warn!(kind = error.kind.name(), "the schedule cannot be read: {}", error.message);
                }
            }
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.stop.cancelled() => break,
            }
        }
        running.close();
        running.wait().await;
    }

    /// Returns each scheduled job with its last start and its due time.
    fn due(&self, began: Timestamp, zone: &TimeZone) -> Result<Vec<(Job, Option<Timestamp>, Timestamp)>> {
        let known = rows(&self.index, &self.identity)?;
        let mut list = Vec::new();
        for (job, trigger) in &self.timetable.jobs {
            let last = known.iter().find(|row| row.name == job.as_str()).map(|row| row.started_at);
            if let Some(at) = trigger.next(last, began, zone) {
                // A job runs without jitter if it has never run or has missed its due time.
                let late = last.is_none() || at < began;
                let jitter = if late {
                    jiff::SignedDuration::ZERO
                } else {
                    trigger.jitter(self.timetable.jitter, job.as_str(), at)
                };
                list.push((*job, last, at.checked_add(jitter).unwrap_or(Timestamp::MAX)));
            }
        }
        Ok(list)
    }

    /// Runs a job if no other process is running it or has just run it. Records the result of the job in the index.
    fn run_due(&self, job: Job, last: Option<Timestamp>, work: &dyn Work) {
        match self.run_alone(job, last, work) {
            // The webhooks job runs every few seconds and usually finds no work. Therefore the runs of the webhooks job
            // are not logged at the level info.
            Ok(()) if job == Job::Webhooks => tracing::debug!(job = job.as_str(), "the scheduled job has finished"),
            Ok(()) => tracing::info!(job = job.as_str(), "the scheduled job has finished"),
            Err(error) if error.kind == Kind::Busy => {
                tracing::debug!(job = job.as_str(), "another process runs the scheduled job");
            }
            Err(error) => {
                tracing::warn!(
                    job = job.as_str(),
                    kind = error.kind.name(),
                    "the scheduled job failed: {}",
                    error.message
                );
            }
        }
    }

    fn run_alone(&self, job: Job, last: Option<Timestamp>, work: &dyn Work) -> Result<()> {
        let busy = || {
            Error::new(Kind::Busy, format!("another process is running the job {}, or has just run it", job.as_str()))
                .hint("`recoup schedule list` shows when it ran")
        };
        let purpose = format!("job-{}", job.as_str());
        let lock = ProcessLock::try_take(&self.index, &purpose)?.ok_or_else(busy)?;
        let mut index = Index::open(&self.index, &self.identity)?;
        if !index.begin_job(job.as_str(), last, self.clock.now())? {
            return Err(busy());
        }
        let done = work.run(job, &self.stop);
        let error = done.as_ref().err().map(|error| error.message.as_str());
        index.end_job(job.as_str(), error, self.clock.now())?;
        drop(lock);
        done
    }

    /// Runs a job immediately, under the lock of the job's scheduled runs.
    pub fn run_now(&self, job: Job, work: &dyn Work) -> Result<()> {
        // Creates a missing index, because this may be the tenant's first crawl.
        drop(Index::open(&self.index, &self.identity)?);
        let known = rows(&self.index, &self.identity)?;
        let last = known.iter().find(|row| row.name == job.as_str()).map(|row| row.started_at);
        self.run_alone(job, last, work)
    }

    pub fn lines(&self) -> Result<Vec<JobStatus>> {
        let known = rows(&self.index, &self.identity)?;
        let (now, zone) = (self.clock.now(), TimeZone::system());
        let text = |at: Option<Timestamp>| at.map(|at| format!("{at:.0}"));
        let line = |job: &Job| {
            let row = known.iter().find(|row| row.name == job.as_str());
            let last = row.map(|row| row.started_at);
            let next =
                self.timetable.jobs.get(job).and_then(|trigger| trigger.next(last, now, &zone)).map(|at| at.max(now));
            JobStatus {
                job: job.as_str(),
                next_at: text(next),
                started_at: text(last),
                finished_at: text(row.and_then(|row| row.finished_at)),
                is_running: row.is_some_and(|row| row.finished_at.is_none_or(|finished| row.started_at > finished)),
                ok_at: text(row.and_then(|row| row.ok_at)),
                error: row.and_then(|row| row.error.clone()),
            }
        };
        Ok(Job::value_variants().iter().map(line).collect())
    }
}

fn rows(index: &Place, identity: &Identity) -> Result<Vec<JobRow>> {
    IndexReader::open(index, Some(identity))?.map_or_else(|| Ok(Vec::new()), |reader| reader.jobs())
}
