//! Determines whether the vendor received a request that it did not answer.
//!
//! `follow` reads the rewards of an unanswered request. `unknown_resolver` reads the submissions list, and the action
//! if the vendor returns it. The vendor discourages reads of the submissions list. Therefore recoup reads the
//! submissions list rarely, and uses one read for every *unknown* retraction of this process. The ledger records each
//! read of the submissions list. Therefore a restart does not shorten the pauses between reads. `match_submissions`
//! searches the submissions list for the unanswered request. Resolving an *unknown* retraction sends nothing, and never
//! treats an unreadable submissions list as empty.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Context;
use super::match_submissions::{
    self, CLOCK_TOLERANCE, LIST_READING, ListReading, ResolverSettings, SearchResult, SentRequest, last_part,
    readings_of,
};
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, Target, counted};
use crate::store::ledger::{Channel, Ledger, Retraction, State};
use crate::vendor::{Submission, UpdateFilter};

/// Age of a request above which the submissions list may lack it, because the vendor keeps submissions for at most 90
/// days.
const LISTED_FOR: Duration = Duration::from_hours(30 * 24);

/// Longest range of the action log that recoup reads. The vendor allows a range of 45 days in one request for the
/// action log.
const LOG_RANGE: SignedDuration = SignedDuration::from_hours(44 * 24);

const LOG_PAGES: usize = 3;

/// The newest submissions list that this process has read, shared by every *unknown* retraction.
#[derive(Debug, Default)]
pub struct SubmissionLists(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    /// When any process last read a submissions list, according to the ledger.
    newest: Option<Timestamp>,
    list: Option<Arc<SubmissionList>>,
}

#[derive(Debug)]
struct SubmissionList {
    at: Timestamp,
    rows: Vec<Submission>,
    whole: bool,
    /// Why the submissions list is incomplete; `None` for a complete list.
    incomplete: Option<String>,
}

/// Reads the submissions list for an *unknown* retraction if a read is due, and records the result. If this process has
/// a recent submissions list, uses that list and sends no request.
pub async fn reconcile(
    ctx: &Context<'_>,
    settings: &ResolverSettings,
    ledger: &Ledger,
    retraction: &mut Retraction,
) -> Result<()> {
    let Some(sent_at) = retraction.sent_at().and_then(|at| at.parse::<Timestamp>().ok()) else { return Ok(()) };
    let readings = readings_of(retraction);
    let mut known = ctx.session.lists.0.lock().await;
    let list = match known.list.clone().filter(|list| serves(list, sent_at, &readings, settings)) {
        Some(list) => list,
        None if is_due(&mut known, ledger, sent_at, &readings, settings, ctx.clock.now())? => {
            let list = Arc::new(read(ctx, settings, ledger).await?);
            (known.newest, known.list) = (Some(list.at), Some(Arc::clone(&list)));
            list
        }
        None => return Ok(()),
    };
    drop(known);
    // recoup concludes *not received* from two lists that it read an hour apart. Therefore a clock jump must not count
    // as the hour between the two lists.
    if ctx.clock_ahead().is_some() {
        ctx.vendor_now()?;
    }
    let action = match retraction.target() {
        // A reversal of an action proves nothing about an adjustment of that action.
        Target::Action(action_id) if retraction.channel != Channel::Modification => {
            action_now(ctx, &action_id, sent_at).await?
        }
        _ => None,
    };
    *retraction = conclude(ctx, settings, ledger, retraction, sent_at, readings, &list, action.as_ref())?;
    Ok(())
}

/// Returns `true` if an *unknown* retraction needs the submissions list and the next read of the list is due.
pub fn waits_for_list(retraction: &Retraction, settings: &ResolverSettings, now: Timestamp) -> bool {
    let sent_at = retraction.sent_at().and_then(|at| at.parse::<Timestamp>().ok());
    retraction.state == State::Unknown
        && sent_at.is_some_and(|at| match_submissions::next_list_at(at, &readings_of(retraction), settings) <= now)
}

/// Returns `true` if the cached submissions list is new enough for this retraction.
fn serves(list: &SubmissionList, sent_at: Timestamp, readings: &[ListReading], settings: &ResolverSettings) -> bool {
    let last = readings.last().map_or(sent_at, |look| look.at);
    match_submissions::has_passed(last, settings.list_after, list.at)
}

fn is_due(
    known: &mut Cache,
    ledger: &Ledger,
    sent_at: Timestamp,
    readings: &[ListReading],
    settings: &ResolverSettings,
    now: Timestamp,
) -> Result<bool> {
    if match_submissions::next_list_at(sent_at, readings, settings) > now {
        return Ok(false);
    }
    if known.newest.is_none() {
        let unknown = ledger.open_ones()?.into_iter().filter(|other| other.state == State::Unknown);
        known.newest = unknown.filter_map(|other| readings_of(&other).last().map(|look| look.at)).max();
    }
    // A recent read for another retraction delays the next read of the submissions list.
    Ok(known.newest.is_none_or(|newest| match_submissions::has_passed(newest, settings.list_after, now)))
}

/// Reads the vendor's submissions list. A failed read of the submissions list also counts. Therefore the next read of
/// the submissions list waits for the same pause.
async fn read(ctx: &Context<'_>, settings: &ResolverSettings, ledger: &Ledger) -> Result<SubmissionList> {
    let at = ctx.clock.now();
    ctx.report.note("reading the vendor's list of submissions, to find out what was received");
    let listed = match ctx.brand.submissions(settings.list_pages).await {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Vendor | Kind::Network) => {
            let incomplete = Some(format!("it could not be read: {error}"));
            return Ok(SubmissionList { at, rows: Vec::new(), whole: false, incomplete });
        }
        Err(error) => return Err(error),
    };
    let missing = missing_from(ledger, &listed.rows, settings, at)?;
    let incomplete = if !listed.complete && listed.pages >= settings.list_pages {
        Some(format!("it has more than the {} that [retract] list_pages allows", counted(listed.pages, "page")))
    } else if !listed.complete {
        Some(format!("it could not be read whole ({})", counted(listed.pages, "page")))
    } else if missing > 0 {
        Some(format!("it lacks {} that the vendor has acknowledged", counted(missing, "submission")))
    } else {
        None
    };
    Ok(SubmissionList { at, rows: listed.rows, whole: incomplete.is_none(), incomplete })
}

/// Counts the acknowledged submissions of this ledger that the vendor's list lacks. If the vendor's list lacks an
/// acknowledged submission, the list does not prove the absence of another submission.
fn missing_from(ledger: &Ledger, rows: &[Submission], settings: &ResolverSettings, at: Timestamp) -> Result<usize> {
    let listed: BTreeSet<String> = rows.iter().flat_map(match_submissions::names_of).collect();
    let should_be_there = |retraction: &Retraction| {
        let queued = retraction.events.iter().find(|event| event.details.get("queued_uri").is_some())?;
        let queued_at = queued.moment()?;
        let is_settled = match_submissions::has_passed(queued_at, settings.list_after, at);
        let is_kept = !match_submissions::has_passed(queued_at, LISTED_FOR, at);
        let name = last_part(queued.details["queued_uri"].as_str()?)?.to_owned();
        (is_settled && is_kept).then_some(name)
    };
    Ok(ledger.all()?.iter().filter_map(should_be_there).filter(|name| !listed.contains(name)).count())
}

#[expect(clippy::too_many_arguments, reason = "everything that one entry of the ledger rests on, once")]
fn conclude(
    ctx: &Context<'_>,
    settings: &ResolverSettings,
    ledger: &Ledger,
    retraction: &Retraction,
    sent_at: Timestamp,
    mut readings: Vec<ListReading>,
    list: &SubmissionList,
    action: Option<&ActionReading>,
) -> Result<Retraction> {
    let others = batch_ids_of_others(ledger, retraction)?;
    let target = retraction.target();
    let change = (retraction.channel == Channel::Modification).then(|| match_submissions::form_of(retraction));
    let request = SentRequest {
        target: &target,
        order_id: &retraction.order_id,
        disposition: &retraction.disposition,
        change: change.as_deref(),
        sent_at,
        others: &others,
    };
    let now = ctx.clock.now();
    let rows = list.rows.len();
    let shown = action.map(|action| action.details.clone());
    let seen = match_submissions::search(&request, &list.rows);
    if let SearchResult::Found { batch_id, uri } = &seen {
        let details = json!({
            "queued_uri": uri,
            "batch_id": batch_id,
            "list": { "at": list.at, "rows": rows },
            "action": shown,
        });
        let message = format!("found in the vendor's list of submissions as {batch_id}: it was received; not done yet");
        return ledger.append(retraction, State::Queued, &message, &details, now);
    }
    let mut unclear = list.incomplete.clone();
    if let SearchResult::Unclear(why) = seen {
        unclear.get_or_insert(why);
    }
    // A reversal of the action after the send suggests that the vendor received the request. A reversal does not prove
    // that the vendor received the request, because other people reverse actions too.
    if let Some(why) = action.and_then(|action| action.reversed_since.clone()) {
        unclear.get_or_insert(why);
    }
    let look = ListReading { at: list.at, whole: list.whole, rows, absent: unclear.is_none(), unclear };
    let message = match &look.unclear {
        None => format!("read the vendor's list of submissions ({rows} in all): the request is not in it"),
        Some(why) => format!("read the vendor's list of submissions ({rows} in all): {why}"),
    };
    let noted = ledger.note(retraction, LIST_READING, &message, &json!({ "list": look, "action": shown }), now)?;
    readings.push(look);
    if !match_submissions::is_not_received(sent_at, &readings, settings) {
        return Ok(noted);
    }
    let message = "the vendor did not receive it: two whole lists of its submissions do not have it";
    ledger.append(&noted, State::NotReceived, message, &json!({ "lists": readings }), now)
}

/// Returns the batch IDs of the other requests in this ledger.
fn batch_ids_of_others(ledger: &Ledger, retraction: &Retraction) -> Result<BTreeSet<String>> {
    let others = ledger.all()?.into_iter().filter(|other| other.id != retraction.id);
    let names = others.flat_map(|other| {
        let linked = other.text("queued_uri").and_then(last_part).map(str::to_owned);
        linked.into_iter().chain(other.text("batch_id").map(str::to_owned))
    });
    Ok(names.collect())
}

struct ActionReading {
    details: Value,
    /// Why recoup believes that the action was, or may have been, reversed after the send.
    reversed_since: Option<String>,
}

/// Reads the action and its log from the Brand API; `None` if the vendor does not return the action. The vendor may
/// hide Advocate actions (`docs/vendor/brand.md` §3).
async fn action_now(ctx: &Context<'_>, id: &ActionId, sent_at: Timestamp) -> Result<Option<ActionReading>> {
    let action = match ctx.brand.action(id).await {
        Ok(Some(action)) => action,
        Ok(None) => return Ok(None),
        Err(error) if is_no_answer(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = action.state.clone();
    if !action.is_reversed() {
        return Ok(Some(ActionReading { details: json!({ "state": state }), reversed_since: None }));
    }
    let now = ctx.clock.now();
    let earliest = sent_at.checked_sub(CLOCK_TOLERANCE).unwrap_or(sent_at);
    let campaign = action.campaign_id.or_else(|| id.as_str().split('.').next().map(str::to_owned));
    let filter = UpdateFilter {
        campaign_id: campaign.unwrap_or_default(),
        from: earliest.max(now.checked_sub(LOG_RANGE).unwrap_or(earliest)),
        to: now,
        state: Some("REVERSED".to_owned()),
    };
    let updates = match ctx.brand.action_updates(&filter, LOG_PAGES).await {
        Ok(updates) => Some(updates),
        Err(error) if is_no_answer(&error) => None,
        Err(error) => return Err(error),
    };
    let newest = updates.as_ref().and_then(|updates| {
        let of_it = updates.rows.iter().filter(|update| update.action_id == *id && update.is_reversed());
        of_it.filter_map(crate::vendor::ActionUpdate::updated_at).filter(|at| *at >= earliest).max()
    });
    let is_before = updates.is_some_and(|updates| updates.complete) && newest.is_none();
    let reversed_since = match newest {
        Some(at) => Some(format!("the vendor shows the action as reversed at {at:.0}, since it was sent")),
        None if is_before => None,
        None => Some("the vendor shows the action as reversed, and not since when".to_owned()),
    };
    let details = json!({ "state": state, "reversed_at": newest, "reversed_since_sent": !is_before });
    Ok(Some(ActionReading { details, reversed_since }))
}

fn is_no_answer(error: &Error) -> bool {
    matches!(error.kind, Kind::Vendor | Kind::Scope | Kind::Network | Kind::Usage)
}
