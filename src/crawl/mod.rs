//! A crawl: reads the rewards of a whole tenant into the index once. A user can stop or kill a crawl at any time. The
//! next crawl resumes a stopped crawl.
//!
//! ```text
//!   plan          probes the sources and chooses one                                     plan.rs, plan/cost.rs
//!     │
//!     ├── participants: pages of /users ─────┐                                           participants.rs, offset_walk.rs
//!     ├── export: rows of a REWARD export ───┤ accounts                                  export.rs, export_rows.rs
//!     └── graphql: pages of rewards ──────┐  ▼
//!                                         │  queue       unread accounts, in the index; a read connection reads it
//!                                         │  ▼
//!                                         │  fetch       one Get Rewards request per account, several at a time
//!                                         ▼  ▼                                           accounts.rs, graphql.rs
//!                                         extract        reward JSON → links, in the fetching task
//!                                            ▼
//!                                         channel        bounded in rows; fetching waits while it is full
//!                                            ▼
//!                                         writer         one transaction per batch: enough rows, or 200 ms   writer.rs
//!                                            ▼
//!   finish        counts, names the gaps, marks the run complete or not                  result.rs
//! ```
//!
//! Only the index records the remaining work of a crawl. Therefore a killed crawl resumes from its last commit. A
//! failure that concerns the whole run (credentials, quota, a signal, a full disk) never marks an account as failed. A
//! run of a crawl with a gap is never complete. `reextract` extracts the links from the stored rewards again, without
//! the network.

mod accounts;
mod active_run;
mod change_detection;
mod export;
mod export_rows;
mod graphql;
mod modified_walk;
mod offset_walk;
mod options;
mod page_size;
mod participants;
pub mod plan;
mod progress;
pub mod reextract;
mod reread;
mod result;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{KeySample, Mapping};
use crate::model::{counted, grouped};
use crate::report::Report;
use crate::store::index::{Index, IndexReader, NewRun, Run, RunKey};
use crate::store::{Identity, Place, ProcessLock};
use crate::vendor::advocate::Advocate;
use active_run::{ActiveRun, SourceError, SourceResult};
pub use options::Options;
pub use plan::{Plan, Source};
use progress::Meter;
use result::Gaps;
pub use result::{CrawlResult, LinkCounts};
use writer::Writer;

const LOCK_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of rewards with JSON keys in the error message, if no reward has a link.
const KEY_SAMPLE: usize = 1000;
/// The gap of a run that found no order ID. If a run has found no order ID, no look-up can find an order.
const NO_LINKS: &str = "no reward carried an order ID";
/// The gap of a run with values that recoup did not index. The text of the gap follows the number of values.
const UNREADABLE: &str = "under the key of an order ID or ActionId could not be taken exactly, and not indexed";

/// Runs a crawl, or resumes an unfinished crawl.
///
/// If the result of the crawl is not `complete`, it lists its gaps, and the caller chooses an exit code.
///
/// # Errors
/// Fails with every error that concerns the run as a whole, such as `Interrupted` and `Parked`. After an error, the
/// index keeps the rewards that the run has read, and the next crawl resumes the run.
#[expect(clippy::too_many_arguments, reason = "a struct of them would be built once and taken apart at once")]
pub async fn run(
    index_place: &Place,
    identity: &Identity,
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
    clock: &Clock,
    stop: CancellationToken,
    report: &Report,
) -> Result<CrawlResult> {
    let began = clock.now();
    let lock = take_lock(index_place, options.wait_for_lock, clock, &stop, report).await?;
    let crawl =
        Crawl { index_place, lock: &lock, identity, advocate, mapping, options, clock, stop: &stop, report, began };
    // The requests of the plan count towards the run of the first source.
    let mut requests_before = advocate.stats().requests;
    let sources = crawl.choose_sources().await.map_err(with_resume_hint)?;
    let mut reason = None;
    for (n, source) in sources.iter().enumerate() {
        match crawl.read_from(*source, requests_before).await {
            Ok(result) => return Ok(result),
            Err(SourceError::Unsupported(error)) => {
                if let Some(next) = sources.get(n + 1) {
                    report.note(format!("{}: {}; using {} instead", source.as_str(), error.message, next.as_str()));
                }
                reason = Some(error);
            }
            Err(SourceError::Fatal(error)) => return Err(with_resume_hint(error)),
            Err(SourceError::Halted) => return Err(interrupted(RESUME)),
        }
        requests_before = advocate.stats().requests;
    }
    Err(reason.unwrap_or_else(|| Error::new(Kind::Failed, "no source can read this tenant's rewards")))
}

/// The arguments of [`run`].
struct Crawl<'a> {
    index_place: &'a Place,
    lock: &'a ProcessLock,
    identity: &'a Identity,
    advocate: &'a Advocate,
    mapping: &'a Mapping,
    options: &'a Options,
    clock: &'a Clock,
    stop: &'a CancellationToken,
    report: &'a Report,
    began: jiff::Timestamp,
}

impl Crawl<'_> {
    /// Returns the sources of the crawl to try, best first.
    async fn choose_sources(&self) -> Result<Vec<Source>> {
        if let Some(source) = self.options.source {
            return Ok(vec![source]);
        }
        let plan = plan::plan(self.index_place, self.identity, self.advocate, self.mapping, self.options).await?;
        for line in plan.lines() {
            self.report.note(line);
        }
        Ok(plan.order())
    }

    /// Reads the tenant's rewards from one source. `requests_before` is the number of the client's earlier requests.
    /// The run must not count requests that the client sent before the run.
    async fn read_from(&self, source: Source, requests_before: u64) -> SourceResult<CrawlResult> {
        let mut index = Index::open(self.index_place, self.identity)?;
        index.fence(self.lock);
        let reader = IndexReader::open(self.index_place, Some(self.identity))?.ok_or_else(missing_run)?;
        let refreshable = if self.options.full { None } else { index.refreshable(source.as_str())? };
        let new = NewRun {
            source: source.as_str(),
            refreshes: refreshable.as_ref().map(|run| run.run),
            fresh: self.options.full,
        };
        let (run, resumed) = index.begin_run(new, self.began)?;
        let before = index.run(run)?.ok_or_else(missing_run)?;
        self.report_start(source, &before, resumed);
        let (advocate, mut counted) = (self.advocate.clone(), requests_before);
        let new_requests = move || {
            let sent = advocate.stats().requests;
            sent.saturating_sub(std::mem::replace(&mut counted, sent))
        };
        let (writer, writer_task) = Writer::start(index, run, self.options.batch, new_requests);
        // The source `graphql` reads rewards without accounts. The first page from GraphQL contains the number of
        // rewards.
        let (known, read, what) = match source {
            Source::GraphQl => (0, 0, "rewards read"),
            Source::Participants | Source::Export => (before.accounts_known, before.accounts_read, "accounts read"),
        };
        let meter = Meter::new(known, read, writer.pages());
        let active = Arc::new(ActiveRun {
            advocate: self.advocate.clone(),
            mapping: self.mapping.clone(),
            clock: *self.clock,
            writer,
            reader: Arc::new(reader),
            run,
            options: self.options.clone(),
            folder: self.index_place.path().map(|path| path.parent().unwrap_or(Path::new("")).to_owned()),
            meter: meter.clone(),
            halt: self.stop.child_token(),
            fatal: Mutex::default(),
        });
        // Spawns a task, because reading must run on the same threads as the connections. If the main thread read the
        // accounts, each response would wake it.
        let reading = {
            let active = Arc::clone(&active);
            AbortOnDropHandle::new(tokio::spawn(async move {
                match source {
                    Source::Participants => Ok(participants::read(&active).await?),
                    Source::Export => export::read(&active).await,
                    Source::GraphQl => graphql::read(&active).await,
                }
            }))
        };
        let read = tokio::select! {
            read = reading => read.unwrap_or_else(|error| {
                Err(Error::new(Kind::Failed, format!("the crawl ended unexpectedly: {error}")).into())
            }),
            () = meter.show(what, self.report, self.advocate, self.clock) => Ok(()),
        };
        let fatal = active.take_fatal();
        // Dropping the run closes the writer's channel and the reader.
        drop(active);
        // A failed write of a crawl is the cause of its other errors. Therefore the crawl reports the failed write
        // first.
        let mut index = writer_task.join().await?;
        let failure = match (fatal, read) {
            (Some(error), _) => Some(SourceError::Fatal(error)),
            (None, Err(SourceError::Halted) | Ok(())) => None,
            (None, Err(error)) => Some(error),
        };
        if let Some(failure) = failure {
            // A run that has read nothing must not hide the previous run. If the withdrawal of the run fails too, the
            // crawl reports the first error.
            if !resumed {
                drop(index.withdraw_run(run));
            }
            return Err(failure);
        }
        if self.stop.is_cancelled() {
            return Err(SourceError::Halted);
        }
        Ok(self.finish(index, run, resumed)?)
    }

    fn report_start(&self, source: Source, run: &Run, resumed: bool) {
        if resumed {
            let read = if source == Source::GraphQl {
                format!("{} read so far", counted(run.rewards(), "reward"))
            } else {
                format!("{} of {} read so far", grouped(run.accounts_read), counted(run.accounts_known, "account"))
            };
            self.report.note(format!("resuming run {} ({}): {read}", run.run, source.as_str()));
        } else if run.is_refresh() {
            self.report.note(format!(
                "refreshing {} by {}: only rewards modified since are read",
                counted(run.rewards(), "reward"),
                source.as_str()
            ));
        } else if source == Source::Participants && run.accounts_known > 0 {
            self.report.note(format!(
                "refreshing {}: the source participants reads every account again",
                counted(run.accounts_known, "account")
            ));
        }
    }

    /// Counts the rewards that the run has read, records its gaps and marks it as finished.
    fn finish(&self, mut index: Index, run: RunKey, resumed: bool) -> Result<CrawlResult> {
        index.recount(run)?;
        let state = index.run(run)?.ok_or_else(missing_run)?;
        let started_at = state.started_at;
        let passes = index.passes(run)?;
        let found_no_order = state.rewards() > 0 && state.with_order() == 0;
        let no_links = if found_no_order { Some(no_links_error(&index, &state)?) } else { None };
        let mut gaps = Gaps::default();
        gaps.count(state.accounts_failed.saturating_sub(state.accounts_unknown), "accounts could not be read");
        gaps.count(state.accounts_unknown, "accounts are listed but unknown to Get Rewards");
        gaps.count(index.unread_count(run)?, "accounts were not read");
        gaps.count(state.rewards_unusable, "rewards without an id or an account could not be kept");
        if state.values_unreadable > 0 {
            // Re-extraction recognises this gap by the end of its text. Therefore the end of the gap's text is the same
            // for one value and for many.
            gaps.add(format!("{} {UNREADABLE}", counted(state.values_unreadable, "value")));
        }
        match Source::from_name(&state.source) {
            Some(Source::GraphQl) => graphql::gaps(&state, &mut gaps),
            Some(Source::Export) => export::gaps(&state, &mut gaps),
            Some(Source::Participants) | None => participants::gaps(&index, &state, &mut gaps)?,
        }
        if no_links.is_some() {
            gaps.add(NO_LINKS.to_owned());
        }
        // A run by export may start at the date of its export, by the vendor's clock. If the export's date is earlier
        // than the crawl, it remains the start of the run.
        let started = if resumed { started_at.min(self.began) } else { self.began };
        let ahead = self.advocate.host_clock().and_then(|heard| heard.ahead).unwrap_or_default();
        index.move_start_back(run, by_the_earlier_clock(started, ahead))?;
        index.finish_run(run, &gaps.into_vec(), self.clock.now())?;
        if let Some(error) = no_links {
            return Err(error);
        }
        let state = index.run(run)?.ok_or_else(missing_run)?;
        let mut result = CrawlResult::new(&state, self.clock.now().duration_since(self.began).as_secs_f64());
        result.resumed = resumed;
        result.accounts_gone = index.accounts_gone_since(started_at)?;
        result.unusable += passes.last().map_or(0, |pass| pass.rows_unusable);
        result.sweeps = passes.len() as u64;
        Ok(result)
    }
}

/// Returns the start of a run by this machine's clock or the vendor's clock, whichever gives the earlier time. `ahead`
/// is the number of seconds by which this machine's clock is ahead of the vendor's.
///
/// The dates of orders and refunds are from other clocks than this machine's. If the recorded start of a run were too
/// late, an order that is newer than the run could seem older, and recoup would report the order as not a referral.
fn by_the_earlier_clock(at: jiff::Timestamp, ahead: i64) -> jiff::Timestamp {
    // `ahead` is the minimum by which this machine's clock can be ahead, according to the vendor's response. Both
    // limits of the clock difference are rounded to whole seconds.
    let most = if ahead > 0 { ahead.saturating_add(2) } else { 0 };
    at.saturating_sub(jiff::SignedDuration::from_secs(most)).unwrap_or(jiff::Timestamp::MIN)
}

/// Returns the error for a run that found rewards without any order ID, with the JSON keys of those rewards.
fn no_links_error(index: &Index, run: &Run) -> Result<Error> {
    let mut sample = KeySample::default();
    for (_, _, raw) in index.raw_after(0, KEY_SAMPLE)? {
        sample.observe(&raw);
    }
    let rewards = counted(run.rewards(), "reward");
    let what = if run.links() == 0 { "an order ID or an ActionId" } else { "an order ID" };
    Ok(Error::new(
        Kind::NoLinks,
        format!("none of {rewards} carries {what}; keys seen: {}", sample.describe()),
    )
    .hint(
        "name the paths under [mapping] in recoup.toml (order_id, action_id), then run `recoup crawl --from-raw`: it uses \
         the rewards that are kept and requests nothing",
    ))
}

/// Takes the lock that allows only one crawl per index.
async fn take_lock(
    index_place: &Place,
    wait: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<ProcessLock> {
    let parent = index_place.path().and_then(Path::parent);
    if let Some(parent) = parent.filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| {
            Error::new(Kind::Storage, format!("failed to create {}: {error}", parent.display()))
                .hint("name a writable place with --database or RECOUP_DATABASE")
        })?;
    }
    let mut reported = false;
    loop {
        if let Some(lock) = ProcessLock::try_take(index_place, "crawl")? {
            return Ok(lock);
        }
        if !wait {
            return Err(Error::new(Kind::Busy, "another crawl is running on this index")
                .hint("wait for it to end, or let this one wait with --wait-for-lock"));
        }
        if !reported {
            report.note("another crawl is running on this index; waiting for it to end");
            reported = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Err(interrupted("nothing was read yet")),
            () = clock.sleep(LOCK_POLL_INTERVAL) => {}
        }
    }
}

const RESUME: &str = "run `recoup crawl` again to resume";

fn interrupted(hint: &str) -> Error {
    Error::new(Kind::Interrupted, "interrupted; what was read is kept").hint(hint)
}

/// Adds a hint on how to resume the crawl to an error of the vendor's host.
fn with_resume_hint(error: Error) -> Error {
    match (error.kind, &error.hint) {
        (Kind::Interrupted, None) => interrupted(RESUME),
        (Kind::Network, hint) | (Kind::Vendor, hint @ None) => {
            let check = hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
            error.hint(format!("{check}what was read is kept, and `recoup crawl` resumes when the host answers"))
        }
        _ => error,
    }
}

fn missing_run() -> Error {
    Error::new(Kind::Storage, "the run is no longer in the index").hint("run `recoup crawl` again")
}
