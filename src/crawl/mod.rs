//! A run over the whole tenant that can stop anywhere and go on: plan → stream → commit → finish.
//!
//! There are three sources: the walk over `participants`, the vendor's own way and the reference; `graphql`, a walk over all
//! rewards; and `export`, a file of them. `auto` asks what this tenant's token may do and what carries the link, and chooses.
//! All write the same rows through one thread (`writer`), and what is to be done stands in the database and nowhere else, so
//! a killed run goes on where its last commit was. A run never marks an account as failed for what concerns the whole run
//! (credentials, quota, a signal, a full disk), and is never called complete with a gap in it.

mod accounts;
pub mod auto;
mod export;
pub mod from_raw;
mod graphql;
mod job;
mod mailbox;
mod moments;
mod options;
mod outcome;
mod page_size;
mod participants;
mod progress;
mod reread;
mod rows_of_export;
mod unchanged;
mod walk;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{KeySample, Mapping};
use crate::report::Report;
use crate::report::grouped;
use crate::store::index::{Index, NewRun, Run, RunKey};
use crate::store::{Identity, ProcessLock};
use crate::vendor::advocate::Advocate;
pub use auto::{Plan, Source};
use job::{Job, Worked};
pub use options::Options;
use outcome::Gaps;
pub use outcome::{Kinds, Outcome};
use progress::Meter;
use writer::Writer;

/// How long a busy lock is left alone.
const LOCK_POLL: Duration = Duration::from_secs(1);
/// Rewards whose keys are looked at when no link was found.
const CENSUS: usize = 1000;
/// The gap of a run that found no order ID: nothing can be looked up, whatever else was found.
const NO_LINKS: &str = "no reward carried an order ID";
/// The gap of a run with values that were not indexed, after their number.
const UNREADABLE: &str =
    "value(s) under the key of an order ID or ActionId could not be taken exactly and were not indexed";

/// Runs a crawl to its end, or goes on with the unfinished one.
///
/// An outcome that is not `complete` has gaps, named in it; the caller turns that into its exit code. Interrupted, parked,
/// and everything else that concerns the run as a whole is an error, and the next crawl goes on.
#[expect(
    clippy::too_many_arguments,
    reason = "what a command has in hand; a struct of them would be built once and taken apart"
)]
pub async fn run(
    index_path: &Path,
    identity: &Identity,
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
    clock: &Clock,
    stop: CancellationToken,
    report: &Report,
) -> Result<Outcome> {
    let began = clock.now();
    let _lock = take_lock(index_path, options.wait_for_lock, clock, &stop, report).await?;
    let options = Options { folder: index_path.parent().unwrap_or(Path::new("")).to_owned(), ..options.clone() };
    let asked_before = advocate.stats().requests;
    let sources = choose(index_path, identity, advocate, mapping, &options, report).await.map_err(keeps_its_place)?;
    let mut reason = None;
    for (nth, source) in sources.iter().enumerate() {
        // What was asked to choose belongs to the run that was chosen.
        let counted = if nth == 0 { asked_before } else { advocate.stats().requests };
        let crawl = Crawl { index_path, identity, advocate, mapping, options: &options, clock, stop: &stop, report };
        match crawl.by(*source, counted, began).await? {
            Ended::Outcome(outcome) => return Ok(*outcome),
            Ended::CannotServe(error) => {
                if let Some(next) = sources.get(nth + 1) {
                    let (source, next) = (source.as_str(), next.as_str());
                    report.note(format!("{source}: {}; going on by {next}", error.message));
                }
                reason = Some(error);
            }
        }
    }
    Err(reason.unwrap_or_else(|| Error::new(Kind::Failed, "there is no way to read this tenant's rewards")))
}

/// The sources to try, best first: the one that was asked for, that of the unfinished run, or what a few questions show.
async fn choose(
    index_path: &Path,
    identity: &Identity,
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
    report: &Report,
) -> Result<Vec<Source>> {
    if let Some(source) = options.source {
        return Ok(vec![source]);
    }
    let plan = auto::plan(index_path, identity, advocate, mapping, options).await?;
    for line in plan.lines() {
        report.note(line);
    }
    Ok(plan.order())
}

enum Ended {
    Outcome(Box<Outcome>),
    CannotServe(Error),
}

/// One crawl, whichever source it turns out to read from.
struct Crawl<'a> {
    index_path: &'a Path,
    identity: &'a Identity,
    advocate: &'a Advocate,
    mapping: &'a Mapping,
    options: &'a Options,
    clock: &'a Clock,
    stop: &'a CancellationToken,
    report: &'a Report,
}

impl Crawl<'_> {
    async fn by(&self, source: Source, counted: u64, began: jiff::Timestamp) -> Result<Ended> {
        let mut index = Index::open(self.index_path, self.identity)?;
        let refreshable = if self.options.full { None } else { index.refreshable(source.as_str())? };
        let new = NewRun {
            source: source.as_str(),
            refreshes: refreshable.as_ref().map(|run| run.run),
            fresh: self.options.full,
        };
        let (run, resumed) = index.begin_run(new, began)?;
        let before = index.run(run)?.ok_or_else(lost_run)?;
        self.say_what_begins(source, &before, resumed);
        // A walk over rewards counts those, once its first page says how many there are.
        let (known, read) =
            if source == Source::GraphQl { (0, 0) } else { (before.accounts_known, before.accounts_read) };
        let meter = Meter::new(known, read, counted);
        let (writer, thread) = Writer::start(index, run, self.options.batch.max(1), self.mapping.clone());
        let job = Arc::new(Job::new(
            self.advocate.clone(),
            self.mapping.clone(),
            *self.clock,
            writer.clone(),
            run,
            self.options.clone(),
            meter.clone(),
            self.stop.child_token(),
        ));
        let what = if source == Source::GraphQl { "rewards read" } else { "accounts read" };
        // On a thread of the runtime, where its connections are: here, each answer would have to wake this one.
        let working = {
            let job = Arc::clone(&job);
            AbortOnDropHandle::new(tokio::spawn(async move { work(source, &job).await }))
        };
        let worked = tokio::select! {
            worked = working => worked.unwrap_or_else(|error| {
                Err(Error::new(Kind::Failed, format!("the crawl ended unexpectedly: {error}")))
            }),
            () = meter.show(what, self.report, self.advocate, self.clock) => Ok(Worked::Done),
        };
        let requests = meter.uncounted(self.advocate.stats().requests);
        let counted = writer.call(move |index| index.add_requests(run, requests)).await;
        let fatal = job.take_fatal();
        drop((job, writer));
        let mut index = thread.close().await?;
        // The reason why the run stopped outranks what followed from it.
        let error = match (fatal, worked) {
            (Some(error), _) | (None, Err(error)) => Some(error),
            (None, Ok(Worked::CannotServe(error))) => {
                withdraw(&mut index, run, resumed);
                return Ok(Ended::CannotServe(error));
            }
            (None, Ok(Worked::Done)) => counted.err(),
        };
        if let Some(error) = error {
            withdraw(&mut index, run, resumed);
            return Err(keeps_its_place(error));
        }
        if self.stop.is_cancelled() {
            return Err(interrupted("run `recoup crawl` again: it goes on where it was"));
        }
        let ahead = self.advocate.host_clock().and_then(|heard| heard.ahead).unwrap_or_default();
        finish(index, run, resumed, began, self.clock, ahead).map(|outcome| Ended::Outcome(Box::new(outcome)))
    }

    fn say_what_begins(&self, source: Source, run: &Run, resumed: bool) {
        if resumed {
            let read = if source == Source::GraphQl {
                format!("{} rewards read so far", grouped(run.rewards()))
            } else {
                format!("{} of {} accounts read so far", grouped(run.accounts_read), grouped(run.accounts_known))
            };
            self.report.note(format!("going on with run {} ({}): {read}", run.run, source.as_str()));
        } else if run.is_refresh() {
            self.report.note(format!(
                "refreshing {} rewards by {}: only what was modified since is read",
                grouped(run.rewards()),
                source.as_str()
            ));
        } else if source == Source::Participants && run.accounts_known > 0 {
            self.report.note(format!(
                "refreshing {} accounts: a walk over participants is always a full one, so every account is read again",
                grouped(run.accounts_known)
            ));
        }
    }
}

/// A crawl that came to nothing (a wrong token, a host that is down) leaves the run before it as the newest. Where even that
/// fails, the reason for it is the error at hand.
fn withdraw(index: &mut Index, run: RunKey, resumed: bool) {
    if !resumed {
        drop(index.withdraw_run(run));
    }
}

async fn work(source: Source, job: &Arc<Job>) -> Result<Worked> {
    match source {
        Source::Participants => participants::work(job).await.map(|()| Worked::Done),
        Source::GraphQl => graphql::work(job).await,
        Source::Export => export::work(job).await,
    }
}

/// Says what the run came to and what is in doubt about it.
/// `ahead`: how far this clock is ahead of the vendor's, in seconds.
fn finish(
    mut index: Index,
    run: RunKey,
    resumed: bool,
    began: jiff::Timestamp,
    clock: &Clock,
    ahead: i64,
) -> Result<Outcome> {
    index.recount(run)?;
    let state = index.run(run)?.ok_or_else(lost_run)?;
    let started_at = state.started_at;
    let sweeps = index.sweeps(run)?;
    let rows_unusable = sweeps.last().map_or(0, |sweep| sweep.rows_unusable);
    let no_links = examine(&index, &state)?;
    let mut gaps = Gaps::default();
    gaps.count(state.accounts_failed.saturating_sub(state.accounts_unknown), "accounts could not be read");
    gaps.count(state.accounts_unknown, "accounts are listed but unknown to Get Rewards");
    gaps.count(index.unread_count(run)?, "accounts were not read");
    gaps.count(state.rewards_unusable, "rewards without an id or an account could not be kept");
    if state.values_unreadable > 0 {
        // Whatever the number: an extraction takes this sentence back by its end.
        gaps.say(format!("{} {UNREADABLE}", grouped(state.values_unreadable)));
    }
    match Source::of(&state.source) {
        Some(Source::GraphQl) => graphql::gaps(&state, &mut gaps),
        Some(Source::Export) => export::gaps(&state, &mut gaps),
        Some(Source::Participants) | None => participants::gaps(&index, &state, &mut gaps)?,
    }
    if no_links.is_some() {
        gaps.say(NO_LINKS.to_owned());
    }
    // The begin of a run by an export may be the vendor's own date already, and stays.
    let by_this_clock = if resumed { started_at.min(began) } else { began };
    index.begun_by(run, by_the_earlier_clock(by_this_clock, ahead))?;
    index.finish_run(run, &gaps.into_vec(), clock.now())?;
    if let Some(error) = no_links {
        return Err(error);
    }
    let state = index.run(run)?.ok_or_else(lost_run)?;
    let mut outcome = Outcome::new(&state, clock.now().duration_since(began).as_secs_f64());
    outcome.resumed = resumed;
    outcome.accounts_gone = index.accounts_gone_since(started_at)?;
    outcome.unusable += rows_unusable;
    outcome.sweeps = sweeps.len() as u64;
    Ok(outcome)
}

/// A run is as of its begin, and orders and refunds are dated by other clocks. If this machine's is ahead of the vendor's, an order
/// that is newer than the run could seem older, and be called no referral. So the earlier of both clocks counts.
fn by_the_earlier_clock(at: jiff::Timestamp, ahead: i64) -> jiff::Timestamp {
    // The offset is the least that the vendor's answer allows, and both of its ends are whole seconds.
    let most = if ahead > 0 { ahead.saturating_add(2) } else { 0 };
    at.saturating_sub(jiff::SignedDuration::from_secs(most)).unwrap_or(jiff::Timestamp::MIN)
}

/// The loud failure of a run over rewards that found no order ID, with the keys that rewards do have.
fn examine(index: &Index, run: &Run) -> Result<Option<Error>> {
    if run.rewards() == 0 || run.with_order() > 0 {
        return Ok(None);
    }
    no_orders(index, run).map(Some)
}

fn no_orders(index: &Index, run: &Run) -> Result<Error> {
    let mut census = KeySample::default();
    for (_, _, raw) in index.raw_after(0, CENSUS)? {
        census.observe(&raw);
    }
    let rewards = grouped(run.rewards());
    let what = if run.links() == 0 { "an order ID or an ActionId" } else { "an order ID" };
    Ok(Error::new(
        Kind::NoLinks,
        format!("none of {rewards} rewards carries {what}; keys seen: {}", census.describe()),
    )
    .hint(
        "name the paths under [mapping] in recoup.toml (order_id, action_id), then run `recoup crawl --from-raw`: the \
         rewards are kept, nothing is asked again",
    ))
}

/// The lock that keeps two crawls off one index.
async fn take_lock(
    index_path: &Path,
    wait: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<ProcessLock> {
    if let Some(parent) = index_path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| {
            Error::new(Kind::Storage, format!("failed to create {}: {error}", parent.display()))
                .hint("name a place that can be written to with --database or RECOUP_DATABASE")
        })?;
    }
    let mut told = false;
    loop {
        if let Some(lock) = ProcessLock::try_take(index_path, "crawl")? {
            return Ok(lock);
        }
        if !wait {
            return Err(Error::new(Kind::Busy, "another crawl is running on this index")
                .hint("wait for it to end, or let this one wait with --wait-for-lock"));
        }
        if !told {
            report.note("another crawl is running on this index; waiting for it to end");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Err(interrupted("nothing was begun")),
            () = clock.sleep(LOCK_POLL) => {}
        }
    }
}

fn interrupted(hint: &str) -> Error {
    Error::new(Kind::Interrupted, "interrupted; what was read is kept").hint(hint)
}

/// An outage, and a stop during a wait, are worth saying what became of the work; the other kinds say it themselves.
fn keeps_its_place(error: Error) -> Error {
    match (error.kind, &error.hint) {
        (Kind::Interrupted, None) => interrupted("run `recoup crawl` again: it goes on where it was"),
        (Kind::Network | Kind::Vendor, None) => {
            error.hint("what was read is kept; run `recoup crawl` again when the host answers: it goes on where it was")
        }
        _ => error,
    }
}

fn lost_run() -> Error {
    Error::new(Kind::Storage, "the run is no longer in the index").hint("run `recoup crawl` again")
}
