//! The source `export`: a REWARD export lists the accounts that have rewards, then Get Rewards reads those accounts.
//!
//! If the rows of the export contain the order ID and the ActionId, the crawler stores the rows as rewards and requests
//! no account. The vendor does not publish the columns of an export (`docs/vendor/advocate.md` §4). Therefore the
//! crawler recognises the columns of an export by name. If the export has no account column, the crawler requests a
//! USER export, which lists every participant. The crawler downloads the export into an unnamed temporary file beside
//! the index. The operating system deletes the temporary file when the process ends. Before the process ends, the queue
//! or the index has the content of the temporary file. A refresh by export requests the rewards that were modified
//! since the previous run.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::active_run::{ActiveRun, SourceError, SourceResult, concerns_one_request};
use super::change_detection::changed_accounts;
use super::export_rows::{Columns, ExportReader, Row};
use super::graphql::{self, MARGIN_MS, OTHER_SOURCES};
use super::reread;
use super::result::Gaps;
use crate::error::{Error, Kind, Result};
use crate::extract;
use crate::model::{AccountId, LinkKind, RewardId};
use crate::store::index::{ApiSource, Index, ReadReward, RewardListPage, Run};
use crate::vendor::exports::{Export, ExportStatus, ExportType};

/// The maximum age of an existing export of the same content that the crawler uses instead of a new export.
const REUSE_MS: i64 = 3_600_000;
/// The first pause between two requests for the status of a pending export. The pauses between status requests grow up
/// to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The maximum number of exports that one run creates. The run creates another export if an export expires or its
/// download breaks.
const ATTEMPTS: u32 = 3;
/// The number of export rows in one transaction.
const BATCH: usize = 500;
/// The number of existing exports among which the crawler looks for an export of the same content.
const HISTORY: u32 = 25;

/// The position of the source `export`, which the index stores as the cursor of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    run: i64,
    /// The parameter `dateModified_gte` of a refresh, in Unix milliseconds.
    from: Option<i64>,
    /// The ID of the export that the crawler is waiting for or reading.
    export: Option<String>,
    /// `true` if the REWARD export has no accounts. If a REWARD export has no accounts, a USER export must list every
    /// participant.
    lists_users: bool,
    /// `true` if the crawler has read the export file: its accounts are in the queue, or its rewards are in the index.
    listed: bool,
    /// `true` if the export's rows contain the links. The crawler stores export rows with links as rewards.
    direct: bool,
    /// The number of rows in the export file.
    rows: u64,
    /// The newest `dateModified` in the export file, in Unix milliseconds.
    newest: Option<i64>,
    /// The number of rewards missing from the export file, if the number is implausibly large. If the number of missing
    /// rewards is implausible, the crawler marks no reward as gone.
    withheld: u64,
}

impl State {
    fn of(run: &Run) -> Self {
        let stored = run.cursor.as_deref().and_then(|text| serde_json::from_str::<Self>(text).ok());
        stored.filter(|stored| stored.run == run.run.number()).unwrap_or_else(|| Self {
            run: run.run.number(),
            from: graphql::refresh_from(run),
            export: None,
            lists_users: false,
            listed: false,
            direct: false,
            rows: 0,
            newest: None,
            withheld: 0,
        })
    }

    fn encode(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to store the position of the export: {error}")))
    }

    fn kind(&self) -> ExportType {
        if self.lists_users { ExportType::User } else { ExportType::Reward }
    }

    fn params(&self) -> Value {
        match self.from.filter(|_| !self.lists_users) {
            Some(from) => json!({"filter": {"dateModified_gte": from}}),
            None => json!({}),
        }
    }
}

/// Queues the accounts of an export, and reads the accounts in the queue. After the accounts of the export, reads the
/// accounts that failed before or are due by age.
pub(super) async fn read(active: &Arc<ActiveRun>) -> SourceResult<()> {
    let run = active.row().await?;
    let mut state = State::of(&run);
    let mut attempts = 0;
    while !state.listed {
        if active.halt.is_cancelled() {
            return Err(SourceError::Halted);
        }
        attempts += 1;
        if attempts > ATTEMPTS {
            return Err(unsupported("the exports expired before they could be read"));
        }
        let export = obtain(active, &run, &mut state).await?;
        match list(active, &mut state, &export).await? {
            Listed::All => {}
            Listed::NotAvailable => state.export = None,
            Listed::NoAccounts if !state.lists_users && state.from.is_none() => {
                (state.lists_users, state.export, attempts) = (true, None, 0);
            }
            Listed::NoAccounts => return Err(unsupported("the export has no column that names accounts")),
        }
    }
    let (key, is_full, at) = (active.run, !run.is_refresh(), active.clock.now());
    if is_full && state.direct {
        state.withheld = active.writer.call(move |index| index.mark_unseen_gone(key, at)).await?.withheld;
    } else if is_full && !state.lists_users {
        active.writer.call(move |index| index.queue_unlisted(key)).await?;
    }
    let cursor = state.encode()?;
    // A USER export has no `dateModified` of rewards. Therefore no refresh can begin from a USER export.
    let newest = state.newest.filter(|_| !state.lists_users);
    let watermark = graphql::plausible(newest, active.clock.now_ms());
    // The vendor's count of rewards: the number of rows of a full export, or else the total from GraphQL if this tenant
    // has it.
    let known = if is_full && !state.lists_users {
        Some(state.rows)
    } else {
        graphql::count(active, Value::Null).await.ok().flatten()
    };
    active
        .writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            index.set_watermark(key, watermark, known)
        })
        .await?;
    Ok(reread::read_due_accounts(active, &run).await?)
}

/// Adds the gaps that the export leaves in the finished run.
pub(super) fn gaps(run: &Run, gaps: &mut Gaps) {
    gaps.count(
        State::of(run).withheld,
        "known rewards, most of them, are not in the export; none was marked as gone (if they are, start a new index)",
    );
    graphql::missing(run, gaps);
}

fn unsupported(why: &str) -> SourceError {
    SourceError::Unsupported(Error::new(Kind::Vendor, why.to_owned()).hint(OTHER_SOURCES))
}

/// Returns an export to download: the export of this run, a recent export of the same content, or a new export.
async fn obtain(active: &ActiveRun, run: &Run, state: &mut State) -> SourceResult<Export> {
    let mut export = find_or_create(active, run, state).await.map_err(|error| match error.kind {
        Kind::Vendor | Kind::Scope => SourceError::Unsupported(error),
        _ => SourceError::Fatal(error),
    })?;
    state.export = Some(export.id.clone());
    let (key, cursor, created) = (active.run, state.encode()?, date_created(&export));
    active
        .writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            // The content of an export is as old as the export. Therefore the run's start moves back to the export's
            // creation.
            created.map_or(Ok(()), |at| index.move_start_back(key, at))
        })
        .await?;
    let (began, mut pause) = (tokio::time::Instant::now(), FIRST_PAUSE);
    loop {
        match &export.status {
            // Also returns an expired export, because its download fails. If an export has expired, the caller creates
            // another export.
            ExportStatus::Completed | ExportStatus::Expired => return Ok(export),
            ExportStatus::Aborted => return Err(unsupported("the vendor gave up on making the export")),
            ExportStatus::Pending | ExportStatus::Other(_) => {}
        }
        if began.elapsed() > active.options.export_wait {
            return Err(unsupported("the export was not made in time"));
        }
        tokio::select! {
            () = active.clock.sleep(pause) => {}
            () = active.halt.cancelled() => return Err(SourceError::Halted),
        }
        pause = pause.mul_f64(1.6).min(LONGEST_PAUSE);
        // An outage of the vendor must not make the crawler abandon a pending export. After an outage, the next crawl
        // waits for the same export.
        let Some(newer) = active.advocate.export(&export.id).await? else {
            return Err(unsupported("the vendor no longer knows its own export"));
        };
        export = newer;
    }
}

async fn find_or_create(active: &ActiveRun, run: &Run, state: &State) -> Result<Export> {
    let is_open = |export: &Export| matches!(export.status, ExportStatus::Pending | ExportStatus::Completed);
    if let Some(id) = &state.export
        && let Some(export) = active.advocate.export(id).await?.filter(is_open)
    {
        return Ok(export);
    }
    let (kind, params) = (state.kind(), state.params());
    let name = format!("recoup-{}-{}-{}", run.run, run.started_at.as_millisecond(), kind.as_str().to_lowercase());
    let now_ms = active.clock.now_ms();
    // The next refresh begins at the creation of this export. Therefore the next refresh reads the rewards that were
    // modified after the creation of the export.
    let is_recent = |export: &Export| export.date_created.is_some_and(|created| now_ms - created < REUSE_MS);
    let matches = |export: &Export| {
        let same_content =
            export.kind == kind.as_str() && export.format == "CSV" && same_params(&export.params, &params);
        same_content && is_open(export) && (export.name == name || is_recent(export))
    };
    let find = |exports: Option<Vec<Export>>| exports.unwrap_or_default().into_iter().find(matches);
    if let Some(export) = find(active.advocate.exports(HISTORY).await?) {
        tracing::info!("an existing export is used");
        return Ok(export);
    }
    match active.advocate.create_export(kind, &name, &params).await {
        // The vendor may have created the export although its response was lost. A repeated request could create a
        // second export.
        Err(error) if concerns_one_request(&error) => find(active.advocate.exports(HISTORY).await?).ok_or(error),
        created => created,
    }
}

/// Compares the parameters of two exports. The vendor writes empty parameters of an export as null or as `{}`, or omits
/// them.
fn same_params(one: &Value, other: &Value) -> bool {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    one == other || (is_empty(one) && is_empty(other))
}

fn date_created(export: &Export) -> Option<jiff::Timestamp> {
    export.date_created.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
}

enum Listed {
    All,
    /// The vendor no longer offers the export's file for download.
    NotAvailable,
    NoAccounts,
}

/// Downloads the file of an export. Adds the accounts of the file to the queue, or the rewards of the file to the
/// index.
async fn list(active: &ActiveRun, state: &mut State, export: &Export) -> SourceResult<Listed> {
    let file = active.folder.as_ref().map_or_else(tempfile::tempfile, tempfile::tempfile_in);
    let mut file = file.map_err(|error| {
        Error::new(Kind::Storage, format!("failed to create a temporary file for the export: {error}"))
            .hint("free some space, or name another place with --database")
    })?;
    let full = |error: std::io::Error| {
        Error::new(Kind::Storage, format!("failed to store the export: {error}"))
            .hint("free some space and run the command again; what was committed is kept")
    };
    let downloading =
        active.advocate.download(&export.id, |piece| std::io::Write::write_all(&mut file, piece).map_err(full));
    let downloaded = tokio::select! {
        downloaded = downloading => downloaded,
        () = active.halt.cancelled() => return Err(SourceError::Halted),
    };
    match downloaded {
        Ok(Some(())) => {}
        Ok(None) => return Ok(Listed::NotAvailable),
        Err(error) if concerns_one_request(&error) => {
            tracing::info!(%error, "the download of the export broke off");
            return Ok(Listed::NotAvailable);
        }
        Err(error) => return Err(error.into()),
    }
    // If the export is not the expected CSV, another source of the crawl may work.
    let malformed = |error: Error| match error.kind {
        Kind::Vendor => SourceError::Unsupported(error),
        _ => SourceError::Fatal(error),
    };
    let mut reader = ExportReader::new(file)?;
    let columns = reader.columns(&active.mapping).map_err(malformed)?;
    if !columns.has_accounts {
        return Ok(Listed::NoAccounts);
    }
    state.direct = columns.has_links && !state.lists_users;
    (state.rows, state.newest) = (0, None);
    // The rows of an export are as old as the export, whenever the crawler reads them.
    let now = active.clock.now();
    let asked_at = date_created(export).map_or(now, |created| created.min(now));
    // Change detection requires a run with a start by the vendor's clock.
    let detects_changes = state.from.is_some() && columns.can_compare && export.date_created.is_some();
    loop {
        if active.halt.is_cancelled() {
            return Err(SourceError::Halted);
        }
        let rows = reader.next_batch(&columns, BATCH).map_err(malformed)?;
        if rows.is_empty() {
            break;
        }
        state.rows += rows.len() as u64;
        state.newest = state.newest.max(rows.iter().filter_map(|row| row.date_modified).max());
        if state.direct {
            store_rewards(active, state, &columns, rows, asked_at).await?;
        } else {
            queue_accounts(active, &columns, detects_changes, rows, asked_at).await?;
        }
    }
    state.listed = true;
    // A file without `dateModified` counts as new as its creation, by the vendor's clock.
    let created = export.date_created.filter(|_| !columns.has_date_modified);
    state.newest = state.newest.or(created).or(state.from);
    Ok(Listed::All)
}

async fn queue_accounts(
    active: &ActiveRun,
    columns: &Columns,
    detects_changes: bool,
    rows: Vec<Row>,
    asked_at: jiff::Timestamp,
) -> Result<()> {
    let rewards: Vec<(AccountId, RewardId)> =
        rows.iter().filter_map(|row| Some((row.account.clone()?, row.reward_id(&columns.header)?))).collect();
    let (run, now_ms) = (active.run, active.clock.now_ms());
    let (columns, mapping) = (columns.clone(), active.mapping.clone());
    let queue = move |index: &mut Index| {
        let accounts = if detects_changes {
            changed_accounts(index, run, &columns, rows, &mapping, MARGIN_MS, now_ms)?
        } else {
            rows.into_iter().filter_map(|row| row.account).collect()
        };
        index.count_skipped(run, &rewards)?;
        index.queue_accounts(run, &accounts, None, asked_at).map(drop)
    };
    active.writer.call(queue).await
}

async fn store_rewards(
    active: &ActiveRun,
    state: &State,
    columns: &Columns,
    rows: Vec<Row>,
    asked_at: jiff::Timestamp,
) -> Result<()> {
    let mut page = RewardListPage { rewards: Vec::with_capacity(rows.len()), unusable: 0, cursor: state.encode()? };
    // An export row with only an order ID or only an ActionId may be an old reward. Therefore the crawler reads the
    // account of such a row by Get Rewards.
    let mut unlinked = Vec::new();
    for row in rows {
        let json = row.json(&columns.header);
        let extracted = row.account.and_then(|account| {
            let extracted = extract::read(&json, &account, &active.mapping).ok()?;
            Some((account, ReadReward::new(extracted, &json).via(ApiSource::Export)))
        });
        let Some((account, reward)) = extracted else {
            page.unusable += 1;
            continue;
        };
        if reward.extracted().kind != LinkKind::Both {
            unlinked.push(account.clone());
        }
        page.rewards.push((account, reward));
    }
    let run = active.run;
    let store = move |index: &mut Index| {
        index.queue_accounts(run, &unlinked, None, asked_at)?;
        index.commit_rewards(run, &page, asked_at)
    };
    let committed = active.writer.call(store).await?;
    active.meter.set_rewards(committed.rewards, Some(state.rows.max(committed.rewards)));
    Ok(())
}
