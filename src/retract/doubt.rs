//! Reading, for a retraction that nobody answered, what else could show whether the vendor received it.
//!
//! The rewards are read by `follow`; here the list of submissions, and the action where the vendor shows it. The vendor
//! discourages the list, so it is read rarely and once for every retraction of this process that is in doubt, and each
//! reading is a note in the ledger, so that the pauses outlive a restart. What is seen is judged by `reconcile`. This module
//! must never send anything, and must never let a list that could not be read pass for one that is empty.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Context;
use super::reconcile::{self, CLOCKS_DIFFER, Doubts, LOOK, ListLook, Question, Seen, last_part, looks_of};
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, Target};
use crate::store::ledger::{Ledger, Retraction, Road, State};
use crate::vendor::{Submission, UpdateFilter};

/// A submission that was queued longer ago need not be in the list any more: the vendor keeps them for 90 days at most.
const LISTED_FOR: Duration = Duration::from_hours(30 * 24);

/// The longest range of the log of actions that is asked for; the vendor takes 45 days.
const LOG_RANGE: SignedDuration = SignedDuration::from_hours(44 * 24);

/// Pages of that log.
const LOG_PAGES: usize = 3;

/// The lists of submissions that this process has read: one serves every retraction in doubt.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When a list was last read, by any process that left a note.
    newest: Option<Timestamp>,
    list: Option<Arc<List>>,
}

/// One reading.
#[derive(Debug)]
struct List {
    at: Timestamp,
    rows: Vec<Submission>,
    whole: bool,
    /// Why it is not whole, where that is known.
    doubt: Option<String>,
}

/// Reads the list for a retraction in doubt where one is due, and writes down what it shows. Where the list of this process
/// is new enough it serves, without another request.
pub async fn reconcile(ctx: &Context<'_>, doubts: &Doubts, ledger: &Ledger, retraction: &mut Retraction) -> Result<()> {
    let Some(sent_at) = retraction.sent_at().and_then(|at| at.parse::<Timestamp>().ok()) else { return Ok(()) };
    let looks = looks_of(retraction);
    let mut known = ctx.session.lists.0.lock().await;
    let list = match known.list.clone().filter(|list| serves(list, sent_at, &looks, doubts)) {
        Some(list) => list,
        None if is_due(&mut known, ledger, sent_at, &looks, doubts, ctx.clock.now())? => {
            let list = Arc::new(read(ctx, doubts, ledger).await?);
            (known.newest, known.list) = (Some(list.at), Some(Arc::clone(&list)));
            list
        }
        None => return Ok(()),
    };
    drop(known);
    // What is not in two lists an hour apart counts as not received: that hour must not be a jump of the clock.
    if ctx.clock_ahead().is_some() {
        ctx.vendor_now()?;
    }
    let action = match retraction.target() {
        // Whether the action is reversed says nothing about a change of it.
        Target::Action(action_id) if retraction.road != Road::Modification => {
            action_now(ctx, &action_id, sent_at).await?
        }
        _ => None,
    };
    *retraction = conclude(ctx, doubts, ledger, retraction, sent_at, looks, &list, action.as_ref())?;
    Ok(())
}

/// Whether a retraction in doubt waits for a list that may be read now: what one pass over many of them asks first.
pub fn waits_for_list(retraction: &Retraction, doubts: &Doubts, now: Timestamp) -> bool {
    let sent_at = retraction.sent_at().and_then(|at| at.parse::<Timestamp>().ok());
    retraction.state == State::Unknown
        && sent_at.is_some_and(|at| reconcile::next_list_at(at, &looks_of(retraction), doubts) <= now)
}

/// Whether a list that is there says something new about this one.
fn serves(list: &List, sent_at: Timestamp, looks: &[ListLook], doubts: &Doubts) -> bool {
    let last = looks.last().map_or(sent_at, |look| look.at);
    reconcile::has_passed(last, doubts.list_after, list.at)
}

fn is_due(
    known: &mut Known,
    ledger: &Ledger,
    sent_at: Timestamp,
    looks: &[ListLook],
    doubts: &Doubts,
    now: Timestamp,
) -> Result<bool> {
    if reconcile::next_list_at(sent_at, looks, doubts) > now {
        return Ok(false);
    }
    if known.newest.is_none() {
        let in_doubt = ledger.open_ones()?.into_iter().filter(|other| other.state == State::Unknown);
        known.newest = in_doubt.filter_map(|other| looks_of(&other).last().map(|look| look.at)).max();
    }
    // One list for another retraction a moment ago is reason enough to wait a little.
    Ok(known.newest.is_none_or(|newest| reconcile::has_passed(newest, doubts.list_after, now)))
}

/// Reads the list; that it cannot be read is an answer too, and has its pause like any other.
async fn read(ctx: &Context<'_>, doubts: &Doubts, ledger: &Ledger) -> Result<List> {
    let at = ctx.clock.now();
    ctx.report.note("reading the vendor's list of submissions, to find out what was received");
    let listed = match ctx.brand.submissions(doubts.list_pages).await {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Vendor | Kind::Network) => {
            let doubt = Some(format!("it could not be read: {error}"));
            return Ok(List { at, rows: Vec::new(), whole: false, doubt });
        }
        Err(error) => return Err(error),
    };
    let missing = missing_from(ledger, &listed.rows, doubts, at)?;
    let doubt = if !listed.complete && listed.pages >= doubts.list_pages {
        Some(format!("it has more than the {} pages that [retract] list_pages allows", listed.pages))
    } else if !listed.complete {
        Some(format!("it could not be read whole ({} pages)", listed.pages))
    } else if missing > 0 {
        Some(format!("it lacks {missing} submission(s) that the vendor has acknowledged"))
    } else {
        None
    };
    Ok(List { at, rows: listed.rows, whole: doubt.is_none(), doubt })
}

/// How many submissions of this ledger the list should have and does not. A list without what the vendor itself has
/// acknowledged shows no absence, whatever it says of itself.
fn missing_from(ledger: &Ledger, rows: &[Submission], doubts: &Doubts, at: Timestamp) -> Result<usize> {
    let listed: BTreeSet<String> = rows.iter().flat_map(reconcile::names_of).collect();
    let should_be_there = |retraction: &Retraction| {
        let queued = retraction.events.iter().find(|event| event.details.get("queued_uri").is_some())?;
        let queued_at = queued.moment()?;
        let is_settled = reconcile::has_passed(queued_at, doubts.list_after, at);
        let is_kept = !reconcile::has_passed(queued_at, LISTED_FOR, at);
        let name = last_part(queued.details["queued_uri"].as_str()?)?.to_owned();
        (is_settled && is_kept).then_some(name)
    };
    Ok(ledger.all()?.iter().filter_map(should_be_there).filter(|name| !listed.contains(name)).count())
}

#[expect(clippy::too_many_arguments, reason = "everything that one entry of the ledger rests on, once")]
fn conclude(
    ctx: &Context<'_>,
    doubts: &Doubts,
    ledger: &Ledger,
    retraction: &Retraction,
    sent_at: Timestamp,
    mut looks: Vec<ListLook>,
    list: &List,
    action: Option<&ActionSeen>,
) -> Result<Retraction> {
    let others = batch_ids_of_others(ledger, retraction)?;
    let target = retraction.target();
    let change = (retraction.road == Road::Modification).then(|| reconcile::form_of(retraction));
    let question = Question {
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
    let seen = reconcile::search(&question, &list.rows);
    if let Seen::Found { batch_id, uri } = &seen {
        let details = json!({
            "queued_uri": uri,
            "batch_id": batch_id,
            "list": { "at": list.at, "rows": rows },
            "action": shown,
        });
        let message = format!("found in the vendor's list of submissions as {batch_id}: it was received; not done yet");
        return ledger.append(retraction, State::Queued, &message, &details, now);
    }
    let mut doubt = list.doubt.clone();
    if let Seen::Unclear(why) = seen {
        doubt.get_or_insert(why);
    }
    // An action that was reversed since is a reason to think that it was received, and no proof: others reverse actions too.
    if let Some(why) = action.and_then(|action| action.reversed_since.clone()) {
        doubt.get_or_insert(why);
    }
    let look = ListLook { at: list.at, whole: list.whole, rows, absent: doubt.is_none(), doubt };
    let message = match &look.doubt {
        None => format!("looked into the vendor's list of submissions, {rows} in all: it is not among them"),
        Some(doubt) => format!("looked into the vendor's list of submissions ({rows} read): {doubt}"),
    };
    let noted = ledger.note(retraction, LOOK, &message, &json!({ "list": look, "action": shown }), now)?;
    looks.push(look);
    if !reconcile::is_not_received(sent_at, &looks, doubts) {
        return Ok(noted);
    }
    let message = "the vendor did not receive it: two whole lists of its submissions do not have it";
    ledger.append(&noted, State::NotReceived, message, &json!({ "lists": looks }), now)
}

/// The names under which the vendor knows other requests of this ledger.
fn batch_ids_of_others(ledger: &Ledger, retraction: &Retraction) -> Result<BTreeSet<String>> {
    let others = ledger.all()?.into_iter().filter(|other| other.id != retraction.id);
    let names = others.flat_map(|other| {
        let linked = other.text("queued_uri").and_then(last_part).map(str::to_owned);
        linked.into_iter().chain(other.text("batch_id").map(str::to_owned))
    });
    Ok(names.collect())
}

/// What the vendor shows of the action.
struct ActionSeen {
    details: Value,
    /// Set where it was reversed since the send, or may have been.
    reversed_since: Option<String>,
}

/// The action and its log, where the vendor shows them; Advocate's actions need not be there (`docs/vendor/brand.md` §3).
async fn action_now(ctx: &Context<'_>, id: &ActionId, sent_at: Timestamp) -> Result<Option<ActionSeen>> {
    let action = match ctx.brand.action(id).await {
        Ok(Some(action)) => action,
        Ok(None) => return Ok(None),
        Err(error) if is_no_answer(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = action.state.clone();
    if !action.is_reversed() {
        return Ok(Some(ActionSeen { details: json!({ "state": state }), reversed_since: None }));
    }
    let now = ctx.clock.now();
    let earliest = sent_at.checked_sub(CLOCKS_DIFFER).unwrap_or(sent_at);
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
    Ok(Some(ActionSeen { details, reversed_since }))
}

fn is_no_answer(error: &Error) -> bool {
    matches!(error.kind, Kind::Vendor | Kind::Scope | Kind::Network | Kind::Usage)
}
