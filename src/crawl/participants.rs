//! The source *participants*, the vendor's own way: pages of `/users`, and Get Rewards for each distinct account.
//!
//! Accounts, not users: rewards belong to accounts (`docs/vendor/advocate.md` §9). The list is walked (`walk` decides), its accounts
//! are read meanwhile; after reading, it is walked again until nothing has moved, or often enough: completeness speaks of
//! everything that existed when the last full walk began. Pages go through the writer; nothing here touches the database.

use std::fmt::Display;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::accounts::{Accounts, Queue};
use super::job::{Job, concerns_one_request};
use super::outcome::Gaps;
use super::walk::{Ahead, Walk};
use crate::error::{Error, Kind, Result};
use crate::model::Participant;
use crate::report::grouped;
use crate::store::index::{Index, Page, PageCommitted, Run, SweepEnd, SweepVerdict, fingerprint};

/// A walk, and one to confirm it.
const MIN_SWEEPS: usize = 2;
/// Pages asked for at once.
const AHEAD: usize = 4;

/// Walks and reads until a walk found nothing to do, then tries once more what failed.
pub(super) async fn work(job: &Arc<Job>) -> Result<()> {
    let accounts = Accounts::new(Arc::clone(job), false);
    let most = (job.options.max_sweeps as usize).max(MIN_SWEEPS);
    loop {
        let run = job.run;
        let done: Vec<SweepEnd> = job.writer.call(move |index| index.sweeps(run)).await?;
        let is_quiet = done.last().is_some_and(|sweep| sweep.quiet);
        if (done.len() >= MIN_SWEEPS && is_quiet) || done.len() >= most {
            return accounts.drain().await;
        }
        let listing_done = CancellationToken::new();
        // A task of its own: in one with the reading, each answer would have it looked after too.
        let listing = {
            let (accounts, listing_done) = (Arc::clone(&accounts), listing_done.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                // However it ends, the reading must hear that nothing more will come.
                let _done = listing_done.drop_guard();
                let swept = sweep(&accounts).await;
                if swept.is_err() {
                    accounts.job.halt.cancel();
                }
                swept
            }))
        };
        let (swept, read) = tokio::join!(listing, accounts.read(Queue::Unread, &listing_done));
        swept.map_err(ended)??;
        read?;
        if job.halt.is_cancelled() {
            return Ok(());
        }
    }
}

/// Walks the list of participants once, from where the run's unfinished sweep stands. `None` where it was stopped.
async fn sweep(accounts: &Arc<Accounts>) -> Result<Option<SweepEnd>> {
    let job = &*accounts.job;
    let run = job.run;
    let fresh = Walk::new(job.options.overlap);
    let cursor = encode(&fresh)?;
    let at = job.clock.now();
    let (sweep, goes_on) = job.writer.call(move |index| index.begin_sweep(run, &cursor, at)).await?;
    let mut walk = if goes_on { decode(&sweep.cursor).unwrap_or(fresh) } else { fresh };
    let mut pages = Ahead::new(job.options.concurrency.min(AHEAD));
    let ask = |offset| {
        let (advocate, limit) = (job.advocate.clone(), job.options.page_size.max(1));
        AbortOnDropHandle::new(tokio::spawn(async move { advocate.users(None, limit, offset).await }))
    };
    loop {
        if job.halt.is_cancelled() {
            return Ok(None);
        }
        let Some(page) = pages.next(&walk, ask) else { break };
        let page = match page.await.map_err(ended)? {
            Ok(page) => page,
            Err(error) => {
                job.stop_for(if concerns_one_request(&error) {
                    error.context("the list of participants could not be read")
                } else {
                    error
                });
                return Ok(None);
            }
        };
        let at = job.clock.now();
        let keys: Vec<u64> = page.users.iter().map(fingerprint).collect();
        walk.take(&keys, page.rows, page.total);
        // An address is for a person who looks somebody up; none is kept.
        let participants = page.users.into_iter().map(|user| Participant { email: None, ..user }).collect();
        let commit = Page { participants, unusable: page.unusable, cursor: encode(&walk)? };
        let (total, accounts) = (walk.total(), Arc::clone(accounts));
        // Asking for the next page does not wait for this one to be written.
        let committed = move |page: PageCommitted| {
            accounts.job.meter.listed(page.participants, total, page.accounts_known);
            accounts.more.notify_one();
        };
        job.writer.put_page(sweep.clone(), commit, at, committed).await?;
    }
    let seen = job.writer.call(move |index| index.participants(sweep.id)).await?;
    tracing::info!(participants = seen, total = ?walk.total(), still = walk.is_still(), "the list was walked");
    let all_counted = walk.total().is_none_or(|total| seen >= total);
    let counted = walk.kept_its_total() && walk.total().is_some_and(|total| seen == total);
    // A list that moved cannot be counted, only proven; and one whose order proves nothing can still be counted: n
    // different people of n are all of them.
    let whole = if walk.is_still() { all_counted } else { walk.is_proven() || (walk.kept_its_total() && all_counted) };
    let verdict = SweepVerdict { total: walk.total(), whole, still: walk.is_still() && all_counted, counted };
    let at = job.clock.now();
    job.writer.call(move |index| index.end_sweep(run, sweep.id, verdict, at)).await.map(Some)
}

fn ended(error: impl Display) -> Error {
    Error::new(Kind::Failed, format!("the walk over the participants ended unexpectedly: {error}"))
}

/// What is in doubt about the list, once the run is over.
pub(super) fn gaps(index: &Index, run: &Run, gaps: &mut Gaps) -> Result<()> {
    let sweeps = index.sweeps(run.run)?;
    gaps.count(
        sweeps.last().map_or(0, |sweep| sweep.rows_unusable),
        "participants without a user or account ID could not be asked about",
    );
    gaps.count(
        sweeps.last().map_or(0, |sweep| sweep.accounts_withheld),
        "known accounts, most of them, are not listed any more; none was marked as gone (if they are, begin a new index)",
    );
    // One whole walk is enough: it began after the run did.
    // Unless the list turned out to be in no stable order: then only one that is counted proves anything, and the walks
    // before that was known did not count.
    let since = sweeps.iter().position(|sweep| sweep.accounts_returned > 0).unwrap_or(0);
    if let Some(sweep) = sweeps.last().filter(|_| !sweeps[since..].iter().any(|sweep| sweep.whole)) {
        let seen = grouped(sweep.participants);
        let total = sweep.total.map_or_else(|| "unknown".to_owned(), grouped);
        gaps.say(format!("the list of participants could not be read without a gap: {seen} of {total} seen"));
    }
    Ok(())
}

fn encode(walk: &Walk) -> Result<String> {
    serde_json::to_string(walk)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to store where the walk stands: {error}")))
}

/// A cursor of another form is no reason to fail: the walk begins anew.
fn decode(cursor: &str) -> Option<Walk> {
    serde_json::from_str(cursor).ok()
}
