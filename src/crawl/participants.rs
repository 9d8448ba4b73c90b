//! The source `participants`: reads the pages of `/users`, then calls Get Rewards for each distinct account. The
//! vendor's guide describes the source `participants`.
//!
//! The source `participants` calls Get Rewards by account and not by user, because rewards belong to accounts
//! (`docs/vendor/advocate.md` §9). One task reads the list of participants while another task reads the accounts on it.
//! The task that reads the list of participants repeats the list until it finds nothing new or has reached the maximum
//! number of reads. A complete run covers every reward that existed when its last full read of the participant list
//! began.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::accounts::AccountReader;
use super::active_run::{ActiveRun, concerns_one_request};
use super::offset_walk::{OffsetWalk, Prefetch};
use super::result::Gaps;
use crate::error::{Error, Kind, Result};
use crate::model::{Participant, grouped};
use crate::store::index::{Entry, Index, Page, PassEvidence, PassResult, Run, fingerprint};

/// The minimum number of reads of the participant list: one read, and a second read that confirms it.
const MIN_PASSES: usize = 2;
/// The number of pages of participants that the crawler requests at once. Requests in sequence would take one round
/// trip per page, which is slow for a list of millions of participants.
const MAX_PREFETCH: usize = 4;

/// Reads the list of participants and its accounts until a read of the list finds nothing new. After the last read of
/// the list, retries the accounts that failed.
pub(super) async fn read(run: &Arc<ActiveRun>) -> Result<()> {
    let accounts = AccountReader::new(Arc::clone(run), false);
    let max_passes = (run.options.max_sweeps as usize).max(MIN_PASSES);
    loop {
        let key = run.run;
        let passes: Vec<PassResult> = run.writer.call(move |index| index.passes(key)).await?;
        let is_quiet = passes.last().is_some_and(|pass| pass.quiet);
        if (passes.len() >= MIN_PASSES && is_quiet) || passes.len() >= max_passes {
            return accounts.drain().await;
        }
        let list_ended = CancellationToken::new();
        // Reads the list of participants in a separate task. If the task that reads accounts also read the list, every
        // response of an account would wake it.
        let listing = {
            let (run, list_ended) = (Arc::clone(run), list_ended.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let _ends = list_ended.drop_guard();
                if let Err(error) = read_list(&run).await {
                    run.halt_with(error);
                }
            }))
        };
        let (listed, read) = tokio::join!(listing, accounts.follow(list_ended));
        listed.map_err(|error| unexpected(&error))?;
        read?;
        if run.halt.is_cancelled() {
            return Ok(());
        }
    }
}

/// Reads the list of participants once. Resumes an unfinished read of the participant list from its stored position.
async fn read_list(run: &ActiveRun) -> Result<()> {
    let (key, started_at) = (run.run, run.clock.now());
    let fresh = OffsetWalk::new(run.options.overlap);
    let cursor = encode(&fresh)?;
    let (pass, resumed) = run.writer.call(move |index| index.begin_pass(key, &cursor, started_at)).await?;
    // If the stored cursor has another format, the read of the participant list begins again.
    let mut walk = if resumed { serde_json::from_str(&pass.cursor).unwrap_or(fresh) } else { fresh };
    let mut pages = Prefetch::new(run.options.concurrency.min(MAX_PREFETCH));
    let request = |offset| {
        let (advocate, limit) = (run.advocate.clone(), run.options.page_size.max(1));
        AbortOnDropHandle::new(tokio::spawn(async move { advocate.users(None, limit, offset).await }))
    };
    while let Some(page) = pages.next(&walk, request) {
        if run.halt.is_cancelled() {
            return Ok(());
        }
        let page = page.await.map_err(|error| unexpected(&error))?.map_err(|error| {
            let is_list = concerns_one_request(&error);
            if is_list { error.context("the list of participants could not be read") } else { error }
        })?;
        let at = run.clock.now();
        let fingerprints: Vec<u64> = page.users.iter().map(fingerprint).collect();
        walk.take(&fingerprints, page.rows, page.total);
        run.meter.set_total_participants(walk.total());
        // Drops the e-mail addresses, because the index does not need this personal data.
        let participants = page.users.into_iter().map(|user| Participant { email: None, ..user }).collect();
        let page = Page { participants, unusable: page.unusable, cursor: encode(&walk)? };
        run.writer.put(Entry::Page { pass: pass.clone(), page, at }).await?;
    }
    let at = run.clock.now();
    run.writer
        .call(move |index| {
            let seen = index.participants(pass.id)?;
            tracing::info!(participants = seen, total = ?walk.total(), still = walk.is_still(), "read the list of participants");
            index.end_pass(key, pass.id, verdict(&walk, seen), at)
        })
        .await?;
    Ok(())
}

/// Returns the evidence of a finished read of the participant list that has seen `seen` distinct rows.
fn verdict(walk: &OffsetWalk, seen: u64) -> PassEvidence {
    let all_counted = walk.total().is_none_or(|total| seen >= total);
    let counted = walk.kept_its_total() && walk.total().is_some_and(|total| seen == total);
    // If the participant list changed during the read, only pages that share rows prove that the read is complete. A
    // count does not prove it. If the order of the participant list is not stable, a count still proves the read,
    // because n distinct participants of n are all participants.
    let whole = if walk.is_still() { all_counted } else { walk.is_proven() || (walk.kept_its_total() && all_counted) };
    PassEvidence { total: walk.total(), whole, still: walk.is_still() && all_counted, counted }
}

fn unexpected(error: &tokio::task::JoinError) -> Error {
    Error::new(Kind::Failed, format!("reading the list of participants ended unexpectedly: {error}"))
}

/// Adds the gaps that the participant list leaves in the finished run.
pub(super) fn gaps(index: &Index, run: &Run, gaps: &mut Gaps) -> Result<()> {
    let passes = index.passes(run.run)?;
    let Some(last) = passes.last() else { return Ok(()) };
    gaps.count(last.rows_unusable, "participants without a user or account ID could not be requested");
    gaps.count(
        last.accounts_withheld,
        "known accounts, most of them, are no longer listed; none was marked as gone (if they are, start a new index)",
    );
    // One proven read of the participant list is enough, because the read began after the run. If the list shows
    // accounts again that had seemed gone, it has no stable order. If the participant list has no stable order, earlier
    // reads of the list prove nothing.
    let since = passes.iter().position(|pass| pass.accounts_returned > 0).unwrap_or(0);
    if !passes[since..].iter().any(|pass| pass.whole) {
        let seen = grouped(last.participants);
        let total = last.total.map_or_else(|| "unknown".to_owned(), grouped);
        gaps.add(format!("the list of participants could not be read without a gap: {seen} of {total} seen"));
    }
    Ok(())
}

fn encode(walk: &OffsetWalk) -> Result<String> {
    serde_json::to_string(walk)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to store the position in the list: {error}")))
}
