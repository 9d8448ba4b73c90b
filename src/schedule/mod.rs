//! Use case: what runs when, one at a time, whatever the number of processes.
//!
//! `when` says when a job is due, the index remembers when it last ran, and a lock that dies with its process holds it while it
//! runs. What a job does is given in as [`Work`]. A job that fails is written down and tried again at its next time; nothing ends
//! the schedule but the end of its process. It must never run one job twice for one moment.

mod when;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use when::When;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::store::index::{Index, IndexReader, JobRow};
use crate::store::{Identity, ProcessLock};

/// The schedule looks at least this often: another process may have run something, and clocks are set.
const LOOK: Duration = Duration::from_secs(30);

/// What can be scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// A crawl: what changed, and what was not read for too long; then refunds that wait for their orders
    Refresh,
    /// One look at every open retraction
    Verify,
    /// Accounts that webhooks have named
    Webhooks,
    /// A backup of both files
    Backup,
}

impl Job {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Verify => "verify",
            Self::Webhooks => "webhooks",
            Self::Backup => "backup",
        }
    }
}

/// When each job runs; those that are not named do not.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The times.
    pub jobs: BTreeMap<Job, When>,
    /// The share of an interval by which a run may be later.
    pub jitter: f64,
}

/// What a job does. Called on a thread that may block; comes back soon once `stop` is cancelled.
pub trait Work: Send + Sync + 'static {
    /// Runs a job to its end.
    fn run(&self, job: Job, stop: &CancellationToken) -> Result<()>;
}

/// The schedule of one index.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The index.
    pub index: PathBuf,
    /// Whom it belongs to.
    pub identity: Identity,
    /// The times.
    pub plan: Plan,
    /// The clock.
    pub clock: Clock,
    /// Ends it.
    pub stop: CancellationToken,
}

/// One job, for a person.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The job.
    pub job: &'static str,
    /// When it runs next, RFC 3339; `null` where it is not scheduled.
    pub next_at: Option<String>,
    /// When it last began.
    pub started_at: Option<String>,
    /// When it last ended.
    pub finished_at: Option<String>,
    /// When it last went well.
    pub ok_at: Option<String>,
    /// Why it did not, the last time.
    pub error: Option<String>,
}

impl Schedule {
    /// Runs what is due until the process is to end. What runs then is told to stop, and waited for.
    pub async fn run(self, work: Arc<dyn Work>) {
        let (began, zone) = (self.clock.now(), TimeZone::system());
        let running = TaskTracker::new();
        loop {
            let mut pause = LOOK;
            match self.due(began, &zone) {
                Ok(list) => {
                    let now = self.clock.now();
                    for (job, last, at) in list {
                        if at > now {
                            let left = Duration::try_from(at.duration_since(now)).unwrap_or(LOOK);
                            pause = pause.min(left.max(Duration::from_millis(10)));
                            continue;
                        }
                        let (this, work) = (self.clone(), Arc::clone(&work));
                        running.spawn_blocking(move || this.begin(job, last, work.as_ref()));
                        // It writes down that it has begun; until then it is found to be due, and another look is refused.
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

    /// Every scheduled job with when it last began, and when it is due.
    fn due(&self, began: Timestamp, zone: &TimeZone) -> Result<Vec<(Job, Option<Timestamp>, Timestamp)>> {
        let known = rows(&self.index, &self.identity)?;
        let mut list = Vec::new();
        for (job, when) in &self.plan.jobs {
            let last = known.iter().find(|row| row.name == job.as_str()).map(|row| row.started_at);
            if let Some(at) = when.next(last, began, zone) {
                // What has never run, or was missed, is not put off any further.
                let late = last.is_none() || at < began;
                let jitter =
                    if late { jiff::SignedDuration::ZERO } else { when.jitter(self.plan.jitter, job.as_str(), at) };
                list.push((*job, last, at.checked_add(jitter).unwrap_or(Timestamp::MAX)));
            }
        }
        Ok(list)
    }

    /// Runs a job, unless another process is at it or has done it meanwhile. How it ended is in the index.
    fn begin(&self, job: Job, last: Option<Timestamp>, work: &dyn Work) {
        match self.run_alone(job, last, work) {
            // Every few seconds, and mostly with nothing to do.
            Ok(()) if job == Job::Webhooks => tracing::debug!(job = job.as_str(), "the scheduled job is done"),
            Ok(()) => tracing::info!(job = job.as_str(), "the scheduled job is done"),
            Err(error) if error.kind == Kind::Busy => tracing::debug!(job = job.as_str(), "another process is at it"),
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
            Error::new(Kind::Busy, format!("another process is at {} now, or has just done it", job.as_str()))
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

    /// Runs a job now, under the same lock as its scheduled runs.
    pub fn run_now(&self, job: Job, work: &dyn Work) -> Result<()> {
        // Made where it is missing: the first crawl of a tenant may be this one.
        drop(Index::open(&self.index, &self.identity)?);
        let known = rows(&self.index, &self.identity)?;
        let last = known.iter().find(|row| row.name == job.as_str()).map(|row| row.started_at);
        self.run_alone(job, last, work)
    }

    /// What runs when, and how it went.
    pub fn lines(&self) -> Result<Vec<Line>> {
        let known = rows(&self.index, &self.identity)?;
        let (now, zone) = (self.clock.now(), TimeZone::system());
        let text = |at: Option<Timestamp>| at.map(|at| format!("{at:.0}"));
        let line = |job: &Job| {
            let row = known.iter().find(|row| row.name == job.as_str());
            let last = row.map(|row| row.started_at);
            let next = self.plan.jobs.get(job).and_then(|when| when.next(last, now, &zone)).map(|at| at.max(now));
            Line {
                job: job.as_str(),
                next_at: text(next),
                started_at: text(last),
                finished_at: text(row.and_then(|row| row.finished_at)),
                ok_at: text(row.and_then(|row| row.ok_at)),
                error: row.and_then(|row| row.error.clone()),
            }
        };
        Ok(Job::value_variants().iter().map(line).collect())
    }
}

fn rows(index: &Path, identity: &Identity) -> Result<Vec<JobRow>> {
    IndexReader::open(index, Some(identity))?.map_or_else(|| Ok(Vec::new()), |reader| reader.jobs())
}
