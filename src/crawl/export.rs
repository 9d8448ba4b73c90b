//! The source *export*: a REWARD export as the list of accounts that have rewards, then Get Rewards for those alone.
//!
//! Where the file itself carries order ID and ActionId, its rows are the rewards and no account is asked. Which columns it
//! has is not published (`docs/vendor/advocate.md` §4), so they are looked for by name; a file without accounts is followed by a
//! USER export, which lists everybody. The file is never in memory: it lies in an unnamed temporary file beside the index,
//! gone with the process, and what it said is in the queue by then. A refresh asks for what was modified since.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::job::{Job, Worked, concerns_one_request};
use super::outcome::Gaps;
use super::rows_of_export::{Columns, Row, rows};
use super::{graphql, reread, unchanged};
use crate::error::{Error, Kind, Result};
use crate::extract;
use crate::model::{AccountId, LinkKind, RewardId};
use crate::store::index::{ReadReward, RewardRows, Run, Via};
use crate::vendor::exports::{Export, ExportStatus, ExportType};

/// An export that is not older than this is taken instead of asking for another one.
const REUSE: Duration = Duration::from_hours(1);
/// The first and the longest pause between two looks at an export that is being made.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// Exports asked for in one run, where one expires or its download breaks.
const TRIES: u32 = 3;
/// How far back a refresh goes behind the newest moment that was seen, in milliseconds.
const MARGIN_MS: i64 = 600_000;
/// Rows in one commit.
const BATCH: usize = 500;
/// Exports looked through for one that will do.
const HISTORY: u32 = 25;

/// Where the source stands, as the run's cursor has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    run: i64,
    /// `dateModified_gte` of a refresh, Unix milliseconds.
    from: Option<i64>,
    /// The export that is being made or read.
    export: Option<String>,
    /// The file has no accounts, so everybody is listed.
    lists_users: bool,
    /// The file is read: what it listed is in the queue, or its rows are in the index.
    listed: bool,
    /// Its rows are the rewards.
    direct: bool,
    /// Its rows.
    rows: u64,
    newest: Option<i64>,
    withheld: u64,
}

impl State {
    fn of(run: &Run) -> Self {
        let kept = run.cursor.as_deref().and_then(|text| serde_json::from_str::<Self>(text).ok());
        kept.filter(|kept| kept.run == run.run.number()).unwrap_or_else(|| Self {
            run: run.run.number(),
            from: if run.is_refresh() { run.watermark.map(|watermark| watermark - MARGIN_MS) } else { None },
            export: None,
            lists_users: false,
            listed: false,
            direct: false,
            rows: 0,
            newest: None,
            withheld: 0,
        })
    }

    fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to store where the export stands: {error}")))
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

/// Lists accounts by an export and reads them, then what is due for another reason.
pub(super) async fn work(job: &Arc<Job>) -> Result<Worked> {
    let run = job.run_row().await?;
    let mut state = State::of(&run);
    let mut tries = 0;
    while !state.listed {
        if job.halt.is_cancelled() {
            return Ok(Worked::Done);
        }
        tries += 1;
        if tries > TRIES {
            return Ok(cannot("the exports expired before they could be read"));
        }
        let export = match obtain(job, &run, &mut state).await? {
            Obtained::Ready(export) => export,
            Obtained::Stopped => return Ok(Worked::Done),
            Obtained::Cannot(worked) => return Ok(worked),
        };
        let listed = match list(job, &mut state, &export).await {
            // A file that cannot be read as what it should be.
            Err(error) if error.kind == Kind::Vendor => return Ok(Worked::CannotServe(error)),
            listed => listed?,
        };
        match listed {
            Listed::All => {}
            Listed::NotThere => state.export = None,
            Listed::NoAccounts if !state.lists_users && state.from.is_none() => {
                (state.lists_users, state.export, tries) = (true, None, 0);
            }
            Listed::NoAccounts => return Ok(cannot("the export has no column that names accounts")),
            Listed::Stopped => return Ok(Worked::Done),
        }
    }
    let (key, full, at) = (job.run, !run.is_refresh(), job.clock.now());
    if full && state.direct {
        let unseen = job.writer.call(move |index| index.forget_unseen(key, at)).await?;
        state.withheld = unseen.withheld;
    } else if full && !state.lists_users {
        job.writer.call(move |index| index.queue_unlisted(key)).await?;
    }
    let cursor = state.text()?;
    // Everybody is listed anew each time, so there is nothing that a refresh could begin with.
    let newest = state.newest.filter(|newest| *newest < job.clock.now_ms() + graphql::DAY_MS);
    let watermark = if state.lists_users { None } else { newest };
    // What the vendor counts: the file of a full run, and GraphQL's total where that is to be had.
    let known =
        if full && !state.lists_users { Some(state.rows) } else { graphql::count_all(job).await.ok().flatten() };
    job.writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            index.set_watermark(key, watermark, known)
        })
        .await?;
    let accounts = Accounts::new(Arc::clone(job), true);
    reread::what_is_due(&accounts, &run).await?;
    Ok(Worked::Done)
}

/// What is in doubt about the export, once the run is over.
pub(super) fn gaps(run: &Run, gaps: &mut Gaps) {
    let state = State::of(run);
    gaps.count(
        state.withheld,
        "known rewards, most of them, are not in the export; none was marked as gone (if they are, begin a new index)",
    );
    graphql::missing(run, gaps);
}

fn cannot(why: &str) -> Worked {
    Worked::CannotServe(Error::new(Kind::Vendor, why.to_owned()).hint(graphql::OTHER_WAYS))
}

enum Obtained {
    Ready(Export),
    Stopped,
    Cannot(Worked),
}

/// An export that can be downloaded: the run's own, a recent one of the same content, or a new one.
async fn obtain(job: &Arc<Job>, run: &Run, state: &mut State) -> Result<Obtained> {
    let export = match find_or_ask(job, run, state).await {
        Ok(export) => export,
        Err(error) if matches!(error.kind, Kind::Vendor | Kind::Scope) => {
            return Ok(Obtained::Cannot(Worked::CannotServe(error)));
        }
        Err(error) => {
            job.stop_for(error);
            return Ok(Obtained::Stopped);
        }
    };
    state.export = Some(export.id.clone());
    let (key, cursor) = (job.run, state.text()?);
    // An export that was asked for before the run speaks of that moment, and so does the run.
    let speaks_of = export.date_created.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    job.writer
        .call(move |index| {
            index.set_cursor(key, &cursor)?;
            speaks_of.map_or(Ok(()), |at| index.begun_by(key, at))
        })
        .await?;
    wait_for(job, export).await
}

async fn find_or_ask(job: &Arc<Job>, run: &Run, state: &State) -> Result<Export> {
    if let Some(id) = &state.export
        && let Some(export) = job.advocate.export(id).await?
        && matches!(export.status, ExportStatus::Pending | ExportStatus::Completed)
    {
        return Ok(export);
    }
    let name =
        format!("recoup-{}-{}-{}", run.run, run.started_at.as_millisecond(), state.kind().as_str().to_lowercase());
    let (kind, params) = (state.kind(), state.params());
    let will_do = |export: &Export| {
        let wanted = export.kind == kind.as_str() && export.format == "CSV" && same(&export.params, &params);
        let is_open = matches!(export.status, ExportStatus::Pending | ExportStatus::Completed);
        wanted && is_open && (export.name == name || is_recent(export, job.clock.now_ms()))
    };
    let found = |list: Option<Vec<Export>>| list.unwrap_or_default().into_iter().find(will_do);
    if let Some(export) = found(job.advocate.exports(HISTORY).await?) {
        tracing::info!("an export that was made before serves");
        return Ok(export);
    }
    match job.advocate.create_export(kind, &name, &params).await {
        Ok(export) => Ok(export),
        // It may have been made all the same; asking again would make a second one.
        Err(error) if concerns_one_request(&error) => found(job.advocate.exports(HISTORY).await?).ok_or(error),
        Err(error) => Err(error),
    }
}

/// The same content: nothing, `{}` and null are alike.
fn same(one: &Value, other: &Value) -> bool {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    one == other || (is_empty(one) && is_empty(other))
}

/// Asked for within the last hour: what changed since then is later than what it says, and the next refresh begins there.
fn is_recent(export: &Export, now_ms: i64) -> bool {
    export.date_created.is_some_and(|created| now_ms - created < REUSE.as_millis() as i64)
}

async fn wait_for(job: &Arc<Job>, mut export: Export) -> Result<Obtained> {
    let (began, mut pause) = (tokio::time::Instant::now(), FIRST_LOOK);
    loop {
        match &export.status {
            // One that is gone before it could be read is found out by its download, and the caller asks for another.
            ExportStatus::Completed | ExportStatus::Expired => return Ok(Obtained::Ready(export)),
            ExportStatus::Aborted => return Ok(Obtained::Cannot(cannot("the vendor gave up on making the export"))),
            ExportStatus::Pending | ExportStatus::Other(_) => {}
        }
        if began.elapsed() > job.options.export_wait {
            return Ok(Obtained::Cannot(cannot("the export was not made in time")));
        }
        tokio::select! {
            () = job.clock.sleep(pause) => {}
            () = job.halt.cancelled() => return Ok(Obtained::Stopped),
        }
        pause = pause.mul_f64(1.6).min(LONGEST_LOOK);
        export = match job.advocate.export(&export.id).await {
            Ok(Some(now)) => now,
            Ok(None) => return Ok(Obtained::Cannot(cannot("the vendor does not know its own export any more"))),
            // An outage is no reason to throw away an export that is being made: the next crawl goes on waiting for it.
            Err(error) => {
                job.stop_for(error);
                return Ok(Obtained::Stopped);
            }
        };
    }
}

enum Listed {
    All,
    /// It can no longer be downloaded.
    NotThere,
    NoAccounts,
    Stopped,
}

/// Downloads the file, and puts what it lists into the queue, or its rows into the index.
async fn list(job: &Arc<Job>, state: &mut State, export: &Export) -> Result<Listed> {
    let mut file = tempfile::tempfile_in(&job.options.folder).map_err(|error| {
        Error::new(Kind::Storage, format!("failed to make a temporary file beside the index: {error}"))
            .hint("free some space, or name another place with --database")
    })?;
    let full = |error: std::io::Error| {
        Error::new(Kind::Storage, format!("failed to keep the export: {error}"))
            .hint("free some space and run the command again; what was committed is kept")
    };
    let downloading =
        job.advocate.download(&export.id, |piece| std::io::Write::write_all(&mut file, piece).map_err(full));
    let downloaded = tokio::select! {
        downloaded = downloading => downloaded,
        // A file is downloaded again: there is nothing in it to save.
        () = job.halt.cancelled() => return Ok(Listed::Stopped),
    };
    match downloaded {
        Ok(Some(())) => {}
        Ok(None) => return Ok(Listed::NotThere),
        // Another try asks where it lies again.
        Err(error) if concerns_one_request(&error) => {
            tracing::info!(%error, "the download broke off");
            return Ok(Listed::NotThere);
        }
        Err(error) => {
            job.stop_for(error);
            return Ok(Listed::Stopped);
        }
    }
    let mut reader = rows(file)?;
    let columns = reader.columns(&job.mapping)?;
    if !columns.has_accounts {
        return Ok(Listed::NoAccounts);
    }
    state.direct = columns.is_direct && !state.lists_users;
    (state.rows, state.newest) = (0, None);
    // The rows speak of the moment when the export was asked for, whenever they are read.
    let made_at = export.date_created.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let asked_at = made_at.map_or_else(|| job.clock.now(), |made_at| made_at.min(job.clock.now()));
    // Where an export does not say when it was made, no run began by the server's clock.
    let compares = state.from.is_some() && columns.can_compare && export.date_created.is_some();
    loop {
        if job.halt.is_cancelled() {
            return Ok(Listed::Stopped);
        }
        let batch = reader.next_batch(&columns, BATCH)?;
        if batch.is_empty() {
            break;
        }
        state.rows += batch.len() as u64;
        state.newest = state.newest.max(batch.iter().filter_map(|row| row.date_modified).max());
        take(job, state, &columns, compares, batch, asked_at).await?;
    }
    state.listed = true;
    // A file without moments was true when it was asked for, by the server's clock.
    let began = export.date_created.filter(|_| !columns.has_moments);
    state.newest = state.newest.or(began).or(state.from);
    Ok(Listed::All)
}

async fn take(
    job: &Arc<Job>,
    state: &State,
    columns: &Columns,
    compares: bool,
    batch: Vec<Row>,
    asked_at: jiff::Timestamp,
) -> Result<()> {
    let (run, requests) = (job.run, job.uncounted());
    let mapping = job.mapping.clone();
    if !state.direct {
        let rewards: Vec<(AccountId, RewardId)> =
            batch.iter().filter_map(|row| Some((row.account.clone()?, row.reward_id(&columns.header)?))).collect();
        let columns = compares.then(|| columns.clone());
        let now_ms = job.clock.now_ms();
        let listed = job.writer.call(move |index| {
            let accounts = match &columns {
                Some(columns) => unchanged::worth_asking(index, run, columns, batch, &mapping, MARGIN_MS, now_ms)?,
                None => batch.into_iter().filter_map(|row| row.account).collect(),
            };
            index.add_requests(run, requests)?;
            index.leave_out(run, &rewards)?;
            index.queue_accounts(run, &accounts, None, asked_at)
        });
        listed.await?;
        return Ok(());
    }
    let (cursor, header) = (state.text()?, columns.header.clone());
    let total = state.rows;
    let committed = job
        .writer
        .call(move |index| {
            let mut page = RewardRows { rewards: Vec::with_capacity(batch.len()), unusable: 0, cursor };
            // A row without the whole link may only be an old one: what Get Rewards shows of its account decides.
            let mut unlinked = Vec::new();
            for row in batch {
                let json = row.json(&header);
                let kept = row.account.and_then(|account| {
                    let extracted = extract::read(&json, &account, &mapping).ok()?;
                    Some((account, ReadReward::new(extracted, &json).via(Via::Export)))
                });
                match kept {
                    Some((account, kept)) => {
                        if kept.extracted().kind != LinkKind::Both {
                            unlinked.push(account.clone());
                        }
                        page.rewards.push((account, kept));
                    }
                    None => page.unusable += 1,
                }
            }
            index.add_requests(run, requests)?;
            index.queue_accounts(run, &unlinked, None, asked_at)?;
            index.commit_rewards(run, &page, asked_at)
        })
        .await?;
    job.meter.walked(committed.rewards, Some(total.max(committed.rewards)));
    Ok(())
}
