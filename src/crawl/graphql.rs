//! The source *graphql*: the rewards of the whole tenant, page by page, with the events that caused them.
//!
//! `moments` says what to ask for; this asks, makes pages smaller where the server refuses and larger again, asks again for
//! what came damaged, and hands pages to the writer. A refresh begins shortly before the newest `dateModified` of the run that
//! it refreshes. What has to be read for its age, or could not be read, is read by Get Rewards, account by account.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::job::{Job, Worked, concerns_one_request};
use super::moments::{Check, Doubt, Moments, Next};
use super::outcome::Gaps;
use super::page_size::PageSize;
use super::reread;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::{AccountId, fnv1a};
use crate::report::grouped;
use crate::store::index::{Index, ReadReward, RewardRows, Run, Via};
use crate::vendor::graphql::{Graph, ListedReward, Refusal, RewardPage, RewardQuery, Sort};

/// A refresh begins so long before the newest moment seen: what was being written then may have become visible later.
const MARGIN: Duration = Duration::from_mins(10);
/// Tries for a page that could be smaller: whether it is too large shows soon.
const TRIES: u32 = 2;
/// Further tries for the smallest page, where the server answers with errors that name no reason.
const UNNAMED_TRIES: u32 = 6;
/// The pause after a page that was refused; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Tries for a page in which some rewards came with errors.
const DAMAGED_TRIES: u32 = 4;
/// A day in milliseconds: further ahead no clock of a server is.
pub(super) const DAY_MS: i64 = 86_400_000;
/// Rewards asked for by ID in one request.
const BY_ID: usize = 50;
/// Damaged rewards that are kept in mind.
const MAX_OWED: usize = 10_000;

/// Where the source stands, as the run's cursor has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The run that this is of: a refresh finds that of the run before.
    run: i64,
    walk: Moments,
    page_size: PageSize,
    /// Rewards that came with errors, to be asked for by ID.
    owed: Vec<String>,
    /// Rewards that came with errors and without an ID.
    lost: u64,
    /// How often one moment has been walked again.
    again: u32,
    /// So many rewards, most of those known, were not seen, and none was marked as gone.
    withheld: u64,
}

impl State {
    fn read(run: &Run) -> Option<Self> {
        serde_json::from_str(run.cursor.as_deref()?).ok()
    }

    fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to store where the walk stands: {error}")))
    }

    /// The state of a run: its own, or a new one that has inherited what the run before owes.
    fn of(run: &Run, largest_page: u32) -> Self {
        let kept = Self::read(run);
        let number = run.run.number();
        if let Some(own) = kept.clone().filter(|kept| kept.run == number) {
            return own;
        }
        let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(0);
        let from = if run.is_refresh() { run.watermark.map(|watermark| watermark - margin) } else { None };
        let owed = kept.filter(|_| run.is_refresh()).map(|kept| kept.owed).unwrap_or_default();
        Self {
            run: number,
            walk: Moments::new(from),
            page_size: PageSize::new(largest_page),
            owed,
            lost: 0,
            again: 0,
            withheld: 0,
        }
    }
}

/// Walks all rewards, or those that changed, then reads what is due for another reason.
///
/// # Errors
/// Whatever ends a run.
pub(super) async fn work(job: &Arc<Job>) -> Result<Worked> {
    let run = job.run_row().await?;
    let mut state = State::of(&run, job.options.graphql_page_size);
    settle_owed(job, &mut state).await?;
    match walk(job, &mut state).await? {
        Walked::Whole => {}
        Walked::Stopped => return Ok(Worked::Done),
        Walked::Refused(refusal) => return Ok(Worked::CannotServe(unusable(refusal))),
    }
    // A list that is in no order cannot be walked by moments, this time or the next.
    if let Some(doubt @ (Doubt::Order | Doubt::Short)) = state.walk.doubt() {
        return Ok(Worked::CannotServe(Error::new(Kind::Vendor, doubt.as_str()).hint(OTHER_WAYS)));
    }
    settle_owed(job, &mut state).await?;
    if job.halt.is_cancelled() {
        return Ok(Worked::Done);
    }
    let total = match count_known(job, state.walk.newest()).await {
        Ok(total) => total,
        Err(error) => {
            job.stop_for(error);
            return Ok(Worked::Done);
        }
    };
    let key = job.run;
    let vouches = state.walk.doubt().is_none();
    if !run.is_refresh() && vouches {
        let at = job.clock.now();
        let known = job.run_row().await?.rewards_met();
        // Whatever is missing here was not seen because something went wrong, not because it is gone.
        if total.is_none_or(|total| known >= total) {
            let unseen = job.writer.call(move |index| index.forget_unseen(key, at)).await?;
            state.withheld = unseen.withheld;
        }
    }
    // A moment that lies far ahead would hide everything that is modified before it comes, and what was lost without a name
    // can only be found by reading everything again.
    let newest = state.walk.newest().filter(|newest| *newest < job.clock.now_ms() + DAY_MS);
    let watermark = newest.filter(|_| vouches && state.lost == 0);
    let cursor = state.text()?;
    job.writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            index.set_watermark(key, watermark, total)
        })
        .await?;
    let accounts = Accounts::new(Arc::clone(job), true);
    reread::what_is_due(&accounts, &run).await?;
    Ok(Worked::Done)
}

/// What is in doubt about the walk, once the run is over.
pub(super) fn gaps(run: &Run, gaps: &mut Gaps) {
    let Some(state) = State::read(run) else { return };
    if let Some(doubt) = state.walk.doubt() {
        gaps.say(doubt.as_str().to_owned());
    }
    gaps.count(state.owed.len() as u64 + state.lost, "rewards came with errors every time they were asked for");
    gaps.count(
        state.withheld,
        "known rewards, most of them, are not listed any more; none was marked as gone (if they are, begin a new index)",
    );
    missing(run, gaps);
}

/// The vendor counts more rewards than were read.
pub(super) fn missing(run: &Run, gaps: &mut Gaps) {
    let read = run.rewards();
    if let Some(known) = run.rewards_known.filter(|known| *known > run.rewards_met()) {
        gaps.say(format!("the vendor counts {} rewards, and {} were read", grouped(known), grouped(read)));
    }
}

/// GraphQL cannot serve, and why.
pub(super) fn unusable(refusal: Refusal) -> Error {
    let kind = if refusal == Refusal::Scope { Kind::Scope } else { Kind::Vendor };
    Error::new(kind, refusal.as_str()).hint(OTHER_WAYS)
}

/// What to do where one source cannot serve.
pub(super) const OTHER_WAYS: &str = "--source participants always works; --source auto chooses by itself";

/// How a walk ended.
enum Walked {
    Whole,
    /// By a signal, or by what concerns the whole run.
    Stopped,
    Refused(Refusal),
}

/// Walks to the end.
async fn walk(job: &Arc<Job>, state: &mut State) -> Result<Walked> {
    let mut damaged_tries = 0;
    while let Some(next) = state.walk.next() {
        if job.halt.is_cancelled() {
            return Ok(Walked::Stopped);
        }
        let asked_at = job.clock.now();
        let page = match ask(job, next, &mut state.page_size).await {
            Ok(page) => page,
            Err(ended) => return Ok(ended),
        };
        damaged_tries += 1;
        if !page.damaged.is_empty() && damaged_tries < DAMAGED_TRIES {
            continue;
        }
        damaged_tries = 0;
        state.page_size.went_well();
        for damaged in &page.damaged {
            match damaged {
                Some(id) if state.owed.len() < MAX_OWED => state.owed.push(id.as_str().to_owned()),
                _ => state.lost += 1,
            }
        }
        let keys: Vec<(u64, Option<i64>)> =
            page.rewards.iter().map(|reward| (key_of(reward), reward.date_modified)).collect();
        let check = state.walk.take(&keys, page.rows, page.total);
        let remaining = page.total.map(|total| total.saturating_sub(next.offset + page.rows));
        let committed = commit(job, state, page.rewards, asked_at).await?;
        job.meter.walked(committed.rewards, remaining.map(|remaining| committed.rewards + remaining));
        if let Some(check) = check {
            recount(job, state, check).await?;
        }
    }
    Ok(Walked::Whole)
}

/// Asks the index how many rewards it has of a moment that was walked by offset.
async fn recount(job: &Job, state: &mut State, check: Check) -> Result<()> {
    let kept = job.writer.call(move |index| index.modified_at(check.at)).await?;
    tracing::info!(kept, expected = check.expected, "rewards of one moment were counted");
    state.again = if kept < check.expected { state.again + 1 } else { 0 };
    state.walk.counted(check, kept, state.again);
    Ok(())
}

/// One page, at whatever size the server gives.
async fn ask(job: &Job, next: Next, size: &mut PageSize) -> Result<RewardPage, Walked> {
    let (mut pause, mut refused_smallest) = (FIRST_PAUSE, 0);
    loop {
        if job.halt.is_cancelled() {
            return Err(Walked::Stopped);
        }
        let asked = RewardQuery {
            filter: next.from.map_or(Value::Null, |from| json!({"dateModified_gte": from})),
            sort: Sort::OldestFirst,
            limit: size.get(),
            offset: next.offset,
            attempts: if size.is_smallest() { u32::MAX } else { TRIES },
        };
        match job.advocate.graph_rewards(&asked).await {
            Ok(Graph::Answer(page)) => return Ok(page),
            // It may be the size, or trouble of the server: a smaller page after a pause answers both.
            Ok(Graph::Refused(Refusal::Unnamed)) if !size.is_smallest() => size.refused(),
            Ok(Graph::Refused(Refusal::Unnamed)) if refused_smallest < UNNAMED_TRIES => refused_smallest += 1,
            Ok(Graph::Refused(Refusal::Unnamed)) => {
                // Not a reason to go another way: what was read so far is kept, and the next crawl goes on here.
                job.stop_for(Error::new(Kind::Vendor, Refusal::Unnamed.as_str()));
                return Err(Walked::Stopped);
            }
            Ok(Graph::Refused(refusal)) => return Err(Walked::Refused(refusal)),
            Err(error) if concerns_one_request(&error) && !size.is_smallest() => size.refused(),
            Err(error) => {
                job.stop_for(if concerns_one_request(&error) {
                    error.context("the rewards could not be read by GraphQL")
                } else {
                    error
                });
                return Err(Walked::Stopped);
            }
        }
        tokio::select! {
            () = job.clock.sleep(pause) => {}
            () = job.halt.cancelled() => return Err(Walked::Stopped),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks by ID for what came damaged, in this run or the one before.
async fn settle_owed(job: &Arc<Job>, state: &mut State) -> Result<()> {
    let mut still_owed = 0;
    while state.owed.len() > still_owed && !job.halt.is_cancelled() {
        let until = (still_owed + BY_ID).min(state.owed.len());
        let ids = state.owed[still_owed..until].to_vec();
        let asked_at = job.clock.now();
        match job.advocate.graph_rewards_of(&json!({"id_in": ids})).await {
            // What does not come any more is gone, and a full walk will say so. The cursor that is stored with what came
            // still has everything that did not.
            Ok(Graph::Answer(found)) => {
                state.owed.drain(still_owed..until);
                commit(job, state, found, asked_at).await?;
            }
            Ok(Graph::Refused(_)) => still_owed = until,
            Err(error) if concerns_one_request(&error) => still_owed = until,
            Err(error) => {
                job.stop_for(error);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// How many rewards the vendor has that a walk up to `newest` should have seen. What was modified or made since is the next
/// refresh's, and no gap: it is counted after the whole, so that it is never too little.
async fn count_known(job: &Job, newest: Option<i64>) -> Result<Option<u64>> {
    let known = job.run_row().await?.rewards_met();
    let Some(total) = count(job, Value::Null).await? else { return Ok(None) };
    let Some(newest) = newest.filter(|_| total > known) else { return Ok(Some(total)) };
    let later = count(job, json!({"dateModified_gte": newest + 1})).await?.unwrap_or(0);
    Ok(Some(if total <= known + later { known } else { total }))
}

/// How many rewards the vendor has, over all.
pub(super) async fn count_all(job: &Job) -> Result<Option<u64>> {
    count(job, Value::Null).await
}

async fn count(job: &Job, filter: Value) -> Result<Option<u64>> {
    let asked = RewardQuery { filter, sort: Sort::NewestFirst, limit: 1, offset: 0, attempts: u32::MAX };
    match job.advocate.graph_rewards(&asked).await? {
        Graph::Answer(page) => Ok(page.total),
        Graph::Refused(refusal) => Err(unusable(refusal)),
    }
}

async fn commit(
    job: &Arc<Job>,
    state: &State,
    rewards: Vec<ListedReward>,
    asked_at: jiff::Timestamp,
) -> Result<crate::store::index::RowsCommitted> {
    let (run, cursor, requests) = (job.run, state.text()?, job.uncounted());
    let mapping = job.mapping.clone();
    job.writer
        .call(move |index: &mut Index| {
            // On the writing thread: reading a thousand rewards takes longer than a worker of the runtime should be held.
            let page = rows(rewards, &mapping, cursor);
            if requests > 0 {
                index.add_requests(run, requests)?;
            }
            index.commit_rewards(run, &page, asked_at)
        })
        .await
}

/// Rewards as the index takes them.
pub(super) fn rows(rewards: Vec<ListedReward>, mapping: &Mapping, cursor: String) -> RewardRows {
    let mut page = RewardRows { rewards: Vec::with_capacity(rewards.len()), unusable: 0, cursor };
    for reward in rewards {
        let kept = reward.account.and_then(|account: AccountId| {
            let extracted = extract::read(reward.raw.get(), &account, mapping).ok()?;
            Some((account, ReadReward::new(extracted, reward.raw.get()).via(Via::GraphQl)))
        });
        match kept {
            Some(kept) => page.rewards.push(kept),
            None => page.unusable += 1,
        }
    }
    page
}

fn key_of(reward: &ListedReward) -> u64 {
    fnv1a(reward.id.as_str().bytes())
}
