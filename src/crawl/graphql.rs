//! The source `graphql`: reads the rewards of the whole tenant page by page, with the events that caused them.
//!
//! [`ModifiedWalk`] chooses the GraphQL queries of a crawl. `graphql` sends the queries, halves the page size while the
//! vendor refuses pages, requests damaged rewards again by ID, and sends each page with its cursor to the writer. A
//! refresh by GraphQL begins shortly before the newest `dateModified` of the previous run. Get Rewards reads the
//! accounts that failed before or are due by age.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::active_run::{ActiveRun, SourceError, SourceResult, concerns_one_request};
use super::modified_walk::{Check, Doubt, ModifiedWalk, Query};
use super::page_size::PageSize;
use super::reread;
use super::result::Gaps;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::fnv1a;
use crate::model::{counted, grouped};
use crate::store::index::{ApiSource, ReadReward, RewardListCommitted, RewardListPage, Run};
use crate::vendor::graphql::{Graph, ListedReward, Refusal, RewardPage, RewardQuery, Sort};

/// A refresh begins this many milliseconds before the newest `dateModified`, because a modification may become visible
/// this much later.
pub(super) const MARGIN_MS: i64 = 600_000;
/// The number of attempts to read a page at one size, if a smaller size is possible. A page that is too large fails at
/// every attempt.
const ATTEMPTS: u32 = 2;
/// How often the crawler requests the smallest page again while the vendor returns errors without a reason.
const UNNAMED_RETRIES: u32 = 6;
/// The pause after the first page that the vendor refused. Each further pause after a refused page is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The number of requests for a page with damaged rewards, before the crawler postpones those rewards.
const DAMAGED_ATTEMPTS: u32 = 4;
/// The largest credible time by which the vendor's clock is ahead, in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// The number of rewards in one request by ID.
const ID_CHUNK: usize = 50;
/// The maximum number of damaged rewards whose IDs the cursor stores.
const MAX_OWED: usize = 10_000;

pub(super) const OTHER_SOURCES: &str = "use --source participants, which always works, or --source auto";

/// The position of the source `graphql`, which the index stores as the cursor of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The run to which the stored position belongs. A refresh may find the position of the previous run instead of its
    /// own.
    run: i64,
    walk: ModifiedWalk,
    page_size: PageSize,
    /// The IDs of damaged rewards that the crawler must request again.
    owed: Vec<String>,
    /// The number of damaged rewards without an ID.
    lost: u64,
    /// How many times in a row the index had too few rewards of one `dateModified`.
    failed_checks: u32,
    /// The number of rewards that the run did not see, if the number is implausibly large. If the number of unseen
    /// rewards is implausible, the crawler marks no reward as gone.
    withheld: u64,
}

impl State {
    fn decode(run: &Run) -> Option<Self> {
        serde_json::from_str(run.cursor.as_deref()?).ok()
    }

    fn encode(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to store the position of the walk: {error}")))
    }

    /// Returns the stored position of a run, or a new position with the damaged rewards that the previous run still had
    /// to request.
    fn of(run: &Run, largest_page: u32) -> Self {
        let stored = Self::decode(run);
        let number = run.run.number();
        if let Some(own) = stored.clone().filter(|stored| stored.run == number) {
            return own;
        }
        let owed = stored.filter(|_| run.is_refresh()).map(|stored| stored.owed).unwrap_or_default();
        Self {
            run: number,
            walk: ModifiedWalk::new(refresh_from(run)),
            page_size: PageSize::new(largest_page),
            owed,
            lost: 0,
            failed_checks: 0,
            withheld: 0,
        }
    }
}

/// Returns the `dateModified` at which a refresh begins; `None` for a full run.
pub(super) fn refresh_from(run: &Run) -> Option<i64> {
    run.watermark.filter(|_| run.is_refresh()).map(|watermark| watermark - MARGIN_MS)
}

/// Returns the newest `dateModified` if a refresh can begin there. A `dateModified` in the far future is useless,
/// because a refresh would miss every reward that is modified before it.
pub(super) fn plausible(newest: Option<i64>, now_ms: i64) -> Option<i64> {
    newest.filter(|newest| *newest < now_ms + DAY_MS)
}

/// Reads all rewards by GraphQL, or only the changed rewards. After the rewards, reads the accounts that failed before
/// or are due by age.
pub(super) async fn read(active: &Arc<ActiveRun>) -> SourceResult<()> {
    let run = active.row().await?;
    let mut state = State::of(&run, active.options.graphql_page_size);
    request_owed(active, &mut state).await?;
    walk(active, &mut state).await?;
    if let Some(doubt @ (Doubt::Order | Doubt::Short)) = state.walk.doubt() {
        // A second read by GraphQL would leave the same doubt about missed rewards. Therefore another source must read
        // the tenant.
        return Err(SourceError::Unsupported(Error::new(Kind::Vendor, doubt.as_str()).hint(OTHER_SOURCES)));
    }
    request_owed(active, &mut state).await?;
    if active.halt.is_cancelled() {
        return Err(SourceError::Halted);
    }
    let newest = state.walk.newest();
    let total = count_expected(active, newest).await?;
    let (key, at) = (active.run, active.clock.now());
    let is_proven = state.walk.doubt().is_none();
    if !run.is_refresh() && is_proven {
        let known = active.row().await?.rewards_met();
        // If the vendor counts more rewards than the run has read, a fault may hide rewards that still exist.
        if total.is_none_or(|total| known >= total) {
            state.withheld = active.writer.call(move |index| index.mark_unseen_gone(key, at)).await?.withheld;
        }
    }
    // Only a full run can find a damaged reward without an ID. Therefore the next run must not be a refresh.
    let watermark = plausible(newest, active.clock.now_ms()).filter(|_| is_proven && state.lost == 0);
    let cursor = state.encode()?;
    active
        .writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            index.set_watermark(key, watermark, total)
        })
        .await?;
    Ok(reread::read_due_accounts(active, &run).await?)
}

/// Adds the gaps that the source `graphql` leaves in the finished run.
pub(super) fn gaps(run: &Run, gaps: &mut Gaps) {
    let Some(state) = State::decode(run) else { return };
    if let Some(doubt) = state.walk.doubt() {
        gaps.add(doubt.as_str().to_owned());
    }
    gaps.count(state.owed.len() as u64 + state.lost, "rewards came with errors in every request");
    gaps.count(
        state.withheld,
        "known rewards, most of them, are no longer listed; none was marked as gone (if they are, start a new index)",
    );
    missing(run, gaps);
}

/// Adds a gap if the vendor counts more rewards than the run has read.
pub(super) fn missing(run: &Run, gaps: &mut Gaps) {
    if let Some(known) = run.rewards_known.filter(|known| *known > run.rewards_met()) {
        gaps.add(format!("the vendor counts {}; read: {}", counted(known, "reward"), grouped(run.rewards())));
    }
}

pub(super) fn refused(refusal: Refusal) -> Error {
    let kind = if refusal == Refusal::Scope { Kind::Scope } else { Kind::Vendor };
    Error::new(kind, refusal.as_str()).hint(OTHER_SOURCES)
}

async fn walk(active: &ActiveRun, state: &mut State) -> SourceResult<()> {
    let mut damaged_attempts = 0;
    while let Some(query) = state.walk.next() {
        let asked_at = active.clock.now();
        let page = request_page(active, query, &mut state.page_size).await?;
        damaged_attempts += 1;
        if !page.damaged.is_empty() && damaged_attempts < DAMAGED_ATTEMPTS {
            continue;
        }
        damaged_attempts = 0;
        state.page_size.succeeded();
        for damaged in &page.damaged {
            match damaged {
                Some(id) if state.owed.len() < MAX_OWED => state.owed.push(id.as_str().to_owned()),
                _ => state.lost += 1,
            }
        }
        let keys: Vec<(u64, Option<i64>)> =
            page.rewards.iter().map(|reward| (fnv1a(reward.id.as_str().bytes()), reward.date_modified)).collect();
        let check = state.walk.take(&keys, page.rows, page.total);
        let remaining = page.total.map(|total| total.saturating_sub(query.offset + page.rows));
        let committed = commit(active, state, page.rewards, asked_at).await?;
        active.meter.set_rewards(committed.rewards, remaining.map(|remaining| committed.rewards + remaining));
        if let Some(check) = check {
            verify(active, state, check).await?;
        }
    }
    Ok(())
}

/// Compares the number of rewards with one `dateModified` in the index with their number at the vendor.
async fn verify(active: &ActiveRun, state: &mut State, check: Check) -> Result<()> {
    let kept = active.writer.call(move |index| index.modified_at(check.modified_at)).await?;
    tracing::info!(kept, expected = check.expected, "compared the rewards of one dateModified");
    state.failed_checks = if kept < check.expected { state.failed_checks + 1 } else { 0 };
    state.walk.counted(check, kept, state.failed_checks);
    Ok(())
}

/// Requests one page of rewards at a size that the vendor accepts.
async fn request_page(active: &ActiveRun, query: Query, size: &mut PageSize) -> SourceResult<RewardPage> {
    let (mut pause, mut refused_smallest) = (FIRST_PAUSE, 0);
    loop {
        if active.halt.is_cancelled() {
            return Err(SourceError::Halted);
        }
        let request = RewardQuery {
            filter: query.from.map_or(Value::Null, |from| json!({"dateModified_gte": from})),
            sort: Sort::OldestFirst,
            limit: size.get(),
            offset: query.offset,
            attempts: if size.is_smallest() { u32::MAX } else { ATTEMPTS },
        };
        match active.advocate.graph_rewards(&request).await {
            Ok(Graph::Answer(page)) => return Ok(page),
            // Either the requested page is too large or the vendor's server is overloaded. If a page is too large or
            // the server is overloaded, a smaller page after a pause helps.
            Ok(Graph::Refused(Refusal::Unnamed)) if !size.is_smallest() => size.refused(),
            Ok(Graph::Refused(Refusal::Unnamed)) if refused_smallest < UNNAMED_RETRIES => refused_smallest += 1,
            // The crawl keeps the source `graphql` and the rewards that it has read. The next crawl resumes at the
            // refused page.
            Ok(Graph::Refused(Refusal::Unnamed)) => {
                return Err(Error::new(Kind::Vendor, Refusal::Unnamed.as_str()).into());
            }
            Ok(Graph::Refused(refusal)) => return Err(SourceError::Unsupported(refused(refusal))),
            Err(error) if concerns_one_request(&error) && !size.is_smallest() => size.refused(),
            Err(error) if concerns_one_request(&error) => {
                return Err(error.context("the rewards could not be read by GraphQL").into());
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = active.clock.sleep(pause) => {}
            () = active.halt.cancelled() => return Err(SourceError::Halted),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Requests the damaged rewards of this run or the previous run again, by ID.
async fn request_owed(active: &ActiveRun, state: &mut State) -> Result<()> {
    let mut still_owed = 0;
    while state.owed.len() > still_owed && !active.halt.is_cancelled() {
        let until = (still_owed + ID_CHUNK).min(state.owed.len());
        let ids = &state.owed[still_owed..until];
        let asked_at = active.clock.now();
        match active.advocate.graph_rewards_of(&json!({"id_in": ids})).await {
            // A reward that the vendor's response lacks is gone, and a full run detects that. If the process is killed
            // before the commit, the stored cursor still has the IDs of the damaged rewards.
            Ok(Graph::Answer(found)) => {
                state.owed.drain(still_owed..until);
                commit(active, state, found, asked_at).await?;
            }
            Ok(Graph::Refused(_)) => still_owed = until,
            Err(error) if concerns_one_request(&error) => still_owed = until,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns how many rewards a run that ends at `newest` should have seen. The next refresh reads the rewards that were
/// modified or created after `newest`. `count_expected` counts the rewards after `newest` later than the total, because
/// their number must never be too small.
async fn count_expected(active: &ActiveRun, newest: Option<i64>) -> Result<Option<u64>> {
    let known = active.row().await?.rewards_met();
    let Some(total) = count(active, Value::Null).await? else { return Ok(None) };
    let Some(newest) = newest.filter(|_| total > known) else { return Ok(Some(total)) };
    let later = count(active, json!({"dateModified_gte": newest + 1})).await?.unwrap_or(0);
    Ok(Some(if total <= known + later { known } else { total }))
}

/// Returns how many of the vendor's rewards match the filter; `Value::Null` matches all rewards.
pub(super) async fn count(active: &ActiveRun, filter: Value) -> Result<Option<u64>> {
    let request = RewardQuery { filter, sort: Sort::NewestFirst, limit: 1, offset: 0, attempts: u32::MAX };
    match active.advocate.graph_rewards(&request).await? {
        Graph::Answer(page) => Ok(page.total),
        Graph::Refused(refusal) => Err(refused(refusal)),
    }
}

/// Extracts the links of a page of rewards. Commits the page of rewards with its cursor.
async fn commit(
    active: &ActiveRun,
    state: &State,
    rewards: Vec<ListedReward>,
    asked_at: jiff::Timestamp,
) -> Result<RewardListCommitted> {
    let (run, page) = (active.run, extract_page(rewards, &active.mapping, state.encode()?));
    active.writer.call(move |index| index.commit_rewards(run, &page, asked_at)).await
}

fn extract_page(rewards: Vec<ListedReward>, mapping: &Mapping, cursor: String) -> RewardListPage {
    let mut page = RewardListPage { rewards: Vec::with_capacity(rewards.len()), unusable: 0, cursor };
    for ListedReward { account, raw, .. } in rewards {
        let extracted = account.and_then(|account| {
            let extracted = extract::read(raw.get(), &account, mapping).ok()?;
            Some((account, ReadReward::new(extracted, raw.get()).via(ApiSource::GraphQl)))
        });
        match extracted {
            Some(reward) => page.rewards.push(reward),
            None => page.unusable += 1,
        }
    }
    page
}
