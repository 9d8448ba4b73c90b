//! A run over the whole tenant that can stop anywhere and go on: plan → stream → commit → finish.
//!
//! The list of participants is walked (`walk` decides, `participants` asks), its accounts are read concurrently, and one
//! thread commits pages and answers (`writer`). What is to be done stands in the database and nowhere else, so a killed run
//! goes on where its last commit was. After reading, the list is walked again, until nothing has moved or often enough:
//! completeness speaks of everything that existed when the last full walk began. It never marks an account as failed for
//! what concerns the whole run (credentials, quota, a signal, a full disk), and never calls a run complete with a gap in it.

pub mod from_raw;
mod outcome;
mod participants;
mod progress;
mod walk;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::advocate::Advocate;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{KeyCensus, Mapping};
use crate::report::Report;
use crate::report::grouped;
use crate::store::index::{Index, Run, RunKey, SweepEnd};
use crate::store::{Identity, ProcessLock};
pub use outcome::{Kinds, Outcome};
use participants::{Queue, Source};
use progress::Meter;
use writer::Writer;

/// How long a busy lock is left alone.
const LOCK_POLL: Duration = Duration::from_secs(1);
/// Rewards whose keys are looked at when no link was found.
const CENSUS: usize = 1000;
/// A walk, and one to confirm it.
const MIN_SWEEPS: usize = 2;
/// The gap of a run that found no order ID: nothing can be looked up, whatever else was found.
const NO_LINKS: &str = "no reward carried an order ID";
/// The gap of a run with values that were not indexed, after their number.
const UNREADABLE: &str =
    "value(s) under the key of an order ID or ActionId could not be taken exactly and were not indexed";

/// How a crawl goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Participants asked for in one page.
    pub page_size: u32,
    /// Rows that pages share, so that a shift is noticed.
    pub overlap: u32,
    /// Walks over the list at most.
    pub max_sweeps: u32,
    /// Accounts read at once; the client may hold back more than this.
    pub concurrency: usize,
    /// Rows in one commit.
    pub batch: usize,
    /// Wait for another crawl to end, instead of leaving.
    pub wait_for_lock: bool,
    /// Begin a new run even where one is unfinished.
    pub full: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size: 100,
            overlap: 10,
            max_sweeps: 5,
            concurrency: 8,
            batch: 500,
            wait_for_lock: false,
            full: false,
        }
    }
}

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
    let mut index = Index::open(index_path, identity)?;
    let (run, resumed) = index.begin_run("participants", options.full, began)?;
    let before = index.run(run)?.ok_or_else(lost_run)?;
    if resumed {
        report.note(format!(
            "going on with run {}: {} of {} accounts read so far",
            run,
            grouped(before.accounts_read),
            grouped(before.accounts_known)
        ));
    } else if before.accounts_known > 0 {
        report.note(format!("refreshing {} accounts: every participant is read again", grouped(before.accounts_known)));
    }
    let meter = Meter::new(before.accounts_known, before.accounts_read, advocate.stats().requests);
    let (writer, thread) = Writer::start(index, run, options.batch.max(1));
    let halt = stop.child_token();
    let source = Arc::new(Source::new(
        advocate.clone(),
        mapping.clone(),
        *clock,
        writer.clone(),
        run,
        options,
        meter.clone(),
        halt,
    ));
    let worked = tokio::select! {
        worked = work(&source, options) => worked,
        () = meter.show(report, advocate) => Ok(()),
    };
    let requests = meter.uncounted(advocate.stats().requests);
    let counted = writer.call(move |index| index.add_requests(run, requests)).await;
    let fatal = source.take_fatal();
    drop((source, writer));
    thread.close().await?;
    // The reason why the run stopped outranks what followed from it.
    if let Some(error) = fatal.or(worked.and(counted).err()) {
        if !resumed {
            // A crawl that came to nothing (a wrong token, a host that is down) leaves the run before it as the newest. Where
            // even that fails, the reason for it is the error at hand.
            drop(Index::open(index_path, identity).and_then(|mut index| index.withdraw_run(run)));
        }
        return Err(keeps_its_place(error));
    }
    if stop.is_cancelled() {
        return Err(interrupted("run `recoup crawl` again: it goes on where it was"));
    }
    let index = Index::open(index_path, identity)?;
    finish(index, run, resumed, began, clock)
}

/// Walks and reads until a walk found nothing to do, then tries once more what failed.
async fn work(source: &Arc<Source>, options: &Options) -> Result<()> {
    let most = (options.max_sweeps as usize).max(MIN_SWEEPS);
    loop {
        let run = source.run;
        let done: Vec<SweepEnd> = source.writer.call(move |index| index.sweeps(run)).await?;
        let is_quiet = done.last().is_some_and(|sweep| sweep.quiet);
        let listing_done = CancellationToken::new();
        if (done.len() >= MIN_SWEEPS && is_quiet) || done.len() >= most {
            listing_done.cancel();
            source.read(Queue::Unread, &listing_done).await?;
            if !source.halt.is_cancelled() {
                source.read(Queue::Failed, &listing_done).await?;
            }
            return Ok(());
        }
        let listing = async {
            let swept = source.sweep().await;
            if swept.is_err() {
                source.halt.cancel();
            }
            listing_done.cancel();
            swept
        };
        let (swept, read) = tokio::join!(listing, source.read(Queue::Unread, &listing_done));
        swept?;
        read?;
        if source.halt.is_cancelled() {
            return Ok(());
        }
    }
}

/// Says what the run came to and what is in doubt about it.
fn finish(mut index: Index, run: RunKey, resumed: bool, began: jiff::Timestamp, clock: &Clock) -> Result<Outcome> {
    index.recount(run)?;
    let state = index.run(run)?.ok_or_else(lost_run)?;
    let sweeps = index.sweeps(run)?;
    let rows_unusable = sweeps.last().map_or(0, |sweep| sweep.rows_unusable);
    let no_links = examine(&index, &state)?;
    let mut gaps = Vec::new();
    let mut gap = |count: u64, text: &str| match count {
        0 => {}
        1 => gaps.push(format!("1 {}", one(text))),
        _ => gaps.push(format!("{} {text}", grouped(count))),
    };
    gap(state.accounts_failed.saturating_sub(state.accounts_unknown), "accounts could not be read");
    gap(state.accounts_unknown, "accounts are listed but unknown to Get Rewards");
    gap(index.unread_count(run)?, "accounts were not read");
    gap(state.rewards_unusable, "rewards without an id could not be kept");
    gap(rows_unusable, "participants without a user or account ID could not be asked about");
    gap(
        sweeps.last().map_or(0, |sweep| sweep.accounts_withheld),
        "known accounts, most of them, are not listed any more; none was marked as gone (if they are, begin a new index)",
    );
    if state.values_unreadable > 0 {
        // Whatever the number: an extraction takes this sentence back by its end.
        gaps.push(format!("{} {UNREADABLE}", grouped(state.values_unreadable)));
    }
    // One whole walk is enough: it began after the run did.
    // Unless the list turned out to be in no stable order: then only one that is counted proves anything, and the walks
    // before that was known did not count.
    let since = sweeps.iter().position(|sweep| sweep.accounts_returned > 0).unwrap_or(0);
    if let Some(sweep) = sweeps.last().filter(|_| !sweeps[since..].iter().any(|sweep| sweep.whole)) {
        let seen = grouped(sweep.participants);
        let total = sweep.total.map_or_else(|| "unknown".to_owned(), grouped);
        gaps.push(format!("the list of participants could not be read without a gap: {seen} of {total} seen"));
    }
    if no_links.is_some() {
        gaps.push(NO_LINKS.to_owned());
    }
    index.finish_run(run, &gaps, clock.now())?;
    if let Some(error) = no_links {
        return Err(error);
    }
    let state = index.run(run)?.ok_or_else(lost_run)?;
    let mut outcome = Outcome::new(&state, clock.now().duration_since(began).as_secs_f64());
    outcome.resumed = resumed;
    outcome.accounts_gone = index.accounts_gone_since(state.started_at)?;
    outcome.unusable += rows_unusable;
    outcome.sweeps = sweeps.len() as u64;
    Ok(outcome)
}

/// The sentence of a gap for one: "account could not be read", "account is listed …".
fn one(text: &str) -> String {
    let Some((noun, rest)) = text.split_once("s ") else { return text.to_owned() };
    let verb = |many: &str, single: &str| rest.strip_prefix(many).map(|rest| format!("{single} {rest}"));
    let rest = verb("are ", "is").or_else(|| verb("were ", "was")).unwrap_or_else(|| rest.to_owned());
    format!("{noun} {rest}")
}

/// The loud failure of a run over rewards that found no order ID, with the keys that rewards do have.
fn examine(index: &Index, run: &Run) -> Result<Option<Error>> {
    if run.rewards() == 0 || run.with_order() > 0 {
        return Ok(None);
    }
    no_orders(index, run).map(Some)
}

fn no_orders(index: &Index, run: &Run) -> Result<Error> {
    let mut census = KeyCensus::default();
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

#[cfg(test)]
mod tests {
    use super::one;

    #[test]
    fn one_is_said_as_one() {
        for (many, single) in [
            ("accounts could not be read", "account could not be read"),
            ("accounts are listed but unknown to Get Rewards", "account is listed but unknown to Get Rewards"),
            ("accounts were not read", "account was not read"),
            ("rewards without an id could not be kept", "reward without an id could not be kept"),
        ] {
            assert_eq!(one(many), single);
        }
    }
}
