//! The history page: every retraction, with the open and doubtful ones first. Filters by order, action, ticket, person or
//! state.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};

use super::view::{RetractionLine, in_link, minute};
use super::{Layout, PageResult, rendered};
use crate::error::{Error, Kind};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::store::ledger::{Search, State as LedgerState, Watched};

const LINES_PER_PAGE: usize = 50;

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    layout: Layout,
    text: String,
    state: String,
    states: Vec<&'static str>,
    lines: Vec<RetractionLine>,
    /// Watched orders that a crawl has found since.
    found: Vec<FoundOrder>,
    /// The link to the page of older retractions.
    older: Option<String>,
    is_first_page: bool,
}

struct FoundOrder {
    order: String,
    link: String,
    at: String,
    ticket: String,
}

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let text = fields.text("q").unwrap_or_default();
    let word = fields.text("state").unwrap_or_default();
    let state = LedgerState::named(&word);
    if state.is_none() && !word.is_empty() {
        return Err(Error::new(Kind::Usage, "there is no state of that name").into());
    }
    let before = fields.get("before").and_then(|id| id.parse().ok());
    let search = Search { text: (!text.is_empty()).then(|| text.clone()), state, before, limit: LINES_PER_PAGE + 1 };
    let ledger = app.actions.ledger()?;
    let mut lines = ledger.as_ref().map_or_else(|| Ok(Vec::new()), |ledger| ledger.search(&search))?;
    let is_unfiltered = before.is_none() && text.is_empty() && state.is_none();
    let watched = ledger.filter(|_| is_unfiltered).map_or_else(|| Ok(Vec::new()), |ledger| ledger.watched())?;
    let more = lines.len() > LINES_PER_PAGE;
    lines.truncate(LINES_PER_PAGE);
    // The first page shows all open retractions first, so the next page starts below the smallest retraction number on the
    // page.
    let last = lines.iter().map(|one| one.id).min();
    let older =
        more.then(|| last.map(|id| format!("/history?q={}&state={word}&before={id}", in_link(&text)))).flatten();
    Ok(rendered(&HistoryPage {
        layout: Layout::of(&app, "History", Some(&caller)),
        text,
        state: word,
        states: LedgerState::words().collect(),
        lines: lines.iter().map(RetractionLine::of).collect(),
        found: watched.into_iter().filter_map(found_order).collect(),
        older,
        is_first_page: before.is_none(),
    }))
}

fn found_order(watched: Watched) -> Option<FoundOrder> {
    Some(FoundOrder {
        at: minute(&watched.found_at?),
        link: in_link(watched.order_id.as_str()),
        order: watched.order_id.as_str().to_owned(),
        ticket: watched.ticket.unwrap_or_default(),
    })
}

/// Redirects from a retraction's number to the receipt of its order.
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<i64>) -> PageResult {
    let unknown = || Error::new(Kind::NotIndexed, format!("there is no retraction {id} in this ledger"));
    let ledger = app.actions.ledger()?.ok_or_else(unknown)?;
    let retraction = ledger.get(id).map_err(|_unknown| unknown())?;
    Ok(Redirect::to(&format!("/receipt?order={}", in_link(retraction.order_id.as_str()))).into_response())
}
