//! The start page, which is a work queue. The start page shows approvals that wait for the user, open, doubtful and
//! failed retractions, watched refunds whose order a crawl has found, and the orders that the user has opened last.
//!
//! The service reads all data of the start page from the ledger, the index and the stored batches, and sends no request
//! to the vendor.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};

use super::lookup::masks_of;
use super::order::Order;
use super::view::{RetractionLine, in_link};
use super::{Layout, PageResult, rendered, words};
use crate::access::{Principal, Right};
use crate::error::Result;
use crate::model::OrderId;
use crate::model::order_text::visible;
use crate::serve::app::App;
use crate::serve::batch::Batch;
use crate::serve::extractors::Caller;
use crate::serve::flag_names::without_flags;
use crate::serve::routes::Audience;
use crate::store::ledger::{Approval, Filter, Ledger, Stage, State as LedgerState, Watched};

/// Maximum number of lines in one list of the start page. A longer list on the start page ends with a link to all of
/// its items.
const LINES: usize = 20;

/// How long the start page shows a failed retraction.
const FAILED_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

const DOUBTFUL: [LedgerState; 2] = [LedgerState::Unknown, LedgerState::Unconfirmed];
const OPEN: [LedgerState; 4] =
    [LedgerState::Planned, LedgerState::Sending, LedgerState::Queued, LedgerState::HandedOver];
const FAILED: [LedgerState; 2] = [LedgerState::Failed, LedgerState::NotReceived];

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    layout: Layout,
    /// The reasons why recoup can send nothing now, each with its remedy.
    blocked: Vec<String>,
    /// Requests that wait for this user's approval.
    to_approve: Vec<ApprovalLine>,
    /// Approval requests of this user that wait for another person's approval.
    own: Vec<ApprovalLine>,
    /// Confirmed retractions with a reward that is active again: number, order, link.
    standing: Vec<(i64, String, String)>,
    doubtful: Section,
    open: Section,
    failed: Section,
    found: Vec<FoundOrder>,
    /// Number of watched refunds whose order no crawl has found yet.
    watched: u64,
    batches: Vec<BatchLine>,
    recent: Vec<RecentOrder>,
}

/// A list of retractions on the start page.
#[derive(Default)]
struct Section {
    lines: Vec<RetractionLine>,
    /// `true` if there are more retractions than the list shows.
    more: bool,
}

struct ApprovalLine {
    id: i64,
    what: String,
    person: String,
    asked_at: String,
    why: String,
}

/// A watched refund whose order a crawl has found.
struct FoundOrder {
    order: String,
    link: String,
    found_at: String,
    ticket: String,
}

struct BatchLine {
    id: String,
    person: String,
    created_at: String,
    stage: String,
    tone: &'static str,
}

struct RecentOrder {
    order: String,
    link: String,
    /// The state of the order's newest retraction, or the states of its rewards.
    state: String,
    tone: &'static str,
    at: String,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let who = &caller.who;
    let now = app.clock.now();
    let mut layout = Layout::of(&app, "Work queue", Some(&caller));
    layout.focuses_search = true;
    let mut page = HomePage {
        layout,
        blocked: Vec::new(),
        to_approve: Vec::new(),
        own: Vec::new(),
        standing: Vec::new(),
        doubtful: Section::default(),
        open: Section::default(),
        failed: Section::default(),
        found: Vec::new(),
        watched: 0,
        batches: Vec::new(),
        recent: recent(&app, who, now)?,
    };
    if who.may(Right::Batch) {
        let this = Arc::clone(&app);
        page.batches = app.blocking(move || open_batches(&this)).await?;
    }
    if let Some(ledger) = app.actions.ledger()? {
        page.read_ledger(&app, who, &ledger, now)?;
    }
    if who.may(Right::SeeHealth) {
        let status = app.status().await?;
        page.blocked = status.blocked.iter().map(|block| without_flags(&block.line(), Audience::Page)).collect();
        let standing = status.standing_again.iter();
        page.standing = standing.map(|one| (one.id, one.order_id.clone(), in_link(&one.order_id))).collect();
    }
    Ok(rendered(&page))
}

impl HomePage {
    fn read_ledger(&mut self, app: &App, who: &Principal, ledger: &Ledger, now: Timestamp) -> Result<()> {
        let names = app.actions.actor(who).names();
        let asked = ledger.approvals(now)?.into_iter().filter(|one| one.stage == Stage::Asked);
        let (own, others): (Vec<_>, Vec<_>) = asked.partition(|one| one.is_of(&names));
        self.own = own.into_iter().map(ApprovalLine::of).collect();
        if who.may(Right::Approve) {
            self.to_approve = others.into_iter().map(ApprovalLine::of).collect();
        }
        self.doubtful = Section::oldest(ledger, &DOUBTFUL)?;
        self.open = Section::oldest(ledger, &OPEN)?;
        self.failed = Section::newest(ledger, &FAILED, now)?;
        for watched in ledger.watched()? {
            match watched.found_at {
                None => self.watched += 1,
                Some(_) if was_retracted(app, ledger, &watched.order_id)? => {}
                Some(_) => self.found.extend(FoundOrder::of(watched)),
            }
        }
        Ok(())
    }

    /// Returns `true` if every list of the page is empty.
    fn is_empty(&self) -> bool {
        self.to_approve.is_empty()
            && self.own.is_empty()
            && self.standing.is_empty()
            && self.doubtful.lines.is_empty()
            && self.open.lines.is_empty()
            && self.failed.lines.is_empty()
            && self.found.is_empty()
            && self.batches.is_empty()
    }
}

impl Section {
    /// Returns the oldest retractions in these states, because they have waited for the longest time.
    fn oldest(ledger: &Ledger, states: &[LedgerState]) -> Result<Self> {
        let filter = Filter { states: states.to_vec(), limit: LINES + 1, ..Filter::default() };
        let found = ledger.list(&filter)?;
        Ok(Self { more: found.len() > LINES, lines: found.iter().take(LINES).map(RetractionLine::of).collect() })
    }

    /// Returns the newest retractions of the last month in these states.
    fn newest(ledger: &Ledger, states: &[LedgerState], now: Timestamp) -> Result<Self> {
        let since = now.checked_sub(FAILED_FOR).unwrap_or(Timestamp::MIN);
        let (states, since, limit) = (states.to_vec(), Some(since), LINES + 1);
        let found = ledger.list(&Filter { states, since, limit, newest_first: true, ..Filter::default() })?;
        Ok(Self { more: found.len() > LINES, lines: found.iter().take(LINES).map(RetractionLine::of).collect() })
    }
}

/// Whether a retraction of each known action of an order may have been sent.
fn was_retracted(app: &App, ledger: &Ledger, order: &OrderId) -> Result<bool> {
    let mut sent = ledger.of_order(order)?;
    sent.retain(|one| one.state.may_have_been_sent() && one.channel.takes_all_back());
    // A request by order ID names no action.
    if sent.is_empty() || sent.iter().any(|one| one.action_id.is_none()) {
        return Ok(!sent.is_empty());
    }
    let found = app.index.with(|index| index.map_or_else(|| Ok(Vec::new()), |index| index.find(order)))?;
    let mut actions = found.iter().filter_map(|found| found.action_id.as_ref());
    Ok(actions.all(|action| sent.iter().any(|one| one.action_id.as_ref() == Some(action))))
}

/// Returns the batches that are not done, in their present stages, the newest first.
fn open_batches(app: &App) -> Result<Vec<BatchLine>> {
    let line = |batch: Batch| BatchLine {
        stage: batch.words(),
        tone: batch.tone(),
        id: batch.id,
        person: batch.person,
        created_at: batch.created_at,
    };
    Ok(app.present_batches()?.filter(Batch::is_unfinished).take(LINES).map(line).collect())
}

/// Returns the orders that the user has opened, if the index or the ledger still has them.
fn recent(app: &App, who: &Principal, now: Timestamp) -> Result<Vec<RecentOrder>> {
    let mut recent = Vec::new();
    for (order_id, at) in app.recent.of(&who.name, now) {
        let known =
            app.ledger.with(|ledger| ledger.map_or_else(|| Ok(Vec::new()), |ledger| ledger.of_order(&order_id)))?;
        for answer in app.look_up(&order_id)?.iter().filter(|answer| answer.is_found() || !known.is_empty()) {
            let masks = masks_of(std::slice::from_ref(answer));
            let order = Order::of(answer, &known, None, Some(&masks), &app.options.page);
            let (state, tone) = match order.current.first() {
                Some(line) => (line.state.to_owned(), line.tone),
                None => (order.summary(), ""),
            };
            recent.push(RecentOrder { order: order.heading, link: order.link, state, tone, at: at.to_string() });
        }
    }
    Ok(recent)
}

impl ApprovalLine {
    fn of(approval: Approval) -> Self {
        Self {
            id: approval.id,
            what: approval.describe(),
            person: approval.person,
            asked_at: approval.asked_at,
            why: words::with_units(&approval.why),
        }
    }
}

impl FoundOrder {
    fn of(watched: Watched) -> Option<Self> {
        Some(Self {
            found_at: watched.found_at?,
            link: in_link(watched.order_id.as_str()),
            order: visible(watched.order_id.as_str()).into_owned(),
            ticket: watched.ticket.unwrap_or_default(),
        })
    }
}
