//! Finds events that need a person's attention, and sends a notice for each event. The search for events runs as its
//! own task in the service.
//!
//! An event has the same key while it lasts, and the queue of notices accepts each key once. If several services share
//! a ledger, only one of them sends the notices.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::app::App;
use super::batch::Stage as BatchStage;
use crate::clock::signed;
use crate::error::Result;
use crate::model::budget::LONGEST_WAIT;
use crate::model::counted;
use crate::notify::{Notifier, Settings};
use crate::status::Status;
use crate::store::ProcessLock;
use crate::store::ledger::{Approval, Stage, State};
use crate::store::notices::{Notice, NoticeQueue};

/// The minimum wait for a host that causes a notice. A shorter wait for a host is normal pacing.
const BLOCKED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// Finds events and sends notices until the service stops.
pub(super) async fn run(app: Arc<App>, notifier: Notifier) {
    let Settings { check, unconfirmed_after, .. } = *notifier.settings();
    let mut opened: Option<(ProcessLock, NoticeQueue)> = None;
    while !app.stop.is_cancelled() {
        if let Err(error) = find_and_deliver(&app, &notifier, unconfirmed_after, &mut opened).await {
            tracing::warn!(kind = error.kind.name(), "notices wait: {}", error.message);
        }
        pause(&app, check).await;
    }
}

/// Queues the notices of new events and delivers the due notices. Does nothing if another process holds the lock of the
/// notice queue.
async fn find_and_deliver(
    app: &Arc<App>,
    notifier: &Notifier,
    after: Duration,
    opened: &mut Option<(ProcessLock, NoticeQueue)>,
) -> Result<()> {
    // A machine that slept may have lost the lock to another service, which sends the same notices.
    if opened.as_ref().is_some_and(|(lock, _)| lock.check_held().is_err()) {
        *opened = None;
    }
    if opened.is_none() {
        let settings = &app.actions.settings;
        let path = NoticeQueue::beside(&settings.ledger);
        let Some(lock) = ProcessLock::try_take(&path, "notices")? else { return Ok(()) };
        *opened = Some((lock, NoticeQueue::open(&path, &settings.identity)?));
    }
    let Some((_, queue)) = opened.as_ref() else { return Ok(()) };
    let status = app.status().await?;
    let this = Arc::clone(app);
    let notices = app.blocking(move || events(&this, &status, after)).await?;
    queue.add(&notices, &notifier.channels(), app.clock.now_ms())?;
    notifier.deliver(queue).await
}

async fn pause(app: &App, time: Duration) {
    tokio::select! {
        () = app.clock.sleep(time) => {}
        () = app.stop.cancelled() => {}
    }
}

/// Returns all current events. The queue ignores events that it already has.
fn events(app: &App, status: &Status, after: Duration) -> Result<Vec<Notice>> {
    let now = app.clock.now();
    let mut found = Vec::new();
    if let Some(ledger) = app.actions.ledger()? {
        // The key of the event contains the ledger's ID, because the numbers of retractions are unique within one
        // ledger only.
        let id: String = ledger.ledger_id()?.chars().take(8).collect();
        found.extend(approvals(&id, &ledger.approvals(now)?));
        found.extend(open_retractions(&id, status, now, signed(after)));
    }
    let ended = app.batches.list()?.into_iter();
    for batch in ended.filter(|batch| matches!(batch.stage, BatchStage::Done | BatchStage::Failed)) {
        let Some(batch) = app.present_batch(batch) else { continue };
        let text = match batch.stage {
            BatchStage::Failed => "a batch could not be planned".to_owned(),
            _ if batch.left > 0 => format!("a batch ended early: {} not attempted", counted(batch.left, "row")),
            _ => "a batch was applied".to_owned(),
        };
        found.push(notice(format!("batch:{}", batch.id), "batch_done", now, text, &format!("/batch/{}", batch.id)));
    }
    found.extend(troubles(status, app.options.ready_max_age, now));
    Ok(found)
}

fn notice(key: String, event: &'static str, now: Timestamp, text: impl Into<String>, path: &str) -> Notice {
    let at = format!("{now:.0}");
    Notice { key, event, at, order_id: None, text: text.into(), path: path.to_owned() }
}

fn approvals(ledger: &str, approvals: &[Approval]) -> Vec<Notice> {
    let asked = approvals.iter().filter(|approval| approval.stage == Stage::Asked);
    asked
        .map(|approval| {
            let key = format!("approval:{ledger}:{}", approval.id);
            let text = format!("approval {} waits for a second person", approval.id);
            let at = approval.asked_at.clone();
            let order_id = approval.subject["order_id"].as_str().map(str::to_owned);
            Notice { at, order_id, ..notice(key, "needs_approval", Timestamp::UNIX_EPOCH, text, "/approvals") }
        })
        .collect()
}

fn open_retractions(ledger: &str, status: &Status, now: Timestamp, after: SignedDuration) -> Vec<Notice> {
    let is_old = |since: &str| since.parse::<Timestamp>().is_ok_and(|since| now.duration_since(since) > after);
    // A planned retraction causes no notice, because it was not sent and therefore cannot be unconfirmed.
    let open = status.open.iter().filter(|open| open.state != State::Planned && is_old(&open.since));
    open.map(|open| {
        let key = format!("unconfirmed:{ledger}:{}", open.id);
        let text = format!("retraction {} is {} and not confirmed since {}", open.id, open.state.as_str(), open.since);
        let path = format!("/history/{}", open.id);
        Notice { order_id: Some(open.order_id.clone()), ..notice(key, "unconfirmed", now, text, &path) }
    })
    .collect()
}

/// Returns the events for a stale index, refused credentials and a blocked quota. Refused credentials and a blocked quota
/// cause at most one notice a day.
fn troubles(status: &Status, max_age: Duration, now: Timestamp) -> Vec<Notice> {
    let mut found = Vec::new();
    let day = now.strftime("%Y-%m-%d").to_string();
    let as_of = status.coverage.as_ref().and_then(|coverage| coverage.as_of.clone());
    if let (Some(as_of), Some(age)) = (as_of, status.age_seconds)
        && age >= max_age.as_secs() as i64
    {
        let text = "the index is stale: no crawl has finished for longer than the setting ready_max_age allows";
        found.push(notice(format!("stale:{as_of}"), "index_stale", now, text, "/health"));
    }
    for refusal in &status.refusals {
        let text = format!("the vendor refuses the credentials of `recoup {}`", refusal.command);
        let key = format!("refused:{}:{}", refusal.command, refusal.at.get(..10).unwrap_or(&day));
        found.push(notice(key, "credentials_refused", now, text, "/health"));
    }
    for line in &status.quota {
        let until = line.waiting_until.as_deref().and_then(|until| until.parse::<Timestamp>().ok());
        let Some(left) = until.map(|until| until.duration_since(now)) else { continue };
        if left < BLOCKED_FOR || left.as_millis() > i128::from(LONGEST_WAIT) * 2 {
            continue;
        }
        let host = line.host.split(' ').next().unwrap_or_default();
        let text = format!(
            "no request is sent to the {host} host before {}",
            line.waiting_until.as_deref().unwrap_or_default()
        );
        found.push(notice(format!("quota:{host}:{day}"), "quota_blocked", now, text, "/health"));
    }
    found
}
